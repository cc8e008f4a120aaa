/* src/gen/beam.c: beam search as Transformers 4.57 does it for whole batches at once, with its
 * float32 arithmetic: beams that run, and for each of the batch as many complete sequences, which
 * better ones displace. */
#include <math.h>
#include <stdlib.h>

#include "gen/gen.h"

#define NEVER (-1.0e9f) /* added to the score of what must not be chosen */

/* A continuation of a running beam. */
struct candidate {
    float score;   /* sum of log probabilities */
    float key;     /* what candidates are ordered by */
    uint32_t beam; /* of its batch item */
    uint32_t token;
    bool complete;
};

/* A place for a complete sequence; one that is empty has no new tokens. */
struct place {
    int64_t *ids;     /* [prompt + room] */
    int32_t *beams;   /* [room] */
    size_t room, len; /* of new tokens */
    float score;
    bool complete;
};

struct beams {
    struct om_search *s;
    const struct om_plan *plan;
    size_t n;    /* beams of each of the batch */
    size_t keep; /* candidates of each of the batch */
    struct om_arena arena;
    struct om_random random;
    struct om_seqs seqs;       /* running, [batch * n] */
    struct om_seqs next;       /* those after this step */
    int32_t *path, *next_path; /* which beam each new token continued, [batch * n, path_cap] */
    size_t path_cap;
    float *running;               /* [batch * n] */
    struct candidate *candidates; /* [batch * keep] */
    struct place *places;         /* [batch * n] */
    struct place *spare;          /* [n] */
    bool *hope;                   /* [batch]: a running beam may still displace a complete one */
    uint32_t *from;   /* [batch * n]: row of the last step that each running one continues */
    int64_t *scratch; /* a sequence with its candidate, as long as seqs.stride */
    float *scores;    /* [n, vocab] */
};

static int no_memory(struct om_error *err)
{
    return om_fail(err, OM_E_NOMEM, "out of memory for a beam search");
}

/* ---- candidates ---- */

/* Higher keys first, of equal ones the first found. */
static void sift_down(struct candidate *heap, size_t n, size_t at)
{
    const struct candidate x = heap[at];

    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && heap[child + 1].key < heap[child].key)
            child++;
        if (!(heap[child].key < x.key))
            break;
        heap[at] = heap[child];
    }
    heap[at] = x;
}

static void offer(struct candidate *heap, size_t *n, size_t max, const struct candidate *c)
{
    if (*n == max) {
        if (!(c->key > heap[0].key))
            return;
        heap[0] = *c;
        sift_down(heap, max, 0);
        return;
    }
    heap[(*n)++] = *c;
    if (*n == max)
        for (size_t i = max / 2; i-- > 0;)
            sift_down(heap, max, i);
}

static int descending(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;

    if (x->key != y->key)
        return x->key > y->key ? -1 : 1;
    if (x->beam != y->beam)
        return x->beam < y->beam ? -1 : 1;
    return x->token < y->token ? -1 : x->token > y->token;
}

/* Drawing without replacement is taking the largest after adding noise of Gumbel's distribution. */
static float key_of(struct beams *b, float score)
{
    if (!b->plan->c.do_sample || !(score > -INFINITY))
        return score;
    return (float)((double)score - log(-log(om_random_real(&b->random) + 0x1p-60)));
}

static void collect(struct beams *b, const float *scores, struct candidate *out)
{
    size_t n = 0;

    for (size_t k = 0; k < b->n; k++)
        for (size_t v = 0; v < b->s->vocab; v++) {
            const float x = scores[k * b->s->vocab + v], key = key_of(b, x);

            if (n == b->keep && !(key > out[0].key))
                continue;
            offer(out, &n, b->keep, &(struct candidate){ x, key, (uint32_t)k, (uint32_t)v, false });
        }
    qsort(out, b->keep, sizeof(*out), descending);
}

/* The log probabilities of what may follow the beams of one of the batch, each with the score of
 * its beam. Before the first step all beams are the same row. */
static int score_item(struct beams *b, size_t item, const struct om_logits *logits,
                      struct om_error *err)
{
    struct om_search *s = b->s;
    const bool shared = logits->rows == b->plan->batch && b->n > 1;

