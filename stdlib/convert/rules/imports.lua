-- rules/imports.lua: packages around torch that the converter only points at.
local _ENV = require "convert.dsl"

local NOTES = {
  torchvision = "torchvision: use mindspore.dataset.vision for transforms, mindcv for models",
    torchaudio = "torchaudio: use mindspore.dataset.audio",
  timm = "timm: mindcv has the models", triton = "Triton kernels need an equal in ops or a custom operator",
  flash_attn = "flash_attn: ops.flash_attention_score on Ascend",
    xformers = "xformers: ops.flash_attention_score on Ascend",
  causal_conv1d = "a CUDA kernel", mamba_ssm = "a CUDA kernel",
    deepspeed = "deepspeed: mindspore.communication and parallel modes",
  pytorch_lightning = "Lightning: mindspore.train.Model", lightning = "Lightning: mindspore.train.Model",
    accelerate = "accelerate has no equal",
  bitsandbytes = "bitsandbytes is CUDA only", apex = "apex: mindspore.amp",
    torchmetrics = "torchmetrics: mindspore.train metrics",
}

rule {
  id = "imports.package",
  match = node { "Import", "ImportFrom" },
  state = "review",
  where = function(_, st)
    if st.k == "ImportFrom" then return st.level == 0 and NOTES[st.module:match("^[^.]+")] ~= nil, "another package" end
    for _, a in ipairs(st.names) do
      if NOTES[a.name:match("^[^.]+")] then return true end
    end
    return false, "another package"
  end,
  edit = function(f, st, r)
    local root = st.k == "ImportFrom" and st.module:match("^[^.]+") or nil
    for _, a in ipairs(root and {} or st.names) do root = root or NOTES[a.name:match("^[^.]+")]
      and a.name:match("^[^.]+") end
    f:review(r, st, NOTES[root])
    return false, "listed for review"
  end,
  why = "a package built on torch: a person chooses its replacement",
  before = "import timm\nx = timm.create_model('a')", after = false,
}
