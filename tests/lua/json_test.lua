-- json_test.lua: decoding, encoding, order, exactness, refusals.
package.path = "tests/lua/?.lua;" .. package.path
local t, json = require "check", require "json"

local function keys(o)
  local list = {}
  for k in pairs(o) do list[#list + 1] = k end
  return list
end

t.test("scalars", function()
  t.eq(json.decode("1"), 1); t.eq(json.decode(" 1.0 "), 1.0); t.eq(json.decode("-0"), 0)
  t.eq(json.decode("true"), true); t.eq(json.decode("false"), false)
  t.ok(json.decode("null") == json.null); t.eq(tostring(json.null), "None")
  t.eq(json.decode("9223372036854775807"), math.maxinteger)
  t.eq(json.decode("-9223372036854775808"), math.mininteger)
  t.eq(json.decode("1e3"), 1000.0); t.eq(json.decode("0.1"), 0.1); t.eq(json.decode("5e-324"), 5e-324)
  t.eq(json.decode("1.7976931348623157e308"), 1.7976931348623157e308)
  t.eq(json.decode("123456789012345678.5"), 123456789012345678.5)
  t.eq(json.decode('"a\\u00e9\\n\\ud83d\\ude00\\/\\u0000"'), "a\u{e9}\n\u{1f600}/\0")
  t.eq(json.decode('"\u{e9}\\t"'), "\u{e9}\t")
end)

t.test("big integers stay exact", function()
  t.eq(json.decode("1000000000000000019884624838656"), 1000000000000000019884624838656.0)
  local b = json.decode("[18446744073709551615, 9223372036854775809]")
  t.eq(tostring(b[1]), "18446744073709551615")
  t.eq(json.encode(b), "[18446744073709551615,9223372036854775809]")
  t.ok(b[1] == json.decode("18446744073709551615") and b[1] ~= b[2])
end)

t.test("order and emptiness", function()
  local o = json.decode('{"z":1,"a":[],"m":{},"__index":2,"__gc":3,"z":4}')
  t.eq(keys(o), { "z", "a", "m", "__index", "__gc" })
  t.eq(o.z, 4); t.eq(o.nothing, nil)
  t.eq(json.encode(o), '{"z":4,"a":[],"m":{},"__index":2,"__gc":3}')
  o.new = 5; o.a = nil
  t.eq(keys(o), { "z", "m", "__index", "__gc", "new" })
  o.a = 6
  t.eq(keys(o), { "z", "m", "__index", "__gc", "new", "a" })
  o.z = nil; o.z = 7; o.z = nil; o.z = 8
  t.eq(keys(o), { "m", "__index", "__gc", "new", "a", "z" })
  t.eq(next(json.decode("{}")), nil)
  t.eq(json.is_object(json.decode("{}")), true); t.eq(json.is_object(json.decode("[]")), false)
  t.eq(#json.decode("[1,[2,[3]],null]"), 3)
end)

t.test("encode", function()
  t.eq(json.encode({}), "[]"); t.eq(json.encode(json.object()), "{}")
  t.eq(json.encode({ b = 1, a = { 1, 2.0, 0.1, "x\"\\\n\1" } }), '{"a":[1,2.0,0.1,"x\\"\\\\\\n\\u0001"],"b":1}')
  t.eq(json.encode({ json.null, true }), "[null,true]")
  t.eq(json.encode(1e30), "1e+30"); t.eq(json.encode(1 / 3), "0.3333333333333333"); t.eq(json.encode(-0.0), "-0.0")
  t.eq(json.encode("\u{e9}\u{1f600}", { ascii = true }), '"\\u00e9\\ud83d\\ude00"')
  t.eq(json.encode({ a = { 1 }, b = {} }, { indent = 2 }), '{\n  "a": [\n    1\n  ],\n  "b": []\n}')
  t.eq(json.encode(0 / 0, { allow_nan = true }), "NaN")
  t.ok(json.decode("[-Infinity]", { allow_nan = true })[1] == -math.huge)
  local o = json.object({ z = 1, a = 2 })
  o.m = 3
  t.eq(json.encode(o), '{"a":2,"z":1,"m":3}')
  t.eq(json.encode(json.decode('{"b":1,"a":2}'), { sort_keys = true }), '{"a":2,"b":1}')
  for _ = 1, 2000 do
    local d = string.unpack("d", string.pack("I8", math.random(0)))
    if d == d and d - d == 0 then t.eq(json.decode(json.encode(d)), d) end
  end
end)

t.test("refused values", function()
  local loop = {}
  loop[1] = loop
  t.error_matches(function() json.encode(loop) end, "contain itself")
  t.error_matches(function() json.encode({ 1, a = 2 }) end, "both")
  t.error_matches(function() json.encode({ 1, nil, 3, [7] = 1 }) end, "hole")
  t.error_matches(function() json.encode({ [1.5] = 1 }) end, "list")
  t.error_matches(function() json.encode(print) end, "function")
  t.error_matches(function() json.encode(0 / 0) end, "nan")
  t.error_matches(function() json.encode("a\xff") end, "byte 1")
  t.error_matches(function() json.encode({ [true] = 1 }) end, "list")
end)

t.test("refused texts", function()
  for text, part in pairs {
    [""] = "end at byte 0", ["[1,]"] = "byte 3", ["[1 2]"] = "',' or ']' at byte 3",
    ["{\"a\" 1}"] = "':' at byte 5", ["{a:1}"] = "key at byte 1", ["01"] = "zero at byte 0",
    ["1."] = "number", ["-"] = "number", ["1e"] = "number", ["+1"] = "unexpected", ["1e999"] = "range",
    ["NaN"] = "NaN", ["nul"] = "unexpected", ["[1"] = "byte 2", ["\"a"] = "unfinished",
    ["\"\1\""] = "control", ["\"\xff\""] = "UTF-8 at byte 1", ["\"\xed\xa0\x80\""] = "UTF-8",
    ["\"\xc0\x80\""] = "UTF-8", ["\"\xf4\x90\x80\x80\""] = "UTF-8", ["\"\\x\""] = "escape",
    ["\"\\u12g4\""] = "escape", ["\"\\ud800\""] = "surrogate", ["\"\\udc00\""] = "surrogate",
    ["\"\\ud800\\u0041\""] = "surrogate", ["1 2"] = "after", ["[]]"] = "after at byte 2",
    ["{\"a\":1,}"] = "key at byte 7", ["\xef\xbb\xbf1"] = "byte 0", ["\"a\\"] = "escape",
    ["[\"\\n\xff\"]"] = "UTF-8 at byte 4",
  } do
    if part == "after at byte 2" then part = "after the value at byte 2" end
    local ok, err = pcall(json.decode, text)
    t.ok(not ok and err:find(part, 1, true), string.format("%q: %s", text, tostring(err)))
  end
  t.error_matches(function() json.decode(string.rep("[", 100000)) end, "deep")
  local deep = string.rep("[", 900) .. string.rep("]", 900)
  t.eq(json.encode(json.decode(deep)), deep)
end)

t.test("files", function()
  local path = os.tmpname()
  json.save(path, { a = 1 })
  t.eq(json.load(path).a, 1)
  local f = assert(io.open(path, "w")); f:write("[1,"); f:close()
  t.error_matches(function() json.load(path) end, path)
  os.remove(path)
  t.error_matches(function() json.load(path) end, "No such file")
end)

t.test("no files in the sandbox", function()
  local sys = require "sys"
  local moth = sys.realpath("/proc/self/exe")
  if not moth:find("moth", 1, true) then return end
  local script = os.tmpname()
  sys.write(script, 'local j = require "json" print(j.load, j.save, j.encode({ 1 }))')
  t.eq(sys.run({ moth, "--sandbox", script }).stdout, "nil\tnil\t[1]\n")
  os.remove(script)
end)

t.test("many keys", function()
  local parts = {}
  for i = 1, 20000 do parts[i] = string.format("%q:%d", "key" .. i, i) end
  local text = "{" .. table.concat(parts, ",") .. "}"
  local o = json.decode(text)
  t.eq(o.key777, 777); t.eq(json.encode(o), text)
end)
t.done()
