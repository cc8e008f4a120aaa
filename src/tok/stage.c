/* src/tok/stage.c: reading components by the tables of their stages. */
#include "tok/stage.h"

#include "tok/tok.h"
#include "tok/regex.h"
#include "tok/unicode.h"

enum { DEPTH_MAX = 16 };

int tok_loader_no_memory(const struct tok_loader *l)
{
    return om_fail(l->err, OM_E_NOMEM, "out of memory for a tokenizer");
}

bool tok_loader_text(const struct tok_loader *l, om_sv text, om_sv *copy)
{
    *copy = (om_sv){ om_arena_str(l->arena, text), text.len };
    return copy->ptr != NULL;
}

/* ---- fields ---- */

static int wrong(const struct tok_loader *l, const struct tok_field *f, const char *expected,
                 const struct om_json *v)
{
    return om_fail(l->err, OM_E_CONFIG, "key \"%s\": expected %s, found %s", f->key, expected,
                   om_json_kind_text(v));
}

static int read_text(struct tok_loader *l, const struct tok_field *f, const struct om_json *v,
                     om_sv *out)
{
    om_sv text;

    if (!om_json_str(v, &text))
        return wrong(l, f, "a string", v);
    return tok_loader_text(l, text, out) ? 0 : tok_loader_no_memory(l);
}

static int read_char(struct tok_loader *l, const struct tok_field *f, const struct om_json *v,
                     uint32_t *out)
{
    om_sv text;
    size_t len;

    if (!om_json_str(v, &text) || text.len == 0)
        return wrong(l, f, "a character", v);
    *out = tok_utf8_decode(text.ptr, &len);
    if (len != text.len)
        return om_fail(l->err, OM_E_CONFIG, "key \"%s\": expected one character, found \"%.*s\"",
                       f->key, OM_SV(text));
    return 0;
}

static int read_number(struct tok_loader *l, const struct tok_field *f, const struct om_json *v,
                       int64_t max, int64_t *out)
{
    if (!om_json_i64(v, out))
        return wrong(l, f, "an integer", v);
    if (*out < 0 || *out > max)
        return om_fail(l->err, OM_E_CONFIG, "key \"%s\": expected 0 to %" PRId64 ", found %" PRId64,
                       f->key, max, *out);
    return 0;
}

static int read_choice(struct tok_loader *l, const struct tok_field *f, const struct om_json *v,
                       unsigned *out)
{
    om_sv text;

    if (!om_json_str(v, &text))
        return wrong(l, f, "a string", v);
    for (unsigned i = 0; f->choices[i]; i++) {
        if (om_sv_is(text, f->choices[i])) {
            *out = i;
            return 0;
        }
    }
    return om_fail(l->err, OM_E_UNSUPPORTED, "key \"%s\": unknown value \"%.*s\"", f->key,
                   OM_SV(text));
}

static void set_fallback(const struct tok_field *f, void *out)
{
    switch (f->kind) {
    case TOK_FIELD_BOOL:
        *(bool *)out = f->fallback != 0;
        break;
    case TOK_FIELD_TEXT:
        *(om_sv *)out = (om_sv){ NULL, 0 };
        break;
    case TOK_FIELD_CHAR:
    case TOK_FIELD_ID:
        *(uint32_t *)out = f->fallback;
        break;
    case TOK_FIELD_SIZE:
        *(size_t *)out = f->fallback;
        break;
    case TOK_FIELD_CHOICE:
        *(unsigned *)out = f->fallback;
        break;
    case TOK_FIELD_OTHER:
    case TOK_FIELD_END:
        break;
    }
}

static int read_value(struct tok_loader *l, const struct tok_field *f, const struct om_json *v,
                      void *out)
{
    int64_t n;

    switch (f->kind) {
    case TOK_FIELD_BOOL:
        return om_json_bool(v, out) ? 0 : wrong(l, f, "a boolean", v);
    case TOK_FIELD_TEXT:
        return read_text(l, f, v, out);
    case TOK_FIELD_CHAR:
        return read_char(l, f, v, out);
    case TOK_FIELD_SIZE:
        OM_TRY(read_number(l, f, v, INT64_MAX, &n));
        *(size_t *)out = (size_t)n;
        return 0;
    case TOK_FIELD_ID:
        OM_TRY(read_number(l, f, v, UINT32_MAX - 1, &n));
        *(uint32_t *)out = (uint32_t)n;
        return 0;
    case TOK_FIELD_CHOICE:
        return read_choice(l, f, v, out);
    case TOK_FIELD_OTHER:
    case TOK_FIELD_END:
        break;
    }
    return 0;
}

static int read_field(struct tok_loader *l, const struct tok_field *f, const struct om_json *j,
                      void *conf)
{
    const struct om_json *const v = om_json_get(j, f->key);
    void *const out = (char *)conf + f->offset;

    if (!v && !(f->flags & TOK_OPTIONAL))
        return om_fail(l->err, OM_E_CONFIG, "key \"%s\" is missing", f->key);
    if (!v || (om_json_kind(v) == OM_JSON_NULL && f->flags & TOK_NULLABLE)) {
        set_fallback(f, out);
        return 0;
    }
    return read_value(l, f, v, out);
}

