-- Stage 3: does it hold?   moth scripts/plans/validate.lua SRC DST [PYTHON [TESTS]]
-- Checks the text alone, or, with a Python that has torch and mindspore, the imports and the parity tests too.
local cli = require "convert.cli"
local src, dst, python = arg[1], arg[2], arg[3]
if not dst then
  io.stderr:write("usage: moth scripts/plans/validate.lua SRC DST [PYTHON [TESTS]]\n")
  os.exit(2)
end
local words = { "convert", "validate", "--src_root", src, "--dst_root", dst }
if python then
  for _, w in ipairs { "--python", python, "--tests", arg[4] or dst .. "/tests" } do words[#words + 1] = w end
end
os.exit(cli.main(words))
