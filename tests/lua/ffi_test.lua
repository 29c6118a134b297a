-- ffi_test.lua: foreign functions over the C library, SQLite, and a library of our own, compiled here.
local t = require "check"
local ok, ffi = pcall(require, "ffi")
if not ok then print("0 passed, 1 failed") os.exit(1) end

-- ---- declarations ----
t.test("declarations: sizes, offsets, text", function()
  ffi.cdef [[
    #define LIMIT (1 << 4)
    #include <stdio.h>
    typedef unsigned long int ulong_t;  /* words in any order */
    typedef struct node { char tag; int value; struct node *next; double w[3]; } node;
    struct __attribute__((packed)) tight { char a; int b; };
    enum level { LOW = -1, MID, HIGH = LIMIT + 2 };
    typedef int (*compare_t)(const void *, const void *);
    union word { unsigned char b[4]; unsigned u; };
    extern "C" { int never_defined(void); }
    struct outer { int a; struct { int x, y; }; union { float f; int i; } u; };
  ]]
  t.eq(ffi.sizeof "node", 40)
  t.eq(ffi.offsetof("node", "next"), 8)
  t.eq(ffi.offsetof("node", "w"), 16)
  t.eq(ffi.sizeof "struct tight", 5)
  t.eq(ffi.offsetof("struct tight", "b"), 1)
  t.eq(ffi.offsetof("struct outer", "y"), 8)
  t.eq(ffi.sizeof "ulong_t", 8)
  t.eq(ffi.alignof "long double", 16)
  t.eq(ffi.sizeof "int[2][3]", 24)
  t.eq(ffi.C.HIGH, 18)
  t.eq(ffi.C.LOW, -1)
  t.eq(ffi.C.LIMIT, 16)
  for _, c in ipairs { "int", "const char *", "int (*)(int, const char *)", "double [3][4]", "unsigned long **", "struct node *const *",
      "void (*[4])(int)", "int (*(*)(double))[3]", "union word", "long double" } do
    local shown = tostring(ffi.typeof(c)):match("^ctype<(.*)>$")
    t.ok(ffi.typeof(c) == ffi.typeof(shown), c .. " reads back from " .. shown)
  end
  ffi.cdef "typedef struct node { char tag; int value; struct node *next; double w[3]; } node;"     -- the same again is fine
end)

t.test("declarations: what is wrong is said", function()
  local function bad(text, part) t.error_matches(function() ffi.cdef(text) end, part) end
  bad("int f(", "at the end")
  bad("intt f(int);", "unknown type name near 'intt'")
  bad("int f(int) { return 1; }", "function bodies")
  bad("struct s { int a : 3; };", "bit-fields")
  bad("#if 1\nint x;\n#endif", "only #define")
  bad("int a[-1];", "negative array size")
  bad("struct node { int other; };", "other members")
  bad("int never_defined(double);", "was declared as")
  bad("struct v { void x; };", "whose size is not known")
  bad("int x[1/0];", "division by zero")
  bad("int " .. ("("):rep(500) .. "x" .. (")"):rep(500) .. ";", "nested too deeply")
  bad("struct q { struct q inner; };", "whose size is not known")
  bad("int a[1000000000000][1000000000];", "too big")
  bad("unsigned float x;;; int", "")
  t.error_matches(function() ffi.sizeof "struct unknown_one" end, "not known")
  t.error_matches(function() return ffi.C.nothing_here end, "is not declared")
  t.error_matches(function() return ffi.C.never_defined end, "no symbol 'never_defined'")
  t.error_matches(function() return ffi.C.HIHG end, "did you mean 'HIGH'")
end)

