-- torch.nn.pooling: windows reduced to one number each.
local torch = require "torch"
local layer = require "torch.nn.layer"
local F = torch.nn.functional

local M = {}
local tuple = layer.tuple

local function example(name, args, n, size)
  return ("nn.%s(%s)(torch.ones(1, 2, %s)).shape"):format(name, args, table.concat(tuple(size or 4, n), ", "))
end

for n = 1, 3 do
  local d = n .. "d"
  local function fn(name) return name .. d end

  layer.define(M, ("MaxPool%s(kernel_size: size, stride: size = None, padding: size = 0, dilation: size = 1, return_indices: bool = False, ceil_mode: bool = False)"):format(d), {
    doc = "The largest element of each window; with return_indices their places too.", example = example("MaxPool" .. d, "2", n),
    see = "nn.MaxUnpool" .. d,
    init = function(self, a)
      self.kernel_size, self.stride, self.padding, self.dilation = a.kernel_size, a.stride or a.kernel_size, a.padding, a.dilation
      self.return_indices, self.ceil_mode = a.return_indices, a.ceil_mode
    end,
    forward = function(self, x)
      return F[fn "max_pool"](x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices)
    end,
    extra = "kernel_size={kernel_size}, stride={stride}, padding={padding}, dilation={dilation}, ceil_mode={ceil_mode}",
  })

  layer.define(M, ("MaxUnpool%s(kernel_size: size, stride: size = None, padding: size = 0)"):format(d), {
    doc = "Puts maxima back to where MaxPool found them, zeros elsewhere.",
    example = ("nn.MaxUnpool%s(2)"):format(d), see = "nn.MaxPool" .. d,
    init = function(self, a)
      self.kernel_size, self.stride = tuple(a.kernel_size, n), tuple(a.stride or a.kernel_size, n)
      self.padding = tuple(a.padding, n)
    end,
    arguments = "input indices output_size",
    forward = function(self, x, indices, size)
      return F[fn "max_unpool"](x, indices, self.kernel_size, self.stride, self.padding, size)
    end,
    extra = "kernel_size={kernel_size}, stride={stride}, padding={padding}",
  })

  local divisor = n > 1 and ", divisor_override: int = None" or ""
  layer.define(M, ("AvgPool%s(kernel_size: size, stride: size = None, padding: size = 0, ceil_mode: bool = False, count_include_pad: bool = True%s)"):format(d, divisor), {
    doc = "The mean of each window.", example = example("AvgPool" .. d, "2", n),
    init = function(self, a)
      local function shaped(v) return n == 1 and tuple(v, 1) or v end
      self.kernel_size, self.stride = shaped(a.kernel_size), shaped(a.stride or a.kernel_size)
      self.padding = shaped(a.padding)
      self.ceil_mode, self.count_include_pad, self.divisor_override = a.ceil_mode, a.count_include_pad, a.divisor_override
    end,
    forward = n == 1 and function(self, x)
      return F.avg_pool1d(x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)
    end or function(self, x)
      return F[fn "avg_pool"](x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad,
        self.divisor_override)
    end,
    extra = "kernel_size={kernel_size}, stride={stride}, padding={padding}",
  })

  layer.define(M, ("LPPool%s(norm_type: float, kernel_size: size, stride: size = None, ceil_mode: bool = False)"):format(d), {
    doc = "The p-norm of each window.", example = example("LPPool" .. d, "2, 2", n),
    forward = function(self, x)
      return F[fn "lp_pool"](x, self.norm_type, self.kernel_size, self.stride, self.ceil_mode)
    end,
    extra = "norm_type={norm_type}, kernel_size={kernel_size}, stride={stride}, ceil_mode={ceil_mode}",
  })

  layer.define(M, ("AdaptiveMaxPool%s(output_size: any, return_indices: bool = False)"):format(d), {
    doc = "Maxima of windows chosen so that the result has the given size.", example = example("AdaptiveMaxPool" .. d, "2", n),
    forward = function(self, x)
      if self.return_indices then return F[fn "adaptive_max_pool"](x, self.output_size, true) end
      return (F[fn "adaptive_max_pool"](x, self.output_size))
    end,
    extra = "output_size={output_size}",
  })
  layer.define(M, ("AdaptiveAvgPool%s(output_size: any)"):format(d), {
    doc = "Means of windows chosen so that the result has the given size.", example = example("AdaptiveAvgPool" .. d, "2", n),
    forward = function(self, x) return F[fn "adaptive_avg_pool"](x, self.output_size) end,
    extra = "output_size={output_size}",
  })
end

-- ---- fractional pooling: windows of random sizes ----
local function ratios(name, v, n)
  if v == nil then return nil end
  local list = type(v) == "table" and v or tuple(v, n)
  for _, r in ipairs(list) do
    if not (r > 0 and r < 1) then
      error("output_ratio must be between 0 and 1 (got " .. require("torch.nn.text").py(v) .. ")", 4)
    end
  end
  return list
end
for n = 2, 3 do
  local name = "FractionalMaxPool" .. n .. "d"
  layer.define(M, name .. "(kernel_size: size, output_size: size = None, output_ratio: any = None, return_indices: bool = False, _random_samples: any = None)", {
    doc = "Maxima of windows whose places are drawn at random; the result has output_size, or the input's size times output_ratio.",
    example = example(name, "2, 3", n, 8),
    init = function(self, a)
      self.kernel_size = tuple(a.kernel_size, n)
      for _, k in ipairs(self.kernel_size) do
        if k <= 0 then error("kernel_size must be greater than 0, but got " .. k, 3) end
      end
      self.return_indices = a.return_indices
      self:register_buffer("_random_samples", a._random_samples)
      if a.output_size == nil and a.output_ratio == nil then
        error(name .. " requires specifying either an output size, or a pooling ratio", 3)
      end
      if a.output_size ~= nil and a.output_ratio ~= nil then
        error("only one of output_size and output_ratio may be specified", 3)
      end
      self.output_size = a.output_size and tuple(a.output_size, n)
      self.output_ratio = ratios(name, a.output_ratio, n)
    end,
    forward = function(self, x)
      return F["fractional_max_pool" .. n .. "d"](x, self.kernel_size, self.output_size, self.output_ratio,
        self.return_indices, self._random_samples)
    end,
  })
end

return M
