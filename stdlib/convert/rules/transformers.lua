-- rules/transformers.lua: what sources written against the transformers package need: its torch helpers, decorators
-- and branches.
local _ENV = require "convert.dsl"
local helpers = require "convert.helpers"

-- The dotted name of an import inside transformers, whatever the number of dots: "utils.is_torch_available".
local function inside(f, path)
  if not path then return nil end
  local rest = path:match("^transformers%.(.+)$")
  if rest then return rest end
  local dots, name = path:match("^(%.+)(.+)$")
  return dots and name or nil
end

-- The questions about the environment whose answer is no under MindSpore.
local NO = {}
for name in ([[is_torchdynamo_compiling is_torchdynamo_exporting is_deepspeed_zero3_enabled
  is_fsdp_managed_module is_torch_flex_attn_available
  is_torch_xla_available is_torch_fx_proxy is_flash_attn_greater_or_equal_2_10 is_torch_npu_available
  is_torch_xpu_available
  is_torch_mps_available is_torch_hpu_available is_ninja_available is_kernels_available is_torch_musa_available
  is_torch_mlu_available is_torch_neuroncore_available is_torch_tensorrt_fx_available is_torch_fx_available
  is_torch_cuda_available is_apex_available
  is_torch_flex_attn_available is_torch_greater_or_equal is_torch_bf16_gpu_available is_torch_tf32_available
  is_torch_compile_available is_xformers_available is_optimum_available is_torch_deterministic
  is_habana_gaudi1]]):gmatch("%S+") do
  NO[name] = true
end

rule {
  id = "transformers.no",
  match = node { "Call" },
  where = function(f, call)
    local fu = call.func
    if fu.k ~= "Name" then return false, "not a plain function" end
    if not NO[fu.id] then return false, "not a question about the environment" end
    local m = f:meaning(fu)
    local name = inside(f, m) or m and (m:find("^accelerate") or m:find("^torch")) and m
    return name ~= nil, "not of transformers"
  end,
  edit = function(f, call) return f:fold(call, false) end,
  why = "the answer is no under MindSpore: what depends on it folds",
  before = "from transformers.utils import is_torchdynamo_compiling\nif not is_torchdynamo_compiling() and a:\n    b()",
  after = "if a:\n    b()",
}

rule {
  id = "transformers.torch_available",
  match = node { "Call" },
  where = function(f, call)
    local fu = call.func
    if fu.k ~= "Name" or fu.id ~= "is_torch_available" then return false, "not is_torch_available" end
    return inside(f, f:meaning(fu)) ~= nil, "not of transformers"
  end,
  edit = function(f, call)
    if f.opts.profile == "mindone" then
      f:kill(call.func)
      f:replace(call.func, f:spell_from(f:relative("transformers.utils"), "is_mindspore_available"))
      return true
    end
    return f:fold(call, true)
  end,
  why = "the framework is there: the branch it guards is converted",
  before = "from transformers.utils import is_torch_available\nif is_torch_available():\n    import torch\nx = torch.zeros(3)",
  after = "import mindspore as ms\nfrom mindspore import mint\nx = mint.zeros(3)",
}

-- Decorators of the package's documentation and kernel machinery that ports drop.
rule {
  id = "transformers.decorator",
  match = decorator "*",
  profile = "mindone",
  where = function(f, d)
    if not f.uses_torch and not f.uses_mindspore then return false, "no torch here" end
    local name = inside(f, f:meaning(d.k == "Call" and d.func or d))
    if not name then return false, "not of transformers" end
    name = name:match("[%w_]+$")
    return name == "auto_docstring" or name == "use_kernel_forward_from_hub" or name == "use_experts_implementation"
      or name == "force_fp32" or name == "use_kernelized_func" or name == "use_kernel_func_from_hub", "kept by ports"
  end,
  edit = function(f, d) return f:delete_decorator(d) end,
  why = "generated docstrings and hub kernels belong to torch models",
  before = "import torch\nfrom transformers.utils import auto_docstring\n@auto_docstring\nclass A:\n    pass",
  after = "class A:\n    pass",
}

rule {
  id = "transformers.torch_int",
  match = node { "Call" },
  where = function(f, call)
    local fu = call.func
    if fu.k ~= "Name" or (fu.id ~= "torch_int" and fu.id ~= "torch_float") then return false, "not torch_int" end
    return inside(f, f:meaning(fu)) ~= nil, "not of transformers"
  end,
  edit = function(f, call)
    local kind = call.func.id:match("%w+$")
    f:kill(call.func)
    if f.opts.profile == "mindone" then
      return f:replace(call.func, f:spell_from(f:relative("transformers.utils"), "mindspore_" .. kind))
    end
    return f:replace(call.func, kind)
  end,
  why = "the helper serves torch's tracer",
  before = "from transformers.utils import torch_int\nn = torch_int(x ** 0.5)",
  after = "n = int(x ** 0.5)",
}

