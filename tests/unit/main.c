/* tests/unit/main.c: runs the listed tests, all or those named on the command line ("json" or
 * "json/patch"). */
#include "test.h"

#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/file.h"

struct test {
    const char *group, *name;
    char where[512]; /* the case within the test */
    bool failed, skipped;
    char *tmpdir;
    struct om_arena arena;
};

#ifndef TEST_LIST
#define TEST_LIST "unit/tests.def"
#endif

#define TEST(name) extern const struct test_entry t_##name[];
#include TEST_LIST
#undef TEST

static const struct {
    const char *name;
    const struct test_entry *entries;
} groups[] = {
#define TEST(name) { #name, t_##name },
#include TEST_LIST
#undef TEST
};

void test_case(struct test *t, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(t->where, sizeof(t->where), fmt, ap);
    va_end(ap);
}

void test_check(struct test *t, bool ok, const char *file, int line, const char *fmt, ...)
{
    va_list ap;

    if (ok)
        return;
    t->failed = true;
    printf("%s:%d: %s/%s", file, line, t->group, t->name);
    if (t->where[0])
        printf(" (%s)", t->where);
    printf(": ");
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
}

void test_check_int(struct test *t, int64_t got, int64_t want, const char *what, const char *file,
                    int line)
{
    test_check(t, got == want, file, line, "%s: got %" PRId64 ", want %" PRId64, what, got, want);
}

void test_check_str(struct test *t, const char *got, const char *want, const char *what,
                    const char *file, int line)
{
    const bool equal = got && want ? strcmp(got, want) == 0 : got == want;

    test_check(t, equal, file, line, "%s: got \"%s\", want \"%s\"", what, got ? got : "(null)",
               want ? want : "(null)");
}

void test_check_has(struct test *t, const char *got, const char *part, const char *what,
                    const char *file, int line)
{
    test_check(t, got && strstr(got, part), file, line, "%s: got \"%s\", which lacks \"%s\"", what,
               got ? got : "(null)", part);
}

void test_skip(struct test *t, const char *why)
{
    t->skipped = true;
    printf("skipped: %s/%s: %s\n", t->group, t->name, why);
}

bool test_failed(const struct test *t)
{
    return t->failed;
}

/* A test that cannot get its own scaffolding cannot say anything. */
static void *must(void *p, const char *what)
{
    if (p)
        return p;
    perror(what);
    exit(2);
}

const char *test_tmpdir(struct test *t)
{
    const char *const base = getenv("TMPDIR");

    if (!t->tmpdir) {
        char *path = om_arena_printf(&t->arena, "%s/optimum-test-XXXXXX", base ? base : "/tmp");
        t->tmpdir = must(mkdtemp(must(path, "test_tmpdir")), "mkdtemp");
    }
    return t->tmpdir;
}

const char *test_data(struct test *t, const char *name)
{
    const char *const dir = getenv("OM_TEST_DATA");

    return must(om_path_join(&t->arena, dir ? dir : OM_TEST_DATA, name), "test_data");
}

const char *test_shared(void)
{
    const char *const dir = getenv("OM_SHARED");

    return dir && dir[0] ? dir : NULL;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

struct totals {
    int passed, failed, skipped;
};

static void run_entry(const char *group, const struct test_entry *e, struct totals *sum)
{
    struct test t = { .group = group, .name = e->name, .arena = OM_ARENA_INIT(64u << 20) };

    e->run(&t);
    if (t.failed)
        sum->failed++;
    else if (t.skipped)
        sum->skipped++;
    else
        sum->passed++;
    if (t.tmpdir)
        nftw(t.tmpdir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    om_arena_release(&t.arena);
    fflush(stdout); /* a crash of a later test must not swallow this one's lines */
}

/* Whether arg asks for group/name: "group" or "group/name". */
static bool asked_for(const char *arg, const char *group, const char *name)
{
    const size_t len = strlen(group);

    if (strncmp(arg, group, len) != 0)
        return false;
    return arg[len] == '\0' || (arg[len] == '/' && strcmp(arg + len + 1, name) == 0);
}

static bool wanted(int argc, char **argv, const char *group, const char *name)
{
    if (argc < 2)
        return true;
    for (int i = 1; i < argc; i++) {
        if (asked_for(argv[i], group, name))
            return true;
    }
    return false;
}

int main(int argc, char **argv)
{
    struct totals sum = { 0, 0, 0 };

    for (size_t g = 0; g < OM_COUNT(groups); g++) {
        for (const struct test_entry *e = groups[g].entries; e->name; e++) {
            if (wanted(argc, argv, groups[g].name, e->name))
                run_entry(groups[g].name, e, &sum);
        }
    }
    printf("%d passed, %d failed, %d skipped\n", sum.passed, sum.failed, sum.skipped);
    if (sum.passed + sum.failed + sum.skipped == 0) {
        fprintf(stderr, "no test has that name\n");
        return 2;
    }
    return sum.failed ? 1 : 0;
}
