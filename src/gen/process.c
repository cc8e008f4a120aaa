/* src/gen/process.c: what is done to scores before a token is chosen, in the order of Transformers:
 * processors, warpers where a token is drawn by chance, normalization. */
#include <math.h>
#include <stdlib.h>

#include "gen/gen.h"

/* A token and what it is sorted by. */
struct keyed {
    float key;
    uint32_t at;
};

struct om_process {
    const struct om_plan *plan;
    size_t vocab;
    size_t keep; /* tokens that every warper leaves */
    struct om_arena arena;
    const struct processor **active;
    size_t n_active;
    uint8_t *seen;        /* [vocab], zero between uses */
    float *work;          /* [vocab] */
    struct keyed *sorted; /* [vocab] */
    bool *outdone;        /* by bias: a later one is for the same tokens */
    /* the call */
    size_t row, item;
    const int64_t *ids;
    size_t len;
};

struct processor {
    bool (*wanted)(const struct om_plan *plan);
    void (*apply)(struct om_process *p, float *scores);
};

static bool in_vocab(const struct om_process *p, int64_t id)
{
    return id >= 0 && (uint64_t)id < p->vocab;
}

static void ban(const struct om_process *p, int64_t id, float *scores)
{
    if (in_vocab(p, id))
        scores[id] = -INFINITY;
}

static void ban_all(const struct om_process *p, const struct om_token_ids *ids, float *scores)
{
    for (size_t i = 0; i < ids->len; i++)
        ban(p, ids->ids[i], scores);
}

/* Nothing but these. */
static void force(const struct om_process *p, const int64_t *ids, size_t n, float *scores)
{
    for (size_t i = 0; i < p->vocab; i++)
        scores[i] = -INFINITY;
    for (size_t i = 0; i < n; i++)
        if (in_vocab(p, ids[i]))
            scores[ids[i]] = 0;
}

/* ---- biases ---- */

/* Whether the sequence ends in all of them but the last. A bias counts only where the whole of it
 * would fit into the sequence as it is. */
static bool would_complete(const struct om_process *p, const struct om_token_ids *t)
{
    const size_t before = t->len - 1;

    if (before == 0)
        return true;
    return t->len <= p->len &&
           memcmp(p->ids + p->len - before, t->ids, before * sizeof(*t->ids)) == 0;
}

static bool wants_bias(const struct om_plan *plan)
{
    return plan->c.n_sequence_bias > 0;
}

static void apply_bias(struct om_process *p, float *scores)
{
    const struct om_generation_config *c = &p->plan->c;

    for (size_t i = 0; i < c->n_sequence_bias; i++) {
        const struct om_token_ids *t = &c->sequence_bias[i].tokens;

        if (p->outdone[i])
            continue;
        if (t->len && in_vocab(p, t->ids[t->len - 1]) && would_complete(p, t))
            scores[t->ids[t->len - 1]] += (float)c->sequence_bias[i].bias;
    }
}

/* Of several biases for the same tokens the last one counts. */
static int find_outdone(struct om_process *p, struct om_error *err)
{
    const struct om_generation_config *c = &p->plan->c;

    p->outdone = om_arena_array(&p->arena, c->n_sequence_bias + 1, sizeof(*p->outdone));
    if (!p->outdone)
        return om_fail(err, OM_E_NOMEM, "out of memory for sequence_bias");
    for (size_t i = 0; i < c->n_sequence_bias; i++)
        for (size_t k = i + 1; k < c->n_sequence_bias && !p->outdone[i]; k++) {
            const struct om_token_ids *a = &c->sequence_bias[i].tokens;
            const struct om_token_ids *b = &c->sequence_bias[k].tokens;

            p->outdone[i] =
                a->len == b->len && memcmp(a->ids, b->ids, a->len * sizeof(*a->ids)) == 0;
        }
    return 0;
}

static bool wants_bad_words(const struct om_plan *plan)
{
    return plan->c.n_bad_words > 0;
}

static bool is_end(const struct om_plan *plan, int64_t id)
{
    for (size_t i = 0; i < plan->c.eos_token_id.len; i++)
        if (plan->c.eos_token_id.ids[i] == id)
            return true;
    return false;
}

static void apply_bad_words(struct om_process *p, float *scores)
{
    const struct om_generation_config *c = &p->plan->c;

    for (size_t i = 0; i < c->n_bad_words; i++) {
        const struct om_token_ids *t = &c->bad_words[i];

        if (t->len == 0 || (t->len == 1 && is_end(p->plan, t->ids[0])))
            continue;
        if (would_complete(p, t))
            ban(p, t->ids[t->len - 1], scores);
    }
}

