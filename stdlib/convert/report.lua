-- report.lua: files_to_convert.md, report.md and the HTML report, from the records of a run.
-- Invariant: the text depends on the records alone (no clock, no machine), so equal runs give equal reports.
local fs = require "convert.fs"
local diff = require "convert.diff"

local report = {}

local function sorted_keys(t)
  local keys = {}
  for k in pairs(t) do keys[#keys + 1] = k end
  table.sort(keys)
  return keys
end

local function line_list(lines)
  local out, last = {}, nil
  for _, n in ipairs(lines) do
    if n ~= last then out[#out + 1] = n end
    last = n
  end
  if #out > 12 then
    local more = #out - 12
    for i = #out, 13, -1 do out[i] = nil end
    return table.concat(out, ", ") .. (" and %d more"):format(more)
  end
  return table.concat(out, ", ")
end

--- files_to_convert.md. entries: detection verdicts {path, grade, category, refs}; records by path (nil before
-- conversion).
function report.checklist(entries, records)
  local out = { "# Files", "" }
  for _, e in ipairs(entries) do
    local r = records and records[e.path]
    local done = r and (r.status == "converted" or r.status == "unchanged") and #r.left == 0
    out[#out + 1] = ("- [%s] %s — %s — %s — %d torch references"):format(done and "x" or " ", e.path, e.category
      or "other", e.grade or "?", e.refs or 0)
  end
  out[#out + 1] = ""
  out[#out + 1] = "# Edits"
  for _, e in ipairs(entries) do
    local r = records and records[e.path]
    if r then
      out[#out + 1] = "\n## " .. e.path .. "\n"
      if r.error then out[#out + 1] = "- not converted: " .. r.error end
      for _, id in ipairs(sorted_keys(r.rules)) do
        out[#out + 1] = ("- %s ×%d (lines %s)"):format(id, #r.rules[id], line_list(r.rules[id]))
      end
      for _, v in ipairs(r.reviews) do out[#out + 1] = ("- review, line %d: %s (%s)"):format(v.line, v.message,
        v.rule) end
      for _, l in ipairs(r.left) do out[#out + 1] = ("- torch left, line %d: `%s`"):format(l.line, l.name) end
    end
  end
  return table.concat(out, "\n") .. "\n"
end

--- Totals of a run.
function report.totals(records)
  local t = { files = #records, converted = 0, unchanged = 0, copied = 0, failed = 0, declined = 0, left = 0,
    left_files = 0, reviews = 0, undefined = 0,
    bad_names = 0, edits = 0, unlisted = 0, rules = {} }
  for _, r in ipairs(records) do
    t[r.status] = (t[r.status] or 0) + 1
    t.left, t.reviews = t.left + #r.left, t.reviews + #r.reviews
    t.undefined, t.bad_names = t.undefined + #r.undefined, t.bad_names + #r.bad_names
    if #r.left > 0 then t.left_files = t.left_files + 1 end
    for _, l in ipairs(r.left) do
      if l.unlisted then t.unlisted = t.unlisted + 1 end
    end
    for id, lines in pairs(r.rules) do
      t.rules[id] = (t.rules[id] or 0) + #lines
      t.edits = t.edits + #lines
    end
  end
  return t
end

local function section(out, title, rows, none)
  out[#out + 1] = "\n# " .. title .. "\n"
  if #rows == 0 then out[#out + 1] = none or "None."
  else
    for _, row in ipairs(rows) do out[#out + 1] = row end
  end
end

--- report.md
function report.markdown(records, o)
  local t = report.totals(records)
  local out = { "# Conversion report", "",
    ("profile %s, style %s, MindSpore %s"):format(o.profile or "generic", o.style or "default", o.ms_version
      or "2.10"), "",
    "| files | converted | unchanged | copied | not converted | declined | edits | torch left | undefined names | unknown mindspore names | to review |",
    "|---|---|---|---|---|---|---|---|---|---|---|",
    ("| %d | %d | %d | %d | %d | %d | %d | %d in %d files | %d | %d | %d |"):format(t.files, t.converted,
      t.unchanged, t.copied, t.failed, t.declined, t.edits,
      t.left, t.left_files, t.undefined, t.bad_names, t.reviews) }
  local rows = {}
  for _, r in ipairs(records) do
    if r.status == "converted" then
      rows[#rows + 1] = ("- %s%s%s"):format(r.path, r.continued and " (continued)" or "", #r.left > 0
        and (" — %d torch references left"):format(#r.left) or "")
    end
  end
  section(out, "Converted", rows)
  rows = {}
  for _, r in ipairs(records) do
    if r.status == "failed" then rows[#rows + 1] = "- " .. r.path .. ": " .. (r.error or "?")
    elseif r.status == "declined" then rows[#rows + 1] = "- " .. r.path .. ": declined in review"
    elseif r.status == "pending" then rows[#rows + 1] = "- " .. r.path .. ": the review was left before it" end
  end
  section(out, "Not converted", rows)
  rows = {}
  for _, id in ipairs(sorted_keys(t.rules)) do
    if #rows == 0 then rows[1] = "| rule | edits |\n|---|---|" end
    rows[#rows + 1] = ("| %s | %d |"):format(id, t.rules[id])
  end
  section(out, "Rules", rows)
  local function listing(title, field, text)
    local list = {}
    for _, r in ipairs(records) do
      for _, x in ipairs(r[field]) do list[#list + 1] = ("- %s:%d %s"):format(r.path, x.line, text(x)) end
    end
    section(out, title, list)
  end
  listing("Torch left", "left", function(x) return "`" .. x.name .. "`" end)
  rows = {}
  for _, r in ipairs(records) do
    for _, x in ipairs(r.bad_names) do rows[#rows + 1] = ("- %s:%d `%s` is not in this MindSpore"):format(r.path,
      x.line, x.name) end
    for _, x in ipairs(r.undefined) do rows[#rows + 1] = ("- %s:%d `%s` is undefined"):format(r.path, x.line,
      x.name) end
  end
  section(out, "Unresolved names", rows)
  listing("Manual review", "reviews", function(x) return x.message .. " (" .. x.rule .. ")"
    .. (x.text and x.text ~= "" and ": `" .. x.text .. "`" or "") end)
  return table.concat(out, "\n") .. "\n"
end

local function escape(s) return (s:gsub("[&<>]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;" })) end

local STYLE = [[body{font:14px/1.4 system-ui,sans-serif;margin:2em;color:#222}table.d{border-collapse:collapse;width:100%;table-layout:fixed;font:12px/1.35 monospace}
.d td{vertical-align:top;white-space:pre-wrap;overflow-wrap:anywhere;padding:0 .5em}.n{width:3.5em;color:#999;text-align:right}.o{background:#fdecea}.w{background:#e7f6ea}
.g td{background:#f3f4f6;color:#777}summary{cursor:pointer;margin:.4em 0}.l{color:#b00}]]

-- Side by side rows of one file.
local function side_by_side(old, new)
  local script = diff.script(old, new)
  local out = { "<table class=d><colgroup><col class=n><col><col class=n><col></colgroup>" }
  local function row(a, ta, ca, b, tb, cb)
    out[#out + 1] = ("<tr><td class=n>%s<td class='%s'>%s<td class=n>%s<td class='%s'>%s"):format(a or "", ca,
      escape(ta or ""), b or "", cb, escape(tb or ""))
  end
  for _, h in ipairs(diff.hunks(script, 3)) do
    out[#out + 1] = "<tr class=g><td><td>…<td><td>…"
    local i = h.from
    while i <= h.to do
      if script[i].op == "=" then
        row(script[i].a, script[i].text, "", script[i].b, script[i].text, "")
        i = i + 1
      else
        local minus, plus = {}, {}
        while i <= h.to and script[i].op ~= "=" do
          table.insert(script[i].op == "-" and minus or plus, script[i])
          i = i + 1
        end
        for k = 1, math.max(#minus, #plus) do
          local m, p = minus[k], plus[k]
          row(m and m.a, m and m.text, m and "o" or "", p and p.b, p and p.text, p and "w" or "")
        end
      end
    end
  end
  out[#out + 1] = "</table>"
  return table.concat(out, "\n")
end

--- The HTML report; texts of the files are read from the two roots.
function report.html(records, o)
  local t = report.totals(records)
  local out = { "<!doctype html><meta charset=utf-8><title>Conversion report</title><style>" .. STYLE
    .. "</style><h1>Conversion report</h1>",
    ("<p>%d files, %d converted, %d not converted, %d edits, %d torch references left, %d places to review.</p>"):format(t.files, t.converted, t.failed, t.edits, t.left, t.reviews) }
  for _, r in ipairs(records) do
    if r.status == "converted" then
      local old = fs.read(o.src_root .. "/" .. r.path .. (o.in_place and ".old" or "")) or ""
      local new = fs.read(o.dst_root .. "/" .. r.path) or ""
      out[#out + 1] = ("<details><summary>%s%s</summary>"):format(escape(r.path), #r.left > 0
        and (" <span class=l>%d left</span>"):format(#r.left) or "")
      for _, v in ipairs(r.reviews) do out[#out + 1] = ("<p class=l>line %d: %s (%s)</p>"):format(v.line,
        escape(v.message), escape(v.rule)) end
      for _, l in ipairs(r.left) do out[#out + 1] =
        ("<p class=l>line %d: torch left: <code>%s</code></p>"):format(l.line, escape(l.name)) end
      out[#out + 1] = side_by_side(old, new) .. "</details>"
    elseif r.status == "failed" then
      out[#out + 1] = ("<p class=l>%s: %s</p>"):format(escape(r.path), escape(r.error or "?"))
    end
  end
  return table.concat(out, "\n") .. "\n"
end

return report
