-- linalg_test.lua: least squares against numbers recorded from PyTorch, its drivers, gradients and refusals.
package.path = "tests/lua/?.lua;" .. package.path
local t, torch = require "check", require "torch"
local lstsq = torch.linalg.lstsq

local f64 = { dtype = torch.float64 }
local A = torch.tensor({ { 1, 2, 0 }, { 0, 1, -1 }, { 3, 0, 2 }, { -1, 1, 1 }, { 2, -2, 1 } }, f64)
local B = torch.tensor({ { 1, 0 }, { 2, 1 }, { 0, -1 }, { 1, 3 }, { -1, 2 } }, f64)
local function near(x, want, what) t.ok(torch.allclose(x, torch.tensor(want, f64), { atol = 1e-9 }), what) end

t.test("tall, wide and rank-deficient matrices by every driver", function()
  local D = A:clone()
  D[":, 2"] = D[":, 0"]
  for _, driver in ipairs { "gels", "gelsy", "gelsd", "gelss" } do
    local x, residuals, rank, values = lstsq(A, B, { driver = driver })
    near(A.mT:matmul(A:matmul(x) - B), { { 0, 0 }, { 0, 0 }, { 0, 0 } }, driver .. ": normal equations")
    if driver == "gelsy" then t.eq(residuals:numel(), 0)
    else t.ok(torch.allclose(residuals, (A:matmul(x) - B):square():sum(0)), driver .. ": residuals") end
    if driver == "gels" then t.eq(rank:numel(), 0) else t.eq(rank:item(), 3) end
    local has = driver == "gelsd" or driver == "gelss"
    t.eq(values:numel(), has and 3 or 0)
    if has then t.ok(torch.allclose(values, torch.linalg.svdvals(A)), "singular values") end
    local w = lstsq(A.mT, B[":3"], { driver = driver })
    t.ok(torch.allclose(w, torch.linalg.pinv(A.mT):matmul(B[":3"])), driver .. ": the smallest solution")
    if driver ~= "gels" then
      local y, r, k = lstsq(D, B, { driver = driver })
      t.ok(torch.allclose(y, torch.linalg.pinv(D):matmul(B)), driver .. ": rank 2")
      t.eq(k:item(), 2)
      t.eq(r:numel(), 0)
    end
  end
end)

t.test("vectors, batches, rcond, complex, nothing at all", function()
  t.eq(lstsq(A, B[":, 0"]).shape == { 3 }, true)
  local x, _, rank = lstsq(torch.stack { A, A * 2 }, torch.stack { B, B })
  t.eq(x.shape == { 2, 3, 2 } and rank.shape == { 2 }, true)
  t.ok(torch.allclose(x[0], x[1] * 2))
  local d = torch.diag(torch.tensor({ 1, 0.1, 1e-3 }, f64))
  for _, driver in ipairs { "gelsy", "gelsd" } do
    local y, _, k = lstsq(d, torch.eye(3, f64), { rcond = 0.01, driver = driver })
    t.eq(k:item(), 2)
    near(y:diagonal(), { 1, 10, 0 }, driver)
  end
  local c = torch.complex(A, A:flip(0))
  local z = lstsq(c, torch.complex(B, -B), { driver = "gelsd" })
  t.ok((c.mH:matmul(c:matmul(z) - torch.complex(B, -B))):abs():max():item() < 1e-12)
  t.eq(lstsq(torch.zeros(0, 3), torch.zeros(0, 2)):tolist(), { { 0.0, 0.0 }, { 0.0, 0.0 }, { 0.0, 0.0 } })
  t.eq(select(2, lstsq(torch.zeros(3, 0), torch.ones(3, 2), { driver = "gelsd" })):tolist(), { 3.0, 3.0 })
end)

t.test("gradients", function()
  local a, b = A:clone():requires_grad_(), B:clone():requires_grad_()
  local x, residuals = lstsq(a, b, { driver = "gelsd" })
  local w = torch.tensor({ { 1, -1 }, { 2, 0 }, { 0, 3 } }, f64)
  torch.sum(x * w):backward({ retain_graph = true })
  near(a.grad, { { -0.572964290582, -0.506938892798, 0.929358497795 },
    { -1.1815864221, 0.115446819014, 2.32370201996 },
    { 0.714107301403, -0.219963085901, -1.26694567144 },
    { -0.0235299752064, 0.193717971861, 0.386802288527 },
    { -1.08915012839, 0.338622389396, 2.10994654455 } },
    "gradient of the matrix")
  near(b.grad, { { 0.610364683301, -0.418426103647 },
    { 0.31669865643, -0.896353166987 },
    { 0.284069097889, 0.383877159309 },
    { -0.0134357005758, 1.46833013436 },
    { -0.238003838772, -0.132437619962 } },
    "gradient of the right-hand sides")
  a.grad, b.grad = nil, nil
  residuals:sum():backward()
  near(a.grad, { { 0.563658400905, 0.639785441403, -0.924871334839 },
    { 1.57990134136, -1.5949543363, -2.40412465324 },
    { -1.09029218136, -0.10813399597, 1.72624621925 },
    { 1.60458442166, -0.813996411743, -2.48645562019 },
    { 2.15590128241, -0.564689932619, -3.37016147155 } },
    "residuals' gradient")
end)

