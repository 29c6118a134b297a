-- fields.lua: which fields of each kind of node hold nodes or lists of nodes, in the order of CPython's ast.
-- One list: the dump, the walk of scopes and the rule engine all read it, so that no pass can forget a child.
local fields = {}

for kind, names in pairs {
  Module = "body", FunctionDef = "args body decorators returns type_params",
    ClassDef = "bases keywords body decorators type_params",
  Return = "value", Delete = "targets", Assign = "targets value", TypeAlias = "name type_params value",
  AugAssign = "target value", AnnAssign = "target annotation value", For = "target iter body orelse",
  While = "test body orelse", If = "test body orelse", With = "items body", Match = "subject cases",
    Raise = "exc cause",
  Try = "body handlers orelse finalbody", Assert = "test msg", Import = "names", ImportFrom = "names", Expr = "value",
  Global = "", Nonlocal = "", Pass = "", Break = "", Continue = "",
  BoolOp = "values", NamedExpr = "target value", BinOp = "left right", UnaryOp = "operand", Lambda = "args body",
  IfExp = "test body orelse", Dict = "keys values", Set = "elts", ListComp = "elt generators",
    SetComp = "elt generators",
  DictComp = "key value generators", GeneratorExp = "elt generators", Await = "value", Yield = "value",
    YieldFrom = "value",
  Compare = "left comparators", Call = "func args keywords", FormattedValue = "value spec", JoinedStr = "values",
    Constant = "",
  Attribute = "value", Subscript = "value slice", Starred = "value", Name = "", List = "elts", Tuple = "elts",
  Slice = "lower upper step", comprehension = "target iter ifs", ExceptHandler = "type body", arguments = "list",
  arg = "annotation default", keyword = "value", alias = "", withitem = "expr vars", match_case = "pattern guard body",
  MatchValue = "value", MatchSingleton = "", MatchSequence = "patterns", MatchMapping = "keys patterns",
  MatchClass = "cls patterns kwd_patterns", MatchStar = "", MatchAs = "pattern", MatchOr = "patterns",
  TypeVar = "bound default", TypeVarTuple = "default", ParamSpec = "default",
} do
  local list = {}
  for name in names:gmatch("%S+") do list[#list + 1] = name end
  fields[kind] = list
end
fields.AsyncFunctionDef, fields.AsyncFor, fields.AsyncWith, fields.TryStar = fields.FunctionDef, fields.For,
  fields.With, fields.Try

return fields
