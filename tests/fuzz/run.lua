-- run.lua: the fuzzer's parent: starts children of many calls each, adds up their counts, and names the call that ended
-- a child (each child writes the text of its next call into a file first).
-- usage: lua5.4 run.lua CALLS [--moth PATH] [--seed N] [--seconds N] [--only PATTERN] [--batch N] [--least N]
-- --least N: an op called fewer times is a failure.
local dir = arg[0]:match("^(.*)/[^/]*$") or "."
local opt = { moth = "build/moth", seed = os.time(), seconds = 1e9, calls = 100000, batch = 200000, least = 0 }
do
  local i = 1
  while arg[i] do
    local name = arg[i]:match("^%-%-(%w+)$")
    if name then
      opt[name] = tonumber(arg[i + 1]) or arg[i + 1]
      i = i + 1
    else opt.calls = tonumber(arg[i]) end
    i = i + 1
  end
end

local function quote(s) return "'" .. tostring(s):gsub("'", "'\\''") .. "'" end

local state = os.tmpname()
local started, left, seed = os.time(), opt.calls, opt.seed
local made, good, wrong, crashes, per_op = 0, 0, 0, 0, {}

-- Huge requests must fail as on a small machine: a cap on the address space, or the sanitizer's own on one request.
-- A call that runs for minutes is a failure too: the child stops itself when its time is up.
local function child(calls, seconds)
  local command = string.format("nm -D %s 2>/dev/null | grep -q __asan_init || ulimit -v 3000000; "
    .. "ASAN_OPTIONS=allocator_may_return_null=1:max_allocation_size_mb=600:hard_rss_limit_mb=6000:"
    .. "quarantine_size_mb=64:detect_leaks=0 timeout -s KILL %d %s %s/ops.lua %d %d %d %s %s 2>&1",
    quote(opt.moth), seconds + 300, quote(opt.moth), dir, seed, calls, seconds, state,
    opt.only and quote(opt.only) or "")
  return io.popen(command)
end

-- What a dying child said, without the sanitizer's words about huge requests that failed.
local function remember(tail, line)
  if line:match("^%s*$") or line:find("failed to allocate", 1, true) then return end
  if line:find("ERROR: AddressSanitizer", 1, true) or line:find("runtime error:", 1, true) then
    for i = #tail, 1, -1 do tail[i] = nil end
  end
  if #tail < 14 then tail[#tail + 1] = line end
end

local function crashed(how, code, tail)
  local f = io.open(state)
  local last = f and f:read("l") or "?"
  if f then f:close() end
  local call = tonumber(last:match("^(%d+)")) or 0
  crashes, made = crashes + 1, made + call
  print(string.format("FAIL the process ended (%s %s) in call %s", how, tostring(code), last))
  for _, line in ipairs(tail) do print("  " .. line:sub(1, 160)) end
  io.stdout:flush()
  return math.max(call, 1)
end

while left > 0 and os.time() - started < opt.seconds do
  local batch = math.min(left, opt.batch)
  local p = child(batch, math.ceil(math.min(opt.seconds - (os.time() - started), 36000)))
  local tail, finished = {}, nil
  for line in p:lines() do
    local id, calls, fine = line:match("^@op (%S+) (%d+) (%d+)")
    local a, b, c = line:match("^@ (%d+) (%d+) (%d+)")
    if id then
      local op = per_op[id] or { calls = 0, good = 0 }
      per_op[id] = op
      op.calls, op.good = op.calls + calls, op.good + fine
    elseif a then
      made, good, wrong = made + a, good + b, wrong + c
      finished = tonumber(a)
    elseif line:match("^FAIL") then
      print(line)
      io.stdout:flush()
    else remember(tail, line) end
  end
  local _, how, code = p:close()
  local done = finished and math.max(finished, batch) or crashed(how, code, tail)
  left, seed = left - done, seed + 1
end
os.remove(state)

local ops, least, least_name, never, few = 0, math.huge, "none", {}, 0
for id, op in pairs(per_op) do
  ops = ops + 1
  if op.calls < least then least, least_name = op.calls, id end
  if op.calls < opt.least then few = few + 1 end
  if op.good == 0 then never[#never + 1] = id end
end
table.sort(never)
if #never > 0 then print(#never .. " ops never succeeded: " .. table.concat(never, " ")) end
if few > 0 then print(string.format("FAIL %d ops were called fewer than %d times", few, opt.least)) end
local seconds = os.time() - started
print(string.format("%d ops, each called at least %d times (%s), %d calls from seed %d, %.0f%% succeeded, "
  .. "%d properties broken, %d crashes, %d s, %.0f calls/s", ops, least, least_name, made, opt.seed,
  made > 0 and 100 * good / made or 0, wrong, crashes, seconds, made / math.max(seconds, 1)))
print(string.format("%d passed, %d failed", made - wrong - crashes, wrong + crashes + few))
os.exit(wrong + crashes + few == 0 and made > 0)
