-- plot_test.lua: every form of picture decoded and compared: PNG and sixel pixels, SVG as XML, letters as golden text.
local t = require "check"
local plot = require "plot"
local raster = require "plot.raster"

-- ---- the canvas ----
local function pixel(c, x, y)
  local s, w = c:pixels()
  return string.format("#%02x%02x%02x", s:byte(3 * (y * w + x) + 1, 3 * (y * w + x) + 3))
end

t.test("canvas: shapes, clipping, blending", function()
  local c = raster.new(20, 10, "#ffffff")
  c:rect(2, 2, 6, 5, "#ff0000")
  t.eq({ pixel(c, 2, 2), pixel(c, 5, 4), pixel(c, 6, 4), pixel(c, 1, 2) }, { "#ff0000", "#ff0000", "#ffffff", "#ffffff" })
  c:rect(10, 2, 12.5, 3, "#0000ff")
  t.eq(pixel(c, 12, 2), "#7f7fff")
  c:rect(14, 0, 16, 10, "#00000080")
  t.eq(pixel(c, 15, 5), "#7f7f7f")
  c:clip(0, 0, 10, 5)
  c:rect(0, 0, 20, 10, "#00ff00")
  t.eq({ pixel(c, 9, 4), pixel(c, 10, 4), pixel(c, 9, 5) }, { "#00ff00", "#ffffff", "#ffffff" })
  c:clip()
  c:line({ 0, 9.5, 20, 9.5 }, "#000000", 1)
  t.eq(pixel(c, 10, 9), "#000000")
  for _, bad in ipairs { 0 / 0, 1 / 0, -1 / 0, 1e300 } do
    c:line({ bad, 1, 3, bad }, "#000000", 1)
    c:disc(bad, 1, 2, "#000000")
    c:rect(bad, 0, 1, bad, "#000000")
    c:text(bad, 1, "x", "#000000", 12)
  end
  c:polygon({ 1, 6, 5, 6, 5, 9, 1, 9 }, "#123456")
  t.eq(pixel(c, 3, 7), "#123456")
  t.error_matches(function() raster.new(0, 5, "#000000") end, "sides must be 1")
  t.error_matches(function() raster.new(100000, 5, "#000000") end, "sides must be 1")
  t.error_matches(function() c:rect(0, 0, 1, 1, "red") end, "'#rrggbb'")
  t.error_matches(function() c:image("abc", 2, 2, 0, 0, 1, 1) end, "no RGB picture")
end)

t.test("PNG: the decoded pixels are the canvas", function()
  local c = raster.new(37, 23, "#ffffff")
  c:line({ 0, 0, 37, 23 }, "#d62728", 3)
  c:text(2, 2, "Moth 123", "#222222", 10)
  local x = require("image").decode(c:png())
  t.ok(x.shape == torch.Size { 3, 23, 37 })
  local s = c:pixels()
  local got = x:permute(1, 2, 0):contiguous():reshape(-1):tolist()
  for i = 1, #s do if s:byte(i) ~= got[i] then error("byte " .. i .. " differs") end end
end)

--- The pixels that a sixel sequence draws: rows of colours as 0xRRGGBB.
local function decode_sixel(text)
  local body = assert(text:match("^\27P[%d;]*q(.*)\27\\"))
  local w, h, rest = body:match('^"1;1;(%d+);(%d+)(.*)$')
  w, h = tonumber(w), tonumber(h)
  local colors, pixels, x, top, color, at = {}, {}, 0, 0, 0, 1
  while at <= #rest do
    local ch = rest:sub(at, at)
    if ch == "#" then
      local n, r, g, b, stop = rest:match("^#(%d+);2;(%d+);(%d+);(%d+)()", at)
      if n then colors[tonumber(n)] = { tonumber(r), tonumber(g), tonumber(b) } else n, stop = rest:match("^#(%d+)()", at) end
      color, at = tonumber(n), stop
    elseif ch == "$" then x, at = 0, at + 1
    elseif ch == "-" then x, top, at = 0, top + 6, at + 1
    else
      local count = 1
      if ch == "!" then
        local n, stop = rest:match("^!(%d+)()", at)
        count, at = tonumber(n), stop
        ch = rest:sub(at, at)
      end
      local bits = ch:byte() - 63
      for _ = 1, count do
        for k = 0, 5 do if bits >> k & 1 == 1 then pixels[(top + k) * w + x] = colors[color] end end
        x = x + 1
      end
      at = at + 1
    end
  end
  return pixels, w, h
end

