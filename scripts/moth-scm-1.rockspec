-- Moth for a plain Lua 5.4: `local torch = require "moth"`.  From the checkout's top: luarocks make scripts/moth-scm-1.rockspec
-- The tree needs nothing from the network: a C compiler, GNU make, Lua 5.4's headers and libffi.
rockspec_format = "3.0"
package = "moth"
version = "scm-1"
source = { url = "." }                      -- the checkout itself: `luarocks make` fetches nothing
description = {
  summary = "PyTorch's API and numbers for Lua",
  detailed = [[Tensors, autograd, neural networks and optimizers in C, with PyTorch's names, argument order, defaults and
numbers; safetensors, .pt, .npy and GGUF files; tokenizers; plots.]],
  license = "MIT",
}
dependencies = { "lua >= 5.4, < 5.5" }
supported_platforms = { "linux" }
build = {
  type = "make",
  build_target = "rock",
  build_variables = {
    B = "build-rock",
    CC = "$(CC)",
    LUA = "$(LUA)",
    LUA_CFLAGS = "-I$(LUA_INCDIR)",
  },
  install_pass = false,
  install = { lib = { moth = "build-rock/moth.so" } },
}
