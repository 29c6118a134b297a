-- nn_layers_test.lua: every layer is documented and its example runs; names, shapes and first values after a seed are PyTorch's.
local t = require "check"
local torch = require "torch"
local nn = torch.nn
local cases = dofile((arg[0]:match("^(.*)/lua/[^/]*$") or "tests") .. "/data/nn_init.lua")

for _, case in ipairs(cases) do
  local ctor, text = case[1], case[2]
  t.test(ctor, function()
    torch.manual_seed(0)
    local m = assert(load("return nn." .. ctor))()
    t.eq(tostring(m), text)
    local i = 2
    for name, v in pairs(m:state_dict()) do
      i = i + 1
      local want = case[i] or error("unexpected " .. name)
      t.eq(name, want[1])
      t.eq(v.shape:totable(), want[2], name)
      local flat = v:double():reshape(-1)
      for k, x in ipairs(want[3]) do t.near(flat[k - 1]:item(), x, 2e-7, name) end
      t.near(flat:sum():item(), want[4], 1e-6, name)
    end
    t.eq(i, #case, "entries")
  end)
end

local _ = nn.Module
local names = getmetatable(nn).__names()
table.sort(names)
for _, name in ipairs(names) do
  local class = nn[name]
  if type(class) == "table" and rawget(class, "__instance") then
    t.test(name, function()
      local doc = rawget(class, "__doc") or error("has no help text")
      t.ok(doc.doc and doc.doc ~= "" and doc.example, "has no text or example")
      assert(load("return " .. doc.example))()
    end)
  end
end

t.done()