t.test("matrix_exp keeps its digits at every norm and size", function()
  torch.manual_seed(3)
  for _, n in ipairs { 1, 5, 40 } do
    for _, scale in ipairs { 1e-6, 0.01, 0.3, 2, 12 } do
      local a = torch.randn(2, n, n, f64) * (scale / n ^ 0.5)
      local e = torch.linalg.matrix_exp(a)
      local what = n .. " x " .. n .. ", scale " .. scale
      local off = (torch.linalg.matrix_exp(-a):matmul(e) - torch.eye(n, f64)):abs():max()
      t.ok(off:item() < 1e-12 * e:abs():max():item() ^ 2, what .. ": inverse")
      local half = torch.linalg.matrix_exp(a / 2)
      t.ok(torch.allclose(half:matmul(half), e, { rtol = 1e-11, atol = 1e-13 * e:abs():max():item() }), what)
      for _, d in ipairs { torch.float32, torch.complex64 } do
        local x = torch.linalg.matrix_exp(a:to(d))
        local error = (x:to(torch.complex128) - torch.linalg.matrix_exp(a:to(d):to(torch.complex128))):abs():max()
        t.ok(error:item() < 4e-6 * e:abs():max():item(), what .. ": " .. tostring(d))
      end
    end
  end
  local bad = torch.tensor { { 1, 0 / 0 }, { 0, 1 } }
  t.ok(torch.linalg.matrix_exp(bad):isnan():any():item(), "nan")
end)

t.test("larger matrices: QR by panels, tall least squares and singular values through QR", function()
  torch.manual_seed(5)
  for _, d in ipairs { torch.float32, torch.float64, torch.complex64, torch.complex128 } do
    local o = { dtype = d }
    local eps = (d == torch.float32 or d == torch.complex64) and 2e-5 or 2e-13
    local function small(x, what) t.ok(x:abs():max():item() < eps, what .. ", " .. tostring(d)) end
    for _, size in ipairs { { 48, 24 }, { 100, 100 }, { 70, 130 }, { 150, 64 }, { 2, 130, 70 } } do
      local a = torch.randn(size, o)
      local what = "QR of " .. table.concat(size, " x ")
      for _, mode in ipairs { "reduced", "complete" } do
        local q, r = torch.linalg.qr(a, mode)
        small(q:matmul(r) - a, what)
        small(q.mH:matmul(q) - torch.eye(q.shape[-1], o), what .. ": Q")
        small(r:tril(-1), what .. ": R")
        if mode == "reduced" then t.ok(torch.equal(r, (select(2, torch.linalg.qr(a, "r")))), "r alone") end
      end
    end
    local a, b = torch.randn(2, 120, 30, o), torch.randn(2, 120, 3, o)
    local u, s, vh = torch.linalg.svd(a, false)
    small(u:matmul(s:unsqueeze(-1):to(d) * vh) - a, "tall SVD")
    small(u.mH:matmul(u) - torch.eye(30, o), "tall SVD: U")
    small(torch.linalg.svdvals(a) - s, "tall singular values")
    small((select(2, torch.linalg.svd(a))) - s, "tall SVD in full")
    for _, driver in ipairs { "gels", "gelsy", "gelsd" } do
      local x, residuals = lstsq(a, b, { driver = driver })
      small(a.mH:matmul(a:matmul(x) - b) / 40, driver .. ": normal equations")
      if driver ~= "gelsy" then
        t.ok(torch.allclose(residuals, (a:matmul(x) - b):abs():square():sum(-2), { rtol = 1e-3 }), driver)
      end
    end
    local wide = torch.randn(60, 60, o) + torch.eye(60, o) * 8
    small((lstsq(wide, wide:matmul(b[0]:narrow(0, 0, 60))) - b[0]:narrow(0, 0, 60)) / 10, "gelsy: square, full rank")
    wide[":, 7"] = wide[":, 9"]
    t.eq(select(3, lstsq(wide, b[0]:narrow(0, 0, 60))):item(), 59)
    local low = torch.cat({ a, a:narrow(-1, 0, 5) * 2 }, -1)
    for _, driver in ipairs { "gelsy", "gelsd" } do
      local x, _, rank = lstsq(low, b, { driver = driver })
      t.eq(rank:tolist(), { 30, 30 })
      small((x - torch.linalg.pinv(low, { rtol = 1e-4 }):matmul(b)) / 10, driver .. ": the smallest solution")
    end
  end
end)

t.test("refusals", function()
  t.error_matches(function() lstsq(A, B, { driver = "gesvd" }) end, "driver must be 'gels', 'gelsy', 'gelsd'")
  t.error_matches(function() lstsq(A, B:float()) end, "input is float64 but other is float32")
  t.error_matches(function() lstsq(A, B[":4"]) end, "other of shape [4, 2] does not fit input of shape [5, 3]")
  t.error_matches(function() lstsq(A[0], B) end, "at least 2 dimensions")
  t.error_matches(function() lstsq(A:long(), B:long()) end, "int64")
  t.error_matches(function() lstsq(A * torch.nan, B) end, "infinities or nans")
end)

t.test("ldl_solve looks at pivots before LAPACK follows them", function()
  local LD, right = torch.eye(3), torch.ones(3, 1)
  for _, bad in ipairs { { 1, 2, -3 }, { -1, 2, 3 }, { 0, 2, 3 }, { 1, 2, 4 } } do
    local pivots = torch.tensor(bad, { dtype = torch.int32 })
    t.error_matches(function() torch.linalg.ldl_solve(LD, pivots, right) end, "pivots")
  end
  local pairs_of_rows = torch.tensor({ -2, -2, 3 }, { dtype = torch.int32 })
  LD[1][0] = 2
  t.ok(torch.linalg.ldl_solve(LD, pairs_of_rows, right).shape == { 3, 1 })
end)

t.done()
