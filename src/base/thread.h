/* src/base/thread.h: loops on several threads: over independent items, and over items that are made at once and used in order. */
#ifndef OM_THREAD_H
#define OM_THREAD_H

#include "base/base.h"

size_t om_cpu_count(void); /* CPUs this process may use, at least 1 */

/* Call fn(user, begin, end) for consecutive ranges that cover [0, n), in parallel when n >= 2 * grain.
 * Returns when all are done. Falls back to the calling thread when threads cannot be made. */
void om_parallel(size_t n, size_t grain, void (*fn)(void *user, size_t begin, size_t end), void *user);

/* Call fn(user, item) for every item below n, on at most that many threads, this one included; whoever is free takes the next.
 * Threads that cannot be made are done without. */
void om_workers(size_t threads, size_t n, void (*fn)(void *user, size_t item), void *user);

/* Items 0 to n - 1 are made on several threads and used on this one, in order, while later ones are being made. An item lies
 * in one of the slots from make() to the end of use(). Nothing waits for a thread that has not begun: what nobody has taken yet is
 * made here while the next item is not ready, which also is what happens where threads cannot be made, with a single slot or a
 * single CPU. Stops at the first failure of use() and gives it. */
struct om_relay {
    size_t n, slots;
    void (*make)(void *user, size_t slot, size_t item);
    int (*use)(void *user, size_t slot, size_t item);
    void *user;
};
int om_relay_run(const struct om_relay *p);

#endif
