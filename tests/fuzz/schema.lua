-- schema.lua: reads an op's schema text into parameters: {name, base, list, len, optional, opt_elems, default, kwonly}.
local schema = {}

local function split(text)
  local out, depth, from = {}, 0, 1
  for i = 1, #text do
    local c = text:sub(i, i)
    if c == "[" or c == "(" then depth = depth + 1
    elseif c == "]" or c == ")" then depth = depth - 1
    elseif c == "," and depth == 0 then
      out[#out + 1] = text:sub(from, i - 1)
      from = i + 1
    end
  end
  if text:sub(from):match("%S") then out[#out + 1] = text:sub(from) end
  return out
end

local function parameter(text, kwonly)
  local spec, default = text:match("^%s*(.-)%s*=%s*(.-)%s*$")
  spec = spec or text:match("^%s*(.-)%s*$")
  local kind, name = spec:match("^(%S+)%s+([%w_]+)$")
  if not kind then return nil end
  local p = { name = name, default = default, kwonly = kwonly }
  p.base = kind:match("^[%w_]+")
  p.opt_elems = kind:find("^[%w_]+%?%[") ~= nil
  p.list = kind:find("[", 1, true) ~= nil
  p.len = tonumber(kind:match("%[(%d+)%]"))
  p.optional = kind:sub(-1) == "?"
  return p
end

function schema.parse(text)
  local inside = text:match("^[^(]*(%b())")
  if not inside then return nil end
  local params, kwonly = {}, false
  for _, part in ipairs(split(inside:sub(2, -2))) do
    if part:match("^%s*%*%s*$") then kwonly = true
    else params[#params + 1] = parameter(part, kwonly) end
  end
  return params
end

return schema
