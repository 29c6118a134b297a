-- torch.optim.lr_scheduler: PyTorch's learning rate schedulers, with its recursions, so that the rates agree bit for bit.
--
-- A scheduler's fields are PyTorch's (last_epoch, base_lrs, _step_count, ...): state_dict is their table, functions left out.
local torch = require "torch"
local util = require "torch.optim.util"
local raise = util.raise
local Optimizer = require "torch.optim.optimizer"
local core = torch.optim._core
local None = torch.None
local cos, pi, floor = math.cos, math.pi, math.floor

local M = {}

local function is_tensor(v) return torch.is_tensor(v) end
local function integer(v) return math.type(v) == "integer" end
local function name_of(o) return getmetatable(o).__name end
local function copy(v) return is_tensor(v) and v:clone() or v end

-- ---- groups' values ----

local function values_of(optimizer, key)
  local list = {}
  for i, group in ipairs(optimizer.param_groups) do list[i] = copy(group[key]) end
  return list
end

-- A tensor as learning rate is filled, a number replaced.
local function set_value(group, key, v)
  if is_tensor(group[key]) then torch.no_grad(group[key].fill_, group[key], util.number(v)) else group[key] = v end
end

local function map_groups(self, f)
  local list = {}
  for i, group in ipairs(self.optimizer.param_groups) do list[i] = f(group, i) end
  return list
end
local function times(self, factor) return map_groups(self, function(group) return group.lr * factor end) end
local function unchanged(self) return values_of(self.optimizer, "lr") end
local function from_base(self, f)
  local list = {}
  for i, lr in ipairs(self.base_lrs) do list[i] = f(lr) end
  return list
end

local function is_list(v) return type(v) == "table" and not getmetatable(v) end

