-- hints.lua: what to do about an error that a program met: one line under the message, for the mistakes that people
-- coming from PyTorch make. Each rule is a pattern of the message and a function of its captures.
--
-- A rule looks at the line and at values that a caller hands in; it runs none of the user's code.
local hints = {}

local PYTHON = {
  len = "#x counts (rows of a tensor, entries of a list)", str = "tostring(x)", int = "x // 1, math.tointeger(x)",
  float = "x + 0.0, tonumber(text)", bool = "x ~= 0", range = "for i = 0, n - 1 do ... end; as a tensor torch.arange(n)",
  isinstance = "type(x), torch.is_tensor(x), math.type(x)", enumerate = "for i, v in ipairs(list) do",
  zip = "for i = 1, #a do local x, y = a[i], b[i]", map = "a loop over ipairs(list)", filter = "a loop over ipairs(list)",
  list = "x:tolist(), or a table {}", dict = "a table {name = value}", tuple = "a table {}", set = "a table {[value] = true}",
  abs = "math.abs(x), x:abs()", max = "math.max(...), x:max()", min = "math.min(...), x:min()",
  sum = "x:sum()", round = "x:round(), math.floor(x + 0.5)", sorted = "table.sort(list), x:sort()",
  open = "io.open(path)", input = "io.read()", super = "Base.init(self, ...), Base.forward(self, x)",
  hasattr = "x.name ~= nil", getattr = "x[name]", setattr = "x[name] = value", repr = "tostring(x)",
  dir = "TAB completes; help(x) lists", exit = "os.exit()", np = "tensors take numpy's place", numpy = "tensors take numpy's place",
  any = "x:any()", all = "x:all()", id = "== compares identity", iter = "pairs, ipairs", next = "next(t)",
}

local DTYPES = { bool = 1, uint8 = 1, int8 = 1, int16 = 1, int32 = 1, int64 = 1, long = 1, int = 1, float = 1, double = 1,
  half = 1, float16 = 1, bfloat16 = 1, float32 = 1, float64 = 1, complex64 = 1, complex128 = 1 }

--- What stands before `:name` or `.name` on the line.
local function owner(line, name) return line:match("([%a_][%w_%.]*)%s*[%.:]%s*" .. name .. "%f[^%w_]") end