/* ---- repetition ---- */

/* Once for each different token. */
static void penalize(struct om_process *p, const int64_t *ids, size_t n, float penalty,
                     float *scores)
{
    for (size_t i = 0; i < n; i++) {
        if (!in_vocab(p, ids[i]) || p->seen[ids[i]])
            continue;
        p->seen[ids[i]] = 1;
        if (scores[ids[i]] < 0)
            scores[ids[i]] *= penalty;
        else
            scores[ids[i]] /= penalty;
    }
    for (size_t i = 0; i < n; i++)
        if (in_vocab(p, ids[i]))
            p->seen[ids[i]] = 0;
}

static const int64_t *source(const struct om_process *p, size_t item)
{
    return p->plan->source + item * p->plan->source_len;
}

static bool wants_encoder_repetition(const struct om_plan *plan)
{
    return plan->c.encoder_repetition_penalty != 1;
}

/* As in Transformers, which does not repeat the source for each beam: the first rows of the search
 * get the sources in turn, further rows none. */
static void apply_encoder_repetition(struct om_process *p, float *scores)
{
    if (p->row >= p->plan->batch)
        return;
    penalize(p, source(p, p->row), p->plan->source_len,
             (float)(1 / p->plan->c.encoder_repetition_penalty), scores);
}

static bool wants_repetition(const struct om_plan *plan)
{
    return plan->c.repetition_penalty != 1;
}

static void apply_repetition(struct om_process *p, float *scores)
{
    penalize(p, p->ids, p->len, (float)p->plan->c.repetition_penalty, scores);
}

/* Ban what followed in ids wherever the end of the sequence stands in them. */
static void ban_ngrams(struct om_process *p, const int64_t *ids, size_t n, size_t size,
                       float *scores)
{
    const int64_t *end;

    if (p->len + 1 < size)
        return;
    end = p->ids + p->len - (size - 1);
    for (size_t i = 0; i + size <= n; i++)
        if (memcmp(ids + i, end, (size - 1) * sizeof(*ids)) == 0)
            ban(p, ids[i + size - 1], scores);
}

static bool wants_ngrams(const struct om_plan *plan)
{
    return plan->c.no_repeat_ngram_size > 0;
}

static void apply_ngrams(struct om_process *p, float *scores)
{
    ban_ngrams(p, p->ids, p->len, (size_t)p->plan->c.no_repeat_ngram_size, scores);
}

static bool wants_encoder_ngrams(const struct om_plan *plan)
{
    return plan->c.encoder_no_repeat_ngram_size > 0;
}

static void apply_encoder_ngrams(struct om_process *p, float *scores)
{
    ban_ngrams(p, source(p, p->item), p->plan->source_len,
               (size_t)p->plan->c.encoder_no_repeat_ngram_size, scores);
}

/* ---- lengths ---- */

static bool wants_min_length(const struct om_plan *plan)
{
    return plan->c.eos_token_id.len > 0 && plan->c.min_length > 0;
}

static void apply_min_length(struct om_process *p, float *scores)
{
    if (p->len < (uint64_t)p->plan->c.min_length)
        ban_all(p, &p->plan->c.eos_token_id, scores);
}

static bool wants_min_new(const struct om_plan *plan)
{
    return plan->c.eos_token_id.len > 0 && plan->c.min_new_tokens > 0;
}

static void apply_min_new(struct om_process *p, float *scores)
{
    if (p->len - p->plan->prompt < (uint64_t)p->plan->c.min_new_tokens)
        ban_all(p, &p->plan->c.eos_token_id, scores);
}

static bool wants_forced_bos(const struct om_plan *plan)
{
    return plan->c.forced_bos_token_id >= 0;
}

static void apply_forced_bos(struct om_process *p, float *scores)
{
    if (p->len == 1)
        force(p, &p->plan->c.forced_bos_token_id, 1, scores);
}

static bool wants_forced_eos(const struct om_plan *plan)
{
    return plan->c.forced_eos_token_id.len > 0;
}

static void apply_forced_eos(struct om_process *p, float *scores)
{
    const struct om_token_ids *eos = &p->plan->c.forced_eos_token_id;

    if (p->len + 1 == p->plan->max_length)
        force(p, eos->ids, eos->len, scores);
}

static bool wants_valid(const struct om_plan *plan)
{
    return plan->c.remove_invalid_values;
}