rule {
  id = "transformers.torch_tensor",
  match = node { "Name" },
  profile = "mindone",
  where = function(f, node)
    if node.store or not (node.id == "is_torch_tensor" or node.id == "is_torch_dtype"
      or node.id == "is_torch_device") then return false, "another name" end
    return inside(f, f:meaning(node)) ~= nil and node.id ~= "is_torch_device", "not of transformers"
  end,
  edit = function(f, node)
    f:kill(node)
    return f:replace(node, f:spell_from(f:relative("transformers.utils"), (node.id:gsub("torch", "mindspore"))))
  end,
  why = "the ports' name for the question",
  before = "from transformers.utils import is_torch_tensor\nok = is_torch_tensor(x)",
  after = "from transformers.utils import is_mindspore_tensor\nok = is_mindspore_tensor(x)",
}

-- Flex attention exists only in torch.
rule {
  id = "transformers.flex_branch",
  match = node { "If" },
  where = function(f, st)
    local t = st.test
    if t.k ~= "Compare" or #t.ops ~= 1 or t.ops[1] ~= "==" then return false, "not a comparison" end
    local text = f:text(t.comparators[1])
    return text == '"flex_attention"' or text == "'flex_attention'", "not about flex attention"
  end,
  edit = function(f, st) return f:fold(st.test, false) end,
  why = "flex attention is torch's; the branch cannot be reached",
  before = "import torch\nif self.config._attn_implementation == \"flex_attention\":\n    a()\nb()",
  after = "b()",
}

rule {
  id = "transformers.block_mask",
  match = node { "Call" },
  where = function(f, call)
    if not (call.func.k == "Name" and call.func.id == "isinstance" and #call.args == 2) then return false,
      "not isinstance" end
    local m = f:meaning(call.args[2])
    return m and m:find("flex_attention%.BlockMask$") ~= nil, "not about BlockMask"
  end,
  edit = function(f, call) return f:fold(call, false) end,
  why = "flex attention is torch's",
  before = false, after = false,
}

rule {
  id = "transformers.checkpointing_classic",
  match = method "_gradient_checkpointing_func",
  style = "classic",
  edit = function(f, call)
    local st = f:statement(call)
    f:kill(st)
    return f:replace(st, 'raise NotImplementedError("Gradient checkpoint is not yet supported.")')
  end,
  why = "the guides' form; ms.recompute exists in 2.10",
  before = false, after = false,
}

rule {
  id = "transformers.return_tensors",
  match = node { "keyword" },
  where = function(f, kw)
    if kw.arg ~= "return_tensors" then return false, "another keyword" end
    local t = f:text(kw.value)
    return t == '"pt"' or t == "'pt'", "not \"pt\""
  end,
  edit = function(f, kw)
    local q = f:text(kw.value):sub(1, 1)
    return f:replace(kw.value, q .. (f.opts.profile == "mindone" and "ms" or "np") .. q)
  end,
  why = "tokenizers of transformers return NumPy arrays on request; ms.Tensor(...) wraps them",
  before = 'x = tok("a", return_tensors="pt")',
  after = 'x = tok("a", return_tensors="np")',
}

-- The docstrings' own framework names stay; a default device argument of the package's calls goes with the profile.
rule {
  id = "transformers.device_argument",
  match = node { "Call" },
  profile = "mindone",
  where = function(f, call)
    if not f.uses_torch then return false, "no torch here" end
    local m = f:meaning(call.func)
    if m and m:find("^torch") then return false, "a torch call" end
    return true
  end,
  edit = function(f, call)
    local gone = {}
    for _, kw in ipairs(call.keywords) do
      if kw.arg == "device" and not kw.dead then gone[#gone + 1] = kw end
    end
    if call.func.k == "Attribute" and call.func.attr ~= "to" and call.func.attr ~= "append"
      and not f:has_star(call) then
      local n = #call.args
      for i = 1, n do
        local a = call.args[i]
        if (a.k == "Name" and a.id == "device" or a.k == "Attribute" and a.attr == "device")
          and helpers.is_device(f, a) then
          -- what follows a dropped position is named by its own name when it has one
          local plain = true
          for j = i + 1, n do
            if call.args[j].k ~= "Name" then plain = false end
          end
          if plain then gone[#gone + 1] = a end
          if plain and n > i and call.func.attr:find("init_fn") then
            for j = i + 1, n do f.edits:insert(call.args[j].s, call.args[j].id .. "=") end
          end
        end
      end
    end
    if #gone == 0 then return false, "no device argument" end
    f:drop_arguments(call, gone)
    return true
  end,
  why = "the ports' functions take no device",
  before = "import torch\ny = self.f(x, device=x.device)",
  after = "y = self.f(x)",
}
