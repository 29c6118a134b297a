-- build.lua: turns a record's JSON values into Lua API arguments, as any outside runner would from shared API rules:
-- None is torch.None, lists and tuples are Lua lists, keywords a trailing table, tensors are rebuilt on their storage.
local here = (...):match("^(.*)build$") or ""
local json = require(here .. "json")
local torch = require "torch"

local build = {}
local NULL = json.null
local complex_item = { complex64 = true, complex128 = true }

function build.resolve(path)
  local at = torch
  for part in path:gmatch("[^.]+") do
    if part ~= "torch" or at ~= torch then at = at and at[part] end
  end
  return at
end

function build.contiguous_stride(shape)
  local stride, acc = {}, 1
  for i = #shape, 1, -1 do
    stride[i] = acc
    acc = acc * math.max(shape[i], 1)
  end
  return stride
end

-- The reader of whole storages: safetensors.load_file where the engine has it, else numbers through torch.tensor.
local ok_st, engine_st = pcall(require, "safetensors")
if not ok_st or os.getenv("MOTH_PARITY_PLAIN") then engine_st = nil end

local function load_flats(store)
  if store.flats == nil then
    local ok, flats = pcall(function() return engine_st and engine_st.load_file(store.path) end)
    store.flats = ok and flats or false
  end
  return store.flats
end

function build.flat(store, key, dtype)
  local flats = load_flats(store)
  local is_complex = complex_item[dtype]
  local t
  if flats then
    t = flats[key]:clone()
  else
    local real = is_complex and (dtype == "complex64" and "float32" or "float64") or dtype
    t = torch.tensor(store:numbers(key), { dtype = torch[real] })
  end
  if is_complex then t = torch.view_as_complex(t:view(-1, 2)) end
  return t
end

local has_set = pcall(function()
  local b = torch.ones(3)
  assert(torch.empty(0):set_(b:untyped_storage(), 1, { 2 }, { 1 }):size(0) == 2)
end)
local has_set_tensor = not has_set and pcall(function()
  assert(torch.empty(0):set_(torch.ones(3), 1, { 2 }, { 1 }):size(0) == 2)
end)

local function over(base, offset, shape, stride)
  if has_set then return torch.empty(0, { dtype = base.dtype }):set_(base:untyped_storage(), offset, shape, stride) end
  if has_set_tensor then return torch.empty(0, { dtype = base.dtype }):set_(base, offset, shape, stride) end
  return torch.as_strided(base, shape, stride, offset)
end

function build.context(grad) return { grad = grad, storages = {}, base = {} } end

local function tensor(v, store, ctx)
  local sid = v.storage_id
  local base = sid and ctx.storages[sid]
  if not base then
    base = build.flat(store, v.tensor, v.dtype)
    if sid then ctx.storages[sid] = base end
  end
  local t = over(base, v.storage_offset or 0, v.shape, v.stride or build.contiguous_stride(v.shape))
  ctx.base[t] = base
  if v.requires_grad and ctx.grad and not build.forward_only then t:requires_grad_(true) end
  return t
end

local NUMBER = { nan = 0 / 0, inf = math.huge, ["-inf"] = -math.huge }
local function number(x) return NUMBER[x] or x + 0.0 end

local value

local function list(v, store, ctx)
  local out = {}
  for i = 1, #v do out[i] = value(v[i], store, ctx) end
  return out
end

function value(v, store, ctx)
  if v == NULL then return torch.None end
  if type(v) ~= "table" then return v end
  if v.tensor then return tensor(v, store, ctx) end
  if v.float then return number(v.float) end
  if v.int then return math.tointeger(tonumber(v.int)) or error("integer too large: " .. v.int) end
  if v.complex then return torch.complex(number(v.complex[1]), number(v.complex[2])) end
  if v.tuple then return list(v.tuple, store, ctx) end
  if v.slice then return torch.slice(value(v.slice[1]), value(v.slice[2]), value(v.slice[3])) end
  if v.ellipsis then return "..." end
  if v.dtype then return torch[v.dtype] or error("no dtype torch." .. v.dtype) end
  if v.memory_format then return torch[v.memory_format] end
  if v.layout then return torch[v.layout] end
  if v.device then return torch.device(v.device) end
  if v.callable then return build.resolve(v.callable) end
  if v.module then return build.module(v, store, ctx) end
  return list(v, store, ctx)
end
build.value = value

function build.keywords(kwargs, store, ctx)
  local out
  for k, v in pairs(kwargs) do
    out = out or {}
    out[k] = value(v, store, ctx)
  end
  return out
end

--- Positional arguments and, when there are keywords, the trailing table.
function build.call_args(args, kwargs, store, ctx)
  local out, n = {}, #args
  for i = 1, n do out[i] = value(args[i], store, ctx) end
  local kw = build.keywords(kwargs, store, ctx)
  return out, n, kw
end

function build.module(v, store, ctx)
  local class = build.resolve(v.module)
  if class == nil then error("missing: " .. v.module) end
  local args, n, kw = build.call_args(v.args, v.kwargs, store, ctx)
  if kw then n = n + 1; args[n] = kw end
  return class(table.unpack(args, 1, n))
end

-- Indexing: a tuple is one entry per dimension, a list an index list; True and False are subscript text.
local function entry(v, store, ctx)
  if v == true then return "True" end
  if v == false then return "False" end
  if type(v) == "table" and not v.tensor and v ~= NULL and not v.slice and not v.ellipsis then
    local out = {}
    for i, x in ipairs(v) do
      if type(x) == "table" and not x.tensor then out[i] = entry(x, store, ctx) else out[i] = value(x, store, ctx) end
    end
    return out
  end
  return value(v, store, ctx)
end

function build.index(v, store, ctx)
  if type(v) == "table" and v.tuple then
    local out = {}
    for i, x in ipairs(v.tuple) do out[i] = entry(x, store, ctx) end
    return out
  end
  if v == NULL then return "None" end
  if type(v) == "table" and (v[1] ~= nil or next(v) == nil) then return { entry(v, store, ctx) } end
  return entry(v, store, ctx)
end

return build
