/* src/quant/weight_only.c: products with a constant matrix become MatMulNBits or MatMulBnb4 of
 * com.microsoft; a Gemm's bias is added after it. */
#include <stdlib.h>

#include "base/codes.h"
#include "quant/blocks.h"
#include "quant/internal.h"

struct packed {
    om_sv b, scales, zeros;
    om_sv order; /* of the input features; empty: as they come */
    int64_t n, k;
};

struct pass {
    struct om_quant_job *j;
    struct om_map done; /* weights, by graph, name and orientation, to indices into packs */
    struct packed *packs;
    size_t n_packs, cap_packs;
};

/* How a node multiplies. */
struct product {
    struct om_doc_graph *owner; /* of the weight */
    struct om_doc_tensor *weight;
    bool swapped;                   /* the weight is [K, N] */
    om_sv bias;                     /* empty: none */
    const struct om_packed *packed; /* the layer that holds it quantized, from first_row on */
    size_t first_row;
};

static struct om_doc_tensor *find_weight(struct om_doc_graph *g, om_sv name,
                                         struct om_doc_graph **owner)
{
    for (; g; g = g->parent) {
        struct om_doc_tensor *const t = om_doc_find_tensor(g, name);

        if (t) {
            *owner = g;
            return t;
        }
    }
    return NULL;
}

static bool fits_gemm(const struct om_doc_node *n, struct product *p)
{
    float alpha = 1.0f, beta = 1.0f;
    int64_t trans_a = 0, trans_b = 0;

    if (om_doc_attr_float(n, "alpha", &alpha, NULL) < 0 ||
        om_doc_attr_float(n, "beta", &beta, NULL) < 0 ||
        om_doc_attr_int(n, "transA", &trans_a, NULL) < 0 ||
        om_doc_attr_int(n, "transB", &trans_b, NULL) < 0)
        return false;
    p->swapped = trans_b == 0;
    p->bias = n->n_in > 2 ? n->in[2] : (om_sv){ "", 0 };
    return alpha == 1.0f && trans_a == 0 && (p->bias.len == 0 || beta == 1.0f);
}

/* A view whose axes are swapped is the matrix in its other orientation. */
static int plain_view(struct om_weight *w, int64_t dims[2], bool *swapped, struct om_error *err)
{
    if (w->strides && !om_view_dense(w->dims, w->strides, w->rank)) {
        if (w->strides[0] != 1 || w->strides[1] != w->dims[0])
            return om_fail(err, OM_E_UNSUPPORTED,
                           "tensor \"%.*s\": its axes are permuted in a way that is not quantized",
                           OM_SV(w->name));
        dims[0] = w->dims[1];
        dims[1] = w->dims[0];
        w->dims = dims;
        *swapped = !*swapped;
    }
    w->strides = NULL;
    return 0;
}

/* Is the weight whole rows of a layer that the checkpoint holds quantized? */
static bool find_layer(const struct pass *x, struct product *p)
{
    bool swapped = p->swapped;
    int64_t dims[2];
    struct om_weight w;
    uint64_t row;

    if (om_doc_weight(x->j->doc, p->weight, &w, NULL) < 0 ||
        plain_view(&w, dims, &swapped, NULL) < 0 || swapped)
        return false;
    p->packed = w.file ? om_packed_find(x->j->packed, w.file, w.offset) : NULL;
    if (!p->packed)
        return false;
    row = (uint64_t)p->packed->k * sizeof(float);
    p->first_row = (size_t)((w.offset - p->packed->offset) / row);
    return w.dims[1] == p->packed->k && (w.offset - p->packed->offset) % row == 0 &&
           (int64_t)p->first_row + w.dims[0] <= p->packed->n;
}

static bool fits(struct pass *x, struct om_doc_graph *g, const struct om_doc_node *n,
                 struct product *p)
{
    const bool gemm = om_sv_is(n->op, "Gemm");

    *p = (struct product){ .swapped = true, .bias = { "", 0 } };
    if (n->domain.len > 0 || n->n_in < 2 || n->n_out != 1 || (!gemm && !om_sv_is(n->op, "MatMul")))
        return false;
    if (!om_quant_wants(x->j, n->op, n->name) || (gemm && !fits_gemm(n, p)))
        return false;
    p->weight = find_weight(g, n->in[1], &p->owner);
    if (!p->weight || p->weight->rank != 2 || p->weight->dims[0] <= 0 || p->weight->dims[1] <= 0 ||
        (p->weight->type != OM_Q_F32 && p->weight->type != OM_Q_F16))
        return false;
    return !x->j->packed || find_layer(x, p);
}

