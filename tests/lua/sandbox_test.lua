-- sandbox_test.lua: what a stranger's script tries under --sandbox: none of it gets out, none of it outlives its caps.
-- Each attempt is a process of its own; one that succeeds prints ESCAPED.
local t = require "check"
local moth = os.getenv("MOTH")
if not moth then print("1 passed, 0 failed") os.exit(true) end
local name = os.tmpname()

local function run(code, seconds, memory)
  local f <close> = assert(io.open(name, "w"))
  f:write(code)
  f:close()
  local command = ("(MOTH_SANDBOX_SECONDS=%d MOTH_SANDBOX_MEMORY=%d timeout -s KILL 30 %s --sandbox %s 2>&1; echo; echo status $?)"):format(
    seconds or 2, memory or 700, moth, name)
  local p <close> = io.popen(command:gsub("; echo; echo status %$%?", '; s=$?; echo; echo "status $s"') .. " | tail -c 4000")
  local out = p:read("a")
  return out, tonumber(out:match("status (%d+)%s*$"))
end

--- The attempt must end by itself, without a crash (a signal gives 128 and more), and without success.
local function attempt(title, code, seconds, memory)
  t.test(title, function()
    local start = os.time()
    local out, status = run(code, seconds, memory)
    if out:find("ESCAPED", 1, true) then error("escaped: " .. out) end
    if not status or status >= 124 then error("ended with status " .. tostring(status) .. ": " .. out:sub(-300)) end
    if os.time() - start > 25 then error("took too long") end
  end)
end

