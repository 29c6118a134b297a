-- foreign.lua: Python (and C) typed at the prompt: what it is called in Lua, and the line rewritten.
--
-- A line is cut into tokens, the rules below change lists of tokens, and a rewritten line is offered only when Lua's own
-- parser accepts it: a suggestion is never a second mistake.
local foreign = {}

-- ---- tokens: strings and numbers whole, everything else by the longest operator ----
local OPERATORS = { "...", "**=", "//=", ">>=", "<<=", "+=", "-=", "*=", "/=", "%=", "@=", "&=", "|=", "^=", "->", "++",
  "**", "//", "==", "!=", "~=", "<=", ">=", "&&", "||", "::", "..", ">>", "<<", ":=" }

local function operator_at(line, at)
  for _, op in ipairs(OPERATORS) do
    if line:sub(at, at + #op - 1) == op then return op end
  end
  return line:sub(at, at)
end

local function string_at(line, at)
  local quote = line:sub(at, at)
  local i = at + 1
  while i <= #line do
    local c = line:sub(i, i)
    if c == "\\" then i = i + 1
    elseif c == quote then return line:sub(at, i) end
    i = i + 1
  end
  return line:sub(at)
end

--- List of { text, kind, space before }; kind: name, number, string, op, comment.
local function tokenize(line)
  local list, at, space = {}, 1, ""
  while at <= #line do
    local blank = line:match("^%s+", at)
    if blank then
      space, at = blank, at + #blank
    else
      local c = line:sub(at, at)
      local text, kind = line:match("^[%a_][%w_]*", at), "name"
      if not text then text, kind = line:match("^%d[%w_]*%.?%d*[eE]?[%w]*", at), "number" end
      if not text and (c == '"' or c == "'") then text, kind = string_at(line, at), "string" end
      if not text and (c == "#" and (at == 1 or space ~= "") and line:match("^#%s", at)) then
        text, kind = line:sub(at), "comment"
      end
      if not text and line:sub(at, at + 1) == "--" then text, kind = line:sub(at), "comment" end
      if not text then text, kind = operator_at(line, at), "op" end
      list[#list + 1] = { text = text, kind = kind, space = space }
      at, space = at + #text, ""
    end
  end
  return list
end

local function join(list, from, to)
  local out = {}
  for i = from or 1, to or #list do
    out[#out + 1] = (i > (from or 1) and list[i].space or "") .. list[i].text
  end
  return table.concat(out)
end

local closes = { ["("] = ")", ["["] = "]", ["{"] = "}" }

--- Index of the bracket that closes the one at i.
local function partner(list, i)
  local depth = 0
  for k = i, #list do
    local t = list[k]
    if t.kind == "op" and closes[t.text] then depth = depth + 1
    elseif t.kind == "op" and (t.text == ")" or t.text == "]" or t.text == "}") then
      depth = depth - 1
      if depth == 0 then return k end
    end
  end
end

--- Start of the operand that ends at i: a name, call, subscript or bracket with what it hangs on.
local function operand_start(list, i)
  while i >= 1 do
    local t = list[i].text
    if list[i].kind == "op" and (t == ")" or t == "]" or t == "}") then
      local depth = 0
      repeat
        local u = list[i].text
        if list[i].kind == "op" then
          depth = depth + ((u == ")" or u == "]" or u == "}") and 1 or closes[u] and -1 or 0)
        end
        i = i - 1
      until depth == 0 or i < 1
      i = i + 1
      local before = list[i - 1]
      if before and (before.kind == "name" or before.text == ")" or before.text == "]") and list[i].text ~= "{" then
        i = i - 1
      else return i end
    elseif list[i].kind == "name" or list[i].kind == "number" or list[i].kind == "string" then
      local before = list[i - 1]
      if before and (before.text == "." or before.text == ":") and list[i - 2] then i = i - 2 else return i end
    else return i + 1 end
  end
  return 1
end

--- Parts between commas of level zero in from..to: a list of { first, last }.
local function parts_of(list, from, to)
  local out, first, depth = {}, from, 0
  for i = from, to do
    local t = list[i]
    if t.kind == "op" then
      if closes[t.text] then depth = depth + 1
      elseif t.text == ")" or t.text == "]" or t.text == "}" then depth = depth - 1
      elseif t.text == "," and depth == 0 then
        out[#out + 1] = { first, i - 1 }
        first = i + 1
      end
    end
  end
  if first <= to then out[#out + 1] = { first, to } end
  return out
end

local function make(text, kind, space) return { text = text, kind = kind or "op", space = space or "" } end

local function replace(list, from, to, with)
  local out = {}
  for i = 1, from - 1 do out[i] = list[i] end
  for _, t in ipairs(with) do out[#out + 1] = t end
  for i = to + 1, #list do out[#out + 1] = list[i] end
  return out
end

-- ---- rules on expressions: each returns the changed list and what to say, or nil ----
local WORDS = { None = "nil", True = "true", False = "false", ["elif"] = "elseif" }
local OPS = { ["**"] = "^", ["!="] = "~=", ["&&"] = "and", ["||"] = "or", ["->"] = ":" }
local NAMES_OF = { ["**"] = "a power is ^", ["!="] = "'not equal' is ~=", ["&&"] = "'and' is a word",
  ["||"] = "'or' is a word", ["->"] = "a method call is written x:name()" }

local function words(list)
  local said, changed
  for i, t in ipairs(list) do
    if t.kind == "name" and WORDS[t.text] and not (list[i - 1] and list[i - 1].text == ".") then
      said = said or (t.text .. " is " .. WORDS[t.text])
      t.text, changed = WORDS[t.text], true
    elseif t.kind == "op" and OPS[t.text] then
      said = NAMES_OF[t.text]
      local wordy = t.text == "&&" or t.text == "||"
      t.text, changed = OPS[t.text], true
      if wordy then
        t.space = " "
        if list[i + 1] then list[i + 1].space = " " end
      end
    elseif t.kind == "op" and t.text == "!" then
      t.text, changed, said = "not", true, "'not' is a word"
      if list[i + 1] then list[i + 1].space = " " end
    elseif t.kind == "comment" and t.text:sub(1, 1) == "#" then
      t.text, changed, said = "--" .. t.text:sub(2), true, "a comment begins with --"
    end
  end
  return changed and list, said
end

local function is_test(list)
  for i, t in ipairs(list) do
    if t.kind == "name" and t.text == "is" and i > 1 then
      local negated = list[i + 1] and list[i + 1].text == "not"
      return replace(list, i, negated and i + 1 or i, { make(negated and "~=" or "==", "op", " ") }),
        "'is' is =="
    end
  end
end

local function f_string(list)
  for i, t in ipairs(list) do
    local s = list[i + 1]
    if t.kind == "name" and (t.text == "f" or t.text == "rf") and s and s.kind == "string" and s.space == "" then
      local quote, body, values = s.text:sub(1, 1), s.text:sub(2, -2), {}
      body = body:gsub("%%", "%%%%"):gsub("{([^{}]*)}", function(e)
        local value, spec = e:match("^(.-):(%.?%d*%.?%d*[dfgex])$")
        values[#values + 1] = value or e
        return "%" .. (spec or "s")
      end)
      local text = #values == 0 and quote .. body .. quote
        or "(" .. quote .. body .. quote .. "):format(" .. table.concat(values, ", ") .. ")"
      return replace(list, i, i + 1, { make(text, "string", t.space) }), "Lua has no f-strings; format fills in values"
    end
  end
end

local function lambda(list)
  for i, t in ipairs(list) do
    if t.kind == "name" and t.text == "lambda" then
      local colon, last = nil, #list
      local depth = 0
      for k = i + 1, #list do
        local u = list[k].text
        if list[k].kind == "op" then
          if closes[u] then depth = depth + 1
          elseif u == ")" or u == "]" or u == "}" then depth = depth - 1 end
          if depth < 0 or depth == 0 and colon and u == "," then last = k - 1 break end
          if u == ":" and depth == 0 and not colon then colon = k end
        end
      end
      if not colon then return end
      local text = "function(" .. join(list, i + 1, colon - 1) .. ") return " .. join(list, colon + 1, last) .. " end"
      local with = tokenize(text)
      with[1].space = t.space
      return replace(list, i, last, with), "a lambda is function(x) return ... end"
    end
  end
end

--- a if c else b
local function ternary(list)
  local a, b
  for i, t in ipairs(list) do
    if t.kind == "name" and t.text == "if" and i > 1 then a = i
    elseif t.kind == "name" and t.text == "else" and a then b = i break end
  end
  if not b then return end
  local from = 1
  for i = a - 1, 1, -1 do
    local t = list[i].text
    if t == "=" or t == "return" or t == "(" or t == "," then from = i + 1 break end
  end
  local last = #list
  local out = replace(list, from, last, {})
  local text = join(list, a + 1, b - 1) .. " and " .. join(list, from, a - 1) .. " or " .. join(list, b + 1, last)
  for i, t in ipairs(tokenize(text)) do
    if i == 1 then t.space = list[from].space end
    out[#out + 1] = t
  end
  return out, "a choice is: condition and a or b"
end

--- [1, 2] as a value is {1, 2}; x[1:3], x[0, 1] are x["1:3"], x[{0, 1}].
local function brackets(list)
  for i, t in ipairs(list) do
    if t.kind == "op" and t.text == "[" then
      local to = partner(list, i)
      local before = list[i - 1]
      local subscript = before and t.space == "" and (before.kind == "name" or before.text == ")" or before.text == "]"
        or before.text == '"]')
      if not to then return end
      if not subscript then
        for k = i + 1, to do
          if list[k].text == "for" then
            return nil, "Lua has no comprehensions: fill a table in a loop"
          end
        end
        t.text, list[to].text = "{", "}"
        return list, "a list is written {1, 2, 3}"
      end
      local comma, colon, names
      local depth = 0
      for k = i + 1, to - 1 do
        local u = list[k]
        if u.kind == "op" then
          if closes[u.text] then depth = depth + 1
          elseif u.text == ")" or u.text == "]" or u.text == "}" then depth = depth - 1 end
          if depth == 0 and u.text == "," then comma = true end
          if depth == 0 and (u.text == ":" or u.text == "::" or u.text == "...") then colon = true end
        elseif u.kind == "name" and u.text ~= "None" then names = true
        elseif u.kind == "string" then return end
      end
      if to > i + 1 and (comma or colon) then
        local inner = join(list, i + 1, to - 1)
        if not names then
          return replace(list, i + 1, to - 1, { make('"' .. inner .. '"', "string") }),
            "a tensor's slice is written as text"
        end
        local out = {}
        for _, p in ipairs(parts_of(list, i + 1, to - 1)) do
          local text = join(list, p[1], p[2])
          local from, stop = text:match("^([^:%[%(]*):([^:]*)$")
          if from and (from .. stop):find("%a") then
            text = ("torch.slice(%s, %s)"):format(from == "" and "nil" or from, stop == "" and "nil" or stop)
          elseif text == "None" or text:find("[:%.]") and not text:find("%a") then text = '"' .. text .. '"' end
          out[#out + 1] = text
        end
        local text = #out == 1 and not comma and out[1] or "{" .. table.concat(out, ", ") .. "}"
        return replace(list, i + 1, to - 1, { make(text, "string") }),
          comma and "one index per dimension goes into a table" or "a slice with variables is torch.slice(start, stop)"
      end
    end
  end
end

--- {'a': 1} is {a = 1}.
local function dictionary(list)
  for i, t in ipairs(list) do
    if t.kind == "op" and t.text == "{" then
      local to = partner(list, i)
      if to then
        local out, changed = {}, false
        for _, p in ipairs(parts_of(list, i + 1, to - 1)) do
          local text = join(list, p[1], p[2])
          if list[p[1]].kind == "string" and list[p[1] + 1] and list[p[1] + 1].text == ":" then
            local name = list[p[1]].text:sub(2, -2)
            text = (name:find("^[%a_][%w_]*$") and name or "[" .. list[p[1]].text .. "]") .. " = "
              .. join(list, p[1] + 2, p[2])
            changed = true
          elseif list[p[1] + 1] and list[p[1] + 1].text == ":" and p[2] > p[1] + 1 then
            text = "[" .. list[p[1]].text .. "] = " .. join(list, p[1] + 2, p[2])
            changed = true
          end
          out[#out + 1] = text
        end
        if changed then
          return replace(list, i + 1, to - 1, { make(table.concat(out, ", "), "string") }),
            "a dictionary is written {name = value}"
        end
      end
    end
  end
end

--- f(x, dim=1) is f(x, {dim = 1}).
local function keywords(list)
  for i, t in ipairs(list) do
    local before = list[i - 1]
    if t.kind == "op" and t.text == "(" and before and (before.kind == "name" or before.text == ")"
      or before.text == "]") then
      local to = partner(list, i)
      local parts = to and parts_of(list, i + 1, to - 1) or {}
      local first
      for k, p in ipairs(parts) do
        local eq = list[p[1] + 1]
        if list[p[1]].kind == "name" and eq and eq.text == "=" and p[2] > p[1] + 1 then first = first or k
        elseif first then return end
      end
      if first then
        local out = {}
        for k = first, #parts do
          local p = parts[k]
          local name = list[p[1]].text
          if name == "end" then name = "end_" end
          out[#out + 1] = name .. " = " .. join(list, p[1] + 2, p[2])
        end
        local text = "{" .. table.concat(out, ", ") .. "}"
        return replace(list, parts[first][1], to - 1, { make(text, "string", first > 1 and " " or "") }),
          "keyword arguments go into a table"
      end
    end
  end
end

local function matmul(list)
  for i, t in ipairs(list) do
    if t.kind == "op" and t.text == "@" and i > 1 and list[i + 1] then
      local from = operand_start(list, i - 1)
      local to = i + 1
      while list[to + 1] and (list[to + 1].text == "." or closes[list[to + 1].text] and list[to + 1].space == "") do
        if list[to + 1].text == "." then to = to + 2 else to = partner(list, to + 1) or #list end
      end
      local text = join(list, from, i - 1) .. ":matmul(" .. join(list, i + 1, to) .. ")"
      return replace(list, from, to, { make(text, "string", list[from].space) }), "the matrix product is x:matmul(y)"
    end
  end
end

local AUGMENTED = { ["+="] = "+", ["-="] = "-", ["*="] = "*", ["/="] = "/", ["//="] = "//", ["**="] = "^", ["%="] = "%",
  ["@="] = "@", ["&="] = "&", ["|="] = "|", ["^="] = "~" }
local function augmented(list)
  for i, t in ipairs(list) do
    if t.kind == "op" and AUGMENTED[t.text] and i > 1 then
      local target = join(list, 1, i - 1)
      local value = join(list, i + 1)
      if value:find("[%+%-%*/%s]") and not value:find("^[%w_%.]*%b()$") then value = "(" .. value .. ")" end
      return tokenize(target .. " = " .. target .. " " .. AUGMENTED[t.text] .. " " .. value),
        "Lua has no " .. t.text .. " (in place it would be " .. target .. ":"
        .. (({ ["+="] = "add_", ["-="] = "sub_", ["*="] = "mul_", ["/="] = "div_" })[t.text] or "copy_") .. "(...))"
    elseif t.kind == "op" and t.text == "++" and i == #list and i > 1 then
      local target = join(list, 1, i - 1)
      return tokenize(target .. " = " .. target .. " + 1"), "Lua has no ++"
    end
  end
end

local function reserved(list)
  for i, t in ipairs(list) do
    local before = list[i - 1]
    if t.text == "repeat" and before and (before.text == ":" or before.text == ".") then
      t.text, before.text = "rep", ":"
      return list, "'repeat' is a word of Lua: the method is x:rep"
    end
  end
end

--- x.sum() with a tensor or module in x: x:sum(). is_object(name, method) asks the session.
local function dots(list, is_object)
  local changed
  for i, t in ipairs(list) do
    if t.kind == "name" and list[i + 1] and list[i + 1].text == "." and list[i + 2] and list[i + 3]
      and list[i + 3].text == "(" and not (list[i - 1] and (list[i - 1].text == "." or list[i - 1].text == ":"))
      and is_object(t.text, list[i + 2].text) then
      list[i + 1].text, changed = ":", true
    end
  end
  return changed and list, "methods are called with a colon"
end

local EXPRESSIONS = { brackets, is_test, words, f_string, lambda, augmented, ternary, reserved, dictionary, keywords,
  matmul }

local function parses(text)
  return load(text, "=k", "t") ~= nil or load("return " .. text, "=k", "t") ~= nil
end

--- text with the rules applied; what they said.
local function rewrite(text, is_object)
  local list = tokenize(text)
  local said, heard = {}, {}
  local function note(what)
    if what and not heard[what] then
      heard[what] = true
      said[#said + 1] = what
    end
  end
  for _, rule in ipairs(EXPRESSIONS) do
    for _ = 1, 20 do
      local changed, what = rule(list)
      note(what)
      if not changed then break end
      list = tokenize(join(changed))
    end
  end
  if is_object and #said > 0 then
    local changed, what = dots(list, is_object)
    if changed then
      list = changed
      note(what)
    end
  end
  return join(list), said
end

-- ---- statements: patterns of a whole line ----
local HAVE = { torch = "torch, nn, F and optim are there already", ["torch.nn"] = "nn is there already",
  ["torch.nn.functional"] = "F is there already", ["torch.optim"] = "optim is there already",
  numpy = "tensors take numpy's place; files: torch.load('x.npy')" }

local function range_loop(name, args)
  local parts = {}
  for _, p in ipairs(parts_of(tokenize(args), 1, #tokenize(args))) do parts[#parts + 1] = join(tokenize(args), p[1], p[2]) end
  local from, stop, step = parts[1], parts[2], parts[3]
  if not stop then from, stop = "0", parts[1] end
  if not stop then return end
  local last = math.tointeger(tonumber(stop)) and tostring(math.tointeger(tonumber(stop)) - 1) or stop .. " - 1"
  if step and step:find("^%-") then last = math.tointeger(tonumber(stop)) and tostring(stop + 1) or stop .. " + 1" end
  return ("for %s = %s, %s%s do"):format(name, from, last, step and ", " .. step or "")
end

local STATEMENTS = {
  { "^import%s+([%w_.]+)%s*$", function(m)
    if HAVE[m] then return HAVE[m] end
    return "modules are loaded with require", ('local %s = require "%s"'):format(m:match("[%w_]+$"), m)
  end },
  { "^import%s+([%w_.]+)%s+as%s+([%w_]+)%s*$", function(m, as)
    if HAVE[m] then
      local there = rawget(_G, as) ~= nil and rawget(_G, as) == package.loaded[m] or as == "nn" or as == "F" or as == "optim"
      return HAVE[m], not there and m:find("^torch") and ("local %s = %s"):format(as, m) or nil
    end
    return "modules are loaded with require", ('local %s = require "%s"'):format(as, m)
  end },
  { "^from%s+([%w_.]+)%s+import%s+([%w_, ]+)$", function(m, what)
    local name = what:match("^[%w_]+$")
    if m == "torch" and HAVE["torch." .. what] then return HAVE["torch." .. what] end
    local source = m:find("^torch") and m or ('require "%s"'):format(m)
    return m:find("^torch") and "names are taken from torch's tables" or "modules are loaded with require",
      name and ("local %s = %s.%s"):format(name, m:find("^torch") and m or "(" .. source .. ")", name) or nil
  end },
  { "^def%s+([%w_]+)%s*(%b())[^:]*:%s*(.*)$", function(name, args, body, is_object)
    args = args:gsub("%s*:%s*[%w_.%[%]]+", ""):gsub("%s*=%s*[^,)]+", "")
    if body == "" then
      return "a function ends with 'end'", ("function %s%s ... end"):format(name, args)
    end
    return "a function ends with 'end'", ("function %s%s %s end"):format(name, args, (rewrite(body, is_object)))
  end },
  { "^class%s+([%w_]+)%s*%(([%w_.]*)%)%s*:", function(name, base)
    return "a class is made by extend; then function " .. name .. ":init(...) and function " .. name
      .. ":forward(x)", ('%s = %s:extend("%s")'):format(name, base == "" and "nn.Module" or base, name)
  end },
  { "^for%s+([%w_]+)%s+in%s+range%((.*)%)%s*:%s*(.*)$", function(name, args, body, is_object)
    local head = range_loop(name, args)
    return "a loop over numbers has its last value included, and ends with 'end'",
      head and head .. " " .. (body == "" and "..." or (rewrite(body, is_object))) .. " end"
  end },
  { "^for%s+([%w_]+)%s*,%s*([%w_]+)%s+in%s+enumerate%((.*)%)%s*:%s*(.*)$", function(i, v, list, body)
    return "a list is walked by ipairs, from 1", ("for %s, %s in ipairs(%s) do %s end"):format(i, v, list,
      body == "" and "..." or (rewrite(body)))
  end },
  { "^for%s+([%w_]+)%s*,%s*([%w_]+)%s+in%s+([%w_.]+)%.items%(%)%s*:%s*(.*)$", function(k, v, d, body)
    return "a table is walked by pairs", ("for %s, %s in pairs(%s) do %s end"):format(k, v, d,
      body == "" and "..." or (rewrite(body)))
  end },
  { "^for%s+([%w_]+%s*,[%w_, ]-)%s+in%s+([%w_.]+)%s*:%s*(.*)$", function(names, list, body)
    return "a DataLoader is walked by its iter()", ("for %s in %s:iter() do %s end"):format(names, list,
      body == "" and "..." or (rewrite(body)))
  end },
  { "^for%s+([%w_, ]-)%s+in%s+(.-)%s*:%s*(.*)$", function(names, list, body)
    return "a list is walked by ipairs", ("for _, %s in ipairs(%s) do %s end"):format(names, (rewrite(list)),
      body == "" and "..." or (rewrite(body)))
  end },
  { "^(elif)%s+(.-)%s*:%s*(.*)$", function(_, cond, body)
    return "elif is elseif ... then", ("elseif %s then %s"):format((rewrite(cond)), body)
  end },
  { "^if%s+(.-)%s*:%s*(.*)$", function(cond, body, is_object)
    return "a condition is followed by 'then', the block by 'end'", ("if %s then %s end"):format((rewrite(cond, is_object)),
      body == "" and "..." or (rewrite(body, is_object)))
  end },
  { "^while%s+(.-)%s*:%s*(.*)$", function(cond, body, is_object)
    return "a loop is while ... do ... end", ("while %s do %s end"):format((rewrite(cond, is_object)), body == "" and "..."
      or (rewrite(body, is_object)))
  end },
  { "^else%s*:", function() return "else takes no colon; the block ends with 'end'" end },
  { "^with%s+(torch%.[%w_.]+)%(%)%s*:%s*(.*)$", function(guard, body)
    return "a guard covers a function, or the rest of a block (local _ <close> = " .. guard .. "())",
      ("%s(function() %s end)"):format(guard, body == "" and "..." or (rewrite(body)))
  end },
  { "^with%s+(.-)%s+as%s+([%w_]+)%s*:", function(value, name)
    return "what must be closed is declared <close>", ("local %s <close> = %s"):format(name, (rewrite(value)))
  end },
  { "^try%s*:", function()
    return "errors are caught by pcall", "local ok, err = pcall(function() ... end)"
  end },
  { "^except.*:", function() return "errors are caught by pcall", "if not ok then ... end" end },
  { "^finally%s*:", function() return "clean-up is a variable declared <close>" end },
  { "^raise%s+[%w_.]+%((.*)%)$", function(text)
    return "an error is raised by a call", ("error(%s)"):format(text)
  end },
  { "^raise", function() return "an error is raised by error(message)" end },
  { "^del%s+([%w_.]+)$", function(name)
    return "a variable is emptied with nil", name .. " = nil"
  end },
  { "^assert%s+([^,(].-)%s*,%s*(.+)$", function(c, m)
    return "assert is a function", ("assert(%s, %s)"):format((rewrite(c)), m)
  end },
  { "^assert%s+([^(].*)$", function(c)
    return "assert is a function", ("assert(%s)"):format((rewrite(c)))
  end },
  { "^pass%s*$", function() return "an empty block needs no word: do end" end },
  { "^print%s+([^(=].*)$", function(what)
    return "print is a function", ("print(%s)"):format((rewrite(what)))
  end },
  { "^@", function() return "Lua has no decorators: f = decorator(f)" end },
  { "^async%s", function() return "Lua has coroutines, no async" end },
  { "^const%s+([%w_]+)%s*=%s*(.+)$", function(n, v)
    return "a constant is a local", ("local %s <const> = %s"):format(n, (rewrite(v)))
  end },
  { "^let%s+(.+)$", function(rest)
    return "a variable is local, or just assigned", "local " .. (rewrite(rest))
  end },
  { "^var%s+(.+)$", function(rest)
    return "a variable is local, or just assigned", "local " .. (rewrite(rest))
  end },
  { "^#%s*(.*)$", function(rest) return "a comment begins with --", "-- " .. rest end },
  { "^//%s*(.*)$", function(rest) return "a comment begins with --", "-- " .. rest end },
}

--- Is this the head of a Python block? The prompt must not wait for its end.
function foreign.is_block(text)
  local line = text:match("^%s*([^\n]*)")
  local word = line:match("^[%a]+")
  if word == "for" or word == "while" or word == "if" or word == "with" or word == "try" or word == "def"
    or word == "class" or word == "elif" or word == "else" then
    return line:find(":%s*$") ~= nil or line:find("^for%s+[%w_]+%s+in%s+range%b()%s*:") ~= nil
  end
  return false
end

--- For a line that Lua's parser refuses: what it is in Lua, and the line rewritten (or nil).
function foreign.explain(line, is_object)
  local body = line:match("^%s*(.-)[%s;]*$")
  for _, s in ipairs(STATEMENTS) do
    local found = table.pack(body:match(s[1]))
    if found[1] then
      found[#found + 1] = is_object
      local said, text = s[2](table.unpack(found))
      if text and not (parses(text) or parses((text:gsub("%.%.%.", "do end")))
        or text:find("^elseif")) then text = nil end
      return said, text
    end
  end
  local text, said = rewrite(body, is_object)
  if #said == 0 then return nil end
  if text == body or not parses(text) then text = nil end
  return table.concat(said, "; "), text
end

return foreign
