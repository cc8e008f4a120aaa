/* cli/progress.c: bars on a terminal, one per file that is written or downloaded at the moment.
 *
 * Files that are done within half a second show none. Bars stay below all other output: whoever
 * prints clears them first. */
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "cli/cli.h"

enum { BAR = 20 };

static const double patience = 0.5, redraw = 0.1; /* seconds */

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void cli_progress_clear(struct cli_progress *p)
{
    if (p->lines > 0)
        fprintf(stderr, "\r\033[%dA\033[J", p->lines);
    p->lines = 0;
}

static int columns(void)
{
    struct winsize w;

    return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 0 ? w.ws_col : 80;
}

/* A line must not wrap: the cursor goes up by lines. */
static void draw_bar(const struct cli_progress_bar *b, int width)
{
    const double part = b->total > 0 ? (double)b->done / (double)b->total : 0.0;
    const int full = (int)(part * BAR), room = width - BAR - 26;
    const int len = (int)strlen(b->what), shown = OM_MAX(OM_MIN(len, room), 0);
    char bar[BAR + 1];

    memset(bar, '#', (size_t)full);
    memset(bar + full, '.', (size_t)(BAR - full));
    bar[BAR] = '\0';
    if (width > BAR + 28)
        fprintf(stderr, "%s [%s] ", b->what + (len - shown), bar); /* the end of a name says more */
    fprintf(stderr, "%3.0f %% of %.1f MB\n", 100.0 * part, (double)b->total * 1e-6);
}

static void draw(struct cli_progress *p, double t)
{
    const int width = columns();

    cli_progress_clear(p);
    for (size_t i = 0; i < OM_COUNT(p->bars); i++)
        if (p->bars[i].used && t - p->bars[i].started >= patience) {
            draw_bar(&p->bars[i], width);
            p->lines++;
        }
    p->drawn = t;
}

/* The bar of a file, or a free one; NULL when there are more files than bars. */
static struct cli_progress_bar *find(struct cli_progress *p, const char *what, double t)
{
    struct cli_progress_bar *spare = NULL;

    for (size_t i = 0; i < OM_COUNT(p->bars); i++) {
        struct cli_progress_bar *b = &p->bars[i];

        if (b->used && strncmp(b->what, what, sizeof(b->what) - 1) == 0)
            return b;
        if (!b->used && spare == NULL)
            spare = b;
    }
    if (spare != NULL) {
        *spare = (struct cli_progress_bar){ .used = true, .started = t };
        snprintf(spare->what, sizeof(spare->what), "%s", what);
    }
    return spare;
}

void cli_progress_update(struct cli_progress *p, const char *what, uint64_t done, uint64_t total)
{
    const double t = now();
    struct cli_progress_bar *b = find(p, what, t);

    if (b == NULL)
        return;
    b->done = OM_MIN(done, total);
    b->total = total;
    b->used = done < total;
    if (t - p->drawn >= redraw || !b->used)
        draw(p, t);
}
