-- Stage 2: a parity test per model.   moth scripts/plans/write_tests.lua SRC DST [TESTS]
-- The tests build the source and the converted model at a small size with the same weights; CASES in each may be
-- edited.
local cli = require "convert.cli"
local src, dst = arg[1], arg[2]
if not dst then
  io.stderr:write("usage: moth scripts/plans/write_tests.lua SRC DST [TESTS]\n")
  os.exit(2)
end
local tests = arg[3] or dst .. "/tests"
local status = cli.main { "convert", "tests", "--src_root", src, "--dst_root", dst, "--out", tests }
print("next: moth scripts/plans/validate.lua " .. src .. " " .. dst .. " PYTHON " .. tests)
os.exit(status)
