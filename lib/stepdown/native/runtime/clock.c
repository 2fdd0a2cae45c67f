/* Times the calls of one network, one by one: each is a step of its code. */
#define _POSIX_C_SOURCE 199309L
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "network.inc"

#define ALIGNMENT 64
#define USUAL 0x3d /* of four such bytes, a float that is neither large nor tiny: 0.046 */

enum { MEMORIES = 4 }; /* weights, inputs and outputs, what is in between, scratch */

int32_t SD_STEP(void *weights, void *mutable_memory, void *activations, void *scratch, int32_t step, int32_t part,
                int32_t parts);

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static unsigned char *usual(size_t bytes) {
    size_t whole = (bytes + ALIGNMENT) / ALIGNMENT * ALIGNMENT;
    unsigned char *made = aligned_alloc(ALIGNMENT, whole);
    if (made) memset(made, USUAL, whole);
    return made;
}

/* Lowers each of `seconds` to the least time of its step in so many runs; returns 0, or 1 without memory. */
__attribute__((visibility("default"))) int sd_clock(const void *weights, double *seconds, int runs) {
    static unsigned char *memory[MEMORIES];
    const size_t sizes[MEMORIES] = {SD_SIZES};
    for (int i = 0; i < MEMORIES; ++i) {
        if (!memory[i]) memory[i] = usual(sizes[i]);
        if (!memory[i]) return 1;
    }
    memcpy(memory[0], weights, sizes[0]);
    for (int i = 0; i < runs; ++i) {
        for (int step = 0; step < SD_STEPS; ++step) {
            double start = now();
            SD_STEP(memory[0], memory[1], memory[2], memory[3], step, 0, 1);
            double took = now() - start;
            if (took < seconds[step]) seconds[step] = took;
        }
    }
    return 0;
}
