-- tour.lua: %tour: the steps of tour.txt, shown and run one by one.  "== title", prose, "> code", "= what the output holds".
local style = require "repl.style"

local tour = { at = 0 }

--- The steps: { title, prose = {lines}, items = { { code, expect = {parts} } } }; lines of one block stay together.
function tour.steps()
  if tour.list then return tour.list end
  local list, step, item = {}, nil, nil
  for line in (require("moth.embed").read("repl/tour.txt") or ""):gmatch("[^\n]*") do
    local title, code, expect = line:match("^== (.*)"), line:match("^> ?(.*)"), line:match("^= (.*)")
    if title then
      step, item = { title = title, prose = {}, items = {} }, nil
      list[#list + 1] = step
    elseif code then
      local units = require "repl.units"
      if item and #item.expect == 0 and units.check(item.code) == "incomplete" then item.code = item.code .. "\n" .. code
      else
        item = { code = code, expect = {} }
        step.items[#step.items + 1] = item
      end
    elseif expect then item.expect[#item.expect + 1] = expect
    elseif line ~= "" and step then step.prose[#step.prose + 1] = line end
  end
  tour.list = list
  return list
end

--- Shows and runs step n.
function tour.run(n)
  local steps = tour.steps()
  local step = steps[n]
  if not step then
    print(string.format("the tour has %d steps: %%tour 1 to %%tour %d", #steps, #steps))
    return
  end
  tour.at = n
  print(style.paint("name", step.title))
  for _, line in ipairs(step.prose) do print("  " .. line) end
  for _, item in ipairs(step.items) do
    local shown = style.lua(item.code):gsub("\n", "\n" .. style.paint("hint", "   >> "))
    print(style.paint("hint", "moth> ") .. shown)
    require("repl").run(item.code)
  end
  print(style.paint("hint", n < #steps and string.format("%%tour goes on (%d of %d); %%tour N goes to a step", n, #steps) or
    "That was the tour. ?help lists the rest."))
end

--- The command: the next step, or the one named.
function tour.command(text)
  local n = text:match("^%s*(%d+)")
  tour.run(n and tonumber(n) or tour.at >= #tour.steps() and 1 or tour.at + 1)
end

return tour
