-- torch.autograd.detect_anomaly: anomaly mode for one call or one block.
local torch = require "torch"
local autograd = torch.autograd

--- detect_anomaly(f, ...) runs f in anomaly mode; `local _ <close> = detect_anomaly()` covers the rest of the block.
local function detect_anomaly(...)
  local before = autograd.is_anomaly_enabled()
  local n, f = select("#", ...), ...
  if n > 0 and type(f) == "function" then
    autograd.set_detect_anomaly(true)
    local results = table.pack(pcall(...))
    autograd.set_detect_anomaly(before)
    if not results[1] then error(results[2], 0) end
    return table.unpack(results, 2, results.n)
  end
  autograd.set_detect_anomaly(true, ...)
  return setmetatable({}, { __close = function() autograd.set_detect_anomaly(before) end })
end

-- There are no dual numbers: every name of the namespace says so.
local forward_ad = setmetatable({}, { __index = function(_, name)
  error("torch.autograd.forward_ad." .. tostring(name) .. " is not implemented; use torch.func.jvp", 2)
end })

return { detect_anomaly = detect_anomaly, forward_ad = forward_ad }
