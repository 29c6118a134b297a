-- The command line against lua's: options, arg, LUA_INIT, standard input, exit status, interrupts; and what moth adds.
local t = require "check"
local moth = os.getenv("MOTH") or "build/moth"
if moth == "lua5.4" then moth = "build/moth" end

local function write(path, text)
  local f = assert(io.open(path, "wb"))
  f:write(text)
  f:close()
end

local function read(path)
  local f = assert(io.open(path, "rb"))
  local text = f:read("a")
  f:close()
  return text
end

local script, out, err = os.tmpname(), os.tmpname(), os.tmpname()

--- Runs a shell line in which MOTH is the program: standard output, standard error, status.
local function run(line)
  line = line:gsub("%f[%w_]MOTH%f[^%w_]", function() return moth end):gsub("SCRIPT", function() return script end)
  local _, _, status = os.execute("{ " .. line .. "; } >" .. out .. " 2>" .. err)
  return read(out), read(err), status
end

local function prints(line, want, status)
  local o, e, s = run(line)
  t.eq(o, want, "output of " .. line .. " (" .. e .. ")")
  t.eq(s, status or 0, "status of " .. line)
end

local function fails(line, message, status)
  local _, e, s = run(line)
  t.eq(s, status or 1, "status of " .. line)
  if not e:find(message, 1, true) then error(line .. ": " .. e .. " lacks " .. message, 2) end
end

t.test("options run in order", function()
  prints([[MOTH -e "a = 1" -e "print(a)" -ea=3 "-eprint(a)"]], "1\n3\n")
  prints([[MOTH -l str=string -l math -e "print(str.upper('x'), math.max(1, 2))"]], "X\t2\n")
  prints([[MOTH -W -e "warn('w')"]], "")
  prints([[MOTH -]] .. " < /dev/null", "")
end)

t.test("script, arguments and arg", function()
  write(script, "print(#arg, arg[0] ~= nil, arg[-1], ...)")
  prints("MOTH SCRIPT a b", "2\ttrue\t" .. (os.getenv("MOTH_PROGRAM") or moth) .. "\ta\tb\n")
  prints("MOTH -e '' -- SCRIPT a", "1\ttrue\t--\ta\n")
  prints([[echo 'print(...)' | MOTH -e "arg[1] = 100" -]], "100\n")
  fails([[echo '' | MOTH -e "arg = 1" -]], "'arg' is not a table")
end)

t.test("shebang and byte order mark", function()
  write(script, "#!/usr/bin/env moth\nprint(1)")
  prints("MOTH SCRIPT", "1\n")
  write(script, "\xEF\xBB\xBF# comment\nprint(3)")
  prints("MOTH SCRIPT", "3\n")
end)

t.test("standard input is a script; its error counts", function()
  prints("echo 'print(1 + 1)' | MOTH", "2\n")
  fails("echo 'error(\"no\")' | MOTH", "stdin:1: no")
  fails("echo 'x = = 1' | MOTH -", "unexpected symbol near '='")
end)

t.test("LUA_INIT and -E", function()
  prints([[LUA_INIT="X = 5" MOTH -e "print(X)"]], "5\n")
  prints([[LUA_INIT="X = 5" LUA_INIT_5_4="X = 6" MOTH -e "print(X)"]], "6\n")
  prints([[LUA_INIT="X = 5" MOTH -E -e "print(X)"]], "nil\n")
  write(script, "X = 9")
  prints([[LUA_INIT=@SCRIPT MOTH -e "print(X)"]], "9\n")
  fails([[LUA_INIT="error('init')" MOTH -e ""]], "LUA_INIT:1: init")
  prints([[env LUA_PATH=xuxu MOTH -e "print(package.path)"]], "xuxu\n")
end)

t.test("exit status", function()
  prints("MOTH -e 'os.exit(7)'", "", 7)
  prints("MOTH -e 'os.exit(true, true)'", "", 0)
  prints("MOTH -e 'os.exit(false)'", "", 1)
  fails("MOTH -e 'error(\"x\")'", "x")
  fails("MOTH -e 'error({})'", "(error object is a table value)")
  fails("MOTH /no/such/file", "cannot open /no/such/file")
end)

t.test("wrong usage", function()
  fails("MOTH -h", "unrecognized option '-h'")
  fails("MOTH ---", "unrecognized option '---'")
  fails("MOTH -vv", "unrecognized option '-vv'")
  fails("MOTH -e", "'-e' needs argument")
  fails("MOTH -l", "'-l' needs argument")
end)

