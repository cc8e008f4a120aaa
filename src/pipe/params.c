/* src/pipe/params.c: keyword arguments by table. */
#include "pipe/pipe.h"

#include <strings.h>

/* What every pipeline of Transformers takes beside its own. The batch size is read where it counts.
 */
static const struct pipe_param common_params[] = {
    { .key = "batch_size", .kind = PIPE_PARAM_IGNORED },
    { .key = "num_workers", .kind = PIPE_PARAM_IGNORED },
    { .key = NULL },
};

static int expected(const struct pipe_reader *r, const char *what, const struct om_json *v)
{
    return om_fail(r->err, OM_E_USAGE, "expected %s, found %s", what, om_json_kind_text(v));
}

/* ---- kinds ---- */

static int read_int(const struct pipe_reader *r, const struct pipe_param *p,
                    const struct om_json *v, int64_t *out)
{
    int64_t i;

    if (!om_json_i64(v, &i))
        return expected(r, "an integer", v);
    if (i < p->min)
        return om_fail(r->err, OM_E_USAGE, "expected at least %" PRId64 ", found %" PRId64, p->min,
                       i);
    *out = i;
    return 0;
}

static int read_choice(const struct pipe_reader *r, const struct om_json *v, enum om_choice *out)
{
    bool b;

    if (!om_json_bool(v, &b))
        return expected(r, "true or false", v);
    *out = b ? OM_YES : OM_NO;
    return 0;
}

int pipe_read_text(const struct om_json *v, const char *what, struct om_text *out,
                   struct om_error *err)
{
    om_sv text;

    if (!om_json_str(v, &text))
        return om_fail(err, OM_E_USAGE, "%sexpected a text, found %s", what, om_json_kind_text(v));
    *out = (struct om_text){ text.ptr, text.len };
    return 0;
}

static int read_texts(const struct pipe_reader *r, const struct om_json *v, struct pipe_texts *out)
{
    const bool list = om_json_kind(v) == OM_JSON_ARRAY;
    const size_t n = list ? om_json_len(v) : 1;
    struct om_text *const at = om_arena_array(r->arena, n + 1, sizeof(*at));

    if (!at)
        return pipe_no_memory(r->err);
    for (size_t i = 0; i < n; i++)
        OM_TRY(pipe_read_text(list ? om_json_at(v, i) : v, "", &at[i], r->err));
    *out = (struct pipe_texts){ at, n };
    return 0;
}

static int read_enum(const struct pipe_reader *r, const struct pipe_param *p,
                     const struct om_json *v, int *out)
{
    struct om_buf known = OM_BUF_INIT(1 << 12);
    om_sv name = { "", 0 };
    int rc;

    om_json_str(v, &name);
    for (int i = 0; p->names[i]; i++) {
        if (name.len == strlen(p->names[i]) &&
            strncasecmp(name.ptr, p->names[i], name.len) == 0) { /* the original upper-cases it */
            om_buf_release(&known);
            *out = i + 1;
            return 0;
        }
        om_buf_printf(&known, "%s\"%s\"", i ? ", " : "", p->names[i]);
    }
    rc = om_fail(r->err, OM_E_USAGE, "expected one of %s", known.failed ? "..." : known.ptr);
    om_buf_release(&known);
    return rc;
}

static int read_value(const struct pipe_reader *r, const struct pipe_param *p,
                      const struct om_json *v, void *params)
{
    void *const at = (char *)params + p->offset;
    const bool null = om_json_kind(v) == OM_JSON_NULL;

    switch (p->kind) {
    case PIPE_PARAM_IGNORED:
        return 0;
    case PIPE_PARAM_OTHER:
        return p->read(r, v, at);
    case PIPE_PARAM_INT:
        return null ? 0 : read_int(r, p, v, at);
    case PIPE_PARAM_CHOICE:
        return null ? 0 : read_choice(r, v, at);
    case PIPE_PARAM_TEXT:
        return null ? 0 : pipe_read_text(v, "", at, r->err);
    case PIPE_PARAM_TEXTS:
        return null ? 0 : read_texts(r, v, at);
    case PIPE_PARAM_ENUM:
        return null ? 0 : read_enum(r, p, v, at);
    }
    return 0;
}

/* ---- objects ---- */

static const struct pipe_param *find(const struct pipe_param *table, om_sv key)
{
    for (; table->key; table++)
        if (om_sv_is(key, table->key))
            return table;
    return NULL;
}

static int unknown_key(const struct pipe_reader *r, const struct pipe_param *const *tables,
                       om_sv key)
{
    struct om_buf known = OM_BUF_INIT(1 << 16);
    int rc;

    for (; *tables; tables++)
        for (const struct pipe_param *p = *tables; p->key; p++)
            om_buf_printf(&known, "%s%s", known.len ? ", " : "", p->key);
    rc = om_fail(r->err, OM_E_USAGE, "unknown key \"%.*s\", expected one of: %s", OM_SV(key),
                 known.failed || !known.ptr ? "..." : known.ptr);
    om_buf_release(&known);
    return rc;
}

int pipe_params_read(const struct pipe_reader *r, const struct om_json *object,
                     const struct pipe_param *const *tables, bool (*takes)(om_sv key), void *params)
{
    struct om_json_iter it = { 0 };

    if (om_json_kind(object) == OM_JSON_NULL)
        return 0;
    if (om_json_kind(object) != OM_JSON_OBJECT)
        return expected(r, "an object", object);
    while (om_json_next(object, &it)) {
        const struct pipe_param *p = NULL;

        for (size_t i = 0; !p && tables[i]; i++)
            p = find(tables[i], it.key);
        if (!p)
            p = find(common_params, it.key);
        if (!p && takes && takes(it.key))
            continue;
        if (!p)
            return unknown_key(r, tables, it.key);
        OM_TRY(om_wrap(r->err, read_value(r, p, it.value, params), "key \"%.*s\"", OM_SV(it.key)));
    }
    return 0;
}

int pipe_read_batch_size(const struct om_json *object, size_t *out, struct om_error *err)
{
    const struct om_json *const v = om_json_get(object, "batch_size");
    int64_t n;

    if (om_json_kind(v) == OM_JSON_NULL)
        return 0;
    if (!om_json_i64(v, &n) || n < 1 || n > PIPE_BATCH_SIZE_MAX)
        return om_fail(err, OM_E_USAGE, "key \"batch_size\": expected a number from 1 to %d",
                       PIPE_BATCH_SIZE_MAX);
    *out = (size_t)n;
    return 0;
}
