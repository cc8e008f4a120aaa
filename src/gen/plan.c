/* src/gen/plan.c: settings settled for one call: special tokens, lengths, what cannot be. */
#include "gen/gen.h"

#include "base/buf.h"

static int bad_number(struct om_error *err, const char *name, double found, const char *expected)
{
    return om_fail(err, OM_E_USAGE, "%s: expected %s, found %g", name, expected, found);
}

/* ---- refusals ---- */

static int check_counts(const struct om_generation_config *c, struct om_error *err)
{
    if (c->max_new_tokens == 0 || c->max_new_tokens < -1)
        return bad_number(err, "max_new_tokens", (double)c->max_new_tokens, "1 or more");
    if (c->num_beams < 1 || c->num_beams > 4096)
        return bad_number(err, "num_beams", (double)c->num_beams, "1 to 4096");
    if (c->num_return_sequences < 1 || c->num_return_sequences > 65536)
        return bad_number(err, "num_return_sequences", (double)c->num_return_sequences,
                          "1 to 65536");
    if (c->num_return_sequences > 1 && c->num_beams == 1 && !c->do_sample)
        return om_fail(err, OM_E_USAGE,
                       "num_return_sequences: one sequence at most without beams and sampling, "
                       "found %" PRId64,
                       c->num_return_sequences);
    if (c->num_beams > 1 && c->num_return_sequences > c->num_beams)
        return om_fail(err, OM_E_USAGE,
                       "num_return_sequences: expected num_beams (%" PRId64
                       ") at most, found %" PRId64,
                       c->num_beams, c->num_return_sequences);
    if (c->no_repeat_ngram_size < 0)
        return bad_number(err, "no_repeat_ngram_size", (double)c->no_repeat_ngram_size,
                          "0 or more");
    if (c->encoder_no_repeat_ngram_size < 0)
        return bad_number(err, "encoder_no_repeat_ngram_size",
                          (double)c->encoder_no_repeat_ngram_size, "0 or more");
    return 0;
}

static int check_numbers(const struct om_generation_config *c, struct om_error *err)
{
    if (!(c->repetition_penalty > 0))
        return bad_number(err, "repetition_penalty", c->repetition_penalty, "more than 0");
    if (!(c->encoder_repetition_penalty > 0))
        return bad_number(err, "encoder_repetition_penalty", c->encoder_repetition_penalty,
                          "more than 0");
    if (!c->do_sample)
        return 0;
    if (!(c->temperature > 0))
        return bad_number(err, "temperature", c->temperature,
                          "more than 0 (do_sample=false is for the most likely tokens)");
    if (c->top_k < 0)
        return bad_number(err, "top_k", (double)c->top_k, "0 or more");
    if (!(c->top_p >= 0 && c->top_p <= 1))
        return bad_number(err, "top_p", c->top_p, "0 to 1");
    if (!(c->min_p <= 1))
        return bad_number(err, "min_p", c->min_p, "0 to 1");
    if (!(c->typical_p > 0))
        return bad_number(err, "typical_p", c->typical_p, "more than 0");
    return 0;
}

/* ---- what Transformers warns about ---- */

static void warn_of_unused(struct om_ctx *ctx, const struct om_generation_config *c)
{
    const struct {
        const char *name;
        bool unused;
    } flags[] = {
        { "temperature", !c->do_sample && c->temperature != 1 },
        { "top_p", !c->do_sample && c->top_p != 1 },
        { "min_p", !c->do_sample && c->min_p >= 0 },
        { "typical_p", !c->do_sample && c->typical_p != 1 },
        { "top_k", !c->do_sample && c->top_k != 50 },
        { "epsilon_cutoff", !c->do_sample && c->epsilon_cutoff != 0 },
        { "eta_cutoff", !c->do_sample && c->eta_cutoff != 0 },
        { "early_stopping", c->num_beams == 1 && c->early_stopping != OM_EARLY_STOPPING_FALSE },
        { "length_penalty", c->num_beams == 1 && c->length_penalty != 1 },
    };
    struct om_buf names = OM_BUF_INIT(1024);

    for (size_t i = 0; i < OM_COUNT(flags); i++)
        if (flags[i].unused)
            om_buf_printf(&names, "%s'%s'", names.len ? ", " : "", flags[i].name);
    if (names.len)
        om_log(ctx, OM_LOG_WARNING,
               "The following generation flags are not valid and may be ignored: [%.*s].",
               OM_SV(om_buf_sv(&names)));
    om_buf_release(&names);
}

static bool ends_in_padding(const struct om_plan_input *in, int64_t pad)
{
    for (size_t i = 0; i < in->batch && in->length; i++)
        if (in->ids[i * in->length + in->length - 1] == pad)
            return true;
    return false;
}

