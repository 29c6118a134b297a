-- cells.lua: figures of letters: braille dots (2 x 4 a cell), half blocks (1 x 2), or plain ASCII, with axes around them.
-- Colours only where the caller allows them; without colours nothing but text is written.
local colors = require "plot.colors"
local ticks = require "plot.ticks"

local Grid = {}
Grid.__index = Grid

local forms = { braille = { 2, 4 }, blocks = { 1, 2 }, ascii = { 1, 2 } }

--- A grid of dots: cols x rows cells.
local function new_grid(cols, rows, form)
  local dx, dy = forms[form][1], forms[form][2]
  return setmetatable({ cols = cols, rows = rows, w = cols * dx, h = rows * dy, dx = dx, dy = dy, form = form, dots = {} }, Grid)
end

function Grid:dot(x, y, color)
  x, y = math.floor(x), math.floor(y)
  if x >= 0 and y >= 0 and x < self.w and y < self.h then self.dots[y * self.w + x] = color end
end
--- A straight line of dots; ends far outside are first brought near.
function Grid:line(x0, y0, x1, y1, color)
  local function clip(a, b, lo, hi)        -- the parts of [0, 1] inside
    local d = b - a
    if d == 0 then return a >= lo and a <= hi and 0 or 2, a >= lo and a <= hi and 1 or -1 end
    local s, e = (lo - a) / d, (hi - a) / d
    return math.min(s, e), math.max(s, e)
  end
  local s1, e1 = clip(x0, x1, -1, self.w)
  local s2, e2 = clip(y0, y1, -1, self.h)
  local from, to = math.max(0, s1, s2), math.min(1, e1, e2)
  if not (from <= to) then return end
  x0, y0, x1, y1 = x0 + (x1 - x0) * from, y0 + (y1 - y0) * from, x0 + (x1 - x0) * to, y0 + (y1 - y0) * to
  local steps = math.max(1, math.ceil(math.max(math.abs(x1 - x0), math.abs(y1 - y0))))
  for i = 0, steps do self:dot(x0 + (x1 - x0) * i / steps, y0 + (y1 - y0) * i / steps, color) end
end
function Grid:fill(x0, y0, x1, y1, color)
  for y = math.max(0, math.floor(y0 + 0.5)), math.min(self.h - 1, math.ceil(y1 - 0.5) - (y1 > y0 and 0 or -1)) do
    for x = math.max(0, math.floor(x0 + 0.5)), math.min(self.w - 1, math.max(math.floor(x0 + 0.5), math.ceil(x1 - 0.5) - 1)) do
      self:dot(x, y, color)
    end
  end
end

-- ---- cells as text ----
local function sgr(kind, color)
  local r, g, b = colors.rgb(color)
  return string.format("%d;2;%d;%d;%d", kind, r, g, b)