-- ---- the C library ----
ffi.cdef [[
  double pow(double, double); double fabs(double); double hypot(double, double); double ldexp(double, int); double frexp(double, int *);
  double modf(double, double *); float sqrtf(float); double fmod(double, double); double cbrt(double); double copysign(double, double);
  long double fabsl(long double); double atan2(double, double); double fma(double, double, double); int ilogb(double);
  double expm1(double), log1p(double), tgamma(double);
  size_t strlen(const char *); int strcmp(const char *, const char *); char *strchr(const char *, int); char *getenv(const char *);
  long strtol(const char *, char **, int); double strtod(const char *, char **); int abs(int); long labs(long); int toupper(int);
  int snprintf(char *, size_t, const char *, ...); int sscanf(const char *, const char *, ...);
  void *malloc(size_t); void free(void *); void *memcpy(void *, const void *, size_t); int memcmp(const void *, const void *, size_t);
  void *memset(void *, int, size_t); char *strcpy(char *, const char *); char *strncat(char *, const char *, size_t);
  void qsort(void *, size_t, size_t, int (*)(const void *, const void *));
  void *bsearch(const void *, const void *, size_t, size_t, int (*)(const void *, const void *));
  typedef struct { int quot, rem; } div_t; typedef struct { long quot, rem; } ldiv_t;
  div_t div(int, int); ldiv_t ldiv(long, long);
  struct tm { int tm_sec, tm_min, tm_hour, tm_mday, tm_mon, tm_year, tm_wday, tm_yday, tm_isdst; long tm_gmtoff; const char *tm_zone; };
  struct tm *gmtime_r(const time_t *, struct tm *); time_t timegm(struct tm *); size_t strftime(char *, size_t, const char *, const struct tm *);
  int open(const char *, int, ...); int close(int); int fprintf(FILE *, const char *, ...); int fflush(FILE *);
  char *strerror(int); int access(const char *, int); size_t strspn(const char *, const char *); char *strtok(char *, const char *);
]]
local C = ffi.C

t.test("libm: equal to Lua's own", function()
  for _, x in ipairs { 0.5, 2.25, 100.0, 1e-3, 7.0 } do
    t.eq(C.pow(x, 3.5), x ^ 3.5)
    t.eq(C.fabs(-x), x)
    t.eq(C.fmod(x, 0.3), math.fmod(x, 0.3))
    t.eq(C.atan2(x, 2), math.atan(x, 2))
    t.eq(C.copysign(x, -1), -x)
    t.eq(C.sqrtf(x * x), string.unpack("f", string.pack("f", x)))
    t.eq(C.fma(x, 2, 1), x * 2 + 1)
    t.eq(C.fabsl(-x), x)
    t.eq(C.ldexp(x, 3), x * 8)
    t.eq(C.hypot(3 * x, 4 * x), 5 * x)
  end
  local e, ip = ffi.new "int", ffi.new "double"
  t.eq(C.frexp(48, e), 0.75)
  t.eq(e[0], 6)
  t.eq(C.modf(3.25, ip), 0.25)
  t.eq(ip[0], 3.0)
  t.eq(C.ilogb(1024), 10)
  t.near(C.tgamma(5), 24)
  t.near(C.log1p(C.expm1(0.3)), 0.3, 1e-15)
end)

