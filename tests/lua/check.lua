-- check.lua: the one helper of the Lua tests: named cases, comparisons that say what differed, a closing count.
local check = { passed = 0, failed = 0 }

local function show(v)
  if type(v) == "string" then return string.format("%q", v) end
  if type(v) ~= "table" or getmetatable(v) then return tostring(v) end
  local parts = {}
  for k, x in pairs(v) do parts[#parts + 1] = tostring(k) .. "=" .. show(x) end
  table.sort(parts)
  return "{" .. table.concat(parts, ", ") .. "}"
end

local function same(a, b)
  if rawequal(a, b) or a == b then return math.type(a) == math.type(b) end
  if a ~= a and b ~= b and type(a) == "number" and type(b) == "number" then return true end
  if type(a) ~= "table" or type(b) ~= "table" or getmetatable(a) or getmetatable(b) then return false end
  for k, v in pairs(a) do if not same(v, b[k]) then return false end end
  for k in pairs(b) do if a[k] == nil then return false end end
  return true
end

--- Runs fn as one case; an error inside it is a failure, never the end of the file.
function check.test(name, fn)
  local ok, err = xpcall(fn, function(e) return tostring(e) end)
  if ok then check.passed = check.passed + 1
  else
    check.failed = check.failed + 1
    print("FAIL " .. name .. ": " .. err)
  end
end

--- Says that the case cannot run here, and why; it counts neither way.
function check.skip(name, why) print("SKIP " .. name .. ": " .. why) end

function check.eq(got, want, what)
  if not same(got, want) then error((what or "value") .. ": got " .. show(got) .. ", want " .. show(want), 2) end
end

function check.ok(cond, what) if not cond then error(what or "expected a true value", 2) end end

function check.near(got, want, tol, what)
  if not (math.abs(got - want) <= (tol or 1e-6) * math.max(1, math.abs(want))) then
    error((what or "value") .. ": got " .. tostring(got) .. ", want " .. tostring(want), 2)
  end
end

--- fn must raise, and the message must contain the plain text `part`.
function check.error_matches(fn, part)
  local ok, err = pcall(fn)
  if ok then error("no error raised, wanted one with " .. show(part), 2) end
  if part and not tostring(err):find(part, 1, true) then
    error("error " .. show(tostring(err)) .. " lacks " .. show(part), 2)
  end
end

function check.done()
  print(check.passed .. " passed, " .. check.failed .. " failed")
  os.exit(check.failed == 0 and check.passed > 0)
end

return check
