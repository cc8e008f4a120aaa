/* src/pipe/top.c: the largest scores of many, by a heap with the smallest of them on top. */
#include "pipe/pipe.h"

#include <stdlib.h>

/* Is a better than b? NaN is better than nothing. */
static bool better(struct pipe_best a, struct pipe_best b)
{
    if (a.score != b.score)
        return a.score > b.score || (b.score != b.score && a.score == a.score);
    return a.key != b.key ? a.key < b.key : a.other < b.other;
}

bool pipe_top_wants(const struct pipe_top *t, float score)
{
    return t->len < t->max || (t->max > 0 && score > t->at[0].score);
}

static void sift_up(struct pipe_best *at, size_t i)
{
    while (i > 0 && better(at[(i - 1) / 2], at[i])) {
        const struct pipe_best above = at[(i - 1) / 2];

        at[(i - 1) / 2] = at[i];
        at[i] = above;
        i = (i - 1) / 2;
    }
}

static void sift_down(struct pipe_best *at, size_t len, size_t i)
{
    for (;;) {
        size_t worst = i;

        for (size_t k = 2 * i + 1; k <= 2 * i + 2 && k < len; k++)
            if (better(at[worst], at[k]))
                worst = k;
        if (worst == i)
            return;
        const struct pipe_best moved = at[i];
        at[i] = at[worst];
        at[worst] = moved;
        i = worst;
    }
}

void pipe_top_add(struct pipe_top *t, float score, uint32_t key, uint32_t other)
{
    const struct pipe_best b = { score, key, other };

    if (t->len < t->max) {
        t->at[t->len] = b;
        sift_up(t->at, t->len++);
    } else if (t->max > 0 && better(b, t->at[0])) {
        t->at[0] = b;
        sift_down(t->at, t->len, 0);
    }
}

static int compare(const void *a, const void *b)
{
    const struct pipe_best *const x = a, *const y = b;

    return better(*x, *y) ? -1 : better(*y, *x);
}

void pipe_top_sort(struct pipe_top *t)
{
    if (t->len > 1)
        qsort(t->at, t->len, sizeof(*t->at), compare);
}
