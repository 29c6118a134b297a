-- child.lua: replays records in this process and says so line by line, so that the parent can name the record at which
-- the process ended.  usage: child.lua DIR FROM_RECORD [nograd] < list of files (first starts at FROM_RECORD)
-- Lines: "@F file", "@B n id" (about to run), "@P" (passed), "@X text" (failed), "@M name" (the engine lacks it),
-- "@E" (file done).
local dir = arg[0]:match("^(.*)/[^/]*$") or "."
package.path = dir .. "/?.lua;" .. package.path
local json, store, replay = require "json", require "store", require "replay"
local golden, from, mode = arg[1], tonumber(arg[2]) or 1, arg[3]
if mode == "nograd" then                 -- forward values only
  replay.skip_grad, require("build").forward_only, require("compare").forward_only = true, true, true
end
require("compare").strict = os.getenv("MOTH_PARITY_STRICT") ~= nil
local out = io.stdout
out:setvbuf("full", 1 << 16)

local function kind_of(file)
  if file == "modules" then return replay.module end
  if file == "optimizers" then return replay.optimizer end
  return replay.op
end

local function one_line(s) return (tostring(s):gsub("[\r\n]+", " | "):sub(1, 400)) end

local function run(fn, rec, st)
  local ok, err = xpcall(fn, function(e)
    if type(e) == "table" and (e.mismatch or e.missing) then return e end
    return { raised = tostring(e) }
  end, rec, st)
  if ok then return "@P\n" end
  if err.missing then return "@M " .. one_line(err.missing) .. "\n" end
  return "@X " .. one_line(err.mismatch or "error: " .. err.raised) .. "\n"
end

for file in io.stdin:lines() do
  local base = golden .. "/" .. ((file == "modules" or file == "optimizers") and file or "ops/" .. file)
  local st = store.open(base .. ".safetensors")
  local fn, n = kind_of(file), 0
  out:write("@F ", file, "\n")
  for line in io.lines(base .. ".jsonl") do
    n = n + 1
    if n >= from then
      local rec = json.decode(line)
      out:write("@B ", n, " ", rec.id, "\n")
      out:flush()
      out:write(run(fn, rec, st))
    end
  end
  from = 1
  if st then st:close() end
  out:write("@E\n")
  out:flush()
  collectgarbage()
end
