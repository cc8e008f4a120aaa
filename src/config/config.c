/* src/config/config.c: config.json, and what every model has in it. */
#include "config/config.h"

#include "base/file.h"

#define FILE_MAX ((size_t)64 << 20) /* a config with 20,000 labels has 1 MB */

/* id2label counts, whatever num_labels says; keys become integers in the original, values stay
 * unread. */
static int read_labels(struct om_config *c, struct om_error *err)
{
    const struct om_json *id2label = om_json_get(c->doc, "id2label");

    if (om_json_kind(id2label) == OM_JSON_NULL)
        return 0;
    if (om_json_kind(id2label) != OM_JSON_OBJECT)
        return om_fail(err, OM_E_CONFIG, "key \"id2label\": expected an object, found %s",
                       om_json_kind_text(id2label));
    c->num_labels = (int64_t)om_json_len(id2label);
    return 0;
}

static int read_pad_token(struct om_config *c, struct om_error *err)
{
    const struct om_json *v = om_json_get(c->doc, "pad_token_id");

    c->pad_token_id = -1;
    if (om_json_kind(v) == OM_JSON_ARRAY)
        v = om_json_at(v, 0);
    if (om_json_kind(v) == OM_JSON_NULL)
        return 0;
    if (!om_json_i64(v, &c->pad_token_id))
        return om_fail(err, OM_E_CONFIG, "key \"pad_token_id\": expected an integer, found %s",
                       om_json_kind_text(v));
    c->pad_token_id = OM_MAX(c->pad_token_id, -1);
    return 0;
}

static int read_architectures(struct om_arena *a, struct om_config *c, struct om_error *err)
{
    const struct om_json *list = om_json_get(c->doc, "architectures");
    const size_t n = om_json_len(list);
    const char **names;

    if (om_json_kind(list) != OM_JSON_NULL && om_json_kind(list) != OM_JSON_ARRAY)
        return om_fail(err, OM_E_CONFIG, "key \"architectures\": expected a list, found %s",
                       om_json_kind_text(list));
    names = om_arena_array(a, n + 1, sizeof(*names));
    if (!names)
        return om_fail(err, OM_E_NOMEM, "key \"architectures\": out of memory");
    for (size_t i = 0; i < n; i++) {
        om_sv s;

        if (!om_json_str(om_json_at(list, i), &s))
            return om_fail(err, OM_E_CONFIG,
                           "key \"architectures\"[%zu]: expected a string, found %s", i,
                           om_json_kind_text(om_json_at(list, i)));
        names[i] = om_arena_str(a, s);
        if (!names[i])
            return om_fail(err, OM_E_NOMEM, "key \"architectures\": out of memory");
    }
    c->architectures = names;
    return 0;
}

static int check_problem_type(const struct om_config *c, struct om_error *err)
{
    static const char *const known[] = { "regression", "single_label_classification",
                                         "multi_label_classification" };

    if (!c->problem_type)
        return 0;
    for (size_t i = 0; i < OM_COUNT(known); i++)
        if (strcmp(c->problem_type, known[i]) == 0)
            return 0;
    return om_fail(
        err, OM_E_CONFIG,
        "key \"problem_type\": expected \"regression\", \"single_label_classification\" or "
        "\"multi_label_classification\", found \"%.48s\"",
        c->problem_type);
}

static int read_common(struct om_arena *a, struct om_config *c, struct om_error *err)
{
    static const struct om_field fields[] = {
        { .kind = OM_FIELD_KIND_STR,
          .key = "model_type",
          .offset = offsetof(struct om_config, model_type),
          .required = true },
        { .kind = OM_FIELD_KIND_INT,
          .key = "num_labels",
          .offset = offsetof(struct om_config, num_labels),
          .i = 2,
          .max = INT32_MAX,
          .nullable = true },
        OM_FIELD_BOOL(struct om_config, is_encoder_decoder, "is_encoder_decoder", false),
        OM_FIELD_STR(struct om_config, problem_type, "problem_type", NULL),
        OM_FIELD_END,
    };

    OM_TRY(om_config_read(a, c->doc, fields, c, err));
    OM_TRY(read_labels(c, err));
    OM_TRY(read_pad_token(c, err));
    OM_TRY(read_architectures(a, c, err));
    return check_problem_type(c, err);
}

int om_config_open(struct om_arena *a, const char *dir, struct om_config *out, struct om_error *err)
{
    struct om_config c = { .path = om_path_join(a, dir, "config.json") };
    int rc;

    *out = (struct om_config){ 0 };
    if (!c.path)
        return om_fail(err, OM_E_NOMEM, "%s: out of memory for a path", dir);
    if (!om_file_exists(c.path))
        return om_fail(err, OM_E_MISSING, "%s: no such file", c.path);
    OM_TRY(om_file_read(a, c.path, FILE_MAX, &c.text, err));
    rc = om_json_parse(c.text, OM_JSON_LAST_WINS, &c.doc, err);
    if (rc == 0)
        rc = read_common(a, &c, err);
    if (rc < 0) {
        om_json_free(c.doc);
        return om_wrap(err, rc, "%s", c.path);
    }
    *out = c;
    return 0;
}

void om_config_close(struct om_config *c)
{
    if (!c)
        return;
    om_json_free(c->doc);
    c->doc = NULL;
}

int om_config_fields(struct om_arena *a, const struct om_config *c, const struct om_field *fields,
                     void *out, struct om_error *err)
{
    return om_wrap(err, om_config_read(a, c->doc, fields, out, err), "%s", c->path);
}

const struct om_json *om_config_doc(const struct om_config *c)
{
    return c->doc;
}

int64_t om_config_labels(const struct om_config *c)
{
    return c->num_labels;
}

void *om_config_alloc(struct om_arena *a, size_t n, size_t size)
{
    return om_arena_array(a, n, size);
}