static void apply_valid(struct om_process *p, float *scores)
{
    static const float largest = 3.40282346638528859812e+38f;

    for (size_t i = 0; i < p->vocab; i++) {
        if (isnan(scores[i]))
            scores[i] = 0;
        else if (isinf(scores[i]))
            scores[i] = scores[i] > 0 ? largest : -largest;
    }
}

static bool wants_decay(const struct om_plan *plan)
{
    return plan->c.exponential_decay_start >= 0;
}

static void apply_decay(struct om_process *p, float *scores)
{
    const struct om_generation_config *c = &p->plan->c;
    const uint64_t start = (uint64_t)c->exponential_decay_start + p->plan->prompt;
    float factor;

    if (p->len <= start)
        return;
    factor = (float)(pow(c->exponential_decay_factor, (double)(p->len - start)) - 1);
    for (size_t i = 0; i < c->eos_token_id.len; i++) {
        const int64_t id = c->eos_token_id.ids[i];

        if (!in_vocab(p, id) || p->seen[id])
            continue;
        p->seen[id] = 1;
        if (scores[id] > -INFINITY) /* what is banned stays so: Transformers makes NaN of it */
            scores[id] += fabsf(scores[id]) * factor;
    }
    for (size_t i = 0; i < c->eos_token_id.len; i++)
        if (in_vocab(p, c->eos_token_id.ids[i]))
            p->seen[c->eos_token_id.ids[i]] = 0;
}

static bool wants_suppress(const struct om_plan *plan)
{
    return plan->c.suppress_tokens.len > 0;
}

static void apply_suppress(struct om_process *p, float *scores)
{
    ban_all(p, &p->plan->c.suppress_tokens, scores);
}

static bool wants_begin_suppress(const struct om_plan *plan)
{
    return plan->c.begin_suppress_tokens.len > 0;
}

/* At the first token that is free: the second where the first one is forced. */
static void apply_begin_suppress(struct om_process *p, float *scores)
{
    const struct om_plan *plan = p->plan;
    const bool forced = plan->prompt <= 1 && plan->c.forced_bos_token_id >= 0;

    if (p->len == plan->prompt + (forced ? 1 : 0))
        ban_all(p, &plan->c.begin_suppress_tokens, scores);
}

/* ---- warpers ---- */

static bool wants_temperature(const struct om_plan *plan)
{
    return plan->c.do_sample && plan->c.temperature != 1;
}

static void apply_temperature(struct om_process *p, float *scores)
{
    const float t = (float)p->plan->c.temperature;

    for (size_t i = 0; i < p->vocab; i++)
        scores[i] /= t;
}

static float largest(const float *x, size_t n)
{
    float max = -INFINITY;

    for (size_t i = 0; i < n; i++)
        max = x[i] > max ? x[i] : max;
    return max;
}

static float kth(struct om_process *p, const float *scores, size_t k)
{
    if (k == 1)
        return largest(scores, p->vocab);
    memcpy(p->work, scores, p->vocab * sizeof(*scores));
    return om_kth_largest(p->work, p->vocab, OM_MIN(k, p->vocab));
}

static void ban_below(struct om_process *p, float limit, float *scores)
{
    for (size_t i = 0; i < p->vocab; i++)
        if (scores[i] < limit)
            scores[i] = -INFINITY;
}

static bool wants_top_k(const struct om_plan *plan)
{
    return plan->c.do_sample && plan->c.top_k > 0;
}

static void apply_top_k(struct om_process *p, float *scores)
{
    ban_below(p, kth(p, scores, OM_MAX((size_t)p->plan->c.top_k, p->keep)), scores);
}

/* softmax(x[i]) is exp(x[i] - offset). */
static double softmax_offset(const float *x, size_t n)
{
    const float max = largest(x, n);
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += x[i] > -INFINITY ? (double)expf(x[i] - max) : 0;
    return (double)max + log(sum);
}

