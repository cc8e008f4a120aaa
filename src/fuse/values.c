/* src/fuse/values.c: arithmetic that gives back an operand, conversions that cancel, choices that
 * are made. */
#include "fuse/internal.h"

/* ---- neutral operands ---- */

static const struct {
    const char *op;
    double neutral;
    bool either; /* the operand may be the first as well */
} neutrals[] = {
    { "Add", 0, true },  { "Sub", 0, false }, { "Mul", 1, true },
    { "Div", 1, false }, { "Pow", 1, false },
};

int fz_drop_neutral(struct fuse *f, struct om_doc_node *n)
{
    for (size_t i = 0; n->n_in == 2 && n->n_out == 1 && i < OM_COUNT(neutrals); i++) {
        if (!fz_is(n, "", neutrals[i].op))
            continue;
        for (uint32_t k = neutrals[i].either ? 0 : 1; k < 2; k++) {
            double v, tolerance;

            if (fz_scalar(f, n->in[k], &v, &tolerance) && v == neutrals[i].neutral &&
                fz_same_shape(f, n->in[1 - k], n->out[0]))
                return fz_drop(f, n, n->in[1 - k]);
        }
    }
    return 0;
}

/* ---- choices ---- */

/* The one truth of a constant condition. */
static bool truth_of(const struct fuse *f, om_sv name, bool *truth)
{
    int64_t v[64];
    size_t len;

    if (!fz_ints(f, name, v, OM_COUNT(v), &len) || len == 0)
        return false;
    for (size_t i = 1; i < len; i++)
        if ((v[i] != 0) != (v[0] != 0))
            return false;
    *truth = v[0] != 0;
    return true;
}

int fz_drop_choice(struct fuse *f, struct om_doc_node *n)
{
    bool truth;
    om_sv chosen;

    if (!fz_is(n, "", "Where") || n->n_in != 3 || n->n_out != 1 || !truth_of(f, n->in[0], &truth))
        return 0;
    chosen = n->in[truth ? 1 : 2];
    return fz_same_shape(f, chosen, n->out[0]) ? fz_drop(f, n, chosen) : 0;
}

/* x and true, x or false. */
int fz_drop_logic(struct fuse *f, struct om_doc_node *n)
{
    const bool is_and = fz_is(n, "", "And");
    bool truth;

    for (uint32_t k = 0; (is_and || fz_is(n, "", "Or")) && n->n_in == 2 && n->n_out == 1 && k < 2;
         k++)
        if (truth_of(f, n->in[k], &truth) && truth == is_and &&
            fz_same_shape(f, n->in[1 - k], n->out[0]))
            return fz_drop(f, n, n->in[1 - k]);
    return 0;
}

/* ---- conversions ---- */

/* Bits for integers' values and signs, and what a float can hold of them. */
static const struct {
    enum om_dtype dtype;
    bool is_float, is_signed;
    int bits, exponent; /* of magnitude; of floats: of the significand */
} kinds[] = {
    { OM_BOOL, false, false, 1, 0 }, { OM_U8, false, false, 8, 0 },
    { OM_I8, false, true, 7, 0 },    { OM_U16, false, false, 16, 0 },
    { OM_I16, false, true, 15, 0 },  { OM_U32, false, false, 32, 0 },
    { OM_I32, false, true, 31, 0 },  { OM_U64, false, false, 64, 0 },
    { OM_I64, false, true, 63, 0 },  { OM_F16, true, true, 11, 5 },
    { OM_BF16, true, true, 8, 8 },   { OM_F32, true, true, 24, 8 },
    { OM_F64, true, true, 53, 11 },
};

/* Every value of a is one of b. */
static bool widens(enum om_dtype a, enum om_dtype b)
{
    size_t i = 0, k = 0;

    while (i < OM_COUNT(kinds) && kinds[i].dtype != a)
        i++;
    while (k < OM_COUNT(kinds) && kinds[k].dtype != b)
        k++;
    if (i == OM_COUNT(kinds) || k == OM_COUNT(kinds))
        return false;
    return (!kinds[i].is_signed || kinds[k].is_signed) &&
           (!kinds[i].is_float || kinds[k].is_float) && kinds[i].bits <= kinds[k].bits &&
           kinds[i].exponent <= kinds[k].exponent;
}

/* A conversion that lost nothing is not seen by the next one. */
int fz_merge_casts(struct fuse *f, struct om_doc_node *n)
{
    const struct om_doc_node *const up =
        fz_is(n, "", "Cast") && n->n_in == 1 ? fz_made_by(f, n->in[0], "Cast") : NULL;
    const struct om_value *const x = up ? fz_shape(f, up->in[0]) : NULL;
    const struct om_value *const between = up ? fz_shape(f, n->in[0]) : NULL;

    if (!x || !between || up->n_in != 1 || !widens(x->dtype, between->dtype))
        return 0;
    return fz_reread(f, n, 0, up->in[0]);
}
