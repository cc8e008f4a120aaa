/* src/base/thread.c: a loop over independent items, cut into one static range per thread, and a
 * pipeline of makers and one user. */
#include "base/thread.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
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

/* ---- items by a number of workers ---- */

struct workers {
    atomic_size_t next;
    size_t n;
    void (*fn)(void *user, size_t item);
    void *user;
};

static void *worker_main(void *arg)
{
    struct workers *w = arg;
    size_t item;

    while ((item = atomic_fetch_add(&w->next, 1)) < w->n)
        w->fn(w->user, item);
    return NULL;
}

void om_workers(size_t threads, size_t n, void (*fn)(void *user, size_t item), void *user)
{
    struct workers w = { .n = n, .fn = fn, .user = user };
    const size_t extra = OM_MIN(OM_MIN(threads, n), (size_t)THREADS_MAX);
    pthread_t *ids = extra > 1 ? calloc(extra - 1, sizeof(*ids)) : NULL;
    size_t made = 0;

    while (ids && made < extra - 1 && pthread_create(&ids[made], NULL, worker_main, &w) == 0)
        made++;
    worker_main(&w);
    for (size_t i = 0; i < made; i++)
        pthread_join(ids[i], NULL);
    free(ids);
}

/* ---- the relay ---- */

enum { SLOTS_MAX = 64 };

struct pipe {
    const struct om_relay *p;
    pthread_mutex_t lock;
    pthread_cond_t made, room;
    /* under the lock */
    size_t taken, used; /* items that somebody makes or has made; that have been used */
    bool ready[SLOTS_MAX];
    bool stop;
};

/* The next item for a maker; false: there is none any more. The lock is held. */
static bool take(struct pipe *q, size_t *item)
{
    while (!q->stop && q->taken < q->p->n && q->taken - q->used >= q->p->slots)
        pthread_cond_wait(&q->room, &q->lock);
    if (q->stop || q->taken >= q->p->n)
        return false;
    *item = q->taken++;
    return true;
}

/* Make an item that was taken. The lock is held, but not meanwhile. */
static void make(struct pipe *q, size_t item)
{
    const size_t slot = item % q->p->slots;

    pthread_mutex_unlock(&q->lock);
    q->p->make(q->p->user, slot, item);
    pthread_mutex_lock(&q->lock);
    q->ready[slot] = true;
    pthread_cond_signal(&q->made); /* to the user, who alone waits for it */
}

static void *maker_main(void *arg)
{
    struct pipe *q = arg;
    size_t item;

    pthread_mutex_lock(&q->lock);
    while (take(q, &item))
        make(q, item);
    pthread_mutex_unlock(&q->lock);
    return NULL;
}

/* May the user make an item as well while the one it needs is not ready? */
static bool has_room(const struct pipe *q)
{
    return q->taken < q->p->n && q->taken - q->used < q->p->slots;
}

static int use_all(struct pipe *q)
{
    int rc = 0;

    for (size_t item = 0; item < q->p->n && rc == 0; item++) {
        const size_t slot = item % q->p->slots;

        while (!q->ready[slot]) {
            if (has_room(q))
                make(q, q->taken++);
            else
                pthread_cond_wait(&q->made, &q->lock);
        }
        pthread_mutex_unlock(&q->lock);
        rc = q->p->use(q->p->user, slot, item);
        pthread_mutex_lock(&q->lock);
        q->ready[slot] = false;
        q->used++;
        if (q->taken - q->used <= q->p->slots / 2) /* not for every single slot */
            pthread_cond_broadcast(&q->room);
    }
    return rc;
}

int om_relay_run(const struct om_relay *p)
{
    struct pipe q = { .p = p,
                      .lock = PTHREAD_MUTEX_INITIALIZER,
                      .made = PTHREAD_COND_INITIALIZER,
                      .room = PTHREAD_COND_INITIALIZER };
    const size_t wanted = OM_MIN(OM_MIN(om_cpu_count(), p->slots), p->n) - (p->n > 0);
    pthread_t makers[SLOTS_MAX];
    size_t n = 0;
    int rc;

    assert(p->slots > 0 && p->slots <= SLOTS_MAX);
    while (n < wanted && pthread_create(&makers[n], NULL, maker_main, &q) == 0)
        n++;
    pthread_mutex_lock(&q.lock);
    rc = use_all(&q);
    q.stop = true;
    pthread_cond_broadcast(&q.room);
    pthread_mutex_unlock(&q.lock);
    while (n > 0)
        pthread_join(makers[--n], NULL);
    return rc;
}
