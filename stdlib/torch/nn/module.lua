-- torch.nn.module: the slower half of nn.Module: state_dict, look-up by path, copies, hooks' registration, text.
local core = require "torch.nn.core"
local torch = require "torch"

local Module = core.Module
local None = torch.None

-- ---- arguments: positional, or by name in a trailing table ----
local function spread(fn, names, ...)
  local n, out = select("#", ...), { ... }
  local last = out[n]
  if n > 0 and type(last) == "table" and getmetatable(last) == nil and (next(last) == nil or type(next(last)) == "string") then
    out[n] = nil
    for k, v in pairs(last) do
      local at
      for i, name in ipairs(names) do if name == k then at = i end end
      if not at then error(fn .. ": unknown keyword '" .. tostring(k) .. "'", 3) end
      if out[at] ~= nil then error(fn .. ": got multiple values for argument '" .. k .. "'", 3) end
      out[at] = v
    end
  elseif n > #names then error(("%s: takes at most %d arguments, got %d"):format(fn, #names, n), 3) end
  for i = 1, #names do if out[i] == None then out[i] = nil end end
  return table.unpack(out, 1, #names)
end
core.spread = spread

-- ---- look-up by path ----
local function class_name(m) return m:_get_name() end

function Module:get_submodule(target)
  local at = self
  for part in target:gmatch("[^.]+") do
    local field = core.fields(at)[part]
    if field == nil then error(class_name(at) .. " has no attribute `" .. part .. "`", 2) end
    if not core.is_module(field) then error("`" .. part .. "` is not an nn.Module", 2) end
    at = field
  end
  return at
end

local function get_tensor(self, target, kind, what)
  local path, name = target:match("^(.*)%.([^.]*)$")
  local owner = self:get_submodule(path or "")
  name = name or target
  local value = core.fields(owner)[name]
  if value == nil and not core.has(owner, kind, name) then
    error(class_name(owner) .. " has no attribute `" .. name .. "`", 3)
  end
  if not core.has(owner, kind, name) then error("`" .. name .. "` is not " .. what, 3) end
  return value
end
function Module:get_parameter(target) return get_tensor(self, target, "parameter", "an nn.Parameter") end
function Module:get_buffer(target) return get_tensor(self, target, "buffer", "a buffer") end

--- Replaces or adds the submodule at a dotted path.
function Module:set_submodule(target, module, strict)
  local path, name = target:match("^(.*)%.([^.]*)$")
  if target == "" then error("Cannot set the submodule without a target name!", 2) end
  local owner = self:get_submodule(path or "")
  if strict and core.fields(owner)[name or target] == nil then
    error(class_name(owner) .. " has no attribute `" .. (name or target) .. "`", 2)
  end
  owner[name or target] = module
end

-- ---- state_dict ----
local function run_hooks(m, kind, ...)
  local hooks = core.hooks(m)
  for _, h in ipairs(hooks and hooks[kind] or {}) do h.fn(...) end
end

--- A module's own entries; classes with other state override it.
function Module:_save_to_state_dict(destination, prefix, keep_vars)
  for _, e in ipairs(core.entries(self, "parameter")) do
    if e[2] ~= None then destination[prefix .. e[1]] = keep_vars and e[2] or e[2]:detach() end
  end
  for _, e in ipairs(core.entries(self, "buffer")) do
    if e[2] ~= None and e[3] then destination[prefix .. e[1]] = keep_vars and e[2] or e[2]:detach() end
  end
  if self.get_extra_state then destination[prefix .. "_extra_state"] = self:get_extra_state() end
end

function Module:state_dict(...)
  local destination, prefix, keep_vars = spread("state_dict", { "destination", "prefix", "keep_vars" }, ...)
  destination, prefix = destination or core.ordered(), prefix or ""
  run_hooks(self, "state_dict_pre", self, prefix, keep_vars)
  self:_save_to_state_dict(destination, prefix, keep_vars)
  for _, e in ipairs(core.entries(self, "child")) do
    if e[2] ~= None then
      e[2]:state_dict { destination = destination, prefix = prefix .. e[1] .. ".", keep_vars = keep_vars }
    end
  end
  run_hooks(self, "state_dict", self, destination, prefix, {})
  return destination
end

local function shape_text(t)
  local parts = {}
  for i, n in ipairs(t.shape:totable()) do parts[i] = tostring(n) end
  return "torch.Size([" .. table.concat(parts, ", ") .. "])"
end

local function quoted(list)
  local out = {}
  for i, name in ipairs(list) do out[i] = '"' .. name .. '"' end
  return table.concat(out, ", ") .. ". "
end

-- What one module takes from the state: checked here, copied when everything has been checked.
local function collect_own(m, state, prefix, job)
  for _, kind in ipairs { "parameter", "buffer" } do
    for _, e in ipairs(core.entries(m, kind)) do
      if e[2] ~= None and (kind == "parameter" or e[3]) then
        local key, own = prefix .. e[1], e[2]
        local given = state[key]
        job.known[key] = true
        if given == nil then job.missing[#job.missing + 1] = key
        elseif not torch.is_tensor(given) then
          job.errors[#job.errors + 1] = ('While copying the parameter named "%s", expected torch.Tensor or Tensor-like '
            .. "object from checkpoint but received %s"):format(key, type(given))
        elseif not m:_accepts_shape(e[1], own, given) then
          job.errors[#job.errors + 1] = ("size mismatch for %s: copying a param with shape %s from checkpoint, the shape "
            .. "in current model is %s."):format(key, shape_text(given), shape_text(own))
        else job.copies[#job.copies + 1] = { m, e[1], kind, own, given } end
      end
    end
  end
  if m.set_extra_state then
    local key = prefix .. "_extra_state"
    job.known[key] = true
    if state[key] ~= nil then job.extra[#job.extra + 1] = { m, state[key] }
    elseif job.strict then job.missing[#job.missing + 1] = key end
  end
end

-- Scalars of old checkpoints have one dimension.
function Module:_accepts_shape(_, own, given)
  return own.shape == given.shape or (own.ndim == 0 and given.ndim == 1 and given:numel() == 1)
end

local function collect(m, state, prefix, job)
  run_hooks(m, "load_state_dict_pre", m, state, prefix, {}, job.strict, job.missing, job.unexpected, job.errors)
  if m._load_from_state_dict then m:_load_from_state_dict(state, prefix, job) end
  collect_own(m, state, prefix, job)
  for _, e in ipairs(core.entries(m, "child")) do
    if e[2] ~= None then collect(e[2], state, prefix .. e[1] .. ".", job) end
  end
  job.visited[#job.visited + 1] = m
end

local function copy_all(job, assign)
  torch.no_grad(function()
    for _, c in ipairs(job.copies) do
      local m, name, kind, own, given = table.unpack(c)
      if own.ndim == 0 and given.ndim == 1 then given = given[0] end
      if not assign then own:copy_(given)
      elseif kind == "parameter" then
        core.put(m, kind, name, core.is_parameter(given) and given or core.Parameter(given, own.requires_grad))
      else core.put(m, kind, name, given) end
    end
  end)
  for _, e in ipairs(job.extra) do e[1]:set_extra_state(e[2]) end
end

--- Loads parameters and buffers by name.  Everything is checked first: an error leaves the module as it was.
-- Returns the missing and the unexpected names, two lists.
function Module:load_state_dict(state_dict, ...)
  local strict, assign = spread("load_state_dict", { "strict", "assign" }, ...)
  if type(state_dict) ~= "table" then
    error("Expected state_dict to be dict-like, got " .. type(state_dict) .. ".", 2)
  end
  if strict == nil then strict = true end
  local state = core.ordered()
  for k, v in pairs(state_dict) do state[k] = v end
  local job = { known = {}, missing = {}, unexpected = {}, errors = {}, copies = {}, extra = {}, visited = {}, strict = strict }
  collect(self, state, "", job)
  for k in pairs(state) do if not job.known[k] then job.unexpected[#job.unexpected + 1] = tostring(k) end end
  local incompatible = { missing_keys = job.missing, unexpected_keys = job.unexpected }
  if #job.errors == 0 then
    for _, m in ipairs(job.visited) do run_hooks(m, "load_state_dict_post", m, incompatible) end
  end
  local errors = job.errors
  if strict then
    if #job.unexpected > 0 then table.insert(errors, 1, "Unexpected key(s) in state_dict: " .. quoted(job.unexpected)) end
    if #job.missing > 0 then table.insert(errors, 1, "Missing key(s) in state_dict: " .. quoted(job.missing)) end
  end
  if #errors > 0 then
    error(("Error(s) in loading state_dict for %s:\n\t%s"):format(class_name(self), table.concat(errors, "\n\t")), 2)
  end
  copy_all(job, assign)
  return job.missing, job.unexpected
end

-- ---- the whole tree ----
function Module:apply(fn)
  if type(fn) ~= "function" then error("apply: expected a function, got " .. type(fn), 2) end
  for _, child in ipairs(self:children()) do child:apply(fn) end
  fn(self)
  return self
end

-- Every tensor t of the tree becomes fn(t), in place.
function Module:_apply(fn)
  local seen = {}
  torch.no_grad(function()
    for _, list in ipairs { self:parameters(), self:buffers() } do
      for _, t in ipairs(list) do
        if not seen[t] then
          seen[t] = true
          core.set_data(t, fn(t.data))
          if t.grad then core.set_data(t.grad, fn(t.grad.data)) end
        end
      end
    end
  end)
  return self
end

function Module:to_empty(...)
  local device = spread("to_empty", { "device", "recurse" }, ...)
  return self:_apply(function(t) return torch.empty_like(t, { device = device }) end)
end
function Module:cpu() return self:to("cpu") end
function Module:share_memory() return self end
function Module:compile() return self end

-- ---- copies ----
local copy_value
local function copy_tensor(t, memo)
  local new
  if core.is_parameter(t) then new = core.Parameter(t:detach():clone(), t.requires_grad)
  else
    if t.grad_fn then
      error("Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment", 0)
    end
    new = t:detach():clone()
    if t.requires_grad then new:requires_grad_() end
  end
  memo[t] = new
  if t.grad then new.grad = t.grad:detach():clone() end
  return new
end

local function copy_module(m, memo)
  local new = core.new(core.class_of(m))
  memo[m] = new
  for _, kind in ipairs { "parameter", "buffer", "child" } do
    for _, e in ipairs(core.entries(m, kind)) do core.put(new, kind, e[1], copy_value(e[2], memo), e[3]) end
  end
  local from, to = core.fields(m), core.fields(new)
  for k, v in pairs(from) do if to[k] == nil then to[k] = copy_value(v, memo) end end
  new.training = m.training
  local hooks = core.hooks(m)
  if hooks then require("torch.nn.hooks").copy(hooks, new) end
  return new
end

function copy_value(v, memo)
  if memo[v] ~= nil then return memo[v] end
  if torch.is_tensor(v) then return copy_tensor(v, memo) end
  if core.is_module(v) then return copy_module(v, memo) end
  if type(v) ~= "table" then return v end
  local meta = getmetatable(v)
  local ordered = meta and rawget(meta, "__name") == "ordered table"
  local new = ordered and core.ordered() or {}
  memo[v] = new
  if ordered then
    for k, x in pairs(v) do new[k] = copy_value(x, memo) end
    return new
  end
  for k, x in next, v do new[copy_value(k, memo)] = copy_value(x, memo) end
  return setmetatable(new, meta)
end

--- A deep copy: own parameters and buffers, shared ones still shared among themselves.
function Module:clone() return copy_value(self, {}) end
Module.deepcopy = Module.clone

-- ---- text ----
function Module:_get_name() return core.class_of(self).__name end
function Module:extra_repr() return "" end
function Module:__repr() return require("torch.nn.text").tree(self) end

--- Is m an object of this class or of one that extends it?
function Module:isinstance(class)
  local at = core.class_of(self)
  while at do
    if at == class then return true end
    at = rawget(at, "__base")
  end
  return false
end

-- ---- hooks: registration is in hooks.lua ----
for _, name in ipairs { "forward_pre_hook", "forward_hook", "full_backward_hook", "full_backward_pre_hook", "state_dict_pre_hook",
  "state_dict_post_hook", "load_state_dict_pre_hook", "load_state_dict_post_hook" } do
  Module["register_" .. name] = function(self, ...) return require("torch.nn.hooks").register(self, name, ...) end
end
Module.register_backward_hook = Module.register_full_backward_hook

return Module
