-- opgen_schema.lua: reads one schema, `max/dim(Tensor self, int dim, bool keepdim=False, *, int? x=None) -> (Tensor values, Tensor indices)`,
-- and maps its types to C.  A slash separates the overload's name; a dot the namespace.
local M = {}

local kinds = { Tensor = "P_Tensor", Scalar = "P_Scalar", int = "P_int", float = "P_float", bool = "P_bool", str = "P_str",
  dtype = "P_dtype", device = "P_device", layout = "P_layout", memory_format = "P_memfmt", generator = "P_generator" }
local cwords = { ["repeat"] = "repeat_", ["end"] = "end_", ["default"] = "default_", ["long"] = "long_", ["short"] = "short_",
  ["double"] = "double_", ["float"] = "float_", ["int"] = "int_", ["char"] = "char_", ["bool"] = "bool_", ["c"] = "c_", ["n"] = "n_", ["return"] = "return_", ["register"] = "register_", ["auto"]="auto_", ["signed"]="signed_", ["switch"]="switch_" }

local function parse_type(t)
  local base, rest = t:match("^(%w[%w_]*)(.*)$")
  if not kinds[base] then error("unknown type " .. t, 0) end
  local p = { base = base }
  if rest:match("^%?%[%d*%]") then p.opt_elems = true rest = rest:sub(2) end
  local len = rest:match("^%[(%d*)%]")
  if len then p.list = true p.list_len = tonumber(len) rest = rest:gsub("^%[%d*%]", "", 1) end
  if rest == "?" then p.optional = true elseif rest ~= "" then error("cannot read type " .. t, 0) end
  p.type = base .. (p.list and "[]" or "")
  return p
end

local function parse_param(text)
  local t, name, def = text:match("^(%S+)%s+([%w_]+)%s*=%s*(.+)$")
  if not t then t, name = text:match("^(%S+)%s+([%w_]+)$") end
  if not t then error("cannot read parameter " .. text, 0) end
  local p = parse_type(t)
  p.name, p.default = name, def
  p.cname = cwords[name] or name
  return p
end

