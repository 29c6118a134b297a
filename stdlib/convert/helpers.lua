-- helpers.lua: questions about the tree that several rules ask.
-- Invariant: answers come from bindings and structure; a name's text decides only where a convention is the question
-- (a local called `device` that holds nothing but devices).
local scope = require "convert.python.scope"

local helpers = {}

-- Classes of other packages that are torch modules, by full path or by the end of it.
local MODULE_BASES = {
  ["torch.nn.Module"] = true, ["pytorch_lightning.LightningModule"] = true, ["lightning.LightningModule"] = true,
  ["diffusers.ModelMixin"] = true, ["transformers.PreTrainedModel"] = true,
}
local MODULE_NAMES = { "PreTrainedModel$", "GradientCheckpointingLayer$", "^ModelMixin$" }

local function self_forward(class)
  for _, st in ipairs(class.body) do
    if st.k == "FunctionDef" and st.name == "forward" then
      local first = st.args.list[1]
      local static = false
      for _, d in ipairs(st.decorators) do
        if d.k == "Name" and d.id == "staticmethod" then static = true end
      end
      if first and first.arg == "self" and not static then return true end
    end
  end
  return false
end

--- Whether a class of this file is a torch module: by its bases here, in the project, or known elsewhere.
function helpers.is_module(f, class)
  if class.is_module ~= nil then return class.is_module end
  class.is_module = false
  local unknown = false
  for _, base in ipairs(class.bases) do
    local target = base.k == "Subscript" and base.value or base
    local m = scope.meaning(target)
    if m then
      if m:find("^torch%.nn%.") and not m:find("^torch%.nn%.functional") and not m:find("^torch%.nn%.utils") then
        class.is_module = true
      elseif MODULE_BASES[m] then class.is_module = true
      elseif m:find("^mindspore") then class.is_module = m:find("%.Cell$") ~= nil
        or m:find("^mindspore%.mint%.nn%.") ~= nil
      elseif m:find("^torch") then unknown = unknown
      else
        local last = m:match("[^.]+$")
        local known = f.opts.project and f.opts.project.module_class(f, m)
        if known then class.is_module = true
        elseif known == nil then
          for _, p in ipairs(MODULE_NAMES) do
            if last:find(p) then class.is_module = true end
          end
          unknown = true
        end
      end
    elseif target.k == "Name" and target.binding and target.binding.def and target.binding.def.k == "ClassDef"
      and target.binding.def ~= class then
      if helpers.is_module(f, target.binding.def) then class.is_module = true end
    end
  end
  -- a base from elsewhere and a forward(self, ...): nothing but modules is called through forward
  if not class.is_module and unknown and self_forward(class) then class.is_module = true end
  -- mixins without a known base that define forward(self, ...) in a file that uses torch
  return class.is_module
end

--- The class a function is a method of, or nil.
function helpers.class_of(fn)
  local up = fn.up
  while up and (up.k == "If" or up.k == "Try" or up.k == "With") do up = up.up end
  return up and up.k == "ClassDef" and up or nil
end

--- The function or class around a node.
function helpers.enclosing(node, kind)
  local x = node.up
  while x do
    if x.k == kind or (kind == "FunctionDef" and x.k == "AsyncFunctionDef") then return x end
    x = x.up
  end
  return nil
end

local DEVICE_WORD = { device = true, input_device = true, target_device = true, device_type = true }

