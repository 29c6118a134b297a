-- scene.lua: a figure laid out and drawn on a device: the raster canvas or the SVG writer, which have the same methods.
local colors = require "plot.colors"
local ticks = require "plot.ticks"
local raster = require "plot.raster"

local scene = {}

local themes = {
  light = { ground = "#ffffff", ink = "#222222", grid = "#e4e4e4", frame = "#888888" },
  dark = { ground = "#16181d", ink = "#dddddd", grid = "#33363d", frame = "#777777" },
}

--- Functions from data to pixels, tick lists, and the rectangle of the axes.
local function layout(fig, w, h, size)
  local box = fig:bounds()
  local o = fig.options
  local want_x, want_y = math.max(2, w // 90), math.max(2, h // 60)
  local xs, xtexts, ys, ytexts
  if fig.xnames then xs, xtexts = fig.xnames.at, fig.xnames.text
  else xs, xtexts = (o.xscale == "log" and ticks.log or ticks.linear)(box.x0, box.x1, want_x) end
  if fig.ynames then ys, ytexts = fig.ynames.at, fig.ynames.text
  else ys, ytexts = (o.yscale == "log" and ticks.log or ticks.linear)(box.y0, box.y1, want_y) end
  local widest = 0
  for _, text in ipairs(ytexts) do widest = math.max(widest, raster.text_width(text, size)) end
  local left = math.ceil(widest + size * 1.2 + (o.ylabel and size * 1.6 or 0))
  local top = math.ceil(size * (o.title and 2.4 or 1))
  local bottom = math.ceil(size * 2 + (o.xlabel and size * 1.4 or 0))
  local right = math.ceil(size * 1.2 + (fig.colorbar and size * 6 or 0))
  local area = { x0 = left, y0 = top, x1 = math.max(left + 10, w - right), y1 = math.max(top + 10, h - bottom) }
  if o.aspect == "equal" then
    local scale = math.min((area.x1 - area.x0) / (box.x1 - box.x0), (area.y1 - area.y0) / (box.y1 - box.y0))
    local dx = (area.x1 - area.x0 - scale * (box.x1 - box.x0)) / 2
    local dy = (area.y1 - area.y0 - scale * (box.y1 - box.y0)) / 2
    area.x0, area.x1, area.y0, area.y1 = area.x0 + dx, area.x1 - dx, area.y0 + dy, area.y1 - dy
  end
  local kx, ky = (area.x1 - area.x0) / (box.x1 - box.x0), (area.y1 - area.y0) / (box.y1 - box.y0)
  return {
    area = area, size = size, box = box, xs = xs, xtexts = xtexts, ys = ys, ytexts = ytexts, w = w, h = h,
    x = function(v) return area.x0 + (v - box.x0) * kx end,
    y = function(v) return fig.down and area.y0 + (v - box.y0) * ky or area.y1 - (v - box.y0) * ky end,
  }
end

local function draw_axes(dev, fig, at, theme)
  local a, size = at.area, at.size
  for i, v in ipairs(at.xs) do
    local x = at.x(v)
    if fig.grid then dev:line({ x, a.y0, x, a.y1 }, theme.grid, 1) end
    dev:line({ x, a.y1, x, a.y1 + size * 0.35 }, theme.frame, 1)
    dev:text(x, a.y1 + size * 0.6, at.xtexts[i], theme.ink, size, "centre", "top")
  end
  for i, v in ipairs(at.ys) do
    local y = at.y(v)
    if fig.grid then dev:line({ a.x0, y, a.x1, y }, theme.grid, 1) end
    dev:line({ a.x0 - size * 0.35, y, a.x0, y }, theme.frame, 1)
    dev:text(a.x0 - size * 0.6, y, at.ytexts[i], theme.ink, size, "right", "middle")
  end
end

local function draw_frame(dev, fig, at, theme)
  local a, o, size = at.area, fig.options, at.size
  dev:line({ a.x0, a.y0, a.x1, a.y0, a.x1, a.y1, a.x0, a.y1, a.x0, a.y0 }, theme.frame, 1)
  if o.title then dev:text((a.x0 + a.x1) / 2, size * 0.7, o.title, theme.ink, size * 1.25, "centre", "top") end
  if o.xlabel then dev:text((a.x0 + a.x1) / 2, at.h - size * 0.4, o.xlabel, theme.ink, size, "centre", "bottom") end
  if o.ylabel then dev:text(size * 0.4, (a.y0 + a.y1) / 2, o.ylabel, theme.ink, size, "centre", "top", true) end
end

--- At most a few points for each column of pixels: first, lowest, highest, last.
local function thin(points, columns)
  local n = #points // 2
  if n <= 6 * columns then return points end
  local out, column, lo, hi, last = {}, nil, nil, nil, nil
  local function flush()
    if not column then return end
    for _, p in ipairs { lo, hi, last } do
      out[#out + 1] = p[1]
      out[#out + 1] = p[2]
    end
  end
  for i = 1, n do
    local x, y = points[2 * i - 1], points[2 * i]
    local c = math.floor(x)
    if c ~= column then
      flush()
      column, lo, hi = c, { x, y }, { x, y }
      out[#out + 1] = x
      out[#out + 1] = y
    end
    if y < lo[2] then lo = { x, y } end
    if y > hi[2] then hi = { x, y } end
    last = { x, y }
  end
  flush()
  return out
end

--- Runs of finite points as flat lists of pixels.
local function runs(item, at)
  local list, run = {}, {}
  for i = 1, #item.x do
    local x, y = at.x(item.x[i]), at.y(item.y[i])
    if x - x == 0 and y - y == 0 then
      run[#run + 1] = x
      run[#run + 1] = y
    elseif #run > 0 then
      list[#list + 1] = run
      run = {}
    end
  end
  if #run > 0 then list[#list + 1] = run end
  return list
end

local draw = {}
function draw.line(dev, item, at)
  for _, run in ipairs(runs(item, at)) do
    dev:line(thin(run, at.area.x1 - at.area.x0), item.color, item.width or 1.8)
  end
  if item.marker then draw.scatter(dev, item, at) end
end
function draw.scatter(dev, item, at)
  for i = 1, #item.x do
    local x, y = at.x(item.x[i]), at.y(item.y[i])
    if x - x == 0 and y - y == 0 then dev:disc(x, y, (item.size or 6) / 2, item.colors and item.colors[i] or item.color) end
  end
end
function draw.bars(dev, item, at)
  local base = at.y(0)
  if base - base ~= 0 then base = at.area.y1 end
  for i, bar in ipairs(item.bars) do
    local x0, x1, y = at.x(bar[1]), at.x(bar[2]), at.y(bar[3])
    local gap = item.gap and 0 or math.min(1, (x1 - x0) * 0.1)
    if y - y == 0 then dev:rect(x0 + gap / 2, math.min(y, base), x1 - gap / 2, math.max(y, base), item.colors and item.colors[i] or item.color) end
  end
end
function draw.image(dev, item, at, theme)
  dev:image(item.rgb, item.w, item.h, at.x(item.x0), at.y(item.y0), at.x(item.x1), at.y(item.y1))
  if not item.annotate then return end
  for r = 0, item.h - 1 do
    for c = 0, item.w - 1 do
      local k = r * item.w + c
      local red, green, blue = item.rgb:byte(3 * k + 1, 3 * k + 3)
      local ink = red * 3 + green * 6 + blue > 1400 and "#222222" or "#f4f4f4"
      dev:text(at.x(item.x0 + c + 0.5), at.y(item.y0 + r + 0.5), item.annotate(item.values[k + 1]), ink or theme.ink, at.size * 0.9,
        "centre", "middle")
    end
  end
end

local function draw_legend(dev, fig, at, theme)
  local entries, widest = {}, 0
  for _, item in ipairs(fig.items) do
    if item.label then
      entries[#entries + 1] = item
      widest = math.max(widest, raster.text_width(item.label, at.size))
    end
  end
  if #entries == 0 or fig.options.legend == false then return end
  local a, size = at.area, at.size
  local w, h = widest + size * 3.2, #entries * size * 1.5 + size * 0.6
  local x, y = a.x1 - w - size * 0.6, a.y0 + size * 0.6
  dev:rect(x, y, x + w, y + h, theme.ground .. "dd")
  dev:line({ x, y, x + w, y, x + w, y + h, x, y + h, x, y }, theme.grid, 1)
  for i, item in ipairs(entries) do
    local cy = y + size * (1.5 * i - 0.45)
    if item.kind == "line" then dev:line({ x + size * 0.5, cy, x + size * 2, cy }, item.color, item.width or 1.8)
    elseif item.kind == "scatter" then dev:disc(x + size * 1.25, cy, size * 0.3, item.color)
    else dev:rect(x + size * 0.7, cy - size * 0.4, x + size * 1.8, cy + size * 0.4, item.color) end
    dev:text(x + size * 2.5, cy, item.label, theme.ink, size, "left", "middle")
  end
end

local function draw_colorbar(dev, fig, at, theme)
  local bar, a, size = fig.colorbar, at.area, at.size
  if not bar then return end
  local x0, x1 = a.x1 + size * 1.2, a.x1 + size * 2.4
  local map, rows = colors.map(bar.cmap), {}
  for i = 0, 127 do rows[i + 1] = map(1 - i / 127) end
  dev:image(table.concat(rows), 1, 128, x0, a.y0, x1, a.y1)
  dev:line({ x0, a.y0, x1, a.y0, x1, a.y1, x0, a.y1, x0, a.y0 }, theme.frame, 1)
  local values, texts = ticks.linear(bar.lo, bar.hi, math.max(2, at.h // 80))
  for i, v in ipairs(values) do
    local y = a.y1 - (bar.hi > bar.lo and (v - bar.lo) / (bar.hi - bar.lo) or 0.5) * (a.y1 - a.y0)
    dev:text(x1 + size * 0.5, y, texts[i], theme.ink, size, "left", "middle")
  end
end

function scene.theme(fig) return themes[fig.options.theme or "light"] or themes.light end

--- Draws the figure on the device of w by h pixels with letters of `size` pixels.
function scene.draw(fig, dev, w, h, size)
  local theme = scene.theme(fig)
  local at = layout(fig, w, h, size)
  draw_axes(dev, fig, at, theme)
  dev:clip(at.area.x0, at.area.y0, at.area.x1, at.area.y1)
  for _, item in ipairs(fig.items) do draw[item.kind](dev, item, at, theme) end
  dev:clip()
  draw_frame(dev, fig, at, theme)
  draw_colorbar(dev, fig, at, theme)
  draw_legend(dev, fig, at, theme)
end

--- The figure on a raster canvas.
function scene.raster(fig, w, h)
  local canvas = raster.new(w, h, scene.theme(fig).ground)
  scene.draw(fig, canvas, w, h, math.max(9, math.min(14, h / 34)))
  return canvas
end

return scene