    for (size_t k = 0; k < b->n; k++) {
        const size_t row = item * b->n + k;
        const float *raw = om_logits_row(logits, shared ? item : row);
        float *out = b->scores + k * s->vocab;

        OM_TRY(om_search_keep_logits(s, raw, err));
        om_log_softmax(raw, s->vocab, out);
        om_process_run(s->process, row, om_seqs_row(&b->seqs, row), b->seqs.len, out);
        OM_TRY(om_search_keep_scores(s, out, err));
        for (size_t v = 0; v < s->vocab; v++)
            out[v] += b->running[row];
    }
    return 0;
}

/* Which candidates end their sequence. */
static int mark_complete(struct beams *b, size_t item, struct om_error *err)
{
    const size_t len = b->seqs.len;

    for (size_t j = 0; j < b->keep; j++) {
        struct candidate *c = &b->candidates[item * b->keep + j];

        memcpy(b->scratch, om_seqs_row(&b->seqs, item * b->n + c->beam), len * sizeof(*b->scratch));
        b->scratch[len] = c->token;
        OM_TRY(om_stop_check(b->s->stop, b->scratch, len + 1, &c->complete, err));
    }
    return 0;
}

/* ---- beams that go on ---- */

static int best_running(const void *a, const void *b)
{
    const struct candidate *const *x = a, *const *y = b;
    const float p = (*x)->score + ((*x)->complete ? NEVER : 0);
    const float q = (*y)->score + ((*y)->complete ? NEVER : 0);

    if (p != q)
        return p > q ? -1 : 1;
    return *x < *y ? -1 : *x > *y; /* as they stand in their array */
}

static void run_on(struct beams *b, size_t row, const struct candidate *c, size_t item)
{
    const size_t old = item * b->n + c->beam, done = b->seqs.len - b->plan->prompt;
    int64_t *ids = om_seqs_row(&b->next, row);
    int32_t *path = b->next_path + row * b->path_cap;

    memcpy(ids, om_seqs_row(&b->seqs, old), b->seqs.len * sizeof(*ids));
    ids[b->seqs.len] = c->token;
    if (done)
        memcpy(path, b->path + old * b->path_cap, done * sizeof(*path));
    path[done] = (int32_t)old;
    b->running[row] = c->score + (c->complete ? NEVER : 0);
    b->from[row] = (uint32_t)old;
}

/* The best n that are not complete. */
static void choose_running(struct beams *b, size_t item, const struct candidate **order)
{
    for (size_t j = 0; j < b->keep; j++)
        order[j] = &b->candidates[item * b->keep + j];
    qsort(order, b->keep, sizeof(*order), best_running);
    for (size_t k = 0; k < b->n; k++)
        run_on(b, item * b->n + k, order[k], item);
}

/* ---- complete sequences ---- */

static bool all_complete(const struct beams *b, size_t item)
{
    for (size_t k = 0; k < b->n; k++)
        if (!b->places[item * b->n + k].complete)
            return false;
    return true;
}

/* A candidate's score among complete sequences: only the first n may be one, and none where that
 * cannot change the result any more. */
static float final_score(const struct beams *b, size_t item, size_t j, bool full)
{
    const struct candidate *c = &b->candidates[item * b->keep + j];
    const double len = (double)(b->seqs.len + 1 - b->plan->prompt);
    float score = c->score / (float)pow(len, b->plan->c.length_penalty);

    score += full ? NEVER : 0;
    score += b->hope[item] ? 0 : NEVER;
    return score + (c->complete && j < b->n ? 0 : NEVER);
}

static int place_candidate(struct beams *b, size_t item, size_t j, float score, struct place *p,
                           struct om_error *err)
{
    const struct candidate *c = &b->candidates[item * b->keep + j];
    const size_t old = item * b->n + c->beam, len = b->seqs.len, prompt = b->plan->prompt;

    if (len + 1 - prompt > p->room) {
        const size_t room = (len + 1 - prompt) * 2;
        int64_t *ids = realloc(p->ids, (prompt + room) * sizeof(*ids));
        int32_t *beams;

        p->ids = ids ? ids : p->ids;
        beams = ids ? realloc(p->beams, room * sizeof(*beams)) : NULL;
        p->beams = beams ? beams : p->beams;
        if (!beams)
            return no_memory(err);
        p->room = room;
    }
    memcpy(p->ids, om_seqs_row(&b->seqs, old), len * sizeof(*p->ids));
    p->ids[len] = c->token;
    if (len > prompt)
        memcpy(p->beams, b->path + old * b->path_cap, (len - prompt) * sizeof(*p->beams));
    p->beams[len - prompt] = (int32_t)old;
    p->len = len + 1 - prompt;
    p->score = score;
    p->complete = c->complete && j < b->n;
    return 0;
}