--- Whether an expression is a device: x.device, torch.device(...), "cuda", a local that only holds devices.
function helpers.is_device(f, node, depth)
  depth = depth or 0
  if depth > 6 then return false end
  local k = node.k
  if k == "Attribute" then
    if scope.meaning(node) then return false end
    if node.attr == "type" then return helpers.is_device(f, node.value, depth + 1) end
    return node.attr == "device" or node.attr:find("_device$") ~= nil
  elseif k == "Name" then
    local b = node.binding
    if not b then return false end
    if DEVICE_WORD[node.id] or node.id:find("_device$") then
      return helpers.holds_devices(f, b, depth + 1) ~= false
    end
    return helpers.holds_devices(f, b, depth + 1) == true
  elseif k == "Call" then
    local m = scope.meaning(node.func)
    return m == "torch.device" or m == "torch.cuda.current_device"
  elseif k == "Constant" and node.t == "str" then
    local s = f:text(node):sub(2, -2)
    return s == "cuda" or s == "cpu" or s == "mps" or s == "npu" or s == "xpu" or s == "meta"
      or s:find("^cuda:%d+$") ~= nil
  elseif k == "JoinedStr" then return f:text(node):find("^f[\"']cuda:") ~= nil
  elseif k == "IfExp" then return helpers.is_device(f, node.body, depth + 1) and helpers.is_device(f, node.orelse,
    depth + 1)
  elseif k == "BoolOp" then
    for _, v in ipairs(node.values) do
      if not helpers.is_device(f, v, depth + 1) then return false end
    end
    return true
  elseif k == "Subscript" then return false end
  return false
end

--- true: all that is assigned to the binding are devices; nil: nothing is known (a parameter); false: something else.
function helpers.holds_devices(f, b, depth)
  if b.devices == "asking" then return true end
  if b.devices ~= nil then
    if b.devices == "unknown" then return nil end
    return b.devices
  end
  b.devices = "asking"
  local any, all = false, true
  for _, def in ipairs(b.defs) do
    local st = def.up
    if def.k == "Name" and st and st.k == "Assign" and st.targets[1] == def then
      any = true
      if not helpers.is_device(f, st.value, depth) and not (st.value.k == "Constant" and st.value.t == "None") then
        all = false
      end
    elseif def.k == "Name" and st and st.k == "Tuple" then
      -- dtype, device = x.dtype, x.device
      local asg = st.up
      if asg and asg.k == "Assign" and asg.value.k == "Tuple" then
        for i, t in ipairs(st.elts) do
          if t == def and asg.value.elts[i] then
            any = true
            if not helpers.is_device(f, asg.value.elts[i], depth) then all = false end
          end
        end
      else all = false end
    elseif def.k ~= "arg" then all = false end   -- of a parameter the name must say what it is
  end
  local answer
  if not all then answer = false elseif any then answer = true else answer = nil end
  b.devices = answer == nil and "unknown" or answer
  return answer
end

--- Whether an expression is an integer literal or looks like dims rather than a shape list.
function helpers.is_sequence(node)
  return node.k == "Tuple" or node.k == "List" or node.k == "ListComp"
end

local function is_shape_expr(node)
  if node.k == "Attribute" then return node.attr == "shape" end
  if node.k == "Call" and node.func.k == "Attribute" then return node.func.attr == "size" and #node.args == 0
    or node.func.attr == "Size" end
  if node.k == "Subscript" then return node.slice.k == "Slice" and is_shape_expr(node.value) end
  if node.k == "BinOp" and node.op == "+" then return is_shape_expr(node.left) or is_shape_expr(node.right)
    or helpers.is_sequence(node.left)
    or helpers.is_sequence(node.right) end
  return false
end

--- Whether an expression is surely one integer (a dim), so that f(n) may become f((n,)).
function helpers.is_dim(node)
  if node.k == "Constant" then return node.t == "num" end
  if node.k == "BinOp" then return not is_shape_expr(node)
    and (helpers.is_dim(node.left) or helpers.is_dim(node.right)) end
  if node.k == "UnaryOp" then return node.op == "-" end
  if node.k == "Subscript" then
    return node.slice.k ~= "Slice" and is_shape_expr(node.value)
  end
  if node.k == "Call" then
    if node.func.k == "Name" and (node.func.id == "int" or node.func.id == "len" or node.func.id == "max"
      or node.func.id == "min") then return true end
    return node.func.k == "Attribute" and node.func.attr == "size" and #node.args == 1
  end
  return false
end
helpers.is_shape = is_shape_expr

return helpers
