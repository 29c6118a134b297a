-- torch.utils.data: datasets, samplers and the DataLoader, with PyTorch's names, defaults and order of random draws.
--
-- A dataset has get(i), 0-based, which returns the sample's fields as several values (`return x, y`), and len().
-- A sampler has iter(), which gives a Lua iterator of 0-based indices, and len().
local torch = require "torch"

local data = {}

-- Classes as nn.Module has them: Base:extend("Name"), Name(...) constructs by init.
local function class(name, base)
  local c = { __name = name }
  c.__index = c
  c.extend = function(self, sub) return class(sub, self) end
  c.__tostring = function() return name .. "()" end
  c.__len = function(self) return self:len() end
  return setmetatable(c, {
    __index = base,
    __call = function(cls, ...)
      local object = setmetatable({}, cls)
      if cls.init then cls.init(object, ...) end
      return object
    end,
  })
end

local function check(ok, fmt, ...)
  if not ok then error(string.format(fmt, ...), 3) end
  return ok
end

local function integer(v) return math.type(v) == "integer" or (math.type(v) == "float" and v == math.floor(v)) end

-- ---- random numbers, drawn where PyTorch draws them ----

local function draw_seed(generator)
  return torch.empty({}, { dtype = torch.int64 }):random_({ generator = generator }):item()
end

local function seeded(seed)
  local g = torch.Generator()
  g:manual_seed(seed)
  return g
end

-- The generator of one pass: the given one, or a new one seeded from the default generator.
local function pass_generator(generator)
  if generator or not torch.Generator then return generator end
  return seeded(draw_seed())
end

local function permutation(n, generator) return torch.randperm(n, { generator = generator }):tolist() end

-- ---- datasets ----

data.Dataset = class("Dataset")
function data.Dataset:get() error(getmetatable(self).__name .. ": method get(i) is not defined", 2) end
function data.Dataset:len() error(getmetatable(self).__name .. ": method len() is not defined", 2) end

--- An IterableDataset has iter(), a Lua iterator of samples, instead of get and len.
data.IterableDataset = class("IterableDataset")
function data.IterableDataset:iter() error(getmetatable(self).__name .. ": method iter() is not defined", 2) end

