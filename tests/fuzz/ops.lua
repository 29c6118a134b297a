-- ops.lua: calls ops with random arguments in this process.  Every outcome must be a result or a Lua error; a success
-- is held against a property (contiguous equals strided, in place equals out of place, float64 agrees), a failure must
-- leave its arguments as they were.
-- usage: moth ops.lua SEED CALLS SECONDS STATE_FILE [OPS_PATTERN]
-- The call about to run is kept in STATE_FILE, so that the parent can name the one that ended the process.  The same
-- seed makes the same calls.
local dir = arg[0]:match("^(.*)/[^/]*$") or "."
package.path = dir .. "/?.lua;" .. package.path
local torch = require "torch"
local schema, generate = require "schema", require "generate"
local seed, calls, seconds, state_path = tonumber(arg[1]), tonumber(arg[2]), tonumber(arg[3]), arg[4]
local only = arg[5]
math.randomseed(seed)
torch.manual_seed(seed)
torch.set_num_threads(1)

-- Ops whose results say something about memory or chance rather than value.
local UNCOMPARED = { as_strided = true, set_ = true, set = true, stride = true, storage_offset = true, data_ptr = true,
  is_contiguous = true, is_set_to = true, resize_ = true, resize = true, empty = true, empty_like = true,
  new_empty = true, empty_strided = true, new_empty_strided = true, empty_permuted = true, contiguous = true,
  is_view = true, unsafe_view = true, view = true, view_copy = true, as_strided_scatter = true,
  as_strided_copy = true, multinomial = true, nonzero_static = true,
  resize_as_ = true, is_leaf = true,
  index_put = true, put = true, index_copy = true, scatter = true,     -- indices that repeat: any of the values may stay
  fill_diagonal_ = true,                 -- writes through overlapping elements too, as PyTorch does
  -- random where not every argument is given
  scaled_dot_product_attention = true, fractional_max_pool2d = true, fractional_max_pool3d = true,
  fractional_max_pool2d_with_indices = true, fractional_max_pool3d_with_indices = true, gumbel_softmax = true,
  multi_head_attention_forward = true, rrelu = true, lstm = true, gru = true, rnn_tanh = true, rnn_relu = true }
-- Ops in which a float32 rounding decides a branch or a sum cancels, or which have poles (polygamma: the sine of pi x in
-- float32 is not 0), or which add the dtype's own eps (rms_norm); their float64 run may differ widely.
local LOOSE = { svd = true, qr = true, eig = true, eigh = true, lu = true, lu_factor = true, pinv = true, inv = true,
  matrix_rank = true, lstsq = true, solve = true, det = true, slogdet = true, householder_product = true,
  cond = true, eigvals = true, matrix_power = true, polygamma = true, pinverse = true, inverse = true,
  inv_ex = true, lu_factor_ex = true, solve_ex = true, histc = true, histogram = true, histogramdd = true,
  geqrf = true, cholesky_ex = true, logdet = true, ldl_factor = true,
  ldl_factor_ex = true, gradient = true, cov = true, corrcoef = true, rms_norm = true,
  tensorinv = true, tensorsolve = true }

local function lookup(path)
  local at = torch
  for part in path:gmatch("[^.]+") do
    if part ~= "torch" or at ~= torch then
      local ok, v = pcall(function() return at[part] end)
      if not ok or v == nil then return nil end
      at = v
    end
  end
  return at
end