static int add_part(struct pass *x, struct om_doc_graph *g, om_sv base, const char *ending,
                    int32_t type, const int64_t *dims, uint32_t rank, uint64_t bytes,
                    const struct om_doc_source *source, om_sv *name)
{
    struct om_quant_job *const j = x->j;
    struct om_doc_tensor *t;

    OM_TRY(om_quant_name(j, om_doc_text(j->doc, "%.*s%s", OM_SV(base), ending), name));
    t = om_doc_add_tensor(j->doc, g);
    if (!t || !om_doc_types_put(j->types, g, *name, type))
        return om_quant_no_memory(j);
    *t = (struct om_doc_tensor){
        .name = *name, .type = type, .rank = rank, .dims = dims, .bytes = bytes, .source = source
    };
    return 0;
}

static int new_blocks(struct pass *x, const struct product *p, struct om_blocks **out)
{
    struct om_quant_job *const j = x->j;
    const struct om_quant_config *const c = j->config;
    struct om_blocks *const b = om_arena_alloc(j->arena, sizeof(*b));
    int64_t *const dims = om_arena_array(j->arena, 2, sizeof(*dims));
    bool swapped = p->swapped;
    struct om_weight w;

    if (!b || !dims ||
        !om_grow(&j->blocks, &j->cap_blocks, j->n_blocks + 1, sizeof(struct om_blocks *)))
        return om_quant_no_memory(j);
    OM_TRY(om_doc_weight(j->doc, p->weight, &w, j->err));
    OM_TRY(plain_view(&w, dims, &swapped, j->err));
    om_blocks_init(b, &w, swapped,
                   (struct om_block_form){ .bits = c->bits,
                                           .size = c->block_size,
                                           .symmetric = c->symmetric,
                                           .half = p->weight->type == OM_Q_F16 || c->rest_float16,
                                           .search = c->search,
                                           .numbers = c->numbers });
    b->want_error = j->want_errors;
    b->layer = p->packed;
    b->first_row = p->first_row;
    j->blocks[j->n_blocks++] = b;
    *out = b;
    return 0;
}

static const char *numbers_text(enum om_quant_numbers n)
{
    static const char *const texts[] = {
        [OM_QUANT_INTEGERS] = "int", [OM_QUANT_FP4] = "fp", [OM_QUANT_NF4] = "nf"
    };

    return texts[n];
}

static int add_layer(struct pass *x, const struct product *p, const struct om_blocks *b)
{
    const struct om_quant_config *const c = x->j->config;
    const uint64_t scales = om_blocks_count(b) * (b->form.half ? 2 : 4);
    const uint64_t zeros = c->symmetric ? 0 : b->n * om_blocks_zero_bytes(b);
    const om_sv form = om_doc_text(x->j->doc, "%s%d, blocks of %d", numbers_text(c->numbers),
                                   c->bits, c->block_size);

    if (form.len == 0)
        return om_quant_no_memory(x->j);
    return om_quant_add_layer(x->j,
                              (struct om_quant_layer){ .name = p->weight->name,
                                                       .form = form.ptr,
                                                       .before = b->weight.bytes,
                                                       .after = om_blocks_bytes(b) + scales + zeros,
                                                       .error = b->want_error ? &b->error : NULL });
}

/* Which input feature comes where: the indices of a Gather. */
static int add_order(struct pass *x, const struct product *p, struct packed *k)
{
    int64_t *const dims = om_arena_array(x->j->arena, 1, sizeof(*dims));
    struct om_weight *const w = om_arena_alloc(x->j->arena, sizeof(*w));
    struct om_doc_tensor *t;

    if (!dims || !w)
        return om_quant_no_memory(x->j);
    dims[0] = p->packed->k;
    OM_TRY(om_quant_name(x->j, om_doc_text(x->j->doc, "%.*s_order", OM_SV(p->weight->name)),
                         &k->order));
    *w = (struct om_weight){ .name = k->order,
                             .dtype = OM_I64,
                             .src_dtype = OM_I64,
                             .rank = 1,
                             .dims = dims,
                             .data = p->packed->order,
                             .bytes = (uint64_t)dims[0] * sizeof(int64_t) };
    t = om_doc_add_tensor(x->j->doc, p->owner);
    if (!t || !om_doc_types_put(x->j->types, p->owner, k->order, OM_Q_I64))
        return om_quant_no_memory(x->j);
    *t = (struct om_doc_tensor){
        .name = k->order, .type = OM_Q_I64, .rank = 1, .dims = dims, .bytes = w->bytes, .weight = w
    };
    return 0;
}

