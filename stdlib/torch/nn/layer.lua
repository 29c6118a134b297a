-- torch.nn.layer: how a layer of the library is written: one signature line gives the constructor's arguments (positional, by
-- name, checked), the help text and completion.
--
--   layer.define(M, "Identity()", { doc = "...", example = "...", forward = function(self, x) return x end })
--
-- In a signature each parameter is `name: kind = default`; kinds are int, float, bool, str, size (an integer or a list of
-- integers), list, fn and any.  init(self, a) gets the arguments by name; without init they become fields.
local core = require "torch.nn.core"
local torch = require "torch"

local layer = {}
local None = torch.None

local literals = { True = true, False = false, None = None }
local function literal(text)
  if literals[text] ~= nil then return literals[text] end
  local list = text:match("^%((.*)%)$")
  if list then
    local out = {}
    for part in list:gmatch("[^,%s]+") do out[#out + 1] = tonumber(part) end
    return out
  end
  return tonumber(text) or text:match("^'(.*)'$") or error("bad default " .. text)
end

local function parse_signature(text)
  local name, inside = text:match("^([%w_]+)%((.*)%)$")
  local sig = { name = name, text = text }
  local safe = inside:gsub("%b()", function(s) return (s:gsub(",", ";")) end)
  for part in (safe .. ","):gmatch("%s*(.-)%s*,") do
    if part == "*" then sig.positional = #sig
    elseif part ~= "" then
      local head, default = part:match("^(.-)%s*=%s*(.*)$")
      local key, kind = (head or part):match("^([%w_]+):%s*([%w_]+)$")
      default = default and literal((default:gsub(";", ",")))
      sig[#sig + 1] = { name = key or head or part, kind = kind or "any", default = default, required = default == nil }
    end
  end
  sig.positional = sig.positional or #sig
  return sig
end

local function whole(v) return math.type(v) == "integer" or (math.type(v) == "float" and v == math.floor(v)) end
local function is_list(v) return type(v) == "table" and (getmetatable(v) == nil or tostring(v):find("^torch.Size") ~= nil) end
local tests = {
  int = { whole, "an integer" },
  float = { function(v) return type(v) == "number" end, "a number" },
  bool = { function(v) return type(v) == "boolean" end, "true or false" },
  str = { function(v) return type(v) == "string" end, "a string" },
  list = { is_list, "a list" },
  size = { function(v) return whole(v) or is_list(v) end, "an integer or a list of integers" },
  any = { function() return true end },
}
local function typed(sig, p, v)
  local test = tests[p.kind]
  if not test[1](v) then
    local got = torch.is_tensor(v) and "a Tensor" or core.is_module(v) and "a " .. tostring(v:_get_name())
      or type(v) == "number" and tostring(v) or "a " .. type(v)
    error(("%s: %s must be %s, got %s\n  usage: nn.%s"):format(sig.name, p.name, test[2], got, sig.text), 4)
  end
  if p.kind == "int" then return math.tointeger(v) end
  if p.kind == "float" then return v + 0.0 end
  if p.kind == "size" and type(v) == "number" then return math.tointeger(v) end
  if is_list(v) and getmetatable(v) ~= nil then return v:totable() end
  return v
end

local function is_plain(v) return type(v) == "table" and getmetatable(v) == nil end
local function has_names(t)
  for k in next, t do if type(k) == "string" then return true end end
  return false
end

--- The arguments of one call, by name.
local function read(sig, ...)
  local n, args = select("#", ...), { ... }
  local given, kw = {}, nil
  local last = args[n]
  local list = n > 0 and sig[n] and sig[n].kind        -- {} is an empty list where one is wanted, else no keywords
  local empty = n > 0 and is_plain(last) and next(last) == nil and list ~= "list" and list ~= "size" and list ~= "any"
  if empty or (n > 0 and is_plain(last) and has_names(last)) then
    kw, n = last, n - 1
    if #last > 0 and n == 0 then                    -- a whole call: the list part is the arguments, or the first list
      local first = sig[1] and sig[1].kind
      if first == "list" or (first == "size" and #last > 1) then args, n = { table.move(last, 1, #last, 1, {}) }, 1
      else args, n = last, #last end
    end
  end
  if n > sig.positional then
    error(("%s: takes at most %d arguments, got %d\n  usage: nn.%s"):format(sig.name, sig.positional, n, sig.text), 3)
  end
  for i = 1, n do given[sig[i].name] = args[i] end
  for k, v in next, kw or {} do
    if type(k) == "string" then
      local known = false
      for _, p in ipairs(sig) do known = known or p.name == k end
      if not known then error(("%s: unknown keyword '%s'\n  usage: nn.%s"):format(sig.name, k, sig.text), 3) end
      if given[k] ~= nil then error(("%s: got multiple values for argument '%s'"):format(sig.name, k), 3) end
      given[k] = v
    end
  end
  local out = {}
  for _, p in ipairs(sig) do
    local v = given[p.name]
    if v == nil then
      if p.required then
        error(("%s: argument '%s' is missing\n  usage: nn.%s"):format(sig.name, p.name, sig.text), 3)
      end
      v = p.default
      if is_plain(v) then v = table.move(v, 1, #v, 1, {}) end
    elseif v ~= None then v = typed(sig, p, v) end
    if v ~= None then out[p.name] = v end
  end
  return out
end
layer.read = function(text, ...) return read(parse_signature(text), ...) end

local skip = { device = true, dtype = true }
--- Defines class `name` in family M.  spec: base, doc, example, see, init, forward, arguments (the names
-- of forward's arguments when there are others than input), extra (a format of text.fill), methods.
function layer.define(M, signature, spec)
  local sig = parse_signature(signature)
  local class = (spec.base or core.Module):extend(sig.name)
  class.__doc = { signature = "nn." .. signature, doc = spec.doc, example = spec.example, see = spec.see }
  local init = spec.init
  function class.init(self, ...)
    local a = read(sig, ...)
    if init then return init(self, a) end
    for _, p in ipairs(sig) do if not skip[p.name] then self[p.name] = a[p.name] end end
  end
  class.forward = spec.forward
  if spec.arguments or (spec.forward and core.arity(spec.forward) == 2) then  -- forward's arguments by name: nn.Linear(3, 2)({input = x})
    local names = {}
    for name in (spec.arguments or "input"):gmatch("%S+") do names[#names + 1] = name end
    core.names(spec.forward, names)
  end
  if spec.extra then
    function class.extra_repr(self) return require("torch.nn.text").fill(self, spec.extra) end
  end
  for k, v in pairs(spec.methods or {}) do class[k] = v end
  M[sig.name] = class
  return class
end

--- An uninitialised parameter of the asked dtype and device.
function layer.parameter(a, ...)
  return core.Parameter(torch.empty({ ... }, { dtype = a.dtype, device = a.device }))
end

--- n copies of an integer, or the list itself (of n entries).
function layer.tuple(v, n)
  if type(v) == "table" then return v end
  local out = {}
  for i = 1, n do out[i] = v end
  return out
end

return layer