t.test("sixel: decoded, it is the picture", function()
  for _, many in ipairs { false, true } do
    local c = raster.new(61, 32, "#ffffff")
    if many then                           -- more than 256 colours: rounded
      for y = 0, 31 do for x = 0, 60 do c:rect(x, y, x + 1, y + 1, string.format("#%02x%02x%02x", x * 4, y * 8, (x * y) % 256)) end end
    else
      c:line({ 0, 0, 60, 31 }, "#1f77b4", 2)
      c:rect(5, 20, 15, 30, "#ff7f0e")
    end
    local pixels, w, h = decode_sixel(c:sixel())
    t.eq({ w, h }, { 61, 32 })
    local s, worst = c:pixels(), 0
    for i = 0, w * h - 1 do
      local p = assert(pixels[i], "pixel " .. i .. " was not drawn")
      for k = 1, 3 do worst = math.max(worst, math.abs(p[k] * 2.55 - s:byte(3 * i + k))) end
    end
    t.ok(worst <= (many and 26.5 or 1.5), "off by " .. worst)
  end
end)

-- ---- SVG ----
--- Checks that text is well-formed XML; returns the element names counted.
local function check_xml(text)
  local stack, count, at = {}, {}, 1
  while true do
    local from, to, slash, name, rest = text:find("<(/?)([%w:]+)(.-)>", at)
    if not from then break end
    assert(not text:sub(at, from - 1):find("[<>]"), "stray bracket")
    for entity in text:sub(at, from - 1):gmatch("&([^;]*;?)") do assert(entity:find("^%a+;$"), "bad entity") end
    if slash == "/" then assert(table.remove(stack) == name, "closes " .. name)
    else
      count[name] = (count[name] or 0) + 1
      local left = rest:gsub('%s+[%w:-]+="[^"<]*"', "")
      assert(left == "" or left == "/", "bad attributes: " .. rest)
      if left ~= "/" then stack[#stack + 1] = name end
    end
    at = to + 1
  end
  assert(#stack == 0, "left open")
  return count
end

t.test("SVG: well-formed, with what was asked for", function()
  local fig = plot.figure { title = 'a <b> & "c"\1', xlabel = "x", ylabel = "y" }
  fig:line({ 1, 2, 3 }, { label = "one" }):scatter({ 0, 1 }, { 2, 3 }):bar({ 1, 2 })
  local svg = fig:svg()
  local count = check_xml(svg)
  t.eq(count.circle, 2)
  t.ok(count.polyline > 3 and count.text > 6 and count.clipPath == 1)
  t.ok(svg:find("a &lt;b&gt; &amp; &quot;c&quot;?", 1, true))
  local heat = plot.figure():heatmap(torch.eye(3)):svg()
  t.eq(check_xml(heat).image, 2)
  local data = heat:match("base64,([%w+/=]+)")
  local decoded = data:gsub("[^%w+/]", ""):gsub("..?.?.?", function(q)
    local v, n = 0, #q
    for i = 1, 4 do
      local at = i <= n and ("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"):find(q:sub(i, i), 1, true) - 1 or 0
      v = v << 6 | at
    end
    return string.char(v >> 16, v >> 8 & 255, v & 255):sub(1, n - 1)
  end)
  local x = require("image").decode(decoded)
  t.ok(x.shape == torch.Size { 3, 3, 3 })
  t.eq(x:select(1, 0):select(1, 0):tolist(), { 0xfe, 0xe8, 0x25 })
end)

-- ---- letters ----
local function golden(name, got, want)
  if got ~= want then error(name .. ":\n" .. got .. "\nwanted:\n" .. want) end
end
t.test("braille: golden text", function()
  local fig = plot.figure { cols = 24, rows = 8, title = "steps", xlabel = "n" }:line({ 0, 1, 2, 3 }, { 0, 1, 1, 3 }, { label = "s" })
  golden("line", fig:render("braille", false), [[
         steps
 │                  ⢠⠔⠁
2┤               ⢀⠤⠊⠁
 │     ⣀⡠⠤⠤⠤⠤⠤⠤⠤⠒⠁
0┤⢀⠤⠖⠊⠉
 └─────────────────────
  0            2
           n
  ━━ s
]])
end)
t.test("half blocks and ASCII: golden text", function()
  local fig = plot.figure { cols = 24, rows = 8 }:bar({ "a", "b" }, { 1, 2 })
  golden("blocks", fig:render("blocks", false), [[
2┤            ▄▄▄▄▄▄▄▄
 │            ████████
 │            ████████
1┤ ████████   ████████
 │ ████████   ████████
0┤ ████████   ████████
 └─────────────────────
      a           b
]])
  golden("ascii", fig:render("ascii", false), [[
2+            ........
 |            ########
 |            ########
1+ ########   ########
 | ########   ########
0+ ########   ########
 +---------------------
      a           b
]])
  local image = plot.figure { cols = 24, rows = 9 }:imshow(torch.tensor { { 0., 1. }, { 1., 0. } }, { cmap = "gray" })
  local text = image:render("blocks", true)
  t.ok(text:find("\27[0;38;5;16;48;5;231m▀", 1, true) or text:find("▀", 1, true))
  t.ok(text:find("\27[0m", 1, true))
end)
t.test("letters: a terminal without colours gets no escape code", function()
  for _, form in ipairs { "braille", "blocks", "ascii" } do
    local fig = plot.figure { cols = 40, rows = 10 }:line({ 1, 2 }, { label = "a" }):hist({ 1, 2, 3 })
    t.ok(not fig:render(form, false):find("\27", 1, true), form)
    t.ok(fig:render(form, true):find("\27[", 1, true), form)
    local heat = plot.figure { cols = 40, rows = 10 }:heatmap(torch.eye(4))
    t.ok(not heat:render(form, false):find("\27", 1, true), form)
    if form == "ascii" then t.ok(not heat:render(form, false):find("[\128-\255]"), form) end
  end
end)

-- ---- graphics protocols ----
t.test("kitty and iTerm2: the sequences carry the PNG", function()
  local fig = plot.figure { width = 300, height = 200 }:line({ 1, 2, 3 })
  local png = require("plot.raster").base64(require("plot.scene").raster(fig, 300, 200):png())
  local kitty = fig:render("kitty", true)
  local parts, n = {}, 0
  for control, data in kitty:gmatch("\27_G([^;]*);([^\27]*)\27\\") do
    n = n + 1
    t.eq(control:find("a=T,f=100", 1, true) ~= nil, n == 1)
    t.ok(#data <= 4096)
    parts[n] = data
  end
  t.eq(table.concat(parts), png)
  t.ok(kitty:find("m=0;[^;]*\27\\\n$"))
  local iterm = fig:render("iterm2", true)
  t.eq(iterm:match("^\27%]1337;File=inline=1;size=%d+;preserveAspectRatio=1:([%w+/=]+)\7\n$"), png)
  t.ok(fig:render("sixel", true):find("^\27P"))
end)

local moth = os.getenv("MOTH")
local function run(env, code)
  local name = os.tmpname()
  local f <close> = io.open(name, "w")
  f:write(code)
  f:close()
  local p <close> = io.popen("env " .. env .. " " .. moth .. " " .. name .. " 2>&1", "r")
  local out = p:read("a")
  os.remove(name)
  return out
end
t.test("in a pipe: letters without escape codes, whatever the terminal", function()
  if not moth then return end
  local code = 'local plot = require "plot" plot.line({1, 2, 3}, {title = "t"}) plot.imshow(torch.eye(3)) plot.hist({1, 2})'
  for _, env in ipairs { "TERM=xterm-kitty KITTY_WINDOW_ID=1 LANG=C.UTF-8", "TERM_PROGRAM=iTerm.app LC_ALL=C.UTF-8", "TERM=foot LANG=C LC_ALL=C",
      "TERM=dumb" } do
    local out = run(env, code)
    t.ok(#out > 100 and not out:find("\27", 1, true), env)
  end
  t.ok(run("LC_ALL=C LANG=C", code):find("+", 1, true))
  t.ok(run("MOTH_PLOT=sixel", code):find("^\27P"))
  t.ok(run("MOTH_PLOT=nonsense", code):find("unknown form", 1, true))
end)

-- ---- files, bad input, numbers ----
t.test("files: the same call writes PNG or SVG", function()
  local name = os.tmpname()
  for _, kind in ipairs { "png", "svg" } do
    plot.line({ 1, 2, 3 }, { file = name .. "." .. kind, width = 200, height = 100 })
    local f <close> = io.open(name .. "." .. kind, "rb")
    local data = f:read("a")
    os.remove(name .. "." .. kind)
    if kind == "png" then t.ok(require("image").decode(data).shape == torch.Size { 3, 100, 200 }) else check_xml(data) end
  end
  os.remove(name)
  t.error_matches(function() plot.line({ 1 }, { file = "a.gif" }) end, "must end in .png or .svg")
  t.error_matches(function() plot.line({ 1 }, { file = "/no/such/dir/a.png" }) end, "No such file")
end)
t.test("numbers: nan, inf, empty, one point, constants, big, every dtype", function()
  for _, y in ipairs { {}, { 1 }, { 0 / 0, 1 / 0, -1 / 0 }, { 5, 5, 5 }, { 1e300, -1e300 }, { 1, 0 / 0, 2 }, { 1e-300, 2e-300 } } do
    for _, form in ipairs { "braille", "blocks", "ascii" } do
      for _, kind in ipairs { "line", "scatter", "hist", "bar" } do
        local fig = plot.figure { cols = 30, rows = 8 }
        t.ok(#fig[kind](fig, y):render(form, true) > 0)
      end
    end
    check_xml(plot.figure():line(y):svg())
    t.ok(#plot.figure { width = 60, height = 40 }:line(y):png() > 0)
  end
  for _, dtype in ipairs { "bool", "uint8", "int64", "float16", "bfloat16", "float32", "float64" } do
    t.ok(#plot.figure { cols = 30, rows = 8 }:line(torch.ones(5, { dtype = torch[dtype] })):render("ascii") > 0)
  end
  local fig = plot.figure { yscale = "log", xscale = "log", cols = 40, rows = 10 }:line({ 1, 10, 100 }, { 1, 100, 0 })
  t.ok(fig:render("ascii"):find("100", 1, true))
  t.eq(#plot.figure():line(torch.randn(10, 3), { labels = { "a", "b", "c" } }).items, 3)
  local h = plot.figure():hist({ 0, 0.1, 0.9, 1, 1 }, { bins = 2 }).items[1].bars
  t.eq({ h[1][3], h[2][3] }, { 2, 3 })
  h = plot.figure():hist({ 0, 1, 1, 2 }, { bins = 2, density = true }).items[1].bars
  t.near(h[1][3] + h[2][3], 1)
end)
t.test("what is wrong is said", function()
  t.error_matches(function() plot.line("x") end, "must be a tensor or a list")
  t.error_matches(function() plot.line({ 1, 2 }, { 1 }) end, "x has 2 values and y has 1")
  t.error_matches(function() plot.line({ 1 }, { titel = "x" }) end, "did you mean 'title'")
  t.error_matches(function() plot.line({ 1 }, { color = "blu" }) end, "unknown colour")
  t.error_matches(function() plot.imshow(torch.ones(3)) end, "expected [H, W]")
  t.error_matches(function() plot.heatmap(torch.eye(2), { cmap = "x" }) end, "unknown colour map")
  t.error_matches(function() plot.hist({ 1 }, { bins = 0 }) end, "bins")
  t.error_matches(function() plot.line(torch.complex(torch.ones(2), torch.ones(2))) end, "complex")
  t.error_matches(function() plot.figure { xlim = { 2, 1 } }:line({ 1 }):svg() end, "xlim")
  t.error_matches(function() plot.figure { xscale = "cubic" }:line({ 1 }):svg() end, "'linear' or 'log'")
end)
t.test("ticks: round numbers, short texts", function()
  local ticks = require "plot.ticks"
  local function texts(lo, hi, want) return table.concat(select(2, ticks.linear(lo, hi, want)), " ") end
  t.eq(texts(0, 10, 5), "0 2 4 6 8 10")
  t.eq(texts(-1, 1, 4), "-1.0 -0.5 0 0.5 1.0")
  t.eq(texts(0.001, 0.0042, 4), "0.001 0.002 0.003 0.004")
  t.eq(texts(1e9, 3e9, 3), "1e9 1.5e9 2e9 2.5e9 3e9")
  t.eq(texts(2020, 2024, 5), "2020 2021 2022 2023 2024")
  t.eq(table.concat(select(2, ticks.log(0, 4, 5)), " "), "1 10 100 1000 10000")
end)

-- ---- progress ----
t.test("progress: a line in a terminal, few plain lines in a pipe", function()
  local progress = require "progress"
  t.eq(progress.format(5, 10, 5, { desc = "x" }), "x  50% 5/10 0:05 < 0:05 1 it/s")
  t.eq(progress.format(3, nil, 1), "3 0:01 3 it/s")
  local line = progress.format(50, 100, 1, {}, 60)
  t.ok(line:find("█") and utf8.len(line) <= 60)
  local function to_file(options)
    local out = {}
    options.file = { write = function(_, ...) for _, s in ipairs { ... } do out[#out + 1] = s end end, flush = function() end }
    local seen = 0
    for i in progress(20, options) do seen = seen + i end
    t.eq(seen, 210)
    return table.concat(out)
  end
  local piped = to_file { tty = false }
  t.ok(not piped:find("[\r\27]") and select(2, piped:gsub("\n", "")) == 1 and piped:find("20/20", 1, true))
  t.ok(to_file { tty = true, every = 0 }:find("\r[^\n]*20/20[^\n]*\27%[K\n$"))
  local pairs_seen = {}
  local quiet = { tty = false, file = { write = function() end, flush = function() end } }
  for k, v in progress({ "c" }, quiet) do pairs_seen[k] = v end
  t.eq(pairs_seen[1], "c")
  t.error_matches(function() progress("x") end, "expected a count")
end)
t.done()
