-- The prompt's parts that need no terminal: units, locals, echo, errors, completion, hints, help, check.
local t = require "check"
local ok, units = pcall(require, "repl.units")
if not ok then                             -- plain lua5.4 has no embedded modules
  print("1 passed, 0 failed")
  os.exit(true)
end
local complete = require "repl.complete"
local docs = require "repl.docs"
local echo = require "repl.echo"
local session = require "repl.session"
local style = require "repl.style"
style.on = false

local printed
local real_print = print
local function capture(text)
  printed = {}
  rawset(_G, "print", function(...)
    local parts = table.pack(...)
    for i = 1, parts.n do parts[i] = tostring(parts[i]) end
    printed[#printed + 1] = table.concat(parts, "\t")
  end)
  local fine, err = pcall(session.run, text)
  rawset(_G, "print", real_print)
  assert(fine, err)
  return table.concat(printed, "\n")
end

t.test("what is complete", function()
  for _, text in ipairs { "x = 1", "x", "f(1)\n(2)", "for i = 1, 3 do end", "", "-- note", "x = 1\nx", "return 5",
    "%time x", "?x", "x?", "a = 1\nb = 2\na + b" } do
    t.eq((units.check(text)), "complete", text)
  end
  for _, text in ipairs { "x =", "f(", "for i = 1, 3 do", "function f()\n  return 1", "x = [[",
    "if a then\nb()\nelse", "{",
    "x = 1\ny = (", "--[[ open" } do
    t.eq((units.check(text)), "incomplete", text)
  end
  t.eq({ units.check("x = = 1") }, { 5, 5 })
  t.eq((units.check("local function f() return 1 end end")), 33)
end)

t.test("blocks of several statements", function()
  t.eq(capture("bx = 2\nbx * 21"), "42")
  t.eq(capture("bx = 1\nbx = = 3\nbx"):match("unexpected symbol near '='"), "unexpected symbol near '='")
  t.eq(rawget(_G, "bx"), 2, "nothing ran")
  t.eq(capture("1\n2\n3"), "1\n2\n3")
end)

t.test("locals live on and closures share them", function()
  t.eq(capture("local la, lb = 1, 2"), "")
  t.eq(capture("la + lb"), "3")
  capture("local function bump() la = la + 10 return la end")
  t.eq(capture("bump()"), "11")
  t.eq(capture("la"), "11")
  capture("local la = 5")
  t.eq(capture("bump(); la"), "5")
  t.eq(capture("local lk <const> = 9\nlk"), "9")
  t.ok(capture("lk = 1"):find("attempt to assign to const variable 'lk'", 1, true))
  capture("local before = 77; error('stop')")
  t.eq(capture("before"), "77")
  t.eq(rawget(_G, "la"), nil)
  capture("do local hidden = 1 end")
  t.eq(capture("hidden"):match("^nil"), "nil")
end)

t.test("results", function()
  t.eq(capture("6 * 7"), "42")
  t.eq(rawget(_G, "_"), 42)
  t.eq(capture("_ + 1;"), "")
  t.eq(rawget(_G, "_"), 43)
  t.eq(capture("'a', nil, 2"), '"a"\nnil\n2')
  t.eq(capture("(function() end)()"), "")
  t.eq(capture("= 5"), "5")
end)

t.test("echo", function()
  local w = echo.width
  echo.width = function() return 60 end
  t.eq(echo.format { 1, 2, a = "b" }, '{ 1, 2, a = "b" }')
  t.eq(echo.format {}, "{}")
  t.eq(echo.format { ["not a name"] = 1, [10] = 2, ["end"] = 3 }, '{ ["end"] = 3, ["not a name"] = 1, [10] = 2 }')
  t.eq(echo.format("a\n\27[31m"), '"a\\n\\027[31m"')
  t.eq(echo.format("\xff"), '"\\255"')
  local loop = {}
  loop.self = loop
  t.eq(echo.format(loop), "{ self = {...} }")
  t.eq(echo.format(setmetatable({}, { __tostring = function() return "T!\27" end })), "T!\\x1B")
  local long = {}
  for i = 1, 30 do long[i] = i * 1000 end
  t.ok(echo.format(long):find("^{\n  1000,\n"))
  echo.width = w
end)

t.test("errors", function()
  t.eq(capture("strng.rep('x')"), "error: attempt to index a nil value (global 'strng') (did you mean 'string'?)\n" ..
    "  strng.rep('x')\n  ^~~~~")
  t.ok(capture("local s = 'x'\ns:uper()"):find("did you mean 'upper'?", 1, true))
  t.ok(capture("error({code = 5})"):find("error: a table was raised: { code = 5 }", 1, true))
  local text = capture("error(setmetatable({}, {__tostring = function() return 'own text' end}))")
  t.ok(text:find("error: own text", 1, true))
  text = capture("local function deep(n) if n == 0 then error('bottom') end deep(n - 1) return 1 end\ndeep(2)")
  t.ok(text:find("bottom", 1, true) and text:find("called from", 1, true), text)
end)

local function names_at(text)
  local from, list = complete.candidates(text, #text + 1)
  local set = {}
  for _, name in ipairs(list or {}) do set[name] = true end
  return set, from, list
end

t.test("completion", function()
  t.ok(names_at("string.fo").format)
  t.ok(names_at("x = math.").floor)
  t.ok(names_at("whi")["while"])
  t.ok(names_at("('x'):").upper)
  t.ok(names_at("local abc = 1 ab").abc)
  capture("local mytable = {alpha = 1, [1] = 2, beta = {gamma = 1}}")
  t.ok(names_at("mytable.al").alpha)
  t.ok(names_at("print(mytable.beta.").gamma)
  t.ok(names_at("require 'repl.un")["repl.units"])
  t.ok(names_at("%ti").timeit)
  t.ok(names_at("?string.fo").format)
  t.ok(not next((names_at("-- string."))))
  t.ok(not next((names_at("x..") )))
  local set, from = names_at("y = string.re")
  t.ok(set.rep and set.reverse)
  t.eq(from, 12)
  t.ok(not names_at("setmetatable({}, nil).")["__index"])
  t.ok(names_at("io.open('tests/lua/che")["tests/lua/check.lua"] or not pcall(require, "sys"))
end)

t.test("completion runs no code of the user's", function()
  rawset(_G, "trap", setmetatable({}, { __index = function() error("ran") end, __pairs = function() error("ran") end }))
  names_at("trap.x.y")
  names_at("trap:a")
  complete.hint("trap.x(", 8)
  rawset(_G, "trap", nil)
end)

t.test("signatures", function()
  t.eq(complete.hint("string.rep(", 12), "rep(\1s\2, n, sep=\"\") -> string")
  t.eq(complete.hint("string.rep('x', ", 17), "rep(s, \1n\2, sep=\"\") -> string")
  t.eq(complete.hint("('x'):rep(", 11), "rep(\1n\2, sep=\"\") -> string")
  capture("function two(first, ...) return first end")
  t.eq(complete.hint("two(1, ", 8), "two(first, \1...\2)")
  t.eq(complete.hint("x = 1", 6), nil)
  t.eq(complete.hint("string.rep('x')", 16), nil)
end)

if rawget(_G, "torch") and rawget(torch, "ones") then
  t.test("libraries, classes, states and lists of tensors are short", function()
    t.eq(echo.format { torch.ones(3), torch.ones(64, 2) }, "{ tensor([1., 1., 1.]), tensor float32 [64, 2] }")
    t.ok(echo.format(nn.Linear(9, 9):parameters()):find("Parameter float32 [9, 9]", 1, true))
    t.ok(echo.format(nn.Linear(9, 8):state_dict()):find("weight = tensor float32 [8, 9]", 1, true))
    t.ok(echo.format(nn.Linear):find("^class nn.Linear%(in_features: int"))
    t.eq(echo.format(nn.Module:extend("Own")), "class Own  extends Module")
    t.ok(echo.format(torch.linalg):find("functions: cholesky cholesky_ex", 1, true))
    local all = echo.format(torch)
    t.ok(not all:find("_methods", 1, true) and all:find("tables: ", 1, true), all)
    t.ok(echo.format(torch.ones(2).sum):find("^function sum%("))
  end)

  t.test("tensors", function()
    capture("tx = torch.ones(2, 3)")
    t.eq(capture("tx.grad"), "nil")
    t.eq(capture("tx"), "float32 [2, 3]\n" .. tostring(rawget(_G, "tx")))
    t.ok(names_at("tx:ad").add)
    t.ok(names_at("tx.sha").shape)
    t.ok(names_at("tx:add(1):mu").mul, "methods of a call's result")
    local dtypes = names_at("torch.ones(2, {dtype = torch.fl")
    t.eq({ dtypes.float32, dtypes.float64, dtypes.floor }, { true, true, nil })
    t.ok(names_at("torch.ones(2, {d")["dtype = "])
    local sum = names_at("tx:sum(1, {")
    t.eq({ sum["keepdim = "], sum["dtype = "], sum["dim = "] }, { true, true, nil }, "the form that takes a dim")
    t.ok(names_at("torch.sum{tx, ")["dim = "])
    t.ok(names_at("nn.Conv2d(3, 4, 5, {")["stride = "])
    t.ok(complete.hint("tx:sum(", 8):find("sum(\1dim", 1, true))
    t.ok(complete.hint("tx:to(", 7):find("to(\1dtype", 1, true))
    t.ok(complete.hint("tx:add(", 8):find("^add%(\1other: Tensor\2, {alpha: Scalar=1}%)"))
    t.ok(capture("tx + torch.ones(4, 4)"):find("tx is float32 [2, 3]", 1, true))
    t.ok(capture("if tx == 0 then end"):find("compares a tensor by identity", 1, true))
    t.ok(capture("tx:ones_lik()"):find("ones_lik", 1, true))
    t.ok(docs.get("torch.add").doc)
  end)
end

t.test("help", function()
  local help = require "repl.help"
  t.ok(help.of_text("string.rep"):find("n copies of s", 1, true))
  t.ok(help.apropos("bytecode"):find("string.dump", 1, true))
  t.ok(help.of_text("torch.linalg."):find("has  cholesky", 1, true))
  t.ok(help.of_text("nn.Linear"):find("an affine map", 1, true))
  t.ok(help.apropos(""):find("two letters", 1, true))
  t.eq(help.fold(("word "):rep(40)):find("\n  word word") ~= nil, true)
  local text, found = help.of_text("strng.rp")
  t.eq(found, false)
  t.ok(text:find("nothing is documented", 1, true))
end)

--- Text without the line breaks and runs of blanks of a printed tensor.
local function spaced(v) return (tostring(v):gsub("%s+", " "):gsub("%[ ", "["):gsub("\\n", " ")) end

t.test("every function of Lua is documented and its example holds", function()
  for _, lib in ipairs { "string", "table", "math", "os", "io", "coroutine", "utf8" } do
    for name in pairs(_G[lib]) do
      local full = lib .. "." .. name
      local old = "cosh sinh tanh pow frexp ldexp log10 atan2"
      local skip = type(_G[lib][name]) ~= "function" or old:find(name, 1, true)
      if not skip then t.ok(docs.get(full), full .. " is not documented") end
    end
  end
  for _, name in ipairs(docs.names()) do
    local entry = docs.get(name)
    local code, want = (entry and not entry.op and entry.example or ""):match("^(.-)%s*%-%->%s*(.*)$")
    if code then
      local before, last = code:match("^(.*;%s*)([^;]+)$")
      last = (last or code):gsub("^return%s+", "")
      local fn = load((before or "") .. "return " .. last) or assert(load(code))
      local got, expect = table.pack(fn()), load("return " .. want)
      local texts = {}
      for i = 1, got.n do texts[i] = spaced(got[i]) end
      local as_text = table.concat(texts, " ") == spaced(want)
      local wanted = expect and not as_text and table.pack(pcall(expect)) or {}
      for i = 2, wanted[1] and wanted.n or 0 do t.eq(got[i - 1], wanted[i], name .. ": " .. code) end
      if not wanted[1] and not as_text and got.n > 0 then t.eq(tostring(got[1]), want, name .. ": " .. code) end
    end
  end
end)

t.done()
