-- nn_test.lua: modules: registration, names, calls, state, hooks, errors; layers against numbers recorded from PyTorch.
local t = require "check"
local torch = require "torch"
local nn = torch.nn

local Net = nn.Module:extend("Net")
function Net:init(d, h)
  self.fc = nn.Linear(d, h)
  self.layers = nn.ModuleList { nn.Linear(h, h), nn.Linear(h, 2) }
  self.scale = nn.Parameter(torch.ones(2))
  self:register_buffer("count", torch.zeros(1))
  self:register_buffer("scratch", torch.zeros(1), { persistent = false })
  self.size = h
end
function Net:forward(x)
  for _, layer in pairs(self.layers) do x = layer(x) end
  return x * self.scale
end
function Net:run(x) return self(self.fc(x)) end

local function names(iterator)
  local out = {}
  for name in iterator do out[#out + 1] = name end
  return table.concat(out, " ")
end

t.test("names follow PyTorch's order", function()
  local net = Net(3, 4)
  t.eq(names(net:named_parameters()), "scale fc.weight fc.bias layers.0.weight layers.0.bias layers.1.weight layers.1.bias")
  t.eq(names(net:named_buffers()), "count scratch")
  t.eq(names(net:named_children()), "fc layers")
  t.eq(names(net:named_modules()), " fc layers layers.0 layers.1")
  t.eq(names(net:named_parameters { prefix = "m", recurse = false }), "m.scale")
  t.eq(#net:parameters(), 7)
  t.eq(#net:modules(), 5)
  t.eq(names(pairs(net:state_dict())),
    "scale count fc.weight fc.bias layers.0.weight layers.0.bias layers.1.weight layers.1.bias")
end)

t.test("assignment registers, replaces, deletes", function()
  local m = nn.Module()
  m.a = nn.Linear(2, 2)
  m.p = nn.Parameter(torch.ones(2))
  m.x = 5
  t.eq(m.x, 5)
  t.eq(m.nothing, nil)
  t.ok(m.p == m.p and m:parameters()[1] == m.p, "one object per parameter")
  m.a = nn.Identity()
  t.eq(tostring(m.a), "Identity()")
  m.p = nil
  t.eq(#m:parameters(), 0)
  m.p = torch.ones(2)
  t.eq(#m:parameters(), 0)
  m.a = nn.Parameter(torch.ones(1))
  t.eq(#m:children(), 0)
  m:register_buffer("b", torch.zeros(2))
  m.b = torch.ones(2)
  t.eq(m:state_dict().b:tolist(), { 1.0, 1.0 })
  m.b = torch.None
  t.eq(m.b, nil)
  t.eq(names(pairs(m:state_dict())), "a")
  t.error_matches(function() m.a = torch.ones(1) end,
    "cannot assign 'Tensor' as parameter 'a' (torch.nn.Parameter or None expected)")
  t.error_matches(function() m:register_parameter("q.r", nil) end, "parameter name can't contain \".\"")
  t.error_matches(function() m:register_buffer("forward2", 5) end, "cannot assign 'number' object to buffer 'forward2'")
  t.error_matches(function() m:add_module("parameters", nn.Identity()) end, "attribute 'parameters' already exists")
  local loop = nn.Module()
  loop.inner = nn.Module()
  t.error_matches(function() loop.inner.outer = loop end, "contains the module it would belong to")
end)

t.test("tied parameters come once, under both names in the state", function()
  local m = nn.Module()
  m.a = nn.Linear(2, 2, false)
  m.b = nn.Linear(2, 2, false)
  m.b.weight = m.a.weight
  t.eq(#m:parameters(), 1)
  t.eq(names(pairs(m:state_dict())), "a.weight b.weight")
  m:double()
  t.ok(m.a.weight == m.b.weight and m.a.weight.dtype == torch.float64)
  local copy = m:clone()
  t.ok(copy.a.weight == copy.b.weight and copy.a.weight ~= m.a.weight)
end)

t.test("tostring is PyTorch's tree", function()
  t.eq(tostring(Net(3, 4)), [[
Net(
  (fc): Linear(in_features=3, out_features=4, bias=True)
  (layers): ModuleList(
    (0): Linear(in_features=4, out_features=4, bias=True)
    (1): Linear(in_features=4, out_features=2, bias=True)
  )
)]])
  t.eq(tostring(nn.ModuleList { nn.Identity(), nn.Identity() }), "ModuleList(\n  (0-1): 2 x Identity()\n)")
end)

t.test("errors inside forward name the layer", function()
  local net = Net(3, 4)
  t.error_matches(function() net(torch.ones(2, 5)) end, "in layers.0 (Linear): linear: expects [*, 4], got [2, 5]")
  t.error_matches(function() net.fc(torch.ones(2, 5)) end, "in Linear: linear:")
  t.error_matches(function() nn.Module:extend("Empty")()(1) end, 'Module [Empty] is missing the required "forward" function')
  t.eq(net:run(torch.ones(2, 3)).shape == { 2, 2 }, true)
end)

t.test("state_dict goes there and back; errors leave the module as it was", function()
  local a, b = Net(3, 4), Net(3, 4)
  b:load_state_dict(a:state_dict())
  t.ok(a.fc.weight:eq(b.fc.weight):all():item())
  local sd = a:state_dict()
  sd["fc.weight"], sd.extra, sd["fc.bias"] = nil, torch.ones(1), torch.ones(5)
  sd.scale = torch.zeros(2)
  t.error_matches(function() b:load_state_dict(sd) end, "Error(s) in loading state_dict for Net:\n"
    .. "\tMissing key(s) in state_dict: \"fc.weight\". \n\tUnexpected key(s) in state_dict: \"extra\". \n"
    .. "\tsize mismatch for fc.bias: copying a param with shape torch.Size([5]) from checkpoint, "
    .. "the shape in current model is torch.Size([4]).")
  t.eq(b.scale:tolist(), { 1.0, 1.0 })
  local missing, unexpected = b:load_state_dict({ scale = torch.zeros(2), more = torch.ones(1) }, { strict = false })
  t.eq(#missing, 7)
  t.eq(unexpected, { "more" })
  t.eq(b.scale:tolist(), { 0.0, 0.0 })
  local given = nn.Parameter(torch.ones(2) * 7)
  b:load_state_dict({ scale = given }, { strict = false, assign = true })
  t.ok(b.scale == given)
end)

t.test("modes, gradients, dtypes", function()
  local net = Net(3, 4)
  t.eq(net:eval().layers[1].training, false)
  t.eq(net:train().layers[1].training, true)
  net:run(torch.ones(1, 3)):sum():backward()
  t.ok(net.fc.weight.grad ~= nil)
  net:zero_grad()
  t.eq(net.fc.weight.grad, nil)
  net:requires_grad_(false)
  t.eq(net.fc.weight.requires_grad, false)
  t.ok(net:to(torch.bfloat16).layers[0].weight.dtype == torch.bfloat16)
  t.error_matches(function() net:to(torch.int32) end, "only accepts floating point or complex dtypes")
  local n = 0
  net:apply(function() n = n + 1 end)
  t.eq(n, 5)
  t.ok(net:get_submodule("layers.1") == net.layers[1])
  t.ok(net:get_parameter("fc.bias") == net.fc.bias)
  t.error_matches(function() net:get_submodule("layers.7") end, "ModuleList has no attribute `7`")
end)

t.test("hooks", function()
  local m, seen = nn.Linear(2, 2), {}
  local pre = m:register_forward_pre_hook(function(_, args) seen.pre = #args return args[1] * 0 end)
  local post = m:register_forward_hook(function(_, _, out) seen.post = true return out + 1 end)
  t.eq(m(torch.ones(1, 2)):tolist()[1][1], (m.bias + 1):tolist()[1])
  t.eq(seen.pre, 1)
  pre:remove()
  post:remove()
  local got
  m:register_full_backward_hook(function(_, gin, gout) got = { #gin, gout[1]:tolist() } end)
  m(torch.ones(1, 2, { requires_grad = true })):sum():backward()
  t.eq(got, { 1, { { 1.0, 1.0 } } })
end)

t.test("containers", function()
  local s = nn.Sequential { { "fc", nn.Linear(2, 3) }, { "act", nn.Identity() } }
  t.eq(names(s:named_children()), "fc act")
  t.eq(#s, 2)
  t.ok(s[0] == s.fc and s[-1] == s.act)
  t.eq(nn.Sequential()(5), 5)
  t.eq(select("#", nn.Sequential(nn.Identity(), nn.LSTM(2, 3))(torch.ones(1, 2))), 2)
  t.error_matches(function() nn.Sequential(nn.Sequential(nn.ReLU()))("x") end, "in 0.0 (ReLU): ")
  local list = nn.ModuleList { nn.Identity() }
  list:append(nn.Identity()):extend { nn.Linear(1, 1) }
  list:insert(0, nn.Linear(1, 2))
  t.eq(#list, 4)
  t.eq(list[0].out_features, 2)
  t.error_matches(function() return list[4] end, "index 4 is out of range for 4 entries")
  t.error_matches(function() for _ in ipairs(list) do end end, "index")
  list[1] = nn.Tanh()
  t.eq(tostring(list[1]), "Tanh()")
  s[1] = nn.ReLU()
  t.eq(tostring(s.act), "ReLU()")
  local d = nn.ModuleDict { b = nn.Identity(), a = nn.Linear(1, 1) }
  t.eq(d:keys(), { "a", "b" })
  t.ok(d["a"] == d.a and d:contains("b"))
  local p = nn.ParameterList { torch.ones(2), torch.zeros(3) }
  t.eq(names(p:named_parameters()), "0 1")
  t.eq(#nn.ParameterDict { w = torch.ones(2) }:parameters(), 1)
end)

t.test("modules are collected, cycles through fields too", function()
  local weak = setmetatable({}, { __mode = "k" })
  do
    local net = Net(3, 4)
    net.back = { net }
    weak[net] = true
  end
  collectgarbage()
  collectgarbage()
  t.eq(next(weak), nil)
end)

t.test("arguments of constructors", function()
  t.error_matches(function() nn.Linear(3) end, "Linear: argument 'out_features' is missing")
  t.error_matches(function() nn.Linear(3, 4, { baas = true }) end, "Linear: unknown keyword 'baas'")
  t.error_matches(function() nn.Linear(3, 4.5) end, "Linear: out_features must be an integer, got 4.5")
  t.eq(nn.Linear { 3, 4, bias = false }.bias, nil)
end)

t.test("a metatable in wrong hands raises", function()
  local m = nn.Linear(2, 2)
  local meta = getmetatable(m)
  meta.__gc(5)
  meta.__gc()
  for _, event in ipairs { "__call", "__newindex", "__len", "__pairs", "__tostring", "__dir" } do
    t.ok(not pcall(meta[event], {}, "a", 1), event)
  end
  t.ok(not pcall(meta.__index, nil, "x"))
  local core = require "torch.nn.core"
  for name, f in pairs(core) do
    if type(f) == "function" then pcall(f) pcall(f, {}, {}, {}) pcall(f, m, "child", "a.b") end
  end
  meta.__gc(m)
  t.ok(not pcall(m, torch.ones(1, 2)) and not pcall(function() return m:parameters() end))
end)

t.test("arguments of forward by name", function()
  local x = torch.ones(1, 3)
  t.eq(nn.Linear(3, 2) { input = x }.shape == { 1, 2 }, true)
  t.eq(nn.MSELoss()(x, { target = x * 3 }):item(), 4.0)
  t.error_matches(function() nn.Linear(3, 2)(x, 5) end, "Linear: forward takes 1 argument, got 2")
  t.error_matches(function() nn.Linear(3, 2) { inptu = x } end, "Linear: unknown keyword 'inptu'")
end)

t.test("hooks of every module", function()
  local every, log = nn.modules.module, {}
  local function note(kind) return function(m) log[#log + 1] = kind .. " " .. m:_get_name() end end
  local handles = { every.register_module_forward_pre_hook(note "pre"), every.register_module_forward_hook(note "post"),
    every.register_module_full_backward_hook(note "bwd"),
    every.register_module_full_backward_pre_hook(note "bwdpre") }
  local net = nn.Sequential(nn.Linear(2, 3), nn.Tanh())
  net[0]:register_forward_pre_hook(note "own")
  net(torch.ones(1, 2)):sum():backward()
  t.eq(table.concat(log, ", "), "pre Sequential, pre Linear, own Linear, post Linear, pre Tanh, post Tanh, " ..
    "post Sequential, bwdpre Sequential, bwd Sequential, bwdpre Tanh, bwd Tanh, bwdpre Linear, bwd Linear")
  for _, h in ipairs(handles) do h:remove() end
  log = {}
  net(torch.ones(1, 2))
  t.eq(table.concat(log, ", "), "own Linear")
  local _ <close> = every.register_module_forward_hook(function(_, _, out) return out * 2 end)
  t.eq(nn.Identity()(torch.ones(1)):item(), 2.0)
  t.error_matches(function() every.register_module_forward_hook(5) end, "hook must be a function")
end)

t.test("hooks of what modules are given", function()
  local every, log = nn.modules.module, {}
  local function note(m, name) log[#log + 1] = m:_get_name() .. "." .. name end
  local a = every.register_module_parameter_registration_hook(note)
  local b = every.register_module_buffer_registration_hook(note)
  local c = every.register_module_module_registration_hook(note)
  nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1, { affine = false }))
  t.eq(table.concat(log, " "), "Linear.weight Linear.bias BatchNorm1d.running_mean BatchNorm1d.running_var " ..
    "BatchNorm1d.num_batches_tracked Sequential.0 Sequential.1")
  a:remove(); b:remove(); c:remove()
  local m = nn.Module()
  local _ <close> = every.register_module_parameter_registration_hook(function(_, _, p)
    return nn.Parameter(p:detach() * 3)
  end)
  m.w = nn.Parameter(torch.ones(1))
  t.eq(m.w:item(), 3.0)
  local _ <close> = every.register_module_module_registration_hook(function() return 5 end)
  t.error_matches(function() m.child = nn.ReLU() end, "gave a number for the module 'child'")
  t.eq(#m:children(), 0)
end)

t.test("nn.Buffer", function()
  local m = nn.Module()
  m.a, m.plain = nn.Buffer(torch.ones(2)), torch.ones(1)
  m.b = nn.Buffer(torch.zeros(2), { persistent = false })
  t.eq(#m:buffers(), 2)
  t.eq(#m:state_dict(), 1)
  m.a = torch.zeros(2)
  t.eq(m:state_dict().a:sum():item(), 0.0)
  t.error_matches(function() nn.Buffer(5) end, "data must be a Tensor")
end)

t.test("parameters shared, replaced, refused; a module after an error", function()
  local m = nn.Linear(3, 3)
  m.tied = m.weight
  t.eq(#m:parameters(), 2)
  t.eq(#m:state_dict(), 3)
  t.error_matches(function() m.weight = torch.ones(3) end, "cannot assign 'Tensor' as parameter 'weight'")
  t.error_matches(function() m(torch.ones(1, 4)) end, "in Linear: linear: expects [*, 3], got [1, 4]")
  t.eq(m(torch.ones(1, 3)).shape == { 1, 3 }, true)
  m.weight = nn.Parameter(torch.ones(2, 3))
  t.error_matches(function() m(torch.ones(1, 3)) end, "in Linear")
  m.bias = torch.None
  t.eq(m(torch.ones(1, 3)):tolist(), { { 3.0, 3.0 } })
  local None = nn.Module:extend("Unfinished")
  t.error_matches(function() None()(1) end, 'Module [Unfinished] is missing the required "forward" function')
  t.error_matches(function() nn.Sequential(nn.LSTM(5, 3))(torch.ones(1, 2)) end, "in 0 (LSTM): input.size(-1)")
end)

t.test("ParameterDict: copy, fromkeys, popitem; linear_cross_entropy", function()
  local d = nn.ParameterDict { a = torch.ones(1), b = torch.zeros(2) }
  local copy = d:copy()
  local key, value = d:popitem()
  t.eq(key, "b")
  t.eq(value:numel(), 2)
  t.eq(#d:parameters(), 1)
  t.eq(#copy:parameters(), 2)
  t.eq(#d:fromkeys({ "x", "y" }, torch.ones(1)):parameters(), 2)
  local F = nn.functional
  local x, w, y = torch.randn(4, 3), torch.randn(5, 3), torch.tensor { 0, 1, 4, 2 }
  local got = F.linear_cross_entropy(x, w, y, { label_smoothing = 0.1, linear_bias = torch.ones(5) })
  t.ok(torch.equal(got, F.cross_entropy(F.linear(x, w, torch.ones(5)), y, { label_smoothing = 0.1 })))
  local deep = F.linear_cross_entropy(x, torch.randn(5, 2, 3), torch.zeros(4, 2):long(), { reduction = "none" })
  t.ok(deep.shape == { 4, 2 })
  t.error_matches(function() F.linear_cross_entropy(x, w) end, "target")
end)

t.test("names of one assignment are registered as they are written", function()
  local Ordered = nn.Module:extend("Net")
  function Ordered:init(d)
    self.up, self.down, self.mid = nn.Linear(d, 4), nn.Linear(4, d),
      nn.Linear(d, d)
    self.w, self.norm, self.b = nn.Parameter(torch.ones(1)), nn.LayerNorm(d), nn.Parameter(torch.zeros(1))
    self.x = nn.Linear(1, 1); self.y = nn.Linear(1, 1)
    local older, newer = nn.Linear(1, 1), nn.Linear(1, 1)
    self.first = newer
    self.second = older
    for i = 1, 2 do self["l" .. i], self["m" .. i] = nn.Sequential(nn.Linear(1, 1)), nn.ReLU() end
  end
  local function names_of(iterator)
    local list = {}
    for name in iterator do list[#list + 1] = name end
    return table.concat(list, " ")
  end
  torch.manual_seed(0)
  local net = Ordered(8)
  t.eq(names_of(net:named_children()), "up down mid norm x y first second l1 m1 l2 m2")
  t.eq(names_of(net:named_parameters("", false)), "w b")
  torch.manual_seed(0)
  t.eq(torch.equal(nn.Linear(8, 4).weight, net.up.weight), true, "drawn in the order written, too")
  local older, newer = nn.ReLU(), nn.Tanh()      -- made before their parent: nothing is reordered
  local Pair = nn.Module:extend("Pair")
  function Pair:init(a, b) self.a = b; self.b = a end
  t.eq(names_of(Pair(older, newer):named_children()), "a b")
  net.up, net.down = net.down, net.up             -- a swap keeps the places
  t.eq(names_of(net:named_children()):sub(1, 7), "up down")
end)

t.done()