static int ascending(const void *a, const void *b)
{
    const struct keyed *x = a, *y = b;

    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

/* The tokens that are still possible, by rising key; gives their number. */
static size_t sort_possible(struct om_process *p, const float *scores, const float *keys)
{
    size_t n = 0;

    for (size_t i = 0; i < p->vocab; i++)
        if (scores[i] > -INFINITY)
            p->sorted[n++] = (struct keyed){ keys[i], (uint32_t)i };
    qsort(p->sorted, n, sizeof(*p->sorted), ascending);
    return n;
}

static bool wants_top_p(const struct om_plan *plan)
{
    return plan->c.do_sample && plan->c.top_p < 1;
}

/* Scores are put into buckets by their distance from the largest, so that only those of one bucket
 * have to be sorted. */
enum { BUCKETS = 1024, BUCKETS_PER_UNIT = 32 };

static size_t bucket_of(float score, float max)
{
    const float at = (max - score) * BUCKETS_PER_UNIT;

    return at < BUCKETS - 1 ? (size_t)at : BUCKETS - 1;
}

/* The probability of each bucket. */
static void fill_buckets(const struct om_process *p, const float *scores, float max,
                         double mass[BUCKETS])
{
    const double offset = softmax_offset(scores, p->vocab);

    for (size_t i = 0; i < p->vocab; i++)
        if (scores[i] > -INFINITY)
            mass[bucket_of(scores[i], max)] += (double)expf((float)((double)scores[i] - offset));
}

/* Ban the least likely tokens that have no more than a probability together, of the last buckets
 * all and of the one before some, but none of the best. */
static void ban_tail(struct om_process *p, double limit, float max, float best, float *scores,
                     const double mass[BUCKETS])
{
    const double offset = softmax_offset(scores, p->vocab);
    size_t last = BUCKETS, n = 0;
    double sum = 0;

    while (last > 0 && sum + mass[last - 1] <= limit)
        sum += mass[--last];
    for (size_t i = 0; i < p->vocab; i++) {
        const size_t bucket = scores[i] > -INFINITY ? bucket_of(scores[i], max) : BUCKETS;

        if (bucket + 1 == last)
            p->sorted[n++] = (struct keyed){ scores[i], (uint32_t)i };
        else if (bucket >= last && scores[i] < best)
            scores[i] = -INFINITY;
    }
    qsort(p->sorted, n, sizeof(*p->sorted), ascending);
    for (size_t i = 0; i < n && p->sorted[i].key < best; i++) {
        sum += exp((double)p->sorted[i].key - offset);
        if ((float)sum > (float)limit)
            break;
        scores[p->sorted[i].at] = -INFINITY;
    }
}

static void apply_top_p(struct om_process *p, float *scores)
{
    const float max = kth(p, scores, 1), best = kth(p, scores, p->keep);
    double mass[BUCKETS] = { 0 };

    if (!(max > -INFINITY))
        return;
    fill_buckets(p, scores, max, mass);
    ban_tail(p, 1 - p->plan->c.top_p, max, best, scores, mass);
}

static bool wants_min_p(const struct om_plan *plan)
{
    return plan->c.do_sample && plan->c.min_p >= 0;
}

/* Ban what has less than a probability, but none of the best. */
static void ban_unlikely(struct om_process *p, double offset, double least, float *scores)
{
    const float best = kth(p, scores, p->keep);

    for (size_t i = 0; i < p->vocab; i++)
        if (scores[i] < best && exp((double)scores[i] - offset) < least)
            scores[i] = -INFINITY;
}

static void apply_min_p(struct om_process *p, float *scores)
{
    const double offset = softmax_offset(scores, p->vocab);
    const double top = exp((double)kth(p, scores, 1) - offset);

    ban_unlikely(p, offset, p->plan->c.min_p * top, scores);
}

static double entropy(const float *scores, size_t n, double offset)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        if (scores[i] > -INFINITY)
            sum -= ((double)scores[i] - offset) * exp((double)scores[i] - offset);
    return sum;
}

static bool wants_typical(const struct om_plan *plan)
{
    return plan->c.do_sample && plan->c.typical_p < 1;
}

static void apply_typical(struct om_process *p, float *scores)
{
    const double offset = softmax_offset(scores, p->vocab);
    const double h = entropy(scores, p->vocab, offset);
    const struct keyed *sorted = p->sorted;
    double sum = 0;
    size_t n, last = 0;

    for (size_t i = 0; i < p->vocab; i++)
        p->work[i] = (float)fabs(offset - (double)scores[i] - h);
    n = sort_possible(p, scores, p->work);
    for (; last + 1 < n; last++) {
        sum += exp((double)scores[sorted[last].at] - offset);
        if (sum >= p->plan->c.typical_p)
            break;
    }
    for (size_t i = OM_MAX(last + 1, p->keep); i < n; i++)
        if (sorted[i].key > sorted[last].key)
            scores[sorted[i].at] = -INFINITY;
}

static bool is_fraction(double x)
{
    return x > 0 && x < 1;
}

static bool wants_epsilon(const struct om_plan *plan)
{
    return plan->c.do_sample && is_fraction(plan->c.epsilon_cutoff);
}

static void apply_epsilon(struct om_process *p, float *scores)
{
    ban_unlikely(p, softmax_offset(scores, p->vocab), p->plan->c.epsilon_cutoff, scores);
}

