/* src/ref/model_table.c: finds an operator of documents by domain and name. */
#include "ref/plan.h"

enum {
    NONE = 0,
    FLOAT = REF_WIDEN_FLOAT,
    NUMBER = REF_WIDEN_FLOAT | REF_WIDEN_INT,
    ANY = REF_WIDEN_FLOAT | REF_WIDEN_INT | REF_WIDEN_BOOL,
    MOVE = REF_MOVE,
    SMALL = REF_TAKE_SMALL,
    ANY_KIND = REF_TAKE_ANY,
    ANY_N = UINT8_MAX,
};

static const struct ref_def defs[] = {
#define OM_DEF(domain, name, kernel, min_in, max_in, n_out, widen) \
    { domain, #name, om_ref_##kernel, min_in, max_in, n_out, widen },
#include "ref/model_ops.def"
#undef OM_DEF
};

const struct ref_def *om_ref_find_def(om_sv domain, om_sv name)
{
    for (size_t i = 0; i < OM_COUNT(defs); i++)
        if (om_sv_is(name, defs[i].name) && om_sv_is(domain, defs[i].domain))
            return &defs[i];
    return NULL;
}
