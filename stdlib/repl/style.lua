-- style.lua: colours, when the terminal wants them.  Codes are those of 16-colour
-- terminals, readable on light and dark.
local style = { on = false }

local term = os.getenv("TERM")
style.on = (os.getenv("NO_COLOR") or "") == "" and term ~= "dumb" and term ~= nil

local codes = { error = "1;31", hint = "2", name = "1", caret = "31", good = "32", head = "2", link = "36" }
local by_digit = { ["1"] = "35", ["2"] = "36", ["3"] = "32", ["4"] = "2", ["7"] = "34", ["9"] = "33" }

function style.paint(what, text)
  if not style.on or text == "" then return text end
  return "\27[" .. (codes[what] or what) .. "m" .. text .. "\27[0m"
end

--- Lua text with colours.
function style.lua(text)
  if not style.on then return text end
  local digits, out, at = require("moth.term").styles(text), {}, 1
  while at <= #text do
    local d = digits:sub(at, at)
    local to = digits:find("[^" .. d .. "]", at) or #text + 1
    local piece = text:sub(at, to - 1)
    out[#out + 1] = by_digit[d] and style.paint(by_digit[d], piece) or piece
    at = to
  end
  return table.concat(out)
end

--- Text from elsewhere with its control characters made visible: it cannot command the terminal.
function style.safe(text)
  return (text:gsub("[%c\127]", function(c)
    if c == "\n" or c == "\t" then return c end
    return string.format("\\x%02X", c:byte())
  end):gsub("\xC2([\x80-\x9F])", function(c) return string.format("\\u{%X}", c:byte()) end))
end

return style
