-- opgen.lua: turns the op rows (*.def, Lua data) into C at build time.
--   lua5.4 tensor/opgen.lua OUTDIR FILE.def...
-- Writes ops_gen.h (enums, prototypes of kernels k_NAME and callers t_NAME), ops_table.c (rows, parameters, thunks,
-- callers), ops_exprs.c (kernels that are an expression or a pointwise line) and derivs.c (derivative rows).
-- The notation is described in tensor/ops_core.def's header; the expression language in expr.lua.

local dir = arg[0]:match("^(.*)/[^/]*$") or "."
package.path = dir .. "/?.lua;" .. package.path
local schema = require "opgen_schema"
local expr = require "opgen_expr"

local outdir = arg[1]
local ops, byname, derivs = {}, {}, {}

local function die(fmt, ...) io.stderr:write("opgen: ", fmt:format(...), "\n") os.exit(1) end

local function add_op(text, row)
  local ok, o = pcall(schema.parse, text)
  if not ok then die("%s\n  in row %q", tostring(o), text) end
  for k, v in pairs(row) do o[k] = v end
  if byname[o.cname] then die("op %s is declared twice", o.cname) end
  byname[o.cname] = o
  ops[#ops + 1] = o
end

-- ---- the notation of the .def files ----
local env = { pairs = pairs, ipairs = ipairs, string = string, table = table, print = print }
function env.op(text) return function(row) add_op(text, row or {}) end end
function env.ex(text, body, doc, example)
  local row = type(doc) == "table" and doc or { doc = doc, example = example }
  row.expr = body
  add_op(text, row)
end
--- Kernel names that have no row of their own: kernels{unary = {"gelu_tanh"}}.
local extra_kernels = { unary = {}, binary = {}, ternary = {} }
function env.kernels(t)
  for kind, names in pairs(t) do for _, n in ipairs(names) do table.insert(extra_kernels[kind], n) end end
end
--- own_out "names": their out= must have the result's dtype.
local own_out = {}
function env.own_out(text) for name in text:gmatch("%S+") do own_out[#own_out + 1] = name end end
function env.d(name, rules)
  if derivs[name] then die("derivative of %s is declared twice", name) end
  derivs[name] = rules
end
for i = 2, #arg do
  local chunk, err = loadfile(arg[i], "t", env)
  if not chunk then die("%s", err) end
  local ok, msg = pcall(chunk)
  if not ok then die("%s", tostring(msg)) end
end
for _, name in ipairs(own_out) do
  if not byname[name] or not byname[name].out then die("own_out of an op without out=: %s", name) end
  byname[name].own_out = true
end
for name in pairs(derivs) do if not byname[name] then die("derivative of unknown op %s", name) end end

-- ---- helpers ----
local function quote(s)
  if not s then return "NULL" end
  return '"' .. s:gsub('[\\"]', "\\%0"):gsub("\n", "\\n") .. '"'
end
local function write(name, parts)
  local text = table.concat(parts)
  local f = io.open(outdir .. "/" .. name)
  if f then local old = f:read("a") f:close() if old == text then return end end
  f = assert(io.open(outdir .. "/" .. name, "w"))
  f:write(text)
  f:close()
end
local ctype, field = schema.ctype, schema.field
local function args_decl(o)
  local t = { "Ctx *c" }
  for _, p in ipairs(o.params) do t[#t + 1] = ctype(p) .. p.cname end
  return table.concat(t, ", ")
end
local function ret_decl(o)
  if #o.rets == 1 then return schema.rettype(o.rets[1]), "" end
  return "void ", ", Val *r_"
end

-- ---- ops_gen.h ----
local h = { "/* made by opgen.lua: do not edit */\n#ifndef MT_OPS_GEN_H\n#define MT_OPS_GEN_H\nstruct Val; typedef struct Val Val;\nenum {\n" }
for _, o in ipairs(ops) do h[#h + 1] = "  OP_" .. o.cname .. ",\n" end
h[#h + 1] = "  OP_COUNT\n};\n"
for _, kind in ipairs { "unary", "binary", "ternary" } do
  h[#h + 1] = "enum {\n"
  local pre = kind:sub(1, 1):upper() .. "_"
  local seen = {}
  for _, o in ipairs(ops) do
    if o[kind] then
      local k = o.kernel or o.cname
      if not seen[k] then h[#h + 1] = "  " .. pre .. k .. ",\n" seen[k] = true end
    end
  end
  for _, k in ipairs(extra_kernels[kind]) do
    if not seen[k] then h[#h + 1] = "  " .. pre .. k .. ",\n" seen[k] = true end
  end
  h[#h + 1] = "  " .. pre .. "COUNT_\n};\n"
end
for _, o in ipairs(ops) do
  local r, extra = ret_decl(o)
  h[#h + 1] = r .. "k_" .. o.cname .. "(" .. args_decl(o) .. extra .. ");\n"
  h[#h + 1] = r .. "t_" .. o.cname .. "(" .. args_decl(o) .. extra .. ");\n"
  if o.inplace then h[#h + 1] = "Tensor *t_" .. o.cname .. "_(" .. args_decl(o) .. ");\n" end
end
h[#h + 1] = "#endif\n"
write("ops_gen.h", h)

-- ---- ops_table.c ----
local function paths(o)
  local list = {}
  local ns, base = o.name:match("^(.*)%.([^.]+)$")
  base = base or o.name
  if ns == "F" then ns = "nn.functional" end
  local main = "torch." .. (ns and ns .. "." or "") .. base
  for _, a in ipairs(o.also or {}) do
    if a == "F" then a = "nn.functional." .. base elseif a:match("^F%.") then a = "nn.functional." .. a:sub(3) end
    list[#list + 1] = "torch." .. a
  end
  for _, a in ipairs(o.aliases or {}) do
    list[#list + 1] = "torch." .. (a:find(".", 1, true) and a or (ns and ns .. "." or "") .. a)
  end
  return main, base, ns, list
end
local flagnames = { inplace = "OF_INPLACE", out = "OF_OUT", comp = "OF_COMPOSITE", nodiff = "OF_NODIFF", view = "OF_VIEW",
  conj = "OF_CONJ", hidden = "OF_HIDDEN", meta_ok = "OF_META", pending = "OF_PENDING", random = "OF_RANDOM",
  inplace_only = "OF_INPLACE_ONLY", attr = "OF_ATTR", compact = "OF_COMPACT", own_out = "OF_OWN_OUT" }
local function flags(o)
  local t = {}
  for k, v in pairs(flagnames) do if o[k] then t[#t + 1] = v end end
  if o.expr and not derivs[o.cname] then t[#t + 1] = "OF_COMPOSITE" end
  if o.unary or o.binary or o.ternary then t[#t + 1] = "OF_POINTWISE|OF_META" end
  if o.method then t[#t + 1] = "OF_METHOD" end
  if o.fn ~= false then t[#t + 1] = "OF_FUNCTION" end
  if o.rets[1] and o.rets[1].type == "Tensor[]" then t[#t + 1] = "OF_LISTRET" end
  table.sort(t)
  return #t > 0 and table.concat(t, "|") or "0"
end

-- Where PyTorch takes a number for a tensor: `other` of a binary op unless the op wants tensors only, and `self` of the
-- arithmetic ones.  A row says otherwise with number = { "param", ... }.
local function words(text) local t = {} for w in text:gmatch("%S+") do t[w] = true end return t end
local number_params = words "other exponent"
local tensors_only = words [[maximum minimum fmax fmin max min logical_and logical_or logical_xor atan2 hypot gcd lcm heaviside
  nextafter logaddexp logaddexp2 isclose allclose equal matmul dot vdot inner outer kron cross expand_as view_as reshape_as
  type_as dist tensordot broadcast_to is_set_to is_same_size ldexp polar complex pairwise_distance]]
local number_both = words "add sub mul div floor_divide true_divide"      -- these take two numbers as well
local number_self = words [[pow remainder float_power bitwise_and bitwise_or
  bitwise_xor bitwise_left_shift bitwise_right_shift xlogy where special_xlog1py special_zeta]]
local function takes_number(o, p)
  if p.type ~= "Tensor" then return false end
  if o.number then
    for _, n in ipairs(o.number) do if n == p.name then return true end end
    return false
  end
  local base = o.cname:gsub("^linalg_", "")
  if number_both[o.base] and (p.name == "self" or p.name == "other") then return 2 end
  if p.name == "self" then return number_self[o.base] or number_self[base] end
  return number_params[p.name] and not tensors_only[o.base] and not o.cname:find("^linalg_")
    or o.cname:find("^special_") and (p.name == "n" or p.name == "x")
end

local function numbers(o, p)
  local v = takes_number(o, p)
  return v == 2 and 2 or v and 1 or 0
end

-- fixed = { "x" }: the bool x must have its default; pair = "dims_self": it and the next may come as one list of two.
local function form(o, p)
  for _, n in ipairs(o.fixed or {}) do if n == p.name then return "PF_FIXED" end end
  return o.pair == p.name and "PF_PAIR" or "0"
end

local tb = { '/* made by opgen.lua: do not edit */\n#include "op.h"\n' }
for _, o in ipairs(ops) do
  local main, base, ns, also = paths(o)
  o.path, o.base, o.also_paths = main, base, also
  if o.method == nil then
    local p = o.params[1]
    o.method = ns == nil and p ~= nil and p.name == "self" and p.type == "Tensor" and not o.hidden
  end
  if #o.params > 0 then
    tb[#tb + 1] = "static const ParamRow p_" .. o.cname .. "[] = {\n"
    for _, p in ipairs(o.params) do
      tb[#tb + 1] = ("  {%s, %s, %d, %d, %d, %d, %d, %s, %d, {%s}, %s},\n"):format(quote(p.name), schema.ptype(p), p.optional and 1 or 0,
        p.kwonly and 1 or 0, p.default and 1 or 0, p.list_len or 0, p.opt_elems and 1 or 0,
        form(o, p), numbers(o, p), schema.default_init(p), quote(p.default))
    end
    tb[#tb + 1] = "};\n"
  end
  local names, types = {}, {}
  for i, r in ipairs(o.rets) do names[i] = quote(r.name or "result" .. (#o.rets > 1 and i - 1 or "")) types[i] = schema.ptype(r) end
  tb[#tb + 1] = "static const char *const rn_" .. o.cname .. "[] = {" .. (#names > 0 and table.concat(names, ", ") or "0") .. "};\n"
  tb[#tb + 1] = "static const uint8_t rt_" .. o.cname .. "[] = {" .. (#types > 0 and table.concat(types, ", ") or "0") .. "};\n"
  -- thunk: unpack, call, pack
  local call = { "c" }
  for i, p in ipairs(o.params) do call[#call + 1] = ("a[%d].%s"):format(i - 1, field(p)) end
  local args = table.concat(call, ", ")
  if #o.rets == 1 then
    tb[#tb + 1] = ("static void th_%s(Ctx *c, Val *a, Val *r) { r[0].%s = k_%s(%s); }\n"):format(o.cname, schema.retfield(o.rets[1]), o.cname, args)
  else
    tb[#tb + 1] = ("static void th_%s(Ctx *c, Val *a, Val *r) { k_%s(%s, r); }\n"):format(o.cname, o.cname, args)
  end
  -- caller: pack, dispatch, unpack
  local r, extra = ret_decl(o)
  local pack = {}
  for i, p in ipairs(o.params) do pack[i] = ("  a_[%d].%s = %s;\n"):format(i - 1, field(p), p.cname) end
  local nargs = math.max(1, #o.params)
  tb[#tb + 1] = ("%st_%s(%s%s) {\n  Val a_[%d]%s;\n%s"):format(r, o.cname, args_decl(o), extra, nargs,
    #o.rets == 1 and ", rr_[1]" or "", table.concat(pack))
  if #o.params == 0 then tb[#tb + 1] = "  a_[0].i = 0;\n" end
  if o.inplace_only and #o.rets == 1 then            -- a write: checked, counted and recorded as one
    tb[#tb + 1] = ("  Tensor *out_[1] = {%s};\n  mt_call_out(c, &mt_ops[OP_%s], a_, rr_, out_, 1, true);\n  return rr_[0].t;\n}\n"):format(
      o.params[1].cname, o.cname)
  elseif #o.rets == 1 then
    tb[#tb + 1] = ("  mt_call(c, &mt_ops[OP_%s], a_, rr_);\n  return rr_[0].%s;\n}\n"):format(o.cname, schema.retfield(o.rets[1]))
  else
    tb[#tb + 1] = ("  mt_call(c, &mt_ops[OP_%s], a_, r_);\n}\n"):format(o.cname)
  end
  if o.inplace then
    tb[#tb + 1] = ("Tensor *t_%s_(%s) {\n  Val a_[%d], rr_[1];\n  Tensor *out_[1] = {%s};\n%s  mt_call_out(c, &mt_ops[OP_%s], a_, rr_, out_, 1, true);\n  return rr_[0].t;\n}\n")
      :format(o.cname, args_decl(o), nargs, o.params[1].cname, table.concat(pack), o.cname)
  end
end
local function mask(o, ptype)
  local m = 0
  for i, p in ipairs(o.params) do if schema.ptype(p) == ptype then m = m | 1 << (i - 1) end end
  return m
end
tb[#tb + 1] = "const OpRow mt_ops[] = {\n"
for _, o in ipairs(ops) do
  tb[#tb + 1] = ("  {%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %d, %d, %s, rn_%s, rt_%s, th_%s, OP_%s, 0x%x, 0x%x},\n"):format(
    quote(o.cname), quote(o.path), quote(o.overload or ""), quote(o.base), quote(o.text),
    quote(table.concat(o.also_paths, " ")), quote(o.meta), quote(o.doc), quote(o.example), quote(o.see), quote(o.expr),
    flags(o), #o.params, #o.rets, #o.params > 0 and "p_" .. o.cname or "NULL", o.cname, o.cname, o.cname, o.cname, mask(o, "P_Tensor"), mask(o, "P_TensorList"))
end
tb[#tb + 1] = "};\nconst int mt_nops = OP_COUNT;\n"
write("ops_table.c", tb)

-- ---- ops_exprs.c ----
local e = { '/* made by opgen.lua: do not edit */\n#include "op.h"\n#include "iter.h"\n#include "expr_rt.h"\n' }
for _, o in ipairs(ops) do
  local head = (o.rets[1] and schema.rettype(o.rets[1]) or "void ") .. "k_" .. o.cname .. "(" .. args_decl(o) .. ") {\n"
  local k = o.kernel or o.cname
  if o.expr then
    local ok, code = pcall(expr.compile, o.expr, expr.scope_of_params(o.params), byname, schema.letter(o.rets[1]))
    if not ok then die("%s\n  in the expression of %s: %s", tostring(code), o.cname, o.expr) end
    e[#e + 1] = head .. "  return " .. code .. ";\n}\n"
  elseif o.unary then
    e[#e + 1] = head .. ("  return mt_unary(c, U_%s, MT_P_%s, %s, %s);\n}\n"):format(k, o.unary:upper(), o.params[1].cname, expr.scalar_pack(o.params, 1))
  elseif o.binary then
    e[#e + 1] = head .. ("  return mt_binary(c, B_%s, MT_P_%s, %s, %s, %s);\n}\n"):format(k, o.binary:upper(), o.params[1].cname, o.params[2].cname, expr.scalar_pack(o.params, 2))
  elseif o.ternary then
    e[#e + 1] = head .. ("  return mt_ternary(c, T_%s, MT_P_%s, %s, %s, %s, %s);\n}\n"):format(k, o.ternary:upper(), o.params[1].cname, o.params[2].cname, o.params[3].cname, expr.scalar_pack(o.params, 3))
  end
end
write("ops_exprs.c", e)

-- ---- derivs.c ----
local dv = { '/* made by opgen.lua: do not edit */\n#include "autograd.h"\n#include "expr_rt.h"\n' }
local table_rows = {}
for _, o in ipairs(ops) do
  local rules = derivs[o.cname]
  if rules then
    local ok, code, save = pcall(expr.derivative, o, rules, byname)
    if not ok then die("%s\n  in the derivative of %s", tostring(code), o.cname) end
    dv[#dv + 1] = code
    local texts = {}
    for target, text in pairs(rules) do texts[#texts + 1] = target .. ": " .. text end
    table.sort(texts)
    table_rows[#table_rows + 1] = ("  [OP_%s] = {bw_%s, %s, %s, %s, %s},\n"):format(o.cname, o.cname, save.args, save.rets, save.diff, quote(table.concat(texts, "; ")))
  end
end
dv[#dv + 1] = "const DerivRow ag_derivs[OP_COUNT] = {\n" .. table.concat(table_rows) .. "};\n"
write("derivs.c", dv)
