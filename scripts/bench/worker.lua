-- worker.lua: Moth's half of the side-by-side benchmark: the peer's workloads, same shapes, same work per iteration.
--
-- A worker prints "ready", then answers each line "NAME SECONDS" on standard input with "NAME seconds_per_iteration"
-- after repeating the workload for at least SECONDS; "list" prints the names; end of input ends it.
local torch = require "torch"
local nn, F, optim = torch.nn, torch.nn.functional, torch.optim
local sys = require "sys"
local now = sys.monotonic or sys.clock

local names, setups = {}, {}

local function workload(name, setup)
  names[#names + 1] = name
  setups[name] = setup
end

local function no_grad(f)
  return function() return torch.no_grad(f) end
end

local function randn(...) return torch.randn(...) end

-- The cost of one call.

workload("call_add", function()
  local a, b = torch.randn(4), torch.randn(4)
  return function()
    for _ = 1, 1000 do local _ = a + b end
  end
end)

workload("call_views", function()
  local x = torch.randn(4, 8, 16)
  return function()
    for _ = 1, 250 do
      local _ = x:transpose(1, 2):reshape(8, 64):view(2, 4, 64)[":, 1:3"]:unsqueeze(0)
    end
  end
end)

workload("call_backward", function()
  local a = torch.randn(4, { requires_grad = true })
  return function()
    for _ = 1, 100 do
      a.grad = nil
      (a * a + a):sum():backward()
    end
  end
end)

workload("mlp_tiny_step", function()
  local m = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 10))
  local opt = optim.SGD(m:parameters(), { lr = 0.01 })
  local x, y = torch.randn(8, 32), torch.randint(0, 10, { 8 })
  return function()
    for _ = 1, 20 do
      opt:zero_grad()
      F.cross_entropy(m(x), y):backward()
      opt:step()
    end
  end
end)

workload("rnn_unrolled", function()
  local cell = nn.LSTMCell(32, 32)
  local x = torch.randn(50, 4, 32)
  return function()
    local h = torch.zeros(4, 32)
    local c = h
    for t = 0, 49 do h, c = cell(x[t], { h, c }) end
    cell:zero_grad()
    h:sum():backward()
  end
end)

-- Bound by memory.

local function pointwise(name, f)
  workload(name, function()
    local x = torch.randn(1 << 20)
    return no_grad(function() return f(x) end)
  end)
end

pointwise("add_1m", function(x) return x + x end)
pointwise("exp_1m", torch.exp)
pointwise("tanh_1m", torch.tanh)
pointwise("gelu_1m", F and F.gelu)
pointwise("sin_1m", torch.sin)
pointwise("pow_1m", function(x) return x:abs():pow(1.7) end)
pointwise("sum_1m", torch.sum)
pointwise("cumsum_1m", function(x) return x:cumsum(0) end)
pointwise("sort_1m", function(x) return x:sort() end)
pointwise("mask_1m", function(x) return x[x:gt(0)] end)
pointwise("where_1m", function(x) return torch.where(x:gt(0), x, 0.1 * x) end)
pointwise("to_bf16_1m", function(x) return x:to(torch.bfloat16) end)

local function matrix(name, f)
  workload(name, function()
    local x = torch.randn(1024, 1024)
    return no_grad(function() return f(x) end)
  end)
end

matrix("softmax_1024", function(x) return x:softmax(-1) end)
matrix("layer_norm_1024", function(x) return F.layer_norm(x, { 1024 }) end)
matrix("sum_dim0_1024", function(x) return x:sum(0) end)
matrix("argmax_1024", function(x) return x:argmax(-1) end)
matrix("topk_1024", function(x) return x:topk(10, -1) end)
matrix("transpose_copy_1024", function(x) return x:t():contiguous() end)
matrix("strided_1024", function(x) return x[":, ::2"] * 2 end)
matrix("broadcast_1024", function(x) return x + x[0] * x[":, :1"] end)
matrix("cat_1024", function(x) return torch.cat({ x, x }, 1) end)