static void settle_pad(struct om_ctx *ctx, const struct om_plan_input *in, struct om_plan *p)
{
    p->pad = p->c.pad_token_id;
    if (p->pad < 0 && p->c.eos_token_id.len) {
        if (!in->has_mask)
            om_log(ctx, OM_LOG_WARNING,
                   "The attention mask and the pad token id were not set. As a consequence, you "
                   "may observe unexpected behavior. Please pass your input's `attention_mask` to "
                   "obtain reliable results.");
        p->pad = p->c.eos_token_id.ids[0];
        om_log(ctx, OM_LOG_WARNING,
               "Setting `pad_token_id` to `eos_token_id`:%" PRId64 " for open-end generation.",
               p->pad);
    }
    if (!in->seq2seq && p->pad >= 0 && in->batch > 1 && ends_in_padding(in, p->pad))
        om_log(ctx, OM_LOG_WARNING,
               "A decoder-only architecture is being used, but right-padding was detected! For "
               "correct generation results, please set `padding_side='left'` when initializing "
               "the tokenizer.");
}

int om_plan_make(struct om_ctx *ctx, const struct om_generation_config *c,
                 const struct om_plan_input *in, struct om_plan *out, struct om_error *err)
{
    struct om_plan p = { .c = *c, .seq2seq = in->seq2seq, .batch = in->batch };

    OM_TRY(check_counts(c, err));
    OM_TRY(check_numbers(c, err));
    warn_of_unused(ctx, c);
    p.width = (size_t)OM_MAX(c->num_beams, c->num_return_sequences);
    p.decoder_start = c->decoder_start_token_id >= 0 ? c->decoder_start_token_id : c->bos_token_id;
    if (in->seq2seq && p.decoder_start < 0)
        return om_fail(err, OM_E_USAGE,
                       "neither decoder_start_token_id nor bos_token_id is set, and an "
                       "encoder-decoder begins with one of them");
    if (in->length == 0 && c->bos_token_id < 0)
        return om_fail(err, OM_E_USAGE,
                       "there is no prompt, and no bos_token_id to begin with instead");
    settle_pad(ctx, in, &p);
    *out = p;
    return 0;
}

/* ---- lengths ---- */

/* 20 is not set: as many new tokens, as far as the model goes. */
static int64_t default_max_length(const struct om_plan *p, int64_t prompt, int64_t max_positions)
{
    const int64_t max = p->c.max_length;

    if (max != 20 || p->c.max_length_given)
        return max;
    return max_positions >= 0 ? OM_MIN(max + prompt, max_positions) : max + prompt;
}

int om_plan_lengths(struct om_ctx *ctx, struct om_plan *p, size_t prompt, int64_t max_positions,
                    struct om_error *err)
{
    struct om_generation_config *c = &p->c;
    const int64_t begin = (int64_t)prompt;
    int64_t max;

    if (c->max_new_tokens < 0)
        max = default_max_length(p, begin, max_positions);
    else if (!om_add_i64(c->max_new_tokens, begin, &max))
        return bad_number(err, "max_new_tokens", (double)c->max_new_tokens, "a smaller number");
    if (c->max_new_tokens >= 0 && c->max_length_given)
        om_log(ctx, OM_LOG_WARNING,
               "Both `max_new_tokens` (=%" PRId64 ") and `max_length`(=%" PRId64
               ") seem to have been set. `max_new_tokens` will take precedence.",
               c->max_new_tokens, c->max_length);
    if (begin >= max)
        return om_fail(err, OM_E_USAGE,
                       "the prompt has %zu tokens already, but max_length is %" PRId64
                       ": increase it, or set max_new_tokens",
                       prompt, max);
    if (c->min_new_tokens >= 0 && !om_add_i64(c->min_new_tokens, begin, &c->min_length))
        return bad_number(err, "min_new_tokens", (double)c->min_new_tokens, "a smaller number");
    if (c->min_length > max)
        om_log(ctx, OM_LOG_WARNING,
               "Unfeasible length constraints: `min_length` (%" PRId64
               ") is larger than the maximum possible length (%" PRId64 ").",
               c->min_length, max);
    p->prompt = prompt;
    p->max_length = (size_t)max;
    return 0;
}

/* ---- the vocabulary ---- */

static int check_ids(const struct om_token_ids *t, size_t vocab, const char *name,
                     struct om_error *err)
{
    for (size_t i = 0; i < t->len; i++)
        if (t->ids[i] < 0 || (uint64_t)t->ids[i] >= vocab)
            return om_fail(err, OM_E_USAGE,
                           "%s: the model's vocabulary has %zu tokens, found %" PRId64, name, vocab,
                           t->ids[i]);
    return 0;
}

int om_plan_check_vocab(const struct om_plan *p, size_t vocab, struct om_error *err)
{
    const struct om_generation_config *c = &p->c;
    const struct om_token_ids bos = { &c->forced_bos_token_id, c->forced_bos_token_id >= 0 };

    OM_TRY(check_ids(&bos, vocab, "forced_bos_token_id", err));
    OM_TRY(check_ids(&c->forced_eos_token_id, vocab, "forced_eos_token_id", err));
    for (size_t i = 0; i < c->n_bad_words; i++)
        OM_TRY(check_ids(&c->bad_words[i], vocab, "bad_words_ids", err));
    for (size_t i = 0; i < c->n_sequence_bias; i++)
        OM_TRY(check_ids(&c->sequence_bias[i].tokens, vocab, "sequence_bias", err));
    return 0;
}
