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
