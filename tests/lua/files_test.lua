-- files_test.lua: tensors to files and back in every format, views and sharing, refusals.
package.path = "tests/lua/?.lua;" .. package.path
local t, sys = require "check", require "sys"
local torch, st, npy = require "torch", require "safetensors", require "npy"

local dir = assert(sys.tmpdir())
local function p(name) return dir .. "/" .. name end
local function same(a, b, what)
  t.eq(tostring(a.dtype), tostring(b.dtype), what); t.eq(tostring(a.shape), tostring(b.shape), what)
  t.eq(tostring(a), tostring(b), what)
end
local dtypes = { "bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32",
  "float64", "complex64", "complex128" }
local function all_types(skip)
  local list = {}
  for _, d in ipairs(dtypes) do
    if not skip[d] then list["t_" .. d] = torch.tensor({ { 1, 0, 3 }, { 4, 5, 6 } }):to(torch[d]) end
  end
  return list
end

t.test("safetensors", function()
  local all = all_types { complex128 = true }
  all.empty, all.scalar, all["ü"] = torch.zeros(0, 3), torch.tensor(7), torch.arange(6):reshape(2, 3):t()
  st.save_file(all, p "a.safetensors", { format = "pt", note = "x\"y" })
  local back = st.load_file(p "a.safetensors")
  local count = 0
  for name, x in pairs(back) do same(x, all[name], name); count = count + 1 end
  t.eq(count, 14)
  t.eq(#back, 14)
  t.eq(st.metadata(p "a.safetensors").note, "x\"y")
  local f <close> = st.safe_open(p "a.safetensors")
  t.eq(#f:keys(), 14)
  same(f:get_tensor("scalar"), torch.tensor(7))
  t.eq(f:get_info("empty").dtype, "float32"); t.ok(f:get_info("empty").shape == { 0, 3 })
  t.error_matches(function() f:get_tensor("none") end, "none")
  local wide = torch.zeros(2, { dtype = torch.complex128 })
  t.error_matches(function() st.save_file({ z = wide }, p "x") end, "complex128")
  t.error_matches(function() st.save_file({ z = 1 }, p "x") end, "not a tensor")
  t.eq(sys.exists(p "x"), false)
end)

t.test("a mapped tensor outlives its file; writing to it does not write the file", function()
  torch.save({ w = torch.ones(1000) }, p "m.safetensors")
  local w = torch.load(p "m.safetensors").w
  w:fill_(5)
  t.eq(torch.load(p "m.safetensors").w[999]:item(), 1.0)
  sys.remove(p "m.safetensors"); collectgarbage(); collectgarbage()
  t.eq(w[999]:item(), 5.0)
end)

t.test("npy and npz", function()
  for name, x in pairs(all_types { bfloat16 = true }) do
    torch.save(x, p "a.npy")
    same(torch.load(p "a.npy"), x, name)
  end
  torch.save(torch.arange(6):reshape(2, 3):t(), p "a.npy")
  same(torch.load(p "a.npy"), torch.arange(6):reshape(2, 3):t())
  torch.save({ torch.ones(2), torch.zeros(3) }, p "a.npz")
  t.eq(torch.load(p "a.npz").arr_1.shape[0], 3)
  torch.save({ a = torch.ones(2), b = torch.zeros(0) }, p "a.npz")
  local z = npy.loadz(p "a.npz")
  same(z.a, torch.ones(2)); t.eq(z.b:numel(), 0)
  t.error_matches(function() torch.save(torch.ones(2):bfloat16(), p "b.npy") end, "bfloat16")
  t.error_matches(function() torch.save({}, p "b.npy") end, "one tensor")
end)

t.test("pt: values", function()
  local all = all_types {}
  local v = { sd = all, epoch = 3, lr = 1e-3, flag = true, none = torch.None,
              list = { 1, "two", { 3.5 } }, big = 2 ^ 53 | 0,
              dtype = torch.bfloat16, neg = -7, text = "é\0x" }
  torch.save(v, p "a.pt")
  local b = torch.load(p "a.pt")
  for name, x in pairs(b.sd) do same(x, all[name], name) end
  t.eq(b.epoch, 3); t.eq(b.lr, 1e-3); t.eq(b.flag, true); t.ok(b.none == torch.None); t.eq(b.list[3][1], 3.5)
  t.eq(b.big, 2 ^ 53 | 0); t.ok(b.dtype == torch.bfloat16); t.eq(b.neg, -7); t.eq(b.text, "é\0x"); t.eq(#b.list, 3)
  for _, x in ipairs { 5, "s", true, torch.ones(2, 2) } do
    torch.save(x, p "b.bin")
    local y = torch.load(p "b.bin")
    if torch.is_tensor(x) then same(x, y) else t.eq(y, x) end
  end
  torch.save(torch.None, p "b.pt"); t.eq(torch.load(p "b.pt"), nil)
end)

t.test("pt: views share their storage", function()
  local x = torch.arange(12):reshape(3, 4)
  torch.save({ x, x:t(), x[1], x["1:, ::2"] }, p "v.pt")
  local y = torch.load(p "v.pt")
  same(y[2], x:t()); same(y[4], x["1:, ::2"])
  y[1]:fill_(9)
  t.eq(y[3][2]:item(), 9); t.eq(y[2][1][1]:item(), 9)
  t.ok(sys.stat(p "v.pt").size < 2000)
end)

t.test("gradients and parameters", function()
  if not torch._attrs.requires_grad then return end
  torch.save({ w = torch.tensor({ 1.0 }, { requires_grad = true }) }, p "g.pt")
  t.eq(torch.load(p "g.pt").w.requires_grad, true)
end)

t.test("refusals leave the old file", function()
  torch.save({ a = torch.ones(2) }, p "keep.pt")
  local before = sys.read(p "keep.pt")
  local loop = {}
  loop.self = loop
  t.error_matches(function() torch.save(loop, p "keep.pt") end, "contain itself")
  t.error_matches(function() torch.save({ f = print }, p "keep.pt") end, "function")
  t.error_matches(function() torch.save({ 1, a = 2 }, p "keep.pt") end, "both")
  t.error_matches(function() torch.save("path", torch.ones(1)) end, "value comes first")
  t.eq(sys.read(p "keep.pt"), before)
  t.error_matches(function() torch.save({ a = torch.ones(1) }, p "none/x.pt") end, "none/x.pt")
  t.error_matches(function() torch.load(p "none.pt") end, "none.pt")
  t.error_matches(function() torch.load(p "keep.pt", { weights_only = false }) end, "weights_only")
  sys.write(p "cut.pt", before:sub(1, -50))
  t.error_matches(function() torch.load(p "cut.pt") end, "cut.pt")
  local at = before:find("\0\0\128\63", 1, true)
  sys.write(p "bad.pt", before:sub(1, at - 1) .. "\1" .. before:sub(at + 1))
  t.error_matches(function() torch.load(p "bad.pt") end, "CRC")
  sys.write(p "bad.npy", "\x93NUMPY\1\0\6\0{'a'}\n")
  t.error_matches(function() torch.load(p "bad.npy") end, "at byte")
  sys.write(p "evil.pt", "\x80\2cos\nsystem\n(X\4\0\0\0trueTtR.")
  t.error_matches(function() torch.load(p "evil.pt") end, "os.system")
  for _, name in ipairs(sys.list(dir)) do t.ok(not name:find("tmp%-"), name) end
end)

t.test("a mapped file that shrinks ends in an error, not in a crash", function()
  torch.save({ w = torch.ones(100000) }, p "s.safetensors")
  local code = string.format([[
    local w = torch.load(%q).w
    io.open(%q, "w"):close()
    print(pcall(function() return w:sum():item() end))
    print(pcall(function() return torch.ones(2):sum():item() end))
  ]], p "s.safetensors", p "s.safetensors")
  local r = sys.run({ sys.realpath("/proc/self/exe"), "-e", code }, { timeout = 60 })
  t.eq(r.code, 0)
  t.ok(r.stderr:find("became shorter", 1, true), r.stderr)
  t.ok(r.stdout:find("^false.*interrupted") and r.stdout:find("true\t2.0", 1, true), r.stdout)
end)

t.test("the content tells when the extension does not", function()
  for _, ext in ipairs { "safetensors", "npy", "pt" } do
    torch.save(ext == "npy" and torch.ones(3) or { a = torch.ones(3) }, p("c." .. ext))
    sys.rename(p("c." .. ext), p "content")
    local y = torch.load(p "content")
    same(ext == "npy" and y or y.a, torch.ones(3))
  end
end)

sys.remove(dir, { recursive = true })
t.done()
