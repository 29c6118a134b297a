-- tour_test.lua: %tour runs: every step without a surprise, every line's output holds what tour.txt says.
local t = require "check"
require("repl.style").on = false
local tour = require "repl.tour"
local repl = require "repl"
local real_print, real_write = print, io.write

local function output_of(fn)
  local out = {}
  local methods = debug.getmetatable(io.stdout).__index
  local file_write = methods.write
  _G.print = function(...)
    local parts = table.pack(...)
    for i = 1, parts.n do parts[i] = tostring(parts[i]) end
    out[#out + 1] = table.concat(parts, "\t") .. "\n"
  end
  function methods.write(f, ...)
    if f ~= io.stdout then return file_write(f, ...) end
    out[#out + 1] = table.concat { ... }
    return f
  end
  local ok, err = pcall(fn)
  _G.print, methods.write = real_print, file_write
  if not ok then error(err, 0) end
  return table.concat(out)
end

t.ok(io.write == real_write)
for n, step in ipairs(tour.steps()) do
  t.test(step.title, function()
    t.ok(#step.prose > 0 and #step.items > 0)
    for _, line in ipairs(step.prose) do t.ok(#line <= 130, "long prose") end
    for _, item in ipairs(step.items) do
      local text = output_of(function() repl.run(item.code) end)
      local wants_error = step.title:find("Mistakes", 1, true)
      if not wants_error and text:find("error: ", 1, true) then error(item.code .. "\n" .. text) end
      for _, part in ipairs(item.expect) do
        if not text:find(part, 1, true) then error(item.code .. "\nlacks " .. part .. ":\n" .. text) end
      end
    end
    local whole = output_of(function() tour.command(tostring(n)) end)
    t.ok(whole:find(step.title, 1, true) and whole:find("moth> ", 1, true))
  end)
end
t.test("the command goes on, ends, and says what it has", function()
  t.ok(output_of(function() tour.command "99" end):find("%tour 1 to %tour", 1, true))
  tour.at = #tour.steps()
  t.ok(output_of(function() tour.command "" end):find(tour.steps()[1].title, 1, true))
  t.ok(output_of(function() tour.command "" end):find(tour.steps()[2].title, 1, true))
end)
t.done()
