#!/usr/bin/env python3
"""Records golden cases from PyTorch's own sample database (op_db, module_db, optim_db of torch.testing._internal)
into DIR, one pair NAME.jsonl + NAME.safetensors per op, in the format that tests/parity replays.

usage: record.py DIR [--ops REGEX] [--scope FILE] [--seed N] [--cap N] [--dtypes a,b,..] [--part ops|modules|optimizers|all]

A record is what one call gave: arguments by storage, shape and stride; the result's values, view facts and gradients;
or the error.  Tolerances are torch.testing's defaults, widened to 8 times PyTorch's own deviation from the same call
in float64.  What cannot be written down (generators, devices, sparse layouts, functions) is left out.
"""
import argparse, json, math, operator, os, random, re, sys, warnings
import torch
from safetensors.torch import save_file

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
COMPLEX = (torch.complex64, torch.complex128)
DTYPES = FLOATS + COMPLEX + (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)
GRAD = (torch.float32, torch.float64) + COMPLEX
TOL = {torch.float16: (2e-3, 1e-3), torch.bfloat16: (1.6e-2, 1e-3), torch.float32: (1.3e-6, 1e-5),
       torch.complex64: (1.3e-6, 1e-5), torch.float64: (1e-7, 1e-7), torch.complex128: (1e-7, 1e-7)}
GRAD_TOL = {torch.float32: (1e-4, 2e-5), torch.complex64: (1e-4, 2e-5),
            torch.float64: (1e-6, 1e-8), torch.complex128: (1e-6, 1e-8)}
UP = {torch.float32: torch.float64, torch.float16: torch.float64, torch.bfloat16: torch.float64,
      torch.complex64: torch.complex128}
UNINITIALISED = re.compile(r"(new_)?empty(_like|_strided|_permuted)?|new_empty_strided|resize_")
SIGNS = {"linalg.qr": (0, 1), "linalg.svd": (0, 2), "linalg.eigh": (1,)}     # outputs whose signs are free
TIES = {"sort": 1, "msort": None, "argsort": 0, "topk": 1, "median": 1, "nanmedian": 1, "kthvalue": 1, "mode": 1}
MAX_NUMEL = 20000


class Unwritable(Exception):
    """The value has no place in the format."""


def name_of(dtype):
    return str(dtype)[6:]


def is_tensor(v):
    return isinstance(v, torch.Tensor)


def map_tensors(v, f):
    if is_tensor(v): return f(v)
    if isinstance(v, (list, tuple)) and not isinstance(v, torch.Size):
        items = [map_tensors(x, f) for x in v]
        return tuple(items) if isinstance(v, tuple) else items
    if isinstance(v, dict): return {k: map_tensors(x, f) for k, x in v.items()}
    return v


def leaves(v, path, out):
    """Depth-first (path, tensor) pairs."""
    if is_tensor(v): out.append((path, v))
    elif isinstance(v, (list, tuple)):
        for i, x in enumerate(v): leaves(x, f"{path}.{i}", out)
    elif isinstance(v, dict):
        for k, x in v.items(): leaves(x, f"{path}.{k}", out)
    return out


def tensors(v):
    return [t for _, t in leaves(v, "", [])]


def plain(t):
    return t.detach().resolve_conj().resolve_neg()


