-- torch.optim.LBFGS: limited-memory BFGS with PyTorch's line search ("strong_wolfe") and its order of operations.
--
-- Where PyTorch holds a number as a one-element tensor of the parameters' dtype, so do we: comparisons and rounding agree.
local torch = require "torch"
local util = require "torch.optim.util"
local raise = util.raise
local Optimizer = require "torch.optim.optimizer"
local None, number = torch.None, util.number

local LBFGS = Optimizer:extend("LBFGS")

local spec = { { "params", util.required }, { "lr", 1 }, { "max_iter", 20 }, { "max_eval", nil }, { "tolerance_grad", 1e-7 },
  { "tolerance_change", 1e-9 }, { "history_size", 100 }, { "line_search_fn", None } }
LBFGS._spec = spec

function LBFGS:init(...)
  local o = util.arguments("LBFGS", spec, table.pack(...))
  local params = o.params
  o.params = nil
  if torch.is_tensor(o.lr) and o.lr:numel() ~= 1 then raise("LBFGS: Tensor lr must be 1-element") end
  if not (number(o.lr) >= 0) then util.fail("LBFGS: Invalid learning rate: %s", o.lr) end
  if o.max_eval == nil or o.max_eval == None then o.max_eval = o.max_iter * 5 // 4 end
  if o.line_search_fn ~= None and o.line_search_fn ~= "strong_wolfe" then
    raise("LBFGS: only 'strong_wolfe' is supported as line_search_fn")
  end
  Optimizer.init(self, params, o)
  if #self.param_groups ~= 1 then raise("LBFGS: LBFGS doesn't support per-parameter options (parameter groups)") end
end

-- ---- numbers that may be one-element tensors ----
local function abs(x) return torch.is_tensor(x) and x:abs() or math.abs(x) end
local function sqrt(x) return torch.is_tensor(x) and x:sqrt() or x ^ 0.5 end
local function max_abs(x) return x:norm(torch.inf) end
local function smaller(a, b) return b < a and b or a end
local function larger(a, b) return b > a and b or a end

local function cubic_interpolate(x1, f1, g1, x2, f2, g2, low, high)
  if low == nil then
    if x1 <= x2 then low, high = x1, x2 else low, high = x2, x1 end
  end
  local d1 = g1 + g2 - 3 * (f1 - f2) / (x1 - x2)
  local square = d1 ^ 2 - g1 * g2
  if not (square >= 0) then return (low + high) / 2.0 end
  local d2 = sqrt(square)
  local at
  if x1 <= x2 then at = x2 - (x2 - x1) * ((g2 + d2 - d1) / (g2 - g1 + 2 * d2))
  else at = x1 - (x1 - x2) * ((g1 + d2 - d1) / (g1 - g2 + 2 * d2)) end
  return smaller(larger(at, low), high)
end

local C1, C2, TOLERANCE = 1e-4, 0.9, 1e-9

-- A bracket around a point that satisfies the Wolfe conditions: a list of {t, f, g, slope} of one (the point itself) or two.
local function find_bracket(evaluate, t, start, max_ls)
  local f, slope = start.f, start.slope
  local before, now = { t = 0, f = f, g = start.g, slope = slope }, evaluate(t)
  local evals, iter = 1, 0
  while iter < max_ls do
    if now.f > f + C1 * now.t * slope or (iter > 1 and now.f >= before.f) then return { before, now }, evals, iter end
    if abs(now.slope) <= -C2 * slope then return { now }, evals, iter, true end
    if now.slope >= 0 then return { before, now }, evals, iter end
    local low, high = now.t + 0.01 * (now.t - before.t), now.t * 10
    local at = cubic_interpolate(before.t, before.f, before.slope, now.t, now.f, now.slope, low, high)
    before, now = now, evaluate(at)
    evals, iter = evals + 1, iter + 1
  end
  return { { t = 0, f = f, g = start.g, slope = slope }, now }, evals, iter
end

-- Moves a trial point away from the ends of the bracket when it stays too close to one.
local function keep_inside(t, a, b, stuck)
  local high, low = larger(a, b), smaller(a, b)
  local margin = 0.1 * (high - low)
  if not (smaller(high - t, t - low) < margin) then return t, false end
  if not (stuck or t >= high or t <= low) then return t, true end
  if abs(t - high) < abs(t - low) then return high - margin, false end
  return low + margin, false
end

