/* src/base/thread.h: a loop over independent items on several threads. */
#ifndef OM_THREAD_H
#define OM_THREAD_H

#include "base/base.h"

size_t om_cpu_count(void); /* CPUs this process may use, at least 1 */

/* Call fn(user, begin, end) for consecutive ranges that cover [0, n), in parallel when n >= 2 * grain.
 * Returns when all are done. Falls back to the calling thread when threads cannot be made. */
void om_parallel(size_t n, size_t grain, void (*fn)(void *user, size_t begin, size_t end), void *user);

#endif
