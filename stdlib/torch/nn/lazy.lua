-- torch.nn.lazy: layers that learn the sizes of their parameters from the first input.
--
-- Invariant: until then the parameters are empty tensors of the right names and the object is of the lazy class; the first call
-- or load_state_dict builds it as its base class does (same numbers after the same seed) and turns it into one.
local core = require "torch.nn.core"
local layer = require "torch.nn.layer"
local torch = require "torch"

local lazy = {}

local function materialize(self, more)
  local a = {}
  for k, v in pairs(self._lazy_arguments) do a[k] = v end
  for k, v in pairs(more) do a[k] = v end
  local training, like = self.training, self.weight
  if like ~= nil then a.dtype, a.device = like.dtype, like.device end      -- what :to() made of them
  core.clear(self, "parameter")
  core.clear(self, "buffer")
  self._lazy_arguments = nil
  core.become(self, self._lazy_base)
  self._lazy_base.init(self, a)
  self._lazy_base = nil
  self.training = training
end

--- signature: the lazy class's; unknown: the base's arguments it lacks; learn(x): those from the first input.
function lazy.define(M, signature, base, unknown, learn)
  local class
  class = layer.define(M, signature, {
    doc = base._get_name == nil and "" or "As " .. base.__doc.signature:match("^nn%.[%w_]+") .. ", with "
      .. table.concat(unknown, ", ") .. " taken from the first input.",
    example = "nn." .. signature:match("^[%w_]+"), see = base.__doc.signature:match("^nn%.[%w_]+"), base = base,
    init = function(self, a)
      for k, v in pairs(a) do if k ~= "device" and k ~= "dtype" then self[k] = v end end
      self._lazy_arguments, self._lazy_base = a, base
      local function empty() return core.Parameter(torch.empty({ 0 }, { dtype = a.dtype, device = a.device })) end
      if a.affine ~= false then
        self.weight = empty()
        if a.bias then self.bias = empty() else self:register_parameter("bias", nil) end
      end
    end,
    forward = function(self, x, ...)
      materialize(self, learn(x))
      return self:forward(x, ...)
    end,
    methods = {
      has_uninitialized_params = function() return true end,
      extra_repr = function() return "" end,
      reset_parameters = function() end,
      _load_from_state_dict = function(self, state, prefix)
        local w = state[prefix .. "weight"]
        if w and w:numel() > 0 then materialize(self, class._sizes_of(self, w)) end
      end,
    },
  })
  class._sizes_of = function(self, w)                -- the unknown argument from a loaded weight
    local n = w:size(#unknown == 1 and unknown[1] ~= "num_features" and 1 or 0)
    if unknown[1] == "in_channels" then
      n = self._lazy_base.__doc.signature:find("Transpose") and w:size(0) or n * (self._lazy_arguments.groups or 1)
    end
    return { [unknown[1]] = n }
  end
  return class
end

return lazy
