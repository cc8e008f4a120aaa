/* tests/fuzz/fuzz_json.c: a text is refused with a message, or what is written from it reads back
 * the same; a patched text has the new values and all other members. */
#include "base/json.h"
#include "fuzz.h"

static struct om_json *reparse(const struct om_buf *b)
{
    struct om_json *j = NULL;

    FUZZ_CHECK(om_buf_check(b, NULL) == 0);
    FUZZ_CHECK(om_json_parse(om_buf_sv(b), 0, &j, NULL) == 0);
    return j;
}

static void check_written(const struct om_json *j, unsigned indent)
{
    struct om_buf first = OM_BUF_INIT(256u << 20), second = OM_BUF_INIT(256u << 20);

    om_json_write(&first, j, indent);
    struct om_json *again = reparse(&first);
    om_json_write(&second, again, indent);
    FUZZ_CHECK(om_sv_eq(om_buf_sv(&first), om_buf_sv(&second)));
    om_json_free(again);
    om_buf_release(&first);
    om_buf_release(&second);
}

static void check_patched(om_sv text, const struct om_json *j)
{
    static const struct om_json_patch patches[] = { { "a", "[1]" }, { "model_type", "\"x\"" } };
    struct om_buf out = OM_BUF_INIT(256u << 20);
    size_t want = om_json_len(j);

    if (om_json_patch(text, patches, OM_COUNT(patches), &out, NULL) < 0) {
        FUZZ_CHECK(om_json_kind(j) != OM_JSON_OBJECT);
        om_buf_release(&out);
        return;
    }
    struct om_json *patched = reparse(&out);
    for (size_t i = 0; i < OM_COUNT(patches); i++)
        want += om_json_get(j, patches[i].key) == NULL;
    FUZZ_CHECK(om_json_len(patched) == want);
    FUZZ_CHECK(om_json_len(om_json_get(patched, "a")) == 1);
    FUZZ_CHECK(om_json_kind(om_json_get(patched, "model_type")) == OM_JSON_STRING);
    om_json_free(patched);
    om_buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = fuzz_copy(data, size);
    const om_sv text = { (const char *)copy, size };
    struct om_error err = OM_ERROR_INIT;
    struct om_json *j = NULL;

    if (om_json_parse(text, OM_JSON_NO_DUPLICATES, &j, &err) == 0)
        om_json_free(j);
    else
        FUZZ_CHECK(om_error_text(&err)[0] != '\0');
    j = NULL;
    if (om_json_parse(text, OM_JSON_LAST_WINS, &j, &err) == 0) {
        check_written(j, 0);
        check_written(j, 2);
        check_patched(text, j);
        om_json_free(j);
    }
    om_error_release(&err);
    free(copy);
    return 0;
}
