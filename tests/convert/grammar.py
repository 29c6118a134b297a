#!/usr/bin/env python
# -*- coding: utf-8 -*-
"""Every construct of the grammar once, for the parser's comparison with CPython's ast."""
from __future__ import annotations

import a.b.c, d as e
from . import f
from ...g.h import (i as j, k,)
from m import *

x: int = 1; y = z = 2,
x: "str"
(w): int = 3
a.b[c]: List[int]
p, *q = [1, 2, *r]
x += 1; y @= m; z //= 0x_ff; w **= 1_000.5e-3j
n = 0o17 + 0b1010 - 1. * .5 / 1e10 % 3 // 2 ** -x << 1 >> 2 & 3 | 4 ^ ~5
t = not a and b or c if d else lambda *args, k=1, **kw: (yield)
u = lambda a, /, b=2, *, c: a < b <= c != d is not e not in f in g is h == i
v = [x for x in y if x if z for a, b in c], {x for x in y}, {k: v for k, v in d.items()}, (x async for x in y)
by = b"c" rb'\x' B'y'
s = 'a' "b" r'\d' if 0 else u'x' '''long
string''' """other "quoted" text"""
fs = f"plain {x} {x!r:>{width}} {x=} {d['k']} {{literal}} {x:%Y-%m-%d} {lambda_ if a else b}" f'{a}' 'tail'
nested = f"{f'{inner}' + f"{deep!s}"} {x:{y}.{z}} {(lambda q: q)(1)} { {1: 2}[1] }"
raw = rf'\d{x}\{y}' f'''multi
{line
}'''
empty = (), [], {}, ..., None, True, False
d = {**a, 'k': v, **b, 1: 2,}
call(1, *a, k=v, *b, **kw)
call(x for x in y)
call(a)(b)[c].d[1:2, ::3, ..., None][:][x:, *y]
if (n := len(a)) > 10: pass
elif n: x
else: y
while True:
    break
else:
    continue_ = 1
for i, in a: continue
for i, *j in x, *y:
    pass
else: pass
async def co(a: int, /, b: str = "x", *args: *Ts, c, d: float = 1.0, **kw) -> None:
    """doc"""
    async with a as b, c: await d
    async for x in y: yield x
    return await (a)
def gen():
    x = yield
    y = yield 1, 2
    yield from z
    return
    return *a, b
with (open(a) as f, open(b)): pass
with (a): pass
with (a, b): pass
with a as (b, c), d as e[0]: pass
with (yield_) as q: pass
try: pass
except (A, B) as e: raise X from e
except C: raise
except: pass
else: pass
finally: pass
try:
    pass
except* E as eg:
    pass
@decorator
@other.one(1)[2]
class K[T: int, *Ts, **P](Base, metaclass=M, **kw):
    x: int
    @property
    def m[U](self, a: U) -> U: return a
class Empty: ...
type Alias[T] = list[T]
type = match = case = _ = 1
type.x = 2
match.group(1)
match[x]
match (a, b):
    case 1 | -2 | 3.5 + 4j: pass
    case "s" 't' | None | True: pass
    case [a, b, *_] | (c, *rest): pass
    case {"k": v, **rest} if v > 1: pass
    case {}: pass
    case Point(x=0, y=a.b) | Other(1, z): pass
    case str() as s: pass
    case a.b.c: pass
    case x, y: pass
    case *a, b: pass
    case (x): pass
    case _:
        match nested:
            case _: pass
match x:
    case y: z
assert a, "b"
assert (a)
del a, b[0], (c, d)
del (e)
global_ = 1
def g():
    global global_, other
    def h():
        nonlocal_ = 1
        def i():
            nonlocal nonlocal_
            nonlocal_ = 2
if a:
    x \
        = 1
    # comment

	# odd indent comment
    y = (1,
  2)

print(a, end='') ; print(b);
(a, b) = c
[a, b] = c
a = b = yield_ = (yield_)
x = a if b else (c if d else e)
x = *a, *b
y = a[b, c], a[b:c], a[(b, c)], a[*b]
z = -x ** -y
z = await_ + (not a)
z = a . b . c
z = a if not b else not c
é = "ü"; 变量 = é
z = 1if x else 2
for x in lambda: y, z: pass
