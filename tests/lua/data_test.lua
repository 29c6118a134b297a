-- data_test.lua: datasets, samplers, collating, the loader's batches.
package.path = "tests/lua/?.lua;" .. package.path
local t, torch = require "check", require "torch"
local data = torch.utils.data

local Squares = data.Dataset:extend("Squares")
function Squares:init(n) self.n = n end
function Squares:get(i) return i, i * i + 0.5, "s" .. i end
function Squares:len() return self.n end

t.test("a loader over a dataset of our own", function()
  local seen = {}
  for i, sq, s in data.DataLoader(Squares(7), { batch_size = 3 }):iter() do
    seen[#seen + 1] = { tostring(i), tostring(sq.dtype), #s }
  end
  t.eq(#seen, 3); t.eq(seen[1][1], "tensor([0, 1, 2])"); t.eq(seen[1][2], "torch.float64"); t.eq(seen[3][3], 1)
  t.eq(#data.DataLoader(Squares(7), { batch_size = 3 }), 3)
  t.eq(#data.DataLoader(Squares(7), 3, false, { drop_last = true }), 2)
end)

t.test("tensor dataset, subset, concat", function()
  if not torch.index_select then return end
  local x, y = torch.arange(10):reshape(5, 2), torch.arange(5)
  local ds = data.TensorDataset(x, y)
  local a, b = ds:get(1)
  t.eq(tostring(a), "tensor([2, 3])"); t.eq(b:item(), 1); t.eq(#ds, 5)
  local sub = data.Subset(ds, { 4, 0 })
  t.eq(select(2, sub:get(0)):item(), 4)
  for bx, by in data.DataLoader(sub, { batch_size = 2 }):iter() do
    t.eq(tostring(bx), "tensor([[8, 9],\n        [0, 1]])"); t.eq(tostring(by), "tensor([4, 0])")
  end
  local cat = data.ConcatDataset { ds, sub }
  t.eq(cat:len(), 7); t.eq(select(2, cat:get(5)):item(), 4); t.eq(select(2, cat:get(4)):item(), 4)
  t.error_matches(function() cat:get(7) end, "out of range")
  t.error_matches(function() data.TensorDataset(x, torch.arange(4)) end, "size mismatch")
end)

t.test("tables are collated by field", function()
  if not torch.stack then return end
  local D = data.Dataset:extend("D")
  function D.get(_, i) return { id = i, v = torch.ones(2) * i, pair = { i, -i } } end
  function D.len() return 4 end
  local n = 0
  for b in data.DataLoader(D(), { batch_size = 2 }):iter() do
    n = n + 1
    t.ok(b.v.shape == { 2, 2 }); t.eq(#b.pair, 2)
    if n == 2 then t.eq(tostring(b.id), "tensor([2, 3])"); t.eq(tostring(b.pair[2]), "tensor([-2, -3])") end
  end
  t.eq(n, 2)
end)

t.test("iterable dataset, no batching, collate_fn", function()
  local S = data.IterableDataset:extend("S")
  function S.iter()
    local i = 0
    return function() i = i + 1; if i <= 5 then return i end end
  end
  local got = {}
  for b in data.DataLoader(S(), { batch_size = 2 }):iter() do got[#got + 1] = #b end
  t.eq(got, { 2, 2, 1 })
  local plain = {}
  for v in data.DataLoader(S(), { batch_size = torch.None }):iter() do plain[#plain + 1] = v end
  t.eq(plain, { 1, 2, 3, 4, 5 })
  local counted = data.DataLoader(Squares(4), { batch_size = 4, collate_fn = function(l) return #l end })
  for v in counted:iter() do t.eq(v, 4) end
end)

t.test("shuffling covers everything once", function()
  if not torch.randperm then return end
  torch.manual_seed(0)
  local seen, n = {}, 0
  for i in data.DataLoader(Squares(20), { batch_size = 6, shuffle = true }):iter() do
    for _, v in ipairs(i:tolist()) do seen[v] = true; n = n + 1 end
  end
  t.eq(n, 20)
  for i = 0, 19 do t.ok(seen[i]) end
  local parts = data.random_split(Squares(10), { 0.7, 0.3 })
  t.eq(#parts[1], 7); t.eq(#parts[2], 3)
  t.error_matches(function() data.random_split(Squares(10), { 7, 4 }) end, "sum up")
end)

t.test("the order is PyTorch's", function()
  if not torch.Generator then return end
  torch.manual_seed(0)
  local order = {}
  for i in data.DataLoader(Squares(10), { batch_size = 4, shuffle = true }):iter() do
    for _, v in ipairs(i:tolist()) do order[#order + 1] = v end
  end
  t.eq(table.concat(order, " "), "6 7 1 4 2 0 9 8 3 5")
  torch.manual_seed(1)
  t.eq(table.concat(data.random_split(Squares(8), { 8 })[1].indices, " "), "5 4 2 6 7 3 1 0")
end)

t.test("workers prepare batches in order", function()
  local sys = require "sys"
  local dir = assert(sys.tmpdir())
  sys.write(dir .. "/worker_squares.lua", [[
    local D = torch.utils.data.Dataset:extend("D")
    function D.get(_, i) if i == 13 then error("bad sample " .. i) end return torch.full({ 3 }, i), i * i end
    function D.len() return 20 end
    return D()
  ]])
  package.path = dir .. "/?.lua;" .. package.path
  local ds = require "worker_squares"
  local function loader(list)
    return data.DataLoader(ds, { batch_size = 4, sampler = list, num_workers = 2, worker_dataset = "worker_squares" })
  end
  local rows = data.Sampler:extend("Rows")
  function rows:init(n) self.n = n end
  function rows:len() return self.n end
  function rows:iter()
    local i = -1
    return function() i = i + 1; if i < self.n then return i end end
  end
  local at = 0
  for x, sq in loader(rows(12)):iter() do
    t.ok(x.shape == { 4, 3 })
    for k = 0, 3 do t.eq(sq[k]:item(), (at + k) ^ 2 | 0); t.eq(x[k][0]:item(), at + k) end
    at = at + 4
  end
  t.eq(at, 12)
  t.error_matches(function() for _ in loader(rows(20)):iter() do end end, "bad sample 13")
  local _, _, _, pool = loader(rows(12)):iter()
  pool:close()
  collectgarbage()
  sys.remove(dir, { recursive = true })
end)

t.test("workers are copies of this process", function()
  local factor = 3
  local Local = data.Dataset:extend("Local")
  function Local.get(_, i)
    if i == 90 then error("bad sample 90") end
    return torch.full({ 2 }, i * factor), { name = "s" .. i, id = data.get_worker_info().id }
  end
  function Local.len() return 50 end
  local started = {}
  local loader = data.DataLoader(Local(), { batch_size = 8, num_workers = 2,
    worker_init_fn = function(id) started[id] = true end })
  local at, workers = 0, {}
  for x, info in loader:iter() do
    t.eq(x[0][0]:item(), at * factor)
    t.eq(info.name[1], "s" .. at)
    workers[info.id[0]:item()] = true
    at = at + #x
  end
  t.eq({ at, workers[0], workers[1], next(started) }, { 50, true, true })
  t.eq(data.get_worker_info(), nil)
  t.error_matches(function()
    for _ in data.DataLoader(Local(), { sampler = data.SubsetRandomSampler { 90 }, num_workers = 1 }):iter() do end
  end, "bad sample 90")
  local Stream = data.IterableDataset:extend("Stream")
  function Stream.iter()
    local info = data.get_worker_info()
    local i = info.id - info.num_workers
    return function()
      i = i + info.num_workers
      if i < 11 then return i end
    end
  end
  local seen = {}
  for x in data.DataLoader(Stream(), { batch_size = 2, num_workers = 3 }):iter() do
    for _, v in ipairs(x:tolist()) do seen[#seen + 1] = v end
  end
  t.eq(table.concat(seen, " "), "0 3 1 4 2 5 6 9 7 10 8")
end)

t.test("every name has help, and its example runs", function()
  local docs = require "repl.docs"
  for name, v in pairs(data) do
    if type(v) == "table" or name == "default_collate" or name == "random_split" then
      local entry = docs.get("utils.data." .. name)
      t.ok(entry and entry.doc, name)
      local code, want = entry.example:match("^(.-)%s*%-%->%s*(.*)$")
      local got = tostring((assert(load("return " .. (code or entry.example)))()))
      if want then t.eq(got, want, name) end
    end
  end
end)

t.test("wrong options", function()
  t.error_matches(function() data.DataLoader(Squares(3), { batchsize = 2 }) end, "batchsize")
  t.error_matches(function() data.DataLoader(Squares(3), { batch_size = 0 }) end, "positive")
  t.error_matches(function() data.DataLoader(Squares(3), { shuffle = true, sampler = 1 }) end, "exclusive")
  t.error_matches(function() data.Dataset():get(0) end, "get(i)")
end)
t.test("DistributedSampler: PyTorch's parts; default_convert", function()
  local D = torch.utils.data
  local ds = D.TensorDataset(torch.arange(10))
  local function part(o)
    local s, list = D.DistributedSampler(ds, o), {}
    s:set_epoch(2)
    for i in s:iter() do list[#list + 1] = i end
    t.eq(#list, s:len())
    return table.concat(list, " ")
  end
  t.eq(part { num_replicas = 3, rank = 1, shuffle = false }, "1 4 7 0")
  t.eq(part { num_replicas = 3, rank = 2 }, "1 9 2 7")
  t.eq(part { num_replicas = 3, rank = 0, drop_last = true, seed = 4 }, "0 1 9")
  t.error_matches(function() part { num_replicas = 2, rank = 2 } end, "Invalid rank 2")
  t.error_matches(function() part { rank = 0 } end, "num_replicas must be given")
  t.eq(D.default_convert { 1, { "a" } }, { 1, { "a" } })
end)

t.done()
