-- torch.nn.container: modules and parameters in lists and dictionaries.  Lists are 0-based, as the names in their state are.
local core = require "torch.nn.core"
local torch = require "torch"

local M = {}
local None = torch.None

local function document(class, signature, doc, example)
  class.__doc = { signature = signature, doc = doc, example = example }
  M[class.__name] = class
  return class
end
local function is_plain(v) return type(v) == "table" and getmetatable(v) == nil end

-- A plain list, or any of our lists, as a plain list of values.
local function values_of(v, what)
  if core.is_module(v) or not is_plain(v) then
    local ok, out = pcall(function()
      local list = {}
      for _, x in pairs(v) do list[#list + 1] = x end
      return list
    end)
    if ok and (core.is_module(v) or type(v) == "table") then return out end
    error(what .. " should be called with a list, but got " .. type(v), 3)
  end
  return v
end

-- Key and value pairs in order: an ordered table or one of our dictionaries as it is, a plain table by sorted key, a list of
-- {key, value} as given.
local function pairs_of(v)
  local out = {}
  if is_plain(v) and v[1] ~= nil then
    for i, kv in ipairs(v) do
      if type(kv) ~= "table" or #kv ~= 2 then error("element #" .. i - 1 .. " should be a {key, value} pair", 3) end
      out[i] = { kv[1], kv[2] }
    end
  else
    for k, x in pairs(v) do out[#out + 1] = { k, x } end
    if is_plain(v) then table.sort(out, function(a, b) return a[1] < b[1] end) end
  end
  return out
end

local function position(name, i, n)
  if math.type(i) == "float" and i == math.floor(i) then i = math.tointeger(i) end
  if math.type(i) ~= "integer" then error(name .. ": an index must be an integer, got " .. type(i), 3) end
  if i < -n or i >= n then error(("%s: index %d is out of range for %d entries (0-based)"):format(name, i, n), 3) end
  return i < 0 and i + n or i
end

-- What lists of entries of one kind share; `kind` is "child" or "parameter".
local function make_list(class, kind)
  function class:_len() return core.count(self, kind) end
  function class:_pairs()
    local i = -1
    return function()
      i = i + 1
      local v = core.entry(self, kind, i)
      if v ~= nil then return i, v end
    end
  end
  function class:_values()
    local out = {}
    for i, e in ipairs(core.entries(self, kind)) do out[i] = e[2] end
    return out
  end
  function class:_refill(list)
    core.clear(self, kind)
    for i, v in ipairs(list) do core.put(self, kind, tostring(i - 1), v) end
  end
  function class:_getitem(i)
    local n = core.count(self, kind)
    return (core.entry(self, kind, position(self:_get_name(), i, n)))
  end
  function class:_setitem(i, v)
    local _, key = core.entry(self, kind, position(self:_get_name(), i, core.count(self, kind)))
    if v == nil then
      if kind == "parameter" then error(self:_get_name() .. ": an entry cannot be nil", 2) end
      return self:pop(i)
    end
    self[key] = v
  end
  --- Entries from start to stop (0-based, stop not included) as a new container of the same class.
  function class:slice(start, stop)
    local list, n = self:_values(), core.count(self, kind)
    start, stop = start or 0, stop or n
    if start < 0 then start = math.max(start + n, 0) end
    if stop < 0 then stop = stop + n end
    local new = core.new(core.class_of(self))
    new:_refill(table.move(list, start + 1, math.min(stop, n), 1, {}))
    return new
  end
  function class:insert(i, v)
    local list, n = self:_values(), core.count(self, kind)
    if i < -n or i > n then error(self:_get_name() .. ": index out of range: " .. tostring(i), 2) end
    table.insert(list, (i < 0 and i + n or i) + 1, self:_check(v))
    self:_refill(list)
    return self
  end
  function class:pop(i)
    local list, n = self:_values(), core.count(self, kind)
    local v = table.remove(list, position(self:_get_name(), i or -1, n) + 1)
    self:_refill(list)
    return v
  end
  function class:append(v)
    core.put(self, kind, tostring(core.count(self, kind)), self:_check(v))
    return self
  end
  function class:extend(v)
    for _, x in ipairs(values_of(v, self:_get_name() .. ".extend")) do self:append(x) end
    return self
  end
  function class:_add(other)
    local new = core.new(core.class_of(self))
    new:_refill(self:_values())
    return class.extend(new, other)
  end
end

-- Class:extend("Name") makes a subclass, list:extend(other) adds entries: told apart by the first argument.
local function both_extends(class)
  local subclass, add = core.Module.extend, class.extend
  function class.extend(self, v)
    if core.is_module(self) then return add(self, v) end
    return subclass(self, v)
  end
end

local function module_or_error(self, v)
  if not core.is_module(v) then
    local got = torch.is_tensor(v) and "Tensor" or type(v)
    error(("%s: %s is not a Module subclass"):format(self:_get_name(), got), 3)
  end
  return v
end

-- ---- Sequential ----
local Sequential = document(core.Module:extend("Sequential"), "nn.Sequential(modules...)",
  "Modules called one after the other; nn.Sequential{{\"fc\", l1}, {\"act\", l2}} names them.",
  "nn.Sequential(nn.Linear(3, 4), nn.ReLU())(torch.ones(2, 3)).shape")
make_list(Sequential, "child")
Sequential._check = module_or_error
function Sequential:init(...)
  local first = ...
  if select("#", ...) == 1 and type(first) == "table" then
    local named = first[1] == nil or (is_plain(first[1]) and not core.is_module(first[1]))
    for i, kv in ipairs(named and pairs_of(first) or first) do
      if named then self:add_module(kv[1], kv[2]) else self:add_module(tostring(i - 1), kv) end
    end
    return
  end
  for i = 1, select("#", ...) do self:add_module(tostring(i - 1), (module_or_error(self, (select(i, ...))))) end
end
Sequential.forward = core.sequential
both_extends(Sequential)

-- ---- ModuleList ----
local ModuleList = document(core.Module:extend("ModuleList"), "nn.ModuleList(modules = None)",
  "A list of modules, 0-based: list[0], #list, for i, m in pairs(list), append, extend, insert, pop.",
  "#nn.ModuleList{nn.Linear(2, 2), nn.ReLU()}")
make_list(ModuleList, "child")
ModuleList._check = module_or_error
function ModuleList:init(list)
  if list == nil or list == None then return end
  for _, m in ipairs(values_of(list, "ModuleList")) do self:append(m) end
end
both_extends(ModuleList)

-- Equal children in a row are printed once, as PyTorch does.
function ModuleList:__repr()
  local text = require "torch.nn.text"
  local blocks = {}
  for i, m in ipairs(self:_values()) do
    local s, b = tostring(m), blocks[#blocks]
    if b and b.text == s then b.last = i - 1 else blocks[#blocks + 1] = { text = s, first = i - 1, last = i - 1 } end
  end
  if #blocks == 0 then return self:_get_name() .. "()" end
  local lines = { self:_get_name() .. "(" }
  for _, b in ipairs(blocks) do
    local body = b.text
    local key = tostring(b.first)
    if b.first ~= b.last then
      key = b.first .. "-" .. b.last
      body = b.last - b.first + 1 .. " x " .. body
    end
    lines[#lines + 1] = text.indent("  (" .. key .. "): " .. body)
  end
  lines[#lines + 1] = ")"
  return table.concat(lines, "\n")
end

-- ---- dictionaries ----
local function make_dict(class, kind)
  function class:_len() return core.count(self, kind) end
  function class:_pairs()
    local i = -1
    return function()
      i = i + 1
      local v, k = core.entry(self, kind, i)
      if k ~= nil then return k, v end
    end
  end
  function class:keys()
    local out = {}
    for i, e in ipairs(core.entries(self, kind)) do out[i] = e[1] end
    return out
  end
  function class:values()
    local out = {}
    for i, e in ipairs(core.entries(self, kind)) do out[i] = e[2] end
    return out
  end
  function class:items() return class._pairs(self) end
  function class:contains(key) return core.has(self, kind, key) end
  function class:clear() core.clear(self, kind) end
  function class:pop(key)
    if not core.has(self, kind, key) then error(self:_get_name() .. ": no entry '" .. tostring(key) .. "'", 2) end
    local v = self[key]
    self[key] = nil
    return v
  end
  function class:update(other)
    if type(other) ~= "table" and not core.is_module(other) then
      error(self:_get_name() .. ".update should be called with a table of names and values, got " .. type(other), 2)
    end
    for _, kv in ipairs(pairs_of(other)) do self:_put(kv[1], kv[2]) end
  end
  function class:init(given)
    if given ~= nil and given ~= None then self:update(given) end
  end
end

local ModuleDict = document(core.Module:extend("ModuleDict"), "nn.ModuleDict(modules = None)",
  "Modules by name: dict.name, dict[\"name\"], pairs, keys, values, items, update, pop.",
  "nn.ModuleDict{relu = nn.ReLU()}.relu(torch.ones(2))")
make_dict(ModuleDict, "child")
function ModuleDict:_put(k, v) self:add_module(k, v) end

-- ---- parameters ----
local function parameters_text(type_of)
  return function(self)
    local lines = {}
    for i, p in pairs(self) do
      local kind = core.is_parameter(p) and "Parameter" or "Tensor"
      local size = table.concat(p.shape:totable(), "x")
      lines[#lines + 1] = ("  (%s): %s containing: [%s of size %s]"):format(tostring(i), kind, type_of(p), size)
    end
    return table.concat(lines, "\n")
  end
end

local function parameter_or_error(self, v)
  if not torch.is_tensor(v) then error(("%s: expected a Tensor, got %s"):format(self:_get_name(), type(v)), 3) end
  return core.is_parameter(v) and v or core.Parameter(v)
end

local ParameterList = document(core.Module:extend("ParameterList"), "nn.ParameterList(values = None)",
  "A list of parameters, 0-based; plain tensors become parameters.", "#nn.ParameterList{torch.ones(2), torch.ones(3)}")
make_list(ParameterList, "parameter")
ParameterList._check = parameter_or_error
function ParameterList:init(list)
  if list == nil or list == None then return end
  for _, p in ipairs(values_of(list, "ParameterList")) do self:append(p) end
end
function ParameterList:_setitem(i, v)
  local _, key = core.entry(self, "parameter", position("ParameterList", i, #self))
  self[key] = parameter_or_error(self, v)
end
ParameterList.extra_repr = parameters_text(function(p) return tostring(p.dtype) end)
both_extends(ParameterList)

local ParameterDict = document(core.Module:extend("ParameterDict"), "nn.ParameterDict(parameters = None)",
  "Parameters by name; plain tensors become parameters.", "nn.ParameterDict{w = torch.ones(2)}.w")
make_dict(ParameterDict, "parameter")
function ParameterDict:_put(k, v) core.put(self, "parameter", k, parameter_or_error(self, v)) end
function ParameterDict:get(key, default)
  if core.has(self, "parameter", key) then return self[key] end
  return default
end
function ParameterDict:setdefault(key, default)
  if not core.has(self, "parameter", key) then self:_put(key, default) end
  return self[key]
end
function ParameterDict:copy()
  local new = core.class_of(self)()
  new:update(self)
  return new
end
--- A new dict of the keys, each with the same value.
function ParameterDict:fromkeys(keys, default)
  local new = core.class_of(self)()
  for _, k in ipairs(keys) do new:_put(k, default) end
  return new
end
function ParameterDict:popitem()
  local n = core.count(self, "parameter")
  if n == 0 then error("ParameterDict: popitem: it is empty", 2) end
  local v, k = core.entry(self, "parameter", n - 1)
  self[k] = nil
  return k, v
end
ParameterDict.extra_repr = parameters_text(function(p) return p:type() end)

return M
