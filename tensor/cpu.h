/* cpu.h: what the processor can do.
 *
 * Invariant.  The level never exceeds what CPU and operating system support; the environment
 * variable MOTH_CPU (base, avx2, avx512) can only lower it.  Kernel tables are indexed by level:
 * base 0, avx2 1, avx512 2. */
#ifndef MT_CPU_H
#define MT_CPU_H
#include <stdbool.h>
#include <stddef.h>

typedef enum { MT_CPU_BASE, MT_CPU_AVX2, MT_CPU_AVX512, MT_CPU_LEVELS } MtCpuLevel;

MtCpuLevel mt_cpu_level(void);
const char *mt_cpu_name(MtCpuLevel level);     /* "base", "avx2", "avx512" */
bool mt_cpu_has_bf16(void);                    /* AVX-512 BF16 dot products, at level avx512 only */
bool mt_cpu_is_intel(void);
int  mt_cpu_describe(char *buf, size_t size);  /* one line for torch.show_config(), as snprintf */
size_t mt_cpu_l2_bytes(void);

/* This processor's of the tables that kern_*.c export once per level: name_base, name_avx2,
 * name_avx512; name is an array, or & and a struct. */
#ifdef __x86_64__
#define MT_AT_LEVEL(name)                                                                         \
  ({                                                                                              \
    static __typeof__(name##_base + 0) const by_level_[] = {name##_base, name##_avx2,             \
                                                            name##_avx512};                       \
    by_level_[mt_cpu_level()];                                                                    \
  })
#else
#define MT_AT_LEVEL(name) (name##_base + 0)
#endif
#endif
