/* src/config/fields.c: read a JSON object through a table of fields. */
#include "config/config.h"

#include <math.h>
#include <stdio.h>

#define FOUND_MAX 48 /* bytes of a wrong value that a message shows */

struct reader {
    struct om_arena *arena;
    const struct om_json *doc;
    char *out; /* the architecture's struct */
    struct om_error *err;
};

/* v as JSON text, cut to FOUND_MAX, into b; "nothing" when absent. */
static const char *found_text(struct om_buf *b, const struct om_json *v)
{
    size_t cut = FOUND_MAX;

    if (!v)
        return "nothing";
    om_json_write(b, v, 0);
    if (b->failed || !b->ptr)
        return om_json_kind_text(v);
    if (b->len > FOUND_MAX) {
        while (cut > 0 && ((unsigned char)b->ptr[cut] & 0xC0) == 0x80) /* not within a character */
            cut--;
        b->len = cut;
        om_buf_adds(b, "...");
    }
    return b->failed ? om_json_kind_text(v) : b->ptr;
}

static int wrong(const struct reader *r, const char *key, const struct om_json *v, const char *want)
{
    struct om_buf b = OM_BUF_INIT(16u << 20);
    const int rc = om_fail(r->err, OM_E_CONFIG, "key \"%s\": expected %s, found %s", key, want,
                           found_text(&b, v));

    om_buf_release(&b);
    return rc;
}

/* The value at a dotted key, NULL when it or an object on the way is absent or null. */
static int find(const struct reader *r, const char *key, const struct om_json **out)
{
    const struct om_json *v = r->doc;
    om_sv rest = om_sv_str(key), part;

    while (om_sv_split(&rest, '.', &part)) {
        const size_t upto = (size_t)(part.ptr - key);
        const char *name;

        if (v != r->doc && om_json_kind(v) != OM_JSON_NULL && om_json_kind(v) != OM_JSON_OBJECT) {
            const char *parent = om_arena_str(r->arena, (om_sv){ key, upto - 1 });

            return wrong(r, parent ? parent : key, v, "an object");
        }
        name = om_arena_str(r->arena, part);
        if (!name)
            return om_fail(r->err, OM_E_NOMEM, "key \"%s\": out of memory", key);
        v = om_json_get(v, name);
    }
    *out = v;
    return 0;
}

/* The value of a field under its key or its alias. Where both are given the alias wins:
 * Transformers sets such a key after the constructor has read the other. */
static int find_field(const struct reader *r, const struct om_field *f, const char **key,
                      const struct om_json **out)
{
    const struct om_json *v = NULL;

    *key = f->key;
    OM_TRY(find(r, f->key, out));
    if (f->alias)
        OM_TRY(find(r, f->alias, &v));
    if (v && (!*out || om_json_kind(v) != OM_JSON_NULL)) {
        *key = f->alias;
        *out = v;
    }
    return 0;
}

static int read_int(const struct reader *r, const struct om_field *f, const char *key,
                    const struct om_json *v, int64_t *out)
{
    const bool bounded = f->min < f->max;
    char want[80];
    int64_t n = 0;
    const bool integer = om_json_i64(v, &n);

    if (integer && (!bounded || (n >= f->min && n <= f->max))) {
        *out = n;
        return 0;
    }
    if (!bounded)
        snprintf(want, sizeof(want), "an integer");
    else if (f->max >= INT32_MAX && !(integer && n > f->max))
        snprintf(want, sizeof(want), "an integer from %" PRId64, f->min);
    else
        snprintf(want, sizeof(want), "an integer from %" PRId64 " to %" PRId64, f->min, f->max);
    return wrong(r, key, v, want);
}

static int read_f64(const struct reader *r, const char *key, const struct om_json *v, double *out)
{
    double x;

    if (!om_json_f64(v, &x))
        return wrong(r, key, v, "a number");
    if (!isfinite(x))
        return wrong(r, key, v, "a finite number");
    *out = x;
    return 0;
}

/* Old configs write switches as 0 and 1. */
static int read_bool(const struct reader *r, const char *key, const struct om_json *v, bool *out)
{
    int64_t n;

    if (om_json_bool(v, out))
        return 0;
    if (!om_json_i64(v, &n) || (n != 0 && n != 1))
        return wrong(r, key, v, "true or false");
    *out = n == 1;
    return 0;
}

static int read_str(const struct reader *r, const char *key, const struct om_json *v,
                    const char **out)
{
    om_sv s;
    const char *copy;

    if (!om_json_str(v, &s) || memchr(s.ptr, '\0', s.len))
        return wrong(r, key, v, "a string");
    copy = om_arena_str(r->arena, s);
    if (!copy)
        return om_fail(r->err, OM_E_NOMEM, "key \"%s\": out of memory", key);
    *out = copy;
    return 0;
}

static int read_act(const struct reader *r, const char *key, const struct om_json *v,
                    enum om_act *out)
{
    const char *list[OM_ACT_COUNT + 1] = { NULL };
    const char *near;
    om_sv name;

