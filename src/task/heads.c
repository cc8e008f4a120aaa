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
