-- torch.members: methods of tensors that are Lua: element by element with a function of the caller's, other memory,
-- other devices.
local torch = require "torch"
local parse = require "torch.kwargs"

local members = {}

-- ---- a function of the caller's on every element ----

--- Writes f's results into x, whose elements (and those of others, broadcast to x) f is given.
local function each(name, x, others, f)
  if type(f) ~= "function" then error(("%s: expected a function, got %s"):format(name, type(f)), 3) end
  if x.requires_grad then
    error(("Can't call %s() on a tensor that requires grad; use x:detach():%s()"):format(name, name), 3)
  end
  local lists = { x:detach():reshape(-1):tolist() }
  for i, other in ipairs(others) do
    if not torch.is_tensor(other) then error(("%s: expected a tensor, got %s"):format(name, type(other)), 3) end
    lists[i + 1] = other:detach():expand(x.shape):reshape(-1):tolist()
  end
  local a, b, c = table.unpack(lists)
  for i = 1, #a do
    local v = f(a[i], b and b[i], c and c[i])
    if type(v) ~= "number" and type(v) ~= "boolean" and type(v) ~= "userdata" then
      error(("%s: the function must give a number, got %s"):format(name, type(v)), 3)
    end
    a[i] = v
  end
  if #a > 0 then x:copy_(torch.tensor(a):view(x.shape)) end
  return x
end
function members:apply_(f) return each("apply_", self, {}, f) end
function members:map_(other, f) return each("map_", self, { other }, f) end
function members:map2_(x, y, f) return each("map2_", self, { x, y }, f) end

-- ---- new tensors like this one ----

function members:new_tensor(...)
  local a = parse("new_tensor", { "data", dtype = self.dtype, device = self.device, requires_grad = false }, 1, ...)
  if a.data == nil then error("new_tensor: argument 'data' is missing", 2) end
  local data = torch.is_tensor(a.data) and a.data:detach() or a.data
  return torch.tensor(data, { dtype = a.dtype, device = a.device, requires_grad = a.requires_grad })
end

--- x:new(2, 3) or x:new(size): uninitialised; x:new{1, 2}: of a list; x:new(other): a second tensor over other's
-- memory.
function members:new(first, ...)
  local options = { dtype = self.dtype, device = self.device }
  if first == nil then return torch.empty({ 0 }, options) end
  if torch.is_tensor(first) then return first:detach() end
  if type(first) == "table" and not getmetatable(first) then return torch.tensor(first, options) end
  if type(first) == "number" then return torch.empty({ first, ... }, options) end
  return torch.empty(first, options)
end

-- ---- memory ----

function members:untyped_storage() return require "torch.storage".of(self, false) end
function members:storage() return require "torch.storage".of(self, true) end
function members:is_shared() return false end
function members:is_pinned() return false end
function members:pin_memory() error("pin_memory: there is no accelerator that pinned memory would serve", 2) end
function members:dim_order()
  local order, stride = {}, self:stride()
  for d = 1, self.ndim do order[d] = d - 1 end
  table.sort(order, function(a, b) return stride[a] > stride[b] or stride[a] == stride[b] and a < b end)
  return torch.Size(order)
end
function members:const_data_ptr() return self:data_ptr() end
function members:is_distributed() return false end
function members:dequantize() return self:to(torch.float32) end

-- ---- elsewhere ----

function members:cpu(...)
  parse("cpu", { "memory_format" }, 1, ...)
  return self:to(torch.device("cpu"))
end
for name, what in pairs { cuda = "CUDA", xpu = "XPU", ipu = "IPU", mtia = "MTIA" } do
  members[name] = function()
    error(("%s: tensors live on the CPU here; there is no %s device"):format(name, what), 2)
  end
end
function members:numpy()
  error("numpy: there is no numpy here: x:tolist() gives lists, torch.save(x, 'a.npy') a file that NumPy reads, "
    .. "torch.utils.dlpack.to_dlpack(x) the memory itself", 2)
end
function members:chalf() error("chalf: complex32 is not among Moth's dtypes; use x:cfloat()", 2) end

-- ---- sparse layouts ----

for _, name in ipairs { "to_sparse", "to_sparse_coo", "to_sparse_csr", "to_sparse_csc", "to_sparse_bsr",
  "to_sparse_bsc" } do
  members[name] = function() error(name .. ": sparse tensors are not there", 2) end
end
for _, name in ipairs { "coalesce", "is_coalesced", "crow_indices", "col_indices",
  "ccol_indices", "row_indices" } do
  members[name] = function() error(name .. " expected sparse tensor layout but got Strided", 2) end
end
function members:to_dense(dtype) return dtype and self:to(dtype) or self end
function members:dense_dim() return self.ndim end
function members:sparse_dim() return 0 end

-- ---- what PyTorch once had ----

for name, now in pairs { eig = "linalg.eig", symeig = "linalg.eigh", solve = "linalg.solve", lstsq = "linalg.lstsq" } do
  members[name] = function() error(("x:%s was removed from PyTorch: use torch.%s"):format(name, now), 2) end
end

return members
