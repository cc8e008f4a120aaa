/* src/arch/build.c: an architecture and a task become the graphs of an export: inputs, body, head,
 * cache, merged decoder. */
#include "arch/internal.h"

#define LIST(...)         \
    (const char *const[]) \
    {                     \
        __VA_ARGS__, NULL \
    }

struct build {
    const struct om_arch_job *job;
    enum om_part part;
    struct om_builder *b;
};

size_t om_arch_parts(const struct om_arch_job *job, const struct om_arch_layout *layout,
                     enum om_part *parts)
{
    const bool merge = job->past && !layout->no_merged;
    size_t n = 0;

    /* Without a cache the headless encoder-decoder is one file in the original, too. */
    if (!om_arch_two_sided(job) || layout->monolith ||
        (job->task->head == OM_HEAD_HIDDEN && !job->past)) {
        parts[n++] = OM_PART_MODEL;
        return n;
    }
    parts[n++] = OM_PART_ENCODER;
    if (layout->decoder == OM_ARCH_DECODER_SINGLE && job->past) {
        parts[n++] = OM_PART_DECODER_SINGLE;
        return n;
    }
    if (layout->decoder == OM_ARCH_DECODER_ALL || !merge) {
        parts[n++] = OM_PART_DECODER;
        if (job->past)
            parts[n++] = OM_PART_DECODER_PAST;
    }
    if (merge)
        parts[n++] = OM_PART_DECODER_MERGED;
    return n;
}

/* ---- inputs ---- */

static bool is_decoder_part(enum om_part part)
{
    return part == OM_PART_DECODER || part == OM_PART_DECODER_PAST ||
           part == OM_PART_DECODER_MERGED || part == OM_PART_DECODER_SINGLE;
}

static bool is_two_sided(const struct build *bd)
{
    return om_arch_two_sided(bd->job);
}

static enum om_port_set port_set(const struct build *bd)
{
    if (bd->part == OM_PART_DECODER_SINGLE)
        return OM_PORTS_DECODER_SINGLE;
    if (is_decoder_part(bd->part))
        return OM_PORTS_DECODER;
    if (is_two_sided(bd))
        return OM_PORTS_ENCODER;
    if (bd->job->task->head == OM_HEAD_CHOICE)
        return OM_PORTS_CHOICE;
    return bd->b->past ? OM_PORTS_CAUSAL_PAST : OM_PORTS_TEXT;
}

static const char *const *input_names(const struct build *bd)
{
    static const char *const encoder[] = { "input_ids", "attention_mask", NULL };
    static const char *const both[] = { "input_ids", "attention_mask", "decoder_input_ids", NULL };
    static const char *const alone[] = { "input_ids", "attention_mask", "past_key_values", NULL };

    if (bd->job->arch->kind != OM_ARCH_SEQ2SEQ || is_decoder_part(bd->part))
        return bd->job->arch->inputs;
    if (!is_two_sided(bd))
        return alone;
    return bd->part == OM_PART_ENCODER ? encoder : both;
}

/* Whether the file takes an input that its architecture lists. */
static bool takes_input(const struct build *bd, const char *name)
{
    const struct om_arch *arch = bd->job->arch;

    if (arch->takes && !arch->takes(bd->job->cfg, name))
        return false;
    if (strcmp(name, "position_ids") == 0)
        return bd->job->task->positions;
    if (strcmp(name, "past_key_values") == 0)
        return bd->b->past;
    if (strcmp(name, "encoder_hidden_states") == 0)
        return bd->part != OM_PART_DECODER_PAST; /* the cached keys and values stand for them */
    return true;
}

/* axes with each "*" replaced by the next of sizes. */
static void declare(struct build *bd, const char *name, const char *table_name,
                    const int64_t *sizes)
{
    struct om_builder *b = bd->b;
    const char *const *axes = om_port_axes(port_set(bd), table_name);
    const char *filled[OM_RANK_MAX + 1] = { NULL };
    const enum om_dtype dtype = om_port_dtype(table_name);

    if (!axes) {
        om_graph_fail(b->g, OM_E_INTERNAL, "the axes of input \"%s\" are not known", name);
        return;
    }
    for (size_t i = 0; i < OM_RANK_MAX && axes[i]; i++) {
        filled[i] = axes[i];
        if (strcmp(axes[i], "*") == 0)
            filled[i] = om_arena_printf(b->g->arena, "%" PRId64, *sizes++);
        if (!filled[i]) {
            om_graph_fail(b->g, OM_E_NOMEM, "out of memory");
            return;
        }
    }
    om_builder_input(b, name, dtype ? dtype : b->compute, filled);
}

