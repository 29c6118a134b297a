-- torch.nn.utils.parametrizations: weight norm, spectral norm and orthogonal matrices.
local torch = require "torch"
local core = require "torch.nn.core"
local parametrize = require "torch.nn.utils.parametrize"
local F = torch.nn.functional

local M = {}

local function tensor_of(module, name, fn)
  local t = core.is_module(module) and module[name]
  if not torch.is_tensor(t) then
    error(("Module '%s' has no parameter or buffer with name '%s'"):format(core.is_module(module) and module:_get_name()
      or type(module), tostring(name)), 3)
  end
  return t, fn
end

-- ---- weight norm: w = g v / |v| ----
--- |v| over all dimensions but dim (nil: over all), kept.
local function norm_except(v, dim)
  if dim == nil then return torch.linalg.vector_norm(v) end
  if v.ndim == 1 then return v:abs() end
  local dims = {}
  for i = 0, v.ndim - 1 do if i ~= dim then dims[#dims + 1] = i end end
  return torch.linalg.vector_norm(v, 2, dims, true)
end
M._norm_except = norm_except

local WeightNorm = core.Module:extend("_WeightNorm")
function WeightNorm:init(dim) if dim ~= nil then self.dim = dim end end
function WeightNorm:forward(g, v) return v * (g / norm_except(v, self.dim)) end
function WeightNorm:right_inverse(w) return norm_except(w, self.dim), w end

local function wrap_dim(dim, t)
  if dim == torch.None then return nil end
  if dim == nil then dim = 0 end
  return dim < 0 and dim + t.ndim or dim
end
--- weight_norm(module, name = "weight", dim = 0)
function M.weight_norm(module, name, dim)
  if type(name) == "table" then name, dim = name.name, name.dim end
  name = name or "weight"
  local t = tensor_of(module, name)
  return parametrize.register_parametrization(module, name, WeightNorm(wrap_dim(dim, t)), { unsafe = true })
end

-- ---- spectral norm: w / its largest singular value, by power iteration ----
local SpectralNorm = core.Module:extend("_SpectralNorm")
function SpectralNorm:init(weight, n, dim, eps)
  dim = dim < 0 and dim + weight.ndim or dim
  self.dim, self.eps, self.n_power_iterations = dim, eps, n
  if weight.ndim > 1 then
    local m = self:_matrix(weight)
    local u, v = torch.randn(m:size(0)):to(m.dtype), torch.randn(m:size(1)):to(m.dtype)
    self:register_buffer("_u", F.normalize(u, { dim = 0, eps = eps }))
    self:register_buffer("_v", F.normalize(v, { dim = 0, eps = eps }))
    self:_power(m, 15)
  end
end
function SpectralNorm:_matrix(w)
  if self.dim ~= 0 then
    local order = { self.dim }
    for i = 0, w.ndim - 1 do if i ~= self.dim then order[#order + 1] = i end end
    w = w:permute(order)
  end
  return w:flatten(1)
end
function SpectralNorm:_power(m, n)
  torch.no_grad(function()
    for _ = 1, n do
      self._u:copy_(F.normalize(torch.mv(m, self._v), { dim = 0, eps = self.eps }))
      self._v:copy_(F.normalize(torch.mv(m:t(), self._u), { dim = 0, eps = self.eps }))
    end
  end)
end
function SpectralNorm:forward(w)
  if w.ndim == 1 then return F.normalize(w, { dim = 0, eps = self.eps }) end
  local m = self:_matrix(w)
  if self.training then self:_power(m, self.n_power_iterations) end
  local u, v = self._u:clone(), self._v:clone()
  return w / torch.vdot(u, torch.mv(m, v))
end
function SpectralNorm.right_inverse(_, value) return value end

--- spectral_norm(module, name = "weight", n_power_iterations = 1, eps = 1e-12, dim = None)
function M.spectral_norm(...)
  local module, name, n, eps, dim = core.spread("spectral_norm", { "module", "name", "n_power_iterations", "eps", "dim" }, ...)
  name, n, eps = name or "weight", n or 1, eps or 1e-12
  local t = tensor_of(module, name)
  if n <= 0 then error("Expected n_power_iterations to be positive, but got n_power_iterations=" .. n, 2) end
  if dim == nil then
    local transposed = module:_get_name():find("^ConvTranspose%dd")
    dim = transposed and 1 or 0
  end
  return parametrize.register_parametrization(module, name, SpectralNorm(t, n, dim, eps))
end

-- ---- orthogonal matrices: Q = B exp(A) or B cayley(A) for a skew A, or products of reflections ----
local Orthogonal = core.Module:extend("_Orthogonal")
function Orthogonal:init(weight, map, trivialize)
  self.map, self.trivial = map, trivialize
  self.shape0, self.shape1 = weight:size(-2), weight:size(-1)
  if trivialize then self:register_buffer("base", nil) end
end
local function reflections(x, n, k)                  -- H_0 H_1 ... H_(k-1), reflections about x's columns
  local y = x:tril(-1) + torch.eye(n, k, { dtype = x.dtype })
  local q = torch.eye(n, { dtype = x.dtype })
  for i = 0, k - 1 do
    local v = y:select(-1, i):unsqueeze(-1)
    local tau = 2 / (v * v):sum { dim = -2, keepdim = true }
    q = q - tau * q:matmul(v):matmul(v.mT)
  end
  return q:narrow(-1, 0, k) * torch.diagonal(x, { dim1 = -2, dim2 = -1 }):unsqueeze(-2):trunc()
end
function Orthogonal:forward(x)
  local n, k = x:size(-2), x:size(-1)
  local transposed, q = n < k
  if transposed then x, n, k = x.mT, k, n end
  if self.map == "householder" then q = reflections(x, n, k)
  else
    local A = x:tril()
    if n ~= k then
      local zeros = A.shape:totable()
      zeros[#zeros] = n - k
      A = torch.cat({ A, x:new_zeros(zeros) }, -1)
    end
    A = A - A.mH
    if self.map == "matrix_exp" then q = torch.matrix_exp(A)
    else
      local eye = torch.eye(n, { dtype = A.dtype })
      q = torch.linalg.solve(eye - A * 0.5, eye + A * 0.5)
    end
    if n ~= k then q = q:narrow(-1, 0, k) end
  end
  if self.base ~= nil then q = self.base:matmul(q) end
  return transposed and q.mT or q
end
function Orthogonal:right_inverse(Q)
  if Q:size(-2) ~= self.shape0 or Q:size(-1) ~= self.shape1 then error("Expected a matrix of the layer's shape", 2) end
  local init, transposed = Q, Q:size(-2) < Q:size(-1)
  if transposed then Q = Q.mT end
  if not self.trivial then
    if self.map ~= "householder" then
      error("It is not possible to assign to the matrix exponential or the Cayley parametrizations when use_trivialization=False.", 0)
    end
    local A = M._reflectors(Q)
    return transposed and A.mT or A
  end
  self:register_buffer("base", Q:size(-2) == Q:size(-1) and M._orthonormal(Q) or M._complete(Q))
  local start = torch.zeros_like(init)
  torch.diagonal(start, { dim1 = -2, dim2 = -1 }):fill_(-1.0)
  return start
end
--- The columns of Q made orthonormal, signs kept.
function M._orthonormal(Q)
  local q, r = torch.linalg.qr(Q)
  return q * torch.diagonal(r, { dim1 = -2, dim2 = -1 }):sign():unsqueeze(-2)
end
function M._complete(Q)
  local n, k = Q:size(-2), Q:size(-1)
  local fill = torch.randn(n, n - k):to(Q.dtype)
  return M._orthonormal(torch.cat({ Q, fill }, -1))
end
--- Reflections (unit lower part) whose product has the columns of Q up to the signs on the diagonal.
function M._reflectors(Q)
  local n, k = Q:size(-2), Q:size(-1)
  local R, out = Q:clone(), torch.zeros_like(Q)
  for i = 0, k - 1 do
    local x = R:select(-1, i):narrow(0, i, n - i)
    local head = x[0]:item()
    local sign = head >= 0 and 1.0 or -1.0
    local v = x:clone()
    v[0] = head + sign * torch.linalg.vector_norm(x):item()
    v = v / v[0]
    local tau = 2 / (v * v):sum():item()
    local block = R:narrow(0, i, n - i)
    block:copy_(block - v:unsqueeze(-1):matmul(v:unsqueeze(0):matmul(block)) * tau)
    out:select(-1, i):narrow(0, i, n - i):copy_(v)
    out[{ i, i }] = -sign
  end
  return out
end

--- orthogonal(module, name = "weight", orthogonal_map = None, use_trivialization = true)
function M.orthogonal(...)
  local module, name, map, trivialize = core.spread("orthogonal", { "module", "name", "orthogonal_map", "use_trivialization" }, ...)
  name = name or "weight"
  local t = tensor_of(module, name)
  if t.ndim < 2 then error("Expected a matrix or batch of matrices. Got a tensor of " .. t.ndim .. " dimensions.", 2) end
  if trivialize == nil then trivialize = true end
  map = map or (t:size(-2) == t:size(-1) or t:is_complex()) and "matrix_exp" or "householder"
  if map ~= "matrix_exp" and map ~= "cayley" and map ~= "householder" then
    error('orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: ' .. tostring(map), 2)
  end
  local par = Orthogonal(t, map, trivialize)
  if not trivialize and map ~= "householder" then par.right_inverse = false end       -- it has none
  return parametrize.register_parametrization(module, name, par, { unsafe = true })
end

-- ---- help ----
M.__docs = {
  weight_norm = { signature = "nn.utils.parametrizations.weight_norm(module, name = 'weight', dim = 0) -> module",
    doc = "The weight as g * v / |v|: original0 is g, original1 is v.",
    example = [=[nn.utils.parametrizations.weight_norm(nn.Linear(2, 3)).parametrizations.weight.original0.shape --> torch.Size([3, 1])]=], see = "nn.utils.parametrizations.spectral_norm" },
  spectral_norm = { signature = "nn.utils.parametrizations.spectral_norm(module, name = 'weight', n_power_iterations = 1, eps = 1e-12, dim = None) -> module",
    doc = "The weight divided by its largest singular value, estimated by power iteration.",
    example = [=[nn.utils.parametrizations.spectral_norm(nn.Linear(2, 3)).weight.shape --> torch.Size([3, 2])]=], see = "nn.utils.parametrizations.weight_norm" },
  orthogonal = { signature = "nn.utils.parametrizations.orthogonal(module, name = 'weight', orthogonal_map = None, use_trivialization = true) -> module",
    doc = "An orthogonal weight: orthogonal_map is 'matrix_exp', 'cayley' or 'householder'.",
    example = [=[local w = nn.utils.parametrizations.orthogonal(nn.Linear(2, 2)).weight
return torch.allclose(w:matmul(w.T), torch.eye(2), {atol = 1e-5}) --> true]=], see = "nn.utils.parametrizations.weight_norm" },
}

return M
