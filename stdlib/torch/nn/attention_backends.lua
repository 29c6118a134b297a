-- torch.nn.attention: the choice among implementations of attention.  There is one here, so every choice is accepted
-- and changes nothing but what is asked for by mistake.
local SDPBackend = { ERROR = -1, MATH = 0, FLASH_ATTENTION = 1, EFFICIENT_ATTENTION = 2, CUDNN_ATTENTION = 3,
  OVERRIDEABLE = 4 }
local known = {}
for name, number in pairs(SDPBackend) do known[number] = name end

local M = { SDPBackend = SDPBackend }

--- Runs fn with attention by one of the given backends.
function M.sdpa_kernel(backends, fn, ...)
  if math.type(backends) then backends = { backends } end
  if type(backends) ~= "table" then error("sdpa_kernel: backends must be an SDPBackend or a list of them", 2) end
  for _, b in ipairs(backends) do
    if not known[b] then error("sdpa_kernel: not an SDPBackend: " .. tostring(b), 2) end
  end
  if type(fn) ~= "function" then error("sdpa_kernel: expected a function to run, got " .. type(fn), 2) end
  return fn(...)
end

M.__docs = { sdpa_kernel = {
  signature = "nn.attention.sdpa_kernel(backends, fn, ...)",
  doc = "Runs fn(...); there is one implementation of attention, so the choice changes nothing.",
  example = "nn.attention.sdpa_kernel(nn.attention.SDPBackend.MATH, function() return 1 end) --> 1" } }
return M
