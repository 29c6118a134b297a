-- torch.nn.text: values as Python writes them, and the tree that tostring(module) prints.
local core = require "torch.nn.core"
local torch = require "torch"

local text = {}

local function float(x)
  if x ~= x then return "nan" end
  if x == math.huge then return "inf" elseif x == -math.huge then return "-inf" end
  local s
  for digits = 1, 17 do
    s = string.format("%." .. digits .. "g", x)
    if tonumber(s) == x then break end
  end
  local mantissa, exponent = string.format("%.16e", x):match("^(.-)e(.*)$")
  exponent = mantissa and tonumber(exponent) or 0
  if x ~= 0 and (exponent < -4 or exponent >= 16) then
    if not s:find("e") then                        -- 1e+16 and up: %g may write it plainly
      local short = string.format("%." .. #s:gsub("%D", ""):gsub("0+$", "") - 1 .. "e", x)
      s = tonumber(short) == x and short or s
    end
    return (s:gsub("e([+-])0*(%d%d)", "e%1%2"))
  end
  if s:find("e") then s = string.format("%.0f", x) end
  return s:find("[.]") and s or s .. ".0"
end

--- v as Python's repr would write it; lists as tuples.
function text.py(v)
  if v == nil or v == torch.None then return "None" end
  if v == true then return "True" elseif v == false then return "False" end
  if math.type(v) == "float" then return float(v) end
  if type(v) == "string" then return "'" .. v .. "'" end
  if type(v) == "table" and getmetatable(v) == nil then
    local parts = {}
    for i, x in ipairs(v) do parts[i] = text.py(x) end
    return "(" .. table.concat(parts, ", ") .. (#parts == 1 and ",)" or ")")
  end
  return tostring(v)
end

--- Text with the fields of object put in: "{a}" is a's repr, "{!a}" its plain text.
function text.fill(object, format)
  return (format:gsub("{(!?)([%w_]+)}", function(plain, name)
    local v = object[name]
    return plain == "!" and type(v) == "string" and v or text.py(v)
  end))
end

local function indent(s) return (s:gsub("\n", "\n  ")) end
text.indent = indent

--- PyTorch's tree of a module.
function text.tree(m)
  local lines, children = {}, core.entries(m, "child")
  local extra = m:extra_repr()
  if extra and extra ~= "" then
    for line in (extra .. "\n"):gmatch("(.-)\n") do lines[#lines + 1] = line end
  end
  local n = #lines
  for _, e in ipairs(children) do lines[#lines + 1] = "(" .. e[1] .. "): " .. indent(text.py(e[2])) end
  local head = m:_get_name() .. "("
  if #lines == 0 then return head .. ")" end
  if n == 1 and #children == 0 then return head .. lines[1] .. ")" end
  return head .. "\n  " .. table.concat(lines, "\n  ") .. "\n)"
end

return text
