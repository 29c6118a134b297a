-- torch.optim.classes: the optimizers whose step is one call of the C core: their arguments, checks and defaults, as PyTorch's.
local torch = require "torch"
local util = require "torch.optim.util"
local Optimizer = require "torch.optim.optimizer"
local core = torch.optim._core
local None, number, truth = torch.None, util.number, util.truth

local classes = {}

-- ---- checks ----

local function fail(o, fmt, ...) util.fail(o._name .. ": " .. fmt, ...) end

local function is_number(v) return type(v) == "number" or torch.is_tensor(v) end

local function need_number(o, name)
  local v = o[name]
  if not is_number(v) then fail(o, name .. " must be a number, got a " .. type(v)) end
  if torch.is_tensor(v) and v:numel() ~= 1 then fail(o, "Tensor " .. name .. " must be 1-element") end
  return number(v)
end

-- {name = message}: the option must be >= 0, else "message: value".
local function at_least_zero(messages)
  return function(o)
    for _, m in ipairs(messages) do
      local v = need_number(o, m[1])
      if not (v >= 0) then fail(o, m[2] .. ": %s", o[m[1]]) end
    end
  end
end

local LR = { "lr", "Invalid learning rate" }
local EPS = { "eps", "Invalid epsilon value" }
local WD = { "weight_decay", "Invalid weight_decay value" }

local function pair(o, name, count)
  local v = o[name]
  if type(v) ~= "table" or getmetatable(v) or #v ~= (count or 2) then
    fail(o, ("%s must be a list of %d numbers, got a %s"):format(name, count or 2, type(v)))
  end
  for i, x in ipairs(v) do
    if not is_number(x) and not (x == None and name == "eps") then
      fail(o, ("%s[%d] must be a number, got a %s"):format(name, i - 1, type(x)))
    end
  end
  return v
end

local function check_betas(o)
  local betas = pair(o, "betas")
  for i = 1, 2 do
    local b = torch.is_tensor(betas[i]) and betas[i]:numel() == 1 and betas[i]:item() or betas[i]
    if not torch.is_tensor(b) and not (b >= 0 and b < 1) then
      fail(o, "Invalid beta parameter at index " .. i - 1 .. ": %s", betas[i])
    end
  end
end

-- Adam's rules for tensors as lr and betas.
local function check_adam_tensors(o)
  local plain = truth(o.foreach) and not truth(o.capturable)
  if torch.is_tensor(o.lr) and plain then
    fail(o, "lr as a Tensor is not supported for capturable=False and foreach=True")
  end
  local a, b = torch.is_tensor(o.betas[1]), torch.is_tensor(o.betas[2])
  if a ~= b then fail(o, "betas must be either both floats or both Tensors") end
  for i = 1, 2 do
    if torch.is_tensor(o.betas[i]) then
      if plain then
        fail(o, ("betas[%d] as a Tensor is not supported for capturable=False and foreach=True"):format(i - 1))
      end
      if o.betas[i]:numel() ~= 1 then fail(o, ("Tensor betas[%d] must be 1-element"):format(i - 1)) end
    end
  end
end

local function check_fused(o)
  if not truth(o.fused) then return end
  if truth(o.differentiable) then fail(o, "`fused` does not support `differentiable`") end
  if truth(o.foreach) then fail(o, "`fused` and `foreach` cannot be `True` together.") end
end

local function check_differentiable(o)
  if truth(o.differentiable) then fail(o, "differentiable = true is not supported: the step is one fused pass, not recorded") end
end

-- ---- the classes ----

--- A class from its signature.  options: kind of the C core, base class, checks, `fixed` values that stay out of the signature.
local function define(name, spec, options)
  local class = (options.base or Optimizer):extend(name)
  local full = { { "params", util.required }, table.unpack(spec) }
  full.keywords = spec.keywords and spec.keywords + 1
  class._spec = full
  rawset(class, "_kind", options.kind or name)
  local initial = {}
  for _, p in ipairs(spec) do initial[p[1]] = p[2] end
  for k, v in pairs(options.fixed or {}) do initial[k] = v end
  class._initial = initial

  function class.init(self, ...)
    local args = table.pack(...)
    local whole = args[1]
    if args.n == 1 and type(whole) == "table" and not getmetatable(whole) then
      local list, keywords = {}, {}
      for k, v in pairs(whole) do if math.type(k) == "integer" then list[k] = v else keywords[k] = v end end
      if next(keywords) ~= nil then
        args = #list > 0 and table.pack(list, keywords) or table.pack(keywords)
      end
    end
    local o = util.arguments(name, full, args)
    local params = o.params
    o.params = nil
    for k, v in pairs(options.fixed or {}) do o[k] = v end
    o._name = name
    for _, check in ipairs(options.checks) do check(o) end
    check_differentiable(o)
    check_fused(o)
    o._name = nil
    Optimizer.init(self, params, o)
    if options.after then options.after(self) end
  end
  util.document(class, "optim.", full, options.doc, options.example or
    ("optim.%s({torch.ones(2, 2):requires_grad_()}, {lr = 0.1})"):format(name), options.see or "optim.Optimizer.step")
  classes[name] = class
  return class
