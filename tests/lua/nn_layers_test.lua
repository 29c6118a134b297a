-- nn_layers_test.lua: every layer is documented and its example runs; names, shapes and first values after a seed are PyTorch's.
local t = require "check"
local torch = require "torch"
local nn = torch.nn
local cases = dofile((arg[0]:match("^(.*)/lua/[^/]*$") or "tests") .. "/data/nn_init.lua")

for _, case in ipairs(cases) do
  local ctor, text = case[1], case[2]
  t.test(ctor, function()
    torch.manual_seed(0)
    local m = assert(load("return nn." .. ctor))()
    t.eq(tostring(m), text)
    local i = 2
    for name, v in pairs(m:state_dict()) do
      i = i + 1
      local want = case[i] or error("unexpected " .. name)
      t.eq(name, want[1])
      t.eq(v.shape:totable(), want[2], name)
      local flat = v:double():reshape(-1)
      for k, x in ipairs(want[3]) do t.near(flat[k - 1]:item(), x, 2e-7, name) end
      t.near(flat:sum():item(), want[4], 1e-6, name)
    end
    t.eq(i, #case, "entries")
  end)
end

-- ---- gradients of every layer with parameters, by finite differences ----
local function r(...) return torch.randn({ ... }, { dtype = torch.float64, requires_grad = true }) end
local checked = {
  { "Linear(3, 2)", r(2, 3) }, { "Bilinear(2, 3, 4)", r(2, 2), r(2, 3) }, { "Conv1d(2, 3, 2)", r(1, 2, 4) },
  { "Conv2d(2, 2, 2, {groups = 2})", r(1, 2, 3, 3) }, { "Conv3d(1, 2, 2)", r(1, 1, 2, 3, 2) },
  { "Conv2d(1, 2, 3, {padding = 1, padding_mode = 'reflect'})", r(1, 1, 3, 3) },
  { "ConvTranspose1d(2, 3, 2)", r(1, 2, 3) }, { "ConvTranspose2d(2, 2, 2)", r(1, 2, 2, 2) },
  { "ConvTranspose3d(1, 1, 2)", r(1, 1, 2, 2, 2) }, { "BatchNorm1d(3)", r(4, 3) },
  { "BatchNorm2d(2)", r(2, 2, 2, 2) }, { "BatchNorm3d(2)", r(2, 2, 2, 1, 2) }, { "LayerNorm(3)", r(2, 3) },
  { "RMSNorm(3)", r(2, 3) }, { "GroupNorm(2, 4)", r(1, 4, 3) }, { "InstanceNorm1d(2, {affine = true})", r(2, 2, 3) },
  { "PReLU(2)", r(2, 2, 2) }, { "Embedding(5, 3)" }, { "EmbeddingBag(5, 3)" }, { "CrossMapLRN2d(3)", r(1, 4, 2, 2) },
  { "LocalResponseNorm(3)", r(1, 4, 2) }, { "AdaptiveLogSoftmaxWithLoss(4, 6, {2, 4}, 2.0)", r(2, 4) },
  { "LSTM(2, 3)", r(3, 2) }, { "GRU(2, 3)", r(3, 2) }, { "RNN(2, 3)", r(3, 2) },
  { "MultiheadAttention(4, 2)", r(3, 4), r(3, 4), r(3, 4) }, { "TransformerEncoderLayer(4, 2, 8, 0.0)", r(3, 4) },
}
for _, case in ipairs(checked) do
  t.test("gradients of " .. case[1], function()
    torch.manual_seed(0)
    local m = assert(load("return nn." .. case[1]))():double()
    local inputs, n = table.move(case, 2, #case, 1, {}), #case - 1
    for _, p in ipairs(m:parameters()) do inputs[#inputs + 1] = p end
    local ids = case[1]:find("^Embedding") and torch.tensor { { 1, 2 }, { 0, 4 } }
    local target = case[1]:find("^Adaptive") and torch.tensor { 1, 5 }
    t.ok(torch.autograd.gradcheck(function(...)
      if ids then return (m(ids)) end
      if target then return (m((...), target)) end
      return (m(table.unpack({ ... }, 1, n)))
    end, inputs))
  end)
end

local _ = nn.Module
local names = getmetatable(nn).__names()
table.sort(names)
for _, name in ipairs(names) do
  local class = nn[name]
  if type(class) == "table" and rawget(class, "__instance") then
    t.test(name, function()
      local doc = rawget(class, "__doc") or error("has no help text")
      t.ok(doc.doc and doc.doc ~= "" and doc.example, "has no text or example")
      assert(load("return " .. doc.example))()
    end)
  end
end

t.done()
