-- Typical mistakes of people who come from PyTorch, and of Lua's newcomers, typed at the prompt: each message says what is
-- wrong, shows where, and what to write instead.
package.path = "tests/lua/?.lua;" .. package.path
local t = require "check"
local ok, session = pcall(require, "repl.session")
if not ok or not rawget(_G, "torch") then  -- plain lua5.4
  print("1 passed, 0 failed")
  os.exit(true)
end
local units = require "repl.units"
require("repl.style").on = false

local real_print = print
local function typed(text)
  local out = {}
  rawset(_G, "print", function(...)
    local parts = table.pack(...)
    for i = 1, parts.n do parts[i] = tostring(parts[i]) end
    out[#out + 1] = table.concat(parts, "\t")
  end)
  local fine, err = pcall(session.run, text)
  rawset(_G, "print", real_print)
  assert(fine, err)
  return table.concat(out, "\n")
end

-- what is typed, and texts that the answer holds
local MISTAKES = {
  -- misspelt
  { "x:sofmax(-1)", "Tensor has no method or attribute 'sofmax' (did you mean 'softmax'?)", "  x:sofmax(-1)\n    ^~~~~~" },
  { "torch.sofmax(x, 0)", "did you mean 'softmax'?", "        ^~~~~~" },
  { "torhc.zeros(3)", "did you mean 'torch'?", "^~~~~" },
  { "nn.Liner(3, 4)", "did you mean 'Linear'?" },
  { "optim.AdmaW(lin:parameters())", "did you mean 'AdamW'?" },
  { "lin.wieght", "lin has no 'wieght' (did you mean 'weight'?)" },
  { "lin:forwrad(x)", "did you mean 'forward'?" },
  { "torch.zeros(2, {dtype = torch.flaot32});", "torch has no 'flaot32' (did you mean 'float32'?)" },
  { "x:sum({dims = 1})", "unknown keyword 'dims'", "^~~~", "usage: sum(" },
  { "optim.SGD(lin:parameters(), {learning_rate = 0.1})", "unknown keyword 'learning_rate'", "lr=0.001" },
  -- dots and colons, attributes
  { "x.view(12)", "a method is called with a colon: x:view(12)" },
  { "x.sum()", "a method is called with a colon: x:sum()" },
  { "x.size(0)", "a method is called with a colon: x:size(0)" },
  { "x:shape()", "shape is an attribute: write x.shape" },
  { "x:T()", "T is an attribute: write x.T" },
  -- from 0, from 1
  { "x[3]", "index 3 is out of bounds for dimension 0 with size 3", "x[3]", "indices begin at 0: 0 to 2" },
  { "x[{0, 4}]", "indices begin at 0: 0 to 3" },
  { "x[-4]", "-3 to -1 from the end" },
  { "idx[torch.tensor({5})]", "indices begin at 0: 0 to 1" },
  { "t[0] + 1", "lists of Lua begin at 1 (tensors and shapes at 0)" },
  { "F.cross_entropy(x, torch.tensor({1, 2, 4}))", "classes are numbered from 0 to 3 (yours seem to begin at 1)" },
  { "F.embedding(torch.tensor({0, 3}), x)", "rows are numbered from 0 to 2 (yours seem to begin at 1)" },
  -- shapes
  { "x:matmul(torch.ones(3, 2))", "(3x4 and 3x2)", "the first's last dimension (4) must equal the second's first (3)",
    "x is float32 [3, 4]" },
  { "torch.ones(2):matmul(x)", "must equal" },
  { "x + torch.ones(5)", "sizes are compared from the last dimension" },
  { "x:view(5, 2)", "asks for 10 elements, the tensor has 12" },
  { "x:reshape(5, -1)", "12 elements cannot be split into parts of 5" },
  { "lin(torch.randn(2, 3))", "in Linear", "Linear(4, 2) expects [*, 4]" },
  { "nn.Conv2d(3, 8, 3)(torch.ones(1, 4, 8, 8))", "the layer expects 3 channels, as [N, 3, H, W]" },
  { "torch.cat(x, x)", "tensors go into a list: torch.cat({a, b}, dim)" },
  { "torch.tensor({{1, 2}, {3}})", "all lists of dimension 1 must have equal length" },
  { "x:bmm(x)", "bmm takes batches" },
  -- dtypes
  { "F.cross_entropy(x, torch.tensor({0., 1., 2.}))", "class numbers are int64: target:long()" },
  { "torch.zeros(2, {dtype = 'float32'})", "a dtype is no string: {dtype = torch.float32}" },
  { "idx:mean()", "x:float()" },
  { "idx:div_(2)", "in place the dtype stays", "idx = idx:div(...)" },
  { "F.embedding(x, x)", "indices are int64: x:long()" },
  { "idx:requires_grad_()", "x:float():requires_grad_()" },
  -- gradients, optimizers
  { "x:sum():backward()", "needs x:requires_grad_()" },
  { "lin.weight:add_(1)", "torch.no_grad(function() ... end)" },
  { "optim.SGD(lin, {lr = 0.1})", "pass its parameters: lin:parameters()" },
  { "nn.Linear(3)", "argument 'out_features' is missing", "usage: nn.Linear(in_features" },
  -- values
  { "x == 0", "'==' compares a tensor by identity", "x:eq(value)" },
  { "if x > 0 then print(1) end", "write  if x:gt(0):all() then ..." },
  { "x:max(1).values", "local values, indices = x:max(1)" },
  { "x:item()", "x:tolist() gives all of them" },
  { "x:numpy()", "there is no numpy here" },
  { "x:cuda()", "tensors live on the CPU here" },
  { "for i, v in x do end", "for i = 0, #x - 1 do local row = x[i] ... end" },
  { "x .. 'a'", "text needs tostring(x)" },
  { "len(x)", "instead of len: #x counts" },
  { "range(3)", "torch.arange(n)" },
  { "F.relu(nosuch)", "nosuch has no value" },
  -- Python
  { "x[1:3]", "']' expected near ':'", '\n     ^', 'write  x["1:3"]' },
  { "x[:, 0]", 'write  x[":, 0"]' },
  { "y = x[idx, 1:]", 'write  y = x[{idx, "1:"}]' },
  { "import torch", "torch, nn, F and optim are there already" },
  { "import torch.nn.functional as G", "write  local G = torch.nn.functional" },
  { "import json", 'write  local json = require "json"' },
  { "from torch.nn import Linear", "write  local Linear = torch.nn.Linear" },
  { "def f(x):", "a function ends with 'end'", "write  function f(x) ... end" },
  { "def f(x):\n    return x ** 2", "write  function f(x) ... end" },
  { "class Net(nn.Module):", 'write  Net = nn.Module:extend("Net")' },
  { "for i in range(3):", "write  for i = 0, 2 do ... end" },
  { "for i in range(3): print(i)", "write  for i = 0, 2 do print(i) end" },
  { "for a, b in loader:", "write  for a, b in loader:iter() do ... end" },
  { "if x is None:", "write  if x == nil then ... end" },
  { "while True:", "write  while true do ... end" },
  { "with torch.no_grad():", "write  torch.no_grad(function() ... end)" },
  { "try:", "pcall" },
  { "f = lambda a: a + 1", "write  f = function(a) return a + 1 end" },
  { "x += 1", "write  x = x + 1" },
  { "x ** 2", "write  x ^ 2" },
  { "x @ y", "write  x:matmul(y)" },
  { "a != b", "write  a ~= b" },
  { "z = [1, 2, 3]", "write  z = {1, 2, 3}" },
  { "z = {'a': 1}", "write  z = {a = 1}" },
  { "torch.zeros(3, dtype=torch.float64)", "write  torch.zeros(3, {dtype = torch.float64})" },
  { "x.sum(dim=1, keepdim=True)", "write  x:sum({dim = 1, keepdim = true})" },
  { "print(f'{t} and {x:.3f}')", "write  print(('%s and %.3f'):format(t, x))" },
  { "z = 1 if x else 2", "write  z = x and 1 or 2" },
  { "# a comment", "write  -- a comment" },
  { "print x", "write  print(x)" },
  { "q = None", "None has no value in Lua; it is nil" },
  { "q = not True", "True has no value in Lua; it is true" },
  { "x:repeat(2, 1)", "write  x:rep(2, 1)" },
  { "del x", "write  x = nil" },
  -- other languages
  { "a && b || !c", "write  a and b or not c" },
  { "x->sum()", "write  x:sum()" },
  { "i++", "write  i = i + 1" },
  { "const a = 1", "write  local a <const> = 1" },
}

typed "x = torch.randn(3, 4); idx = torch.tensor({0, 2}); lin = nn.Linear(4, 2); t = {10, 20, 30}"
for _, case in ipairs(MISTAKES) do
  t.test(case[1], function()
    local out = typed(case[1])
    for i = 2, #case do t.ok(out:find(case[i], 1, true), ("no %q in\n%s"):format(case[i], out)) end
  end)
end

t.test("every rewritten line is Lua", function()
  for _, case in ipairs(MISTAKES) do
    local text = typed(case[1]):match("\n  write  ([^\n]*)")
    if text then
      text = text:gsub("%.%.%. end", "end"):gsub("%.%.%.$", "end")
      t.ok(load(text, "=k", "t") or load("return " .. text, "=k", "t"), text)
    end
  end
end)

t.test("the prompt does not wait for the end of Python's blocks", function()
  for _, text in ipairs { "for i in range(3):", "for i in range(3): print(i)", "while True:", "try:", "def f(x):",
    "class A(B):", "if x:", "with a as b:" } do
    t.ok(units.check(text) ~= "incomplete", text)
  end
  t.eq((units.check("for i = 1, 3 do")), "incomplete")
  t.eq((units.check("x = y:\n")), "incomplete")
end)

t.test("what is right is left alone", function()
  t.eq(typed "torch.ones(2):sum():item()", "2.0")
  t.eq(typed "y = x:sum(1); z = torch.float32; None = 3", "")
  t.eq(typed "w = None; None = nil", "")
  t.eq(typed "('%d'):format(3) -- note", '"3"')
  t.eq(typed "t.None", "nil")
end)
t.done()
