-- torch.nn.utils.parametrize: parameters and buffers that are computed from others each time they are read.
--
-- Invariants.  A module with parametrised names has the class "ParametrizedX", which looks in module.parametrizations for a
-- name it does not find; the list there holds the modules applied in turn and `original` (or original0, original1, ...).
-- Nothing else of the module changes, so copies, state_dict and optimizers work as ever.
local torch = require "torch"
local core = require "torch.nn.core"

local M = {}

-- ---- the list of one name ----
local List = core.Module:extend("ParametrizationList")
M.ParametrizationList = List
local function originals(self)
  if self._count == nil then return { self.original } end
  local out = {}
  for i = 0, self._count - 1 do out[i + 1] = self["original" .. i] end
  return out
end
local function add(self, m) self:add_module(tostring(core.count(self, "child")), m) end
function List:_len() return core.count(self, "child") end
function List:_pairs()
  local i = -1
  return function()
    i = i + 1
    local m = core.entry(self, "child", i)
    if m ~= nil then return i, m end
  end
end
function List:_getitem(i)
  local m = core.entry(self, "child", i)
  if m == nil then error("ParametrizationList: index " .. tostring(i) .. " is out of range", 2) end
  return m
end
function List:forward()
  local x = core.entry(self, "child", 0)(table.unpack(originals(self)))
  for i = 1, core.count(self, "child") - 1 do x = core.entry(self, "child", i)(x) end
  return x
end
--- Sets the originals so that the value becomes `value`, where every step has a right_inverse.
function List:right_inverse(value)
  torch.no_grad(function()
    local v = { value }
    for i = core.count(self, "child") - 1, 0, -1 do
      local m = core.entry(self, "child", i)
      if not m.right_inverse then
        error(("parametrization %s does not implement right_inverse."):format(m:_get_name()), 0)
      end
      local r = table.pack(m:right_inverse(v[1]))
      v = type(r[1]) == "table" and r[1] or r
    end
    for i, t in ipairs(originals(self)) do
      if t.shape ~= v[i].shape then t.data = v[i]:detach():clone() else t:copy_(v[i]) end
    end
  end)
end

-- ---- the class of a module with parametrised names ----
local caching, cache = 0, {}
local function compute(self, list, name)
  if caching == 0 then return list() end
  local of = cache[self] or {}
  cache[self] = of
  if of[name] == nil then of[name] = list() end
  return of[name]
end
local function list_of(self, name)
  local all = type(name) == "string" and core.fields(self).parametrizations
  if all and core.has(all, "child", name) then return core.fields(all)[name] end
end

local made = setmetatable({}, { __mode = "k" })
local function parametrized_class(base)
  if made[base] then return made[base] end
  local class = base:extend("Parametrized" .. base.__name)
  class._parametrized_from = base
  local meta = rawget(class, "__instance")
  local index, newindex = meta.__index, meta.__newindex
  function meta.__index(self, key)
    local v = index(self, key)
    if v ~= nil then return v end
    local list = key ~= "parametrizations" and list_of(self, key)
    if list then return compute(self, list, key) end
  end
  function meta.__newindex(self, key, value)
    local list = list_of(self, key)
    if list then list:right_inverse(value) else newindex(self, key, value) end
  end
  made[base] = class
  return class
end

--- True where module (or its tensor of that name) is parametrised.
function M.is_parametrized(module, name)
  local all = core.fields(module).parametrizations
  if not all or not core.is_module(all) then return false end
  if name == nil then return core.count(all, "child") > 0 end
  return core.has(all, "child", name)
end

local function same(a, b, what, name)
  if a.dtype ~= b.dtype then
    error(("Registering a parametrization may not change the dtype of the tensor, unless `unsafe` flag is enabled.\n"
      .. "module.%s.dtype: %s\n%s.dtype: %s"):format(name, tostring(a.dtype), what, tostring(b.dtype)), 3)
  end
  if a.shape ~= b.shape then
    error(("Registering a parametrization may not change the shape of the tensor, unless `unsafe` flag is enabled.\n"
      .. "module.%s.shape: %s\n%s.shape: %s"):format(name, tostring(a.shape), what, tostring(b.shape)), 3)
  end
end

-- The list for a tensor that is not parametrised yet: `original` is the tensor itself, or what right_inverse makes of it.
local function new_list(module, name, parametrization)
  local tensor, list = core.fields(module)[name], List()
  local start = tensor
  if parametrization.right_inverse then
    local r = table.pack(torch.no_grad(function() return parametrization:right_inverse(tensor) end))
    if type(r[1]) == "table" then r = r[1] r.n = #r end
    if r.n > 1 then
      list._count = r.n
      for i = 1, r.n do
        if core.is_parameter(tensor) then list["original" .. i - 1] = core.Parameter(r[i]:detach(), tensor.requires_grad)
        else list:register_buffer("original" .. i - 1, r[i]) end
      end
      return list
    end
    if r[1] ~= tensor and r[1].shape == tensor.shape then
      torch.no_grad(function() tensor:copy_(r[1]) end)
    elseif r[1] ~= tensor then
      start = core.is_parameter(tensor) and core.Parameter(r[1]:detach(), tensor.requires_grad) or r[1]
    end
  end
  if core.is_parameter(tensor) then list.original = start else list:register_buffer("original", start) end
  return list
end