local function strong_wolfe(evaluate, t, d, start, max_ls)
  local d_norm = max_abs(d)
  local bracket, evals, iter, done = find_bracket(evaluate, t, start, max_ls)
  local low, high = 1, 2
  if not (bracket[1].f <= bracket[#bracket].f) then low, high = 2, 1 end
  local stuck = false
  while not done and iter < max_ls do
    local a, b = bracket[1], bracket[2]
    if abs(b.t - a.t) * d_norm < TOLERANCE then break end
    local at = cubic_interpolate(a.t, a.f, a.slope, b.t, b.f, b.slope)
    at, stuck = keep_inside(at, a.t, b.t, stuck)
    local now = evaluate(at)
    evals, iter = evals + 1, iter + 1
    if now.f > start.f + C1 * now.t * start.slope or now.f >= bracket[low].f then
      bracket[high] = now
      low, high = 1, 2
      if not (bracket[1].f <= bracket[2].f) then low, high = 2, 1 end
    else
      if abs(now.slope) <= -C2 * start.slope then done = true
      elseif now.slope * (bracket[high].t - bracket[low].t) >= 0 then bracket[high] = bracket[low] end
      bracket[low] = now
    end
  end
  local best = bracket[low]
  return best.f, best.g, best.t, evals
end

-- ---- parameters as one vector ----
local function real_view(x) return x.dtype.is_complex and torch.view_as_real(x) or x end

local function flat_grad(params)
  local parts = {}
  for i, p in ipairs(params) do
    local g = p.grad
    parts[i] = g and real_view(g:resolve_conj()):reshape(-1) or torch.zeros_like(real_view(p)):reshape(-1)
  end
  return torch.cat(parts, 0)
end

local function move(params, t, d)
  local offset = 0
  for _, p in ipairs(params) do
    local x = real_view(p)
    local n = x:numel()
    x:add_(d:narrow(0, offset, n):view(x.shape), { alpha = number(t) })
    offset = offset + n
  end
end

-- ---- the step ----

-- The next direction; brings the history up to date.
local function direction(state, grad, d, t, history_size)
  if state.n_iter == 1 then
    state.old_dirs, state.old_stps, state.ro, state.H_diag = {}, {}, {}, 1
    return grad:neg()
  end
  local dirs, steps, ro = state.old_dirs, state.old_stps, state.ro
  local y, s = grad:sub(state.prev_flat_grad), d:mul(t)
  local ys = y:dot(s)
  if ys > 1e-10 then
    if #dirs == history_size then
      table.remove(dirs, 1)
      table.remove(steps, 1)
      table.remove(ro, 1)
    end
    dirs[#dirs + 1], steps[#steps + 1], ro[#ro + 1] = y, s, 1.0 / ys
    state.H_diag = ys / y:dot(y)
  end
  local q, al = grad:neg(), {}
  for i = #dirs, 1, -1 do
    al[i] = steps[i]:dot(q) * ro[i]
    q:add_(dirs[i], { alpha = -al[i]:item() })
  end
  local r = torch.mul(q, state.H_diag)
  for i = 1, #dirs do
    local be = dirs[i]:dot(r) * ro[i]
    r:add_(steps[i], { alpha = (al[i] - be):item() })
  end
  state.al = al
  return r
end

local function iterate(self, closure, state, orig_loss)
  local group, params = self.param_groups[1], self.param_groups[1].params
  local lr, wolfe = number(group.lr), group.line_search_fn == "strong_wolfe"
  if util.truth(group.line_search_fn) and not wolfe then error("LBFGS: only 'strong_wolfe' is supported", 0) end
  local loss, evals, n_iter = number(orig_loss), 1, 0
  local grad = flat_grad(params)
  if max_abs(grad) <= group.tolerance_grad then return end
  local d, t, prev_loss = state.d, state.t, nil
  while n_iter < group.max_iter do
    n_iter = n_iter + 1
    state.n_iter = state.n_iter + 1
    d = direction(state, grad, d, t, group.history_size)
    if state.prev_flat_grad then state.prev_flat_grad:copy_(grad) else state.prev_flat_grad = grad:clone() end
    prev_loss = loss
    t = state.n_iter == 1 and smaller(1.0, 1.0 / grad:abs():sum()) * lr or lr
    local slope = grad:dot(d)
    if slope > -group.tolerance_change then break end
    local ls_evals, small = 0, false
    if wolfe then
      local x = {}
      for i, p in ipairs(params) do x[i] = p:clone() end
      local function evaluate(at)
        move(params, at, d)
        local f = number(self.evaluate(closure))
        local g = flat_grad(params)
        for i, p in ipairs(params) do p:copy_(x[i]) end
        return { t = at, f = f, g = g, slope = g:dot(d) }
      end
      loss, grad, t, ls_evals = strong_wolfe(evaluate, t, d, { f = loss, g = grad:clone(), slope = slope },
        group.max_eval - evals)
      move(params, t, d)
      small = max_abs(grad) <= group.tolerance_grad
    else
      move(params, t, d)
      if n_iter ~= group.max_iter then
        loss = number(self.evaluate(closure))
        grad = flat_grad(params)
        small = max_abs(grad) <= group.tolerance_grad
        ls_evals = 1
      end
    end
    evals = evals + ls_evals
    state.func_evals = state.func_evals + ls_evals
    if n_iter == group.max_iter or evals >= group.max_eval or small then break end
    if max_abs(d:mul(t)) <= group.tolerance_change or math.abs(loss - prev_loss) < group.tolerance_change then break end
  end
  state.d, state.t, state.prev_loss = d, t, prev_loss
end

--- closure() computes the loss and the gradients anew; it is called several times in one step.
function LBFGS:step(closure)
  if type(closure) ~= "function" then
    raise("LBFGS: step needs a closure that computes the loss and its gradients, got a " .. type(closure))
  end
  local state = self.state[self.param_groups[1].params[1]]
  state.func_evals, state.n_iter = state.func_evals or 0, state.n_iter or 0
  local orig_loss = self.evaluate(closure)
  state.func_evals = state.func_evals + 1
  torch.no_grad(iterate, self, closure, state, orig_loss)
  return orig_loss
end

util.document(LBFGS, "optim.", spec,
  "a quasi-Newton method: step(closure) evaluates the loss several times; line_search_fn = \"strong_wolfe\" searches along the direction.",
  "optim.LBFGS({torch.ones(2):requires_grad_()}, {line_search_fn = \"strong_wolfe\"})", "optim.Optimizer.step")

return LBFGS
