-- torch.nn.rnn: recurrent layers over torch.lstm and its kin, and their cells.
local torch = require "torch"
local core = require "torch.nn.core"
local layer = require "torch.nn.layer"
local text = require "torch.nn.text"
local nn = torch.nn

local M = {}
local None = torch.None

local function packed_class() return require("torch.nn.utils.rnn").PackedSequence end
local function is_packed(x) return type(x) == "table" and getmetatable(x) == packed_class() end
local function shape_text(list)
  local out = {}
  for i, n in ipairs(list) do out[i] = tostring(n) end
  return table.concat(out, ", ")
end

-- ---- layers ----
local RNNBase = core.Module:extend("RNNBase")
M.RNNBase = RNNBase
RNNBase.__doc = { signature = "nn.RNNBase", doc = "What RNN, LSTM and GRU share.", example = "nn.GRU(2, 3):isinstance(nn.RNNBase)" }

local function check_sizes(name, a)
  if a.hidden_size <= 0 then error("hidden_size must be greater than zero", 4) end
  if a.num_layers <= 0 then error("num_layers must be greater than zero", 4) end
  if a.dropout < 0 or a.dropout > 1 then
    error("dropout should be a number in range [0, 1] representing the probability of an element being zeroed", 4)
  end
  if a.proj_size and a.proj_size < 0 then
    error("proj_size should be a positive integer or zero to disable projections", 4)
  end
  if a.proj_size and a.proj_size >= a.hidden_size then error("proj_size has to be smaller than hidden_size", 4) end
  if a.dropout > 0 and a.num_layers == 1 then
    warn(("%s: dropout adds dropout after all but the last recurrent layer, so it needs num_layers greater than 1, got 1")
      :format(name))
  end
end

