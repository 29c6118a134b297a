/* number.c: decimal to double and back, the same in every locale. */
#define _GNU_SOURCE
#include "json/json.h"
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static locale_t c_locale(void) {
  static locale_t made;                     /* a race would make two equal ones and lose one */
  locale_t l = __atomic_load_n(&made, __ATOMIC_ACQUIRE);
  if (!l) {
    l = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    __atomic_store_n(&made, l, __ATOMIC_RELEASE);
  }
  return l;
}

static double slow_read(const char *s, size_t n) {
  char small[64], *copy = n < sizeof small ? small : mt_malloc(n + 1);
  double d = NAN;
  if (!copy) return d;
  memcpy(copy, s, n);
  copy[n] = 0;
  locale_t l = c_locale();
  d = l ? strtod_l(copy, NULL, l) : strtod(copy, NULL);
  if (copy != small) mt_free(copy);
  return d;
}

/* Up to 15 digits and a power of ten to 22 are exact in double arithmetic, with one rounding at the
 * end. */
double js_read_real(const char *s, size_t n) {
  static const double ten[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
                               1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
  const char *p = s, *end = s + n;
  bool minus = p < end && *p == '-', point = false;
  int64_t m = 0;
  int digits = 0, scale = 0, ex = 0;
  for (p += minus; p < end && *p != 'e' && *p != 'E'; p++) {
    if (*p == '.') { point = true; continue; }
    m = m * 10 + (*p - '0');
    digits += m != 0;
    scale -= point;
    if (digits > 15) return slow_read(s, n);
  }
  if (p < end) {
    bool down = *++p == '-';
    for (p += *p == '-' || *p == '+'; p < end && ex < 10000; p++) ex = ex * 10 + (*p - '0');
    scale += down ? -ex : ex;
  }
  double d = (double)m;
  if (scale < -22 || scale > 22) return slow_read(s, n);
  d = scale < 0 ? d / ten[-scale] : d * ten[scale];
  return minus ? -d : d;
}

int js_print_real(char buf[40], double d) {
  int n = 0;
  for (int digits = 15; digits <= 17; digits++) {
    n = snprintf(buf, 40, "%.*g", digits, d);
    for (char *p = buf; *p; p++)
      if (*p == ',') *p = '.';
    if (digits == 17 || js_read_real(buf, (size_t)n) == d) break;
  }
  if (!strpbrk(buf, ".e")) strcpy(buf + n, ".0"), n += 2;
  return n;
}
