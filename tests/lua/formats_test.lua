-- formats_test.lua: files that torch, numpy, safetensors and gguf wrote (tests/data/files/record.py) are read right.
package.path = "tests/lua/?.lua;" .. package.path
local t, torch, json = require "check", require "torch", require "json"
local gguf, st = require "gguf", require "safetensors"

local dir = "tests/data/files/"
local expect = json.load(dir .. "expect.json")

-- Values in row order: complex numbers as pairs.
local function values(x)
  if x.is_complex and x:is_complex() then
    local re, im, list = x.real:flatten():tolist(), x.imag:flatten():tolist(), {}
    for i = 1, #re do list[i] = { re[i], im[i] } end
    return list
  end
  local list = x:flatten():tolist()
  return type(list) == "table" and list or { list }
end

local function encoded(list) return json.encode(list, { allow_nan = true }) end

local function compare(name, x, want)
  t.eq(tostring(x.dtype), "torch." .. want.dtype, name .. " dtype")
  t.ok(x.shape == want.shape, name .. " shape " .. tostring(x.shape))
  t.eq(encoded(values(x)), encoded(want.values), name)
end

for file, tensors in pairs(expect) do
  t.test(file, function()
    local got = torch.load(dir .. file)
    for name, want in pairs(tensors) do compare(name, name == "" and got or got[name], want) end
    if file == "deflated.npz" then t.ok(got.zeros.shape == { 40, 40 } and got.zeros[39][39]:item() == 0, "zeros") end
  end)
end

t.test("quantised blocks", function()
  local got, info = gguf.load_file(dir .. "quant.gguf"), gguf.info(dir .. "quant.gguf")
  local want = st.load_file(dir .. "quant.safetensors")
  local n = 0
  for name, x in pairs(want) do
    t.eq(info[name].type, name)
    t.ok(got[name].shape == x.shape, name)
    t.eq(encoded(got[name]:flatten():tolist()), encoded(x:flatten():tolist()), name)
    n = n + 1
  end
  t.eq(n, 10)
  local meta = gguf.metadata(dir .. "quant.gguf")
  t.eq(meta["llama.block_count"], 3); t.eq(meta["tokenizer.ggml.tokens"][2], "é"); t.eq(meta["x.flag"], true)
  t.eq(meta["tokenizer.ggml.scores"], { 0.5, 1.0 })
end)

t.test("a nested checkpoint", function()
  local c = torch.load(dir .. "nested.pt")
  t.eq(c.step, 12); t.eq(c.lr, 1e-4); t.eq(c.betas, { 0.9, 0.999 }); t.ok(c.none == torch.None); t.eq(c.flag, true)
  t.eq(c.name, "é"); t.eq(c.big, 1 << 40); t.ok(c.dtype == torch.bfloat16); t.eq(c.device, "cpu")
  t.ok(c.size == { 2, 3 })
  local names = {}
  for k in pairs(c.model) do names[#names + 1] = k end
  t.eq(names, { "weight", "bias" })
  t.eq(c.model.weight:tolist(), { { 1.0, 2.0 }, { 3.0, 4.0 } })
  t.eq(c.param.requires_grad, true)
end)
t.done()
