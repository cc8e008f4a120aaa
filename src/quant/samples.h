/* src/quant/samples.h: inputs to run a model on: from texts, from tensors, or made up. */
#ifndef OM_QUANT_SAMPLES_H
#define OM_QUANT_SAMPLES_H

#include <optimum/quantize.h>
#include <optimum/session.h>

#include "base/arena.h"
#include "ckpt/ckpt.h"
#include "onnx/doc.h"

struct om_tokenizer;

struct om_samples {
    struct om_arena arena;
    size_t n;
    /* one of */
    struct om_tokenizer *tokenizer;
    om_sv *texts;
    struct om_ckpt *tensors;
    bool dummy;
};

/* What opts says about calibration; dir: of the model and its tokenizer. Dummies are announced by a
 * warning. */
int om_samples_open(struct om_samples *s, struct om_ctx *ctx, const struct om_quantize_opts *opts,
                    const char *dir, struct om_error *err);
void om_samples_close(struct om_samples *s);

/* The inputs of sample i for session, in arena a. d: the model, for what its integers may be. */
int om_samples_get(const struct om_samples *s, size_t i, const struct om_session *session,
                   const struct om_doc *d, struct om_arena *a, struct om_tensor **inputs, size_t *n,
                   struct om_error *err);

/* What the model is run on next where it is a decoder: results hold the past of inputs, which
 * change into those for one more token. more: is it one? results must live as long. */
int om_samples_continue(const struct om_samples *s, const struct om_results *results,
                        struct om_arena *a, struct om_tensor *inputs, size_t n, bool *more,
                        struct om_error *err);

#endif
