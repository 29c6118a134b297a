-- validate.lua: `moth convert validate`: does a converted tree hold? Parse, names, undefined, torch left, rules that
-- would still
-- apply, and, given a Python with the packages, imports and the parity tests. Writes the validation report.
local fs = require "convert.fs"
local checks = require "convert.checks"
local engine = require "convert.engine"
local project = require "convert.project"

local validate = {}

-- Runs a command; returns ok, its output.
local function capture(command)
  if fs.sys then
    local r = fs.sys.run(command, { timeout = 3600 })
    if not r then return false, "cannot start " .. command[1] end
    return r.ok, (r.stdout or "") .. (r.stderr or "")
  end
  local quoted = {}
  for _, w in ipairs(command) do quoted[#quoted + 1] = "'" .. w:gsub("'", "'\\''") .. "'" end
  local p = io.popen(table.concat(quoted, " ") .. " 2>&1; echo rc=$?", "r")
  local out = p:read("a")
  p:close()
  return out:match("rc=(%d+)%s*$") == "0", out
end

local IMPORTER = [[
import importlib, importlib.util, os, sys
root = sys.argv[1]
sys.path.insert(0, root)
bad = 0
for path in sys.argv[2:]:
    name = path[:-3].replace("/", ".")
    try:
        if all(os.path.exists(os.path.join(root, *path.split("/")[:i], "__init__.py")) for i in range(1, path.count("/") + 1)):
            importlib.import_module(name)
        else:
            sys.path.insert(0, os.path.dirname(os.path.join(root, path)))
            spec = importlib.util.spec_from_file_location(name, os.path.join(root, path))
            spec.loader.exec_module(importlib.util.module_from_spec(spec))
    except Exception as err:
        bad += 1
        print("IMPORT", path, type(err).__name__, str(err).split("\n")[0])
sys.exit(bad > 0)
]]

--- The findings of a tree: rows {path, kind, line, text}, and counts per check.
function validate.tree(o)
  local rows, counts = {}, { files = 0, ast = 0, names = 0, undefined = 0, torch = 0, rules = 0 }
  local files = fs.tree(o.dst_root)
  local proj = project.new(o.dst_root, files)
  local converted = {}
  local function add(path, kind, line, text)
    rows[#rows + 1] = { path = path, kind = kind, line = line, text = text }
    counts[kind] = counts[kind] + 1
  end
  for _, path in ipairs(files) do
    local text = path:find("%.py$") and fs.read(o.dst_root .. "/" .. path)
    local source = text and o.src_root and fs.read(o.src_root .. "/" .. path)
    -- what the converter did not write (its own tests, say) is not its business
    local relevant = text and (not o.src_root or source ~= nil and source ~= text)
    if relevant then
      counts.files = counts.files + 1
      converted[#converted + 1] = path
      local base
      if source then
        local tree = require("convert.python.parser").parse(source)
        base = tree and { facts = require("convert.python.scope").analyse(tree), left = {} }
      end
      local found = checks.run(text, base, o.ms_version)
      if not found.parses then add(path, "ast", found.error.line, found.error.message)
      else
        for _, x in ipairs(found.bad_names) do add(path, "names", x.line, x.name .. " is not in MindSpore "
          .. (o.ms_version or "2.10")) end
        for _, x in ipairs(found.undefined) do add(path, "undefined", x.line, x.name .. " is undefined") end
        for _, x in ipairs(found.torch) do add(path, "torch", x.line, x.name) end
        local again, f = engine.convert(text, { profile = o.profile, style = o.style, ms_version = o.ms_version,
          rules = o.rules, project = proj,
          package = proj:package(path) })
        if again and again ~= text then
          local ids = {}
          for id in pairs(f.applied) do ids[#ids + 1] = id end
          table.sort(ids)
          add(path, "rules", 0, "rules still apply: " .. table.concat(ids, ", "))
        end
      end
    end
  end
  return rows, counts, converted
end

--- `moth convert validate`
function validate.main(o, usage)
  if not o.dst_root then return usage("validate needs --dst_root (and --src_root to know what was converted)") end
  local rows, counts, converted = validate.tree(o)
  local out = { "# Validation report", "", ("%d converted files"):format(counts.files), "", "| check | findings |",
    "|---|---|",
    "| parses | " .. counts.ast .. " |", "| mindspore names exist | " .. counts.names .. " |",
      "| no undefined names | " .. counts.undefined .. " |",
    "| torch left | " .. counts.torch .. " |", "| no rule applies any more | " .. counts.rules .. " |" }
  local failed = counts.ast + counts.names + counts.undefined > 0
  local imports_text, parity_text
  if o.python then
    local name = os.tmpname()
    local tmp = name .. ".py"
    fs.write(tmp, IMPORTER)
    local command = { o.python, tmp, o.dst_root }
    for _, path in ipairs(converted) do command[#command + 1] = path end
    local ok, text = capture(command)
    os.remove(tmp)
    os.remove(name)
    local lines = {}
    for line in text:gmatch("IMPORT ([^\n]*)") do lines[#lines + 1] = "- " .. line end
    out[#out + 1] = "| modules import | " .. #lines .. " |"
    imports_text = #lines > 0 and table.concat(lines, "\n") or nil
    failed = failed or not ok
    local tests = o.tests or o.dst_root .. "/tests"
    if fs.is_dir(tests) then
      ok, text = capture({ o.python, "-m", "pytest", "-q", "-x", "--no-header", "-p", "no:cacheprovider", tests })
      parity_text = text:match("[^\n]*%d+ %a+[^\n]* in [%d.]+s[^\n]*") or text:sub(-400)
      out[#out + 1] = "| parity | " .. (ok and "passed" or "failed") .. " |"
      failed = failed or not ok
      if not ok then parity_text = text:sub(-3000) end
    end
  end
  for _, kind in ipairs { "ast", "names", "undefined", "torch", "rules" } do
    local any = false
    for _, r in ipairs(rows) do
      if r.kind == kind then
        if not any then out[#out + 1] = "\n# " .. kind .. "\n" end
        any = true
        out[#out + 1] = ("- %s:%d %s"):format(r.path, r.line, r.text)
      end
    end
  end
  if imports_text then out[#out + 1] = "\n# imports\n\n" .. imports_text end
  if parity_text then out[#out + 1] = "\n# parity\n\n```\n" .. parity_text .. "\n```" end
  local report = o.report or o.dst_root .. "/validation.md"
  fs.write(report, table.concat(out, "\n") .. "\n")
  if not o.quiet then
    print(("%d files · %d do not parse · %d unknown names · %d undefined · %d torch left · %s%s"):format(counts.files, counts.ast, counts.names,
      counts.undefined, counts.torch, parity_text and ("parity: " .. parity_text:match("[^\n]*") .. " · ") or "",
        report))
  end
  if failed or (o.strict and counts.torch > 0) then return 1 end
  return 0
end

return validate