-- ---- reach: names that must be nil or raise ----
local names = {}
for n in ([[io.open io.popen io.lines io.input io.output io.tmpfile io.read io.stdout io.stderr io.stdin os.execute os.remove os.rename os.getenv
  os.tmpname os.setlocale debug.getinfo debug.getregistry debug.getmetatable debug.setmetatable debug.getupvalue debug.setupvalue
  debug.upvaluejoin debug.sethook debug.getlocal debug.setlocal debug.setuservalue package loadfile dofile string.dump torch.save
  torch.load torch.from_file torch.hub torch.jit torch.utils.dlpack torch.from_dlpack torch.to_dlpack torch.ops loadstring module setfenv getfenv newproxy jit]]):gmatch("%S+") do
  names[#names + 1] = n
end
for _, n in ipairs(names) do
  attempt("reach " .. n, ([[local v = _G for part in ("%s"):gmatch("[^.]+") do if type(v) ~= "table" then v = nil break end v = v[part] end
    if v ~= nil then print("ESCAPED", v) end]]):format(n))
end
for _, m in ipairs { "ffi", "sys", "io", "os", "debug", "package", "moth.embed", "moth.term", "kernel.sockets", "plot.raster", "image", "audio",
    "safetensors", "gguf", "tokenizers.core", "torch.serialization", "socket", "moth.profile" } do
  attempt("require " .. m, ([[local ok, v = pcall(require, "%s")
    if ok and (type(v) ~= "table" or v.execute or v.open or v.popen or v.load or v.getinfo or v.loadlib or v.spawn or v.readline or v.new) then
      print("ESCAPED", v) end]]):format(m))
end

-- ---- bytecode, environments, metatables ----
local tricks = {
  ["bytecode by load"] = [[local f = load("\27Lua\x54\0\x19\x93\r\n\x1a\n", "x", "b") if f then print "ESCAPED" end]],
  ["bytecode by load, mode bt"] = [[local f = load("\27LuaT", "x", "bt") if f then print "ESCAPED" end]],
  ["bytecode from pieces"] = [[local p = {"\27", "Lua", "T"} local i = 0
    local f = load(function() i = i + 1 return p[i] end, "x", "b") if f then print "ESCAPED" end]],
  ["dump through the string metatable"] = [[local d = getmetatable("").__index.dump if d then print "ESCAPED" end]],
  ["_ENV of a loaded chunk"] = [[local g = load("return _ENV")() if g.os.execute or g.io.open then print "ESCAPED" end]],
  ["the registry through package.loaded"] = [[local p = package or (require and rawget(_G, "package"))
    if p and p.loaded and p.loaded.os then print "ESCAPED" end]],
  ["loaded.os by require"] = [[local ok, o = pcall(require, "os") if ok and o.execute then print "ESCAPED" end]],
  ["string.format %s with __tostring"] = [[pcall(string.format, "%s", setmetatable({}, {__tostring = function() return 5 end}))]],
  ["metatable of a tensor"] = [[local m = getmetatable(torch.ones(1)) if type(m) == "table" and m.__gc then m.__gc(torch.float32) print "ESCAPED" end]],
  ["__gc of a dtype's metatable"] = [[local m = getmetatable(torch.float32) if type(m) == "table" then for k, v in pairs(m) do pcall(v, 1) pcall(v, "x") end end]],
  ["metatables of all userdata"] = [[for _, u in ipairs {torch.ones(1), torch.float32, torch.ones(1).shape, torch.complex(1, 2), torch.None,
    torch.default_generator, torch.device "cpu", torch.ones(1, {requires_grad = true}):exp().grad_fn, torch.no_grad()} do
      local m = type(u) == "userdata" and getmetatable(u) if type(m) == "table" and (m.__gc or m.__index) then print "ESCAPED" end end]],
  ["__gc twice"] = [[local t = setmetatable({}, {__gc = function(o) setmetatable(o, getmetatable(o)) end}) t = nil collectgarbage() collectgarbage()]],
  ["__gc that errs"] = [[setmetatable({}, {__gc = function() error "x" end}) collectgarbage()]],
  ["__gc at exit"] = [[setmetatable({}, {__gc = function() if os.execute or (io and io.open) then print "ESCAPED" end end})]],
  ["__close that yields"] = [[local co = coroutine.wrap(function() local x <close> = setmetatable({}, {__close = function() coroutine.yield(1) end}) end) co() co()]],
  ["require's searchers"] = [[local ok, e = pcall(require, "../../etc/passwd") if ok then print "ESCAPED" end]],
  ["require of a path"] = [[local ok = pcall(require, "/etc/passwd") if ok then print "ESCAPED" end]],
  ["json files"] = [[local j = require "json" if j.load or j.save then print "ESCAPED" end]],
  ["memory by address"] = [[local ok = torch.utils.dlpack and pcall(torch.utils.dlpack.from_dlpack, 4096) if ok then print "ESCAPED" end]],
  ["as_strided outside"] = [[local ok, x = pcall(torch.as_strided, torch.ones(2), {1000000}, {1}) if ok then print("ESCAPED") end]],
  ["set_ outside"] = [[local ok = pcall(function() local x = torch.ones(1) x:set_(torch.ones(2), 0, {1000}) end) if ok then print "ESCAPED" end]],
  ["index outside"] = [[local ok = pcall(function() return torch.ones(2):index_select(0, torch.tensor {5}) end) if ok then print "ESCAPED" end]],
  ["gather outside"] = [[local ok = pcall(function() return torch.ones(2):gather(0, torch.tensor {-9}) end) if ok then print "ESCAPED" end]],
  ["embedding outside"] = [[local ok = pcall(function() return F.embedding(torch.tensor {7}, torch.ones(2, 2)) end) if ok then print "ESCAPED" end]],
  ["bincount outside"] = [[local ok = pcall(function() return torch.tensor({1 << 62}):bincount() end) if ok then print "ESCAPED" end]],
  ["resize_ and read"] = [[pcall(function() local x = torch.ones(2) x:resize_({1 << 40}) print(x[1 << 39]) end)]],
  ["a worker process"] = [[if pcall(require, "torch.utils.worker") then print "ESCAPED" end]],
  ["moth's own modules"] = [[for _, m in ipairs {"repl.commands", "kernel.cli", "convert.cli", "moth.check", "hf.cli", "plot"} do
    local ok, v = pcall(require, m)
    if ok and type(v) == "table" then
      pcall(function() v.main({"install", "--prefix", "/tmp/moth-sandbox-escape"}) end)
      pcall(function() v.edit("x") end)
      pcall(function() v.run("save", "/tmp/moth-sandbox-escape.lua") end)
      pcall(function() v.line({1, 2}, {file = "/tmp/moth-sandbox-escape.svg"}) end)
    end end]],
  ["shell escapes of the prompt"] = [[local ok, r = pcall(require, "repl") if ok and r.special then pcall(r.special, "!echo ESCAPED") end]],
  ["warn control"] = [[warn("@on") warn("x")]],
  ["collectgarbage modes"] = [[collectgarbage("generational") collectgarbage("incremental") collectgarbage("stop") pcall(collectgarbage, "setpause", -1)]],
  ["xpcall with a handler that errs"] = [[xpcall(error, function() error "again" end)]],
  ["error objects"] = [[pcall(error, setmetatable({}, {__tostring = function() error "x" end}))
    error(setmetatable({}, {__tostring = function() return 5 end}))]],
  ["os.exit tells nothing"] = [[os.exit(3)]],
  ["os.date formats"] = [[for i = 0, 255 do pcall(os.date, "%" .. string.char(i)) pcall(os.date, "%E" .. string.char(i)) end]],
  ["goto and labels in depth"] = [[local s = ("do "):rep(250) .. ("end "):rep(250) load(s)]],
  ["a chunk of many upvalues"] = [[local s = {} for i = 1, 300 do s[i] = "local a" .. i .. " = " .. i end load(table.concat(s, "\n"))]],
}
local titles = {}
for title in pairs(tricks) do titles[#titles + 1] = title end
table.sort(titles)
for _, title in ipairs(titles) do attempt(title, tricks[title]) end
t.test("nothing was written outside", function()
  for _, path in ipairs { "/tmp/moth-sandbox-escape/share", "/tmp/moth-sandbox-escape.lua", "/tmp/moth-sandbox-escape.svg" } do
    t.ok(not os.rename(path, path), path)
  end
end)

-- ---- caps: memory, depth, time ----
local bombs = {
  ["string.rep"] = [[local s = "x" while true do s = s:rep(1000) end]],
  ["string doubling"] = [[local s = "x" while true do s = s .. s end]],
  ["tables"] = [[local t = {} for i = 1, math.huge do t[i] = {} end]],
  ["table.concat"] = [[local s = ("x"):rep(1e7) local t = {} for i = 1, 1000 do t[i] = s end print(#table.concat(t))]],
  ["tensor memory"] = [[local l = {} for i = 1, 1e6 do l[i] = torch.ones(1 << 20) end]],
  ["one huge tensor"] = [[print(torch.ones(1 << 40):sum())]],
  ["a product's result"] = [[local a = torch.ones(1 << 17, 1) print(a:matmul(a:t()).shape)]],
  ["coroutines"] = [[local t = {} for i = 1, math.huge do t[i] = coroutine.create(function() coroutine.yield(i) end) coroutine.resume(t[i]) end]],
  ["closures"] = [[local f for i = 1, math.huge do local g = f f = function() return g end end]],
  ["recursion"] = [[local function f() return 1 + f() end f()]],
  ["recursion through pcall"] = [[local function f() return pcall(f) end f()]],
  ["recursion through metamethods"] = [[local m = {} m.__index = function(t, k) return t[k] end local x = setmetatable({}, m) print(x.a)]],
  ["recursion through tostring"] = [[local t = setmetatable({}, {}) getmetatable(t).__tostring = function(x) return tostring(x) end print(t)]],
  ["recursion through gsub"] = [[local function f(s) return (s:gsub(".", f)) end f "x"]],
  ["recursion through sort"] = [[local function f(a, b) table.sort({3, 1, 2}, f) return a < b end table.sort({1, 2, 3}, f)]],
  ["recursion through coroutines"] = [[local function f() return coroutine.wrap(f)() end f()]],
  ["recursion through load"] = [[local function f() return load(function() f() end) end f()]],
  ["deep source"] = [[load(("("):rep(1e6))  load("return " .. ("{"):rep(1e6)) load(("a="):rep(1e6))]],
  ["deep JSON"] = [[pcall(require("json").decode, ("["):rep(5e6))]],
  ["deep lists into a tensor"] = [[local t = {1} for i = 1, 1e5 do t = {t} end pcall(torch.tensor, t)]],
  ["a list inside itself"] = [[local t = {} t[1] = t pcall(torch.tensor, t) pcall(require("json").encode, t)]],
  ["loops"] = [[while true do end]],
  ["loops under pcall"] = [[while true do pcall(function() while true do end end) end]],
  ["loops in a coroutine"] = [[coroutine.wrap(function() while true do pcall(function() while true do end end) end end)()]],
  ["loops in __gc"] = [[setmetatable({}, {__gc = function() while true do end end}) collectgarbage()]],
  ["loops in a message handler"] = [[xpcall(error, function() while true do end end)]],
  ["patterns"] = [[(("a"):rep(40)):find((".-"):rep(40) .. "b")]],
  ["patterns under gsub"] = [[(("a"):rep(1e5)):gsub("(a*)*(a*)*b", "")]],
  ["string.find of long strings"] = [[local s = ("a"):rep(1e6) while true do s:find(("a"):rep(5e5) .. "b", 1, true) end]],
  ["a sort of great length"] = [[local t = {} for i = 1, 3e6 do t[i] = -i end while true do table.sort(t, function(a, b) return a < b end) end]],
  ["products"] = [[local a = torch.ones(2000, 2000) while true do a:matmul(a) end]],
  ["one long product"] = [[local a = torch.ones(6000, 6000) for i = 1, 1e9 do pcall(a.matmul, a, a) end]],
  ["elementwise for ever"] = [[local a = torch.ones(1 << 24) while true do a:exp_():clamp_({max = 1}) end]],
  ["a graph for ever"] = [[local x = torch.ones(1):requires_grad_() local y = x while true do y = y + 1 end]],
  ["sorting tensors"] = [[local a = torch.rand(1 << 23) while true do a:sort() end]],
  ["random numbers"] = [[while true do torch.randn(1 << 22) end]],
  ["string.format"] = [[while true do string.format(("%99.99f"):rep(100), table.unpack((function() local t = {} for i = 1, 100 do t[i] = 1e300 end return t end)())) end]],
  ["utf8 and concat"] = [[local t = {} while true do t[#t + 1] = utf8.char(table.unpack((function() local q = {} for i = 1, 200 do q[i] = 0x10FFFF end return q end)())) end]],
  ["printing without end"] = [[while true do print(("x"):rep(100)) end]],
  ["moving tables"] = [[local t = {} pcall(table.move, t, 1, math.maxinteger - 1, 2)]],
  ["select and unpack"] = [[pcall(table.unpack, {}, 1, 1e8) pcall(select, -1) pcall(string.byte, ("x"):rep(1e7), 1, -1) pcall(string.char, table.unpack({}, 1, 1e6))]],
}
titles = {}
for title in pairs(bombs) do titles[#titles + 1] = title end
table.sort(titles)
for _, title in ipairs(titles) do
  attempt("cap: " .. title, bombs[title], 1, 700)
end

-- ---- every function that can be reached, called wrongly ----
attempt("every reachable function with wrong arguments", [[
  local skip = {[os.exit] = 1, [io.write] = 1, [print] = 1, [coroutine.yield] = 1, [warn] = 1}
  local seen, list = {}, {}
  local function walk(v)
    if seen[v] then return end
    seen[v] = true
    if type(v) == "function" then if not skip[v] then list[#list + 1] = v end return end
    if type(v) ~= "table" then return end
    for k, x in next, v do
      if type(k) == "function" or type(k) == "table" then walk(k) end
      if type(x) == "function" or type(x) == "table" then walk(x) end
    end
    local m = getmetatable(v)
    if type(m) == "table" then walk(m) end
  end
  walk(_G)
  pcall(function() walk(nn.Linear(2, 2)) walk(optim.SGD({torch.ones(1, {requires_grad = true})}, {lr = 1})) end)
  local co = coroutine.create(function() end)
  local values = {1, "x", {}, torch.ones(2), torch.float32, torch.ones(1).shape, true, 1.5, print, co, torch.None, -1,
    torch.default_generator, {torch.ones(1), torch.ones(1)}, {1, 2}, "cpu", torch.ones(1, {requires_grad = true}):exp().grad_fn,
    torch.ones(0), torch.ones(2, 2, {device = "meta"}), torch.complex(1, 2), {a = 1}}
  for _, v in ipairs(values) do if type(v) == "table" then walk(v) end end
  local n = 0
  local state = 12345
  local function pick() state = (state * 1103515245 + 12345) & 0x7fffffff return values[1 + (state >> 8) % #values] end
  for _, f in ipairs(list) do
    local quick = f ~= require
    pcall(f)
    for _, v in ipairs(values) do if quick then pcall(f, v) end end
    for _ = 1, 12 do pcall(f, pick(), pick()) pcall(f, pick(), pick(), pick()) end
    n = n + 1
  end
  io.write("called ", n, "\n")
]], 60, 2000)
os.remove(name)
t.done()
