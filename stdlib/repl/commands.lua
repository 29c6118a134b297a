-- commands.lua: the prompt's % commands.  Each is a function of the rest of the line; its comment is its help.
local session = require "repl.session"
local style = require "repl.style"
local term = require "moth.term"
local units = require "repl.units"

local commands = {}
local list = {}              -- name -> { run, usage, doc }

local function command(name, usage, doc, run) list[name] = { run = run, usage = usage, doc = doc } end

function commands.names()
  local out = {}
  for name in pairs(list) do out[#out + 1] = name end
  table.sort(out)
  return out
end

function commands.run(name, rest)
  local c = list[name == "" and "help" or name]
  if c and c.usage:find("STATEMENT", 1, true) and not rest:find("%S") then
    print("usage: " .. c.usage .. style.paint("hint", "   " .. c.doc))
    return
  end
  if c then return c.run(rest) end
  local near = require("repl.suggest").nearest(name, commands.names())
  print(style.paint("error", "error: ") .. "there is no %" .. name ..
    (near and " (did you mean %" .. near .. "?)" or "") ..
    "; %help lists them")
end

command("help", "%help", "lists these commands", function()
  for _, name in ipairs(commands.names()) do
    local c = list[name]
    print(require("repl.help").fold("  " .. c.usage .. (" "):rep(math.max(2, 26 - #c.usage)) .. c.doc))
  end
end)

-- ---- time ----
local function duration(seconds)
  if seconds < 1e-6 then return string.format("%.3g ns", seconds * 1e9) end
  if seconds < 1e-3 then return string.format("%.3g us", seconds * 1e6) end
  if seconds < 1 then return string.format("%.3g ms", seconds * 1e3) end
  return string.format("%.3g s", seconds)
end

--- A chunk of the session for text, or nil after saying why not.
local function compile(text)
  local units_list, message = units.split(text)
  if not units_list or #units_list ~= 1 then
    if not message or message == "incomplete" then message = "input:1: unfinished" end
    print(require("repl.errors").format_syntax(text, message))
    return nil
  end
  local chunk = "=[%]"
  require("repl.errors").remember(chunk, text)
  local fn, new = units.compile(units_list[1], chunk)
  if not fn then print(require("repl.errors").format_syntax(text, new)) return nil end
  return fn, units_list[1], new
end

--- Tensors that are alive: with the collector stopped, the difference over a call is what it allocated.
local function live_tensors()
  local torch = rawget(_G, "torch")
  local count = type(torch) == "table" and rawget(torch, "_live")
  return type(count) == "function" and select(2, count()) or nil
end

command("time", "%time STATEMENT", "runs it once and says how long it took", function(text)
  local fn = compile(text)
  if not fn then return end
  local cpu, wall = os.clock(), term.clock()
  local results = table.pack(session.protected(fn))
  wall, cpu = term.clock() - wall, os.clock() - cpu
  if not results[1] then error(results[2], 0) end
  for i = 2, results.n do print(require("repl.echo").format(results[i])) end
  print(style.paint("hint", string.format("%s (CPU %s)", duration(wall), duration(cpu))))
end)

local function run_times(fn, n)
  local start = term.clock()
  for _ = 1, n do fn() end
  return term.clock() - start
end

command("timeit", "%timeit STATEMENT", "repeats it and gives the best and the median time", function(text)
  local fn = compile(text)
  if not fn then return end
  local ok, report = session.protected(fn)
  if not ok then error(report, 0) end
  local n, spent = 1, run_times(fn, 1)
  while spent < 0.05 and n < 1e8 do
    n = spent > 0 and math.max(n * 2, math.floor(n * 0.06 / spent)) or n * 10
    spent = run_times(fn, n)
  end
  local times, runs = {}, spent > 1 and 3 or 7
  collectgarbage()
  for i = 1, runs do times[i] = run_times(fn, n) / n end
  collectgarbage()
  collectgarbage("stop")
  local memory, made = collectgarbage("count"), live_tensors()
  fn()
  made = made and live_tensors() - made
  memory = (collectgarbage("count") - memory) * 1024
  collectgarbage("restart")
  table.sort(times)
  local notes = {}
  if made then notes[1] = string.format("%d tensor%s allocated", made, made == 1 and "" or "s") end
  if memory >= 1 then notes[#notes + 1] = string.format("%d bytes of Lua memory", memory // 1) end
  print(string.format("%s per call, median %s%s (min of %d runs of %d)", duration(times[1]),
    duration(times[(runs + 1) // 2]), #notes > 0 and ", " .. table.concat(notes, ", ") or "", runs, n))
end)

-- ---- profile ----
--- Lua functions by samples: for what the engine's profiler does not see.
local function sample_lua(fn)
  local counts, total = {}, 0
  debug.sethook(function()
    local info = debug.getinfo(2, "Sl")
    if info then
      local where = info.short_src .. ":" .. (info.currentline or 0)
      counts[where] = (counts[where] or 0) + 1
      total = total + 1
    end
  end, "", 1000)
  local results = table.pack(session.protected(fn))
  debug.sethook()
  if not results[1] then error(results[2], 0) end
  local order = {}
  for where in pairs(counts) do order[#order + 1] = where end
  table.sort(order, function(a, b) return counts[a] > counts[b] end)
  for i = 1, math.min(#order, 15) do
    print(string.format("  %5.1f%%  %s", 100 * counts[order[i]] / total, order[i]))
  end
end

command("prof", "%prof STATEMENT", "time by op (or by Lua line); %prof -t FILE writes a Chrome trace", function(text)
  local trace, rest = text:match("^%-t%s+(%S+)%s+(.*)$")
  local fn = compile(rest or text)
  if not fn then return end
  local profile = require "profile"
  local core = require "moth.profile"
  core.start(trace and 1000000 or 0)
  local ok, report = session.protected(fn)
  local rows, events, seconds = core.stop()
  if not ok then error(report, 0) end
  if #rows == 0 then return sample_lua(fn) end
  print(profile.format(rows, seconds))
  if not trace then return end
  local f, err = io.open(trace, "w")
  if not f then print(style.paint("error", "error: ") .. err) return end
  f:write(profile.trace(events))
  f:close()
  print(trace .. " can be opened in chrome://tracing or ui.perfetto.dev")
end)

-- ---- memory and names ----
command("mem", "%mem", "memory of Lua, of tensors, of the process", function()
  print(string.format("  Lua      %.1f MB", collectgarbage("count") / 1024))
  local torch = rawget(_G, "torch")
  local live = type(torch) == "table" and rawget(torch, "_live")
  if type(live) == "function" then
    local bytes, count = live()
    print(string.format("  tensors  %.1f MB in %d", bytes / 2 ^ 20, count))
  end
  local f = io.open("/proc/self/status")
  if f then
    local text = f:read("a")
    f:close()
    local now, peak = text:match("VmRSS:%s*(%d+)"), text:match("VmHWM:%s*(%d+)")
    if now then print(string.format("  process  %.1f MB, at most %.1f MB", now / 1024, peak / 1024)) end
  end
end)

local at_start = {}
for k in next, _G do at_start[k] = true end

--- The session's own names and values, sorted.
local function own_names()
  local seen, out = {}, {}
  for name, value in units.locals() do
    seen[name] = true
    out[#out + 1] = { name, value, "local" }
  end
  for name, value in next, _G do
    if type(name) == "string" and not at_start[name] and not seen[name] and not name:find("^_%d*$") then
      out[#out + 1] = { name, value, "global" }
    end
  end
  table.sort(out, function(a, b) return a[1] < b[1] end)
  return out
end

command("who", "%who", "the variables of the session", function()
  local echo = require "repl.echo"
  for _, entry in ipairs(own_names()) do
    local text = echo.tensor_facts(entry[2]) or echo.format(entry[2]):match("[^\n]*")
    print(string.format("  %-12s %-9s %s", entry[1], type(entry[2]) == "userdata" and "" or type(entry[2]), text))
  end
end)

-- ---- the session in files ----
command("history", "%history [N|WORD]", "the last N blocks typed (all sessions), or those with a word", function(text)
  local word = not tonumber(text) and text:match("%S.*")
  local found = 0
  for _, block in ipairs(term.history(word and 100000 or tonumber(text) or 30)) do
    if not word or block:find(word, 1, true) then
      print("  " .. style.lua(style.safe(block)):gsub("\n", "\n  "))
      found = found + 1
    end
  end
  if word and found == 0 then print("  nothing in the history has '" .. style.safe(word) .. "'") end
end)

command("save", "%save FILE.lua", "writes what this session ran as a script", function(text)
  local path = text:match("^%S+")
  if not path then print("usage: %save FILE.lua") return end
  local f, err = io.open(path, "w")
  if not f then print(style.paint("error", "error: ") .. err) return end
  f:write("-- a Moth session; %restore ", path, " runs it again at the prompt\n")
  for _, input in ipairs(session.inputs) do
    local kind = units.split(input)
    if kind and #kind == 1 and kind[1].kind == "expr" and not load(input, "=i", "t") then
      f:write("print(", (input:gsub(";%s*$", "")), ")\n")
    else f:write(input, "\n") end
  end
  local ok, why = f:close()
  print(ok and string.format("%d blocks in %s", #session.inputs, path) or "error: " .. why)
end)

command("restore", "%restore FILE.lua", "runs a saved session here: its variables live on", function(text)
  local path = text:match("^%S+")
  if not path then print("usage: %restore FILE.lua") return end
  local f, err = io.open(path)
  if not f then print(style.paint("error", "error: ") .. err) return end
  local source = f:read("a")
  f:close()
  session.run(source)
end)

--- Text changed in the user's own editor; nil when that failed.
function commands.edit(text)
  local name = os.tmpname()
  local path = name .. ".lua"
  os.rename(name, path)
  local f = io.open(path, "w")
  if not f then return nil end
  f:write(text, "\n")
  f:close()
  local editor = os.getenv("VISUAL") or os.getenv("EDITOR") or "vi"
  local ok = os.execute(editor .. " '" .. path .. "'")
  f = io.open(path)
  local changed = f and f:read("a"):gsub("%s+$", "")
  if f then f:close() end
  os.remove(path)
  return ok and changed or text
end

command("edit", "%edit [NAME]", "writes a block in $EDITOR, then runs it; ^X does it with the block being typed",
  function(text)
    local start = ""
    if text ~= "" then
      local found, value = session.evaluate(text)
      start = found and type(value) == "function" and require("repl.help").source(value) or text
      start = start:gsub("\27%[[%d;]*m", "")
    end
    local changed = commands.edit(start)
    if changed and changed:find("%S") and changed ~= start then
      print(style.lua(changed))
      session.run(changed)
    end
  end)

-- ---- reload ----
local stamps = {}
local started = session.started

--- Was the file written since the session began?
local function is_newer(path)
  local ok, facts = pcall(function() return require("sys").stat(path) end)
  return not ok or not facts or not facts.mtime or facts.mtime >= started
end

local function stamp(path)
  local f = io.open(path, "rb")
  if not f then return nil end
  local text = f:read("a")
  f:close()
  local sum = #text
  for i = 1, #text, math.max(1, #text // 4096) do sum = (sum * 31 + text:byte(i)) & 0xFFFFFFFF end
  return sum
end

--- Modules loaded from files: name, path.
local function file_modules()
  local out = {}
  for name in pairs(package.loaded) do
    local path = type(name) == "string" and package.searchpath(name, package.path)
    if path then out[#out + 1] = { name, path } end
  end
  return out
end

command("reload", "%reload [MODULE]", "loads changed modules anew; their tables keep their identity", function(text)
  local wanted, count = text:match("^%S+"), 0
  for _, entry in ipairs(file_modules()) do
    local name, path = entry[1], entry[2]
    local now = stamp(path)
    local changed = now ~= stamps[name] and (stamps[name] or is_newer(path))
    if (not wanted and changed or wanted == name) and now then
      local old = package.loaded[name]
      package.loaded[name] = nil
      local ok, new = pcall(require, name)
      if not ok then
        package.loaded[name] = old
        print(style.paint("error", "error: ") .. tostring(new))
      else
        if type(old) == "table" and type(new) == "table" and old ~= new then     -- others hold the old table
          for k in pairs(old) do old[k] = nil end
          for k, v in pairs(new) do old[k] = v end
          setmetatable(old, getmetatable(new))
          package.loaded[name] = old
        end
        print("  loaded " .. name .. " from " .. path)
        count = count + 1
      end
      stamps[name] = now
    end
  end
  if count > 0 then return end
  print(wanted and "  no module '" .. wanted .. "' is loaded from a file" or "  nothing has changed")
end)

command("clear", "%clear", "clears the screen", function() io.stdout:write("\27[H\27[2J") end)

command("tour", "%tour [N]", "a guided walk in a few steps, each shown and run", function(text)
  require("repl.tour").command(text)
end)

return commands