/* B, scales and zero points of MatMulNBits. */
static int add_integers(struct pass *x, const struct product *p, const struct om_blocks *b,
                        int32_t scale_type, struct packed *k)
{
    const om_sv base = p->weight->name;
    const uint64_t bytes = om_blocks_bytes(b), zero_bytes = om_blocks_zero_bytes(b);
    int64_t *const dims = om_arena_array(x->j->arena, 5, sizeof(*dims));

    if (!dims)
        return om_quant_no_memory(x->j);
    dims[0] = dims[3] = k->n;
    dims[1] = (int64_t)b->blocks;
    dims[2] = b->form.size * b->form.bits / 8;
    dims[4] = (int64_t)zero_bytes;
    OM_TRY(add_part(x, p->owner, base, b->form.bits == 4 ? "_Q4" : "_Q8", OM_Q_U8, dims, 3, bytes,
                    &b->packed, &k->b));
    OM_TRY(add_part(x, p->owner, base, "_scales", scale_type, dims, 2,
                    om_blocks_count(b) * (b->form.half ? 2 : 4), &b->scales, &k->scales));
    if (b->form.symmetric)
        return 0;
    return add_part(x, p->owner, base, "_zero_points", OM_Q_U8, dims + 3, 2, b->n * zero_bytes,
                    &b->zeros, &k->zeros);
}

/* B and absmax of MatMulBnb4. */
static int add_coded(struct pass *x, const struct product *p, const struct om_blocks *b,
                     int32_t scale_type, struct packed *k)
{
    const om_sv base = p->weight->name;
    int64_t *const dims = om_arena_array(x->j->arena, 2, sizeof(*dims));

    if (!dims)
        return om_quant_no_memory(x->j);
    dims[0] = (int64_t)om_blocks_bytes(b);
    dims[1] = (int64_t)om_blocks_count(b);
    OM_TRY(add_part(x, p->owner, base, "_Bnb4", OM_Q_U8, dims, 1, om_blocks_bytes(b), &b->packed,
                    &k->b));
    return add_part(x, p->owner, base, "_absmax", scale_type, dims + 1, 1,
                    om_blocks_count(b) * (b->form.half ? 2 : 4), &b->scales, &k->scales);
}

/* The initializers of a weight, beside it. */
static int add_packed(struct pass *x, const struct product *p, om_sv key)
{
    struct om_quant_job *const j = x->j;
    struct packed k = { .zeros = { "", 0 }, .order = { "", 0 } };
    struct om_blocks *b = NULL;
    int32_t scale_type;

    OM_TRY(new_blocks(x, p, &b));
    OM_TRY(add_layer(x, p, b));
    k.n = (int64_t)b->n;
    k.k = (int64_t)b->k;
    scale_type = b->form.half ? OM_Q_F16 : OM_Q_F32;
    if (b->form.numbers == OM_QUANT_INTEGERS)
        OM_TRY(add_integers(x, p, b, scale_type, &k));
    else
        OM_TRY(add_coded(x, p, b, scale_type, &k));
    if (p->packed && p->packed->order)
        OM_TRY(add_order(x, p, &k));
    if (!om_grow(&x->packs, &x->cap_packs, x->n_packs + 1, sizeof(*x->packs)) ||
        om_map_put(&x->done, key, (uint32_t)x->n_packs) < 0)
        return om_quant_no_memory(j);
    x->packs[x->n_packs++] = k;
    return 0;
}

static int find_packed(struct pass *x, const struct product *p, struct packed *out)
{
    const om_sv key =
        om_doc_text(x->j->doc, "%p %d %.*s", (void *)p->owner, p->swapped, OM_SV(p->weight->name));
    uint32_t at;

    if (key.len == 0)
        return om_quant_no_memory(x->j);
    if (!om_map_get(&x->done, key, &at)) {
        OM_TRY(add_packed(x, p, key));
        at = (uint32_t)x->n_packs - 1;
    }
    *out = x->packs[at];
    return 0;
}

static struct om_doc_node *add_node(struct pass *x, struct om_doc_graph *g, const char *op,
                                    om_sv name, const om_sv *in, uint32_t n_in, om_sv out)
{
    struct om_doc_node *const n = om_doc_add_node(x->j->doc, g);

    if (!n)
        return NULL;
    n->op = om_sv_str(op);
    n->name = name;
    n->in = om_arena_copy(x->j->arena, in, n_in * sizeof(*in));
    n->out = om_arena_copy(x->j->arena, &out, sizeof(out));
    n->n_in = n_in;
    n->n_out = 1;
    return n->in && n->out ? n : NULL;
}

