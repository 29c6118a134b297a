-- torch.nn.conv: convolutions, their transposes, fold and unfold.
local torch = require "torch"
local layer = require "torch.nn.layer"
local nn, F = torch.nn, torch.nn.functional

local M = {}
local tuple = layer.tuple
local modes = { zeros = true, reflect = true, replicate = true, circular = true }

local function all(list, value)
  for _, v in ipairs(list) do if v ~= value then return false end end
  return true
end

local function check(a)
  if a.groups <= 0 then error("groups must be a positive integer", 5) end
  if a.in_channels % a.groups ~= 0 then error("in_channels must be divisible by groups", 5) end
  if a.out_channels % a.groups ~= 0 then error("out_channels must be divisible by groups", 5) end
  if type(a.padding) == "string" then
    if a.padding ~= "same" and a.padding ~= "valid" then
      error(("Invalid padding string '%s', should be one of {'same', 'valid'}"):format(a.padding), 5)
    end
    if a.padding == "same" and not all(a.stride, 1) then
      error("padding='same' is not supported for strided convolutions", 5)
    end
  end
  if not modes[a.padding_mode] then
    error(("padding_mode must be one of {'zeros', 'reflect', 'replicate', 'circular'}, but got padding_mode='%s'")
      :format(tostring(a.padding_mode)), 5)
  end
end