end

define("SGD", { { "lr", 1e-3 }, { "momentum", 0 }, { "dampening", 0 }, { "weight_decay", 0 }, { "nesterov", false },
  { "maximize", false }, { "foreach", None }, { "differentiable", false }, { "fused", None }, keywords = 6 }, {
  doc = "p <- p - lr * g; momentum keeps a running sum of gradients, nesterov looks ahead along it, weight_decay adds wd * p to g.",
  checks = { at_least_zero { LR, { "momentum", "Invalid momentum value" }, WD }, function(o)
    need_number(o, "dampening")
    if truth(o.nesterov) and (number(o.momentum) <= 0 or number(o.dampening) ~= 0) then
      fail(o, "Nesterov momentum requires a momentum and zero dampening")
    end
  end } })

local adam_checks = { at_least_zero { LR, EPS }, check_betas, at_least_zero { WD }, check_adam_tensors }
define("Adam", { { "lr", 1e-3 }, { "betas", { 0.9, 0.999 } }, { "eps", 1e-8 }, { "weight_decay", 0 }, { "amsgrad", false },
  { "foreach", None }, { "maximize", false }, { "capturable", false }, { "differentiable", false }, { "fused", None },
  { "decoupled_weight_decay", false }, keywords = 6 }, {
  doc = "steps of size lr * mean(g) / sqrt(mean(g^2)), both means exponential and corrected for their start; weight_decay adds to g.",
  checks = adam_checks })

local AdamW = define("AdamW", { { "lr", 1e-3 }, { "betas", { 0.9, 0.999 } }, { "eps", 1e-8 }, { "weight_decay", 1e-2 },
  { "amsgrad", false }, { "maximize", false }, { "foreach", None }, { "capturable", false }, { "differentiable", false },
  { "fused", None }, keywords = 6 },
  {
  doc = "Adam whose weight decay shrinks the parameter itself by lr * weight_decay instead of entering the means.",
  base = classes.Adam, kind = "Adam", checks = adam_checks, fixed = { decoupled_weight_decay = true } })
function AdamW:_upgrade(group)
  Optimizer._upgrade(self, group)
  group.decoupled_weight_decay = true
end

local plain_checks = { at_least_zero { LR, EPS }, check_betas, at_least_zero { WD } }
define("Adamax", { { "lr", 2e-3 }, { "betas", { 0.9, 0.999 } }, { "eps", 1e-8 }, { "weight_decay", 0 }, { "foreach", None },
  { "maximize", false }, { "differentiable", false }, { "capturable", false }, keywords = 6 }, {
  doc = "Adam with the largest recent gradient (infinity norm) in place of the mean of squares.",
  checks = plain_checks })

define("NAdam", { { "lr", 2e-3 }, { "betas", { 0.9, 0.999 } }, { "eps", 1e-8 }, { "weight_decay", 0 }, { "momentum_decay", 4e-3 },
  { "decoupled_weight_decay", false }, { "foreach", None }, { "maximize", false }, { "capturable", false },
  { "differentiable", false }, keywords = 7 },
  {
  doc = "Adam with Nesterov's momentum.",
  checks = { at_least_zero { LR, EPS }, check_betas, at_least_zero { WD, { "momentum_decay", "Invalid momentum_decay value" } } } })

define("RAdam", { { "lr", 1e-3 }, { "betas", { 0.9, 0.999 } }, { "eps", 1e-8 }, { "weight_decay", 0 },
  { "decoupled_weight_decay", false }, { "foreach", None }, { "maximize", false }, { "capturable", false },
  { "differentiable", false }, keywords = 6 }, {
  doc = "Adam that waits with adaptive steps until the variance of the mean of squares is small enough.",
  checks = plain_checks })

define("Adagrad", { { "lr", 1e-2 }, { "lr_decay", 0 }, { "weight_decay", 0 }, { "initial_accumulator_value", 0 }, { "eps", 1e-10 },
  { "foreach", None }, { "maximize", false }, { "differentiable", false }, { "fused", None }, keywords = 7 }, {
  doc = "steps divided by the root of the sum of all squared gradients so far.",
  checks = { at_least_zero { LR, { "lr_decay", "Invalid lr_decay value" }, WD,
    { "initial_accumulator_value", "Invalid initial_accumulator_value value" }, EPS } },
  after = function(self)
    for _, group in ipairs(self.param_groups) do core.init("Adagrad", group, self.state) end
  end })

define("Adadelta", { { "lr", 1.0 }, { "rho", 0.9 }, { "eps", 1e-6 }, { "weight_decay", 0 }, { "foreach", None },
  { "capturable", false }, { "maximize", false }, { "differentiable", false }, keywords = 6 }, {
  doc = "steps scaled by the root of the mean squares of earlier steps over that of gradients.",
  checks = { at_least_zero { LR }, function(o)
    local rho = need_number(o, "rho")
    if not (rho >= 0 and rho <= 1) then fail(o, "Invalid rho value: %s", o.rho) end
  end, at_least_zero { EPS, WD } } })

