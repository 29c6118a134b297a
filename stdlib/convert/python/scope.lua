-- scope.lua: what each name of a file means.
-- Invariant after analyse(tree): every node's up is its parent; every Name has a binding or is a builtin or undefined;
-- meaning(node) is the full dotted path of what an import brought in ("torch.nn.Linear" for `nn.Linear`), decided by
-- scope,
-- never by the spelling of the name.
local fields = require "convert.python.fields"

local scope = {}

local Scope = {}
Scope.__index = Scope

local function new_scope(kind, parent, node)
  return setmetatable({ kind = kind, parent = parent, node = node, names = {}, globals = false }, Scope)
end

-- The binding of a name in this scope, made when new.
local function binding_in(sc, name)
  local b = sc.names[name]
  if not b then
    b = { name = name, scope = sc, defs = {}, uses = {}, path = false }
    sc.names[name] = b
  end
  return b
end

local function bind(sc, name, node, file)
  if sc.globals and sc.globals[name] then
    sc = sc.globals[name] == "global" and file.module_scope or sc.parent
    while sc.parent and sc.kind ~= "function" and sc.kind ~= "module" do sc = sc.parent end
  end
  local b = binding_in(sc, name)
  b.defs[#b.defs + 1] = node
  node.binding = b
  return b
end

local visit

local function visit_list(list, parent, sc, file)
  for i = 1, #list do
    local x = list[i]
    if x then visit(x, parent, sc, file) end
  end
end

local function visit_children(node, sc, file)
  local names = fields[node.k]
  for i = 1, #names do
    local v = node[names[i]]
    if v then
      if v.k then visit(v, node, sc, file)
      else
        for j = 1, #v do
          local x = v[j]
          if x then visit(x, node, sc, file) end
        end
      end
    end
  end
end

local HANDLE = {}

function HANDLE.Name(node, sc, file)
  node.scope = sc
  if node.store then bind(sc, node.id, node, file)
  else
    local uses = file.uses
    uses[#uses + 1] = node
  end
end

function HANDLE.AugAssign(node, sc, file)
  visit_children(node, sc, file)
  -- `x += 1` reads x too
  if node.target.k == "Name" then file.uses[#file.uses + 1] = node.target end
end

local function visit_arguments(args, owner, inner, outer, file)
  args.up = owner
  for _, a in ipairs(args.list) do
    a.up = args
    if a.annotation then visit(a.annotation, a, outer, file) end
    if a.default then visit(a.default, a, outer, file) end
    local b = bind(inner, a.arg, a, file)
    b.param = true
  end
end

-- Type parameters open a scope between the definition's surroundings and its inside.
local function type_scope(node, sc, file)
  if not node.type_params then return sc end
  local ts = new_scope("type", sc, node)
  for _, t in ipairs(node.type_params) do
    t.up = node
    bind(ts, t.name, t, file)
    visit_children(t, ts, file)
  end
  return ts
end

function HANDLE.FunctionDef(node, sc, file)
  local b = bind(sc, node.name, node, file)
  b.def = node
  visit_list(node.decorators, node, sc, file)
  local outer = type_scope(node, sc, file)
  local inner = new_scope("function", outer, node)
  node.scope, node.outer = inner, sc
  visit_arguments(node.args, node, inner, outer, file)
  if node.returns then visit(node.returns, node, outer, file) end
  file.functions[#file.functions + 1] = node
  visit_list(node.body, node, inner, file)
end
HANDLE.AsyncFunctionDef = HANDLE.FunctionDef

function HANDLE.Lambda(node, sc, file)
  local inner = new_scope("function", sc, node)
  visit_arguments(node.args, node, inner, sc, file)
  visit(node.body, node, inner, file)
end

function HANDLE.ClassDef(node, sc, file)
  local b = bind(sc, node.name, node, file)
  b.def = node
  file.classes[#file.classes + 1] = node
  visit_list(node.decorators, node, sc, file)
  local outer = type_scope(node, sc, file)
  visit_list(node.bases, node, outer, file)
  visit_list(node.keywords, node, outer, file)
  local inner = new_scope("class", outer, node)
  node.scope, node.outer = inner, sc
  visit_list(node.body, node, inner, file)
end

function HANDLE.TypeAlias(node, sc, file)
  visit(node.name, node, sc, file)
  local outer = type_scope(node, sc, file)
  visit(node.value, node, outer, file)
end

local function visit_comprehension(node, sc, file)
  local inner = new_scope("comp", sc, node)
  for i, g in ipairs(node.generators) do
    g.up = node
    visit(g.iter, g, i == 1 and sc or inner, file)
    visit(g.target, g, inner, file)
    visit_list(g.ifs, g, inner, file)
  end
  if node.elt then visit(node.elt, node, inner, file) end
  if node.key then visit(node.key, node, inner, file) end
  if node.value then visit(node.value, node, inner, file) end
end
HANDLE.ListComp, HANDLE.SetComp, HANDLE.DictComp, HANDLE.GeneratorExp =
  visit_comprehension, visit_comprehension, visit_comprehension, visit_comprehension

function HANDLE.NamedExpr(node, sc, file)
  visit(node.value, node, sc, file)
  local target_scope = sc
  while target_scope.kind == "comp" do target_scope = target_scope.parent end
  visit(node.target, node, target_scope, file)
end

function HANDLE.Import(node, sc, file)
  file.imports[#file.imports + 1] = node
  node.scope = sc
  for _, a in ipairs(node.names) do
    a.up = node
    local local_name = a.asname or a.name:match("^[^.]+")
    local b = bind(sc, local_name, a, file)
    local path = a.asname and a.name or local_name
    if not b.path or path:find("^torch") then b.path = path end
  end
end

function HANDLE.ImportFrom(node, sc, file)
  file.imports[#file.imports + 1] = node
  node.scope = sc
  local module = ("."):rep(node.level) .. (node.module or "")
  node.path = module
  for _, a in ipairs(node.names) do
    a.up = node
    if a.name == "*" then file.star_imports[#file.star_imports + 1] = node
    else
      local b = bind(sc, a.asname or a.name, a, file)
      local path = module .. (module:find("%.$") and "" or ".") .. a.name
      if not b.path or path:find("^torch") then b.path = path end
    end
  end
end

function HANDLE.Global(node, sc)
  sc.globals = sc.globals or {}
  for _, name in ipairs(node.names) do sc.globals[name] = node.k == "Global" and "global" or "nonlocal" end
end
HANDLE.Nonlocal = HANDLE.Global

function HANDLE.ExceptHandler(node, sc, file)
  if node.name then bind(sc, node.name, node, file) end
  visit_children(node, sc, file)
end

local function visit_pattern(node, sc, file)
  local name = node.name or node.rest
  if name then bind(sc, name, node, file) end
  visit_children(node, sc, file)
end
HANDLE.MatchAs, HANDLE.MatchStar, HANDLE.MatchMapping = visit_pattern, visit_pattern, visit_pattern

function visit(node, parent, sc, file)
  node.up = parent
  local handle = HANDLE[node.k]
  if handle then return handle(node, sc, file) end
  return visit_children(node, sc, file)
end

--- Looks a name up from a scope outwards; class scopes are seen only from inside themselves.
function scope.lookup(sc, name)
  local first = true
  while sc do
    if first or sc.kind ~= "class" then
      if sc.globals and sc.globals[name] == "global" then
        local top = sc
        while top.parent do top = top.parent end
        return top.names[name]
      end
      local b = sc.names[name]
      if b then return b end
    end
    if sc.kind ~= "comp" and sc.kind ~= "type" then first = false end
    sc = sc.parent
  end
  return nil
end

local joined = setmetatable({}, { __index = function(t, base)
  local inner = setmetatable({}, { __index = function(u, attr)
    local path = base .. "." .. attr
    u[attr] = path
    return path
  end })
  t[base] = inner
  return inner
end })

--- The dotted path a Name or Attribute chain means, when its root is an import; else nil.
function scope.meaning(node)
  local m = node.m
  if m ~= nil then return m or nil end
  if node.k == "Name" then
    local b = node.binding
    m = b and b.path or false
  elseif node.k == "Attribute" then
    local base = scope.meaning(node.value)
    m = base and joined[base][node.attr] or false
  else return nil end
  node.m = m
  return m or nil
end

--- Fills in scopes, bindings and parents; returns the file's facts: uses, imports, classes, functions, undefined.
function scope.analyse(tree)
  local file = { uses = {}, imports = {}, classes = {}, functions = {}, star_imports = {}, undefined = {} }
  local top = new_scope("module", nil, tree)
  file.module_scope = top
  tree.scope = top
  for _, st in ipairs(tree.body) do visit(st, tree, top, file) end
  for _, name in ipairs(file.uses) do
    local b = scope.lookup(name.scope, name.id)
    if b then
      name.binding = b
      b.uses[#b.uses + 1] = name
    else file.undefined[#file.undefined + 1] = name end
  end
  return file
end

return scope
