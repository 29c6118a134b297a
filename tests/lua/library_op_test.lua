-- library_op_test.lua: torch.library: ops of one's own; torch.utils.dlpack; the examples that call C.
local t = require "check"
local custom_op = torch.library.custom_op

local scale = custom_op("test::scale(Tensor x, float k=1, *, bool twice=False) -> Tensor", {
  forward = function(x, k, twice) return x * k * (twice and 2 or 1) end,
  backward = function(ctx, g) return g * ctx.inputs[2] * (ctx.inputs[3] and 2 or 1) end,
  doc = "x times k.", example = "torch.ops.test.scale(torch.ones(2), 3)  --> tensor([3., 3.])",
})

t.test("calls: positional, keywords, defaults, whole tables", function()
  local x = torch.ones(2)
  t.eq(scale(x):tolist(), { 1.0, 1.0 })
  t.eq(scale(x, 3):tolist(), { 3.0, 3.0 })
  t.eq(scale(x, 3, { twice = true }):tolist(), { 6.0, 6.0 })
  t.eq(scale { x, k = 4 }:tolist(), { 4.0, 4.0 })
  t.eq(torch.ops.test.scale(x, { k = 2 }):tolist(), { 2.0, 2.0 })
  t.ok(torch.ops.test.scale == scale)
end)

t.test("argument errors are those of built-in ops", function()
  local x = torch.ones(2)
  t.error_matches(function() scale() end, "test::scale: argument 'x' (Tensor) is missing")
  t.error_matches(function() scale(x, "a") end, "argument 'k' must be a number, got the string 'a'")
  t.error_matches(function() scale(x, 1, 2) end, "takes at most 2 positional arguments, got 3")
  t.error_matches(function() scale(x, { kk = 1 }) end, "unknown keyword 'kk'")
  t.error_matches(function() scale({}) end, "argument 'x' must be a Tensor")
end)

t.test("gradients: first, second, differences", function()
  local x = torch.tensor({ 1., 2. }, { dtype = torch.float64 }):requires_grad_()
  local y = scale(x, 3)
  t.ok(tostring(y.grad_fn):find("test::scaleBackward", 1, true))
  y:sum():backward()
  t.eq(x.grad:tolist(), { 3.0, 3.0 })
  local square = custom_op("test::square(Tensor x) -> Tensor", {
    forward = function(v) return v * v end, backward = function(ctx, g) return g * 2 * ctx.inputs[1] end })
  local g = torch.autograd.grad({ square(x):sum() }, { x }, { create_graph = true })[1]
  t.eq(g:tolist(), { 2.0, 4.0 })
  t.eq(torch.autograd.grad({ g:sum() }, { x })[1]:tolist(), { 2.0, 2.0 })
  t.ok(torch.library.opcheck(square, { x }))
  if torch.autograd.gradcheck then t.ok(torch.autograd.gradcheck(function(v) return square(v) end, { x })) end
  local wrong = custom_op("test::wrong(Tensor x) -> Tensor", {
    forward = function(v) return v * v end, backward = function(ctx, gr) return gr * ctx.inputs[1] end })
  t.error_matches(function() torch.library.opcheck(wrong, { x }) end, "by differences")
  t.eq(torch.no_grad(function() return scale(x).requires_grad end), false)
  t.eq(scale(torch.ones(1)).requires_grad, false)
end)

t.test("several results, lists, options, meta", function()
  local minmax = custom_op("test::minmax(Tensor[] xs, int[] dims=[0, 1], Tensor? w=None, str mode='a') -> (Tensor low, Tensor high)", {
    forward = function(xs, dims, w, mode)
      t.eq(dims, { 0, 1 })
      t.eq(mode, "a")
      t.eq(w, nil)
      return xs[1] * 2, xs[2] * 3
    end,
    backward = function(_, g1, g2) return { g1 * 2, g2 * 3 } end })
  local a, b = torch.ones(2, { requires_grad = true }), torch.ones(2, { requires_grad = true })
  local low, high = minmax { a, b }
  ;(low + high):sum():backward()
  t.eq({ a.grad[0]:item(), b.grad[1]:item() }, { 2.0, 3.0 })
  local big = custom_op("test::big(Tensor x) -> Tensor", { forward = function(x) return x + 1 end,
    meta = function(x) return torch.empty(x.shape, { device = "meta" }) end })
  t.eq(big(torch.empty(1000000, 1000000, { device = "meta" })).shape[1], 1000000)
  local x = torch.ones(2):requires_grad_()
  local y = big(x)
  t.error_matches(function() y:sum():backward() end, "has no backward")
  torch.library.register_autograd("test::big", function(_, g) return g end)
  big(x):sum():backward()
  t.eq(x.grad:tolist(), { 1.0, 1.0 })
end)

