-- torch.utils.checkpoint: activations are dropped after the forward pass and computed again when backward needs them.
--
--   local y = torch.utils.checkpoint.checkpoint(f, x, {use_reentrant = false})
--
-- use_reentrant = false: what f's ops save is replaced by a promise; the first promise asked for runs f again (stopping once
-- the last saved tensor is there).  use_reentrant = true: f is one custom function whose backward runs f and a backward of its
-- own.  Random numbers are the same both times unless preserve_rng_state = false.
local torch = require "torch"
local autograd = torch.autograd

local module = {}
local keywords = { use_reentrant = true, preserve_rng_state = true, context_fn = true, determinism_check = true, debug = true, early_stop = true, kwargs = true }

-- The last argument is ours when all its keys are; else it belongs to f.
local function split(level, ...)
  local n, args = select("#", ...), { ... }
  local last = args[n]
  if n > 0 and type(last) == "table" and not getmetatable(last) and #last == 0 and next(last) ~= nil then
    for k in pairs(last) do
      if not keywords[k] then error("checkpoint: unknown keyword '" .. tostring(k) .. "' (use_reentrant, preserve_rng_state, early_stop)", level + 1) end
    end
    if last.context_fn then error("checkpoint: context_fn is not implemented", level + 1) end
    args[n] = nil
    return args, n - 1, last
  end
  return args, n, {}
end

--- Runs body with the random state of the first forward, then puts the present one back.
local function replay(state, body)
  if not state then return body() end
  local now = torch.get_rng_state()
  torch.set_rng_state(state)
  local ok, err = pcall(body)
  torch.set_rng_state(now)
  if not ok then error(err, 0) end
end

-- ---- use_reentrant = true ----

