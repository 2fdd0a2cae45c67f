/* A team at work: every part of a step reads what other parts of the step before it wrote. Exit code 1: wrong sums. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "threads.h"

enum { SIZE = 1000, STEPS = 20, RUNS = 200, MOST = 5 };

static const sd_step steps[STEPS] = {
    {1, 1}, {7, 1}, {1000, 4}, {2, 2}, {1, 1}, {1, 1}, {3, 1}, {64, 4}, {5, 1}, {1000, 1},
    {1, 1}, {7, 1}, {1000, 4}, {2, 2}, {1, 1}, {1, 1}, {3, 1}, {64, 4}, {5, 1}, {1000, 1},
};

typedef struct {
    unsigned values[2][SIZE];
} memory;

static void work(void *context, int thread, int32_t step, int32_t part, int32_t parts) {
    memory *m = context;
    const unsigned *from = m->values[step % 2];
    unsigned *to = m->values[1 - step % 2];
    (void)thread;
    for (int i = SIZE * part / parts; i < SIZE * (part + 1) / parts; ++i) {
        to[i] = from[(i * 7 + 3) % SIZE] * 31 + from[SIZE - 1 - i] + (unsigned)step;
    }
}

int main(void) {
    for (int threads = 2; threads <= MOST; ++threads) {
        memory mine = {{{1, 2, 3}}}, other = mine, wanted = mine;
        sd_team *a = sd_team_create(threads, steps, STEPS, work, &mine);
        sd_team *b = sd_team_create(2, steps, STEPS, work, &other);
        for (int run = 0; run < RUNS; ++run) {
            for (int step = 0; step < STEPS; ++step) work(&wanted, 0, step, 0, 1);
            sd_team_run(a);
            sd_team_run(b);
            if (run % 50 == 0) usleep(500); /* until they have fallen asleep */
            if (memcmp(&mine, &wanted, sizeof mine) || memcmp(&other, &wanted, sizeof other)) return 1;
        }
        sd_team_destroy(a);
        sd_team_destroy(b);
    }
    return 0;
}
