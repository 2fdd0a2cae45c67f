/* A team of threads that does the steps of a network, one after the other, each step together. */
#ifndef STEPDOWN_THREADS_H
#define STEPDOWN_THREADS_H

#include <stdint.h>

/* Into how many parts the work of a step can be divided (1: one thread does it), and into how many a thread's share
   is cut, so that a thread that is done takes a part from one that is late. */
typedef struct {
    int32_t units, grains;
} sd_step;

/* Does a part of a step, on one of the threads: 0 is the one that calls sd_team_run. */
typedef void sd_work(void *context, int thread, int32_t step, int32_t part, int32_t parts);

typedef struct sd_team sd_team;

/* Returns a team of at least two threads, the caller's among them; NULL where there is no memory, or no thread. */
sd_team *sd_team_create(int threads, const sd_step *steps, int count, sd_work *work, void *context);

/* Does all steps. Allocates nothing. */
void sd_team_run(sd_team *team);

void sd_team_destroy(sd_team *team);

/* The processors that this process may use. */
int sd_processors(void);

#endif
