-- parser.lua: tokens to a syntax tree shaped like CPython's ast.
-- Invariant: every node has k (its kind, CPython's name), s and e (first and last byte in the text, parentheses
-- around an
-- expression excluded, as CPython counts) and up (false here; the walk of scope.lua sets it). Nothing of the text is
-- lost:
-- a tree is a set of ranges over it. Statements are in statement.lua, expressions here.
local lexer = require "convert.python.lexer"

local parser = {}

-- The state of the parse at hand: token arrays and the index of the current token.
local tk, ts, te, tv, p

local function fail(message, at) error({ pos = ts[at or p] or 1, message = message or "invalid syntax" }, 0) end

local function expect(kind)
  if tk[p] ~= kind then
    fail(("expected '%s'"):format(kind))
  end
  p = p + 1
end

local BINARY = { ["|"] = 1, ["^"] = 2, ["&"] = 3, ["<<"] = 4, [">>"] = 4, ["+"] = 5, ["-"] = 5, ["*"] = 6, ["/"] = 6,
  ["//"] = 6, ["%"] = 6, ["@"] = 6 }
local COMPARE = { ["<"] = 1, [">"] = 1, ["=="] = 1, [">="] = 1, ["<="] = 1, ["!="] = 1, ["in"] = 1, ["is"] = 1,
  ["not"] = 1 }
-- Tokens that end a comma-separated list of expressions.
local LIST_END = { [")"] = 1, ["]"] = 1, ["}"] = 1, ["NEWLINE"] = 1, ["="] = 1, [":"] = 1, [";"] = 1, ["in"] = 1,
  ["F}"] = 1, ["F:"] = 1,
  ["F!"] = 1, ["EOF"] = 1, ["for"] = 1, ["async"] = 1 }
for op in ("+= -= *= /= //= %= @= &= |= ^= >>= <<= **="):gmatch("%S+") do LIST_END[op] = 1 end

local expr, named, disjunction, binary, unary, star_list, atom, yield_expr, comp_clauses

