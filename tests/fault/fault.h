/* tests/fault/fault.h: make the n-th allocation, read or write of an operation fail.
 *
 * The fault program links the library with --wrap for the functions listed in meson.build; fault.c
 * counts the calls and lets the planned one fail. One operation at a time; calls of other threads
 * count as well. */
#ifndef OM_FAULT_H
#define OM_FAULT_H

#include "test.h"

enum fault_kind {
    FAULT_MEMORY = 1 << 0, /* malloc and its relatives, mmap, opendir */
    FAULT_WRITE = 1 << 1,  /* write, ftruncate, fsync, rename, open for writing, mkdir */
    FAULT_COPY = 1 << 2,   /* copy_file_range, ioctl */
    FAULT_READ = 1 << 3,   /* read, pread, fstat, open for reading */
    FAULT_REMOVE = 1 << 4, /* unlink */
};

struct fault_plan {
    unsigned kinds;
    uint64_t nth; /* 1: the first call of these kinds; 0: none fails */
    bool lasting; /* all later calls fail as well, as when memory or the disk is used up */
    int error;    /* errno; 0: ENOMEM for FAULT_MEMORY, ENOSPC for FAULT_WRITE and FAULT_COPY,
                   * EACCES for FAULT_REMOVE, EIO for FAULT_READ */
    size_t most;  /* transfers move at most so many bytes at once; 0: as many as they like */
};

void fault_arm(const struct fault_plan *plan); /* starts to count */
uint64_t fault_disarm(void);                   /* ends it; how many calls were made to fail */
uint64_t fault_calls(void);                    /* of the planned kinds since fault_arm() */

/* Run op with the first, second, third ... call failing, alone and with all later ones, until it
 * runs without meeting a failure. Each run must give 0 or a code with a message; clean, which may
 * be NULL, is called after each run, with the code. AddressSanitizer sees what a failed run forgot
 * to free. */
void fault_sweep(struct test *t, unsigned kinds, int (*op)(void *user, struct om_error *err),
                 void (*clean)(struct test *t, void *user, int rc), void *user);

#endif
