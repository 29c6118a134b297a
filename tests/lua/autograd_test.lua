-- autograd_test.lua: torch.autograd.Function, functional, torch.func, gradcheck, hooks, graph tools, checkpoint.
local t = require "check"
local torch = require "torch"
local autograd = torch.autograd
local f64 = torch.float64

local function vec(...) return torch.tensor({ ... }, { dtype = f64, requires_grad = true }) end
local function same(a, b, tol)
  if a.shape ~= b.shape then error("shape " .. tostring(a.shape) .. ", want " .. tostring(b.shape), 2) end
  if not torch.allclose(a:detach(), b:detach():to(a.dtype), { rtol = tol or 1e-6, atol = tol or 1e-8 }) then
    error("got " .. tostring(a) .. ", want " .. tostring(b), 2)
  end
end

-- ---- Function ----

local Exp = autograd.Function:extend("Exp")
function Exp.forward(ctx, x)
  local y = x:exp()
  ctx:save_for_backward(y)
  return y
end
function Exp.backward(ctx, g)
  local y = ctx:saved_tensors()
  return g * y
end

t.test("Function: forward, backward, double backward", function()
  local x = vec(1, 2)
  local y = Exp.apply(x)
  t.eq(y.grad_fn:name(), "ExpBackward")
  local g = autograd.grad(y:sum(), x, { create_graph = true })[1]
  same(g, x:exp())
  same(autograd.grad(g:sum(), x)[1], x:exp())
  t.ok(autograd.gradcheck(Exp.apply, { x }))
  t.ok(autograd.gradgradcheck(Exp.apply, { x }))
end)

t.test("Function: setup_context, other arguments, several outputs", function()
  local Scale = autograd.Function:extend("Scale")
  function Scale.forward(x, k) return x * k, x + k end
  function Scale.setup_context(ctx, inputs, output)
    ctx.k = inputs[2]
    ctx.outputs = #output
  end
  function Scale.backward(ctx, g, h)
    t.eq(ctx.needs_input_grad, { true, false })
    t.eq(ctx.outputs, 2)
    return g * ctx.k + h, nil
  end
  local x = vec(1, 2, 3)
  local a, b = Scale.apply(x, 5.0)
  same(autograd.grad(a:sum() + b:sum(), x)[1], torch.full({ 3 }, 6.0, { dtype = f64 }))
end)

