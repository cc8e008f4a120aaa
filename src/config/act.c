/* src/config/act.c: the names of activation functions. */
#include "config/config.h"

static const char *const names[OM_ACT_COUNT] = {
#define OM_ACT_ROW(suffix, name) [OM_ACT_##suffix] = (name),
    OM_ACTS(OM_ACT_ROW)
#undef OM_ACT_ROW
};

/* Other names in ACT2FN for the same function. */
static const struct {
    const char *name;
    enum om_act act;
} aliases[] = {
    { "gelu_python", OM_ACT_GELU },
    { "gelu_python_tanh", OM_ACT_GELU_TANH },
    { "swish", OM_ACT_SILU },
};

const char *om_act_name(enum om_act act)
{
    return (unsigned)act < OM_ACT_COUNT ? names[act] : "?";
}

bool om_act_parse(om_sv name, enum om_act *act)
{
    for (int i = 0; i < OM_ACT_COUNT; i++)
        if (om_sv_is(name, names[i])) {
            *act = (enum om_act)i;
            return true;
        }
    for (size_t i = 0; i < OM_COUNT(aliases); i++)
        if (om_sv_is(name, aliases[i].name)) {
            *act = aliases[i].act;
            return true;
        }
    return false;
}
