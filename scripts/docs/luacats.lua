-- luacats.lua: definition files for editors (LuaCATS), from the engine's op rows.  One file, torch.lua, that nothing
-- ever runs: lua-language-server and its like read it for completion, hover texts and type checks.
local luacats = {}

local types = { ["Tensor"] = "torch.Tensor", ["Tensor[]"] = "torch.Tensor[]", Scalar = "number",
  ["Scalar[]"] = "number[]", int = "integer", ["int[]"] = "integer|integer[]|torch.Size", float = "number",
  bool = "boolean", str = "string", dtype = "torch.dtype", device = "torch.device|string", layout = "any",
  memory_format = "any", generator = "any" }

local reserved = { ["end"] = "end_", ["repeat"] = "repeat_", ["function"] = "fn", ["in"] = "in_", ["not"] = "not_" }

local head = [=[
---@meta torch
-- Made by `make docs` from Moth's op table; never run.

---@class torch.dtype
---@field is_floating_point boolean
---@field is_complex boolean
---@field itemsize integer

---@class torch.device
---@field type string

---@class torch.Size
---@field [integer] integer
---@operator len: integer
---@operator concat(table): torch.Size
local Size = {}
---@return integer ...
function Size:unpack() end
---@return integer[]
function Size:totable() end
---@return integer
function Size:numel() end

---@class torch.Tensor
---@field shape torch.Size
---@field dtype torch.dtype
---@field device torch.device
---@field ndim integer
---@field T torch.Tensor
---@field mT torch.Tensor
---@field H torch.Tensor
---@field mH torch.Tensor
---@field real torch.Tensor
---@field imag torch.Tensor
---@field data torch.Tensor
---@field grad torch.Tensor?
---@field grad_fn any
---@field is_leaf boolean
---@field requires_grad boolean
---@field [any] torch.Tensor
---@operator add(torch.Tensor|number): torch.Tensor
---@operator sub(torch.Tensor|number): torch.Tensor
---@operator mul(torch.Tensor|number): torch.Tensor
---@operator div(torch.Tensor|number): torch.Tensor
---@operator mod(torch.Tensor|number): torch.Tensor
---@operator idiv(torch.Tensor|number): torch.Tensor
---@operator pow(torch.Tensor|number): torch.Tensor
---@operator unm: torch.Tensor
---@operator len: integer
local Tensor = {}

]=]

local function type_of(param)
  local name = types[param.type] or "any"
  if param.type == "Tensor" and param.name ~= "self" then name = name .. "|number" end
  return name
end

--- Positional parameters and a table type for the keywords.
local function split_params(row, first)
  local positional, keyword = {}, {}
  for i = first, #row.params do
    local p = row.params[i]
    local list = p.kwonly and keyword or positional
    list[#list + 1] = { name = reserved[p.name] or p.name, key = p.name, type = type_of(p),
      optional = p.default ~= nil or p.optional }
  end
  if row.out then keyword[#keyword + 1] = { name = "out", key = "out", type = "torch.Tensor", optional = true } end
  return positional, keyword
end

local function keyword_type(keyword)
  local parts = {}
  for i, p in ipairs(keyword) do parts[i] = string.format("%s%s: %s", p.key, p.optional and "?" or "", p.type) end
  return "{" .. table.concat(parts, ", ") .. "}"
end

local function returns(row)
  local list = {}
  for i, r in ipairs(row.returns) do list[i] = types[r.type] or "any" end
  return list
end

--- fun(a: T, b?: U): R for an overload.
local function fun_type(row, first, self)
  local positional, keyword = split_params(row, first)
  local parts = self and { "self: torch.Tensor" } or {}
  for _, p in ipairs(positional) do parts[#parts + 1] = p.name .. (p.optional and "?" or "") .. ": " .. p.type end
  if #keyword > 0 then parts[#parts + 1] = "kw?: " .. keyword_type(keyword) end
  local result = returns(row)
  return "fun(" .. table.concat(parts, ", ") .. ")" .. (#result > 0 and ": " .. table.concat(result, ", ") or "")
end

--- One definition: comment lines, annotations, an empty function.
local function definition(out, rows, full_name, method)
  local row = rows[1]
  local first = method and 2 or 1
  for line in (row.doc or ""):gmatch("[^\n]+") do out[#out + 1] = "---" .. line end
  if row.example and row.example ~= "" then out[#out + 1] = "---`" .. row.example:gsub("\n", " ") .. "`" end
  for i = 2, #rows do
    if not method or rows[i].method then out[#out + 1] = "---@overload " .. fun_type(rows[i], first, method) end
  end
  local positional, keyword = split_params(row, first)
  local names = {}
  for i, p in ipairs(positional) do
    names[i] = p.name
    out[#out + 1] = string.format("---@param %s%s %s", p.name, p.optional and "?" or "", p.type)
  end
  if #keyword > 0 then
    names[#names + 1] = "kw"
    out[#out + 1] = "---@param kw? " .. keyword_type(keyword)
  end
  local result = returns(row)
  if #result > 0 then out[#out + 1] = "---@return " .. table.concat(result, ", ") end
  out[#out + 1] = string.format("function %s(%s) end\n", full_name, table.concat(names, ", "))
end

--- The text of torch.lua, and the names it defines (a set).
function luacats.text(ops)
  local out, spaces, defined = { head }, {}, {}
  local body = {}
  local seen = {}
  for _, row in ipairs(ops) do
    local rows = ops[row.name] and ops[row.name].overloads or { row }
    if not row.hidden and not seen[row.name] then
      seen[row.name] = true
      local path = row.path or "torch." .. row.name
      if row.fn and path:find("^torch%.") then
        local space = path:match("^(.*)%.")
        spaces[space] = true
        definition(body, rows, path, false)
        defined[path] = true
      end
    end
    if not row.hidden then
      if row.method and row.params[1] and row.params[1].name == "self" and row.base:find("^[%a_][%w_]*$") and
          not seen["Tensor:" .. row.base] and load("local " .. row.base .. " = 1") then
        seen["Tensor:" .. row.base] = true
        definition(body, rows, "Tensor:" .. row.base, true)
        defined["Tensor." .. row.base] = true
        if row.inplace and not seen["Tensor:" .. row.base .. "_"] then
          definition(body, rows, "Tensor:" .. row.base .. "_", true)
          defined["Tensor." .. row.base .. "_"] = true
        end
      end
    end
  end
  local list = {}
  for space in pairs(spaces) do
    while space ~= "torch" and space do
      spaces[space] = true
      space = space:match("^(.*)%.")
    end
  end
  for space in pairs(spaces) do list[#list + 1] = space end
  table.sort(list)
  out[#out + 1] = "---@class torch\ntorch = {}\n"
  for _, space in ipairs(list) do
    if space ~= "torch" then out[#out + 1] = space .. " = {}\n" end
  end
  for _, d in ipairs { "bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64",
    "complex64", "complex128", "float", "double", "half", "int", "long", "short" } do
    out[#out + 1] = "---@type torch.dtype\ntorch." .. d .. " = nil\n"
  end
  out[#out + 1] = "nn = torch.nn\nF = torch.nn and torch.nn.functional\noptim = torch.optim\n"
  out[#out + 1] = table.concat(body, "\n")
  return table.concat(out, "\n") .. "\nreturn torch\n", defined
end

return luacats
