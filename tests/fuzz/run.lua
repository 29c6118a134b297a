-- run.lua: the fuzzer's parent: starts children of some thousand calls each and names the call that ended a child.
-- usage: lua5.4 run.lua CALLS [--moth PATH] [--seed N] [--seconds N] [--only PATTERN]
local dir = arg[0]:match("^(.*)/[^/]*$") or "."
local opt = { moth = "build/moth", seed = os.time(), seconds = math.huge, calls = 100000, batch = 40000 }
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
local made, good, wrong, crashes, ops, poor = 0, 0, 0, 0, 0, {}
while left > 0 and os.time() - started < opt.seconds do
  local batch = math.min(left, opt.batch)
  local budget = 3600
  if opt.seconds < math.huge then budget = math.max(5, math.ceil(opt.seconds - (os.time() - started))) end
  -- Huge requests must fail as on a small machine: a cap on the address space, or the sanitizer's own on one request.
  local p = io.popen(string.format("nm -D %s 2>/dev/null | grep -q __asan_init || ulimit -v 3000000; "
    .. "ASAN_OPTIONS=allocator_may_return_null=1:max_allocation_size_mb=600:hard_rss_limit_mb=6000:"
    .. "detect_leaks=0 timeout -s KILL %d %s %s/ops.lua %d %d %s %s 2>&1", quote(opt.moth), budget, quote(opt.moth),
    dir, seed, batch, state, opt.only and quote(opt.only) or ""))
  local tail, finished = {}, false
  for line in p:lines() do
    local a, b, c, d = line:match("^@ (%d+) (%d+) (%d+) (%d+)")
    if a then
      made, good, wrong, ops = made + a, good + b, wrong + c, tonumber(d)
      finished = true
    elseif line:match("^@poor") then
      local here = {}
      for name in line:sub(7):gmatch("%S+") do here[name] = true end
      poor[#poor + 1] = here
    elseif line:match("^FAIL") then print(line)
    elseif #tail < 14 then tail[#tail + 1] = line end
  end
  local _, how, code = p:close()
  local done = batch
  if not finished then
    local f = io.open(state)
    local last = f and f:read("l") or "?"
    if f then f:close() end
    local call = tonumber(last:match("call (%d+)")) or 0
    done = math.max(call, 1)
    if code == 137 and os.time() - started >= opt.seconds then
      made = made + call                                    -- the time is up, not a crash
    else
      crashes, made = crashes + 1, made + call
      print(string.format("FAIL the process ended (%s %s) at %s", how, tostring(code), last))
      for _, line in ipairs(tail) do print("  " .. line:sub(1, 160)) end
    end
  end
  left, seed = left - done, seed + 1
end
os.remove(state)

local never = {}
for name in pairs(poor[1] or {}) do
  local always = true
  for _, set in ipairs(poor) do always = always and set[name] end
  if always then never[#never + 1] = name end
end
table.sort(never)
if #never > 0 then print(#never .. " ops never succeeded: " .. table.concat(never, " ")) end
print(string.format("%d ops, %d calls from seed %d, %.0f%% succeeded, %d properties broken, %d crashes, %d s", ops,
  made, opt.seed, made > 0 and 100 * good / made or 0, wrong, crashes, os.time() - started))
print(string.format("%d passed, %d failed", made - wrong - crashes, wrong + crashes))
os.exit(wrong + crashes == 0 and made > 0)
