-- dlpack_python.lua LIBPYTHON SITE_PACKAGES: tensors to PyTorch and NumPy in this very process and back, without a copy.
-- Python is called through ffi; make dlpack-test runs it.
package.path = (arg[0]:match("^(.*)/[^/]*$") or ".") .. "/lua/?.lua;" .. package.path
local t = require "check"
local ffi = require "ffi"
local dlpack = torch.utils.dlpack
local py = ffi.load(arg[1], [[
  typedef struct PyObject PyObject;
  void Py_InitializeEx(int); int PyRun_SimpleString(const char *); PyObject *PyImport_AddModule(const char *);
  PyObject *PyObject_GetAttrString(PyObject *, const char *); int PyObject_SetAttrString(PyObject *, const char *, PyObject *);
  PyObject *PyCapsule_New(void *, const char *, void *); void *PyCapsule_GetPointer(PyObject *, const char *);
  int PyCapsule_SetName(PyObject *, const char *); int64_t PyLong_AsLongLong(PyObject *); void Py_DecRef(PyObject *);
]], { global = true })
py.Py_InitializeEx(0)
local main = py.PyImport_AddModule "__main__"
local names = { plain = ffi.new("char[]", "dltensor"), versioned = ffi.new("char[]", "dltensor_versioned"), used = ffi.new("char[]", "used_dltensor"),
  used_versioned = ffi.new("char[]", "used_dltensor_versioned") }

local function run(code) t.eq(py.PyRun_SimpleString(code), 0, "Python: " .. code) end
local function give(name, x, versioned)
  local capsule = dlpack.to_dlpack(x, { versioned = versioned })
  local object = py.PyCapsule_New(capsule:release(), versioned and names.versioned or names.plain, nil)
  t.eq(py.PyObject_SetAttrString(main, name, object), 0)
  py.Py_DecRef(object)
end
local function number(name)
  local object = py.PyObject_GetAttrString(main, name)
  local v = py.PyLong_AsLongLong(object)
  py.Py_DecRef(object)
  return v
end
local function take(name, versioned)
  local object = py.PyObject_GetAttrString(main, name)
  local address = py.PyCapsule_GetPointer(object, versioned and names.versioned or names.plain)
  local x = dlpack.from_dlpack(ffi.cast("intptr_t", address), { versioned = versioned })
  py.PyCapsule_SetName(object, versioned and names.used_versioned or names.used)
  py.Py_DecRef(object)
  return x
end

run("import sys; sys.path.insert(0, '" .. arg[2] .. "')")
run "import torch, numpy"
run [[
class Holder:
    def __init__(self, capsule): self.capsule = capsule
    def __dlpack__(self, **kw): return self.capsule
    def __dlpack_device__(self): return (1, 0)
]]

t.test("to PyTorch and back", function()
  for _, dtype in ipairs { "bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64", "complex64", "complex128" } do
    local x = torch.ones(2, 3, { dtype = torch[dtype] }):t()
    give("c", x)
    run("y = torch.utils.dlpack.from_dlpack(c); p = y.data_ptr(); ok = int(y.shape == (3, 2) and y.stride() == (1, 3) and y.dtype == torch." .. dtype .. ")")
    t.eq({ number "p", number "ok" }, { x:data_ptr(), 1 }, dtype)
    run "y[1, 1] = 0; d = torch.utils.dlpack.to_dlpack(y); del y, c"
    t.eq(x[1][1]:to(torch.float32):item(), 0.0)
    local z = take "d"
    run "del d"
    t.ok(z:data_ptr() == x:data_ptr() and z.dtype == x.dtype and z:stride(1) == 3)
  end
end)
t.test("a tensor of PyTorch's lives while Moth holds it", function()
  run "a = torch.arange(1000).reshape(10, 100); p = a.data_ptr(); d = torch.utils.dlpack.to_dlpack(a); del a"
  local p, x = number "p", take "d"
  run "del d; import gc; gc.collect()"
  t.eq({ x:data_ptr() == p, x[9][99]:item(), x:sum():item() }, { true, 999, 499500 })
  x = nil  -- luacheck: ignore
  collectgarbage() collectgarbage()
end)
t.test("to NumPy and back", function()
  local x = torch.arange(6, { dtype = torch.float64 }):view(2, 3)
  give("c", x)
  run "n = numpy.from_dlpack(Holder(c)); p = n.__array_interface__['data'][0]; s = int(n.sum())"
  t.eq({ number "p", number "s" }, { x:data_ptr(), 15 })
  run "m = numpy.arange(8, dtype='int32').reshape(2, 4); q = m.__array_interface__['data'][0]; d = m.__dlpack__()"
  local q, y = number "q", take "d"
  y[1][3] = 70
  run "v = int(m[1, 3]); del d"
  t.eq({ y:data_ptr(), number "v" }, { q, 70 })
end)
t.test("versioned capsules", function()
  local x = torch.ones(4)
  give("c", x, true)
  run "y = torch.utils.dlpack.from_dlpack(c) if torch.__version__ >= '2.9' else None; p = y.data_ptr() if y is not None else -1"
  if number "p" ~= -1 then t.eq(number "p", x:data_ptr()) end
  run "del y, c"
end)
t.done()
