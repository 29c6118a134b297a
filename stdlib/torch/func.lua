-- torch.func: transforms of functions: grad, value_and_grad, vjp, jvp, jacrev, jacfwd, hessian, vmap, linearize.
--
-- vmap calls the function once per slice and stacks the results: PyTorch's meaning for in_dims, out_dims and randomness, at the
-- cost of a loop.  Forward products (jvp, jacfwd, linearize) differentiate the backward pass twice.
local torch = require "torch"
local kwargs = require "torch.kwargs"
local autograd = torch.autograd

local func = {}

local function fail(level, fmt, ...) error(fmt:format(...), level + 1) end

-- ---- levels ----

--- x as this transform's variable: tied to x when an outer gradient wants to pass through.
local function lift(x)
  return torch.enable_grad(function() return x.requires_grad and x:view_as(x) or x:detach():requires_grad_() end)
end

--- Does anything beside our own variables (closed-over parameters, an outer transform) take part in the graph?
local function outside(outputs, xs, primals)
  for _, x in ipairs(primals) do if x.requires_grad then return true end end
  return autograd._leads_elsewhere(outputs, xs)
end

local function settle(v) return v.requires_grad and v:detach() or v end

local function map(list, f)
  local out = {}
  for i = 1, #list do out[i] = f(list[i]) end
  return out
end

--- Gradients of <outputs, seeds> with zeros where none arrives, kept in an outer graph only when there is one.
local function pull(outputs, xs, seeds, keep, retain)
  local live, cot = {}, {}
  for i, y in ipairs(outputs) do
    if y.requires_grad then live[#live + 1] = y; cot[#cot + 1] = seeds and seeds[i] or torch.None end
  end
  local got = #live > 0 and torch.enable_grad(autograd.grad, live, xs, cot,
    { create_graph = keep, retain_graph = keep or retain, allow_unused = true }) or {}
  local out = {}
  for i, x in ipairs(xs) do
    local g = got[i]
    if g == nil or g == torch.None then g = torch.zeros_like(x) end
    out[i] = keep and g or settle(g)
  end
  return out
end

-- ---- arguments ----

