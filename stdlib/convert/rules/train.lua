-- rules/train.lua: checkpoints, data pipelines, optimizers and training loops. What changes the program's shape is
-- marked for review.
local _ENV = require "convert.dsl"
local context = require "convert.context"

-- Checkpoints.

local function method_call(node, name)
  return node.k == "Call" and node.func.k == "Attribute" and node.func.attr == name
end

rule {
  id = "save.checkpoint",
  match = call "torch.save",
  edit = function(f, call, r)
    local obj = call.args[1]
    if not obj or obj.k == "Starred" then return false, "no object" end
    f:rename(call.func, "mindspore.save_checkpoint")
    if method_call(obj, "state_dict") then f:replace(obj, { f:piece(obj.func.value) })
    else f:review(r, call, "save_checkpoint takes a Cell, a list of parameters or a dictionary of tensors") end
    return true
  end,
  why = "checkpoints are written by save_checkpoint",
  before = 'torch.save(model.state_dict(), "m.ckpt")',
  after = 'ms.save_checkpoint(model, "m.ckpt")',
}

rule {
  id = "save.load",
  match = call "torch.load",
  edit = function(f, call, r)
    f:rename(call.func, "mindspore.load_checkpoint")
    local gone = {}
    for _, kw in ipairs(call.keywords) do
      if kw.arg == "map_location" or kw.arg == "weights_only" or kw.arg == "mmap" then gone[#gone + 1] = kw end
    end
    if #gone > 0 then f:drop_arguments(call, gone) end
    f:review(r, call, "load_checkpoint reads MindSpore's files and safetensors: convert the weights once")
    return true
  end,
  why = "checkpoints are read by load_checkpoint",
  before = 'sd = torch.load("m.ckpt", map_location="cpu")',
  after = 'sd = ms.load_checkpoint("m.ckpt")',
}

local SAFETENSORS = { load_file = "load_file", save_file = "save_file", load = "load", save = "save" }
rule {
  id = "save.safetensors",
  match = reference { "safetensors.torch.load_file", "safetensors.torch.save_file", "safetensors.torch.load",
    "safetensors.torch.save" },
  edit = function(f, node, r)
    if node.k ~= "Name" then return false, "reached through its module" end
    local name = SAFETENSORS[f:meaning(node):match("[%w_]+$")]
    if f:text(node) ~= name then return false, "imported under another name" end
    node.gone, node.renamed = true, true
    f:need("safetensors.numpy", name)
    f:review(r, node, "safetensors.numpy gives NumPy arrays: wrap them with ms.Tensor")
    return true
  end,
  why = "safetensors has no MindSpore front; its NumPy one serves",
  before = 'from safetensors.torch import load_file\nw = load_file("a")',
  after = 'w = load_file("a")',
}

rule {
  id = "save.safe_open",
  match = call "safetensors.safe_open",
  edit = function(f, call)
    local kw = f:keyword(call, "framework")
    local a = kw and kw.value or call.args[2]
    local text = a and f:text(a)
    if text ~= '"pt"' and text ~= "'pt'" then return false, "not opened for torch" end
    return f:replace(a, '"np"')
  end,
  why = "arrays, not torch tensors",
  before = 'from safetensors import safe_open\nh = safe_open("a", framework="pt")',
  after = 'h = safe_open("a", framework="np")',
}

-- Data.

rule {
  id = "data.dataset_base",
  match = derived { "torch.utils.data.Dataset", "torch.utils.data.IterableDataset",
    "torch.utils.data.dataset.Dataset" },
  edit = function(f, class)
    local kept = 0
    for _, base in ipairs(class.bases) do
      local m = f:meaning(base)
      if not (m and m:find("^torch%.utils%.data")) then kept = kept + 1 end
    end
    if kept == 0 and #class.keywords == 0 then
      for _, base in ipairs(class.bases) do f:kill(base) end
      return f.edits:delete(class.lp, class.rp)
    end
    local gone = {}
    for _, base in ipairs(class.bases) do
      local m = f:meaning(base)
      if m and m:find("^torch%.utils%.data") then gone[#gone + 1] = base end
    end
    f:drop_arguments(class, gone)
    return true
  end,
  why = "GeneratorDataset takes any object with __getitem__ and __len__, or an iterable",
  before = "from torch.utils.data import Dataset\nclass D(Dataset):\n    pass",
  after = "class D:\n    pass",
}

rule {
  id = "data.loader",
  match = call { "torch.utils.data.DataLoader", "torch.utils.data.dataloader.DataLoader" },
  edit = function(f, call, r)
    local source = f:argument(call, 1, "dataset")
    if not source or f:has_star(call) then return false, "the dataset is not given plainly" end
    context.root_of(call.func).gone = true
    call.func.renamed = true
    local function value(pos, name)
      local v = f:argument(call, pos, name)
      return v and f:piece(v) or nil
    end
    f:need("mindspore.dataset", "GeneratorDataset")
    local with = { "GeneratorDataset(", f:piece(source), ', column_names=["data", "label"]' }
    local shuffle, workers = value(3, "shuffle"), value(6, "num_workers")
    with[#with + 1] = ", shuffle="
    with[#with + 1] = shuffle or "False"
    if workers and f:text(f:argument(call, 6, "num_workers")) ~= "0" then
      with[#with + 1] = ", num_parallel_workers="
      with[#with + 1] = workers
    end
    with[#with + 1] = ").batch("
    with[#with + 1] = value(2, "batch_size") or "1"
    local drop = value(9, "drop_last")
    if drop then
      with[#with + 1] = ", drop_remainder="
      with[#with + 1] = drop
    end
    with[#with + 1] = ")"
    local collate = f:argument(call, 7, "collate_fn")
    f:review(r, call, "name the columns the dataset yields" .. (collate and "; collate_fn " .. f:text(collate)
      .. " becomes per_batch_map of batch()" or "")
      .. ((f:argument(call, 4, "sampler") or f:keyword(call, "batch_sampler"))
        and "; pass the sampler to GeneratorDataset" or ""))
    return f:replace(call, with)
  end,
  why = "the pipeline is a GeneratorDataset that is batched",
  before = "from torch.utils.data import DataLoader\nl = DataLoader(ds, batch_size=4, shuffle=True)",
  after = 'l = GeneratorDataset(ds, column_names=["data", "label"], shuffle=True).batch(4)',
}

local VISION = { Compose = "transforms.Compose", Lambda = false, ToPILImage = "vision.ToPIL",
  ColorJitter = "vision.RandomColorAdjust",
  RandomChoice = "transforms.RandomChoice", RandomApply = "transforms.RandomApply",
    RandomOrder = "transforms.RandomOrder" }
for name in ([[Resize CenterCrop RandomCrop RandomHorizontalFlip RandomVerticalFlip Normalize ToTensor Pad
  RandomResizedCrop RandomRotation
  Grayscale GaussianBlur RandomErasing RandomPerspective RandomGrayscale FiveCrop TenCrop RandomAdjustSharpness
  RandomInvert
  RandomPosterize RandomSolarize RandomEqualize RandomAutoContrast AutoAugment RandAugment TrivialAugmentWide
  RandomAffine]]):gmatch("%w+") do
  VISION[name] = VISION[name] or "vision." .. name
end
local vision_paths = {}
for name, target in pairs(VISION) do
  if target then vision_paths[#vision_paths + 1] = "torchvision.transforms." .. name end
end
table.sort(vision_paths)

rule {
  id = "data.vision",
  match = reference(vision_paths),
  edit = function(f, node, r)
    if node.renamed then return false end
    local target = "mindspore.dataset." .. VISION[f:meaning(node):match("%w+$")]
    local names = require("convert.data").names(f.opts.ms_version or "2.10") or {}
    if not names[target] then return false, target .. " does not exist" end
    local root = context.root_of(node)
    root.gone = true
    node.renamed = true
    local x = node
    while x.k == "Attribute" do
      x = x.value
      x.renamed = true
    end
    local name = target:match("%w+$")
    if name == "Normalize" then f:review(r, node,
      "vision.Normalize works on HWC images: pass is_hwc=False after ToTensor") end
    return f:replace(node, f:spell("mindspore." .. target:match("^mindspore%.(.+)$")))
  end,
  why = "image transforms of the data pipeline",
  before = "from torchvision import transforms\nt = transforms.Compose([transforms.Resize(8)])",
  after = "t = ms.dataset.transforms.Compose([ms.dataset.vision.Resize(8)])",
}

-- Optimizers.

rule {
  id = "train.optimizer",
  match = call { "torch.optim.Adam", "torch.optim.AdamW", "torch.optim.SGD", "torch.optim.Adagrad",
    "torch.optim.RMSprop", "torch.optim.Adadelta" },
  edit = function(f, call)
    local a = f:argument(call, 1, "params")
    if not a or not method_call(a, "parameters") then return false, "the parameters are not model.parameters()" end
    a.func.optimizer_argument = true
    return f:rename_attribute(a.func, "trainable_params")
  end,
  why = "an optimizer takes the trainable parameters as a list",
  before = "o = torch.optim.AdamW(model.parameters(), lr=1e-3)",
  after = "o = mint.optim.AdamW(model.trainable_params(), lr=1e-3)",
}

-- The names bound inside statements list[i..j] that are used behind them.
local function bound_and_used_after(f, list, i, j, but)
  local out, seen = {}, {}
  local s, e = list[i].s, list[j].e
  local fields = require "convert.python.fields"
  local function visit(node)
    if node.k == "Name" and node.store and node.binding and not seen[node.binding] then
      seen[node.binding] = true
      if node.id ~= but then
        for _, use in ipairs(node.binding.uses) do
          if use.s > e or use.s < s then
            out[#out + 1] = node.id
            break
          end
        end
      end
    end
    for _, field in ipairs(fields[node.k]) do
      local v = node[field]
      if v then
        if v.k then visit(v) else for k = 1, #v do if v[k] then visit(v[k]) end end end
      end
    end
  end
  for k = i, j do visit(list[k]) end
  return out
end

local function is_call_statement(st, method)
  return st.k == "Expr" and method_call(st.value, method) and st.value
end

rule {
  id = "train.loop",
  match = method "backward",
  where = function(f, call)
    if call.up.k ~= "Expr" or #call.args + #call.keywords > 0 then return false, "not a plain statement" end
    if call.func.value.k ~= "Name" then return false, "the loss is no plain name" end
    if not f.uses_torch then return false, "no torch here" end
    return true
  end,
  edit = function(f, call, r)
    local st, list, at = f:statement(call)
    local loss = call.func.value.id
    local zero, step, clip
    for i, s in ipairs(list) do
      if is_call_statement(s, "zero_grad") and i < at then zero = i end
      if is_call_statement(s, "step") and i > at and not step then step = i end
      if s.k == "Expr" and s.value.k == "Call" and (f:meaning(s.value.func) or ""):find("clip_grad_norm_$")
        and i > at then clip = i end
    end
    if not step then
      f:review(r, call, "gradients are taken with ms.value_and_grad(forward, None, weights); the loop's shape was not recognised")
      return false, "no optimizer step beside it"
    end
    local first
    for i = (zero or 0) + 1, at - 1 do
      if not list[i].deleted then first = first or i end
    end
    if not zero then
      for i = 1, at - 1 do
        if list[i].k == "Assign" and f:text(list[i].targets[1]) == loss then first = i end
      end
    end
    if not first then return false, "the loss is not computed here" end
    local optimizer = f:text(list[step].value.func.value)
    local indent = f:indent(st)
    local aux = bound_and_used_after(f, list, first, at - 1, loss)
    local body_s, body_e = f:line_start(list[first].s), list[at - 1].e
    f.edits:insert(body_s, indent .. "def forward_fn():\n")
    f:shift(body_s, body_e, "    ")
    local result = #aux > 0 and "(" .. loss .. ", " .. table.concat(aux, ", ") .. ")" or loss
    f.edits:insert(f:line_start(st.s), indent .. "    return " .. (#aux > 0 and result:sub(2, -2) or loss) .. "\n\n")
    f:replace(st, ("%s, grads = %s(forward_fn, None, %s.parameters%s)()"):format(result,
      f:spell("mindspore.value_and_grad"), optimizer,
      #aux > 0 and ", has_aux=True" or ""))
    if zero then f:delete(list[zero]) end
    if clip then
      local c = list[clip].value
      context.root_of(c.func).gone = true
      f:kill(c)
      local limit = c.args[2] or f:keyword(c, "max_norm") and f:keyword(c, "max_norm").value
      f:replace(list[clip], ("grads = %s(grads, %s)"):format(f:spell("mindspore.ops.clip_by_global_norm"), limit
        and f:text(limit) or "1.0"))
    end
    f:replace(list[step], optimizer .. "(grads)")
    for i, s in ipairs(list) do
      if i > at and i ~= step and is_call_statement(s, "zero_grad") then f:delete(s) end
    end
    f:review(r, call, "the step was rewritten with value_and_grad: check what forward_fn computes and returns")
    return true
  end,
  why = "gradients are taken of a function; there is no backward()",
  before = "import torch\ndef f(x, y):\n    optimizer.zero_grad()\n    loss = crit(model(x), y)\n    loss.backward()\n    optimizer.step()\n    return loss",
  after = "def f(x, y):\n    def forward_fn():\n        loss = crit(model(x), y)\n        return loss\n\n    loss, grads = ms.value_and_grad(forward_fn, None, optimizer.parameters)()\n    optimizer(grads)\n    return loss",
}
