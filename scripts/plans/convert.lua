-- Stage 1: a tree from PyTorch to MindSpore.   moth scripts/plans/convert.lua SRC DST [flags of moth convert]
-- Finds the files, converts them, shows what a person still has to do. May be interrupted: a second run continues.
local cli = require "convert.cli"
local src, dst = arg[1], arg[2]
if not dst then
  io.stderr:write("usage: moth scripts/plans/convert.lua SRC DST [flags]\n")
  os.exit(2)
end
local status = cli.main { "detect", "--src_root", src, "--list", dst .. "/files_to_convert.md" }
if status ~= 0 then os.exit(status) end
status = cli.main { "convert", "--src_root", src, "--dst_root", dst, "--report", dst .. "/conversion_report.md",
  table.unpack(arg, 3) }
print("next: moth scripts/plans/write_tests.lua " .. src .. " " .. dst)
os.exit(status)
