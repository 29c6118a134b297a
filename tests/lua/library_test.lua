-- Our own string and table functions behave as Lua's: values, messages, limits.
local t = require "check"

t.test("find and match", function()
  t.eq({ ("hello"):find("l+") }, { 3, 4 })
  t.eq({ ("hello"):find("l", 1, true) }, { 3, 3 })
  t.eq({ ("a+b"):find("+", 1, true) }, { 2, 2 })
  t.eq({ ("hello"):find("") }, { 1, 0 })
  t.eq({ ("hello"):find("", 6) }, { 6, 5 })
  t.eq(("hello"):find("", 7), nil)
  t.eq({ ("key = value"):match("(%w+)%s*=%s*(%w+)") }, { "key", "value" })
  t.eq({ ("  x"):match("^()%s*()") }, { 1, 3 })
  t.eq(("THE (quick) fox"):match("%((%a+)%)"), "quick")
  t.eq(("f(a(b)c)d"):match("%b()"), "(a(b)c)")
  t.eq(("THE (quick) fox"):find("%f[%a]%a+%f[%A]", 2), 6)
  t.eq(("abcabc"):match("(abc)%1"), "abc")
  t.eq(("a\0b"):match("[%z]"), "\0")
  t.eq(("]"):match("[]]"), "]")
  t.eq(("a-z"):match("[a%-z]+"), "a-z")
  t.eq(("alo"):match("(.-)$"), "alo")
end)

