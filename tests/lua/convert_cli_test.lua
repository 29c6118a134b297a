-- convert_cli_test: the commands: detect, convert (whole, dry, in place, interrupted, continued, reviewed), explain,
-- rules, validate.
package.path = "stdlib/?.lua;stdlib/?/init.lua;tests/lua/?.lua;" .. package.path
local t = require "check"
local cli, fs = require "convert.cli", require "convert.fs"

local base = os.tmpname()
os.remove(base)
base = base .. "-convert"

local function write(path, text) assert(fs.write(base .. "/" .. path, text)) end
local function read(path) return fs.read(base .. "/" .. path) end

-- Runs the command; returns status and what it printed.
local function run(...)
  local words, out = { ... }, {}
  local real_print, real_write, real_err = print, io.write, io.stderr
  print = function(...)
    local parts = table.pack(...)
    for i = 1, parts.n do parts[i] = tostring(parts[i]) end
    out[#out + 1] = table.concat(parts, "\t") .. "\n"
  end
  io.write = function(...) for _, s in ipairs { ... } do out[#out + 1] = s end return io.stdout end
  io.stderr = setmetatable({ write = function(self, ...) for _, s in ipairs { ... } do out[#out + 1] = s end return
    self end }, { __index = real_err })
  local ok, status = pcall(cli.main, words)
  print, io.write, io.stderr = real_print, real_write, real_err
  if not ok then error(status, 2) end
  return status, table.concat(out)
end

local MODEL = [[
"""A model."""
import torch
from torch import nn
from .base import Base


class Net(Base):
    def forward(self, x):
        return torch.relu(x).to(x.device)
]]
write("src/pkg/__init__.py", "")
write("src/pkg/base.py",
  "from torch import nn\n\n\nclass Base(nn.Module):\n    def run(self, x):\n        return self.forward(x)\n")
write("src/pkg/model.py", MODEL)
write("src/pkg/plain.py", "class P:\n    def forward(self):\n        return 1\n")
write("src/pkg/odd.py", "import torch\nx = (\n")
write("src/pkg/left.py", "import torch\n\n\ndef f(x):\n    # keep me\n    return torch.sparse.mm(x, x)  # and me\n")
write("src/pkg/lazy.py", "def f():\n    import importlib\n    return importlib.import_module('torch.nn')\n")
write("src/requirements.txt", "numpy\ntorch==2.1\ntorchvision\n")
write("src/data.bin", "\0\1\2")

t.test("detect grades and sorts", function()
  local status = run("detect", "--src_root", base .. "/src", "--list", base .. "/list.md")
  t.eq(status, 0)
  local list = read("list.md")
  for _, want in ipairs { "- [ ] pkg/model.py — modeling — definite", "- [ ] pkg/lazy.py — other — definite",
    "- [ ] pkg/odd.py — other — unparsed" } do
    t.ok(list:find(want, 1, true), want .. "\n" .. list)
  end
  t.ok(not list:find("plain.py", 1, true))
end)

t.test("convert a tree", function()
  local status, out = run("convert", "--src_root", base .. "/src", "--dst_root", base .. "/dst", "--report", base
    .. "/conversion_report.md")
  t.eq(status, 0, out)
  local model = read("dst/pkg/model.py")
  t.ok(model:find("def construct(self, x):\n        return mint.nn.functional.relu(x)\n", 1, true), model)
  t.ok(not model:find("torch", 1, true), model)
  t.ok(read("dst/pkg/plain.py"):find("def forward", 1, true), "no module, no construct")
  t.eq(read("dst/pkg/odd.py"), read("src/pkg/odd.py"), "a file with a syntax error is untouched")
  t.eq(read("dst/data.bin"), "\0\1\2")
  t.eq(read("dst/requirements.txt"), "numpy\nmindspore>=2.10\n")
  local left = read("dst/pkg/left.py")
  t.ok(left:find("    # keep me\n    return torch.sparse.mm(x, x)  # and me\n", 1, true), left)
  local report = read("conversion_report.md")
  for _, want in ipairs { "pkg/odd.py: line 2, column 5", "- pkg/left.py:6 `torch.sparse.mm`",
    "| class.construct | 1 |" } do t.ok(report:find(want, 1, true), want .. "\n" .. report) end
  t.eq(report, read("dst/report.md"))
  local list = read("dst/files_to_convert.md")
  t.ok(list:find("- [x] pkg/model.py", 1, true) and list:find("- [ ] pkg/left.py", 1, true), list)
end)

t.test("strict", function()
  t.eq((run("convert", "--src_root", base .. "/src", "--dst_root", base .. "/dst2", "--strict", "--quiet")), 1)
  t.eq((run("convert", "--src_root", base .. "/src", "--dst_root", base .. "/dst2", "--strict", "--quiet", "--only",
    "model.py")), 0)
end)

t.test("a second run and a resumed run give the same", function()
  local before = read("dst/report.md")
  run("convert", "--src_root", base .. "/src", "--dst_root", base .. "/dst", "--quiet")
  t.eq(read("dst/report.md"), before)
  -- an interrupt: the journal ends in the middle of a line, a file is missing, the lists are gone
  local journal = read("dst/.moth_convert")
  write("dst/.moth_convert", journal:sub(1, #journal * 2 // 3))
  os.remove(base .. "/dst/pkg/model.py")
  os.remove(base .. "/dst/files_to_convert.md")
  os.remove(base .. "/dst/report.md")
  run("convert", "--src_root", base .. "/src", "--dst_root", base .. "/dst", "--quiet")
  t.eq(read("dst/report.md"), before)
  t.ok(read("dst/pkg/model.py"):find("construct", 1, true))
end)

t.test("a partly converted destination is continued", function()
  write("dst3/pkg/model.py",
    (MODEL:gsub("import torch\nfrom torch import nn",
    "import torch\nimport mindspore as ms\nfrom mindspore import nn")
    :gsub("return torch", "# by hand\n        return torch")))
  run("convert", "--src_root", base .. "/src", "--dst_root", base .. "/dst3", "--quiet")
  local model = read("dst3/pkg/model.py")
  t.ok(model:find("# by hand", 1, true) and model:find("mint.nn.functional.relu", 1, true), model)
end)

t.test("dry run and diff write nothing", function()
  local status, out = run("convert", "--src_root", base .. "/src", "--dry_run", "--diff", "--only", "model.py")
  t.eq(status, 0)
  t.ok(out:find("+    def construct(self, x):", 1, true) and out:find("-    def forward(self, x):", 1, true), out)
  t.eq(read("src/pkg/model.py"), MODEL)
  t.ok(not fs.exists(base .. "/src/.moth_convert"))
end)

t.test("in place keeps the old file", function()
  write("here/model.py", MODEL)
  run("convert", "--src_root", base .. "/here", "--in_place", "--quiet")
  t.eq(read("here/model.py.old"), MODEL)
  local once = read("here/model.py")
  t.ok(once:find("construct", 1, true))
  run("convert", "--src_root", base .. "/here", "--in_place", "--quiet")
  t.eq(read("here/model.py"), once)
  t.eq(read("here/model.py.old"), MODEL)
end)

t.test("review asks and remembers", function()
  local workflow = require "convert.workflow"
  local asked = 0
  local real_write = io.write
  io.write = function() return io.stdout end
  local o = { src_root = base .. "/src", dst_root = base .. "/dst4", review = true,
    answers = function() asked = asked + 1 return "n" end }
  local records = workflow.convert(o)
  local first = asked
  workflow.convert(o)
  io.write = real_write
  t.ok(first > 0)
  t.eq(asked, first, "a second run asks nothing")
  t.eq(read("dst4/pkg/model.py"), MODEL)
  local declined = 0
  for _, r in ipairs(records) do if r.status == "declined" then declined = declined + 1 end end
  t.eq(declined, first)
end)

-- Runs the command with answers to the review's questions; returns how many were asked.
local function reviewed(dst, replies)
  local asked, real_read = 0, io.read
  io.read = function()
    asked = asked + 1
    return replies[asked]
  end
  local ok, status, out = pcall(run, "convert", "--src_root", base .. "/src", "--dst_root", base .. "/" .. dst, "--review",
    "--exclude", "requirements.txt")
  io.read = real_read
  assert(ok, status)
  return asked, out
end

t.test("review: yes, no, a question put again, quit, and a later run", function()
  local asked, out = reviewed("dst8", { "what", "y", "q" })
  t.eq(asked, 3)
  t.ok(out:find("[y]es [n]o [e]dit [q]uit", 1, true) and out:find("+++ b/", 1, true), out)
  t.ok(read("dst8/report.md"):find("the review was left before it", 1, true), read("dst8/report.md"))
  t.eq(read("dst8/pkg/model.py"), nil, "nothing is written before the answer")
  t.eq(reviewed("dst8", { "n" }), 1, "only what was left open is asked again")
  t.ok(read("dst8/report.md"):find("declined in review", 1, true), read("dst8/report.md"))
  t.eq(reviewed("dst8", {}), 0, "all is answered")
end)

t.test("review: an edited result is taken", function()
  write("editor.sh", '#!/bin/sh\nprintf "# by a person\\n" >> "$1"\n')
  local set = fs.sys and fs.sys.setenv
  if not set then return end
  local before = os.getenv("EDITOR")
  set("EDITOR", "sh " .. base .. "/editor.sh")
  reviewed("dst9", { "e", "e", "e", "e", "e", "e" })
  set("EDITOR", before)
  t.ok(read("dst9/pkg/model.py"):find("def construct.*\n# by a person\n$"), read("dst9/pkg/model.py"))
  reviewed("dst9", {})
  t.ok(read("dst9/pkg/model.py"):find("# by a person\n$"), "a later run keeps it")
end)

t.test("the HTML report shows both sides, escaped", function()
  write("html/m.py", "import torch\n\n\ndef f(x):\n    return torch.abs(x) < 1 & 2  # <b>\n\n\ng = torch.nothing_known\n")
  write("html/odd.py", "import torch\nx = (\n")
  run("convert", "--src_root", base .. "/html", "--dst_root", base .. "/dst10", "--report", base .. "/r.html", "--quiet")
  local html = read("r.html")
  for _, want in ipairs { "<!doctype html>", "<summary>m.py", "<span class=l>1 left</span>",
    "class='o'>    return torch.abs(x) &lt; 1 &amp; 2  # &lt;b&gt;", "class='w'>    return mint.abs(x) &lt; 1",
    "torch left: <code>torch.nothing_known</code>", "odd.py: line 2" } do
    t.ok(html:find(want, 1, true), want .. "\n" .. html)
  end
  t.ok(not html:find("# <b>", 1, true))
  t.ok(read("dst10/report.md"):find("torch.nothing_known", 1, true))
end)

t.test("names are compared in form NFKC", function()
  if not pcall(require, "tokenizers.core") then return end
  -- fullwidth letters and a ligature: the same names for Python
  write("nfkc/m.py", "import torch\n\n\ndef \u{FB01}t(x):\n    return \u{FF54}orch.relu(x)\n\n\ny = fit(\u{FF54}orch.abs)\n")
  run("convert", "--src_root", base .. "/nfkc", "--dst_root", base .. "/dst11", "--quiet")
  local text = read("dst11/m.py")
  t.ok(text:find("mint.nn.functional.relu(x)", 1, true) and text:find("mint.abs", 1, true), text)
  t.ok(text:find("def \u{FB01}t(x)", 1, true), "what is not converted keeps its bytes")
  local status = run("convert", "validate", "--src_root", base .. "/nfkc", "--dst_root", base .. "/dst11")
  t.eq(status, 0, read("dst11/validation.md"))
end)

t.test("explain", function()
  local status, out = run("convert", "--explain", base .. "/src/pkg/plain.py:2")
  t.eq(status, 0)
  t.ok(out:find("class.construct", 1, true) and out:find("does not apply: not derived from torch.nn.Module", 1,
    true), out)
  out = select(2, run("convert", "--explain", base .. "/src/pkg/model.py:9"))
  t.ok(out:find("api.rename", 1, true) and out:find("device.to", 1, true), out)
end)

t.test("rules of the user", function()
  write("rules/house.lua", 'rule { id = "house.relu", match = call "torch.relu", edit = { rename "mindspore.ops.relu" }, why = "our way" }\n')
  local status, out = run("convert", "rules", "--rules", base .. "/rules")
  t.eq(status, 0)
  t.ok(out:find("house.relu", 1, true) and out:find("class.construct", 1, true))
  run("convert", "--src_root", base .. "/src", "--dst_root", base .. "/dst5", "--rules", base .. "/rules", "--quiet",
    "--only", "model.py")
  t.ok(read("dst5/pkg/model.py"):find("ops.relu(x)", 1, true), read("dst5/pkg/model.py"))
  write("rules/broken.lua", "rule {")
  status, out = run("convert", "--src_root", base .. "/src", "--dst_root", base .. "/dst6", "--rules", base
    .. "/rules", "--quiet")
  t.eq(status, 2)
  t.ok(out:find("broken.lua", 1, true), out)
end)

t.test("validate finds what does not hold", function()
  write("dst7/pkg/model.py", "import mindspore as ms\nfrom mindspore import mint\nx = mint.nothing(1)\ny = undefined_name\nimport torch\nz = torch.abs\n")
  local status = run("convert", "validate", "--src_root", base .. "/src", "--dst_root", base .. "/dst7")
  t.eq(status, 1)
  local report = read("dst7/validation.md")
  for _, want in ipairs { "mindspore.mint.nothing is not in MindSpore", "undefined_name is undefined",
    "model.py:6 torch.abs" } do t.ok(report:find(want, 1, true), want .. "\n" .. report) end
  status = run("convert", "validate", "--src_root", base .. "/src", "--dst_root", base .. "/dst3", "--quiet")
  t.eq(status, 0)
end)

t.test("tests are written once", function()
  local status, out = run("convert", "tests", "--src_root", base .. "/src", "--dst_root", base .. "/dst", "--out",
    base .. "/tests")
  t.eq(status, 0)
  t.ok(read("tests/test_pkg_model.py"):find('("Net", {}, {})', 1, true), out)
  write("tests/test_pkg_model.py", "# mine\n")
  run("convert", "tests", "--src_root", base .. "/src", "--dst_root", base .. "/dst", "--out", base .. "/tests",
    "--quiet")
  t.eq(read("tests/test_pkg_model.py"), "# mine\n")
end)

t.test("wrong usage", function()
  for _, words in ipairs { { "convert" }, { "convert", "--src_root", base .. "/src" }, { "convert", "--nonsense" },
    { "convert", "--src_root", base .. "/none", "--dst_root", "x" },
    { "convert", "--profile", "other", "--src_root", base .. "/src", "--dst_root", base .. "/d" },
      { "convert", "--src_root" }, { "detect" }, { "convert", "dance" },
    { "convert", "--src_root", base .. "/src", "--dst_root", base .. "/src" }, { "convert", "--ms_version", "1.0",
      "rules" } } do
    t.eq((run(table.unpack(words))), 2, table.concat(words, " "))
  end
  local status, out = run("convert", "--help")
  t.eq(status, 0)
  t.ok(out:find("--dst_root", 1, true))
end)

t.test("worked examples", function()
  run("convert", "--src_root", "scripts/convert/source", "--dst_root", base .. "/examples", "--quiet")
  for _, path in ipairs { "dataset.py", "train.py", "infer.py", "model/cohere2_like.py", "model/ibert_like.py",
    "report.md" } do
    t.eq(read("examples/" .. path), fs.read("scripts/convert/expected/" .. path), path)
  end
end)

os.execute("rm -rf '" .. base .. "'")
t.done()
