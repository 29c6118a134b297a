-- One file through all three stages.   moth scripts/plans/single_file.lua FILE.py DST [PYTHON]
local cli = require "convert.cli"
local file, dst, python = arg[1], arg[2], arg[3]
if not dst then
  io.stderr:write("usage: moth scripts/plans/single_file.lua FILE.py DST [PYTHON]\n")
  os.exit(2)
end
local src = file:match("^(.*)/[^/]*$") or "."
local status = cli.main { "convert", "--src_root", file, "--dst_root", dst, "--diff" }
if status ~= 0 then os.exit(status) end
cli.main { "convert", "tests", "--src_root", src, "--dst_root", dst, "--out", dst .. "/tests" }
local words = { "convert", "validate", "--src_root", src, "--dst_root", dst }
if python then
  for _, w in ipairs { "--python", python, "--tests", dst .. "/tests" } do words[#words + 1] = w end
end
os.exit(cli.main(words))