end
local function sgr256(kind, color)
  local r, g, b = colors.rgb(color)
  local function level(v) return v < 48 and 0 or v < 115 and 1 or math.min(5, (v - 35) // 40) end
  return string.format("%d;5;%d", kind, 16 + 36 * level(r) + 6 * level(g) + level(b))
end

local bits = { [0] = { [0] = 1, 2, 4, 64 }, { [0] = 8, 16, 32, 128 } }
local shades = { " ", "░", "▒", "▓", "█" }
local ascii_shades = { " ", ".", ":", "+", "#" }

function Grid:braille(col, row)
  local code, color = 0, nil
  for x = 0, 1 do
    for y = 0, 3 do
      local c = self.dots[(row * 4 + y) * self.w + col * 2 + x]
      if c then code, color = code | bits[x][y], c end
    end
  end
  return code == 0 and " " or utf8.char(0x2800 + code), color
end
local function shade(color, list)
  local r, g, b = colors.rgb(color)
  return list[1 + math.min(4, (r * 3 + g * 6 + b) // 512)]
end
--- Text, colour, ground of a cell of half blocks.
function Grid:block(col, row, colored, image)
  local up, down = self.dots[row * 2 * self.w + col], self.dots[(row * 2 + 1) * self.w + col]
  if self.form == "ascii" then
    if image and (up or down) then return shade(up or down, ascii_shades) end
    return up and (down and "#" or "'") or down and "." or " "
  end
  if not colored then
    if image and (up or down) then return shade(up or down, shades) end
    return up and (down and "█" or "▀") or down and "▄" or " "
  end
  if up and down and up ~= down then return "▀", up, down end
  if up and down then return "█", up end
  return up and "▀" or down and "▄" or " ", up or down
end

--- One row as text, escape codes only at changes.
function Grid:row(row, colored, image, deep)
  local out, now = {}, ""
  local code = deep and sgr or sgr256
  for col = 0, self.cols - 1 do
    local text, color, ground
    if self.form == "braille" then text, color = self:braille(col, row) else text, color, ground = self:block(col, row, colored, image) end
    local want = ""
    if colored and color then want = code(38, color) .. (ground and ";" .. code(48, ground) or "") end
    if want ~= now then
      out[#out + 1] = "\27[0" .. (want ~= "" and ";" .. want or "") .. "m"
      now = want
    end
    out[#out + 1] = text
  end
  if now ~= "" then out[#out + 1] = "\27[0m" end
  return table.concat(out)
end

-- ---- a figure on the grid ----
local draw = {}
function draw.line(g, item, at)
  local px, py
  for i = 1, #item.x do
    local x, y = at.x(item.x[i]), at.y(item.y[i])
    if x - x ~= 0 or y - y ~= 0 then px = nil
    else
      if px then g:line(px, py, x, y, item.color) else g:dot(x, y, item.color) end
      px, py = x, y
    end
  end
end
function draw.scatter(g, item, at)
  for i = 1, #item.x do
    local x, y = at.x(item.x[i]), at.y(item.y[i])
    if x - x == 0 and y - y == 0 then g:dot(x, y, item.colors and item.colors[i] or item.color) end
  end
end
function draw.bars(g, item, at)
  local base = at.y(0)
  for i, bar in ipairs(item.bars) do
    local y = at.y(bar[3])
    local x0, x1 = at.x(bar[1]), at.x(bar[2])
    if item.gap then x1 = math.max(x0 + 1, x1 - 0.5) end
    if y - y == 0 and bar[3] ~= 0 then g:fill(x0, math.min(y, base), x1, math.max(y, base), item.colors and item.colors[i] or item.color) end
  end
end
function draw.image(g, item, at)
  local x0, y0, x1, y1 = at.x(item.x0), at.y(item.y0), at.x(item.x1), at.y(item.y1)
  local cache = {}
  for y = math.max(0, math.floor(y0)), math.min(g.h, math.ceil(y1)) - 1 do
    local sy = math.min(item.h - 1, math.max(0, math.floor((y + 0.5 - y0) / (y1 - y0) * item.h)))
    for x = math.max(0, math.floor(x0)), math.min(g.w, math.ceil(x1)) - 1 do
      local sx = math.min(item.w - 1, math.max(0, math.floor((x + 0.5 - x0) / (x1 - x0) * item.w)))
      local bytes = item.rgb:sub(3 * (sy * item.w + sx) + 1, 3 * (sy * item.w + sx) + 3)
      cache[bytes] = cache[bytes] or colors.hex(bytes)
      g:dot(x, y, cache[bytes])
    end
  end
end

local function centre(text, width)
  local n = utf8.len(text) or #text
  return (" "):rep(math.max(0, (width - n) // 2)) .. text
end
local function right(text, width) return (" "):rep(math.max(0, width - (utf8.len(text) or #text))) .. text end

local function has_image(fig)
  for _, item in ipairs(fig.items) do if item.kind == "image" then return true end end
  return false
end

--- Tick texts below the axis, those that would touch left out.
local function below(at, left)
  local line, used = {}, -1
  for i, v in ipairs(at.xs) do
    local text = at.xtexts[i]
    local from = math.max(0, math.floor(left + at.column(v) - (utf8.len(text) or #text) / 2 + 0.5))
    if from > used then
      line[#line + 1] = (" "):rep(from - math.max(used, 0) - (used < 0 and 0 or 0)) .. text
      used = from + (utf8.len(text) or #text)
      line[#line + 1] = " "
      used = used + 1
    end
  end
  return (table.concat(line):gsub("%s+$", ""))
end

--- The figure as text of cols x rows letters.
--- options: form, colored, deep (24-bit colours), utf8
return function(fig, cols, rows, options)
  local o, box = fig.options, fig:bounds()
  local image = has_image(fig)
  local form = options.form
  if form == "braille" and image then form = "blocks" end
  local height = math.max(3, rows - 2 - (o.title and 1 or 0) - (o.xlabel and 1 or 0))
  local ys, ytexts
  if fig.ynames then ys, ytexts = fig.ynames.at, fig.ynames.text
  else ys, ytexts = (o.yscale == "log" and ticks.log or ticks.linear)(box.y0, box.y1, math.max(2, height // 3)) end
  local left = 0
  for _, text in ipairs(ytexts) do left = math.max(left, utf8.len(text) or #text) end
  left = math.min(left, cols // 3)
  local width = math.max(8, cols - left - 2)
  if o.aspect == "equal" then              -- a cell is about twice as high as wide
    local scale = math.min(width / (box.x1 - box.x0), 2 * height / (box.y1 - box.y0))
    width = math.max(2, math.floor(scale * (box.x1 - box.x0) + 0.5))
    height = math.max(1, math.floor(scale * (box.y1 - box.y0) / 2 + 0.5))
  end
  local g = new_grid(width, height, form)
  local kx, ky = g.w / (box.x1 - box.x0), g.h / (box.y1 - box.y0)
  local inner = image and 0 or 1e-9
  local at = {
    x = function(v) return math.min((v - box.x0) * kx, v <= box.x1 and g.w - inner or math.huge) end,
    y = function(v)
      local y = fig.down and (v - box.y0) * ky or (box.y1 - v) * ky
      return not image and y == g.h and g.h - 1e-9 or y
    end,
    column = function(v) return (v - box.x0) / (box.x1 - box.x0) * width end,
  }
  if fig.xnames then at.xs, at.xtexts = fig.xnames.at, fig.xnames.text
  else at.xs, at.xtexts = (o.xscale == "log" and ticks.log or ticks.linear)(box.x0, box.x1, math.max(2, width // 12)) end
  for _, item in ipairs(fig.items) do draw[item.kind](g, item, at) end
  local labels = {}
  for i, v in ipairs(ys) do
    local row = math.min(height - 1, math.max(0, math.floor(at.y(v) / g.dy)))
    labels[row] = ytexts[i]:sub(1, utf8.offset(ytexts[i], left + 1) and utf8.offset(ytexts[i], left + 1) - 1 or nil)
  end
  local bar, tick, corner, flat = "│", "┤", "└", "─"
  if options.form == "ascii" then bar, tick, corner, flat = "|", "+", "+", "-" end
  local out = {}
  if o.title then out[#out + 1] = centre(o.title, left + 1 + width) end
  for row = 0, height - 1 do
    local text = right(labels[row] or "", left) .. (labels[row] and tick or bar) .. g:row(row, options.colored, image, options.deep)
    out[#out + 1] = (text:gsub(" +$", ""))
  end
  out[#out + 1] = (" "):rep(left) .. corner .. flat:rep(width)
  out[#out + 1] = below(at, left + 1)
  if o.xlabel then out[#out + 1] = centre(o.xlabel, left + 1 + width) end
  local legend = {}
  for _, item in ipairs(fig.items) do
    if item.label and o.legend ~= false then
      local mark = options.form == "ascii" and "*" or item.kind == "line" and "━━" or "■"
      if options.colored then mark = "\27[" .. (options.deep and sgr or sgr256)(38, item.color) .. "m" .. mark .. "\27[0m" end
      legend[#legend + 1] = mark .. " " .. item.label
    end
  end
  if fig.colorbar then
    legend[#legend + 1] = string.format("%s: %s to %s", fig.colorbar.cmap, ticks.format(fig.colorbar.lo, math.max(1e-3, (fig.colorbar.hi - fig.colorbar.lo) / 100)),
      ticks.format(fig.colorbar.hi, math.max(1e-3, (fig.colorbar.hi - fig.colorbar.lo) / 100)))
  end
  if o.ylabel then table.insert(legend, 1, "y: " .. o.ylabel) end
  if #legend > 0 then out[#out + 1] = (" "):rep(left + 1) .. table.concat(legend, "   ") end
  return table.concat(out, "\n")
end
