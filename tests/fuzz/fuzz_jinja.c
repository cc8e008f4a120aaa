/* tests/fuzz/fuzz_jinja.c: any bytes are a template that renders within its limits, or give a
 * message. */
#include "fuzz.h"
#include "jinja/jinja.h"

static const char messages_json[] = "[{\"role\": \"system\", \"content\": \"Be brief.\"}, "
                                    "{\"role\": \"user\", \"content\": \"Hi \xC3\xA9\"},"
                                    "{\"role\": \"assistant\", \"content\": null, \"tool_calls\": "
                                    "[{\"id\": \"abc\", \"function\": {\"name\": \"f\","
                                    "\"arguments\": {\"x\": 1, \"y\": [true, 1.5, {}]}}}]}]";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct jinja_limits limits = { .steps = 20000,
                                                .memory = 1 << 20,
                                                .output = 1 << 16 };
    uint8_t *copy = fuzz_copy(data, size);
    struct om_buf out = OM_BUF_INIT(1u << 20);
    struct om_error err = OM_ERROR_INIT;
    struct jinja_template *t = NULL;
    struct om_json *messages = NULL;

    FUZZ_CHECK(om_json_parse((om_sv){ messages_json, sizeof(messages_json) - 1 }, 0, &messages,
                             &err) == 0);
    const struct jinja_var vars[] = { { "messages", messages },
                                      { "l", messages },
                                      { "d", om_json_at(messages, 2) },
                                      { "s", om_json_get(om_json_at(messages, 1), "content") },
                                      { "nil", NULL } };
    const struct jinja_opts opts = {
        .vars = vars, .len = OM_COUNT(vars), .limits = limits, .has_now = true, .now = 1
    };
    int rc = jinja_compile((om_sv){ (const char *)copy, size }, "t", &t, &err);
    if (rc == 0)
        rc = jinja_render(t, &opts, &out, &err);
    FUZZ_CHECK(rc == 0 ? om_utf8_valid(om_buf_sv(&out)) : om_error_text(&err)[0] != '\0');
    FUZZ_CHECK(out.len <= 1u << 16 && !strchr(om_error_text(&err), '\n'));
    jinja_free(t);
    om_json_free(messages);
    om_buf_release(&out);
    om_error_release(&err);
    free(copy);
    return 0;
}
