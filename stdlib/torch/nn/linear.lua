-- torch.nn.linear: affine maps and changes of shape.
local core = require "torch.nn.core"
local torch = require "torch"
local layer = require "torch.nn.layer"
local nn, F = torch.nn, torch.nn.functional

local M = {}

layer.define(M, "Identity(args: any = None)", {
  doc = "Gives back its input; takes and ignores any arguments.", example = "nn.Identity()(torch.ones(2))",
  forward = function(_, x) return x end,
})
function M.Identity.init() end

-- As PyTorch: uniform weights of bound 1/sqrt(fan_in), through kaiming_uniform_ with a = sqrt(5).
local function reset(self)
  nn.init.kaiming_uniform_(self.weight, { a = math.sqrt(5) })
  if self.bias ~= nil then
    local bound = self.in_features > 0 and 1 / math.sqrt(self.in_features) or 0
    nn.init.uniform_(self.bias, -bound, bound)
  end
end

layer.define(M, "Linear(in_features: int, out_features: int, bias: bool = True, device = None, dtype = None)", {
  doc = "x @ weight.T + bias: an affine map of the last dimension.",
  example = "nn.Linear(3, 2)(torch.ones(4, 3)).shape", see = "nn.Bilinear F.linear",
  init = function(self, a)
    self.in_features, self.out_features = a.in_features, a.out_features
    self.weight = layer.parameter(a, a.out_features, a.in_features)
    if a.bias then self.bias = layer.parameter(a, a.out_features) else self:register_parameter("bias", nil) end
    self:reset_parameters()
  end,
  arguments = "input",
  forward = core.linear(function(self, x) return F.linear(x, self.weight, self.bias) end),
  methods = {
    reset_parameters = reset,
    extra_repr = function(self)
      return ("in_features=%d, out_features=%d, bias=%s"):format(self.in_features, self.out_features,
        self.bias ~= nil and "True" or "False")
    end,
  },
})

require("torch.nn.lazy").define(M, "LazyLinear(out_features: int, bias: bool = True, device = None, dtype = None)", M.Linear,
  { "in_features" }, function(x) return { in_features = x:size(-1) } end)

layer.define(M, [[Bilinear(in1_features: int, in2_features: int, out_features: int, bias: bool = True, device = None, dtype = None)]], {
  doc = "x1 @ weight[k] @ x2 + bias[k] for every output k.",
  example = "nn.Bilinear(2, 3, 4)(torch.ones(5, 2), torch.ones(5, 3)).shape", see = "nn.Linear",
  init = function(self, a)
    if a.in1_features <= 0 then error("in1_features must be > 0, but got " .. a.in1_features, 2) end
    self.in1_features, self.in2_features, self.out_features = a.in1_features, a.in2_features, a.out_features
    self.weight = layer.parameter(a, a.out_features, a.in1_features, a.in2_features)
    if a.bias then self.bias = layer.parameter(a, a.out_features) else self:register_parameter("bias", nil) end
    self:reset_parameters()
  end,
  arguments = "input1 input2",
  forward = function(self, x1, x2) return F.bilinear(x1, x2, self.weight, self.bias) end,
  methods = {
    reset_parameters = function(self)
      local bound = 1 / math.sqrt(self.weight:size(1))
      nn.init.uniform_(self.weight, -bound, bound)
      if self.bias ~= nil then nn.init.uniform_(self.bias, -bound, bound) end
    end,
    extra_repr = function(self)
      return ("in1_features=%d, in2_features=%d, out_features=%d, bias=%s"):format(self.in1_features, self.in2_features,
        self.out_features, self.bias ~= nil and "True" or "False")
    end,
  },
})

layer.define(M, "Flatten(start_dim: int = 1, end_dim: int = -1)", {
  doc = "Joins the dimensions start_dim to end_dim into one.", example = "nn.Flatten()(torch.ones(2, 3, 4)).shape",
  see = "nn.Unflatten", forward = function(self, x) return x:flatten(self.start_dim, self.end_dim) end,
  extra = "start_dim={start_dim}, end_dim={end_dim}",
})

layer.define(M, "Unflatten(dim: int, unflattened_size: list)", {
  doc = "Splits dimension dim into the given sizes.", example = "nn.Unflatten(1, {2, 3})(torch.ones(4, 6)).shape",
  see = "nn.Flatten", forward = function(self, x) return x:unflatten(self.dim, self.unflattened_size) end,
  extra = "dim={dim}, unflattened_size={unflattened_size}",
})

return M
