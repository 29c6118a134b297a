-- torch.nn.padding: borders.
local torch = require "torch"
local layer = require "torch.nn.layer"
local F = torch.nn.functional

local M = {}
local tuple = layer.tuple

local kinds = {
  { "ReflectionPad", "reflect", "Padding by reflection at the border." },
  { "ReplicationPad", "replicate", "Padding by the border's own values." },
  { "CircularPad", "circular", "Padding by the values of the other end." },
}
local function example(name, args, n)
  return ("nn.%s(%s)(torch.ones(1, 1, %s)).shape"):format(name, args, table.concat(tuple(3, n), ", "))
end

for n = 1, 3 do
  for _, kind in ipairs(kinds) do
    local name, mode = kind[1] .. n .. "d", kind[2]
    layer.define(M, name .. "(padding: size)", {
      doc = kind[3], example = example(name, "1", n),
      init = function(self, a) self.padding = tuple(a.padding, 2 * n) end,
      forward = function(self, x)
        if mode == "circular" and x.ndim ~= n + 1 and x.ndim ~= n + 2 then
          error(("expected %dD or %dD input (got %dD input)"):format(n + 1, n + 2, x.ndim), 2)
        end
        return F.pad(x, self.padding, mode)
      end,
      extra = "{padding}",
    })
  end
  local name = "ConstantPad" .. n .. "d"
  layer.define(M, name .. "(padding: size, value: any)", {
    doc = "Padding by one value.", example = example(name, "1, 0.5", n),
    init = function(self, a) self.padding, self.value = tuple(a.padding, 2 * n), a.value end,
    forward = function(self, x) return F.pad(x, self.padding, "constant", self.value) end,
    extra = "padding={padding}, value={value}",
  })
  local constant = M[name]
  name = "ZeroPad" .. n .. "d"
  layer.define(M, name .. "(padding: size)", {
    base = constant, doc = "Padding by zeros.", example = example(name, "1", n),
    init = function(self, a) constant.init(self, a.padding, 0.0) end,
    forward = constant.forward, extra = "{padding}",
  })
end

return M
