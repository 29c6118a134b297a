-- rules/tensor.lua: methods of tensors whose form differs in MindSpore.
local _ENV = require "convert.dsl"
local helpers = require "convert.helpers"

-- A receiver that is surely no tensor.
local function foreign(f, call)
  local v = call.func.value
  if v.k == "Constant" or v.k == "JoinedStr" or v.k == "Dict" then return true end
  local m = f:meaning(v)
  return m ~= nil and not m:find("^torch")
end

rule {
  id = "tensor.size",
  match = method "size",
  where = function(f, call)
    if foreign(f, call) then return false, "the receiver is no tensor" end
    local n = #call.args + #call.keywords
    if n > 1 then return false, "more than one argument" end
    if call.args[1] and call.args[1].k == "Starred" then return false, "starred" end
    local kw = call.keywords[1]
    if kw and kw.arg ~= "dim" then return false, "argument is not dim" end
    return true
  end,
  edit = function(f, call)
    local at = call.func.e - 3
    local kw = call.keywords[1]
    local arg = call.args[1] or kw and kw.value
    if not arg then return f.edits:replace(at, call.e, "shape") end
    f.edits:replace(at, kw and kw.value.s - 1 or call.lp, "shape[")
    return f.edits:replace(call.e, call.e, "]")
  end,
  why = "Tensor.size is a property (the element count) in MindSpore",
  before = "import torch\na = x.size()\nb = x.size(-1)",
  after = "a = x.shape\nb = x.shape[-1]",
}

local function as_tuple(f, call, star)
  local segs = f:segments(call.lp)
  local first, last
  for i, seg in ipairs(segs) do
    local is_kw = false
    for _, kw in ipairs(call.keywords) do
      if kw.s >= seg.s and kw.e <= seg.e then is_kw = true end
    end
    if not is_kw then
      first = first or i
      last = i
    end
  end
  f.edits:insert(segs[first].s, "(")
  return f.edits:insert(segs[last].e + 1, star and ",)" or ")")
end

local function wants_tuple(call)
  if #call.args == 0 then return false, "no size by position" end
  if #call.args == 1 and call.args[1].k ~= "Starred" then return false, "one size" end
  return true
end

