/* src/nn/builder.c: the state of one graph that is being built: sources of weights, ports, the
 * cache, missing tensors. */
#include "nn/internal.h"

#include <stdlib.h>

static struct om_source *source_new(struct om_arena *a, const struct om_ckpt *ckpt,
                                    const char *prefix)
{
    struct om_source *src = om_arena_alloc(a, sizeof(*src));

    if (!src)
        return NULL;
    src->ckpt = ckpt;
    src->prefix = prefix;
    src->used = om_arena_array(a, ckpt->len ? ckpt->len : 1, sizeof(*src->used));
    return src->used ? src : NULL;
}

struct om_source *om_builder_source(struct om_builder *b, const struct om_ckpt *ckpt,
                                    const char *prefix)
{
    struct om_source *src = source_new(b->g->arena, ckpt, prefix);

    if (!src) {
        om_graph_fail(b->g, OM_E_NOMEM, "out of memory");
        return b->sources;
    }
    src->next = b->sources;
    b->sources = src;
    return src;
}

int om_builder_init(struct om_builder *b, struct om_graph *g, struct om_ctx *ctx,
                    const struct om_ckpt *ckpt, const struct om_config *config, const char *file,
                    struct om_error *err)
{
    *b = (struct om_builder){
        .g = g, .ctx = ctx, .file = file, .config = config, .compute = OM_F32
    };
    b->sources = source_new(g->arena, ckpt, "");
    if (!b->sources)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    return 0;
}

void om_builder_release(struct om_builder *b)
{
    free(b->inputs);
    free(b->missing);
    free(b->sights);
    *b = (struct om_builder){ 0 };
}

om_scope om_builder_root(struct om_builder *b)
{
    struct om_source *own = b->sources;

    while (own && own->next)
        own = own->next;
    return (om_scope){ .b = b, .source = own, .weights = "", .path = "" };
}

/* ---- axes ---- */

static om_dim fixed_dim(const struct om_builder *b, om_dim d);

static om_dim fixed_atom(const struct om_builder *b, const struct om_dim_atom *atom)
{
    struct om_dims *dims = b->g->dims;

    if (atom->is_div)
        return om_dim_div(dims, fixed_dim(b, atom->num), fixed_dim(b, atom->den));
    for (size_t i = 0; i < b->n_fixes; i++)
        if (om_sv_is(atom->symbol, b->fixes[i].symbol))
            return om_dim_const(dims, b->fixes[i].value);
    return om_dim_symbol(dims, atom->symbol);
}

/* d with the fixed symbols replaced. */
static om_dim fixed_dim(const struct om_builder *b, om_dim d)
{
    struct om_dims *dims = b->g->dims;
    const struct om_dim_term *terms;
    const size_t n = om_dim_terms(dims, d, &terms);
    om_dim sum = om_dim_const(dims, 0);

    for (size_t i = 0; i < n; i++) {
        /* Interning may move the terms of d: read them again in every round. */
        om_dim_terms(dims, d, &terms);
        om_dim product = om_dim_const(dims, terms[i].coef);
        const uint32_t n_atoms = terms[i].n_atoms;
        for (uint32_t k = 0; k < n_atoms; k++) {
            om_dim_terms(dims, d, &terms);
            const struct om_dim_atom atom = *om_dim_atom_at(dims, terms[i].atoms[k]);
            product = om_dim_mul(dims, product, fixed_atom(b, &atom));
        }
        sum = om_dim_add(dims, sum, product);
    }
    return sum;
}

om_dim om_builder_axis(struct om_builder *b, const char *text)
{
    const om_dim d = om_dim_parse(b->g->dims, om_sv_str(text));

    if (!d) {
        if (om_dims_no_memory(b->g->dims))
            om_graph_fail(b->g, OM_E_NOMEM, "out of memory");
        else
            om_graph_fail(b->g, OM_E_INTERNAL, "\"%s\" is not an axis", text);
        return 0;
    }
    return b->n_fixes ? fixed_dim(b, d) : d;
}

om_val om_builder_input(struct om_builder *b, const char *name, enum om_dtype dtype,
                        const char *const *axes)
{
    om_dim dims[OM_RANK_MAX];
    uint32_t rank = 0;
    om_val v;

    for (; axes[rank]; rank++) {
        if (rank == OM_RANK_MAX)
            return om_graph_fail(b->g, OM_E_INTERNAL, "input \"%s\" has too many axes", name);
        dims[rank] = om_builder_axis(b, axes[rank]);
    }
    if (b->g->rc < 0)
        return (om_val){ 0 };
    if (!om_grow(&b->inputs, &b->cap_inputs, b->n_inputs + 1, sizeof(*b->inputs)))
        return om_graph_fail(b->g, OM_E_NOMEM, "out of memory");
    v = om_graph_input(b->g, om_sv_str(name), dtype, dims, rank);
    b->inputs[b->n_inputs++] =
        (struct om_builder_input){ .name = om_sv_str(name), .port = v, .val = v };
    return v;
}