--- x.name( where x is an object: the call lacks its colon.
local function dotted(c, name)
  local who, args = c.line:match("([%a_][%w_]*)%.(" .. name .. "%s*%b())")
  if not who then return end
  local value = c.value(who)
  if type(value) == "userdata" then
    return ("a method is called with a colon: %s:%s"):format(who, args)
  end
end

local RULES = {
  { "^[%a_]+: index (%-?%d+) is out of bounds for dimension %d+ with size (%d+)", function(_, i, n)
    n = math.tointeger(tonumber(n))
    if n == 0 then return "the dimension is empty" end
    return ("indices begin at 0: 0 to %d, or -%d to -1 from the end%s"):format(n - 1, n,
      tonumber(i) == n and "; the last is " .. n - 1 or "")
  end },
  { "%(%w+ 'integer index'%)", function(c)
    if c.line:find("%[0%]") then return "lists of Lua begin at 1 (tensors and shapes at 0)" end
  end },
  { "field '%?'", function(c)
    if c.line:find("%[0%]") then return "lists of Lua begin at 1 (tensors and shapes at 0)" end
  end },
  { "^([%w_.]+): argument 'self' .*", function(c, name)
    return dotted(c, name:match("[%w_]+$"))
  end },
  { "^bad argument #1 to '([%w_]+)' %(Tensor expected", function(c, name)
    return dotted(c, name)
  end },
  { "attempt to index a nil value %(local 'self'%)", function(c)
    local who, rest = c.line:match("([%a_][%w_]*)%.([%a_][%w_]*%s*%b())")
    if who then return ("a method is called with a colon: %s:%s"):format(who, rest) end
  end },
  { "^attempt to call a torch%.Size value %(method '(%w+)'", function(c, name)
    return ("%s is an attribute: write %s.%s"):format(name, owner(c.line, name) or "x", name)
  end },
  { "^attempt to call a Tensor value %(method '(%w+)'", function(c, name)
    return ("%s is an attribute: write %s.%s"):format(name, owner(c.line, name) or "x", name)
  end },
  { "^attempt to call a nil value %(global '(f)'%)", function(c)
    if c.line:find("%f[%w_]f[\"']") then
      local said, text = require("repl.foreign").explain(c.line)
      return said, text
    end
  end },
  { "^attempt to call a nil value %(global '([%w_]+)'%)", function(_, name)
    if PYTHON[name] then return "instead of " .. name .. ": " .. PYTHON[name] end
  end },
  { "^attempt to index a nil value %(global 'np'%)", function()
    return "tensors take numpy's place"
  end },
  { "^attempt to index a nil value %(global 'numpy'%)", function()
    return "tensors take numpy's place"
  end },
  { "^attempt to index a nil value %(global 'self'%)", function()
    return "self exists inside methods: function Net:forward(x) ... end"
  end },
  { "^Tensor has no method or attribute '([%w_]+)'", function(c, name)
    if name == "numpy" then
      return "there is no numpy here: x:tolist() gives Lua lists, torch.save(x, 'x.npy') a file"
    end
    if name == "cuda" or name == "cpu" then
      return "tensors live on the CPU here; leave the call out"
    end
    if name == "values" or name == "indices" then
      local call = c.line:match("([%a_][%w_]*:[%a_][%w_]*%b())%s*[%.:]%s*" .. name)
      return "several results come as several values: local values, indices = " .. (call or "x:max(1)")
    end
    if name == "len" then return "#x is the size of dimension 0" end
    if name == "astype" then return "x:to(torch.float64), or x:double()" end
    if name == "append" or name == "extend" then
      return "tensors do not grow: torch.cat({a, b}, 0)"
    end
  end },
  { "^to: expected a dtype.*got string", function(c)
    if c.line:find("cuda") or c.line:find("mps") then
      return "tensors live on the CPU here; leave the call out"
    end
    local name = c.line:match("[\"']([%w]+)[\"']")
    if DTYPES[name] then return "a dtype is no string: torch." .. name end
  end },
  { "argument 'dtype' must be a dtype.*got the string '([%w_.]+)'", function(_, name)
    name = name:gsub("^torch%.", "")
    if DTYPES[name] then return "a dtype is no string: {dtype = torch." .. name .. "}" end
  end },
  { "argument 'dtype' must be a dtype.*got a? ?%S* ?function", function()
    return "a dtype is torch.float32, torch.int64, ..."
  end },
  { "^matmul: mat1 and mat2 shapes cannot be multiplied %((%d+)x(%d+) and (%d+)x(%d+)%)", function(_, a, b, m, n)
    local hint = ("the first's last dimension (%s) must equal the second's first (%s)"):format(b, m)
    if b == n then hint = hint .. "; the second transposed would fit: .T"
    elseif a == m then hint = hint .. "; the first transposed would fit: .T" end
    return hint
  end },
  { "^matmul: shapes %[.-(%d+)%] and %[(.-)%] cannot be multiplied", function(_, last, shape)
    local dims = {}
    for d in shape:gmatch("%d+") do dims[#dims + 1] = d end
    return ("the first's last dimension (%s) must equal the second's last but one (%s)"):format(last, dims[#dims - 1]
      or dims[1] or "none")
  end },
  { "^m?m?b?m?m?: expected two (%d)%-dimensional tensors", function(_, n)
    return n == "3" and "bmm takes batches [b, n, m] and [b, m, p]; x:matmul(y) takes any" or
      "mm takes matrices; x:matmul(y) takes vectors and batches too"
  end },
  { "the sizes %[[%d, ]*%] and %[[%d, ]*%] cannot be broadcast", function()
    return "sizes are compared from the last dimension: equal, or one of them 1 (x:unsqueeze(-1) adds a 1)"
  end },
  { "linear: expects .-weight of shape %[(%d+), (%d+)%]", function(_, out, n)
    return ("Linear(%s, %s) expects [*, %s]"):format(n, out, n)
  end },
  { "conv(%d)d: weight of shape %[%d+, (%d+).-%] and (%d+) groups do not fit input of shape %[(.-)%]",
    function(_, dims, c, groups, shape)
      return ("the layer expects %d channels, as [N, %d%s]; the input is [%s]"):format(c * groups, c * groups,
        dims == "1" and ", L" or dims == "2" and ", H, W" or ", D, H, W", shape)
    end },
  { "^cross_entropy: target of shape %[%d+%] %(float", function()
    return "class numbers are int64: target:long(); probabilities have the input's shape"
  end },
  { "^cross_entropy: [Tt]arget (%-?%d+) is out of bounds %((%d+) classes%)", function(_, i, n)
    return ("classes are numbered from 0 to %d%s"):format(n - 1, i == n and " (yours seem to begin at 1)" or "")
  end },
  { "^embedding: index (%-?%d+) is out of range for (%d+)", function(_, i, n)
    return ("rows are numbered from 0 to %d%s"):format(n - 1, i == n and " (yours seem to begin at 1)" or "")
  end },
  { "input must be an int64 tensor, got float", function()
    return "indices are int64: x:long()"
  end },
  { "dtype must be floating point or complex, got (%w+)", function(_, dtype)
    return "x:float() makes it float32" .. (dtype == "bool" and "" or "; {dtype = torch.float32} computes in it")
  end },
  { "result type (%w+) can't be cast to the desired output type (%w+)", function(c)
    local name, method = c.line:match("([%a_][%w_]*):([%a_][%w_]*)_%(")
    if name then
      return ("in place the dtype stays; %s = %s:%s(...) makes a new tensor, %s:float() converts first"):format(name,
        name, method, name)
    end
    return "in place the dtype stays; the call without _ makes a new tensor"
  end },
  { "does not require grad and does not have a grad_fn", function()
    return "some input needs x:requires_grad_() before the loss is computed"
  end },
  { "grad can be implicitly created only for scalar", function()
    return "reduce it first: x:sum():backward(), or pass a gradient"
  end },
  { "a leaf .* requires grad .*in%-?place", function()
    return "inside torch.no_grad(function() ... end) it is allowed"
  end },
  { "^only tensors of floating point or complex dtype can require", function()
    return "x:float():requires_grad_()"
  end },
  { "^a tensor of %d+ elements cannot be ordered", function(c)
    local a, op, b = c.line:match("([%a_][%w_%.]*)%s*([<>]=?)%s*([%w_%.]+)")
    if not a then return end
    local name = ({ ["<"] = "lt", ["<="] = "le", [">"] = "gt", [">="] = "ge" })[op]
    return ("x:%s(y) compares element by element; in a condition add :any() or :all()"):format(name), c.line:find("if", 1, true)
      and ("if %s:%s(%s):all() then ..."):format(a, name, b) or nil
  end },
  { "^a tensor with %d+ elements cannot be converted to a number", function()
    return "x:tolist() gives all of them; reduce (x:sum(), x:mean()) or index first"
  end },
  { "for iterator 'for iterator'", function(c)
    local names, what = c.line:match("for%s+(.-)%s+in%s+(.-)%s+do")
    if not names then return end
    local value = c.value(what:match("^[%a_][%w_]*$") or "")
    if c.is_tensor(value) then
      return ("rows of a tensor: for i = 0, #%s - 1 do local row = %s[i] ... end"):format(what, what)
    end
    if type(value) == "table" then
      return ("a table is walked by pairs(%s) or ipairs(%s)"):format(what, what)
    end
    if type(value) == "userdata" then return ("a loader is walked by %s:iter()"):format(what) end
  end },
  { "cannot be indexed with a number", function(c)
    if c.line:find("ipairs") then
      return "modules are walked by m:children() (a list) or m:named_children()"
    end
  end },
  { "params must be a list of tensors.*got", function(c)
    local who = c.line:match("%(%s*([%a_][%w_]*)%s*[,)]")
    local value = who and c.value(who)
    if type(value) == "userdata" and not c.is_tensor(value) then
      return "pass its parameters: " .. who .. ":parameters()"
    end
    if c.is_tensor(value) then return "pass a list: {" .. who .. "}" end
  end },
  { "^([%w_.]+): argument '[%w_]+' must be a list of tensors, got a Tensor", function(_, name)
    return ("tensors go into a list: torch.%s({a, b}, dim)"):format(name)
  end },
  { "^einsum: argument '%w+' .* is missing", function(c)
    if c.line:find("einsum%(%s*[%a_]") then
      return 'the equation comes first: torch.einsum("ij,jk", x, y)'
    end
  end },
  { "must be a Tensor, got a table", function()
    return "a tensor is made from a list by torch.tensor({...})"
  end },
  { "^tensor: keywords must be a table", function()
    return "one value or list: torch.tensor({1, 2, 3})"
  end },
  { "^tensor: expected a list of length (%d+) at dim (%d+), got (%d+)", function(_, n, d, m)
    return ("all lists of dimension %s must have equal length: one has %s entries, another %s"):format(d, n, m)
  end },
  { "shape (%[.-%]) is invalid for a tensor of (%d+) elements", function(_, shape, n)
    local product, unknown = 1, false
    for d in shape:gmatch("%-?%d+") do
      if d == "-1" then unknown = true else product = product * math.tointeger(tonumber(d)) end
    end
    if unknown then return ("%s elements cannot be split into parts of %d"):format(n, product) end
    return ("%s asks for %d elements, the tensor has %s; -1 lets one dimension follow"):format(shape, product, n)
  end },
  { "^attempt to concatenate a (%w+) value", function(_, what)
    if what == "Tensor" or what == "userdata" then
      return "text needs tostring(x), or x:item(); tensors are joined by torch.cat({a, b})"
    end
    if what == "table" then return "tables are joined in a loop, texts by table.concat" end
  end },
  { "^attempt to perform arithmetic on a string value", function(c)
    if c.line:find("%%") then return 'text is filled in by ("..."):format(a, b), joined by ..' end
  end },
  { "^attempt to add a 'string'", function() return "texts are joined by .." end },
  { "^attempt to perform arithmetic on a table value", function(c)
    if c.line:find("%*") then
      return "a list does not repeat; tensors compute: torch.tensor(list)"
    end
    return "lists do not compute; tensors do: torch.tensor(list)"
  end },
  { "^module '([%w_.]+)' not found", function(_, name)
    if PYTHON[name] then return PYTHON[name] end
  end },
  { "^attempt to compare (%w+) with (%w+)", function(_, a, b)
    if a ~= b then return ("tonumber(text) makes a number; nil has no order") end
  end },
}

--- report has message and line; look.value(name), look.is_tensor(v). Returns a hint and a rewritten line, or nil.
function hints.of(report, look)
  local c = { line = report.line, value = look.value, is_tensor = look.is_tensor }
  for _, rule in ipairs(RULES) do
    local message = report.message:gsub("^in [^:\n]*: ", "", 1)
    local found = table.pack(message:match(rule[1]))
    if found.n > 0 and found[1] then
      local hint, text = rule[2](c, table.unpack(found))
      if hint and hint ~= "" then return hint, text end
    end
  end
end

--- "x is nil (no variable of that name)" for a name on the line without value: a variable never set, a word of Python.
function hints.missing(line, known, near)
  local units = require "repl.units"
  local before, called
  local list = {}
  for kind, token, from in units.tokens(line) do
    if (kind == 5 or kind == 7) and before ~= "." and before ~= ":" and before ~= "local" and before ~= "function" and before ~= "for"
      and not known(token) and not list[token] then
      called = line:match("^%s*=[^=]", from + #token)
      if not called then
        list[token] = true
        list[#list + 1] = token
      end
    end
    before = token
  end
  local out = {}
  for i = 1, math.min(#list, 3) do
    local name = list[i]
    local meant = near(name)
    out[i] = name .. " has no value" .. (meant and " (did you mean '" .. meant .. "'?)" or "")
  end
  return #out > 0 and table.concat(out, "; ") or nil
end

return hints
