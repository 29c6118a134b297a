-- cli.lua: `moth convert ...` and `moth detect ...`.
-- Invariant: main returns the exit status: 0 done (all converted), 1 torch left under --strict or a failed check, 2
-- wrong usage.
local fs = require "convert.fs"

local cli = {}

-- The flags, once: the help table, the parser and the completion read this list. kind: flag, value, list.
local FLAGS = {
  { "--src_root", "value", "S", "the tree to convert (or one file)" },
  { "--dst_root", "value", "D", "where the result goes; an existing, partly converted D is continued" },
  { "--in_place", "flag", "", "convert S itself; each changed file leaves FILE.old" },
  { "--dry_run", "flag", "", "convert and report, write nothing" },
  { "--diff", "flag", "", "print unified diffs" },
  { "--review", "flag", "", "show each diff and ask: yes, no, edit, quit; answers are remembered" },
  { "--profile", "value", "P",
    "generic (default) or mindone (relative imports and conventions of the transformers ports)" },
  { "--style", "value", "T", "default, or classic: the literal edits of the common guides" },
  { "--ms_version", "value", "V", "2.7 to 2.10 (default 2.10): names are checked against its public list" },
  { "--rules", "list", "DIR", "load the rules of DIR/*.lua (or one file); an equal id overrides" },
  { "--enable", "list", "ID", "switch an optional rule on" },
  { "--disable", "list", "ID", "switch a rule off" },
  { "--only", "list", "GLOB", "take only matching paths" },
  { "--exclude", "list", "GLOB", "leave matching paths out" },
  { "--jobs", "value", "N", "share the tree among N processes" },
  { "--strict", "flag", "", "exit with 1 when torch is left" },
  { "--report", "value", "F", "write the report to F too (default D/report.md); .html gives side-by-side diffs" },
  { "--list", "value", "F", "the checklist (default D/files_to_convert.md)" },
  { "--explain", "value", "FILE:LINE", "say which rules looked at a place and why each did or did not apply" },
  { "--no_checks", "flag", "", "skip the checks of the result" },
  { "--quiet", "flag", "", "print nothing but errors" },
  { "--worker", "value", "K/N", false },
}

local USAGE = [[
usage: moth convert --src_root S --dst_root D [flags]     convert a tree of PyTorch sources to MindSpore
       moth convert --explain FILE:LINE [flags]           why a place was or was not changed
       moth convert rules [ID]                            list the rules, or show one with its example
       moth convert tests --src_root S --dst_root D --out T    write a parity test per model
       moth convert validate --src_root S --dst_root D    check a converted tree, write the validation report
       moth detect --src_root S [--list F]                find the files that have to do with torch
]]

