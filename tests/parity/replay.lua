-- replay.lua: runs one record (op, module or optimizer) through the Lua API and raises {mismatch = text} or any error.
local here = (...):match("^(.*)replay$") or ""
local json, build, compare = require(here .. "json"), require(here .. "build"), require(here .. "compare")
local torch = require "torch"

local replay = {}
local NULL, fail, is_tensor = json.null, compare.fail, compare.is_tensor

-- Python operators that have a Lua one; the others go through the method of the same meaning.
local OPERATOR = {
  add = function(a, b) return a + b end, sub = function(a, b) return a - b end, mul = function(a, b) return a * b end,
  truediv = function(a, b) return a / b end, mod = function(a, b) return a % b end,
  floordiv = function(a, b) return a // b end,
  pow = function(a, b) return a ^ b end, neg = function(a) return -a end, invert = function(a) return ~a end,
  and_ = function(a, b) return a & b end, or_ = function(a, b) return a | b end, xor = function(a, b) return a ~ b end,
  lshift = function(a, b) return a << b end, rshift = function(a, b) return a >> b end,
  matmul = function(a, b) return a:matmul(b) end, abs = function(a) return a:abs() end,
  eq = function(a, b) return a:eq(b) end, ne = function(a, b) return a:ne(b) end,
  lt = function(a, b) return a:lt(b) end,
  le = function(a, b) return a:le(b) end, gt = function(a, b) return a:gt(b) end,
  ge = function(a, b) return a:ge(b) end,
  getitem = function(a, i) return a[i] end,
}
local REFLECTED = {
  __radd__ = "add", __rsub__ = "sub", __rmul__ = "mul", __rdiv__ = "truediv", __rtruediv__ = "truediv",
  __rmod__ = "mod", __rpow__ = "pow", __rfloordiv__ = "floordiv", __rand__ = "and_", __ror__ = "or_", __rxor__ = "xor",
  __rlshift__ = "lshift", __rrshift__ = "rshift",
}

local function missing(what) error({ missing = what }, 0) end

local function method_of(self, name)
  local ok, f = pcall(function() return self[name] end)
  if not ok or f == nil then missing("Tensor:" .. name) end
  return f
end

-- The call of a record as a function of its decoded arguments; missing names are found here, outside any pcall.
local function callee(rec, args)
  local name = rec.op:match("([^.]+)$")
  local var = rec.variant
  if name == "__getitem__" then return function(a, n) return a[1][a[2]] end end
  if name == "__setitem__" then return function(a, n) a[1][a[2]] = a[3] end end
  if var == "operator" then
    local f = OPERATOR[name] or missing("operator " .. name)
    return function(a, n) return f(a[1], a[2]) end
  end
  if (name == "__rdiv__" or name == "__rtruediv__") and is_tensor(args[2]) then
    -- PyTorch defines it so, and the dtype shows it
    return function(a, n) return a[1]:reciprocal() * a[2] end
  end
  if REFLECTED[name] then
    local f = OPERATOR[REFLECTED[name]]
    return function(a, n)
      if not is_tensor(a[1]) then error(name .. " is a tensor's method") end
      return f(a[2], a[1])
    end
  end
  if name == "__rmatmul__" then return function(a, n) return a[2]:matmul(a[1]) end end
  if var == "attribute" then
    return function(a, n)
      local ok, v = pcall(function() return a[1][name] end)
      if not ok then error(v, 0) end
      if v == nil then missing("Tensor." .. name) end
      return v
    end
  end
  if var == "function" and not rec.op:match("^torch%.Tensor%.") then
    local f = build.resolve(rec.op)
    if f == nil then missing(rec.op) end
    return function(a, n) return f(table.unpack(a, 1, n)) end
  end
  if not is_tensor(args[1]) then missing("self for " .. rec.op) end
  local f = method_of(args[1], name)
  return function(a, n) return f(table.unpack(a, 1, n)) end
end

