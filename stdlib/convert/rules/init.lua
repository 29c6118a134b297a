-- rules/init.lua: initialisers. A parameter is filled with set_data(initializer(...)); the ports' helpers where the
-- profile has them.
local _ENV = require "convert.dsl"

local HELPERS = { normal_ = 1, trunc_normal_ = 1, constant_ = 1, ones_ = 1, zeros_ = 1, xavier_uniform_ = 1,
  xavier_normal_ = 1, kaiming_normal_ = 1,
  uniform_ = 1, kaiming_uniform_ = 1 }
local PORT = { normal_ = 1, trunc_normal_ = 1, constant_ = 1, ones_ = 1, zeros_ = 1, xavier_uniform_ = 1,
  xavier_normal_ = 1, kaiming_normal_ = 1 }

local names = {}
for n in pairs(HELPERS) do
  names[#names + 1] = "torch.nn.init." .. n
end
table.sort(names)

rule {
  id = "init.port_helper",
  match = call(names),
  profile = "mindone",
  edit = function(f, call)
    local name = f:meaning(call.func):match("[%w_]+$")
    if not PORT[name] then return false, "the ports have no " .. name end
    if f:name_taken(name) then return false, name .. " is taken" end
    f:need("mindone.models.utils", name)
    require("convert.context").root_of(call.func).gone = true
    call.func.renamed = true
    return f:replace(call.func, name)
  end,
  why = "the ports' helpers of the same names fill parameters in place",
  before = "nn.init.zeros_(w)",
  after = "zeros_(w)",
}

-- The text of the initializer for a call, as pieces, or nil.
local function initializer_pieces(f, name, call)
  local function arg(pos, key, default)
    local a = f:argument(call, pos, key)
    return a and f:piece(a) or default
  end
  local I = "mindspore.common.initializer."
  if name == "normal_" then return { f:spell(I .. "Normal"), "(", arg(3, "std", "1.0"), ", ", arg(2, "mean", "0.0"),
    ")" }
  elseif name == "uniform_" then
    local a, b = f:argument(call, 2, "a"), f:argument(call, 3, "b")
    if a and b and f:text(a) == "-" .. f:text(b) then return { f:spell(I .. "Uniform"), "(", f:piece(b), ")" } end
    return nil, "Uniform is symmetric in MindSpore"
  elseif name == "trunc_normal_" then
    return { f:spell(I .. "TruncatedNormal"), "(", arg(3, "std", "1.0"), ", ", arg(2, "mean", "0.0"), ", ",
      arg(4, "a", "-2.0"), ", ",
      arg(5, "b", "2.0"), ")" }
  elseif name == "constant_" then return { f:spell(I .. "Constant"), "(", arg(2, "val", "0.0"), ")" }
  elseif name == "zeros_" then return { '"zeros"' }
  elseif name == "ones_" then return { '"ones"' }
  elseif name == "xavier_uniform_" then return { f:spell(I .. "XavierUniform"), "(", arg(2, "gain", "1"), ")" }
  elseif name == "xavier_normal_" then return { f:spell(I .. "XavierNormal"), "(", arg(2, "gain", "1"), ")" }
  elseif name == "kaiming_normal_" or name == "kaiming_uniform_" then
    local class = name == "kaiming_normal_" and "HeNormal" or "HeUniform"
    return { f:spell(I .. class), "(", arg(2, "a", "0"), ", ", arg(3, "mode", '"fan_in"'), ", ",
      arg(4, "nonlinearity", '"leaky_relu"'), ")" }
  end
end

rule {
  id = "init.set_data",
  match = call(names),
  where = function(f, call)
    if f.opts.profile == "mindone" and PORT[f:meaning(call.func):match("[%w_]+$")] then return false,
      "the ports' helper serves" end
    return call.args[1] and call.args[1].k ~= "Starred" and call.up.k == "Expr", "not a statement on a parameter"
  end,
  edit = function(f, call)
    local name = f:meaning(call.func):match("[%w_]+$")
    local pieces, why = initializer_pieces(f, name, call)
    if not pieces then return false, why end
    require("convert.context").root_of(call.func).gone = true
    call.func.renamed = true
    local w = call.args[1]
    if w.k == "Attribute" and w.attr == "data" then w = w.value end
    local with = { f:piece(w), ".set_data(", f:spell("mindspore.common.initializer.initializer"), "(" }
    for _, p in ipairs(pieces) do with[#with + 1] = p end
    for _, p in ipairs { ", ", f:piece(w), ".shape, ", f:piece(w), ".dtype))" } do with[#with + 1] = p end
    return f:replace(call, with)
  end,
  why = "nn.init does not exist: a parameter takes the data of an initializer",
  before = "nn.init.normal_(m.weight, mean=0.0, std=0.02)",
  after = "m.weight.set_data(initializer(Normal(0.02, 0.0), m.weight.shape, m.weight.dtype))",
}

-- w.data.normal_(...), w.data.zero_(), w.data.fill_(1.0)
rule {
  id = "init.data_method",
  match = method { "normal_", "zero_", "fill_", "uniform_" },
  profile = "generic",
  where = function(_, call)
    local v = call.func.value
    return call.up.k == "Expr" and v.k == "Attribute" and v.attr == "data", "not on a parameter's data"
  end,
  edit = function(f, call)
    local name = call.func.attr
    local w = call.func.value.value
    local pieces
    local I = "mindspore.common.initializer."
    local function arg(pos, key, default)
      local a = f:argument(call, pos, key)
      return a and f:piece(a) or default
    end
    if name == "zero_" then pieces = { '"zeros"' }
    elseif name == "fill_" then pieces = { f:spell(I .. "Constant"), "(", arg(1, "value", "0.0"), ")" }
    elseif name == "normal_" then pieces = { f:spell(I .. "Normal"), "(", arg(2, "std", "1.0"), ", ",
      arg(1, "mean", "0.0"), ")" }
    else
      local a, b = f:argument(call, 1, "from"), f:argument(call, 2, "to")
      if not (a and b and f:text(a) == "-" .. f:text(b)) then return false, "Uniform is symmetric in MindSpore" end
      pieces = { f:spell(I .. "Uniform"), "(", f:piece(b), ")" }
    end
    local with = { f:piece(w), ".set_data(", f:spell(I .. "initializer"), "(" }
    for _, p in ipairs(pieces) do with[#with + 1] = p end
    for _, p in ipairs { ", ", f:piece(w), ".shape, ", f:piece(w), ".dtype))" } do with[#with + 1] = p end
    return f:replace(call, with)
  end,
  why = "parameters are filled with set_data; in-place filling has no kernel on every device",
  before = "import torch\nm.weight.data.zero_()",
  after = 'm.weight.set_data(initializer("zeros", m.weight.shape, m.weight.dtype))',
}