struct ranked {
    float score;
    uint32_t at; /* a place, or n + a candidate */
};

static int best_ranked(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;

    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

/* Places that were displaced give their memory to those who come. */
static int replace(struct beams *b, size_t item, const struct ranked *best, struct om_error *err)
{
    struct place *places = b->places + item * b->n;
    size_t n_spare = 0;
    int rc = 0;

    memcpy(b->spare, places, b->n * sizeof(*places));
    memset(places, 0, b->n * sizeof(*places));
    for (size_t k = 0; k < b->n; k++)
        if (best[k].at < b->n) {
            places[k] = b->spare[best[k].at];
            b->spare[best[k].at] = (struct place){ 0 };
        }
    for (size_t k = 0; k < b->n; k++) {
        if (best[k].at < b->n)
            continue;
        while (n_spare < b->n && !b->spare[n_spare].ids)
            n_spare++;
        if (n_spare < b->n)
            places[k] = b->spare[n_spare++];
        if (rc == 0)
            rc = place_candidate(b, item, best[k].at - b->n, best[k].score, &places[k], err);
    }
    for (; n_spare < b->n; n_spare++) {
        free(b->spare[n_spare].ids);
        free(b->spare[n_spare].beams);
    }
    return rc;
}

static int update_complete(struct beams *b, size_t item, struct ranked *rank, struct om_error *err)
{
    const bool full = b->plan->c.early_stopping == OM_EARLY_STOPPING_TRUE && all_complete(b, item);

    for (size_t k = 0; k < b->n; k++)
        rank[k] = (struct ranked){ b->places[item * b->n + k].score, (uint32_t)k };
    for (size_t j = 0; j < b->keep; j++)
        rank[b->n + j] = (struct ranked){ final_score(b, item, j, full), (uint32_t)(b->n + j) };
    qsort(rank, b->n + b->keep, sizeof(*rank), best_ranked);
    return replace(b, item, rank, err);
}

/* ---- the end ---- */

/* Whether the best running beam, at its length or the longest possible, could still displace a
 * complete sequence. */
static bool may_improve(const struct beams *b, size_t item)
{
    const struct om_generation_config *c = &b->plan->c;
    const bool longest = c->early_stopping == OM_EARLY_STOPPING_NEVER && c->length_penalty > 0;
    const size_t len = longest ? b->plan->max_length : b->seqs.len;
    const float best =
        b->running[item * b->n] / (float)pow((double)(len - b->plan->prompt), c->length_penalty);
    float worst = INFINITY;

    for (size_t k = 0; k < b->n; k++)
        worst = OM_MIN(worst, b->places[item * b->n + k].score);
    for (size_t k = 0; k < b->n; k++)
        if (best > (b->places[item * b->n + k].complete ? worst : NEVER))
            return true;
    return false;
}

/* Whether the whole search goes on. */
static bool goes_on(const struct beams *b)
{
    bool improvable = false, all_full = true, all_hit = true;

    for (size_t i = 0; i < b->plan->batch; i++) {
        improvable |= b->hope[i];
        all_full &= all_complete(b, i);
    }
    for (size_t j = 0; j < b->plan->batch * b->keep; j++)
        all_hit &= b->candidates[j].complete;
    return improvable && !(all_full && b->plan->c.early_stopping == OM_EARLY_STOPPING_TRUE) &&
           !all_hit;
}

/* ---- the search ---- */

/* Every beam starts as the prompt; all but the first are out of the race for the first token. */
static int begin(struct beams *b, struct om_error *err)
{
    const size_t rows = b->plan->batch * b->n;

    b->running = om_arena_array(&b->arena, rows, sizeof(*b->running));
    b->places = om_arena_array(&b->arena, rows, sizeof(*b->places));
    b->from = om_arena_array(&b->arena, rows, sizeof(*b->from));
    b->spare = om_arena_array(&b->arena, b->n, sizeof(*b->spare));
    b->hope = om_arena_array(&b->arena, b->plan->batch, sizeof(*b->hope));
    b->candidates = om_arena_array(&b->arena, b->plan->batch * b->keep, sizeof(*b->candidates));
    if (!b->running || !b->places || !b->from || !b->spare || !b->hope || !b->candidates)
        return no_memory(err);
    for (size_t r = 0; r < rows; r++) {
        b->running[r] = r % b->n ? NEVER : 0;
        b->places[r].score = NEVER;
    }
    for (size_t i = 0; i < b->plan->batch; i++)
        b->hope[i] = true;
    return om_search_begin(b->s, &b->seqs, err);
}

/* Rows for every beam in place of one for each of the batch. */
static int expand(struct beams *b, struct om_error *err)
{
    struct om_seqs wide = { .rows = b->plan->batch * b->n,
                            .len = b->seqs.len,
                            .stride = b->seqs.stride };
    size_t ids;

    if (!om_mul_size(wide.rows, wide.stride, &ids) || ids > SIZE_MAX / sizeof(*wide.ids))
        return no_memory(err);
    wide.ids = malloc(ids * sizeof(*wide.ids));
    if (!wide.ids)
        return no_memory(err);
    for (size_t r = 0; r < wide.rows; r++)
        memcpy(om_seqs_row(&wide, r), om_seqs_row(&b->seqs, r / b->n),
               wide.len * sizeof(*wide.ids));
    om_seqs_release(&b->seqs);
    b->seqs = wide;
    return 0;
}

/* Room for one more token everywhere. */
static int make_room(struct beams *b, struct om_error *err)
{
    const size_t rows = b->seqs.rows, done = b->seqs.len - b->plan->prompt;

    OM_TRY(om_seqs_grow(&b->seqs, err));
    b->next.len = 0; /* nothing of it is worth keeping */
    if (b->next.stride < b->seqs.stride) {
        om_seqs_release(&b->next);
        b->next = (struct om_seqs){ .rows = rows, .stride = b->seqs.stride };
        b->next.ids = calloc(rows * b->seqs.stride, sizeof(*b->next.ids));
        free(b->scratch);
        b->scratch = calloc(b->seqs.stride, sizeof(*b->scratch));
        if (!b->next.ids || !b->scratch)
            return no_memory(err);
    }
    if (done + 1 > b->path_cap) {
        const size_t cap = (done + 1) * 2;
        int32_t *path = calloc(rows * cap, sizeof(*path)),
                *next = calloc(rows * cap, sizeof(*next));

        for (size_t r = 0; path && next && r < rows && done; r++)
            memcpy(path + r * cap, b->path + r * b->path_cap, done * sizeof(*path));
        free(b->path);
        free(b->next_path);
        b->path = path;
        b->next_path = next;
        b->path_cap = cap;
        if (!path || !next)
            return no_memory(err);
    }
    return 0;
}

static int learn_vocab(struct beams *b, struct om_error *err)
{
    const size_t vocab = b->s->vocab;
    size_t n;

    if (b->scores)
        return 0;
    if (!om_mul_size(b->n, vocab, &n) || n < b->keep)
        return om_fail(err, OM_E_USAGE,
                       "%zu beams: a vocabulary of %zu tokens has not the %zu continuations that "
                       "they need",
                       b->n, vocab, b->keep);
    b->scores = om_arena_array(&b->arena, n, sizeof(*b->scores));
    return b->scores ? 0 : no_memory(err);
}

static void swap(struct beams *b)
{
    const struct om_seqs seqs = b->seqs;
    int32_t *const path = b->path;

    b->seqs = b->next;
    b->seqs.len = seqs.len + 1;
    b->next = seqs;
    b->path = b->next_path;
    b->next_path = path;
}

static int step_items(struct beams *b, const struct om_logits *logits, struct om_error *err)
{
    const struct candidate **order = calloc(b->keep, sizeof(*order));
    struct ranked *rank = calloc(b->n + b->keep, sizeof(*rank));
    int rc = order && rank ? 0 : no_memory(err);

    for (size_t i = 0; rc == 0 && i < b->plan->batch; i++) {
        rc = score_item(b, i, logits, err);
        if (rc < 0)
            break;
        collect(b, b->scores, b->candidates + i * b->keep);
        rc = mark_complete(b, i, err);
        if (rc < 0)
            break;
        choose_running(b, i, order);
        rc = update_complete(b, i, rank, err);
    }
    free(order);
    free(rank);
    return rc;
}

static int step(struct beams *b, bool *go_on, struct om_error *err)
{
    const bool first = b->s->steps == 0;
    struct om_logits logits = { 0 };

    OM_TRY(om_search_step(b->s, &b->seqs, &logits, err));
    OM_TRY(learn_vocab(b, err));
    if (first)
        OM_TRY(expand(b, err));
    OM_TRY(make_room(b, err));
    OM_TRY(step_items(b, &logits, err));
    swap(b);
    for (size_t i = 0; i < b->plan->batch; i++)
        b->hope[i] = b->hope[i] && may_improve(b, i);
    *go_on = goes_on(b);
    if (!*go_on)
        return 0;
    if (first)
        for (size_t r = 0; r < b->seqs.rows; r++)
            b->from[r] /= (uint32_t)b->n;
    return b->s->decoder->select(b->s->decoder->user, b->from, b->seqs.rows, err);
}

/* ---- the result ---- */

static int64_t filler(const struct om_plan *plan)
{
    const struct om_token_ids *eos = &plan->c.eos_token_id;

    if (eos->len == 0)
        return -1;
    return plan->pad > 0 ? plan->pad : eos->ids[0]; /* a pad token of 0 counts as none */
}

static size_t longest(const struct beams *b, size_t wanted)
{
    size_t len = 0;

    for (size_t i = 0; i < b->plan->batch; i++)
        for (size_t k = 0; k < wanted; k++)
            len = OM_MAX(len, b->places[i * b->n + k].len);
    return len;
}

static int give(const struct beams *b, struct om_generated *out, struct om_error *err)
{
    const size_t wanted = (size_t)b->plan->c.num_return_sequences, prompt = b->plan->prompt;
    const size_t rows = b->plan->batch * wanted, fresh = longest(b, wanted);
    int64_t *ids = calloc(rows * (prompt + fresh) + 1, sizeof(*ids));
    int32_t *beams = calloc(rows * fresh + 1, sizeof(*beams));
    float *scores = calloc(rows, sizeof(*scores));

    out->ids = ids;
    out->beam_indices = beams;
    out->sequence_scores = scores;
    out->rows = rows;
    out->score_rows = b->plan->batch * b->n;
    out->length = prompt + fresh;
    if (!ids || !beams || !scores)
        return no_memory(err);
    for (size_t r = 0; r < rows; r++) {
        const struct place *p = &b->places[r / wanted * b->n + r % wanted];
        int64_t *to = ids + r * out->length;

        memcpy(to, b->s->prompt + r / wanted * prompt, prompt * sizeof(*to));
        for (size_t i = 0; i < fresh; i++) {
            to[prompt + i] = i < p->len ? p->ids[prompt + i] : filler(b->plan);
            beams[r * fresh + i] = i < p->len ? p->beams[i] : -1;
        }
        scores[r] = p->score;
    }
    return 0;
}

static void release(struct beams *b)
{
    for (size_t r = 0; b->places && r < b->plan->batch * b->n; r++) {
        free(b->places[r].ids);
        free(b->places[r].beams);
    }
    om_seqs_release(&b->seqs);
    om_seqs_release(&b->next);
    free(b->path);
    free(b->next_path);
    free(b->scratch);
    om_arena_release(&b->arena);
}

int om_search_beams(struct om_search *s, struct om_generated *out, struct om_error *err)
{
    const size_t n = (size_t)s->plan->c.num_beams, ends = s->plan->c.eos_token_id.len;
    struct beams b = { .s = s,
                       .plan = s->plan,
                       .n = n,
                       .keep = OM_MAX((size_t)2, 1 + ends) * n,
                       .arena = OM_ARENA_INIT(SIZE_MAX) };
    bool go_on = true;
    int rc = begin(&b, err);

    om_random_seed(&b.random, s->seed);
    while (rc == 0 && go_on)
        rc = step(&b, &go_on, err);
    if (rc == 0)
        rc = give(&b, out, err);
    release(&b);
    return rc;
}
