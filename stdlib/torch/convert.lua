-- torch.convert: tensors out of other values: as_tensor, asarray, frombuffer, from_file; what a value is called.
local torch = require "torch"
local parse = require "torch.kwargs"

local convert = {}

local function moved(x, dtype, device)
  if dtype and dtype ~= x.dtype then x = x:to(dtype) end
  if device and torch.device(device) ~= x.device then x = x:to(torch.device(device)) end
  return x
end

--- as_tensor(data, {dtype =, device =}): a tensor is given back as it is where nothing is to change.
function convert.as_tensor(...)
  local a = parse("as_tensor", { "data", "dtype", "device" }, 1, ...)
  if a.data == nil then error("as_tensor: argument 'data' is missing", 2) end
  if torch.is_tensor(a.data) then return moved(a.data, a.dtype, a.device) end
  return torch.tensor(a.data, { dtype = a.dtype, device = a.device })
end

--- asarray(obj, {dtype =, device =, copy =, requires_grad =}): shares obj's memory where it can; copy = true never,
-- false always.
function convert.asarray(...)
  local a = parse("asarray", { "obj", "dtype", "device", "copy", "requires_grad" }, 1, ...)
  local obj = a.obj
  if obj == nil then error("asarray: argument 'obj' is missing", 2) end
  local x
  if torch.is_tensor(obj) then
    x = moved(obj, a.dtype, a.device)
    if a.copy == false and x ~= obj then
      error("asarray: can't alias tensor with the requested dtype or device: copy = false needs obj's own", 2)
    end
    if a.copy and x == obj then x = x:clone() end
    if not a.requires_grad or not x.requires_grad then x = x.requires_grad and x:detach() or x end
  else
    if a.copy == false then error("asarray: can't alias arbitrary sequence into a tensor.", 2) end
    x = torch.tensor(obj, { dtype = a.dtype, device = a.device })
  end
  if a.requires_grad and not x.requires_grad then x = (x == obj and x:detach() or x):requires_grad_() end
  return x
end

local function bytes_wanted(name, a, total)
  local dtype = a.dtype or error(name .. ": argument 'dtype' is missing", 3)
  local offset, count = a.offset or 0, a.count or -1
  if total == 0 or count == 0 then
    error(("%s: both buffer length (%d) and count (%d) must not be 0"):format(name, total, count), 3)
  end
  if offset < 0 or offset > total then
    error(("%s: offset must be non-negative and no greater than buffer length (%d bytes), but got %d")
      :format(name, total, offset), 3)
  end
  local left = total - offset
  if count < 0 then
    if left % dtype.itemsize ~= 0 then
      error(("%s: buffer size (%d bytes) must be a multiple of element size (%d)")
        :format(name, left, dtype.itemsize), 3)
    end
    count = left // dtype.itemsize
  end
  if count * dtype.itemsize > left then
    error(("%s: requested buffer length (%d * %d bytes) after offset (%d bytes) must not be greater than "
      .. "actual buffer length (%d bytes)")
      :format(name, count, dtype.itemsize, offset, total), 3)
  end
  return offset, count * dtype.itemsize
end

--- frombuffer(string, {dtype =, count = -1, offset = 0, requires_grad = false}): a copy of the string's bytes, since
-- Lua's strings never change.
function convert.frombuffer(...)
  local a = parse("frombuffer", { "buffer", "dtype", "count", "offset", "requires_grad" }, 1, ...)
  if type(a.buffer) ~= "string" then error("frombuffer: buffer must be a string, got " .. type(a.buffer), 2) end
  local offset, n = bytes_wanted("frombuffer", a, #a.buffer)
  local x = torch._from_bytes(a.buffer:sub(offset + 1, offset + n), a.dtype)
  return a.requires_grad and x:requires_grad_() or x
end

--- from_file(filename, shared, size, {dtype =}): a 1-D tensor of a file's first size elements; writes never reach
-- the file.
function convert.from_file(...)
  local a = parse("from_file", { "filename", "shared", "size", "dtype" }, 1, ...)
  if a.shared then error("from_file: shared = true is not there: a tensor's writes do not reach the file", 2) end
  local dtype, size = a.dtype or torch.get_default_dtype(), a.size or 0
  local file, why = io.open(a.filename, "rb")
  if not file then error("from_file: " .. why, 2) end
  local text = file:read(size * dtype.itemsize) or ""
  file:close()
  if #text < size * dtype.itemsize then
    error(("from_file: %s holds %d bytes, fewer than %d elements of %s"):format(a.filename, #text, size, dtype), 2)
  end
  return torch._from_bytes(text, dtype)
end

function convert.from_numpy()
  error("from_numpy: there is no NumPy in Lua: read a .npy file by torch.load, or share memory by torch.from_dlpack", 2)
end
function convert.from_dlpack(...) return torch.utils.dlpack.from_dlpack(...) end
function convert.to_dlpack(...) return torch.utils.dlpack.to_dlpack(...) end

--- What a value is called: a tensor's type, a class's name, else Lua's word.
function convert.typename(v)
  if torch.is_tensor(v) then return v:type() end
  local mt = debug.getmetatable(v)
  local name = type(mt) == "table" and rawget(mt, "__name")
  return type(v) ~= "string" and name or type(v)
end

function convert.is_storage(v) return require "torch.storage".is(v) end

return convert
