-- moth.check: what can be known about a Lua file without running it: `moth check FILE...`.
--
-- Syntax errors (by Lua's own parser), names that nothing defines, fields that torch and the libraries do not have, and
-- the traps of tensors in Lua: `x == 0` compares identity, and a tensor is true in every condition.
-- The parser here follows Lua 5.4's grammar; it runs only on text that Lua accepted, so it reports nothing itself.
local check = {}

-- ---- tokens: { kind, text, line, column }; kind is "name", "number", "string", a keyword or an operator ----
local keywords = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat return then true until
  while]]):gmatch("%a+") do keywords[word] = true end

local three = { ["..."] = true }
local two = { ["=="] = true, ["~="] = true, ["<="] = true, [">="] = true, ["//"] = true, ["::"] = true, ["<<"] = true,
  [">>"] = true, [".."] = true }

--- The end of a long bracket that opens at i, or nil when there is none.
local function long_bracket(text, i)
  local level = text:match("^%[(=*)%[", i)
  if not level then return nil end
  local _, stop = text:find("]" .. level .. "]", i, true)
  return stop or #text
end

local function quoted_end(text, i)
  local quote, at = text:sub(i, i), i + 1
  while at <= #text do
    local c = text:sub(at, at)
    if c == "\\" then at = at + 2
    elseif c == quote then return at
    else at = at + 1 end
  end
  return #text
end

