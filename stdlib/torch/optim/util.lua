-- torch.optim.util: what the optimizers and schedulers share: classes, arguments by PyTorch's signatures, numbers as Python
-- writes them.
local torch = require "torch"
local suggest = require "repl.suggest"

local util = {}
local None = torch.None

--- A class: Base:extend("Name") derives, Name(...) constructs through init, instances know their __name.
function util.class(name, base)
  local c = { __name = name }
  c.__index = c
  c.extend = function(self, sub) return util.class(sub, self) end
  if base then
    c.__tostring, c.__newindex = base.__tostring, rawget(base, "__newindex")
    c.__close = base.__close
  end
  return setmetatable(c, {
    __index = base,
    __newindex = base and base.__define,
    __name = "class",
    __tostring = function() return "<class " .. (c.__module or "torch.optim.") .. name .. ">" end,
    __call = function(cls, ...)
      local object = setmetatable({}, cls)
      cls.init(object, ...)
      return object
    end,
  })
end

--- Is `object` an instance of class `cls` or of one derived from it?
function util.is_a(object, cls)
  local c = type(object) == "table" and getmetatable(object)
  while type(c) == "table" do
    if c == cls then return true end
    c = (getmetatable(c) or {}).__index
  end
  return false
end

--- A float as Python's repr gives it.
local function float_text(v)
  if v ~= v then return "nan" end
  if v == math.huge then return "inf" elseif v == -math.huge then return "-inf" end
  local text
  for digits = 1, 17 do
    text = ("%." .. digits .. "g"):format(v)
    if tonumber(text) == v then break end
  end
  local mantissa, exponent = text:match("^(.-)e([+-]%d+)$")
  if exponent and tonumber(exponent) >= 0 and tonumber(exponent) < 16 then text = ("%.0f"):format(v)
  elseif exponent then return mantissa .. "e" .. exponent end
  return text:find("[.e]") and text or text .. ".0"
end

--- A value as Python's str gives it.
function util.text(v)
  if v == nil or v == None then return "None" end
  if v == true then return "True" elseif v == false then return "False" end
  if math.type(v) == "float" then return float_text(v) end
  if type(v) == "table" and not getmetatable(v) then
    local parts = {}
    for i, x in ipairs(v) do parts[i] = util.text(x) end
    return "(" .. table.concat(parts, ", ") .. (#parts == 1 and ",)" or ")")
  end
  return tostring(v)
end

local getinfo = debug and debug.getinfo              -- not there in the sandbox

--- error, placed at the line of the script that called into these modules.
function util.raise(text)
  local level = 2
  while getinfo do
    local info = getinfo(level, "S")
    if not info then return error(text, 2) end
    if info.what ~= "C" and not info.source:find("^@<moth>/torch/") then break end
    level = level + 1
  end
  error(text, level)
end
local raise = util.raise

--- The same, with %s filled by Python's texts.
function util.fail(fmt, ...)
  local args = { ... }
  for i = 1, select("#", ...) do args[i] = util.text(args[i]) end
  raise(fmt:format(table.unpack(args)))
end

-- A default as Lua writes it.
local function default_text(v)
  if v == nil or v == None then return "nil" end
  if type(v) == "string" then return '"' .. v .. '"' end
  if type(v) == "boolean" then return tostring(v) end
  if type(v) ~= "table" then return util.text(v) end
  local parts = {}
  for i, x in ipairs(v) do parts[i] = default_text(x) end
  return "{" .. table.concat(parts, ", ") .. "}"
end

local function signature(name, spec)
  local parts = {}
  for i, p in ipairs(spec) do
    local default = p[2]
    parts[i] = p[1] .. (default == util.required and "" or "=" .. default_text(default))
    if spec.keywords and i == spec.keywords then parts[i] = "{" .. parts[i] end
  end
  return ("%s(%s%s)"):format(name, table.concat(parts, ", "), spec.keywords and "}" or "")
end
util.signature = signature
util.required = setmetatable({}, { __tostring = function() return "required" end })

local function is_keywords(v) return type(v) == "table" and not getmetatable(v) and next(v) ~= nil and #v == 0 end

local function check_known(name, spec, kw)
  local names, known = {}, {}
  for i, p in ipairs(spec) do names[i], known[p[1]] = p[1], true end
  for k in pairs(kw) do
    if not known[k] then
      local near = type(k) == "string" and suggest.nearest(k, names)
      raise(("%s: unknown keyword '%s'%s; %s"):format(name, tostring(k), near and (" (did you mean '" .. near .. "'?)") or "",
        signature(name, spec)))
    end
  end
end

--- The arguments of a call as a table by name.  spec: a list of {name, default}; spec.keywords: the first that has no place.
function util.arguments(name, spec, args)
  local out, n, max = {}, args.n, spec.keywords and spec.keywords - 1 or #spec
  local kw = n > 0 and is_keywords(args[n]) and args[n] or {}
  if next(kw) == nil and n > 0 and type(args[n]) == "table" and not getmetatable(args[n]) and next(args[n]) == nil
    and n > 1 and not (spec[n] and spec[n][2] == util.required) then n = n - 1 end
  if next(kw) ~= nil then n = n - 1 end
  if n > max then
    raise(("%s: at most %d arguments before the keywords, got %d; %s"):format(name, max, n, signature(name, spec)))
  end
  check_known(name, spec, kw)
  for i, p in ipairs(spec) do
    local v = args[i]
    if i > n then v = nil end
    if kw[p[1]] ~= nil then
      if v ~= nil then raise(("%s: argument '%s' is given twice"):format(name, p[1])) end
      v = kw[p[1]]
    end
    if v == nil then v = p[2] end
    if v == util.required then
      raise(("%s: argument '%s' is missing; %s"):format(name, p[1], signature(name, spec)))
    end
    out[p[1]] = v
  end
  return out
end

--- What help shows for a class: its signature and one line of text, an example, names to see also.
function util.document(class, space, spec, text, example, see)
  rawset(class, "__doc", { signature = signature(space .. class.__name, spec), doc = text, example = example, see = see })
end

--- A one-element tensor's value, or the number itself.
function util.number(v) return torch.is_tensor(v) and v:item() or v end

--- math.sqrt-like bool of torch.None, nil and false
function util.truth(v) return v ~= nil and v ~= false and v ~= None end

--- A handle whose remove() takes `entry` out of `list`.
function util.handle(list, entry, first)
  table.insert(list, first and 1 or #list + 1, entry)
  return { remove = function()
    for i, e in ipairs(list) do
      if rawequal(e, entry) then table.remove(list, i) break end
    end
  end }
end

return util
