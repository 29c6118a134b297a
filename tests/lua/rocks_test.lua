-- Modules as LuaRocks installs them (Lua and C), moth as the interpreter of a rock, moth as a rock of a plain lua5.4.
-- A tree is laid out by hand as LuaRocks 3 lays it out: neither luarocks nor a network is needed.
local t = require "check"
local moth = os.getenv("MOTH") or "build/moth"
if moth == "lua5.4" then moth = "build/moth" end
local build = moth:match("^(.*)/[^/]*$") or "build"
local here = io.popen("pwd"):read("l")
local absolute = moth:sub(1, 1) == "/" and moth or here .. "/" .. moth

local tree = os.tmpname()
os.remove(tree)
local share, lib = tree .. "/share/lua/5.4/", tree .. "/lib/lua/5.4/"
local function sh(line)
  local p = io.popen("{ " .. line .. "; } 2>&1; echo \"status $?\"")
  local text = p:read("a")
  p:close()
  local out, status = text:match("^(.-)status (%d+)\n$")
  return out, tonumber(status)
end
assert(os.execute(("mkdir -p '%shello' '%shello' '%s/bin'"):format(share, lib, tree)))

local function write(path, text)
  local f = assert(io.open(path, "wb"))
  f:write(text)
  f:close()
end

write(share .. "hello/init.lua", [[
local core = require "hello.core"
return { greet = function(name) return "hello " .. name .. " " .. core.twice(21) end, version = "1.0" }
]])
write(share .. "broken.lua", "return {\n")
write(tree .. "/core.c", [[
#include <lauxlib.h>
#include <lua.h>
static int twice(lua_State *L) {
  lua_pushinteger(L, 2 * luaL_checkinteger(L, 1));
  return 1;
}
static int fails(lua_State *L) { return luaL_error(L, "from C: %s", luaL_checkstring(L, 1)); }
static int finish(lua_State *L, int status, lua_KContext k) { return (int)k; }
static int calls(lua_State *L) { /* a continuation: the callee may yield */
  lua_callk(L, 0, 1, 1, finish);
  return finish(L, 0, 1);
}
int luaopen_hello_core(lua_State *L);
int luaopen_hello_core(lua_State *L) {
  static const luaL_Reg fns[] = {{"twice", twice}, {"fails", fails}, {"calls", calls}, {NULL, NULL}};
  luaL_newlib(L, fns);
  return 1;
}
]])
local cc = os.getenv("CC") or "cc"
local built, status = sh(("%s -shared -fPIC -I%s -o '%shello/core.so' '%s/core.c'"):format(cc,
  os.getenv("LUA_INCDIR") or "/usr/include/lua5.4", lib, tree))
local have_c = status == 0
if not have_c then print("no C module: " .. built) end
local env = ("LUA_PATH='%s?.lua;%s?/init.lua;;' LUA_CPATH='%s?.so;;' "):format(share, share, lib)

local function runs(code, want)
  local out, s = sh(env .. ("'%s' -e '%s'"):format(absolute, code))
  t.eq(out, want)
  t.eq(s, 0)
end

t.test("modules of a tree load: Lua and C", function()
  if not have_c then return end
  runs([[print(require("hello").greet("rocks"))]], "hello rocks 42\n")
  runs([[print(select(2, require("hello.core")))]], lib .. "hello/core.so\n")
  runs([[print(pcall(require("hello.core").fails, "no"))]], "false\tfrom C: no\n")
  runs([[local core = require "hello.core"
    print(coroutine.wrap(function() return core.calls(function() return coroutine.yield(7) end) end)())]], "7\n")
  runs([[print(package.searchpath("hello.core", package.cpath))]], lib .. "hello/core.so\n")
end)

t.test("a module's mistakes are told as lua tells them", function()
  local out, s = sh(env .. ("'%s' -e 'require \"broken\"'"):format(absolute))
  t.eq(s, 1)
  t.ok(out:find("error loading module 'broken' from file '" .. share .. "broken.lua':\n\t", 1, true), out)
  out = sh(env .. ("'%s' -e 'require \"not.there\"'"):format(absolute))
  t.ok(out:find("no file '" .. share .. "not/there.lua'", 1, true), out)
  t.ok(out:find("no file '" .. lib .. "not/there.so'", 1, true), out)
end)