-- What F.pad takes for the padding modes: the last dimension first, left and right.
local function pad_list(a, n)
  local out = {}
  for k = n, 1, -1 do
    local left, right = 0, 0
    if a.padding == "same" then
      local total = a.dilation[k] * (a.kernel_size[k] - 1)
      left, right = total // 2, total - total // 2
    elseif type(a.padding) == "table" then left, right = a.padding[k], a.padding[k] end
    out[#out + 1] = left
    out[#out + 1] = right
  end
  return out
end

local fields = { "in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode" }
local function make_weights(self, a)
  local first, second = a.out_channels, a.in_channels // a.groups
  if self.transposed then first, second = a.in_channels, a.out_channels // a.groups end
  self.weight = layer.parameter(a, first, second, table.unpack(a.kernel_size))
  if a.bias then self.bias = layer.parameter(a, a.out_channels) else self:register_parameter("bias", nil) end
end
local function build(self, a, n, transposed)
  for _, name in ipairs { "kernel_size", "stride", "dilation" } do a[name] = tuple(a[name], n) end
  if type(a.padding) ~= "string" then a.padding = tuple(a.padding, n) end
  a.output_padding = tuple(a.output_padding or 0, n)
  check(a)
  for _, name in ipairs(fields) do self[name] = a[name] end
  self.output_padding, self.transposed = a.output_padding, transposed
  self._pads = pad_list(a, n)
  make_weights(self, a)
  self:reset_parameters()
end

local function reset(self)
  nn.init.kaiming_uniform_(self.weight, { a = math.sqrt(5) })
  if self.bias ~= nil then
    local fan_in = nn.init._calculate_fan_in_and_fan_out(self.weight)
    local bound = fan_in > 0 and 1 / math.sqrt(fan_in) or 0
    nn.init.uniform_(self.bias, -bound, bound)
  end
end

local function describe(self)
  local py = require("torch.nn.text").py
  local s = ("%d, %d, kernel_size=%s, stride=%s"):format(self.in_channels, self.out_channels, py(self.kernel_size), py(self.stride))
  if type(self.padding) == "string" then s = s .. ", padding=" .. self.padding
  elseif not all(self.padding, 0) then s = s .. ", padding=" .. py(self.padding) end
  if not all(self.dilation, 1) then s = s .. ", dilation=" .. py(self.dilation) end
  if not all(self.output_padding, 0) then s = s .. ", output_padding=" .. py(self.output_padding) end
  if self.groups ~= 1 then s = s .. ", groups=" .. self.groups end
  if self.bias == nil then s = s .. ", bias=False" end
  if self.padding_mode ~= "zeros" then s = s .. ", padding_mode=" .. self.padding_mode end
  return s
end

-- output_size= of a transposed convolution -> its output_padding.
local function output_padding(self, x, size, n)
  if size == nil then return self.output_padding end
  if type(size) == "number" then size = tuple(size, n) end
  if type(size) ~= "table" or getmetatable(size) then size = size:totable() end
  local lead = x.ndim == n + 2 and 2 or 1
  if #size == lead + n then size = table.move(size, lead + 1, lead + n, 1, {}) end
  if #size ~= n then
    error(("ConvTranspose%dD: for %dD input, output_size must have %d or %d elements (got %d)")
      :format(n, x.ndim, n, lead + n, #size), 3)
  end
  local out = {}
  for d = 1, n do
    local smallest = (x:size(d - 1 + lead) - 1) * self.stride[d] - 2 * self.padding[d]
      + self.dilation[d] * (self.kernel_size[d] - 1) + 1
    if size[d] < smallest or size[d] > smallest + self.stride[d] - 1 then
      error(("requested an output size of %d, but valid sizes range from %d to %d in dimension %d")
        :format(size[d], smallest, smallest + self.stride[d] - 1, d - 1), 3)
    end
    out[d] = size[d] - smallest
  end
  return out
end

local rest = "groups: int = 1, bias: bool = True, padding_mode: str = 'zeros', device = None, dtype = None"
local function forwards(n)
  local conv, transposed = "conv" .. n .. "d", "conv_transpose" .. n .. "d"
  local zero = tuple(0, n)
  local function conv_forward(self, x)
    if self.padding_mode ~= "zeros" then
      x = F.pad(x, self._pads, self.padding_mode)
      return F[conv](x, self.weight, self.bias, self.stride, zero, self.dilation, self.groups)
    end
    return F[conv](x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
  end
  local function transposed_forward(self, x, size)
    local extra = output_padding(self, x, size, n)
    return F[transposed](x, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation)
  end
  return conv_forward, transposed_forward
end

for n = 1, 3 do
  local shape = table.concat(tuple(4, n), ", ")
  local conv_forward, transposed_forward = forwards(n)
  layer.define(M, ("Conv%dd(in_channels: int, out_channels: int, kernel_size: size, stride: size = 1, padding = 0, dilation: size = 1, %s)")
    :format(n, rest), {
    doc = ("Convolution over [N, C, %s] or [C, %s]."):format(n == 1 and "L" or n == 2 and "H, W" or "D, H, W",
      n == 1 and "L" or n == 2 and "H, W" or "D, H, W"),
    example = ("nn.Conv%dd(3, 5, 3)(torch.ones(1, 3, %s)).shape"):format(n, shape), see = "F.conv" .. n .. "d",
    init = function(self, a) build(self, a, n, false) end,
    forward = conv_forward, methods = { reset_parameters = reset, extra_repr = describe },
  })
  layer.define(M, ("ConvTranspose%dd(in_channels: int, out_channels: int, kernel_size: size, stride: size = 1, padding: size = 0, output_padding: size = 0, groups: int = 1, bias: bool = True, dilation: size = 1, padding_mode: str = 'zeros', device = None, dtype = None)")
    :format(n), {
    doc = "The gradient of a convolution as a layer: it makes its input larger.",
    example = ("nn.ConvTranspose%dd(3, 5, 3)(torch.ones(1, 3, %s)).shape"):format(n, shape), see = "F.conv_transpose" .. n .. "d",
    init = function(self, a)
      if a.padding_mode ~= "zeros" then
        error(('Only "zeros" padding mode is supported for ConvTranspose%dd'):format(n), 3)
      end
      build(self, a, n, true)
    end,
    forward = transposed_forward, arguments = "input output_size", methods = { reset_parameters = reset, extra_repr = describe },
  })
  -- Lazy forms learn in_channels from their first input.
  for _, base in ipairs { M["Conv" .. n .. "d"], M["ConvTranspose" .. n .. "d"] } do
    local lazy = require "torch.nn.lazy"
    local signature = base.__doc.signature:gsub("^nn%.", "Lazy"):gsub("in_channels: int, ", "")
    lazy.define(M, signature, base, { "in_channels" }, function(x)
      return { in_channels = x:size(x.ndim == n + 2 and 1 or 0) }
    end)
  end
end

layer.define(M, "Fold(output_size: size, kernel_size: size, dilation: size = 1, padding: size = 0, stride: size = 1)", {
  doc = "Sums sliding blocks back into a picture: the transpose of nn.Unfold.",
  example = "nn.Fold({4, 4}, {2, 2})(torch.ones(1, 12, 9)).shape", see = "nn.Unfold",
  extra = "output_size={output_size}, kernel_size={kernel_size}, dilation={dilation}, padding={padding}, stride={stride}",
  forward = function(self, x) return F.fold(x, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride) end,
})
layer.define(M, "Unfold(kernel_size: size, dilation: size = 1, padding: size = 0, stride: size = 1)", {
  doc = "The sliding blocks of a picture as columns.", example = "nn.Unfold({2, 2})(torch.ones(1, 3, 4, 4)).shape", see = "nn.Fold",
  extra = "kernel_size={kernel_size}, dilation={dilation}, padding={padding}, stride={stride}",
  forward = function(self, x) return F.unfold(x, self.kernel_size, self.dilation, self.padding, self.stride) end,
})

return M
