-- convert_rules_test: every rule's own example, before and after.
package.path = "stdlib/?.lua;stdlib/?/init.lua;tests/lua/?.lua;" .. package.path
local t = require "check"
local engine = require "convert.engine"

local HEADER = "import torch\nfrom torch import nn\nimport torch.nn.functional as F\n"

-- The lines that are no imports.
local function body(text)
  local out = {}
  for line in text:gmatch("[^\n]+") do
    if not line:find("^import ") and not line:find("^from ") then out[#out + 1] = line end
  end
  return table.concat(out, "\n")
end

local seen = 0
for _, rule in ipairs(engine.rules()) do
  if rule.before then
    seen = seen + 1
    t.test(rule.id, function()
      local opts = { profile = rule.profile or "generic", style = rule.style, package = "transformers.models.x",
        enable = { [rule.id] = true } }
      local source = (rule.before:find("import torch\n", 1, true) and "" or HEADER) .. rule.before .. "\n"
      local result, f = engine.convert(source, opts)
      if not result then error(f.message) end
      if not f.applied[rule.id] and rule.after then error("the rule did not apply: " .. result) end
      if rule.after then t.eq(body(result), body(rule.after .. "\n"), rule.id) end
      t.eq(#f.dropped, 0, "crossing edits")
    end)
  end
end

t.test("every rule says why", function()
  for _, rule in ipairs(engine.rules()) do t.ok(#rule.why > 5, rule.id) end
  t.ok(seen > 40, "examples")
end)

t.done()
