-- torch.nn.parameter: the classes of tensors that modules register.
local core = require "torch.nn.core"

return { Parameter = core.Parameter, Buffer = core.Buffer }