t.test("package.path set by the program, a loader put into searchers, preload", function()
  runs(("package.path = \"%s?/init.lua;\" .. package.path "):format(share) ..
    [[package.preload["hello.core"] = function() ]] ..
    [[return {twice = function() return "mine" end} end print(require("hello").greet("p"))]], "hello p mine\n")
  runs([[table.insert(package.searchers, 2, function(name) if name == "made" then
    return function(n, extra) return {n, extra} end, "up" end end) local m, e = require("made") print(m[1], m[2], e)]],
    "made\tup\tup\n")
end)

t.test("moth is the interpreter of a rock: the wrapper that LuaRocks writes", function()
  if not have_c then return end
  local script = tree .. "/bin/hello.lua"
  write(script, [[#!/usr/bin/env lua
print(require("hello").greet(arg[1]), #arg, select(2, ...), torch.ones(2):sum():item())
os.exit(5)
]])
  write(tree .. "/bin/hello", ("#!/bin/sh\nexec '%s' -e 'package.path=\"%s?.lua;%s?/init.lua;\"..package.path;" ..
    "package.cpath=\"%s?.so;\"..package.cpath;local k,l,_=pcall(require,\"luarocks.loader\") " ..
    "_=k and l.add_context(\"hello\",\"1.0\")' '%s' \"$@\"\n"):format(absolute, share, share, lib, script))
  local out, s = sh(("sh '%s/bin/hello' moth 'a b'"):format(tree))
  t.eq(out, "hello moth 42\t2\ta b\t2.0\n")
  t.eq(s, 5)
end)

t.test("the rockspec is a rockspec and names what make builds", function()
  local spec = {}
  assert(loadfile("scripts/moth-scm-1.rockspec", "t", spec))()
  t.eq(spec.package .. "-" .. spec.version, "moth-scm-1")
  t.eq(spec.build.install.lib.moth, spec.build.build_variables.B .. "/moth.so")
  t.eq(spec.description.license, "MIT")
end)

t.test("a script written for the library runs in moth", function()
  runs([[local torch = require "moth" print(torch == require "torch", torch.arange(3):sum():item())]], "true\t3\n")
end)

-- The library in a plain lua5.4.  A sanitizer build cannot be loaded into a program without one.
write(tree .. "/user.lua", [==[
local early = coroutine.create(function(...) coroutine.yield() return TORCH.ones(2):sum():item() end)
coroutine.resume(early)                        -- a coroutine older than the library
local before = {}
for k in pairs(_G) do before[k] = true end
local find = string.find
local torch = require "moth"
for k in pairs(_G) do assert(before[k], "sets the global " .. k) end
assert(string.find == find, "replaces string.find")
TORCH = torch
print(coroutine.resume(early))
local nn, optim = torch.nn, torch.optim
torch.manual_seed(0)
local net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
local opt = optim.Adam(net:parameters(), {lr = 0.1})
local x, first, last = torch.randn(16, 4), nil, nil
for _ = 1, 20 do
  opt:zero_grad()
  last = (net(x) - x:sum(1, {keepdim = true})):pow(2):mean()
  first = first or last:item()
  last:backward()
  opt:step()
end
print(last:item() < first / 2)
print(pcall(function() return torch.ones(2):sofmax(0) end))
print(require("json").encode({1, 2}), require("torch") == torch, type(require("safetensors").load_file))
print(coroutine.wrap(function() return torch.arange(4):sum():item() end)())
for _ = 1, 300 do local y = torch.ones(1000, 100) end
print(collectgarbage("count") < 20000)
]==])
t.test("require 'moth' in a plain lua5.4", function()
  local out, s = sh(("make -s --no-print-directory rock B='%s'"):format(build))
  if s ~= 0 then error("make rock: " .. out) end
  out, s = sh(("LUA_CPATH='%s/?.so' lua5.4 '%s/user.lua'"):format(build, tree))
  -- a sanitizer build needs its runtime in the program, which a plain lua5.4 has not
  if out:find("ASan runtime does not come first", 1, true) or out:find("__[au]%l*san_") then return end
  t.eq(out, "true\t2.0\ntrue\nfalse\t" .. tree .. "/user.lua:24: Tensor has no method or attribute 'sofmax' " ..
    "(did you mean 'softmax'?)\n[1,2]\ttrue\tfunction\n6\ntrue\n")
  t.eq(s, 0)
end)

assert(os.execute("rm -r '" .. tree .. "'"))
t.done()
