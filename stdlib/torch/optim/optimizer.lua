-- torch.optim.Optimizer: parameter groups, state, state_dict, hooks; the base of every optimizer, also of a script's own.
--
-- Invariants.  param_groups is a list of plain tables (live: what is written there takes effect at the next step); state is a
-- table keyed by parameter whose entries are plain tables.  state_dict numbers parameters from 0, as PyTorch's does.
local torch = require "torch"
local util = require "torch.optim.util"
local raise = util.raise
local core = torch.optim._core
local None = torch.None

local Optimizer = util.class("Optimizer")
Optimizer.required = util.required

local global_pre, global_post = {}, {}

-- ---- groups ----

local function list_of_params(params, who)
  if torch.is_tensor(params) then return { params } end
  if type(params) == "function" then                  -- an iterator of names and parameters, or of parameters
    local list = {}
    for name, p in params do list[#list + 1] = p ~= nil and { name, p } or name end
    return list
  end
  local ok, list = pcall(function()
    local out = {}
    local mt = getmetatable(params)
    if type(params) == "table" and not (mt and mt.__pairs) then return table.move(params, 1, #params, 1, out) end
    for _, p in pairs(params) do out[#out + 1] = p end
    return out
  end)
  if not ok then
    raise(who .. ": params must be a list of tensors or of parameter groups, got a " .. type(params))
  end
  return list
end

local function split_names(group, who)
  local tensors, names = {}, {}
  for i, p in ipairs(group.params) do
    if type(p) == "table" and not getmetatable(p) and #p == 2 then
      names[#names + 1], p = p[1], p[2]
    end
    tensors[i] = p
  end
  if #names > 0 and #names < #tensors then
    raise(who .. ": all optimizer params should be with/without names. Some param names are missing")
  end
  group.params = tensors
  if #names > 0 then group.param_names = names end
end

--- Adds a group: a table with `params` (a tensor or a list) and options that override the defaults.
function Optimizer:add_param_group(group)
  local who = getmetatable(self).__name
  if type(group) ~= "table" or getmetatable(group) or group.params == nil then
    raise(who .. ": param_group must be a table with params, got " .. type(group))
  end
  group.params = list_of_params(group.params, who)
  split_names(group, who)
  local seen = {}
  for i, p in ipairs(group.params) do
    if not torch.is_tensor(p) then
      raise(("%s: optimizer can only optimize Tensors, but one of the params is a %s (number %d); of a module, give its parameters()")
        :format(who, type(p), i))
    end
    if not util.truth(self.defaults.differentiable) and not (p.is_leaf or p.retains_grad) then
      raise(who .. ": can't optimize a non-leaf Tensor")
    end
    if seen[p] then
      self._duplicates = true
      warn("optimizer contains a parameter group with duplicate parameters; in future, this will cause an error; ",
        "see github.com/pytorch/pytorch/issues/40967 for more information")
    end
    seen[p] = true
    core.keep(p)
  end
  for name, default in pairs(self.defaults) do
    if group[name] == nil then
      if default == util.required then
        raise(("%s: parameter group didn't specify a value of required optimization parameter %s"):format(who, name))
      end
      group[name] = type(default) == "table" and not getmetatable(default) and table.move(default, 1, #default, 1, {}) or default
    end
  end
  for _, other in ipairs(self.param_groups) do
    if (group.param_names == nil) ~= (other.param_names == nil) then
      raise(who .. ": all optimizer param groups should be with/without names. cannot add param group " ..
        (group.param_names and "with" or "without") .. " names to the optimizer")
    end
    for _, p in ipairs(other.params) do
      if seen[p] then raise(who .. ": some parameters appear in more than one parameter group") end
    end
  end
  self.param_groups[#self.param_groups + 1] = group
end

-- state[p] makes its entry, as Python's defaultdict does.
local state_meta = { __index = function(t, p)
  if not torch.is_tensor(p) then return nil end
  local entry = {}
  rawset(t, p, entry)
  return entry
end }

--- For classes of a script's own: Optimizer.init(self, params, defaults), then step uses self.param_groups and self.state.
function Optimizer:init(params, defaults)
  local who = getmetatable(self).__name
  self.defaults = defaults or {}
  for _, kind in ipairs { "step_pre", "step_post", "state_dict_pre", "state_dict_post", "load_pre", "load_post" } do
    self["_" .. kind .. "_hooks"] = {}
  end
  if torch.is_tensor(params) then
    raise(who .. ": params argument given to the optimizer should be a list of Tensors or groups, but got one Tensor")
  end
  if params == nil then raise(who .. ": argument 'params' is missing") end
  self.state = setmetatable({}, state_meta)
  self.param_groups = {}
  local list = list_of_params(params, who)
  if #list == 0 then raise(who .. ": optimizer got an empty parameter list") end
  local first = list[1]
  if type(first) ~= "table" or getmetatable(first) or first.params == nil then list = { { params = list } } end
  for _, group in ipairs(list) do self:add_param_group(group) end
end

function Optimizer.__tostring(self)
  local out = { getmetatable(self).__name .. " (" }
  for i, group in ipairs(self.param_groups) do
    out[#out + 1] = (i > 1 and "\n" or "") .. "Parameter Group " .. i - 1
    local keys = {}
    for k in pairs(group) do if k ~= "params" then keys[#keys + 1] = tostring(k) end end
    table.sort(keys)
    for _, k in ipairs(keys) do out[#out + 1] = ("    %s: %s"):format(k, util.text(group[k])) end
  end
  return table.concat(out, "\n") .. "\n)"
end

-- ---- steps ----

--- Gradients become nil, or zero with {set_to_none = false}.
function Optimizer:zero_grad(options)
  local none = options
  if type(options) == "table" then none = options.set_to_none end
  for _, group in ipairs(self.param_groups) do core.zero_grad(group.params, none == nil or none == true) end
end

local function run_hooks(lists, opt, args)
  for _, hooks in ipairs(lists) do
    for _, entry in ipairs(table.move(hooks, 1, #hooks, 1, {})) do
      local new = entry.f(opt, args, {})
      if new ~= nil then
        if type(new) ~= "table" then error("an optimizer's step hook must return nothing or a list of arguments", 0) end
        args = new
      end
    end
  end
  return args
end

--- Wraps a class's step: notes that it ran (for schedulers) and calls the hooks, if there are any.
local function with_hooks(step)
  return function(self, closure)
    rawset(self, "_opt_called", true)
    if #self._step_pre_hooks == 0 and #self._step_post_hooks == 0 and #global_pre == 0 and #global_post == 0 then
      return step(self, closure)
    end
    local args = run_hooks({ global_pre, self._step_pre_hooks }, self, { closure })
    local loss = step(self, args[1])
    run_hooks({ self._step_post_hooks, global_post }, self, args)
    return loss
  end
end
-- A derived class's step is wrapped where it is defined.
function Optimizer.__define(class, key, value)
  if key == "step" and type(value) == "function" then value = with_hooks(value) end
  rawset(class, key, value)
end

--- The closure's loss, computed with gradients on; nil without a closure.
function Optimizer.evaluate(closure)
  if closure == nil then return nil end
  if type(closure) ~= "function" then raise("step: closure must be a function, got a " .. type(closure)) end
  return torch.enable_grad(closure)
end

--- One update of all parameters that have a gradient.
Optimizer.step = with_hooks(function(self, closure)
  local kind = self._kind
  if not kind then raise(getmetatable(self).__name .. ": method step is not defined") end
  local loss = self.evaluate(closure)
  local groups, state, serial = self.param_groups, self.state, self._duplicates
  for i = 1, #groups do core.step(kind, groups[i], state, serial) end
  return loss
end)

-- ---- hooks ----

local function register(field)
  return function(self, f, options)
    if type(f) ~= "function" then raise("a hook must be a function, got a " .. type(f)) end
    local first = options
    if type(options) == "table" then first = options.prepend end
    return util.handle(self[field], { f = f }, first)
  end
end
Optimizer.register_step_pre_hook = register "_step_pre_hooks"
Optimizer.register_step_post_hook = register "_step_post_hooks"
Optimizer.register_state_dict_pre_hook = register "_state_dict_pre_hooks"
Optimizer.register_state_dict_post_hook = register "_state_dict_post_hooks"
Optimizer.register_load_state_dict_pre_hook = register "_load_pre_hooks"
Optimizer.register_load_state_dict_post_hook = register "_load_post_hooks"

--- Hooks for every optimizer, as torch.optim.optimizer has them.
local namespace = {
  Optimizer = Optimizer, required = util.required,
  register_optimizer_step_pre_hook = function(f) return util.handle(global_pre, { f = f }) end,
  register_optimizer_step_post_hook = function(f) return util.handle(global_post, { f = f }) end,
}

-- ---- state_dict ----

local function sorted_keys(t)
  local keys = {}
  for k in pairs(t) do keys[#keys + 1] = k end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  return keys
end

--- {state = {[0] = {...}, ...}, param_groups = {{..., params = {0, 1, ...}}, ...}}, with PyTorch's names and numbering.
function Optimizer:state_dict()
  for _, entry in ipairs(self._state_dict_pre_hooks) do entry.f(self) end
  local number, next_id, groups = {}, 0, {}
  for i, group in ipairs(self.param_groups) do
    local packed, ids = core.ordered(), {}
    for _, k in ipairs(sorted_keys(group)) do if k ~= "params" then packed[k] = group[k] end end
    for j, p in ipairs(group.params) do
      number[p] = number[p] or next_id + j - 1
      ids[j] = number[p]
    end
    next_id = next_id + #ids
    packed.params = ids
    groups[i] = packed
  end
  local state, other = core.ordered(), {}
  local by_number = {}
  for p, entry in pairs(self.state) do
    if number[p] then by_number[number[p]] = entry else other[p] = entry end
  end
  for id = 0, next_id - 1 do if by_number[id] then state[id] = by_number[id] end end
  for _, k in ipairs(sorted_keys(other)) do state[k] = other[k] end
  local sd = core.ordered()
  sd.state, sd.param_groups = state, groups
  for _, entry in ipairs(self._state_dict_post_hooks) do
    local new = entry.f(self, sd)
    if new ~= nil then sd = new end
  end
  return sd
end

-- State takes the parameter's dtype, counters keep theirs.
local function cast(param, value, key, wide)
  if torch.is_tensor(value) then
    if key == "step" then return wide and value:to(torch.float32) or value end
    if param.dtype.is_floating_point then return value:to(param.dtype) end
    return value
  elseif type(value) == "table" then
    local copy = {}
    for k, v in pairs(value) do copy[k] = cast(param, v, k, wide) end
    return copy
  end
  return value
end

local function copy_value(v)
  if type(v) ~= "table" then return v end
  local copy = {}
  for k, x in pairs(v) do copy[k] = copy_value(x) end
  return copy
end

local function check_groups(self, saved)
  local who = getmetatable(self).__name .. ".load_state_dict: "
  if type(saved) ~= "table" then raise(who .. "the state dict has no list 'param_groups'") end
  if #saved ~= #self.param_groups then
    raise(who .. "loaded state dict has a different number of parameter groups")
  end
  for i, group in ipairs(self.param_groups) do
    local ids = saved[i].params
    if type(ids) ~= "table" or #ids ~= #group.params then
      raise(who .. "loaded state dict contains a parameter group that doesn't match the size of optimizer's group")
    end
  end
end

--- Options that a checkpoint of an older version lacks.
function Optimizer:_upgrade(group)
  for name, default in pairs(self._initial or {}) do
    if group[name] == nil then group[name] = copy_value(default) end
  end
end

--- Takes over groups and state (of this optimizer's state_dict, or of a PyTorch checkpoint's).
function Optimizer:load_state_dict(sd)
  for _, entry in ipairs(self._load_pre_hooks) do
    local new = entry.f(self, sd)
    if new ~= nil then sd = new end
  end
  if type(sd) ~= "table" then
    raise(getmetatable(self).__name .. ".load_state_dict: expected a table, got a " .. type(sd))
  end
  check_groups(self, sd.param_groups)
  local of_id, wide, groups = {}, {}, {}
  for i, saved in ipairs(sd.param_groups) do
    local group = {}
    for k, v in pairs(saved) do group[k] = copy_value(v) end
    for j, id in ipairs(saved.params) do
      of_id[id] = self.param_groups[i].params[j]
      wide[id] = util.truth(saved.fused) or util.truth(saved.capturable)
    end
    group.params = self.param_groups[i].params
    if not group.param_names then group.param_names = self.param_groups[i].param_names end
    self:_upgrade(group)
    groups[i] = group
  end
  local state = setmetatable({}, state_meta)
  for id, entry in pairs(sd.state or {}) do
    local p = of_id[id]
    if p then state[p] = cast(p, entry, nil, wide[id]) else state[id] = entry end
  end
  self.param_groups, self.state = groups, state
  for _, entry in ipairs(self._load_post_hooks) do entry.f(self) end
end

Optimizer._namespace = namespace
Optimizer._None = None
return Optimizer
