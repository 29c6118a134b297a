-- rules/calls.lua: calls whose arguments or defaults differ, though the name exists. The traps of MindSpore 2.10 are
-- here.
local _ENV = require "convert.dsl"
local helpers = require "convert.helpers"

local ACTIVATIONS = {}
for name in ([[ReLU ReLU6 SiLU ELU SELU CELU LeakyReLU Hardswish Hardsigmoid Hardtanh Mish Threshold RReLU]]):gmatch("%w+") do
  ACTIVATIONS[#ACTIVATIONS + 1] = "torch.nn." .. name
end
for name in ([[relu relu6 silu elu selu celu leaky_relu hardswish hardsigmoid hardtanh mish threshold]]):gmatch("%w+") do
  ACTIVATIONS[#ACTIVATIONS + 1] = "torch.nn.functional." .. name
end
local NO_OTHER_ARGUMENT = { ["torch.nn.ReLU"] = 1, ["torch.nn.ReLU6"] = 1, ["torch.nn.SiLU"] = 1,
  ["torch.nn.Hardswish"] = 1,
  ["torch.nn.Hardsigmoid"] = 1, ["torch.nn.Mish"] = 1 }

rule {
  id = "call.inplace",
  match = call(ACTIVATIONS),
  edit = function(f, node)
    local kw = f:keyword(node, "inplace")
    if kw then
      f:drop_arguments(node, { kw })
      return true
    end
    if NO_OTHER_ARGUMENT[f:meaning(node.func)] and #node.args == 1 and node.args[1].k ~= "Starred" then
      f:drop_arguments(node, { node.args[1] })
      return true
    end
    return false, "no inplace argument"
  end,
  why = "mint's activations take no inplace",
  before = "a = nn.ReLU(inplace=True)",
  after = "a = mint.nn.ReLU()",
}

rule {
  id = "call.leaky_relu",
  match = call "torch.nn.LeakyReLU",
  edit = { rename "mindspore.nn.LeakyReLU", rename_argument("negative_slope", "alpha"),
    add_argument("alpha", "0.01", 1, "negative_slope") },
  why = "nn.LeakyReLU's slope is called alpha and is 0.2 by default, torch's is 0.01",
  before = "a = nn.LeakyReLU()",
  after = "a = nn.LeakyReLU(alpha=0.01)",
}

rule {
  id = "call.leaky_relu_function",
  match = call "torch.nn.functional.leaky_relu",
  edit = function(f, call)
    local target = helpers.target_of(f, "torch.nn.functional.leaky_relu")
    if not target then return false, "no equal" end
    if target:find("^mindspore%.mint") then return false, "mint has torch's default" end
    local kw = f:keyword(call, "negative_slope")
    if kw then f.edits:replace(kw.s, kw.s + 13, "alpha")
    elseif not call.args[2] then f:add_argument(call, "alpha=0.01") end
    return true
  end,
  why = "ops.leaky_relu's slope is 0.2 by default, torch's is 0.01",
  before = false, after = false,
}

-- torch.finfo(d).min
local LIMIT = { min = "dtype_to_min", max = "dtype_to_max" }

rule {
  id = "call.finfo",
  match = node { "Attribute" },
  where = function(f, node)
    local c = node.value
    if c.k ~= "Call" or #c.args ~= 1 then return false end
    local m = f:meaning(c.func)
    if m ~= "torch.finfo" and m ~= "torch.iinfo" then return false end
    return true
  end,
  edit = function(f, node)
    local c = node.value
    local kind = f:meaning(c.func):match("%w+$")
    require("convert.context").root_of(c.func).gone = true
    c.func.renamed = true
    local arg = f:piece(c.args[1])
    if f.opts.profile == "mindone" and LIMIT[node.attr] then
      return f:replace(node, { f:spell_from(f:relative("transformers.mindspore_adapter"), LIMIT[node.attr]), "(",
        arg, ")" })
    end
    return f:replace(node, { kind == "finfo" and "float(" or "int(", f:spell_numpy(), "." .. kind, "(",
      f:spell("mindspore.dtype_to_nptype"), "(", arg, "))." .. node.attr .. ")" })
  end,
  why = "there is no ms.finfo: NumPy's, of the same type, is asked",
  before = "m = torch.finfo(x.dtype).min",
  after = "m = float(np.finfo(ms.dtype_to_nptype(x.dtype)).min)",
}

rule {
  id = "call.full_dtype",
  match = call "torch.full",
  profile = "mindone",
  where = function(f, call) return f:keyword(call, "dtype") ~= nil, "no dtype: ops.full would give integers" end,
  edit = { rename "mindspore.ops.full" },
  why = "ports use ops.full where the dtype is explicit",
  before = "m = torch.full((2, 2), fill_value=1.0, dtype=d)",
  after = "m = ops.full((2, 2), fill_value=1.0, dtype=d)",
}

rule {
  id = "call.ctc_loss",
  match = call "torch.nn.functional.ctc_loss",
  edit = function(f, call)
    f:rename(call.func, "mindspore.ops.ctc_loss")
    return f.edits:insert(call.e + 1, "[0]")
  end,
  why = "ops.ctc_loss returns the loss and the alignment scores",
  before = "l = nn.functional.ctc_loss(a, b, c, d)",
  after = "l = ops.ctc_loss(a, b, c, d)[0]",
}

rule {
  id = "call.sdpa",
  match = call "torch.nn.functional.scaled_dot_product_attention",
  profile = "mindone",
  where = function(f)
    local package = require("convert.data").package("mindone")
    return package and package["transformers.mindspore_adapter"].scaled_dot_product_attention, "the adapter has none"
  end,
  edit = function(f, call)
    f:replace(call.func, f:spell_from(f:relative("transformers.mindspore_adapter"), "scaled_dot_product_attention"))
    call.func.renamed = true
    require("convert.context").root_of(call.func).gone = true
    local gone = {}
    for _, kw in ipairs(call.keywords) do
      if kw.arg == "dropout_p" or kw.arg == "is_causal" then gone[#gone + 1] = kw end
    end
    if #gone > 0 then f:drop_arguments(call, gone) end
    return true
  end,
  why = "the ports' adapter has the function; it knows neither dropout nor is_causal",
  before = false, after = false,
}

rule {
  id = "call.sdpa_review",
  match = call "torch.nn.functional.scaled_dot_product_attention",
  profile = "generic", state = "review",
  edit = review "no equal in mint: write softmax(q @ k^T) @ v or ops.flash_attention_score (Ascend)",
  why = "MindSpore has no function with these arguments on every device",
  before = "y = F.scaled_dot_product_attention(q, k, v)", after = false,
}

-- Same name, other default: say torch's default.
local DEFAULTS = {
  { "torch.nn.functional.avg_pool1d", "stride", 3 }, { "torch.nn.functional.smooth_l1_loss", "reduction", 4, '"mean"' },
}
for _, d in ipairs(DEFAULTS) do
  if d[4] then
    rule {
      id = "call.default_" .. d[1]:match("[%w_]+$"),
      match = call(d[1]),
      where = function(f)
        local t = helpers.target_of(f, d[1])
        return t and t:find("^mindspore%.ops"), "mint has torch's default"
      end,
      edit = { add_argument(d[2], d[4], d[3]) },
      why = "the default differs silently",
      before = false, after = false,
    }
  end
end

rule {
  id = "call.maxpool1d",
  match = call "torch.nn.MaxPool1d",
  edit = function(f, call)
    local k = f:argument(call, 1, "kernel_size")
    if not k then return false, "no kernel size" end
    if not f:argument(call, 2, "stride") then
      return f:add_argument(call, "stride=" .. f:text(k))
    end
    return false, "stride is given"
  end,
  why = "nn.MaxPool1d's stride is 1 by default, torch's is the kernel size",
  before = "p = nn.MaxPool1d(2)",
  after = "p = nn.MaxPool1d(2, stride=2)",
}

rule {
  id = "call.legacy_constructor",
  match = call { "torch.LongTensor", "torch.IntTensor", "torch.BoolTensor", "torch.FloatTensor",
    "torch.DoubleTensor", "torch.HalfTensor",
    "torch.ByteTensor" },
  profile = "generic",
  where = function(_, call) return #call.args == 1 and #call.keywords == 0 and not helpers.is_dim(call.args[1]),
    "a size, not data" end,
  edit = function(f, call)
    local dtypes = { LongTensor = "int64", IntTensor = "int32", BoolTensor = "bool_", FloatTensor = "float32",
      DoubleTensor = "float64",
      HalfTensor = "float16", ByteTensor = "uint8" }
    local kind = f:meaning(call.func):match("%w+$")
    f:rename(call.func, "mindspore.tensor")
    local segs = f:segments(call.lp)
    return f.edits:insert(segs[1].e + 1, ", dtype=" .. f:spell("mindspore." .. dtypes[kind]))
  end,
  why = "the legacy constructors fix the dtype",
  before = "x = torch.LongTensor([1, 2])",
  after = "x = ms.tensor([1, 2], dtype=ms.int64)",
}

rule {
  id = "call.cudnn_flags",
  match = node { "With" },
  where = function(f, st)
    local e = #st.items == 1 and st.items[1].expr
    return e and e.k == "Call" and f:meaning(e.func) == "torch.backends.cudnn.flags", "no cudnn flags"
  end,
  edit = function(f, st)
    f:kill(st.items[1])
    return f:unwrap(st)
  end,
  why = "cuDNN switches mean nothing in MindSpore",
  before = "with torch.backends.cudnn.flags(enabled=False):\n    y = 1",
  after = "y = 1",
}
