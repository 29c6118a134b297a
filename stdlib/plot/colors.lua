-- colors.lua: colours by name, the series' colours, and colour maps between listed stops.
local colors = {}

colors.series = { "#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22",
  "#17becf" }

local named = { black = "#000000", white = "#ffffff", red = "#d62728", green = "#2ca02c", blue = "#1f77b4",
  orange = "#ff7f0e", purple = "#9467bd", brown = "#8c564b", pink = "#e377c2", gray = "#7f7f7f", grey = "#7f7f7f",
  olive = "#bcbd22", cyan = "#17becf", yellow = "#e5c100", magenta = "#c51b8a" }

--- "#rrggbb[aa]" of a name, a hex colour, or the number of a series' colour (0, 1, ...).
function colors.get(c)
  if math.type(c) == "integer" then return colors.series[c % #colors.series + 1] end
  if type(c) ~= "string" then error("a colour must be a name, '#rrggbb' or a number, got " .. type(c), 0) end
  if named[c] then return named[c] end
  local hex = c:lower()
  if hex:find("^#%x%x%x$") then hex = hex:gsub("%x", "%0%0") end
  if hex:find("^#%x%x%x%x%x%x$") or hex:find("^#%x%x%x%x%x%x%x%x$") then return hex end
  local list = {}
  for name in pairs(named) do list[#list + 1] = name end
  table.sort(list)
  error("unknown colour '" .. c .. "' ('#rrggbb', or " .. table.concat(list, ", ") .. ")", 0)
end

--- Red, green, blue (0 to 255) of "#rrggbb".
function colors.rgb(hex)
  local v = tonumber(hex:sub(2, 7), 16)
  return v >> 16, v >> 8 & 255, v & 255
end

-- Colour maps by the colours at equal distances.
local maps = {
  viridis = { 0x440154, 0x482777, 0x3f4a8a, 0x31678e, 0x26838f, 0x1f9d8a, 0x6cce5a, 0xb6de2b, 0xfee825 },
  magma = { 0x000004, 0x1d1147, 0x51127c, 0x832681, 0xb73779, 0xe75263, 0xfc8961, 0xfec488, 0xfcfdbf },
  plasma = { 0x0d0887, 0x5302a3, 0x8b0aa5, 0xb83289, 0xdb5c68, 0xf48849, 0xfebd2a, 0xf0f921 },
  coolwarm = { 0x3b4cc0, 0x6788ee, 0x9abbff, 0xc9d7f0, 0xedd1c2, 0xf7a889, 0xe26952, 0xb40426 },
  RdBu = { 0x67001f, 0xd6604d, 0xf7f7f7, 0x4393c3, 0x053061 },
  gray = { 0x000000, 0xffffff }, gray_r = { 0xffffff, 0x000000 }, hot = { 0x0b0000, 0xe60000, 0xffd200, 0xffffff },
}

function colors.maps()
  local list = {}
  for name in pairs(maps) do list[#list + 1] = name end
  table.sort(list)
  return list
end

--- A function from [0, 1] to three bytes as a string.
function colors.map(name)
  local stops = maps[name]
  if not stops then
    error("unknown colour map '" .. tostring(name) .. "' (" .. table.concat(colors.maps(), ", ") .. ")", 0)
  end
  local cache = {}
  for i = 0, 255 do
    local at = i / 255 * (#stops - 1)
    local k = math.min(math.floor(at), #stops - 2)
    local a, b, f = stops[k + 1], stops[k + 2], at - k
    local function mix(shift)
      local x, y = a >> shift & 255, b >> shift & 255
      return math.floor(x + (y - x) * f + 0.5)
    end
    cache[i] = string.char(mix(16), mix(8), mix(0))
  end
  return function(v)
    if v ~= v then return "\200\200\200" end
    return cache[math.floor(math.max(0, math.min(1, v)) * 255 + 0.5)]
  end
end

function colors.hex(bytes) return string.format("#%02x%02x%02x", bytes:byte(1, 3)) end

return colors
