-- rules/autograd.lua: gradient modes, autocast, scripting and checkpointing.
local _ENV = require "convert.dsl"

rule {
  id = "autograd.no_grad_decorator",
  match = decorator { "torch.no_grad", "torch.inference_mode" },
  profile = "mindone",
  edit = function(f, d) return f:delete_decorator(d) end,
  why = "gradients are asked for by function in MindSpore, nothing is recorded otherwise",
  before = "@torch.no_grad()\ndef f():\n    pass",
  after = "def f():\n    pass",
}

rule {
  id = "autograd.no_grad_block",
  match = node { "With" },
  profile = "mindone",
  where = function(f, st)
    local e = #st.items == 1 and st.items[1].expr
    return e and e.k == "Call" and f:meaning(e.func) == "torch.no_grad", "no no_grad"
  end,
  edit = function(f, st)
    f:kill(st.items[1])
    return f:unwrap(st)
  end,
  why = "gradients are asked for by function in MindSpore, nothing is recorded otherwise",
  before = "with torch.no_grad():\n    y = 1",
  after = "y = 1",
}

rule {
  id = "autograd.no_grad",
  match = reference { "torch.no_grad", "torch.inference_mode" },
  edit = { rename "mindspore._no_grad" },
  why = "MindSpore's switch is ms._no_grad",
  before = "with torch.no_grad():\n    y = 1",
  after = "with ms._no_grad():\n    y = 1",
}

rule {
  id = "autograd.enable_grad",
  match = node { "With" },
  where = function(f, st)
    local e = #st.items == 1 and st.items[1].expr
    local m = e and e.k == "Call" and f:meaning(e.func)
    return m == "torch.enable_grad" or (m == "torch.set_grad_enabled"), "no enable_grad"
  end,
  edit = function(f, st, r)
    f:review(r, st, "enable_grad has no equal: gradients are taken of functions (value_and_grad)")
    return true
  end,
  state = "review",
  why = "there is no mode that records",
  before = "with torch.enable_grad():\n    y = 1", after = false,
}

local AUTOCAST = { ["torch.autocast"] = true, ["torch.cuda.amp.autocast"] = true, ["torch.amp.autocast"] = true,
  ["torch.amp.autocast_mode.autocast"] = true }

rule {
  id = "autograd.autocast_off",
  match = node { "With" },
  where = function(f, st)
    local e = #st.items == 1 and st.items[1].expr
    if not (e and e.k == "Call" and AUTOCAST[f:meaning(e.func)]) then return false, "no autocast" end
    return true
  end,
  edit = function(f, st, r)
    local e = st.items[1].expr
    local enabled = f:keyword(e, "enabled")
    if not (enabled and f:text(enabled.value) == "False") then
      f:review(r, st, "autocast was removed: choose the precision with ms.amp.auto_mixed_precision")
    end
    f:kill(st.items[1])
    return f:unwrap(st)
  end,
  why = "MindSpore has no autocast region; one that switches it off is simply unwrapped",
  before = "with torch.autocast(device_type='cuda', enabled=False):\n    y = 1",
  after = "y = 1",
}

rule {
  id = "autograd.autocast_decorator",
  match = decorator { "torch.cuda.amp.autocast", "torch.autocast", "torch.amp.autocast" },
  edit = function(f, d) return f:delete_decorator(d) end,
  why = "MindSpore has no autocast region",
  before = "@torch.autocast(enabled=False)\ndef f():\n    pass",
  after = "def f():\n    pass",
}

rule {
  id = "autograd.jit_decorator",
  match = decorator { "torch.jit.script", "torch.jit.unused", "torch.jit.ignore", "torch.jit.export", "torch.compile",
    "torch.compiler.disable", "torch.jit.script_method", "torch._dynamo.disable", "torch.fx.wrap",
      "torch.jit.script_if_tracing",
    "torch.no_grad_", "torch.compiler.allow_in_graph", "torch._dynamo.allow_in_graph" },
  edit = function(f, d) return f:delete_decorator(d) end,
  why = "TorchScript and dynamo markers mean nothing in MindSpore",
  before = "@torch.jit.script\ndef f():\n    pass",
  after = "def f():\n    pass",
}

rule {
  id = "autograd.jit_state",
  match = call { "torch.jit.is_tracing", "torch.jit.is_scripting", "torch.compiler.is_compiling",
    "torch._dynamo.is_compiling",
    "torch.onnx.is_in_onnx_export", "torch.compiler.is_exporting", "torch.is_autocast_enabled",
      "torch.cuda.is_available" },
  edit = function(f, call)
    return f:fold(call, false)
  end,
  why = "there is no tracing, export or CUDA under MindSpore",
  before = "if torch.jit.is_tracing():\n    a()\nelse:\n    b()",
  after = "b()",
}

rule {
  id = "autograd.checkpoint",
  match = call "torch.utils.checkpoint.checkpoint",
  edit = function(f, call)
    if (f.opts.style or "default") == "classic" then
      require("convert.context").root_of(call.func).gone = true
      local st = f:statement(call)
      f:kill(st)
      return f:replace(st, 'raise NotImplementedError("Gradient checkpoint is not yet supported.")')
    end
    f:rename(call.func, "mindspore.recompute")
    local kw = f:keyword(call, "use_reentrant")
    if kw then f:drop_arguments(call, { kw }) end
    return true
  end,
  why = "ms.recompute recomputes a block in the backward pass",
  before = "y = torch.utils.checkpoint.checkpoint(block, x, use_reentrant=False)",
  after = "y = ms.recompute(block, x)",
}

rule {
  id = "autograd.function",
  match = derived "torch.autograd.Function",
  state = "review",
  edit = review "torch.autograd.Function: write it as a Cell with bprop",
  why = "custom gradients are the method bprop of a Cell",
  before = "class R(torch.autograd.Function):\n    pass", after = false,
}