data.TensorDataset = data.Dataset:extend("TensorDataset")
function data.TensorDataset:init(...)
  self.tensors = { ... }
  check(#self.tensors > 0, "TensorDataset: expected at least one tensor")
  for i, x in ipairs(self.tensors) do
    check(torch.is_tensor(x), "TensorDataset: argument %d is a %s, not a tensor", i, type(x))
    local n = #self.tensors[1]
    check(#x == n, "TensorDataset: size mismatch between tensors (%d and %d rows)", n, #x)
  end
end
function data.TensorDataset:get(i)
  local fields = {}
  for k, x in ipairs(self.tensors) do fields[k] = x[i] end
  return table.unpack(fields)
end
function data.TensorDataset:len() return #self.tensors[1] end
-- What collating the samples of `indices` gives, in one step.
function data.TensorDataset:get_batch(indices)
  local index, fields = torch.tensor(indices, { dtype = torch.int64 }), {}
  for k, x in ipairs(self.tensors) do fields[k] = x:index_select(0, index) end
  return fields
end

data.Subset = data.Dataset:extend("Subset")
function data.Subset:init(dataset, indices)
  self.dataset = dataset
  self.indices = torch.is_tensor(indices) and indices:tolist() or indices
end
function data.Subset:get(i) return self.dataset:get(self.indices[i + 1]) end
function data.Subset:len() return #self.indices end
function data.Subset:get_batch(indices)
  if not self.dataset.get_batch then return nil end
  local mapped = {}
  for k, i in ipairs(indices) do mapped[k] = self.indices[i + 1] end
  return self.dataset:get_batch(mapped)
end

data.ConcatDataset = data.Dataset:extend("ConcatDataset")
function data.ConcatDataset:init(datasets)
  check(type(datasets) == "table" and #datasets > 0, "ConcatDataset: datasets should not be an empty list")
  self.datasets, self.cumulative_sizes = datasets, {}
  local sum = 0
  for k, d in ipairs(datasets) do
    sum = sum + d:len()
    self.cumulative_sizes[k] = sum
  end
end
function data.ConcatDataset:get(i)
  local n = self:len()
  if i < 0 then i = i + n end
  check(i >= 0 and i < n, "ConcatDataset: index %d is out of range for %d samples", i, n)
  local lo, hi = 1, #self.datasets
  while lo < hi do
    local mid = (lo + hi) // 2
    if i < self.cumulative_sizes[mid] then hi = mid else lo = mid + 1 end
  end
  return self.datasets[lo]:get(i - (self.cumulative_sizes[lo - 1] or 0))
end
function data.ConcatDataset:len() return self.cumulative_sizes[#self.cumulative_sizes] end

data.StackDataset = data.Dataset:extend("StackDataset")
function data.StackDataset:init(datasets)
  self.datasets = datasets
  local _, first = next(datasets)
  check(first, "StackDataset: at least one dataset should be passed")
  for _, d in pairs(datasets) do check(d:len() == first:len(), "StackDataset: size mismatch between datasets") end
  self.count = first:len()
end
function data.StackDataset:get(i)
  local sample = {}
  for k, d in pairs(self.datasets) do sample[k] = d:get(i) end
  if #self.datasets > 0 then return table.unpack(sample, 1, #self.datasets) end
  return sample
end
function data.StackDataset:len() return self.count end

data.ChainDataset = data.IterableDataset:extend("ChainDataset")
function data.ChainDataset:init(datasets) self.datasets = datasets end
function data.ChainDataset:iter()
  return coroutine.wrap(function()
    for _, d in ipairs(self.datasets) do
      local it, state, first = d:iter()
      while true do
        local sample = table.pack(it(state, first))
        first = sample[1]
        if first == nil then break end
        coroutine.yield(table.unpack(sample, 1, sample.n))
      end
    end
  end)
end

--- Splits at random into parts of the given lengths (or fractions that sum up to 1).
function data.random_split(dataset, lengths, options)
  local n, sum = dataset:len(), 0
  for _, l in ipairs(lengths) do sum = sum + l end
  if math.abs(sum - 1) <= 1e-9 and sum <= 1 then
    local counts, total = {}, 0
    for k, f in ipairs(lengths) do
      check(f >= 0 and f <= 1, "random_split: fraction at index %d is not between 0 and 1", k - 1)
      counts[k] = math.floor(n * f)
      total = total + counts[k]
    end
    for i = 0, n - total - 1 do counts[i % #counts + 1] = counts[i % #counts + 1] + 1 end
    lengths, sum = counts, n
  end
  check(sum == n, "random_split: the lengths sum up to %s, the dataset has %d samples", tostring(sum), n)
  local indices, parts, at = permutation(n, options and options.generator), {}, 0
  for k, l in ipairs(lengths) do
    parts[k] = data.Subset(dataset, table.move(indices, at + 1, at + l, 1, {}))
    at = at + l
  end
  return parts
end

-- ---- samplers ----

local function each(list)
  local k = 0
  return function()
    k = k + 1
    return list[k]
  end
end

data.Sampler = class("Sampler")

data.SequentialSampler = data.Sampler:extend("SequentialSampler")
function data.SequentialSampler:init(source) self.source = source end
function data.SequentialSampler:iter()
  local i, n = -1, self.source:len()
  return function()
    i = i + 1
    if i < n then return i end
  end
end
function data.SequentialSampler:len() return self.source:len() end

data.RandomSampler = data.Sampler:extend("RandomSampler")
function data.RandomSampler:init(source, options)
  options = options or {}
  self.source, self.replacement, self.generator = source, options.replacement or false, options.generator
  self.num_samples = options.num_samples
  check(self:len() > 0, "RandomSampler: num_samples should be a positive integer value, but got %s",
    tostring(self:len()))
end
function data.RandomSampler:len() return self.num_samples or self.source:len() end
-- Indices come in the pieces that PyTorch draws: 32 at a time with replacement, else a permutation at a time.
function data.RandomSampler:iter()
  local n, left = self.source:len(), self:len()
  local piece, k, generator = {}, 0, nil
  return function()
    if left == 0 then return nil end
    if k == #piece then
      generator = generator or pass_generator(self.generator)
      piece = self.replacement and torch.randint(0, n, { math.min(32, left) }, { generator = generator }):tolist()
        or permutation(n, generator)
      k = 0
    end
    k, left = k + 1, left - 1
    return piece[k]
  end
end

data.SubsetRandomSampler = data.Sampler:extend("SubsetRandomSampler")
function data.SubsetRandomSampler:init(indices, options)
  self.indices, self.generator = indices, options and options.generator
end
function data.SubsetRandomSampler:len() return #self.indices end
function data.SubsetRandomSampler:iter()
  local order, k = permutation(#self.indices, self.generator), 0
  return function()
    k = k + 1
    return order[k] and self.indices[order[k] + 1]
  end
end

data.WeightedRandomSampler = data.Sampler:extend("WeightedRandomSampler")
function data.WeightedRandomSampler:init(weights, num_samples, replacement, options)
  if type(replacement) == "table" then options, replacement = replacement, replacement.replacement end
  check(integer(num_samples) and num_samples > 0,
    "WeightedRandomSampler: num_samples should be a positive integer value")
  self.weights = torch.is_tensor(weights) and weights:double() or torch.tensor(weights, { dtype = torch.float64 })
  self.num_samples, self.replacement = num_samples, replacement ~= false
  self.generator = options and options.generator
end
function data.WeightedRandomSampler:len() return self.num_samples end
function data.WeightedRandomSampler:iter()
  local options = { generator = self.generator }
  return each(torch.multinomial(self.weights, self.num_samples, self.replacement, options):tolist())
end

-- The part of a dataset that one of several processes takes: every num_replicas-th index from rank on.
data.DistributedSampler = data.Sampler:extend("DistributedSampler")
function data.DistributedSampler:init(dataset, options)
  local o = options or {}
  local n, r, rank = dataset:len(), o.num_replicas, o.rank
  check(integer(r) and r > 0, "DistributedSampler: num_replicas must be given: there are no process groups")
  check(integer(rank) and rank >= 0 and rank < r,
    "DistributedSampler: Invalid rank %s, rank should be in the interval [0, %d]", tostring(rank), r - 1)
  self.dataset, self.num_replicas, self.rank, self.epoch = dataset, r, rank, 0
  self.shuffle, self.seed, self.drop_last = o.shuffle ~= false, o.seed or 0, o.drop_last or false
  self.num_samples = self.drop_last and n // r or (n + r - 1) // r
  self.total_size = self.num_samples * r
end
function data.DistributedSampler:len() return self.num_samples end
function data.DistributedSampler:set_epoch(epoch) self.epoch = epoch end
function data.DistributedSampler:iter()
  local n, order, k = self.dataset:len(), nil, self.rank - self.num_replicas
  if self.shuffle then order = permutation(n, seeded(self.seed + self.epoch)) end
  return function()                               -- past its end the order begins anew
    k = k + self.num_replicas
    if k >= self.total_size or n == 0 then return nil end
    return order and order[k % n + 1] or k % n
  end
end

data.BatchSampler = data.Sampler:extend("BatchSampler")
function data.BatchSampler:init(sampler, batch_size, drop_last)
  check(integer(batch_size) and batch_size > 0,
    "BatchSampler: batch_size should be a positive integer value, but got %s", tostring(batch_size))
  self.sampler, self.drop_last = sampler, drop_last or false
  self.batch_size = math.tointeger(batch_size)
end
function data.BatchSampler:len()
  local n = self.sampler:len()
  return self.drop_last and n // self.batch_size or (n + self.batch_size - 1) // self.batch_size
end
function data.BatchSampler:iter()
  local next_index = self.sampler:iter()
  return function()
    local batch = {}
    while #batch < self.batch_size do
      local i = next_index()
      if i == nil then break end
      batch[#batch + 1] = i
    end
    if #batch == 0 or (self.drop_last and #batch < self.batch_size) then return nil end
    return batch
  end
end

-- ---- collating ----

local collate

local function collate_table(batch)
  local first, out = batch[1], {}
  if #first > 0 then
    for _, sample in ipairs(batch) do
      check(#sample == #first, "default_collate: each element in list of batch should be of equal size")
    end
    for k = 1, #first do
      local column = {}
      for i, sample in ipairs(batch) do column[i] = sample[k] end
      out[k] = collate(column)
    end
    return out
  end
  for key in pairs(first) do
    local column = {}
    for i, sample in ipairs(batch) do
      check(sample[key] ~= nil, "default_collate: sample %d has no '%s'", i - 1, tostring(key))
      column[i] = sample[key]
    end
    out[key] = collate(column)
  end
  return out
end

--- Samples of one kind to a batch: tensors are stacked, numbers become a tensor (floats float64), tables
--- are collated field by field, strings stay a list.
function collate(batch)
  local first = batch[1]
  if torch.is_tensor(first) then return torch.stack(batch, 0) end
  if math.type(first) == "float" then return torch.tensor(batch, { dtype = torch.float64 }) end
  if type(first) == "number" or type(first) == "boolean" then return torch.tensor(batch) end
  if type(first) == "string" then return batch end
  if type(first) == "table" then return collate_table(batch) end
  error("default_collate: a batch must contain tensors, numbers, strings or tables; found " .. type(first), 2)
end
data.default_collate = collate

--- What a loader without batches makes of a sample: tensors and plain values stay, tables are gone through.
function data.default_convert(sample)
  if type(sample) ~= "table" or getmetatable(sample) then return sample end
  local out = {}
  for k, v in pairs(sample) do out[k] = data.default_convert(v) end
  return out
end

-- ---- the loader ----

data.DataLoader = class("DataLoader")

local known = {}
for name in ([[batch_size shuffle sampler batch_sampler num_workers collate_fn pin_memory drop_last timeout
    worker_init_fn generator prefetch_factor persistent_workers multiprocessing_context pin_memory_device
    in_order worker_dataset]]):gmatch("%S+") do
  known[name] = true
end

-- PyTorch's positional order: dataset, batch_size, shuffle; the rest by name.
local function options_of(...)
  local given, o = { ... }, {}
  local n = select("#", ...)
  if type(given[n]) == "table" and not getmetatable(given[n]) then
    for k, v in pairs(given[n]) do
      check(known[k], "DataLoader: unknown keyword '%s'", tostring(k))
      o[k] = v
    end
    n = n - 1
  end
  if n >= 1 and given[1] ~= nil then o.batch_size = given[1] end
  if n >= 2 and given[2] ~= nil then o.shuffle = given[2] end
  return o
end

function data.DataLoader:init(dataset, ...)
  local o = options_of(...)
  self.dataset, self.generator, self.drop_last = dataset, o.generator, o.drop_last or false
  self.num_workers, self.collate_fn = o.num_workers or 0, o.collate_fn or nil
  self.worker_dataset, self.prefetch_factor = o.worker_dataset, o.prefetch_factor or 2
  self.worker_init_fn = o.worker_init_fn ~= torch.None and o.worker_init_fn or nil
  self.iterable = dataset.iter ~= nil and dataset.get == nil
  check(not (o.sampler and o.shuffle), "DataLoader: sampler option is mutually exclusive with shuffle")
  check(integer(self.num_workers) and self.num_workers >= 0, "DataLoader: num_workers should be an integer >= 0")
  if self.iterable then
    check(not o.shuffle and not o.sampler and not o.batch_sampler,
      "DataLoader: an IterableDataset takes neither shuffle nor a sampler")
  end
  if o.batch_sampler then
    check(o.batch_size == nil and not o.shuffle and not o.sampler and not o.drop_last,
      "DataLoader: batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last")
    self.batch_sampler = o.batch_sampler
    return
  end
  local none = o.batch_size == torch.None
  self.batch_size = not none and (o.batch_size or 1) or nil
  check(not none or not self.drop_last, "DataLoader: batch_size = None disables auto-batching and excludes drop_last")
  check(none or (integer(self.batch_size) and self.batch_size > 0),
    "DataLoader: batch_size should be a positive integer value")
  if self.iterable then return end
  self.sampler = o.sampler
    or (o.shuffle and data.RandomSampler(dataset, { generator = o.generator }) or data.SequentialSampler(dataset))
  if self.batch_size then self.batch_sampler = data.BatchSampler(self.sampler, self.batch_size, self.drop_last) end
end

function data.DataLoader:len()
  if self.batch_sampler then return self.batch_sampler:len() end
  if self.sampler then return self.sampler:len() end
  local n = check(self.dataset.len, "DataLoader: the dataset has no len()") and self.dataset:len()
  if not self.batch_size then return n end
  return self.drop_last and n // self.batch_size or (n + self.batch_size - 1) // self.batch_size
end

-- Samples (packs of fields) to the values of one step of the loop.
local function join(loader, packs)
  local single = packs[1].n == 1
  local samples = {}
  for i, pack in ipairs(packs) do
    check(pack.n > 0 and pack[1] ~= nil, "DataLoader: the dataset gave no sample")
    samples[i] = single and pack[1] or table.move(pack, 1, pack.n, 1, {})
  end
  if loader.collate_fn then return loader.collate_fn(samples) end
  local out = collate(samples)
  if single then return out end
  return table.unpack(out, 1, packs[1].n)
end

local function fetch(loader, indices)
  local dataset = loader.dataset
  if not loader.collate_fn and dataset.get_batch then
    local fields = dataset:get_batch(indices)
    if fields then return table.unpack(fields) end
  end
  local packs = {}
  for k, i in ipairs(indices) do packs[k] = table.pack(dataset:get(i)) end
  return join(loader, packs)
end

local function iterate_stream(loader)
  local it, state, control = loader.dataset:iter()
  local function sample()
    local pack = table.pack(it(state, control))
    control = pack[1]
    return control ~= nil and pack or nil
  end
  return function()
    local packs = {}
    while #packs < (loader.batch_size or 1) do
      local pack = sample()
      if not pack then break end
      packs[#packs + 1] = pack
    end
    if #packs == 0 or (loader.drop_last and #packs < loader.batch_size) then return nil end
    if not loader.batch_size then return table.unpack(packs[1], 1, packs[1].n) end
    return join(loader, packs)
  end
end

data._fetch, data._stream = fetch, iterate_stream

--- In a worker: {id =, num_workers =, seed =, dataset =}; nil elsewhere.
function data.get_worker_info() return data.worker_info end

--- `for x, y in loader:iter() do`: one pass.  Each pass draws a seed from the generator, as PyTorch's does.
-- Workers are copies of this process made when the pass begins, as PyTorch's are on Linux: what they change stays
-- theirs.  With {num_workers = 2, worker_dataset = "mymodule"} they are new processes instead, and each requires that
-- module, which returns the dataset (or a function that makes it; its field collate_fn collates).  In the sandbox,
-- which has no processes, batches are made in this one.
function data.DataLoader:iter()
  local seed = torch.Generator and draw_seed(self.generator) or 0
  local forks = self.num_workers > 0 and pcall(require, "sys") and (self.iterable or self.batch_sampler)
  if forks then
    local worker = require "torch.utils.worker"
    local pool = worker.pool(self.worker_dataset or self, self.num_workers, seed & 0xFFFFFFFF)
    if self.iterable then return worker.iterate_streams(pool, self.prefetch_factor) end
    return worker.iterate(pool, self.batch_sampler:iter(), self.num_workers * self.prefetch_factor)
  end
  if self.iterable then return iterate_stream(self) end
  local indices = (self.batch_sampler or self.sampler):iter()
  return function()
    local i = indices()
    if i == nil then return nil end
    if type(i) == "table" then return fetch(self, i) end
    return self.dataset:get(i)
  end
end

return data
