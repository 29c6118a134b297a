-- select.lua: picks a compact part of a golden folder: a few records per op, spread over dtypes, variants, layouts,
-- gradients, out= and errors, with only the arrays they name.
-- usage: lua5.4 select.lua GOLDEN_DIR OUT_DIR [RECORDS_PER_OP=9]
local dir = arg[0]:match("^(.*)/[^/]*$") or "."
package.path = dir .. "/?.lua;" .. package.path
local json, store = require "json", require "store"
local golden, out_dir, per_op = arg[1], arg[2], tonumber(arg[3]) or 9
assert(golden and out_dir, "usage: select.lua GOLDEN_DIR OUT_DIR [RECORDS_PER_OP]")

local function keys_of(v, set)
  if type(v) ~= "table" then return set end
  if type(v.tensor) == "string" then set[v.tensor] = true end
  for _, x in pairs(v) do keys_of(x, set) end
  return set
end

local function size_of(keys, index)
  local n = 0
  for k in pairs(keys) do
    local o = index[k].data_offsets
    n = n + o[2] - o[1]
  end
  return n
end

-- What a record shows; the greedy choice takes the record that shows most not yet seen, and the smaller of two equals.
local function aspects(rec)
  local kind = rec.error and "error" or "value"
  local a = { "dtype " .. tostring(rec.dtype), kind, "variant " .. tostring(rec.variant),
    "layout " .. tostring(rec.layout),
    "op " .. tostring(rec.op or rec.module or rec.optimizer), "grad " .. tostring(rec.grad ~= nil),
    "out " .. tostring(rec.out == true), "random " .. tostring(rec.random == true),
    "strided " .. tostring(rec.expect_self_storage ~= nil), "case " .. tostring(rec.sample or rec.desc) .. kind }
  if type(rec.dtype) == "string" and rec.variant then a[#a + 1] = rec.variant .. " " .. rec.dtype end
  for k in pairs(rec.kwargs or {}) do a[#a + 1] = "keyword " .. k end
  return a
end

local function choose(records, limit)
  local seen, chosen = {}, {}
  while #chosen < limit and #records > 0 do
    local best, best_score
    for i, r in ipairs(records) do
      local score = 0
      for _, a in ipairs(r.aspects) do if not seen[a] then score = score + 1 end end
      score = score - r.bytes / 8192
      if not best or score > best_score then best, best_score = i, score end
    end
    local r = table.remove(records, best)
    if best_score <= -4 and #chosen > 0 then break end
    for _, a in ipairs(r.aspects) do seen[a] = true end
    chosen[#chosen + 1] = r
  end
  table.sort(chosen, function(x, y) return x.n < y.n end)
  return chosen
end

local function write_store(path, st, keys)
  local names, header, data, at = {}, {}, {}, 0
  for k in pairs(keys) do names[#names + 1] = k end
  table.sort(names)
  for _, k in ipairs(names) do
    local bytes, dtype, n = st:raw(k)
    header[#header + 1] =
      string.format('"%s":{"dtype":"%s","shape":[%d],"data_offsets":[%d,%d]}', k, dtype, n, at, at + #bytes)
    data[#data + 1], at = bytes, at + #bytes
  end
  local text = "{" .. table.concat(header, ",") .. "}"
  text = text .. (" "):rep(-#text % 8)
  local f = assert(io.open(path, "wb"))
  f:write(string.pack("<I8", #text), text, table.concat(data))
  f:close()
end

local function one(name, limit)
  local base, to = golden .. "/" .. name, out_dir .. "/" .. name
  local st, records, keys = store.open(base .. ".safetensors"), {}, {}
  for line in io.lines(base .. ".jsonl") do
    local rec = json.decode(line)
    local own = keys_of(rec, {})
    local bytes = size_of(own, st.index)
    records[#records + 1] = { line = line, n = #records, keys = own, bytes = bytes, aspects = aspects(rec) }
  end
  if limit < 0 then limit = #records // -limit end
  local chosen = choose(records, limit)
  local f = assert(io.open(to .. ".jsonl", "w"))
  for _, r in ipairs(chosen) do
    f:write(r.line, "\n")
    for k in pairs(r.keys) do keys[k] = true end
  end
  f:close()
  write_store(to .. ".safetensors", st, keys)
  return #chosen
end

os.execute("mkdir -p '" .. out_dir .. "/ops'")
local total = 0
for file in io.popen("ls '" .. golden .. "/ops'"):lines() do
  local name = file:match("^(.*)%.jsonl$")
  if name then total = total + one("ops/" .. name, per_op) end
end
total = total + one("modules", -4) + one("optimizers", -2)
print(total .. " records chosen")