workload("embedding_30k", function()
  local w, ids = torch.randn(30522, 768), torch.randint(0, 30522, { 8, 128 })
  return no_grad(function() return F.embedding(ids, w) end)
end)

workload("adamw_10m", function()
  local p = {}
  for i = 1, 10 do
    p[i] = torch.randn(1 << 20, { requires_grad = true })
    p[i].grad = torch.randn_like(p[i]):detach()
  end
  local opt = optim.AdamW(p, { lr = 1e-3 })
  return function() opt:step() end
end)

-- Bound by arithmetic.

local function product(name, shapes, f)
  workload(name, function()
    local t = {}
    for i, shape in ipairs(shapes) do t[i] = randn(shape) end
    f = f or torch.matmul
    return no_grad(function() return f(t[1], t[2], t[3]) end)
  end)
end

product("mm_64", { { 64, 64 }, { 64, 64 } })
product("mm_512", { { 512, 512 }, { 512, 512 } })
product("mm_2048", { { 2048, 2048 }, { 2048, 2048 } })
product("linear_128_768_3072", { { 128, 768 }, { 3072, 768 }, { 3072 } },
  function(x, w, b) return F.linear(x, w, b) end)
product("bmm_96_128_64", { { 96, 128, 64 }, { 96, 64, 128 } })
local function sdpa(q, k, v) return F.scaled_dot_product_attention(q, k, v) end
product("sdpa_8_12_128_64", { { 8, 12, 128, 64 }, { 8, 12, 128, 64 }, { 8, 12, 128, 64 } }, sdpa)
product("sdpa_1_12_1024_64", { { 1, 12, 1024, 64 }, { 1, 12, 1024, 64 }, { 1, 12, 1024, 64 } }, sdpa)
product("conv2d_3x3", { { 8, 64, 56, 56 }, { 64, 64, 3, 3 } },
  function(x, w) return F.conv2d(x, w, { padding = 1 }) end)
product("conv2d_depthwise", { { 8, 64, 56, 56 }, { 64, 1, 3, 3 } },
  function(x, w) return F.conv2d(x, w, { padding = 1, groups = 64 }) end)
product("conv1d_audio", { { 1, 80, 3000 }, { 384, 80, 3 } },
  function(x, w) return F.conv1d(x, w, { padding = 1 }) end)
product("max_pool_2d", { { 8, 64, 112, 112 } }, function(x) return F.max_pool2d(x, 3, 2, 1) end)

-- Models: BERT's encoder from the library's own layers, and one step of a decoder with a cache.

local function bert_class()
  local Layer = nn.Module:extend("Layer")
  function Layer:init(d, heads, ff)
    self.heads = heads
    self.q, self.k, self.v, self.o = nn.Linear(d, d), nn.Linear(d, d), nn.Linear(d, d), nn.Linear(d, d)
    self.n1, self.n2 = nn.LayerNorm(d), nn.LayerNorm(d)
    self.up, self.down = nn.Linear(d, ff), nn.Linear(ff, d)
  end
  function Layer:forward(x, mask)
    local b, s, d = x.shape:unpack()
    local q = self.q(x):view(b, s, self.heads, -1):transpose(1, 2)
    local k = self.k(x):view(b, s, self.heads, -1):transpose(1, 2)
    local v = self.v(x):view(b, s, self.heads, -1):transpose(1, 2)
    local a = F.scaled_dot_product_attention(q, k, v, { attn_mask = mask }):transpose(1, 2):reshape(b, s, d)
    x = self.n1(x + self.o(a))
    return self.n2(x + self.down(F.gelu(self.up(x))))
  end

  local Bert = nn.Module:extend("Bert")
  function Bert:init(d, heads, ff, layers, vocab, positions)
    self.word, self.pos = nn.Embedding(vocab, d), nn.Embedding(positions, d)
    self.norm = nn.LayerNorm(d)
    local list = {}
    for i = 1, layers do list[i] = Layer(d, heads, ff) end
    self.layers = nn.ModuleList(list)
    self.count = layers
  end
  function Bert:forward(ids)
    local x = self.norm(self.word(ids) + self.pos(torch.arange(ids.shape[1])))
    local mask = torch.zeros(ids.shape[0], 1, 1, ids.shape[1])
    for i = 0, self.count - 1 do x = self.layers[i](x, mask) end
    return x
  end
  return Bert
