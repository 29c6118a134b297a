-- names.lua: which fields and methods a value has, found without running any code of the user's.
local names = {}

--- moth.ops when the engine is there: op name -> { signature, doc, example, ... }.
function names.ops()
  if names.op_table == nil then
    local ok, ops = pcall(require, "moth.ops")
    names.op_table = ok and type(ops) == "table" and ops or false
  end
  return names.op_table or {}
end

--- Is this one of the engine's tensors?
function names.is_tensor(v)
  local mt = type(v) == "userdata" and debug.getmetatable(v)
  local name = type(mt) == "table" and rawget(mt, "__name")
  return type(name) == "string" and name:find("Tensor", 1, true) ~= nil
end

--- The engine's own lists of what a tensor has: methods (name -> function) and attributes.
local function tensor_lists()
  local torch = package.loaded.torch
  if type(torch) ~= "table" then return {}, {} end
  return rawget(torch, "_methods") or {}, rawget(torch, "_attrs") or {}
end

--- Where a value's missing fields are looked up: a table, a function, or nil.
local function index_of(v)
  local mt = debug.getmetatable(v)
  return type(mt) == "table" and rawget(mt, "__index") or nil, mt
end

local function add_keys(set, t)
  if type(t) ~= "table" then return end
  local n = 0
  for k in next, t do
    if type(k) == "string" and k:find("^[%a_][%w_]*$") then set[k] = true end
    n = n + 1
    if n > 20000 then return end
  end
end

--- Adds what a metatable tells: its __index chain, and the lists an engine may offer.
local function add_meta(set, v)
  for _ = 1, 20 do
    local index, mt = index_of(v)
    if type(mt) ~= "table" then return end
    for _, key in ipairs { "__methods", "__fields", "__attributes" } do
      local t = rawget(mt, key)
      if type(t) == "table" then
        add_keys(set, t)
        for _, name in ipairs(t) do if type(name) == "string" then set[name] = true end end
      end
    end
    local dir = rawget(mt, "__dir")
    if type(dir) == "function" then
      local ok, list = pcall(dir, v)
      if ok and type(list) == "table" then for _, name in ipairs(list) do set[name] = true end end
    end
    if type(index) ~= "table" then return end
    add_keys(set, index)
    v = index
  end
end

--- Names of what every tensor has, without a tensor at hand.
function names.tensor_members()
  local set, list = {}, {}
  for _, t in ipairs { tensor_lists() } do add_keys(set, t) end
  for name in pairs(set) do
    if name:sub(1, 1) ~= "_" then list[#list + 1] = name end
  end
  table.sort(list)
  return list
end

--- Sorted names of a value's fields and methods; names with two leading underscores are left out.
function names.members(v)
  local set = {}
  if type(v) == "table" then add_keys(set, v) end
  add_meta(set, v)
  if names.is_tensor(v) then
    local methods, attributes = tensor_lists()
    add_keys(set, methods)
    add_keys(set, attributes)
  end
  local list = {}
  for name in pairs(set) do
    if name:sub(1, 2) ~= "__" then list[#list + 1] = name end
  end
  table.sort(list)
  return list
end

--- v[name] as far as raw tables lead.
function names.raw_field(v, name)
  if names.is_tensor(v) then return (rawget(tensor_lists(), name)) end
  for _ = 1, 20 do
    if type(v) == "table" then
      local value = rawget(v, name)
      if value ~= nil then return value end
    end
    local index, mt = index_of(v)
    if type(mt) == "table" then
      local methods = rawget(mt, "__methods")
      if type(methods) == "table" and rawget(methods, name) ~= nil then return rawget(methods, name) end
    end
    if type(index) ~= "table" then return nil end
    v = index
  end
end

return names
