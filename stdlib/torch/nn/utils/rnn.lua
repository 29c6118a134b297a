-- torch.nn.utils.rnn: sequences of different lengths as one tensor, padded or packed.
--
-- A PackedSequence holds the steps of all sequences, longest first: data has batch_sizes[t] rows of step t.
local torch = require "torch"
local core = require "torch.nn.core"

local rnn = {}
local None = torch.None
local function given(v) if v ~= None then return v end end

local PackedSequence = { __name = "PackedSequence" }
PackedSequence.__index = PackedSequence
setmetatable(PackedSequence, { __call = function(class, data, batch_sizes, sorted, unsorted)
  sorted, unsorted = given(sorted), given(unsorted)
  if sorted and not unsorted then unsorted = rnn.invert_permutation(sorted) end
  return setmetatable({ data = data, batch_sizes = batch_sizes, sorted_indices = sorted, unsorted_indices = unsorted }, class)
end })
rnn.PackedSequence = PackedSequence
function PackedSequence:to(...)
  return PackedSequence(self.data:to(...), self.batch_sizes, self.sorted_indices, self.unsorted_indices)
end
for _, name in ipairs { "double", "float", "half", "bfloat16", "long", "int", "short", "char", "byte", "cpu" } do
  PackedSequence[name] = function(self)
    return PackedSequence(self.data[name](self.data), self.batch_sizes, self.sorted_indices, self.unsorted_indices)
  end
end
function PackedSequence:__tostring()
  return ("PackedSequence(data=%s, batch_sizes=%s, sorted_indices=%s, unsorted_indices=%s)"):format(tostring(self.data),
    tostring(self.batch_sizes), self.sorted_indices and tostring(self.sorted_indices) or "None",
    self.unsorted_indices and tostring(self.unsorted_indices) or "None")
end

function rnn.invert_permutation(p)
  if p == nil or p == None then return nil end
  local out = torch.empty_like(p)
  out:scatter_(0, p, torch.arange(p:numel()))
  return out
end

local function lengths_of(lengths)
  if torch.is_tensor(lengths) then return lengths:tolist() end
  local out = {}
  for i, n in ipairs(lengths) do
    out[i] = math.tointeger(n) or error("pack_padded_sequence: lengths must be integers", 3)
  end
  return out
end

local function list_of(sequences, name)
  if torch.is_tensor(sequences) then return sequences:unbind(0) end
  if type(sequences) ~= "table" then error(name .. ": Expected a list of tensors, got " .. type(sequences), 3) end
  if #sequences == 0 then error(name .. ": received an empty list of sequences", 3) end
  return sequences
end

