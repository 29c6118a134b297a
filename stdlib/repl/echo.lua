-- echo.lua: how the prompt shows values: tensors under a header line, tables as they would be written, clipped to the
-- screen.  print(x) always shows everything.
local style = require "repl.style"
local term = require "moth.term"

local echo = {}

local function is_identifier(s)
  return type(s) == "string" and s:find("^[%a_][%w_]*$") and load("local " .. s, "=k", "t") ~= nil
end

local short = { ["\n"] = "\\n", ["\t"] = "\\t", ["\r"] = "\\r", ['"'] = '\\"', ["\\"] = "\\\\" }
--- A string as Lua source; UTF-8 stays readable, bytes that are none are escaped.
local function quote(s)
  local out = s:gsub('[%c"\\\127]', function(c) return short[c] or string.format("\\%03d", c:byte()) end)
  if not utf8.len(out) then out = out:gsub("[\128-\255]", function(c) return string.format("\\%03d", c:byte()) end) end
  return '"' .. out:gsub("\xC2([\x80-\x9F])", "\\u{%1}") .. '"'
end
echo.quote = quote

--- Name and parameters of a function, as far as known.
local function describe_function(f)
  local info = debug.getinfo(f, "Su")
  if info.what == "C" then
    local doc = require("repl.docs").find_value(f)
    return doc and "function " .. doc.signature or tostring(f)
  end
  local params = {}
  for i = 1, info.nparams do params[i] = debug.getlocal(f, i) end
  if info.isvararg then params[#params + 1] = "..." end
  local where = info.source:gsub("^[@=]", "")
  if info.source:sub(1, 1) ~= "@" and info.source:sub(1, 1) ~= "=" then where = "string" end
  return string.format("function(%s)  %s", table.concat(params, ", "),
    style.paint("hint", where .. ":" .. info.linedefined))
end

local kinds = { string = 1, number = 2, boolean = 3 }
local function key_order(a, b)
  local ta, tb = math.type(a) and "number" or type(a), math.type(b) and "number" or type(b)
  if ta ~= tb then return (kinds[ta] or 9) < (kinds[tb] or 9) or ((kinds[ta] or 9) == (kinds[tb] or 9) and ta < tb) end
  if ta == "number" or ta == "string" then return a < b end
  return tostring(a) < tostring(b)
end

local show

local function indent(text) return (text:gsub("\n", "\n  ")) end

--- Names on as many lines as they need.
local function wrap(names, title)
  title = (title or "functions") .. ":"
  local lines, line = {}, style.paint("hint", title)
  local width = #title
  for _, name in ipairs(names) do
    if width + #name + 1 > echo.width() - 4 then
      lines[#lines + 1] = line
      line, width = " ", 1
    end
    line, width = line .. " " .. name, width + #name + 1
  end
  lines[#lines + 1] = line
  return table.concat(lines, "\n")
end

--- Text of a table's entries: list part first, then sorted keys; at most `max` of them.
local function entries(t, depth, seen, max)
  local parts, n = {}, 0
  local function add(text)
    n = n + 1
    if n <= max then parts[#parts + 1] = text end
  end
  local list = 0
  while list < max and rawget(t, list + 1) ~= nil do
    list = list + 1
    add(show(rawget(t, list), depth + 1, seen))
  end
  local keys = {}
  for k in next, t do
    if not (math.type(k) == "integer" and k >= 1 and k <= list) then
      if #keys >= 10000 then break end
      keys[#keys + 1] = k
    end
  end
  local mt = debug.getmetatable(t)
  if type(mt) == "table" and rawget(mt, "__name") == "ordered table" then        -- ours, in its own order
    keys = {}
    for k in pairs(t) do keys[#keys + 1] = k end
  else table.sort(keys, key_order) end
  local functions = {}                   -- a module's functions are a list of names
  for i = 1, #keys do
    local k = keys[i]
    if type(rawget(t, k)) == "function" and type(k) == "string" then functions[#functions + 1] = style.safe(k)
    elseif n < max then
      local name = is_identifier(k) and style.safe(k) or "[" .. show(k, depth + 1, seen) .. "]"
      add(name .. " = " .. show(rawget(t, k), depth + 1, seen))
    else n = n + 1 end
  end
  if #functions > 3 and depth > 0 then parts[#parts + 1] = style.paint("hint", #functions .. " functions")
  elseif #functions > 3 then parts[#parts + 1] = wrap(functions)
  else
    for _, name in ipairs(functions) do add(name .. " = function") end
  end
  if n > max then parts[#parts + 1] = style.paint("hint", string.format("... %d more", n - max)) end
  return parts
end

-- ---- libraries and classes: names, not their insides ----
--- Is this a table of require's, or a namespace of torch?
local function is_library(t)
  for _, loaded in pairs(package.loaded) do if rawequal(loaded, t) then return t ~= _G end end
  local torch = package.loaded.torch
  for _, space in next, type(torch) == "table" and torch or {} do
    if rawequal(space, t) then return true end
  end
  return false
end

local function is_class(t)
  return type(t) == "table" and rawget(t, "__instance") ~= nil and rawget(t, "__name") ~= nil
end

--- "class Net", with its signature where it has one.
local function class_text(t)
  local doc = rawget(t, "__doc")
  local signature = type(doc) == "table" and doc.signature
  local base = rawget(t, "__base")
  return "class " .. (signature or tostring(rawget(t, "__name"))) ..
    (not signature and is_class(base) and style.paint("hint", "  extends " .. tostring(rawget(base, "__name"))) or "")
end

--- What a library has, by kind: a line or more for each.
local function library_text(t)
  local groups = { values = {}, tables = {}, classes = {}, functions = {}, names = {} }
  for _, k in ipairs(require("repl.names").members(t)) do
    if k:sub(1, 1) ~= "_" then
      local v = rawget(t, k)
      local group = is_class(v) and groups.classes or type(v) == "table" and groups.tables
        or type(v) == "function" and groups.functions or v == nil and groups.names or groups.values
      group[#group + 1] = style.safe(k)
    end
  end
  local out = {}
  for _, name in ipairs { "values", "tables", "classes", "functions", "names" } do
    if #groups[name] > 0 then out[#out + 1] = "  " .. indent(wrap(groups[name], name)) end
  end
  return "{\n" .. table.concat(out, "\n") .. "\n}"
end

local function count_names(t)
  local n = 0
  for k in next, t do if type(k) == "string" and k:sub(1, 1) ~= "_" then n = n + 1 end end
  return n
end

local function show_table(t, depth, seen)
  if is_class(t) then return class_text(t) end
  if is_library(t) then return depth == 0 and library_text(t) or "{ " .. count_names(t) .. " names }" end
  if seen[t] then return "{...}" end
  if depth > 4 then return next(t) == nil and "{}" or "{...}" end
  seen[t] = true
  local parts = entries(t, depth, seen, depth == 0 and 200 or 40)
  seen[t] = nil
  if #parts == 0 then return "{}" end
  local line = "{ " .. table.concat(parts, ", ") .. " }"
  local plain = line:gsub("\27%[[%d;]*m", "")
  if not line:find("\n", 1, true) and term.width(plain) + 2 * depth <= echo.width() then return line end
  for i = 1, #parts do parts[i] = "  " .. indent(parts[i]) end
  return "{\n" .. table.concat(parts, ",\n") .. "\n}"
end

--- Own text of a value with __tostring or __name.
local function own_text(v)
  local ok, text = pcall(tostring, v)
  return style.safe(ok and text or "(its __tostring failed: " .. tostring(text) .. ")")
end

function show(v, depth, seen)
  local kind = type(v)
  if kind == "string" then
    if depth > 0 and #v > 400 then return quote(v:sub(1, 400)) .. style.paint("hint", "... " .. #v .. " bytes") end
    return style.paint("32", quote(v))
  end
  if kind == "number" or kind == "boolean" or kind == "nil" then return tostring(v) end
  if kind == "function" then return depth > 0 and "function" or describe_function(v) end
  if kind == "table" then
    local mt = debug.getmetatable(v)
    if type(mt) == "table" and rawget(mt, "__tostring") then return own_text(v) end
    return show_table(v, depth, seen)
  end
  return depth > 0 and echo.tensor_line(v) or own_text(v)
end

-- ---- tensors ----
--- A field of a userdata, nil when it has none or raises.
local function field(v, name)
  local ok, value = pcall(function() return v[name] end)
  if ok then return value end
end

--- dtype and shape of a tensor, nil for anything else.
function echo.tensor_facts(v)
  if type(v) ~= "userdata" then return nil end
  local dtype, shape = field(v, "dtype"), field(v, "shape")
  if dtype == nil or shape == nil then return nil end
  local dims = tostring(shape):match("%[.*%]") or tostring(shape)
  return tostring(dtype):gsub("^torch%.", "") .. " " .. dims
end

--- A line for a tensor of more than a few elements inside a table; nil for others.
function echo.tensor_line(v)
  local facts = echo.tensor_facts(v)
  if not facts or v:numel() <= 32 then return nil end
  local torch = package.loaded.torch
  local ok, parameter = pcall(function() return torch.nn.is_parameter(v) end)
  return (ok and parameter and "Parameter " or "tensor ") .. style.paint("head", facts)
end

--- The name of the variable whose memory a view shows, or nil.
local function base_name(view)
  local is_tensor = require("repl.names").is_tensor
  local ok, memory = pcall(view.storage_ptr, view)
  local function same(value)
    if not is_tensor(value) or rawequal(value, view) then return false end
    local fine, other = pcall(value.storage_ptr, value)
    return ok and fine and other == memory and (field(value, "_base") == nil or value:numel() > view:numel())
  end
  for name, value in require("repl.units").locals() do
    if same(value) then return name end
  end
  for name, value in next, _G do
    if type(name) == "string" and name:sub(1, 1) ~= "_" and same(value) then return name end
  end
end

local function header(v)
  local text = echo.tensor_facts(v)
  if not text then return nil end
  local device, grad_fn = field(v, "device"), field(v, "grad_fn")
  if device ~= nil and tostring(device):find("cpu", 1, true) == nil then
    text = text .. ", " .. tostring(device):gsub("^device", "")
  end
  if grad_fn ~= nil then text = text .. ", " .. tostring(grad_fn):gsub("^<", ""):gsub(" object.*", ""):gsub(">$", "")
  elseif field(v, "requires_grad") == true then text = text .. ", requires grad" end
  local name = field(v, "_base") ~= nil and base_name(v)
  if name then text = text .. ", view of " .. name end
  return text
end

-- ---- the screen ----
function echo.width()
  local _, cols = term.size()
  return math.max(cols, 20)
end

--- At most a screenful of text: its beginning and its end.
local function clip(text, all_by)
  local rows = math.max(term.size() - 4, 8)
  local _, lines = text:gsub("\n", "")
  if lines + 1 <= rows then return text end
  local head, tail, all = {}, {}, {}
  for line in (text .. "\n"):gmatch("(.-)\n") do all[#all + 1] = line end
  local keep = (rows - 1) // 2
  for i = 1, keep do head[i], tail[i] = all[i], all[#all - keep + i] end
  local note = string.format("... %d more lines%s", #all - 2 * keep, all_by)
  return table.concat(head, "\n") .. "\n" .. style.paint("hint", note) .. "\n" .. table.concat(tail, "\n")
end

--- The text the prompt prints for a value.
function echo.format(v)
  local head = header(v)
  local whole = type(v) ~= "table" or rawget(debug.getmetatable(v) or {}, "__tostring")
  local body = clip(show(v, 0, {}), whole and "; print(_) shows all" or "")
  return head and style.paint("head", head) .. "\n" .. body or body
end

return echo
