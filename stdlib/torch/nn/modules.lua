-- torch.nn.modules: the layers under their files' names, and hooks for every module (torch.nn.modules.module).
local core = require "torch.nn.core"
local nn = require("torch").nn
local hooks = require "torch.nn.hooks"

local module = { Module = core.Module }
for _, name in ipairs { "forward_pre_hook", "forward_hook", "full_backward_pre_hook", "full_backward_hook" } do
  module["register_module_" .. name] = function(...) return hooks.register_everywhere(name, ...) end
end
module.register_module_backward_hook = module.register_module_full_backward_hook
for _, kind in ipairs { "parameter", "buffer", "module" } do
  local name = "register_module_" .. kind .. "_registration_hook"
  module[name] = function(fn) return hooks.register_registration(kind, fn) end
end

local files = {}
for name in ([[activation adaptive batchnorm channelshuffle container conv distance dropout flatten fold instancenorm
  lazy linear loss normalization padding pixelshuffle pooling rnn sparse transformer upsampling]]):gmatch("%S+") do
  files[name] = true
end

return setmetatable({ module = module }, {
  __index = function(_, name) return files[name] and nn or nn[name] end,
})
