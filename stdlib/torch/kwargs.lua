-- torch.kwargs: API.md's way of calling for functions written in Lua: positional arguments, then a table of keywords.
local torch = require "torch"

local function is_keywords(v)
  if type(v) ~= "table" or getmetatable(v) or #v > 0 then return false end
  local k = next(v)
  return k == nil or type(k) == "string"
end

--- parse("vjp", {"func", "inputs", "v", create_graph = false}, level, ...) -> name -> value.  The list part names the
-- parameters in order; string keys give keyword-only ones or defaults; `nil` and torch.None mean not given.
local function parse(name, spec, level, ...)
  local n, values, known = select("#", ...), { ... }, {}
  local out = {}
  for k, v in pairs(spec) do
    if type(k) == "string" then out[k], known[k] = v, true else known[v] = true end
  end
  if n > 0 and is_keywords(values[n]) then
    for k, v in pairs(values[n]) do
      if not known[k] then
        error(("%s: unknown keyword '%s' (%s)"):format(name, tostring(k), table.concat(spec, ", ")), level + 1)
      end
      if v ~= torch.None then out[k] = v end
    end
    n = n - 1
  end
  if n > #spec then error(("%s: got %d arguments, takes at most %d (%s)"):format(name, n, #spec, table.concat(spec, ", ")), level + 1) end
  for i = 1, n do
    if values[i] ~= nil and values[i] ~= torch.None then out[spec[i]] = values[i] end
  end
  return out
end

return parse
