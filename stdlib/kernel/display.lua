-- display.lua: what a notebook can show of a value: a table from MIME type to data.
--
--   display(value)   display.html("<b>x</b>")   display.svg(text)   display.png(bytes)   display.markdown(text)
-- A value with a method __display (in its metatable), a function that returns such a table, shows itself.
local raster = require "plot.raster"

local display = {}
local Rich = { __name = "display" }
Rich.__index = Rich

--- Is this text UTF-8?  JSON holds nothing else.
local function text_of(s) return utf8.len(s) and s or (s:gsub("[\128-\255]", "?")) end
display.text = text_of

local function rich(mime, data, plain)
  return setmetatable({ data = { [mime] = data, ["text/plain"] = plain } }, Rich)
end
local function check(name, s)
  if type(s) ~= "string" then error("display." .. name .. ": a string is expected, got " .. type(s), 3) end
  return s
end

--- The MIME data of any value; nil for nil.
function display.data(value)
  if getmetatable(value) == Rich then return value.data end
  local mt = debug.getmetatable(value)
  local shows = type(mt) == "table" and rawget(mt, "__display")
  if type(shows) == "function" then
    local ok, data = pcall(shows, value)
    if ok and type(data) == "table" then return data end
  end
  local plot = package.loaded.plot
  if plot and type(mt) == "table" and mt == plot.Figure then return display.figure(value) end
  return { ["text/plain"] = text_of(require("repl.echo").format(value)) }
end

function display.figure(figure)
  local w, h = figure:pixels_size()
  return { ["image/png"] = raster.base64(figure:png()), ["image/svg+xml"] = figure:svg(),
    ["text/plain"] = string.format("plot.Figure of %d x %d", w, h) }
end

display.publish = nil                    -- the kernel's: function(data)
local function publish(value)
  if display.publish then display.publish(display.data(value)) else print(display.data(value)["text/plain"]) end
end
function display.html(s) publish(rich("text/html", text_of(check("html", s)), "<html>")) end
function display.markdown(s) publish(rich("text/markdown", text_of(check("markdown", s)), s)) end
function display.latex(s) publish(rich("text/latex", text_of(check("latex", s)), s)) end
function display.svg(s) publish(rich("image/svg+xml", text_of(check("svg", s)), "<svg>")) end
function display.png(s) publish(rich("image/png", raster.base64(check("png", s)), "<png>")) end

return setmetatable(display, { __call = function(_, ...)
  for i = 1, select("#", ...) do publish((select(i, ...))) end
end })
