"""Records optimizer runs of PyTorch in the golden format (tests/parity): options, dtypes and layouts that the development set lacks."""
import itertools, json, sys
import torch
from safetensors.torch import save_file

out = sys.argv[1]
torch.manual_seed(5)
store, records = {}, []
NAMES = {torch.float32: "float32", torch.float64: "float64", torch.bfloat16: "bfloat16", torch.float16: "float16",
         torch.complex64: "complex64"}


def put(t):
    key = f"t{len(store)}"
    t = t.detach().contiguous().flatten()
    store[key] = torch.view_as_real(t).flatten().clone() if t.is_complex() else t.clone()
    return key


def value(v):
    if isinstance(v, float):
        return {"float": v}
    if isinstance(v, tuple):
        return {"tuple": [value(x) for x in v]}
    return v


def record(name, kwargs, dtype, tol, steps=5, shapes=((3, 7), (19,), ()), transposed=False):
    kwargs = dict(kwargs)
    params, given = [], []
    if dtype in (torch.bfloat16, torch.float16):      # the ends of shorter rows are rounded once more by PyTorch
        shapes = ((4, 16), (64,))
    for s in shapes:
        p = torch.randn(s, dtype=dtype)
        spec = {"tensor": put(p), "dtype": NAMES[dtype], "shape": list(s)}
        if transposed and len(s) == 2:
            p = p.reshape(s[::-1]).clone().t()
            spec.update(tensor=put(p.t()), stride=[1, s[0]])
        given.append(spec)
        params.append(torch.nn.Parameter(p))
    grads = [torch.randn((steps,) + tuple(p.shape), dtype=dtype) * 0.3 for p in params]
    opt = getattr(torch.optim, name)(params, **kwargs)
    hist = [[] for _ in params]
    for k in range(steps):
        for p, g in zip(params, grads):
            p.grad = g[k].clone()
        opt.step()
        for h, p in zip(hist, params):
            h.append(p.detach().clone())
    records.append({
        "id": f"{name}:{NAMES[dtype]}:{len(records)}", "optimizer": "torch.optim." + name, "dtype": NAMES[dtype],
        "kwargs": {k: value(v) for k, v in kwargs.items()}, "params": given, "steps": steps,
        "grads": [{"tensor": put(g), "dtype": NAMES[dtype], "shape": list(g.shape)} for g in grads],
        "expect": [{"dtype": NAMES[dtype], "shape": [steps] + list(h[0].shape), "tensor": put(torch.stack(h))} for h in hist],
        "tol": {"rtol": tol, "atol": tol / 4}})


CASES = {
    "SGD": [dict(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01), dict(lr=0.1, momentum=0.8, dampening=0.3, maximize=True)],
    "Adam": [dict(lr=0.02, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.05, amsgrad=True),
             dict(lr=0.02, decoupled_weight_decay=True, weight_decay=0.1, maximize=True)],
    "AdamW": [dict(lr=0.02), dict(lr=0.01, betas=(0.3, 0.6), amsgrad=True, weight_decay=0.2)],
    "Adamax": [dict(lr=0.02, betas=(0.7, 0.9), weight_decay=0.05), dict(maximize=True, eps=1e-3)],
    "NAdam": [dict(lr=0.02, weight_decay=0.1, momentum_decay=0.01), dict(lr=0.02, weight_decay=0.1, decoupled_weight_decay=True)],
    "RAdam": [dict(lr=0.02, weight_decay=0.1, betas=(0.8, 0.7)), dict(lr=0.02, weight_decay=0.1, decoupled_weight_decay=True,
                                                                      maximize=True)],
    "Adagrad": [dict(lr=0.1, lr_decay=0.05, weight_decay=0.1, initial_accumulator_value=0.2, eps=1e-4), dict(maximize=True)],
    "Adadelta": [dict(lr=0.7, rho=0.8, eps=1e-4, weight_decay=0.1), dict(maximize=True)],
    "RMSprop": [dict(lr=0.02, alpha=0.9, momentum=0.7, centered=True, weight_decay=0.1), dict(centered=True),
                dict(momentum=0.5, maximize=True)],
    "Rprop": [dict(lr=0.02, etas=(0.4, 1.3), step_sizes=(1e-3, 0.05)), dict(maximize=True)],
    "ASGD": [dict(lr=0.1, lambd=0.02, alpha=0.6, t0=3.0, weight_decay=0.1), dict(t0=2.0, maximize=True)],
    "Adafactor": [dict(lr=0.1, beta2_decay=-0.5, eps=(1e-8, 1e-2), d=1.5, weight_decay=0.1), dict(maximize=True)],
}
for name, cases in CASES.items():
    for i, kw in enumerate(cases):
        record(name, kw, torch.float32, 2e-6)
        record(name, kw, torch.float64, 1e-12)
        record(name, kw, torch.bfloat16, 1e-2 if name == "Adafactor" else 1e-6, steps=4)
        if i == 0:
            record(name, kw, torch.float16, 2e-3 if name == "Adafactor" else 1e-6, steps=4)
            record(name, kw, torch.float32, 2e-6, steps=3, shapes=((4, 6), (5,)), transposed=True)
            if name != "Adafactor":
                record(name, kw, torch.complex64, 4e-6, steps=4)
for kw in [dict(lr=0.05, nesterov=False, adjust_lr_fn="match_rms_adamw"), dict(lr=0.05, eps=1e-3, ns_steps=2)]:
    record("Muon", kw, torch.float32, 2e-2, shapes=((6, 4), (4, 6), (5, 5)))
for dtype, tol in ((torch.float32, 4e-6), (torch.float64, 1e-11)):
    record("Adafactor", dict(lr=0.1, weight_decay=0.1), dtype, tol, steps=3, shapes=((2, 5, 7), (40, 30)))
with open(out + "/optimizers.jsonl", "w") as f:
    for r in records:
        f.write(json.dumps(r, separators=(",", ":")) + "\n")
save_file(store, out + "/optimizers.safetensors")
print(len(records))

# A checkpoint in the middle of a run, and where the run ends.
bundle = {}
for name, kw in [("AdamW", dict(lr=0.05, amsgrad=True)), ("SGD", dict(lr=0.1, momentum=0.9, nesterov=True)), ("RMSprop", dict(lr=0.02)),
                 ("NAdam", {})]:
    ps = [torch.nn.Parameter(torch.randn(2, 3)), torch.nn.Parameter(torch.randn(3))]
    opt = getattr(torch.optim, name)([{"params": [ps[0]]}, {"params": [ps[1]], "lr": 0.01}], **kw)
    gs = [[torch.randn_like(p) for p in ps] for _ in range(6)]
    for k in range(6):
        if k == 3:
            start = {"params": [p.detach().clone() for p in ps], "optimizer": __import__("copy").deepcopy(opt.state_dict())}
        for p, g in zip(ps, gs[k]):
            p.grad = g.clone()
        opt.step()
    bundle[name] = dict(start, grads=gs[3:], expect=[p.detach().clone() for p in ps], text=repr(opt))
torch.save(bundle, out + "/resume.pt")
