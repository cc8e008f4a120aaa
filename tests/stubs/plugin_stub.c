/* tests/stubs/plugin_stub.c: plugins that are refused; CASE says why. */
#include <optimum/plugin.h>

enum {
    CASE_ABI = 1,
    CASE_SYMBOL,
    CASE_DUPLICATE,
    CASE_MEMBER,
    CASE_TWICE,
    CASE_UNDEFINED,
    CASE_EMPTY
};

static void build(om_scope root, const void *cfg, enum om_head head, struct om_body *body)
{
    (void)root;
    (void)cfg;
    (void)head;
    (void)body;
}

static const struct om_field fields[] = { OM_FIELD_END };
static const char *const inputs[] = { "input_ids", NULL };
static const struct om_arch whole = {
    .cfg_size = 1, .fields = fields, .inputs = inputs, .build = build, .heads = { om_head_hidden }
};
static const struct om_arch part = {
    .cfg_size = 1, .fields = fields, .inputs = inputs, .heads = { om_head_hidden }
};

static const struct om_plugin_arch archs[] = {
    { CASE == CASE_EMPTY       ? NULL
      : CASE == CASE_DUPLICATE ? "bert"
                               : "stub",
      CASE == CASE_MEMBER ? &part : &whole },
    { CASE == CASE_TWICE ? "stub" : NULL, &whole },
    { NULL, NULL },
};

#if CASE == 6
extern om_val om_no_such_function(om_scope s);
om_val (*om_stub_uses)(om_scope s);
om_val (*om_stub_uses)(om_scope s) = om_no_such_function;
#endif

#if CASE == 2
extern const struct om_plugin other_entry;
const struct om_plugin other_entry = { OM_PLUGIN_ABI, "stub", archs };
#else
OM_PLUGIN_LINKAGE __attribute__((visibility("default"))) const struct om_plugin om_plugin_entry;
const struct om_plugin om_plugin_entry = { CASE == CASE_ABI ? 99 : OM_PLUGIN_ABI, "stub", archs };
#endif