t.test("gmatch", function()
  local list = {}
  for k, v in ("a=1, b=2"):gmatch("(%w+)=(%w+)") do list[#list + 1] = k .. v end
  t.eq(list, { "a1", "b2" })
  list = {}
  for p in ("abc"):gmatch("()") do list[#list + 1] = p end
  t.eq(list, { 1, 2, 3, 4 })
  t.eq(("abc"):gmatch("%w", 3)(), "c")
  t.eq(("abc"):gmatch("%w", 10)(), nil)
end)

t.test("gsub", function()
  t.eq({ ("hello world"):gsub("o", "0") }, { "hell0 w0rld", 2 })
  t.eq({ ("hello"):gsub("", "-") }, { "-h-e-l-l-o-", 6 })
  t.eq(("abc"):gsub("%w", "%0%0"), "aabbcc")
  t.eq(("abc def"):gsub("(%w+) (%w+)", "%2 %1"), "def abc")
  t.eq(("$name"):gsub("%$(%w+)", { name = "moth" }), "moth")
  t.eq(("abc"):gsub("%w", function(c) if c == "b" then return "B" end end), "aBc")
  t.eq({ ("abc"):gsub("%w", "x", 2) }, { "xxc", 2 })
  t.eq({ ("aaa"):gsub("^a", "b") }, { "baa", 1 })
  t.eq(("abc"):gsub("()", "%1"), "1a2b3c4")
end)

t.test("pattern errors", function()
  t.error_matches(function() return ("a"):find("[a") end, "malformed pattern (missing ']')")
  t.error_matches(function() return ("a"):find("%") end, "malformed pattern (ends with '%')")
  t.error_matches(function() return ("a"):find("(a") end, "unfinished capture")
  t.error_matches(function() return ("a"):find("(a))") end, "invalid pattern capture")
  t.error_matches(function() return ("a"):find("%1") end, "invalid capture index %1")
  t.error_matches(function() return ("a"):find("%f") end, "missing '[' after '%f' in pattern")
  t.error_matches(function() return ("a"):gsub("a", "%2") end, "invalid capture index %2")
  t.error_matches(function() return ("a"):gsub("a", "%") end, "invalid use of '%' in replacement string")
  t.error_matches(function() return ("a"):gsub("a", function() return {} end) end,
    "invalid replacement value (a table)")
  t.error_matches(function() return ("a"):gsub("a", true) end, "string/function/table")
  t.error_matches(function() return ("x"):rep(300000):find(("(x?)"):rep(40)) end, "too many captures")
  t.error_matches(function() return ("a"):rep(1000):find(("a?"):rep(1000) .. "b") end, "pattern too complex")
end)

t.test("rep", function()
  t.eq(("ab"):rep(3, "-"), "ab-ab-ab")
  t.eq(("ab"):rep(0), "")
  t.eq(("ab"):rep(-1), "")
  t.error_matches(function() return ("x"):rep(1 << 40) end, "resulting string too large")
end)

t.test("sort", function()
  for n = 0, 200 do
    local list, sum = {}, 0
    for i = 1, n do
      list[i] = (i * 7919 + n) % 101
      sum = sum + list[i]
    end
    table.sort(list)
    for i = 2, n do assert(list[i - 1] <= list[i]) end
    table.sort(list, function(a, b) return a > b end)
    for i = 1, n do
      sum = sum - list[i]
      assert(i == 1 or list[i - 1] >= list[i])
    end
    assert(sum == 0)
  end
  t.error_matches(function() table.sort({ 1, "a" }) end, "attempt to compare")
  t.error_matches(function()
    local list = {}
    for i = 1, 500 do list[i] = i % 7 end
    table.sort(list, function() return true end)
  end, "invalid order function for sorting")
  t.error_matches(function() table.sort({ 1, 2 }, 5) end, "function expected")
  local proxy = setmetatable({}, { __len = function() return 3 end, __index = function(_, i) return 4 - i end,
    __newindex = rawset })
  table.sort(proxy)
  t.eq({ rawget(proxy, 1), proxy[2], rawget(proxy, 3) }, { 1, 2, 3 })
end)

t.test("concat and move", function()
  t.eq(table.concat({ 1, "b", 2.5 }, ","), "1,b,2.5")
  t.eq(table.concat({}, ","), "")
  t.eq(table.concat({ 1, 2, 3 }, ",", 2, 3), "2,3")
  t.error_matches(function() return table.concat { 1, {}, 3 } end,
    "invalid value (table) at index 2 in table for 'concat'")
  t.eq(table.move({ 1, 2, 3 }, 1, 3, 2), { 1, 1, 2, 3 })
  t.eq(table.move({ 1, 2, 3 }, 2, 3, 1), { 2, 3, 3 })
  t.eq(table.move({ 1, 2 }, 1, 2, 3, { 8, 9 }), { 8, 9, 1, 2 })
  t.error_matches(function() table.move({}, 1, math.maxinteger, 2) end, "destination wrap around")
end)

t.test("load takes text", function()
  t.eq(load("return 1 + 1")(), 2)
  local pieces = { "return ", "4", "2" }
  t.eq(load(function() return table.remove(pieces, 1) end)(), 42)
  t.eq(load("return x", "chunk", "t", { x = 7 })(), 7)
  t.eq(select(2, load("x =")), '[string "x ="]:1: unexpected symbol near <eof>')
  t.error_matches(function() assert(load(function() return {} end)) end, "reader function must return a string")
end)

t.test("coroutines", function()
  local co = coroutine.create(function(a) local b = coroutine.yield(a + 1) return b * 2 end)
  t.eq({ coroutine.resume(co, 1) }, { true, 2 })
  t.eq({ coroutine.resume(co, 5) }, { true, 10 })
  t.eq({ coroutine.resume(co) }, { false, "cannot resume dead coroutine" })
  local gen = coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end)
  t.eq({ gen(), gen(), gen() }, { 1, 2, 3 })
  t.error_matches(coroutine.wrap(function() error("inside") end), "inside")
  t.eq({ pcall(coroutine.wrap(function() return pcall(coroutine.yield, 1) end)) }, { true, 1 })
  t.eq(select("#", pcall(error)), 2)
  t.eq({ xpcall(function(a) return a end, print, 5) }, { true, 5 })
  t.eq({ xpcall(error, function(m) return m .. "!" end, "x") }, { false, "x!" })
end)

t.done()