local Checkpoint = autograd.Function:extend("Checkpoint")
function Checkpoint.forward(ctx, f, preserve, n, ...)
  ctx.f, ctx.n = f, n
  ctx.state = preserve and torch.get_rng_state() or nil
  ctx.values, ctx.at = {}, {}
  local tensors = {}
  for i = 1, n do
    local v = select(i, ...)
    if torch.is_tensor(v) then tensors[#tensors + 1] = v; ctx.at[#tensors] = i else ctx.values[i] = v end
  end
  ctx:save_for_backward(table.unpack(tensors))
  return f(...)
end
function Checkpoint.backward(ctx, ...)
  local saved = { ctx:saved_tensors() }
  local args = {}
  for i, v in pairs(ctx.values) do args[i] = v end
  for k, x in ipairs(saved) do
    local d = x:detach()
    if x.requires_grad then d:requires_grad_() end
    args[ctx.at[k]] = d
  end
  local outputs
  replay(ctx.state, function() outputs = table.pack(torch.enable_grad(ctx.f, table.unpack(args, 1, ctx.n))) end)
  local roots, seeds, grads = {}, {}, { ... }
  local list = outputs.n == 1 and type(outputs[1]) == "table" and not getmetatable(outputs[1]) and outputs[1] or outputs
  for i = 1, #list do
    if torch.is_tensor(list[i]) and list[i].requires_grad then roots[#roots + 1] = list[i]; seeds[#seeds + 1] = grads[i] or torch.None end
  end
  if #roots == 0 then error("none of the output has requires_grad=true, this checkpoint() is not necessary", 0) end
  autograd.backward(roots, seeds)
  local result = { nil, nil, nil }
  for i = 1, ctx.n do result[i + 3] = torch.is_tensor(args[i]) and args[i].grad or nil end
  return table.unpack(result, 1, ctx.n + 3)
end

local function any_needs_grad(args, n)
  for i = 1, n do if torch.is_tensor(args[i]) and args[i].requires_grad then return true end end
  return false
end

local function reentrant(f, preserve, args, n)
  if not any_needs_grad(args, n) and torch.is_grad_enabled() then
    warn("torch.utils.checkpoint: none of the inputs have requires_grad=true; gradients will be nil (use_reentrant = false has no such limit)\n")
  end
  return Checkpoint.apply(f, preserve, n, table.unpack(args, 1, n))
end

-- ---- use_reentrant = false ----

local STOP = {}                            -- raised when the last saved tensor is there again

local function recompute(frame)
  local k = 0
  frame.values = {}
  replay(frame.state, function()
    local function pack(x)
      k = k + 1
      if k > frame.count then error("torch.utils.checkpoint: more tensors were saved in the second forward than in the first; is the function deterministic?", 0) end
      if x.shape ~= frame.shapes[k] then
        error(("torch.utils.checkpoint: saved tensor %d has shape %s the second time, %s the first"):format(k, tostring(x.shape), tostring(frame.shapes[k])), 0)
      end
      frame.values[k] = x
      if k == frame.count and frame.early then frame.stopped = true; error(STOP, 0) end
      return k
    end
    local ok, err = pcall(function()
      autograd.graph.saved_tensors_hooks(pack, function(i) return frame.values[i] end, function()
        torch.enable_grad(frame.f, table.unpack(frame.args, 1, frame.n))
      end)
    end)
    if not ok and not frame.stopped then error(err, 0) end
  end)
  if k < frame.count then
    error(("torch.utils.checkpoint: %d tensors were saved in the first forward, %d in the second; is the function deterministic?"):format(frame.count, k), 0)
  end
end

local function promised(f, preserve, early, args, n)
  local frame = { f = f, args = args, n = n, count = 0, shapes = {}, early = early, state = preserve and torch.get_rng_state() or nil, left = 0 }
  local function pack(x)
    frame.count = frame.count + 1
    frame.left = frame.left + 1
    frame.shapes[frame.count] = x.shape
    return frame.count
  end
  local function unpack(i)
    if not frame.values then frame.stopped = nil; recompute(frame) end
    local v = frame.values[i]
    if not v then frame.stopped = nil; recompute(frame); v = frame.values[i] end
    frame.values[i] = nil                  -- asked for once per backward; a second one computes again
    return v
  end
  return autograd.graph.saved_tensors_hooks(pack, unpack, f, table.unpack(args, 1, n))
end

--- checkpoint(f, ..., {use_reentrant = false, preserve_rng_state = true}): f(...) without keeping its activations.
function module.checkpoint(f, ...)
  if type(f) ~= "function" and not (getmetatable(f) or {}).__call then error("checkpoint: expected a function, got " .. type(f), 2) end
  local args, n, kw = split(2, ...)
  local preserve = kw.preserve_rng_state ~= false
  if kw.use_reentrant then return reentrant(f, preserve, args, n) end
  if not torch.is_grad_enabled() then return f(table.unpack(args, 1, n)) end
  return promised(f, preserve, kw.early_stop ~= false, args, n)
end

--- checkpoint_sequential(functions, segments, input, {...}): a chain of functions, checkpointed in `segments` pieces; the last
--- piece keeps its activations.
function module.checkpoint_sequential(functions, segments, input, kw)
  local list = {}
  if type(functions) == "table" and not (getmetatable(functions) or {}).__call then list = functions
  else for _, child in ipairs(functions:children()) do list[#list + 1] = child end end
  local total = #list
  if math.type(segments) ~= "integer" or segments < 1 or segments > total then
    error(("checkpoint_sequential: segments must be from 1 to the %d functions, got %s"):format(total, tostring(segments)), 2)
  end
  local size = total // segments
  local function run(first, last)
    return function(x)
      for i = first, last do x = list[i](x) end
      return x
    end
  end
  local last = 0
  for first = 1, size * (segments - 1), size do
    last = first + size - 1
    input = module.checkpoint(run(first, last), input, kw or { use_reentrant = false })
  end
  return run(last + 1, total)(input)
end

return setmetatable(module, { __call = function(_, ...) return module.checkpoint(...) end })
