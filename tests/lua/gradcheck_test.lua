-- gradcheck_test.lua: gradcheck and gradgradcheck of every differentiable row, small samples (tests/gradcheck; `make gradcheck`
-- runs more of them, element by element).
local moth = os.getenv("MOTH") or "build/moth"
local p = assert(io.popen(moth .. " tests/gradcheck/run.lua tests/golden --per-op 1 2>&1"))
local last
for line in p:lines() do
  if line:find("^FAIL") then print(line) end
  last = line
end
p:close()
print(last or "0 passed, 1 failed")
os.exit((last or ""):find(" 0 failed$") ~= nil)
