-- cli.lua: moth kernel install | run CONNECTION_FILE | path | remove
local json = require "json"
local sys = require "sys"

local cli = {}
local usage = [[
usage: moth kernel install [--name NAME] [--display-name TEXT] [--prefix DIR] [--interrupt-mode message|signal]
       moth kernel run CONNECTION_FILE
       moth kernel path [--prefix DIR]
       moth kernel remove [--name NAME] [--prefix DIR]
Jupyter then offers the kernel; libzmq is opened when it runs.]]

--- The folder of kernel specifications: of a prefix, JUPYTER_DATA_DIR, or the person's own.
local function kernels_dir(prefix)
  if prefix then return prefix .. "/share/jupyter/kernels" end
  local data = os.getenv "JUPYTER_DATA_DIR"
  if data and data ~= "" then return data .. "/kernels" end
  local share = os.getenv "XDG_DATA_HOME"
  if share and share ~= "" then return share .. "/jupyter/kernels" end
  return assert(os.getenv "HOME", "HOME is not set") .. "/.local/share/jupyter/kernels"
end

--- This program's path, absolute.
local function program()
  local own = sys.realpath "/proc/self/exe"
  if own then return own end
  local i = 0
  while arg[i - 1] do i = i - 1 end
  return sys.realpath(arg[i]) or arg[i]
end

local function options(args, from)
  local out, i = {}, from
  while args[i] do
    local name = args[i]:match("^%-%-([%a-]+)$")
    if not name or not args[i + 1] then return nil, args[i] end
    out[name:gsub("-", "_")] = args[i + 1]
    i = i + 2
  end
  return out
end

local function install(o)
  local name, mode = o.name or "moth", o.interrupt_mode or "message"
  if not name:find("^[%w._-]+$") then return nil, "a kernel's name has letters, digits, '.', '_' and '-' only" end
  if mode ~= "message" and mode ~= "signal" then return nil, "the interrupt mode is message or signal" end
  local dir = kernels_dir(o.prefix) .. "/" .. name
  local ok, why = sys.mkdir(dir, { parents = true })
  if not ok and not sys.isdir(dir) then return nil, why end
  local spec = json.object()
  spec.argv = { program(), "kernel", "run", "{connection_file}" }
  spec.display_name, spec.language, spec.interrupt_mode = o.display_name or "Moth (Lua, PyTorch's API)", "lua", mode
  spec.metadata = json.object()
  local f
  f, why = io.open(dir .. "/kernel.json", "w")
  if not f then return nil, why end
  f:write(json.encode(spec), "\n")
  f:close()
  print("installed " .. dir .. "/kernel.json")
  return true
end

function cli.main(args)
  local command = args[1]
  if command == "run" and args[2] and not args[3] then return require("kernel.server").run(args[2]) end
  local o, bad = options(args, 2)
  if not o or (command ~= "install" and command ~= "path" and command ~= "remove") then
    io.stderr:write(bad and "moth kernel: cannot read '" .. bad .. "'\n" or "", usage, "\n")
    return 2
  end
  local ok, why = true, nil
  if command == "path" then print(kernels_dir(o.prefix))
  elseif command == "install" then ok, why = install(o)
  else
    local dir = kernels_dir(o.prefix) .. "/" .. (o.name or "moth")
    ok, why = os.remove(dir .. "/kernel.json")
    if ok then os.remove(dir) end
  end
  if ok then return 0 end
  io.stderr:write("moth kernel: ", tostring(why), "\n")
  return 1
end

return cli
