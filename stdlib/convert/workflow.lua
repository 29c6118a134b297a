-- workflow.lua: a tree from source to destination: detect, convert, check, write, tick, report.
-- Invariant: a file is written whole and then recorded in the journal, so an interrupted run loses at most the file
-- at hand; a
-- second run does what the journal lacks and comes to the same result. A result that does not parse is never written.
local fs = require "convert.fs"
local engine = require "convert.engine"
local detect = require "convert.detect"
local checks = require "convert.checks"
local project = require "convert.project"
local diff = require "convert.diff"

local workflow = {}

-- Values as Lua text: strings, numbers, booleans, nested tables with string keys in order.
local function dump(v, out)
  local t = type(v)
  if t == "table" then
    out[#out + 1] = "{"
    for i = 1, #v do
      dump(v[i], out)
      out[#out + 1] = ","
    end
    local keys = {}
    for k in pairs(v) do
      if type(k) == "string" then keys[#keys + 1] = k end
    end
    table.sort(keys)
    for _, k in ipairs(keys) do
      out[#out + 1] = ("[%q]="):format(k)
      dump(v[k], out)
      out[#out + 1] = ","
    end
    out[#out + 1] = "}"
  elseif t == "string" then out[#out + 1] = (("%q"):format(v):gsub("\\\n", "\\n"):gsub("\r", "\\r"))
  else out[#out + 1] = tostring(v) end
  return out
end

local function load_record(line)
  local fn = load("return " .. line, "=journal", "t", {})
  local ok, v = pcall(fn or error)
  return ok and type(v) == "table" and v or nil
end

local Journal = {}
Journal.__index = Journal

-- The journal of a destination; one whose options differ is begun anew.
local function open_journal(path, key, writing)
  local self = setmetatable({ path = path, records = {}, old = {} }, Journal)
  local text = fs.read(path)
  if text then
    local first, rest = text:match("^([^\n]*)\n(.*)$")
    if first == key then
      for line in rest:gmatch("([^\n]+)\n") do
        local r = load_record(line)
        if r and r.path then self.records[r.path] = r end
      end
    end
    local fresh = first ~= key
    if fresh and writing then os.remove(path) end
    if fresh then text = nil end
  end
  if writing then
    fs.mkdir(fs.parent(path))
    self.file = assert(io.open(path, text and "ab" or "wb"))
    if not text then self.file:write(key, "\n") end
  end
  return self
end

function Journal:add(r)
  self.records[r.path] = r
  if self.file then
    self.file:write(table.concat(dump(r, {})), "\n")
    self.file:flush()
  end
end

local function options_key(o)
  return ("moth-convert 1 profile=%s style=%s version=%s rules=%s enable=%s"):format(o.profile or "generic", o.style
    or "default",
    o.ms_version or "2.10", table.concat(o.rules or {}, ","), o.enable_text or "")
end

-- The files of the source that take part.
local function selected(files, o)
  local out = {}
  for _, path in ipairs(files) do
    local take = not path:find("^%.moth_convert") and path ~= "files_to_convert.md" and path ~= "report.md"
      and not path:find("%.moth%-tmp$")
    if o.only and #o.only > 0 then
      local hit = false
      for _, p in ipairs(o.only) do hit = hit or fs.matches(path, p) end
      take = take and hit
    end
    for _, p in ipairs(o.exclude or {}) do take = take and not fs.matches(path, p) end
    if take then out[#out + 1] = path end
  end
  return out
end
workflow.selected = selected

local function lines_of_rules(f)
  local out = {}
  for id, at in pairs(f.applied) do
    local lines = {}
    for _, pos in ipairs(at) do lines[#lines + 1] = f:line(pos) end
    table.sort(lines)
    out[id] = lines
  end
  return out
end

-- requirements files: torch's packages give way to mindspore.
local REQUIREMENT = { torch = "mindspore>=2.10", torchvision = "", torchaudio = "", torchtext = "", triton = "",
  xformers = "", ["flash-attn"] = "",
  flash_attn = "", bitsandbytes = "", apex = "", deepspeed = "" }
local function convert_requirements(text, r)
  local seen = text:find("^mindspore") or text:find("\nmindspore")
  local n = 0
  local out = text:gsub("([^\n]*)(\n?)", function(line, nl)
    local name = line:match("^%s*([%w_.-]+)")
    local with = name and REQUIREMENT[name:lower()]
    if not with then return nil end
    n = n + 1
    r.rules["config.requirements"] = r.rules["config.requirements"] or {}
    table.insert(r.rules["config.requirements"],
      select(2, text:sub(1, text:find(line, 1, true) or 1):gsub("\n", "")) + 1)
    if with == "" or seen then
      r.reviews[#r.reviews + 1] = { rule = "config.requirements", line = 0, message = name
        .. " was dropped from the requirements", text = line }
      return ""
    end
    seen = true
    return with .. nl
  end)
  return n > 0 and out or text
end

local CONFIG_HINT = { "torch_dtype", "\"device\"", "cuda", "device:" }

-- A file that is no Python: copied; requirements are rewritten, other configuration is looked at for what a person
-- must decide.
local function other_file(path, text, r)
  local name = path:match("[^/]*$")
  r.status = "copied"
  if name:find("^requirements.*%.txt$") then
    local out = convert_requirements(text, r)
    if out ~= text then r.status = "converted" end
    return out
  end
  if name:find("%.ya?ml$") or name:find("%.json$") or name:find("%.toml$") or name:find("%.cfg$")
    or name:find("%.ini$") then
    if #text < 200000 then
      local n = 0
      for line in text:gmatch("[^\n]*") do
        n = n + 1
        for _, hint in ipairs(CONFIG_HINT) do
          if line:find(hint, 1, true) and #r.reviews < 20 then
            r.reviews[#r.reviews + 1] = { rule = "config.value", line = n,
              message = "a setting for torch or CUDA: check its meaning under MindSpore",
              text = line:sub(1, 120) }
            break
          end
        end
      end
    end
  end
  return text
end

-- Whether a Python text needs the engine at all.
local function wants_engine(text, o)
  if text:find("torch", 1, true) or text:find("mindspore", 1, true) then return true end
  return text:find("return_tensors", 1, true) ~= nil
end

--- Converts one text; returns the result (or the text itself) and the record.
function workflow.convert_text(path, text, o, proj)
  local r = { path = path, status = "unchanged", rules = {}, reviews = {}, left = {}, undefined = {}, bad_names = {} }
  if not path:find("%.py$") then return other_file(path, text, r), r end
  if not wants_engine(text, o) then
    r.status = "copied"
    return text, r
  end
  local opts = o.engine
  opts.path, opts.project, opts.package = path, proj, proj and proj:package(path) or o.package
  local ok, result, f = pcall(engine.convert, text, opts)
  if not ok then
    r.status, r.error = "failed", "internal: " .. tostring(result)
    return text, r
  end
  if not result then
    r.status, r.error = "failed", ("line %d, column %d: %s"):format(f.line, f.col, f.message)
    return text, r
  end
  r.rules, r.reviews = lines_of_rules(f), f.reviews
  for i, rev in ipairs(r.reviews) do r.reviews[i] = { rule = rev.rule.id, line = rev.line, message = rev.message,
    text = rev.text } end
  table.sort(f.left, function(a, b) return a.pos < b.pos end)
  for _, l in ipairs(f.left) do r.left[#r.left + 1] = { line = l.line, name = l.name } end
  local verdict = detect.text(text, f)
  if verdict then r.grade, r.category, r.refs = verdict.grade, verdict.category, verdict.refs end
  if result == text then return text, r end
  if not o.no_checks then
    local found = checks.run(result, f, o.ms_version)
    if not found.parses then
      r.status, r.error = "failed", ("the result does not parse: line %d: %s"):format(found.error.line,
        found.error.message)
      r.left, r.rules = {}, {}
      return text, r
    end
    r.undefined, r.bad_names = found.undefined, found.bad_names
    for _, t in ipairs(found.torch) do
      if not t.listed then r.left[#r.left + 1] = { line = t.line, name = t.name, unlisted = true } end
    end
  end
  r.status = "converted"
  return result, r
end

local function finished(record, source, target, o)
  if not record then return false end
  if o.in_place then return fs.fingerprint(source) == record.result_print end
  return record.source_print == fs.fingerprint(source) and (o.dry_run or fs.exists(target))
end

-- Shows a diff and asks; returns the text to write or nil (keep the source), and whether to stop.
local function ask(path, source, result, o)
  io.write(diff.unified(source, result, "a/" .. path, "b/" .. path))
  while true do
    io.write("convert " .. path .. "? [y]es [n]o [e]dit [q]uit: ")
    io.flush()
    local answer = (o.answers or io.read)("l")
    if answer == nil or answer == "q" then return nil, "quit" end
    if answer == "y" or answer == "" then return result end
    if answer == "n" then return nil, "no" end
    if answer == "e" then
      local name = os.tmpname()
      local tmp = name .. ".py"
      fs.write(tmp, result)
      os.execute((os.getenv("EDITOR") or "vi") .. " '" .. tmp .. "'")
      local edited = fs.read(tmp)
      os.remove(tmp)
      os.remove(name)
      return edited
    end
  end
end

local function progress(o, i, n, started)
  if not o.progress then return end
  local width = 20
  local full = n > 0 and i * width // n or width
  io.stderr:write(("\rconverting %d files %s%s %d/%d  %.1f s"):format(n, ("█"):rep(full), ("░"):rep(width - full), i,
    n, fs.clock() - started))
  if i == n then io.stderr:write("\n") end
end

-- Other processes take a share each; the journal parts they leave are read by this one.
local function run_workers(o, parts)
  if not fs.sys or not o.self_command then return end
  local running = {}
  for k = 1, parts do
    local command = {}
    for _, a in ipairs(o.self_command) do command[#command + 1] = a end
    command[#command + 1] = "--worker"
    command[#command + 1] = k .. "/" .. parts
    running[k] = fs.sys.spawn(command, { stdin = "null" })
  end
  for k = 1, parts do
    if running[k] then running[k]:wait() end
  end
end

local function journal_path(o) return o.dst_root .. "/.moth_convert" end

--- Converts the tree. o: src_root, dst_root, in_place, dry_run, diff, review, only, exclude, jobs, profile, style, ...
--- Returns the list of records in path order.
function workflow.convert(o)
  local started = fs.clock()
  o.dst_root = o.in_place and o.src_root or o.dst_root
  o.engine = { profile = o.profile, style = o.style, ms_version = o.ms_version, rules = o.rules, enable = o.enable,
    disable = o.disable }
  local all = fs.tree(o.src_root)
  local files = selected(all, o)
  local proj = project.new(o.src_root, all)
  local key = options_key(o)
  local writing = not o.dry_run
  if o.jobs and o.jobs > 1 and writing and not o.worker and not o.review then run_workers(o, o.jobs) end
  local journal = open_journal(journal_path(o) .. (o.worker and "." .. o.worker[1] or ""), key, writing)
  if not o.worker then
    for k = 1, o.jobs or 0 do
      local part = open_journal(journal_path(o) .. "." .. k, key, false)
      for _, r in pairs(part.records) do
        if not journal.records[r.path] then journal:add(r) end
      end
      os.remove(journal_path(o) .. "." .. k)
    end
  end
  local records = {}
  local stop = false
  for i, path in ipairs(files) do
    if o.worker and i % o.worker[2] ~= o.worker[1] - 1 then goto continue end
    progress(o, i, #files, started)
    local source = fs.read(o.src_root .. "/" .. path) or ""
    local target = o.dst_root .. "/" .. path
    local record = journal.records[path]
    if not finished(record, source, target, o) then
      local text = source
      local result
      result, record = workflow.convert_text(path, source, o, proj)
      -- what a person or another tool began in the destination is continued; what an interrupted run of ours left is
      -- the result
      if not o.in_place and writing and fs.exists(target) then
        local there = fs.read(target)
        if there and there ~= source and there ~= result and there:find("mindspore", 1, true) then
          text = there
          result, record = workflow.convert_text(path, there, o, proj)
          record.continued = true
        end
      end
      if o.diff and result ~= source then io.write(diff.unified(source, result, "a/" .. path, "b/" .. path)) end
      if o.review and result ~= text and not stop then
        local chosen, why = ask(path, text, result, o)
        if why == "quit" then stop = true
        elseif why == "no" then
          result, record.status = text, "declined"
          record.left = {}
        else result = chosen end
      end
      if stop then record.status, record.left = "pending", {}      -- a later run asks again
      else
        record.source_print, record.result_print = fs.fingerprint(source), fs.fingerprint(result)
        if writing then
          if o.in_place and result ~= source then
            if not fs.exists(target .. ".old") then fs.write(target .. ".old", source) end
            fs.write(target, result)
          elseif not o.in_place then assert(fs.write(target, result)) end
        end
        journal:add(record)
        if i % 50 == 0 then collectgarbage() end
      end
    end
    records[#records + 1] = record
    ::continue::
  end
  if journal.file then journal.file:close() end
  return records, stop
end

return workflow
