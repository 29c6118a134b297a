-- svg.lua: the device that writes SVG: the methods of the raster canvas, as text.
local raster = require "plot.raster"

local Svg = {}
Svg.__index = Svg

local function escape(s)
  s = s:gsub("[%z\1-\8\11\12\14-\31]", "?"):gsub("&", "&amp;"):gsub("<", "&lt;"):gsub(">", "&gt;"):gsub('"', "&quot;")
  return utf8.len(s) and s or (s:gsub("[\128-\255]", "?"))
end

--- Two decimals at most: a hundredth of a pixel.
local function n(v)
  v = math.max(-1e6, math.min(1e6, v))
  return (string.format("%.2f", v):gsub("%.?0+$", ""))
end

local function paint(color)
  if #color == 7 then return color, "" end
  return color:sub(1, 7), string.format(' fill-opacity="%s"', n(tonumber(color:sub(8), 16) / 255))
end

function Svg:add(fmt, ...) self.out[#self.out + 1] = string.format(fmt, ...) end

function Svg:rect(x0, y0, x1, y1, color)
  local fill, opacity = paint(color)
  self:add('<rect x="%s" y="%s" width="%s" height="%s" fill="%s"%s/>', n(x0), n(y0), n(x1 - x0), n(y1 - y0), fill, opacity)
end
function Svg:disc(x, y, r, color)
  local fill, opacity = paint(color)
  self:add('<circle cx="%s" cy="%s" r="%s" fill="%s"%s/>', n(x), n(y), n(r), fill, opacity)
end
local function list(points)
  local out = {}
  for i = 1, #points - 1, 2 do out[#out + 1] = n(points[i]) .. "," .. n(points[i + 1]) end
  return table.concat(out, " ")
end
function Svg:line(points, color, width)
  self:add('<polyline points="%s" fill="none" stroke="%s" stroke-width="%s" stroke-linejoin="round"/>', list(points), (paint(color)),
    n(width or 1))
end
function Svg:polygon(points, color)
  local fill, opacity = paint(color)
  self:add('<polygon points="%s" fill="%s"%s/>', list(points), fill, opacity)
end
function Svg:text(x, y, text, color, size, h, v, up)
  local anchor = h == "centre" and "middle" or h == "right" and "end" or "start"
  local shift = v == "top" and 0.75 or v == "middle" and 0.36 or 0
  local turn = up and string.format(' transform="rotate(-90 %s %s)"', n(x), n(y)) or ""
  self:add('<text x="%s" y="%s" dy="%s" fill="%s" font-size="%s" text-anchor="%s"%s>%s</text>', n(x), n(y), n(size * shift), color, n(size),
    anchor, turn, escape(text))
end
function Svg:image(rgb, w, h, x0, y0, x1, y1)
  local canvas = raster.new(w, h, "#000000")
  canvas:image(rgb, w, h, 0, 0, w, h)
  self:add('<image x="%s" y="%s" width="%s" height="%s" preserveAspectRatio="none" style="image-rendering:pixelated" ' ..
    'href="data:image/png;base64,%s"/>', n(x0), n(y0), n(x1 - x0), n(y1 - y0), raster.base64(canvas:png()))
end
--- A clip is a group that lasts until the next one.
function Svg:clip(x0, y0, x1, y1)
  if self.open then self:add("</g>") end
  self.open = x0 ~= nil
  if not x0 then return end
  self.clips = self.clips + 1
  self:add('<clipPath id="c%d"><rect x="%s" y="%s" width="%s" height="%s"/></clipPath><g clip-path="url(#c%d)">', self.clips, n(x0), n(y0),
    n(x1 - x0), n(y1 - y0), self.clips)
end

--- The figure as SVG text.
return function(fig, w, h)
  local scene = require "plot.scene"
  local svg = setmetatable({ out = {}, clips = 0 }, Svg)
  svg:add('<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="DejaVu Sans, Arial, sans-serif">',
    w, h, w, h)
  svg:rect(0, 0, w, h, scene.theme(fig).ground)
  scene.draw(fig, svg, w, h, math.max(9, math.min(14, h / 34)))
  svg:clip()
  svg:add("</svg>\n")
  return table.concat(svg.out, "\n")
end
