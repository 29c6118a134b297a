-- torch.lowrank: approximate decompositions of large matrices: svd_lowrank, pca_lowrank, lobpcg.
--
-- Random starts are drawn as PyTorch draws them, so after the same seed both begin alike.
local torch = require "torch"
local parse = require "torch.kwargs"

local lowrank = {}

local function check_matrix(name, x)
  if not torch.is_tensor(x) then error(("%s: expected a tensor, got %s"):format(name, type(x)), 3) end
  if x.ndim < 2 then error(("%s: expected a matrix or a batch of matrices, got shape %s"):format(name, x.shape), 3) end
end

local function orthonormal(X) return (torch.linalg.qr(X)) end

--- q orthonormal columns that span most of A - M (Halko et al. 2009, algorithm 4.4).
local function basis(A, q, niter, M)
  local function product(a, m, x) local y = a:matmul(x) return m and y - m:matmul(x) or y end
  local R = torch.randn({ A:size(-1), q }, { dtype = A.dtype })
  local Q = orthonormal(product(A, M, R))
  for _ = 1, niter do
    Q = orthonormal(product(A.mH, M and M.mH, Q))
    Q = orthonormal(product(A, M, Q))
  end
  return Q
end

local function decompose(A, q, niter, M)
  local wide = A:size(-2) < A:size(-1)
  if M then M = M:expand(A.shape) end
  if wide then A, M = A.mH, M and M.mH end
  local Q = basis(A, q, niter, M)
  local B = Q.mH:matmul(A)
  if M then B = B - Q.mH:matmul(M) end
  local U, S, Vh = torch.linalg.svd(B, false)
  U = Q:matmul(U)
  if wide then return Vh.mH, S, U end
  return U, S, Vh.mH
end

--- svd_lowrank(A, q = 6, niter = 2, M): U, S, V with A - M about U diag(S) V^H of rank q.
function lowrank.svd_lowrank(...)
  local a = parse("svd_lowrank", { "A", "q", "niter", "M" }, 1, ...)
  check_matrix("svd_lowrank", a.A)
  return decompose(a.A, a.q or 6, a.niter or 2, a.M)
end

--- pca_lowrank(A, q, center = true, niter = 2): svd_lowrank of A less its columns' means.
function lowrank.pca_lowrank(...)
  local a = parse("pca_lowrank", { "A", "q", "center", "niter" }, 1, ...)
  check_matrix("pca_lowrank", a.A)
  local most = math.min(a.A:size(-2), a.A:size(-1))
  local q, niter = a.q or math.min(6, most), a.niter or 2
  if q < 0 or q > most then
    error(("pca_lowrank: q (=%d) must be non-negative integer and not greater than min(m, n)=%d"):format(q, most), 2)
  end
  if niter < 0 then error(("pca_lowrank: niter (=%d) must be non-negative integer"):format(niter), 2) end
  local A = a.A
  if a.center ~= false then A = A - A:mean(-2, true) end
  return decompose(A, q, niter)
end

-- ---- lobpcg ----

