-- docs.lua: one look-up for everything documented: the engine's op table (moth.ops) and Lua's own functions.
-- An entry: { name, signature, doc, example, derivative, see = {names}, params = { {name, type, default, kwonly} } }.
local names = require "repl.names"

local docs = {}
local lua_entries, by_value

--- Parameters from the text of a signature: "f(a, b=1, rest...)".
local function parse_params(signature)
  local params, kwonly = {}, false
  local inside = signature:match("%b()") or "()"
  for part in (inside:sub(2, -2) .. ","):gmatch("%s*(.-)%s*,") do
    if part == "*" then kwonly = true
    elseif part ~= "" then
      local head, default = part:match("^(.-)%s*=%s*(.*)$")
      local name, kind = (head or part):match("^([%a_][%w_]*)%s*:%s*(.-)$")
      params[#params + 1] = { name = name or head or part, type = kind, default = default, kwonly = kwonly }
    end
  end
  return params
end

local function trim(s) return (s:match("^%s*(.-)%s*$")) end

local function load_lua_entries()
  lua_entries = {}
  local embed, texts = require "moth.embed", {}
  for _, file in ipairs(embed.list()) do           -- every part of stdlib may have a luadoc.txt
    if file:find("luadoc%.txt$") then texts[#texts + 1] = embed.read(file) end
  end
  for line in table.concat(texts, "\n"):gmatch("[^\n]+") do
    local parts = {}
    for part in (line .. "|"):gmatch("(.-)|") do parts[#parts + 1] = trim(part) end
    local name = parts[1]:match("^[%w_.]+")
    local see = {}
    for other in (parts[4] or ""):gmatch("%S+") do see[#see + 1] = other end
    lua_entries[name] = { name = name, signature = parts[1], doc = parts[2], see = see,
      example = parts[3] ~= "" and parts[3] or nil, params = parse_params(parts[1]) }
  end
end

local function lua_entry(name)
  if not lua_entries then load_lua_entries() end
  return lua_entries[name] or (not name:find(".", 1, true) and lua_entries["string." .. name]) or nil
end

local by_id
--- The row of that id with a derivative: what a composite or a namespace's function is made of.
local function primitive(id)
  if not by_id then
    by_id = {}
    for _, row in ipairs(names.ops()) do
      if row.derivative then by_id[row.id] = row end
    end
  end
  return by_id[id]
end

--- An entry of the engine's table as ours.
local function op_entry(name)
  local ops = names.ops()
  local op = ops[name]
  if not op then return nil end
  local see = op.see
  if type(see) == "string" then
    local list = {}
    for other in see:gmatch("[%w_.]+") do list[#list + 1] = other end
    see = list
  end
  local forms = op.overloads and #op.overloads or 1
  local inner = not op.derivative and (primitive("_" .. op.base) or primitive(op.base))
  local derivative = op.derivative or inner and inner.derivative
    or op.expr and not op.nodiff and "that of " .. op.expr or nil
  return { name = name, overloads = forms, signature = op.signature, doc = op.doc, example = op.example,
    derivative = derivative, see = see, params = op.params or parse_params(op.signature or ""), op = op }
end

-- ---- classes and functions below torch that are written in Lua: a class has __doc, a namespace __docs ----
local spaces = { "nn", "nn.init", "nn.utils", "nn.utils.rnn", "nn.utils.parametrize",
  "nn.utils.parametrizations", "nn.utils.stateless", "nn.utils.prune", "optim", "optim.lr_scheduler", "optim.swa_utils", "amp",
  "utils.data" }

local function made_entry(name, doc)
  local see = {}
  for other in (doc.see or ""):gmatch("%S+") do see[#see + 1] = other end
  return { name = name, signature = doc.signature, doc = doc.doc, example = doc.example, see = see,
    params = parse_params(doc.signature or "") }
end

-- The value at a dotted path below torch; files that define its parts are loaded.
local function value_at(path)
  local at = package.loaded.torch
  for part in path:gmatch("[^.]+") do
    if type(at) ~= "table" then return nil end
    local ok, v = pcall(function() return at[part] end)
    at = ok and v or nil
  end
  return at
end

local function class_entry(name)
  local space, last = name:match("^(.*)%.([^.]+)$")
  if not space then return nil end
  local owner = value_at(space)
  if type(owner) ~= "table" then return nil end
  local docs_of = rawget(owner, "__docs")
  if type(docs_of) == "table" and docs_of[last] then return made_entry(name, docs_of[last]) end
  local ok, v = pcall(function() return owner[last] end)
  local doc = ok and type(v) == "table" and rawget(v, "__doc")
  return type(doc) == "table" and made_entry(name, doc) or nil
end

--- Names of all documented classes and functions of those namespaces.
local function class_names()
  local list = {}
  for _, space in ipairs(spaces) do
    local t = value_at(space)
    local meta = type(t) == "table" and debug.getmetatable(t)
    local dir = type(meta) == "table" and rawget(meta, "__dir")
    local ok, more = pcall(dir or function() return {} end, t)
    local set = {}
    for _, name in ipairs(ok and more or {}) do set[name] = true end
    for _, keys in ipairs { type(t) == "table" and t or {}, type(t) == "table" and rawget(t, "__docs") or {} } do
      for k in next, keys do set[k] = true end
    end
    for name in pairs(set) do
      if type(name) == "string" and class_entry(space .. "." .. name) then list[#list + 1] = space .. "." .. name end
    end
  end
  return list
end

-- Names in the engine's table stand without "torch.": "softmax", "linalg.inv", "nn.functional.relu".
local aliases = { { "^torch%.", "" }, { "^F%.", "nn.functional." }, { "^Tensor%.", "" }, { "^x%.", "" } }
local prefixes = { "nn.functional.", "nn.", "linalg.", "special.", "fft.", "optim.", "optim.Optimizer.", "optim.lr_scheduler.",
  "optim.swa_utils.", "nn.init.", "nn.utils.", "nn.utils.rnn.", "autograd.", "autograd.functional.", "autograd.graph.",
  "func.", "utils.checkpoint.", "utils.data." }

--- The entry for a name such as "softmax", "torch.softmax", "F.softmax", "x:softmax", "string.find"; nil for none.
function docs.get(name)
  name = name:gsub(":", ".")
  local entry = op_entry(name) or lua_entry(name) or class_entry(name)
  if entry then return entry end
  for _, alias in ipairs(aliases) do
    local short, n = name:gsub(alias[1], alias[2])
    if n > 0 then
      entry = op_entry(short) or lua_entry(short) or class_entry(short)
      if entry then return entry end
      name = short
    end
  end
  for _, prefix in ipairs(prefixes) do
    entry = op_entry(prefix .. name) or lua_entry(prefix .. name) or class_entry(prefix .. name)
    if entry then return entry end
  end
  if #name > 1 and name:sub(-1) == "_" then return docs.get(name:sub(1, -2)) end
  return nil
end

--- All documented names, sorted.
function docs.names()
  if not lua_entries then load_lua_entries() end
  local list, seen = {}, {}
  for _, t in ipairs { names.ops(), lua_entries } do
    for name in pairs(t) do
      if type(name) == "string" and not seen[name] then
        seen[name] = true
        list[#list + 1] = name
      end
    end
  end
  for _, name in ipairs(class_names()) do
    if not seen[name] then
      seen[name] = true
      list[#list + 1] = name
    end
  end
  table.sort(list)
  return list
end

local function remember_functions(path, t, depth, visited)
  if visited[t] then return end
  visited[t] = true
  for k, v in next, t do
    if type(k) == "string" and k:sub(1, 1) ~= "_" then
      local full = path == "" and k or path .. "." .. k
      if type(v) == "function" and (not by_value[v] or #full < #by_value[v]) then by_value[v] = full end
      if type(v) == "table" and depth < 3 and k ~= "_G" and k ~= "loaded" then
        remember_functions(full, v, depth + 1, visited)
      end
    end
  end
end

--- The global path of a function value ("torch.softmax"), or nil.
function docs.name_of(value)
  if not by_value or not by_value[value] then
    by_value = {}
    remember_functions("", _G, 0, {})
    local torch = package.loaded.torch
    for name, f in pairs(type(torch) == "table" and rawget(torch, "_methods") or {}) do
      by_value[f] = by_value[f] or "Tensor." .. name
    end
  end
  return by_value[value]
end

--- The entry that documents a value.
function docs.find_value(value)
  local name = docs.name_of(value)
  return name and docs.get(name)
end

return docs
