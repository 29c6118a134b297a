-- plot: pictures of numbers, in the terminal or in a file with the same call.
--
--   local plot = require "plot"
--   plot.line(x, y, {title = "loss", label = "train"})       -- x may be left out
--   plot.line(y, {file = "loss.svg"})                        -- .png or .svg instead of the screen
--   plot.scatter(x, y)  plot.hist(x, {bins = 30})  plot.bar({"a", "b"}, {3, 5})  plot.imshow(t)  plot.heatmap(t)
--   local fig = plot.figure{title = "two"}  fig:line(a):line(b, {label = "b"}):show()  fig:save("two.png")
--
-- Numbers are tensors (any dtype) or Lua lists.  Options of all: title xlabel ylabel xlim ylim xscale yscale ("log")
-- legend grid theme ("light", "dark") width height (pixels) cols rows (letters) form (kitty iterm2 sixel blocks braille
-- ascii) file.  Of the series: label color width marker size.  Of pictures: cmap vmin vmax colorbar annotate.
local colors = require "plot.colors"
local torch = require "torch"

local plot = {}
local Figure = {}
Figure.__index = Figure
Figure.__name = "plot.Figure"
local huge = math.huge

-- ---- numbers ----
local is_tensor = torch.is_tensor

--- A flat Lua list of floats.
local function numbers(v, what)
  if is_tensor(v) then
    if v.is_complex and v:is_complex() then error("plot: " .. what .. " is complex; plot its abs, real or imag", 0) end
    return v:detach():to(torch.float64):reshape(-1):tolist()
  end
  if type(v) ~= "table" then error("plot: " .. what .. " must be a tensor or a list of numbers, got " .. type(v), 0) end
  local out = {}
  for i = 1, #v do
    local x = is_tensor(v[i]) and v[i]:item() or v[i]
    out[i] = type(x) == "number" and x + 0.0 or error("plot: " .. what .. "[" .. i .. "] is no number", 0)
  end
  return out
end

local known = {}
for name in ([[title xlabel ylabel xlim ylim xscale yscale legend grid theme width height cols rows form file label labels
  color colors marker size cmap vmin vmax colorbar annotate bins range density aspect xticklabels yticklabels linewidth
  bar_width]]):gmatch("%S+") do known[name] = true end
local own = { label = 1, labels = 1, color = 1, colors = 1, marker = 1, size = 1, linewidth = 1, cmap = 1, vmin = 1, vmax = 1,
  colorbar = 1, annotate = 1, bins = 1, range = 1, density = 1, file = 1, form = 1, bar_width = 1 }

