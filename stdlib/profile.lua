-- profile: where the time of tensor work goes.
--
--   local profile = require "profile"
--   print(profile.run(function() net(x):sum():backward() end))          -- a table by op
--   profile.run(f, {trace = "trace.json"})                              -- also a trace for chrome://tracing
local core = require "moth.profile"

local profile = {}

local function duration(seconds)
  if seconds < 1e-3 then return string.format("%.1f us", seconds * 1e6) end
  if seconds < 1 then return string.format("%.2f ms", seconds * 1e3) end
  return string.format("%.2f s", seconds)
end

--- The rows as text: the ops that took most first, then what was outside of ops.
function profile.format(rows, seconds, limit)
  table.sort(rows, function(a, b) return a.self > b.self end)
  local out = { string.format("%-28s %8s %11s %11s %7s", "op", "calls", "self", "per call", "share") }
  local inside = 0
  for i, row in ipairs(rows) do
    inside = inside + row.self
    if i <= (limit or 25) then
      out[#out + 1] = string.format("%-28s %8d %11s %11s %6.1f%%", row.name, row.calls, duration(row.self),
        duration(row.self / row.calls), 100 * row.self / seconds)
    end
  end
  out[#out + 1] = string.format("%-28s %8s %11s %11s %6.1f%%", "(outside of ops)", "", duration(seconds - inside), "",
    100 * (seconds - inside) / seconds)
  out[#out + 1] = "total " .. duration(seconds)
  return table.concat(out, "\n")
end

--- A trace in Chrome's JSON format.
function profile.trace(events)
  local parts = {}
  for i, e in ipairs(events) do
    parts[i] = string.format('{"name":"%s","ph":"X","ts":%.3f,"dur":%.3f,"pid":1,"tid":1}', e[1], e[2] * 1e6,
      e[3] * 1e6)
  end
  return '{"traceEvents":[\n' .. table.concat(parts, ",\n") .. "\n]}\n"
end

--- Runs fn and returns the table as text, then fn's results.  options: trace = file name, limit = rows shown.
function profile.run(fn, options)
  options = options or {}
  core.start(options.trace and 1000000 or 0)
  local results = table.pack(xpcall(fn, debug.traceback))
  local rows, events, seconds = core.stop()
  if not results[1] then error(results[2], 0) end
  if options.trace then
    local f = assert(io.open(options.trace, "w"))
    f:write(profile.trace(events))
    assert(f:close())
  end
  return profile.format(rows, seconds, options.limit), table.unpack(results, 2, results.n)
end

return profile
