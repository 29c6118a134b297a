-- main.lua: `make docs`: the reference as a static site with a search box, and definition files for editors, both from
-- the op table and the documentation of Lua's own functions.  moth scripts/docs/main.lua OUT_FOLDER
local out_dir = assert(arg[1], "usage: moth scripts/docs/main.lua OUT_FOLDER")
local here = arg[0]:match("^(.*)/") or "."
package.path = here .. "/?.lua;" .. package.path
local luacats = require "luacats"
local docs = require "repl.docs"
local ops = require "moth.ops"

local function write(path, text)
  local f = assert(io.open(out_dir .. "/" .. path, "w"))
  assert(f:write(text))
  assert(f:close())
end

local function escape(s)
  return (tostring(s):gsub("[&<>\"]", { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }))
end

--- The page a name belongs to: "torch", "linalg", "nn.functional", "string", ...
local function page_of(name, entry)
  if not entry.op then return name:match("^(.*)%.") or "basic" end
  return name:match("^(.*)%.") or "torch"
end

local function row(label, value)
  if not value or value == "" then return "" end
  return string.format("<dt>%s</dt><dd>%s</dd>", label, value)
end

local function link(name, pages)
  local page = pages[name]
  return page and string.format('<a href="%s.html#%s">%s</a>', page, escape(name), escape(name)) or escape(name)
end

--- The section of one name.
local function section(name, entry, pages)
  local signatures = { entry.signature or name }
  for i = 2, entry.overloads or 1 do signatures[i] = entry.op.overloads[i].signature end
  for i, s in ipairs(signatures) do signatures[i] = "<code>" .. escape(s) .. "</code>" end
  local see = {}
  for i, other in ipairs(entry.see or {}) do see[i] = link(other, pages) end
  local params = {}
  for _, p in ipairs(entry.params or {}) do
    params[#params + 1] = string.format("<code>%s</code>%s%s", escape(p.name), p.type and ": " .. escape(p.type) or "",
      p.default and " = " .. escape(p.default) or "")
  end
  return string.format('<section id="%s"><h3>%s</h3><p class="sig">%s</p><p>%s</p><dl>%s%s%s%s</dl></section>\n',
    escape(name), escape(name), table.concat(signatures, "<br>"), escape(entry.doc or ""),
    row("parameters", table.concat(params, ", ")),
    row("derivative", entry.derivative and "<code>" .. escape(entry.derivative) .. "</code>"),
    row("example", entry.example and "<pre>" .. escape(entry.example) .. "</pre>"),
    row("see also", table.concat(see, ", ")))
end

local style = [[
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 1rem auto; padding: 0 1rem; }
code, pre { font: 14px/1.4 ui-monospace, monospace; } pre { overflow-x: auto; margin: 0; }
section { border-top: 1px solid #8884; padding: .5rem 0; } h3 { margin: .2rem 0; } .sig { margin: .2rem 0; }
dl { display: grid; grid-template-columns: 7rem 1fr; gap: .1rem .5rem; } dt { opacity: .7; } dd { margin: 0; }
input { font: inherit; width: 100%; padding: .4rem; box-sizing: border-box; } #found { list-style: none; padding: 0; }
nav a { margin-right: .8rem; }
]]

-- The index is a script, so that the site works from the file system too.
local search = [[
const box = document.getElementById("q"), found = document.getElementById("found");
function show() {
  const words = box.value.toLowerCase().split(/\s+/).filter(w => w);
  found.textContent = "";
  if (!words.length) return;
  const score = e => words.every(w => e[0].toLowerCase().includes(w) || e[2].toLowerCase().includes(w))
    ? (e[0].toLowerCase().split(".").pop() === words[0] ? 0 : e[0].toLowerCase().includes(words[0]) ? 1 : 2) : 9;
  const hits = INDEX.map(e => [score(e), e]).filter(p => p[0] < 9).sort((a, b) => a[0] - b[0]).slice(0, 50);
  for (const [, e] of hits) {
    const li = document.createElement("li"), a = document.createElement("a");
    a.href = e[1] + ".html#" + e[0];
    a.textContent = e[0];
    li.append(a, "  " + e[2]);
    found.append(li);
  }
}
box.addEventListener("input", show);
]]

local function page(title, nav, body)
  return string.format([[<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>%s</title><link rel="stylesheet" href="style.css"></head>
<body><nav>%s</nav><input id="q" placeholder="Search names and texts" autofocus><ul id="found"></ul>
<h1>%s</h1>
%s<script src="index.js"></script><script src="search.js"></script></body></html>
]], escape(title), nav, escape(title), body)
end

-- ---- gather ----
local pages, by_page, order = {}, {}, {}
for _, name in ipairs(docs.names()) do
  local entry = docs.get(name)
  if entry and not (entry.op and entry.op.hidden) then
    local p = page_of(name, entry)
    pages[name] = p
    if not by_page[p] then
      by_page[p] = {}
      order[#order + 1] = p
    end
    table.insert(by_page[p], { name, entry })
  end
end
table.sort(order)

-- ---- write ----
assert(os.execute("mkdir -p '" .. out_dir .. "/library'"))
local nav, index, total = { '<a href="index.html">Moth</a>' }, {}, 0
for _, p in ipairs(order) do nav[#nav + 1] = string.format('<a href="%s.html">%s</a>', p, p) end
nav = table.concat(nav)
for _, p in ipairs(order) do
  local body = {}
  for _, item in ipairs(by_page[p]) do
    body[#body + 1] = section(item[1], item[2], pages)
    local text = (item[2].doc or ""):match("[^\n]*")
    index[#index + 1] = string.format("[%q,%q,%q]", item[1], p, text)
    total = total + 1
  end
  write(p .. ".html", page(p, nav, table.concat(body)))
end
local overview = {}
for _, p in ipairs(order) do
  overview[#overview + 1] = string.format('<section><h3><a href="%s.html">%s</a></h3><p>', p, p)
  for _, item in ipairs(by_page[p]) do overview[#overview + 1] = link(item[1], pages) .. " " end
  overview[#overview + 1] = "</p></section>"
end
write("index.html", page("Moth reference", nav, table.concat(overview)))
write("index.js", "const INDEX = [\n" .. table.concat(index, ",\n"):gsub("\\\n", "\\n") .. "];\n")
write("search.js", search)
write("style.css", style)
local definitions = luacats.text(ops)
assert(load(definitions, "=torch.lua", "t"))
write("library/torch.lua", definitions)
print(string.format("%d names on %d pages in %s; definition file library/torch.lua", total, #order, out_dir))
