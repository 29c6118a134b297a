-- rules/api.lua: names that only change their name: the map of tables/api.txt, corrected here where the measured
-- first choice is
-- not the equal of torch's, and the types.
local _ENV = require "convert.dsl"
local data = require "convert.data"

-- What the table has not, or has wrong.
local MAP = {
  ["torch.nn.Module"] = "nn.Cell", ["torch.nn.ModuleList"] = "nn.CellList", ["torch.nn.ModuleDict"] = "nn.CellDict",
  ["torch.nn.Sequential"] = "nn.SequentialCell", ["torch.nn.Parameter"] = "Parameter",
    ["torch.nn.parameter.Parameter"] = "Parameter",
  ["torch.Tensor"] = "Tensor", ["torch.tensor"] = "tensor", ["torch.as_tensor"] = "tensor",
    ["torch.from_numpy"] = "from_numpy",
  ["torch.concatenate"] = "mint.concat", ["torch.clip"] = "mint.clamp", ["torch.dtype"] = "Type",
    ["torch.absolute"] = "mint.abs",
  ["torch.multiply"] = "mint.mul", ["torch.subtract"] = "mint.sub", ["torch.divide"] = "mint.div",
    ["torch.detach"] = "ops.stop_gradient",
  ["torch.bool"] = "bool_", ["torch.manual_seed"] = "manual_seed", ["torch.is_tensor"] = "is_tensor",
  ["torch.is_floating_point"] = "ops.is_floating_point", ["torch.linalg.norm"] = "mint.linalg.vector_norm",
  ["torch.relu"] = "mint.nn.functional.relu", ["torch.log_softmax"] = "mint.nn.functional.log_softmax",
  ["torch.dropout"] = "mint.nn.functional.dropout", ["torch.conv1d"] = "mint.nn.functional.conv1d",
  ["torch.conv3d"] = "mint.nn.functional.conv3d", ["torch.embedding"] = "mint.nn.functional.embedding",
  ["torch.layer_norm"] = "mint.nn.functional.layer_norm", ["torch.group_norm"] = "mint.nn.functional.group_norm",
  ["torch.autocast"] = false, ["torch.load"] = false, ["torch.save"] = false, ["torch.Size"] = false,
    ["torch.device"] = false,
  ["torch.nn.LeakyReLU"] = false, ["torch.nn.functional.softmax"] = "mint.nn.functional.softmax",
  ["torch.nn.functional.tanh"] = "mint.nn.functional.tanh",
    ["torch.nn.functional.sigmoid"] = "mint.nn.functional.sigmoid",
  ["torch.nn.functional.relu"] = "mint.nn.functional.relu", ["torch.numel"] = "ops.numel", ["torch.seed"] = "seed",
}
for _, name in ipairs { "Float", "Long", "Int", "Bool", "Double", "Half", "Short", "Byte", "BFloat16", "Char" } do
  MAP["torch." .. name .. "Tensor"] = "Tensor"
  MAP["torch.cuda." .. name .. "Tensor"] = "Tensor"
end
for k, v in pairs(MAP) do
  if v then MAP[k] = "mindspore." .. v end
end

local MODULES = { ["torch"] = 1, ["torch.nn"] = 1, ["torch.nn.functional"] = 1, ["torch.optim"] = 1,
  ["torch.linalg"] = 1, ["torch.special"] = 1,
  ["torch.distributed"] = 1, ["torch.nn.init"] = 1, ["torch.utils"] = 1 }

--- The mindspore name of a torch path, when the version in use has it.
local function target_of(f, path)
  local v = MAP[path]
  if v == nil then v = f.api[path] end
  if not v then return nil, "no equal is known" end
  local names = f.names or data.names(f.opts.ms_version or "2.10") or data.names("2.10")
  f.names = names
  if names and not names[v] then return nil, v .. " does not exist in this version" end
  return v
end
require("convert.helpers").target_of = target_of

rule {
  id = "api.rename",
  match = reference "*",
  edit = function(f, node)
    local path = f:meaning(node)
    if not path:find("^torch") then return false, "not torch" end
    if MODULES[path] then
      if node.up.k == "Attribute" and node.up.value == node then return false, "a namespace; its member decides" end
      local target = f.module_map[path]
      if not target then return false, "this namespace has no equal" end
      return f:rename(node, target)
    end
    local target, why = target_of(f, path)
    if not target then return false, why end
    return f:rename(node, target)
  end,
  why = "the same operation under its MindSpore name (measured equal, or corrected by a more special rule)",
  before = "y = torch.matmul(a, b)",
  after = "y = mint.matmul(a, b)",
}

rule {
  id = "api.size",
  match = reference "torch.Size",
  edit = function(f, node)
    if node.renamed then return false end
    node.renamed = true
    require("convert.context").root_of(node).gone = true
    return f:replace(node, "tuple")
  end,
  why = "MindSpore's shapes are plain tuples",
  before = "def f(s: torch.Size): pass",
  after = "def f(s: tuple): pass",
}

rule {
  id = "api.constants",
  match = reference { "torch.inf", "torch.nan", "torch.pi", "torch.e" },
  edit = function(f, node)
    if node.renamed then return false end
    local name = f:meaning(node):match("%w+$")
    node.renamed = true
    require("convert.context").root_of(node).gone = true
    if name == "inf" or name == "nan" then return f:replace(node, 'float("' .. name .. '")') end
    f:need("math")
    return f:replace(node, "math." .. name)
  end,
  why = "constants are Python floats",
  before = "m = torch.inf",
  after = 'm = float("inf")',
}

rule {
  id = "api.default_dtype",
  match = call "torch.get_default_dtype",
  edit = function(f, call)
    require("convert.context").root_of(call.func).gone = true
    return f:replace(call, f:spell("mindspore.float32"))
  end,
  why = "MindSpore has no default dtype to ask for: it is float32",
  before = "d = torch.get_default_dtype()",
  after = "d = ms.float32",
}

rule {
  id = "api.dtype_annotation",
  match = reference "torch.dtype",
  profile = "mindone",
  where = function(_, node)
    local x = node
    while x.up and (x.up.k == "Subscript" or x.up.k == "Tuple" or x.up.k == "BinOp") do x = x.up end
    return x.up and (x.up.annotation == x or x.up.returns == x), "not an annotation"
  end,
  edit = function(f, node) return f:rename(node, "mindspore.dtype") end,
  why = "ports annotate with the module of dtypes",
  before = "def f(d: torch.dtype): pass",
  after = "def f(d: ms.dtype): pass",
}