rule {
  id = "call.size_tuple",
  match = call { "torch.zeros", "torch.ones" },
  where = function(_, call) return wants_tuple(call) end,
  edit = function(f, call) return as_tuple(f, call, #call.args == 1) end,
  why = "mint.zeros and mint.ones take one size, not several integers",
  before = "z = torch.zeros(2, 3, dtype=torch.float32)",
  after = "z = mint.zeros((2, 3), dtype=ms.float32)",
}

rule {
  id = "tensor.new_size_tuple",
  match = method { "new_zeros", "new_ones", "new_empty" },
  where = function(_, call) return wants_tuple(call) end,
  edit = function(f, call) return as_tuple(f, call, #call.args == 1) end,
  why = "new_zeros and new_ones take one size, not several integers",
  before = "import torch\nz = x.new_zeros(2, 3)",
  after = "z = x.new_zeros((2, 3))",
}

rule {
  id = "tensor.expand",
  match = method "expand",
  profile = "mindone",
  where = function(f, call)
    if #call.args < 2 or #call.keywords > 0 then return false, "one argument: expand takes it as it is" end
    return not foreign(f, call), "no tensor"
  end,
  edit = function(f, call)
    f:rename_attribute(call.func, "broadcast_to")
    return as_tuple(f, call)
  end,
  why = "ports write the size as one tuple; expand(a, b) itself works in 2.10",
  before = "import torch\ny = x.expand(2, -1)",
  after = "y = x.broadcast_to((2, -1))",
}

rule {
  id = "tensor.expand_classic",
  match = method "expand",
  style = "classic", state = "optional", profile = "generic",
  where = function(f, call)
    return #call.args > 0 and #call.keywords == 0 and not foreign(f, call), "no sizes"
  end,
  edit = function(f, call)
    local one = #call.args == 1 and call.args[1].k ~= "Starred"
    local sizes = { call.args[1].s, call.args[#call.args].e }
    return f:replace(call, { f:spell("mindspore.mint.broadcast_to"), "(", f:piece(call.func.value), one and ", "
      or ", (", sizes,
      one and ")" or "))" })
  end,
  why = "the guides' form; expand(a, b) itself works in 2.10",
  before = "import torch\ny = x.expand(2, -1)",
  after = "y = mint.broadcast_to(x, (2, -1))",
}

rule {
  id = "tensor.detach",
  match = method "detach",
  where = function(f, call) return #call.args == 0 and not foreign(f, call), "not Tensor.detach" end,
  edit = function(f, call)
    if (f.opts.style or "default") == "classic" then return f:rename_attribute(call.func, "clone") end
    local v = call.func.value
    return f:replace(call, { f:spell("mindspore.ops.stop_gradient"), "(", f:piece(v), ")" })
  end,
  why = "Tensor has no detach; stop_gradient cuts the gradient, clone (often advised) does not",
  before = "import torch\ny = x.detach()",
  after = "y = ops.stop_gradient(x)",
}

rule {
  id = "tensor.numpy",
  match = method "numpy",
  profile = "generic",
  where = function(f, call) return #call.args == 0 and not foreign(f, call), "not Tensor.numpy" end,
  edit = { rename_method "asnumpy" },
  why = "asnumpy is the documented way out of a Tensor",
  before = "import torch\ny = x.numpy()",
  after = "y = x.asnumpy()",
}

rule {
  id = "tensor.softmax",
  match = method { "softmax", "log_softmax" },
  where = function(f, call) return f:keyword(call, "dim") and not foreign(f, call), "no dim by name" end,
  edit = { rename_argument("dim", "axis") },
  why = "the method's parameter is called axis",
  before = "import torch\ny = x.softmax(dim=-1)",
  after = "y = x.softmax(axis=-1)",
}

rule {
  id = "tensor.new_tensor",
  match = method "new_tensor",
  where = function(f, call) return #call.args == 1 and not foreign(f, call), "not new_tensor(data)" end,
  edit = function(f, call)
    local x = call.func.value
    local dtype = f:keyword(call, "dtype")
    return f:replace(call, { f:spell("mindspore.tensor"), "(", f:piece(call.args[1]), ", dtype=",
      dtype and f:piece(dtype.value) or f:piece(x), dtype and "" or ".dtype", ")" })
  end,
  why = "Tensor has no new_tensor",
  before = "import torch\ny = x.new_tensor([1, 2])",
  after = "y = ms.tensor([1, 2], dtype=x.dtype)",
}

-- In-place methods MindSpore lacks, as statements.
rule {
  id = "tensor.inplace_statement",
  match = method { "unsqueeze_", "squeeze_", "triu_", "tril_", "clamp_min_", "transpose_", "t_", "relu_", "sqrt_",
    "rsqrt_", "neg_", "abs_" },
  where = function(_, call)
    local v = call.func.value
    return call.up.k == "Expr" and (v.k == "Name" or v.k == "Attribute"), "not a statement on a name"
  end,
  edit = function(f, call)
    f.edits:insert(call.s, f:text(call.func.value) .. " = ")
    return f:rename_attribute(call.func, call.func.attr:sub(1, -2))
  end,
  why = "Tensor lacks this in-place method",
  before = "import torch\nx.unsqueeze_(0)",
  after = "x = x.unsqueeze(0)",
}

rule {
  id = "tensor.clamp_bound",
  match = method { "clamp_min", "clamp_max" },
  where = function(f, call) return #call.args == 1 and #call.keywords == 0 and not foreign(f, call),
    "no bound by position" end,
  edit = function(f, call)
    local bound = call.func.attr:sub(7)
    f:rename_attribute(call.func, "clamp")
    return f.edits:insert(call.args[1].s, bound .. "=")
  end,
  why = "Tensor has clamp only",
  before = "import torch\ny = x.clamp_min(0)",
  after = "y = x.clamp(min=0)",
}

rule {
  id = "tensor.unflatten",
  match = method "unflatten",
  where = function(f, call)
    local v = call.func.value
    local d, sizes = f:argument(call, 1, "dim"), f:argument(call, 2, "sizes")
    if not d or not sizes then return false, "no dim and sizes" end
    if v.k ~= "Name" and v.k ~= "Attribute" then return false, "the receiver would be computed twice" end
    return f:text(d):find("^%-?%d+$") ~= nil and not foreign(f, call), "the dim is no literal"
  end,
  edit = function(f, call)
    local x, d, sizes = call.func.value, math.tointeger(tonumber(f:text(f:argument(call, 1, "dim")))),
      f:argument(call, 2, "sizes")
    local shape = {}
    local function add(...) for _, p in ipairs { ... } do shape[#shape + 1] = p end end
    if d ~= 0 then add(f:piece(x), ".shape[:" .. d .. "] + ") end
    if sizes.k == "Tuple" then add(f:piece(sizes)) else add("tuple(", f:piece(sizes), ")") end
    if d ~= -1 then add(" + ", f:piece(x), ".shape[" .. (d + 1) .. ":]") end
    if (f.opts.style or "default") == "classic" then
      return f:replace(call, { f:spell("mindspore.ops.reshape"), "(", f:piece(x), ", ",
        table.unpack(table.move({ ")" }, 1, 1, #shape + 1, shape)) })
    end
    return f:replace(call, { f:piece(x), ".reshape(", table.unpack(table.move({ ")" }, 1, 1, #shape + 1, shape)) })
  end,
  why = "Tensor has no unflatten: the same by reshape",
  before = "import torch\ny = x.unflatten(1, (2, -1))",
  after = "y = x.reshape(x.shape[:1] + (2, -1) + x.shape[2:])",
}

-- The pieces of a call's arguments, with unbiased= as correction=.
local function moment_arguments(f, call)
  local out = {}
  local function add(...) for _, p in ipairs { ... } do out[#out + 1] = p end end
  for _, a in ipairs(call.args) do add(", ", f:piece(a)) end
  for _, kw in ipairs(call.keywords) do
    if kw.arg == "unbiased" then add(", correction=" .. (f:text(kw.value) == "False" and "0" or "1"))
    elseif kw.arg == "axis" then add(", dim=", f:piece(kw.value))
    else add(", ", f:piece(kw)) end
  end
  return out
end

local function plain_bool(f, call)
  local kw = f:keyword(call, "unbiased")
  if not kw then return true end
  local text = f:text(kw.value)
  return text == "True" or text == "False"
end

rule {
  id = "tensor.moment",
  match = method { "var", "std" },
  profile = "generic",
  where = function(f, call)
    if foreign(f, call) then return false, "no tensor" end
    if f:keyword(call, "ddof") or f:has_star(call) or #call.args > 1 then return false, "not torch's arguments" end
    if call.args[1] and f:text(call.args[1]):find("^[TF][ra][ul]") then return false, "a bool by position" end
    return plain_bool(f, call), "unbiased is no literal"
  end,
  edit = function(f, call)
    local name = call.func.attr
    local args = moment_arguments(f, call)
    return f:replace(call, { f:spell("mindspore.mint." .. name), "(", f:piece(call.func.value),
      table.unpack(table.move({ ")" }, 1, 1, #args + 1, args)) })
  end,
  why = "Tensor.var and std divide by n by default and know no unbiased; torch's divide by n - 1, as mint's do",
  before = "import torch\nv = x.var(dim=-1, unbiased=False)\ns = x.std(-1, keepdim=True)",
  after = "v = mint.var(x, dim=-1, correction=0)\ns = mint.std(x, -1, keepdim=True)",
}

rule {
  id = "call.moment",
  match = call { "torch.var", "torch.std", "torch.var_mean", "torch.std_mean" },
  where = function(f, call) return f:keyword(call, "unbiased") and plain_bool(f, call), "no unbiased= literal" end,
  edit = function(f, call)
    local kw = f:keyword(call, "unbiased")
    return f.edits:replace(kw.s, kw.e, "correction=" .. (f:text(kw.value) == "False" and "0" or "1"))
  end,
  why = "mint's parameter is correction",
  before = "v = torch.var(x, dim=-1, unbiased=False)",
  after = "v = mint.var(x, dim=-1, correction=0)",
}

rule {
  id = "tensor.norm",
  match = method "norm",
  profile = "generic",
  where = function(f, call)
    if foreign(f, call) then return false, "no tensor" end
    local v = call.func.value
    if v.k == "Name" and v.id == "self" then return false, "a method of the class" end
    if #call.args == 0 and #call.keywords == 0 then return true end
    return f:keyword(call, "p") or f:keyword(call, "dim") or f:keyword(call, "keepdim"), "not torch's keywords"
  end,
  edit = function(f, call)
    local args = moment_arguments(f, call)
    return f:replace(call, { f:spell("mindspore.mint.norm"), "(", f:piece(call.func.value),
      table.unpack(table.move({ ")" }, 1, 1, #args + 1, args)) })
  end,
  why = "Tensor.norm calls the order ord and takes no p",
  before = "import torch\ny = x.norm(p=2, dim=-1, keepdim=True)",
  after = "y = mint.norm(x, p=2, dim=-1, keepdim=True)",
}

rule {
  id = "tensor.flip",
  match = method "flip",
  profile = "generic",
  where = function(f, call)
    if #call.args == 0 or #call.keywords > 0 or foreign(f, call) then return false, "no dims by position" end
    return not helpers.is_sequence(call.args[1]) and call.args[1].k ~= "Starred" and call.args[1].k ~= "Name",
      "a sequence already"
  end,
  edit = function(f, call) return as_tuple(f, call, #call.args == 1) end,
  why = "Tensor.flip takes the dims as one tuple",
  before = "import torch\ny = x.flip(0)",
  after = "y = x.flip((0,))",
}

rule {
  id = "tensor.is_cuda",
  match = attribute "is_cuda",
  where = function(f, node) return not node.store and f.uses_torch, "no torch here" end,
  edit = function(f, node) return f:fold(node, false) end,
  why = "there is no CUDA under MindSpore's Tensor",
  before = "import torch\nif x.is_cuda:\n    a()\nelse:\n    b()",
  after = "b()",
}

return { as_tuple = as_tuple, foreign = foreign }
