/* A team of threads: see threads.h.
 *
 * Each thread has parts of every step of its own, and does them one by one. Then it waits until all parts of the step
 * are done, and where that lasts it does those that others have not begun: so nobody waits for a thread that has not
 * woken yet, or that the system lets wait.
 *
 * What threads tell each other are numbers that only grow, from step to step and from run to run: by thread, how many
 * of its own parts have been begun, by whomever, and how many parts it has done, of whomever's. A step is done when the
 * sum of the latter says so. Nothing is ever set back, so a thread that comes late to a run finds all of it done. Each
 * number but the first is written by one thread alone, and the first nearly always: that is what makes a step cheap.
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

#define LINE 128       /* two lines of a cache, which some processors fetch together */
#define PATIENCE 32    /* looks, about a microsecond, before a thread does parts of others */
#define LOOKS 16       /* until the clock is read again */
#define AWAKE_NS 50000 /* how long a thread waits awake: waking one takes about as long */

/* What one thread writes and others read, alone on its line. */
typedef union {
    atomic_uint count;
    char line[LINE];
} counter;

typedef struct {
    counter begun, done;
    sd_team *team;
    pthread_t thread;
    int number;
    char line[LINE];
} member;

struct sd_team {
    int threads, count, started;
    const sd_step *steps;
    sd_work *work;
    void *context;
    bool awake;    /* there is a processor for each thread, so one that waits takes none from another */
    pid_t process; /* a fork has no threads but the one that called it */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    member *members;
    unsigned *before; /* [threads + 1][steps + 1]: parts of a thread before a step of a run; in the last row, of all */
    counter runs, sleepers;
    atomic_bool ends;
};

static const unsigned *before(const sd_team *team, int owner) {
    return team->before + (size_t)owner * ((size_t)team->count + 1);
}

/* --- waiting */

static void pause_a_moment(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");
#endif
}

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static bool is_done(sd_team *team, unsigned target) {
    unsigned sum = 0;
    for (int i = 0; i < team->threads; ++i) sum += atomic_load(&team->members[i].done.count);
    return (int)(sum - target) >= 0;
}

static bool is_called(sd_team *team, unsigned target) {
    return (int)(atomic_load(&team->runs.count) - target) >= 0;
}

typedef bool condition(sd_team *team, unsigned target);

static bool holds_soon(sd_team *team, condition *holds, unsigned target, int looks) {
    for (int i = 0; i < looks; ++i) {
        if (holds(team, target)) return true;
        pause_a_moment();
    }
    return false;
}

static void wait_until(sd_team *team, condition *holds, unsigned target) {
    for (const int64_t end = now_ns() + AWAKE_NS; team->awake && now_ns() < end;) {
        if (holds_soon(team, holds, target, LOOKS)) return;
    }
    pthread_mutex_lock(&team->mutex);
    if (atomic_fetch_add(&team->sleepers.count, 1)) pthread_cond_broadcast(&team->changed);
    while (!holds(team, target)) pthread_cond_wait(&team->changed, &team->mutex);
    atomic_fetch_sub(&team->sleepers.count, 1);
    pthread_mutex_unlock(&team->mutex);
}

static void wake(sd_team *team) {
    if (!atomic_load(&team->sleepers.count)) return;
    pthread_mutex_lock(&team->mutex);
    pthread_cond_broadcast(&team->changed);
    pthread_mutex_unlock(&team->mutex);
}

/* --- working */

/* Does what is left of the parts of a thread, `owner`; returns how many it has done. */
static unsigned do_parts(member *me, unsigned run, int step, int owner) {
    sd_team *team = me->team;
    const unsigned *row = before(team, owner), *all = before(team, team->threads);
    const unsigned begin = run * row[team->count] + row[step], own = row[step + 1] - row[step];
    const int32_t parts = (int32_t)(all[step + 1] - all[step]);
    const int32_t first = (int32_t)(((int64_t)parts * owner + team->threads - 1) / team->threads);
    atomic_uint *begun = &team->members[owner].begun.count;
    unsigned made = 0, next = atomic_load_explicit(begun, memory_order_relaxed);
    while (next - begin < own) {
        if (atomic_compare_exchange_weak_explicit(begun, &next, next + 1, memory_order_relaxed, memory_order_relaxed)) {
            team->work(team->context, me->number, step, first + (int32_t)(next - begin), parts);
            ++made;
            ++next;
        }
    }
    return made;
}

/* Tells others what was done, and wakes those who sleep. Who falls asleep at this moment may miss it where it is not
   told `surely`, which takes as long as a message to them and back; then the next one wakes it. */
static void tell(member *me, unsigned made, bool surely) {
    const unsigned sum = atomic_load_explicit(&me->done.count, memory_order_relaxed) + made;
    if (surely) {
        atomic_store(&me->done.count, sum);
    } else {
        atomic_store_explicit(&me->done.count, sum, memory_order_release);
    }
    wake(me->team);
}

static void do_step(member *me, unsigned run, int step) {
    sd_team *team = me->team;
    const unsigned *all = before(team, team->threads);
    const unsigned target = run * all[team->count] + all[step + 1];
    tell(me, do_parts(me, run, step, me->number), !team->awake || step + 1 == team->count);
    if (holds_soon(team, is_done, target, team->awake ? PATIENCE : 1)) return;
    unsigned made = 0;
    for (int i = 1; i < team->threads; ++i) made += do_parts(me, run, step, (me->number + i) % team->threads);
    tell(me, made, true);
    wait_until(team, is_done, target);
}

static void do_run(member *me, unsigned run) {
    for (int step = 0; step < me->team->count; ++step) do_step(me, run, step);
}

static void *work_on(void *argument) {
    member *me = argument;
    sd_team *team = me->team;
    for (unsigned seen = 0;;) {
        wait_until(team, is_called, seen + 1);
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
    const unsigned run = atomic_fetch_add(&team->runs.count, 1);
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

static void divide(sd_team *team) {
    const size_t row = (size_t)team->count + 1;
    const int64_t threads = team->threads;
    for (int step = 0; step < team->count; ++step) {
        const int64_t wanted = threads * team->steps[step].grains, units = team->steps[step].units;
        const int64_t parts = units < wanted ? units : wanted;
        for (int64_t i = 0; i <= threads; ++i) {
            unsigned *own = team->before + (size_t)i * row + step;
            const int64_t first = (parts * i + threads - 1) / threads, end = (parts * (i + 1) + threads - 1) / threads;
            own[1] = own[0] + (unsigned)(i < threads ? end - first : parts);
        }
    }
}

static bool has_memory(sd_team *team) {
    const size_t threads = (size_t)team->threads;
    team->members = calloc(threads, sizeof *team->members);
    team->before = calloc((threads + 1) * ((size_t)team->count + 1), sizeof *team->before);
    if (!team->members || !team->before) return false;
    for (size_t i = 0; i < threads; ++i) {
        team->members[i].team = team;
        team->members[i].number = (int)i;
    }
    divide(team);
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
    team->awake = threads <= sd_processors();
    team->process = getpid();
    if (has_memory(team) && starts(team)) return team;
    sd_team_destroy(team);
    return NULL;
}

void sd_team_destroy(sd_team *team) {
    if (!team) return;
    if (team->started && getpid() == team->process) {
        atomic_store(&team->ends, true);
        atomic_fetch_add(&team->runs.count, 1);
        wake(team);
        for (int i = 1; i < team->started; ++i) pthread_join(team->members[i].thread, NULL);
        pthread_cond_destroy(&team->changed);
        pthread_mutex_destroy(&team->mutex);
    }
    free(team->before);
    free(team->members);
    free(team);
}
