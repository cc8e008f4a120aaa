/* src/ckpt/tf_names.c: one rule for all architectures, as Transformers names its TensorFlow layers:
 * scopes are attributes, "_._" stands between a list and an index, what precedes "___" is a name of
 * TensorFlow's alone. */
#include "ckpt/tf_names.h"

#define OUTPUT ":0" /* a variable's name is that of the output of an operator */

/* The last component of a variable and what PyTorch calls it. */
static const struct {
    const char *tf, *pt;
    bool kernel;
} leaves[] = {
    { "kernel", "weight", true },
    { "depthwise_kernel", "depthwise.weight", true },
    { "pointwise_kernel", "pointwise.weight", true },
    { "embeddings", "weight", false },
    { "gamma", "weight", false },
    { "beta", "bias", false },
};

static void put(struct om_buf *b, om_sv text)
{
    if (text.len > 0 && b->len > 0)
        om_buf_addc(b, '.');
    om_buf_add(b, text.ptr, text.len);
}

/* A scope between slashes: its own part, "_._" being a level. */
static void put_scope(struct om_buf *b, om_sv scope)
{
    const char *hit;

    while ((hit = memmem(scope.ptr, scope.len, "_._", 3)) != NULL) {
        const size_t len = (size_t)(hit - scope.ptr);

        put(b, (om_sv){ scope.ptr, len });
        scope = (om_sv){ hit + 3, scope.len - len - 3 };
    }
    put(b, scope);
}

static om_sv after_alias(om_sv scope)
{
    const char *hit;

    while ((hit = memmem(scope.ptr, scope.len, "___", 3)) != NULL)
        scope = (om_sv){ hit + 3, scope.len - (size_t)(hit + 3 - scope.ptr) };
    return scope;
}

static bool put_leaf(struct om_buf *b, om_sv leaf)
{
    for (size_t i = 0; i < OM_COUNT(leaves); i++)
        if (om_sv_is(leaf, leaves[i].tf)) {
            put(b, om_sv_str(leaves[i].pt));
            return leaves[i].kernel;
        }
    put_scope(b, leaf);
    return false;
}

const char *om_tf_name(struct om_arena *a, om_sv variable, bool scoped, bool *kernel)
{
    struct om_buf b = OM_BUF_INIT((size_t)1 << 20);
    const char *name = NULL;
    bool first = scoped;
    om_sv scope;

    *kernel = false;
    if (om_sv_ends(variable, OM_SVL(OUTPUT)))
        variable.len -= sizeof(OUTPUT) - 1;
    while (om_sv_split(&variable, '/', &scope)) {
        const bool last = variable.ptr == NULL;

        if (last)
            *kernel = put_leaf(&b, scope);
        else if (!first)
            put_scope(&b, after_alias(scope));
        first = false;
    }
    om_buf_add(&b, "", 0); /* a name of nothing is a name, too */
    if (!b.failed)
        name = om_arena_str(a, om_buf_sv(&b));
    om_buf_release(&b);
    return name;
}

/* Which axis of the kernel is PyTorch's i-th. Images: height, width, input, output channels. Other
 * kernels are in reverse order. */
static uint32_t kernel_axis(uint32_t rank, uint32_t i)
{
    static const uint32_t image[] = { 3, 2, 0, 1 };

    return rank == OM_COUNT(image) ? image[i] : rank - 1 - i;
}

/* Row-major strides; false when they overflow, which only a tensor without elements can. */
static bool row_major(const int64_t *dims, uint32_t rank, int64_t *strides)
{
    int64_t step = 1;

    for (uint32_t i = rank; i-- > 0;) {
        strides[i] = step;
        if (!om_mul_i64(step, dims[i], &step))
            return false;
    }
    return true;
}

static int reorder(struct om_arena *a, struct om_ckpt_tensor *t, struct om_error *err)
{
    int64_t *from = om_arena_array(a, t->rank, sizeof(*from));
    int64_t *dims = om_arena_array(a, t->rank, sizeof(*dims));
    int64_t *strides = om_arena_array(a, t->rank, sizeof(*strides));

    if (!from || !dims || !strides)
        return om_fail(err, OM_E_NOMEM, "out of memory for the tensor table");
    if (!row_major(t->dims, t->rank, from))
        return om_fail(err, OM_E_FORMAT, "shape is too large");
    for (uint32_t i = 0; i < t->rank; i++) {
        const uint32_t axis = kernel_axis(t->rank, i);

        dims[i] = t->dims[axis];
        strides[i] = from[axis];
    }
    t->dims = dims;
    t->strides = strides;
    return 0;
}

bool om_tf_is_variable(om_sv name)
{
    return om_sv_ends(name, OM_SVL(OUTPUT)) || (name.len && memchr(name.ptr, '/', name.len));
}

bool om_tf_scoped(om_sv variable)
{
    return memmem(variable.ptr, variable.len, "model.", 6) != NULL;
}

int om_tf_tensor(struct om_arena *a, struct om_ckpt_tensor *t, om_sv variable, bool scoped,
                 struct om_error *err)
{
    bool kernel;

    t->name = om_sv_str(om_tf_name(a, variable, scoped, &kernel));
    if (!t->name.ptr)
        return om_fail(err, OM_E_NOMEM, "out of memory for the tensor names");
    if (kernel && t->rank > 1)
        return reorder(a, t, err);
    /* GPT-2's Conv1D keeps its bias as a row. */
    if (t->rank == 2 && t->dims[0] == 1 && om_sv_ends(t->name, OM_SVL(".bias"))) {
        t->dims++;
        t->rank = 1;
    }
    return 0;
}
