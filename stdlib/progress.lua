-- progress: how far a loop is, on one line of the terminal; nothing but plain lines, and few, in a pipe or a file.
--
--   local progress = require "progress"
--   for x, y in progress(loader:iter()) do ... end            -- any iterator; loader itself works too
--   for i in progress(100, {desc = "epoch 1"}) do ... end      -- i = 1 .. 100
--   local bar = progress.bar(total, {desc = "reading"})  bar:add(n)  bar:say("loss 0.3")  bar:close()
--
-- Options: total, desc, unit, every (seconds between redraws; 0.1, in a pipe 10), file (io.stderr).
local term = require "moth.term"

local progress = {}
local Bar = {}
Bar.__index = Bar

local function clock_text(seconds)
  seconds = math.floor(seconds + 0.5)
  if seconds >= 3600 then return string.format("%d:%02d:%02d", seconds // 3600, seconds // 60 % 60, seconds % 60) end
  return string.format("%d:%02d", seconds // 60, seconds % 60)
end

local function rate_text(rate, unit)
  if rate <= 0 then return "" end
  if rate < 1 then return string.format("%.3g s/%s", 1 / rate, unit) end
  if rate >= 1e6 then return string.format("%.1fM %s/s", rate / 1e6, unit) end
  if rate >= 1e4 then return string.format("%.1fk %s/s", rate / 1e3, unit) end
  return string.format("%.3g %s/s", rate, unit)
end

local eighths = { "▏", "▎", "▍", "▌", "▋", "▊", "▉" }
local function bar_text(part, width)
  local filled = math.max(0, math.min(1, part)) * width
  local whole = math.floor(filled)
  local rest = whole < width and eighths[math.floor((filled - whole) * 8)] or ""
  return ("█"):rep(whole) .. rest .. (" "):rep(width - whole - (rest ~= "" and 1 or 0))
end

--- One line about a state: n of total (nil: unknown), seconds so far, at most `cols` letters.
function progress.format(n, total, seconds, options, cols)
  options = options or {}
  local rate = seconds > 0 and n / seconds or 0
  local head = options.desc and options.desc .. " " or ""
  local tail = (total and string.format(" %d/%d ", n, total) or string.format("%d ", n)) .. clock_text(seconds)
  if total and rate > 0 and n < total then tail = tail .. " < " .. clock_text((total - n) / rate) end
  local speed = rate_text(rate, options.unit or "it")
  if speed ~= "" then tail = tail .. " " .. speed end
  if options.note then tail = tail .. "  " .. options.note end
  if not total or not cols then
    return head .. (total and string.format("%3.0f%%", 100 * n / math.max(total, 1)) or "") .. tail
  end
  local room = cols - (utf8.len(head) or #head) - (utf8.len(tail) or #tail) - 5
  local bar = room >= 5 and bar_text(total > 0 and n / total or 1, math.min(room, 30)) or ""
  return head .. string.format("%3.0f%%", 100 * n / math.max(total, 1)) .. bar .. tail
end

function Bar:draw(final)
  local now = term.clock()
  if not final and now < self.next then return end
  self.next = now + self.every
  if self.tty then
    local _, cols = term.size()
    local text = progress.format(self.n, self.total, now - self.start, self, cols)
    local at = utf8.offset(text, cols)
    self.file:write("\r", at and text:sub(1, at - 1) or text, "\27[K")
  else
    self.file:write(progress.format(self.n, self.total, now - self.start, self), "\n")
  end
  self.file:flush()
end

function Bar:add(n)
  self.n = self.n + (n or 1)
  self:draw(false)
end
--- A remark at the end of the line, such as the loss.
function Bar:say(text) self.note = text end
--- Draws the last state and leaves the line.
function Bar:close()
  if self.closed then return end
  self.closed = true
  self:draw(true)
  if self.tty then
    self.file:write("\n")
    self.file:flush()
  end
end
Bar.__close = Bar.close

function progress.bar(total, options)
  options = options or {}
  local file = options.file or io.stderr
  local tty = options.tty
  if tty == nil then tty = file == io.stderr and term.isatty(2) or file == io.stdout and term.isatty(1) end
  if os.getenv("TERM") == "dumb" then tty = false end
  local every = options.every or (tty and 0.1 or 10)
  local now = term.clock()
  return setmetatable({ total = total or options.total, desc = options.desc, unit = options.unit, file = file, tty = tty,
    every = every, n = 0, start = now, next = tty and 0 or now + every }, Bar)
end

--- Number of steps an object knows of itself.
local function length_of(v)
  local ok, n = pcall(function() return type(v.len) == "function" and v:len() or #v end)
  return ok and math.type(n) == "integer" and n or nil
end

local function options_last(list)
  local last = list[list.n]
  if list.n > 1 and type(last) == "table" and not getmetatable(last) then
    list.n = list.n - 1
    return last
  end
  return {}
end

local function iterate(_, ...)
  local list = table.pack(...)
  local options = options_last(list)
  local first = list[1]
  local total, step, state, control, closing = options.total, nil, nil, nil, nil
  if math.type(first) == "integer" then
    total = total or first
    step, state, control = function(n, i) if i < n then return i + 1 end end, first, 0
  elseif type(first) == "function" then step, state, control, closing = table.unpack(list, 1, list.n)
  elseif type(first) == "table" or type(first) == "userdata" then
    total = total or length_of(first)
    local iter = type(first) == "table" and first.iter or nil
    if iter then step, state, control, closing = iter(first)
    elseif getmetatable(first) and getmetatable(first).__call then step, state, control, closing = table.unpack(list, 1, list.n)
    else step, state, control = ipairs(first) end
  else error("progress: expected a count, an iterator, a list or a loader, got " .. type(first), 2) end
  local bar = progress.bar(total, options)
  bar:draw(false)
  local started = false
  local function next_step(s, c)
    if started then bar:add(1) end
    started = true
    return (function(...)
      if (...) == nil then bar:close() end
      return ...
    end)(step(s, c))
  end
  local guard = setmetatable({}, { __close = function()
    bar:close()
    local mt = closing ~= nil and getmetatable(closing)
    if type(mt) == "table" and mt.__close then mt.__close(closing) end
  end })
  return next_step, state, control, guard
end

return setmetatable(progress, { __call = iterate })
