-- rules/device.lua: MindSpore places tensors by its context: device arguments, moves and locals go, with what only
-- served them.
local _ENV = require "convert.dsl"
local helpers = require "convert.helpers"

rule {
  id = "device.keyword",
  match = call "*",
  where = function(f, call)
    local m = f:meaning(call.func)
    if not m:find("^torch%.") then return false, "not a torch call" end
    if m == "torch.device" or m:find("^torch%.cuda") then return false, "a device itself" end
    return true
  end,
  edit = drop_argument("device", "pin_memory", "non_blocking", "memory_format"),
  why = "a tensor is made where the context says",
  before = "x = torch.zeros(3, device=y.device)",
  after = "x = mint.zeros(3)",
}

rule {
  id = "device.new_keyword",
  match = method { "new_zeros", "new_ones", "new_empty", "new_full", "new_tensor", "clone", "uniform_", "normal_" },
  edit = drop_argument("device"),
  why = "a tensor is made where the context says",
  before = "import torch\nx = y.new_zeros((3,), device=y.device)",
  after = "x = y.new_zeros((3,))",
}

-- x.to(...): what is left when the device goes.
rule {
  id = "device.to",
  match = method "to",
  where = function(f, call)
    for _, kw in ipairs(call.keywords) do
      if kw.arg == "device" or kw.arg == "non_blocking" then return true end
    end
    local a = call.args[1]
    return a and helpers.is_device(f, a), "no device among the arguments"
  end,
  edit = function(f, call)
    local gone, kept = {}, 0
    for i, a in ipairs(call.args) do
      if i == 1 and helpers.is_device(f, a) then gone[#gone + 1] = a else kept = kept + 1 end
    end
    for _, kw in ipairs(call.keywords) do
      if kw.arg == "device" or kw.arg == "non_blocking" or kw.arg == "copy" then gone[#gone + 1] = kw else kept =
        kept + 1 end
    end
    if kept > 0 then
      f:drop_arguments(call, gone)
      return true
    end
    return f:unwrap_method(call)
  end,
  why = "a tensor is where the context says",
  before = "import torch\ny = x.to(z.device)\nw = x.to(device=z.device, dtype=z.dtype)",
  after = "y = x\nw = x.to(dtype=z.dtype)",
}

rule {
  id = "device.cuda",
  match = method { "cuda", "cpu", "pin_memory" },
  where = function(f, call)
    local m = f:meaning(call.func.value)
    if m then return false, "a module" end
    return #call.args <= 1, "other arguments"
  end,
  edit = function(f, call) return f:unwrap_method(call) end,
  why = "a tensor is where the context says",
  before = "import torch\ny = x.cuda()",
  after = "y = x",
}

rule {
  id = "device.cuda_statement",
  match = call { "torch.cuda.empty_cache", "torch.cuda.set_device", "torch.cuda.synchronize",
    "torch.set_default_device",
    "torch.cuda.reset_peak_memory_stats", "torch.backends.cudnn.benchmark", "torch.cuda.manual_seed_all",
      "torch.cuda.manual_seed" },
  where = function(_, call) return call.up.k == "Expr", "its value is used" end,
  edit = delete_statement(),
  why = "CUDA housekeeping has no equal",
  before = "torch.cuda.empty_cache()\nx = 1",
  after = "x = 1",
}

-- Tests that only ask about devices, as operands of `and`: attention_mask.device.type in ["cuda", "xpu"].
local function asks_device(f, node)
  if node.k ~= "Compare" then return false end
  local left = node.left
  if left.k == "Attribute" and left.attr == "type" and helpers.is_device(f, left.value) then
    return true
  end
  return false
end

rule {
  id = "device.condition",
  match = node { "BoolOp" },
  where = function(_, node) return node.op == "and", "not a conjunction" end,
  edit = function(f, node)
    local any = false
    local n = #node.values
    for i, v in ipairs(node.values) do
      if asks_device(f, v) and n - 1 >= 1 then
        if i > 1 then f.edits:delete(node.values[i - 1].pe or f:outer_end(node.values[i - 1]) + 1, f:outer_end(v))
        else f.edits:delete(f:outer_start(v), f:outer_start(node.values[2]) - 1) end
        f:kill(v)
        any = true
        n = n - 1
      end
    end
    return any, "no question about a device"
  end,
  why = "which device a tensor is on is no question in MindSpore",
  before = "import torch\nok = a and x.device.type == \"cuda\"",
  after = "ok = a",
}

-- The same question as a whole condition: x.device.type == "meta"
rule {
  id = "device.question",
  match = node { "Compare" },
  where = function(f, node)
    if not asks_device(f, node) or #node.ops ~= 1 then return false, "no question about a device" end
    local up = node.up
    return up.k == "If" or up.k == "IfExp" or up.k == "UnaryOp" and up.op == "not" and up.up.k == "If",
      "not a condition of its own"
  end,
  edit = function(f, node)
    local op = node.ops[1]
    return f:fold(node, op == "!=" or op == "not in")
  end,
  why = "no tensor is on a CUDA, MPS or meta device under MindSpore",
  before = "import torch\nif x.device.type == \"meta\":\n    a()\nelse:\n    b()",
  after = "b()",
}

rule {
  id = "device.memory_format",
  match = method { "contiguous", "clone", "to" },
  where = function(f, call)
    return f:keyword(call, "memory_format") ~= nil, "no memory_format"
  end,
  edit = drop_argument("memory_format"),
  why = "MindSpore has one memory format",
  before = "import torch\ny = x.clone(memory_format=torch.contiguous_format)",
  after = "y = x.clone()",
}

-- Locals and parameters that only hold devices.

local function simple_target(def)
  local st = def.up
  return def.k == "Name" and st and st.k == "Assign" and #st.targets == 1 and st.targets[1] == def and st or nil
end

-- Are all uses of a binding dead, or inside statements that only feed it?
local function unused(b)
  for _, use in ipairs(b.uses) do
    if not use.dead and not use.gone then
      local x, own = use, false
      while x.up do
        x = x.up
        if x.feeds == b then own = true break end
      end
      if not own then return false end
    end
  end
  return true
end

-- Statements that only feed b: its assignments, and an `if` whose test and body are about nothing else.
local function mark_feeders(b)
  for _, def in ipairs(b.defs) do
    local st = simple_target(def)
    if st then
      st.feeds = b
      local up = st.up
      while up and up.k == "If" and #up.orelse == 0 and #up.body == 1 do
        up.feeds = b
        up = up.up
      end
      if up and up.k == "If" and #up.orelse == 1 and #up.body == 1 then
        local a, c = up.body[1], up.orelse[1]
        if (a.feeds == b or a.k == "Assign" and a.targets[1].binding == b) and (c.feeds == b or c.k == "Assign"
          and c.targets[1].binding == b) then up.feeds = b end
      end
    end
  end
end

local function delete_feeders(f, b)
  for _, def in ipairs(b.defs) do
    local st = simple_target(def)
    if st and not st.dead then
      local top = st
      while top.up and top.up.feeds == b do top = top.up end
      if top.dead then top = st end
      f:delete(top)
    elseif def.k == "Name" and def.up and def.up.k == "Tuple" and not def.up.dead then
      -- dtype, device = x.dtype, x.device  ->  dtype = x.dtype
      local tuple, asg = def.up, def.up.up
      if asg and asg.k == "Assign" and asg.value.k == "Tuple" and #asg.targets == 1
        and #tuple.elts == #asg.value.elts and #tuple.elts >= 2 then
        for i, t in ipairs(tuple.elts) do
          if t == def then
            f:drop_element(tuple, i)
            f:drop_element(asg.value, i)
          end
        end
      end
    end
  end
end

local function locals_of(f)
  local list = {}
  for _, fn in ipairs(f.facts.functions) do
    for _, b in pairs(fn.scope.names) do
      list[#list + 1] = { b = b, fn = fn }
    end
  end
  for _, b in pairs(f.facts.module_scope.names) do
    if not b.path then list[#list + 1] = { b = b } end
  end
  table.sort(list, function(x, y) return x.b.defs[1].s < y.b.defs[1].s end)
  return list
end

local function device_parameter(b)
  for _, def in ipairs(b.defs) do
    if def.k == "arg" then
      return def
    end
  end
end

-- All calls in this file of the functions called name (methods by their name, classes through __init__).
local function calls_of(f, fn)
  local name = fn.name
  local class = helpers.class_of(fn)
  if name == "__init__" and class then name = class.name end
  if name == "forward" or name == "__call__" then return nil end
  local index = f.call_index
  if not index then
    index = {}
    f.call_index = index
    local fields = require "convert.python.fields"
    local function visit(node)
      if node.k == "Call" then
        local fu = node.func
        local n = fu.k == "Name" and fu.id or fu.k == "Attribute" and fu.attr
        if n then
          index[n] = index[n] or {}
          table.insert(index[n], node)
        end
      end
      for _, field in ipairs(fields[node.k]) do
        local v = node[field]
        if v then
          if v.k then visit(v) else for i = 1, #v do if v[i] then visit(v[i]) end end end
        end
      end
    end
    visit(f.tree)
  end
  return index[name] or {}
end

local function drop_device_parameter(f, fn, arg)
  local list = fn.args.list
  local at
  for i, a in ipairs(list) do
    if a == arg then at = i end
  end
  local class = helpers.class_of(fn)
  local bound = class and list[1] ~= arg and (list[1].arg == "self" or list[1].arg == "cls") and 1 or 0
  f:drop_parameter(fn, arg)
  for _, call in ipairs(calls_of(f, fn) or {}) do
    if not call.dead and not f:meaning(call.func) then
      local kw = f:keyword(call, arg.arg)
      if kw then f:drop_arguments(call, { kw })
      else
        local pos = call.args[at - bound]
        if pos and arg.group ~= "kwonly" and not f:has_star(call)
          and helpers.is_device(f, pos) then f:drop_arguments(call, { pos }) end
      end
    end
  end
end

local function is_device_parameter(f, arg)
  if arg.arg ~= "device" and not arg.arg:find("_device$") then return false end
  if arg.group == "vararg" or arg.group == "kwarg" then return false end
  return true
end

rule {
  id = "device.dead",
  match = file,
  edit = function(f)
    if not f.uses_torch then return false, "no torch here" end
    local any, again, rounds = false, true, 0
    local list = locals_of(f)
    while again and rounds < 12 do
      again = false
      rounds = rounds + 1
      for _, item in ipairs(list) do
        local b = item.b
        if not item.done then
          local arg = device_parameter(b)
          local devices = helpers.holds_devices(f, b, 0)
          if arg and is_device_parameter(f, arg) and item.fn.k ~= "Lambda" then
            mark_feeders(b)
            if unused(b) then
              delete_feeders(f, b)
              drop_device_parameter(f, item.fn, arg)
              item.done, again, any = true, true, true
            end
          elseif not arg and devices == true and #b.uses > 0 then
            mark_feeders(b)
            if unused(b) then
              delete_feeders(f, b)
              item.done, again, any = true, true, true
            end
          elseif not arg and (b.name == "device" or b.name == "device_type") and #b.uses == 0 and devices == true
            and #b.defs > 0 then
            delete_feeders(f, b)
            item.done, again, any = true, true, true
          end
        end
      end
    end
    return any, "no device left to remove"
  end,
  why = "locals and parameters that only carried devices serve nothing any more",
  before = "def f(x, device=None):\n    device = device if device is not None else x.device\n    return torch.zeros(3, device=device)",
  after = "def f(x):\n    return mint.zeros(3)",
}
