-- torch.summary(model, shape): what a model consists of: each layer's output shape, parameters and multiply-adds (MACs).
--
--   print(torch.summary(net, {1, 3, 224, 224}))              -- one input of that shape (batch included)
--   torch.summary(net, {{1, 8}, {1, 8}}, {dtype = torch.long})    -- two inputs; also tensors themselves
-- Options: dtype (of the inputs made), depth (levels shown).  The model runs once on zeros, in eval mode, without
-- gradients.  The result prints as a table and has the fields rows, params, trainable, macs.
local torch = require "torch"

local Summary = { __name = "torch.summary" }
Summary.__index = Summary

-- ---- counting ----
local function product(list)
  local p = 1
  for _, v in ipairs(type(list) == "table" and (list.totable and list:totable() or list) or { list }) do p = p * v end
  return p
end

local function weights(module)
  local n = 0
  for _, p in ipairs(module:parameters(false)) do if p.ndim >= 2 then n = n + p:numel() end end
  return n
end

local function conv(m, _, out) return out:numel() * (m.in_channels // m.groups) * product(m.kernel_size) end
local function conv_transpose(m, input, _) return input:numel() * (m.out_channels // m.groups) * product(m.kernel_size) end
local function recurrent(m, input)         -- every weight once for each step of each sequence
  return weights(m) * (input:numel() // input.shape[-1])
end
--- Multiply-adds by class; classes not listed count nothing (element by element work).
local macs = {
  Linear = function(m, _, out) return out:numel() * m.in_features end,
  Bilinear = function(m, _, out) return out:numel() * m.in1_features * m.in2_features end,
  Conv1d = conv, Conv2d = conv, Conv3d = conv,
  ConvTranspose1d = conv_transpose, ConvTranspose2d = conv_transpose, ConvTranspose3d = conv_transpose,
  RNN = recurrent, LSTM = recurrent, GRU = recurrent, RNNCell = recurrent, LSTMCell = recurrent, GRUCell = recurrent,
  MultiheadAttention = function(m, q, _, inputs)
    local k = torch.is_tensor(inputs[2]) and inputs[2] or q
    local e, t = m.embed_dim, q:numel() // q.shape[-1]
    local length = k.shape[k.ndim == 2 and 0 or m.batch_first and 1 or 0]
    return (2 * t + 2 * (k:numel() // k.shape[-1])) * e * e + 2 * t * length * e
  end,
}

local function first_tensor(v)
  if torch.is_tensor(v) then return v end
  if type(v) == "table" and not torch.nn.is_module(v) then
    for i = 1, #v do
      local found = first_tensor(v[i])
      if found then return found end
    end
    if v.last_hidden_state then return v.last_hidden_state end
  end
end

-- ---- running ----
local function make_inputs(spec, options)
  if torch.is_tensor(spec) then return { spec } end
  local function zeros(shape) return torch.zeros(shape, { dtype = options.dtype or torch.get_default_dtype() }) end
  if type(spec) ~= "table" then
    error("summary: the second argument must be a shape such as {1, 3, 224, 224}, a list of shapes, or tensors, got " .. type(spec), 3)
  end
  if math.type(spec[1]) or spec.numel then return { zeros(spec) } end
  local out = {}
  for i, v in ipairs(spec) do out[i] = torch.is_tensor(v) and v or zeros(v) end
  if #out == 0 then error("summary: an empty shape", 3) end
  return out
end

local function count_own(module)
  local n, trainable = 0, 0
  for _, p in ipairs(module:parameters(false)) do
    n = n + p:numel()
    if p.requires_grad then trainable = trainable + p:numel() end
  end
  return n, trainable
end

--- Rows of the tree in the order of construction; a module used twice stands once.
local function collect(model)
  local rows, by_module = {}, {}
  local function visit(module, name, depth)
    if by_module[module] then return end
    local n, trainable = count_own(module)
    local row = { name = name, class = module:_get_name(), depth = depth, params = n, trainable = trainable, macs = 0, calls = 0, module = module }
    by_module[module] = row
    rows[#rows + 1] = row
    for child_name, child in module:named_children() do visit(child, child_name, depth + 1) end
  end
  visit(model, "", 0)
  return rows, by_module
end

local function run(model, inputs, rows)
  local handles, training = {}, {}
  for i, row in ipairs(rows) do
    training[i] = row.module.training
    handles[i] = row.module:register_forward_hook(function(module, args, output)
      local out = first_tensor(output)
      local input = first_tensor(args) or out
      row.calls = row.calls + 1
      if not out then return end
      row.output = out.shape:totable()
      row.bytes = out:numel() * out:element_size()
      local count = macs[row.class]
      if count then row.macs = row.macs + count(module, input, out, args) end
    end)
  end
  local ok, err = pcall(function()
    model:eval()
    torch.no_grad(function() model(table.unpack(inputs)) end)
  end)
  for i, row in ipairs(rows) do
    handles[i]:remove()
    row.module:train(training[i])
  end
  for i, row in ipairs(rows) do row.module.training = training[i] end
  if not ok then error("summary: the model does not run on these inputs: " .. tostring(err), 3) end
end

-- ---- the table ----
local function grouped(n)
  local s = string.format("%d", n)
  local k
  repeat s, k = s:gsub("^(%-?%d+)(%d%d%d)", "%1,%2") until k == 0
  return s
end

local function scaled(n)
  for _, unit in ipairs { { 1e12, "T" }, { 1e9, "G" }, { 1e6, "M" }, { 1e3, "k" } } do
    if n >= unit[1] then return string.format("%.2f %s", n / unit[1], unit[2]) end
  end
  return tostring(n)
end

local function pad(s, n, right)
  local gap = (" "):rep(n - (utf8.len(s) or #s))
  return right and gap .. s or s .. gap
end

function Summary:__tostring()
  local lines = { { "Layer", "Output shape", "Parameters", "MACs" } }
  for _, row in ipairs(self.rows) do
    if row.depth <= self.depth then
      local label = ("  "):rep(row.depth) .. (row.name ~= "" and row.name .. ": " or "") .. row.class
      lines[#lines + 1] = { label, row.output and "[" .. table.concat(row.output, ", ") .. "]" or row.calls > 0 and "?" or "not run",
        row.params > 0 and grouped(row.params) or "-", row.macs > 0 and grouped(row.macs) or "-" }
    end
  end
  local width = { 0, 0, 0, 0 }
  for _, line in ipairs(lines) do
    for i, s in ipairs(line) do width[i] = math.max(width[i], utf8.len(s) or #s) end
  end
  local out, rule = {}, ("─"):rep(width[1] + width[2] + width[3] + width[4] + 6)
  for i, line in ipairs(lines) do
    local text = pad(line[1], width[1]) .. "  " .. pad(line[2], width[2]) .. "  " .. pad(line[3], width[3], true) .. "  " ..
      pad(line[4], width[4], true)
    out[#out + 1] = text
    if i == 1 then out[#out + 1] = rule end
  end
  out[#out + 1] = rule
  out[#out + 1] = string.format("parameters %s (%s trainable), %.2f MB", grouped(self.params), grouped(self.trainable),
    self.param_bytes / 2 ^ 20)
  out[#out + 1] = string.format("MACs %s, outputs of the layers %.2f MB", scaled(self.macs), self.output_bytes / 2 ^ 20)
  return table.concat(out, "\n")
end

return function(model, spec, options)
  options = options or {}
  if not torch.nn.is_module(model) then error("summary: the first argument must be a module, got " .. type(model), 2) end
  if spec == nil then error("summary: the second argument is missing: the input's shape, such as {1, 3, 224, 224}", 2) end
  local inputs = make_inputs(spec, options)
  local rows = collect(model)
  run(model, inputs, rows)
  local s = setmetatable({ rows = rows, params = 0, trainable = 0, macs = 0, param_bytes = 0, output_bytes = 0,
    depth = options.depth or math.huge }, Summary)
  for _, p in ipairs(model:parameters()) do
    s.params = s.params + p:numel()
    s.param_bytes = s.param_bytes + p:numel() * p:element_size()
    if p.requires_grad then s.trainable = s.trainable + p:numel() end
  end
  for _, row in ipairs(rows) do
    s.macs = s.macs + row.macs
    if row.bytes and next(row.module:children()) == nil then s.output_bytes = s.output_bytes + row.bytes end
    row.module = nil
  end
  return s
end