t.test("-i on a pipe is lua's prompt", function()
  local o = run([[printf '(6*2-6)\na =\n10\nprint(a)\na\n' | MOTH -e "_PROMPT='' _PROMPT2=''" -i]])
  t.ok(o:find("(6*2-6)\n6\na =\n10\nprint(a)\n10\na\n10\n\n", 1, true), o)
  o = run([[printf 'local x = 1\nx\n' | MOTH -i]])
  t.ok(o:find("> local x = 1\n> x\nnil\n> \n", 1, true), o)
  t.ok(not o:find("\27", 1, true), "no escape codes in a pipe")
end)

t.test("bytecode only when asked for", function()
  write(script, "local s = string.dump(function() return 42 end) local f, m = load(s) print(f and f() or m)")
  local o = run("MOTH SCRIPT")
  t.ok(o:find("attempt to load a binary chunk", 1, true), o)
  prints("MOTH --bytecode SCRIPT", "42\n")
  prints([[MOTH -e "print(load('x', 'n', 'b'))"]], "nil\tattempt to load a text chunk (mode is 'n')\n")
end)

t.test("modules from files and from the program", function()
  write(script .. ".lua", "return {value = 11}")
  prints(("LUA_PATH='%s/?.lua' MOTH -e \"print(require('%s').value)\""):format(script:match("^(.*)/"),
    script:match("[^/]*$")), "11\n")
  os.remove(script .. ".lua")
  prints([[MOTH -e "print(require('repl.suggest').nearest('strng', {'string'}))"]], "string\n")
  fails([[MOTH -e "require 'no.such.module'"]], "no file './no/such/module.lua'")
end)

t.test("an interrupt stops a script with status 1; pcall catches it as in lua", function()
  local start = 0.3 * (tonumber(os.getenv("SLOW")) or 1)         -- SLOW: how much longer a program takes to start
  local stop = (" & sleep %.1f; kill -INT $!; wait $!"):format(start)
  fails("MOTH -e 'while true do end'" .. stop, "interrupted!")
  fails("MOTH -e 'string.find((\"a\"):rep(1e5), \".*b\")'" .. stop, "interrupted!")
  fails("MOTH -e 'coroutine.wrap(function() while true do end end)()'" .. stop, "interrupted!")
  prints("MOTH -e 'pcall(function() while true do end end) print(42)'" .. stop, "42\n")
end)

t.test("help and check", function()
  local o = run("MOTH help string.rep")
  t.ok(o:find("n copies of s", 1, true), o)
  local _, _, s = run("MOTH help nosuchthing")
  t.eq(s, 1)
  write(script, "local x = 1\npritn(x)\n")
  o, _, s = run("MOTH check SCRIPT")
  t.eq(s, 1)
  t.ok(o:find(":2:1: nothing defines 'pritn' (did you mean 'print'?)", 1, true), o)
  write(script, "local x = 1\nprint(x)\n")
  prints("MOTH check SCRIPT", "")
end)

t.test("the sandbox lets nothing out", function()
  local tries = { "io.open('/etc/passwd')", "os.execute('true')", "os.getenv('PATH')", "io.popen('true')",
    "io.lines('/etc/passwd')", "require('sys')", "require 'io'", "require 'debug'", "debug.getregistry()",
    "debug.sethook()",
    "package.loadlib('c', 'system')", "package.cpath", "dofile('/etc/passwd')", "loadfile('/etc/passwd')",
    "load('\\27Lua')", "string.dump(print)", "require('safetensors')", "require('moth.embed')", "require('moth.term')",
    "_G.io.open('x')", "load('return io.open', 'x', 't')()('x')", "require('_G').io.open('x')", "package.loaded.io",
    "io.stdout:write('x')", "os.tmpname()", "os.rename('a', 'b')", "require 'os'.execute 'true'", "require('zip')",
    "torch.save({}, '/tmp/x.pt')", "torch.load('/tmp/x.pt')", "coroutine.wrap(function() return io.open('x') end)()" }
  local list = {}
  for i, text in ipairs(tries) do list[i] = string.format("%q", text) end
  write(script, "for _, s in ipairs{" .. table.concat(list, ",") .. "} do\n" ..
    "local ok, v = pcall(load('return ' .. s))\nif ok and v ~= nil then print(s) end end print(1 + 1)")
  prints("MOTH --sandbox SCRIPT", "2\n")
  fails([[MOTH_SANDBOX_MEMORY=300 MOTH --sandbox -e 'local t = {} for i = 1, 1e9 do t[i] = ("x"):rep(1e6) .. i end']],
    "not enough memory")
  fails([[MOTH_SANDBOX_SECONDS=1 MOTH --sandbox -e "while true do pcall(function() while true do end end) end"]],
    "time is up")
end)

os.remove(script)
os.remove(out)
os.remove(err)
t.done()