/* ---- the cache ---- */

size_t om_builder_slots(const struct om_builder *b)
{
    return b->cross ? 4 : 2;
}

void om_builder_set_kv(struct om_builder *b, const struct om_kv *kv)
{
    size_t n;

    b->kv = *kv;
    if (kv->layers < 0 || !om_mul_size((size_t)kv->layers, om_builder_slots(b), &n)) {
        om_graph_fail(b->g, OM_E_CONFIG, "%" PRId64 " layers", kv->layers);
        return;
    }
    b->presents = om_arena_array(b->g->arena, n ? n : 1, sizeof(*b->presents));
    if (!b->presents)
        om_graph_fail(b->g, OM_E_NOMEM, "out of memory");
}

const char *om_builder_cache_name(struct om_builder *b, const char *stem, int64_t layer,
                                  enum om_kv_slot slot)
{
    static const char *const plain[] = { "key", "value" };
    static const char *const cross[] = { "decoder.key", "decoder.value", "encoder.key",
                                         "encoder.value" };
    const char *name = om_arena_printf(b->g->arena, "%s.%" PRId64 ".%s", stem, layer,
                                       b->cross ? cross[slot] : plain[slot & 1]);

    if (!name)
        om_graph_fail(b->g, OM_E_NOMEM, "out of memory");
    return name ? name : "";
}

void om_builder_set_present(struct om_builder *b, int64_t layer, enum om_kv_slot slot, om_val v)
{
    if (b->present && b->presents && layer >= 0 && layer < b->kv.layers)
        b->presents[(size_t)layer * om_builder_slots(b) + slot] = v;
}

/* ---- the end ---- */

#define MISSING_MAX \
    4096 /* more than any list that a person reads; bounds a hostile number of layers */

void om_builder_note_sight(struct om_builder *b, om_val mask, int64_t window)
{
    if (b->g->rc < 0 || mask.id == 0)
        return;
    if (!om_grow(&b->sights, &b->cap_sights, b->n_sights + 1, sizeof(*b->sights))) {
        om_graph_fail(b->g, OM_E_NOMEM, "out of memory");
        return;
    }
    b->sights[b->n_sights++] = (struct om_sight){ mask, window };
}

const struct om_sight *om_builder_sight(const struct om_builder *b, om_val mask)
{
    for (size_t i = 0; i < b->n_sights; i++)
        if (b->sights[i].mask.id == mask.id)
            return &b->sights[i];
    return NULL;
}

void om_builder_note_missing(struct om_builder *b, const char *name)
{
    for (size_t i = 0; i < b->n_missing; i++)
        if (strcmp(b->missing[i], name) == 0)
            return;
    if (b->n_missing == MISSING_MAX) {
        om_graph_fail(b->g, OM_E_MISSING, "more than %d tensors are missing, such as \"%s\"",
                      MISSING_MAX, b->missing[0]);
        return;
    }
    if (!om_grow(&b->missing, &b->cap_missing, b->n_missing + 1, sizeof(*b->missing))) {
        om_graph_fail(b->g, OM_E_NOMEM, "out of memory");
        return;
    }
    b->missing[b->n_missing++] = name;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The file that a person would look into. */
static const char *source_path(const struct om_source *own)
{
    return own->ckpt->file_count == 1 ? own->ckpt->files[0].path : "the checkpoint";
}

static int fail_missing(struct om_builder *b, struct om_error *err)
{
    struct om_buf text = OM_BUF_INIT(1u << 20);
    const char *const *classes = b->config ? b->config->architectures : NULL;
    const char *saved_from = classes ? classes[0] : NULL;
    const size_t n = b->n_missing;
    int rc;

    qsort(b->missing, n, sizeof(*b->missing), by_text);
    for (size_t i = 0; i < n; i++)
        om_buf_printf(&text, "%s\"%s\"", i ? ", " : "", b->missing[i]);
    rc = om_fail(err, OM_E_MISSING, "%s: %zu tensor%s missing: %s%s%s%s",
                 source_path(om_builder_root(b).source), n, n == 1 ? " is" : "s are",
                 text.ptr ? text.ptr : "?", saved_from ? " (the checkpoint was saved from a " : "",
                 saved_from ? saved_from : "", saved_from ? ")" : "");
    om_buf_release(&text);
    return rc;
}

static void log_unused(const struct om_builder *b)
{
    for (const struct om_source *src = b->sources; src; src = src->next)
        for (size_t i = 0; i < src->ckpt->len; i++)
            if (!src->used[i])
                om_log(b->ctx, OM_LOG_DEBUG, "%s: tensor \"%s%.*s\" is not used", b->file,
                       src->prefix, OM_SV(src->ckpt->tensors[i].name));
}

int om_builder_finish(struct om_builder *b, struct om_error *err)
{
    OM_TRY(om_graph_check(b->g, err));
    if (b->n_missing)
        return fail_missing(b, err);
    log_unused(b);
    return 0;
}
