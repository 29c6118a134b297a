-- torch.settings: the switches of torch.* that concern the whole program.
--
-- Moth has one CPU back end whose results do not depend on threads or timing, so most switches are kept and read
-- back only; the documentation of each says so.
local torch = require "torch"
local parse = require "torch.kwargs"

local settings = {}
local state = { deterministic = 0, precision = "highest", warn_always = false, check_nan = true }

local function check(name, value, kind)
  if type(value) ~= kind then error(("%s: expected a %s, got %s"):format(name, kind, type(value)), 3) end
  return value
end

-- ---- determinism ----

function settings.use_deterministic_algorithms(...)
  local a = parse("use_deterministic_algorithms", { "mode", warn_only = false }, 1, ...)
  state.deterministic = not check("use_deterministic_algorithms", a.mode, "boolean") and 0 or a.warn_only and 1 or 2
end
function settings.are_deterministic_algorithms_enabled() return state.deterministic > 0 end
function settings.is_deterministic_algorithms_warn_only_enabled() return state.deterministic == 1 end
function settings.get_deterministic_debug_mode() return state.deterministic end
function settings.set_deterministic_debug_mode(mode)
  local level = ({ default = 0, warn = 1, error = 2, [0] = 0, 1, 2 })[mode]
  if not level then
    error("set_deterministic_debug_mode: expected 0, 1, 2, 'default', 'warn' or 'error', got " .. tostring(mode), 2)
  end
  state.deterministic = level
end

-- ---- arithmetic and threads ----

function settings.get_float32_matmul_precision() return state.precision end
function settings.set_float32_matmul_precision(precision)
  if precision ~= "highest" and precision ~= "high" and precision ~= "medium" then
    error("set_float32_matmul_precision: expected 'highest', 'high' or 'medium', got " .. tostring(precision), 2)
  end
  state.precision = precision
end
function settings.get_num_interop_threads() return state.interop or torch.get_num_threads() end
function settings.set_num_interop_threads(n)
  if math.type(n) ~= "integer" or n < 1 then
    error("set_num_interop_threads: expected a positive integer, got " .. tostring(n), 2)
  end
  state.interop = n
end
function settings.set_flush_denormal(mode)
  check("set_flush_denormal", mode, "boolean")
  return false
end

-- ---- warnings and anomalies ----

function settings.set_warn_always(on) state.warn_always = check("set_warn_always", on, "boolean") end
function settings.is_warn_always_enabled() return state.warn_always end
function settings.is_anomaly_enabled() return torch.autograd.is_anomaly_enabled() end
function settings.is_anomaly_check_nan_enabled() return state.check_nan end
function settings.set_anomaly_enabled(...)
  local a = parse("set_anomaly_enabled", { "mode", "check_nan" }, 1, ...)
  state.check_nan = a.check_nan ~= false
  torch.autograd.set_detect_anomaly(check("set_anomaly_enabled", a.mode, "boolean"), state.check_nan)
end

-- ---- defaults ----

function settings.get_default_device() return torch._default_device() end
function settings.set_default_device(device) torch._default_device(device == nil and "cpu" or device) end

local types = { HalfTensor = "float16", FloatTensor = "float32", DoubleTensor = "float64", BFloat16Tensor = "bfloat16" }
function settings.set_default_tensor_type(t)
  local name = type(t) == "string" and types[t:match("^torch%.(%w+)$")]
  if type(t) == "string" and not name then
    error(("set_default_tensor_type: only floating-point CPU types such as 'torch.FloatTensor' can be the "
      .. "default, got '%s'"):format(t), 2)
  end
  torch.set_default_dtype(name and torch[name] or t)
end

function settings.is_autocast_cpu_enabled() return torch.is_autocast_enabled("cpu") end
function settings.set_autocast_cpu_enabled(on) torch.set_autocast_enabled("cpu", on) end
function settings.get_autocast_cpu_dtype() return torch.get_autocast_dtype("cpu") end
function settings.set_autocast_cpu_dtype(dtype) torch.set_autocast_dtype("cpu", dtype) end

function settings.is_vulkan_available() return false end

-- ---- what PyTorch once had ----

local gone = { eig = "linalg.eig", symeig = "linalg.eigh", solve = "linalg.solve",
  lstsq = "linalg.lstsq", matrix_rank = "linalg.matrix_rank" }
for name, now in pairs(gone) do
  settings[name] = function() error(("torch.%s was removed from PyTorch: use torch.%s"):format(name, now), 2) end
end

return settings
