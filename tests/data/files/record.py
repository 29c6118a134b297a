"""record.py: writes the files of this folder with the reference packages (torch, numpy, safetensors, gguf), and what they hold.

Run where those packages are; the tests need only the files.  expect.json holds every tensor's type, shape and values.
"""
import json, os
import numpy as np, torch, safetensors.torch as st
import gguf
from gguf import GGMLQuantizationType as Q, quants

os.chdir(os.path.dirname(os.path.abspath(__file__)))
expect = {}


def values(x):
    if x.dtype.is_complex:
        return [[float(v.real), float(v.imag)] for v in x.reshape(-1)]
    if x.dtype.is_floating_point:
        return [float(v) for v in x.to(torch.float64).reshape(-1)]
    return [int(v) for v in x.to(torch.int64).reshape(-1)] if x.dtype != torch.bool else [bool(v) for v in x.reshape(-1)]


WIDE = {"uint16": "int32", "uint32": "int64", "uint64": "int64", "float8_e4m3fn": "float32", "float8_e5m2": "float32",
        "float8_e4m3fnuz": "float32", "float8_e5m2fnuz": "float32", "float8_e8m0fnu": "float32", "complex32": "complex64"}


def note(name, d):
    expect[name] = {k: {"dtype": WIDE.get(str(v.dtype)[6:], str(v.dtype)[6:]), "shape": list(v.shape), "values": values(v)} for k, v in d.items()}


base = torch.tensor([[1.5, 0, -3], [100, 5, 6.25]])
names = "bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64 complex64 complex128".split()
all12 = {n: base.abs().to(getattr(torch, n)) if n == "uint8" else base.to(getattr(torch, n)) for n in names}
more = {"scalar": torch.tensor(7), "empty": torch.zeros(0, 4), "t": base.t(), "row": base[1], "step": base[:, ::2], "wide": base[:1].expand(3, 3),
        "conj": torch.tensor([1 + 2j, 3 - 1j]).conj()}
pt = {**all12, **more}
torch.save(pt, "zip.pt")
torch.save({k: v for k, v in pt.items() if k != "conj"}, "stream.pt", _use_new_zipfile_serialization=False)
note("zip.pt", pt)
note("stream.pt", {k: v for k, v in pt.items() if k != "conj"})

odd = torch.arange(0, 256, 7, dtype=torch.uint8)
odd = {n: odd.view(getattr(torch, n)) for n in "float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz float8_e8m0fnu".split()}
odd = {k: v[torch.isfinite(v.float())] for k, v in odd.items()}
odd["complex32"] = torch.tensor([[1.5 - 2j, 65504 + 6e-8j], [0, -0.25]]).to(torch.complex32)
torch.save(odd, "odd.pt")
note("odd.pt", {k: v.to(torch.complex64 if v.dtype.is_complex else torch.float32) for k, v in odd.items()})

m = torch.nn.Linear(2, 2)
with torch.no_grad():
    m.weight.copy_(torch.tensor([[1.0, 2], [3, 4]])), m.bias.zero_()
torch.save({"model": m.state_dict(), "step": 12, "lr": 1e-4, "betas": (0.9, 0.999), "none": None, "flag": True, "name": "é",
            "param": m.weight, "size": base.shape, "dtype": torch.bfloat16, "device": torch.device("cpu"), "big": 2**40}, "nested.pt")

sts = {k: v for k, v in all12.items() if k != "complex128"}
sts |= {n: torch.tensor([1, 200, 65535 if n == "uint16" else 70000]).to(getattr(torch, n)) for n in ("uint16", "uint32", "uint64")}
sts |= {n: torch.tensor([0.5, -1.5, 240]).to(getattr(torch, n)) for n in ("float8_e4m3fn", "float8_e5m2")}
st.save_file(sts, "all.safetensors", {"format": "pt"})
note("all.safetensors", sts)

nps = {k: v.numpy() for k, v in all12.items() if k != "bfloat16"}
nps |= {"fortran": np.asfortranarray(base.numpy()), "big": base.numpy().astype(">f4"), "u16": np.array([1, 65535], dtype=np.uint16)}
np.savez("stored.npz", **nps)
np.savez_compressed("deflated.npz", **nps, zeros=np.zeros((40, 40), dtype=np.float32))
note("stored.npz", {k: torch.from_numpy(v.astype(v.dtype.newbyteorder("="))) for k, v in nps.items()})
expect["deflated.npz"] = expect["stored.npz"]
np.save("one.npy", base.numpy())
note("one.npy", {"": base})

w = gguf.GGUFWriter("quant.gguf", "llama")
w.add_block_count(3), w.add_token_list(["a", "é", "c"]), w.add_token_scores([0.5, 1.0]), w.add_bool("x.flag", True)
rng, out = np.random.default_rng(1), {}
halves = {2: [0], 3: [0, 2], 6: [0], 7: [0, 2], 8: [0], 10: [80, 82], 11: [108], 12: [0, 2], 13: [0, 2], 14: [208]}
for q in (Q.Q4_0, Q.Q4_1, Q.Q5_0, Q.Q5_1, Q.Q8_0, Q.Q2_K, Q.Q3_K, Q.Q4_K, Q.Q5_K, Q.Q6_K):
    block, size = gguf.GGML_QUANT_SIZES[q]
    raw = rng.integers(0, 256, (2, 256 // block, size), dtype=np.uint8)
    for at in halves[int(q)]:
        raw[:, :, at + 1] &= 0xBF  # keeps the scales finite
    raw = raw.reshape(2, -1)
    out[q.name] = torch.from_numpy(quants.dequantize(raw, q).astype(np.float32))
    w.add_tensor(q.name, raw, raw_dtype=q)
for name, a in (("F32", base.numpy()), ("F16", base.numpy().astype(np.float16)), ("I32", np.arange(3, dtype=np.int32))):
    out[name] = torch.from_numpy(a)
    w.add_tensor(name, a)
w.write_header_to_file(), w.write_kv_data_to_file(), w.write_tensors_to_file(), w.close()
note("quant.gguf", {k: v for k, v in out.items() if k[0] != "Q"})
st.save_file({k: v for k, v in out.items() if k[0] == "Q"}, "quant.safetensors")

with open("expect.json", "w") as f:
    json.dump(expect, f, separators=(",", ":"))
