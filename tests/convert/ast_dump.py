"""Writes CPython's ast of each file in the form of stdlib/convert/python/dump.lua, to compare the two parsers.

usage: ast_dump.py LUA_COMMAND ROOT...
       ast_dump.py --record FILE.py        writes FILE.dump, the golden of the test
needs Python 3.12 or later (positions inside f-strings)
Runs `LUA_COMMAND tests/convert/dump_files.lua LIST OUT` once and reports the files that differ. Not part of `make test`.
"""
import ast
import os
import subprocess
import sys
import tempfile
import tokenize

FIELDS = {
    "FunctionDef": "args body decorator_list returns type_params", "AsyncFunctionDef": "args body decorator_list returns type_params",
    "ClassDef": "bases keywords body decorator_list type_params", "Dict": "keys values", "Call": "func args keywords",
    "Try": "body handlers orelse finalbody", "TryStar": "body handlers orelse finalbody", "With": "items body", "AsyncWith": "items body",
    "DictComp": "key value generators", "MatchClass": "cls patterns kwd_patterns",
}
RENAME = {"posonlyargs": "posonly", "args": "normal", "vararg": "vararg", "kwonlyargs": "kwonly", "kwarg": "kwarg"}
OPS = {
    "Add": "+", "Sub": "-", "Mult": "*", "Div": "/", "FloorDiv": "//", "Mod": "%", "Pow": "**", "LShift": "<<", "RShift": ">>", "BitOr": "|",
    "BitXor": "^", "BitAnd": "&", "MatMult": "@", "And": "and", "Or": "or", "Not": "not", "Invert": "~", "UAdd": "+", "USub": "-",
    "Eq": "==", "NotEq": "!=", "Lt": "<", "LtE": "<=", "Gt": ">", "GtE": ">=", "Is": "is", "IsNot": "is not", "In": "in", "NotIn": "not in",
}


def dump(text):
    data = text.encode()
    tree = ast.parse(data)
    starts = [0]
    for i, c in enumerate(data):
        if c == 10:
            starts.append(i + 1)
    out = []

    def at(n):
        return f"{starts[n.lineno - 1] + n.col_offset}:{starts[n.end_lineno - 1] + n.end_col_offset}"

    def label(n, kind):
        parts = []
        for name in ("id", "attr", "arg", "op", "name", "asname", "module", "level", "conversion", "rest"):
            v = getattr(n, name, None)
            if name == "op" and v is not None:
                v = OPS[type(v).__name__]
            elif name == "conversion" and isinstance(v, int):
                v = None if v == -1 or getattr(n, "_debug", False) else chr(v)
            if isinstance(v, (str, int)) and v != "":
                parts.append(f"{name}={v}")
        if kind == "Compare":
            parts.append("ops=" + ",".join(OPS[type(o).__name__] for o in n.ops))
        if kind in ("Global", "Nonlocal"):
            parts.append("names=" + ",".join(n.names))
        if kind == "Constant":
            v = n.value
            parts.append("str" if isinstance(v, str) else "bytes" if isinstance(v, bytes) else "bool" if isinstance(v, bool)
                         else "None" if v is None else "Ellipsis" if v is ... else "num")
        if kind == "arg":
            parts.append(n._group)
        if kind == "MatchClass":
            parts.append("kwd=" + ",".join(n.kwd_attrs))
        return " ".join(parts)

    def visit(n, depth):
        kind = type(n).__name__
        if kind in ("Load", "Store", "Del", "Interactive") or isinstance(n, (ast.operator, ast.unaryop, ast.boolop, ast.cmpop)):
            return
        place = "-" if kind in ("Module", "arguments", "comprehension", "withitem", "match_case") else at(n)
        out.append(f"{depth} {kind} {place} {label(n, kind)}")
        if kind == "arguments":
            pos = n.posonlyargs + n.args
            defaults = [None] * (len(pos) - len(n.defaults)) + n.defaults
            items = [(a, d, "posonly" if i < len(n.posonlyargs) else "normal") for i, (a, d) in enumerate(zip(pos, defaults))]
            if n.vararg:
                items.append((n.vararg, None, "vararg"))
            items += [(a, d, "kwonly") for a, d in zip(n.kwonlyargs, n.kw_defaults)]
            if n.kwarg:
                items.append((n.kwarg, None, "kwarg"))
            for a, d, g in items:
                a._group, a._default = g, d
                visit(a, depth + 1)
            return
        names = FIELDS.get(kind)
        for name in names.split() if names else n._fields:
            v = getattr(n, name, None)
            if kind == "JoinedStr":
                v = [x for x in v if isinstance(x, ast.FormattedValue)]
            if isinstance(v, ast.AST):
                if name == "format_spec" and not [x for x in v.values]:
                    pass
                visit(v, depth + 1)
            elif isinstance(v, list):
                for x in v:
                    if isinstance(x, ast.AST):
                        visit(x, depth + 1)
        if kind == "arg" and n._default is not None:
            visit(n._default, depth + 1)

    visit(tree, 0)
    return "\n".join(out) + "\n"


def main():
    lua, roots = sys.argv[1], sys.argv[2:]
    if lua == "--record":
        with open(roots[0], encoding="utf-8") as f:
            text = dump(f.read())
        with open(roots[0].removesuffix(".py") + ".dump", "w", encoding="utf-8") as f:
            f.write(text)
        return
    files = []
    for root in roots:
        if os.path.isfile(root):
            files.append(root)
        for folder, _, names in os.walk(root):
            files += [os.path.join(folder, f) for f in sorted(names) if f.endswith(".py")]
    with tempfile.TemporaryDirectory() as tmp:
        with open(os.path.join(tmp, "list"), "w") as f:
            f.write("\n".join(files) + "\n")
        subprocess.run([*lua.split(), os.path.join(os.path.dirname(__file__), "dump_files.lua"), os.path.join(tmp, "list"), tmp], check=True)
        same = differ = both_fail = 0
        for i, path in enumerate(files, 1):
            with open(os.path.join(tmp, f"{i}.txt"), errors="surrogateescape") as f:
                ours = f.read()
            try:
                with open(path, "rb") as f:
                    enc, _ = tokenize.detect_encoding(f.readline)
                with open(path, encoding=enc, newline="") as f:
                    text = f.read()
                if enc not in ("utf-8", "utf-8-sig") or "\r" in text or text.startswith("\ufeff"):
                    ast.parse(open(path, "rb").read())
                    theirs = ours if not ours.startswith("ERROR") else ""
                else:
                    theirs = dump(text)
            except (SyntaxError, ValueError, UnicodeDecodeError) as err:
                theirs = f"ERROR {err}"
            if ours == theirs:
                same += 1
            elif ours.startswith("ERROR") and theirs.startswith("ERROR"):
                both_fail += 1
            else:
                differ += 1
                a, b = ours.split("\n"), theirs.split("\n")
                at = next((k for k, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)) - 1)
                if differ <= 20:
                    print("DIFF", path, "\n  ours  ", a[at][:150], "\n  theirs", b[at][:150])
        print(f"{same} same, {both_fail} refused by both, {differ} differ")
        sys.exit(differ > 0)


sys.setrecursionlimit(20000)
main()