local function split(text)
  local out, depth, start = {}, 0, 1
  for i = 1, #text do
    local ch = text:sub(i, i)
    if ch == "[" or ch == "(" then depth = depth + 1
    elseif ch == "]" or ch == ")" then depth = depth - 1
    elseif ch == "," and depth == 0 then out[#out + 1] = text:sub(start, i - 1) start = i + 1 end
  end
  if text:sub(start):match("%S") then out[#out + 1] = text:sub(start) end
  for i, s in ipairs(out) do out[i] = s:match("^%s*(.-)%s*$") end
  return out
end

function M.parse(text)
  local name, args, rets = text:match("^%s*([%w_./]+)%((.*)%)%s*%->%s*(.-)%s*$")
  if not name then error("cannot read schema", 0) end
  local plain, overload = name:match("^(.-)/(.+)$")
  local o = { text = text, name = plain or name, overload = overload, params = {}, rets = {} }
  o.cname = (name:gsub("[./]", "_"))
  local kwonly = false
  for _, a in ipairs(split(args)) do
    if a == "*" then kwonly = true
    else
      local p = parse_param(a)
      p.kwonly = kwonly
      o.params[#o.params + 1] = p
    end
  end
  if rets:match("^%(") then
    for _, r in ipairs(split(rets:sub(2, -2))) do
      local t, n = r:match("^(%S+)%s+(%S+)$")
      local p = parse_type(t or r)
      p.name = n
      o.rets[#o.rets + 1] = p
    end
  elseif rets ~= "()" then o.rets[1] = parse_type(rets) end
  return o
end

function M.ptype(p)
  if p.base == "Tensor" and p.list then return "P_TensorList" end
  if p.base == "Scalar" and p.list or p.base == "float" and p.list then return "P_ScalarList" end
  if p.base == "int" and p.list then return "P_IntList" end
  return kinds[p.base]
end

function M.ctype(p)
  local k = M.ptype(p)
  if k == "P_Tensor" then return "Tensor *" end
  if k == "P_TensorList" then return "TensorList " end
  if k == "P_ScalarList" then return "ScalarList " end
  if k == "P_IntList" then return "IntList " end
  if k == "P_Scalar" or k == "P_float" and p.optional then return "Scalar " end
  if k == "P_int" then return "int64_t " end
  if k == "P_float" then return "double " end
  if k == "P_bool" then return p.optional and "int " or "bool " end
  if k == "P_str" then return "const char *" end
  if k == "P_generator" then return "const char *" end
  return "int "
end
function M.rettype(p) return M.ctype(p) end

function M.field(p)
  local k = M.ptype(p)
  if k == "P_Tensor" then return "t" elseif k == "P_TensorList" then return "tl" elseif k == "P_ScalarList" then return "sl"
  elseif k == "P_IntList" then return "il" elseif k == "P_Scalar" or k == "P_float" and p.optional then return "s"
  elseif k == "P_float" then return "d" elseif k == "P_str" or k == "P_generator" then return "str" end
  return "i"
end
M.retfield = M.field

--- Type letter of the expression language.
function M.letter(p)
  local k = M.ptype(p)
  local l = ({ P_Tensor = "T", P_TensorList = "L", P_Scalar = "S", P_ScalarList = "SL", P_int = "I", P_IntList = "IL", P_float = "D",
    P_bool = "B", P_str = "STR" })[k] or "E"
  if k == "P_float" and p.optional then return "S" end
  return l
end

--- C text of a default value, for calls made from C; nil when required.
function M.default_c(p)
  local v, k = p.default, M.ptype(p)
  if v == nil then return nil end
  if v == "None" then
    if k == "P_Tensor" or k == "P_str" or k == "P_generator" then return "NULL" end
    if k == "P_TensorList" then return "(TensorList){NULL, -1}" end
    if k == "P_IntList" then return "mt_ilnone()" end
    if k == "P_ScalarList" then return "(ScalarList){NULL, -1}" end
    if k == "P_Scalar" or k == "P_float" then return "mt_snone()" end
    if k == "P_int" then return "MT_NONE_INT" end
    return "-1"
  end
  if k == "P_bool" then return v == "True" and "1" or "0" end
  if k == "P_str" then return '"' .. v:gsub('"', ""):gsub("'", "") .. '"' end
  if k == "P_IntList" then
    local items = split(v:match("^%[(.*)%]$") or v)
    if #items == 0 then return "mt_il(NULL, 0)" end
    return "mt_il((const int64_t[]){" .. table.concat(items, ", ") .. "}, " .. #items .. ")"
  end
  local num = v == "inf" and "INFINITY" or v == "-inf" and "-INFINITY" or v
  if k == "P_Scalar" or (k == "P_float" and p.optional) then
    if v == "True" or v == "False" then return v == "True" and "mt_sb(1)" or "mt_sb(0)" end
    return v:match("^%-?%d+$") and "mt_si(" .. v .. ")" or "mt_sd(" .. num .. ")"
  end
  if k == "P_dtype" then return "MT_" .. v end
  return num
end

--- Initialiser of ParamRow.def (a union, so by field name).
function M.default_init(p)
  local v, k = p.default, M.ptype(p)
  local f = "." .. M.field(p) .. " = "
  if v == nil then return ".i = 0" end
  if v == "None" then
    if k == "P_TensorList" or k == "P_IntList" or k == "P_ScalarList" then return f .. "{NULL, -1}" end
    if k == "P_Scalar" or k == "P_float" then return f .. "{.kind = K_NONE}" end
  end
  if k == "P_IntList" then
    local items = split(v:match("^%[(.*)%]$") or v)
    return f .. "{" .. (#items > 0 and "(const int64_t[]){" .. table.concat(items, ", ") .. "}" or "NULL") .. ", " .. #items .. "}"
  end
  if k == "P_Scalar" or (k == "P_float" and p.optional) then
    if v == "True" or v == "False" then return f .. "{.kind = K_BOOL, .i = " .. (v == "True" and 1 or 0) .. "}" end
    if v:match("^%-?%d+$") then return f .. "{.kind = K_INT, .i = " .. v .. "}" end
    return f .. "{.kind = K_FLOAT, .d = " .. (v == "inf" and "__builtin_inf()" or v == "-inf" and "-__builtin_inf()" or v) .. "}"
  end
  local c = M.default_c(p)
  return f .. c:gsub("INFINITY", "__builtin_inf()")
end

return M