static void declare_past(struct build *bd)
{
    struct om_builder *b = bd->b;
    const int64_t sizes[] = { b->kv.heads, b->kv.head_dim };

    for (int64_t i = 0; i < b->kv.layers && b->g->rc == 0; i++)
        for (size_t slot = 0; slot < om_builder_slots(b); slot++)
            declare(bd, om_builder_cache_name(b, "past_key_values", i, (enum om_kv_slot)slot),
                    slot >= OM_KV_CROSS_KEY ? "past_key_values.encoder" : "past_key_values", sizes);
}

/* Several texts per row become rows of their own: what om_input() gives is [batch_size *
 * num_choices, sequence_length]. */
static void flatten_choices(struct om_builder *b)
{
    const om_scope root = om_builder_root(b);

    for (size_t i = 0; i < b->n_inputs; i++) {
        const om_val port = b->inputs[i].port;
        const om_dim dims[] = { om_dim_mul(b->g->dims, om_axis(root, port, 0),
                                           om_axis(root, port, 1)),
                                om_axis(root, port, 2) };
        b->inputs[i].val = om_reshape(root, port, dims, 2);
    }
}

static bool lists_input(const struct build *bd, const char *name)
{
    for (const char *const *n = input_names(bd); *n; n++)
        if (strcmp(*n, name) == 0)
            return true;
    return false;
}

static void declare_inputs(struct build *bd)
{
    if (bd->job->grouped && !lists_input(bd, "position_ids"))
        declare(bd, "position_ids", "position_ids", NULL);
    for (const char *const *name = input_names(bd); *name; name++) {
        if (!takes_input(bd, *name))
            continue;
        if (strcmp(*name, "past_key_values") == 0)
            declare_past(bd);
        else
            declare(bd, *name, *name, &bd->b->kv.hidden);
    }
    if (bd->part == OM_PART_DECODER_MERGED)
        declare(bd, "use_cache_branch", "use_cache_branch", NULL);
    if (port_set(bd) == OM_PORTS_CHOICE)
        flatten_choices(bd->b);
}

/* ---- bodies ---- */

static void emit_head(struct build *bd, const struct om_body *body)
{
    const struct om_arch_job *job = bd->job;

    job->arch->heads[job->task->head](om_builder_root(bd->b), job->cfg, body);
}

static void emit_presents(struct build *bd)
{
    struct om_builder *b = bd->b;
    const size_t slots = om_builder_slots(b);

    for (int64_t i = 0; i < b->kv.layers && b->present && b->g->rc == 0; i++)
        for (size_t slot = 0; slot < slots; slot++) {
            const om_val v = b->presents[(size_t)i * slots + slot];
            if (om_valid(v))
                om_output(om_builder_root(b),
                          om_builder_cache_name(b, "present", i, (enum om_kv_slot)slot), v);
        }
}

static om_val optional_input(om_scope root, const char *name)
{
    return om_has_input(root, name) ? om_input(root, name) : (om_val){ 0 };
}

/* The encoder's states that the cross-attention computes keys and values of: {0} where all are
 * cached. A single decoder takes those after the cached ones, all in the first step and none later:
 * a choice by lengths, which needs no If. */
static om_val states_to_project(struct build *bd)
{
    const struct om_builder *b = bd->b;
    const om_scope root = om_builder_root(bd->b);
    om_val states, cached;
    om_dim begin, end;

    if (bd->part != OM_PART_DECODER_SINGLE)
        return b->past ? (om_val){ 0 } : om_input(root, "encoder_hidden_states");
    states = om_input(root, "encoder_hidden_states");
    cached = om_input(root, om_builder_cache_name(bd->b, "past_key_values", 0, OM_KV_CROSS_KEY));
    begin = om_axis(root, cached, 2);
    end = om_axis(root, states, 1);
    if (!begin || !end)
        return (om_val){ 0 };
    return om_gather(root, states, om_arange(root, begin, end), 1);
}

