-- json.lua: a small JSON reader of the runner's own, so that the judge does not lean on the judged engine.
-- null becomes json.null; a number without fraction or exponent is an integer, every other a float.
local json = { null = setmetatable({}, { __tostring = function() return "null" end }) }

local find, sub, byte = string.find, string.sub, string.byte
local ESCAPE = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["/"] = "/" }
local value

local function unescape(s)
  s = s:gsub("\\u([dD][89abAB]%x%x)\\u([dD][c-fC-F]%x%x)", function(hi, lo)
    return utf8.char(0x10000 + ((tonumber(hi, 16) - 0xD800) << 10) + (tonumber(lo, 16) - 0xDC00))
  end)
  return (s:gsub("\\(.)(%x?%x?%x?%x?)", function(c, hex)
    if c == "u" then return utf8.char(tonumber(hex, 16)) end
    return (ESCAPE[c] or c) .. hex
  end))
end

local function string_at(text, pos)
  local from, stop = pos + 1
  pos = from
  while true do
    stop = find(text, '["\\]', pos)
    if not stop then error("json: unfinished string") end
    if byte(text, stop) == 34 then break end
    pos = stop + 2
  end
  local s = sub(text, from, stop - 1)
  if find(s, "\\", 1, true) then s = unescape(s) end
  return s, stop + 1
end

local function array_at(text, pos)
  local list, n = {}, 0
  pos = find(text, "%S", pos + 1)
  if byte(text, pos) == 93 then return list, pos + 1 end
  while true do
    n = n + 1
    list[n], pos = value(text, pos)
    pos = find(text, "%S", pos)
    local c = byte(text, pos)
    if c == 93 then return list, pos + 1 end
    if c ~= 44 then error("json: expected , or ] at " .. pos) end
    pos = pos + 1
  end
end

local function object_at(text, pos)
  local map, key = {}
  pos = find(text, "%S", pos + 1)
  if byte(text, pos) == 125 then return map, pos + 1 end
  while true do
    key, pos = string_at(text, find(text, '"', pos, true))
    map[key], pos = value(text, find(text, ":", pos, true) + 1)
    pos = find(text, "%S", pos)
    local c = byte(text, pos)
    if c == 125 then return map, pos + 1 end
    if c ~= 44 then error("json: expected , or } at " .. pos) end
    pos = pos + 1
  end
end

function value(text, pos)
  pos = find(text, "%S", pos)
  local c = byte(text, pos)
  if c == 34 then return string_at(text, pos) end
  if c == 123 then return object_at(text, pos) end
  if c == 91 then return array_at(text, pos) end
  if c == 116 then return true, pos + 4 end
  if c == 102 then return false, pos + 5 end
  if c == 110 then return json.null, pos + 4 end
  local _, stop = find(text, "^[-+%d.eE]+", pos)
  if not stop then error("json: unexpected character at " .. pos) end
  return tonumber(sub(text, pos, stop)), stop + 1
end

function json.decode(text)
  return (value(text, 1))
end

return json
