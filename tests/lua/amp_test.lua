-- amp_test.lua: autocast's dtypes (PyTorch's lists for the CPU), gradients and nesting; GradScaler.
local t = require "check"

local x, w, h = torch.randn(4, 8), torch.randn(8, 3), torch.randn(4, 8):to(torch.bfloat16)
local image, labels = torch.randn(1, 2, 6, 6), torch.tensor { 1, 2, 3, 4 }

t.test("what runs in which dtype", function()
  local want = {
    bfloat16 = {
      function() return x:mm(w) end, function() return F.linear(x, w:t()) end, function() return x:matmul(w[":, 0"]) end,
      function() return F.conv2d(image, torch.randn(3, 2, 3, 3)) end, function() return torch.stack { h, h } end,
      function() return torch.einsum("ij,jk->ik", x, w) end, function() return F.scaled_dot_product_attention(image, image, image) end,
      function() return (nn.LSTM(8, 3)(x)) end, function() return (nn.RNN(8, 3)(x)) end,
      function() return F.pad(h, { 1, 1 }, { mode = "circular" }) end, function() return F.pad(h, { 1, 1 }) end,
      function() return h:softmax(-1) end, function() return torch.addmm(torch.zeros(3), x, w) end },
    float32 = {
      function() return F.mse_loss(h, h) end, function() return F.cross_entropy(h, labels) end, function() return h:prod() end,
      function() return torch.cat { x, h } end, function() return h + x end, function() return x:mv(w[":, 0"]) end,
      function() return F.max_pool3d(image:to(torch.bfloat16), 2) end,
      function() return F.pad(h, { 1, 1 }, { mode = "replicate" }) end,
      function() return F.pad(h, { 1, 1 }, { mode = "reflect" }) end,
      function() return (nn.GRU(8, 3)(x)) end, function() return (nn.LSTMCell(8, 3)(x)) end },
    float64 = { function() return x:double():mm(w:double()) end },
    int64 = { function() return labels["None"]:mm(labels["None"]:t()) end },
    complex64 = { function() return torch.fft.fft(h) end },
  }
  for name, list in pairs(want) do
    for i, f in ipairs(list) do t.ok(torch.autocast("cpu", f).dtype == torch[name], name .. " " .. i) end
  end
  t.ok(x:mm(w).dtype == torch.float32)
end)

t.test("guards, nesting, arguments", function()
  do
    local _ <close> = torch.autocast("cpu", { dtype = torch.float16 })
    t.ok(torch.is_autocast_enabled() and x:mm(w).dtype == torch.float16)
    torch.autocast("cpu", { enabled = false }, function(a) t.ok(a:mm(w).dtype == torch.float32) end, x)
    local ok = pcall(torch.autocast, "cpu", torch.bfloat16, function() error("x") end)
    t.ok(not ok and torch.get_autocast_dtype("cpu") == torch.float16)
  end
  t.ok(not torch.is_autocast_enabled() and torch.get_autocast_dtype("cpu") == torch.bfloat16)
  t.error_matches(function() torch.autocast("cuda") end, 'device_type must be "cpu", got cuda')
  t.error_matches(function() torch.autocast("cpu", { dtyp = 1 }) end, "unknown keyword 'dtyp'")
end)

t.test("a training step: parameters stay float32, their casts are made once", function()
  torch.manual_seed(0)
  local net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
  local opt = optim.AdamW(net:parameters(), { lr = 1e-2 })
  local data, first, last = torch.randn(32, 8), nil, nil
  local target = data:narrow(1, 0, 4):argmax(1)
  for _ = 1, 60 do
    opt:zero_grad()
    local loss = torch.autocast("cpu", { dtype = torch.bfloat16 }, function() return F.cross_entropy(net(data), target) end)
    loss:backward()
    t.ok(net[0].weight.grad.dtype == torch.float32)
    opt:step()
    first, last = first or loss:item(), loss:item()
  end
  t.ok(last < first / 3, last)
  do
    local _ <close> = torch.autocast("cpu")
    local a = net(data)
    torch.no_grad(function() net[0].weight:mul_(2.0) end)
    t.ok(not torch.equal(a, net(data)), "the cast of a changed parameter is made anew")
  end
end)

t.test("GradScaler", function()
  local p = torch.tensor({ 1.0, 2.0 }):requires_grad_()
  local opt = optim.SGD({ p }, { lr = 0.5 })
  local scaler = torch.amp.GradScaler("cpu", { init_scale = 1024.0, growth_interval = 2 })
  local function run(factor)
    opt:zero_grad()
    scaler:scale((p * factor):sum()):backward()
    scaler:step(opt)
    scaler:update()
  end
  run(1.0)
  t.eq(p:tolist(), { 0.5, 1.5 })
  t.eq(p.grad:tolist(), { 1.0, 1.0 })
  run(1.0)
  t.eq({ p:tolist(), scaler:get_scale() }, { { 0.0, 1.0 }, 2048.0 })
  run(math.huge)
  t.eq({ p:tolist(), scaler:get_scale() }, { { 0.0, 1.0 }, 1024.0 })
  opt:zero_grad()
  scaler:scale(p:sum()):backward()
  scaler:unscale_(opt)
  t.eq(p.grad:tolist(), { 1.0, 1.0 })
  t.error_matches(function() scaler:unscale_(opt) end, "already been called")
  scaler:step(opt)
  t.error_matches(function() scaler:step(opt) end, "already been called")
  scaler:update()
  local other = torch.amp.GradScaler()
  other:load_state_dict(scaler:state_dict())
  t.eq(other:get_scale(), 1024.0)
  t.error_matches(function() other:update() end, "No inf checks were recorded")
  local off = torch.amp.GradScaler { enabled = false }
  t.eq(off:scale(3), 3)
  t.error_matches(function() torch.amp.GradScaler { growth_factor = 0.5 } end, "growth factor must be > 1.0")
end)

t.test("every name has help, and its example runs", function()
  local docs = require "repl.docs"
  for _, name in ipairs { "autocast", "torch.autocast", "amp.GradScaler", "is_autocast_enabled", "amp.GradScaler.scale",
    "amp.GradScaler.get_scale", "get_autocast_dtype" } do
    local entry = docs.get(name)
    t.ok(entry and entry.doc, name)
    local code, want = (entry.example or ""):match("^(.-)%s*%-%->%s*(.*)$")
    if code then t.eq(tostring((assert(load("return " .. code))())), want, name) end
  end
end)

t.done()