t.test("saved tensors: setup_context, versions, no leak", function()
  local exp = custom_op("test::exp(Tensor x) -> Tensor", { forward = function(x) return x:exp() end })
  torch.library.register_autograd(exp, function(ctx, g) return g * ctx:saved_tensors() end,
    { setup_context = function(ctx, _, output) ctx:save_for_backward(output) end })
  local x = torch.zeros(2):requires_grad_()
  exp(x):sum():backward()
  t.eq(x.grad:tolist(), { 1.0, 1.0 })
  local g = torch.autograd.grad({ exp(x):sum() }, { x }, { create_graph = true })[1]
  t.eq(torch.autograd.grad({ g:sum() }, { x })[1]:tolist(), { 1.0, 1.0 })          -- through the saved result
  local v = torch.ones(2)
  local w = torch.ones(2):requires_grad_()
  local mul = custom_op("test::mul(Tensor a, Tensor b) -> Tensor", { forward = function(a, b) return a * b end,
    backward = function(ctx, slope) return slope * ctx.inputs[2], slope * ctx.inputs[1] end })
  local y = mul(w, v)
  v:add_(1)
  t.error_matches(function() y:sum():backward() end, "modified by an in-place operation")
  collectgarbage() collectgarbage()
  if torch._live then
    local _, before = torch._live()
    for _ = 1, 50 do exp(x) mul(w, v) end
    collectgarbage() collectgarbage()
    local _, after = torch._live()
    t.ok(after <= before + 4, "live tensors grew from " .. before .. " to " .. after)
  end
end)

t.test("bad schemas and functions", function()
  local f = { forward = function(x) return x end }
  for _, case in ipairs {
    { "scale(Tensor x) -> Tensor", "expected 'namespace::name" }, { "a::b(Tenso x) -> Tensor", "unknown type 'Tenso'" },
    { "a::b(Tensor x, Tensor x) -> Tensor", "two parameters" }, { "a::b(Tensor) -> Tensor", "cannot read parameter" },
    { "a::b(float k=1, Tensor x) -> Tensor", "has no default" }, { "a::b(int[] d=[x]) -> Tensor", "cannot be read" },
    { "a::b(Tensor x)", "expected 'namespace::name" },
  } do t.error_matches(function() custom_op(case[1], f) end, case[2]) end
  t.error_matches(function() custom_op("a::b(Tensor x) -> Tensor", {}) end, "'forward'")
  t.error_matches(function() custom_op("a::b(Tensor x) -> Tensor", { forward = print, bakward = print }) end, "unknown option")
  local same = custom_op("a::same(Tensor x) -> Tensor", f)
  t.error_matches(function() same(torch.ones(1)) end, "return x:clone()")
  local two = custom_op("a::two(Tensor x) -> Tensor", { forward = function() return 1, 2 end })
  t.error_matches(function() two(torch.ones(1)) end, "returned 2 values")
  local num = custom_op("a::num(Tensor x) -> Tensor", { forward = function() return 1 end })
  t.error_matches(function() num(torch.ones(1)) end, "must be a Tensor, got number")
  t.error_matches(function() torch.library.register_autograd("a::none", print) end, "no op")
end)