local function check_options(options)
  for name in pairs(options) do
    if not known[name] then
      local near = require("repl.suggest").nearest(tostring(name), (function()
        local list = {}
        for k in pairs(known) do list[#list + 1] = k end
        table.sort(list)
        return list
      end)())
      error("plot: unknown option '" .. tostring(name) .. "'" .. (near and " (did you mean '" .. near .. "'?)" or ""), 0)
    end
  end
  for _, name in ipairs { "title", "xlabel", "ylabel", "label" } do
    if options[name] ~= nil and type(options[name]) ~= "string" then error("plot: " .. name .. " must be a string", 0) end
  end
end

--- A trailing table with string keys holds options.
local function split(...)
  local args = table.pack(...)
  local last = args[args.n]
  if type(last) == "table" and not getmetatable(last) and type(next(last)) == "string" or
      type(last) == "table" and next(last) == nil and args.n > 1 then
    args.n = args.n - 1
    check_options(last)
    return last, table.unpack(args, 1, args.n)
  end
  return {}, table.unpack(args, 1, args.n)
end

--- Options that belong to the whole figure are kept there.
function Figure:take(options)
  for name, value in pairs(options) do if not own[name] then self.options[name] = value end end
end

function Figure:next_color(options)
  if options.color then return colors.get(options.color) end
  self.count = self.count + 1
  return colors.series[(self.count - 1) % #colors.series + 1]
end

-- ---- series ----
local function xy(options, x, y, what)
  if y == nil then
    if is_tensor(x) and x.ndim == 2 then return nil, x end
    local values, at = numbers(x, "y"), {}
    for i = 1, #values do at[i] = i - 1.0 end
    return at, values
  end
  if is_tensor(y) and y.ndim == 2 then return numbers(x, "x"), y end
  x, y = numbers(x, "x"), numbers(y, "y")
  if #x ~= #y then error(string.format("plot.%s: x has %d values and y has %d", what, #x, #y), 0) end
  return x, y
end

--- The columns of a matrix are series of their own.
local function add_series(fig, kind, ...)
  local options, x, y = split(...)
  x, y = xy(options, x, y, kind)
  fig:take(options)
  local columns = is_tensor(y) and y.shape[1] or 1
  for k = 0, columns - 1 do
    local values = is_tensor(y) and numbers(y:select(1, k), "y") or y
    local at = x
    if not at then
      at = {}
      for i = 1, #values do at[i] = i - 1.0 end
    end
    if #at ~= #values then error(string.format("plot.%s: x has %d values and y has %d", kind, #at, #values), 0) end
    local item = { kind = kind, x = at, y = values, color = fig:next_color(options), width = options.linewidth, marker = options.marker,
      size = options.size, label = options.labels and options.labels[k + 1] or columns == 1 and options.label or nil }
    if options.colors then
      item.colors = {}
      for i, c in ipairs(options.colors) do item.colors[i] = colors.get(c) end
    end
    fig.items[#fig.items + 1] = item
  end
  return fig
end
function Figure:line(...) return add_series(self, "line", ...) end
function Figure:scatter(...) return add_series(self, "scatter", ...) end

function Figure:hist(...)
  local options, x = split(...)
  self:take(options)
  local values, lo, hi = {}, huge, -huge
  for _, v in ipairs(numbers(x, "x")) do
    if v - v == 0 then
      values[#values + 1] = v
      lo, hi = math.min(lo, v), math.max(hi, v)
    end
  end
  if options.range then lo, hi = options.range[1], options.range[2] end
  if #values == 0 then lo, hi = 0, 1 end
  if lo == hi then lo, hi = lo - 0.5, hi + 0.5 end
  local bins = options.bins or 10
  if math.type(bins) ~= "integer" or bins < 1 then error("plot.hist: bins must be a positive integer", 0) end
  local counts, inside = {}, 0
  for i = 1, bins do counts[i] = 0 end
  for _, v in ipairs(values) do
    if v >= lo and v <= hi then
      local k = math.min(bins, 1 + math.floor((v - lo) / (hi - lo) * bins))
      counts[k] = counts[k] + 1
      inside = inside + 1
    end
  end
  local bars, width = {}, (hi - lo) / bins
  for i = 1, bins do
    bars[i] = { lo + (i - 1) * width, lo + i * width, options.density and counts[i] / (math.max(inside, 1) * width) or counts[i] }
  end
  self.items[#self.items + 1] = { kind = "bars", bars = bars, color = self:next_color(options), label = options.label }
  return self
end

function Figure:bar(...)
  local options, x, y = split(...)
  self:take(options)
  if y == nil then x, y = nil, x end
  y = numbers(y, "heights")
  if x and not is_tensor(x) and type(x[1]) == "string" then
    if #x ~= #y then error(string.format("plot.bar: %d labels and %d heights", #x, #y), 0) end
    self.xnames = { at = {}, text = {} }
    for i, name in ipairs(x) do self.xnames.at[i], self.xnames.text[i] = i - 1.0, tostring(name) end
    x = self.xnames.at
  elseif x then x = numbers(x, "x")
  else
    x = {}
    for i = 1, #y do x[i] = i - 1.0 end
  end
  if #x ~= #y then error(string.format("plot.bar: x has %d values and there are %d heights", #x, #y), 0) end
  local half, bars = (options.bar_width or 0.8) / 2, {}
  for i = 1, #y do bars[i] = { x[i] - half, x[i] + half, y[i] } end
  local item = { kind = "bars", bars = bars, gap = true, color = self:next_color(options), label = options.label }
  if options.colors then
    item.colors = {}
    for i, c in ipairs(options.colors) do item.colors[i] = colors.get(c) end
  end
  self.items[#self.items + 1] = item
  return self
end

-- ---- pictures ----
--- A matrix through a colour map: RGB bytes, lowest and highest value, the values.
local function mapped(x, options)
  local values = numbers(x, "picture")
  local lo, hi = options.vmin, options.vmax
  if not lo or not hi then
    local a, b = huge, -huge
    for i = 1, #values do
      local v = values[i]
      if v - v == 0 then
        if v < a then a = v end
        if v > b then b = v end
      end
    end
    if a > b then a, b = 0, 1 end
    lo, hi = lo or a, hi or b
  end
  local map, out, span = colors.map(options.cmap or "viridis"), {}, hi > lo and hi - lo or 1
  for i = 1, #values do out[i] = map((values[i] - lo) / span) end
  return table.concat(out), lo, hi, values
end

--- [3, H, W], [H, W, 3] (or 4, or 1 channels): floats in [0, 1] or uint8, as RGB bytes.
local function rgb_bytes(x)
  if x.shape[0] > 4 or x.shape[0] == 2 then x = x:permute(2, 0, 1) end
  local channels, h, w = x.shape[0], x.shape[1], x.shape[2]
  local scale = x:is_floating_point() and 255 or 1
  local planes = {}
  for k = 1, 3 do planes[k] = numbers(x[channels < 3 and 0 or k - 1], "picture") end
  local out = {}
  for i = 1, h * w do
    local function byte(k)
      local v = planes[k][i] * scale
      return v ~= v and 0 or math.floor(math.max(0, math.min(255, v)) + 0.5)
    end
    out[i] = string.char(byte(1), byte(2), byte(3))
  end
  return table.concat(out), w, h
end

local function matrix_of(x, what)
  if type(x) == "table" then x = torch.tensor(x) end
  if not is_tensor(x) then error("plot." .. what .. ": a tensor or nested list is expected, got " .. type(x), 0) end
  if x.ndim < 2 or x:numel() == 0 then
    error(string.format("plot.%s: expected [H, W]%s, got %s", what, what == "imshow" and ", [3, H, W] or [H, W, 3]" or "", tostring(x.shape)), 0)
  end
  return x
end

function Figure:imshow(...)
  local options, x = split(...)
  self:take(options)
  x = matrix_of(x, "imshow")
  local item = { kind = "image" }
  if x.ndim == 2 then
    item.w, item.h = x.shape[1], x.shape[0]
    item.rgb, item.lo, item.hi = mapped(x, options)
    if options.colorbar then self.colorbar = { cmap = options.cmap or "viridis", lo = item.lo, hi = item.hi } end
  elseif x.ndim == 3 and (x.shape[0] == 3 or x.shape[0] == 4 or x.shape[0] == 1 or x.shape[2] == 3 or x.shape[2] == 4 or x.shape[2] == 1) then
    item.rgb, item.w, item.h = rgb_bytes(x)
  else error("plot.imshow: expected [H, W], [3, H, W] or [H, W, 3], got " .. tostring(x.shape), 0) end
  item.x0, item.y0, item.x1, item.y1 = -0.5, -0.5, item.w - 0.5, item.h - 0.5
  self.down, self.grid = true, false
  self.options.aspect = self.options.aspect or "equal"
  self.items[#self.items + 1] = item
  return self
end

function Figure:heatmap(...)
  local options, x = split(...)
  self:take(options)
  x = matrix_of(x, "heatmap")
  if x.ndim ~= 2 then error("plot.heatmap: expected [H, W], got " .. tostring(x.shape), 0) end
  local item = { kind = "image", w = x.shape[1], h = x.shape[0], x0 = -0.5, y0 = -0.5 }
  item.x1, item.y1 = item.w - 0.5, item.h - 0.5
  item.rgb, item.lo, item.hi, item.values = mapped(x, options)
  if options.annotate then
    local fmt = type(options.annotate) == "string" and options.annotate or "%.2g"
    item.annotate = function(v) return fmt:format(v) end
  end
  if options.colorbar ~= false then self.colorbar = { cmap = options.cmap or "viridis", lo = item.lo, hi = item.hi } end
  for axis, names in pairs { xnames = options.xticklabels, ynames = options.yticklabels } do
    self[axis] = { at = {}, text = {} }
    for i, name in ipairs(names) do self[axis].at[i], self[axis].text[i] = i - 1.0, tostring(name) end
  end
  self.down, self.grid = true, false
  self.items[#self.items + 1] = item
  return self
end

-- ---- bounds ----
local function widen(b, x, y)
  if x - x == 0 then b.x0, b.x1 = math.min(b.x0, x), math.max(b.x1, x) end
  if y - y == 0 then b.y0, b.y1 = math.min(b.y0, y), math.max(b.y1, y) end
end
local function log10(v) return v > 0 and math.log(v, 10) or 0 / 0 end

--- Data in the axes' own measure: logarithms where the scale is one.  Done once, before the first drawing.
function Figure:scale()
  if self.scaled then return end
  self.scaled = true
  for axis, name in pairs { x = "xscale", y = "yscale" } do
    local kind = self.options[name]
    if kind ~= nil and kind ~= "log" and kind ~= "linear" then error("plot: " .. name .. " must be 'linear' or 'log'", 0) end
    if kind == "log" then
      for _, item in ipairs(self.items) do
        if item[axis] then
          local out = {}
          for i, v in ipairs(item[axis]) do out[i] = log10(v) end
          item[axis] = out
        elseif item.bars and axis == "y" then
          for _, bar in ipairs(item.bars) do bar[3] = log10(bar[3]) end
        end
      end
      local limits = self.options[axis .. "lim"]
      if limits then self.options[axis .. "lim"] = { log10(limits[1]), log10(limits[2]) } end
    end
  end
end

function Figure:bounds()
  self:scale()
  local b, exact = { x0 = huge, x1 = -huge, y0 = huge, y1 = -huge }, false
  for _, item in ipairs(self.items) do
    if item.kind == "image" then
      widen(b, item.x0, item.y0)
      widen(b, item.x1, item.y1)
      exact = true
    elseif item.bars then
      for _, bar in ipairs(item.bars) do
        widen(b, bar[1], self.options.yscale == "log" and bar[3] or 0)
        widen(b, bar[2], bar[3])
      end
    else
      for i = 1, #item.x do widen(b, item.x[i], item.y[i]) end
    end
  end
  if b.x0 > b.x1 then b.x0, b.x1 = 0, 1 end
  if b.y0 > b.y1 then b.y0, b.y1 = 0, 1 end
  if not exact then
    local bars = self.items[1] and self.items[1].bars
    local px = b.x1 > b.x0 and (b.x1 - b.x0) * 0.03 or math.abs(b.x0) * 0.05 + 0.5
    local py = b.y1 > b.y0 and (b.y1 - b.y0) * 0.05 or math.abs(b.y0) * 0.05 + 0.5
    local floor = bars and b.y0 == 0
    b = { x0 = b.x0 - px, x1 = b.x1 + px, y0 = floor and 0 or b.y0 - py, y1 = b.y1 + py }
  end
  for axis, limits in pairs { x = self.options.xlim, y = self.options.ylim } do
    if type(limits) ~= "table" or not (limits[1] < limits[2]) then error("plot: " .. axis .. "lim must be {low, high}", 0) end
    b[axis .. "0"], b[axis .. "1"] = limits[1], limits[2]
  end
  return b
end

-- ---- output ----
function Figure:pixels_size(w, h)
  w, h = self.options.width or w or 800, self.options.height or h or 480
  if math.type(w) ~= "integer" or math.type(h) ~= "integer" then error("plot: width and height must be whole numbers of pixels", 0) end
  return w, h
end
function Figure:png() return require("plot.scene").raster(self, self:pixels_size()):png() end
function Figure:svg() return require "plot.svg"(self, self:pixels_size()) end

--- Writes the figure to a .png or .svg file.
function Figure:save(path)
  local kind = tostring(path):lower():match("%.(%a+)$")
  if kind ~= "png" and kind ~= "svg" then error("plot: the file must end in .png or .svg, got '" .. tostring(path) .. "'", 2) end
  local data = kind == "png" and self:png() or self:svg()
  local f, why = io.open(path, "wb")
  if not f then error("plot: " .. why, 2) end
  local ok
  ok, why = f:write(data)
  if ok then ok, why = f:close() else f:close() end
  if not ok then error("plot: " .. path .. ": " .. tostring(why), 2) end
  return self
end

--- The figure as text: letters (with colours when `colored`), or the sequence of a graphics terminal.
function Figure:render(form, colored)
  local terminal, term = require "plot.terminal", require "moth.term"
  local rows, cols = term.size()
  cols, rows = math.max(20, self.options.cols or math.min(cols, 100)), math.max(6, self.options.rows or math.min(rows - 2, 24))
  if form == "braille" or form == "blocks" or form == "ascii" then
    return require "plot.cells"(self, cols, rows, { form = form, colored = colored, deep = terminal.deep() }) .. "\n"
  end
  local w, h = self:pixels_size(math.min(800, cols * 8), math.min(480, rows * 18))
  return terminal.picture(require("plot.scene").raster(self, w, h), form)
end

plot.display = nil                       -- a notebook sets this: function(figure)

--- Shows the figure on standard output, or in the notebook.
function Figure:show(options)
  options = options or {}
  if plot.display then plot.display(self) return self end
  local form, colored = require("plot.terminal").detect(options.form or self.form)
  io.stdout:write(self:render(form, colored))
  io.stdout:flush()
  return self
end

function plot.figure(options)
  options = options or {}
  check_options(options)
  local fig = setmetatable({ options = {}, items = {}, count = 0, grid = options.grid ~= false }, Figure)
  for name, value in pairs(options) do fig.options[name] = value end
  fig.form, fig.file = options.form, options.file
  return fig
end

for _, kind in ipairs { "line", "scatter", "hist", "bar", "imshow", "heatmap" } do
  plot[kind] = function(...)
    local fig = plot.figure()
    local options = split(...)
    if options.grid == false then fig.grid = false end
    fig[kind](fig, ...)
    fig.form = options.form
    if options.file then fig:save(options.file) else fig:show() end
  end
end

function Figure:__tostring() return string.format("plot.Figure (%d series; :show() or :save(path))", #self.items) end
plot.Figure = Figure
return plot