local function tokenize(text)
  local list, i, line, line_start = {}, 1, 1, 1
  if text:sub(1, 1) == "#" then i = (text:find("\n", 1, true) or #text + 1) end
  local function pass(to)                  -- counts the lines of text[i..to]
    for p in text:sub(i, to):gmatch("()\n") do line, line_start = line + 1, i + p end
    i = to + 1
  end
  local function add(kind, to)
    list[#list + 1] = { kind, text:sub(i, to), line, i - line_start + 1 }
    pass(to)
  end
  while i <= #text do
    local c = text:sub(i, i)
    if c:find("%s") then pass(select(2, text:find("^%s+", i)))
    elseif text:sub(i, i + 1) == "--" then
      pass(long_bracket(text, i + 2) or (text:find("\n", i, true) or #text + 1) - 1)
    elseif c:find("[%a_]") then
      local to = select(2, text:find("^[%w_]+", i))
      local word = text:sub(i, to)
      add(keywords[word] and word or "name", to)
    elseif c:find("%d") or text:find("^%.%d", i) then
      local _, to = text:find("^0[xX][%x.]*[pP]?[+-]?%x*", i)
      if not to then _, to = text:find("^[%d.]+[eE]?[+-]?%d*", i) end
      if text:sub(i, to):find("[^eEpP][+-]%w*$") then to = select(2, text:find("^[%w.]+", i)) end
      add("number", to)
    elseif c == '"' or c == "'" then add("string", quoted_end(text, i))
    elseif long_bracket(text, i) then add("string", long_bracket(text, i))
    elseif three[text:sub(i, i + 2)] then add("...", i + 2)
    elseif two[text:sub(i, i + 1)] then add(text:sub(i, i + 1), i + 1)
    else add(c, i) end
  end
  list[#list + 1] = { "eof", "", line, i - line_start + 1 }
  return list
end

-- ---- what is known of values: "tensor", "number", "boolean", "string", "modules" (a 0-based list of modules), a real
-- value in { value = v, path = p }, or nil ----
local known = require "moth.known"
local not_tensor = { item = "number", dim = "number", ndimension = "number", numel = "number", nelement = "number",
  tolist = "table", size = "size", is_contiguous = "boolean", is_floating_point = "boolean", equal = "boolean",
  allclose = "boolean", data_ptr = "number", stride = "size", backward = "nil", shape = "size", dtype = "dtype",
  device = "device", grad = "any", requires_grad = "boolean", is_leaf = "boolean", ndim = "number", grad_fn = "node",
  split = "list", chunk = "list", unbind = "list", is_complex = "boolean", element_size = "number" }

local arithmetic = { ["+"] = true, ["-"] = true, ["*"] = true, ["/"] = true, ["//"] = true, ["%"] = true, ["^"] = true,
  ["&"] = true, ["|"] = true, ["~"] = true, ["<<"] = true, [">>"] = true }

-- ---- the parser ----
local Parser = {}
Parser.__index = Parser

function Parser:peek() return self.list[self.at][1] end
function Parser:token() return self.list[self.at] end
function Parser:next()
  local t = self.list[self.at]
  if t[1] ~= "eof" then self.at = self.at + 1 end
  return t
end
function Parser:accept(kind)
  if self:peek() == kind then return self:next() end
end
function Parser:want(kind)
  if self:peek() ~= kind then error({ "parse", kind }) end
  return self:next()
end

function Parser:report(token, message)
  self.reports[#self.reports + 1] = { line = token[3], column = token[4], message = message }
end

function Parser:open() self.scope = { up = self.scope, names = {} } end
function Parser:close() self.scope = self.scope.up end
function Parser:declare(name, kind) self.scope.names[name] = { kind = kind } end
function Parser:find(name)
  local scope = self.scope
  while scope do
    if scope.names[name] then return scope.names[name] end
    scope = scope.up
  end
end

--- A global that is read: known names, and those the file assigns anywhere, are fine.
function Parser:use_global(token)
  self.uses[#self.uses + 1] = token
  if self.oracle and self.oracle(token[2]) then return "tensor" end
  if self.libraries[token[2]] then return { value = rawget(_G, token[2]), path = token[2] } end
end

--- The kind of base.name, with a report when a library has no such field.
function Parser:field(base, token)
  if type(base) == "table" and type(base.value) ~= "table" then return { path = base.path .. "." .. token[2] } end
  if type(base) == "table" then
    local value = known.field(base.path, base.value, token[2])
    local path = base.path .. "." .. token[2]
    if value ~= nil then return { value = value, path = path } end
    if known.is_space(base.path) and not self.assigned[path] then self.missing[#self.missing + 1] = { token, base } end
    return { path = path }
  end
  if base == "tensor" then
    self:member(token, "attribute")
    if self:peek() == "(" and known.is_method(token[2]) then
      self:report(token, "a method is called with a colon: write :" .. token[2] .. "(...)")
    end
    return not_tensor[token[2]] or known.method_result(token[2])
  end
end

--- A name that no tensor has.
function Parser:member(token, what)
  if self.oracle or known.is_member(token[2]) then return end
  local near = require("repl.suggest").nearest(token[2], known.members())
  local meant = near and " (did you mean '" .. near .. "'?)" or ""
  self:report(token, "a tensor has no " .. what .. " '" .. token[2] .. "'" .. meant)
end

local module_lists = { ModuleList = true, Sequential = true, ParameterList = true }

local function result_of(callee)
  if type(callee) ~= "table" or not callee.path then return nil end
  local last = callee.path:match("^nn%.(%u%w+)$") or callee.path:match("^torch%.nn%.(%u%w+)$")
  if module_lists[last] then return "modules" end
  return known.result_of(callee.path)
end

--- The keywords of a table that ends a call, against those that the callee takes.
function Parser:keywords(keys, set, name)
  if not set or self.oracle then return end
  local list
  for _, token in ipairs(keys) do
    local word = token[2]
    if not set[word] and not set[word:match("^(.*[^_])_$") or ""] then
      if not list then
        list = {}
        for k in pairs(set) do list[#list + 1] = k end
      end
      local near = require("repl.suggest").nearest(word, list)
      local meant = near and " (did you mean '" .. near .. "'?)" or ""
      self:report(token, name .. " takes no keyword '" .. word .. "'" .. meant)
    end
  end
end

--- Arguments of a call: their kinds, and the keyword tokens of the table that ends them.
function Parser:arguments()
  local kind = self:peek()
  if kind == "string" then
    self:next()
    return { "string" }, {}
  elseif kind == "{" then
    local keys, mixed = self:constructor()
    return { "table" }, mixed and keys or {}, keys
  end
  self:want("(")
  local kinds, keys = {}, {}
  while self:peek() ~= ")" do
    local table_at = self:peek() == "{" and #self.constructors or nil
    kinds[#kinds + 1] = self:expression() or false
    local made = table_at and self.constructors[#self.constructors]
    keys = made and made.closes == self.at and not made.mixed and made.keys or {}
    if not self:accept(",") then break end
  end
  self:want(")")
  return kinds, keys
end

--- A table: its keys that are names; second result: whether it has a list part too.
function Parser:constructor()
  local keys, mixed = {}, false
  self:want("{")
  while self:peek() ~= "}" do
    if self:peek() == "[" then
      self:next()
      self:expression()
      self:want("]")
      self:want("=")
      mixed = true
    elseif self:peek() == "name" and self.list[self.at + 1][1] == "=" then
      keys[#keys + 1] = self:next()
      self:next()
    else mixed = true end
    self:expression()
    if not self:accept(",") and not self:accept(";") then break end
  end
  self:want("}")
  self.constructors[#self.constructors + 1] = { keys = keys, mixed = mixed, closes = self.at }
  return keys, mixed
end

--- A name, parentheses, and what follows: fields, indices, calls.  Second result: the method when it is a call.
function Parser:suffixed()
  local kind, call, path
  local first = self:token()
  if self:accept("(") then
    kind = self:expression()
    self:want(")")
  else
    local token = self:want("name")
    local variable = self:find(token[2])
    if variable then kind = variable.kind else kind = self:use_global(token) end
    path = token[2]
  end
  while true do
    local p = self:peek()
    if p == "." then
      self:next()
      local token = self:want("name")
      kind, call = self:field(kind, token), nil
      path = path and path .. "." .. token[2]
    elseif p == "[" then
      self:next()
      local token, index = self:token(), self:expression()
      self:want("]")
      if kind == "tensor" and index == "nil" then
        self:report(token, "x[nil] is an error; None is x[torch.None] or x[\"None\"]")
      end
      kind, call, path = kind == "tensor" and index ~= "any" and "tensor" or nil, nil, nil
    elseif p == ":" then
      self:next()
      local token = self:want("name")
      if kind == "tensor" then self:member(token, "method") end
      local _, keys = self:arguments()
      if kind == "tensor" then self:keywords(keys, known.method_keywords(token[2]), token[2]) end
      if kind == "tensor" then kind = not_tensor[token[2]] or known.method_result(token[2])
      else kind = nil end
      call, path = token[2], nil
    elseif p == "(" or p == "string" or p == "{" then
      local kinds, keys = self:arguments()
      self:call(kind, path, first, kinds, keys)
      kind, call, path = result_of(kind), true, nil
    else break end
  end
  return kind, call, path, first
end

local guards = { ["torch.no_grad"] = true, ["torch.enable_grad"] = true, ["torch.inference_mode"] = true }

--- What is wrong with a call of a function that is known.
function Parser:call(callee, path, first, kinds, keys)
  if type(callee) == "table" and callee.path then
    if #keys > 0 then self:keywords(keys, known.keywords(callee.path), callee.path) end
    if guards[callee.path] and #kinds == 0 and self.at_statement == first then
      self:report(first, "the guard is dropped at once; write  local _ <close> = " .. callee.path .. "()")
    end
  end
  if path == "ipairs" and not self:find("ipairs") and kinds[1] == "modules" then
    self:report(first, "lists of modules are 0-based: ipairs raises on them; write pairs")
  end
end

function Parser:simple()
  local p = self:peek()
  if p == "number" then return self:next() and "number" end
  if p == "string" then
    self:next()
    return "string"
  end
  if p == "true" or p == "false" then return self:next() and "boolean" end
  if p == "nil" or p == "..." then
    self:next()
    return p == "nil" and "nil" or nil
  end
  if p == "{" then
    self:constructor()
    return "table"
  end
  if p == "function" then
    self:next()
    self:body(false)
    return "function"
  end
  return self:suffixed()
end

local priority = { ["or"] = { 1, 1 }, ["and"] = { 2, 2 }, ["<"] = { 3, 3 }, [">"] = { 3, 3 }, ["<="] = { 3, 3 },
  [">="] = { 3, 3 }, ["~="] = { 3, 3 }, ["=="] = { 3, 3 }, ["|"] = { 4, 4 }, ["~"] = { 5, 5 }, ["&"] = { 6, 6 },
  ["<<"] = { 7, 7 }, [">>"] = { 7, 7 }, [".."] = { 9, 8 }, ["+"] = { 10, 10 }, ["-"] = { 10, 10 }, ["*"] = { 11, 11 },
  ["/"] = { 11, 11 }, ["//"] = { 11, 11 }, ["%"] = { 11, 11 }, ["^"] = { 14, 13 } }
local UNARY = 12

function Parser:compare(op, token, left, right)
  local other = left == "tensor" and right or right == "tensor" and left or nil
  if (op == "==" or op == "~=") and (other == "number" or other == "boolean" or other == "string") then
    self:report(token, string.format("'%s' compares a tensor by identity, so this is always %s; write x:%s(value)", op,
      op == "==" and "false" or "true", op == "==" and "eq" or "ne"))
  end
end

--- A tensor used as a condition is always true.
function Parser:condition(kind, call, token)
  if kind == "tensor" or ((call == "any" or call == "all") and kind == nil and self.oracle == nil) then
    self:report(token, "a tensor is true in every condition; write " ..
      ((call == "any" or call == "all") and ":" .. call .. "():item()" or "x:any():item() or x:item()"))
  end
end

--- An expression whose operators bind tighter than limit: kind, and the method name when it is a bare call.
function Parser:expression(limit)
  limit = limit or 0
  local start = self:token()
  local kind, call, chosen
  local p = self:peek()
  if p == "not" or p == "-" or p == "#" or p == "~" then
    self:next()
    kind, call = self:expression(UNARY)
    if p == "not" then
      self:condition(kind, call, start)
      kind = "boolean"
    elseif p == "#" then kind = "number" end
    call = nil
  else kind, call = self:simple() end
  while true do
    local op = self:peek()
    local pr = priority[op]
    if not pr or pr[1] <= limit then return kind, call, start end
    local token = self:next()
    if op == "and" or op == "or" and not chosen then self:condition(kind, call, start) end
    chosen = chosen or op == "and"         -- `c and tensor or other` is a choice, the tensor no condition
    local right, right_call = self:expression(pr[2])
    if op == "==" or op == "~=" then
      self:compare(op, token, kind, right)
      kind = "boolean"
    elseif op == "<" or op == ">" or op == "<=" or op == ">=" then kind = "boolean"
    elseif arithmetic[op] then
      local numbers = kind == "number" and right == "number"
      kind = (kind == "tensor" or right == "tensor") and "tensor" or numbers and "number" or nil
    elseif op == ".." then kind = "string"
    elseif op == "and" then kind = right
    else kind = kind == right and kind or nil end
    call = (op == "and" or op == "or") and right_call or nil
  end
end

function Parser:expressions()
  local kinds = {}
  repeat kinds[#kinds + 1] = self:expression() or false until not self:accept(",")
  return kinds
end

function Parser:test()
  local kind, call, token = self:expression()
  self:condition(kind, call, token)
end

function Parser:body(method)
  self:open()
  if method then self:declare("self") end
  self:want("(")
  while self:peek() ~= ")" do
    if not self:accept("...") then self:declare(self:want("name")[2]) end
    if not self:accept(",") then break end
  end
  self:want(")")
  self:block()
  self:want("end")
  self:close()
end

local ends = { ["end"] = true, ["else"] = true, ["elseif"] = true, ["until"] = true, eof = true }

function Parser:block()
  while not ends[self:peek()] do
    if self:peek() == "return" then
      self:next()
      if not ends[self:peek()] and self:peek() ~= ";" then self:expressions() end
      self:accept(";")
      return
    end
    self:statement()
  end
end

function Parser:scoped_block()
  self:open()
  self:block()
  self:close()
end

local statement = {}
statement[";"] = function(p) p:next() end
statement["break"] = function(p) p:next() end
statement["goto"] = function(p) p:next() p:want("name") end
statement["::"] = function(p) p:next() p:want("name") p:want("::") end
statement["do"] = function(p) p:next() p:scoped_block() p:want("end") end
statement["while"] = function(p) p:next() p:test() p:want("do") p:scoped_block() p:want("end") end

statement["repeat"] = function(p)
  p:next()
  p:open()
  p:block()
  p:want("until")
  p:test()
  p:close()
end

statement["if"] = function(p)
  repeat
    p:next()
    p:test()
    p:want("then")
    p:scoped_block()
  until p:peek() ~= "elseif"
  if p:accept("else") then p:scoped_block() end
  p:want("end")
end

statement["for"] = function(p)
  p:next()
  local names = {}
  repeat names[#names + 1] = p:want("name")[2] until not p:accept(",")
  local numeric = p:accept("=")
  if not numeric then p:want("in") end
  p:expressions()
  p:want("do")
  p:open()
  for _, name in ipairs(names) do p:declare(name, numeric and "number" or nil) end
  p:block()
  p:close()
  p:want("end")
end

statement["function"] = function(p)
  p:next()
  local token = p:want("name")
  local path, method = token[2], false
  while p:peek() == "." or p:peek() == ":" do
    method = p:next()[1] == ":"
    path = path .. "." .. p:want("name")[2]
  end
  if not p:find(token[2]) then
    p.assigned[path] = true
    if path ~= token[2] then p:use_global(token) end
  end
  p:body(method)
end

local kept = { tensor = true, modules = true, number = true }   -- kinds that a variable remembers

statement["local"] = function(p)
  p:next()
  if p:accept("function") then
    p:declare(p:want("name")[2], "function")
    return p:body(false)
  end
  local names, kinds = {}, {}
  repeat
    names[#names + 1] = p:want("name")[2]
    if p:accept("<") then p:want("name") p:want(">") end
  until not p:accept(",")
  if p:accept("=") then kinds = p:expressions() end
  for i, name in ipairs(names) do
    local kind = kinds[i] or nil
    p:declare(name, (type(kind) == "table" or kept[kind]) and kind or nil)
  end
end

--- An assignment's target: names are noted as defined; otherwise it is an expression.
function Parser:target()
  local token = self:token()
  local following = self.list[self.at + 1][1]
  if token[1] == "name" and (following == "=" or following == ",") then
    self:next()
    local variable = self:find(token[2])
    if variable then return function(kind) variable.kind = kind == variable.kind and kind or nil end end
    self.assigned[token[2]] = true
    return
  end
  local missing = #self.missing
  self.at_statement = token
  local _, _, path = self:suffixed()
  self.at_statement = nil
  if path and (self:peek() == "=" or self:peek() == ",") then
    self.assigned[path] = true
    for i = #self.missing, missing + 1, -1 do self.missing[i] = nil end
  end
end

function Parser:statement()
  local handler = statement[self:peek()]
  if handler then return handler(self) end
  local targets = { self:target() or false }
  while self:accept(",") do targets[#targets + 1] = self:target() or false end
  if self:accept("=") then
    local kinds = self:expressions()
    for i, set in ipairs(targets) do
      if set then set(kinds[i] or nil) end
    end
  end
end

-- ---- reports ----
local always = { "_G", "_ENV", "_VERSION", "arg", "torch", "nn", "F", "optim", "moth", "help", "apropos",
  "progress" }

local function suggestion(name, list)
  local near = require("repl.suggest").nearest(name, list)
  return near and " (did you mean '" .. near .. "'?)" or ""
end

local function string_keys(t)
  local list = {}
  for k in next, t do if type(k) == "string" then list[#list + 1] = k end end
  return list
end

local python = { True = "true", False = "false", None = "nil, or torch.None where an explicit None is meant",
  len = "#x", range = "for i = 0, n - 1 do", float = "tonumber(x)", str = "tostring(x)", list = "a table" }

local function report_names(p)
  local defined = {}
  for _, name in ipairs(always) do defined[name] = true end
  for _, name in ipairs(string_keys(_G)) do defined[name] = true end
  for name in pairs(p.assigned) do defined[name] = true end
  local list = {}
  for name in pairs(defined) do list[#list + 1] = name end
  for _, token in ipairs(p.uses) do
    if not defined[token[2]] then
      local lua = python[token[2]]
      p:report(token, "nothing defines '" .. token[2] .. "'" ..
        (lua and " (in Lua: " .. lua .. ")" or suggestion(token[2], list)))
    end
  end
  for _, m in ipairs(p.missing) do
    local token, base = m[1], m[2]
    if not p.assigned[base.path .. "." .. token[2]] then
      local meant = suggestion(token[2], known.fields(base.value))
      p:report(token, base.path .. " has no '" .. token[2] .. "'" .. meant)
    end
  end
end

local library_names = { "string", "table", "math", "io", "os", "coroutine", "utf8", "debug", "torch", "nn", "F",
  "optim" }

local function new_parser(text, oracle)
  local libraries = {}
  for _, name in ipairs(library_names) do libraries[name] = true end
  local p = setmetatable({ list = tokenize(text), at = 1, reports = {}, constructors = {}, uses = {}, missing = {},
    assigned = {}, libraries = libraries, oracle = oracle }, Parser)
  p:open()
  return p
end

local function sort_reports(list)
  table.sort(list, function(a, b) return a.line < b.line or a.line == b.line and a.column < b.column end)
  return list
end

--- What a line of Python is in Lua, for a message; "" when it is none.
local function in_lua(text, number)
  local i = 0
  for line in (text .. "\n"):gmatch("(.-)\n") do
    i = i + 1
    if i == number then
      local ok, said, rewritten = pcall(require("repl.foreign").explain, line, function() return false end)
      if not ok or not said then return "" end
      return " (" .. said .. (rewritten and "; write  " .. rewritten or "") .. ")"
    end
  end
  return ""
end

--- All reports on a text: a sorted list of { line, column, message }.
function check.text(text, name)
  local fn, message = load((text:gsub("^#[^\n]*", "")), "=" .. (name or "input"), "t")
  if not fn then
    local line = tonumber(message:match(":(%d+):")) or 1
    return { { line = line, column = 1, message = message:gsub("^[^\n]-:%d+: ", "") .. in_lua(text, line) } }
  end
  local p = new_parser(text)
  local ok, err = pcall(function()
    p:block()
    p:want("eof")
  end)
  if not ok then
    p:report(p:token(), "not understood: " .. tostring(err))
    return p.reports
  end
  report_names(p)
  return sort_reports(p.reports)
end

--- The prompt's question: messages about tensor traps in a line; is_tensor(name) knows the session's variables.
function check.line_traps(text, is_tensor)
  local fn = load(text, "=input", "t")
  local source = fn and text or "return " .. text
  if not fn and not load(source, "=input", "t") then return {} end
  local p = new_parser(source, is_tensor)
  if not pcall(p.block, p) then return {} end
  local out = {}
  for _, r in ipairs(p.reports) do out[#out + 1] = r.message end
  return out
end

--- `moth check FILE...`: 0 when nothing was found, 1 otherwise, 2 for wrong usage.
function check.main(args)
  if #args == 0 then
    io.stderr:write("usage: moth check FILE...\n")
    return 2
  end
  local found = 0
  for _, path in ipairs(args) do
    local f, err = io.open(path, "rb")
    if not f then
      io.stderr:write("moth check: ", err, "\n")
      found = found + 1
    else
      local text = f:read("a") or ""
      f:close()
      for _, r in ipairs(check.text(text, path)) do
        print(string.format("%s:%d:%d: %s", path, r.line, r.column, r.message))
        found = found + 1
      end
    end
  end
  return found == 0 and 0 or 1
end

return check