def storage_of(t):
    """The whole storage of t as a flat tensor."""
    s = t.untyped_storage()
    return torch.empty(0, dtype=t.dtype).set_(s, 0, (s.nbytes() // t.element_size(),), (1,))


class Pair:
    """One .jsonl and the .safetensors beside it; equal data are kept once."""
    def __init__(self, base):
        self.base, self.data, self.known, self.lines = base, {}, {}, []

    def keep(self, t):
        t = torch.view_as_real(t) if t.is_complex() else t
        t = t.reshape(-1).clone(memory_format=torch.contiguous_format)
        mark = (t.dtype, t.numel(), t.view(torch.uint8).numpy().tobytes() if t.numel() else b"")
        if mark not in self.known:
            self.known[mark] = f"t{len(self.data)}"
            self.data[self.known[mark]] = t
        return self.known[mark]

    def add(self, rec):
        self.lines.append(json.dumps(rec, separators=(",", ":"), allow_nan=False))

    def write(self):
        if not self.lines: return
        os.makedirs(os.path.dirname(self.base), exist_ok=True)
        with open(self.base + ".jsonl", "w") as f: f.writelines(x + "\n" for x in self.lines)
        save_file(self.data, self.base + ".safetensors")


# ---- arguments -------------------------------------------------------------------------------------------------

def number(x):
    x = float(x)
    return "nan" if x != x else ("inf" if x > 0 else "-inf") if math.isinf(x) else x


def callable_name(f):
    for space, prefix in ((torch.nn.functional, "torch.nn.functional."), (torch, "torch.")):
        name = getattr(f, "__name__", "")
        if getattr(space, name, None) is f: return prefix + name
    raise Unwritable(f)


class Arguments:
    """Writes the arguments of one record; tensors that share a storage get a storage_id when shared says so."""
    def __init__(self, pair, values, grad):
        self.pair, self.grad = pair, grad
        owners = {}
        for t in tensors(values): owners.setdefault(t.untyped_storage()._cdata, []).append(t)
        shared = [k for k, ts in owners.items() if len(ts) > 1 and ts[0].untyped_storage().nbytes()]
        self.ids = {k: i for i, k in enumerate(shared)}

    def tensor(self, t):
        if t.device.type != "cpu" or t.layout != torch.strided or t.dtype not in DTYPES or t.is_quantized:
            raise Unwritable(t.dtype)
        if t.is_conj() or t.is_neg(): raise Unwritable("lazy bit")
        full = storage_of(t.detach())
        if full.numel() > 8 * MAX_NUMEL: raise Unwritable("large")
        r = {"tensor": self.pair.keep(full), "dtype": name_of(t.dtype), "shape": list(t.shape)}
        if not t.is_contiguous() or list(t.stride()) != contiguous_stride(t.shape): r["stride"] = list(t.stride())
        if t.storage_offset(): r["storage_offset"] = t.storage_offset()
        if t.requires_grad and self.grad: r["requires_grad"] = True
        key = t.untyped_storage()._cdata
        if key in self.ids: r["storage_id"] = self.ids[key]
        return r

    def value(self, v):
        if v is None or isinstance(v, (bool, str)): return v
        if isinstance(v, int): return v if abs(v) < 2 ** 53 else {"int": str(v)}
        if isinstance(v, float): return {"float": number(v)}
        if isinstance(v, complex): return {"complex": [number(v.real), number(v.imag)]}
        if isinstance(v, torch.dtype): return {"dtype": name_of(v)}
        if isinstance(v, torch.memory_format): return {"memory_format": name_of(v)}
        if isinstance(v, torch.layout): return {"layout": name_of(v)}
        if isinstance(v, torch.device): return {"device": str(v)}
        if isinstance(v, slice): return {"slice": [self.value(x) for x in (v.start, v.stop, v.step)]}
        if v is Ellipsis: return {"ellipsis": True}
        if is_tensor(v): return self.tensor(v)
        if isinstance(v, tuple): return {"tuple": [self.value(x) for x in v]}
        if isinstance(v, list): return [self.value(x) for x in v]
        if callable(v) and not isinstance(v, type): return {"callable": callable_name(v)}
        raise Unwritable(type(v))


def contiguous_stride(shape):
    out, acc = [], 1
    for n in reversed(shape):
        out.append(acc)
        acc *= max(n, 1)
    return out[::-1]


# ---- results ---------------------------------------------------------------------------------------------------

class Results:
    """Writes what a call gave.  inputs: (path, tensor) pairs whose storages a view may share."""
    def __init__(self, pair, inputs=(), grad=False, views=True, checks=None):
        self.pair, self.inputs, self.grad, self.views, self.checks = pair, inputs, grad, views, checks or {}

    def view(self, t, r):
        for path, src in self.inputs:
            if src.numel() and t.untyped_storage()._cdata == src.untyped_storage()._cdata:
                r.update(is_view=True, view_of=path, stride=list(t.stride()), storage_offset=t.storage_offset())
                if t is src: r["same_object"] = True
                return True

    def tensor(self, t, where):
        if t.layout != torch.strided or t.dtype not in DTYPES or t.numel() > 4 * MAX_NUMEL: raise Unwritable(t.dtype)
        r = {"dtype": name_of(t.dtype), "shape": list(t.shape)}
        check = self.checks.get(where) or self.checks.get("*")
        if check: r.update(check)
        if r.get("check") != "meta": r["tensor"] = self.pair.keep(plain(t))
        if self.views and not self.view(t, r) and t.numel() and not t.is_contiguous(): r["stride"] = list(t.stride())
        if self.grad and (t.is_floating_point() or t.is_complex()): r["requires_grad"] = t.requires_grad
        return r

    def value(self, v, where="out"):
        if is_tensor(v): return self.tensor(v, where)
        if isinstance(v, tuple):
            r = {"tuple": [self.value(x, f"{where}.{i}") for i, x in enumerate(v)]}
            names = getattr(v, "_fields", None) or [n for n in ("values", "indices", "Q", "R", "U", "S", "Vh", "eigenvalues",
                "eigenvectors", "LU", "pivots", "P", "L", "sign", "logabsdet", "mantissa", "exponent", "min", "max",
                "result", "inverse", "info") if not isinstance(v, torch.Size) and type(v) is not tuple and hasattr(v, n)
                and is_tensor(getattr(v, n))]
            if names and len(names) == len(v): r["names"] = list(names)
            return r
        if isinstance(v, list): return [self.value(x, f"{where}.{i}") for i, x in enumerate(v)]
        return Arguments(self.pair, (), False).value(v)


# ---- tolerances ------------------------------------------------------------------------------------------------

def widen(got, want, rtol, atol):
    """8 times the deviation: into rtol where the relative one is small, into atol for the other elements."""
    for a, b in zip(got, want):
        if a is None or b is None or a.shape != b.shape or not (a.is_floating_point() or a.is_complex()): continue
        b = plain(b)
        a = plain(a).to(b.dtype)
        d, m = (a - b).abs(), b.abs()
        ok = torch.isfinite(d) & torch.isfinite(m)
        d, m = d[ok], m[ok]
        if not d.numel(): continue
        rel = d / m.clamp_min(1e-300)
        small = rel <= 10 * rtol
        if small.any(): rtol = max(rtol, 8 * rel[small].max().item())
        if (~small).any(): atol = max(atol, 8 * d[~small].max().item())
    return float(f"{rtol:.3g}"), float(f"{atol:.3g}")


class Doubled:
    """The same arguments in float64, for the reference run."""
    def __init__(self, grad): self.grad, self.seen = grad, {}

    def value(self, v):
        if is_tensor(v):
            if id(v) not in self.seen:
                t = v.detach().to(UP.get(v.dtype, v.dtype)) if v.dtype in UP else v.detach().clone()
                if v.dtype in UP and v.stride() != t.stride(): t = t.clone()
                self.seen[id(v)] = t.requires_grad_(self.grad and v.requires_grad)
            return self.seen[id(v)]
        if isinstance(v, torch.dtype): return UP.get(v, v)
        if isinstance(v, torch.Size): return v
        if isinstance(v, (list, tuple)): return type(v)(self.value(x) for x in v)
        if isinstance(v, dict): return {k: self.value(x) for k, x in v.items()}
        return v


def in_double(f):
    """f() with float64 as default dtype, or None when it fails."""
    old = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try: return f()
    except Exception: return None
    finally: torch.set_default_dtype(old)


# ---- one call --------------------------------------------------------------------------------------------------

def overlaps(t):
    """Whether elements of t share memory (PyTorch itself notices only strides of 0)."""
    if not is_tensor(t) or t.numel() < 2 or 0 in [s for n, s in zip(t.shape, t.stride()) if n > 1]: return False
    at = torch.zeros(1, dtype=torch.int64)
    for n, s in zip(t.shape, t.stride()): at = (at[:, None] + torch.arange(n) * s).reshape(-1)
    return at.unique().numel() < t.numel()


def resolve(path):
    obj = torch
    for part in path.split(".")[1:]: obj = getattr(obj, part)
    return obj


class Form:
    """One way to call an op: op path and variant, as the format names them."""
    def __init__(self, op, variant, alias_of=None): self.op, self.variant, self.alias_of = op, variant, alias_of

    def call(self, args, kwargs):
        name = self.op.rsplit(".", 1)[1]
        if self.variant == "function": return resolve(self.op)(*args, **kwargs)
        if self.variant == "operator": return getattr(operator, name)(*args)
        if self.variant == "attribute": return getattr(args[0], name)
        return getattr(args[0], name)(*args[1:], **kwargs)

    def result(self, args, kwargs):
        out = self.call(args, kwargs)
        return args[0] if self.variant == "inplace" else out


class Spy(torch.overrides.TorchFunctionMode):
    """Notes the outermost torch call that a wrapper of op_db makes."""
    def __init__(self): super().__init__(); self.calls, self.depth = [], 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.calls.append((func, args, kwargs or {}))
        return func(*args, **(kwargs or {}))


def spied_form(info, sample):
    """The public call behind a wrapper such as `lambda x: x.T`, when it is one call on the same arguments."""
    try:
        with Spy() as spy: info.op(sample.input, *sample.args, **sample.kwargs)
        calls = [c for c in spy.calls if torch.overrides.resolve_name(c[0])]
        if len(calls) != 1: return None
        name = torch.overrides.resolve_name(calls[0][0])
    except Exception:
        return None
    if name.endswith(".__get__"): return Form(name[:-8], "attribute")
    if not re.fullmatch(r"torch(\.nn\.functional|\.linalg|\.fft|\.special|\.Tensor)?\.\w+", name): return None
    if not name.startswith("torch.Tensor."): return Form(name, "function")
    return Form(name, "inplace" if name.endswith("_") and not name.endswith("__") else "method")


def forms_of(info, sample):
    out, base = [], "torch." + info.name
    try: direct = resolve(base)
    except AttributeError: direct = None
    if direct is not None and not base.startswith("torch.Tensor."): out.append(Form(base, "function"))
    else:
        f = spied_form(info, sample)
        if f: out.append(f)
    short = info.name.rsplit(".", 1)[-1]
    def add(name, variant, alias=None):
        if all((f.op, f.variant) != (name, variant) for f in out): out.append(Form(name, variant, alias))
    def bound(variant, kind, alias=None):
        name = info.name if info.name.startswith("__") else getattr(variant, "__name__", None)
        if variant is None or name is None or getattr(torch.Tensor, name, None) is None: return
        add("torch.Tensor." + name, kind, alias)
    bound(info.method_variant, "method")
    bound(info.inplace_variant, "inplace")
    if info.operator_variant is not None: add("operator." + info.operator_variant.__name__, "operator")
    for a in info.aliases:
        if a.op is not None: add("torch." + a.name.replace("torch.", ""), "function", base)
        bound(a.method_variant, "method", base)
        bound(a.inplace_variant, "inplace", base)
    return [f for f in out if f.variant != "function" or short]


def copied(args, kwargs, grad):
    """Fresh leaves with the same storage content, shared as before."""
    bases = {}
    def one(t):
        key = t.untyped_storage()._cdata
        if key not in bases: bases[key] = storage_of(t.detach()).clone()
        n = torch.empty(0, dtype=t.dtype).set_(bases[key].untyped_storage(), t.storage_offset(), t.shape, t.stride())
        return n.requires_grad_(grad and t.requires_grad)
    return map_tensors(args, one), map_tensors(kwargs, one)


def record_error(pair, head, form, args, kwargs, ex, regex=None, kind=None):
    enc = Arguments(pair, (args, kwargs), False)
    text = str(ex)
    pair.add({**head, "op": form.op, "variant": form.variant, **({"alias_of": form.alias_of} if form.alias_of else {}),
              "args": [enc.value(a) for a in args], "kwargs": {k: enc.value(v) for k, v in kwargs.items()},
              "error": {"type": kind or type(ex).__name__, "regex": regex if regex is not None else re.escape(text[:60]),
                        "message": text[:300]}})


def raw(t):
    return plain(t).contiguous().reshape(-1).clone(memory_format=torch.contiguous_format).view(torch.uint8)


def same(a, b):
    return len(a) == len(b) and all(x.shape == y.shape and torch.equal(raw(x), raw(y)) for x, y in zip(a, b))


def run(form, args, kwargs, grad, seed):
    args, kwargs = copied(args, kwargs, grad)
    torch.manual_seed(seed)
    return args, kwargs, form.call(args, kwargs)


def is_random(name, form, args, kwargs, out):
    """Two runs from other seeds that differ; uninitialised results and drawn samples are told by name."""
    if UNINITIALISED.fullmatch(name) or "fractional_max_pool" in name: return True
    a2, _, out2 = run(form, args, kwargs, False, 99)
    if form.variant == "inplace": out2 = a2[0]
    return not same(tensors(out), tensors(out2))


def along(args, kwargs, at):
    dim = kwargs.get("dim", args[at] if len(args) > at and isinstance(args[at], int) and not isinstance(args[at], bool) else -1)
    return dim if isinstance(dim, int) else None


def checks_of(name, args, kwargs, out):
    """How outputs that PyTorch does not determine are to be compared."""
    c = {}
    for i in SIGNS.get(name, ()): c[f"out.{i}"] = {"check": "abs"}
    if name == "linalg.svd" and kwargs.get("full_matrices", True): c.update({"out.0": {"check": "meta"}, "out.2": {"check": "meta"}})
    if name == "linalg.qr" and (kwargs.get("mode") or (args[1] if len(args) > 1 else "")) == "complete": c["out.0"] = {"check": "meta"}
    if name in ("unique",) and not kwargs.get("sorted", True): c["*"] = {"check": "meta"}
    where = TIES.get(name)
    if where is None or not is_tensor(args[0]) or kwargs.get("stable"): return c
    ts = tensors(out)
    if len(ts) <= where: return c
    dim, idx = along(args, kwargs, 2 if name in ("topk", "kthvalue") else 1), ts[where]
    path = f"out.{where}" if isinstance(out, tuple) else "out"
    if idx.dim() == args[0].dim() and idx.dim() > 0 and dim is not None: c[path] = {"check": "gather", "dim": dim}
    elif idx.dim() > 0 or args[0].dim(): c[path] = {"check": "meta"}
    return c


def tolerance(out, reference, dtype):
    first = next((t.dtype for t in tensors(out) if t.dtype in TOL), None)
    if first is None and not isinstance(out, (float, complex)) : return {"rtol": 0, "atol": 0}
    rtol, atol = TOL.get(first, TOL[torch.float64])
    if dtype in (torch.float16, torch.bfloat16): rtol, atol = max(rtol, TOL[dtype][0]), max(atol, TOL[dtype][1])
    if reference is not None: rtol, atol = widen(tensors(out), tensors(reference), rtol, atol)
    return {"rtol": rtol, "atol": atol}


def gradients(form, args, kwargs, cots):
    ins = leaves(args, "args", []) + leaves(kwargs, "kwargs", [])
    ins = [(p, t) for p, t in ins if t.requires_grad]
    if form.variant == "inplace": args = [args[0].clone()] + list(args[1:])
    outs = tensors(form.result(args, kwargs))
    cots = cots(outs)
    pairs = [(o, c) for o, c in zip(outs, cots) if c is not None]
    if not ins or not pairs: return None
    return ins, cots, torch.autograd.grad([o for o, _ in pairs], [t for _, t in ins], [c for _, c in pairs], allow_unused=True)


def grad_part(pair, form, args, kwargs, dtype):
    a, k = copied(args, kwargs, True)
    torch.manual_seed(5)
    got = gradients(form, a, k, lambda outs: [torch.randn_like(plain(o)) if o.requires_grad else None for o in outs])
    if got is None: return None
    ins, cots, gs = got
    rtol, atol = GRAD_TOL.get(dtype, GRAD_TOL[torch.float32])
    top = max([1.0] + [plain(g).abs().max().item() for g in gs if g is not None and g.numel()])
    if math.isfinite(top): atol *= top
    d = Doubled(True)
    ref = in_double(lambda: gradients(form, d.value(list(args)), d.value(kwargs),
                                      lambda outs: [None if c is None else c.to(UP.get(c.dtype, c.dtype)) for c in cots]))
    if ref: rtol, atol = widen(gs, ref[2], rtol, atol)
    w = Results(pair, views=False)
    return {"cotangents": [None if c is None else {**w.value(c)} for c in cots], "tol": {"rtol": rtol, "atol": atol},
            "inputs": [{"path": p, "grad": None if g is None else w.value(g)} for (p, _), g in zip(ins, gs)]}


def record_call(pair, head, name, form, args, kwargs, dtype, want_grad, errors=False, signs_grad=True):
    """One record of a call; with `errors` a RuntimeError is a record too."""
    head = {"id": "", "op": form.op, "variant": form.variant, **head}
    if form.alias_of: head["alias_of"] = form.alias_of
    inplace = form.variant == "inplace"
    try:
        a, k, out = run(form, args, kwargs, not inplace and want_grad, 3)
    except Exception as ex:
        if errors and isinstance(ex, (RuntimeError, IndexError, TypeError, ValueError)) and not isinstance(ex, NotImplementedError):
            record_error(pair, head, form, args, kwargs, ex)
        return
    result = a[0] if inplace else out
    rand = is_random(name, form, args, kwargs, result)
    checks = {"*": {"check": "meta"}} if rand else checks_of(name, args, kwargs, result)
    if is_tensor(k.get("out")): head["out"] = True
    elif "out" in k: head["out"] = True
    if rand: head["random"] = True
    enc = Arguments(pair, (args, kwargs), want_grad)
    head["args"], head["kwargs"] = [enc.value(x) for x in args], {n: enc.value(v) for n, v in kwargs.items()}
    if inplace: head["returns_self"] = out is a[0]
    ref = None
    if not rand and dtype not in (torch.float64, torch.complex128):
        d = Doubled(False)
        ref = in_double(lambda: form.result(d.value(list(args)), d.value(kwargs)))
    head["tol"] = tolerance(result, ref, dtype)
    grads = want_grad and not rand and not checks and name not in SIGNS and any(t.requires_grad for t in tensors((args, kwargs)))
    inputs = [] if inplace else leaves(a, "args", []) + leaves(k, "kwargs", [])
    head["expect"] = Results(pair, inputs, grads and not inplace, not inplace, checks).value(result)
    if inplace and not rand and (not a[0].is_contiguous() or a[0].storage_offset()):
        head["expect_self_storage"] = {"tensor": pair.keep(storage_of(a[0].detach())), "dtype": name_of(a[0].dtype)}
    if grads:
        try: g = grad_part(pair, form, args, kwargs, dtype)
        except (RuntimeError, NotImplementedError): g = None
        if g: head["grad"] = g
    pair.add(head)


# ---- layouts ---------------------------------------------------------------------------------------------------

def filled(n, dtype):
    return torch.ones(n, dtype=dtype)


def restrided(t, stride, offset, size):
    base = filled(size, t.dtype)
    v = base.as_strided(t.shape, stride, offset)
    v.copy_(t.detach())
    return v.requires_grad_(t.requires_grad)


def interleaved(t):
    return restrided(t, [2 * s for s in contiguous_stride(t.shape)], 0, 2 * t.numel()) if t.dim() and t.numel() else t


def transposed(t):
    if t.dim() < 2 or not t.numel(): return t
    return plain(t).transpose(0, -1).contiguous().transpose(0, -1).requires_grad_(t.requires_grad)


def offset(t):
    return restrided(t, contiguous_stride(t.shape), 2, t.numel() + 4) if t.numel() else t


def first_expanded(args):
    t = args[0]
    if not is_tensor(t) or t.dim() < 1 or t.shape[0] < 2 or not t.numel(): return None
    row = plain(t)[:1].clone(memory_format=torch.contiguous_format)
    return [row.expand(t.shape).requires_grad_(t.requires_grad)] + list(args[1:])


def layouts(args, kwargs):
    for n, f in (("interleaved", interleaved), ("transposed", transposed), ("offset", offset)):
        new = map_tensors((list(args), kwargs), f)
        if any(x is not y for x, y in zip(tensors(new), tensors((args, kwargs)))): yield n, new[0], new[1]
    e = first_expanded(args)
    if e: yield "expanded", e, kwargs


PROMOTE = {torch.float32: (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.uint8, torch.bool,
                           torch.complex64),
           torch.int64: (torch.int32, torch.uint8, torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.bool,
                         torch.int8)}


def promotions(args, dtype):
    if len(args) < 2 or not is_tensor(args[1]): return
    for d in PROMOTE.get(dtype, ()):
        second = args[1].detach().to(d)
        yield f"promoted_{name_of(d)}", [args[0].detach() if is_tensor(args[0]) else args[0], second] + list(args[2:])
        if second.numel():
            yield f"promoted_{name_of(d)}_0d", [args[0].detach() if is_tensor(args[0]) else args[0],
                                                second.reshape(-1)[0].clone()] + list(args[2:])


# ---- ops -------------------------------------------------------------------------------------------------------

def samples(info, dtype, cap, rng):
    """(name, source, sample) of sample_inputs and reference_inputs, at most cap of each, the first ones always there."""
    grad = info.supports_autograd and dtype in GRAD and dtype in info.supported_backward_dtypes("cpu")
    for source, letter, limit in (("sample_inputs", "s", cap), ("reference_inputs", "r", cap // 2)):
        try: got = list(getattr(info, source)("cpu", dtype, requires_grad=grad))
        except Exception: continue
        got = [(f"{letter}{i}", source, s) for i, s in enumerate(got)]
        if letter == "r": got = [x for x in got if sum(t.numel() for t in tensors((x[2].input, x[2].args))) <= MAX_NUMEL]
        if len(got) > limit: got = sorted(rng.sample(got, limit), key=lambda x: int(x[0][1:]))
        yield from got


def small(t):
    return sum(x.numel() for x in tensors(t)) <= 4000


def with_out(form, args, kwargs):
    """kwargs with a fitting out=, or None."""
    try: res = form.call(*copied(args, kwargs, False))
    except Exception: return None
    if is_tensor(res): outs = torch.zeros_like(plain(res))
    elif isinstance(res, tuple) and res and all(map(is_tensor, res)): outs = tuple(torch.zeros_like(plain(x)) for x in res)
    else: return None
    return {**kwargs, "out": outs}


def out_variants(kwargs):
    """Other outs: wrong sizes, dtypes and strides."""
    for kind, f in (("empty", lambda t: t.new_empty(0)), ("wide", lambda t: t.new_zeros([n + 1 for n in t.shape] or [2])),
                    ("interleaved", interleaved), ("float64", torch.Tensor.double), ("int64", torch.Tensor.long),
                    ("complex64", lambda t: t.to(torch.complex64))):
        yield kind, {**kwargs, "out": map_tensors(kwargs["out"], f)}


def record_op(info, full, pair, opt, rng):
    from torch.testing._internal.common_methods_invocations import BinaryUfuncInfo
    for dtype in opt.dtypes:
        if dtype not in info.supported_dtypes("cpu"): continue
        changed, outs = 0, 0
        for n, (tag, source, s) in enumerate(samples(info, dtype, opt.cap, rng)):
            args = [s.input] + list(s.args)
            for form in forms_of(info, s):
                def go(layout, a, k, extra="", **more):
                    head = {"id": f"{full}:{name_of(dtype)}:{tag}:{layout}:{form.variant}{extra}" + (":" + form.op if form.alias_of else ""),
                            "opinfo": full, "dtype": name_of(dtype), "sample": tag, "source": source, "layout": layout}
                    try: record_call(pair, head, info.name, form, a, k, dtype, dtype in GRAD and "promoted" not in layout, **more)
                    except (Unwritable, OverflowError, ValueError, NotImplementedError): pass
                if form.alias_of and (n > 1 or dtype != torch.float32): continue
                if form.variant == "operator" and (len(args) > 2 or s.kwargs): continue
                if form.variant == "inplace" and (s.broadcasts_input or overlaps(args[0])): continue
                go("as_sampled", args, s.kwargs)
                if info.supports_out and form.variant == "function" and outs < 2 and not form.alias_of:
                    k = with_out(form, map_tensors(args, torch.Tensor.detach), map_tensors(s.kwargs, torch.Tensor.detach))
                    if k:
                        outs += 1
                        a = map_tensors(args, torch.Tensor.detach)
                        go("as_sampled", a, k, ":out")
                        if outs == 1 and dtype in (torch.float32, torch.int64):
                            for kind, v in out_variants(k): go("as_sampled", a, v, ":out_" + kind, errors=True)
                if source == "sample_inputs" and small(args) and changed < 3 * len(PROMOTE) and not form.alias_of:
                    for layout, a, k in layouts(args, s.kwargs):
                        go(layout, a, k, errors=form.variant == "inplace")
                    if isinstance(info, BinaryUfuncInfo):
                        for layout, a in promotions(args, dtype): go(layout, a, s.kwargs, errors=True)
                    changed += 1
    record_errors(info, full, pair)


def record_errors(info, full, pair):
    if not info.error_inputs_func: return
    for i, e in enumerate(info.error_inputs("cpu")):
        s = e.sample_input
        args = [s.input] + list(s.args)
        for form in forms_of(info, s)[:1]:
            a, k = args, s.kwargs
            try: form.call(map_tensors(a, torch.Tensor.detach), k)
            except Exception as ex:
                if not isinstance(ex, e.error_type) : continue
                head = {"id": f"{full}:error:e{i}", "opinfo": full, "dtype": None, "sample": f"e{i}", "source": "error_inputs",
                        "layout": "as_sampled"}
                try: record_error(pair, head, form, a, k, ex, e.error_regex, e.error_type.__name__)
                except (Unwritable, ValueError): pass


def record_setitem(info, pair, opt, rng):
    """x[index] = value for the index samples of __getitem__."""
    form = Form("torch.Tensor.__setitem__", "inplace")
    for dtype in opt.dtypes:
        if dtype not in info.supported_dtypes("cpu"): continue
        for tag, source, s in samples(info, dtype, opt.cap, rng):
            try: part = s.input.detach()[s.args[0]]
            except Exception: continue
            value = (part * 1).flip(0) if part.dim() and dtype != torch.bool else part.clone()
            value = value.detach().requires_grad_(s.input.requires_grad)
            for layout, a, k in [("as_sampled", [s.input, s.args[0], value], {})] + list(layouts([s.input, s.args[0], value], {})):
                head = {"id": f"setitem:{name_of(dtype)}:{tag}:{layout}:inplace", "opinfo": "__getitem__", "dtype": name_of(dtype),
                        "sample": tag, "source": source, "layout": layout, "derived": True}
                try: record_call(pair, head, "setitem", form, a, k, dtype, dtype in GRAD)
                except (Unwritable, ValueError): pass


def record_ops(opt):
    from torch.testing._internal.common_methods_invocations import op_db
    scope = {x.strip() for x in open(opt.scope)} if opt.scope else None
    for info in op_db:
        full = info.name + ("." + info.variant_test_name if info.variant_test_name else "")
        for name in [full] + (["setitem"] if full == "__getitem__" else []):
            if (scope and name not in scope) or not re.fullmatch(opt.ops, name): continue
            rng = random.Random(f"{opt.seed}{name}")
            torch.manual_seed(opt.seed * 1000 + len(name))
            random.seed(opt.seed)
            pair = Pair(os.path.join(opt.dir, "ops", name))
            if name == "setitem": record_setitem(info, pair, opt, rng)
            else: record_op(info, full, pair, opt, rng)
            pair.write()
            print(name, len(pair.lines), flush=True)


# ---- modules ---------------------------------------------------------------------------------------------------

def module_path(cls):
    for space in ("torch.nn", "torch.nn.modules.activation"):
        if getattr(resolve(space), cls.__name__, None) is cls: return f"{space}.{cls.__name__}"
    raise Unwritable(cls)


class Constructor(Arguments):
    def value(self, v):
        if isinstance(v, torch.nn.Module): raise Unwritable("module argument")
        return super().value(v)


def run_module(m, state, args, kwargs, cots):
    m.load_state_dict(state)
    out = m(*args, **kwargs)
    ins = [(p, t) for p, t in leaves(args, "args", []) + leaves(kwargs, "kwargs", []) if t.requires_grad]
    ins += [("params." + n, p) for n, p in m.named_parameters() if p.requires_grad]
    outs = tensors(out)
    cots = cots(outs)
    pairs = [(o, c) for o, c in zip(outs, cots) if c is not None]
    gs = None
    if pairs and ins: gs = torch.autograd.grad([o for o, _ in pairs], [t for _, t in ins], [c for _, c in pairs], allow_unused=True)
    return out, ins, cots, gs


def record_module(pair, info, path, i, dtype, training, mi):
    c, f = mi.constructor_input, mi.forward_input
    if f is None: return
    kwargs = {k: v for k, v in c.kwargs.items() if k not in ("device", "dtype")}
    build = lambda d: info.module_cls(*c.args, **kwargs).to(d).train(training)
    torch.manual_seed(i + 11)
    m = build(dtype)
    state = {k: v.clone() for k, v in m.state_dict().items()}
    fargs, fkw = copied(list(f.args), dict(f.kwargs), True)
    torch.manual_seed(3)
    randn = lambda outs: [torch.randn_like(plain(o)) if o.requires_grad else None for o in outs]
    out, ins, cots, gs = run_module(m, state, fargs, fkw, randn)
    torch.manual_seed(77)
    out2 = build(dtype)
    out2.load_state_dict(state)
    rand = not same(tensors(out), tensors(out2(*copied(list(f.args), dict(f.kwargs), False)[0], **copied([], dict(f.kwargs), False)[1])))
    enc, con = Arguments(pair, (list(f.args), dict(f.kwargs)), True), Constructor(pair, (), False)
    rec = {"id": f"{path[6:]}:{name_of(dtype)}:{i}:{'train' if training else 'eval'}", "module": path,
           "args": [con.value(a) for a in c.args], "kwargs": {k: con.value(v) for k, v in kwargs.items()}, "desc": mi.desc,
           "dtype": name_of(dtype), "training": training, "state": {k: enc.value(v) for k, v in state.items()},
           "forward_args": [enc.value(a) for a in f.args], "forward_kwargs": {k: enc.value(v) for k, v in f.kwargs.items()}}
    tol = (1e-4, 2e-5) if dtype == torch.float32 else (1e-6, 1e-7)
    gtol = GRAD_TOL[dtype]
    d = Doubled(True)
    ref = in_double(lambda: run_module(build(torch.float64), {k: v.to(UP.get(v.dtype, v.dtype)) for k, v in state.items()},
                    d.value(list(f.args)), d.value(dict(f.kwargs)), lambda outs: [None if x is None else x.double() for x in cots]))
    if ref and not rand:
        tol = widen(tensors(out), tensors(ref[0]), *tol)
        if gs and ref[3]: gtol = widen(gs, ref[3], *gtol)
    w = Results(pair, views=False, checks={"*": {"check": "meta"}} if rand else None)
    rec["expect"] = w.value(out)
    before = {k: v for k, v in state.items()}
    w = Results(pair, views=False)
    rec["state_after"] = {k: w.value(v) for k, v in m.state_dict().items() if k in dict(m.named_buffers()) and k in before}
    rec["tol"] = {"rtol": tol[0], "atol": tol[1]}
    if rand: rec["random"] = True
    elif gs:
        rec["grad"] = {"cotangents": [None if x is None else w.value(x) for x in cots], "tol": {"rtol": gtol[0], "atol": gtol[1]},
                       "inputs": [{"path": p, "grad": None if g is None else w.value(g)} for (p, _), g in zip(ins, gs)]}
    pair.add(rec)


def record_modules(opt):
    from torch.testing._internal.common_modules import module_db
    pair = Pair(os.path.join(opt.dir, "modules"))
    for info in module_db:
        try: path = module_path(info.module_cls)
        except Unwritable: continue
        if not re.fullmatch(opt.ops, path[6:]): continue
        for dtype in (torch.float32, torch.float64):
            if dtype not in info.dtypes: continue
            for training in ((True, False) if info.train_and_eval_differ else (True,)):
                torch.manual_seed(opt.seed)
                try: inputs = info.module_inputs_func(info, device="cpu", dtype=dtype, requires_grad=True, training=training)
                except Exception: continue
                for i, mi in enumerate(inputs):
                    try: record_module(pair, info, path, i, dtype, training, mi)
                    except (Unwritable, RuntimeError, TypeError, ValueError, NotImplementedError) as ex:
                        print("left out", path, i, type(ex).__name__, str(ex)[:80])
    pair.write()
    print("modules", len(pair.lines))


# ---- optimizers ------------------------------------------------------------------------------------------------

STEPS = 10


def closure_loss(params, closure):
    return sum((w * (p - t) ** 2 / 2 + (p - t) ** 4 / 4).sum() for p, w, t in zip(params, closure["w"], closure["t"]))


def run_optimizer(cls, kwargs, params, grads, closure):
    params = [p.clone().requires_grad_(True) for p in params]
    opt = cls(params, **kwargs)
    hist = []
    for s in range(STEPS):
        if closure:
            def f():
                opt.zero_grad()
                loss = closure_loss(params, closure)
                loss.backward()
                return loss
            opt.step(f)
        else:
            for p, g in zip(params, grads): p.grad = g[s].clone()
            opt.step()
        hist.append([p.detach().clone() for p in params])
    return [torch.stack(x) for x in zip(*hist)]


def record_optimizer(pair, info, i, dtype, oi, rng):
    cls = info.optim_cls
    shapes = [(3, 4), (5, 2)] if cls.__name__ == "Muon" else [(3, 4), (4,)]
    make = lambda *s: torch.randn(*s, generator=rng, dtype=torch.float64).to(dtype)
    params, grads, closure = [make(*s) for s in shapes], None, None
    if cls.__name__ == "LBFGS": closure = {"w": [make(*s).abs() for s in shapes], "t": [make(*s) for s in shapes]}
    else: grads = [make(STEPS, *s) for s in shapes]
    expect = run_optimizer(cls, oi.kwargs, params, grads, closure)
    up = lambda v: map_tensors(v, torch.Tensor.double)
    ref = in_double(lambda: run_optimizer(cls, up(oi.kwargs), up(params), up(grads), up(closure)))
    tol = (1e-4, 1e-5) if dtype == torch.float32 else (1e-6, 1e-7)
    if ref: tol = widen(expect, ref, *tol)
    enc, w = Arguments(pair, (), False), Results(pair, views=False)
    rec = {"id": f"{cls.__name__}:{name_of(dtype)}:{i}", "optimizer": "torch.optim." + cls.__name__, "desc": oi.desc, "dtype": name_of(dtype),
           "kwargs": {k: enc.value(v) for k, v in oi.kwargs.items()}, "params": enc.value(params), "steps": STEPS}
    if closure: rec["closure"] = {"type": "quartic", "w": enc.value(closure["w"]), "t": enc.value(closure["t"])}
    else: rec["grads"] = enc.value(grads)
    pair.add({**rec, "expect": [w.value(x) for x in expect], "tol": {"rtol": tol[0], "atol": tol[1]}})


def record_optimizers(opt):
    from torch.testing._internal.common_optimizers import optim_db
    pair = Pair(os.path.join(opt.dir, "optimizers"))
    rng = torch.Generator().manual_seed(opt.seed)
    for info in optim_db:
        if not re.fullmatch(opt.ops, info.optim_cls.__name__): continue
        for i, oi in enumerate(info.optim_inputs_func(device="cpu")):
            for dtype in (torch.float32, torch.float64):
                try: record_optimizer(pair, info, i, dtype, oi, rng)
                except Exception as ex: print("left out", info.optim_cls.__name__, i, str(ex)[:100])
        for i, e in enumerate(info.optim_error_inputs_func(device="cpu", dtype=torch.float32)):
            oi = e.optimizer_error_input
            enc = Arguments(pair, (), False)
            try:
                params = oi.params if isinstance(oi.params, list) else [oi.params]
                params = [p.detach() if is_tensor(p) else p for p in params]
                kw, ps = {k: enc.value(v) for k, v in oi.kwargs.items()}, enc.value(params)
                if not all(map(is_tensor, params)): raise Unwritable("params")
                info.optim_cls([p.clone().requires_grad_(True) for p in params], **oi.kwargs)
            except Unwritable: continue
            except Exception as ex:
                pair.add({"id": f"{info.optim_cls.__name__}:error:{i}", "optimizer": "torch.optim." + info.optim_cls.__name__, "desc": oi.desc,
                          "kwargs": kw, "params": ps, "error": {"type": e.error_type.__name__, "regex": e.error_regex, "message": str(ex)[:300]}})
    pair.write()
    print("optimizers", len(pair.lines))


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("dir")
    ap.add_argument("--ops", default=".*", help="regular expression of op, module or optimizer names")
    ap.add_argument("--scope", help="file with the op names to record, one a line")
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--cap", type=int, default=30, help="samples per op and dtype (half as many reference samples)")
    ap.add_argument("--dtypes", default=",".join(map(name_of, DTYPES)))
    ap.add_argument("--part", default="ops")
    opt = ap.parse_args()
    opt.dtypes = [getattr(torch, d) for d in opt.dtypes.split(",")]
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    os.makedirs(os.path.join(opt.dir, "ops"), exist_ok=True)
    if opt.part in ("ops", "all"): record_ops(opt)
    if opt.part in ("modules", "all"): record_modules(opt)
    if opt.part in ("optimizers", "all"): record_optimizers(opt)


if __name__ == "__main__":
    main()
