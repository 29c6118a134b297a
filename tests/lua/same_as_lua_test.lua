-- The language as lua5.4 has it: the same snippets run under moth and under lua5.4 and must print the same, errors too.
-- Chosen are the places where moth has functions of its own (strings, tables, coroutines, load, pcall, print) and the
-- corners of script mode; addresses are cut out.
local t = require "check"
local moth = os.getenv("MOTH") or "build/moth"
if moth == "lua5.4" then moth = "build/moth" end

-- Each line of the file is one snippet; its results or its error are printed.
local snippets = {}
for line in io.lines("tests/data/same_as_lua.txt") do snippets[#snippets + 1] = line end

-- Random patterns over random texts: what find, match, gmatch and gsub do with them.
local seed = 12345
local function random(n)
  seed = (seed * 1103515245 + 12345) % 2147483648
  return seed // 65536 % n + 1
end
local atoms = { "a", "b", ".", "%a", "%d", "[ab]", "[^a]", "(a)", "(", ")", "()", "*", "+", "-", "?", "^", "$", "%b()",
  "%f[%w]", "%1", "[a-c]", "%s", "%%", "1", " " }
for _ = 1, 400 do
  local pattern, text = {}, {}
  for i = 1, random(5) do pattern[i] = atoms[random(#atoms)] end
  for i = 1, random(12) do text[i] = ("ab1( )c%"):sub(random(8), -1):sub(1, 1) end
  local p, s = string.format("%q", table.concat(pattern)), string.format("%q", table.concat(text))
  snippets[#snippets + 1] = ("local r = {pcall(string.find, %s, %s)} r[#r + 1] = '|' " ..
    "for _, v in ipairs{pcall(string.gsub, %s, %s, '<%%0>')} do r[#r + 1] = v end " ..
    "for i = 1, #r do r[i] = tostring(r[i]) end return table.concat(r, ' ')")
    :format(s, p, s, p)
end

local script, out = os.tmpname(), os.tmpname()
local function write(path, text)
  local f = assert(io.open(path, "wb"))
  f:write(text)
  f:close()
end
local parts = { "local show = function(n, ok, ...) local v = table.pack(...) for i = 1, v.n do v[i] = " ..
  "tostring(v[i]):gsub('0x%x+', 'ADDR') end print(n, ok, table.concat(v, '\\t')) end\n" }
for i, text in ipairs(snippets) do
  parts[#parts + 1] = ("do local f, m = load(%q, '=s') if f then show(%d, pcall(f)) else show(%d, 'load', m) end end\n")
    :format(text, i, i)
end
write(script, table.concat(parts))

local function run(program)
  os.execute(("%s %s >%s 2>&1"):format(program, script, out))
  local list, at = {}, nil
  for line in io.lines(out) do
    local n = line:match("^(%d+)\t")
    if n and tonumber(n) <= #snippets then at = tonumber(n) end
    if at then list[at] = (list[at] or "") .. line .. "\n" end
  end
  return list
end

local want, got = run("lua5.4"), run(moth)
for i, text in ipairs(snippets) do
  t.test(text, function()
    if not want[i] then error("lua5.4 says nothing") end
    -- what moth says on purpose differently: text only, and its own modules among the places searched
    local a, b = want[i]:gsub("no field package.*", ""), (got[i] or "nothing"):gsub("no field package.*", "")
    b = b:gsub("attempt to load a binary chunk %(mode is 't'%)", "TEXT ONLY")
    a = a:gsub("[^\t]*: bad binary format %(truncated chunk%)", "TEXT ONLY")
    t.eq(b, a)
  end)
end
os.remove(script)
os.remove(out)
t.done()
