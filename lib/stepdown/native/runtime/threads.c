/* A team of threads: see threads.h.
 *
 * Each thread has parts of every step of its own, and takes them one by one; then it takes those that others have not
 * begun. So the one that calls never waits for a thread that has not woken yet, or that the system lets wait. Counters
 * only grow, from run to run, and are compared by their distance: none is ever set back, so that a thread that comes
 * late to a run finds all its parts taken, and goes on to the next one.
 */
#if defined(__linux__)
#define _GNU_SOURCE
#include <sched.h>
#endif
#include "threads.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define LINE 64
#define SPIN_NS 50000 /* how long a thread waits awake: waking one takes about as long */
#define SPINS_A_LOOK 16

typedef atomic_uint counter;

typedef union {
    counter count;
    char line[LINE]; /* what threads write at the same time is not on one line of a cache */
} done_counter;

typedef struct {
    sd_team *team;
    pthread_t thread;
    int number;
    counter *taken; /* by step, how many parts of this thread's own have been begun in all runs */
} member;

struct sd_team {
    int threads, count, started;
    const sd_step *steps;
    sd_work *work;
    void *context;
    bool spins;    /* there is a processor for each thread */
    pid_t process; /* a fork has no threads but the one that called it */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    member *members;
    counter *taken;
    done_counter *done; /* by step, how many parts have been done in all runs */
    done_counter runs, sleepers;
    atomic_bool ends;
};

/* --- waiting */

static void pause_a_moment(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");
#else
    atomic_signal_fence(memory_order_seq_cst);
#endif
}

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static bool reached(counter *count, unsigned target) {
    return (int)(atomic_load_explicit(count, memory_order_acquire) - target) >= 0;
}

static bool reached_soon(counter *count, unsigned target) {
    for (int64_t end = now_ns() + SPIN_NS; now_ns() < end;) {
        for (int i = 0; i < SPINS_A_LOOK; ++i) {
            if (reached(count, target)) return true;
            pause_a_moment();
        }
    }
    return false;
}

static void wait_for(sd_team *team, counter *count, unsigned target) {
    if (reached(count, target) || (team->spins && reached_soon(count, target))) return;
    pthread_mutex_lock(&team->mutex);
    atomic_fetch_add(&team->sleepers.count, 1);
    while ((int)(atomic_load(count) - target) < 0) pthread_cond_wait(&team->changed, &team->mutex);
    atomic_fetch_sub(&team->sleepers.count, 1);
    pthread_mutex_unlock(&team->mutex);
}

/* Adds to a counter, and wakes who sleeps: either is the sum seen by who is about to sleep, or the sleeper here. */
static unsigned add(counter *count, unsigned more) {
    return atomic_fetch_add(count, more) + more;
}

static void wake(sd_team *team) {
    if (!atomic_load(&team->sleepers.count)) return;
    pthread_mutex_lock(&team->mutex);
    pthread_cond_broadcast(&team->changed);
    pthread_mutex_unlock(&team->mutex);
}

/* --- working */

static int32_t parts_of(const sd_team *team, int step) {
    const int64_t wanted = (int64_t)team->threads * team->steps[step].grains;
    return team->steps[step].units < wanted ? team->steps[step].units : (int32_t)wanted;
}

static int32_t first_of(const sd_team *team, int32_t parts, int owner) {
    return (int32_t)((int64_t)parts * owner / team->threads);
}

/* Does what is left of the parts of a thread, `owner`; returns how many it has done. */
static unsigned do_parts(member *me, unsigned run, int step, int owner) {
    sd_team *team = me->team;
    const int32_t parts = parts_of(team, step), first = first_of(team, parts, owner);
    const unsigned own = (unsigned)(first_of(team, parts, owner + 1) - first), begin = run * own;
    counter *taken = &team->members[owner].taken[step];
    unsigned made = 0, next = atomic_load_explicit(taken, memory_order_relaxed);
    while (next - begin < own) {
        if (atomic_compare_exchange_weak_explicit(taken, &next, next + 1, memory_order_relaxed, memory_order_relaxed)) {
            team->work(team->context, me->number, step, first + (int32_t)(next - begin), parts);
            ++made;
            next = atomic_load_explicit(taken, memory_order_relaxed);
        }
    }
    return made;
}

static void do_run(member *me, unsigned run) {
    sd_team *team = me->team;
    for (int step = 0; step < team->count; ++step) {
        const unsigned parts = (unsigned)parts_of(team, step), all = (run + 1) * parts;
        unsigned made = 0;
        for (int i = 0; i < team->threads; ++i) made += do_parts(me, run, step, (me->number + i) % team->threads);
        if (made && add(&team->done[step].count, made) == all) wake(team);
        wait_for(team, &team->done[step].count, all);
    }
}

static void *work_on(void *argument) {
    member *me = argument;
    sd_team *team = me->team;
    for (unsigned seen = 0;;) {
        wait_for(team, &team->runs.count, seen + 1);
        if (atomic_load(&team->ends)) return NULL;
        seen = atomic_load(&team->runs.count);
        do_run(me, seen - 1);
    }
}

void sd_team_run(sd_team *team) {
    if (getpid() != team->process) {
        for (int step = 0; step < team->count; ++step) team->work(team->context, 0, step, 0, 1);
        return;
    }
    const unsigned run = add(&team->runs.count, 1) - 1;
    wake(team);
    do_run(&team->members[0], run);
}

/* --- a team's life */

int sd_processors(void) {
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
    const long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count > 0 ? (int)count : 1;
}

static bool has_memory(sd_team *team) {
    const size_t threads = (size_t)team->threads, count = (size_t)team->count + 1;
    team->members = calloc(threads, sizeof *team->members);
    team->taken = calloc(threads * count, sizeof *team->taken);
    team->done = calloc(count, sizeof *team->done);
    if (!team->members || !team->taken || !team->done) return false;
    for (size_t i = 0; i < threads; ++i) {
        team->members[i] = (member){.team = team, .number = (int)i, .taken = team->taken + i * count};
    }
    return true;
}

static bool starts(sd_team *team) {
    pthread_mutex_init(&team->mutex, NULL);
    pthread_cond_init(&team->changed, NULL);
    for (team->started = 1; team->started < team->threads; ++team->started) {
        member *each = &team->members[team->started];
        if (pthread_create(&each->thread, NULL, work_on, each)) return false;
    }
    return true;
}

sd_team *sd_team_create(int threads, const sd_step *steps, int count, sd_work *work, void *context) {
    sd_team *team = calloc(1, sizeof *team);
    if (!team) return NULL;
    team->threads = threads;
    team->count = count;
    team->steps = steps;
    team->work = work;
    team->context = context;
    team->spins = threads <= sd_processors();
    team->process = getpid();
    if (has_memory(team) && starts(team)) return team;
    sd_team_destroy(team);
    return NULL;
}

void sd_team_destroy(sd_team *team) {
    if (!team) return;
    if (team->started && getpid() == team->process) {
        atomic_store(&team->ends, true);
        add(&team->runs.count, 1);
        wake(team);
        for (int i = 1; i < team->started; ++i) pthread_join(team->members[i].thread, NULL);
        pthread_cond_destroy(&team->changed);
        pthread_mutex_destroy(&team->mutex);
    }
    free(team->done);
    free(team->taken);
    free(team->members);
    free(team);
}
