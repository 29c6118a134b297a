-- fs.lua: the little the converter needs of the file system: through `sys` in moth, through the shell under plain
-- lua5.4.
-- Invariant: write() leaves either the old file or the whole new one.
local fs = {}

local has_sys, sys = pcall(require, "sys")
if has_sys and type(sys) ~= "table" then has_sys = false end

local function quote(path) return "'" .. path:gsub("'", "'\\''") .. "'" end

local function shell_lines(command)
  local p = io.popen(command, "r")
  local out = {}
  if p then
    for line in p:lines() do out[#out + 1] = line end
    p:close()
  end
  return out
end

function fs.read(path)
  local f, err = io.open(path, "rb")
  if not f then return nil, err end
  local text = f:read("a")
  f:close()
  return text
end

function fs.parent(path) return path:match("^(.*)/[^/]*$") or "." end

local made = {}
function fs.mkdir(path)
  if made[path] or path == "" or path == "." then return true end
  made[path] = true
  if has_sys then
    if sys.isdir(path) then return true end
    return sys.mkdir(path, { parents = true })
  end
  return os.execute("mkdir -p " .. quote(path))
end

function fs.write(path, text)
  fs.mkdir(fs.parent(path))
  local tmp = path .. ".moth-tmp"
  local f, err = io.open(tmp, "wb")
  if not f then return nil, err end
  local ok, why = f:write(text)
  local closed = f:close()
  if not ok or not closed then
    os.remove(tmp)
    return nil, why or "cannot write " .. path
  end
  return os.rename(tmp, path)
end

function fs.exists(path)
  if has_sys then return sys.exists(path) end
  local f = io.open(path, "rb")
  if f then f:close() end
  return f ~= nil
end

function fs.is_dir(path)
  if has_sys then return sys.isdir(path) end
  return #shell_lines("test -d " .. quote(path) .. " && echo y") > 0
end

function fs.realpath(path)
  if has_sys then return (sys.realpath(path)) end
  return shell_lines("realpath " .. quote(path) .. " 2>/dev/null")[1]
end

local SKIP = { [".git"] = true, ["__pycache__"] = true, [".hg"] = true, [".svn"] = true, ["node_modules"] = true,
  [".venv"] = true }

--- Paths of all files below a folder, relative to it, sorted.
function fs.tree(root)
  local out = {}
  if has_sys then
    local function walk(dir, prefix)
      local names = sys.list(dir) or {}
      table.sort(names)
      for _, name in ipairs(names) do
        if name ~= "." and name ~= ".." and not SKIP[name] then
          local path = dir .. "/" .. name
          if sys.isdir(path) then
            local st = sys.stat(path, { link = true })
            if st and st.type == "directory" then walk(path, prefix .. name .. "/") end
          elseif sys.isfile(path) then out[#out + 1] = prefix .. name end
        end
      end
    end
    walk(root, "")
  else
    for _, path in ipairs(shell_lines("cd " .. quote(root)
      .. " && find . -type f -not -path '*/.git/*' -not -path '*/__pycache__/*'")) do
      out[#out + 1] = path:gsub("^%./", "")
    end
  end
  table.sort(out)
  return out
end

function fs.clock() return has_sys and sys.clock() or os.clock() end
function fs.is_terminal() return has_sys and sys.isatty(2) or false end
fs.sys = has_sys and sys or nil

--- A short fingerprint of a text.
function fs.fingerprint(text)
  if has_sys and sys.crc32 then return #text .. "-" .. tostring(sys.crc32(text)) end
  local h = #text
  local step = math.max(1, #text // 4096)
  for i = 1, #text, step do h = (h * 31 + text:byte(i)) & 0xffffffff end
  return #text .. "-" .. h
end

--- Shell-style pattern against a relative path: * within a name, ** across, ? one character; no slash: matches the
-- name.
function fs.matches(path, pattern)
  local subject = pattern:find("/", 1, true) and path or path:match("[^/]*$")
  local p = pattern:gsub("[%^%$%(%)%%%.%[%]%+%-]", "%%%0"):gsub("%*%*", "\1"):gsub("%*", "[^/]*"):gsub("\1",
    ".*"):gsub("%?", "[^/]")
  return subject:find("^" .. p .. "$") ~= nil or (path .. "/"):find("^" .. p .. "/") ~= nil
end

return fs
