-- sessions.lua: short scripts of each kind of work, for the fault sweep and for valgrind.  Run as a script it runs all.
local torch = require "torch"

local sessions = {}

function sessions.arithmetic()
  local x, y = torch.ones(3, 4), torch.arange(12.0):reshape(3, 4)
  local z = (x + y * 2 - 1) / 3
  z:add_(x):mul_(2)
  local s = z:sum(1):exp():mean()
  assert(s:item())
end

function sessions.views()
  local x = torch.arange(24.0):reshape(2, 3, 4)
  local v = x["1:, ::2"]:transpose(0, 2):contiguous()
  x["0, :"] = 1
  x[x:gt(3)] = 0
  local parts = x:chunk(3, 1)
  assert(torch.cat(parts, 1):size(1) == 3 and v)
end

function sessions.reductions()
  local x = torch.rand(4, 5)
  local values, indices = x:max(1)
  local sorted = x:sort(0)
  assert(values and indices and sorted and x:argmax() and x:softmax(-1) and x:cumsum(0) and x:topk(2))
end

function sessions.products()
  local a, b = torch.rand(3, 4), torch.rand(4, 5)
  assert(a:matmul(b) and torch.einsum("ij,jk->ki", a, b) and torch.bmm(torch.rand(2, 3, 4), torch.rand(2, 4, 3)))
end

function sessions.text()
  assert(#tostring(torch.rand(3, 3)) > 10 and #torch.ones(2, 2):tolist() == 2)
end

function sessions.autograd()
  local w = torch.rand(3, 4, { requires_grad = true })
  local x = torch.rand(4, 2)
  local loss = (w:matmul(x):tanh() ^ 2):sum()
  loss:backward()
  assert(w.grad)
end

-- The sweep runs the rest of a session in children, which must not touch each other's temporary files: the first run
-- writes, the others read (tests/fuzz/saves.c fails the requests of a save).
local written
function sessions.files()
  local base = (os.getenv("TMPDIR") or "/tmp") .. "/moth-faults."
  if not written then
    local x = torch.arange(12.0):reshape(3, 4)
    for _, ext in ipairs { "safetensors", "npz", "pt" } do torch.save({ a = x, b = x:t() }, base .. ext) end
    torch.save({ list = { 1, { "x" } }, sd = { w = x } }, base .. "bin")
    torch.save(x, base .. "npy")
    written = true
  end
  for _, ext in ipairs { "safetensors", "npz", "pt" } do assert(torch.load(base .. ext).b:size(0) == 4) end
  assert(torch.load(base .. "bin").list[2][1] == "x")
  assert(torch.load(base .. "npy"):size(0) == 3)
end

function sessions.json()
  local json = require "json"
  local text = json.encode({ a = { 1, 2.5, json.null }, b = "é\n" })
  assert(json.encode(json.decode(text)) == text)
end

function sessions.modules()
  local net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.LayerNorm(4), nn.Linear(4, 2))
  local loss = F.cross_entropy(net(torch.ones(2, 3)), torch.tensor({ 0, 1 }))
  loss:backward()
  assert(#tostring(net) > 10 and net:state_dict()["0.weight"]:size(0) == 4)
  net:load_state_dict(net:state_dict())
  net:to(torch.float64):eval()
  assert(net(torch.ones(1, 3, { dtype = torch.float64 })).dtype == torch.float64)
end

function sessions.training()
  local w = torch.ones(2, 3, { requires_grad = true })
  for _, make in ipairs { torch.optim.SGD, torch.optim.AdamW } do
    local opt = make({ w }, { lr = 0.1 })
    for _ = 1, 2 do
      opt:zero_grad()
      local loss = (w * w):sum()
      loss:backward()
      opt:step()
    end
    opt:load_state_dict(opt:state_dict())
  end
  local g = torch.autograd.grad((w ^ 3):sum(), w, { create_graph = true })
  g = type(g) == "table" and g[1] or g
  assert(torch.autograd.grad(g:sum(), w))
end

function sessions.layers()
  local x = torch.ones(1, 2, 5, 5)
  local y = F.conv2d(x, torch.ones(3, 2, 3, 3), nil, { padding = 1 })
  y = F.max_pool2d(y, 2)
  y = F.interpolate(y, { scale_factor = 2.0 })
  assert(F.batch_norm(y, nil, nil, nil, nil, true):size(1) == 3)
  local q = torch.ones(1, 2, 3, 4)
  assert(F.scaled_dot_product_attention(q, q, q):size(3) == 4)
  assert(nn.LSTM(3, 4)(torch.ones(2, 1, 3)))
  assert(F.embedding(torch.tensor({ 1, 0 }), torch.ones(3, 2)):size(0) == 2)
end

function sessions.algebra()
  local a = torch.eye(3) * 2 + 0.5
  assert(torch.linalg.inv(a) and torch.linalg.eigh(a) and torch.linalg.svd(a) and torch.linalg.det(a))
  assert(torch.fft.ifft(torch.fft.fft(torch.arange(6.0))) and torch.fft.rfft2(a))
  assert(a:unique() and torch.histc(a, 4) and a:median() and a:quantile(0.5))
end

function sessions.strings()
  local parts = {}
  for word in ("one two  three"):gmatch("%a+") do parts[#parts + 1] = word:upper():rep(3, "-") end
  local text = table.concat(parts, ","):gsub("O", "%0%0")
  assert(("%-10s|%q|%5.2f|%s"):format(text, "a\0b", 1.5, torch.ones(2)):find("tensor", 1, true))
  table.sort(parts, function(a, b) return a > b end)
  assert(string.pack("i4s2", 7, text) and #text:reverse() == #text)
end

function sessions.prompt()
  local complete, docs = require "repl.complete", require "repl.docs"
  for _, text in ipairs { "torch.sof", "x = torch.ones(2):s", "F.relu(", "nn.Li" } do
    local _, list = complete.candidates(text, #text + 1)
    assert(list)
  end
  assert(docs and require("repl.units").check("for i = 1, 2 do"))
end

function sessions.words()
  local data = debug.getinfo(1, "S").source:match("^@(.*)/faults/[^/]*$") .. "/tokenizers/data/"
  local t = require("tokenizers").from_file(data .. "bert_cased.json")
  assert(t:decode(t:encode("Some words, an é").ids))
end

function sessions.errors()
  for _, f in ipairs {
    function() return torch.ones(2, 3) + torch.ones(4, 5) end,
    function() return torch.ones(2):reshape(3) end,
    function() return torch.zeros("x") end,
  } do
    assert(not pcall(f))
  end
end

if arg and arg[0] and arg[0]:find("sessions.lua", 1, true) then
  torch.set_num_threads(1)
  local failed = 0
  for name, run in pairs(sessions) do
    local ok, err = pcall(run)
    if not ok then
      failed = failed + 1
      print("FAIL session " .. name .. ": " .. tostring(err))
    end
  end
  os.exit(failed == 0, true)
end

return sessions