define("RMSprop", { { "lr", 1e-2 }, { "alpha", 0.99 }, { "eps", 1e-8 }, { "weight_decay", 0 }, { "momentum", 0 },
  { "centered", false }, { "capturable", false }, { "foreach", None }, { "maximize", false }, { "differentiable", false } },
  {
  doc = "steps divided by the root of the mean of squared gradients; centered subtracts the squared mean.",
  checks = { at_least_zero { LR, EPS, { "momentum", "Invalid momentum value" }, WD, { "alpha", "Invalid alpha value" } } } })

define("Rprop", { { "lr", 1e-2 }, { "etas", { 0.5, 1.2 } }, { "step_sizes", { 1e-6, 50 } }, { "capturable", false },
  { "foreach", None }, { "maximize", false }, { "differentiable", false }, keywords = 4 }, {
  doc = "only signs count: a step per element grows while the gradient keeps its sign and shrinks when it turns. For full batches.",
  checks = { at_least_zero { LR }, function(o)
    local etas = pair(o, "etas")
    pair(o, "step_sizes")
    if not (number(etas[1]) > 0 and number(etas[1]) < 1 and number(etas[2]) > 1) then
      fail(o, "Invalid eta values: %s, %s", etas[1], etas[2])
    end
  end } })

define("ASGD", { { "lr", 1e-2 }, { "lambd", 1e-4 }, { "alpha", 0.75 }, { "t0", 1e6 }, { "weight_decay", 0 }, { "foreach", None },
  { "maximize", false }, { "differentiable", false }, { "capturable", false } }, {
  doc = "SGD that averages the parameters in state[p].ax from step t0 on.",
  checks = { at_least_zero { LR, WD }, function(o)
    for _, name in ipairs { "lambd", "alpha", "t0" } do need_number(o, name) end
  end } })

define("Adafactor", { { "lr", 1e-2 }, { "beta2_decay", -0.8 }, { "eps", { None, 1e-3 } }, { "d", 1.0 }, { "weight_decay", 0.0 },
  { "foreach", None }, { "maximize", false }, keywords = 6 }, {
  doc = "Adam's means of squares kept as one row and one column per matrix, relative step sizes, clipped updates.",
  checks = { at_least_zero { { "lr", "Learning rate should be >= 0 but is" } }, function(o)
    if not (need_number(o, "beta2_decay") <= 0) then fail(o, "beta2_decay should be <= 0 but is: %s", o.beta2_decay) end
    local eps = pair(o, "eps")
    if eps[1] ~= None and not (number(eps[1]) >= 0) then fail(o, "epsilon1 should be >= 0 but is: %s", eps[1]) end
    if not (number(eps[2]) >= 0) then fail(o, "epsilon2 should be >= 0 but is: %s", eps[2]) end
    if not (need_number(o, "d") >= 1) then fail(o, "Clipping threshold d should be >= 1 but is: %s", o.d) end
  end, at_least_zero { { "weight_decay", "weight_decay should be >= 0 but is" } } } })

define("Muon", { { "lr", 1e-3 }, { "weight_decay", 0.1 }, { "momentum", 0.95 }, { "nesterov", true },
  { "ns_coefficients", { 3.4445, -4.7750, 2.0315 } }, { "eps", 1e-7 }, { "ns_steps", 5 }, { "adjust_lr_fn", None } }, {
  doc = "momentum made orthogonal by Newton-Schulz iterations; for 2-D parameters of hidden layers.",
  checks = { at_least_zero { { "lr", "Learning rate should be >= 0 but is" }, { "momentum", "momentum should be >= 0 but is" },
    { "weight_decay", "weight decay should be >= 0 but is" } }, function(o)
    need_number(o, "eps")
    need_number(o, "ns_steps")
    pair(o, "ns_coefficients", 3)
    if o.adjust_lr_fn ~= None and o.adjust_lr_fn ~= "original" and o.adjust_lr_fn ~= "match_rms_adamw" then
      fail(o, "Adjust learning rate function %s is not supported", o.adjust_lr_fn)
    end
  end },
  after = function(self)
    for _, group in ipairs(self.param_groups) do
      for _, p in ipairs(group.params) do
        if p.ndim ~= 2 then
          util.fail("Muon: Muon only supports 2D parameters whereas we found a parameter with size: %s", tostring(p.shape))
        end
      end
    end
  end })

define("SparseAdam", { { "lr", 1e-3 }, { "betas", { 0.9, 0.999 } }, { "eps", 1e-8 }, { "maximize", false } }, {
  doc = "raises: there are no sparse tensors here.", example = "pcall(optim.SparseAdam, {torch.ones(2):requires_grad_()})",
  checks = { at_least_zero { LR, EPS }, check_betas, function(o)
    fail(o, "works on sparse gradients, and there are no sparse tensors here; use Adam")
  end } })

return classes
