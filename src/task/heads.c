/* src/task/heads.c: heads that architectures share. Each emits the outputs of its task. */
#include "task/task.h"

void om_head_hidden(om_scope root, const void *cfg, const struct om_body *body)
{
    (void)cfg;
    om_output(root, "last_hidden_state", body->hidden);
}

/* The last axis of a head's result must be what the configuration or the task says. */
static void check_labels(om_scope root, om_val logits, int64_t want, const char *reason)
{
    int64_t found;
    const om_dim d = om_axis(root, logits, -1);

    if (d && om_dim_is_const(root.b->g->dims, d, &found) && found != want)
        om_scope_fail(root, OM_E_CONFIG,
                      "the head's weights in the checkpoint give %" PRId64
                      " values, expected %" PRId64 " (%s)",
                      found, want, reason);
}

void om_head_emit_labels(om_scope root, om_val logits)
{
    check_labels(root, logits, root.b->config->num_labels, "num_labels or id2label in config.json");
    om_output(root, "logits", logits);
}

void om_head_token(om_scope root, const void *cfg, const struct om_body *body)
{
    (void)cfg;
    om_head_emit_labels(root, om_linear(om_sub(root, "classifier"), body->hidden));
}

void om_head_pooled(om_scope root, const void *cfg, const struct om_body *body)
{
    (void)cfg;
    om_head_emit_labels(root, om_linear(om_sub(root, "classifier"), body->pooled));
}

void om_head_span(om_scope root, const void *cfg, const struct om_body *body)
{
    static const char *const names[] = { "start_logits", "end_logits" };
    static const int64_t sizes[] = { 1, 1 };
    const om_val both = om_linear(om_sub(root, "qa_outputs"), body->hidden);
    om_val part[2];

    (void)cfg;
    check_labels(root, both, 2, "start and end of an answer");
    om_split(root, both, -1, sizes, 2, part);
    for (int i = 0; i < 2; i++)
        om_output(root, names[i], om_squeeze(root, part[i], -1));
}

void om_head_emit_choice(om_scope root, om_val logits)
{
    const struct om_builder_input *ids = root.b->inputs;
    const om_dim dims[] = { om_axis(root, ids->port, 0), om_axis(root, ids->port, 1) };

    check_labels(root, logits, 1, "one score per choice");
    om_output(root, "logits", om_reshape(root, logits, dims, 2));
}

void om_head_choice(om_scope root, const void *cfg, const struct om_body *body)
{
    (void)cfg;
    om_head_emit_choice(root, om_linear(om_sub(root, "classifier"), body->pooled));
}

/* The id of padding, which tells where a text ends. Transformers has no default for it either. */
static bool padding_id(om_scope root, int64_t *id)
{
    const struct om_config *config = root.b->config;

    *id = config->pad_token_id;
    if (*id >= 0)
        return true;
    /* Negative ids are never met: no token is padding. */
    if (om_json_i64(om_json_get(config->doc, "pad_token_id"), id))
        return true;
    om_scope_fail(root, OM_E_CONFIG,
                  "key \"pad_token_id\" of config.json is missing: without it the last token of a "
                  "text cannot be told from padding");
    return false;
}

/* [B, 1]: the place of the last token that is not padding, 0 where all are. */
static om_val last_token(om_scope s, om_val ids, int64_t pad)
{
    const om_val token = om_unary(s, OM_OP_Not, om_binary(s, OM_OP_Equal, ids, om_i64(s, pad)));
    const om_val place = om_arange(s, om_int(s, 0), om_axis(s, ids, 1));

    return om_binary(s, OM_OP_ReduceMax, om_mul(s, om_cast(s, token, OM_I64), place),
                     om_i64s(s, &(int64_t){ 1 }, 1));
}

void om_head_last_token(om_scope root, const void *cfg, const struct om_body *body)
{
    static const struct om_attr batch = { .name = "batch_dims", .kind = OM_ATTR_INT, .i = 1 };
    const om_scope s = om_sub(root, "score");
    int64_t pad;
    om_val at;

    (void)cfg;
    if (body->pad)
        pad = *body->pad;
    else if (!padding_id(root, &pad))
        return;
    at = last_token(s, om_input(root, "input_ids"), pad);
    at = om_emit(s, OM_OP_GatherND, (const om_val[]){ body->hidden, at }, 2, &batch, 1);
    om_head_emit_labels(root, om_linear_nobias(s, at));
}
