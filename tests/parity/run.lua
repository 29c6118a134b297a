-- run.lua: replays a folder of recorded PyTorch cases and reports.  It runs under plain lua5.4 (or moth) and starts the
-- engine as a child; a child that dies is replaced and the record it died at counts as failed.
-- usage: run.lua GOLDEN_DIR [--moth PATH] [--ops GLOB,..] [--list FILE] [--show N] [--green FILE] [--quiet] [--nograd]
--   --list FILE   only the ops named in FILE (one a line, # comments)
--   --green FILE  write the names of the ops whose every record passed
local dir = arg[0]:match("^(.*)/[^/]*$") or "."

local opt = { moth = "build/moth", show = 3, ops = "*", timeout = 120 }
local golden
do
  local i = 1
  local flags = { ["--quiet"] = "quiet", ["--nograd"] = "nograd" }
  local values = { ["--moth"] = "moth", ["--ops"] = "ops", ["--list"] = "list", ["--show"] = "show",
                   ["--green"] = "green", ["--timeout"] = "timeout" }
  while arg[i] do
    if flags[arg[i]] then opt[flags[arg[i]]] = true
    elseif values[arg[i]] then
      opt[values[arg[i]]] = arg[i + 1]
      i = i + 1
    else golden = arg[i] end
    i = i + 1
  end
end
if not golden then
  io.stderr:write("usage: run.lua GOLDEN_DIR [--ops GLOB,...] [--list FILE] [--moth PATH] [--show N] [--quiet]\n")
  os.exit(2)
end

local function quote(s) return "'" .. s:gsub("'", "'\\''") .. "'" end

local function glob_matcher(text)
  local patterns = {}
  for g in text:gmatch("[^,%s]+") do
    local p = g:gsub("[%^%$%(%)%%%.%[%]%+%-]", "%%%0"):gsub("%*", ".*"):gsub("%?", ".")
    patterns[#patterns + 1] = "^" .. p .. "$"
  end
  return function(name)
    for _, p in ipairs(patterns) do if name:find(p) then return true end end
    return false
  end
end

local function exists(path)
  local f = io.open(path, "rb")
  if f then f:close() end
  return f ~= nil
end

local function files_of()
  local wanted, list, all = glob_matcher(opt.ops), {}, {}
  local p = io.popen("ls " .. quote(golden .. "/ops") .. " 2>/dev/null")
  for f in p:lines() do
    local name = f:match("^(.*)%.jsonl$")
    if name then all[#all + 1] = name end
  end
  p:close()
  for _, name in ipairs { "modules", "optimizers" } do
    if exists(golden .. "/" .. name .. ".jsonl") then all[#all + 1] = name end
  end
  local named
  if opt.list then
    named = {}
    for line in io.lines(opt.list) do
      local name = line:gsub("#.*", ""):match("^%s*(%S+)%s*$")
      if name then named[name] = true end
    end
  end
  for _, name in ipairs(all) do
    if wanted(name) and (not named or named[name]) then list[#list + 1] = name end
  end
  return list
end

local stats, order = {}, {}

local function stat(file)
  local s = stats[file]
  if not s then
    s = { pass = 0, fail = 0, crash = 0, missing = 0, fails = {} }
    stats[file] = s
    order[#order + 1] = file
  end
  return s
end

local function add_failure(s, id, text)
  s.fail = s.fail + 1
  if #s.fails < tonumber(opt.show) then s.fails[#s.fails + 1] = { id, text } end
end

-- One child over files[first..]; returns the next file and record to go on with, or nil when all is done.
local function run_child(files, first, record)
  local list = os.tmpname()
  local f = assert(io.open(list, "w"))
  for i = first, #files do f:write(files[i], "\n") end
  f:close()
  local command = string.format("timeout -s KILL %s %s %s/child.lua %s %d %s < %s 2>&1", opt.timeout, quote(opt.moth),
    dir, quote(golden), record, opt.nograd and "nograd" or "grad", list)
  local p = io.popen(command)
  local at, n, id, s, last = first - 1, record, nil, nil, ""
  for line in p:lines() do
    local tag, rest = line:match("^@(%u) ?(.*)$")
    if tag == "F" then
      at = at + 1
      s = stat(rest)
    elseif tag == "B" then
      n, id = rest:match("^(%d+) (.*)$")
      n = tonumber(n)
    elseif tag == "P" then
      s.pass = s.pass + 1
      id = nil
    elseif tag == "X" then
      add_failure(s, id, rest)
      id = nil
    elseif tag == "M" then
      s.missing = s.missing + 1
      s.lacks = rest
      add_failure(s, id, "missing " .. rest)
      id = nil
    elseif tag == "E" then
      id, n = nil, 0
    elseif not tag then
      last = line
    end
  end
  local _, how, code = p:close()
  os.remove(list)
  if how == "exit" and code == 0 and id == nil and at == #files then return nil end
  if at < first then return nil, "the engine did not start: " .. last end
  if id then
    s.crash = s.crash + 1
    add_failure(s, id, string.format("the process ended here (%s %s) %s", how, tostring(code), last:sub(1, 300)))
    return at, nil, n + 1
  end
  return at, nil, n + 1
end

local files = files_of()
local started = os.time()
local at, record = 1, 1
while at and #files > 0 and at <= #files do
  local next_file, err, next_record = run_child(files, at, record)
  if err then
    print(err)
    print("0 passed, 1 failed")
    os.exit(1)
  end
  at, record = next_file, next_record
end

local pass, fail, green = 0, 0, {}
if not opt.quiet then print(string.format("%-44s %7s %7s %7s", "op", "records", "passed", "failed")) end
for _, file in ipairs(order) do
  local s = stats[file]
  pass, fail = pass + s.pass, fail + s.fail
  if s.fail == 0 then green[#green + 1] = file end
  if not opt.quiet or s.fail > 0 then
    local note = s.missing == s.fail and s.missing > 0 and "  missing " .. s.lacks
      or s.crash > 0 and string.format("  %d ended the process", s.crash) or ""
    print(string.format("%-44s %7d %7d %7d%s", file, s.pass + s.fail, s.pass, s.fail, note))
  end
end
for _, file in ipairs(order) do
  local s = stats[file]
  if s.fail > 0 and s.missing < s.fail then
    for _, x in ipairs(s.fails) do print("FAIL " .. x[1] .. ": " .. x[2]) end
  end
end
if opt.green then
  local f = assert(io.open(opt.green, "w"))
  f:write(table.concat(green, "\n"), #green > 0 and "\n" or "")
  f:close()
end
if not opt.quiet then
  print(string.format("%d of %d ops complete, %d s", #green, #order, os.time() - started))
end
print(string.format("%d passed, %d failed", pass, fail))
os.exit(fail == 0 and pass > 0)