-- One value for each group, given as a list or as one for all.
local function per_group(who, name, optimizer, v)
  local list, n = {}, #optimizer.param_groups
  if is_list(v) and #v ~= n then
    raise(("%s: %s must have the same length as optimizer.param_groups. %s has %d values, param_groups has %d."):format(
      who, name, name, #v, n))
  end
  for i = 1, n do list[i] = copy(is_list(v) and v[i] or v) end
  return list
end

-- The number of milestones that are <= epoch.
local function bisect_right(list, x)
  local n = 0
  for _, v in ipairs(list) do if v <= x then n = n + 1 end end
  return n
end

-- ---- the base ----

local LRScheduler = util.class("LRScheduler")
LRScheduler.__module = "torch.optim.lr_scheduler."
M.LRScheduler, M._LRScheduler = LRScheduler, LRScheduler
LRScheduler._get_lr_called_within_step = false
LRScheduler._is_initial = false
LRScheduler.__tostring = function(self) return "<torch.optim.lr_scheduler." .. name_of(self) .. " object>" end

local function check_optimizer(self, optimizer)
  if not util.is_a(optimizer, Optimizer) then
    raise(("%s: argument 'optimizer' is a %s, not an Optimizer"):format(name_of(self), type(optimizer)))
  end
end

--- For schedulers of a script's own: LRScheduler.init(self, optimizer, last_epoch) after the fields that get_lr() uses.
function LRScheduler:init(optimizer, last_epoch)
  check_optimizer(self, optimizer)
  last_epoch = last_epoch or -1
  self.optimizer = optimizer
  for i, group in ipairs(optimizer.param_groups) do
    if last_epoch == -1 then
      if group.initial_lr == nil then group.initial_lr = copy(group.lr) end
    elseif group.initial_lr == nil then
      raise(("%s: param 'initial_lr' is not specified in param_groups[%d] when resuming scheduler with last_epoch >= 0"):format(
        name_of(self), i - 1))
    end
  end
  self.base_lrs = values_of(optimizer, "initial_lr")
  self.last_epoch = last_epoch
  optimizer._scheduled = true
  self:_initial_step()
end

function LRScheduler:_initial_step()
  self._step_count = 0
  self._is_initial = true
  self:step()
  self._is_initial = false
end

function LRScheduler:get_last_lr() return self._last_lr end
function LRScheduler:get_lr() raise(name_of(self) .. ": method get_lr is not defined") end

function LRScheduler:_apply(values)
  for i, group in ipairs(self.optimizer.param_groups) do set_value(group, "lr", values[i]) end
  self._last_lr = values_of(self.optimizer, "lr")
end

function LRScheduler:_update_lr(epoch)
  self._get_lr_called_within_step = true
  local values
  if epoch == nil then
    self.last_epoch = self.last_epoch + 1
    values = self:get_lr()
  else
    self.last_epoch = epoch
    values = self._get_closed_form_lr and self:_get_closed_form_lr() or self:get_lr()
  end
  self._get_lr_called_within_step = false
  self:_apply(values)
end

--- The next epoch's rates, set in the optimizer's groups.
function LRScheduler:step(epoch)
  if self._step_count == 1 and not self.optimizer._opt_called then
    warn("Detected call of `lr_scheduler.step()` before `optimizer.step()`: call them in the opposite order, or the first value ",
      "of the learning rate schedule is skipped")
  end
  self._step_count = self._step_count + 1
  if epoch ~= nil and epoch ~= None then
    warn("The epoch parameter in `scheduler.step()` is deprecated: use `scheduler.step()` to step")
  else epoch = nil end
  self:_update_lr(epoch)
end

local hidden = { optimizer = true, lr_lambdas = true, _schedulers = true }

--- The scheduler's fields by name; functions are left out, chained schedulers' states are inside.
function LRScheduler:state_dict()
  local keys, sd = {}, core.ordered()
  for k, v in pairs(self) do if not hidden[k] and type(v) ~= "function" then keys[#keys + 1] = k end end
  table.sort(keys)
  for _, k in ipairs(keys) do sd[k] = self[k] end
  if self.lr_lambdas then
    local list = {}
    for i in ipairs(self.lr_lambdas) do list[i] = None end
    sd.lr_lambdas = list
  end
  if self._schedulers then
    local list = {}
    for i, s in ipairs(self._schedulers) do list[i] = s:state_dict() end
    sd._schedulers = list
  end
  return sd
end

function LRScheduler:load_state_dict(sd)
  if type(sd) ~= "table" then raise(name_of(self) .. ".load_state_dict: expected a table, got a " .. type(sd)) end
  for k, v in pairs(sd) do
    if k == "_schedulers" then
      for i, s in ipairs(v) do self._schedulers[i]:load_state_dict(s) end
    elseif not hidden[k] and k ~= "_scale_fn_custom" then self[k] = v end
  end
end

-- A class from its signature: init(self, o) gets the arguments by name and then calls LRScheduler.init.
local function define(name, spec, init)
  local class = LRScheduler:extend(name)
  class.__module, class._spec = LRScheduler.__module, spec
  if spec[1][1] == "optimizer" then spec[#spec + 1] = { "last_epoch", -1 } end
  function class:init(...)
    local o = util.arguments(name, spec, table.pack(...))
    if o.optimizer ~= nil then check_optimizer(self, o.optimizer) end
    self.optimizer = o.optimizer
    for k, v in pairs(o) do if v == None then o[k] = nil end end
    if init(self, o) ~= false then LRScheduler.init(self, o.optimizer, o.last_epoch) end
  end
  M[name] = class
  return class
end

local required = util.required
local function positive(v) return integer(v) and v > 0 end

-- ---- by functions ----

local function keep_lambdas(self, o)
  local n, f = #o.optimizer.param_groups, o.lr_lambda
  local list = {}
  if is_list(f) and #f ~= n then
    raise(("%s: Expected %d lr_lambdas, but got %d"):format(name_of(self), n, #f))
  end
  for i = 1, n do
    list[i] = is_list(f) and f[i] or f
    if type(list[i]) ~= "function" and not (getmetatable(list[i]) or {}).__call then
      raise(("%s: lr_lambda should be a function, but got a %s"):format(name_of(self), type(list[i])))
    end
  end
  self.lr_lambdas = list
end

local LambdaLR = define("LambdaLR", { { "optimizer", required }, { "lr_lambda", required } }, keep_lambdas)
function LambdaLR:get_lr()
  local list = {}
  for i, lr in ipairs(self.base_lrs) do list[i] = lr * self.lr_lambdas[i](self.last_epoch) end
  return list
end

local MultiplicativeLR = define("MultiplicativeLR", { { "optimizer", required }, { "lr_lambda", required } }, keep_lambdas)
function MultiplicativeLR:get_lr()
  if self._is_initial then return unchanged(self) end
  return map_groups(self, function(group, i) return group.lr * self.lr_lambdas[i](self.last_epoch) end)
end

-- ---- by steps ----

local StepLR = define("StepLR", { { "optimizer", required }, { "step_size", required }, { "gamma", 0.1 } }, function(self, o)
  self.step_size, self.gamma = o.step_size, o.gamma
end)
function StepLR:get_lr()
  if self.last_epoch == 0 or self.last_epoch % self.step_size ~= 0 then return unchanged(self) end
  return times(self, self.gamma)
end
function StepLR:_get_closed_form_lr()
  return from_base(self, function(lr) return lr * self.gamma ^ (self.last_epoch // self.step_size) end)
end

local MultiStepLR = define("MultiStepLR", { { "optimizer", required }, { "milestones", required }, { "gamma", 0.1 } },
  function(self, o)
    if not is_list(o.milestones) then raise("MultiStepLR: milestones must be a list of epochs") end
    local list = table.move(o.milestones, 1, #o.milestones, 1, {})
    table.sort(list)
    self.milestones, self.gamma = core.ordered(), o.gamma
    for _, m in ipairs(list) do self.milestones[m] = (self.milestones[m] or 0) + 1 end
  end)
function MultiStepLR:get_lr()
  local times_here = self.milestones[self.last_epoch]
  return times_here and times(self, self.gamma ^ times_here) or unchanged(self)
end
function MultiStepLR:_get_closed_form_lr()
  local n = 0
  for m, count in pairs(self.milestones) do if m <= self.last_epoch then n = n + count end end
  return from_base(self, function(lr) return lr * self.gamma ^ n end)
end

local ConstantLR = define("ConstantLR", { { "optimizer", required }, { "factor", 1.0 / 3 }, { "total_iters", 5 } }, function(self, o)
  if o.factor > 1.0 or o.factor < 0 then
    raise("ConstantLR: Constant multiplicative factor expected to be between 0 and 1.")
  end
  self.factor, self.total_iters = o.factor, o.total_iters
end)
function ConstantLR:get_lr()
  if self.last_epoch == 0 then return times(self, self.factor) end
  if self.last_epoch ~= self.total_iters then return unchanged(self) end
  return times(self, 1.0 / self.factor)
end
function ConstantLR:_get_closed_form_lr()
  local over = self.last_epoch >= self.total_iters and 1 or 0
  return from_base(self, function(lr) return lr * (self.factor + over * (1 - self.factor)) end)
end

local LinearLR = define("LinearLR", { { "optimizer", required }, { "start_factor", 1.0 / 3 }, { "end_factor", 1.0 },
  { "total_iters", 5 } }, function(self, o)
  if o.start_factor > 1.0 or o.start_factor <= 0 then
    raise("LinearLR: Starting multiplicative factor expected to be greater than 0 and less or equal to 1.")
  end
  if o.end_factor > 1.0 or o.end_factor < 0 then
    raise("LinearLR: Ending multiplicative factor expected to be between 0 and 1.")
  end
  self.start_factor, self.end_factor, self.total_iters = o.start_factor, o.end_factor, o.total_iters
end)
function LinearLR:get_lr()
  if self.last_epoch == 0 then return times(self, self.start_factor) end
  if self._is_initial or self.last_epoch > self.total_iters then return unchanged(self) end
  local rise = self.end_factor - self.start_factor
  return times(self, 1.0 + rise / (self.total_iters * self.start_factor + (self.last_epoch - 1) * rise))
end
function LinearLR:_get_closed_form_lr()
  local rise = self.end_factor - self.start_factor
  return from_base(self, function(lr)
    return lr * (self.start_factor + rise * math.min(self.total_iters, self.last_epoch) / self.total_iters)
  end)
end

local ExponentialLR = define("ExponentialLR", { { "optimizer", required }, { "gamma", required } }, function(self, o)
  self.gamma = o.gamma
end)
function ExponentialLR:get_lr() return self._is_initial and unchanged(self) or times(self, self.gamma) end
function ExponentialLR:_get_closed_form_lr()
  return from_base(self, function(lr) return lr * self.gamma ^ self.last_epoch end)
end

local PolynomialLR = define("PolynomialLR", { { "optimizer", required }, { "total_iters", 5 }, { "power", 1.0 } }, function(self, o)
  self.total_iters, self.power = o.total_iters, o.power
end)
function PolynomialLR:get_lr()
  if self._is_initial or self.last_epoch > self.total_iters then return unchanged(self) end
  local n = self.total_iters
  return times(self, ((1.0 - self.last_epoch / n) / (1.0 - (self.last_epoch - 1) / n)) ^ self.power)
end
function PolynomialLR:_get_closed_form_lr()
  local n = self.total_iters
  return from_base(self, function(lr) return lr * (1.0 - math.min(n, self.last_epoch) / n) ^ self.power end)
end

-- ---- cosines ----

local CosineAnnealingLR = define("CosineAnnealingLR", { { "optimizer", required }, { "T_max", required }, { "eta_min", 0.0 } },
  function(self, o) self.T_max, self.eta_min = o.T_max, o.eta_min end)
function CosineAnnealingLR:get_lr()
  local e, n, low = self.last_epoch, self.T_max, self.eta_min
  if self._is_initial then return unchanged(self) end
  if self._step_count == 1 and e > 0 then
    return from_base(self, function(lr) return low + (lr - low) * (1 + cos(e * pi / n)) / 2 end)
  elseif (e - 1 - n) % (2 * n) == 0 then
    return map_groups(self, function(group, i) return group.lr + (self.base_lrs[i] - low) * (1 - cos(pi / n)) / 2 end)
  end
  return map_groups(self, function(group)
    return (1 + cos(pi * e / n)) / (1 + cos(pi * (e - 1) / n)) * (group.lr - low) + low
  end)
end
function CosineAnnealingLR:_get_closed_form_lr()
  local low = self.eta_min
  return from_base(self, function(lr) return low + (lr - low) * (1 + cos(pi * self.last_epoch / self.T_max)) / 2 end)
end

local WarmRestarts = define("CosineAnnealingWarmRestarts", { { "optimizer", required }, { "T_0", required }, { "T_mult", 1 },
  { "eta_min", 0.0 } }, function(self, o)
  if not positive(o.T_0) then util.fail("CosineAnnealingWarmRestarts: Expected positive integer T_0, but got %s", o.T_0) end
  if not positive(o.T_mult) then util.fail("CosineAnnealingWarmRestarts: Expected integer T_mult >= 1, but got %s", o.T_mult) end
  if type(o.eta_min) ~= "number" then
    util.fail("CosineAnnealingWarmRestarts: Expected float or int eta_min, but got %s", o.eta_min)
  end
  self.T_0, self.T_i, self.T_mult, self.eta_min, self.T_cur = o.T_0, o.T_0, o.T_mult, o.eta_min, o.last_epoch
end)
function WarmRestarts:get_lr()
  local low = self.eta_min
  return from_base(self, function(lr) return low + (lr - low) * (1 + cos(pi * self.T_cur / self.T_i)) / 2 end)
end
-- Where in which period an epoch (which may have a fraction) lies.
function WarmRestarts:_place(epoch)
  if epoch < 0 then util.fail("CosineAnnealingWarmRestarts: Expected non-negative epoch, but got %s", epoch) end
  if epoch < self.T_0 then
    self.T_i, self.T_cur = self.T_0, epoch
  elseif self.T_mult == 1 then self.T_cur = epoch % self.T_0
  else
    local n = floor(math.log(epoch / self.T_0 * (self.T_mult - 1) + 1) / math.log(self.T_mult))
    self.T_cur = epoch - self.T_0 * (self.T_mult ^ n - 1) / (self.T_mult - 1)
    self.T_i = floor(self.T_0 * self.T_mult ^ n)
  end
end
function WarmRestarts:step(epoch)
  if epoch == None then epoch = nil end
  if epoch == nil and self.last_epoch < 0 then epoch = 0 end
  if epoch == nil then
    epoch = self.last_epoch + 1
    self.T_cur = self.T_cur + 1
    if self.T_cur >= self.T_i then self.T_cur, self.T_i = self.T_cur % self.T_i, self.T_i * self.T_mult end
  else self:_place(epoch) end
  self.last_epoch, self._get_lr_called_within_step = floor(epoch), false
  self:_apply(self:get_lr())
end

-- ---- cycles, with momentum ----

-- Sets the momentum, or Adam's first beta, of a group.
local function set_momentum(self, group, m)
  if not self.use_beta1 then group.momentum = m return end
  local betas = table.move(group.betas, 1, #group.betas, 1, {})
  betas[1] = m
  group.betas = betas
end

local function begin_momentum(self, o)
  self.cycle_momentum = o.cycle_momentum
  if not o.cycle_momentum then return {}, {} end
  local defaults = o.optimizer.defaults
  if defaults.momentum == nil and defaults.betas == nil then
    raise(name_of(self) .. ": optimizer must support momentum or beta1 with `cycle_momentum` option enabled")
  end
  self.use_beta1 = defaults.betas ~= nil
  local low = per_group(name_of(self), "base_momentum", o.optimizer, o.base_momentum)
  local high = per_group(name_of(self), "max_momentum", o.optimizer, o.max_momentum)
  if o.last_epoch == -1 then
    for i, group in ipairs(o.optimizer.param_groups) do
      set_momentum(self, group, high[i])
      group.max_momentum, group.base_momentum = high[i], low[i]
    end
  end
  return low, high
end

local modes = { triangular = "cycle", triangular2 = "cycle", exp_range = "iterations" }
local CyclicLR = define("CyclicLR", { { "optimizer", required }, { "base_lr", required }, { "max_lr", required },
  { "step_size_up", 2000 }, { "step_size_down", nil }, { "mode", "triangular" }, { "gamma", 1.0 }, { "scale_fn", nil },
  { "scale_mode", "cycle" }, { "cycle_momentum", true }, { "base_momentum", 0.8 }, { "max_momentum", 0.9 } }, function(self, o)
  local base = per_group("CyclicLR", "base_lr", o.optimizer, o.base_lr)
  if o.last_epoch == -1 then
    for i, group in ipairs(o.optimizer.param_groups) do set_value(group, "lr", base[i]) end
  end
  self.max_lrs = per_group("CyclicLR", "max_lr", o.optimizer, o.max_lr)
  local up = o.step_size_up + 0.0
  self.total_size = up + (o.step_size_down or up)
  self.step_ratio = up / self.total_size
  if not modes[o.mode] and not o.scale_fn then raise("CyclicLR: mode is invalid and scale_fn is None") end
  self.mode, self.gamma, self._scale_fn_custom = o.mode, o.gamma, o.scale_fn
  self.scale_mode = o.scale_fn and o.scale_mode or modes[o.mode]
  local low, high = begin_momentum(self, o)
  if o.cycle_momentum then self.base_momentums, self.max_momentums = low, high end
  LRScheduler.init(self, o.optimizer, o.last_epoch)
  self.base_lrs = base
  return false
end)
function CyclicLR:scale_fn(x)
  if self._scale_fn_custom then return self._scale_fn_custom(x) end
  return self.mode == "triangular" and 1.0 or self.mode == "triangular2" and 1 / 2.0 ^ (x - 1) or self.gamma ^ x
end
function CyclicLR:get_lr()
  local at = self.last_epoch / self.total_size
  local cycle = floor(1 + at)
  local x = 1.0 + at - cycle
  local part = x <= self.step_ratio and x / self.step_ratio or (x - 1) / (self.step_ratio - 1)
  local scale = self:scale_fn(self.scale_mode == "cycle" and cycle or self.last_epoch)
  local lrs = {}
  for i, low in ipairs(self.base_lrs) do lrs[i] = low + (self.max_lrs[i] - low) * part * scale end
  if self.cycle_momentum then
    for i, group in ipairs(self.optimizer.param_groups) do
      local high = self.max_momentums[i]
      set_momentum(self, group, high - (high - self.base_momentums[i]) * part * scale)
    end
  end
  return lrs
end
function CyclicLR:state_dict()
  local sd = LRScheduler.state_dict(self)
  sd._scale_fn_custom = None
  return sd
end

local function total_steps(o)
  if o.total_steps then
    if not positive(o.total_steps) then util.fail("OneCycleLR: Expected positive integer total_steps, but got %s", o.total_steps) end
    return o.total_steps
  end
  if not (o.epochs and o.steps_per_epoch) then
    raise("OneCycleLR: You must define either total_steps OR (epochs AND steps_per_epoch)")
  end
  for _, k in ipairs { "epochs", "steps_per_epoch" } do
    if not positive(o[k]) then util.fail("OneCycleLR: Expected positive integer " .. k .. ", but got %s", o[k]) end
  end
  return o.epochs * o.steps_per_epoch
end

local function phase(end_step, start_lr, end_lr, start_momentum, end_momentum)
  return { end_step = end_step, start_lr = start_lr, end_lr = end_lr, start_momentum = start_momentum, end_momentum = end_momentum }
end

local OneCycleLR = define("OneCycleLR", { { "optimizer", required }, { "max_lr", required }, { "total_steps", nil }, { "epochs", nil },
  { "steps_per_epoch", nil }, { "pct_start", 0.3 }, { "anneal_strategy", "cos" }, { "cycle_momentum", true },
  { "base_momentum", 0.85 }, { "max_momentum", 0.95 }, { "div_factor", 25.0 }, { "final_div_factor", 1e4 },
  { "three_phase", false } }, function(self, o)
  local n = total_steps(o)
  self.total_steps = n
  if type(o.pct_start) ~= "number" or o.pct_start < 0 or o.pct_start > 1 or integer(o.pct_start) then
    util.fail("OneCycleLR: Expected float between 0 and 1 pct_start, but got %s", o.pct_start)
  end
  if o.anneal_strategy ~= "cos" and o.anneal_strategy ~= "linear" then
    util.fail("OneCycleLR: anneal_strategy must be one of 'cos' or 'linear', instead got %s", o.anneal_strategy)
  end
  local rise = phase(o.pct_start * n - 1, "initial_lr", "max_lr", "max_momentum", "base_momentum")
  if o.three_phase then
    self._schedule_phases = { rise, phase(2 * o.pct_start * n - 2, "max_lr", "initial_lr", "base_momentum", "max_momentum"),
      phase(n - 1, "initial_lr", "min_lr", "max_momentum", "max_momentum") }
  else
    self._schedule_phases = { rise, phase(n - 1, "max_lr", "min_lr", "base_momentum", "max_momentum") }
  end
  self._anneal_func_type = o.anneal_strategy
  local max_lrs = per_group("OneCycleLR", "max_lr", o.optimizer, o.max_lr)
  if o.last_epoch == -1 then
    for i, group in ipairs(o.optimizer.param_groups) do
      group.initial_lr, group.max_lr = max_lrs[i] / o.div_factor, max_lrs[i]
      group.min_lr = group.initial_lr / o.final_div_factor
    end
  end
  begin_momentum(self, o)
end)
function OneCycleLR:_anneal(from, to, pct)
  if self._anneal_func_type == "linear" then return (to - from) * pct + from end
  return to + (from - to) / 2.0 * (cos(pi * pct) + 1)
end
function OneCycleLR:get_lr()
  local step, phases = self.last_epoch, self._schedule_phases
  if step > self.total_steps then
    raise(("OneCycleLR: Tried to step %d times. The specified number of total steps is %d"):format(step, self.total_steps))
  end
  local start, i = 0.0, 1
  while i < #phases and step > phases[i].end_step do start, i = phases[i].end_step, i + 1 end
  local now = phases[i]
  local pct = (step - start) / (now.end_step - start)
  return map_groups(self, function(group)
    if self.cycle_momentum then
      set_momentum(self, group, self:_anneal(group[now.start_momentum], group[now.end_momentum], pct))
    end
    return self:_anneal(group[now.start_lr], group[now.end_lr], pct)
  end)
end

-- ---- several schedulers ----

local function check_schedulers(self, list, optimizer)
  local who = name_of(self)
  if not is_list(list) or #list < 1 then raise(who .. " expects at least one scheduler, but got no scheduler.") end
  optimizer = optimizer or (type(list[1]) == "table" and list[1].optimizer)
  for i, s in ipairs(list) do
    if type(s) ~= "table" or not s.optimizer then raise(("%s: entry %d is not a scheduler"):format(who, i - 1)) end
    if util.is_a(s, M.ReduceLROnPlateau) then
      raise(who .. " does not support `ReduceLROnPlateau`, whose step needs a metric; got one at index " .. i - 1)
    end
    if not rawequal(s.optimizer, optimizer) then
      raise(("%s expects all schedulers to belong to the same optimizer, but that of %s at index %d is another"):format(
        who, name_of(s), i - 1))
    end
  end
  return optimizer
end

local function undo(s)
  if s._schedulers then for _, inner in ipairs(s._schedulers) do undo(inner) end
  elseif s.last_epoch then s.last_epoch = s.last_epoch - 1 end
end

local SequentialLR = define("SequentialLR", { { "optimizer", required }, { "schedulers", required }, { "milestones", required } },
  function(self, o)
    check_schedulers(self, o.schedulers, o.optimizer)
    if #o.milestones ~= #o.schedulers - 1 then
      raise(("SequentialLR: expects one scheduler more than milestones, but got %d schedulers and %d milestones"):format(
        #o.schedulers, #o.milestones))
    end
    self._schedulers, self._milestones, self.last_epoch = o.schedulers, o.milestones, o.last_epoch + 1
    for _, group in ipairs(o.optimizer.param_groups) do set_value(group, "lr", group.initial_lr) end
    undo(self)
    local first = self._schedulers[bisect_right(self._milestones, 0) + 1]
    first:_initial_step()
    self._last_lr = first:get_last_lr()
    return false
  end)
function SequentialLR:step()
  self.last_epoch = self.last_epoch + 1
  local i = bisect_right(self._milestones, self.last_epoch)
  local scheduler = self._schedulers[i + 1]
  if i > 0 and self._milestones[i] == self.last_epoch then scheduler:_update_lr(0) else scheduler:step() end
  self._last_lr = scheduler:get_last_lr()
end

local ChainedScheduler = define("ChainedScheduler", { { "schedulers", required }, { "optimizer", nil } }, function(self, o)
  self.optimizer = check_schedulers(self, o.schedulers, o.optimizer)
  self._schedulers = o.schedulers
  self._last_lr = values_of(self.optimizer, "lr")
  return false
end)
function ChainedScheduler:step()
  for _, s in ipairs(self._schedulers) do s:step() end
  self._last_lr = values_of(self.optimizer, "lr")
end

-- ---- by a metric ----

local Plateau = define("ReduceLROnPlateau", { { "optimizer", required }, { "mode", "min" }, { "factor", 0.1 }, { "patience", 10 },
  { "threshold", 1e-4 }, { "threshold_mode", "rel" }, { "cooldown", 0 }, { "min_lr", 0 }, { "eps", 1e-8 } }, function(self, o)
  if o.factor >= 1.0 then raise("ReduceLROnPlateau: Factor should be < 1.0.") end
  local n = #o.optimizer.param_groups
  if is_list(o.min_lr) and #o.min_lr ~= n then
    raise(("ReduceLROnPlateau: expected %d min_lrs, got %d"):format(n, #o.min_lr))
  end
  self.default_min_lr = is_list(o.min_lr) and None or o.min_lr
  self.min_lrs = per_group("ReduceLROnPlateau", "min_lr", o.optimizer, o.min_lr)
  for _, k in ipairs { "factor", "patience", "cooldown", "eps", "mode", "threshold", "threshold_mode" } do self[k] = o[k] end
  self.last_epoch = 0
  self._last_lr = values_of(o.optimizer, "lr")
  self:_init_is_better()
  self.best, self.cooldown_counter, self.num_bad_epochs = self.mode_worse, 0, 0
  return false
end)
Plateau._spec[#Plateau._spec] = nil                   -- no last_epoch here
function Plateau:_init_is_better()
  if self.mode ~= "min" and self.mode ~= "max" then raise("mode " .. tostring(self.mode) .. " is unknown!") end
  if self.threshold_mode ~= "rel" and self.threshold_mode ~= "abs" then
    raise("threshold mode " .. tostring(self.threshold_mode) .. " is unknown!")
  end
  self.mode_worse = self.mode == "min" and math.huge or -math.huge
end
function Plateau:_is_better(a, best)
  local t, rel = self.threshold, self.threshold_mode == "rel"
  if self.mode == "min" then return a < (rel and best * (1.0 - t) or best - t) end
  return a > (rel and best * (t + 1.0) or best + t)
end
function Plateau:in_cooldown() return self.cooldown_counter > 0 end
function Plateau:_reduce_lr()
  local groups = self.optimizer.param_groups
  if #groups ~= #self.min_lrs then
    if self.default_min_lr == None then
      raise(("ReduceLROnPlateau: the optimizer has %d parameter groups now, but min_lrs has %d values"):format(
        #groups, #self.min_lrs))
    end
    self.min_lrs = per_group("ReduceLROnPlateau", "min_lr", self.optimizer, self.default_min_lr)
  end
  for i, group in ipairs(groups) do
    local old = util.number(group.lr)
    local new = math.max(old * self.factor, self.min_lrs[i])
    if old - new > self.eps then set_value(group, "lr", new) end
  end
end
--- metrics: the number (or one-element tensor) that should fall (mode "min") or rise.
function Plateau:step(metrics, epoch)
  local current = util.number(metrics)
  if type(current) ~= "number" then raise("ReduceLROnPlateau: step needs a number, got a " .. type(metrics)) end
  current = current + 0.0
  self.last_epoch = epoch or self.last_epoch + 1
  if self:_is_better(current, self.best) then self.best, self.num_bad_epochs = current, 0
  else self.num_bad_epochs = self.num_bad_epochs + 1 end
  if self:in_cooldown() then self.cooldown_counter, self.num_bad_epochs = self.cooldown_counter - 1, 0 end
  if self.num_bad_epochs > self.patience then
    self:_reduce_lr()
    self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
  end
  self._last_lr = values_of(self.optimizer, "lr")
end
function Plateau:load_state_dict(sd)
  LRScheduler.load_state_dict(self, sd)
  self:_init_is_better()
end

-- ---- help ----

local texts = {
  LambdaLR = { "lr = initial lr * f(epoch); one function for all groups or a list.",
    "optim.lr_scheduler.LambdaLR(o, function(e) return 0.9 ^ e end)" },
  MultiplicativeLR = { "lr is multiplied by f(epoch) at every step.",
    "optim.lr_scheduler.MultiplicativeLR(o, function() return 0.9 end)" },
  StepLR = { "lr is multiplied by gamma every step_size epochs.",
    "optim.lr_scheduler.StepLR(o, 30)" },
  MultiStepLR = { "lr is multiplied by gamma at each of the milestones.",
    "optim.lr_scheduler.MultiStepLR(o, {30, 80})" },
  ConstantLR = { "lr is factor times its value for the first total_iters epochs.",
    "optim.lr_scheduler.ConstantLR(o, 0.5, 4)" },
  LinearLR = { "lr goes linearly from start_factor to end_factor times its value in total_iters epochs: a warm-up.",
    "optim.lr_scheduler.LinearLR(o, 0.1)" },
  ExponentialLR = { "lr is multiplied by gamma at every step.",
    "optim.lr_scheduler.ExponentialLR(o, 0.9)" },
  PolynomialLR = { "lr falls to zero in total_iters epochs along a polynomial.",
    "optim.lr_scheduler.PolynomialLR(o, 10)" },
  CosineAnnealingLR = { "lr follows half a cosine from its value to eta_min in T_max epochs.",
    "optim.lr_scheduler.CosineAnnealingLR(o, 50)" },
  CosineAnnealingWarmRestarts = { "half cosines over and over, each T_mult times as long as the last.",
    "optim.lr_scheduler.CosineAnnealingWarmRestarts(o, 10, 2)" },
  CyclicLR = { "lr swings between base_lr and max_lr, momentum the other way.",
    "optim.lr_scheduler.CyclicLR(o, 0.01, 0.1)" },
  OneCycleLR = { "one rise to max_lr and one long fall, momentum the other way; step it after every batch.",
    "optim.lr_scheduler.OneCycleLR(o, 0.1, 100)" },
  SequentialLR = { "one scheduler after the other, changing at the milestones.",
    "optim.lr_scheduler.SequentialLR(o, {optim.lr_scheduler.ConstantLR(o), optim.lr_scheduler.ExponentialLR(o, 0.9)}, {2})" },
  ChainedScheduler = { "several schedulers at once: their factors multiply.",
    "optim.lr_scheduler.ChainedScheduler{optim.lr_scheduler.ConstantLR(o), optim.lr_scheduler.ExponentialLR(o, 0.9)}" },
  ReduceLROnPlateau = { "lr is multiplied by factor when step(metric) has not improved for more than patience epochs.",
    "optim.lr_scheduler.ReduceLROnPlateau(o, {patience = 3})" },
}
for name, t in pairs(texts) do
  util.document(M[name], "optim.lr_scheduler.", M[name]._spec, t[1],
    "local o = optim.SGD({torch.ones(2):requires_grad_()}, {momentum = 0.9}); return " .. t[2], "optim.lr_scheduler.LRScheduler.step")
end

M._define = define
M._per_group = per_group
M._map_groups = map_groups
return M