t.test("Function: gradients that did not come are zeros, or nil on request", function()
  local seen = {}
  local Two = autograd.Function:extend("Two")
  function Two.forward(ctx, x, materialize)
    ctx:set_materialize_grads(materialize)
    return x * 1, x * 2
  end
  function Two.backward(_, g, h)
    seen[#seen + 1] = h == nil and "nil" or tostring(h:sum():item())
    return g, nil
  end
  local x = vec(1, 2)
  for _, m in ipairs { true, false } do
    local a = Two.apply(x, m)
    a:sum():backward()
  end
  t.eq(seen, { "0.0", "nil" })
end)

t.test("Function: mark_dirty and mark_non_differentiable", function()
  local Twice = autograd.Function:extend("Twice")
  function Twice.forward(ctx, x)
    x:mul_(2)
    ctx:mark_dirty(x)
    return x
  end
  function Twice.backward(_, g) return g * 2 end
  local x = vec(1, 2)
  local y = x * 3
  local z = Twice.apply(y)
  t.ok(z == y)
  t.eq(y.grad_fn:name(), "TwiceBackward")
  same(autograd.grad(z:sum(), x)[1], torch.tensor({ 6., 6. }))
  t.error_matches(function() Twice.apply(x) end, "leaf")

  local Sort = autograd.Function:extend("Sort")
  function Sort.forward(ctx, v)
    local s, i = v:sort()
    local f = i:to(f64)
    ctx:mark_non_differentiable(f)
    return s, f
  end
  function Sort.backward(_, g) return g end
  local s, f = Sort.apply(x)
  t.ok(s.requires_grad and not f.requires_grad)
end)

t.test("Function: views marked dirty rewrite their base", function()
  local Zero = autograd.Function:extend("Zero")
  function Zero.forward(ctx, x)
    x:zero_()
    ctx:mark_dirty(x)
    return x
  end
  function Zero.backward(_, g) return g * 0 end
  local x = vec(1, 2, 3)
  local y = x * 2
  Zero.apply(y["0:2"])
  same(autograd.grad(y:sum(), x)[1], torch.tensor({ 0., 0., 2. }))
end)

t.test("Function: errors name the user's line and leave the session alive", function()
  local Bad = autograd.Function:extend("Bad")
  function Bad.forward(_, x) return x * 2 end
  function Bad.backward() error("boom") end
  local x = vec(1, 2)
  local ok, err = pcall(function() Bad.apply(x):sum():backward() end)
  t.ok(not ok and err:find("autograd_test.lua:%d+: boom"), err)
  function Bad.backward(_, g) return g, g end
  t.error_matches(function() Bad.apply(x):sum():backward() end, "returned an incorrect number of gradients (expected 1, got 2)")
  function Bad.backward(_, g) return torch.ones(7) * g:sum() end
  t.error_matches(function() Bad.apply(x):sum():backward() end, "BadBackward returned a gradient of shape [7]")
  function Bad.backward() return "no" end
  t.error_matches(function() Bad.apply(x):sum():backward() end, "must return tensors or nil")
  function Bad.forward() error("early") end
  t.error_matches(function() Bad.apply(x) end, "early")
  t.ok(torch.is_grad_enabled())
  t.error_matches(function() Bad(x) end, "Bad.apply")
  same(autograd.grad((x * x):sum(), x)[1], x * 2)
end)

t.test("Function: saved tensors are checked and freed", function()
  local x = vec(1, 2)
  local y = Exp.apply(x)
  y:add_(1)
  t.error_matches(function() y:sum():backward() end, "modified by an in-place operation")
  local z = Exp.apply(x):sum()
  z:backward()
  t.error_matches(function() z:backward() end, "second time")
  local Save = autograd.Function:extend("Save")
  function Save.forward(ctx, v) ctx:save_for_backward(v, 3); return v * 1 end
  t.error_matches(function() Save.apply(x) end, "save_for_backward can only take tensors")
end)

t.test("Function: once_differentiable", function()
  local Once = autograd.Function:extend("Once")
  function Once.forward(ctx, x) ctx:save_for_backward(x); return x * x end
  Once.backward = autograd.Function.once_differentiable(function(ctx, g) return 2 * g * ctx:saved_tensors() end)
  local x = vec(3)
  same(autograd.grad(Once.apply(x):sum(), x)[1], torch.tensor({ 6. }))
  local g = autograd.grad(Once.apply(x), x, vec(1), { create_graph = true })[1]
  t.error_matches(function() g:sum():backward() end, "trying to differentiate twice")
end)

t.test("Function: an input handed through is an alias", function()
  local Id = autograd.Function:extend("Id")
  function Id.forward(_, x) return x end
  function Id.backward(_, g) return g * 10 end
  local x = vec(1, 2)
  local y = Id.apply(x)
  t.ok(y ~= x and x.is_leaf and not y.is_leaf)
  same(autograd.grad(y:sum(), x)[1], torch.tensor({ 10., 10. }))
end)

-- ---- functional ----

t.test("functional: jacobian, hessian and products", function()
  local F = autograd.functional
  local x = torch.tensor({ 1., 2., 3. }, { dtype = f64 })
  local function cube(v) return (v ^ 3):sum() end
  same(F.jacobian(function(v) return v * v end, x), torch.diag(2 * x))
  same(F.hessian(cube, x), torch.diag(6 * x))
  local H = F.hessian(function(a, b) return (a * a * b):sum() end, { x, x })
  same(H[1][2], torch.diag(2 * x))
  same(H[2][2], torch.zeros(3, 3))
  local y, g = F.vjp(cube, x)
  t.near(y:item(), 36)
  same(g, 3 * x * x)
  local _, jv = F.jvp(function(v) return v:sin() end, x, torch.ones(3, { dtype = f64 }))
  same(jv, x:cos())
  local _, hv = F.hvp(cube, x, x)
  same(hv, 6 * x * x)
  local _, vh = F.vhp(cube, x, x)
  same(vh, 6 * x * x)
  t.ok(not hv.requires_grad and not x.requires_grad)
  local J = F.jacobian(function(a, b) return a * b:sum(), a:sum() end, { x, x })
  t.eq(#J, 2)
  same(J[1][1], torch.eye(3) * 6)
  same(J[2][2], torch.zeros(3))
  x:requires_grad_()
  local Jx = F.jacobian(function(v) return v * v * v end, x, { create_graph = true })
  same(autograd.grad(Jx:sum(), x)[1], 6 * x)
end)

t.test("functional: strict mode and mistakes", function()
  local F = autograd.functional
  local x = torch.ones(2, { dtype = f64 })
  t.error_matches(function() F.jacobian(function(a, _) return a * 1 end, { x, x }, { strict = true }) end, "independent of input 1")
  t.error_matches(function() F.vjp(function(v) return v * 2 end, x) end, "v can only be left out")
  t.error_matches(function() F.vjp(function(v) return v * 2 end, x, torch.ones(3)) end, "shape")
  t.error_matches(function() F.hessian(function(v) return v end, x) end, "one element")
  t.error_matches(function() F.jacobian(function() return 5 end, x) end, "must be")
  t.error_matches(function() F.jacobian(torch.sin, x, { nope = true }) end, "unknown keyword 'nope'")
end)

-- ---- torch.func ----

t.test("func: grad and its kin compose", function()
  local fn = torch.func
  local x = torch.tensor({ 1., 2., 3. }, { dtype = f64 })
  local function cube(v) return (v ^ 3):sum() end
  same(fn.grad(cube)(x), 3 * x * x)
  local y, g = fn.value_and_grad(cube)(x)
  t.near(y:item(), 36)
  t.ok(not g.requires_grad and not y.requires_grad)
  local s = torch.tensor(0.5, { dtype = f64 })
  same(fn.grad(fn.grad(fn.grad(torch.sin)))(s), -s:cos())
  same(fn.hessian(cube)(x), torch.diag(6 * x))
  same(fn.jacrev(function(a, b) return a * b end, 1)(x, 2 * x), torch.diag(x))
  local pair = fn.grad(function(a, b) return (a * b):sum() end, { 0, 1 })(x, 2 * x)
  same(pair[2], x)
  local out, tangent = fn.jvp(torch.sin, { x }, { x })
  same(out, x:sin())
  same(tangent, x * x:cos())
  local _, pull = fn.vjp(function(v) return v * v end, x)
  same(pull(x), 2 * x * x)
  local w = vec(1, 2, 3)
  local inner = fn.grad(function(v) return (v * v * w):sum() end)(x)
  same(autograd.grad(inner:sum(), w)[1], 2 * x)
  local d, aux = fn.grad(function(v) return v:sum(), v * 2 end, { has_aux = true })(x)
  same(d, torch.ones(3))
  same(aux, 2 * x)
  t.error_matches(function() fn.grad(torch.sin)(x) end, "scalar")
  t.error_matches(function() fn.grad(cube, 3)(x) end, "argnums=3")
end)

t.test("func: vmap", function()
  local fn = torch.func
  local a, b = torch.arange(6, { dtype = f64 }):view(2, 3), torch.tensor({ 1., 2., 3. }, { dtype = f64 })
  same(fn.vmap(torch.dot, { 0, torch.None })(a, b), a:mv(b))
  same(fn.vmap(function(v) return v * 2 end, 1, 1)(a), a * 2)
  same(fn.vmap(fn.grad(function(v) return (v * v):sum() end))(a), 2 * a)
  local s, p = fn.vmap(function(v) return v:sum(), v:prod() end)(a)
  same(s, a:sum(1))
  same(p, a:prod(1))
  t.error_matches(function() fn.vmap(function(v) return v + torch.rand(3) end)(a) end, "random")
  torch.manual_seed(1)
  local same_noise = fn.vmap(function(v) return v * 0 + torch.rand(3) end, { randomness = "same" })(a)
  same(same_noise[0], same_noise[1])
  t.error_matches(function() fn.vmap(torch.dot, { 0, 0 })(a, torch.ones(3, 3)) end, "sizes 2 and 3")
end)

-- ---- gradcheck ----

t.test("gradcheck finds a wrong gradient and passes right ones", function()
  local x = vec(0.3, -0.7)
  local z = torch.tensor({ torch.complex(0.3, 0.4), torch.complex(-1.0, 0.2) }, { dtype = torch.complex128, requires_grad = true })
  t.ok(autograd.gradcheck(function(v) return v:sin() * v end, { x }))
  t.ok(autograd.gradgradcheck(function(v) return v:sin() * v end, { x }))
  t.ok(autograd.gradcheck(function(v) return v:exp() * v, v:abs() end, { z }))
  t.ok(autograd.gradgradcheck(function(v) return v:exp() * v end, { z }))
  local Wrong = autograd.Function:extend("Wrong")
  function Wrong.forward(_, v) return v * 2 end
  function Wrong.backward(_, g) return g * 3 end
  t.error_matches(function() autograd.gradcheck(Wrong.apply, { x }) end, "numerical 2")
  t.eq(autograd.gradcheck(Wrong.apply, { x }, { raise_exception = false }), false)
  t.error_matches(function() autograd.gradcheck(torch.sin, { torch.ones(2) }) end, "at least one input")
end)

-- ---- in-place view forms ----

t.test("in-place forms of views rewrite the graph", function()
  local x = torch.arange(6, { dtype = f64 }):view(2, 3):requires_grad_()
  local y = x * 2
  t.ok(y:transpose_(0, 1) == y)
  t.eq(y.shape, torch.Size { 3, 2 })
  y:unsqueeze_(0):squeeze_()
  local w = torch.arange(6, { dtype = f64 }):view(3, 2)
  same(autograd.grad((y * w):sum(), x)[1], 2 * w:t())
  local z = (x * 1):as_strided_({ 2, 2 }, { 1, 2 })
  same(autograd.grad(z:sum(), x)[1], torch.tensor { { 1., 1., 1. }, { 1., 0., 0. } })
  t.error_matches(function() x:t_() end, "leaf")
  torch.no_grad(function() x:t_() end)
  t.eq(x.shape, torch.Size { 3, 2 })
end)

-- ---- hooks, nodes, saved tensors ----

t.test("nodes: identity, names, edges, metadata, saved values", function()
  local x = vec(1, 2)
  local y = x * x:exp()
  t.ok(y.grad_fn == y.grad_fn)
  t.eq(y.grad_fn.next_functions[1][1]:name(), "AccumulateGrad")
  t.ok(y.grad_fn.next_functions[1][1].variable == x)
  y.grad_fn.metadata.note = 5
  collectgarbage()
  t.eq(y.grad_fn.metadata.note, 5)
  same(y.grad_fn._saved_self, x)
end)

t.test("node hooks and prehooks replace gradients", function()
  local x = vec(1, 2)
  local y = x * 2
  local seen
  y.grad_fn:register_prehook(function(gs) return { gs[1] * 10 } end)
  local h = y.grad_fn:register_hook(function(gin, gout)
    seen = gout[1]:sum():item()
    return { gin[1] + 1, gin[2] }
  end)
  same(autograd.grad(y:sum(), x, { retain_graph = true })[1], torch.tensor({ 21., 21. }))
  t.eq(seen, 20.0)
  h:remove()
  same(autograd.grad(y:sum(), x)[1], torch.tensor({ 20., 20. }))
  t.error_matches(function()
    local z = x * 2
    z.grad_fn:register_hook(function() return { 1 } end)
    z:sum():backward()
  end, "2 are expected")
end)

t.test("post accumulate hooks, retain_grad, hooks that remove themselves", function()
  local x = vec(1, 2)
  local n = 0
  x:register_post_accumulate_grad_hook(function(p) n = n + p.grad:sum():item() end)
  local y = x * 3
  y:retain_grad()
  local h
  h = y:register_hook(function() h:remove() end)
  y:sum():backward()
  t.eq(n, 6.0)
  same(y.grad, torch.ones(2))
  t.error_matches(function() y:register_post_accumulate_grad_hook(print) end, "non-leaf")
end)

t.test("multi-grad hooks", function()
  local a, b, c = vec(1), vec(2), vec(3)
  local got, calls = nil, 0
  local h = autograd.graph.register_multi_grad_hook({ a, b, c }, function(gs) got = gs; calls = calls + 1 end)
  ;(a * b):sum():backward()
  t.eq(calls, 1)
  t.ok(got[3] == torch.None)
  same(got[1], torch.tensor({ 2. }))
  h:remove()
  ;(a * b):sum():backward()
  t.eq(calls, 1)
end)

t.test("gradient edges stand for tensors", function()
  local x = vec(2)
  local y = x * x
  local z = y:exp()
  local edge = autograd.graph.get_gradient_edge(y)
  same(autograd.grad(z, edge, { retain_graph = true })[1], z)
  same(autograd.grad(z, autograd.graph.get_gradient_edge(x))[1], z * 4)
end)

t.test("saved tensor hooks pack and unpack", function()
  local x = vec(1, 2, 3)
  local packed, unpacked = 0, 0
  local y = autograd.graph.saved_tensors_hooks(
    function(v) packed = packed + 1; return { v:tolist(), v.dtype } end,
    function(p) unpacked = unpacked + 1; return torch.tensor(p[1], { dtype = p[2] }) end,
    function() return (x:exp() * x):sum() end)
  same(autograd.grad(y, x)[1], x:exp() * (x + 1))
  t.eq(packed, 3)
  t.eq(unpacked, 3)
  local w
  do
    local _ <close> = autograd.graph.save_on_cpu()
    w = (x * x):sum()
  end
  local g = autograd.grad(w, x, { create_graph = true })[1]
  same(autograd.grad(g:sum(), x)[1], torch.full({ 3 }, 2.0))
  t.error_matches(function()
    autograd.graph.saved_tensors_hooks(function() error("no room") end, function(v) return v end, function() return x * x end)
  end, "no room")
  t.error_matches(function()
    local _ <close> = autograd.graph.disable_saved_tensors_hooks("not here")
    autograd.graph.save_on_cpu()
  end, "not here")
  same((x * x).grad_fn._saved_self, x)
end)

t.test("a backward may run inside a backward", function()
  local w = vec(2)
  local Inner = autograd.Function:extend("Inner")
  function Inner.forward(ctx, x) ctx:save_for_backward(x); return x * x end
  function Inner.backward(ctx, g)
    local x = ctx:saved_tensors():detach():requires_grad_()
    torch.enable_grad(function() (x * x * w):sum():backward() end)
    return g * x.grad / 2
  end
  local x = vec(3)
  ;(Inner.apply(x) * w):sum():backward()
  same(x.grad, torch.tensor({ 12. }))
  same(w.grad, torch.tensor({ 18. }))
end)

-- ---- inference mode ----

t.test("inference tensors", function()
  local w = vec(1, 2)
  local a = torch.inference_mode(function() return w * 2 end)
  t.ok(a:is_inference() and not a.requires_grad)
  t.error_matches(function() return w * a end, "Inference tensors cannot be saved for backward")
  t.error_matches(function() a:add_(1) end, "Inplace update to inference tensor outside InferenceMode is not allowed")
  t.error_matches(function() a:requires_grad_() end, "Setting requires_grad=True on inference tensor outside InferenceMode is not allowed")
  t.error_matches(function() return a._version end, "Inference tensors do not track version counter")
  t.ok(not (a + 1):is_inference() and a:view(2, 1):is_inference() and not a:clone():is_inference())
  torch.inference_mode(function()
    a:add_(1)
    t.ok(not w:view(2, 1):is_inference())
  end)
  same((w * a:clone()):sum(), torch.tensor(3. + 10.))
end)

-- ---- checkpoint ----

t.test("checkpoint: both ways give the gradients of the plain call", function()
  local checkpoint = torch.utils.checkpoint
  local w = torch.randn(4, 4, { dtype = f64, requires_grad = true })
  local runs = 0
  local function f(x)
    runs = runs + 1
    return x:matmul(w):tanh() * torch.rand(4, { dtype = f64 }), x * 2
  end
  local x = torch.randn(2, 4, { dtype = f64, requires_grad = true })
  torch.manual_seed(3)
  local a, b = f(x)
  local want = autograd.grad(a:sum() + b:sum(), { x, w })
  for _, way in ipairs { true, false } do
    runs = 0
    x.grad, w.grad = nil, nil
    torch.manual_seed(3)
    local c, d = checkpoint.checkpoint(f, x, { use_reentrant = way })
    t.ok(torch.equal(a, c))
    ;(c:sum() + d:sum()):backward()
    t.eq(runs, 2)
    same(x.grad, want[1])
    same(w.grad, want[2])
  end
  local y = checkpoint.checkpoint_sequential({ torch.sin, torch.cos, torch.tanh }, 2, x)
  same(autograd.grad(y:sum(), x)[1], autograd.grad(x:sin():cos():tanh():sum(), x)[1])
  t.error_matches(function() checkpoint.checkpoint(function() error("inside") end, x) end, "inside")
  t.error_matches(function() checkpoint.checkpoint_sequential({ torch.sin }, 2, x) end, "segments")
end)

t.test("checkpoint: gradients of gradients without reentrance", function()
  local x = vec(0.5, 1)
  local y = torch.utils.checkpoint.checkpoint(function(v) return v:sin() * v end, x, { use_reentrant = false })
  local g = autograd.grad(y:sum(), x, { create_graph = true })[1]
  local plain = autograd.grad((x:sin() * x):sum(), x, { create_graph = true })[1]
  same(g, plain)
  same(autograd.grad(g:sum(), x)[1], autograd.grad(plain:sum(), x)[1])
end)

-- ---- for people ----

t.test("graph: the tape as text, DOT and SVG", function()
  local w, x = vec(1, 2), vec(3, 4)
  local h = w * x
  local loss = (h:tanh() + h):sum()
  local text = autograd.graph.text(loss)
  t.ok(text:find("Sum %[%] ← Add %[2%]") and text:find("Mul %[2%] %(1, above%)") and text:find("w float64 %[2%]"), text)
  t.ok(autograd.graph.dot(loss):find("digraph tape {", 1, true))
  local svg = autograd.graph.svg(loss)
  t.ok(svg:find("^<svg ") and svg:find("</svg>\n$"))
  t.error_matches(function() autograd.graph(loss:detach()) end, "does not require gradients")
  t.error_matches(function() autograd.graph(loss, { file = "x.pdf" }) end, ".svg")
end)

t.test("explain answers why a gradient is nil", function()
  local function says(x, part, loss)
    local text = autograd.explain(x, loss)
    t.ok(text:find(part), text)
  end
  local x, v = vec(1, 2), vec(3, 4)
  local d = x:detach()
  says(d, "detached at .*autograd_test.lua:%d+")
  says(x * 2, "not a leaf")
  local q = torch.no_grad(function() return x * 2 end)
  says(q, "by mul while gradients were off .no_grad, switched off at .*autograd_test.lua:%d+")
  says(x:argmax(), "int64")
  says(torch.ones(2), "requires_grad_")
  local loss = (v:detach() * x):sum()
  loss:backward()
  says(v, "last backward did not reach x")
  says(v, "Mul uses x's data, but it was detached at .*autograd_test.lua", loss)
  says(x, "x.grad is there")
  x.grad = nil
  says(x, "taken away")
end)

t.test("anomaly mode names the line of the script", function()
  local x = torch.tensor({ 0. }, { dtype = f64, requires_grad = true })
  t.error_matches(function()
    autograd.detect_anomaly(function()
      local y = (x * 0) / x
      y:sqrt():sum():backward()
    end)
  end, "returned nan values")
  local ok, err = pcall(autograd.detect_anomaly, function()
    local bad = (x - 1):sqrt()
    bad:sum():backward()
  end)
  t.ok(not ok and err:find("forward ran at .*autograd_test.lua:%d+"), err)
  t.ok(not autograd.is_anomaly_enabled())
end)

-- ---- size and memory ----

t.test("a chain of 100,000 ops and a graph of 20,000 branches", function()
  local x = vec(1)
  local y = x
  for _ = 1, 100000 do y = y + 1 end
  y:sum():backward()
  same(x.grad, torch.ones(1))
  local all = {}
  for i = 1, 20000 do all[i] = x * 1 end
  x.grad = nil
  torch.stack(all):sum():backward()
  same(x.grad, torch.full({ 1 }, 20000.0))
end)

t.test("activations go as backward passes them; a loop's memory is flat", function()
  local x = torch.randn(64, 64, { requires_grad = true })
  local function deep(y)
    for _ = 1, 20 do y = y:tanh() end
    return y:sum()
  end
  local loss = deep(x)
  collectgarbage()
  local before = torch._live()
  loss:backward()
  collectgarbage()
  t.ok(torch._live() < before - 15 * 64 * 64 * 4, "activations stayed")
  local w = torch.randn(32, 32, { requires_grad = true })
  local function step()
    local l = (w:matmul(w):tanh() - 1):square():sum()
    l:backward()
    torch.no_grad(function() w:sub_(w.grad, { alpha = 1e-3 }) end)
    w.grad = nil
  end
  for _ = 1, 200 do step() end
  collectgarbage()
  local bytes, tensors = torch._live()
  for _ = 1, 1000 do step() end
  collectgarbage()
  local bytes2, tensors2 = torch._live()
  t.ok(bytes2 <= bytes and tensors2 <= tensors, ("grew from %d to %d"):format(bytes, bytes2))
end)

t.test("bad input: PyTorch's verdict, and the session goes on", function()
  local x = vec(1, 2)
  local y = x:exp()
  y:mul_(2)
  t.error_matches(function() y:sum():backward() end, "ExpBackward0")
  local z = (x * x):sum()
  z:backward()
  t.error_matches(function() z:backward() end, "second time")
  t.error_matches(function() (x * 2):backward() end, "scalar outputs")
  t.error_matches(function() autograd.grad(x:sum(), x, { is_grads_batched = true }) end, "not implemented")
  t.error_matches(function() autograd.backward(x:sum(), { nope = 1 }) end, "unknown keyword")
  t.error_matches(function() x:add_(1) end, "leaf")
  t.error_matches(function() x["0"]:add_(1) end, "view of a leaf")
  local s = x * 3
  local w = (s * s):sum()
  s.data:add_(1)
  t.error_matches(function() w:backward() end, "modified by an in-place operation")
  local d = x * 3
  local v = (d * d):sum()
  d:detach():add_(1)
  t.error_matches(function() v:backward() end, "modified by an in-place operation")
  t.error_matches(function() torch.add(x, 1, { out = torch.empty(2, { dtype = f64 }) }) end, "out=")
  t.error_matches(function() (x * 2):backward(torch.ones(3)) end, "shape")
  x.grad = nil
  ;(x * x):sum():backward()
  same(x.grad, 2 * x)
end)

-- ---- the texts ----

local function shown(...)
  local parts = table.pack(...)
  for i = 1, parts.n do parts[i] = tostring(parts[i]) end
  return (table.concat(parts, " "):gsub("[%s,]+", " "))
end

for line in require("moth.embed").read("torch/autograd/luadoc.txt"):gmatch("[^\n]+") do
  local name = line:match("^[%w_.]+")
  local code, want = line:match("|%s*([^|]-)%s*%-%->%s*([^|]-)%s*|")
  t.test("example of " .. name, function()
    t.ok(code, "no example")
    t.eq(shown(assert(load("return " .. code))()), (want:gsub("[%s,]+", " ")))
  end)
end

t.done()
