-- run.lua: gradcheck and gradgradcheck, in float64 and complex128, for every differentiable row of the op table.
--
-- Samples are recorded cases of the golden folder (arguments only) and, for ops without one, arguments made from the row's
-- schema or written in cases.lua.  A row counts as covered when its node was part of a graph that passed, or, for a composite,
-- when it was called.  Nothing is left out silently: what is skipped stands in cases.lua with its reason, and a row that no
-- sample reaches is a failure, so that no new op can escape.
-- usage: moth run.lua GOLDEN_DIR [--per-op N] [--slow] [--ops PATTERN] [--limit ELEMENTS] [--verbose]
local dir = arg[0]:match("^(.*)/[^/]*$") or "."
package.path = dir .. "/../parity/?.lua;" .. dir .. "/?.lua;" .. package.path
local torch = require "torch"
local json, stores, build, replay = require "json", require "store", require "build", require "replay"
local cases = require "cases"
local rows = require "moth.ops"
local autograd = torch.autograd

local opt = { per_op = 2, limit = 150, ops = "" }
local golden
do
  local i = 1
  while arg[i] do
    if arg[i] == "--slow" then opt.slow = true
    elseif arg[i] == "--verbose" then opt.verbose = true
    elseif arg[i] == "--per-op" then opt.per_op, i = tonumber(arg[i + 1]), i + 1
    elseif arg[i] == "--limit" then opt.limit, i = tonumber(arg[i + 1]), i + 1
    elseif arg[i] == "--ops" then opt.ops, i = arg[i + 1], i + 1
    else golden = arg[i] end
    i = i + 1
  end
end
if not golden then
  io.stderr:write("usage: run.lua GOLDEN_DIR [--per-op N] [--slow] [--ops PATTERN]\n")
  os.exit(2)
end

local passed, failed, skipped = 0, 0, 0
local covered, reasons = {}, {}

local function skip(reason) reasons[reason] = (reasons[reason] or 0) + 1; skipped = skipped + 1 end

-- ---- samples ----

local WIDER = { float16 = "float64", bfloat16 = "float64", float32 = "float64", float64 = "float64", complex64 = "complex128",
  complex128 = "complex128" }

local function widen(v)
  if torch.is_tensor(v) then
    local name = tostring(v.dtype):gsub("^torch%.", "")
    if not WIDER[name] then return v end
    local w = v:detach():to(torch[WIDER[name]])
    for d = 0, w.ndim - 1 do if w:stride(d) == 0 and w.shape[d] > 1 then w = w:contiguous() break end end
    return v.requires_grad and w:requires_grad_() or w
  end
  if type(v) == "table" and not getmetatable(v) then
    local out = {}
    for k, x in pairs(v) do out[k] = widen(x) end
    return out
  end
  for narrow, wide in pairs(WIDER) do if rawequal(v, torch[narrow]) then return torch[wide] end end
  return v
end