static void build_decoder(struct build *bd)
{
    const struct om_arch_job *job = bd->job;
    const om_scope root = om_builder_root(bd->b);
    struct om_body body = { 0 };

    job->arch->decode(root, job->cfg, om_input(root, "input_ids"), states_to_project(bd),
                      optional_input(root, "encoder_attention_mask"), &body);
    emit_head(bd, &body);
    emit_presents(bd);
}

/* Both sides in one file. */
static void build_monolith(struct build *bd)
{
    const struct om_arch_job *job = bd->job;
    const om_scope root = om_builder_root(bd->b);
    const om_val mask = om_input(root, "attention_mask");
    const om_val hidden = job->arch->encode(root, job->cfg, om_input(root, "input_ids"), mask);
    struct om_body body = { 0 };

    job->arch->decode(root, job->cfg, om_input(root, "decoder_input_ids"), hidden, mask, &body);
    emit_head(bd, &body);
}

static void build_body(struct build *bd)
{
    const struct om_arch_job *job = bd->job;
    const om_scope root = om_builder_root(bd->b);
    struct om_body body = { 0 };

    job->arch->build(root, job->cfg, job->task->head, &body);
    emit_head(bd, &body);
    emit_presents(bd);
}

/* ---- the merged decoder ---- */

/* With past the cross-attention cache does not change; the branch gives empty tensors in its place
 * and the caller keeps what the first step gave. */
static void fill_cross_presents(struct om_builder *b)
{
    const om_scope s = om_builder_root(b);
    const int64_t dims[] = { 0, b->kv.heads, 1, b->kv.head_dim };

    for (int64_t i = 0; i < b->kv.layers && om_ok(s); i++)
        for (int slot = OM_KV_CROSS_KEY; slot <= OM_KV_CROSS_VALUE; slot++) {
            const om_val shape = om_i64s(s, dims, 4);
            const om_val empty = om_emit(s, OM_OP_ConstantOfShape, &shape, 1, NULL, 0);
            om_builder_set_present(b, i, slot, om_to_compute(s, empty));
        }
}

static uint32_t build_branch(struct build *bd, bool past)
{
    struct om_builder *b = bd->b;
    const uint32_t block =
        om_graph_block_begin(b->g, past ? OM_SVL("with_past") : OM_SVL("no_past"));

    b->past = past;
    if (past)
        fill_cross_presents(b);
    build_decoder(bd);
    om_graph_block_end(b->g);
    return block;
}

static void build_merged(struct build *bd)
{
    struct om_builder *b = bd->b;
    struct om_graph *g = b->g;
    const om_scope root = om_builder_root(b);
    const om_val cond = om_input(root, "use_cache_branch");
    const uint32_t then_block = build_branch(bd, true);
    const uint32_t else_block = build_branch(bd, false);
    const struct om_attr attrs[] = {
        { .name = "then_branch", .kind = OM_ATTR_BLOCK, .i = then_block },
        { .name = "else_branch", .kind = OM_ATTR_BLOCK, .i = else_block },
    };
    const struct om_block *no_past = &g->blocks[else_block];
    om_val *out;

    if (g->rc < 0 || b->n_missing)
        return;
    out = om_arena_array(g->arena, no_past->n_outputs, sizeof(*out));
    if (!out) {
        om_graph_fail(g, OM_E_NOMEM, "out of memory");
        return;
    }
    om_emit_n(root, OM_OP_If, &cond, 1, attrs, 2, out, (uint32_t)no_past->n_outputs);
    for (size_t i = 0; i < no_past->n_outputs && g->rc == 0; i++)
        om_graph_output(g, no_past->outputs[i].name, out[i],
                        om_graph_value(g, no_past->outputs[i].val)->dims);
}

/* ---- a whole file ---- */

