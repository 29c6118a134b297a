-- torch.autograd.functional: vjp, jvp, jacobian, hessian, vhp, hvp.
--
-- A function takes its inputs as arguments and returns one tensor, several, or a list of them; inputs are a tensor or a list.
-- Forward products (jvp, strategy = "forward-mode") are computed by differentiating the backward pass twice: exact, at the cost
-- of two backward passes.
local torch = require "torch"
local kwargs = require "torch.kwargs"
local autograd = torch.autograd

local functional = {}

-- ---- inputs and outputs ----

local function fail(level, fmt, ...) error(fmt:format(...), level + 1) end

--- A tensor or a list of tensors as a list; the second result says whether it was a list.
local function as_list(v, what, name, level)
  if torch.is_tensor(v) then return { v }, false end
  if type(v) ~= "table" then fail(level + 1, "%s: %s must be a Tensor or a list of tensors, got %s", name, what, type(v)) end
  for i = 1, #v do
    if not torch.is_tensor(v[i]) then
      fail(level + 1, "%s: %s must be tensors, but element %d is %s", name, what, i, type(v[i]))
    end
  end
  return v, true
end

local function outputs_of(name, level, ...)
  local n = select("#", ...)
  if n == 1 then return as_list((...), "what the function returns", name, level + 1) end
  if n == 0 then fail(level + 1, "%s: the function must return a Tensor or several, got nothing", name) end
  return as_list({ ... }, "what the function returns", name, level + 1), true
end

--- Copies of the inputs that carry gradients of their own; with create_graph still tied to the inputs.
local function fresh(inputs, create_graph)
  local out = {}
  for i, x in ipairs(inputs) do
    if create_graph then out[i] = x.requires_grad and x:view_as(x) or x:detach():requires_grad_()
    else out[i] = x:detach():requires_grad_() end
  end
  return out
end

--- Results leave without history unless a graph was asked for.
local function release(list, create_graph)
  if create_graph then return list end
  local out = {}
  for i, x in ipairs(list) do out[i] = x.requires_grad and x:detach() or x end
  return out
end

local function pack(list, many) if many then return list end return list[1] end

local function call(name, level, f, inputs)
  local outputs, many
  torch.enable_grad(function() outputs, many = outputs_of(name, level + 3, f(table.unpack(inputs))) end)
  return outputs, many
end

local function check_strict(name, strict, outputs, level)
  if not strict then return end
  for i, y in ipairs(outputs) do
    if not y.requires_grad then
      fail(level + 1, "%s: output %d of the function does not require gradients: it does not depend on the inputs in a " ..
        "differentiable way, which strict mode forbids", name, i - 1)
    end
  end
end