t.test("help, completion, signature", function()
  local help = require "repl.help"
  local text = help.of_text("torch.ops.test.scale")
  for _, part in ipairs { "ops.test.scale(x, k=1, {twice=False}) -> Tensor", "x times k.", "derivative", "example" } do
    t.ok(text:find(part, 1, true), "help lacks " .. part)
  end
  t.ok(help.of_value(scale):find("x times k.", 1, true))
  local complete = require "repl.complete"
  local function offered(line)
    local _, list = complete.candidates(line, #line + 1)
    local set = {}
    for _, c in ipairs(list or {}) do set[c] = true end
    return set
  end
  t.ok(offered("torch.ops.test.sc").scale)
  t.ok((complete.hint("torch.ops.test.scale(", 22) or ""):find("scale(", 1, true))
end)

-- ---- DLPack ----
local dlpack = torch.utils.dlpack
t.test("dlpack: there and back without a copy", function()
  for _, dtype in ipairs { "bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64",
      "complex64", "complex128" } do
    for _, versioned in ipairs { false, true } do
      local x = torch.ones(2, 3, { dtype = torch[dtype] }):t()
      local y = dlpack.from_dlpack(dlpack.to_dlpack(x, { versioned = versioned }))
      t.ok(y.dtype == x.dtype and y.shape == x.shape and y:data_ptr() == x:data_ptr(), dtype)
      t.eq(y:stride(0), 1)
    end
  end
  local x = torch.arange(4)
  local y = dlpack.from_dlpack(dlpack.to_dlpack(x["1:3"]))
  y:fill_(7)
  t.eq(x:tolist(), { 0, 7, 7, 3 })
  local z = dlpack.from_dlpack(dlpack.to_dlpack(torch.ones(3)))
  collectgarbage() collectgarbage()
  t.eq(z:tolist(), { 1.0, 1.0, 1.0 })
  t.eq(dlpack.from_dlpack(dlpack.to_dlpack(torch.zeros(0, 3))).shape[1], 3)
  t.eq(dlpack.from_dlpack(dlpack.to_dlpack(torch.tensor(5))):item(), 5)
end)

t.test("dlpack: capsules are used once; what cannot be exported says so", function()
  local k = dlpack.to_dlpack(torch.ones(2))
  t.eq(tostring(k), '<capsule "dltensor">')
  t.eq(type(k:pointer()), "userdata")
  dlpack.from_dlpack(k)
  t.eq(tostring(k), '<capsule "used_dltensor">')
  t.error_matches(function() dlpack.from_dlpack(k) end, "consumed already")
  t.error_matches(function() dlpack.to_dlpack(torch.ones(1):requires_grad_()) end, "requires gradients")
  t.error_matches(function() dlpack.to_dlpack(torch.ones(1, { device = "meta" })) end, "meta")
  t.error_matches(function() dlpack.from_dlpack("x") end, "expected a capsule")
  t.error_matches(function() dlpack.to_dlpack(1) end, "Tensor expected")
end)

t.test("dlpack: foreign structs are checked", function()
  local ffi = require "ffi"
  ffi.cdef [[
    typedef struct { int32_t type, id; } DLDevice; typedef struct { uint8_t code, bits; uint16_t lanes; } DLDataType;
    typedef struct { void *data; DLDevice device; int32_t ndim; DLDataType dtype; int64_t *shape, *strides; uint64_t byte_offset; } DLTensor;
    typedef struct DLManagedTensor { DLTensor dl; void *manager; void (*deleter)(struct DLManagedTensor *); } DLManagedTensor;
  ]]
  local data, shape = ffi.new("float[6]", { 1, 2, 3, 4, 5, 6 }), ffi.new("int64_t[2]", { 2, 3 })
  local function make(change)
    local m = ffi.new("DLManagedTensor", { dl = { data = data, device = { 1, 0 }, ndim = 2, dtype = { 2, 32, 1 }, shape = shape } })
    if change then change(m) end
    return m, ffi.cast("intptr_t", ffi.addressof(m))
  end
  local m, address = make()
  t.eq(dlpack.from_dlpack(address):tolist(), { { 1.0, 2.0, 3.0 }, { 4.0, 5.0, 6.0 } })
  for _, case in ipairs {
    { function(x) x.dl.device.type = 2 end, "on device 2" }, { function(x) x.dl.dtype.lanes = 4 end, "4 lanes" },
    { function(x) x.dl.ndim = -1 end, "-1 dimensions" }, { function(x) x.dl.shape = ffi.new("int64_t[2]", { 2, -3 }) end, "negative size" },
    { function(x) x.dl.strides = ffi.new("int64_t[2]", { -3, 1 }) end, "negative strides" },
    { function(x) x.dl.byte_offset = 1 end, "not aligned" },
    { function(x) x.dl.shape = ffi.new("int64_t[2]", { 1 << 40, 1 << 40 }) end, "" },
  } do
    local bad, at = make(case[1])
    t.error_matches(function() dlpack.from_dlpack(at) end, case[2])
    t.ok(bad ~= nil)
  end
  t.ok(m ~= nil)
end)

t.test("the examples run", function()
  local here = arg[0]:match("^(.*)/tests/lua/[^/]*$") or "."
  local function run(name)
    local f <close> = io.popen(os.getenv("MOTH") .. " " .. here .. "/scripts/examples/" .. name .. " 2>&1")
    return f:read("a")
  end
  if not os.getenv("MOTH") then return end
  local out = run "ffi_kernel.lua"
  if not out:find("ffi_kernel.lua:6", 1, true) then t.ok(out:find("by differences:\ttrue", 1, true), out) end
  out = run "ffi_sqlite.lua"
  if not out:find("cannot open", 1, true) then t.ok(out:find("equal after the database:\ttrue", 1, true), out) end
end)
t.done()