--- argnums (0-based, an integer or a list) as a 1-based list; the second result says whether it was a list.
local function arg_numbers(name, argnums, n, level)
  local many = type(argnums) == "table"
  local out = {}
  for _, k in ipairs(many and argnums or { argnums }) do
    if math.type(k) ~= "integer" then fail(level + 1, "%s: argnums must be an integer or a list of integers", name) end
    local at = k < 0 and k + n or k
    if at < 0 or at >= n then fail(level + 1, "%s: got argnums=%d, but only %d positional inputs", name, k, n) end
    out[#out + 1] = at + 1
  end
  if #out == 0 then fail(level + 1, "%s: argnums must not be empty", name) end
  return out, many
end

local function chosen(name, args, which, level)
  local out = {}
  for i, at in ipairs(which) do
    if not torch.is_tensor(args[at]) then
      fail(level + 1, "%s: expected argument %d to be a Tensor, got %s", name, at - 1, type(args[at]))
    end
    out[i] = args[at]
  end
  return out
end

local function with(args, n, which, xs)
  local out = { table.unpack(args, 1, n) }
  for i, at in ipairs(which) do out[at] = xs[i] end
  return table.unpack(out, 1, n)
end

--- Splits what a function returned into tensors and, with has_aux, the rest.
local function returned(name, has_aux, level, ...)
  local n = select("#", ...)
  local values, aux = { ... }, nil
  if has_aux then
    if n ~= 2 then fail(level + 1, "%s: with has_aux the function must return its output and the auxiliary value", name) end
    aux, n = values[2], 1
  end
  local list = n == 1 and type(values[1]) == "table" and not getmetatable(values[1])
  local ys = list and values[1] or { table.unpack(values, 1, n) }
  for i = 1, list and #ys or n do
    if not torch.is_tensor(ys[i]) then
      fail(level + 1, "%s: expected the function to return tensors, got %s", name, type(ys[i]))
    end
  end
  if #ys == 0 then fail(level + 1, "%s: the function returned nothing", name) end
  return ys, list or n > 1, aux, list
end

local function settled_aux(v)
  if torch.is_tensor(v) then return settle(v) end
  if type(v) == "table" and not getmetatable(v) then
    local out = {}
    for k, x in pairs(v) do out[k] = settled_aux(x) end
    return out
  end
  return v
end

-- ---- grad ----

local function gradient_of(name, f, argnums, has_aux)
  return function(...)
    local args, n = { ... }, select("#", ...)
    local which, many = arg_numbers(name, argnums, n, 2)
    local primals = chosen(name, args, which, 2)
    local xs = map(primals, lift)
    local ys, multi, aux = returned(name, has_aux, 2, torch.enable_grad(f, with(args, n, which, xs)))
    if multi then fail(2, "%s: expected the function to return one tensor, got %d", name, #ys) end
    local y = ys[1]
    if y.ndim > 0 then fail(2, "%s: expected the function to return a scalar tensor, got a tensor with %d dims", name, y.ndim) end
    if y:is_complex() then fail(2, "%s: expected a real output, got %s", name, tostring(y.dtype)) end
    local keep = outside(ys, xs, primals)
    local g = pull(ys, xs, nil, keep)
    if not keep then y, aux = settle(y), settled_aux(aux) end
    return many and g or g[1], y, aux
  end
end

local grad_args = { "func", "argnums", "has_aux" }

--- grad(func, argnums=0, has_aux=false) -> a function that returns the gradient (and aux).
function func.grad(...)
  local a = kwargs("grad", grad_args, 2, ...)
  local g = gradient_of("grad", a.func, a.argnums or 0, a.has_aux)
  if a.has_aux then return function(...) local d, _, aux = g(...); return d, aux end end
  return function(...) return (g(...)) end
end

--- grad_and_value(func, ...) -> a function that returns gradient, value (with aux: gradient, {value, aux}).
function func.grad_and_value(...)
  local a = kwargs("grad_and_value", grad_args, 2, ...)
  local g = gradient_of("grad_and_value", a.func, a.argnums or 0, a.has_aux)
  return function(...)
    local d, y, aux = g(...)
    if a.has_aux then return d, { y, aux } end
    return d, y
  end
end

--- value_and_grad(func, ...) -> a function that returns value, gradient (with aux: value, gradient, aux).
function func.value_and_grad(...)
  local a = kwargs("value_and_grad", grad_args, 2, ...)
  local g = gradient_of("value_and_grad", a.func, a.argnums or 0, a.has_aux)
  return function(...)
    local d, y, aux = g(...)
    if a.has_aux then return y, d, aux end
    return y, d
  end
end

-- ---- vjp and jvp ----

local function trailing_keywords(n, values)
  local last = values[n]
  if n > 0 and type(last) == "table" and not getmetatable(last) and #last == 0 and next(last) ~= nil then return n - 1, last end
  return n, {}
end

local function check_cotangents(name, ys, cot, level)
  if #cot ~= #ys then fail(level + 1, "%s: got %d cotangents for %d outputs", name, #cot, #ys) end
  for i, c in ipairs(cot) do
    if not torch.is_tensor(c) or c.shape ~= ys[i].shape then
      fail(level + 1, "%s: cotangent %d must be a tensor of shape %s", name, i - 1, tostring(ys[i].shape))
    end
  end
end

local function unpacked(list, many) if many then return list end return list[1] end

--- vjp(func, primals..., {has_aux=}) -> output, vjp_fn (with aux: output, vjp_fn, aux).
function func.vjp(f, ...)
  local args = { ... }
  local n, kw = trailing_keywords(select("#", ...), args)
  local which = {}
  for i = 1, n do which[i] = i end
  local primals = chosen("vjp", args, which, 2)
  local xs = map(primals, lift)
  local ys, many, aux = returned("vjp", kw.has_aux, 2, torch.enable_grad(f, table.unpack(xs)))
  local keep = outside(ys, xs, primals)
  local function pullback(...)
    local cot = { ... }
    if #cot == 1 and not torch.is_tensor(cot[1]) then cot = cot[1] end
    check_cotangents("vjp_fn", ys, cot, 2)
    local tracked = keep
    for _, c in ipairs(cot) do tracked = tracked or c.requires_grad end
    return table.unpack(pull(ys, xs, cot, tracked, true))
  end
  local out = keep and ys or map(ys, settle)
  out = unpacked(out, many)
  if kw.has_aux then return out, pullback, keep and aux or settled_aux(aux) end
  return out, pullback
end

--- J v, by differentiating the backward pass in its seeds.
local function push(ys, xs, tangents, keep)
  local seeds = map(ys, function(y) return torch.zeros_like(y):requires_grad_() end)
  local back = pull(ys, xs, seeds, true)
  local live, v = {}, {}
  for i, b in ipairs(back) do if b.requires_grad then live[#live + 1] = b; v[#v + 1] = tangents[i] end end
  local got = #live > 0 and torch.enable_grad(autograd.grad, live, seeds, v,
    { create_graph = keep, retain_graph = true, allow_unused = true }) or {}
  local out = {}
  for i, s in ipairs(seeds) do
    local g = got[i]
    if g == nil or g == torch.None then g = torch.zeros_like(s):detach() end
    out[i] = keep and g or settle(g)
  end
  return out
end

local function list_of(name, v, what, level)
  if torch.is_tensor(v) then return { v } end
  if type(v) ~= "table" then fail(level + 1, "%s: %s must be a list of tensors, got %s", name, what, type(v)) end
  return v
end

--- jvp(func, primals, tangents, {strict=, has_aux=}) -> output, J tangents.
function func.jvp(...)
  local a = kwargs("jvp", { "func", "primals", "tangents", "strict", "has_aux" }, 2, ...)
  local primals, tangents = list_of("jvp", a.primals, "primals", 2), list_of("jvp", a.tangents, "tangents", 2)
  if #primals ~= #tangents then fail(2, "jvp: expected as many tangents as primals, got %d and %d", #tangents, #primals) end
  for i, p in ipairs(primals) do
    if not torch.is_tensor(p) or not torch.is_tensor(tangents[i]) or p.shape ~= tangents[i].shape then
      fail(2, "jvp: primal and tangent %d must be tensors of one shape", i - 1)
    end
  end
  local xs = map(primals, lift)
  local ys, many, aux = returned("jvp", a.has_aux, 2, torch.enable_grad(a.func, table.unpack(xs)))
  local keep = outside(ys, xs, primals)
  for _, t in ipairs(tangents) do keep = keep or t.requires_grad end
  local out = push(ys, xs, tangents, keep)
  if not keep then ys = map(ys, settle) end
  if a.has_aux then return unpacked(ys, many), unpacked(out, many), keep and aux or settled_aux(aux) end
  return unpacked(ys, many), unpacked(out, many)
end

--- linearize(func, primals...) -> output, jvp_fn: the tangent map at the primals.
function func.linearize(f, ...)
  local primals = { ... }
  local xs = map(chosen("linearize", primals, (function() local w = {} for i = 1, #primals do w[i] = i end return w end)(), 2), lift)
  local ys, many = returned("linearize", false, 2, torch.enable_grad(f, table.unpack(xs)))
  return unpacked(map(ys, settle), many), function(...)
    local tangents = { ... }
    if #tangents ~= #xs then fail(2, "jvp_fn: expected %d tangents, got %d", #xs, #tangents) end
    return unpacked(push(ys, xs, tangents, false), many)
  end
end

-- ---- jacobians ----

local function flat_rows(y, xs, keep)
  local rows = {}
  for j = 1, #xs do rows[j] = {} end
  local flat = torch.enable_grad(y.reshape, y, -1)
  for i = 0, y:numel() - 1 do
    local g = pull({ torch.enable_grad(function() return flat[i] end) }, xs, nil, keep, true)
    for j = 1, #xs do rows[j][i + 1] = g[j] end
  end
  local out = {}
  for j, x in ipairs(xs) do
    local shape = y.shape .. x.shape
    out[j] = y:numel() == 0 and torch.zeros(shape, { dtype = x.dtype })
      or torch.set_grad_enabled(keep, function() return torch.stack(rows[j], 0):reshape(shape) end)
  end
  return out
end

local function jacobian_transform(name, ...)
  local a = kwargs(name, { "func", "argnums", "has_aux", "chunk_size", "randomness", "_preallocate_and_copy" }, 3, ...)
  return function(...)
    local args, n = { ... }, select("#", ...)
    local which, many = arg_numbers(name, a.argnums or 0, n, 2)
    local primals = chosen(name, args, which, 2)
    local xs = map(primals, lift)
    local ys, ymany, aux = returned(name, a.has_aux, 2, torch.enable_grad(a.func, with(args, n, which, xs)))
    local keep = outside(ys, xs, primals)
    local result = map(ys, function(y) return unpacked(flat_rows(y, xs, keep), many) end)
    result = unpacked(result, ymany)
    if a.has_aux then return result, keep and aux or settled_aux(aux) end
    return result
  end
end

--- jacrev(func, argnums=0, has_aux=false) -> a function that returns the jacobian.
function func.jacrev(...) return jacobian_transform("jacrev", ...) end
--- jacfwd: the same numbers; columns would need a forward mode of their own.
function func.jacfwd(...) return jacobian_transform("jacfwd", ...) end

--- hessian(func, argnums=0) -> a function that returns the matrix of second derivatives.
function func.hessian(...)
  local a = kwargs("hessian", { "func", "argnums" }, 2, ...)
  return func.jacfwd(func.jacrev(a.func, a.argnums or 0), a.argnums or 0)
end

-- ---- vmap ----

local function batch_size(name, dims, args, n, level)
  local size
  local function visit(d, v)
    if type(d) == "table" and d ~= torch.None then
      if type(v) ~= "table" then fail(level + 2, "%s: in_dims has a list where the input is a %s", name, type(v)) end
      for k = 1, math.max(#d, #v) do visit(d[k] == nil and torch.None or d[k], v[k]) end
    elseif d ~= torch.None and d ~= nil then
      if type(v) == "table" and not getmetatable(v) then
        for _, x in ipairs(v) do visit(d, x) end
        return
      end
      if not torch.is_tensor(v) then
        fail(level + 2, "%s: got in_dim=%s for an input that is a %s; use torch.None for it", name, tostring(d), type(v))
      end
      if v.ndim == 0 or d < -v.ndim or d >= v.ndim then
        fail(level + 2, "%s: got in_dim=%d for an input of %d dimensions", name, d, v.ndim)
      end
      local here = v:size(d)
      if size and here ~= size then fail(level + 2, "%s: expected all tensors to have the same size in the mapped dimension, got sizes %d and %d", name, size, here) end
      size = here
    end
  end
  for i = 1, n do visit(dims(i), args[i]) end
  if not size then fail(level + 1, "%s: at least one input must be mapped over", name) end
  return size
end

local function slice(d, v, k)
  if d == torch.None or d == nil then return v end
  if type(d) == "table" then
    local out = {}
    for i = 1, #v do out[i] = slice(d[i] == nil and torch.None or d[i], v[i], k) end
    return out
  end
  if type(v) == "table" and not getmetatable(v) then
    local out = {}
    for i = 1, #v do out[i] = slice(d, v[i], k) end
    return out
  end
  return v:select(d, k)
end

local function stack(name, parts, d, level)
  local first = parts[1]
  if type(first) == "table" and not getmetatable(first) then
    local out = {}
    for j = 1, #first do
      local column = {}
      for k = 1, #parts do column[k] = parts[k][j] end
      out[j] = stack(name, column, type(d) == "table" and d[j] or d, level + 1)
    end
    return out
  end
  if not torch.is_tensor(first) then fail(level + 1, "%s: the function must only return tensors, got %s", name, type(first)) end
  if d == torch.None then return first end
  return torch.stack(parts, d)
end

--- vmap(func, in_dims=0, out_dims=0, randomness="error", chunk_size=nil): func over slices.
function func.vmap(...)
  local a = kwargs("vmap", { "func", "in_dims", "out_dims", "randomness", "chunk_size" }, 2, ...)
  local in_dims, out_dims, random = a.in_dims or 0, a.out_dims or 0, a.randomness or "error"
  if random ~= "error" and random ~= "same" and random ~= "different" then
    fail(2, "vmap: randomness must be 'error', 'same' or 'different', got '%s'", tostring(random))
  end
  if type(a.func) ~= "function" and not (getmetatable(a.func) or {}).__call then fail(2, "vmap: func must be callable, got %s", type(a.func)) end
  return function(...)
    local args, n = { ... }, select("#", ...)
    if n == 0 then fail(2, "vmap: the function needs at least one input to map over") end
    local function dims(i)
      if type(in_dims) ~= "table" then return in_dims end
      return in_dims[i] == nil and torch.None or in_dims[i]
    end
    if type(in_dims) == "table" and #in_dims ~= n then fail(2, "vmap: in_dims has %d entries for %d inputs", #in_dims, n) end
    local size = batch_size("vmap", dims, args, n, 2)
    if size == 0 then fail(2, "vmap: a mapped dimension of size 0 is not supported (the function runs once per slice)") end
    local before = torch.get_rng_state()
    local parts, count = {}, nil
    for k = 0, size - 1 do
      local sliced = {}
      for i = 1, n do sliced[i] = slice(dims(i), args[i], k) end
      if random == "same" and k > 0 then torch.set_rng_state(before) end
      local got = table.pack(a.func(table.unpack(sliced, 1, n)))
      if got.n == 0 then fail(2, "vmap: the function returned nothing") end
      if random == "error" and k == 0 and not torch.equal(before, torch.get_rng_state()) then
        fail(2, "vmap: the function called a random operation; choose randomness = 'same' or 'different'")
      end
      count = got.n
      parts[k + 1] = got
    end
    local out = {}
    for j = 1, count do
      local column = {}
      for k = 1, size do column[k] = parts[k][j] end
      local d = out_dims
      if type(out_dims) == "table" and count > 1 then d = out_dims[j] == nil and torch.None or out_dims[j] end
      if type(d) == "table" and torch.is_tensor(column[1]) then d = d[1] end
      out[j] = stack("vmap", column, d, 2)
    end
    return table.unpack(out, 1, count)
  end
end

--- functional_call(module, parameters_and_buffers, args, kwargs): see nn.utils.stateless.functional_call.
function func.functional_call(...) return require("torch.nn.utils.stateless").functional_call(...) end

for _, name in ipairs { "stack_module_state", "functionalize" } do
  func[name] = function() fail(2, "torch.func.%s is not implemented", name) end
end

return func