t.test("libc: strings, numbers, memory", function()
  for _, s in ipairs { "", "a", "hello", ("x"):rep(1000), "with\nline" } do t.eq(C.strlen(s), #s) end
  t.eq(C.strcmp("a", "a"), 0)
  t.ok(C.strcmp("a", "b") < 0)
  t.eq(ffi.string(C.strchr("hello", "l")), "llo")
  t.eq(C.strchr("hello", "z"), nil)
  t.eq(C.getenv("NO_SUCH_VARIABLE_HERE"), nil)
  t.eq(C.strspn("aabbcc", "ab"), 4)
  local stop = ffi.new "char *"
  t.eq(C.strtol("123abc", stop, 10), 123)
  t.eq(ffi.string(stop[0]), "abc")
  t.eq(C.strtol("-7f", nil, 16), -127)
  t.eq(C.strtod("2.5e3", nil), 2500.0)
  t.eq(C.abs(-5), 5)
  t.eq(C.labs(-(1 << 40)), 1 << 40)
  t.eq(C.toupper(("q"):byte()), ("Q"):byte())
  t.eq(C.toupper("q"), ("Q"):byte())
  local d = C.div(17, 5)
  t.eq({ d.quot, d.rem }, { 3, 2 })
  local l = C.ldiv(-17, 5)
  t.eq({ l.quot, l.rem }, { -3, -2 })
  local p = ffi.gc(C.malloc(16), C.free)
  C.memset(p, 65, 15)
  local chars = ffi.cast("char *", p)
  chars[15] = 0
  t.eq(ffi.string(chars), ("A"):rep(15))
  t.eq(C.memcmp(p, ("A"):rep(15), 15), 0)
  local buf = ffi.new("char[?]", 32)
  C.strcpy(buf, "moth")
  C.strncat(buf, "erhood", 4)
  t.eq(ffi.string(buf), "motherho")
  local words = ffi.new("char[]", "one two")
  t.eq(ffi.string(C.strtok(words, " ")), "one")
  t.eq(ffi.string(C.strtok(nil, " ")), "two")
  t.eq(C.access("/no/such/file", 0), -1)
  t.eq(ffi.errno(), 2)
  t.ok(#ffi.string(C.strerror(2)) > 0)
end)

t.test("libc: varargs, time, files", function()
  local buf = ffi.new("char[?]", 100)
  local function fmt(f, ...)
    local n = C.snprintf(buf, 100, f, ...)
    return ffi.string(buf, n)
  end
  t.eq(fmt("plain"), "plain")
  for _, x in ipairs { 0, 1, -1, 123456, -2147483648 } do t.eq(fmt("%d", x), tostring(x)) end
  t.eq(fmt("%ld", math.maxinteger), tostring(math.maxinteger))
  t.eq(fmt("%s-%5.2f-%c|%x", "ab", 3.14159, 67, 255), "ab- 3.14-C|ff")
  t.eq(fmt("%g %g %g %g %g %g %g %g %g %g", 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.5, 10.25), "1 2 3 4 5 6 7 8 9.5 10.25")
  t.eq(fmt("%d%d%d%d%d%d%d%d%d", 1, 2, 3, 4, 5, 6, 7, 8, 9), "123456789")
  t.eq(fmt("%p", nil), "(nil)")
  t.eq(fmt("%d", true), "1")
  local i, d = ffi.new "int", ffi.new "double"
  t.eq(C.sscanf("42 2.5", "%d %lf", i, d), 2)
  t.eq({ i[0], d[0] }, { 42, 2.5 })
  local tm, when = ffi.new "struct tm", ffi.new("time_t", 86400 * 365)
  t.ok(C.gmtime_r(when, tm) ~= nil)
  t.eq({ tm.tm_year, tm.tm_mon, tm.tm_mday }, { 71, 0, 1 })
  t.eq(C.timegm(tm), 86400 * 365)
  t.eq(ffi.string(buf, C.strftime(buf, 100, "%Y-%m-%d", tm)), "1971-01-01")
  local name = os.tmpname()
  local f <close> = io.open(name, "w")
  t.eq(C.fprintf(f, "%s=%d\n", "x", 5), 4)
  C.fflush(f)
  t.eq(io.open(name):read("a"), "x=5\n")
  os.remove(name)
end)

t.test("libc: callbacks of qsort and bsearch", function()
  local a = ffi.new("int[?]", 10, { 5, 3, 9, 1, 7, 2, 8, 0, 6, 4 })
  local function by_value(x, y)
    x, y = ffi.cast("const int *", x)[0], ffi.cast("const int *", y)[0]
    return x < y and -1 or x > y and 1 or 0
  end
  C.qsort(a, 10, 4, by_value)
  for i = 0, 9 do t.eq(a[i], i) end
  local at = C.bsearch(ffi.new("int", 7), a, 10, 4, by_value)
  t.eq(ffi.cast("int *", at) - ffi.cast("int *", a), 7)
  local x = torch.tensor({ 3, 1, 2 }, { dtype = torch.int32 })
  C.qsort(x, 3, 4, by_value)
  t.eq(x:tolist(), { 1, 2, 3 })
  for _ = 1, 300 do C.qsort(a, 10, 4, by_value) end          -- callbacks are taken back
end)

-- ---- memory and types ----
t.test("arrays, structs, pointers", function()
  local a = ffi.new("int[3]", { 1, 2, 3 })
  t.eq(#a, 3)
  t.eq(a[2], 3)
  a[1] = 20
  t.eq((a + 1)[0], 20)
  t.eq((a + 2) - a, 2)
  t.ok(a + 1 == ffi.cast("int *", a) + 1)
  t.error_matches(function() return a[3] end, "outside of the array's 3 elements")
  t.error_matches(function() return a[-1] end, "outside")
  t.error_matches(function() return (a + 1)[2] end, "outside")
  t.error_matches(function() a[0] = 1.5 end, "whole number")
  t.error_matches(function() a[0] = 1 << 33 end, "out of range")
  t.error_matches(function() a[0] = "xy" end, "expected 'int', got string")
  t.error_matches(function() return a.x end, "has no 'x'")
  local n = ffi.new("node", { tag = 65, value = 7, w = { 1, 2, 3 } })
  t.eq({ n.tag, n.value, n.w[1], n.next }, { 65, 7, 2.0, nil })
  local m = ffi.new("node", { value = 8, next = n })
  n = nil  -- luacheck: ignore
  collectgarbage()
  t.eq(m.next.value, 7)
  t.eq(m.next.w[2], 3.0)
  m.next.value = 9
  t.eq(m.next.value, 9)
  t.error_matches(function() return m.valu end, "has no member 'valu'; it has tag value next w")
  local o = ffi.new("struct outer", { a = 1, x = 2, y = 3, u = { f = 1 } })
  t.eq({ o.a, o.x, o.y, o.u.i }, { 1, 2, 3, 0x3F800000 })
  local u = ffi.new("union word", { { 1, 2, 3, 4 } })
  t.eq(u.u, 0x04030201)
  local g = ffi.new("double[2][2]", { { 1, 2 }, { 3, 4 } })
  t.eq(g[1][0], 3.0)
  g[1] = { 5, 6 }
  t.eq(g[1][1], 6.0)
  t.error_matches(function() ffi.new("int[2]", { 1, 2, 3 }) end, "too many initialisers")
  t.error_matches(function() ffi.new("struct tm", { tm_foo = 1 }) end, "has no member 'tm_foo'")
  local s = ffi.new("const char *[2]", { "ab", "cd" })
  collectgarbage()
  t.eq(ffi.string(s[1]), "cd")
  t.eq(tostring(ffi.typeof(s)), "ctype<const char *[2]>")
  t.ok(ffi.istype("int[3]", a))
  t.eq(ffi.sizeof(ffi.new("char[?]", 77)), 77)
  t.eq(ffi.string(ffi.new("char[4]", "abcd")), "abcd")
  local copy = ffi.new("int[3]", a)
  ffi.fill(a, 12)
  t.eq({ a[1], copy[1] }, { 0, 20 })
  ffi.copy(a, copy, 12)
  t.eq(a[2], 3)
  t.error_matches(function() ffi.copy(a, copy, 13) end, "more bytes")
  t.error_matches(function() ffi.fill(a, 13) end, "more bytes")
  t.error_matches(function() ffi.string(nil) end, "NULL")
  t.error_matches(function() ffi.new("int[?]", -1) end, "cannot be made")
  t.error_matches(function() ffi.new "void" end, "is not known")
  local const = ffi.new("const int[2]", { 1, 2 })
  t.error_matches(function() const[0] = 3 end, "const cannot be written")
  t.eq(ffi.cast("uint8_t", 257), 1)
  t.eq(ffi.cast("int", -3.7), -3)
  t.eq(ffi.cast("intptr_t", ffi.cast("void *", 4096)), 4096)
  local freed = 0
  do ffi.gc(ffi.new "int", function() freed = freed + 1 end) end
  collectgarbage() collectgarbage()
  t.eq(freed, 1)
end)

-- ---- a library of our own ----
local so_name = os.tmpname()
os.remove(so_name)
local so = so_name .. ".so"
local here = arg and arg[0]:match("^(.*)/lua/[^/]*$") or "tests"
local built = os.execute((os.getenv("CC") or "cc") .. " -shared -fPIC -O1 -o " .. so .. " " .. here .. "/data/ffi/lib.c -lpthread 2>/dev/null")
if not built then
  print("ffi_test: no C compiler here, the library of our own is left out")
  t.done()
end
local lib = ffi.load(so, [[
  int8_t same_i8(int8_t); uint8_t same_u8(uint8_t); int16_t same_i16(int16_t); uint16_t same_u16(uint16_t); int32_t same_i32(int32_t);
  uint32_t same_u32(uint32_t); int64_t same_i64(int64_t); uint64_t same_u64(uint64_t); float same_f32(float); double same_f64(double);
  long double same_ld(long double); bool same_b(bool); char same_c(char); void *same_p(void *); const char *same_s(const char *);
  float _Complex same_cf(float _Complex); double _Complex same_cd(double _Complex);
  struct point { double x, y; }; struct small { int8_t a; int16_t b; }; struct mixed { int i; float f; double d; char c; };
  struct big { double v[8]; int n; }; struct floats { float a, b, c; }; struct nested { struct point p; struct small s; int tail[3]; };
  union num { int64_t i; double d; float f; }; union flo { float f; double d; }; struct tagged { int kind; union { int64_t i; double d; }; };
  struct person { const char *name; int age; struct person *next; };
  struct point point_add(struct point a, struct point b); struct small small_swap(struct small s); struct mixed mixed_twice(struct mixed m);
  struct big big_scale(struct big b, double k); struct floats floats_turn(struct floats f); struct nested nested_bump(struct nested n);
  union num num_double(union num n); union flo flo_half(union flo f); double tagged_value(struct tagged t);
  struct tagged tagged_make(int kind, double v); double point_norm1(const struct point *p);
  void point_move(struct point *p, double dx, double dy); int ages(const struct person *p);
  double many(int a, double b, int c, double d, int e, double f, int g, double h, int i, double j, int k, double l, float m, int8_t n);
  double sum_all(const char *kinds, ...);
  int counter; const int fixed_value; double table[4]; enum colour { RED, GREEN = 5, BLUE }; enum colour next_colour(enum colour c);
  int bump(void); int sets_errno(int e); void fill_ints(int *p, int n); int sum_ints(const int *p, size_t n); int matrix(const int m[2][3]);
  size_t upper(char *s); const char *greet(void); char *null_string(void); void give_pointer(int **out);
  void scale_f32(float *x, size_t n, float k); double sum_f64(const double *x, size_t n); int64_t sum_i64(const int64_t *x, size_t n);
  void cube(const double *x, double *y, size_t n); void cube_backward(const double *x, const double *g, double *gx, size_t n);
  void *plain_address(const void *p);
  typedef int (*int_fn)(int); typedef double (*point_fn)(struct point, const char *);
  int apply(int_fn f, int x); int apply_twice(int_fn f, int x); int apply_sum(int_fn f, int n); double apply_point(point_fn f);
  struct point apply_struct(struct point (*f)(int8_t, uint16_t, float)); void store_fn(int_fn f); int call_stored(int x); int_fn get_fn(int which);
  struct ops { int_fn f; int k; }; int run_ops(const struct ops *o); int call_in_thread(int_fn f);
]])

t.test("every kind of number there and back", function()
  local ints = { i8 = { -128, 127 }, u8 = { 0, 255 }, i16 = { -32768, 32767 }, u16 = { 0, 65535 }, i32 = { -2147483648, 2147483647 },
    u32 = { 0, 4294967295 }, i64 = { math.mininteger, math.maxinteger }, u64 = { 0, math.maxinteger } }
  for name, values in pairs(ints) do
    for _, v in ipairs { values[1], values[2], 1 } do t.eq(lib["same_" .. name](v), v, name) end
  end
  t.eq(lib.same_u64(-1), -1)
  t.eq(lib.same_u64(2 ^ 63), math.mininteger)
  t.eq(lib.same_i32(3.0), 3)
  for _, v in ipairs { 0.5, -1e30, 0.0, 1 / 0 } do
    t.eq(lib.same_f64(v), v)
    t.eq(lib.same_ld(v), v)
  end
  t.eq(lib.same_f32(0.5), 0.5)
  t.ok(lib.same_f64(0 / 0) ~= lib.same_f64(0 / 0))
  t.eq(lib.same_b(true), true)
  t.eq(lib.same_b(false), false)
  t.eq(lib.same_c("A"), 65)
  t.eq(lib.same_p(nil), nil)
  t.eq(ffi.string(lib.same_s("text")), "text")
  t.ok(lib.same_cf(torch.complex(1, -2)) == torch.complex(1, -2))
  t.ok(lib.same_cd(torch.complex(0.1, 2)) == torch.complex(0.1, 2))
  t.eq(lib.many(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14), 1015.0)
  for _, bad in ipairs { 256, -129, 1.5, "xy", {}, true } do t.error_matches(function() lib.same_i8(bad) end, "argument 1 must be 'signed char'") end
  t.error_matches(function() lib.same_f64("1") end, "argument 1 must be 'double', got string")
  t.error_matches(function() lib.same_b("yes") end, "'bool'")
  t.error_matches(function() lib.same_u8(256) end, "out of range")
  t.error_matches(function() lib.same_f64() end, "takes 1 argument, got 0: double same_f64(double)")
  t.error_matches(function() lib.same_f64(1, 2) end, "takes 1 argument, got 2")
end)

t.test("structs and unions by value", function()
  local p = lib.point_add({ x = 1, y = 2 }, ffi.new("struct point", { 10, 20 }))
  t.eq({ p.x, p.y }, { 11.0, 22.0 })
  local s = lib.small_swap { a = 1, b = 2 }
  t.eq({ s.a, s.b }, { 2, 1 })
  local m = lib.mixed_twice { i = 3, f = 0.5, d = 1.25, c = 65 }
  t.eq({ m.i, m.f, m.d, m.c }, { 6, 1.0, 2.5, 66 })
  local b = lib.big_scale({ v = { 1, 2, 3, 4, 5, 6, 7, 8 }, n = 1 }, 10)
  t.eq({ b.v[0], b.v[7], b.n }, { 10.0, 80.0, 2 })
  local f = lib.floats_turn { 1, 2, 3 }
  t.eq({ f.a, f.b, f.c }, { 2.0, 3.0, 1.0 })
  local n = lib.nested_bump { p = { 1, 2 }, s = { 3, 4 }, tail = { 5, 6, 7 } }
  t.eq({ n.p.x, n.s.b, n.tail[2] }, { 2.0, 5, 13 })
  t.eq(lib.num_double({ i = 21 }).i, 42)
  t.eq(lib.flo_half({ d = 3 }).d, 1.5)
  t.eq(lib.tagged_value { kind = 1, d = 2.5 }, 2.5)
  t.eq(lib.tagged_value { kind = 0, i = 7 }, 7.0)
  t.eq(lib.tagged_make(1, 4.5).d, 4.5)
  t.eq(lib.tagged_make(0, 4).i, 4)
  t.eq(lib.point_norm1(ffi.new("struct point", { -3, 4 })), 7.0)
  lib.point_move(p, 1, 1)
  t.eq({ p.x, p.y }, { 12.0, 23.0 })
  local anna = ffi.new("struct person", { name = "Anna", age = 40 })
  local ben = ffi.new("struct person", { name = "Ben", age = 2, next = anna })
  t.eq(lib.ages(ben), 42)
  t.eq(lib.ages(nil), 0)
  t.error_matches(function() lib.point_add({ x = 1 }, { z = 1 }) end, "has no member 'z'")
  t.error_matches(function() lib.point_add(p, ben) end, "argument 2 must be 'struct point', got struct person")
  t.error_matches(function() lib.point_norm1(ben) end, "argument 1 must be 'const struct point *'")
  t.error_matches(function() ffi.fn(lib, "int bump(struct tight)") (1) end, "packed")
end)

t.test("variables, enums, strings, out parameters, errno", function()
  t.eq(lib.counter, 7)
  lib.counter = 10
  t.eq(lib.bump(), 11)
  t.eq(lib.fixed_value, 42)
  t.error_matches(function() lib.fixed_value = 1 end, "no variable that can be written")
  t.eq(lib.table[3], 4.0)
  lib.table[3] = 8
  t.eq(lib.sum_f64(lib.table, 4), 14.0)
  t.error_matches(function() return lib.table[4] end, "outside")
  t.eq(lib.next_colour(lib.RED), 5)
  t.eq(lib.next_colour(lib.GREEN), lib.BLUE)
  t.eq(lib.sets_errno(33), -1)
  t.eq(ffi.errno(), 33)
  local a = ffi.new("int[?]", 5)
  lib.fill_ints(a, 5)
  t.eq(a[4], 16)
  t.eq(lib.sum_ints(a, 5), 30)
  t.eq(lib.matrix(ffi.new("int[2][3]", { { 1, 2, 3 }, { 4, 5, 6 } })), 34)
  local text = ffi.new("char[]", "moth")
  t.eq(lib.upper(text), 4)
  t.eq(ffi.string(text), "MOTH")
  t.error_matches(function() lib.upper("moth") end, "Lua's strings cannot change")
  t.eq(ffi.string(lib.greet()), "hello")
  t.eq(lib.null_string(), nil)
  local out = ffi.new "int *"
  lib.give_pointer(out)
  t.eq(out[0][0], 11)
  t.eq(lib.sum_all("idls", 1, 2.5, 3, "four"), 10.5)
  t.eq(lib.sum_all("pd", ffi.new("struct point", { 7, 0 }), 0.5), 7.5)
  t.error_matches(function() lib.sum_all() end, "takes at least 1 argument")
  t.error_matches(function() lib.sum_all("d", {}) end, "a table cannot be passed to '...'")
end)

t.test("tensors as pointers", function()
  local x = torch.tensor { 1., 2., 3. }
  local before = x._version
  lib.scale_f32(x, x:numel(), 2)
  t.eq(x:tolist(), { 2.0, 4.0, 6.0 })
  t.ok(x._version > before, "a write counts")
  t.eq(lib.sum_f64(torch.arange(5, { dtype = torch.float64 }), 5), 10.0)
  t.eq(lib.sum_i64(torch.arange(5), 5), 10)
  local m = torch.arange(6, { dtype = torch.float64 }):view(2, 3)
  t.eq(lib.sum_f64(m[1], 3), 12.0)
  t.eq(ffi.cast("intptr_t", lib.plain_address(m)), m:data_ptr())
  local function bad(v, part) t.error_matches(function() lib.scale_f32(v, 1, 1) end, part) end
  bad(torch.zeros(2, { dtype = torch.float64 }), "the dtype is another")
  bad(torch.zeros(2, 2):t(), "not contiguous")
  bad(torch.zeros(1):expand(3), "not contiguous")
  bad(torch.zeros(2, { device = "meta" }), "meta tensor")
  bad(torch.zeros(2):requires_grad_(), "requires grad")
  t.error_matches(function() lib.sum_i64(torch.zeros(2), 2) end, "the dtype is another")
  t.eq(lib.sum_f64(torch.ones(2, { dtype = torch.float64 }):requires_grad_(), 2), 2.0)      -- const: only read
  local mem = ffi.new("double[?]", 6)
  local view = ffi.tensor(mem, { 2, 3 })
  view:fill_(2)
  t.eq({ mem[5], view.dtype == torch.float64 }, { 2.0, true })
  mem[0] = 5
  mem = nil  -- luacheck: ignore
  collectgarbage()
  t.eq(view[0][0]:item(), 5.0)
  t.error_matches(function() ffi.tensor(ffi.new("double[?]", 2), { 3 }) end, "bytes are wanted")
end)

t.test("callbacks", function()
  t.eq(lib.apply(function(x) return x * 2 end, 21), 42)
  t.eq(lib.apply_twice(function(x) return x + 3 end, 1), 7)
  t.eq(lib.apply_sum(function(x) return x end, 100), 4950)
  t.eq(lib.apply_point(function(p, name) return p.x * p.y + #ffi.string(name) end), 16.0)
  local p = lib.apply_struct(function(a, b, c) return { a + b, c } end)
  t.eq({ p.x, p.y }, { 65534.0, 0.5 })
  local cb = ffi.callback("int_fn", function(x) return x - 1 end)
  lib.store_fn(cb)
  t.eq(lib.call_stored(5), 4)
  t.eq(cb(10), 9)
  local o = ffi.new("struct ops", { f = function(x) return x * x end, k = 12 })
  collectgarbage()
  t.eq(lib.run_ops(o), 144)
  t.eq(lib.get_fn(1)(4), 5)
  t.eq(lib.get_fn(0), nil)
  -- an error waits until C has returned, and no further callback runs
  local runs = 0
  local fine, err = pcall(lib.apply_sum, function(x) runs = runs + 1 if x == 3 then error({ code = 7 }) end return x end, 10)
  t.eq({ fine, err.code, runs }, { false, 7, 4 })
  t.error_matches(function() lib.apply(function() return "no" end, 1) end, "callback's result")
  t.error_matches(function() lib.apply(function() return 1 << 40 end, 1) end, "out of range")
  t.error_matches(function() lib.apply(function(x) return lib.apply(function() error("deep") end, x) end, 1) end, "deep")
  -- a freed one is refused
  cb:free()
  t.error_matches(function() lib.call_stored(5) end, "was freed")
  lib.store_fn(function(x) return x end)
  t.error_matches(function() lib.call_stored(5) end, "was freed")
  t.error_matches(function() lib.call_in_thread(function(x) return x end) end, "from a thread that is not Lua's")
  t.eq(lib.apply(function(x) return x end, 1), 1)
  local co = coroutine.wrap(function() return lib.apply(function(x) return x + 1 end, 1) end)
  t.eq(co(), 2)
  t.error_matches(coroutine.wrap(function() lib.apply(function(x) coroutine.yield() return x end, 1) end), "yield")
  t.error_matches(function() ffi.callback("int", print) end, "function type")
  t.error_matches(function() ffi.callback("int (*)(int, ...)", print) end, "...")
end)

t.test("libraries: errors and closing", function()
  t.error_matches(function() ffi.load "libno_such_library_here" end, "cannot open")
  t.error_matches(function() ffi.fn(lib, "int not_there(int)") end, "no symbol 'not_there'")
  t.eq(ffi.fn(lib, "int bump(void)")(), 12)
  local again = ffi.load(so)
  local bump = again.bump
  ffi.close(again)
  t.error_matches(function() bump() end, "was closed")
  t.error_matches(function() return again.bump end, "was closed")
  t.error_matches(function() ffi.close(ffi.C) end, "stays open")
  t.error_matches(function() ffi.new("struct point", 1)() end, "cannot be called")
end)

t.test("a kernel of the user's own as a differentiable op", function()
  local x = torch.randn(5, { dtype = torch.float64 }):requires_grad_()
  local y = torch.empty(5, { dtype = torch.float64 })
  lib.cube(x, y, 5)
  t.ok((y - x:detach() ^ 3):abs():sum():item() < 1e-12)
end)

-- ---- SQLite ----
local has_sqlite, sqlite = pcall(ffi.load, "libsqlite3.so.0")
if not has_sqlite then t.skip("SQLite", "libsqlite3.so.0 is not installed")
else
  t.test("SQLite", function()
    ffi.cdef [[
      typedef struct sqlite3 sqlite3; typedef struct sqlite3_stmt sqlite3_stmt;
      int sqlite3_open(const char *, sqlite3 **); int sqlite3_close(sqlite3 *); const char *sqlite3_errmsg(sqlite3 *);
      int sqlite3_exec(sqlite3 *, const char *, int (*)(void *, int, char **, char **), void *, char **);
      int sqlite3_prepare_v2(sqlite3 *, const char *, int, sqlite3_stmt **, const char **); int sqlite3_step(sqlite3_stmt *);
      int sqlite3_finalize(sqlite3_stmt *); int sqlite3_bind_int64(sqlite3_stmt *, int, int64_t);
      int sqlite3_bind_double(sqlite3_stmt *, int, double); int sqlite3_reset(sqlite3_stmt *);
      int sqlite3_bind_text(sqlite3_stmt *, int, const char *, int, void *); int64_t sqlite3_column_int64(sqlite3_stmt *, int);
      double sqlite3_column_double(sqlite3_stmt *, int); const unsigned char *sqlite3_column_text(sqlite3_stmt *, int);
      int sqlite3_column_count(sqlite3_stmt *); void sqlite3_free(void *);
    ]]
    local db, st = ffi.new "sqlite3 *", ffi.new "sqlite3_stmt *"
    t.eq(sqlite.sqlite3_open(":memory:", db), 0)
    db = db[0]
    t.eq(sqlite.sqlite3_exec(db, "create table t (k integer, x real, s text)", nil, nil, nil), 0)
    t.eq(sqlite.sqlite3_prepare_v2(db, "insert into t values (?, ?, ?)", -1, st, nil), 0)
    for i = 1, 20 do
      sqlite.sqlite3_bind_int64(st[0], 1, i)
      sqlite.sqlite3_bind_double(st[0], 2, i / 4)
      sqlite.sqlite3_bind_text(st[0], 3, "row" .. i, -1, ffi.cast("void *", -1))
      t.eq(sqlite.sqlite3_step(st[0]), 101)
      sqlite.sqlite3_reset(st[0])
    end
    sqlite.sqlite3_finalize(st[0])
    t.eq(sqlite.sqlite3_prepare_v2(db, "select k, x, s from t where k > 18 order by k", -1, st, nil), 0)
    for k = 19, 20 do
      t.eq(sqlite.sqlite3_step(st[0]), 100)
      t.eq(sqlite.sqlite3_column_int64(st[0], 0), k)
      t.eq(sqlite.sqlite3_column_double(st[0], 1), k / 4)
      t.eq(ffi.string(sqlite.sqlite3_column_text(st[0], 2)), "row" .. k)
    end
    t.eq(sqlite.sqlite3_column_count(st[0]), 3)
    sqlite.sqlite3_finalize(st[0])
    local rows = {}
    t.eq(sqlite.sqlite3_exec(db, "select sum(k), max(x) from t", function(_, n, values, names)
      for i = 0, n - 1 do rows[ffi.string(names[i])] = ffi.string(values[i]) end
      return 0
    end, nil, nil), 0)
    t.eq(rows, { ["sum(k)"] = "210", ["max(x)"] = "5.0" })
    local message = ffi.new "char *"
    t.eq(sqlite.sqlite3_exec(db, "no sql", nil, nil, message), 1)
    t.ok(ffi.string(message[0]):find("syntax error"))
    sqlite.sqlite3_free(message[0])
    t.error_matches(function()
      sqlite.sqlite3_exec(db, "select * from t", function() error("stop here") end, nil, nil)
    end, "stop here")
    t.eq(sqlite.sqlite3_close(db), 0)
  end)
end
os.remove(so)
t.done()
