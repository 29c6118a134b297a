-- `moth check`: what it finds, what it must not find, and that it finds nothing in this tree.
local t = require "check"
local ok, check = pcall(require, "moth.check")
if not ok or not rawget(_G, "torch") then  -- plain lua5.4
  print("1 passed, 0 failed")
  os.exit(true)
end

local function reports(text)
  local list = {}
  for i, r in ipairs(check.text(text, "file.lua")) do list[i] = r.line .. ":" .. r.column .. ": " .. r.message end
  return table.concat(list, "\n")
end

-- code after `local x = torch.randn(3)`, and what the report says
local FOUND = {
  -- Lua itself
  { "y = = 1", "2:", "unexpected symbol near '='" },
  { "pritn(x)", "2:1: nothing defines 'pritn' (did you mean 'print'?)" },
  { "print(math.flor(1))", "math has no 'flor' (did you mean 'floor'?)" },
  { "print(string.fromat('x'))", "string has no 'fromat' (did you mean 'format'?)" },
  { "print(True, None)", "nothing defines 'True' (in Lua: true)",
    "nothing defines 'None' (in Lua: nil, or torch.None" },
  { "local r = x:repeat(2)",
    "'repeat' is a word of Lua: the method is x:rep; write  local r = x:rep(2)" },
  { "x += 1", "syntax error", "write  x = x + 1" },
  -- API.md's traps
  { "if x == 0 then end", "2:6: '==' compares a tensor by identity, so this is always false; write x:eq(value)" },
  { "print(x ~= 0)", "always true; write x:ne(value)" },
  { "if x:any() then end", "a tensor is true in every condition; write :any():item()" },
  { "if torch.isnan(x):any() then end", "write :any():item()" },
  { "while x:gt(0) do end", "a tensor is true in every condition" },
  { "repeat until x:lt(0):all()", "a tensor is true in every condition" },
  { "if not x:eq(0) then end", "a tensor is true in every condition" },
  { "print(x[nil])", "x[nil] is an error; None is x[torch.None]" },
  { "torch.no_grad()", "the guard is dropped at once; write  local _ <close> = torch.no_grad()" },
  { "for i, m in ipairs(nn.ModuleList{nn.ReLU()}) do end", "0-based: ipairs raises on them; write pairs" },
  { "local s = nn.Sequential(nn.ReLU()) for i, m in ipairs(s) do end", "write pairs" },
  { "x.backward()", "a method is called with a colon: write :backward(...)" },
  { "print(x.sum(0))", "write :sum(...)" },
  -- torch's names
  { "print(torch.zeros(2, {dtype = torch.flaot32}))", "torch has no 'flaot32' (did you mean 'float32'?)" },
  { "print(torch.sofmax(x, 0))", "torch has no 'sofmax' (did you mean 'softmax'?)" },
  { "print(nn.Liner(2, 3))", "nn has no 'Liner' (did you mean 'Linear'?)" },
  { "print(F.rleu(x))", "F has no 'rleu' (did you mean 'relu'?)" },
  { "print(optim.Adma({x}))", "optim has no 'Adma' (did you mean 'Adam'?)" },
  { "print(torch.linalg.invv(x))", "torch.linalg has no 'invv' (did you mean 'inv'?)" },
  { "print(x:sofmax(0))", "a tensor has no method 'sofmax' (did you mean 'softmax'?)" },
  { "print(x.shpae)", "a tensor has no attribute 'shpae' (did you mean 'shape'?)" },
  { "print((x + 1):exp():sofmax(0))", "a tensor has no method 'sofmax'" },
  -- keywords
  { "print(torch.zeros(2, {dtpye = torch.int32}))", "torch.zeros takes no keyword 'dtpye' (did you mean 'dtype'?)" },
  { "print(x:sum(0, {keepdims = true}))", "sum takes no keyword 'keepdims' (did you mean 'keepdim'?)" },
  { "print(torch.sum{x, dmi = 0})", "torch.sum takes no keyword 'dmi' (did you mean 'dim'?)" },
  { "print(F.softmax(x, {axis = 0}))", "takes no keyword 'axis'" },
  { "print(nn.Linear(2, 3, {bais = false}))", "nn.Linear takes no keyword 'bais' (did you mean 'bias'?)" },
}

for _, case in ipairs(FOUND) do
  t.test(case[1], function()
    local text = reports("local x = torch.randn(3)\n" .. case[1])
    for i = 2, #case do if not text:find(case[i], 1, true) then error("got '" .. text .. "', want " .. case[i]) end end
  end)
end

local FINE = {
  "local y = x:any():item() if y then end", "if x.grad then print(x.grad) end", "if x:size(0) == 3 then end",
  "local ok = x:max() if ok:item() > 0 then end", "local v, i = x:max(0) print(v, i)", "if x.requires_grad then end",
  "local c = true and x or nil if c then end", "local y = a and x:softmax(0) or b and x or nil a, b = 1, 2 print(y)",
  "if x:numel() > 0 and x:dim() == 1 then end", "if torch.is_tensor(x) then end", "if x == nil then end",
  "local h = x:register_hook(print) h:remove()", "local p = x:split(1) print(#p, p[1]:sum())",
  "local _ <close> = torch.no_grad()", "torch.no_grad(function() return x end)",
  "for k, m in pairs(nn.ModuleList{nn.ReLU()}) do print(k, m) end", "for i, v in ipairs(x:tolist()) do print(i, v) end",
  "print(torch.zeros(2, {dtype = torch.int32, device = 'cpu', requires_grad = false}))",
  "x:sum{dim = 0, keepdim = true}", "torch.add(x, x, {out = x, alpha = 2})", "x:add_(1, {alpha = 2})",
  "print(nn.LSTM(2, 3, {batch_first = true, num_layers = 2}))", "torch.myname = 1 print(torch.myname)",
  "function torch.helper() end torch.helper()",
  "print(x:to(torch.int64):item())",
  "print(torch.arange(3, {['end'] = 5}), torch.arange(0, {end_ = 5}))", "print(x['1:'], x[0], x[{0}])",
  "local y = x y = nil if y then end", "print(x.T, x.mT, x:t().shape[0])", "assert(x:equal(x))", "goto done ::done::",
  "print(optim.Adam({x}, {lr = 0.1}), optim.lr_scheduler.StepLR)", "print(torch.utils.data, torch.inf)",
  "F.cross_entropy(x, x, {reduction = 'sum', label_smoothing = 0.1})", "print(F.interpolate(x, {scale_factor = 2}))",
}
for _, code in ipairs(FINE) do
  t.test("fine: " .. code, function()
    t.eq(reports("local x = torch.randn(3)\nlocal a, b\n" .. code), "")
  end)
end

t.test("nothing in this tree", function()
  local files = io.popen("find scripts stdlib tests vm tensor -name '*.lua' | sort")
  for path in files:lines() do
    if not path:find("convert/rules", 1, true) then            -- written in words of their own
      local f = assert(io.open(path))
      local text = f:read("a")
      f:close()
      for _, r in ipairs(check.text(text, path)) do error(path .. ":" .. r.line .. ": " .. r.message) end
    end
  end
  files:close()
end)

t.done()
