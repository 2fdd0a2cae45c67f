/* Asks this processor for a feature; network.inc has the table of those that the code needs. */
#ifndef STEPDOWN_PROCESSOR_H
#define STEPDOWN_PROCESSOR_H

struct need {
    const char *name;
    unsigned leaf, part, word, bit, state;
};

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>

/* Whether the system keeps the registers whose bits are set in XCR0. */
static inline int keeps(unsigned state) {
    unsigned a, b, c, d, low, high;
    if (!state) return 1;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c >> 27 & 1)) return 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & state) == state;
}

static inline int has(const struct need *n) {
    unsigned words[4];
    if (!__get_cpuid_count(n->leaf, n->part, &words[0], &words[1], &words[2], &words[3])) return 0;
    return (words[n->word] >> n->bit & 1) && keeps(n->state);
}
#elif defined(__linux__)
#include <sys/auxv.h>

static inline int has(const struct need *n) { return (int)(getauxval(n->leaf) >> n->bit & 1); }
#else
static inline int has(const struct need *n) { return n != 0; }
#endif
#endif