local gates = { LSTM = 4, GRU = 3, RNN_TANH = 1, RNN_RELU = 1 }
local function setup(self, mode, a)
  check_sizes(mode, a)
  self.mode = mode
  for _, k in ipairs { "input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional" } do
    self[k] = a[k]
  end
  self.proj_size = a.proj_size or 0
  local names, H, P = {}, a.hidden_size, self.proj_size > 0 and self.proj_size or a.hidden_size
  local sides = a.bidirectional and 2 or 1
  local function add(name, ...)
    self[name] = layer.parameter(a, ...)
    names[#names + 1] = name
  end
  for l = 0, a.num_layers - 1 do
    for d = 1, sides do
      local suffix = "_l" .. l .. (d == 2 and "_reverse" or "")
      add("weight_ih" .. suffix, gates[mode] * H, l == 0 and a.input_size or P * sides)
      add("weight_hh" .. suffix, gates[mode] * H, P)
      if a.bias then
        add("bias_ih" .. suffix, gates[mode] * H)
        add("bias_hh" .. suffix, gates[mode] * H)
      end
      if self.proj_size > 0 then add("weight_hr" .. suffix, P, H) end
    end
  end
  self._names = names
  self:reset_parameters()
end

function RNNBase:reset_parameters()
  local bound = self.hidden_size > 0 and 1 / math.sqrt(self.hidden_size) or 0
  for _, p in ipairs(self:parameters()) do nn.init.uniform_(p, -bound, bound) end
end
function RNNBase:flatten_parameters() end

--- The weights of each layer and direction, as lists.
function RNNBase:all_weights()
  local out, per = {}, #self._names // (self.num_layers * (self.bidirectional and 2 or 1))
  for i, name in ipairs(self._names) do
    local at = (i - 1) // per + 1
    out[at] = out[at] or {}
    table.insert(out[at], self[name])
  end
  return out
end

function RNNBase:extra_repr()
  local parts = { ("%d, %d"):format(self.input_size, self.hidden_size) }
  local function add(name, default)
    if self[name] ~= default then parts[#parts + 1] = name .. "=" .. text.py(self[name]) end
  end
  add("proj_size", 0)
  add("num_layers", 1)
  add("bias", true)
  add("batch_first", false)
  add("dropout", 0.0)
  add("bidirectional", false)
  return table.concat(parts, ", ")
end

local function check_state(h, want, what)
  if not torch.is_tensor(h) then error(("expected %s to be a Tensor, got %s"):format(what, type(h)), 4) end
  if h.shape ~= want then
    error(("Expected %s size (%s), got [%s]"):format(what, shape_text(want), shape_text(h.shape:totable())), 4)
  end
end

-- The state a call was given as a list of tensors with a batch dimension, in the order of the sorted sequences.
local function states(self, hx, x, batch, batched, sorted)
  local sides = self.bidirectional and 2 or 1
  local P = self.proj_size > 0 and self.proj_size or self.hidden_size
  local sizes = { { self.num_layers * sides, batch, P }, { self.num_layers * sides, batch, self.hidden_size } }
  local n = self.mode == "LSTM" and 2 or 1
  local list = {}
  if hx == nil or hx == None then
    for i = 1, n do list[i] = torch.zeros(sizes[i], { dtype = x.dtype, device = x.device }) end
    return list
  end
  if n == 2 and (type(hx) ~= "table" or #hx ~= 2) then error("LSTM: hx must be a list of two tensors, {h_0, c_0}", 3) end
  local names = { "hidden", "hidden[1]" }
  if n == 2 then names[1] = "hidden[0]" end
  for i, h in ipairs(n == 2 and hx or { hx }) do
    if not batched and torch.is_tensor(h) then
      if h.ndim ~= 2 then error(("For unbatched 2-D input, hx should also be 2-D but got %d-D tensor"):format(h.ndim), 3) end
      h = h:unsqueeze(1)
    elseif torch.is_tensor(h) and h.ndim ~= 3 then
      error(("For batched 3-D input, hx should also be 3-D but got %d-D tensor"):format(h.ndim), 3)
    end
    check_state(h, sizes[i], names[i])
    list[i] = sorted and h:index_select(1, sorted) or h
  end
  return list
end

local functions = { LSTM = "lstm", GRU = "gru", RNN_TANH = "rnn_tanh", RNN_RELU = "rnn_relu" }
local function weights(self)
  local out = {}
  for i, name in ipairs(self._names) do out[i] = self[name] end
  return out
end
local function check_width(self, x)
  if x:size(-1) ~= self.input_size then
    local want = "input.size(-1) must be equal to input_size. Expected %d, got %d"
    error(core.layer() .. want:format(self.input_size, x:size(-1)), 3)
  end
end
local function finish(self, results, batched, unsorted)
  for i, h in ipairs(results) do
    if not batched then h = h:squeeze(1) end
    results[i] = unsorted and h:index_select(1, unsorted) or h
  end
  if self.mode == "LSTM" then return results end
  return results[1]
end

local function run_packed(self, x, hx)
  check_width(self, x.data)
  local list = states(self, hx, x.data, x.batch_sizes[0]:item(), true, x.sorted_indices)
  local r = table.pack(torch[functions[self.mode]](x.data, x.batch_sizes, self.mode == "LSTM" and list or list[1], weights(self),
    self.bias, self.num_layers, self.dropout, self.training, self.bidirectional))
  local y = packed_class()(table.remove(r, 1), x.batch_sizes, x.sorted_indices, x.unsorted_indices)
  return y, finish(self, r, true, x.unsorted_indices)
end

function RNNBase:forward(...)
  local x, hx = core.spread("forward", { "input", "hx" }, ...)
  if is_packed(x) then return run_packed(self, x, hx) end
  if not torch.is_tensor(x) then error(("%s: input must be a Tensor or a PackedSequence, got %s"):format(self:_get_name(), type(x)), 2) end
  if x.ndim ~= 2 and x.ndim ~= 3 then
    error(("%s: Expected input to be 2D or 3D, got %dD instead"):format(self:_get_name(), x.ndim), 2)
  end
  check_width(self, x)
  local batched, dim = x.ndim == 3, self.batch_first and 0 or 1
  if not batched then x = x:unsqueeze(dim) end
  local list = states(self, hx, x, x:size(dim), batched)
  local r = table.pack(torch[functions[self.mode]](x, self.mode == "LSTM" and list or list[1], weights(self), self.bias,
    self.num_layers, self.dropout, self.training, self.bidirectional, self.batch_first))
  local y = table.remove(r, 1)
  return batched and y or y:squeeze(dim), finish(self, r, batched)
end

local common = "bias: bool = True, batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False"
layer.define(M, "RNN(input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: str = 'tanh', " .. common
  .. ", device = None, dtype = None)", {
  base = RNNBase,
  doc = "h_t = tanh(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh) over [length, batch, features], in layers; gives all outputs and the last states.",
  example = "(nn.RNN(3, 4)(torch.ones(5, 2, 3))).shape", see = "nn.LSTM nn.GRU nn.RNNCell nn.utils.rnn.pack_padded_sequence",
  init = function(self, a)
    if a.nonlinearity ~= "tanh" and a.nonlinearity ~= "relu" then
      error("Unknown nonlinearity '" .. a.nonlinearity .. "'. Select from 'tanh' or 'relu'.", 3)
    end
    self.nonlinearity = a.nonlinearity
    setup(self, a.nonlinearity == "tanh" and "RNN_TANH" or "RNN_RELU", a)
  end,
  forward = RNNBase.forward,
})
layer.define(M, "LSTM(input_size: int, hidden_size: int, num_layers: int = 1, " .. common .. ", proj_size: int = 0, device = None, dtype = None)", {
  base = RNNBase,
  doc = "Long short-term memory over [length, batch, features]: `local y, hc = lstm(x, {h, c})` gives all outputs and the last states {h, c}.",
  example = "(nn.LSTM(3, 4, 2)(torch.ones(5, 2, 3))).shape", see = "nn.GRU nn.LSTMCell nn.utils.rnn.pack_padded_sequence",
  init = function(self, a) setup(self, "LSTM", a) end, forward = RNNBase.forward,
})
layer.define(M, "GRU(input_size: int, hidden_size: int, num_layers: int = 1, " .. common .. ", device = None, dtype = None)", {
  base = RNNBase,
  doc = "Gated recurrent units over [length, batch, features]: `local y, h = gru(x, h0)`.",
  example = "(nn.GRU(3, 4)(torch.ones(5, 2, 3))).shape", see = "nn.LSTM nn.GRUCell nn.utils.rnn.pack_padded_sequence",
  init = function(self, a) setup(self, "GRU", a) end, forward = RNNBase.forward,
})

-- ---- cells ----
local RNNCellBase = core.Module:extend("RNNCellBase")
M.RNNCellBase = RNNCellBase
RNNCellBase.__doc = { signature = "nn.RNNCellBase", doc = "What the recurrent cells share.", example = "nn.GRUCell(2, 3):isinstance(nn.RNNCellBase)" }
local function cell_setup(self, a, chunks)
  self.input_size, self.hidden_size, self.bias = a.input_size, a.hidden_size, a.bias
  self.weight_ih = layer.parameter(a, chunks * a.hidden_size, a.input_size)
  self.weight_hh = layer.parameter(a, chunks * a.hidden_size, a.hidden_size)
  for _, name in ipairs { "bias_ih", "bias_hh" } do
    if a.bias then self[name] = layer.parameter(a, chunks * a.hidden_size) else self:register_parameter(name, nil) end
  end
  self:reset_parameters()
end
RNNCellBase.reset_parameters = RNNBase.reset_parameters
function RNNCellBase:extra_repr()
  local s = ("%d, %d"):format(self.input_size, self.hidden_size)
  if not self.bias then s = s .. ", bias=False" end
  if self.nonlinearity and self.nonlinearity ~= "tanh" then s = s .. ", nonlinearity=" .. self.nonlinearity end
  return s
end

-- fn(x, h) over a batch; one sample gets a batch of one.
local function cell_forward(self, fn, ...)
  local x, hx = core.spread("forward", { "input", "hx" }, ...)
  local name, two = self:_get_name(), self:isinstance(M.LSTMCell)
  if not torch.is_tensor(x) or (x.ndim ~= 1 and x.ndim ~= 2) then
    error(("%s: Expected input to be 1D or 2D, got %s instead"):format(name, torch.is_tensor(x) and x.ndim .. "D" or type(x)), 3)
  end
  if x:size(-1) ~= self.input_size then
    error(("%s: expected an input of %d features, got %d"):format(name, self.input_size, x:size(-1)), 3)
  end
  local batched = x.ndim == 2
  if not batched then x = x:unsqueeze(0) end
  local list = {}
  for i = 1, two and 2 or 1 do
    local h
    if hx ~= nil and hx ~= None then h = two and hx[i] or hx end
    if h == nil then h = torch.zeros(x:size(0), self.hidden_size, { dtype = x.dtype, device = x.device })
    elseif not torch.is_tensor(h) or (h.ndim ~= 1 and h.ndim ~= 2) then
      error(("%s: Expected hidden to be 1D or 2D, got %s instead"):format(name, torch.is_tensor(h) and h.ndim .. "D" or type(h)), 3)
    elseif h.ndim == 1 then h = h:unsqueeze(0) end
    list[i] = h
  end
  local a, b = fn(x, two and list or list[1], self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
  if batched then return a, b end
  return a:squeeze(0), b and b:squeeze(0)
end

layer.define(M, "RNNCell(input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = 'tanh', device = None, dtype = None)", {
  base = RNNCellBase, doc = "One step: tanh (or relu) of W_ih x + b_ih + W_hh h + b_hh.",
  example = "nn.RNNCell(3, 4)(torch.ones(2, 3)).shape", see = "nn.RNN",
  init = function(self, a)
    self.nonlinearity = a.nonlinearity
    cell_setup(self, a, 1)
  end,
  forward = function(self, ...)
    local fn = self.nonlinearity == "tanh" and torch.rnn_tanh_cell or self.nonlinearity == "relu" and torch.rnn_relu_cell
    if not fn then error("Unknown nonlinearity: " .. tostring(self.nonlinearity), 2) end
    return (cell_forward(self, fn, ...))
  end,
})
layer.define(M, "LSTMCell(input_size: int, hidden_size: int, bias: bool = True, device = None, dtype = None)", {
  base = RNNCellBase, doc = "One step of a long short-term memory: `h, c = cell(x, {h, c})`.",
  example = "(nn.LSTMCell(3, 4)(torch.ones(2, 3))).shape", see = "nn.LSTM",
  init = function(self, a) cell_setup(self, a, 4) end,
  forward = function(self, ...) return cell_forward(self, torch.lstm_cell, ...) end,
})
layer.define(M, "GRUCell(input_size: int, hidden_size: int, bias: bool = True, device = None, dtype = None)", {
  base = RNNCellBase, doc = "One step of gated recurrent units: `h = cell(x, h)`.",
  example = "nn.GRUCell(3, 4)(torch.ones(2, 3)).shape", see = "nn.GRU",
  init = function(self, a) cell_setup(self, a, 3) end,
  forward = function(self, ...) return (cell_forward(self, torch.gru_cell, ...)) end,
})

return M