--- Gradients of <outputs, seeds> as a list with zeros where none arrives (an error in strict mode).
local function grads(name, outputs, inputs, seeds, opt, level, stage)
  local live, cot = {}, {}
  for i, y in ipairs(outputs) do
    if y.requires_grad then live[#live + 1] = y; cot[#cot + 1] = seeds and seeds[i] or torch.None end
  end
  local got = {}
  if #live > 0 then
    torch.enable_grad(function()
      got = autograd.grad(live, inputs, cot, { create_graph = opt.graph, retain_graph = opt.retain, allow_unused = true })
    end)
  end
  local out = {}
  for i, x in ipairs(inputs) do
    local g = got[i]
    if g == nil or g == torch.None then
      if opt.strict then
        fail(level + 1, "%s: %s is independent of input %d, which strict mode forbids", name, stage or "the output", i - 1)
      end
      g = torch.zeros_like(x)
    elseif opt.strict and opt.graph and opt.want_graph and not g.requires_grad then
      fail(level + 1, "%s: the gradient is independent of input %d, which strict mode with create_graph forbids", name, i - 1)
    end
    out[i] = g
  end
  return out
end

local function check_like(name, v, like, what, level)
  if #v ~= #like then fail(level + 1, "%s: v has %d tensors, %s has %d", name, #v, what, #like) end
  for i, t in ipairs(v) do
    if t.shape ~= like[i].shape then
      fail(level + 1, "%s: v has shape %s where %s has %s", name, tostring(t.shape), what, tostring(like[i].shape))
    end
  end
end

-- ---- products ----

local product_args = { "func", "inputs", "v", "create_graph", "strict" }
local function product_options(name, ...)
  local a = kwargs(name, product_args, 3, ...)
  if a.func == nil then fail(3, "%s: argument 'func' is missing", name) end
  local inputs, many = as_list(a.inputs, "inputs", name, 3)
  return a, inputs, many
end

--- vjp(func, inputs, v) -> outputs, v^T J.
function functional.vjp(...)
  local a, inputs, many = product_options("vjp", ...)
  local xs = fresh(inputs, a.create_graph)
  local ys, ymany = call("vjp", 2, a.func, xs)
  check_strict("vjp", a.strict, ys, 2)
  local seeds
  if a.v then
    seeds = as_list(a.v, "v", "vjp", 2)
    check_like("vjp", seeds, ys, "the output", 2)
  elseif #ys ~= 1 or ys[1]:numel() ~= 1 then
    fail(2, "vjp: v can only be left out when the function returns one tensor with one element")
  else seeds = { torch.ones_like(ys[1]) } end
  local g = grads("vjp", ys, xs, seeds, { graph = a.create_graph, want_graph = true, strict = a.strict }, 2)
  return pack(release(ys, a.create_graph), ymany), pack(release(g, a.create_graph), many)
end

--- The derivative of the backward pass in its seeds: J v as differentiable tensors.
local function push_forward(name, ys, xs, v, strict, graph, level)
  local seeds = {}
  for i, y in ipairs(ys) do seeds[i] = torch.zeros_like(y):requires_grad_() end
  local back = grads(name, ys, xs, seeds, { graph = true, strict = strict }, level + 1)
  return grads(name, back, seeds, v, { graph = graph }, level + 1)
end

--- jvp(func, inputs, v) -> outputs, J v.
function functional.jvp(...)
  local a, inputs = product_options("jvp", ...)
  local xs = fresh(inputs, a.create_graph)
  local v
  if a.v then
    v = as_list(a.v, "v", "jvp", 2)
    check_like("jvp", v, inputs, "the input", 2)
  elseif #xs ~= 1 or xs[1]:numel() ~= 1 then
    fail(2, "jvp: v can only be left out when there is one input with one element")
  else v = { torch.ones_like(xs[1]) } end
  local ys, ymany = call("jvp", 2, a.func, xs)
  check_strict("jvp", a.strict, ys, 2)
  local out = push_forward("jvp", ys, xs, v, a.strict, a.create_graph, 2)
  return pack(release(ys, a.create_graph), ymany), pack(release(out, a.create_graph), ymany)
end

-- ---- jacobian and hessian ----

--- Rows of the jacobian of y: one list of gradients per element of y.
local function jacobian_rows(name, y, xs, opt, level)
  local rows = {}
  for j = 1, #xs do rows[j] = {} end
  local flat = torch.enable_grad(y.reshape, y, -1)
  local n = y:numel()
  for i = 0, n - 1 do
    local g = grads(name, { torch.enable_grad(function() return flat[i] end) }, xs, nil,
      { graph = opt.create_graph, want_graph = true, retain = true, strict = opt.strict }, level + 1, "the output")
    for j = 1, #xs do rows[j][i + 1] = g[j] end
  end
  local out = {}
  for j, x in ipairs(xs) do
    local shape = y.shape .. x.shape
    if n == 0 then out[j] = torch.zeros(shape, { dtype = x.dtype })
    else out[j] = torch.enable_grad(function() return torch.stack(rows[j], 0):view(shape) end) end
  end
  return out
end

local function jacobian(name, a, level)
  local strategy = a.strategy or "reverse-mode"
  if strategy ~= "reverse-mode" and strategy ~= "forward-mode" then
    fail(level + 1, "%s: expected strategy to be 'forward-mode' or 'reverse-mode', got '%s'", name, tostring(strategy))
  end
  if strategy == "forward-mode" and a.create_graph then
    fail(level + 1, "%s: strategy = 'forward-mode' takes no create_graph; use 'reverse-mode'", name)
  end
  if a.vectorize and a.strict then fail(level + 1, "%s: strict and vectorize cannot be true together", name) end
  local inputs, many = as_list(a.inputs, "inputs", name, level + 1)
  local xs = fresh(inputs, a.create_graph)
  local ys, ymany = call(name, level + 1, a.func, xs)
  check_strict(name, a.strict, ys, level + 1)
  local result = {}
  for i, y in ipairs(ys) do
    result[i] = pack(release(jacobian_rows(name, y, xs, a, level + 1), a.create_graph), many)
  end
  return pack(result, ymany)
end

--- jacobian(func, inputs) -> a tensor of shape output x input; lists where inputs or outputs are lists.
function functional.jacobian(...)
  return jacobian("jacobian", kwargs("jacobian", { "func", "inputs", "create_graph", "strict", "vectorize", "strategy" }, 2, ...), 2)
end

local function scalar_function(name, f, level)
  return function(...)
    local ys, many = outputs_of(name, level + 1, f(...))
    if many or ys[1]:numel() ~= 1 then
      fail(level + 1, "%s: the function must return one tensor with one element, got %s", name,
        many and (#ys .. " tensors") or ("shape " .. tostring(ys[1].shape)))
    end
    return ys[1]:squeeze()
  end
end

--- hessian(func, inputs): of a function with one element; a list of lists for several inputs.
function functional.hessian(...)
  local a = kwargs("hessian", { "func", "inputs", "create_graph", "strict", "vectorize", "outer_jacobian_strategy" }, 2, ...)
  local inputs, many = as_list(a.inputs, "inputs", "hessian", 2)
  if a.outer_jacobian_strategy and a.outer_jacobian_strategy ~= "reverse-mode" and a.outer_jacobian_strategy ~= "forward-mode" then
    fail(2, "hessian: expected outer_jacobian_strategy to be 'forward-mode' or 'reverse-mode', got '%s'", tostring(a.outer_jacobian_strategy))
  end
  local f = scalar_function("hessian", a.func, 2)
  local function gradient(...)
    local xs, given = {}, { ... }
    for i = 1, #given do xs[i] = given[i]:view_as(given[i]) end
    local g = jacobian("hessian", { func = f, inputs = xs, create_graph = true, strict = a.strict }, 2)
    return table.unpack(g)
  end
  local H = jacobian("hessian", { func = gradient, inputs = inputs, create_graph = a.create_graph, strict = a.strict }, 2)
  if not many then return H[1] end
  return #inputs == 1 and { H } or H
end

local function second(name, ...)
  local a, inputs, many = product_options(name, ...)
  local v
  if a.v then
    v = as_list(a.v, "v", name, 3)
    check_like(name, v, inputs, "the input", 3)
  elseif #inputs ~= 1 or inputs[1]:numel() ~= 1 then
    fail(3, "%s: v can only be left out when there is one input with one element", name)
  else v = { torch.ones_like(inputs[1]) } end
  local xs = fresh(inputs, true)
  local ys = { (call(name, 3, scalar_function(name, a.func, 3), xs))[1] }
  check_strict(name, a.strict, ys, 3)
  local jac = grads(name, ys, xs, nil, { graph = true, strict = a.strict }, 3)
  return a, many, xs, ys[1], jac, v
end

--- vhp(func, inputs, v) -> output, v^T H.
function functional.vhp(...)
  local a, many, xs, y, jac, v = second("vhp", ...)
  check_strict("vhp", a.strict, jac, 2)
  local out = grads("vhp", jac, xs, v, { graph = a.create_graph, want_graph = true, strict = a.strict }, 2, "the jacobian")
  return release({ y }, a.create_graph)[1], pack(release(out, a.create_graph), many)
end

--- hvp(func, inputs, v) -> output, H v; the Hessian is symmetric, so where vhp will do it is the cheaper one.
function functional.hvp(...)
  local a, many, xs, y, jac, v = second("hvp", ...)
  check_strict("hvp", a.strict, jac, 2)
  local out = push_forward("hvp", jac, xs, v, a.strict, a.create_graph, 2)
  return release({ y }, a.create_graph)[1], pack(release(out, a.create_graph), many)
end

return functional