local function load_ops()
  local list = {}
  for _, row in ipairs(require "moth.ops") do
    local op = { name = row.base or row.name, path = row.path or "torch." .. row.name, schema = row.schema }
    op.params = op.schema and schema.parse(op.schema)
    op.random, op.hidden, op.id = row.random, row.hidden, row.id
    if op.hidden then op.name, op.path = row.id, "torch._ops." .. row.id end
    op.fn = lookup(op.path)
    if row.attr then
      local name = op.name
      op.fn = function(self) return self[name] end
    elseif type(op.fn) ~= "function" and op.params and op.params[1] and op.params[1].base == "Tensor" then
      local name = op.name
      op.fn = function(self, ...) return self[name](self, ...) end
    end
    if op.params and op.fn and (not only or op.path:find(only)) then list[#list + 1] = op end
  end
  return list
end

local ops = load_ops()
if #ops == 0 then print("no ops") os.exit(2) end

local state = assert(io.open(state_path, "w"))
state:setvbuf("full")
local function note(call, op, recipe, changed)
  state:seek("set", 0)
  state:write(call, " seed ", seed, changed and " (in place or out=) " or " ", generate.text(op, recipe), "\n",
    (" "):rep(40), "\n")
  state:flush()
end

local failures, shown = 0, {}
local function report(op, recipe, what)
  failures = failures + 1
  local key = op.path .. what:sub(1, 20)
  shown[key] = (shown[key] or 0) + 1
  if shown[key] <= 2 then print(string.format("FAIL %s: %s: %s", op.path, what, generate.text(op, recipe))) end
end

local function flatten(v, out)
  if torch.is_tensor(v) then
    local n = v:numel()
    if n > 1000000 then return out end                     -- a few elements expanded beyond all memory
    return n == 0 and out or flatten(v:tolist(), out)
  end
  if type(v) == "table" and getmetatable(v) == nil then
    for i = 1, #v do flatten(v[i], out) end
  else out[#out + 1] = v end
  return out
end

local function describe(res)
  local out = {}
  local function walk(v)
    if torch.is_tensor(v) then out[#out + 1] = tostring(v.dtype) .. tostring(v.shape)
    elseif type(v) == "table" and getmetatable(v) == nil then for i = 1, #v do walk(v[i]) end
    else out[#out + 1] = math.type(v) or type(v) end
  end
  for i = 1, res.n do walk(res[i]) end
  return table.concat(out, " ")
end

local function is_meta(res)
  local meta = false
  local function walk(v)
    if torch.is_tensor(v) then meta = meta or tostring(v.device):find("meta", 1, true) ~= nil
    elseif type(v) == "table" and getmetatable(v) == nil then for i = 1, #v do walk(v[i]) end end
  end
  for i = 1, res.n do walk(res[i]) end
  return meta
end

local function parts(v)
  if type(v) == "number" then return v + 0.0, 0.0 end
  if type(v) == "boolean" then return v and 1.0 or 0.0, 0.0 end
  local ok, re, im = pcall(function() return v.real, v.imag end)
  if ok and re then return re, im end
  return nil
end

local function near(a, b, rtol, scale)
  local ar, ai = parts(a)
  local br, bi = parts(b)
  if not ar or not br then return ar == br end
  local function one(x, y)
    if x == y or (x ~= x and y ~= y) then return true end
    if math.abs(x) > 3e38 and math.abs(y) > 3e38 then return true end      -- beyond float32
    return math.abs(x - y) <= rtol * math.max(scale, math.abs(y))
  end
  return one(ar, br) and one(ai, bi)
end

local function largest(list)
  local m = 1e-6
  for _, v in ipairs(list) do
    local re, im = parts(v)
    if re and re == re and math.abs(re) < math.huge then m = math.max(m, math.abs(re), math.abs(im)) end
  end
  return m
end

local TOL = { float16 = 4e-3, bfloat16 = 3e-2, float32 = 2e-5, complex64 = 2e-5 }
local function tolerance(res)
  local tol = 1e-10
  for i = 1, res.n do
    if torch.is_tensor(res[i]) then tol = math.max(tol, TOL[tostring(res[i].dtype):match("[^.]+$")] or 0) end
  end
  return tol
end

local function agree(a, b, rtol, floor)
  local x, y = {}, {}
  for i = 1, a.n do flatten(a[i], x) end
  for i = 1, b.n do flatten(b[i], y) end
  if #x ~= #y then return string.format("%d values against %d", #x, #y) end
  local scale = math.max(largest(y), floor or 0)
  for i = 1, #x do
    if not near(x[i], y[i], rtol, scale) then
      return string.format("value %d: %s against %s", i, tostring(x[i]), tostring(y[i]))
    end
  end
end

local function invoke(f, args, n, kw)
  if kw then
    args = table.move(args, 1, n, 1, {})
    n = n + 1
    args[n] = kw
  end
  return table.pack(pcall(f, table.unpack(args, 1, n)))
end

local function results(packed) return table.pack(table.unpack(packed, 2, packed.n)) end

local function untouched(op, recipe, made, how)
  for spec, t in pairs(made) do
    if not is_meta(table.pack(t)) then
      local _, _, _, again = generate.build(op, recipe, how)
      local bad = agree(table.pack(t), table.pack(again[spec]), 0)
      if bad then return bad end
    end
  end
end

-- Writing into a tensor whose elements share memory gives what the order of writing leaves.
local function writes_shared(op, recipe)
  return op.name:find("_$") and recipe[1] and recipe[1].k == "tensor" and recipe[1].layout == "expanded"
end

-- With gradients these multiply by the zeros that LAPACK leaves out: nan and inf reach more places.
local SPREADING = { householder_product = true, orgqr = true, ormqr = true }
local function spreads(op, recipe)
  if not SPREADING[op.name] then return false end
  for _, s in ipairs(recipe) do if (s.of or s).fill == "wild" then return true end end
  return false
end

-- Sums of products that cancel leave a rounding of the products' size, which depends on the order of adding.
local PRODUCTS = { mm = true, bmm = true, matmul = true, mv = true, dot = true, vdot = true, vecdot = true, inner = true,
  addmm = true, addmv = true, baddbmm = true, addbmm = true, linear = true, tensordot = true, einsum = true }
local function product_scale(op, args, n)
  if not PRODUCTS[op.name:match("[^.]+$")] then return end
  local values = {}
  for i = 1, n do if torch.is_tensor(args[i]) then flatten(args[i], values) end end
  return largest(values) ^ 2
end

local function check_layout(op, recipe, res)
  if writes_shared(op, recipe) or spreads(op, recipe) then return end
  local args, n, kw = generate.build(op, recipe, { contiguous = true })
  local again = invoke(op.fn, args, n, kw)
  if not again[1] then
    return report(op, recipe, "strided succeeds, contiguous raises " .. tostring(again[2]):sub(1, 100))
  end
  local b = results(again)
  if describe(res) ~= describe(b) then
    return report(op, recipe, "strided gives " .. describe(res) .. ", contiguous " .. describe(b))
  end
  local bad = agree(res, b, 10 * tolerance(res), product_scale(op, args, n))
  if bad then report(op, recipe, "strided and contiguous differ: " .. bad) end
end

local function form_in_place(op, self)
  if op.hidden then return torch._ops[op.name .. "_"] end
  return self[op.name .. "_"]
end

local function check_inplace(op, recipe, res)
  local args, n, kw = generate.build(op, recipe, { contiguous = true })
  local self, out = args[1], res[1]
  if res.n ~= 1 or not torch.is_tensor(self) or not torch.is_tensor(out) then return end
  for _, p in ipairs(op.params) do if p.name == "inplace" then return end end
  if out.shape ~= self.shape or out.dtype ~= self.dtype then return end
  local ok, f = pcall(form_in_place, op, self)
  if not ok or type(f) ~= "function" then return end
  for i = 2, n do if rawequal(args[i], self) then return end end
  local again = invoke(f, args, n, kw)
  if not again[1] then
    if not tostring(again[2]):find("dtype", 1, true) then
      report(op, recipe, "in place raises " .. tostring(again[2]):sub(1, 100))
    end
    return
  end
  local bad = agree(res, table.pack(self), 10 * tolerance(res))
  if bad then report(op, recipe, "in place differs: " .. bad) end
end

local function has_float32(recipe)
  local found = false
  for _, s in ipairs(recipe) do
    for _, t in ipairs(s.k == "list" and s.items or { s }) do
      if t.fill == "wild" then return false end
      found = found or t.k == "tensor" and t.dtype == "float32"
    end
  end
  return found
end

-- A norm of an order near 0 takes a power of some 1 / order of a rounded sum, one of a great order leaves float32's
-- range: float32 says little then.
local function steep(op, recipe)
  if not (op.name:find("norm") or op.name:find("lp_pool") or op.name:find("dist") or op.name:find("triplet") or
    op.name == "round") then
    return false
  end
  for _, s in ipairs(recipe) do
    local order = s.k == "value" and math.type(s.v) and math.abs(s.v) or 1
    if order ~= 0 and (order < 0.3 or order > 30) then return true end
  end
  return false
end

local function check_double(op, recipe, res)
  if LOOSE[op.name] or not has_float32(recipe) or steep(op, recipe) then return end
  local args, n, kw = generate.build(op, recipe, { double = true })
  local again = invoke(op.fn, args, n, kw)
  if not again[1] then return end
  local b = results(again)
  if tolerance(res) > 1e-4 then return end
  local bad = agree(res, b, 1e-3, 1e-3)                     -- 1e-6 of what float32 cancels (sinc(1), sums)
  if bad then report(op, recipe, "float64 differs: " .. bad) end
end

local function check_success(op, recipe, res)
  if op.random or op.hidden or UNCOMPARED[op.name] or is_meta(res) then return end
  local which = math.random(6)
  if which == 1 then check_layout(op, recipe, res)
  elseif which == 2 then check_inplace(op, recipe, res)
  elseif which == 3 then check_double(op, recipe, res) end
end

local function with_random_form(op, args, n, kw)
  local f = op.fn
  if math.random() < 0.06 and torch.is_tensor(args[1]) then
    local ok, g = pcall(form_in_place, op, args[1])
    if ok and type(g) == "function" then return g, kw, true end
  elseif math.random() < 0.04 then
    kw = kw or {}
    kw.out = torch.is_tensor(args[1]) and math.random() < 0.5 and args[1] or torch.empty(0)
    return f, kw, true
  end
  return f, kw, false
end

local made_calls, good, per_op = 0, 0, {}
for i = 1, #ops do per_op[i] = { corpus = {}, calls = 0, good = 0 } end

local stop = os.time() + seconds
for call = 1, calls do
  if call % 64 == 0 and os.time() > stop then break end
  local k = (call - 1) % #ops + 1
  local op, mine = ops[k], per_op[k]
  local recipe
  if #mine.corpus > 0 and math.random() < 0.8 then recipe = generate.mutate(op, mine.corpus[math.random(#mine.corpus)])
  else recipe = generate.fresh(op) end
  local how = { grad = math.random() < 0.1 }
  local built, args, n, kw, made = pcall(generate.build, op, recipe, how)
  if built then
    local f, keywords, changed = with_random_form(op, args, n, kw)
    note(call, op, recipe, changed)
    local packed = invoke(f, args, n, keywords)
    made_calls, mine.calls = made_calls + 1, mine.calls + 1
    if packed[1] then
      good, mine.good = good + 1, mine.good + 1
      if not changed then
        local c = mine.corpus
        c[#c < 24 and #c + 1 or math.random(24)] = recipe
        local ok, err = pcall(check_success, op, recipe, results(packed))
        if not ok and not tostring(err):find("not enough memory", 1, true) then
          report(op, recipe, "the check raised " .. tostring(err):sub(1, 150))
        end
      end
    elseif math.random() < 0.1 then
      local ok, bad = pcall(untouched, op, recipe, made, how)
      if ok and bad then report(op, recipe, "a failed call changed its argument: " .. bad) end
    end
  else
    report(op, recipe, "building the arguments raised " .. tostring(args):sub(1, 150))
  end
end

for i, op in ipairs(ops) do print("@op " .. op.id .. " " .. per_op[i].calls .. " " .. per_op[i].good) end
print(string.format("@ %d %d %d %d", made_calls, good, failures, #ops))
os.exit(true, true)
