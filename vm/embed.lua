-- embed.lua: the build step that puts stdlib's files into one C file.  lua5.4 embed.lua OUT.c FILE...
-- Invariant: the table is sorted by name (the path below stdlib/), so that the loader can search it by halves.
local out, files = arg[1], { table.unpack(arg, 2) }

local function name_of(path) return (path:gsub("^.*stdlib/", "")) end
table.sort(files, function(a, b) return name_of(a) < name_of(b) end)

local escapes = {}
for b = 0, 255 do
  local c = string.char(b)
  local plain = b >= 32 and b < 127 and c ~= '"' and c ~= "\\" and c ~= "?"
  escapes[c] = plain and c or b == 10 and "\\n" or string.format("\\%03o", b)
end

--- The bytes as C string literals, cut into lines so that compilers and people can read them.
local function literals(data)
  local lines = {}
  for from = 1, #data, 96 do
    lines[#lines + 1] = '"' .. data:sub(from, from + 95):gsub(".", escapes):gsub("[\n\r]", escapes) .. '"'
  end
  return #lines > 0 and table.concat(lines, "\n") or '""'
end

local f = assert(io.open(out .. ".tmp", "wb"))
f:write('/* Made by vm/embed.lua; do not edit. */\n#include <stddef.h>\n',
  'typedef struct { const char *name; const char *data; size_t size; } VmEmbedded;\n')
local rows = {}
for i, path in ipairs(files) do
  local input = assert(io.open(path, "rb"))
  local data = input:read("a")
  input:close()
  f:write("static const char d", i, "[] =\n", literals(data), ";\n")
  rows[i] = string.format('  {"%s", d%d, %d},\n', name_of(path), i, #data)
end
f:write("extern const VmEmbedded vm_embedded[];\nextern const size_t vm_embedded_count;\n",
  "const VmEmbedded vm_embedded[] = {\n", table.concat(rows), "  {NULL, NULL, 0}\n};\n",
  "const size_t vm_embedded_count = ", #files, ";\n")
assert(f:close())
assert(os.rename(out .. ".tmp", out))