static void set_cache(struct build *bd)
{
    const struct om_arch_job *job = bd->job;
    const bool seq2seq = is_two_sided(bd);
    struct om_kv kv = { 0 };

    if (!job->arch->kv)
        return;
    job->arch->kv(job->cfg, &kv);
    bd->b->cross = seq2seq;
    bd->b->present = job->past && (!seq2seq || is_decoder_part(bd->part));
    bd->b->cross_grows = bd->part == OM_PART_DECODER_SINGLE;
    if (seq2seq)
        bd->b->past = is_decoder_part(bd->part) && bd->part != OM_PART_DECODER;
    else /* the headless decoder gives a cache and takes none, as in the original */
        bd->b->past = job->past && job->task->head != OM_HEAD_HIDDEN;
    om_builder_set_kv(bd->b, &kv);
}

static void build_graph(struct build *bd)
{
    const struct om_arch_job *job = bd->job;

    set_cache(bd);
    declare_inputs(bd);
    if (bd->b->g->rc < 0)
        return;
    if (bd->part == OM_PART_DECODER_MERGED)
        build_merged(bd);
    else if (is_decoder_part(bd->part))
        build_decoder(bd);
    else if (bd->part == OM_PART_ENCODER || job->encoder_only) {
        const om_scope root = om_builder_root(bd->b);
        om_output(root, "last_hidden_state",
                  job->arch->encode(root, job->cfg, om_input(root, "input_ids"),
                                    om_input(root, "attention_mask")));
    } else if (is_two_sided(bd))
        build_monolith(bd);
    else
        build_body(bd);
}

/* Give output axes the names that programs expect, except where the axis has a fixed size. */
static void name_axes(struct build *bd)
{
    struct om_graph *g = bd->b->g;

    for (size_t i = 0; i < g->blocks[0].n_outputs && g->rc == 0; i++) {
        struct om_port *port = &g->blocks[0].outputs[i];
        const struct om_value *v = om_graph_value(g, port->val);
        const om_dim *dims = port->dims ? port->dims : v->dims;
        const char *const *names = om_output_axes(bd->part, port->name);
        const char **kept;
        int64_t fixed;

        if (!names)
            continue;
        kept = om_arena_copy(g->arena, names, OM_RANK_MAX * sizeof(*names));
        if (!kept) {
            om_graph_fail(g, OM_E_NOMEM, "out of memory");
            return;
        }
        for (uint32_t k = 0; k < v->rank; k++)
            if (om_dim_is_const(g->dims, dims[k], &fixed))
                kept[k] = NULL;
        port->axes = kept;
    }
}

int om_arch_graph(const struct om_arch_job *job, const char *file, struct om_arena *a,
                  void (*fill)(struct om_builder *b, void *user), void *user, struct om_graph **out,
                  struct om_error *err)
{
    struct om_builder b = { 0 };
    struct om_graph *g = NULL;
    int rc = om_graph_new(a, NULL, OM_SVL("main_graph"), &g, err);

    if (rc < 0)
        return rc;
    rc = om_builder_init(&b, g, job->ctx, job->ckpt, job->config, file, err);
    if (rc == 0) {
        if (job->compute != OM_DTYPE_NONE)
            b.compute = job->compute;
        b.storage = job->storage;
        b.storage_follows = job->storage_follows;
        b.rope_cache = job->grouped;
        b.fixes = job->fixes;
        b.n_fixes = job->n_fixes;
        fill(&b, user);
        rc = om_builder_finish(&b, err);
    }
    if (rc == 0)
        rc = om_graph_finish(g, err);
    om_builder_release(&b);
    if (rc == 0)
        *out = g;
    else
        om_graph_free(g);
    return rc;
}

static void fill_part(struct om_builder *b, void *user)
{
    struct build *bd = user;

    bd->b = b;
    build_graph(bd);
    name_axes(bd);
}

int om_arch_build(const struct om_arch_job *job, enum om_part part, struct om_arena *a,
                  struct om_graph **out, struct om_error *err)
{
    struct build bd = { .job = job, .part = part };

    return om_arch_graph(job, om_part_file(part), a, fill_part, &bd, out, err);
}
