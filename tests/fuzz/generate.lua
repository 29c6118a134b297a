-- generate.lua: random calls as recipes: plain Lua data from which the same arguments can be built again, contiguous
-- or in float64 too.  A recipe is a list of specs, one per parameter: {k = "tensor", dtype, shape, layout, seed, ...},
-- {k = "list", items}, {k = "value", v} or {k = "absent"}.
local torch = require "torch"
local generate = {}

local random = math.random
local function pick(list) return list[random(#list)] end
local function chance(p) return random() < p end
generate.pick, generate.chance = pick, chance

local DTYPES = { "float32", "float32", "float32", "float32", "float64", "float64", "int64", "int64", "bool", "uint8",
  "int8", "int16", "int32", "float16", "bfloat16", "complex64", "complex128" }
local LAYOUTS = { "plain", "plain", "plain", "plain", "transposed", "stepped", "offset", "expanded" }
local STRINGS = { "mean", "sum", "none", "constant", "reflect", "replicate", "circular", "ij", "xy", "fro", "nuc",
  "floor",
  "trunc", "left", "right", "lower", "upper", "tanh", "amax", "amin", "prod", "nearest", "bilinear", "linear", "valid",
  "same", "reduced", "complete", "r", "ortho", "forward", "backward", "ij,jk->ik", "ii", "i->", "", "bogus" }
local EXTREME = { math.maxinteger, math.mininteger, 1 << 40, -(1 << 40), 1 << 33, -1, 100, -100, 65 }

local function shape_of(max_dims)
  local n, s = random(0, max_dims or 4), {}
  for i = 1, n do s[i] = chance(0.05) and 0 or pick { 1, 2, 2, 3, 3, 4, 5 } end
  return s
end

function generate.context()
  return { dtype = pick(DTYPES), shape = shape_of(), square = chance(0.25), tensors = {} }
end

local function broadcastable(shape)
  local s, drop = {}, chance(0.3) and random(0, #shape) or 0
  for i = drop + 1, #shape do s[#s + 1] = chance(0.2) and 1 or shape[i] end
  return s
end

local NAMED_INDEX = { index = true, indices = true, target = true, tensor_indices_or_sections = true,
  input_lengths = true,
  target_lengths = true, offsets = true }
local NAMED_MASK = { mask = true, condition = true, attn_mask = true }

local function tensor_spec(ctx, name)
  local spec = { k = "tensor", dtype = ctx.dtype, seed = random(1 << 30), layout = pick(LAYOUTS), fill = "any" }
  local s = ctx.shape
  if #ctx.tensors == 0 then
    if ctx.square and #s >= 2 then s[#s] = s[#s - 1] end
    spec.shape = table.move(s, 1, #s, 1, {})
  elseif chance(0.15) then spec.shape = shape_of()
  elseif chance(0.6) then spec.shape = table.move(s, 1, #s, 1, {})
  elseif chance(0.4) and #s >= 2 then                     -- what a product takes
    spec.shape = table.move(s, 1, #s, 1, {})
    spec.shape[#s - 1], spec.shape[#s] = s[#s], s[#s - 1]
  elseif chance(0.5) and #s >= 1 then spec.shape = { s[random(#s)] }
  else spec.shape = broadcastable(s) end
  if NAMED_INDEX[name] and not chance(0.05) then
    spec.dtype, spec.fill = "int64", "index"
  elseif NAMED_MASK[name] and not chance(0.1) then
    spec.dtype = "bool"
  elseif chance(0.12) then
    spec.dtype = pick(DTYPES)
  end
  if spec.fill == "any" then spec.fill = pick { "any", "any", "small", "positive", "unit", "wild" } end
  spec.bound = math.max(1, s[#s > 0 and random(#s) or 1] or 1)
  ctx.tensors[#ctx.tensors + 1] = spec
  return spec
end

local function int_value(ctx, name)
  if chance(0.04) then return pick(EXTREME) end
  if name:find("dim") or name == "axis" then
    local n = #ctx.shape
    return random(-math.max(n, 1), math.max(n, 1) - (chance(0.9) and 1 or 0))
  end
  return pick { 0, 1, 1, 1, 2, 2, 3, 4, -1 }
end

local function int_list(ctx, p)
  local out = {}
  if p.name:find("dim") or p.name == "dims" or p.name == "axis" then
    local n, used = #ctx.shape, {}
    for _ = 1, math.min(n, random(0, 3)) do
      local d = random(0, math.max(n - 1, 0))
      if not used[d] or chance(0.05) then out[#out + 1] = chance(0.3) and d - n or d end
      used[d] = true
    end
    if p.name == "dims" and chance(0.7) then
      out = {}
      for i = 1, n do out[i] = i - 1 end
      for i = n, 2, -1 do
        local j = random(i)
        out[i], out[j] = out[j], out[i]
      end
    end
    return out
  end
  if p.name == "size" or p.name == "shape" or p.name == "sizes" then
    if chance(0.6) then
      out = table.move(ctx.shape, 1, #ctx.shape, 1, {})
      if #out > 0 and chance(0.3) then out[random(#out)] = pick { -1, 1, 2, 0 } end
      if chance(0.02) then out[#out + 1] = pick(EXTREME) end
      return out
    end
  end
  for i = 1, p.len or random(0, 4) do out[i] = chance(0.02) and pick(EXTREME) or pick { 0, 1, 1, 2, 2, 3 } end
  return out
end

local function scalar()
  return pick { 0, 1, 2, -1, 3, 0.0, 1.0, 0.5, -1.5, 2.0, 1e-3, 100, true, false, math.huge, 0 / 0, math.maxinteger }
end

local function wrong()
  return pick { "text", {}, { 1, 2 }, { "a" }, { { 1 }, 2 }, 3.7, -1, math.mininteger, true, { x = 1 }, print }
end

local value_of = {
  Scalar = function() return chance(0.03) and torch.complex(1.0, -2.0) or scalar() end,
  float = function() return chance(0.05) and scalar() or pick { 0.0, 0.1, 0.5, 1.0, 1.0, 2.0, 1e-5 } end,
  bool = function() return chance(0.5) end,
  str = function() return pick(STRINGS) end,
  dtype = function() return torch[pick(DTYPES)] end,
  memory_format = function() return torch[pick { "contiguous_format", "preserve_format", "channels_last" }] end,
  layout = function() return torch.strided end,
  device = function() return pick { "cpu", "cpu", "meta" } end,
  generator = function() return nil end,
}

function generate.spec(ctx, p)
  if p.default and chance(0.55) or p.optional and chance(0.4) then return { k = "absent" } end
  if chance(0.015) then return { k = "value", v = wrong() } end
  if chance(0.01) then return { k = "value", v = torch.None } end
  if p.base == "Tensor" then
    if #ctx.tensors > 0 and not p.list and chance(0.06) then return { k = "same", of = ctx.tensors[1] } end
    if not p.list then return tensor_spec(ctx, p.name) end
    local items = {}
    for i = 1, random(chance(0.05) and 0 or 1, 3) do items[i] = tensor_spec(ctx, p.name) end
    return { k = "list", items = items }
  end
  if p.base == "int" then
    return { k = "value", v = p.list and (chance(0.2) and p.len and int_value(ctx, p.name) or int_list(ctx, p))
      or int_value(ctx, p.name) }
  end
  local make = value_of[p.base]
  if not make then return { k = "absent" } end
  if not p.list then return { k = "value", v = make() } end
  local out = {}
  for i = 1, random(0, 3) do out[i] = make() end
  return { k = "value", v = out }
end

-- ---- building ----
local function numbers(spec, n)
  local out, kind = {}, spec.dtype
  local state = spec.seed
  local function rnd()                                      -- own small generator: the recipe decides the values
    state = (state * 6364136223846793005 + 1442695040888963407) & 0x7fffffffffffffff
    return (state >> 20) / (1 << 43)
  end
  local is_int = kind:find("int") ~= nil
  for i = 1, n do
    local u = rnd()
    if spec.fill == "index" then out[i] = math.floor(u * spec.bound)
    elseif spec.fill == "pivot" then out[i] = 1 + math.floor(u * spec.bound)
    elseif kind == "bool" then out[i] = u < 0.5
    elseif is_int then
      out[i] = math.floor(u * 9) - (kind == "uint8" and 0 or spec.fill == "positive" and -1 or 4)
    elseif spec.fill == "positive" then out[i] = u * 3 + 0.01
    elseif spec.fill == "unit" then out[i] = u
    elseif spec.fill == "small" then out[i] = math.floor(u * 7) - 3.0
    elseif spec.fill == "wild" then
      out[i] = u < 0.1 and 0 / 0 or u < 0.2 and math.huge or u < 0.3 and -math.huge or u < 0.4 and -0.0
        or (u - 0.7) * 1e4
    else out[i] = u * 6 - 3 end
  end
  return out
end

local function row_major(shape)
  local stride, acc = {}, 1
  for i = #shape, 1, -1 do
    stride[i] = acc
    acc = acc * math.max(shape[i], 1)
  end
  return stride, acc
end

local function layout_of(spec)
  local shape = spec.shape
  local stride, total = row_major(shape)
  local offset = 0
  if spec.layout == "transposed" and #shape >= 2 then
    local turned = table.move(shape, 1, #shape, 1, {})
    turned[1], turned[#turned] = turned[#turned], turned[1]
    stride = row_major(turned)
    stride[1], stride[#stride] = stride[#stride], stride[1]
  elseif spec.layout == "stepped" then
    for i = 1, #stride do stride[i] = stride[i] * 2 end
    total, offset = 2 * total + 1, 1
  elseif spec.layout == "offset" then
    total, offset = total + 3, 3
  elseif spec.layout == "expanded" and #shape >= 1 then
    stride[1] = 0
  end
  return stride, offset, total
end

local has_grad = pcall(function() return torch.ones(1):requires_grad_() end)

-- Values come from a pool per dtype and kind of numbers, made once: a tensor copies a stretch of it, so that it owns
-- memory of exactly its size (the sanitizer sees the first element read past it).
local POOL = 8192
local pools = {}
local function pool_of(spec, double)
  local key = spec.dtype .. spec.fill .. (spec.bound or "") .. (double and "double" or "")
  local pool = pools[key]
  if pool then return pool end
  if double then pool = pool_of(spec):to(torch.float64)
  else
    local like = { dtype = spec.dtype, fill = spec.fill, bound = spec.bound, seed = #key * 7919 + 17 }
    pool = torch.tensor(numbers(like, POOL), { dtype = torch[spec.dtype] })
  end
  pools[key] = pool
  return pool
end

local as_strided = torch.as_strided
local function tensor(spec, how)
  local double = how.double and spec.dtype == "float32"
  local stride, offset, total = layout_of(spec)
  local base
  if total > POOL then
    base = torch.tensor(numbers(spec, total), { dtype = torch[spec.dtype] })
    if double then base = base:to(torch.float64) end
  else base = as_strided(pool_of(spec, double), { total }, { 1 }, spec.seed % (POOL - total + 1)):clone() end
  local t = as_strided(base, spec.shape, stride, offset)
  if how.contiguous then t = t:clone({ memory_format = torch.contiguous_format }) end
  local real = spec.dtype == "float32" or spec.dtype == "float64"
  if how.grad and has_grad and real then t = t:detach():requires_grad_() end
  return t
end

local function build(spec, how, made)
  if spec.k == "tensor" then
    local t = made[spec] or tensor(spec, how)
    made[spec] = t
    return t
  elseif spec.k == "same" then return build(spec.of, how, made)
  elseif spec.k == "list" then
    local out = {}
    for i, s in ipairs(spec.items) do out[i] = build(s, how, made) end
    return out
  elseif spec.k == "value" then return spec.v end
  return nil
end

--- Positional arguments, their count, the keyword table or nil, and all tensors made.
function generate.build(op, recipe, how)
  local args, n, kw, made = {}, 0, nil, {}
  local by_name = false
  for i, p in ipairs(op.params) do
    local v = build(recipe[i], how or {}, made)
    if recipe[i].k == "absent" and p.optional and not p.default then v = torch.None end
    if v == nil then by_name = true
    elseif p.kwonly or by_name then
      kw = kw or {}
      kw[p.name] = v
    else
      n = n + 1
      args[n] = v
    end
  end
  return args, n, kw, made
end

-- ---- mutation of a recipe that succeeded ----
local function copy(spec, map)
  if map[spec] then return map[spec] end
  local out = {}
  map[spec] = out
  for k, v in pairs(spec) do out[k] = v end
  if spec.items then
    out.items = {}
    for i, s in ipairs(spec.items) do out.items[i] = copy(s, map) end
  end
  if spec.of then out.of = copy(spec.of, map) end
  if spec.shape then out.shape = table.move(spec.shape, 1, #spec.shape, 1, {}) end
  return out
end

local function all_tensors(recipe)
  local out = {}
  for _, s in ipairs(recipe) do
    if s.k == "tensor" then out[#out + 1] = s end
    for _, x in ipairs(s.items or {}) do out[#out + 1] = x end
  end
  return out
end

function generate.mutate(op, recipe)
  local map, out = {}, {}
  for i, s in ipairs(recipe) do out[i] = copy(s, map) end
  local tensors, what = all_tensors(out), random(6)
  for _, t in ipairs(tensors) do t.seed = random(1 << 30) end
  if what == 1 then
    for _, t in ipairs(tensors) do t.layout = pick(LAYOUTS) end
  elseif what == 2 and #tensors > 0 then
    local from, to = tensors[1].dtype, pick(DTYPES)
    for _, t in ipairs(tensors) do if t.dtype == from then t.dtype = to end end
  elseif what == 3 and #tensors > 0 then                    -- the same size changed wherever it stands
    local t = pick(tensors)
    local from, to = pick(#t.shape > 0 and t.shape or { -7 }), pick { 0, 1, 2, 3, 4, 6 }
    for _, x in ipairs(tensors) do
      for i = 1, #x.shape do if x.shape[i] == from then x.shape[i] = to end end
    end
  elseif what == 4 and #out > 0 then
    local ctx = generate.context()
    if tensors[1] then
      ctx.shape, ctx.dtype = table.move(tensors[1].shape, 1, #tensors[1].shape, 1, {}), tensors[1].dtype
      ctx.tensors = { tensors[1] }
    end
    local i = random(#out)
    out[i] = generate.spec(ctx, op.params[i])
  elseif what == 5 and #tensors > 0 then
    pick(tensors).fill = pick { "any", "small", "positive", "unit", "wild" }
    for _, t in ipairs(tensors) do t.layout = pick(LAYOUTS) end
  end
  return out
end

-- ---- calls that fit (seeds.lua) ----
local LETTERS = { f = "float32", d = "float64", c = "complex64", b = "bool", u = "float32", n = "int32", i = "int64",
  o = "int64" }
local function seed_spec(v, p)
  if v == false and p and p.base == "bool" then return { k = "value", v = false } end
  if v == false or v == nil then return { k = "absent" } end
  if type(v) == "table" and type(v[1]) == "string" then
    local items = {}
    for i, x in ipairs(v) do items[i] = seed_spec(x) end
    return { k = "list", items = items }
  end
  local letter, bound, dims = tostring(v):match("^([fdcbunio])(%d*) ?([%d,]*)$")
  if type(v) ~= "string" or not letter then return { k = "value", v = v } end
  local spec = { k = "tensor", dtype = LETTERS[letter], seed = random(1 << 30), layout = pick(LAYOUTS), shape = {} }
  for d in dims:gmatch("%d+") do spec.shape[#spec.shape + 1] = tonumber(d) end
  spec.bound = tonumber(bound)
  spec.fill = spec.bound and (letter == "i" and "index" or "pivot") or letter == "u" and "unit" or "any"
  return spec
end

local function by_op(list)
  local names, out = {}, {}
  for id in pairs(list) do names[#names + 1] = id end
  table.sort(names)                                         -- the same seed must make the same calls
  for _, id in ipairs(names) do
    local op = list[id].op or id
    out[op] = out[op] or {}
    table.insert(out[op], list[id])
  end
  return out
end
local SEEDS = by_op(require "seeds")

function generate.fresh(op)
  local ctx, recipe = generate.context(), {}
  local fits = SEEDS[op.id]
  if fits and chance(0.5) then
    fits = pick(fits)
    for i, p in ipairs(op.params) do recipe[i] = seed_spec(fits[i], p) end
    return recipe
  end
  for i, p in ipairs(op.params) do recipe[i] = generate.spec(ctx, p) end
  return recipe
end

-- ---- text of a call, for reports ----
local function text_of(spec)
  if spec.k == "tensor" then
    return string.format("%s[%s]%s#%d:%s", spec.dtype, table.concat(spec.shape, ","), spec.layout == "plain" and "" or
      " " .. spec.layout, spec.seed, spec.fill)
  elseif spec.k == "same" then return "same as " .. text_of(spec.of)
  elseif spec.k == "list" then
    local out = {}
    for i, s in ipairs(spec.items) do out[i] = text_of(s) end
    return "{" .. table.concat(out, "; ") .. "}"
  elseif spec.k == "value" then
    if type(spec.v) == "table" and getmetatable(spec.v) == nil then
      local out = {}
      for i, v in ipairs(spec.v) do out[i] = tostring(v) end
      return "{" .. table.concat(out, ", ") .. "}"
    end
    return tostring(spec.v)
  end
  return "-"
end

function generate.text(op, recipe)
  local out = {}
  for i, p in ipairs(op.params) do
    if recipe[i].k ~= "absent" then out[#out + 1] = p.name .. " = " .. text_of(recipe[i]) end
  end
  return op.path .. "(" .. table.concat(out, ", ") .. ")"
end

return generate
