/* tests/fuzz/fuzz_config.c: any JSON either fills a struct within the bounds of its field table or
 * gives a message. */
#include "config/config.h"
#include "fuzz.h"

struct arch {
    int64_t hidden, heads, window;
    double eps, factor;
    bool tie;
    enum om_act act;
    const char *kind;
};

/* A field of each kind. */
static const struct om_field fields[] = {
    OM_FIELD_DIM(struct arch, hidden, "hidden_size"),
    { .kind = OM_FIELD_KIND_INT,
      .key = "heads",
      .alias = "n_head",
      .offset = offsetof(struct arch, heads),
      .i = 4,
      .min = 1,
      .max = 64,
      .nullable = true },
    OM_FIELD_INT(struct arch, window, "window", -1),
    OM_FIELD_F64(struct arch, eps, "eps", 1e-12),
    OM_FIELD_F64(struct arch, factor, "rope_scaling.factor", 1.0),
    OM_FIELD_BOOL(struct arch, tie, "tie", true),
    OM_FIELD_ACT(struct arch, act, "act", OM_ACT_GELU),
    OM_FIELD_STR(struct arch, kind, "kind", "absolute"),
    OM_FIELD_REFUSE("cross", "false"),
    OM_FIELD_REFUSE("scale", "[1, 2.5]"),
    OM_FIELD_END,
};

static void check_struct(const struct arch *c)
{
    FUZZ_CHECK(c->hidden >= 1 && c->hidden <= INT32_MAX);
    FUZZ_CHECK(c->heads >= 1 && c->heads <= 64);
    FUZZ_CHECK(c->eps == c->eps && c->factor == c->factor);
    FUZZ_CHECK((unsigned)c->act < OM_ACT_COUNT);
    FUZZ_CHECK(c->kind != NULL);
    fuzz_touch(c->kind, SIZE_MAX, 0, strlen(c->kind) + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = fuzz_copy(data, size);
    const om_sv text = { (const char *)copy, size };
    struct om_arena a = OM_ARENA_INIT(16u << 20);
    struct om_error err = OM_ERROR_INIT;
    struct om_json *doc = NULL;
    struct arch c = { 0 };
    int rc = om_json_parse(text, OM_JSON_LAST_WINS, &doc, &err);

    if (rc == 0)
        rc = om_config_read(&a, doc, fields, &c, &err);
    if (rc == 0)
        check_struct(&c);
    else
        FUZZ_CHECK(om_error_text(&err)[0] != '\0');
    om_json_free(doc);
    om_error_release(&err);
    om_arena_release(&a);
    free(copy);
    return 0;
}
