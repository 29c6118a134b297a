-- dump.lua: a tree as text, one node a line, in a form that CPython's ast can be written in too
-- (tests/convert/ast_dump.py):
-- depth, kind, byte range (0-based, end excluded) and the strings that tell nodes of a kind apart.
local fields = require "convert.python.fields"

local PLACELESS = { Module = 1, arguments = 1, comprehension = 1, withitem = 1, match_case = 1 }
local LABELS = { "id", "attr", "arg", "op", "name", "asname", "module", "level", "conversion", "rest" }

local function label(node)
  local parts = {}
  for _, name in ipairs(LABELS) do
    local v = node[name]
    if v and type(v) ~= "table" and not (name == "asname" and v == "") then parts[#parts + 1] = name .. "="
      .. tostring(v) end
  end
  if node.ops then parts[#parts + 1] = "ops=" .. table.concat(node.ops, ",") end
  if node.k == "Global" or node.k == "Nonlocal" then parts[#parts + 1] = "names=" .. table.concat(node.names, ",") end
  if node.k == "Constant" then parts[#parts + 1] = node.t end
  if node.k == "arg" then parts[#parts + 1] = node.group end
  if node.kwd then parts[#parts + 1] = "kwd=" .. table.concat(node.kwd, ",") end
  return table.concat(parts, " ")
end

--- The dump of a tree as one string.
return function(tree)
  local out = {}
  local function visit(node, depth)
    local at = PLACELESS[node.k] and "-" or (node.s - 1) .. ":" .. node.e
    out[#out + 1] = depth .. " " .. node.k .. " " .. at .. " " .. label(node)
    for _, field in ipairs(fields[node.k]) do
      local v = node[field]
      if v then
        if v.k then visit(v, depth + 1)
        else
          for i = 1, #v do
            if v[i] then visit(v[i], depth + 1) end
          end
        end
      end
    end
  end
  visit(tree, 0)
  return table.concat(out, "\n") .. "\n"
end