local function help()
  local out = { USAGE, "" }
  for _, f in ipairs(FLAGS) do
    if f[4] then out[#out + 1] = ("  %-24s %s"):format(f[1] .. (f[3] ~= "" and " " .. f[3] or ""), f[4]) end
  end
  out[#out + 1] = "\nexit status: 0 all converted, 1 torch left under --strict (or a failed validation), 2 wrong usage"
  return table.concat(out, "\n") .. "\n"
end
cli.help = help

local function usage(message)
  io.stderr:write("moth convert: ", message, "\n", USAGE)
  return 2
end

local function parse(args, extra)
  local by = {}
  for _, f in ipairs(FLAGS) do by[f[1]] = f end
  for _, f in ipairs(extra or {}) do by[f[1]] = f end
  local o, i = { words = {} }, 1
  while i <= #args do
    local a = args[i]
    local name, inline = a:match("^(%-%-[%w_-]+)=(.*)$")
    name = (name or a):gsub("^%-%-(.*)$", function(n) return "--" .. n:gsub("-", "_") end)
    local f = by[name]
    if f then
      local key = name:sub(3)
      if f[2] == "flag" then o[key] = true
      else
        local v = inline
        if not v then
          i = i + 1
          v = args[i]
        end
        if not v then return nil, a .. " needs a value" end
        if f[2] == "list" then
          o[key] = o[key] or {}
          table.insert(o[key], v)
        else o[key] = v end
      end
    elseif a == "-h" or a == "--help" then o.help = true
    elseif a:sub(1, 1) == "-" then return nil, "unknown flag " .. a
    else o.words[#o.words + 1] = a end
    i = i + 1
  end
  return o
end

-- Checks and completes the common options; nil and a message when wrong.
local function common(o)
  o.profile, o.style, o.ms_version = o.profile or "generic", o.style or "default", o.ms_version or "2.10"
  if o.profile ~= "generic" and o.profile ~= "mindone" then return nil, "--profile is generic or mindone" end
  if o.style ~= "default" and o.style ~= "classic" then return nil, "--style is default or classic" end
  if not require("convert.data").names(o.ms_version) then
    return nil, "no table of names for MindSpore " .. o.ms_version .. " (there are "
      .. table.concat(require("convert.data").versions(), ", ") .. ")"
  end
  local files = {}
  for _, r in ipairs(o.rules or {}) do
    if r:find("%.lua$") then files[#files + 1] = r
    else
      if not fs.is_dir(r) then return nil, "no folder " .. r end
      for _, path in ipairs(fs.tree(r)) do
        if path:find("%.lua$") then files[#files + 1] = r .. "/" .. path end
      end
    end
  end
  o.rules = #files > 0 and files or nil
  local loaded, why = pcall(require("convert.engine").rules, o.rules)
  if not loaded then return nil, why end
  local function set(list)
    if not list then return nil end
    local s = {}
    for _, id in ipairs(list) do s[id] = true end
    return s
  end
  o.enable_text = table.concat(o.enable or {}, ",") .. "-" .. table.concat(o.disable or {}, ",")
  o.enable, o.disable = set(o.enable), set(o.disable)
  if o.jobs then
    o.jobs = math.tointeger(tonumber(o.jobs))
    if not o.jobs or o.jobs < 1 then return nil, "--jobs needs a number" end
  end
  if o.worker then
    local k, n = o.worker:match("^(%d+)/(%d+)$")
    if not k then return nil, "--worker K/N" end
    o.worker = { tonumber(k), tonumber(n) }
  end
  if o.src_root then o.src_root = o.src_root:gsub("(.)/+$", "%1") end
  if o.dst_root then o.dst_root = o.dst_root:gsub("(.)/+$", "%1") end
  return o
end

local function explain(o)
  local path, line = o.explain:match("^(.*):(%d+)$")
  if not path then return usage("--explain FILE:LINE") end
  line = tonumber(line)
  local text, err = fs.read(path)
  if not text then return usage(err) end
  local engine = require "convert.engine"
  local seen, order = {}, {}
  local f
  local opts = { profile = o.profile, style = o.style, ms_version = o.ms_version, rules = o.rules, enable = o.enable,
    path = path }
  opts.package = require("convert.project").new(fs.parent(path), {}):package(path:match("[^/]*$"))
  opts.trace = function(rule, node, ok, why)
    if node.k == "Module" then return end
    seen[#seen + 1] = { rule = rule, node = node, ok = ok, why = why }
  end
  local result
  result, f = engine.convert(text, opts)
  if not result then
    print(("%s:%d:%d: %s"):format(path, f.line, f.col, f.message))
    return 1
  end
  local lines = require("convert.diff").lines(text)
  print((lines[line] or ""):gsub("^%s+", "") .. "")
  local shown = 0
  for _, s in ipairs(seen) do
    if f:line(s.node.s) == line then
      local key = s.rule.id .. s.node.s .. tostring(s.ok)
      if not order[key] then
        order[key] = true
        local what = f:text(s.node):match("^[^\n]*"):sub(1, 60)
        print(("  %-28s %s: %s   [%s]"):format(s.rule.id, s.ok and "applies" or "does not apply", s.why == "applies"
          and s.rule.why or s.why, what))
        shown = shown + 1
      end
    end
  end
  for _, l in ipairs(f.left) do
    if l.line == line then print(("  %-28s torch is left: %s has no known equal"):format("-", l.name)) shown =
      shown + 1 end
  end
  if shown == 0 then print("  no rule looks at this line") end
  return 0
end

local function rules_command(o)
  local engine = require "convert.engine"
  local id = o.words[2]
  for _, r in ipairs(engine.rules(o.rules)) do
    if id and r.id == id then
      print(("%s (%s, %s%s)\n  %s"):format(r.id, r.family, r.state, r.profile and ", profile " .. r.profile or "",
        r.why))
      if r.before then print("before:\n  " .. r.before:gsub("\n", "\n  ")) end
      if r.after then print("after:\n  " .. r.after:gsub("\n", "\n  ")) end
      return 0
    elseif not id then
      print(("%-34s %-12s %-10s %-9s %s"):format(r.id, r.family, r.state, r.profile or r.style or "", r.why))
    end
  end
  if id then return usage("no rule " .. id) end
  return 0
end

local function entries_of(records)
  local out = {}
  for _, r in ipairs(records) do
    if r.grade then out[#out + 1] = r end
  end
  return out
end

local function write_reports(o, records)
  local report = require "convert.report"
  local by = {}
  for _, r in ipairs(records) do by[r.path] = r end
  local list = o.list or o.dst_root .. "/files_to_convert.md"
  fs.write(list, report.checklist(entries_of(records), by))
  local markdown = report.markdown(records, o)
  fs.write(o.dst_root .. "/report.md", markdown)
  if o.report then
    fs.write(o.report, o.report:find("%.html?$") and report.html(records, o) or markdown)
  end
end

local function summary(o, records, seconds)
  local t = require("convert.report").totals(records)
  if not o.quiet then
    print(("%d converted · %d copied · %d not converted · %d edits · %.1f s"):format(t.converted,
      t.copied + t.unchanged, t.failed, t.edits, seconds))
    local shown = 0
    for _, r in ipairs(records) do
      if r.error then print("  " .. r.path .. ": " .. r.error) end
      for _, l in ipairs(r.left) do
        shown = shown + 1
        if shown <= 10 then print(("  %s:%d torch left: %s"):format(r.path, l.line, l.name)) end
      end
    end
    if shown > 10 then print(("  and %d more"):format(shown - 10)) end
    if t.reviews > 0 or shown > 0 then print(("  %d places need a person: %s"):format(t.reviews + shown, o.report
      or o.dst_root and o.dst_root .. "/report.md" or "")) end
  end
  return t
end

-- One file as the source: its folder is the root, only it is taken.
local function single_file(o)
  if fs.is_dir(o.src_root) then return true end
  if not fs.exists(o.src_root) then return false end
  local file = o.src_root
  o.src_root = fs.parent(file)
  o.only = { file:match("[^/]*$") }
  return true
end

local function convert(o)
  if o.help then io.write(help()) return 0 end
  local ok, err = common(o)
  if not ok then return usage(err) end
  if o.explain then return explain(o) end
  local word = o.words[1]
  if word == "rules" then return rules_command(o) end
  if word == "tests" then return require("convert.testgen").main(o, usage) end
  if word == "validate" then return require("convert.validate").main(o, usage) end
  if word then return usage("unknown word " .. word) end
  if not o.src_root then return usage("--src_root is needed") end
  if not single_file(o) then return usage("no such file or folder: " .. o.src_root) end
  if not o.in_place and not o.dst_root and not o.dry_run then return usage("--dst_root or --in_place is needed") end
  if o.in_place and o.dst_root then return usage("--in_place and --dst_root exclude each other") end
  if o.dst_root and fs.realpath(o.dst_root) == fs.realpath(o.src_root) then return
    usage("source and destination are the same: use --in_place") end
  if o.dry_run and not o.dst_root then o.dst_root = o.src_root end
  o.progress = not o.quiet and fs.is_terminal() and not o.diff and not o.review
  local started = fs.clock()
  local workflow = require "convert.workflow"
  local records = workflow.convert(o)
  if o.worker then return 0 end
  if not o.dry_run then write_reports(o, records)
  elseif o.report then
    local report = require "convert.report"
    fs.write(o.report, report.markdown(records, o))
  end
  local t = summary(o, records, fs.clock() - started)
  if o.strict and t.left > 0 then return 1 end
  if o.strict and t.failed > 0 then return 1 end
  return 0
end

local function detect(o)
  if o.help then io.write(help()) return 0 end
  if not o.src_root then return usage("--src_root is needed") end
  if not single_file(o) then return usage("no such file or folder: " .. o.src_root) end
  local finder = require "convert.detect"
  local workflow = require "convert.workflow"
  local files = workflow.selected(fs.tree(o.src_root), o)
  local verdicts = finder.tree(o.src_root, files)
  local list = o.list or (o.dst_root and o.dst_root .. "/files_to_convert.md") or "files_to_convert.md"
  fs.write(list, require("convert.report").checklist(verdicts))
  if not o.quiet then
    local count = {}
    for _, v in ipairs(verdicts) do
      count[v.grade] = (count[v.grade] or 0) + 1
      count[v.category] = (count[v.category] or 0) + 1
    end
    print(("%d files: %d definite, %d indirect%s · %d modeling, %d data, %d training, %d inference, %d other · %s"):format(#verdicts, count.definite or 0,
      count.indirect or 0, count.unparsed and (", %d unparsed"):format(count.unparsed) or "", count.modeling or 0,
        count.data or 0, count.training or 0,
      count.inference or 0, count.other or 0, list))
  end
  return 0
end

-- The command that starts this program again with the same arguments, for --jobs.
local function self_command(command, words)
  local exe = fs.sys and fs.sys.realpath("/proc/self/exe")
  if not exe then return nil end
  local out = { exe, command }
  for _, w in ipairs(words) do out[#out + 1] = w end
  return out
end

--- args: Lua's arg with the command in args[0] (moth) or args[1]. Returns the exit status.
function cli.main(args)
  local words = { table.unpack(args) }
  local command = args[0]
  if command ~= "convert" and command ~= "detect" then command = table.remove(words, 1) end
  if command ~= "convert" and command ~= "detect" then return usage("the command is convert or detect") end
  local o, err = parse(words, { { "--out", "value", "T" }, { "--python", "value", "P" }, { "--tests", "value", "T" } })
  if not o then return usage(err) end
  collectgarbage("generational")
  if command == "detect" then return detect(o) end
  o.self_command = self_command("convert", words)
  return convert(o)
end

return cli
