-- torch.autograd.gradcheck and gradgradcheck: analytic gradients against finite differences.
--
-- Complex functions are compared as PyTorch does: the gradient of real(<w, f(z)>) by conjugate Wirtinger steps, for outputs
-- along the real and the imaginary direction.
local torch = require "torch"
local kwargs = require "torch.kwargs"
local autograd = torch.autograd

local GradcheckError = setmetatable({ __name = "GradcheckError" }, { __tostring = function() return "GradcheckError" end })

local options = { "func", "inputs", "eps", "atol", "rtol", "raise_exception", "nondet_tol", "check_undefined_grad",
  "check_grad_dtypes", "check_batched_grad", "check_batched_forward_grad", "check_forward_ad", "check_backward_ad", "fast_mode",
  "masked" }

local function give_up(fmt, ...) error(setmetatable({ message = fmt:format(...) }, GradcheckError), 0) end

local function differentiable(x) return torch.is_tensor(x) and x.requires_grad and (x:is_floating_point() or x:is_complex()) end

local function outputs_of(...)
  local n, first = select("#", ...), ...
  local list = n == 1 and type(first) == "table" and not getmetatable(first) and first or { ... }
  local out = {}
  for i = 1, math.max(n, #list) do
    local y = list[i]
    if torch.is_tensor(y) and (y:is_floating_point() or y:is_complex()) then out[#out + 1] = y end
  end
  return out
end

local function tensors_in(inputs)
  local out = {}
  for _, x in ipairs(inputs) do
    if differentiable(x) then out[#out + 1] = x
    elseif type(x) == "table" and not getmetatable(x) then
      for _, y in ipairs(x) do if differentiable(y) then out[#out + 1] = y end end
    end
  end
  return out
end

-- ---- numbers ----

--- A flat list of real numbers: real and imaginary parts side by side for complex tensors.
local function numbers(t)
  t = t:detach():resolve_conj()
  if t:is_complex() then t = torch.view_as_real(t) end
  return t:reshape(-1):to(torch.float64):tolist()
end

--- Runs body(nudge) for every real coordinate of x; nudge(delta) moves that coordinate.
local function each_coordinate(x, body)
  local data = x.data
  local parts = x:is_complex() and 2 or 1
  for i = 0, x:numel() - 1 do
    -- the place of flat index i under x's sizes
    local where, rest = {}, i
    for d = x.ndim - 1, 0, -1 do
      where[d + 1] = rest % x.shape[d]
      rest = rest // x.shape[d]
    end
    local cell = data
    for d = 1, x.ndim do cell = cell:select(0, where[d]) end
    local before = cell:clone()
    for part = 1, parts do
      body(i * parts + part, function(delta)
        torch.no_grad(function()
          cell:copy_(before)
          if delta ~= 0 then cell:add_(part == 1 and delta or torch.complex(0.0, delta)) end
        end)
      end)
    end
  end
end

--- Runs body with `inputs` in which a copy stands for x.  A module reads its parameter itself, so there the parameter takes
-- over the copy's memory meanwhile; values and version of the caller's tensor stay.
local function with_copy(inputs, x, body)
  local copy = x:detach():clone():requires_grad_()
  if torch.nn.is_parameter(x) then
    local own = x.data
    x.data = copy
    local ok, result = pcall(body, inputs, x.data)
    x.data = own
    if not ok then error(result, 0) end
    return result
  end
  local function swapped(v)
    if v == x then return copy end
    if type(v) ~= "table" or getmetatable(v) then return v end
    local out = {}
    for i, y in ipairs(v) do out[i] = swapped(y) end
    return out
  end
  return body(swapped(inputs), copy)
end

--- columns[coordinate of x] = for each output the list of d(number)/d(coordinate)
local function numeric(f, given, tensor, eps)
  return with_copy(given, tensor, function(inputs, x)
    local columns = {}
    local function values()
      local out = {}
      local ys = outputs_of(torch.no_grad(f, table.unpack(inputs)))
      for k, y in ipairs(ys) do out[k] = numbers(y) end
      return out
    end
    each_coordinate(x, function(at, nudge)
      nudge(eps)
      local hi = values()
      nudge(-eps)
      local lo = values()
      nudge(0)
      local column = {}
      for k = 1, #hi do
        local d = {}
        for j = 1, #hi[k] do d[j] = (hi[k][j] - lo[k][j]) / (2 * eps) end
        column[k] = d
      end
      columns[at] = column
    end)
    return columns
  end)
end

--- The gradient of the j-th real number of output y for every x, as flat lists.
local function analytic_row(y, xs, j, create_graph)
  local seed = torch.zeros_like(y):detach()
  local cells = seed:reshape(-1)
  if y:is_complex() then
    cells[j // 2] = j % 2 == 0 and torch.complex(1.0, 0.0) or torch.complex(0.0, 1.0)
  else cells[j] = 1 end
  seed = cells:view(y.shape)
  return autograd.grad({ y }, xs, { seed }, { retain_graph = true, allow_unused = true, create_graph = create_graph })
end

-- ---- the check ----

local function close(a, b, atol, rtol)
  if a ~= a or b ~= b then return a ~= a and b ~= b end
  return a == b or math.abs(a - b) <= atol + rtol * math.abs(b)
end

local function check_inputs(xs, inputs)
  if #xs == 0 then error("gradcheck expects at least one input tensor to require gradient, but none of them has requires_grad = true", 0) end
  for i, x in ipairs(xs) do
    for d = 0, x.ndim - 1 do
      if x:stride(d) == 0 and x.shape[d] > 1 then
        error(("gradcheck: input %d has a dimension with stride 0; gradcheck expects inputs whose elements do not share memory (call contiguous())"):format(i - 1), 0)
      end
    end
  end
  return inputs
end

local function warn_single(xs)
  for i, x in ipairs(xs) do
    if x.dtype ~= torch.float64 and x.dtype ~= torch.complex128 then
      warn(("gradcheck: input %d is %s; the check is made for double precision and will likely fail\n"):format(i - 1, tostring(x.dtype)))
    end
  end
end

local function compare_output(k, y, xs, columns, a)
  local parts = y:is_complex() and 2 or 1
  for j = 0, y:numel() * parts - 1 do
    local got = analytic_row(y, xs, j)
    local again = a.nondet_tol and analytic_row(y, xs, j)
    for i, x in ipairs(xs) do
      local g = got[i] ~= torch.None and got[i] or nil
      if g and (g.dtype ~= x.dtype and a.check_grad_dtypes ~= false) then
        give_up("gradient has dtype %s, input %d has %s", tostring(g.dtype), i - 1, tostring(x.dtype))
      end
      if g and g.shape ~= x.shape then give_up("gradient has shape %s, input %d has %s", tostring(g.shape), i - 1, tostring(x.shape)) end
      local row = g and numbers(g) or {}
      if again and g and a.nondet_tol then
        local second = numbers(again[i])
        for n = 1, #row do
          if not close(row[n], second[n], a.nondet_tol, 0) then
            give_up("backward is not reentrant: running it with the same input and gradient gave different values")
          end
        end
      end
      local count = x:numel() * (x:is_complex() and 2 or 1)
      for n = 1, count do
        local want, have = columns[i][n][k][j + 1], row[n] or 0.0
        if not close(have, want, a.atol, a.rtol) then
          give_up("jacobian mismatch for output %d with respect to input %d at output number %d, input number %d: numerical %.10g, analytical %.10g",
            k - 1, i - 1, j, n - 1, want, have)
        end
      end
    end
  end
end

--- A gradient that does not arrive must act like zeros.
local function check_undefined(ys, xs)
  for _, y in ipairs(ys) do
    if y.requires_grad then
      local z = autograd.grad({ y }, xs, { torch.zeros_like(y) }, { retain_graph = true, allow_unused = true })
      for i, g in ipairs(z) do
        if g ~= torch.None then
          for _, v in ipairs(numbers(g)) do
            if v ~= 0 and v == v then give_up("backward of a zero gradient gave %g for input %d", v, i - 1) end
          end
        end
      end
    end
  end
end

-- ---- fast mode: one random direction in the inputs against one in the outputs ----

local function direction(t)
  local u = torch.rand(t.shape, { dtype = torch.float64 }) + 0.5
  u = u * (torch.randint(0, 2, t.shape):to(torch.float64) * 2 - 1)
  if t:is_complex() then return torch.complex(u, direction(t.real)):to(t.dtype) end
  return u:to(t.dtype)
end

local function pairing(v, d)
  local p = (v:conj() * d):sum()
  return (p:is_complex() and p.real or p):item()
end

local function fast(f, inputs, xs, ys, a)
  for i, x in ipairs(xs) do
    local u, start = direction(x), x:detach():clone()
    local hi, lo = table.unpack(with_copy(inputs, x, function(args, copy)
      local function values(step)
        torch.no_grad(function() copy:copy_(start + u * step) end)
        local out = outputs_of(torch.no_grad(f, table.unpack(args)))
        for k, y in ipairs(out) do out[k] = y:detach():clone() end
        return out
      end
      return { values(a.eps), values(-a.eps) }
    end))
    for k, y in ipairs(ys) do
      local v = direction(y)
      local want, have, g = pairing(v, (hi[k] - lo[k]) / (2 * a.eps)), 0.0, nil
      if y.requires_grad then g = autograd.grad({ y }, { x }, { v }, { retain_graph = true, allow_unused = true })[1] end
      if g and g ~= torch.None then
        if g.shape ~= x.shape then
          give_up("gradient has shape %s, input %d has %s", tostring(g.shape), i - 1, tostring(x.shape))
        end
        have = pairing(g, u)
      end
      if not close(have, want, a.atol * math.sqrt(y:numel() * x:numel() + 1), a.rtol) then
        give_up("jacobian mismatch for output %d with respect to input %d along a random direction: numerical %.10g, analytical %.10g%s",
          k - 1, i - 1, want, have, y.requires_grad and "" or " (the output does not require gradients)")
      end
    end
  end
  return true
end

local function run(a)
  local inputs = a.inputs
  if torch.is_tensor(inputs) then inputs = { inputs } end
  local xs = tensors_in(inputs)
  check_inputs(xs, inputs)
  warn_single(xs)
  local ys = outputs_of(torch.enable_grad(a.func, table.unpack(inputs)))
  if #ys == 0 then return true end
  local any = false
  for _, y in ipairs(ys) do any = any or y.requires_grad end
  if a.fast_mode then return fast(a.func, inputs, xs, ys, a) end
  local columns = {}
  for i, x in ipairs(xs) do columns[i] = numeric(a.func, inputs, x, a.eps) end
  if not any then                          -- nothing to differentiate: the numbers must agree that all is flat
    for i in ipairs(xs) do
      for n, column in pairs(columns[i]) do
        for k = 1, #ys do
          for j, v in ipairs(column[k]) do
            if not close(0, v, a.atol, a.rtol) then
              give_up("numerical gradient for output %d number %d with respect to input %d number %d is %g, but no output requires gradients", k - 1, j - 1, i - 1, n - 1, v)
            end
          end
        end
      end
    end
    return true
  end
  for k, y in ipairs(ys) do
    if y.requires_grad then compare_output(k, y, xs, columns, a) end
  end
  if a.check_undefined_grad ~= false then check_undefined(ys, xs) end
  return true
end

local function prepare(name, level, ...)
  local a = kwargs(name, options, level + 1, ...)
  if type(a.func) ~= "function" and not (getmetatable(a.func) or {}).__call then
    error(name .. ": argument 'func' must be a function, got " .. type(a.func), level + 1)
  end
  if a.inputs == nil then error(name .. ": argument 'inputs' is missing", level + 1) end
  for _, key in ipairs { "check_forward_ad", "check_batched_grad", "check_batched_forward_grad" } do
    if a[key] then error(name .. ": " .. key .. " is not implemented (there is no forward mode or batched backward)", level + 1) end
  end
  if a.check_backward_ad == false then error(name .. ": expected at least one of check_forward_ad and check_backward_ad to be true", level + 1) end
  a.eps, a.atol, a.rtol = a.eps or 1e-6, a.atol or 1e-5, a.rtol or 1e-3
  if a.nondet_tol == nil then a.nondet_tol = 0.0 end
  return a
end

local function judged(name, a, level)
  local ok, err = pcall(run, a)
  if ok then return true end
  local ours = getmetatable(err) == GradcheckError
  if ours and a.raise_exception == false then return false end
  error(name .. ": " .. (ours and err.message or tostring(err)), level + 1)
end

--- gradcheck(func, inputs, {eps=1e-6, atol=1e-5, rtol=1e-3, raise_exception=true, ...}) -> true.
local function gradcheck(...)
  return judged("gradcheck", prepare("gradcheck", 2, ...), 2)
end

--- gradgradcheck(func, inputs, grad_outputs=nil, ...): gradcheck of the function's gradient.
local function gradgradcheck(...)
  local values, n = { ... }, select("#", ...)
  local grad_outputs
  local third = values[3]
  if n >= 3 and (torch.is_tensor(third) or (type(third) == "table" and #third > 0)) then
    grad_outputs = torch.is_tensor(third) and { third } or third
    table.remove(values, 3)
    n = n - 1
  elseif n >= 3 and (third == nil or third == torch.None) then
    table.remove(values, 3)
    n = n - 1
  end
  local a = kwargs("gradgradcheck", { "func", "inputs", grad_outputs = grad_outputs or torch.None, gen_non_contig_grad_outputs = false,
    eps = 1e-6, atol = 1e-5, rtol = 1e-3, raise_exception = true, nondet_tol = 0.0, check_undefined_grad = true,
    check_grad_dtypes = false, check_batched_grad = false, check_fwd_over_rev = false, check_rev_over_rev = true, fast_mode = false,
    masked = false }, 2, table.unpack(values, 1, n))
  local inputs = torch.is_tensor(a.inputs) and { a.inputs } or a.inputs
  local f = a.func
  local ys = outputs_of(torch.enable_grad(f, table.unpack(inputs)))
  local seeds = {}
  if a.grad_outputs ~= torch.None then seeds = torch.is_tensor(a.grad_outputs) and { a.grad_outputs } or a.grad_outputs
  else
    for i, y in ipairs(ys) do
      seeds[i] = y.requires_grad and torch.randn_like(y:detach()):requires_grad_() or torch.None
    end
  end
  local count = #inputs
  local all = { table.unpack(inputs) }
  local live = {}
  for i = 1, #ys do if seeds[i] ~= torch.None then live[#live + 1] = i; all[#all + 1] = seeds[i] end end
  if #live == 0 then return true end
  local function gradient(...)
    local args = { ... }
    local xs = tensors_in { table.unpack(args, 1, count) }
    local out, cot = {}, {}
    local values_now = outputs_of(torch.enable_grad(f, table.unpack(args, 1, count)))
    for k, i in ipairs(live) do out[k], cot[k] = values_now[i], args[count + k] end
    local got = {}
    local create = torch.is_grad_enabled()
    torch.enable_grad(function() got = autograd.grad(out, xs, cot, { create_graph = create, allow_unused = true }) end)
    local list = {}
    for _, g in ipairs(got) do if g ~= torch.None then list[#list + 1] = g end end
    return list
  end
  return judged("gradgradcheck", { func = gradient, inputs = all, eps = a.eps, atol = a.atol, rtol = a.rtol,
    raise_exception = a.raise_exception, nondet_tol = a.nondet_tol, check_undefined_grad = a.check_undefined_grad,
    check_grad_dtypes = a.check_grad_dtypes, fast_mode = a.fast_mode }, 2)
end

return { gradcheck = gradcheck, gradgradcheck = gradgradcheck, GradcheckError = GradcheckError }