static bool wants_eta(const struct om_plan *plan)
{
    return plan->c.do_sample && is_fraction(plan->c.eta_cutoff);
}

static void apply_eta(struct om_process *p, float *scores)
{
    const double offset = softmax_offset(scores, p->vocab), epsilon = p->plan->c.eta_cutoff;
    const double eta = sqrt(epsilon) * exp(-entropy(scores, p->vocab, offset));

    ban_unlikely(p, offset, OM_MIN(epsilon, eta), scores);
}

static bool wants_normal(const struct om_plan *plan)
{
    return plan->c.renormalize_logits;
}

static void apply_normal(struct om_process *p, float *scores)
{
    om_log_softmax(scores, p->vocab, scores);
}

/* ---- all of them ---- */

static const struct processor processors[] = {
    { wants_bias, apply_bias },
    { wants_encoder_repetition, apply_encoder_repetition },
    { wants_repetition, apply_repetition },
    { wants_ngrams, apply_ngrams },
    { wants_encoder_ngrams, apply_encoder_ngrams },
    { wants_bad_words, apply_bad_words },
    { wants_min_length, apply_min_length },
    { wants_min_new, apply_min_new },
    { wants_forced_bos, apply_forced_bos },
    { wants_forced_eos, apply_forced_eos },
    { wants_valid, apply_valid },
    { wants_decay, apply_decay },
    { wants_suppress, apply_suppress },
    { wants_begin_suppress, apply_begin_suppress },
    { wants_temperature, apply_temperature },
    { wants_top_k, apply_top_k },
    { wants_top_p, apply_top_p },
    { wants_min_p, apply_min_p },
    { wants_typical, apply_typical },
    { wants_epsilon, apply_epsilon },
    { wants_eta, apply_eta },
    { wants_normal, apply_normal },
};

int om_process_new(const struct om_plan *plan, size_t vocab, struct om_process **out,
                   struct om_error *err)
{
    struct om_process *p = calloc(1, sizeof(*p));
    int rc;

    if (!p)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    om_arena_init(&p->arena, SIZE_MAX);
    p->plan = plan;
    p->vocab = vocab;
    p->keep = plan->c.num_beams > 1 ? OM_MAX(plan->c.eos_token_id.len + 1, (size_t)2) : 1;
    p->active = om_arena_array(&p->arena, OM_COUNT(processors), sizeof(*p->active));
    p->seen = om_arena_array(&p->arena, vocab, sizeof(*p->seen));
    p->work = om_arena_array(&p->arena, vocab, sizeof(*p->work));
    p->sorted = om_arena_array(&p->arena, vocab, sizeof(*p->sorted));
    if (!p->active || (vocab && (!p->seen || !p->work || !p->sorted)))
        rc = om_fail(err, OM_E_NOMEM, "out of memory for the scores of %zu tokens", vocab);
    else
        rc = find_outdone(p, err);
    if (rc < 0) {
        om_process_free(p);
        return rc;
    }
    for (size_t i = 0; i < OM_COUNT(processors); i++)
        if (processors[i].wanted(plan))
            p->active[p->n_active++] = &processors[i];
    *out = p;
    return 0;
}

void om_process_free(struct om_process *p)
{
    if (!p)
        return;
    om_arena_release(&p->arena);
    free(p);
}

bool om_process_idle(const struct om_process *p)
{
    return p->n_active == 0;
}

void om_process_run(struct om_process *p, size_t row, const int64_t *ids, size_t len, float *scores)
{
    p->row = row;
    p->item = row / p->plan->width;
    p->ids = ids;
    p->len = len;
    for (size_t i = 0; i < p->n_active; i++)
        p->active[i]->apply(p, scores);
}

void om_log_softmax(const float *x, size_t n, float *out)
{
    const double offset = softmax_offset(x, n);

    for (size_t i = 0; i < n; i++)
        out[i] = (float)((double)x[i] - offset);
}

/* Quickselect; equal elements end up on both sides, so that many of them do no harm. */
float om_kth_largest(float *x, size_t n, size_t k)
{
    size_t lo = 0, hi = n - 1;
    const size_t want = k - 1;

    while (lo < hi) {
        const float pivot = x[lo + (hi - lo) / 2];
        size_t i = lo, j = hi;

        for (;;) {
            while (x[i] > pivot)
                i++;
            while (x[j] < pivot)
                j--;
            if (i >= j)
                break;
            const float swap = x[i];
            x[i++] = x[j];
            x[j--] = swap;
        }
        if (want <= j)
            hi = j;
        else
            lo = j + 1;
    }
    return x[want];
}
