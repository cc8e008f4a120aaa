/* tests/test.h: a small harness: named tests, cases within them, and a count at the end.
 *
 * A test file defines `const struct test_entry t_NAME[]` and is listed in tests/unit/tests.def; the runner prints the
 * failures and closes with "N passed, N failed, N skipped" (a count of test entries, not of checks). */
#ifndef OM_TEST_H
#define OM_TEST_H

#include "base/base.h"

struct test; /* the running test */

struct test_entry {
    const char *name;
    void (*run)(struct test *t);
};
#define TEST_END { NULL, NULL }

/* Name the case that following checks belong to. */
void test_case(struct test *t, const char *fmt, ...) OM_PRINTF(2, 3);
void test_check(struct test *t, bool ok, const char *file, int line, const char *fmt, ...) OM_PRINTF(5, 6);
void test_skip(struct test *t, const char *why);
bool test_failed(const struct test *t);
const char *test_tmpdir(struct test *t);          /* a fresh directory, removed after the test */
const char *test_data(struct test *t, const char *name); /* the path of tests/data/NAME, valid during the test */
const char *test_shared(void);                    /* the directory with more goldens, or NULL (env OM_SHARED) */

#define CHECK(t, cond) test_check(t, (cond), __FILE__, __LINE__, "%s", #cond)
#define CHECK_INT(t, got, want) test_check_int(t, (int64_t)(got), (int64_t)(want), #got, __FILE__, __LINE__)
#define CHECK_STR(t, got, want) test_check_str(t, (got), (want), #got, __FILE__, __LINE__)
#define CHECK_HAS(t, got, part) test_check_has(t, (got), (part), #got, __FILE__, __LINE__) /* substring */
#define CHECK_OK(t, rc, err) test_check(t, (rc) == 0, __FILE__, __LINE__, "%s: %s", #rc, om_error_text(err))
void test_check_int(struct test *t, int64_t got, int64_t want, const char *what, const char *file, int line);
void test_check_str(struct test *t, const char *got, const char *want, const char *what, const char *file, int line);
void test_check_has(struct test *t, const char *got, const char *part, const char *what, const char *file, int line);

#endif
