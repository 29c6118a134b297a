-- spatial.lua: random calls of pooling, resampling, folding, sampling and convolution with arguments that mostly fit.
-- A call may fail with a Lua error; where it succeeds, the meta device must give the same shape and dtype, and the
-- gradient must come back in the input's shape.   usage: moth tests/fuzz/spatial.lua [CALLS] [SEED]
local calls, seed = tonumber(arg[1]) or 20000, tonumber(arg[2]) or os.time()
math.randomseed(seed)
torch.manual_seed(seed)
local random = math.random
local function pick(t) return t[random(#t)] end
local function chance(p) return random() < p end

local DTYPES = { "float32", "float32", "float32", "float64", "float16", "bfloat16", "int64", "uint8", "int32",
  "bool", "complex64" }
local EXTREME = { 0, -1, 1 << 31, 1 << 40, math.maxinteger, math.mininteger, 1000, 65536 }
local NONE = torch.None

local function number(lo, hi) return chance(0.01) and pick(EXTREME) or random(lo, hi) end
local function list(n, lo, hi)
  if chance(0.4) then return number(lo, hi) end
  local l = {}
  for i = 1, chance(0.02) and random(0, 4) or n do l[i] = number(lo, hi) end
  return l
end
local function maybe(v) return chance(0.3) and NONE or v end
local function shape(n, channels)
  local s = {}
  if chance(0.8) then s[1] = chance(0.05) and 0 or random(1, 2) end
  s[#s + 1] = channels or (chance(0.03) and 0 or random(1, 5))
  for _ = 1, n do s[#s + 1] = chance(0.03) and 0 or random(1, 9) end
  return s
end
local function tensor(s, dtype)
  local t = torch.randn(s, { dtype = torch.float32 }) * 3
  if chance(0.05) and t:numel() > 0 then t:view(-1)[torch.slice(0, nil, 2)] = pick { 0 / 0, math.huge, -math.huge,
    1e30 } end
  t = dtype == "uint8" and t:abs():nan_to_num(0, 9, 0):clamp(0, 200):to(torch.uint8)
    or torch[dtype].is_floating_point and t:to(torch[dtype]) or dtype:find("^complex") and t:to(torch[dtype])
    or t:nan_to_num(0, 9, -9):clamp(-9, 9):to(torch[dtype])
  if chance(0.2) and #s > 1 then t = t:transpose(0, -1):contiguous():transpose(0, -1) end
  return t
end
local function input(n, dtype, channels) return tensor(shape(n, channels), dtype) end
local function flag() return chance(0.5) end

local forms = {}
local function form(name, make) forms[#forms + 1] = { name, F[name], make } end
for n = 1, 3 do
  form("max_pool" .. n .. "d", function(d) return input(n, d), list(n, 1, 4), maybe(list(n, 1, 3)), list(n, 0, 2),
    list(n, 1, 2), flag(), flag() end)
  form("avg_pool" .. n .. "d", function(d) return input(n, d), list(n, 1, 4), maybe(list(n, 1, 3)), list(n, 0, 2),
    flag(), flag() end)
  form("lp_pool" .. n .. "d", function(d) return input(n, d), pick { 1, 2, 2.5, 0, -1 }, list(n, 1, 4),
    maybe(list(n, 1, 3)), flag() end)
  form("adaptive_avg_pool" .. n .. "d", function(d) return input(n, d), list(n, 0, 6) end)
  form("adaptive_max_pool" .. n .. "d", function(d) return input(n, d), list(n, 0, 6), flag() end)
  form("max_unpool" .. n .. "d", function(d)
    local x = input(n, d)
    local at = torch.randint(chance(0.1) and -3 or 0, chance(0.3) and 500 or math.max(1, (x:numel() // math.max(1,
      x:size(0)))), x.shape)
    return x, at, list(n, 1, 4), maybe(list(n, 1, 3)), list(n, 0, 1)
  end)
  if n > 1 then
    form("fractional_max_pool" .. n .. "d", function(d)
      if flag() then return input(n, d), list(n, 1, 3), list(n, 1, 4), nil, flag() end
      return input(n, d), list(n, 1, 3), NONE, pick { 0.5, 0.9, 0.1, 1.5, 0 / 0 }, flag()
    end)
  end
  local modes = ({ { "nearest", "nearest-exact", "linear", "area" }, { "nearest", "nearest-exact", "bilinear",
    "bicubic", "area" },
    { "nearest", "nearest-exact", "trilinear", "area" } })[n]
  form("interpolate", function(d)
    local k = { mode = chance(0.03) and "foo" or pick(modes) }
    if flag() then k.size = list(n, 1, 14) else k.scale_factor = pick { 0.5, 2, 1.3, 3.7, 0.1, chance(0.05)
      and 1e30 or 1, chance(0.1) and 0 / 0 or 2 } end
    if k.mode:find("lin") or k.mode:find("cub") then k.align_corners = flag() end
    if n == 2 and k.mode:find("^bi") and flag() then k.antialias = true end
    if chance(0.2) then k.recompute_scale_factor = flag() end
    return input(n, d), k
  end)
  form("conv" .. n .. "d", function(d)
    local g = pick { 1, 1, 2, 3 }
    local a, b, k = g * random(1, 3), g * random(1, 4), {}
    for i = 1, n do k[i] = chance(0.02) and 0 or random(1, 3) end
    return input(n, d, a), tensor({ b, chance(0.03) and 5 or a // g, table.unpack(k) }, d), maybe(tensor({ b },
      d)), list(n, 1, 3),
      chance(0.2) and pick { "same", "valid", "bad" } or list(n, 0, 2), list(n, 1, 2), g
  end)
  form("conv_transpose" .. n .. "d", function(d)
    local g = pick { 1, 1, 2, 3 }
    local a, b, k = g * random(1, 3), random(1, 4), {}
    for i = 1, n do k[i] = chance(0.02) and 0 or random(1, 3) end
    return input(n, d, a), tensor({ a, b, table.unpack(k) }, d), maybe(tensor({ b * g }, d)), list(n, 1, 3),
      list(n, 0, 2), list(n, 0, 1), g, list(n, 1, 2)
  end)
  form("pad", function(d)
    local p = {}
    for i = 1, 2 * n do p[i] = number(-2, 4) end
    return input(n, d), p, pick { "constant", "reflect", "replicate", "circular" }
  end)
end
form("unfold", function(d) return input(2, d), list(2, 1, 3), list(2, 1, 2), list(2, 0, 2), list(2, 1, 3) end)
form("fold", function(d)
  local k = { random(1, 3), random(1, 3) }
  local oh, ow = random(1, 5), random(1, 5)
  return tensor({ random(1, 2), random(1, 3) * k[1] * k[2], oh * ow }, d), { oh + k[1] - 1, ow + k[2] - 1 }, k, 1,
    0, number(1, 1)
end)
for n = 2, 3 do
  form("grid_sample", function(d)
    local x, s = input(n, d), {}
    s[1] = x:ndimension() == n + 2 and x:size(0) or 1
    for i = 1, n do s[1 + i] = random(0, 5) end
    s[n + 2] = n
    return x, tensor(s, d), pick { "bilinear", "nearest", "bicubic" }, pick { "zeros", "border", "reflection" },
      flag()
  end)
  form("affine_grid", function(d)
    local size = { random(1, 2), 1 }
    for i = 1, n do size[2 + i] = number(1, 5) end
    return tensor({ size[1], n, n + 1 }, d), size, flag()
  end)
end
form("pixel_shuffle", function(d) return input(2, d, pick { 4, 9, 8 }), number(1, 3) end)
form("pixel_unshuffle", function(d) return input(2, d), number(1, 3) end)
form("channel_shuffle", function(d) return input(2, d, pick { 4, 6 }), number(1, 3) end)
form("conv_tbc", function(d) return tensor({ random(1, 6), 2, 3 }, d), tensor({ random(1, 3), 3, 2 }, d),
  tensor({ 2 }, d), number(0, 2) end)

local function is_tensor(v) return torch.is_tensor(v) end
local function on_meta(a)
  local b = { n = a.n }
  for i = 1, a.n do b[i] = is_tensor(a[i]) and a[i]:to("meta") or a[i] end
  return b
end
local text_of
function text_of(v)
  if is_tensor(v) then return tostring(v.dtype) .. tostring(v.shape) end
  if type(v) ~= "table" or getmetatable(v) then return tostring(v) end
  local t = {}
  for k, x in pairs(v) do t[#t + 1] = k .. "=" .. text_of(x) end
  return "{" .. table.concat(t, " ") .. "}"
end
local made, good, bad = 0, 0, 0
local function complain(what, name, args, text)
  bad = bad + 1
  local t = {}
  for i = 1, args.n do
    t[i] = text_of(args[i])
  end
  print("FAIL " .. name .. ": " .. what .. ": " .. tostring(text) .. "\n  " .. table.concat(t, ", "))
end
for call = 1, calls do
  local name, fn, make = table.unpack(pick(forms))
  local args = table.pack(make(pick(DTYPES)))
  local first = args[1]
  local grad = first.dtype.is_floating_point and chance(0.5)
  if grad then for i = 1, args.n do if is_tensor(args[i])
    and args[i].dtype.is_floating_point then args[i]:requires_grad_() end end end
  local r = table.pack(pcall(fn, table.unpack(args, 1, args.n)))
  made = made + 1
  if r[1] then
    good = good + 1
    local m = table.pack(pcall(fn, table.unpack(on_meta(args), 1, args.n)))
    if not m[1] then complain("meta fails", name, args, m[2])
    else
      for i = 2, r.n do
        if not m[i] or m[i].shape ~= r[i].shape or m[i].dtype ~= r[i].dtype then
          complain("meta differs", name, args, m[i] and tostring(m[i].shape) .. " for " .. tostring(r[i].shape))
        elseif m[i].device.type ~= "meta" then complain("not on meta", name, args, m[i].device) end
      end
    end
    if grad and r[2].requires_grad then
      local ok, g = pcall(torch.autograd.grad, r[2], { first }, torch.ones_like(r[2]), { allow_unused = true })
      if not ok then complain("backward", name, args, g)
      elseif g[1] ~= NONE and g[1].shape ~= first.shape then complain("gradient shape", name, args, g[1].shape) end
    end
  end
end
print(("%d calls, %d succeeded, %d failures, seed %d"):format(made, good, bad, seed))
os.exit(bad == 0)
