-- statement.lua: the statements of Python 3.8 to 3.14, over the expressions of parser.lua.
-- Invariant: as parser.lua's; compound statements keep the byte of their ":" as `colon`, definitions the range of their
-- name as ns..ne and of their parentheses as lp..rp, so that an edit never has to search the text.
local statement = {}

local E, mark_store
local tk, ts, te, tv, p

local function fail(message, at) error({ pos = ts[at or p] or 1, message = message or "invalid syntax" }, 0) end
local function expect(kind)
  if tk[p] ~= kind then fail(("expected '%s'"):format(kind)) end
  p = p + 1
end
local function expr() local n n, p = E.expr(p) return n end
local function named() local n n, p = E.named(p) return n end
local function star_list() local n n, p = E.star_list(p) return n end

local block, simple_line

-- The right side of an assignment.
local function value_list()
  if tk[p] == "yield" then
    local n
    n, p = E.yield_expr(p)
    return n
  end
  return star_list()
end

local AUGMENTED = {}
for op in ("+= -= *= /= //= %= @= &= |= ^= >>= <<= **="):gmatch("%S+") do AUGMENTED[op] = op:sub(1, -2) end

local function expression_statement()
  local s, paren = ts[p], tk[p] == "("
  local first = value_list()
  local kind = tk[p]
  if kind == "=" then
    local targets = {}
    local value = first
    while tk[p] == "=" do
      mark_store(value)
      targets[#targets + 1] = value
      p = p + 1
      value = value_list()
    end
    return { k = "Assign", s = s, e = te[p - 1], targets = targets, value = value, up = false }
  elseif AUGMENTED[kind] then
    mark_store(first)
    p = p + 1
    local value = value_list()
    return { k = "AugAssign", s = s, e = te[p - 1], target = first, op = AUGMENTED[kind], value = value, up = false }
  elseif kind == ":" and (first.k == "Name" or first.k == "Attribute" or first.k == "Subscript") then
    mark_store(first)
    p = p + 1
    local annotation = expr()
    local value = false
    if tk[p] == "=" then
      p = p + 1
      value = value_list()
    end
    return { k = "AnnAssign", s = s, e = te[p - 1], target = first, annotation = annotation, value = value,
      simple = first.k == "Name" and not paren, up = false }
  end
  return { k = "Expr", s = s, e = te[p - 1], value = first, up = false }
end

local function dotted_name()
  local first = p
  if tk[p] ~= "NAME" then fail() end
  local name = tv[p]
  p = p + 1
  while tk[p] == "." do
    if tk[p + 1] ~= "NAME" then fail(nil, p + 1) end
    name = name .. "." .. tv[p + 1]
    p = p + 2
  end
  return name, ts[first]
end

local function alias_tail(alias)
  if tk[p] == "as" then
    if tk[p + 1] ~= "NAME" then fail(nil, p + 1) end
    alias.asname = tv[p + 1]
    p = p + 2
  end
  alias.e = te[p - 1]
  return alias
end

local SIMPLE = {}

function SIMPLE.import(s)
  p = p + 1
  local names = {}
  repeat
    if #names > 0 then p = p + 1 end
    local name, at = dotted_name()
    names[#names + 1] = alias_tail { k = "alias", s = at, e = 0, name = name, asname = false, up = false }
  until tk[p] ~= ","
  return { k = "Import", s = s, e = te[p - 1], names = names, up = false }
end

SIMPLE["from"] = function(s)
  p = p + 1
  local level = 0
  while tk[p] == "." or tk[p] == "..." do
    level = level + #tk[p]
    p = p + 1
  end
  local module = false
  if tk[p] == "NAME" then module = dotted_name() end
  if not module and level == 0 then fail() end
  local node = { k = "ImportFrom", s = s, e = 0, module = module, level = level, names = {}, mod_e = te[p - 1],
    up = false }
  expect("import")
  local names = node.names
  if tk[p] == "*" then
    names[1] = { k = "alias", s = ts[p], e = te[p], name = "*", asname = false, up = false }
    p = p + 1
  else
    local paren = tk[p] == "("
    if paren then node.lp = ts[p] p = p + 1 end
    while tk[p] == "NAME" do
      p = p + 1
      names[#names + 1] = alias_tail { k = "alias", s = ts[p - 1], e = 0, name = tv[p - 1], asname = false, up = false }
      if tk[p] ~= "," then break end
      if not paren and tk[p + 1] ~= "NAME" then fail("trailing comma not allowed without surrounding parentheses") end
      p = p + 1
    end
    if #names == 0 then fail() end
    if paren then expect(")") end
  end
  node.e = te[p - 1]
  return node
end

SIMPLE["return"] = function(s)
  p = p + 1
  local value = false
  if tk[p] ~= "NEWLINE" and tk[p] ~= ";" then value = star_list() end
  return { k = "Return", s = s, e = te[p - 1], value = value, up = false }
end

local function word(kind)
  return function(s)
    p = p + 1
    return { k = kind, s = s, e = te[p - 1], up = false }
  end
end
SIMPLE.pass, SIMPLE["break"], SIMPLE.continue = word("Pass"), word("Break"), word("Continue")

function SIMPLE.raise(s)
  p = p + 1
  local exc, cause = false, false
  if tk[p] ~= "NEWLINE" and tk[p] ~= ";" then
    exc = expr()
    if tk[p] == "from" then
      p = p + 1
      cause = expr()
    end
  end
  return { k = "Raise", s = s, e = te[p - 1], exc = exc, cause = cause, up = false }
end

function SIMPLE.assert(s)
  p = p + 1
  local test, msg = expr(), false
  if tk[p] == "," then
    p = p + 1
    msg = expr()
  end
  return { k = "Assert", s = s, e = te[p - 1], test = test, msg = msg, up = false }
end

function SIMPLE.del(s)
  p = p + 1
  local list = star_list()
  local targets = list.k == "Tuple" and list.bare and list.elts or { list }
  mark_store(list)
  return { k = "Delete", s = s, e = te[p - 1], targets = targets, up = false }
end

local function names_statement(kind)
  return function(s)
    p = p + 1
    local names = {}
    repeat
      if #names > 0 then p = p + 1 end
      if tk[p] ~= "NAME" then fail() end
      names[#names + 1] = tv[p]
      p = p + 1
    until tk[p] ~= ","
    return { k = kind, s = s, e = te[p - 1], names = names, up = false }
  end
end
SIMPLE.global, SIMPLE.nonlocal = names_statement("Global"), names_statement("Nonlocal")

local function type_params()
  if tk[p] ~= "[" then return false end
  p = p + 1
  local list = {}
  while tk[p] ~= "]" do
    local t = { k = "TypeVar", s = ts[p], e = 0, name = false, bound = false, default = false, up = false }
    if tk[p] == "*" then t.k = "TypeVarTuple" p = p + 1 elseif tk[p] == "**" then t.k = "ParamSpec" p = p + 1 end
    if tk[p] ~= "NAME" then fail() end
    t.name = tv[p]
    p = p + 1
    if tk[p] == ":" then p = p + 1 t.bound = expr() end
    if tk[p] == "=" then
      p = p + 1
      if tk[p] == "*" then t.default = star_list() else t.default = expr() end
    end
    t.e = te[p - 1]
    list[#list + 1] = t
    if tk[p] ~= "," then break end
    p = p + 1
  end
  expect("]")
  return list
end

local function type_alias(s)
  p = p + 1
  local name = { k = "Name", s = ts[p], e = te[p], id = tv[p], store = true, up = false }
  p = p + 1
  local params = type_params()
  expect("=")
  local value = expr()
  return { k = "TypeAlias", s = s, e = te[p - 1], name = name, type_params = params, value = value, up = false }
end

local function simple_statement()
  local s, kind = ts[p], tk[p]
  local fn = SIMPLE[kind]
  if fn then return fn(s) end
  if kind == "NAME" and tv[p] == "type" and tk[p + 1] == "NAME" and (tk[p + 2] == "=" or tk[p + 2] == "[") then
    return type_alias(s)
  end
  return expression_statement()
end

-- One logical line of simple statements, appended to body.
function simple_line(body)
  while true do
    body[#body + 1] = simple_statement()
    if tk[p] == ";" then
      p = p + 1
      if tk[p] == "NEWLINE" then break end
    else break end
  end
  if tk[p] ~= "NEWLINE" then fail("invalid syntax") end
  body.last = te[p - 1]
  p = p + 1
end

local COMPOUND = {}

-- ":" and what follows it; returns the statements and the byte of the colon.
function block()
  local colon = ts[p]
  expect(":")
  local body = {}
  if tk[p] ~= "NEWLINE" then
    simple_line(body)
    body.inline = true
    return body, colon
  end
  p = p + 1
  if tk[p] ~= "INDENT" then fail("expected an indented block") end
  p = p + 1
  while tk[p] ~= "DEDENT" do statement.one(body) end
  p = p + 1
  return body, colon
end

-- CPython counts a trailing semicolon into the block, not into its last statement.
local function last_end(body) return body.last or body[#body].e end

COMPOUND["if"] = function(s)
  local node = { k = "If", s = s, e = 0, test = false, body = false, orelse = {}, colon = 0, elif = tk[p] == "elif",
    up = false }
  p = p + 1
  node.test = named()
  node.body, node.colon = block()
  node.e = last_end(node.body)
  if tk[p] == "elif" then
    node.orelse[1] = COMPOUND["if"](ts[p])
    node.e = node.orelse[1].e
  elseif tk[p] == "else" then
    node.else_s = ts[p]
    p = p + 1
    node.orelse = block()
    node.e = last_end(node.orelse)
  end
  return node
end

local function loop_else(node)
  node.e = last_end(node.body)
  if tk[p] == "else" then
    node.else_s = ts[p]
    p = p + 1
    node.orelse = block()
    node.e = last_end(node.orelse)
  end
  return node
end

COMPOUND["while"] = function(s)
  local node = { k = "While", s = s, e = 0, test = false, body = false, orelse = {}, colon = 0, up = false }
  p = p + 1
  node.test = named()
  node.body, node.colon = block()
  return loop_else(node)
end

COMPOUND["for"] = function(s, async)
  local node = { k = async and "AsyncFor" or "For", s = s, e = 0, target = false, iter = false, body = false,
    orelse = {}, up = false }
  p = p + 1
  node.target, p = E.target_list(p)
  expect("in")
  node.iter = star_list()
  node.body, node.colon = block()
  return loop_else(node)
end

local function with_item()
  local item = { k = "withitem", s = ts[p], e = 0, expr = expr(), vars = false, up = false }
  if tk[p] == "as" then
    p = p + 1
    local target
    if tk[p] == "*" then fail() end
    target, p = E.binary(p)
    mark_store(target)
    item.vars = target
  end
  item.e = te[p - 1]
  return item
end

-- `with (a as b, c):` is a list in parentheses when ":" follows the closing one.
local function parenthesized_items()
  if tk[p] ~= "(" then return nil end
  local depth, i = 0, p
  repeat
    local k = tk[i]
    if k == "(" or k == "[" or k == "{" then depth = depth + 1
    elseif k == ")" or k == "]" or k == "}" then depth = depth - 1 end
    i = i + 1
  until depth == 0
  if tk[i] ~= ":" then return nil end
  local first = p
  local ok, items = pcall(function()
    p = p + 1
    local list = {}
    while tk[p] ~= ")" do
      list[#list + 1] = with_item()
      if tk[p] ~= "," then break end
      p = p + 1
    end
    expect(")")
    return list
  end)
  -- one item without a target and without a trailing comma is a parenthesised expression
  if not ok or #items == 0 or (#items == 1 and not items[1].vars and tk[p - 2] ~= ",") then
    p = first
    return nil
  end
  return items
end

COMPOUND["with"] = function(s, async)
  local node = { k = async and "AsyncWith" or "With", s = s, e = 0, items = false, body = false, colon = 0, up = false }
  p = p + 1
  local items = parenthesized_items()
  if not items then
    items = { with_item() }
    while tk[p] == "," do
      p = p + 1
      items[#items + 1] = with_item()
    end
  end
  node.items = items
  node.body, node.colon = block()
  node.e = last_end(node.body)
  return node
end

COMPOUND["try"] = function(s)
  local node = { k = "Try", s = s, e = 0, body = false, handlers = {}, orelse = {}, finalbody = {}, colon = 0,
    up = false }
  p = p + 1
  node.body, node.colon = block()
  while tk[p] == "except" do
    local h = { k = "ExceptHandler", s = ts[p], e = 0, type = false, name = false, body = false, up = false }
    p = p + 1
    if tk[p] == "*" then node.k = "TryStar" p = p + 1 end
    if tk[p] ~= ":" then
      h.type = star_list()
      if tk[p] == "as" then
        h.name = tv[p + 1]
        p = p + 2
      end
    end
    h.body, h.colon = block()
    h.e = last_end(h.body)
    node.handlers[#node.handlers + 1] = h
    node.e = h.e
  end
  if tk[p] == "else" then
    node.else_s = ts[p]
    p = p + 1
    node.orelse = block()
    node.e = last_end(node.orelse)
  end
  if tk[p] == "finally" then
    node.finally_s = ts[p]
    p = p + 1
    node.finalbody = block()
    node.e = last_end(node.finalbody)
  end
  if node.e == 0 then fail("expected 'except' or 'finally' block") end
  return node
end

COMPOUND["def"] = function(s, async, decorators)
  local node = { k = async and "AsyncFunctionDef" or "FunctionDef", s = s, e = 0, name = false, ns = 0, ne = 0,
    lp = 0, rp = 0,
    args = false, body = false, decorators = decorators or {}, returns = false, type_params = false, colon = 0,
      up = false }
  p = p + 1
  if tk[p] ~= "NAME" then fail() end
  node.name, node.ns, node.ne = tv[p], ts[p], te[p]
  p = p + 1
  node.type_params = type_params()
  node.lp = ts[p]
  expect("(")
  node.args, p = E.parameters(p, ")", true)
  node.rp = ts[p]
  expect(")")
  if tk[p] == "->" then
    p = p + 1
    node.returns = star_list()
  end
  node.body, node.colon = block()
  node.e = last_end(node.body)
  return node
end

COMPOUND["class"] = function(s, _, decorators)
  local node = { k = "ClassDef", s = s, e = 0, name = false, ns = 0, ne = 0, lp = false, rp = false, bases = {},
    keywords = {},
    body = false, decorators = decorators or {}, type_params = false, colon = 0, up = false }
  p = p + 1
  if tk[p] ~= "NAME" then fail() end
  node.name, node.ns, node.ne = tv[p], ts[p], te[p]
  p = p + 1
  node.type_params = type_params()
  if tk[p] == "(" then
    node.lp = ts[p]
    node.bases, node.keywords, p = E.arguments(p + 1)
    node.rp = ts[p - 1]
  end
  node.body, node.colon = block()
  node.e = last_end(node.body)
  return node
end

COMPOUND["@"] = function(s)
  local decorators = {}
  while tk[p] == "@" do
    local at = ts[p]
    p = p + 1
    local d = named()
    d.at = at
    decorators[#decorators + 1] = d
    if tk[p] ~= "NEWLINE" then fail() end
    p = p + 1
  end
  local at, async = ts[p], false
  if tk[p] == "async" then
    p = p + 1
    async = true
  end
  local node
  if tk[p] == "def" then node = COMPOUND["def"](at, async, decorators)
  elseif tk[p] == "class" and not async then node = COMPOUND["class"](at, false, decorators)
  else fail() end
  node.outer_s = s
  return node
end

COMPOUND["async"] = function(s)
  p = p + 1
  local kind = tk[p]
  if kind ~= "def" and kind ~= "for" and kind ~= "with" then fail() end
  return COMPOUND[kind](s, true)
end

statement.compound, statement.simple_line = COMPOUND, simple_line

local pattern_module = require "convert.python.pattern"

--- Parses one statement (or a line of simple ones) onto body.
function statement.one(body)
  local kind = tk[p]
  local fn = COMPOUND[kind]
  if fn then
    body[#body + 1] = fn(ts[p])
    body.last = nil
  elseif kind == "NAME" and tv[p] == "match" then
    local node, after = pattern_module.match_statement(E, tk, ts, te, tv, p, function(i)
      p = i
      local b, colon = block()
      return b, colon, p
    end)
    if node then
      p = after
      body[#body + 1] = node
      body.last = nil
    else simple_line(body) end
  elseif kind == "NEWLINE" then p = p + 1
  else simple_line(body) end
end

function statement.module(at, store, kinds, starts, ends, values)
  E, mark_store = at, store
  tk, ts, te, tv, p = kinds, starts, ends, values, 1
  local body = {}
  while tk[p] ~= "EOF" do statement.one(body) end
  tk, ts, te, tv = nil, nil, nil, nil
  return { k = "Module", s = 1, e = #body > 0 and body[#body].e or 0, body = body, up = false }
end

return statement