local function parse_fstring()
  local node = { k = "JoinedStr", s = ts[p], e = 0, values = {}, up = false }
  local values = node.values
  local kind = tv[p]
  p = p + 1
  if kind:find("t", 1, true) then node.template = true end
  local function field()
    local f = { k = "FormattedValue", s = ts[p], e = 0, value = false, spec = false, up = false }
    p = p + 1
    f.value = tk[p] == "yield" and yield_expr() or star_list()
    if tk[p] == "=" then p = p + 1; f.debug = true end
    if tk[p] == "F!" then f.conversion = tv[p]; p = p + 1 end
    if tk[p] == "F:" then
      local inner = {}
      f.spec = { k = "JoinedStr", s = ts[p], e = 0, values = inner, up = false }
      p = p + 1
      while tk[p] == "F{" do inner[#inner + 1] = field() end
      f.spec.e = ts[p] - 1
    end
    if f.debug and not f.conversion and not f.spec then f.conversion = "r" end
    if tk[p] ~= "F}" then fail("f-string: expecting '}'") end
    f.e = ts[p]
    p = p + 1
    return f
  end
  while tk[p] == "F{" do values[#values + 1] = field() end
  if tk[p] ~= "FEND" then fail("f-string: invalid syntax") end
  node.e = te[p]
  p = p + 1
  return node
end

local function strings()
  local first = p
  local joined
  local is_bytes = false
  while true do
    local kind = tk[p]
    if kind == "STRING" then
      is_bytes = tv[p]:find("b", 1, true) and true or false
      p = p + 1
    elseif kind == "FSTART" then
      local f = parse_fstring()
      if joined then
        table.move(f.values, 1, #f.values, #joined.values + 1, joined.values)
      else joined = f end
    else break end
  end
  if joined then
    joined.s, joined.e = ts[first], te[p - 1]
    return joined
  end
  return { k = "Constant", s = ts[first], e = te[p - 1], t = is_bytes and "bytes" or "str", n = p - first, up = false }
end

local function comprehension(kind, s, elt, close)
  local generators = comp_clauses()
  local e = te[p]
  expect(close)
  return { k = kind, s = s, e = e, elt = elt, generators = generators, up = false }
end

function comp_clauses()
  local out = {}
  repeat
    local c = { k = "comprehension", s = ts[p], e = 0, target = false, iter = false, ifs = {}, up = false }
    if tk[p] == "async" then c.async = true; p = p + 1 end
    expect("for")
    c.target = parser.target_list()
    expect("in")
    c.iter = disjunction()
    while tk[p] == "if" do
      p = p + 1
      local cond
      if tk[p] == "NAME" and tk[p + 1] == ":=" then cond = named() else cond = disjunction() end
      c.ifs[#c.ifs + 1] = cond
    end
    c.e = te[p - 1]
    out[#out + 1] = c
  until tk[p] ~= "for" and not (tk[p] == "async" and tk[p + 1] == "for")
  return out
end

local function comp_follows()
  return tk[p] == "for" or (tk[p] == "async" and tk[p + 1] == "for")
end

local function star_or_named()
  if tk[p] == "*" then
    local s = ts[p]
    p = p + 1
    local value = binary(1)
    return { k = "Starred", s = s, e = te[p - 1], value = value, up = false }
  end
  return named()
end

local function parenthesized()
  local s = ts[p]
  p = p + 1
  local kind = tk[p]
  if kind == ")" then
    p = p + 1
    return { k = "Tuple", s = s, e = te[p - 1], elts = {}, up = false }
  end
  if kind == "yield" then
    local y = yield_expr()
    expect(")")
    return y
  end
  local first = star_or_named()
  kind = tk[p]
  if kind == ")" then
    if first.k == "Starred" then fail("cannot use starred expression here") end
    p = p + 1
    return first
  end
  if comp_follows() then return comprehension("GeneratorExp", s, first, ")") end
  local elts = { first }
  while tk[p] == "," do
    p = p + 1
    if tk[p] == ")" then break end
    elts[#elts + 1] = star_or_named()
  end
  expect(")")
  return { k = "Tuple", s = s, e = te[p - 1], elts = elts, up = false }
end

local function bracketed()
  local s = ts[p]
  p = p + 1
  local elts = {}
  if tk[p] ~= "]" then
    elts[1] = star_or_named()
    if comp_follows() then return comprehension("ListComp", s, elts[1], "]") end
    while tk[p] == "," do
      p = p + 1
      if tk[p] == "]" then break end
      elts[#elts + 1] = star_or_named()
    end
  end
  expect("]")
  return { k = "List", s = s, e = te[p - 1], elts = elts, up = false }
end

local function braced()
  local s = ts[p]
  p = p + 1
  local keys, values = {}, {}
  if tk[p] == "}" then
    p = p + 1
    return { k = "Dict", s = s, e = te[p - 1], keys = keys, values = values, up = false }
  end
  if tk[p] ~= "**" then
    local first = star_or_named()
    if tk[p] ~= ":" then
      if comp_follows() then return comprehension("SetComp", s, first, "}") end
      local elts = { first }
      while tk[p] == "," do
        p = p + 1
        if tk[p] == "}" then break end
        elts[#elts + 1] = star_or_named()
      end
      expect("}")
      return { k = "Set", s = s, e = te[p - 1], elts = elts, up = false }
    end
    p = p + 1
    local value = expr()
    if comp_follows() then
      local generators = comp_clauses()
      expect("}")
      return { k = "DictComp", s = s, e = te[p - 1], key = first, value = value, generators = generators, up = false }
    end
    keys[1], values[1] = first, value
  else
    p = p + 1
    keys[1], values[1] = false, binary(1)
  end
  while tk[p] == "," do
    p = p + 1
    if tk[p] == "}" then break end
    local n = #values + 1
    if tk[p] == "**" then
      p = p + 1
      keys[n], values[n] = false, binary(1)
    else
      keys[n] = expr()
      expect(":")
      values[n] = expr()
    end
  end
  expect("}")
  return { k = "Dict", s = s, e = te[p - 1], keys = keys, values = values, up = false }
end

local SINGLETON = { None = "None", True = "bool", False = "bool", ["..."] = "Ellipsis" }

function atom()
  local kind = tk[p]
  if kind == "NAME" then
    p = p + 1
    return { k = "Name", s = ts[p - 1], e = te[p - 1], id = tv[p - 1], up = false }
  elseif kind == "NUMBER" then
    p = p + 1
    return { k = "Constant", s = ts[p - 1], e = te[p - 1], t = "num", up = false }
  elseif kind == "STRING" or kind == "FSTART" then return strings()
  elseif kind == "(" then return parenthesized()
  elseif kind == "[" then return bracketed()
  elseif kind == "{" then return braced()
  elseif SINGLETON[kind] then
    p = p + 1
    return { k = "Constant", s = ts[p - 1], e = te[p - 1], t = SINGLETON[kind], up = false }
  end
  if kind == "INDENT" then fail("unexpected indent") end
  fail("invalid syntax")
end

-- Arguments of a call or a class head; p is after "(". Leaves p after ")".
local function arguments()
  local args, keywords = {}, {}
  while tk[p] ~= ")" do
    local kind = tk[p]
    if kind == "NAME" and tk[p + 1] == "=" then
      local kw = { k = "keyword", s = ts[p], e = 0, arg = tv[p], value = false, up = false }
      p = p + 2
      kw.value = expr()
      kw.e = te[p - 1]
      keywords[#keywords + 1] = kw
    elseif kind == "**" then
      local kw = { k = "keyword", s = ts[p], e = 0, arg = false, value = false, up = false }
      p = p + 1
      kw.value = expr()
      kw.e = te[p - 1]
      keywords[#keywords + 1] = kw
    elseif kind == "*" then
      local s = ts[p]
      p = p + 1
      local value = expr()
      args[#args + 1] = { k = "Starred", s = s, e = te[p - 1], value = value, up = false }
    else
      local a = named()
      if comp_follows() then
        local generators = comp_clauses()
        -- the lone generator's range is that of the call's parentheses, as CPython has it
        a = { k = "GeneratorExp", s = false, e = te[p], elt = a, generators = generators, up = false, lone = true }
        if #args > 0 or tk[p] ~= ")" then fail("Generator expression must be parenthesized") end
      elseif #keywords > 0 and keywords[#keywords].arg and a.k ~= "Starred" then
        fail("positional argument follows keyword argument")
      end
      args[#args + 1] = a
    end
    if tk[p] ~= "," then break end
    p = p + 1
  end
  expect(")")
  return args, keywords
end
parser.arguments_of = arguments

local function slice()
  local s = ts[p]
  local lower, upper, step = false, false, false
  if tk[p] == "*" then
    return star_or_named()
  end
  if tk[p] ~= ":" then
    lower = named()
    if tk[p] ~= ":" then return lower end
  end
  p = p + 1
  if tk[p] ~= ":" and tk[p] ~= "," and tk[p] ~= "]" then upper = expr() end
  if tk[p] == ":" then
    p = p + 1
    if tk[p] ~= "," and tk[p] ~= "]" then step = expr() end
  end
  return { k = "Slice", s = s, e = te[p - 1], lower = lower, upper = upper, step = step, up = false }
end

local function subscript(value, s)
  p = p + 1
  local start = ts[p]
  local index = slice()
  if tk[p] == "," or index.k == "Starred" then
    local elts = { index }
    while tk[p] == "," do
      p = p + 1
      if tk[p] == "]" then break end
      elts[#elts + 1] = slice()
    end
    index = { k = "Tuple", s = start, e = te[p - 1], elts = elts, up = false, bare = true }
  end
  expect("]")
  return { k = "Subscript", s = s, e = te[p - 1], value = value, slice = index, up = false }
end

local function primary()
  local s = ts[p]
  local awaiting = false
  if tk[p] == "await" then
    awaiting = true
    p = p + 1
  end
  local start = ts[p]
  local node = atom()
  while true do
    local kind = tk[p]
    if kind == "." then
      p = p + 1
      if tk[p] ~= "NAME" then fail("invalid syntax") end
      node = { k = "Attribute", s = start, e = te[p], value = node, attr = tv[p], up = false }
      p = p + 1
    elseif kind == "(" then
      local lp = ts[p]
      p = p + 1
      local args, keywords = arguments()
      if args[1] and args[1].lone then args[1].s, args[1].e = lp, te[p - 1] end
      node = { k = "Call", s = start, e = te[p - 1], func = node, args = args, keywords = keywords, lp = lp,
        up = false }
    elseif kind == "[" then node = subscript(node, start)
    else break end
  end
  if awaiting then node = { k = "Await", s = s, e = te[p - 1], value = node, up = false } end
  return node
end

-- Unary operators and power: -x ** -y is -(x ** (-y)).
function unary()
  local kind = tk[p]
  if kind == "-" or kind == "+" or kind == "~" then
    local s = ts[p]
    p = p + 1
    local operand = unary()
    return { k = "UnaryOp", s = s, e = te[p - 1], op = kind, operand = operand, up = false }
  end
  local s = ts[p]
  local node = primary()
  if tk[p] == "**" then
    p = p + 1
    local right = unary()
    return { k = "BinOp", s = s, e = te[p - 1], left = node, op = "**", right = right, up = false }
  end
  return node
end

function binary(level)
  local s = ts[p]
  local left = unary()
  while true do
    local op = tk[p]
    local prec = BINARY[op]
    if not prec or prec < level then return left end
    p = p + 1
    local right = binary(prec + 1)
    left = { k = "BinOp", s = s, e = te[p - 1], left = left, op = op, right = right, up = false }
  end
end

local function comparison()
  local s = ts[p]
  local left = binary(1)
  if not COMPARE[tk[p]] then return left end
  local ops, comparators = {}, {}
  while true do
    local op = tk[p]
    if not COMPARE[op] then break end
    if op == "not" then
      if tk[p + 1] ~= "in" then break end
      p = p + 1
      op = "not in"
    elseif op == "is" and tk[p + 1] == "not" then
      p = p + 1
      op = "is not"
    end
    p = p + 1
    ops[#ops + 1] = op
    comparators[#comparators + 1] = binary(1)
  end
  if #ops == 0 then return left end
  return { k = "Compare", s = s, e = te[p - 1], left = left, ops = ops, comparators = comparators, up = false }
end

local function inversion()
  if tk[p] == "not" then
    local s = ts[p]
    p = p + 1
    local operand = inversion()
    return { k = "UnaryOp", s = s, e = te[p - 1], op = "not", operand = operand, up = false }
  end
  return comparison()
end

local function conjunction()
  local s = ts[p]
  local first = inversion()
  if tk[p] ~= "and" then return first end
  local values = { first }
  while tk[p] == "and" do
    p = p + 1
    values[#values + 1] = inversion()
  end
  return { k = "BoolOp", s = s, e = te[p - 1], op = "and", values = values, up = false }
end

function disjunction()
  local s = ts[p]
  local first = conjunction()
  if tk[p] ~= "or" then return first end
  local values = { first }
  while tk[p] == "or" do
    p = p + 1
    values[#values + 1] = conjunction()
  end
  return { k = "BoolOp", s = s, e = te[p - 1], op = "or", values = values, up = false }
end

local function lambda()
  local s = ts[p]
  p = p + 1
  local args = parser.parameters(":", false)
  expect(":")
  local body = expr()
  return { k = "Lambda", s = s, e = te[p - 1], args = args, body = body, up = false }
end

function expr()
  local s = ts[p]
  if tk[p] == "lambda" then return lambda() end
  local body = disjunction()
  if tk[p] ~= "if" then return body end
  p = p + 1
  local test = disjunction()
  expect("else")
  local orelse = expr()
  return { k = "IfExp", s = s, e = te[p - 1], test = test, body = body, orelse = orelse, up = false }
end

function named()
  if tk[p] == "NAME" and tk[p + 1] == ":=" then
    local target = { k = "Name", s = ts[p], e = te[p], id = tv[p], up = false, store = true }
    p = p + 2
    local value = expr()
    return { k = "NamedExpr", s = target.s, e = te[p - 1], target = target, value = value, up = false }
  end
  return expr()
end

--- Expressions separated by commas: one expression, or a Tuple without parentheses.
function star_list()
  local s = ts[p]
  local first = star_or_named()
  if tk[p] ~= "," then return first end
  local elts = { first }
  while tk[p] == "," do
    p = p + 1
    if LIST_END[tk[p]] then break end
    elts[#elts + 1] = star_or_named()
  end
  return { k = "Tuple", s = s, e = te[p - 1], elts = elts, up = false, bare = true }
end

function yield_expr()
  local s = ts[p]
  p = p + 1
  if tk[p] == "from" then
    p = p + 1
    local value = expr()
    return { k = "YieldFrom", s = s, e = te[p - 1], value = value, up = false }
  end
  local value = false
  if not LIST_END[tk[p]] then value = star_list() end
  return { k = "Yield", s = s, e = te[p - 1], value = value, up = false }
end

-- Targets of `for` and comprehensions: no `in` inside.
local function target_item()
  if tk[p] == "*" then
    local s = ts[p]
    p = p + 1
    local value = binary(1)
    return { k = "Starred", s = s, e = te[p - 1], value = value, up = false }
  end
  return binary(1)
end

local function mark_store(node)
  if node.k == "Tuple" or node.k == "List" then
    for _, x in ipairs(node.elts) do mark_store(x) end
  elseif node.k == "Starred" then mark_store(node.value)
  elseif node.k == "Name" or node.k == "Attribute" or node.k == "Subscript" then node.store = true
  else fail("cannot assign to expression here", p) end
end
parser.mark_store = mark_store

function parser.target_list()
  local s = ts[p]
  local first = target_item()
  if tk[p] == "," then
    local elts = { first }
    while tk[p] == "," do
      p = p + 1
      if LIST_END[tk[p]] then break end
      elts[#elts + 1] = target_item()
    end
    first = { k = "Tuple", s = s, e = te[p - 1], elts = elts, up = false, bare = true }
  end
  mark_store(first)
  return first
end

--- Parameters of a def (annotated) or lambda, up to the token `close`, which is not consumed.
function parser.parameters(close, annotated)
  local out = { k = "arguments", s = ts[p], e = 0, list = {}, up = false }
  local list = out.list
  local group = "normal"
  while tk[p] ~= close do
    local kind = tk[p]
    if kind == "/" then
      for _, a in ipairs(list) do a.group = "posonly" end
      p = p + 1
    elseif kind == "*" and (tk[p + 1] == "," ) then
      group = "kwonly"
      p = p + 1
    else
      local arg = { k = "arg", s = 0, e = 0, arg = false, annotation = false, default = false, group = group,
        up = false }
      if kind == "*" then
        arg.group, group = "vararg", "kwonly"
        p = p + 1
      elseif kind == "**" then
        arg.group = "kwarg"
        p = p + 1
      end
      if tk[p] ~= "NAME" then fail("invalid syntax") end
      arg.s, arg.arg, arg.ne = ts[p], tv[p], te[p]
      p = p + 1
      if annotated and tk[p] == ":" then
        p = p + 1
        if arg.group == "vararg" and tk[p] == "*" then arg.annotation = star_or_named() else arg.annotation = expr() end
      end
      arg.e = te[p - 1]
      if tk[p] == "=" then
        p = p + 1
        arg.default = expr()
        arg.de = te[p - 1]
      end
      list[#list + 1] = arg
    end
    if tk[p] ~= "," then break end
    p = p + 1
  end
  out.e = te[p - 1]
  return out
end

-- What statement.lua needs: each takes the index of the current token and returns a node and the next index.
parser.at = {}
for name, fn in pairs { expr = expr, named = named, star_list = star_list, yield_expr = yield_expr,
  disjunction = disjunction,
  binary = function() return binary(1) end, arithmetic = function() return binary(5) end, strings = strings,
    target_list = parser.target_list } do
  parser.at[name] = function(i)
    p = i
    local node = fn()
    return node, p
  end
end
function parser.at.arguments(i)
  p = i
  local args, keywords = arguments()
  return args, keywords, p
end
function parser.at.parameters(i, close, annotated)
  p = i
  local node = parser.parameters(close, annotated)
  return node, p
end

local statement = require "convert.python.statement"

--- The tree of a text, or nil and an error table {line, col, message}.
function parser.parse(text)
  local ok, kinds, starts, ends, values = pcall(lexer.lex, text)
  local tree
  if ok then
    tk, ts, te, tv, p = kinds, starts, ends, values, 1
    ok, tree = pcall(statement.module, parser.at, mark_store, tk, ts, te, tv)
  else tree = kinds end
  tk, ts, te, tv = nil, nil, nil, nil
  if ok then
    tree.tokens = { kinds = kinds, starts = starts, ends = ends, values = values }
    return tree
  end
  local err = tree
  if type(err) ~= "table" then
    err = { pos = 1, message = tostring(err):find("stack overflow", 1, true) and "too deeply nested" or tostring(err) }
  end
  err.line, err.col = lexer.position(text, err.pos)
  return nil, err
end

return parser
