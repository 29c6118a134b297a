-- store.lua: reads a .safetensors file without the engine: the raw bytes of a key, and the same as Lua numbers.
-- Complex arrays are stored as float arrays of twice the length; numbers() gives them as re, im, re, im, ...
local here = (...):match("^(.*)store$") or ""
local json = require(here .. "json")

local store = {}
store.__index = store

local ITEM = { BOOL = 1, U8 = 1, I8 = 1, I16 = 2, I32 = 4, I64 = 8, F16 = 2, BF16 = 2, F32 = 4, F64 = 8 }
local FORMAT = { BOOL = "B", U8 = "B", I8 = "b", I16 = "i2", I32 = "i4", I64 = "i8", F16 = "I2",
  BF16 = "I2", F32 = "f", F64 = "d" }

local function half(h)
  local sign, e, m = (h & 0x8000) ~= 0 and -1.0 or 1.0, (h >> 10) & 31, h & 1023
  if e == 31 then return m == 0 and sign * math.huge or 0 / 0 end
  if e == 0 then return sign * m * 2.0 ^ -24 end
  return sign * (1024 + m) * 2.0 ^ (e - 25)
end

local function brain(h)
  return (string.unpack("<f", string.pack("<I4", h << 16)))
end

local FIX = { BOOL = function(v) return v ~= 0 end, F16 = half, BF16 = brain }

function store.open(path)
  local f, err = io.open(path, "rb")
  if not f then return nil, err end
  local n = string.unpack("<I8", f:read(8))
  local self = { path = path, index = json.decode(f:read(n)), file = f, base = 8 + n, cache = {} }
  self.index.__metadata__ = nil
  return setmetatable(self, store)
end

function store:close() self.file:close() end

--- The bytes of one array, its safetensors dtype and its number of stored elements.
function store:raw(key)
  local e = self.index[key]
  if not e then error(self.path .. ": no tensor " .. tostring(key)) end
  local from, to = e.data_offsets[1], e.data_offsets[2]
  self.file:seek("set", self.base + from)
  local bytes = to > from and self.file:read(to - from) or ""
  return bytes, e.dtype, #bytes // ITEM[e.dtype]
end

--- The array as a flat Lua list (bools as booleans, half floats as floats).
function store:numbers(key)
  local bytes, dtype, n = self:raw(key)
  local list, fmt, fix, pos = {}, FORMAT[dtype], FIX[dtype], 1
  local step = 200
  local long = "<" .. fmt:rep(step)
  while n - #list >= step do
    local part = table.pack(string.unpack(long, bytes, pos))
    pos = part[step + 1]
    table.move(part, 1, step, #list + 1, list)
  end
  for i = #list + 1, n do list[i], pos = string.unpack("<" .. fmt, bytes, pos) end
  if fix then for i = 1, n do list[i] = fix(list[i]) end end
  return list, dtype
end

return store