local function collect(v, out)
  if torch.is_tensor(v) then
    if v.requires_grad then out[#out + 1] = v end
  elseif type(v) == "table" and not getmetatable(v) then
    local keys = {}
    for k in pairs(v) do keys[#keys + 1] = k end
    table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
    for _, k in ipairs(keys) do collect(v[k], out) end
  end
  return out
end

local function replaced(v, map)
  if torch.is_tensor(v) then return map[v] or v end
  if type(v) == "table" and not getmetatable(v) then
    local out = {}
    for k, x in pairs(v) do out[k] = replaced(x, map) end
    return out
  end
  return v
end

--- A function of the tensors that carry gradients, and those tensors.
local function closed(f, args, n, inplace, wrap)
  local xs = collect({ table.unpack(args, 1, n) }, {})
  local function g(...)
    local map = {}
    for i, x in ipairs(xs) do map[x] = select(i, ...) end
    local a = {}
    for i = 1, n do a[i] = replaced(args[i], map) end
    torch.manual_seed(7)
    if wrap then a = wrap(a) or a end
    if inplace then a[1] = a[1]:clone() end
    local res = table.pack(f(a, n))
    if inplace then return a[1] end
    if res.n == 1 then return res[1] end
    local out = {}
    for i = 1, res.n do
      if torch.is_tensor(res[i]) then out[#out + 1] = res[i]
      elseif type(res[i]) == "table" and not getmetatable(res[i]) then
        for _, y in ipairs(res[i]) do if torch.is_tensor(y) then out[#out + 1] = y end end
      end
    end
    return out
  end
  return g, xs
end

-- ---- one check ----

local function note_graph(outputs)
  local list, seen = {}, {}
  local function add(node)
    if node and node ~= torch.None and not seen[node] then seen[node] = true; list[#list + 1] = node end
  end
  for _, y in ipairs(outputs) do if torch.is_tensor(y) and y.requires_grad then add((autograd._edge(y))) end end
  local k = 1
  while k <= #list do
    local op = list[k].op
    if op then covered[op] = true end
    for _, e in ipairs(list[k].next_functions) do add(e[1]) end
    k = k + 1
  end
end

local function graph_of(f, xs)
  local res = f(table.unpack(xs))
  local ys = torch.is_tensor(res) and { res } or type(res) == "table" and res or {}
  note_graph(ys)
  local live = {}
  for _, y in ipairs(ys) do if torch.is_tensor(y) and y.requires_grad then live[#live + 1] = y end end
  if #live == 0 then return false, ys end
  return live, ys
end

local function elements(list)
  local n = 0
  for _, x in ipairs(list) do if torch.is_tensor(x) then n = n + x:numel() end end
  return n
end

local function fails(id, err)
  failed = failed + 1
  print("FAIL gradcheck " .. id .. ": " .. tostring(err):gsub("\n.*", ""))
end

--- Both checks of f at xs.  Returns nothing; counts.
local function check(id, f, xs, rule)
  local live, ys = graph_of(f, xs)
  if not live then return end
  rule = rule or {}
  local options = { fast_mode = not opt.slow, atol = rule.atol, rtol = rule.rtol, eps = rule.eps, nondet_tol = rule.nondet_tol or 1e-9,
    check_undefined_grad = false }
  if elements(xs) + elements(ys) > opt.limit then options.fast_mode = true end
  torch.manual_seed(11)
  local ok, err = pcall(autograd.gradcheck, f, xs, options)
  if not ok then return fails(id, err) end
  passed = passed + 1
  if rule.first_order then return skip("gradgrad: " .. rule.first_order) end
  local seeds, tracked = {}, {}
  for i, y in ipairs(live) do seeds[i] = torch.randn_like(y):detach():requires_grad_() end
  local got
  ok, err = pcall(function() got = autograd.grad(live, xs, seeds, { create_graph = true, allow_unused = true }) end)
  if not ok then return fails(id .. " (backward with create_graph)", err) end
  for _, g in ipairs(got) do if g ~= torch.None then tracked[#tracked + 1] = g end end
  ok, err = pcall(note_graph, tracked)
  if not ok then return fails(id, err) end
  ok, err = pcall(autograd.gradgradcheck, f, xs, { fast_mode = options.fast_mode, atol = rule.atol2 or rule.atol, rtol = rule.rtol2 or rule.rtol, eps = rule.eps,
    nondet_tol = options.nondet_tol, check_undefined_grad = false })
  if not ok then return fails(id .. " (second order)", err) end
  passed = passed + 1
end

-- ---- recorded samples ----

local function list_files()
  local p = io.popen("ls '" .. golden .. "/ops'")
  local out = {}
  for f in p:lines() do
    local name = f:match("^(.*)%.jsonl$")
    if name then out[#out + 1] = name end
  end
  p:close()
  return out
end

local FLOATS = { float64 = 0, complex128 = 0, float32 = 1, complex64 = 1 }
local function rank(rec)
  local size = 0
  local function count(v)
    if type(v) ~= "table" then return end
    if v.shape then
      local n = 1
      for _, s in ipairs(v.shape) do n = n * s end
      size = size + (n == 0 and 40 or n == 1 and 10 or n)
    end
    for _, x in pairs(v) do count(x) end
  end
  count(rec.args)
  count(rec.kwargs)
  return (FLOATS[rec.dtype] or 9) * 8 + size + (rec.layout == "as_sampled" and 0 or 20) + (rec.variant == "function" and 0 or 5)
end

--- At most per_op records of each op of the file, small ones first, one complex and one in place among them.
local function choose(name)
  local groups = {}
  for line in io.lines(golden .. "/ops/" .. name .. ".jsonl") do
    if line:find('"grad":{', 1, true) then
      local rec = json.decode(line)
      if FLOATS[rec.dtype] then
        local key = rec.op .. (rec.variant == "inplace" and " inplace" or "") .. (rec.dtype:find("^complex") and " complex" or "")
        groups[key] = groups[key] or {}
        rec.rank = rank(rec)
        table.insert(groups[key], rec)
      end
    end
  end
  local chosen = {}
  for _, list in pairs(groups) do
    table.sort(list, function(a, b) if a.rank ~= b.rank then return a.rank < b.rank end return a.id < b.id end)
    for i = 1, math.min(#list, opt.per_op) do chosen[#chosen + 1] = list[i] end
  end
  table.sort(chosen, function(a, b) return a.id < b.id end)
  return chosen
end

local function rule_of(name) return cases.rules[name] or {} end

local function run_record(rec, store, name)
  local rule = rule_of(name)
  if rule.skip then return skip(name .. ": " .. rule.skip) end
  local ok, err = pcall(function()
    local args, n, kw = replay.decode(rec, store, true)
    args = widen({ table.unpack(args, 1, n) })
    kw = kw and widen(kw)
    local f = replay.callee(rec, args)
    local given, count = replay.with_keywords(args, n, kw)
    if rule.compact and not torch.is_tensor(rule.compact) then
      for i = 1, n do
        if torch.is_tensor(args[i]) and args[i].requires_grad then args[i].data = args[i]:detach():clone() end
      end
      if not pcall(f, given, count) then return skip(name .. ": " .. rule.compact) end
    end
    local op = rule.output and function(...) return rule.output(f(...)) end or f
    local g, xs = closed(op, given, count, rec.variant == "inplace", rule.input)
    if #xs > 0 then check(rec.id, g, xs, rule) end
    covered[rec.op] = true
  end)
  if not ok then
    if type(err) == "table" and err.missing then return skip("not there yet: " .. err.missing) end
    fails(rec.id, type(err) == "table" and (err.mismatch or json.encode and "error") or err)
  end
end

for _, name in ipairs(list_files()) do
  if name:find(opt.ops) then
    local store = stores.open(golden .. "/ops/" .. name .. ".safetensors")
    for _, rec in ipairs(choose(name)) do
      if opt.verbose then io.stderr:write(rec.id, "\n") end
      run_record(rec, store, name)
    end
    if store then store:close() end
    collectgarbage()
  end
end

-- ---- rows without a recorded sample ----

--- An argument for parameter p when tensors have the given shape.
local function made(p, shape)
  if p.default then return nil end
  if p.type == "Tensor" then
    if cases.named[p.name] then return cases.named[p.name](shape) end
    local x = torch.rand(shape, { dtype = torch.float64 }) * 0.6 + 0.2
    if #shape == 2 and shape[1] == shape[2] then x = x + torch.eye(shape[1], { dtype = torch.float64 }) * 2 end
    return x:requires_grad_()
  end
  if p.type == "Tensor[]" then return { made({ type = "Tensor" }, shape), made({ type = "Tensor" }, shape) } end
  if cases.named[p.name] then return cases.named[p.name](shape) end
  if p.type == "Scalar" or p.type == "float" then return 0.7 end
  if p.type == "int" then return 1 end
  if p.type == "int[]" then return { 1 } end
  if p.type == "bool" then return false end
  return nil
end
local SHAPES = { { 2, 3 }, { 3, 3 }, { 4 }, { 2, 4, 4 }, { 1, 2, 4, 4 }, { 1, 2, 4, 4, 4 }, {} }

--- The first shape of all tensors that the function takes.
local function arguments(row, f)
  local first
  for _, shape in ipairs(SHAPES) do
    local args = { n = #row.params }
    while args.n > 0 and row.params[args.n].default do args.n = args.n - 1 end
    for i = 1, args.n do args[i] = made(row.params[i], shape) end
    torch.manual_seed(7)
    local ok, err = pcall(torch.no_grad, f, table.unpack(args, 1, args.n))
    if ok then return args end
    first = first or err
  end
  error(first, 0)
end

local function find_function(row)
  if row.hidden then return torch._ops[row.id] end
  local f = row.fn and build.resolve(row.path)
  if f and row.base:find("_$") then return function(x, ...) return f(x * 1, ...) end end     -- in place: never on the leaf
  if f then return f end
  if row.method then return function(x, ...) return x[row.base](x, ...) end end
  if row.attr then return function(x) return x[row.base] end end
end

local function is_covered(row)
  if covered[row.id] or covered[row.path] or covered["torch.Tensor." .. row.base] then return true end
  for _, a in ipairs(row.aliases) do if covered[a] then return true end end
  return false
end

local function takes_tensors(row)
  for _, p in ipairs(row.params) do if p.type == "Tensor" or p.type == "Tensor[]" then return true end end
  return false
end

--- Hidden composites have no derivative of their own and are reached through the rows that use them.
-- A hidden row without a derivative raises when one is asked for.
local function wanted(row)
  return not row.nodiff and takes_tensors(row) and not (row.hidden and (row.composite or not row.derivative))
end

local function run_row(row)
  local case = cases.rows[row.id]
  if type(case) == "string" then return skip(row.id .. ": " .. case) end
  if row.hidden and not case then return end           -- hidden ops do not check their arguments: no guessing
  torch.manual_seed(5)
  local ok, err = pcall(function()
    local f = find_function(row)
    local args
    if case then
      local list = table.pack(case())
      if type(list[1]) == "function" then f = table.remove(list, 1); list.n = list.n - 1 end
      args = list
      args.n = list.n
    else
      if not f then error("no way to call it") end
      args = arguments(row, f)
    end
    local rule = rule_of(row.id)
    local op = rule.output and function(...) return rule.output(f(...)) end or f
    local g, xs = closed(function(a, n) return op(table.unpack(a, 1, n)) end, args, args.n, not case and row.id:find("_$") ~= nil, rule.input)
    if #xs == 0 then error("no argument with a gradient") end
    check(row.id, g, xs, rule)
    covered[row.path] = true
  end)
  if not ok then fails("row " .. row.id, err) end
end

if opt.ops == "" then
  for pass = 1, 2 do                       -- hidden rows are mostly reached through the public ones
    for _, row in ipairs(rows) do
      if (pass == 2) == (row.hidden or false) and wanted(row) and not is_covered(row) then run_row(row) end
    end
  end
  for _, row in ipairs(rows) do
    if wanted(row) and not is_covered(row) and type(cases.rows[row.id]) ~= "string" then
      fails("row " .. row.id, "no sample reaches this differentiable row: add one to tests/gradcheck/cases.lua")
    end
  end
end

local names = {}
for reason in pairs(reasons) do names[#names + 1] = reason end
table.sort(names)
for _, reason in ipairs(names) do print(("skipped %d: %s"):format(reasons[reason], reason)) end
print(passed .. " passed, " .. failed .. " failed")
os.exit(failed == 0 and passed > 0)
