/* cpu.c: finds the CPU level once, from CPUID and the state the operating system saves (see cpu.h).
 */
#include "cpu.h"
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const names[MT_CPU_LEVELS] = {"base", "avx2", "avx512"};

const char *mt_cpu_name(MtCpuLevel level) { return names[level]; }

#ifdef __x86_64__
#include <cpuid.h>
static MtCpuLevel hardware_level(void) {
  __builtin_cpu_init();
  bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
              __builtin_cpu_supports("bmi2");
  unsigned a, b, c, d;
  if (!avx2 || !__get_cpuid(1, &a, &b, &c, &d) || !(c >> 29 & 1)) return MT_CPU_BASE;   /* f16c */
  bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  return avx512 ? MT_CPU_AVX512 : MT_CPU_AVX2;
}
static bool hardware_bf16(void) {
  unsigned a, b, c, d;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 5 & 1);
}
bool mt_cpu_is_intel(void) {
  unsigned a, b, c, d;
  return __get_cpuid(0, &a, &b, &c, &d) && b == 0x756e6547;
}
static void brand(char out[49]) {
  unsigned r[12];
  memset(out, 0, 49);
  if (__get_cpuid_max(0x80000000, NULL) < 0x80000004) return;
  for (unsigned i = 0; i < 3; i++)
    __get_cpuid(0x80000002 + i, &r[4 * i], &r[4 * i + 1], &r[4 * i + 2], &r[4 * i + 3]);
  memcpy(out, r, 48);
}
#else
static MtCpuLevel hardware_level(void) { return MT_CPU_BASE; }
static bool hardware_bf16(void) { return false; }
bool mt_cpu_is_intel(void) { return false; }
static void brand(char out[49]) { out[0] = 0; }
#endif

static MtCpuLevel find_level(void) {
  MtCpuLevel hw = hardware_level();
  const char *want = getenv("MOTH_CPU");
  for (int i = 0; want && i < (int)hw; i++)
    if (!strcmp(want, names[i])) return (MtCpuLevel)i;
  return hw;
}

/* Racing first calls compute the same value, so a relaxed cache is enough. */
MtCpuLevel mt_cpu_level(void) {
  static _Atomic int cached = -1;
  int v = atomic_load_explicit(&cached, memory_order_relaxed);
  if (v < 0) atomic_store_explicit(&cached, v = (int)find_level(), memory_order_relaxed);
  return (MtCpuLevel)v;
}

bool mt_cpu_has_bf16(void) { return mt_cpu_level() == MT_CPU_AVX512 && hardware_bf16(); }

size_t mt_cpu_l2_bytes(void) {
  long n = -1;
#ifdef _SC_LEVEL2_CACHE_SIZE
  n = sysconf(_SC_LEVEL2_CACHE_SIZE);
#endif
  return n > 0 ? (size_t)n : 512 * 1024;
}

int mt_cpu_describe(char *buf, size_t size) {
  char name[49];
  brand(name);
  return snprintf(buf, size, "%s%skernels %s%s", name, name[0] ? ", " : "", names[mt_cpu_level()],
                  mt_cpu_has_bf16() ? " + bf16" : "");
}
