-- torch.amp.GradScaler: the loss is multiplied by a scale so that small float16 gradients survive; steps with infinities are skipped.
--
-- The scale is a float32 number, as PyTorch's tensor is: it grows and shrinks with the same rounding.
local torch = require "torch"
local util = require "torch.optim.util"
local raise = util.raise
local core = torch.optim._core

local GradScaler = util.class("GradScaler")
GradScaler.__module = "torch.amp."
GradScaler.__tostring = function(self) return ("<torch.amp.GradScaler scale %s>"):format(util.text(self:get_scale())) end

local spec = { { "device", "cpu" }, { "init_scale", 2.0 ^ 16 }, { "growth_factor", 2.0 }, { "backoff_factor", 0.5 },
  { "growth_interval", 2000 }, { "enabled", true }, keywords = nil }

local function float32(v) return torch.tensor(v, { dtype = torch.float32 }):item() end

function GradScaler:init(...)
  local args = table.pack(...)
  if type(args[1]) == "number" then table.insert(args, 1, "cpu") args.n = args.n + 1 end
  local o = util.arguments("GradScaler", spec, args)
  if o.device ~= "cpu" then util.fail("GradScaler: device must be \"cpu\", got %s", tostring(o.device)) end
  if o.enabled and not (o.growth_factor > 1.0) then raise("GradScaler: The growth factor must be > 1.0.") end
  if o.enabled and not (o.backoff_factor < 1.0) then raise("GradScaler: The backoff factor must be < 1.0.") end
  self._enabled, self._scale, self._growth_tracker = o.enabled, float32(o.init_scale), 0
  self._growth_factor, self._backoff_factor, self._growth_interval = o.growth_factor, o.backoff_factor, o.growth_interval
  self._seen = setmetatable({}, { __mode = "k" })      -- optimizer -> what happened since the last update
end

function GradScaler:is_enabled() return self._enabled end
function GradScaler:get_scale() return self._enabled and self._scale or 1.0 end
function GradScaler:get_growth_factor() return self._growth_factor end
function GradScaler:set_growth_factor(v) self._growth_factor = v end
function GradScaler:get_backoff_factor() return self._backoff_factor end
function GradScaler:set_backoff_factor(v) self._backoff_factor = v end
function GradScaler:get_growth_interval() return self._growth_interval end
function GradScaler:set_growth_interval(v) self._growth_interval = v end
function GradScaler:_get_growth_tracker() return self._enabled and self._growth_tracker or 0 end

--- A tensor, or a list of tensors, times the scale.
function GradScaler:scale(outputs)
  if not self._enabled then return outputs end
  if torch.is_tensor(outputs) then return outputs * self._scale end
  if type(outputs) ~= "table" then raise("GradScaler: outputs must be a Tensor or a list of Tensors") end
  local list = {}
  for i, x in ipairs(outputs) do list[i] = self:scale(x) end
  return list
end

local function entry(self, optimizer)
  local e = self._seen[optimizer] or { stage = "ready" }
  self._seen[optimizer] = e
  return e
end

local function unscale(self, optimizer, e)
  local inverse = float32(1.0 / self._scale)
  e.found_inf = false
  for _, group in ipairs(optimizer.param_groups) do
    for _, p in ipairs(group.params) do
      if p.grad and p.grad.dtype == torch.float16 then
        raise("GradScaler: Attempting to unscale FP16 gradients.")
      end
    end
    if core.unscale(group.params, inverse) then e.found_inf = true end
  end
end

--- Divides the optimizer's gradients by the scale, for instance before clipping; step does it otherwise.
function GradScaler:unscale_(optimizer)
  if not self._enabled then return end
  local e = entry(self, optimizer)
  if e.stage == "unscaled" then
    raise("GradScaler: unscale_() has already been called on this optimizer since the last update().")
  elseif e.stage == "stepped" then raise("GradScaler: unscale_() is being called after step().") end
  unscale(self, optimizer, e)
  e.stage = "unscaled"
end

--- optimizer:step(...), unless a gradient is infinite or not a number.
function GradScaler:step(optimizer, ...)
  if not self._enabled then return optimizer:step(...) end
  if select("#", ...) > 0 then
    raise("GradScaler: Closure use is not currently supported if GradScaler is enabled.")
  end
  local e = entry(self, optimizer)
  if e.stage == "stepped" then raise("GradScaler: step() has already been called since the last update().") end
  if e.stage == "ready" then unscale(self, optimizer, e) end
  e.stage = "stepped"
  if not e.found_inf then return optimizer:step() end
end

--- The next scale: smaller after a skipped step, larger after growth_interval good ones, or as given.
function GradScaler:update(new_scale)
  if not self._enabled then return end
  if new_scale ~= nil then self._scale = float32(util.number(new_scale))
  else
    local found, any = false, false
    for _, e in pairs(self._seen) do
      if e.found_inf ~= nil then any, found = true, found or e.found_inf end
    end
    if not any then raise("GradScaler: No inf checks were recorded prior to update.") end
    if found then self._scale, self._growth_tracker = float32(self._scale * self._backoff_factor), 0
    else
      self._growth_tracker = self._growth_tracker + 1
      if self._growth_tracker == self._growth_interval then
        local larger = float32(self._scale * self._growth_factor)
        if larger < math.huge then self._scale = larger end
        self._growth_tracker = 0
      end
    end
  end
  self._seen = setmetatable({}, { __mode = "k" })
end

function GradScaler:state_dict()
  local sd = core.ordered()
  if not self._enabled then return sd end
  sd.scale, sd.growth_factor, sd.backoff_factor = self._scale, self._growth_factor, self._backoff_factor
  sd.growth_interval, sd._growth_tracker = self._growth_interval, self._growth_tracker
  return sd
end

function GradScaler:load_state_dict(sd)
  if not self._enabled then return end
  if sd.scale == nil then
    raise("GradScaler: The source state dict is empty, possibly because it was saved from a disabled instance of GradScaler.")
  end
  self._scale, self._growth_factor, self._backoff_factor = sd.scale, sd.growth_factor, sd.backoff_factor
  self._growth_interval, self._growth_tracker = sd.growth_interval, sd._growth_tracker
end

util.document(GradScaler, "amp.", spec,
  "keeps small gradients of half precision from vanishing: scaler:scale(loss):backward(); scaler:step(opt); scaler:update().",
  "torch.amp.GradScaler({init_scale = 1024.0})", "autocast")
return GradScaler
