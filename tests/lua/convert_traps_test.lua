-- convert_traps_test: what MindSpore 2.10 silently does otherwise under the same name, or refuses: each has a rule,
-- each is tried here.
package.path = "stdlib/?.lua;stdlib/?/init.lua;tests/lua/?.lua;" .. package.path
local t = require "check"
local engine = require "convert.engine"

local HEADER = "import torch\nfrom torch import nn\nimport torch.nn.functional as F\n"

local function convert(text, opts)
  local result, f = engine.convert(HEADER .. text .. "\n", opts or {})
  if not result then error(f.message) end
  local out = {}
  for line in result:gmatch("[^\n]+") do
    if not line:find("^import ") and not line:find("^from ") then out[#out + 1] = line end
  end
  return table.concat(out, "\n"), f, result
end

local function trap(name, before, after, opts)
  t.test(name, function() t.eq((convert(before, opts)), after) end)
end

trap("Tensor.size is the element count", "n = x.size(0) + len(x.size())", "n = x.shape[0] + len(x.shape)")
trap("size inside an f-string", 'f"{x.size()} {x.size(-1)}"', 'f"{x.shape} {x.shape[-1]}"')
trap("zeros takes one size", "torch.zeros(2, 3)", "mint.zeros((2, 3))")
trap("zeros of unpacked sizes", "torch.ones(*s, 3)", "mint.ones((*s, 3))")
trap("zeros of one size stays", "torch.zeros(n)", "mint.zeros(n)")
trap("new_zeros takes one size", "x.new_zeros(2, n)", "x.new_zeros((2, n))")
trap("full keeps its type", "torch.full((2,), 1.5)", "mint.full((2,), 1.5)")
trap("full without dtype never becomes ops.full", "torch.full((2,), 1.5)", "mint.full((2,), 1.5)",
  { profile = "mindone" })
trap("flatten starts at dim 0", "torch.flatten(x)", "mint.flatten(x)")
trap("leaky slope", "nn.LeakyReLU()", "nn.LeakyReLU(alpha=0.01)")
trap("leaky slope given and inplace", "nn.LeakyReLU(negative_slope=0.1, inplace=True)", "nn.LeakyReLU(alpha=0.1)")
trap("GELU is exact", "nn.GELU()", "mint.nn.GELU()")
trap("smooth_l1_loss is the mean", "F.smooth_l1_loss(a, b)", "F.smooth_l1_loss(a, b)")
trap("pooling's stride is the kernel", "nn.MaxPool1d(3)", "nn.MaxPool1d(3, stride=3)")
trap("two-dimensional pooling goes to mint", "nn.AvgPool2d(2)", "mint.nn.AvgPool2d(2)")
trap("var divides by n - 1", "x.var(-1)", "mint.var(x, -1)")
trap("std without bias", "x.std(dim=1, unbiased=False)", "mint.std(x, dim=1, correction=0)")
trap("a module's mode", "m.eval()\nm.train()\nm.train(flag)",
  "m.set_train(False)\nm.set_train(True)\nm.set_train(flag)")
trap("softmax's axis", "x.softmax(dim=-1)", "x.softmax(axis=-1)")
trap("ReLU knows no inplace", "nn.ReLU(True)\nnn.ReLU6(inplace=True)\nF.relu(x, inplace=True)",
  "mint.nn.ReLU()\nmint.nn.ReLU6()\nF.relu(x)")
trap("detach cuts the gradient", "x.detach()", "ops.stop_gradient(x)")
trap("detach, as the guides have it", "x.detach()", "x.clone()", { style = "classic" })
trap("new_tensor", "x.new_tensor([1.0])", "ms.tensor([1.0], dtype=x.dtype)")
trap("norm's order", "x.norm(dim=-1)", "mint.norm(x, dim=-1)")
trap("unflatten", "x.unflatten(-1, (2, 3))", "x.reshape(x.shape[:-1] + (2, 3))")
trap("unflatten, as the guides have it", "x.unflatten(-1, (2, 3))", "ops.reshape(x, x.shape[:-1] + (2, 3))",
  { style = "classic" })
trap("expand works as it is", "x.expand(2, -1)", "x.expand(2, -1)")
trap("expand, as the guides have it", "x.expand(2, -1)", "mint.broadcast_to(x, (2, -1))", { style = "classic" })
trap("checkpointing recomputes", "y = torch.utils.checkpoint.checkpoint(f, x)", "y = ms.recompute(f, x)")
trap("checkpointing, as the guides have it", "y = torch.utils.checkpoint.checkpoint(f, x)",
  'raise NotImplementedError("Gradient checkpoint is not yet supported.")', { style = "classic" })
trap("LongTensor fixes its type", "torch.LongTensor([1])", "ms.tensor([1], dtype=ms.int64)")
trap("ctc_loss gives two", "F.ctc_loss(a, b, c, d)", "ops.ctc_loss(a, b, c, d)[0]")

t.test("strings, comments and other names stay", function()
  local text = 'x = "torch.zeros"  # torch.ones\nforward = 1\nclass P:\n    def forward(self):\n        return self.size()\nsizes.size\nrepeat = x.repeat(2, 1)'
  t.eq((convert(text)):gsub("self%.shape", "self.size()"), text)
end)

t.test("what is not known is left and listed", function()
  local out, f, all = convert("y = torch.sparse.mm(a, b)\nz = torch.abs(y)")
  t.eq(out, "y = torch.sparse.mm(a, b)\nz = mint.abs(y)")
  t.ok(all:find("import torch\n", 1, true), "the import stays")
  t.eq(#f.left, 1)
  t.eq(f.left[1].line, 4)
end)

t.test("one alias, both meanings", function()
  local _, f, all = convert("class A(nn.Module):\n    c = nn.utils.weight_norm(nn.Linear(1, 2))")
  t.ok(all:find("torch.nn.utils.weight_norm(mint.nn.Linear(1, 2))", 1, true), all)
  t.ok(all:find("import torch\n", 1, true) and all:find("nn.Cell", 1, true), all)
  t.eq(#f.left, 1)
end)

t.test("a converted text converts to itself", function()
  local text = HEADER .. [[
class A(nn.Module):
    def __init__(self, d, device=None):
        super().__init__()
        self.l = nn.ModuleList([nn.Linear(d, d, device=device) for _ in range(2)])
        self.act = nn.ReLU(inplace=True)
    @torch.no_grad()
    def forward(self, x):
        if torch.jit.is_tracing() and x.size(0) > 1:
            return x
        elif x.is_cuda:
            y = 1
        else:
            y = torch.zeros(2, x.size(1), device=x.device).to(x.device)
        with torch.autocast(device_type="cuda", enabled=False):
            with torch.no_grad():
                # inner
                z = F.softmax(y, dim=-1)
        return z.expand(3, -1).detach()
]]
  for _, profile in ipairs { "generic", "mindone" } do
    local once, f = engine.convert(text, { profile = profile, package = "transformers.models.x" })
    t.eq(#f.left, 0, profile)
    local twice = engine.convert(once, { profile = profile, package = "transformers.models.x" })
    t.eq(twice, once, profile)
  end
end)

t.test("the same result for other line ends", function()
  local text = HEADER .. "def f(x, device=None):\n    y = torch.zeros(2, 3, device=device)\n    return y.to(device)\n"
  local unix = engine.convert(text, {})
  local dos = engine.convert((text:gsub("\n", "\r\n")), {})
  t.eq((dos:gsub("\r\n", "\n")), unix)
end)

t.done()
