-- data.lua: the tables of facts under tables/: the map from torch to mindspore and the public names of packages.
-- Invariant: a table is read once, on first use, and never changed.
local data = {}

local has_embed, embed = pcall(require, "moth.embed")

-- Embedded in moth, or beside the modules on disk under plain lua5.4.
local function read(name)
  local inside = has_embed and embed.read("convert/tables/" .. name)
  if inside then return inside end
  for path in (package.path .. ";"):gmatch("([^;]*)%?%.lua;") do
    local f = io.open(path .. "convert/tables/" .. name, "rb")
    if f then
      local text = f:read("a")
      f:close()
      return text
    end
  end
  return nil
end
data.read = read

local cache = {}
local function once(key, fn)
  if cache[key] == nil then cache[key] = fn() or false end
  return cache[key] or nil
end

--- "torch.abs" -> "mindspore.mint.abs"
function data.api()
  return once("api", function()
    local map = {}
    for from, to in (read("api.txt") or ""):gmatch("([^\n%s#]+) ([^\n%s]+)\n") do
      if not to:find("^mindspore%.") then to = "mindspore." .. to end
      map["torch." .. from] = to
    end
    return map
  end)
end

local function value36(c)
  return c < 58 and c - 48 or c - 87
end

-- Calls each(line) for the lines of a front-coded table after its first line.
local function front_coded(text, each)
  local last = ""
  for a, b, rest in text:gmatch("\n(%w)(%w)([^\n]*)") do
    local n = value36(a:byte()) * 36 + value36(b:byte())
    last = last:sub(1, n) .. rest
    each(last)
  end
end

--- Public names of a mindspore version: name -> signature text ("" where unknown).
function data.names(version)
  return once("names" .. version, function()
    local text = read("names_" .. version .. ".txt")
    if not text then return nil end
    local names = {}
    local base = text:match("^[^\n]* base ([%d.]+)")
    if base then
      for name, sig in pairs(data.names(base)) do names[name] = sig end
    end
    front_coded(text, function(line)
      local sign, name, sig = line:match("^([-+]?)([^(]+)(.*)$")
      if sign == "-" then names[name] = nil else names[name] = sig end
    end)
    -- not public by its underscore, yet the documented switch of recorded gradients
    names["mindspore._no_grad"] = names["mindspore._no_grad"] or "()"
    return names
  end)
end

--- Versions whose tables exist, newest last.
function data.versions()
  local out = {}
  for _, v in ipairs { "2.7", "2.8", "2.9", "2.10" } do
    if read("names_" .. v .. ".txt") then out[#out + 1] = v end
  end
  return out
end

--- Modules of the package that ports live in: module -> set of names bound there.
function data.package(name)
  return once("package" .. name, function()
    local text = read(name .. ".txt")
    if not text then return nil end
    local modules = {}
    front_coded(text, function(line)
      local module, member = line:match("^([^:]+):?(.*)$")
      local set = modules[module]
      if not set then
        set = {}
        modules[module] = set
      end
      if member ~= "" then set[member] = true end
    end)
    return modules
  end)
end

return data
