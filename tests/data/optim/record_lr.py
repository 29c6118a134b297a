"""Records learning rates (and momenta) of PyTorch's schedulers as JSON lines: a program, run by both sides, and its numbers."""
import json, math, sys
import torch
import torch.optim.lr_scheduler as S
from torch.optim.swa_utils import SWALR
import warnings
warnings.simplefilter("ignore")

CASES = [
    ["StepLR", dict(step_size=3, gamma=0.3)], ["MultiStepLR", dict(milestones=[2, 5, 5, 9], gamma=0.4)],
    ["ConstantLR", dict(factor=0.25, total_iters=4)], ["ConstantLR", dict()], ["LinearLR", dict()],
    ["LinearLR", dict(start_factor=0.1, end_factor=0.7, total_iters=7)], ["ExponentialLR", dict(gamma=0.83)],
    ["PolynomialLR", dict(total_iters=8, power=1.7)], ["CosineAnnealingLR", dict(T_max=5, eta_min=0.001)],
    ["CosineAnnealingWarmRestarts", dict(T_0=3, T_mult=2, eta_min=0.01)], ["CosineAnnealingWarmRestarts", dict(T_0=4)],
    ["CyclicLR", dict(base_lr=0.01, max_lr=0.2, step_size_up=3)],
    ["CyclicLR", dict(base_lr=[0.01, 0.02], max_lr=[0.2, 0.5], step_size_up=2, step_size_down=4, mode="triangular2")],
    ["CyclicLR", dict(base_lr=0.01, max_lr=0.2, step_size_up=3, mode="exp_range", gamma=0.9, cycle_momentum=False)],
    ["OneCycleLR", dict(max_lr=0.4, total_steps=14)], ["OneCycleLR", dict(max_lr=[0.4, 0.1], epochs=3, steps_per_epoch=5,
                                                                          three_phase=True, anneal_strategy="linear", pct_start=0.4)],
    ["SWALR", dict(swa_lr=0.03, anneal_epochs=5)], ["SWALR", dict(swa_lr=[0.03, 0.9], anneal_epochs=0, anneal_strategy="linear")],
    ["Sequential", dict(milestones=[4, 8])], ["Chained", dict()],
    ["ReduceLROnPlateau", dict(patience=1, factor=0.5, cooldown=1, min_lr=[0.02, 0.001])],
    ["ReduceLROnPlateau", dict(mode="max", patience=0, threshold=0.2, threshold_mode="abs")]]
METRICS = [3, 2, 2.5, 2.4, 2.2, 1.9, 1.95, 1.96, 1.97, 1.98, 1.99, 2, 2.1, 2.2]


def build(name, kw, opt):
    if name == "SWALR":
        return SWALR(opt, **kw)
    if name == "Sequential":
        return S.SequentialLR(opt, [S.LinearLR(opt, 0.2, 1.0, 4), S.ExponentialLR(opt, 0.9), S.CosineAnnealingLR(opt, 6)], **kw)
    if name == "Chained":
        return S.ChainedScheduler([S.ConstantLR(opt, 0.1, 3), S.ExponentialLR(opt, 0.9)])
    return getattr(S, name)(opt, **kw)


with open(sys.argv[1] + "/schedulers.jsonl", "w") as f:
    for name, kw in CASES:
        for optimizer in ("SGD", "Adam"):
            p = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
            opt = getattr(torch.optim, optimizer)([{"params": p[:1]}, {"params": p[1:], "lr": 0.05}], lr=0.3,
                                                  **({"momentum": 0.9} if optimizer == "SGD" else {}))
            s = build(name, kw, opt)
            rows = []
            for k in range(14):
                rows.append([[g["lr"], g["momentum"] if "momentum" in g else g["betas"][0]] for g in opt.param_groups])
                opt.step()
                s.step(METRICS[k]) if name == "ReduceLROnPlateau" else s.step()
            state = {k: v for k, v in s.state_dict().items() if isinstance(v, (int, float, str, list)) and k != "_schedulers"
                     and k not in ("lr_lambdas", "_schedule_phases")}
            f.write(json.dumps({"name": name, "kwargs": kw, "optimizer": optimizer, "rows": rows, "state": state},
                               separators=(",", ":")) + "\n")