end

local function bert(name, batch, seq, train, tiny)
  workload(name, function()
    local Bert = bert_class()
    local m = tiny and Bert(64, 4, 256, 2, 1000, 512) or Bert(768, 12, 3072, 12, 30522, 512)
    local ids = torch.randint(0, 1000, { batch, seq })
    if not train then return no_grad(function() return m(ids) end) end
    local opt = optim.AdamW(m:parameters(), { lr = 1e-4 })
    local target = torch.randn(batch, seq, m.norm.weight:numel())
    return function()
      opt:zero_grad()
      F.mse_loss(m(ids), target):backward()
      opt:step()
    end
  end)
end

bert("bert_tiny_forward", 2, 16, false, true)
bert("bert_tiny_train_step", 2, 16, true, true)
bert("bert_base_forward_1x128", 1, 128, false, false)
bert("bert_base_forward_8x128", 8, 128, false, false)
bert("bert_base_train_step_4x128", 4, 128, true, false)

workload("gpt_decode", function()
  local d, heads, layers, past = 768, 12, 12, 256
  local w, cache = {}, {}
  for i = 1, layers do
    w[i] = { nn.Linear(d, 3 * d), nn.Linear(d, d), nn.Linear(d, 4 * d), nn.Linear(4 * d, d),
      nn.LayerNorm(d), nn.LayerNorm(d) }
    cache[i] = { torch.randn(1, heads, past, d // heads), torch.randn(1, heads, past, d // heads) }
  end
  local head, x0 = nn.Linear(d, 50257, { bias = false }), torch.randn(1, 1, d)
  return no_grad(function()
    local x = x0
    for i = 1, layers do
      local qkv, o, up, down, n1, n2 = table.unpack(w[i])
      local parts = qkv(n1(x)):chunk(3, -1)
      for j = 1, 3 do parts[j] = parts[j]:view(1, 1, heads, -1):transpose(1, 2) end
      local k, v = torch.cat({ cache[i][1], parts[2] }, 2), torch.cat({ cache[i][2], parts[3] }, 2)
      local a = F.scaled_dot_product_attention(parts[1], k, v)
      x = x + o(a:transpose(1, 2):reshape(1, 1, d))
      x = x + down(F.gelu(up(n2(x)), { approximate = "tanh" }))
    end
    return head(x):argmax(-1)
  end)
end)

-- --check runs every workload once at the start and leaves out of the list those whose parts the engine lacks, so
-- that the comparison says "missing".
local function available()
  local list = {}
  for _, name in ipairs(names) do
    local ok, run = pcall(setups[name])
    if ok then ok = pcall(run) end
    if ok then list[#list + 1] = name end
    collectgarbage()
  end
  return list
end

local function serve(threads, check)
  torch.set_num_threads(threads)
  torch.manual_seed(0)
  local live = {}
  local listed = check and available() or names
  io.stdout:write("ready\n")
  io.stdout:flush()
  for line in io.lines() do
    local name, seconds = line:match("^(%S+)%s*(%S*)")
    if name == "list" then
      io.stdout:write(table.concat(listed, " "), "\n")
    else
      seconds = tonumber(seconds)
      if not live[name] then
        live = { [name] = setups[name]() }
        collectgarbage()
        live[name]()
      end
      local run, n, start = live[name], 0, now()
      local spent
      repeat
        run()
        n = n + 1
        spent = now() - start
      until spent >= seconds
      io.stdout:write(string.format("%s %.9g\n", name, spent / n))
    end
    io.stdout:flush()
  end
end

local threads, check = 2, false
for i = 1, #arg do
  if arg[i] == "--threads" then threads = math.tointeger(tonumber(arg[i + 1])) end
  if arg[i] == "--check" then check = true end
end
serve(threads, check)
