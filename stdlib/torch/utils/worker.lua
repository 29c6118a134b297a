-- torch.utils.worker: the processes that prepare a DataLoader's batches.
--
-- A worker is this program running `serve`: it makes the dataset by requiring a module, reads one request a line
-- ("number index index ..."), and answers each with a line after the batch lies as number.pt in the shared folder.
-- Batches come back in the order of the requests; a worker that fails passes its error on.
local torch = require "torch"
local sys = require "sys"

local worker = {}

-- ---- in the worker ----

--- Serves requests from standard input until it ends.  info: {module, folder, id, num_workers, seed}.
function worker.serve(info)
  local data = require "torch.utils.data"
  torch.manual_seed(info.seed + info.id)
  torch.set_num_threads(1)
  local dataset = require(info.module)
  if type(dataset) == "function" then dataset = dataset() end
  info.dataset = dataset
  data.worker_info = info
  local loader = data.DataLoader(dataset, { batch_size = 1 })
  local collate = type(dataset) == "table" and rawget(dataset, "collate_fn")
  if collate then loader.collate_fn = collate end
  for line in io.lines() do
    local number, rest = line:match("^(%d+) ?(.*)$")
    local indices = {}
    for i in rest:gmatch("%-?%d+") do indices[#indices + 1] = math.tointeger(i) end
    local ok, err = pcall(function()
      local fields = table.pack(data.fetch(loader, indices))
      for k = 1, fields.n do if fields[k] == nil then fields[k] = torch.None end end
      fields.n = nil
      torch.save(fields, info.folder .. "/" .. number .. ".pt")
    end)
    io.write(number, ok and " ok\n" or " " .. tostring(err):gsub("[\r\n]+", " ") .. "\n")
    io.flush()
  end
end

-- ---- in the program ----

local Pool = {}
Pool.__index = Pool

local function start(pool, id)
  local info = string.format("{module = %q, folder = %q, id = %d, num_workers = %d, seed = %d}",
    pool.module, pool.folder, id, pool.count, pool.seed)
  local code = string.format("package.path = %q require('torch.utils.worker').serve(%s)", package.path, info)
  return assert(sys.spawn({ assert(sys.realpath("/proc/self/exe")), "-e", code }, { stdin = "pipe", stdout = "pipe" }))
end

--- Starts `count` workers over the dataset that module gives.
function worker.pool(module, count, seed)
  local shared = sys.isdir("/dev/shm") and "/dev/shm" or nil
  local pool = setmetatable({ module = module, count = count, seed = seed, procs = {} }, Pool)
  pool.folder = assert(sys.tmpdir(shared))
  for id = 0, count - 1 do pool.procs[id] = start(pool, id) end
  return pool
end

function Pool:ask(number, indices)
  local proc = self.procs[number % self.count]
  local ok, err = proc:write(number .. " " .. table.concat(indices, " ") .. "\n")
  if not ok then error("DataLoader: worker " .. proc.pid .. " has ended: " .. tostring(err), 0) end
end

--- The values of request `number`, which must be the oldest one that its worker has not answered.
function Pool:answer(number)
  local proc = self.procs[number % self.count]
  local line = proc:read("l")
  if not line then
    local code, what = proc:wait(5)
    error(string.format("DataLoader: worker %d ended unexpectedly (%s)", proc.pid, tostring(code or what)), 0)
  end
  local text = line:match("^%d+ (.*)$")
  if text ~= "ok" then error("DataLoader: in worker " .. number % self.count .. ": " .. tostring(text or line), 0) end
  local path = self.folder .. "/" .. number .. ".pt"
  local fields = torch.load(path)
  sys.remove(path)                       -- mapped tensors keep the data
  for k, v in ipairs(fields) do if v == torch.None then fields[k] = nil end end
  return table.unpack(fields, 1, #fields)
end

function Pool:close()
  for _, proc in pairs(self.procs) do proc:close() end
  self.procs = {}
  if self.folder then sys.remove(self.folder, { recursive = true }) end
  self.folder = nil
end
Pool.__close = Pool.close
Pool.__gc = Pool.close

--- An iterator over the batches of index lists that next_indices gives, `ahead` requests at a time, and what closes it.
function worker.iterate(pool, next_indices, ahead)
  local asked, answered, done = 0, 0, false
  local function fill()
    while not done and asked - answered < ahead do
      local indices = next_indices()
      if indices == nil then done = true
      else
        pool:ask(asked, type(indices) == "table" and indices or { indices })
        asked = asked + 1
      end
    end
  end
  return function()
    fill()
    if answered == asked then
      pool:close()
      return nil
    end
    answered = answered + 1
    return pool:answer(answered - 1)
  end, nil, nil, pool
end

return worker