    if (!om_json_str(v, &name))
        return wrong(r, key, v, "the name of an activation function");
    if (om_act_parse(name, out))
        return 0;
    if (om_sv_is(name, "prelu") || om_sv_is(name, "xielu"))
        return om_fail(r->err, OM_E_UNSUPPORTED,
                       "key \"%s\": activation \"%.*s\" has weights of its own, which is not "
                       "supported",
                       key, OM_SV(name));
    for (int i = 0; i < OM_ACT_COUNT; i++)
        list[i] = om_act_name((enum om_act)i);
    near = om_sv_nearest(name, list);
    return om_fail(r->err, OM_E_CONFIG, "key \"%s\": unknown activation \"%.*s\"%s%s%s", key,
                   (int)OM_MIN(name.len, FOUND_MAX), name.ptr, near ? ", did you mean \"" : "",
                   near ? near : "", near ? "\"?" : "");
}

/* Equal as Python compares: 1 and 1.0 are. */
static int same_value(const struct om_json *a, const struct om_json *b, bool *same,
                      struct om_error *err)
{
    struct om_buf x = OM_BUF_INIT(16u << 20), y = OM_BUF_INIT(16u << 20);
    double p, q;
    int rc;

    if (om_json_f64(a, &p) && om_json_f64(b, &q)) {
        *same = p == q;
        return 0;
    }
    om_json_write(&x, a, 0);
    om_json_write(&y, b, 0);
    rc = om_buf_check(&x, err);
    if (rc == 0)
        rc = om_buf_check(&y, err);
    if (rc == 0)
        *same = om_sv_eq(om_buf_sv(&x), om_buf_sv(&y));
    om_buf_release(&x);
    om_buf_release(&y);
    return rc;
}

static int check_refused(const struct reader *r, const struct om_field *f, const struct om_json *v)
{
    struct om_buf b = OM_BUF_INIT(16u << 20);
    struct om_json *accepted = NULL;
    bool same = false;
    int rc;

    rc = om_json_parse(om_sv_str(f->s), OM_JSON_LAST_WINS, &accepted, r->err);
    if (rc < 0)
        return om_wrap(r->err, rc, "key \"%s\": the accepted value in the field table", f->key);
    rc = same_value(v, accepted, &same, r->err);
    if (rc == 0 && om_json_kind(v) == OM_JSON_NULL && om_sv_is(om_sv_str(f->s), "false"))
        same = true; /* a switch that is not set is off */
    if (rc == 0 && !same)
        rc = om_fail(r->err, OM_E_UNSUPPORTED, "key \"%s\": value %s is not supported (only %s is)",
                     f->key, found_text(&b, v), f->s);
    om_json_free(accepted);
    om_buf_release(&b);
    return rc;
}

static void set_default(const struct om_field *f, void *member)
{
    switch (f->kind) {
    case OM_FIELD_KIND_INT:
        *(int64_t *)member = f->i;
        break;
    case OM_FIELD_KIND_F64:
        *(double *)member = f->f;
        break;
    case OM_FIELD_KIND_BOOL:
        *(bool *)member = f->i != 0;
        break;
    case OM_FIELD_KIND_ACT:
        *(enum om_act *)member = (enum om_act)f->i;
        break;
    case OM_FIELD_KIND_STR:
        *(const char **)member = f->s;
        break;
    case OM_FIELD_KIND_REFUSE:
    case OM_FIELD_KIND_END:
        break;
    }
}

static void set_off(const struct om_field *f, void *member)
{
    if (f->kind == OM_FIELD_KIND_F64)
        *(double *)member = 0.0;
    else
        *(int64_t *)member = 0;
}

static int read_value(const struct reader *r, const struct om_field *f, const char *key,
                      const struct om_json *v, void *member)
{
    switch (f->kind) {
    case OM_FIELD_KIND_INT:
        return read_int(r, f, key, v, member);
    case OM_FIELD_KIND_F64:
        return read_f64(r, key, v, member);
    case OM_FIELD_KIND_BOOL:
        return read_bool(r, key, v, member);
    case OM_FIELD_KIND_ACT:
        return read_act(r, key, v, member);
    case OM_FIELD_KIND_STR:
        return read_str(r, key, v, member);
    case OM_FIELD_KIND_REFUSE:
        return check_refused(r, f, v);
    case OM_FIELD_KIND_END:
        break;
    }
    return 0;
}

static int read_field(const struct reader *r, const struct om_field *f)
{
    void *member = r->out + f->offset;
    const struct om_json *v;
    const char *key;

    OM_TRY(find_field(r, f, &key, &v));
    if (!v && f->required)
        return om_fail(r->err, OM_E_CONFIG, "key \"%s\" is missing", f->key);
    if (v && f->null_off && om_json_kind(v) == OM_JSON_NULL) {
        set_off(f, member);
        return 0;
    }
    if (!v || (f->nullable && om_json_kind(v) == OM_JSON_NULL)) {
        set_default(f, member);
        return 0;
    }
    return read_value(r, f, key, v, member);
}

int om_config_read(struct om_arena *a, const struct om_json *doc, const struct om_field *fields,
                   void *out, struct om_error *err)
{
    const struct reader r = { .arena = a, .doc = doc, .out = out, .err = err };

    if (om_json_kind(doc) != OM_JSON_OBJECT)
        return om_fail(err, OM_E_CONFIG, "expected an object, found %s", om_json_kind_text(doc));
    for (const struct om_field *f = fields; f->kind != OM_FIELD_KIND_END; f++)
        OM_TRY(read_field(&r, f));
    return 0;
}
