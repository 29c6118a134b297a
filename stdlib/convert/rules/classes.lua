-- rules/classes.lua: modules become cells: forward -> construct where the class is one, and the methods of Module
-- that Cell names otherwise.
local _ENV = require "convert.dsl"
local helpers = require "convert.helpers"

rule {
  id = "class.construct",
  match = node { "FunctionDef" },
  where = function(f, fn)
    if fn.name ~= "forward" then return false, "not forward" end
    local class = helpers.class_of(fn)
    if not class then return false, "not a method" end
    if not helpers.is_module(f, class) then return false, "not derived from torch.nn.Module" end
    return true
  end,
  edit = function(f, fn) return f.edits:replace(fn.ns, fn.ne, "construct") end,
  why = "a Cell computes in construct",
  before = "class A(nn.Module):\n    def forward(self, x):\n        return x",
  after = "class A(nn.Cell):\n    def construct(self, x):\n        return x",
}

-- x.forward where x is super(), self, a module held in self, or a loop variable: anything but a function's own object.
rule {
  id = "class.forward_call",
  match = method "forward",
  edit = function(f, call)
    return f:rename_attribute(call.func, "construct")
  end,
  where = function(f, call)
    local class = helpers.enclosing(call, "ClassDef")
    local v = call.func.value
    if v.k == "Name" and v.id == "ctx" then return false, "an autograd context" end
    if v.k == "Call" and v.func.k == "Name" and v.func.id == "super" then
      if class and not helpers.is_module(f, class) then return false, "super() is no module" end
    elseif v.k == "Name" and v.id == "self" then
      if class and not helpers.is_module(f, class) then return false, "self is no module" end
    end
    return true
  end,
  why = "a module's forward is its construct",
  before = "class A(nn.Module):\n    def f(self, x):\n        return super().forward(x)",
  after = "class A(nn.Cell):\n    def f(self, x):\n        return super().construct(x)",
}

rule {
  id = "class.forward_attribute",
  match = attribute "forward",
  where = function(f, node)
    if node.store then return false, "assigned to" end
    local class = helpers.enclosing(node, "ClassDef")
    return not class or helpers.is_module(f, class), "not in a module"
  end,
  edit = function(f, node) return f:rename_attribute(node, "construct") end,
  why = "a module's forward is its construct",
  before = "class A(nn.Module):\n    def f(self):\n        return self.forward",
  after = "class A(nn.Cell):\n    def f(self):\n        return self.construct",
}

local METHODS = {
  { "add_module", "insert_child_to_cell" }, { "get_submodule", "get_sub_cell" },
    { "named_parameters", "parameters_and_names" },
  { "named_children", "name_cells", optional = true }, { "children", "cells", zero = true },
    { "parameters", "get_parameters" },
  { "named_modules", "cells_and_names" },
}
for _, m in ipairs(METHODS) do
  rule {
    id = "class." .. m[1],
    match = method(m[1]),
    where = function(f, call)
      local v = call.func.value
      if v.k == "Call" and v.func.k == "Attribute" and v.func.attr == "signature" then return false,
        "a signature's parameters" end
      if m.zero and #call.args > 0 then return false, "has arguments" end
      if call.func.optimizer_argument then return false, "an optimizer's argument" end
      return true
    end,
    edit = { rename_method(m[2]) },
    profile = m[1] ~= "add_module" and m[1] ~= "get_submodule" and "generic" or nil,
    why = "Cell's name for the method",
    before = "import torch\nx = model." .. m[1] .. "()",
    after = "x = model." .. m[2] .. "()",
  }
end

rule {
  id = "class.modules",
  match = method "modules",
  where = function(_, call) return #call.args == 0 and #call.keywords == 0, "has arguments" end,
  edit = function(f, call)
    return f:replace(call, { "(cell for _, cell in ", f:piece(call.func.value), ".cells_and_names())" })
  end,
  why = "Cell has cells_and_names() only",
  before = "import torch\nfor m in model.modules():\n    pass",
  after = "for m in (cell for _, cell in model.cells_and_names()):\n    pass",
}

rule {
  id = "class.train",
  match = method { "train", "eval" },
  profile = "generic",
  where = function(_, call)
    if #call.args + #call.keywords > 1 then return false, "other arguments" end
    if call.func.attr == "eval" and #call.args > 0 then return false, "not a module's eval" end
    local v = call.func.value
    if v.k == "Name" and v.id:find("trainer") then return false, "a trainer" end
    if v.k == "Attribute" and v.attr:find("trainer") then return false, "a trainer" end
    return true
  end,
  edit = function(f, call)
    local arg = call.func.attr == "eval" and "False" or "True"
    local given = call.args[1] or call.keywords[1] and call.keywords[1].value
    f:rename_attribute(call.func, "set_train")
    if given then return true end
    return f.edits:insert(call.e, arg)
  end,
  why = "a Cell's mode is set with set_train",
  before = "import torch\nmodel.train()\nmodel.eval()",
  after = "model.set_train(True)\nmodel.set_train(False)",
}

rule {
  id = "class.module_list_generator",
  match = call { "torch.nn.ModuleList", "torch.nn.Sequential" },
  where = function(_, call)
    local a = call.args[1]
    return #call.args == 1 and a.k == "GeneratorExp" and a.lone, "no generator"
  end,
  edit = function(f, call)
    f.edits:insert(call.lp + 1, "[")
    return f.edits:insert(call.e, "]")
  end,
  why = "CellList takes a list, not a generator",
  before = "l = nn.ModuleList(A() for _ in range(3))",
  after = "l = nn.CellList([A() for _ in range(3)])",
}

rule {
  id = "class.parameter_list",
  match = call { "torch.nn.ParameterList", "torch.nn.ParameterDict" },
  edit = review "MindSpore has ParameterTuple and CellList; choose by the use",
  state = "review",
  why = "there is no ParameterList in MindSpore 2.10",
  before = "p = nn.ParameterList([a])",
  after = false,
}