static om_sv ending(struct pass *x, om_sv base, const char *text)
{
    return base.len > 0 ? om_doc_text(x->j->doc, "%.*s%s", OM_SV(base), text) : base;
}

/* Input features in the order of the weight's columns. */
static int add_gather(struct pass *x, struct om_doc_graph *g, const struct om_doc_node *old,
                      const struct packed *k, om_sv *value)
{
    struct om_quant_job *const j = x->j;
    const om_sv in[] = { *value, k->order };
    struct om_doc_node *n;

    OM_TRY(om_quant_name(j, om_doc_text(j->doc, "%.*s_ordered", OM_SV(old->out[0])), value));
    n = add_node(x, g, "Gather", ending(x, old->name, "_Gather"), in, 2, *value);
    return n && om_doc_put_int(j->doc, n, "axis", -1) ? 0 : om_quant_no_memory(j);
}

static bool put_attributes(struct om_quant_job *j, struct om_doc_node *n, const struct packed *k)
{
    const struct om_quant_config *const c = j->config;
    const bool integers = c->numbers == OM_QUANT_INTEGERS;

    n->domain = OM_SVL("com.microsoft");
    if (!om_doc_put_int(j->doc, n, "K", k->k) || !om_doc_put_int(j->doc, n, "N", k->n) ||
        (integers && !om_doc_put_int(j->doc, n, "bits", c->bits)) ||
        !om_doc_put_int(j->doc, n, "block_size", c->block_size))
        return false;
    if (!integers)
        return om_doc_put_int(j->doc, n, "quant_type",
                              c->numbers == OM_QUANT_NF4 ? OM_CODES_NF4 : OM_CODES_FP4);
    return c->accuracy_level == 0 || om_doc_put_int(j->doc, n, "accuracy_level", c->accuracy_level);
}

static int replace(struct pass *x, struct om_doc_graph *g, const struct om_doc_node *old,
                   const struct product *p)
{
    struct om_quant_job *const j = x->j;
    const bool integers = j->config->numbers == OM_QUANT_INTEGERS;
    const char *const suffix = !integers ? "_Bnb4" : j->config->bits == 4 ? "_Q4" : "_Q8";
    struct om_doc_node *n;
    struct packed k = { .n = 0 };
    om_sv value = old->in[0], out = old->out[0];

    OM_TRY(find_packed(x, p, &k));
    if (k.order.len > 0)
        OM_TRY(add_gather(x, g, old, &k, &value));
    if (p->bias.len > 0) {
        OM_TRY(om_quant_name(j, om_doc_text(j->doc, "%.*s_MatMul", OM_SV(old->out[0])), &out));
        if (!om_doc_types_put(j->types, g, out, p->weight->type))
            return om_quant_no_memory(j);
    }

    const om_sv in[] = { value, k.b, k.scales, k.zeros };
    n = add_node(x, g, integers ? "MatMulNBits" : "MatMulBnb4", ending(x, old->name, suffix), in,
                 k.zeros.len > 0 ? 4 : 3, out);
    if (!n || !put_attributes(j, n, &k))
        return om_quant_no_memory(j);
    j->converted++;
    if (p->bias.len == 0)
        return 0;

    const om_sv sum[] = { out, p->bias };
    return add_node(x, g, "Add", ending(x, old->name, "_Add"), sum, 2, old->out[0])
               ? 0
               : om_quant_no_memory(j);
}

static int visit(void *user, struct om_doc_graph *g, struct om_error *err)
{
    struct pass *const x = user;
    const struct om_doc_nodes old = g->nodes;

    (void)err;
    g->nodes = (struct om_doc_nodes){ .items = NULL };
    for (size_t i = 0; i < old.len; i++) {
        const struct om_doc_node *const n = &old.items[i];
        struct om_doc_node *copy;
        struct product p;

        if (fits(x, g, n, &p)) {
            OM_TRY(om_wrap(x->j->err, replace(x, g, n, &p), "node \"%.*s\"", OM_SV(n->name)));
            continue;
        }
        copy = om_doc_add_node(x->j->doc, g);
        if (!copy)
            return om_quant_no_memory(x->j);
        *copy = *n;
    }
    return 0;
}

int om_quant_weight_only(struct om_quant_job *j)
{
    struct pass x = { .j = j, .done = OM_MAP_INIT };
    int rc = om_quant_fold_casts(j);

    if (rc == 0)
        rc = om_doc_walk(j->doc->graph, visit, &x, j->err);
    if (rc == 0)
        rc = om_quant_pack_products(j);
    om_map_release(&x.done);
    free(x.packs);
    return rc;
}
