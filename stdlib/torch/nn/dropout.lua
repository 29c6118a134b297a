-- torch.nn.dropout: random zeros while training, nothing otherwise.
local torch = require "torch"
local layer = require "torch.nn.layer"
local F = torch.nn.functional

local M = {}

local function init(self, a)
  if a.p < 0 or a.p > 1 then
    error("dropout probability has to be between 0 and 1, but got " .. require("torch.nn.text").py(a.p), 3)
  end
  self.p, self.inplace = a.p, a.inplace
end

local kinds = {
  { "Dropout", "dropout", "Zeros elements with probability p and scales the others by 1 / (1 - p).", "2, 3" },
  { "Dropout1d", "dropout1d", "Zeros whole channels of [N, C, L] or [C, L].", "1, 2, 3" },
  { "Dropout2d", "dropout2d", "Zeros whole channels of [N, C, H, W].", "1, 2, 3, 3" },
  { "Dropout3d", "dropout3d", "Zeros whole channels of [N, C, D, H, W].", "1, 2, 3, 3, 3" },
  { "AlphaDropout", "alpha_dropout", "Dropout that keeps mean and variance of SELU's outputs.", "2, 3" },
  { "FeatureAlphaDropout", "feature_alpha_dropout", "AlphaDropout of whole channels.", "1, 2, 3, 3" },
}
for _, kind in ipairs(kinds) do
  local name, fn = kind[1], kind[2]
  local keeps_inplace = not name:find("Alpha")
  layer.define(M, name .. "(p: float = 0.5, inplace: bool = False)", {
    doc = kind[3], example = ("nn.%s(0.5):eval()(torch.ones(%s)).shape"):format(name, kind[4]), see = "F." .. fn,
    init = init,
    forward = function(self, x)
      if not self.training and fn == "dropout" then return x end
      return F[fn](x, self.p, self.training, keeps_inplace and self.inplace or false)
    end,
    extra = "p={p}, inplace={inplace}",
  })
end

return M
