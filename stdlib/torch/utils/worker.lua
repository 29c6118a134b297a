-- torch.utils.worker: the processes that prepare a DataLoader's batches.
--
-- A worker is a copy of this process (fork), so the dataset is at hand as it is; or, given the name of a module that
-- makes the dataset, this program started anew.  It reads one request a line ("number index index ...", or "number"
-- for the next batch of a stream) and answers each with a line after the batch lies as number.pt in the shared folder.
-- Batches come back in the order of the requests; a worker that fails passes its error on.
local torch = require "torch"
local sys = require "sys"

local worker = {}

-- ---- in the worker ----

-- The answer to one request: "ok" (the batch lies in its file), "end" (of a stream) or an error's text.
local function answer(fetch, number, indices, folder)
  local fields
  local ok, err = pcall(function()
    fields = table.pack(fetch(indices))
    if fields.n == 0 or (fields.n == 1 and fields[1] == nil) then return end
    for k = 1, fields.n do if fields[k] == nil then fields[k] = torch.None end end
    fields.n = nil
    torch.save(fields, folder .. "/" .. number .. ".pt")
  end)
  if not ok then return (tostring(err):gsub("[\r\n]+", " ")) end
  return fields.n and "end" or "ok"
end

-- Serves requests from standard input until it ends.
local function run(loader, info)
  local data = require "torch.utils.data"
  torch.manual_seed(info.seed + info.id)
  torch.set_num_threads(1)
  info.dataset = loader.dataset
  data.worker_info = info
  if loader.worker_init_fn then loader.worker_init_fn(info.id) end
  local stream = loader.iterable and data._stream(loader)
  local function fetch(indices) if stream then return stream() end return data._fetch(loader, indices) end
  for line in io.lines() do
    local number, rest = line:match("^(%d+) ?(.*)$")
    local indices = {}
    for i in rest:gmatch("%-?%d+") do indices[#indices + 1] = math.tointeger(i) end
    io.write(number, " ", answer(fetch, number, indices, info.folder), "\n")
    io.flush()
  end
end

--- In a worker started anew.  info: {module, folder, id, num_workers, seed}.
function worker.serve(info)
  local data = require "torch.utils.data"
  local dataset = require(info.module)
  if type(dataset) == "function" then dataset = dataset() end
  local loader = data.DataLoader(dataset, { batch_size = 1 })
  local collate = type(dataset) == "table" and rawget(dataset, "collate_fn")
  if collate then loader.collate_fn = collate end
  run(loader, info)
end

-- ---- in the program ----

local Pool = {}
Pool.__index = Pool

local function start(pool, id)
  if pool.loader then
    return assert(sys._fork(function()
      run(pool.loader, { folder = pool.folder, id = id, num_workers = pool.count, seed = pool.seed })
    end))
  end
  local info = string.format("{module = %q, folder = %q, id = %d, num_workers = %d, seed = %d}",
    pool.module, pool.folder, id, pool.count, pool.seed)
  local code = string.format("package.path = %q require('torch.utils.worker').serve(%s)", package.path, info)
  return assert(sys.spawn({ assert(sys.realpath("/proc/self/exe")), "-e", code }, { stdin = "pipe", stdout = "pipe" }))
end

--- Starts `count` workers: copies of this process for a loader, or new ones over the dataset that a module gives.
function worker.pool(source, count, seed)
  local shared = sys.isdir("/dev/shm") and "/dev/shm" or nil
  local pool = setmetatable({ count = count, seed = seed, procs = {} }, Pool)
  if type(source) == "string" then pool.module = source else pool.loader = source end
  pool.folder = assert(sys.tmpdir(shared))
  for id = 0, count - 1 do pool.procs[id] = start(pool, id) end
  return pool
end

function Pool:ask(number, indices, id)
  local proc = self.procs[id or number % self.count]
  local ok, err = proc:write(number .. " " .. table.concat(indices, " ") .. "\n")
  if not ok then error("DataLoader: worker " .. proc.pid .. " has ended: " .. tostring(err), 0) end
end

--- The values of request `number`, which must be the oldest one that its worker has not answered.
function Pool:answer(number, id)
  local proc = self.procs[id or number % self.count]
  local line = proc:read("l")
  if not line then
    local code, what = proc:wait(5)
    error(string.format("DataLoader: worker %d ended unexpectedly (%s)", proc.pid, tostring(code or what)), 0)
  end
  local text = line:match("^%d+ (.*)$")
  if text == "end" then return end
  if text ~= "ok" then
    error("DataLoader: in worker " .. (id or number % self.count) .. ": " .. tostring(text or line), 0)
  end
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

--- An iterator over the batches of streams, one in each worker: the workers take turns until all have ended.
function worker.iterate_streams(pool, prefetch)
  local waiting, at, asked = {}, 0, 0
  for id = 0, pool.count - 1 do waiting[id] = {} end
  local function ask(id)
    pool:ask(asked, {}, id)
    table.insert(waiting[id], asked)
    asked = asked + 1
  end
  for _ = 1, prefetch do for id = 0, pool.count - 1 do ask(id) end end
  return function()
    for _ = 1, pool.count do
      local id = at
      at = (at + 1) % pool.count
      if waiting[id] then
        local batch = table.pack(pool:answer(table.remove(waiting[id], 1), id))
        if batch.n > 0 then
          ask(id)
          return table.unpack(batch, 1, batch.n)
        end
        waiting[id] = nil
      end
    end
    pool:close()
  end, nil, nil, pool
end

return worker
