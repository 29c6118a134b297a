-- compare.lua: judges a result against `expect` with plain Lua numbers (tolist on one side, the file's bytes on the
-- other), so that no op of the engine takes part in its own verdict.
local here = (...):match("^(.*)compare$") or ""
local json = require(here .. "json")
local torch = require "torch"

local compare = {}
local NULL, abs, fmt = json.null, math.abs, string.format
local FLOAT = { float16 = true, bfloat16 = true, float32 = true, float64 = true }
local NAMED = { nan = 0 / 0, inf = math.huge, ["-inf"] = -math.huge }
local COMPLEX = { complex64 = true, complex128 = true }

function compare.fail(...) error({ mismatch = fmt(...) }, 0) end
local fail = compare.fail

local function is_tensor(v) return torch.is_tensor(v) end
compare.is_tensor = is_tensor

function compare.dtype_name(d) return (tostring(d):gsub("^torch%.", "")) end

local function shape_text(s) return "[" .. table.concat(s, ",") .. "]" end

local function ints(v)
  if type(v) == "table" and getmetatable(v) == nil then return v end
  return v:totable()
end

local function same_ints(a, b)
  if #a ~= #b then return false end
  for i = 1, #a do if a[i] ~= b[i] then return false end end
  return true
end

local function flatten(v, out)
  if type(v) == "table" and getmetatable(v) == nil then
    for i = 1, #v do
      local x = v[i]
      if type(x) == "table" then flatten(x, out) else out[#out + 1] = x end
    end
  else
    out[#out + 1] = v
  end
  return out
end

local function close(a, e, rtol, atol)
  if a == e then return true end
  if a ~= a or e ~= e then return a ~= a and e ~= e end
  if e == math.huge or e == -math.huge then return false end
  return abs(a - e) <= atol + rtol * abs(e)
end

local function report(where, worst, n, i, a, e)
  fail("%s: %d of %d values differ, first at %d: got %s, want %s", where, worst, n, i - 1, a, e)
end

local function numbers(where, got, want, tol)
  local rtol, atol, bad, first = tol.rtol, tol.atol, 0, nil
  for i = 1, #want do
    local a, e = got[i], want[i]
    if a ~= e and not close(a, e, rtol, atol) then
      bad = bad + 1
      first = first or i
    end
  end
  if bad > 0 then report(where, bad, #want, first, got[first], want[first]) end
end

local function exact(where, got, want)
  local bad, first = 0, nil
  for i = 1, #want do
    if got[i] ~= want[i] then
      bad = bad + 1
      first = first or i
    end
  end
  if bad > 0 then report(where, bad, #want, first, tostring(got[first]), tostring(want[first])) end
end

-- Complex values as PyTorch's isclose has it: the modulus of the difference against the modulus of the expected.
local function complexes(where, got, want, tol, modulus)
  local bad, first = 0, nil
  for i = 1, #want // 2 do
    local g, re, im = got[i], want[2 * i - 1], want[2 * i]
    local gr, gi = g.real, g.imag
    local ok
    if modulus then
      ok = close((gr * gr + gi * gi) ^ 0.5, (re * re + im * im) ^ 0.5, tol.rtol, tol.atol)
    elseif (gr == re and gi == im) then
      ok = true
    elseif gr ~= gr or gi ~= gi or re ~= re or im ~= im then
      ok = (gr ~= gr or gi ~= gi) and (re ~= re or im ~= im)
    else
      local dr, di = gr - re, gi - im
      ok = (dr * dr + di * di) ^ 0.5 <= tol.atol + tol.rtol * (re * re + im * im) ^ 0.5
    end
    if not ok then
      bad = bad + 1
      first = first or i
    end
  end
  if bad > 0 then
    report(where, bad, #want // 2, first, tostring(got[first]), fmt("%s%+gj", want[2 * first - 1], want[2 * first]))
  end
end

--- Values of a tensor against the numbers stored under key; mode "abs" compares absolute values.
function compare.values(where, t, dtype, key, store, tol, mode)
  local got, want = flatten(t:tolist(), {}), store:numbers(key)
  local count = COMPLEX[dtype] and #want // 2 or #want
  if #got ~= count then fail("%s: tolist gives %d values for %d", where, #got, count) end
  if COMPLEX[dtype] then return complexes(where, got, want, tol, mode == "abs") end
  if mode == "abs" then
    for i = 1, #want do got[i], want[i] = abs(got[i]), abs(want[i]) end
  end
  if FLOAT[dtype] then return numbers(where, got, want, tol) end
  return exact(where, got, want)
end

--- Where the storage begins.
function compare.storage_ptr(t)
  local ok, p = pcall(function() return t:untyped_storage():data_ptr() end)
  if ok then return p end
  return t:data_ptr() - t:storage_offset() * t:element_size()
end

local function view_of(t, spec, where, leaves)
  local src = leaves[spec.view_of]
  if src == nil then fail("%s: no input %s", where, spec.view_of) end
  if compare.storage_ptr(t) ~= compare.storage_ptr(src) then fail("%s: not a view of %s", where, spec.view_of) end
  if t:storage_offset() ~= (spec.storage_offset or 0) then
    fail("%s: storage_offset %d, want %d", where, t:storage_offset(), spec.storage_offset or 0)
  end
  if rawequal(t, src) ~= (spec.same_object or false) then
    fail("%s: %s", where, spec.same_object and "is not the input itself" or "is the input itself")
  end
end

function compare.tensor(t, spec, store, tol, where, leaves, args)
  if not is_tensor(t) then fail("%s: %s instead of a tensor", where, type(t)) end
  local name = compare.dtype_name(t.dtype)
  if name ~= spec.dtype then fail("%s: dtype %s, want %s", where, name, spec.dtype) end
  local shape = ints(t.shape)
  if not same_ints(shape, spec.shape) then
    fail("%s: shape %s, want %s", where, shape_text(shape), shape_text(spec.shape))
  end
  if spec.requires_grad ~= nil and not compare.forward_only and t.requires_grad ~= spec.requires_grad then
    fail("%s: requires_grad %s, want %s", where, tostring(t.requires_grad), tostring(spec.requires_grad))
  end
  if spec.stride and (spec.is_view or compare.strict) then   -- a fresh result may be laid out as the engine likes
    local stride = ints(t:stride())
    if not same_ints(stride, spec.stride) then
      fail("%s: stride %s, want %s", where, shape_text(stride), shape_text(spec.stride))
    end
  end
  if spec.is_view then view_of(t, spec, where, leaves) end
  if spec.check == "meta" then return end
  if spec.check == "gather" then
    local build = require(here .. "build")
    local want = { tensor = spec.tensor, dtype = spec.dtype, shape = spec.shape }
    want = build.value(want, store, build.context(false))
    local self = args[1]:detach()
    local a, e = flatten(self:gather(spec.dim, t):tolist(), {}), flatten(self:gather(spec.dim, want):tolist(), {})
    return numbers(where .. " (gathered)", a, e, { rtol = 0, atol = 0 })
  end
  compare.values(where, t:detach(), spec.dtype, spec.tensor, store, tol, spec.check)
end

local function scalar(a, spec, where, tol)
  if type(spec) ~= "table" then
    if math.type(a) ~= math.type(spec) or a ~= spec then
      fail("%s: %s, want %s", where, tostring(a), tostring(spec))
    end
  elseif spec.float then
    local e = NAMED[spec.float] or spec.float
    if math.type(a) ~= "float" or not close(a, e, tol.rtol, tol.atol) then
      fail("%s: %s, want %s", where, tostring(a), tostring(e))
    end
  elseif spec.int then
    if a ~= math.tointeger(spec.int) then fail("%s: %s, want %s", where, tostring(a), spec.int) end
  elseif spec.complex then
    complexes(where, { a }, { spec.complex[1] + 0.0, spec.complex[2] + 0.0 }, tol)
  elseif spec.dtype then
    if compare.dtype_name(a) ~= spec.dtype then fail("%s: %s, want %s", where, tostring(a), spec.dtype) end
  else
    fail("%s: the runner does not know this expectation", where)
  end
end

local function as_list(a, where)
  if type(a) == "table" and getmetatable(a) == nil then return a end
  local ok, t = pcall(function() return a:totable() end)
  if not ok or is_tensor(a) then fail("%s: %s instead of a list", where, type(a)) end
  return t
end

function compare.tree(a, spec, store, tol, where, leaves, args)
  if spec == NULL then
    if a ~= nil and a ~= torch.None then fail("%s: %s instead of None", where, type(a)) end
  elseif type(spec) == "table" and spec.shape and spec.dtype then
    compare.tensor(a, spec, store, tol, where, leaves, args)
  elseif type(spec) == "table" and (spec.tuple or spec[1] ~= nil or next(spec) == nil) then
    local items = spec.tuple or spec
    local list = as_list(a, where)
    if #list ~= #items then fail("%s: %d items, want %d", where, #list, #items) end
    for i = 1, #items do compare.tree(list[i], items[i], store, tol, where .. "." .. i - 1, leaves, args) end
  elseif type(spec) == "table" and spec.check == "meta" then
    return
  else
    scalar(a, spec, where, tol)
  end
end

--- The values a call returned (table.pack) against expect: a fixed tuple comes as several values or as one list.
function compare.results(res, spec, store, tol, leaves, args)
  local items = type(spec) == "table" and spec ~= NULL and spec.tuple
  if items and not (res.n == 1 and not is_tensor(res[1]) and #items ~= 1)
     and not (res.n == 1 and type(res[1]) == "table") then
    if res.n ~= #items then fail("out: %d values, want %d", res.n, #items) end
    for i = 1, #items do compare.tree(res[i], items[i], store, tol, "out." .. i - 1, leaves, args) end
    return
  end
  if res.n > 1 then fail("out: %d values, want one", res.n) end
  compare.tree(res[1], spec, store, tol, "out", leaves, args)
end

return compare
