-- sweep.lua: fails the n-th memory request of scripted sessions, for every n, once and from n on.  After each failure
-- the session must have ended in an error or gone on, nothing may leak, and the engine must work.
-- Then the same for Lua's own requests, every LUA_STRIDE-th of them.  The whole takes about eight minutes.
-- usage: build-faults/moth tests/faults/sweep.lua [STRIDE] [LUA_STRIDE]
local dir = arg[0]:match("^(.*)/[^/]*$") or "."
package.cpath = dir .. "/../../build-faults/tests/?.so;" .. package.cpath
local faults = require "faults"
package.path = dir .. "/?.lua;" .. package.path
local sessions = require "sessions"
local torch = require "torch"
local strides = { engine = tonumber(arg[1]) or 1, lua = tonumber(arg[2]) or 1 }
torch.set_num_threads(1)

local function usable()
  local x = torch.arange(6.0):reshape(2, 3)
  assert((x + 1):sum():item() == 21.0, "the engine computes wrong sums after a failure")
end

local passed, failed = 0, 0
local names = {}
for name in pairs(sessions) do names[#names + 1] = name end
table.sort(names)
for _, name in ipairs(names) do
  local session = sessions[name]
  local function run()                                      -- as a user's code meets an error
    local fine, err = pcall(session)
    if not fine then error(err, 0) end
  end
  local ok = pcall(run)                                     -- warm: caches and lazy tables are made once
  if not ok then print("left out, the engine lacks it: " .. name) end
  for _, how in ipairs { "engine once", "engine from n on", "lua once", "lua from n on" } do
    local whose, forever = how:match("^%a+"), how:find("from") ~= nil
    if ok then
      collectgarbage()
      collectgarbage()
      local before = faults.live()
      local function check(done, message)
        collectgarbage()
        collectgarbage()
        usable()
        collectgarbage()
        collectgarbage()
        local now = faults.live()
        assert(now <= before, string.format("%d tensors live, %d before (%s)", now, before, message))
        if not done and message == "" then error("an error without a text") end
      end
      local n, raised, absorbed, broken, first = faults.sweep(run, check, forever, strides[whose], whose)
      print(string.format("%-12s %-16s %6d requests, %d raised, %d absorbed, %d broken", name, how, n, raised, absorbed,
        broken))
      if broken > 0 then print("FAIL faults " .. name .. " (" .. how .. "): " .. first) end
      passed, failed = passed + raised + absorbed, failed + broken
    end
  end
end
print(passed .. " passed, " .. failed .. " failed")
os.exit(failed == 0 and passed > 0)
