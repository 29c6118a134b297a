"""st_diff.py N [SEED]: mutated safetensors, our reader beside the reference package.

Build first: cc -O1 -shared -fPIC -Itensor -Istdlib -o st.so stdlib/{sys,json,formats,safetensors}/*.c tensor/base.c -ldl -lm
(or give the path of such a library in MOTH_ST).  Fails if ours ever accepts what the reference refuses; prints the reasons
for which ours refused what the reference takes (the list of our stricter rules).
"""
import collections, ctypes, json, os, random, sys
import safetensors

lib = ctypes.CDLL(os.environ.get("MOTH_ST", "./st.so"))


class Err(ctypes.Structure):
    _fields_ = [("msg", ctypes.c_char * 400), ("code", ctypes.c_int)]


def ours(data):
    lst, err = ctypes.create_string_buffer(256), Err()
    ok = lib.st_parse(lst, data, ctypes.c_size_t(len(data)), ctypes.byref(err)) & 1
    lib.fmt_free(lst)
    return None if ok else err.msg.decode("utf-8", "replace") or "?"


def reference(data):
    try:
        safetensors.deserialize(data)
        return None
    except Exception as e:
        return str(e)


SIZES = {"F32": 4, "F16": 2, "I64": 8, "U8": 1, "BOOL": 1, "BF16": 2, "F8_E4M3": 1, "C64": 8, "F4": 0.5}


def seed_file(r):
    at, head, names = 0, {}, ["a", "b.weight", "é", "x" * 20, "__meta", "0", ""]
    r.shuffle(names)
    if r.random() < 0.4:
        head["__metadata__"] = {"format": "pt", "k": "v"}
    for name in names[: r.randrange(5)]:
        dt = r.choice(list(SIZES))
        shape = [r.choice([0, 1, 2, 3, 4]) for _ in range(r.randrange(4))]
        n = 1
        for d in shape:
            n *= d
        size = int(n * SIZES[dt])
        head[name] = {"dtype": dt, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    return head, at


def mutate(r):
    head, size = seed_file(r)
    kind = r.randrange(10)
    tensors = [k for k in head if k != "__metadata__"]
    if kind < 5 and tensors:  # structure
        t = head[r.choice(tensors)]
        what = r.randrange(9)
        if what == 0: t["data_offsets"][r.randrange(2)] += r.choice([-1, 1, 4, 2**31, 2**63, 2**64 - 1])
        elif what == 1: t["shape"].append(r.choice([0, 1, -1, 2**32, 2**63, 1.0, None, "1", [1], True]))
        elif what == 2: t["dtype"] = r.choice(["F32", "f32", "F128", 4, None, "I8", ["F32"]])
        elif what == 3: t[r.choice(["extra", "dtype2"])] = r.choice([1, {}, [], "x", None])
        elif what == 4: del t[r.choice(list(t))]
        elif what == 5: t["data_offsets"] = r.choice([[], [0], [0, 0, 0], [0.0, 4], [4, 0], None, {}])
        elif what == 6: head["__metadata__"] = r.choice([None, 1, [], {"a": 1}, {"a": None}, {"a": {"b": 1}}, {}])
        elif what == 7: t["data_offsets"] = [v + r.choice([0, 4]) for v in t["data_offsets"]]
        else: head["dup"] = dict(t)
    text = json.dumps(head, ensure_ascii=r.random() < 0.5, separators=(",", ":") if r.random() < 0.8 else None).encode()
    if kind == 5:
        for k in tensors[:1]:
            text = text.replace(json.dumps(k).encode() + b":", json.dumps(r.choice(tensors)).encode() + b":", 1)
    if kind in (5, 6, 7) and text:  # bytes of the header
        b = bytearray(text)
        for _ in range(r.randrange(1, 4)):
            i, op = r.randrange(len(b)), r.randrange(4)
            if op == 0: b[i] ^= 1 << r.randrange(8)
            elif op == 1: del b[i]
            elif op == 2: b.insert(i, r.choice(b'{}[]:,"\\0-19.eE \t\n\x00\xff\x80ut'))
            else: b[i:i + 1] = r.choice([b"\\u0041", b"\\ud800", b"-0", b"1e3", b"null", b"\xc3\xa9", b"01", b"00"])
            if not b: break
        text = bytes(b)
    pad = b" " * r.choice([0, 0, 0, 1, 7, 100]) if r.random() < 0.5 else b" " * (-len(text) % 8)
    if r.random() < 0.05: pad += r.choice([b"\n", b"\t", b"\0", b"x"])
    if r.random() < 0.03: text = r.choice([b" ", b"\n", b"[", b"\xef\xbb\xbf"]) + text
    text += pad
    length = len(text)
    if r.random() < 0.05: length += r.choice([-1, 1, 8, 2**32, 2**63, 100000001])
    body = b"\1" * max(0, size + (r.choice([-1, 1, 8, -8]) if r.random() < 0.08 else 0))
    data = (length & (2**64 - 1)).to_bytes(8, "little") + text + body
    return data[: r.randrange(len(data) + 1)] if r.random() < 0.03 else data


def main():
    n, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    r, count, stricter, wrong = random.Random(seed), collections.Counter(), collections.Counter(), 0
    for _ in range(n):
        data = mutate(r)
        a, b = ours(data), reference(data)
        count[(a is None, b is None)] += 1
        if a is None and b is not None:
            wrong += 1
            if wrong < 10: print("FAIL ours accepts what the reference refuses:", b, data)
        if a is not None and b is None:
            stricter["".join(c for c in a.split(": ")[-1].split(" at byte")[0] if not c.isdigit())[:60]] += 1
    print("both accept %d, both refuse %d, ours alone refuses %d" % (count[True, True], count[False, False], count[False, True]))
    for k, v in stricter.most_common(): print("  stricter: %6d  %s" % (v, k))
    print("%d passed, %d failed" % (n - wrong, wrong))
    sys.exit(wrong > 0)


main()
