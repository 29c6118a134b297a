-- detect.lua: which files of a tree have to do with torch, how surely, and what kind of file each is.
-- Invariant: a verdict rests on imports (at top, in functions, under try or if), on imports by string, or on calls
-- that only
-- make sense with torch; a mention in a comment is none.
local parser = require "convert.python.parser"
local scope = require "convert.python.scope"
local fs = require "convert.fs"
local helpers = require "convert.helpers"

local detect = {}

local DEFINITE, INDIRECT = {}, {}
for name in ("torch torchvision torchaudio torchtext functorch"):gmatch("%S+") do DEFINITE[name] = true end
for name in ([[transformers diffusers timm pytorch_lightning lightning accelerate torchmetrics vllm sglang peft
  deepspeed xformers flash_attn triton
  apex bitsandbytes einops torch_geometric kornia fairseq fairscale sentence_transformers open_clip ignite
  catalyst trl optimum causal_conv1d
  mamba_ssm torch_scatter torch_sparse pytorch3d detectron2 mmcv mmengine captum gpytorch pyro botorch skorch
  fastai huggingface_hub safetensors.torch
  torchao torchrec torchsde torchdiffeq x_transformers vector_quantize_pytorch lpips segmentation_models_pytorch
  efficientnet_pytorch
  torch_xla torch_npu ray.train.torch]]):gmatch("%S+") do
  INDIRECT[name] = true
end

-- The root of a dotted path that is one of the packages.
local function family(path)
  local root = path:match("^[^.]+")
  if not root then return nil end
  if DEFINITE[root] then return "definite", root end
  if INDIRECT[root] then return "indirect", root end
  local two = path:match("^[^.]+%.[^.]+")
  if two and INDIRECT[two] then return "indirect", two end
  local three = path:match("^[^.]+%.[^.]+%.[^.]+")
  if three and INDIRECT[three] then return "indirect", three end
  return nil
end
detect.family = family

-- How an import is reached.
local function reach(st)
  local x = st.up
  while x do
    if x.k == "FunctionDef" or x.k == "AsyncFunctionDef" then return "lazy" end
    if x.k == "Try" or x.k == "If" then return "guarded" end
    x = x.up
  end
  return "import"
end

local QUICK = { "torch", "transformers", "diffusers", "timm", "lightning", "accelerate", "vllm", "sglang", "peft",
  "deepspeed", "xformers",
  "flash_attn", "triton", "apex", "bitsandbytes", "einops", "kornia", "fairseq", "return_tensors" }

--- Whether a text can have to do with torch at all (a plain search, no parse).
function detect.quick(text)
  for i = 1, #QUICK do
    if text:find(QUICK[i], 1, true) then return true end
  end
  return false
end

local function string_value(text, node)
  return text:sub(node.s, node.e):match("^[rRuUbB]*[\"']([^\"']*)[\"']$")
end

-- Imports by string: importlib.import_module("torch"), __import__("torch"), find_spec, LazyLoader.
local function by_string(text, facts, add)
  for _, use in ipairs(facts.uses) do
    local node = use
    while node.up and node.up.k == "Attribute" and node.up.value == node do node = node.up end
    local call = node.up
    if call and call.k == "Call" and call.func == node and call.args[1] and call.args[1].k == "Constant"
      and call.args[1].t == "str" then
      local m = scope.meaning(node) or (node.k == "Name" and node.id) or ""
      if m == "__import__" or m:find("import_module$") or m:find("find_spec$") or m:find("LazyLoader$")
        or m:find("importorskip$") then
        local path = string_value(text, call.args[1])
        if path then add(path, "string", call) end
      end
    end
  end
end

local function category(text, facts, counts)
  local fake = { opts = {}, src = text, text = function(_, n) return text:sub(n.s, n.e) end }
  local modules, datasets = 0, 0
  for _, c in ipairs(facts.classes) do
    if helpers.is_module(fake, c) then modules = modules + 1 end
    for _, b in ipairs(c.bases) do
      local m = scope.meaning(b)
      if m and (m:find("Dataset$") or m:find("Sampler$") or m:find("DataModule$")) then datasets = datasets + 1 end
    end
  end
  if modules > 0 and not (counts.training > 3 and modules < 2) then return "modeling" end
  if counts.training > 0 then return "training" end
  if datasets > 0 or counts.data > 0 then return "data" end
  if counts.inference > 0 then return "inference" end
  return "other"
end

--- The verdict on a text: nil (nothing of torch), or {grade, category, packages, refs, imports = {{line, path, how}}}.
function detect.text(text, parsed)
  if not parsed and not detect.quick(text) then return nil end
  local tree, facts
  if parsed then facts = parsed.facts
  else
    local err
    tree, err = parser.parse(text)
    if not tree then return { grade = "unparsed", category = "other", packages = {}, refs = 0, imports = {},
      error = err } end
    facts = scope.analyse(tree)
  end
  local out = { grade = nil, packages = {}, refs = 0, imports = {} }
  local function line(pos)
    local _, n = text:sub(1, pos - 1):gsub("\n", "")
    return n + 1
  end
  local function add(path, how, node)
    local grade, root = family(path)
    if not grade then return end
    out.imports[#out.imports + 1] = { line = line(node.s), path = path, how = how }
    out.packages[root] = true
    if grade == "definite" or not out.grade then out.grade = grade end
  end
  for _, st in ipairs(facts.imports) do
    local how = reach(st)
    if st.k == "Import" then
      for _, a in ipairs(st.names) do add(a.name, how, st) end
    elseif st.level == 0 then add(st.module, how, st) end
  end
  by_string(text, facts, add)
  local counts = { training = 0, data = 0, inference = 0 }
  for _, use in ipairs(facts.uses) do
    local path = use.binding and use.binding.path
    if path then
      if DEFINITE[path:match("^[^.]+")] then out.refs = out.refs + 1 end
      local node = use
      while node.up and node.up.k == "Attribute" and node.up.value == node do node = node.up end
      local m = scope.meaning(node) or ""
      if m:find("^torch%.optim") or m:find("Trainer$") or m:find("GradScaler") then counts.training =
        counts.training + 1 end
      if m:find("DataLoader$") or m:find("^torch%.utils%.data") or m:find("^torchvision%.transforms")
        or m:find("^datasets%.") then counts.data = counts.data + 1 end
      if m:find("pipeline$") or m:find("from_pretrained$") or m == "torch.no_grad"
        or m == "torch.inference_mode" then counts.inference = counts.inference + 1 end
    end
  end
  if text:find("%.backward%(") or text:find("optimizer%.step%(") then counts.training = counts.training + 1 end
  if text:find("%.generate%(") then counts.inference = counts.inference + 1 end
  if not out.grade and text:find("return_tensors=[\"']pt[\"']") then
    out.grade = "indirect"
    out.packages.transformers = true
  end
  if not out.grade then return nil end
  out.category = category(text, facts, counts)
  return out
end

--- Verdicts on all Python files below a root: list of {path, ...} sorted by path.
function detect.tree(root, files, each)
  local out = {}
  for i, path in ipairs(files) do
    if path:find("%.pyi?$") then
      local text = fs.read(root .. "/" .. path)
      local verdict = text and detect.text(text)
      if verdict then
        verdict.path = path
        out[#out + 1] = verdict
      end
    end
    if each then each(i, #files) end
  end
  return out
end

return detect
