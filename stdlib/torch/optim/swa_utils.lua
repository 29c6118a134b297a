-- torch.optim.swa_utils: averages of weights: AveragedModel (plain or exponential), SWALR, update_bn.
local torch = require "torch"
local util = require "torch.optim.util"
local raise = util.raise
local lr = require "torch.optim.lr_scheduler"
local nn, None = torch.nn, torch.None

local M = {}

-- ---- the learning rate ----

local SWALR = lr._define("SWALR", { { "optimizer", util.required }, { "swa_lr", util.required }, { "anneal_epochs", 10 },
  { "anneal_strategy", "cos" } }, function(self, o)
  local rates = lr._per_group("SWALR", "swa_lr", o.optimizer, o.swa_lr)
  for i, group in ipairs(o.optimizer.param_groups) do group.swa_lr = rates[i] end
  if o.anneal_strategy ~= "cos" and o.anneal_strategy ~= "linear" then
    util.fail("SWALR: anneal_strategy must be one of 'cos' or 'linear', instead got %s", o.anneal_strategy)
  end
  if math.type(o.anneal_epochs) ~= "integer" or o.anneal_epochs < 0 then
    util.fail("SWALR: anneal_epochs must be equal or greater than 0, got %s", o.anneal_epochs)
  end
  self._anneal_strategy, self.anneal_epochs = o.anneal_strategy, o.anneal_epochs
end)
lr.SWALR = nil
M.SWALR = SWALR
util.document(SWALR, "optim.swa_utils.", SWALR._spec, "lr goes to swa_lr in anneal_epochs epochs and stays there.",
  "local o = optim.SGD({torch.ones(2):requires_grad_()}); return optim.swa_utils.SWALR(o, 0.05)", "optim.swa_utils.AveragedModel")

function SWALR:_alpha(step)
  local t = math.max(0, math.min(1, step / math.max(1, self.anneal_epochs)))
  return self._anneal_strategy == "linear" and t or (1 - math.cos(math.pi * t)) / 2
end
function SWALR:get_lr()
  local step = self._step_count - 1
  if self.anneal_epochs == 0 then step = math.max(1, step) end
  local before, now = self:_alpha(step - 1), self:_alpha(step)
  return lr._map_groups(self, function(group)
    local start = before == 1 and group.swa_lr or (group.lr - before * group.swa_lr) / (1 - before)
    return group.swa_lr * now + start * (1 - now)
  end)
end

-- ---- how to average ----

local function check_decay(who, decay)
  decay = decay or 0.999
  if type(decay) ~= "number" or decay < 0 or decay > 1 then
    util.fail(who .. ": Invalid decay value %s provided. Please provide a value in [0,1] range.", decay)
  end
  return decay
end

--- f(ema, current, n): decay * ema + (1 - decay) * current
function M.get_ema_avg_fn(decay)
  decay = check_decay("get_ema_avg_fn", decay)
  return function(ema, current)
    return torch.no_grad(function() return decay * ema + (1 - decay) * current end)
  end
end

--- f(averages, currents, n): the lists' exponential average, in place.
function M.get_ema_multi_avg_fn(decay)
  decay = check_decay("get_ema_multi_avg_fn", decay)
  return function(averages, currents)
    torch.no_grad(function()
      for i, a in ipairs(averages) do
        if a.dtype.is_floating_point or a.dtype.is_complex then a:lerp_(currents[i], 1 - decay)
        else a:copy_(a * decay + currents[i] * (1 - decay)) end
      end
    end)
  end
end

--- f(average, current, n): the mean of n + 1 values
function M.get_swa_avg_fn()
  return function(average, current, n)
    return torch.no_grad(function() return average + (current - average) / (n + 1) end)
  end
end

--- f(averages, currents, n): the lists' means, in place.
function M.get_swa_multi_avg_fn()
  return function(averages, currents, n)
    torch.no_grad(function()
      for i, a in ipairs(averages) do
        if a.dtype.is_floating_point or a.dtype.is_complex then a:lerp_(currents[i], 1 / (util.number(n) + 1))
        else a:copy_(a + (currents[i] - a) / (n + 1)) end
      end
    end)
  end
end

-- ---- the averaged model ----

local function all_tensors(module, buffers)
  local list = {}
  for _, p in ipairs(module:parameters()) do list[#list + 1] = p end
  if buffers then for _, b in ipairs(module:buffers()) do list[#list + 1] = b end end
  return list
end

-- The class needs nn.Module, so it is made when it is first asked for.
local function averaged_model()
  local Averaged = nn.Module:extend("AveragedModel")

  --- AveragedModel(model, {avg_fn =, multi_avg_fn =, use_buffers =}): a copy of the model that holds the average.
  function Averaged:init(...)
    local o = util.arguments("AveragedModel", { { "model", util.required }, { "device", None }, { "avg_fn", None },
      { "multi_avg_fn", None }, { "use_buffers", false } }, table.pack(...))
    local given = {}
    for _, k in ipairs { "avg_fn", "multi_avg_fn" } do if o[k] ~= None then given[k] = o[k] end end
    if given.avg_fn and given.multi_avg_fn then
      raise("AveragedModel: Only one of avg_fn and multi_avg_fn should be provided")
    end
    self.module = o.model:clone()
    self:register_buffer("n_averaged", torch.tensor(0))
    self.avg_fn, self.multi_avg_fn, self.use_buffers = given.avg_fn, given.multi_avg_fn, o.use_buffers
  end

  function Averaged:forward(...) return self.module(...) end

  --- Takes the model's present weights into the average.
  function Averaged:update_parameters(model)
    local mine, theirs = all_tensors(self.module, self.use_buffers), all_tensors(model, self.use_buffers)
    local n = self.n_averaged:item()
    torch.no_grad(function()
      for i, p in ipairs(mine) do mine[i], theirs[i] = p:detach(), theirs[i]:detach() end
      if n == 0 then for i, p in ipairs(mine) do p:copy_(theirs[i]) end
      elseif self.multi_avg_fn then self.multi_avg_fn(mine, theirs, self.n_averaged)
      else
        local f = self.avg_fn or M.get_swa_avg_fn()
        for i, p in ipairs(mine) do p:copy_(f(p, theirs[i], self.n_averaged)) end
      end
      if not self.use_buffers then
        local from = model:buffers()
        for i, b in ipairs(self.module:buffers()) do b:copy_(from[i]) end
      end
      self.n_averaged:add_(1)
    end)
  end
  return Averaged
end

--- Computes the batch norms' statistics anew, over the loader's inputs (the first field of a batch).
function M.update_bn(loader, model)
  local norms, any = {}, false
  for _, m in ipairs(model:modules()) do
    if m.reset_running_stats and m.running_mean then
      m:reset_running_stats()
      norms[m], any = { momentum = m.momentum }, true
    end
  end
  if not any then return end
  local was = model.training
  model:train()
  for m in pairs(norms) do m.momentum = nil end
  if type(loader) == "table" and not loader.iter then for _, x in ipairs(loader) do model(type(x) == "table" and x[1] or x) end
  else for x in loader:iter() do model(type(x) == "table" and x[1] or x) end end
  for m, saved in pairs(norms) do m.momentum = saved.momentum end
  model:train(was)
end

setmetatable(M, { __fields = { AveragedModel = true }, __index = function(t, name)
  if name ~= "AveragedModel" then return nil end
  local class = averaged_model()
  rawset(t, name, class)
  return class
end })
return M
