-- pattern.lua: the match statement (PEP 634): `match` is a name everywhere else, so a parse is tried and given up
-- when what follows is not a match block.
local pattern = {}

local E, tk, ts, te, tv, p

local function fail(message, at) error({ pos = ts[at or p] or 1, message = message or "invalid syntax" }, 0) end
local function expect(kind)
  if tk[p] ~= kind then fail(("expected '%s'"):format(kind)) end
  p = p + 1
end

local or_pattern, as_pattern, closed

local function dotted()
  local s = ts[p]
  local node = { k = "Name", s = s, e = te[p], id = tv[p], up = false }
  p = p + 1
  while tk[p] == "." do
    p = p + 1
    node = { k = "Attribute", s = s, e = te[p], value = node, attr = tv[p], up = false }
    p = p + 1
  end
  return node
end

local function star_pattern()
  local s = ts[p]
  p = p + 1
  local name = tv[p]
  p = p + 1
  return { k = "MatchStar", s = s, e = te[p - 1], name = name ~= "_" and name, up = false }
end

local function maybe_star()
  if tk[p] == "*" then return star_pattern() end
  return as_pattern()
end

local function sequence(close)
  local s = ts[p]
  p = p + 1
  local list, comma = {}, false
  while tk[p] ~= close do
    list[#list + 1] = maybe_star()
    if tk[p] ~= "," then break end
    comma = true
    p = p + 1
  end
  expect(close)
  if close == ")" and #list == 1 and not comma and list[1].k ~= "MatchStar" then return list[1] end
  return { k = "MatchSequence", s = s, e = te[p - 1], patterns = list, up = false }
end

local function mapping()
  local s = ts[p]
  p = p + 1
  local node = { k = "MatchMapping", s = s, e = 0, keys = {}, patterns = {}, rest = false, up = false }
  while tk[p] ~= "}" do
    if tk[p] == "**" then
      node.rest = tv[p + 1]
      p = p + 2
    else
      local key
      if tk[p] == "NAME" then key = dotted() else key, p = E.arithmetic(p) end
      node.keys[#node.keys + 1] = key
      expect(":")
      node.patterns[#node.patterns + 1] = as_pattern()
    end
    if tk[p] ~= "," then break end
    p = p + 1
  end
  expect("}")
  node.e = te[p - 1]
  return node
end

local function class_pattern(cls, s)
  p = p + 1
  local node = { k = "MatchClass", s = s, e = 0, cls = cls, patterns = {}, kwd = {}, kwd_patterns = {}, up = false }
  while tk[p] ~= ")" do
    if tk[p] == "NAME" and tk[p + 1] == "=" then
      node.kwd[#node.kwd + 1] = tv[p]
      p = p + 2
      node.kwd_patterns[#node.kwd_patterns + 1] = as_pattern()
    else node.patterns[#node.patterns + 1] = as_pattern() end
    if tk[p] ~= "," then break end
    p = p + 1
  end
  expect(")")
  node.e = te[p - 1]
  return node
end

function closed()
  local s, kind = ts[p], tk[p]
  if kind == "NAME" then
    local name = tv[p]
    if tk[p + 1] ~= "." and tk[p + 1] ~= "(" then
      p = p + 1
      return { k = "MatchAs", s = s, e = te[p - 1], pattern = false, name = name ~= "_" and name, up = false }
    end
    local value = dotted()
    if tk[p] == "(" then return class_pattern(value, s) end
    return { k = "MatchValue", s = s, e = te[p - 1], value = value, up = false }
  elseif kind == "(" then return sequence(")")
  elseif kind == "[" then return sequence("]")
  elseif kind == "{" then return mapping()
  elseif kind == "None" or kind == "True" or kind == "False" then
    p = p + 1
    return { k = "MatchSingleton", s = s, e = te[p - 1], up = false }
  elseif kind == "NUMBER" or kind == "-" or kind == "STRING" or kind == "FSTART" then
    local value
    value, p = E.arithmetic(p)
    return { k = "MatchValue", s = s, e = te[p - 1], value = value, up = false }
  end
  fail()
end

function or_pattern()
  local s = ts[p]
  local first = closed()
  if tk[p] ~= "|" then return first end
  local list = { first }
  while tk[p] == "|" do
    p = p + 1
    list[#list + 1] = closed()
  end
  return { k = "MatchOr", s = s, e = te[p - 1], patterns = list, up = false }
end

function as_pattern()
  local s = ts[p]
  local inner = or_pattern()
  if tk[p] ~= "as" then return inner end
  local name = tv[p + 1]
  p = p + 2
  return { k = "MatchAs", s = s, e = te[p - 1], pattern = inner, name = name, up = false }
end

local function open_pattern()
  local s = ts[p]
  local first = maybe_star()
  if tk[p] ~= "," then
    return first
  end
  local list = { first }
  while tk[p] == "," do
    p = p + 1
    if tk[p] == ":" or tk[p] == "if" then break end
    list[#list + 1] = maybe_star()
  end
  return { k = "MatchSequence", s = s, e = te[p - 1], patterns = list, up = false }
end

-- Whether the line that starts with the name `match` is the head of a match block.
local function is_match_head(i)
  local depth, j = 0, i + 1
  if tk[j] == "NEWLINE" or tk[j] == "=" or tk[j] == "." or tk[j] == "," or tk[j] == ")"
    or tk[j] == ":" then return false end
  while true do
    local k = tk[j]
    if k == "(" or k == "[" or k == "{" or k == "F{" then depth = depth + 1
    elseif k == ")" or k == "]" or k == "}" or k == "F}" then depth = depth - 1
    elseif k == "NEWLINE" or k == "EOF" then break end
    j = j + 1
  end
  return tk[j - 1] == ":" and tk[j + 1] == "INDENT" and tk[j + 2] == "NAME" and tv[j + 2] == "case"
end

--- A match statement at token i, or nil; block(i) parses ": suite" and returns statements, colon and the next index.
function pattern.match_statement(at, kinds, starts, ends, values, i, block)
  tk, ts, te, tv = kinds, starts, ends, values
  if not is_match_head(i) then return nil end
  E = at
  local node = { k = "Match", s = ts[i], e = 0, subject = false, cases = {}, up = false }
  p = i + 1
  node.subject, p = E.star_list(p)
  node.colon = ts[p]
  expect(":")
  expect("NEWLINE")
  expect("INDENT")
  while tk[p] ~= "DEDENT" do
    if not (tk[p] == "NAME" and tv[p] == "case") then fail() end
    local case = { k = "match_case", s = ts[p], e = 0, pattern = false, guard = false, body = false, up = false }
    p = p + 1
    case.pattern = open_pattern()
    if tk[p] == "if" then
      p = p + 1
      case.guard, p = E.named(p)
    end
    local body, colon, after = block(p)
    tk, ts, te, tv = kinds, starts, ends, values
    case.body, case.colon, p = body, colon, after
    case.e = body.last or body[#body].e
    node.cases[#node.cases + 1] = case
    node.e = case.e
  end
  return node, p + 1
end

return pattern
