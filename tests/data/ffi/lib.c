/* The library that tests/lua/ffi_test.lua compiles and calls: every kind of argument and result. */
#include <complex.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define SAME(name, type) type same_##name(type x) { return x; }
SAME(i8, int8_t)
SAME(u8, uint8_t) SAME(i16, int16_t) SAME(u16, uint16_t) SAME(i32, int32_t) SAME(u32, uint32_t)
    SAME(i64, int64_t) SAME(u64, uint64_t) SAME(f32, float) SAME(f64, double) SAME(ld, long double)
        SAME(b, bool) SAME(c, char) SAME(p, void *) SAME(s, const char *) SAME(cf, float _Complex)
            SAME(cd, double _Complex)

                struct point {
  double x, y;
};
struct small { int8_t a; int16_t b; };
struct mixed { int i; float f; double d; char c; };
struct big { double v[8]; int n; };
struct floats { float a, b, c; };
struct nested { struct point p; struct small s; int tail[3]; };
union num { int64_t i; double d; float f; };
union flo { float f; double d; };
struct tagged { int kind; union { int64_t i; double d; }; };
struct person { const char *name; int age; struct person *next; };

struct point point_add(struct point a, struct point b) {
  return (struct point){a.x + b.x, a.y + b.y};
}
struct small small_swap(struct small s) { return (struct small){(int8_t)s.b, s.a}; }
struct mixed mixed_twice(struct mixed m) { m.i *= 2; m.f *= 2; m.d *= 2; m.c++; return m; }
struct big big_scale(struct big b, double k) {
  for (int i = 0; i < 8; i++) b.v[i] *= k;
  b.n++;
  return b;
}
struct floats floats_turn(struct floats f) { return (struct floats){f.b, f.c, f.a}; }
struct nested nested_bump(struct nested n) { n.p.x++; n.s.b++; n.tail[2] += n.tail[1]; return n; }
union num num_double(union num n) { n.i *= 2; return n; }
union flo flo_half(union flo f) { f.d /= 2; return f; }
double tagged_value(struct tagged t) { return t.kind ? t.d : (double)t.i; }
struct tagged tagged_make(int kind, double v) {
  struct tagged t = {kind, {0}};
  if (kind) t.d = v;
  else t.i = (int64_t)v;
  return t;
}
double point_norm1(const struct point *p) {
  return (p->x < 0 ? -p->x : p->x) + (p->y < 0 ? -p->y : p->y);
}
void point_move(struct point *p, double dx, double dy) { p->x += dx; p->y += dy; }
int ages(const struct person *p) { int n = 0; for (; p; p = p->next) n += p->age; return n; }

double many(int a, double b, int c, double d, int e, double f, int g, double h, int i, double j,
            int k, double l, float m, int8_t n) {
  return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h + 9 * i + 10 * j + 11 * k +
         12 * l + 13 * m + 14 * n;
}
double sum_all(const char *kinds, ...) {
  va_list ap;
  double s = 0;
  va_start(ap, kinds);
  for (; *kinds; kinds++)
    s += *kinds == 'i'   ? va_arg(ap, int)
         : *kinds == 'l' ? (double)va_arg(ap, long)
         : *kinds == 's' ? (double)strlen(va_arg(ap, char *))
         : *kinds == 'p' ? va_arg(ap, struct point).x
                         : va_arg(ap, double);
  va_end(ap);
  return s;
}

int counter = 7;
const int fixed_value = 42;
double table[4] = {1, 2, 3, 4};
enum colour { RED, GREEN = 5, BLUE };
enum colour next_colour(enum colour c) { return c == RED ? GREEN : BLUE; }
int bump(void) { return ++counter; }
int sets_errno(int e) { errno = e; return -1; }
void fill_ints(int *p, int n) { for (int i = 0; i < n; i++) p[i] = i * i; }
int sum_ints(const int *p, size_t n) { int s = 0; while (n--) s += *p++; return s; }
int matrix(const int m[2][3]) { return m[0][2] * 10 + m[1][0]; }
size_t upper(char *s) {
  size_t n = 0;
  for (; *s; s++, n++)
    if (*s >= 'a' && *s <= 'z') *s -= 32;
  return n;
}
const char *greet(void) { return "hello"; }
char *null_string(void) { return NULL; }
void give_pointer(int **out) { *out = &counter; }

void scale_f32(float *x, size_t n, float k) { while (n--) *x++ *= k; }
double sum_f64(const double *x, size_t n) { double s = 0; while (n--) s += *x++; return s; }
int64_t sum_i64(const int64_t *x, size_t n) { int64_t s = 0; while (n--) s += *x++; return s; }
void cube(const double *x, double *y, size_t n) {
  for (size_t i = 0; i < n; i++) y[i] = x[i] * x[i] * x[i];
}
void cube_backward(const double *x, const double *g, double *gx, size_t n) {
  for (size_t i = 0; i < n; i++) gx[i] = 3 * x[i] * x[i] * g[i];
}
void *plain_address(const void *p) { return (void *)(uintptr_t)p; }

typedef int (*int_fn)(int);
typedef double (*point_fn)(struct point, const char *);
int apply(int_fn f, int x) { return f(x); }
int apply_twice(int_fn f, int x) { return f(f(x)); }
int apply_sum(int_fn f, int n) { int s = 0; for (int i = 0; i < n; i++) s += f(i); return s; }
double apply_point(point_fn f) { return f((struct point){3, 4}, "name"); }
struct point apply_struct(struct point (*f)(int8_t, uint16_t, float)) { return f(-1, 65535, 0.5f); }
static int_fn stored;
void store_fn(int_fn f) { stored = f; }
int call_stored(int x) { return stored ? stored(x) : -1; }
int add_one(int x) { return x + 1; }
int_fn get_fn(int which) { return which ? add_one : NULL; }
struct ops { int_fn f; int k; };
int run_ops(const struct ops *o) { return o->f(o->k); }
static void *in_thread(void *f) { return (void *)(intptr_t)((int_fn)f)(5); }
int call_in_thread(int_fn f) {
  pthread_t t;
  void *r = NULL;
  if (pthread_create(&t, NULL, in_thread, (void *)f)) return -1;
  pthread_join(t, &r);
  return (int)(intptr_t)r;
}
double loop_pow(double (*f)(double, double), int n) {
  double s = 0;
  for (int i = 0; i < n; i++) s += f(i, 2);
  return s;
}
