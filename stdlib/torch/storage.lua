-- torch.storage: a tensor's memory as an object: x:untyped_storage() counts bytes, x:storage() elements of x's dtype.
--
-- The object holds a 1-D tensor over the whole storage, so it keeps the memory alive and sees every write.
local torch = require "torch"

local Storage = {}
local methods = {}
Storage.__name = "torch.storage"

local function make(x, typed)
  local all = torch.empty({ 0 }, { dtype = x.dtype }):set_(x:detach(), 0, { x:storage_size() })
  if not typed and x.dtype ~= torch.uint8 then all = all:view(torch.uint8) end
  return setmetatable({ tensor = all, dtype = all.dtype, typed = typed, device = x.device }, Storage)
end

function methods:size() return #self.tensor end
function methods:nbytes() return self.tensor.nbytes end
function methods:element_size() return self.tensor:element_size() end
function methods:data_ptr() return self.tensor:data_ptr() end
function methods:tolist() return self.tensor:tolist() end
function methods:fill_(v) self.tensor:fill_(v) return self end
function methods:copy_(other) self.tensor:copy_(other.tensor) return self end
function methods:clone() return make(self.tensor:clone(), self.typed) end
function methods:untyped() return make(self.tensor, false) end
function methods:is_shared() return false end
function methods:is_pinned() return false end

local function place(self, i)
  local n = #self.tensor
  if math.type(i) ~= "integer" or i < -n or i >= n then
    error(("storage: index %s is out of range for %d elements"):format(tostring(i), n), 3)
  end
  return i
end
function Storage:__index(k)
  if type(k) == "number" then return rawget(self, "tensor")[place(self, k)]:item() end
  return methods[k] or error(("storage has no field '%s'"):format(tostring(k)), 2)
end
function Storage:__newindex(k, v) rawget(self, "tensor")[place(self, k)] = v end
function Storage:__len() return #rawget(self, "tensor") end
function Storage.__eq(a, b) return a.tensor:data_ptr() == b.tensor:data_ptr() and a.dtype == b.dtype end
function Storage:__tostring()
  local lines = {}
  for i = 0, math.min(#self, 1000) - 1 do lines[#lines + 1] = " " .. tostring(self[i]) end
  if #self > 1000 then lines[#lines + 1] = " ..." end
  local kind = self.typed and "TypedStorage(dtype=" .. tostring(self.dtype) .. ")" or "UntypedStorage"
  lines[#lines + 1] = ("[torch.storage.%s of size %d]"):format(kind, #self)
  return table.concat(lines, "\n")
end

return { of = make, is = function(v) return getmetatable(v) == Storage end }
