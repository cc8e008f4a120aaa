/* tests/unit/t_plugin.c: what plugins are compiled against stays as it is, and operators by name.
 */
#include <optimum/plugin.h>

#include "arch/arch.h"
#include "nn/builder.h"
#include "test.h"

/* A difference here is one that an older plugin would notice: raise OM_PLUGIN_ABI, then this list.
 */
static void layout(struct test *t)
{
    static const struct {
        const char *what;
        size_t size, want;
    } sizes[] = {
        { "om_plugin", sizeof(struct om_plugin), 24 },
        { "om_plugin.archs", offsetof(struct om_plugin, archs), 16 },
        { "om_plugin_arch", sizeof(struct om_plugin_arch), 16 },
        { "om_arch", sizeof(struct om_arch), 152 },
        { "om_arch.heads", offsetof(struct om_arch, heads), 88 },
        { "om_body", sizeof(struct om_body), 24 },
        { "om_kv", sizeof(struct om_kv), 32 },
        { "om_field", sizeof(struct om_field), 80 },
        { "om_scope", sizeof(om_scope), 32 },
        { "om_val", sizeof(om_val), 4 },
        { "om_attend", sizeof(struct om_attend), 32 },
        { "om_fused", sizeof(struct om_fused), 40 },
        { "om_causal", sizeof(struct om_causal), 32 },
        { "om_relative", sizeof(struct om_relative), 32 },
        { "om_alibi", sizeof(struct om_alibi), 24 },
        { "om_rope", sizeof(struct om_rope), 24 },
        { "om_rope_config", sizeof(struct om_rope_config), 144 },
        { "om_rope_defaults", sizeof(struct om_rope_defaults), 72 },
        { "om_param", sizeof(struct om_param), 48 },
        { "OM_HEAD_COUNT", OM_HEAD_COUNT, 8 },
        { "OM_ACT_COUNT", OM_ACT_COUNT, 17 },
        { "OM_DTYPE_NONE", OM_DTYPE_NONE, 0 },
    };

    CHECK_INT(t, OM_PLUGIN_ABI, 1);
    if (sizeof(void *) != 8) {
        test_skip(t, "sizes are those of 64 bits");
        return;
    }
    for (size_t i = 0; i < OM_COUNT(sizes); i++) {
        test_case(t, "%s", sizes[i].what);
        CHECK_INT(t, sizes[i].size, sizes[i].want);
    }
}

static void loading(struct test *t)
{
    struct om_error err = OM_ERROR_INIT;
    struct om_ctx *const ctx = om_ctx_new();

    CHECK_INT(t, om_plugin_load(NULL, "x.so", &err), OM_E_USAGE);
    CHECK_HAS(t, om_error_text(&err), "plugin x.so: a plugin needs a context");
    om_error_release(&err);
    CHECK_INT(t, om_plugin_load(ctx, "/nowhere/x.so", &err), OM_E_MISSING);
    CHECK_HAS(t, om_error_text(&err), "plugin /nowhere/x.so: no such file");
    CHECK(t, !om_arch_of_plugins(ctx, 0) && !om_arch_of_plugins(NULL, 0));
    CHECK(t, om_arch_find_in(ctx, "bert") == om_arch_find("bert") && om_arch_find("bert"));
    CHECK(t, !om_arch_find_in(ctx, "nope") && !om_arch_find_in(NULL, "nope"));
    om_error_release(&err);
    om_ctx_free(ctx);
}

const struct test_entry t_plugin[] = { { "layout", layout }, { "loading", loading }, TEST_END };
