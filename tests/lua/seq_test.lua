-- seq_test.lua: recurrent layers, attention and nn.utils against recorded PyTorch values (tests/data/seq.*).
local t = require "check"
local torch = require "torch"
local json = require "json"
local st = require "safetensors"
local nn, F = torch.nn, torch.nn.functional
local dir = (arg[0]:match("^(.*)/lua/[^/]*$") or "tests") .. "/data/"
local d = st.load_file(dir .. "seq.safetensors")
local f = assert(io.open(dir .. "seq.json"))
local cases = json.decode(f:read("a"))
f:close()

local function close(got, key, tol)
  local want = d[key] or error("nothing recorded for " .. key)
  t.eq(got.shape:totable(), want.shape:totable(), key .. ": shape")
  local e = want:numel() > 0 and ((got:detach():to(want.dtype) - want):abs():max() / (want:abs():max() + 1e-2)):item() or 0
  t.ok(e <= (tol or 2e-5), ("%s differs by %g"):format(key, e))
end
local function leaf(key, dtype) return d[key]:clone():to(dtype):requires_grad_() end

-- ---- recurrent layers, in float32 (fused) and float64 (the formula) ----
for _, c in ipairs(cases) do
  for _, dtype in ipairs { torch.float32, torch.float64 } do
    t.test(("%s %s %s"):format(c.name, c.kind, tostring(dtype)), function()
      local kw = {}
      for k, v in pairs(c.kw) do kw[k] = v end
      local m = nn[c.kind](c.I, c.H, kw):to(dtype)
      local sd = {}
      for name in pairs(m:state_dict()) do sd[name] = d[c.name .. ".p." .. name]:to(dtype) end
      m:load_state_dict(sd)
      local x, h, cell = leaf(c.name .. ".x", dtype), leaf(c.name .. ".h", dtype), leaf(c.name .. ".c", dtype)
      local lstm = c.kind == "LSTM"
      local input = x
      if c.lens ~= json.null and c.lens ~= nil then
        local lens = {}
        for i, n in ipairs(c.lens) do lens[i] = n end
        input = nn.utils.rnn.pack_padded_sequence(x, lens, { enforce_sorted = false })
      end
      local y, hn = m(input, lstm and { h, cell } or h)
      if input ~= x then y = nn.utils.rnn.pad_packed_sequence(y) end
      local outs = lstm and { y, hn[1], hn[2] } or { y, hn }
      local loss = 0
      for i, o in ipairs(outs) do
        close(o, c.name .. ".o" .. i - 1)
        loss = loss + (o * o):sum()
      end
      local ins = lstm and { x, h, cell } or { x, h }
      for _, p in ipairs(m:parameters()) do ins[#ins + 1] = p end
      for i, g in ipairs(torch.autograd.grad(loss, ins)) do close(g, c.name .. ".g" .. i - 1) end
    end)
  end
end

for _, kind in ipairs { "lstm", "gru", "rnn_relu" } do
  t.test("second derivatives of " .. kind .. ": fused as the formula", function()
    local function run(dtype)
      torch.manual_seed(3)
      local gates = ({ lstm = 4, gru = 3, rnn_relu = 1 })[kind]
      local function r(...) return (torch.randn(...) * 0.5):to(dtype):requires_grad_() end
      local x, h, cell, p = r(4, 3, 4), r(2, 3, 5), r(2, 3, 5), {}
      for _ = 1, 2 do
        for _, shape in ipairs { { gates * 5, 4 }, { gates * 5, 5 }, { gates * 5 }, { gates * 5 } } do p[#p + 1] = r(shape) end
      end
      local outs = { torch[kind](x * 1.5, kind == "lstm" and { h, cell } or h, p, true, 1, 0.0, true, true, false) }
      local loss, s, ins = 0, 0, { x, h, table.unpack(p) }
      for _, o in ipairs(outs) do loss = loss + (o ^ 2):sum() end
      for _, g in ipairs(torch.autograd.grad(loss, ins, { create_graph = true })) do s = s + (g ^ 2):sum() end
      return torch.autograd.grad(s, ins)
    end
    local a, b = run(torch.float32), run(torch.float64)
    for i = 1, #a do t.ok(torch.allclose(a[i]:double(), b[i], { rtol = 1e-3, atol = 1e-3 }), "input " .. i) end
  end)
end

t.test("cells are layers of one step", function()
  torch.manual_seed(0)
  for _, kind in ipairs { "LSTM", "GRU", "RNN" } do
    local layer, cell = nn[kind](3, 4), nn[kind .. "Cell"](3, 4)
    local sd = {}
    for k, v in pairs(layer:state_dict()) do sd[k:gsub("_l0", "")] = v end
    cell:load_state_dict(sd)
    local x, h = torch.randn(2, 3), torch.randn(2, 4)
    local a = cell(x, kind == "LSTM" and { h, h } or h)
    local y = layer(x:unsqueeze(0), kind == "LSTM" and { h:unsqueeze(0), h:unsqueeze(0) } or h:unsqueeze(0))
    t.ok(torch.allclose(a, y[0], { atol = 1e-6 }), kind)
    t.eq(cell(x[0]).shape:totable(), { 4 })
  end
end)

t.test("bad input names what is wrong", function()
  local m = nn.LSTM(3, 4)
  t.error_matches(function() m(torch.ones(2, 2, 5)) end, "Expected 3, got 5")
  t.error_matches(function() m(torch.ones(2)) end, "2D or 3D")
  t.error_matches(function() m(torch.ones(2, 2, 3), { torch.ones(1, 3, 4), torch.ones(1, 2, 4) }) end, "hidden[0]")
  t.error_matches(function() nn.LSTM(3, 4, { proj_size = 4 }) end, "smaller than hidden_size")
  t.error_matches(function() nn.RNN(3, 4, { nonlinearity = "x" }) end, "nonlinearity")
  t.error_matches(function()
    torch.lstm(torch.ones(2, 1, 3), { torch.ones(1, 1, 4), torch.ones(1, 1, 4) }, { torch.ones(16, 3), torch.ones(16, 9) },
      false, 1, 0.0, false, false, false)
  end, "do not fit")
  t.error_matches(function() nn.utils.rnn.pack_padded_sequence(torch.ones(3, 2), { 1, 3 }) end, "sorted in decreasing order")
  t.error_matches(function() nn.MultiheadAttention(5, 2) end, "divisible")
  local x = torch.ones(2, 1, 4)
  t.error_matches(function() nn.MultiheadAttention(4, 2)(x, x, x, { attn_mask = torch.ones(3, 3) }) end, "attn_mask")
  local y = m(torch.ones(2, 2, 3))                     -- and the layer still works
  t.eq(y.shape:totable(), { 2, 2, 4 })
end)

-- ---- attention ----
for name, kw in pairs { plain = {}, causal = { is_causal = true }, gqa = { enable_gqa = true }, bool = {}, add = {} } do
  t.test("sdpa " .. name, function()
    local n = "s" .. name .. "."
    local q, k, v = leaf(n .. "q"), leaf(n .. "k"), leaf(n .. "v")
    kw.attn_mask = d[n .. "mask"]
    local y = F.scaled_dot_product_attention(q, k, v, kw)
    close(y, n .. "y")
    local g = torch.autograd.grad((y * y):sum(), { q, k, v })
    for i, key in ipairs { "gq", "gk", "gv" } do close(g[i], n .. key) end
    if kw.attn_mask and kw.attn_mask.dtype == torch.bool then kw.attn_mask = nil end
    local half = F.scaled_dot_product_attention(q:bfloat16(), k:bfloat16(), v:bfloat16(),
      { is_causal = kw.is_causal, enable_gqa = kw.enable_gqa })
    t.eq(half.dtype, torch.bfloat16)
  end)
end
t.test("sdpa second derivatives", function()
  torch.manual_seed(1)
  local function run(fused)
    torch.manual_seed(1)
    local x = {}
    for i = 1, 3 do x[i] = torch.randn(2, 5, 4):requires_grad_() end
    local y
    if fused then y = F.scaled_dot_product_attention(x[1], x[2], x[3])
    else y = (x[1]:matmul(x[2].mT) / 2):softmax(-1):matmul(x[3]) end
    local g = torch.autograd.grad((y ^ 2):sum(), x, { create_graph = true })
    return torch.autograd.grad((g[1] ^ 2):sum() + (g[2] ^ 2):sum() + g[3]:sum(), x)
  end
  local a, b = run(true), run(false)
  for i = 1, 3 do t.ok(torch.allclose(a[i], b[i], { rtol = 1e-4, atol = 1e-4 }), "input " .. i) end
end)
t.test("attention weights, masks and fast paths agree", function()
  torch.manual_seed(0)
  local m = nn.MultiheadAttention(8, 2, { batch_first = true })
  local x, pad = torch.randn(3, 5, 8), torch.zeros(3, 5, { dtype = torch.bool })
  pad["0, 3:"] = true
  local y, w = m(x, x, x, { key_padding_mask = pad })
  local z, none = m(x, x, x, { key_padding_mask = pad, need_weights = false })
  t.eq(none, nil)
  t.ok(torch.allclose(y, z, { atol = 1e-5 }))
  t.eq(w.shape:totable(), { 3, 5, 5 })
  t.near(w["0, :, 3:"]:sum():item(), 0, 0)
  local mask = nn.Transformer.generate_square_subsequent_mask(5)
  local a = m(x, x, x, { attn_mask = mask, need_weights = false })
  local b = m(x, x, x, { attn_mask = mask, need_weights = false, is_causal = true })
  t.ok(torch.allclose(a, b, { atol = 1e-5 }))
end)

-- ---- nn.utils ----
local P = nn.utils.parametrizations
for name, make in pairs { wn = P.weight_norm, sn = P.spectral_norm, ort = P.orthogonal, so = nn.utils.spectral_norm,
  wo = nn.utils.weight_norm } do
  t.test("reparametrised " .. name, function()
    torch.manual_seed(0)
    local m = make(nn.Linear(4, 3))
    local y = m(d["u.x"])
    close(y, "u." .. name .. ".y", 1e-4)
    for k, v in pairs(m:state_dict()) do close(v, "u." .. name .. ".sd." .. k, 1e-4) end
    (y * y):sum():backward()
    for k, p in m:named_parameters() do close(p.grad, "u." .. name .. ".g." .. k, 1e-4) end
    if name == "so" or name == "wo" then return end      -- as PyTorch: their weight is no leaf and cannot be copied
    local copy = m:clone()
    t.ok(torch.allclose(copy:eval()(d["u.x"]), m:eval()(d["u.x"])), "a copy computes the same")
  end)
end
t.test("parametrisations come and go", function()
  local pz = nn.utils.parametrize
  local m = nn.Linear(3, 3)
  local w = m.weight:detach():clone()
  local Sym = nn.Module:extend("Sym")
  function Sym:forward(x) return x:triu() + x:triu(1).mT end
  function Sym:right_inverse(x) return x:triu() end
  pz.register_parametrization(m, "weight", Sym())
  t.eq(m:_get_name(), "ParametrizedLinear")
  t.ok(torch.equal(m.weight, m.weight.mT))
  m.weight = torch.ones(3, 3)
  t.ok(torch.equal(m.parametrizations.weight.original, torch.ones(3, 3):triu()))
  t.error_matches(function() pz.register_parametrization(m, "nothing", Sym()) end, "does not have")
  pz.remove_parametrizations(m, "weight")
  t.eq(m:_get_name(), "Linear")
  t.ok(torch.equal(m.weight, torch.ones(3, 3)) and nn.is_parameter(m.weight) and w ~= nil)
  t.eq(#m:parameters(), 2)
end)
t.test("clipping", function()
  local p = { nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(3)) }
  p[1].grad, p[2].grad = torch.tensor { 3., 0. }, torch.tensor { 0., 4., 0. }
  t.near(nn.utils.clip_grad_norm_(p, 1.0):item(), 5, 1e-6)
  t.near(p[2].grad[1]:item(), 0.8, 1e-5)
  t.near(nn.utils.clip_grad_norm_(p, 1.0, math.huge):item(), 0.8, 1e-5)
  p[1].grad = torch.tensor { 0 / 0, 1. }
  t.error_matches(function() nn.utils.clip_grad_norm_(p, 1.0, { error_if_nonfinite = true }) end, "non-finite")
  nn.utils.clip_grad_value_(p, 0.1)
  t.near(p[2].grad[1]:item(), 0.1, 1e-7)
end)
t.test("functional_call leaves the module as it was", function()
  local m = nn.Sequential(nn.Linear(2, 1))
  local own = m[0].weight
  local w = torch.ones(1, 2):requires_grad_()
  local y = torch.func.functional_call(m, { ["0.weight"] = w, ["0.bias"] = torch.zeros(1) }, { torch.ones(3, 2) })
  y:sum():backward()
  t.eq(w.grad:tolist(), { { 3.0, 3.0 } })
  t.ok(m[0].weight == own and own.grad == nil)
  t.ok(not pcall(torch.func.functional_call, m, { ["0.weight"] = torch.ones(9, 9) }, { torch.ones(3, 2) }))
  t.ok(m[0].weight == own)
end)
t.test("padding and packing round trips", function()
  local rnn = nn.utils.rnn
  local list = { torch.arange(2.):view(2, 1), torch.arange(4.):view(4, 1), torch.arange(1.):view(1, 1) }
  local back = rnn.unpack_sequence(rnn.pack_sequence(list, { enforce_sorted = false }))
  for i, s in ipairs(list) do t.ok(torch.equal(back[i], s), "sequence " .. i) end
  t.eq(rnn.pad_sequence(list, { batch_first = true, padding_value = 9, padding_side = "left" }).shape:totable(), { 3, 4, 1 })
end)

-- ---- every name of nn.utils has help, and its example gives what it says ----
for _, space in ipairs { "", "rnn", "parametrize", "parametrizations", "stateless", "prune" } do
  local owner = space == "" and nn.utils or nn.utils[space]
  for name, doc in pairs(rawget(owner, "__docs")) do
    t.test("help of " .. space .. "." .. name, function()
      t.ok(owner[name] ~= nil, "is not there")
      local code, want = doc.example:match("^(.-)%s*%-%->%s*(.*)$")
      local fn = load("return " .. code) or assert(load(code))
      t.eq(tostring((fn())), want)
    end)
  end
end

t.done()