--- register_parametrization(module, tensor_name, parametrization, unsafe = false)
function M.register_parametrization(...)
  local module, name, parametrization, unsafe = core.spread("register_parametrization",
    { "module", "tensor_name", "parametrization", "unsafe" }, ...)
  if not core.is_module(module) or not core.is_module(parametrization) then
    error("register_parametrization: expected a module, a name and a parametrization (a module)", 2)
  end
  parametrization:train(module.training)
  local list = list_of(module, name)
  local before
  if list then
    before = not unsafe and torch.no_grad(function() return list() end)
    add(list, parametrization)
  else
    local tensor = core.fields(module)[name]
    local known = core.has(module, "parameter", name) or core.has(module, "buffer", name)
    if not known or not torch.is_tensor(tensor) then
      error(("Module '%s' does not have a parameter, a buffer, or a parametrized element with name '%s'")
        :format(module:_get_name(), tostring(name)), 2)
    end
    before = not unsafe and tensor
    list = new_list(module, name, parametrization)
    add(list, parametrization)
    if not core.fields(module).parametrizations then
      core.become(module, parametrized_class(core.class_of(module)))
      module.parametrizations = torch.nn.ModuleDict()
    end
    module[name] = nil
    core.put(core.fields(module).parametrizations, "child", name, list)
  end
  if not unsafe then same(before, torch.no_grad(function() return list() end), "parametrized value", name) end
  return module
end

--- remove_parametrizations(module, tensor_name, leave_parametrized = true)
function M.remove_parametrizations(...)
  local module, name, leave = core.spread("remove_parametrizations", { "module", "tensor_name", "leave_parametrized" }, ...)
  local list = core.is_module(module) and list_of(module, name)
  if not list then error(("Module %s does not have a parametrization on %s"):format(core.is_module(module)
    and module:_get_name() or type(module), tostring(name)), 2) end
  if leave == nil then leave = true end
  if not leave and list._count then
    error("Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is parametrized in terms of a sequence of tensors.", 2)
  end
  local first = originals(list)[1]
  local value = first
  if leave then
    local t = torch.no_grad(function() return list() end)
    if not list._count and t.shape == first.shape then torch.no_grad(function() first.data = t:clone() end)
    else value = core.is_parameter(first) and core.Parameter(t, first.requires_grad) or t end
  end
  local all = core.fields(module).parametrizations
  all[name] = nil
  if core.count(all, "child") == 0 then
    module.parametrizations = nil
    core.become(module, core.class_of(module)._parametrized_from)
  end
  if core.is_parameter(value) then module[name] = value else module:register_buffer(name, value) end
  return module
end

--- Inside, each parametrised tensor is computed once: cached(f, ...) or `local _ <close> = cached()`.
function M.cached(f, ...)
  caching = caching + 1
  local guard = setmetatable({}, { __close = function()
    caching = caching - 1
    if caching == 0 then cache = {} end
  end })
  if not f then return guard end
  local _ <close> = guard
  return f(...)
end

function M.type_before_parametrizations(module)
  local class = core.class_of(module)
  return class._parametrized_from or class
end

-- ---- help ----
M.__docs = {
  register_parametrization = { signature = "nn.utils.parametrize.register_parametrization(module, tensor_name, parametrization, unsafe = false) -> module",
    doc = "From now on module[tensor_name] is parametrization(original), computed each time it is read.",
    example = [=[local Twice = nn.Module:extend("Twice")
function Twice:forward(x) return x * 2 end
local m = nn.Linear(2, 2)
nn.utils.parametrize.register_parametrization(m, "weight", Twice())
return nn.utils.parametrize.is_parametrized(m) --> true]=], see = "nn.utils.parametrize.remove_parametrizations" },
  remove_parametrizations = { signature = "nn.utils.parametrize.remove_parametrizations(module, tensor_name, leave_parametrized = true) -> module",
    doc = "Makes the tensor a plain one again, with its computed (or its original) value.",
    example = [=[local Twice = nn.Module:extend("Twice")
function Twice:forward(x) return x * 2 end
local m = nn.Linear(2, 2)
nn.utils.parametrize.register_parametrization(m, "weight", Twice())
nn.utils.parametrize.remove_parametrizations(m, "weight")
return nn.utils.parametrize.is_parametrized(m) --> false]=], see = "nn.utils.parametrize.register_parametrization" },
  is_parametrized = { signature = "nn.utils.parametrize.is_parametrized(module, tensor_name = None) -> boolean",
    doc = "Is the module, or its tensor of that name, parametrised?",
    example = [=[nn.utils.parametrize.is_parametrized(nn.Linear(2, 2)) --> false]=], see = "nn.utils.parametrize.register_parametrization" },
  cached = { signature = "nn.utils.parametrize.cached(fn, ...)",
    doc = "Calls fn; each parametrised tensor is computed once meanwhile.  local _ <close> = cached() covers a block.",
    example = [=[nn.utils.parametrize.cached(function() return 1 end) --> 1]=], see = "nn.utils.parametrize.register_parametrization" },
  type_before_parametrizations = { signature = "nn.utils.parametrize.type_before_parametrizations(module) -> class",
    doc = "The class the module had before.",
    example = [=[nn.utils.parametrize.type_before_parametrizations(nn.Linear(2, 2)) == nn.Linear --> true]=] },
}

return M
