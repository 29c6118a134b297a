"""Writes the converter's tables of facts from installed packages and the measured coverage file.

usage: make_tables.py map COVERAGE_TSV           -> api.txt     (torch name -> mindspore name)
       make_tables.py names VERSION OUT          -> names_VERSION.txt from the mindspore importable here (public names, signatures)
       make_tables.py delta BASE_TABLE TABLE    -> TABLE rewritten as its difference from BASE_TABLE
       make_tables.py package NAME ROOT OUT      -> the names each module of a package binds at top level
Format of the name tables: sorted lines; each line is a base-36 digit pair (bytes shared with the line before) and the rest.
"""
import ast
import csv
import inspect
import os
import sys

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def front_code(lines):
    out, last = [], ""
    for line in lines:
        n = 0
        while n < min(len(line), len(last), 1295) and line[n] == last[n]:
            n += 1
        out.append(DIGITS[n // 36] + DIGITS[n % 36] + line[n:])
        last = line
    return "\n".join(out) + "\n"


def make_map(path):
    rows = list(csv.reader(open(path), delimiter="\t"))[1:]
    out = []
    for r in rows:
        if r[1] == "method" or not r[3]:
            continue
        out.append(f"{r[0][6:]} {r[3].split(';')[0]}")
    print("# torch.<name> mindspore.<name>: the first choice of the measured coverage; rules override")
    print("\n".join(sorted(out)))


def public(module):
    return [n for n in dir(module) if not n.startswith("_")]


def signature(obj):
    try:
        return str(inspect.signature(obj)).split(" ->")[0]
    except (TypeError, ValueError):
        return ""


def short(sig):
    """(input, dim=None, *, dtype=None) with defaults kept when they are literals."""
    return sig if len(sig) < 400 and " object at " not in sig and "<" not in sig else ""


def make_names(version, out):
    import importlib

    import mindspore

    lines = {}

    def add_module(path, sigs, members=()):
        try:
            m = importlib.import_module(path)
        except ImportError:
            m = mindspore
            for part in path.split(".")[1:]:
                m = getattr(m, part, None)
            if m is None:
                return
        lines[path] = ""
        for n in public(m):
            try:
                obj = getattr(m, n)
            except Exception:
                continue
            if inspect.ismodule(obj) and not obj.__name__.startswith("mindspore"):
                continue
            sig = ""
            if sigs and inspect.isclass(obj):
                sig = short(signature(obj.__init__)).replace("(self, ", "(").replace("(self)", "()")
            elif sigs and callable(obj):
                sig = short(signature(obj))
            lines[f"{path}.{n}"] = sig
            if n in members and inspect.isclass(obj):
                for a in dir(obj):
                    if not a.startswith("__"):
                        lines[f"{path}.{n}.{a}"] = ""

    add_module("mindspore", True, ("Tensor", "Parameter"))
    for p in ("mint", "mint.nn", "mint.nn.functional", "mint.optim", "mint.linalg", "mint.special", "mint.distributed", "ops", "nn"):
        add_module("mindspore." + p, True, ("Cell",))
    for p in ("amp", "common", "common.initializer", "common.api", "common.dtype", "common.parameter", "common.tensor", "communication",
              "context", "dataset", "dataset.vision", "dataset.transforms", "dataset.text", "dataset.audio", "experimental",
              "nn.probability", "nn.probability.distribution", "numpy", "ops.operations", "ops.functional", "ops.function",
              "ops.auto_generate", "parallel", "runtime", "train", "train.callback", "utils", "log", "scipy", "boost", "hal",
              "profiler", "rewrite", "experimental.optim", "experimental.optim.lr_scheduler", "device_context", "mint.optim"):
        add_module("mindspore." + p, False)
    body = front_code(sorted(k + v for k, v in lines.items()))
    with open(out, "w") as f:
        f.write(f"mindspore {version}\n" + body)


def front_decode(text):
    out, last = [], ""
    for row in text.split("\n")[1:]:
        if row:
            last = last[: DIGITS.index(row[0]) * 36 + DIGITS.index(row[1])] + row[2:]
            out.append(last)
    return out


def make_delta(base, path):
    """The first line names the base; "-name" lines are not in this version, "+name(...)" only in it or with this signature."""
    old, new = open(base).read(), open(path).read()
    a, b = set(front_decode(old)), set(front_decode(new))
    names = lambda rows: {r.split("(")[0] for r in rows}
    lines = ["-" + n for n in names(a) - names(b)] + ["+" + r for r in b - a]
    with open(path, "w") as f:
        f.write(new.split("\n")[0] + " base " + old.split("\n")[0].split()[1] + "\n" + front_code(sorted(lines)))


def bound(tree, reexports):
    """Names a module binds at top level; imported ones only where the module is a package's front."""
    stars = []
    top = set()

    def body(stmts):
        for st in stmts:
            if isinstance(st, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
                top.add(st.name)
            elif isinstance(st, ast.Import) and reexports:
                top.update((a.asname or a.name).split(".")[0] for a in st.names)
            elif isinstance(st, ast.ImportFrom):
                for a in st.names:
                    if a.name == "*":
                        stars.append((st.level, st.module or ""))
                    elif reexports:
                        top.add(a.asname or a.name)
            elif isinstance(st, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
                for n in ast.walk(st):
                    if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store):
                        top.add(n.id)
            elif isinstance(st, (ast.If, ast.Try, ast.With)):
                body(st.body)
                body(getattr(st, "orelse", []))
                for h in getattr(st, "handlers", []):
                    body(h.body)

    body(tree.body)
    return top, stars


def make_package(name, root, out):
    modules = {}
    for folder, _, files in os.walk(root):
        for f in sorted(files):
            if f.endswith(".py"):
                path = os.path.relpath(os.path.join(folder, f), os.path.dirname(root))[:-3].replace(os.sep, ".")
                is_package = path.endswith(".__init__")
                path = path.removesuffix(".__init__")
                modules[path] = (is_package, *bound(ast.parse(open(os.path.join(folder, f), encoding="utf-8").read()), is_package or f in ("generic.py", "import_utils.py")))
    def expand(path, seen):
        if path not in modules or path in seen:
            return set()
        is_package, top, stars = modules[path]
        names = set(top)
        for level, module in stars:
            base = path.split(".")
            if level:
                base = base[: len(base) - level + (1 if is_package else 0)]
                target = ".".join(base + ([module] if module else []))
            else:
                target = module
            names |= expand(target, seen | {path})
        return names

    lines = []
    for path in modules:
        lines.append(path)
        lines += [f"{path}:{n}" for n in expand(path, set()) if not n.startswith("__")]
    with open(out, "w") as f:
        f.write(f"package {name}\n" + front_code(sorted(lines)))


if __name__ == "__main__":
    kind = sys.argv[1]
    if kind == "map":
        make_map(sys.argv[2])
    elif kind == "delta":
        make_delta(sys.argv[2], sys.argv[3])
    elif kind == "names":
        make_names(sys.argv[2], sys.argv[3])
    else:
        make_package(sys.argv[2], sys.argv[3], sys.argv[4])
