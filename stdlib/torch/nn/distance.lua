-- torch.nn.distance: how far apart.
local torch = require "torch"
local layer = require "torch.nn.layer"
local F = torch.nn.functional

local M = {}

layer.define(M, "PairwiseDistance(p: float = 2.0, eps: float = 1e-06, keepdim: bool = False)", {
  doc = "The p-norm of x1 - x2 + eps over the last dimension.",
  example = "nn.PairwiseDistance()(torch.zeros(2, 3), torch.ones(2, 3)).shape", see = "F.pairwise_distance",
  init = function(self, a) self.norm, self.eps, self.keepdim = a.p, a.eps, a.keepdim end,
  arguments = "x1 x2",
  forward = function(self, x1, x2) return F.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim) end,
})
layer.define(M, "CosineSimilarity(dim: int = 1, eps: float = 1e-08)", {
  doc = "The cosine of the angle between x1 and x2 along dim.",
  example = "nn.CosineSimilarity()(torch.ones(2, 3), torch.ones(2, 3)).shape", see = "F.cosine_similarity",
  arguments = "x1 x2",
  forward = function(self, x1, x2) return F.cosine_similarity(x1, x2, self.dim, self.eps) end,
})

return M