static int check_keys(struct tok_loader *l, const struct om_json *j, const struct tok_field *fields)
{
    struct om_json_iter it = { 0 };

    while (om_json_next(j, &it)) {
        const struct tok_field *f = fields;
        while (f && f->kind != TOK_FIELD_END && !om_sv_is(it.key, f->key))
            f++;
        if ((!f || f->kind == TOK_FIELD_END) && !om_sv_is(it.key, "type"))
            return om_fail(l->err, OM_E_UNSUPPORTED, "unknown key \"%.*s\"", OM_SV(it.key));
    }
    return 0;
}

int tok_fields_read(struct tok_loader *l, const struct om_json *j, const struct tok_field *fields,
                    void *conf)
{
    OM_TRY(check_keys(l, j, fields));
    for (const struct tok_field *f = fields; f && f->kind != TOK_FIELD_END; f++)
        if (f->kind != TOK_FIELD_OTHER)
            OM_TRY(read_field(l, f, j, conf));
    return 0;
}

/* ---- components ---- */

static const struct tok_kind *find_kind(const struct tok_stage *stage, om_sv name)
{
    size_t i = 0;

    while (stage->kinds[i] && !om_sv_is(name, stage->kinds[i]->name))
        i++;
    return stage->kinds[i];
}

static int read_conf(struct tok_loader *l, const struct tok_kind *kind, const struct om_json *j,
                     struct tok_component *out)
{
    void *const conf = om_arena_alloc(l->arena, kind->size);

    if (!conf)
        return tok_loader_no_memory(l);
    OM_TRY(tok_fields_read(l, j, kind->fields, conf));
    if (kind->finish)
        OM_TRY(kind->finish(l, j, conf));
    *out = (struct tok_component){ kind, conf };
    return 0;
}

int tok_component_read(struct tok_loader *l, const struct tok_stage *stage, const struct om_json *j,
                       struct tok_component *out)
{
    om_sv name;
    int rc;

    *out = (struct tok_component){ NULL, NULL };
    if (om_json_kind(j) == OM_JSON_NULL)
        return 0;
    if (!om_json_str(om_json_get(j, "type"), &name))
        return om_fail(l->err, OM_E_CONFIG, "%s: expected an object with a \"type\", found %s",
                       stage->name, om_json_kind_text(j));
    const struct tok_kind *const kind = find_kind(stage, name);
    if (!kind)
        return om_fail(l->err, OM_E_UNSUPPORTED, "unknown %s \"%.*s\"", stage->name, OM_SV(name));
    if (l->depth >= DEPTH_MAX)
        return om_fail(l->err, OM_E_LIMIT, "%s: nested more than %d deep", stage->name, DEPTH_MAX);
    l->depth++;
    rc = read_conf(l, kind, j, out);
    l->depth--;
    return om_wrap(l->err, rc, "%s \"%s\"", stage->name, kind->name);
}

int tok_components_read(struct tok_loader *l, const struct tok_stage *stage,
                        const struct om_json *j, const char *key, struct tok_components *out)
{
    const struct om_json *const list = om_json_get(j, key);

    if (om_json_kind(list) != OM_JSON_ARRAY)
        return om_fail(l->err, OM_E_CONFIG, "key \"%s\": expected an array, found %s", key,
                       om_json_kind_text(list));
    out->len = om_json_len(list);
    out->items = om_arena_array(l->arena, out->len, sizeof(*out->items));
    if (!out->items)
        return tok_loader_no_memory(l);
    for (size_t i = 0; i < out->len; i++) {
        OM_TRY(tok_component_read(l, stage, om_json_at(list, i), &out->items[i]));
        if (!out->items[i].kind)
            return om_fail(l->err, OM_E_CONFIG, "key \"%s\": element %zu is null", key, i);
    }
    return 0;
}

/* ---- patterns ---- */

int tok_pattern_regex(struct tok_loader *l, om_sv source, struct tok_pattern *out)
{
    struct tok_regexes *const r = &l->tok->regexes;
    struct tok_regex *re;

    if (!om_grow(&r->items, &r->cap, r->len + 1, sizeof(*r->items)))
        return tok_loader_no_memory(l);
    OM_TRY(tok_regex_new(source, &re, l->err));
    r->items[r->len++] = re;
    *out = (struct tok_pattern){ .regex = re };
    return 0;
}

int tok_pattern_read(struct tok_loader *l, const struct om_json *j, struct tok_pattern *out)
{
    om_sv text;

    *out = (struct tok_pattern){ .regex = NULL };
    if (om_json_str(om_json_get(j, "Regex"), &text))
        return tok_pattern_regex(l, text, out);
    if (!om_json_str(om_json_get(j, "String"), &text) && !om_json_str(j, &text))
        return om_fail(l->err, OM_E_CONFIG,
                       "key \"pattern\": expected {\"String\"} or {\"Regex\"}, found %s",
                       om_json_kind_text(j));
    return tok_loader_text(l, text, &out->literal) ? 0 : tok_loader_no_memory(l);
}
