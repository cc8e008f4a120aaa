/* src/base/thread.c: a loop over independent items, cut into one static range per thread. */
#include "base/thread.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { THREADS_MAX = 256 };

/* CPUs a container is limited to by a "quota period" line (cgroup v2 cpu.max), 0 for no limit. */
static size_t cgroup_limit(void)
{
    FILE *f = fopen("/sys/fs/cgroup/cpu.max", "re");
    unsigned long quota, period;
    size_t limit = 0;

    if (!f)
        return 0;
    if (fscanf(f, "%lu %lu", &quota, &period) == 2 && period > 0) /* "max 100000": no limit */
        limit = OM_MAX((quota + period - 1) / period, 1);
    fclose(f);
    return limit;
}

size_t om_cpu_count(void)
{
    cpu_set_t set;
    size_t count = 0;

    if (sched_getaffinity(0, sizeof(set), &set) == 0) {
        count = (size_t)CPU_COUNT(&set);
    } else { /* more CPUs than cpu_set_t holds */
        const long online = sysconf(_SC_NPROCESSORS_ONLN);
        count = online > 0 ? (size_t)online : 1;
    }
    const size_t limit = cgroup_limit();
    if (limit)
        count = OM_MIN(count, limit);
    return OM_MAX(count, 1);
}

struct job {
    void (*fn)(void *user, size_t begin, size_t end);
    void *user;
    size_t begin, end;
    pthread_t thread;
    bool started;
};

static void *job_main(void *arg)
{
    const struct job *j = arg;

    j->fn(j->user, j->begin, j->end);
    return NULL;
}

void om_parallel(size_t n, size_t grain, void (*fn)(void *user, size_t begin, size_t end),
                 void *user)
{
    const size_t most = n / OM_MAX(grain, 1); /* every range has at least grain items */

    if (n == 0)
        return;
    size_t threads = most < 2 ? 1 : OM_MIN(most, om_cpu_count());
    threads = OM_MIN(threads, (size_t)THREADS_MAX);
    struct job *jobs = threads > 1 ? calloc(threads, sizeof(*jobs)) : NULL;
    if (!jobs) {
        fn(user, 0, n);
        return;
    }

    size_t begin = 0;
    for (size_t i = 0; i < threads; i++) {
        const size_t end = begin + n / threads + (i < n % threads);
        jobs[i] = (struct job){ .fn = fn, .user = user, .begin = begin, .end = end };
        begin = end;
    }
    for (size_t i = 1; i < threads; i++)
        jobs[i].started = pthread_create(&jobs[i].thread, NULL, job_main, &jobs[i]) == 0;
    for (size_t i = 0; i < threads; i++) { /* the first range, and those without a thread */
        if (!jobs[i].started)
            job_main(&jobs[i]);
    }
    for (size_t i = 1; i < threads; i++) {
        if (jobs[i].started)
            pthread_join(jobs[i].thread, NULL);
    }
    free(jobs);
}