local function leaves_of(v, path, out, order)
  if is_tensor(v) then
    out[path] = v
    order[#order + 1] = { path, v }
  elseif type(v) == "table" and getmetatable(v) == nil then
    for i = 1, #v do leaves_of(v[i], path .. "." .. i - 1, out, order) end
  end
end

local function all_leaves(args, n, kw)
  local out, order = {}, {}
  for i = 1, n do leaves_of(args[i], "args." .. i - 1, out, order) end
  for k, v in pairs(kw or {}) do leaves_of(v, "kwargs." .. k, out, order) end
  return out, order
end

local function decode(rec, store, grad)
  local ctx = build.context(grad)
  local args, n, kw
  if rec.op:match("__[gs]etitem__$") or rec.op == "operator.getitem" then
    args, n = { build.value(rec.args[1], store, ctx), build.index(rec.args[2], store, ctx) }, #rec.args
    if n == 3 then args[3] = build.value(rec.args[3], store, ctx) end
  else
    args, n, kw = build.call_args(rec.args, rec.kwargs, store, ctx)
  end
  return args, n, kw, ctx
end

local function with_keywords(args, n, kw)
  if not kw then return args, n end
  local out = table.move(args, 1, n, 1, {})
  out[n + 1] = kw
  return out, n + 1
end

local function check_out(rec, res, kw)
  if not rec.out then return end
  local given = kw.out
  if is_tensor(given) then
    if not rawequal(given, res[1]) then fail("out=: the given tensor is not returned") end
  elseif type(given) == "table" then
    for i = 1, #given do
      if not rawequal(given[i], res[i]) then fail("out=: value %d is not the given tensor", i - 1) end
    end
  end
end

local function check_self_storage(rec, args, ctx, store)
  local base = ctx.base[args[1]]
  compare.values("self storage", base, rec.expect_self_storage.dtype, rec.expect_self_storage.tensor, store, rec.tol)
end

local function collect(v, out)
  if is_tensor(v) then
    out[#out + 1] = v
  elseif type(v) == "table" and getmetatable(v) == nil then
    for i = 1, #v do collect(v[i], out) end
  end
end

local function tensors_of(res)
  local out = {}
  for i = 1, res.n do collect(res[i], out) end
  return out
end

-- Gradients of the sum of <out_i, cotangent_i> for `inputs`, as a list aligned with them (nil where none reaches).
local function gradients(outs, cotangents, inputs, store)
  local ys, gs = {}, {}
  for i = 1, #cotangents do
    if cotangents[i] ~= NULL then
      if outs[i] == nil then fail("grad: output %d is missing", i - 1) end
      ys[#ys + 1] = outs[i]
      gs[#gs + 1] = build.value(cotangents[i], store, build.context(false))
    end
  end
  if #ys == 0 or #inputs == 0 then return {} end
  local list = torch.autograd.grad(ys, inputs, { grad_outputs = gs, allow_unused = true })
  local out = {}
  for i = 1, #inputs do
    if list[i] ~= nil and list[i] ~= torch.None then out[i] = list[i] end
  end
  return out
end

local function judge_gradients(g, paths, got, store)
  local by_path = {}
  for i, p in ipairs(paths) do by_path[p] = got[i] or false end
  for _, x in ipairs(g.inputs) do
    local have = by_path[x.path]
    if have == nil then fail("grad: no input %s requires grad", x.path) end
    if x.grad == NULL then
      if have then fail("grad %s: should be none", x.path) end
    elseif not have then
      fail("grad %s: none", x.path)
    else
      compare.tree(have, x.grad, store, g.tol, "grad " .. x.path, {}, {})
    end
  end
end

local function op_grad(rec, store)
  local args, n, kw = decode(rec, store, true)
  local _, order = all_leaves(args, n, kw)
  local inputs, paths = {}, {}
  for _, pt in ipairs(order) do
    if pt[2].requires_grad then
      inputs[#inputs + 1] = pt[2]
      paths[#paths + 1] = pt[1]
    end
  end
  if rec.variant == "inplace" then args[1] = args[1]:clone() end
  local f = callee(rec, args)
  local res = table.pack(f(with_keywords(args, n, kw)))
  if rec.variant == "inplace" then res = table.pack(args[1]) end
  judge_gradients(rec.grad, paths, gradients(tensors_of(res), rec.grad.cotangents, inputs, store), store)
end

local function op_error(rec, store)
  local ok, args, n, kw = pcall(decode, rec, store, false)
  if not ok then
    if tostring(args):find("no dtype", 1, true) then return end   -- a dtype the engine does not have: refused
    error(args, 0)
  end
  local f = callee(rec, args)
  local raised, err = pcall(f, with_keywords(args, n, kw))
  if raised then fail("no error raised") end
  if type(err) == "table" and err.missing then error(err, 0) end
end

-- for the generic gradient test (tests/gradcheck)
replay.decode, replay.callee, replay.with_keywords = decode, callee, with_keywords

function replay.op(rec, store)
  if rec.error then return op_error(rec, store) end
  local inplace = rec.variant == "inplace"
  local args, n, kw, ctx = decode(rec, store, not inplace)
  local leaves = all_leaves(args, n, kw)
  local f = callee(rec, args)
  local res = table.pack(f(with_keywords(args, n, kw)))
  if inplace then
    if rec.returns_self and not rawequal(res[1], args[1]) then fail("does not return self") end
    res = table.pack(args[1])
  end
  check_out(rec, res, kw)
  compare.results(res, rec.expect, store, rec.tol, leaves, args)
  if rec.expect_self_storage then check_self_storage(rec, args, ctx, store) end
  if rec.grad and not replay.skip_grad then op_grad(rec, store) end
end

function replay.module(rec, store)
  local ctx = build.context(true)
  local m = build.module(rec, store, ctx)
  m:to(torch[rec.dtype])
  m:train(rec.training)
  m:load_state_dict(build.keywords(rec.state, store, ctx) or {})
  local args, n, kw = build.call_args(rec.forward_args, rec.forward_kwargs, store, ctx)
  local _, order = all_leaves(args, n, kw)
  local given, count = with_keywords(args, n, kw)
  local res = table.pack(m(table.unpack(given, 1, count)))
  compare.results(res, rec.expect, store, rec.tol, {}, args)
  local sd = m:state_dict()
  for k, v in pairs(rec.state_after) do compare.tree(sd[k], v, store, rec.tol, "state " .. k, {}, {}) end
  if not rec.grad or replay.skip_grad then return end
  local inputs, paths = {}, {}
  for _, pt in ipairs(order) do
    if pt[2].requires_grad then
      inputs[#inputs + 1] = pt[2]
      paths[#paths + 1] = pt[1]
    end
  end
  for name, p in m:named_parameters() do
    if p.requires_grad then
      inputs[#inputs + 1] = p
      paths[#paths + 1] = "params." .. name
    end
  end
  judge_gradients(rec.grad, paths, gradients(tensors_of(res), rec.grad.cotangents, inputs, store), store)
end

local function closure_loss(params, w, t)
  local loss = 0
  for i, p in ipairs(params) do
    local d = p - t[i]
    loss = (w[i] * d ^ 2 / 2 + d ^ 4 / 4):sum() + loss
  end
  return loss
end

local function flat_numbers(t, out)
  local function walk(v)
    if type(v) == "table" then for i = 1, #v do walk(v[i]) end else out[#out + 1] = v end
  end
  walk(t:tolist())
end

local function run_optimizer(rec, store)
  local ctx = build.context(false)
  local params = build.value(rec.params, store, ctx)
  for _, p in ipairs(params) do p:requires_grad_(true) end
  local class = build.resolve(rec.optimizer)
  if class == nil then missing(rec.optimizer) end
  local opt = class(params, build.keywords(rec.kwargs, store, ctx) or {})
  if rec.error then return end
  local grads = rec.grads and build.value(rec.grads, store, ctx)
  local w, t
  if rec.closure then w, t = build.value(rec.closure.w, store, ctx), build.value(rec.closure.t, store, ctx) end
  local history = {}
  for i = 1, #params do history[i] = {} end
  for s = 0, rec.steps - 1 do
    if rec.closure then
      opt:step(function()
        opt:zero_grad()
        local loss = closure_loss(params, w, t)
        loss:backward()
        return loss
      end)
    else
      for i, p in ipairs(params) do p.grad = grads[i][s]:clone() end
      opt:step()
    end
    for i, p in ipairs(params) do flat_numbers(p:detach(), history[i]) end
  end
  return history
end

function replay.optimizer(rec, store)
  if rec.error then
    local ok, err = pcall(run_optimizer, rec, store)
    if ok then fail("no error raised") end
    if type(err) == "table" and err.missing then error(err, 0) end
    return
  end
  local history = run_optimizer(rec, store)
  for i, spec in ipairs(rec.expect) do
    local flat = { tolist = function() return history[i] end }
    compare.values("params." .. i - 1, flat, spec.dtype, spec.tensor, store, rec.tol)
  end
end

return replay