--- The columns of S without what is linearly dependent, orthonormal in the product of B.
local function independent(S, B)
  local norms = (S * (B and B:matmul(S) or S)):sum(0):clamp_min(0):sqrt()
  S = S / norms:clamp_min(1e-30)
  local G = S.mT:matmul(B and B:matmul(S) or S)
  local e, Z = torch.linalg.eigh((G + G.mT) / 2)
  local eps = S.dtype == torch.float64 and 1e-14 or 1e-6
  local keep = e:gt(e:max():item() * eps * #e)
  e, Z = e[keep], Z:index_select(1, keep:nonzero():view(-1))
  return S:matmul(Z / e:sqrt())
end

local function one_lobpcg(A, B, X, iK, k, n, niter, tol, largest)
  local function times(m, x) return m and m:matmul(x) or x end
  local E, P
  X = independent(X, B)
  for step = 0, niter do
    local S = X
    if step > 0 then
      local R = A:matmul(X) - times(B, X) * E
      local scale = X:norm() * (A:matmul(X):norm() / X:norm() + E:abs():max() * (B and B:norm() or 1))
      if (R:narrow(1, 0, k):norm(2, 0) / scale):max():item() < tol then break end
      local W = times(iK, R)
      W = W - X:matmul(X.mT:matmul(times(B, W)))
      S = independent(P and torch.cat({ X, W, P }, 1) or torch.cat({ X, W }, 1), B)
    end
    local H = S.mT:matmul(A:matmul(S))
    local values, Z = torch.linalg.eigh((H + H.mT) / 2)
    if largest then values, Z = values:flip(0), Z:flip(1) end
    local new = S:matmul(Z:narrow(1, 0, math.min(n, Z:size(1))))
    P = step > 0 and new - X:matmul(X.mT:matmul(times(B, new))) or nil
    E, X = values:narrow(0, 0, new:size(1)), new
  end
  return E:narrow(0, 0, k), X:narrow(1, 0, k)
end

--- lobpcg(A, k = 1, ...): the k largest (or smallest) eigenvalues of A x = e B x for symmetric A and positive
-- definite B, and their eigenvectors, by the locally optimal block preconditioned conjugate gradient method.
function lowrank.lobpcg(...)
  local a = parse("lobpcg", { "A", "k", "B", "X", "n", "iK", "niter", "tol", "largest", "method", "tracker",
    "ortho_iparams", "ortho_fparams", "ortho_bparams" }, 1, ...)
  local A = a.A
  check_matrix("lobpcg", A)
  if A.dtype ~= torch.float32 and A.dtype ~= torch.float64 then
    error(("lobpcg: expected float32 or float64, got %s"):format(A.dtype), 2)
  end
  if A.requires_grad and torch.is_grad_enabled() then
    error("lobpcg: has no gradient here; use torch.linalg.eigh, or x:detach()", 2)
  end
  local m = A:size(-1)
  if A:size(-2) ~= m then error(("lobpcg: expected square matrices, got shape %s"):format(A.shape), 2) end
  if a.method and a.method ~= "basic" and a.method ~= "ortho" then
    error(("lobpcg: method must be 'basic' or 'ortho', got %s"):format(tostring(a.method)), 2)
  end
  local k = a.k or a.X and a.X:size(-1) or 1
  local n = a.n or a.X and a.X:size(-1) or k
  if m < 3 * n then
    error(("lobpcg: LPBPCG algorithm is not applicable when the number of A rows (=%d) is smaller than 3 x "
      .. "the number of requested eigenpairs (=%d)"):format(m, n), 2)
  end
  if k < 1 or k > n then error(("lobpcg: k must be between 1 and n (=%d), got %d"):format(n, k), 2) end
  local shape = A.shape:totable()
  local function each(x) return x and x:expand(shape):reshape(-1, m, shape[#shape]) end
  local As, Bs, Ks = each(A), each(a.B), each(a.iK)
  shape[#shape] = a.X and a.X:size(-1) or n
  local Xs = each(a.X or torch.randn(shape, { dtype = A.dtype }))
  local tol = a.tol or (A.dtype == torch.float64 and 2.23e-16 or 1.2e-7) ^ 0.5
  local values, vectors = {}, {}
  torch.no_grad(function()
    for i = 0, As:size(0) - 1 do
      values[i + 1], vectors[i + 1] = one_lobpcg(As[i], Bs and Bs[i], Xs[i], Ks and Ks[i], k, n,
        a.niter and a.niter >= 0 and a.niter or 1000, tol, a.largest ~= false)
    end
  end)
  shape[#shape] = k
  local X = torch.stack(vectors):view(shape)
  table.remove(shape, #shape - 1)
  return torch.stack(values):view(shape), X
end

return lowrank
