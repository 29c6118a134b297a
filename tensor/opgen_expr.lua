-- opgen_expr.lua: compiles the rows' expressions (composites and derivatives) to C that calls t_NAME.
--
-- The language: numbers, identifiers (parameters, result, grad), calls of ops by their C name with positional and
-- keyword arguments (`sum_dim(x, [dim], keepdim=true)`), lists `[a, b]`, `+ - * / ^`, comparisons, `&`, `!`, unary minus,
-- `cond ? a : b`, strings.  Types are letters: T tensor, L list of tensors, S scalar, I int, D double, B bool, IL int list,
-- SL scalar list, STR string, E enum.  Whatever stands where a tensor is wanted is wrapped as a number that promotes like one.
local schema = require "opgen_schema"
local M = {}

-- ---- lexer ----
local function lex(s)
  local toks, i = {}, 1
  while true do
    i = s:find("%S", i)
    if not i then break end
    local a, b, t = s:find("^([%a_][%w_]*)", i)
    if a then toks[#toks + 1] = { k = "id", v = t } i = b + 1
    else
      local _
      a, _, t = s:find("^(%d+%.?%d*[eE]?[-+]?%d*)", i)
      if a then
        t = t:match("^%d+%.?%d*[eE][-+]?%d+") or t:match("^%d+%.?%d*")
        toks[#toks + 1] = { k = "num", v = t } i = i + #t
      else
        a, b, t = s:find('^"([^"]*)"', i)
        if a then toks[#toks + 1] = { k = "str", v = t } i = b + 1
        else
          local two = s:sub(i, i + 1)
          if two == "<=" or two == ">=" or two == "==" or two == "!=" or two == "&&" or two == "||" then
            toks[#toks + 1] = { k = two } i = i + 2
          else toks[#toks + 1] = { k = s:sub(i, i) } i = i + 1 end
        end
      end
    end
  end
  toks[#toks + 1] = { k = "eof" }
  return toks
end

-- ---- parser ----
local prec = { ["?"] = 1, ["||"] = 2, ["&&"] = 3, ["|"] = 4, ["&"] = 4, ["=="] = 5, ["!="] = 5, ["<"] = 5, [">"] = 5, ["<="] = 5, [">="] = 5,
  ["+"] = 6, ["-"] = 6, ["*"] = 7, ["/"] = 7, ["^"] = 9 }
local function parse(text)
  local toks, pos = lex(text), 1
  local expr
  local function peek() return toks[pos].k end
  local function take(k)
    local t = toks[pos]
    if k and t.k ~= k then error("expected '" .. k .. "' but found '" .. (t.v or t.k) .. "'", 0) end
    pos = pos + 1
    return t
  end
  local function primary()
    local t = take()
    if t.k == "num" then return { k = "num", v = t.v } end
    if t.k == "str" then return { k = "str", v = t.v } end
    if t.k == "(" then local e = expr(0) take(")") return e end
    if t.k == "-" then return { k = "neg", expr(8) } end
    if t.k == "!" then return { k = "not", expr(8) } end
    if t.k == "[" then
      local l = { k = "list" }
      while peek() ~= "]" do l[#l + 1] = expr(0) if peek() == "," then take() end end
      take("]")
      return l
    end
    if t.k == "id" then
      if peek() ~= "(" then return { k = "id", v = t.v } end
      take("(")
      local call = { k = "call", v = t.v, kw = {} }
      while peek() ~= ")" do
        if peek() == "id" and toks[pos + 1].k == "=" then
          local name = take().v
          take("=")
          call.kw[name] = expr(0)
        else call[#call + 1] = expr(0) end
        if peek() == "," then take() end
      end
      take(")")
      return call
    end
    error("unexpected '" .. (t.v or t.k) .. "'", 0)
  end
  function expr(min)
    local left = primary()
    while true do
      local op = peek()
      local p = prec[op]
      if not p or p < min then return left end
      take()
      if op == "?" then
        local a = expr(0)
        take(":")
        left = { k = "cond", left, a, expr(1) }
      else left = { k = "bin", op = op, left, expr(op == "^" and p or p + 1) } end
    end
  end
  local e = expr(0)
  take("eof")
  return e
end

-- ---- types and coercions ----
local function coerce(code, from, to, what)
  if from == to then return code end
  if to == "T" then
    if from == "S" then return "mt_wrap(c, " .. code .. ")" end
    if from == "I" then return "mt_wrap(c, mt_si(" .. code .. "))" end
    if from == "D" then return "mt_wrap(c, mt_sd(" .. code .. "))" end
    if from == "B" then return "mt_wrap(c, mt_sb(" .. code .. "))" end
    if from == "NONE" then return "NULL" end
  elseif to == "S" then
    if from == "I" then return "mt_si(" .. code .. ")" end
    if from == "D" then return "mt_sd(" .. code .. ")" end
    if from == "B" then return "mt_sb(" .. code .. ")" end
    if from == "NONE" then return "mt_snone()" end
  elseif to == "D" then
    if from == "S" then return "mt_sre(" .. code .. ")" end
    if from == "I" or from == "B" then return "(double)(" .. code .. ")" end
  elseif to == "I" then
    if from == "S" then return "mt_sint(" .. code .. ")" end
    if from == "B" or from == "E" then return "(" .. code .. ")" end
    if from == "NONE" then return "MT_NONE_INT" end
  elseif to == "B" then
    if from == "I" or from == "D" or from == "E" then return "(" .. code .. ")" end
  elseif to == "IL" then
    if from == "I" then return "mt_il((const int64_t[]){" .. code .. "}, 1)" end
    if from == "NONE" then return "mt_ilnone()" end
  elseif to == "STR" and from == "NONE" then return "NULL"
  elseif to == "E" then
    if from == "NONE" then return "-1" end
    if from == "I" or from == "B" then return code end
  elseif to == "L" and from == "NONE" then return "(TensorList){NULL, -1}"
  end
  error(("%s: a value of type %s where %s is wanted"):format(what or code, from, to), 0)
end

-- Functions of the language that are not ops: name -> { argument letters, result letter, C name (called without c when plain) }
local builtins = {
  sizes = { "T", "IL", "mt_sizes", plain = true, shape = true },
  numel = { "T", "I", "mt_numel_of", plain = true, shape = true },
  ndim = { "T", "I", "mt_ndim_of", plain = true, shape = true },
  dtype = { "T", "E", "mt_dtype_of", plain = true, shape = true },
  size = { "TI", "I", "mt_size_at", shape = true },
  len = { { "IL" }, "I", "mt_len_of", plain = true },
  shape = { "T", "T", "", plain = true, shape = true },
  is_complex = { "T", "B", "mt_t_is_complex", plain = true, shape = true },
  has_t = { "T", "B", "NULL != ", plain = true },
  shapes = { "L", "L", "", plain = true, shape = true },
  mt_sconj = { "S", "S", "mt_sconj", plain = true },
  real_of = { "S", "D", "mt_sre", plain = true },
}
M.builtins = builtins

local compile
local function call_op(o, node, scope, ops)
  local args, pos = { "c" }, 1
  for i, p in ipairs(o.params) do
    local a = node[pos]
    if a then pos = pos + 1 else a = node.kw[p.name] end
    local want = schema.letter(p)
    if a then
      local code, ty = compile(a, scope, ops, want)
      args[#args + 1] = coerce(code, ty, want, o.cname .. "'s " .. p.name)
    else
      local def = schema.default_c(p)
      if not def then
        if p.optional and want == "T" then def = "NULL" else error(o.cname .. ": argument " .. p.name .. " is missing", 0) end
      end
      args[#args + 1] = def
    end
  end
  if node[pos] then error(o.cname .. ": too many arguments", 0) end
  for k in pairs(node.kw) do
    local known = false
    for _, p in ipairs(o.params) do known = known or p.name == k end
    if not known then error(o.cname .. ": unknown keyword " .. k, 0) end
  end
  return table.concat(args, ", ")
end

local arith = { ["+"] = "add", ["-"] = "sub", ["*"] = "mul", ["/"] = "div", ["^"] = "pow", ["<"] = "lt", [">"] = "gt", ["<="] = "le",
  [">="] = "ge", ["=="] = "eq", ["!="] = "ne", ["&"] = "logical_and", ["|"] = "logical_or" }

function compile(e, scope, ops, want)
  local k = e.k
  if k == "num" then
    if e.v:find("[.eE]") then return e.v, "D" end
    return e.v, "I"
  elseif k == "str" then return '"' .. e.v .. '"', "STR"
  elseif k == "id" then
    if e.v == "true" then return "1", "B" elseif e.v == "false" then return "0", "B" elseif e.v == "None" then return "NULL", "NONE"
    elseif e.v == "inf" then return "INFINITY", "D" elseif e.v == "pi" then return "3.14159265358979323846", "D" end
    if e.v:match("^MT_") then return e.v, "E" end
    return scope(e.v)
  elseif k == "list" then
    if want == "L" then
      local t = {}
      for i, x in ipairs(e) do local code, ty = compile(x, scope, ops, "T") t[i] = coerce(code, ty, "T") end
      return "(TensorList){(Tensor *[]){" .. table.concat(t, ", ") .. "}, " .. #t .. "}", "L"
    end
    local t = {}
    for i, x in ipairs(e) do local code, ty = compile(x, scope, ops, "I") t[i] = coerce(code, ty, "I") end
    if #t == 0 then return "mt_il(NULL, 0)", "IL" end
    return "mt_il((const int64_t[]){" .. table.concat(t, ", ") .. "}, " .. #t .. ")", "IL"
  elseif k == "neg" then
    local code, ty = compile(e[1], scope, ops)
    if ty == "T" then return "t_neg(c, " .. code .. ")", "T" end
    if ty == "S" then return "mt_sneg(" .. code .. ")", "S" end
    return "-(" .. code .. ")", ty
  elseif k == "not" then
    local code, ty = compile(e[1], scope, ops)
    if ty == "T" then return "t_logical_not(c, " .. code .. ")", "T" end
    return "!(" .. code .. ")", "B"
  elseif k == "cond" then
    local cc, ct = compile(e[1], scope, ops)
    if ct == "T" then error("a condition is a tensor; use where(...)", 0) end
    local a, ta = compile(e[2], scope, ops, want)
    local b, tb = compile(e[3], scope, ops, want)
    local ty = ta == tb and ta or (ta == "T" or tb == "T") and "T" or (ta == "S" or tb == "S") and "S" or (ta == "D" or tb == "D") and "D" or ta
    if ta == "NONE" then ty = tb elseif tb == "NONE" then ty = ta end
    return "(" .. cc .. " ? " .. coerce(a, ta, ty) .. " : " .. coerce(b, tb, ty) .. ")", ty
  elseif k == "bin" then
    if e.op == "&&" or e.op == "||" then
      local a, b = compile(e[1], scope, ops), compile(e[2], scope, ops)
      return "(" .. a .. " " .. e.op .. " " .. b .. ")", "B"
    end
    local a, ta = compile(e[1], scope, ops)
    local b, tb = compile(e[2], scope, ops)
    if ta == "T" or tb == "T" then
      local name = arith[e.op]
      local x, y = coerce(a, ta, "T"), coerce(b, tb, "T")
      local extra = (name == "add" or name == "sub") and ", mt_si(1)" or name == "div" and ", NULL" or ""
      return ("t_%s(c, %s, %s%s)"):format(name, x, y, extra), "T"
    end
    local compare = e.op == "==" or e.op == "!=" or e.op == "<" or e.op == ">" or e.op == "<=" or e.op == ">="
    if ta == "S" or tb == "S" then
      if compare then return ("(mt_sre(%s) %s mt_sre(%s))"):format(coerce(a, ta, "S"), e.op, coerce(b, tb, "S")), "B" end
      return ("mt_sop(%s, '%s', %s)"):format(coerce(a, ta, "S"), e.op, coerce(b, tb, "S")), "S"
    end
    if ta == "STR" then return ("(mt_streq(%s, %s) %s 1)"):format(a, b, e.op), "B" end
    if e.op == "/" then return ("((double)(%s) / (double)(%s))"):format(a, b), "D" end
    if e.op == "^" then return ("pow(%s, %s)"):format(a, b), "D" end
    return "(" .. a .. " " .. e.op .. " " .. b .. ")", compare and "B" or (ta == "D" or tb == "D") and "D" or "I"
  elseif k == "call" then
    if e.v == "has" or e.v == "none" then
      local code, ty = compile(e[1], scope, ops)
      local test = ({ T = "(%s != NULL)", S = "mt_has(%s)", I = "(%s != MT_NONE_INT)", IL = "(%s.n >= 0)", L = "(%s.n >= 0)", STR = "(%s != NULL)", E = "(%s >= 0)", B = "(%s >= 0)" })[ty]
      if not test then error("has() of type " .. ty, 0) end
      return (e.v == "none" and "!" or "") .. test:format(code), "B"
    end
    if e.v == "need" then return scope("need:" .. e[1].v) end
    local bi = builtins[e.v]
    if bi then
      local args = bi.plain and {} or { "c" }
      for i, a in ipairs(e) do
        local inner = scope
        if bi.shape and i == 1 and a.k == "id" then inner = function(name) return scope(name, true) end end
        local code, ty = compile(a, inner, ops)
        args[#args + 1] = coerce(code, ty, type(bi[1]) == "table" and bi[1][i] or bi[1]:sub(i, i), e.v)
      end
      return bi[3] .. "(" .. table.concat(args, ", ") .. ")", bi[2]
    end
    local o = ops[e.v]
    if not o then error("unknown op " .. e.v, 0) end
    if #o.rets ~= 1 then error(e.v .. " has several results; it cannot stand inside an expression", 0) end
    return "t_" .. o.cname .. "(" .. call_op(o, e, scope, ops) .. ")", schema.letter(o.rets[1])
  end
  error("cannot compile " .. tostring(k), 0)
end

function M.scope_of_params(params)
  local map = {}
  for _, p in ipairs(params) do map[p.name] = p end
  return function(name)
    local p = map[name]
    if not p then error("unknown name " .. name, 0) end
    return p.cname, schema.letter(p)
  end
end

function M.compile(text, scope, ops, want)
  local code, ty = compile(parse(text), scope, ops, want)
  return coerce(code, ty, want, "the expression")
end

--- The scalars that follow the first n tensor parameters, as a C argument pair.
function M.scalar_pack(params, n)
  local t = {}
  for i = n + 1, #params do
    local p = params[i]
    local l = schema.letter(p)
    t[#t + 1] = l == "S" and p.cname or l == "D" and "mt_sd(" .. p.cname .. ")" or "mt_si(" .. p.cname .. ")"
  end
  if #t == 0 then return "NULL, 0" end
  return "(const Scalar[]){" .. table.concat(t, ", ") .. "}, " .. #t
end

-- ---- derivatives ----
-- rules: target (a parameter name, or several joined by commas for an op with as many results) -> expression.
function M.derivative(o, rules, ops)
  local index, save_arg, save_ret = {}, {}, {}
  for i, p in ipairs(o.params) do index[p.name] = i save_arg[i] = "0" end
  local retname = {}
  for i, r in ipairs(o.rets) do
    retname[r.name or ""] = i
    retname["result" .. (#o.rets > 1 and i - 1 or "")] = i
    save_ret[i] = "0"
  end
  local used = {}
  local function scope(name, shape_only)
    if name:match("^need:") then
      local i = index[name:sub(6)]
      if not i then error("need() of unknown parameter " .. name:sub(6), 0) end
      return "ag_needs(n, " .. i - 1 .. ")", "B"
    end
    local i = not name:match("^grad%d*$") and index[name]     -- grad is what arrives, also where a parameter has that name
    if i then
      local p = o.params[i]
      local l = schema.letter(p)
      if l == "T" or l == "L" then
        if shape_only then
          if save_arg[i] == "0" then save_arg[i] = "s" end
        else save_arg[i] = "1" end
      end
      used[i] = true
      return p.cname, l
    end
    local g = name:match("^grad(%d*)$")
    if g then
      if o.rets[(tonumber(g) or 0) + 1].type == "Tensor[]" then used["grads"] = true return "grads_list", "L" end
      used["g" .. (tonumber(g) or 0)] = true
      return "grad" .. g, "T"
    end
    local d = name:match("^defined(%d*)$")
    if d then return "(g[" .. (tonumber(d) or 0) .. "] != NULL)", "B" end
    if retname[name] then
      local r = retname[name]
      if shape_only then if save_ret[r] == "0" then save_ret[r] = "s" end else save_ret[r] = "1" end
      used["r" .. r] = true
      return "ret" .. r - 1, schema.letter(o.rets[r])
    end
    error("unknown name " .. name, 0)
  end
  local body, targets = {}, {}
  for t in pairs(rules) do targets[#targets + 1] = t end
  table.sort(targets)
  for _, t in ipairs(targets) do
    local names = {}
    for name in t:gmatch("[%w_]+") do
      if not index[name] then error("unknown parameter " .. name, 0) end
      names[#names + 1] = name
    end
    local ast = parse(rules[t])
    if #names == 1 then
      local i = index[names[1]]
      local want = schema.letter(o.params[i])
      local code, ty = compile(ast, scope, ops, want)
      if want == "L" then
        if ty ~= "L" then error("the derivative of a list must be a list of tensors", 0) end
        body[#body + 1] = ("  if (ag_needs(n, %d)) ag_put_list(c, n, %d, %s);\n"):format(i - 1, i - 1, code)
      else
        body[#body + 1] = ("  if (ag_needs(n, %d)) ag_put(c, n, %d, %s);\n"):format(i - 1, i - 1, coerce(code, ty, "T"))
      end
    else
      local fo = ast.k == "call" and ops[ast.v]
      if not fo or #fo.rets ~= #names then error("a joint derivative must be a call of an op with " .. #names .. " results", 0) end
      local needs, puts = {}, {}
      for j, name in ipairs(names) do
        local i = index[name]
        needs[j] = "ag_needs(n, " .. i - 1 .. ")"
        puts[j] = ("    if (ag_needs(n, %d)) %s(c, n, %d, r_[%d].%s);\n"):format(i - 1,
          fo.rets[j].type == "Tensor[]" and "ag_put_list" or "ag_put", i - 1, j - 1, schema.field(fo.rets[j]))
      end
      body[#body + 1] = ("  if (%s) {\n    Val r_[%d];\n    t_%s(%s, r_);\n%s  }\n"):format(table.concat(needs, " || "), #names,
        fo.cname, call_op(fo, ast, scope, ops), table.concat(puts))
    end
  end
  local head = { ("static void bw_%s(Ctx *c, AgNode *n, Tensor **g) {\n"):format(o.cname) }
  for i, p in ipairs(o.params) do
    if used[i] then
      local l = schema.letter(p)
      if l == "T" then head[#head + 1] = ("  Tensor *%s = ag_saved(c, n, %d);\n"):format(p.cname, i - 1)
      elseif l == "L" then head[#head + 1] = ("  TensorList %s = ag_saved_list(c, n, %d);\n"):format(p.cname, i - 1)
      else head[#head + 1] = ("  %s%s = n->args[%d].%s;\n"):format(schema.ctype(p), p.cname, i - 1, schema.field(p)) end
    end
  end
  for i in ipairs(o.rets) do
    if used["r" .. i] then
      local l = schema.letter(o.rets[i])
      if l == "T" then head[#head + 1] = ("  Tensor *ret%d = ag_saved_ret(c, n, %d);\n"):format(i - 1, i - 1)
      else error("a derivative uses a result that is no tensor", 0) end
    end
    if used["g" .. i - 1] then
      head[#head + 1] = ("  Tensor *grad%s = ag_grad(c, n, g, %d);\n"):format(#o.rets > 1 and i - 1 or "", i - 1)
    end
  end
  if used["grads"] then head[#head + 1] = "  TensorList grads_list = ag_grads(c, n, g);\n" end
  head[#head + 1] = "  if (mt_bad(c)) return;\n"
  local code = table.concat(head) .. table.concat(body) .. "}\n"
  return code, { args = '"' .. table.concat(save_arg) .. '"', rets = '"' .. table.concat(save_ret) .. '"', diff = "NULL" }
end

return M
