-- torch.nn: modules.  The base class is C (vm/module.c) with its slower half in nn/module.lua; layers live in one file per
-- family, loaded when a name of theirs is first used.
local core = require "torch.nn.core"
local torch = require "torch"

local nn = torch.nn
nn.Module, nn.Parameter, nn.Buffer = core.Module, core.Parameter, core.Buffer
nn.is_parameter, nn.is_module = core.is_parameter, core.is_module
require "torch.nn.module"

-- file -> the names it defines, in the order of the reference
local families = {
  container = "Sequential ModuleList ModuleDict ParameterList ParameterDict",
  linear = "Identity Linear Bilinear LazyLinear Flatten Unflatten",
  sparse = "Embedding EmbeddingBag",
  conv = [[Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d LazyConv1d LazyConv2d LazyConv3d
    LazyConvTranspose1d LazyConvTranspose2d LazyConvTranspose3d Fold Unfold]],
  pooling = [[MaxPool1d MaxPool2d MaxPool3d MaxUnpool1d MaxUnpool2d MaxUnpool3d AvgPool1d AvgPool2d AvgPool3d
    FractionalMaxPool2d FractionalMaxPool3d LPPool1d LPPool2d LPPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d
    AdaptiveMaxPool3d AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d]],
  padding = [[ConstantPad1d ConstantPad2d ConstantPad3d ZeroPad1d ZeroPad2d ZeroPad3d ReflectionPad1d ReflectionPad2d
    ReflectionPad3d ReplicationPad1d ReplicationPad2d ReplicationPad3d CircularPad1d CircularPad2d CircularPad3d]],
  activation = [[ELU Hardshrink Hardsigmoid Hardtanh Hardswish LeakyReLU LogSigmoid PReLU ReLU ReLU6 RReLU SELU CELU GELU
    Sigmoid SiLU Mish Softplus Softshrink Softsign Tanh Tanhshrink Threshold GLU Softmin Softmax Softmax2d LogSoftmax
    AdaptiveLogSoftmaxWithLoss]],
  norm = [[BatchNorm1d BatchNorm2d BatchNorm3d LazyBatchNorm1d LazyBatchNorm2d LazyBatchNorm3d SyncBatchNorm GroupNorm
    InstanceNorm1d InstanceNorm2d InstanceNorm3d LazyInstanceNorm1d LazyInstanceNorm2d LazyInstanceNorm3d LayerNorm
    LocalResponseNorm CrossMapLRN2d RMSNorm]],
  dropout = "Dropout Dropout1d Dropout2d Dropout3d AlphaDropout FeatureAlphaDropout",
  distance = "CosineSimilarity PairwiseDistance",
  vision = "PixelShuffle PixelUnshuffle ChannelShuffle Upsample UpsamplingNearest2d UpsamplingBilinear2d",
  loss = [[L1Loss MSELoss CrossEntropyLoss CTCLoss NLLLoss NLLLoss2d PoissonNLLLoss GaussianNLLLoss KLDivLoss BCELoss
    BCEWithLogitsLoss MarginRankingLoss HingeEmbeddingLoss MultiLabelMarginLoss HuberLoss SmoothL1Loss SoftMarginLoss
    MultiLabelSoftMarginLoss CosineEmbeddingLoss MultiMarginLoss TripletMarginLoss TripletMarginWithDistanceLoss
    LinearCrossEntropyLoss]],
  rnn = "RNNBase RNN LSTM GRU RNNCellBase RNNCell LSTMCell GRUCell",
  attention = [[MultiheadAttention Transformer TransformerEncoder TransformerDecoder TransformerEncoderLayer
    TransformerDecoderLayer]],
}
-- nn.NAME that is a module of its own: init, utils, parallel ...
local spaces = { init = "torch.nn.init", utils = "torch.nn.utils", parameter = "torch.nn.parameter",
  modules = "torch.nn.modules", attention = "torch.nn.attention_backends" }

local file_of = {}
for file, names in pairs(families) do
  for name in names:gmatch("%S+") do file_of[name] = file end
end

-- A name whose file is not there is simply no field; an error inside the file is one.
local function load_part(path)
  local ok, part = pcall(require, path)
  if ok then return part end
  if tostring(part):find("module '" .. path .. "' not found", 1, true) then return nil end
  if tostring(part):find("module '" .. path .. "' is not available", 1, true) then return nil end
  error(part, 0)
end

local function dir()
  local list = {}
  for name in pairs(file_of) do list[#list + 1] = name end
  for name in pairs(spaces) do list[#list + 1] = name end
  return list
end

setmetatable(nn, {
  __index = function(_, name)
    local file = file_of[name]
    if file then
      local part = load_part("torch.nn." .. file)
      for key, value in pairs(part or {}) do if file_of[key] == file then rawset(nn, key, value) end end
      return rawget(nn, name)
    end
    if spaces[name] then
      local part = load_part(spaces[name])
      if part ~= nil then rawset(nn, name, part) end
      return part
    end
  end,
  __dir = dir,
  __names = dir,
})

return nn