--- pack_padded_sequence(input, lengths, batch_first = false, enforce_sorted = true)
function rnn.pack_padded_sequence(...)
  local input, lens, batch_first, sorted = core.spread("pack_padded_sequence",
    { "input", "lengths", "batch_first", "enforce_sorted" }, ...)
  if not torch.is_tensor(input) or lens == nil then error("pack_padded_sequence: expected a Tensor and lengths", 2) end
  lens = lengths_of(lens)
  local order
  if sorted == false then
    local l = torch.tensor(lens, { dtype = torch.int64 })
    local values, indices = l:sort(0, true)
    lens, order = values:tolist(), indices
    input = input:index_select(batch_first and 0 or 1, order)
  end
  if batch_first then input = input:transpose(0, 1) end
  local n = #lens
  if n == 0 then error("Cannot pack empty tensors.", 2) end
  if input:size(1) ~= n then
    error(("Expected `len(lengths)` to be equal to batch_size, but got %d (batch_size=%d)"):format(n, input:size(1)), 2)
  end
  for i, l in ipairs(lens) do
    if l <= 0 then error("Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0", 2) end
    if i > 1 and l > lens[i - 1] then
      error("`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can pass `enforce_sorted=False` "
        .. "to pack_padded_sequence and/or pack_sequence to sidestep this requirement", 2)
    end
  end
  if lens[1] > input:size(0) then
    error(("pack_padded_sequence: a length of %d exceeds the input's %d steps"):format(lens[1], input:size(0)), 2)
  end
  -- steps with the same number of rows are one piece
  local sizes, pieces, from, rest = {}, {}, 0, input.shape:totable()
  for i = n, 1, -1 do
    local l = lens[i]
    if l > from then
      local piece = input:narrow(0, from, l - from):narrow(1, 0, i)
      pieces[#pieces + 1] = piece:reshape { (l - from) * i, table.unpack(rest, 3) }
      for t = from + 1, l do sizes[t] = i end
      from = l
    end
  end
  return PackedSequence(torch.cat(pieces, 0), torch.tensor(sizes, { dtype = torch.int64 }), order)
end

--- pad_packed_sequence(sequence, batch_first = false, padding_value = 0.0, total_length = None) -> padded, lengths
function rnn.pad_packed_sequence(...)
  local p, batch_first, value, total = core.spread("pad_packed_sequence",
    { "sequence", "batch_first", "padding_value", "total_length" }, ...)
  if getmetatable(p) ~= PackedSequence then error("pad_packed_sequence: expected a PackedSequence, got " .. type(p), 2) end
  local sizes = p.batch_sizes:tolist()
  local steps, n = #sizes, sizes[1]
  if total and total < steps then
    error(("Expected total_length to be at least the length of the longest sequence in input, but got total_length=%d and max "
      .. "sequence length being %d"):format(total, steps), 2)
  end
  local rest = p.data.shape:totable()
  table.remove(rest, 1)
  local pieces, at, t = {}, 0, 1
  while t <= steps do                                -- a run of steps with the same number of rows
    local last = t
    while sizes[last + 1] == sizes[t] do last = last + 1 end
    local k, rows = last - t + 1, sizes[t]
    local piece = p.data:narrow(0, at, k * rows):reshape { k, rows, table.unpack(rest) }
    if rows < n then
      local fill = torch.full({ k, n - rows, table.unpack(rest) }, value or 0.0, { dtype = p.data.dtype, device = p.data.device })
      piece = torch.cat({ piece, fill }, 1)
    end
    pieces[#pieces + 1], at, t = piece, at + k * rows, last + 1
  end
  if total and total > steps then
    pieces[#pieces + 1] = torch.full({ total - steps, n, table.unpack(rest) }, value or 0.0, { dtype = p.data.dtype })
  end
  local out = torch.cat(pieces, 0)
  local lens = {}
  for i = 1, n do
    lens[i] = 0
    for s = 1, steps do if sizes[s] >= i then lens[i] = lens[i] + 1 end end
  end
  lens = torch.tensor(lens, { dtype = torch.int64 })
  if p.unsorted_indices then out, lens = out:index_select(1, p.unsorted_indices), lens:index_select(0, p.unsorted_indices) end
  if batch_first then out = out:transpose(0, 1) end
  return out, lens
end

--- pad_sequence(sequences, batch_first = false, padding_value = 0.0, padding_side = "right")
function rnn.pad_sequence(...)
  local list, batch_first, value, side = core.spread("pad_sequence", { "sequences", "batch_first", "padding_value", "padding_side" }, ...)
  list = list_of(list, "pad_sequence")
  side = side or "right"
  if side ~= "right" and side ~= "left" then error("Expected padding_side to be one of left or right, got " .. tostring(side), 2) end
  local longest = 0
  for _, s in ipairs(list) do longest = math.max(longest, s:size(0)) end
  local out = {}
  for i, s in ipairs(list) do
    local short = longest - s:size(0)
    if short > 0 then
      local size = s.shape:totable()
      size[1] = short
      local fill = torch.full(size, value or 0.0, { dtype = s.dtype, device = s.device })
      s = torch.cat(side == "right" and { s, fill } or { fill, s }, 0)
    end
    out[i] = s
  end
  return torch.stack(out, batch_first and 0 or 1)
end

--- unpad_sequence(padded, lengths, batch_first = false) -> list of tensors
function rnn.unpad_sequence(...)
  local padded, lens, batch_first = core.spread("unpad_sequence", { "padded_sequences", "lengths", "batch_first" }, ...)
  if not batch_first then padded = padded:transpose(0, 1) end
  local out = {}
  for i, n in ipairs(lengths_of(lens)) do out[i] = padded[i - 1]:narrow(0, 0, n) end
  return out
end

--- pack_sequence(sequences, enforce_sorted = true)
function rnn.pack_sequence(...)
  local list, sorted = core.spread("pack_sequence", { "sequences", "enforce_sorted" }, ...)
  list = list_of(list, "pack_sequence")
  local lens = {}
  for i, s in ipairs(list) do lens[i] = s:size(0) end
  return rnn.pack_padded_sequence(rnn.pad_sequence(list), lens, { enforce_sorted = sorted ~= false })
end

--- unpack_sequence(packed) -> list of tensors
function rnn.unpack_sequence(packed)
  local padded, lens = rnn.pad_packed_sequence(packed, true)
  return rnn.unpad_sequence(padded, lens, true)
end

-- ---- help ----
rnn.__docs = {
  pack_padded_sequence = { signature = "nn.utils.rnn.pack_padded_sequence(input, lengths, batch_first = false, enforce_sorted = true) -> PackedSequence",
    doc = "The steps of padded sequences without the padding.",
    example = [=[nn.utils.rnn.pack_padded_sequence(torch.ones(3, 2, 1), {3, 1}).batch_sizes --> tensor([2, 1, 1])]=], see = "nn.utils.rnn.pad_packed_sequence nn.LSTM" },
  pad_packed_sequence = { signature = "nn.utils.rnn.pad_packed_sequence(sequence, batch_first = false, padding_value = 0.0, total_length = None) -> padded, lengths",
    doc = "Undoes pack_padded_sequence.",
    example = [=[local p = nn.utils.rnn.pack_sequence({torch.ones(2), torch.ones(1)})
return (nn.utils.rnn.pad_packed_sequence(p)) --> tensor([[1., 1.],
        [1., 0.]])]=], see = "nn.utils.rnn.pack_padded_sequence" },
  pad_sequence = { signature = "nn.utils.rnn.pad_sequence(sequences, batch_first = false, padding_value = 0.0, padding_side = 'right') -> Tensor",
    doc = "Sequences of different lengths as one tensor.",
    example = [=[nn.utils.rnn.pad_sequence({torch.ones(2), torch.ones(3)}, true) --> tensor([[1., 1., 0.],
        [1., 1., 1.]])]=], see = "nn.utils.rnn.unpad_sequence" },
  unpad_sequence = { signature = "nn.utils.rnn.unpad_sequence(padded_sequences, lengths, batch_first = false) -> list",
    doc = "Undoes pad_sequence.",
    example = [=[nn.utils.rnn.unpad_sequence(torch.ones(2, 3), {3, 1}, true)[2] --> tensor([1.])]=], see = "nn.utils.rnn.pad_sequence" },
  pack_sequence = { signature = "nn.utils.rnn.pack_sequence(sequences, enforce_sorted = true) -> PackedSequence",
    doc = "Packs a list of sequences.",
    example = [=[nn.utils.rnn.pack_sequence({torch.ones(2), torch.ones(3)}, false).batch_sizes --> tensor([2, 2, 1])]=], see = "nn.utils.rnn.unpack_sequence" },
  unpack_sequence = { signature = "nn.utils.rnn.unpack_sequence(packed) -> list",
    doc = "Undoes pack_sequence.",
    example = [=[#nn.utils.rnn.unpack_sequence(nn.utils.rnn.pack_sequence({torch.ones(2), torch.ones(3)}, false)) --> 2]=], see = "nn.utils.rnn.pack_sequence" },
  invert_permutation = { signature = "nn.utils.rnn.invert_permutation(permutation) -> Tensor",
    doc = "The permutation that undoes one.",
    example = [=[nn.utils.rnn.invert_permutation(torch.tensor({2, 0, 1})) --> tensor([1, 2, 0])]=] },
  PackedSequence = { signature = "nn.utils.rnn.PackedSequence(data, batch_sizes, sorted_indices = None, unsorted_indices = None)",
    doc = "The steps of sequences, longest first: data has batch_sizes[t] rows of step t.",
    example = [=[nn.utils.rnn.PackedSequence(torch.ones(3, 1), torch.tensor({2, 1})).data.shape --> torch.Size([3, 1])]=], see = "nn.utils.rnn.pack_sequence" },
}

return rnn
