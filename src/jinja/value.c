/* src/jinja/value.c: making values, and what can be asked of them. */
#include "jinja/ast.h"
#include "jinja/text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- the run ---- */

/* One line: control characters of what a template says would break it. */
static void flatten(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20)
            *text = ' ';
}

jj_val jj_fail(struct jj_run *r, int code, const char *fmt, ...)
{
    va_list ap, copy;

    if (r->rc < 0)
        return (jj_val){ .type = JJ_UNDEFINED };
    va_start(ap, fmt);
    va_copy(copy, ap);
    const int n = vsnprintf(NULL, 0, fmt, copy);
    va_end(copy);
    char *const text = n >= 0 ? malloc((size_t)n + 1) : NULL;
    if (text)
        vsnprintf(text, (size_t)n + 1, fmt, ap);
    va_end(ap);
    if (text)
        flatten(text);
    r->rc = om_fail(r->err, text ? code : OM_E_NOMEM, "%s, line %" PRIu32 ": %s%s%s%s%s",
                    r->t->name, r->line, r->in.kind ? r->in.kind : "", r->in.kind ? " \"" : "",
                    r->in.kind ? r->in.name : "", r->in.kind ? "\": " : "",
                    text ? text : "out of memory");
    free(text);
    return (jj_val){ .type = JJ_UNDEFINED };
}

jj_val jj_no_memory(struct jj_run *r)
{
    return jj_fail(r, OM_E_NOMEM, "out of memory");
}

static jj_val no_room(struct jj_run *r, size_t need)
{
    const size_t max = r->arena.max;

    if (need > max - r->arena.used)
        return jj_fail(r, OM_E_LIMIT, "the template needs more than %zu MiB for its values",
                       max >> 20);
    return jj_fail(r, OM_E_NOMEM, "out of memory");
}

bool jj_steps(struct jj_run *r, size_t bytes)
{
    const uint64_t n = 1 + bytes / 256;

    if (r->rc < 0)
        return false;
    if (r->steps_left < n) {
        r->steps_left = 0;
        jj_fail(r, OM_E_LIMIT, "the template takes too many steps");
        return false;
    }
    r->steps_left -= n;
    return true;
}

bool jj_step(struct jj_run *r)
{
    return jj_steps(r, 0);
}

bool jj_enter(struct jj_run *r)
{
    if (!jj_step(r))
        return false;
    if (r->depth >= r->max_depth) {
        jj_fail(r, OM_E_LIMIT, "calls and expressions are nested more than %u levels deep",
                r->max_depth);
        return false;
    }
    r->depth++;
    return true;
}

void jj_leave(struct jj_run *r)
{
    r->depth--;
}

void *jj_alloc(struct jj_run *r, size_t n, size_t size)
{
    void *const p = r->rc < 0 ? NULL : om_arena_array(&r->arena, n ? n : 1, size);
    size_t need = SIZE_MAX;

    if (!p) {
        om_mul_size(n, size, &need);
        no_room(r, need);
    }
    return p;
}

/* ---- undefined ---- */

static jj_val undefined(struct jj_run *r, const struct jj_undefined *u)
{
    struct jj_undefined *const copy = jj_alloc(r, 1, sizeof(*copy));

    if (copy)
        *copy = *u;
    return (jj_val){ .type = JJ_UNDEFINED, .undefined = copy };
}

static const jj_val *keep(struct jj_run *r, jj_val v)
{
    jj_val *const copy = jj_alloc(r, 1, sizeof(*copy));

    if (copy)
        *copy = v;
    return copy;
}

jj_val jj_undefined_name(struct jj_run *r, om_sv name)
{
    const struct jj_undefined u = { JJ_NO_NAME, NULL, keep(r, jj_view(r, name)) };

    return undefined(r, &u);
}

jj_val jj_undefined_member(struct jj_run *r, jj_val owner, jj_val name)
{
    const struct jj_undefined u = { JJ_NO_MEMBER, jj_type_name(owner), keep(r, name) };

    return undefined(r, &u);
}

jj_val jj_undefined_hint(struct jj_run *r, const char *message)
{
    const struct jj_undefined u = { JJ_HINT, message, NULL };

    return undefined(r, &u);
}

/* ---- strings ---- */

static jj_val string(struct jj_run *r, const char *ptr, size_t len, size_t chars)
{
    struct jj_str *const s = jj_alloc(r, 1, sizeof(*s));

    if (!s)
        return (jj_val){ .type = JJ_UNDEFINED };
    *s = (struct jj_str){ ptr, len, chars, false };
    return (jj_val){ .type = JJ_STR, .s = s };
}

jj_val jj_view(struct jj_run *r, om_sv s)
{
    return string(r, s.len ? s.ptr : "", s.len, jj_count(s));
}

jj_val jj_part(struct jj_run *r, jj_val s, size_t begin, size_t end)
{
    const om_sv part = { s.s->ptr + begin, end > begin ? end - begin : 0 };

    return string(r, part.ptr, part.len, s.s->chars == s.s->len ? part.len : jj_count(part));
}

static jj_val copy_text(struct jj_run *r, om_sv a, om_sv b, size_t chars)
{
    const size_t len = a.len + b.len; /* of texts in memory: no overflow */
    const size_t room = len >= 256 && a.len ? OM_MIN(len, (size_t)1 << 24) : 0;
    char *const p = jj_steps(r, a.len) ? jj_alloc(r, len + room + 1, 1) : NULL;

    if (!p)
        return (jj_val){ .type = JJ_UNDEFINED };
    if (a.len)
        memcpy(p, a.ptr, a.len);
    if (b.len)
        memcpy(p + a.len, b.ptr, b.len);
    if (room) {
        r->tail.end = p + len;
        r->tail.room = room;
    }
    return string(r, p, len, chars);
}

jj_val jj_text(struct jj_run *r, om_sv s)
{
    return jj_steps(r, s.len) ? copy_text(r, (om_sv){ "", 0 }, s, jj_count(s))
                              : (jj_val){ .type = JJ_UNDEFINED };
}

/* A text that grows by additions at its end is extended in place while there is room, which is
 * doubled: templates build the conversation that way. */
jj_val jj_concat(struct jj_run *r, jj_val a, om_sv b)
{
    const om_sv first = jj_sv(a);
    const size_t chars = a.s->chars + jj_count(b);

    if (!jj_steps(r, b.len))
        return (jj_val){ .type = JJ_UNDEFINED };
    if (b.len == 0)
        return string(r, first.ptr, first.len, chars);
    if (first.len == 0 || first.ptr + first.len != r->tail.end || b.len > r->tail.room)
        return copy_text(r, first, b, chars);
    memcpy(r->tail.end, b.ptr, b.len);
    r->tail.end += b.len;
    r->tail.room -= b.len;
    return string(r, first.ptr, first.len + b.len, chars);
}

jj_val jj_buf(struct jj_run *r, struct om_buf *b)
{
    const jj_val v = b->failed ? jj_no_memory(r) : jj_text(r, om_buf_sv(b));

    om_buf_release(b);
    return v;
}

/* ---- sequences and dicts ---- */

jj_val jj_seq(struct jj_run *r, enum jj_kind kind, const jj_val *items, size_t len)
{
    struct jj_seq *const seq = jj_alloc(r, 1, sizeof(*seq));

    if (!seq)
        return (jj_val){ .type = JJ_UNDEFINED };
    *seq = (struct jj_seq){ .kind = kind, .len = len, .items = items };
    return (jj_val){ .type = JJ_SEQ, .seq = seq };
}

jj_val jj_generator(struct jj_run *r, const char *name, const jj_val *items, size_t len)
{
    const jj_val v = jj_seq(r, JJ_GENERATOR, items, len);

    if (v.type == JJ_SEQ)
        v.seq->name = name;
    return v;
}

/* Room for need elements in arena memory. */
static void *grow(struct jj_run *r, const void *old, size_t len, size_t *cap, size_t need,
                  size_t size)
{
    const size_t more = OM_MAX(need, *cap < 4 ? (size_t)4 : *cap * 2);
    void *const items = jj_alloc(r, more, size);

    if (!items)
        return NULL;
    if (len)
        memcpy(items, old, len * size);
    *cap = more;
    return items;
}

void jj_push(struct jj_run *r, struct jj_list *l, jj_val v)
{
    if (!jj_step(r))
        return;
    if (l->len == l->cap) {
        jj_val *const items = grow(r, l->items, l->len, &l->cap, l->len + 1, sizeof(*items));
        if (!items)
            return;
        l->items = items;
    }
    l->items[l->len++] = v;
}

/* Equal values have equal hashes. */
static uint64_t hash(jj_val v)
{
    double d;

    switch (v.type) {
    case JJ_STR:
        return om_sv_hash(jj_sv(v));
    case JJ_BOOL:
    case JJ_INT:
    case JJ_REAL:
        d = jj_f64(v);
        d = d == 0.0 ? 0.0 : d; /* -0.0 */
        return om_sv_hash((om_sv){ (const char *)&d, sizeof(d) });
    case JJ_UNDEFINED:
    case JJ_NONE:
    case JJ_SEQ:
    case JJ_DICT:
    case JJ_NAMESPACE:
    case JJ_LOOP:
    case JJ_MACRO:
    case JJ_BUILTIN:
        break;
    }
    return (uint64_t)v.type;
}

static struct jj_entry *find_entry(struct jj_run *r, const struct jj_dict *d, jj_val key)
{
    const uint64_t h = hash(key);

    if (!jj_steps(r, d->len * 16))
        return NULL;
    for (size_t i = 0; i < d->len; i++)
        if (d->entries[i].hash == h && jj_equal(r, d->entries[i].key, key))
            return &d->entries[i];
    return NULL;
}

const jj_val *jj_dict_get(struct jj_run *r, const struct jj_dict *d, jj_val key)
{
    const struct jj_entry *const e = find_entry(r, d, key);

    return e ? &e->value : NULL;
}

static void append_entry(struct jj_run *r, struct jj_dict *d, size_t *cap, jj_val key, jj_val value)
{
    if (d->len == *cap) {
        struct jj_entry *const entries =
            grow(r, d->entries, d->len, cap, d->len + 1, sizeof(*entries));
        if (!entries)
            return;
        d->entries = entries;
    }
    d->entries[d->len++] = (struct jj_entry){ key, value, hash(key) };
}

void jj_dict_set(struct jj_run *r, struct jj_dict *d, size_t *cap, jj_val key, jj_val value)
{
    if (!jj_hashable(key)) {
        jj_fail(r, OM_E_FORMAT, "unhashable type: '%s'", jj_type_name(key));
        return;
    }
    struct jj_entry *const e = find_entry(r, d, key);
    if (e)
        e->value = value;
    else if (r->rc == 0)
        append_entry(r, d, cap, key, value);
}

jj_val jj_dict(struct jj_run *r, const struct jj_dict *d)
{
    struct jj_dict *const copy = jj_alloc(r, 1, sizeof(*copy));

    if (!copy)
        return (jj_val){ .type = JJ_UNDEFINED };
    *copy = *d;
    return (jj_val){ .type = JJ_DICT, .dict = copy };
}

/* ---- JSON ---- */

static jj_val list_from_json(struct jj_run *r, const struct om_json *j)
{
    const size_t len = om_json_len(j);
    jj_val *const items = jj_alloc(r, len, sizeof(*items));

    for (size_t i = 0; items && i < len && r->rc == 0; i++)
        items[i] = jj_from_json(r, om_json_at(j, i));
    return jj_seq(r, JJ_LIST, items, len);
}

static jj_val dict_from_json(struct jj_run *r, const struct om_json *j)
{
    struct om_json_iter it = { 0 };
    struct jj_dict d = { 0, NULL };
    size_t cap = om_json_len(j);

    d.entries = jj_alloc(r, cap, sizeof(*d.entries));
    while (d.entries && r->rc == 0 && om_json_next(j, &it))
        append_entry(r, &d, &cap, jj_view(r, it.key), jj_from_json(r, it.value));
    return jj_dict(r, &d);
}

jj_val jj_from_json(struct jj_run *r, const struct om_json *j)
{
    jj_val v = jj_none();
    om_sv text;

    if (!jj_enter(r))
        return v;
    switch (om_json_kind(j)) {
    case OM_JSON_NULL:
        break;
    case OM_JSON_BOOL:
        v = jj_bool(false);
        om_json_bool(j, &v.b);
        break;
    case OM_JSON_INT:
        v = jj_int(0);
        om_json_i64(j, &v.i);
        break;
    case OM_JSON_REAL:
        v = jj_real(0.0);
        om_json_f64(j, &v.d);
        break;
    case OM_JSON_STRING:
        om_json_str(j, &text);
        v = jj_view(r, text);
        break;
    case OM_JSON_ARRAY:
        v = list_from_json(r, j);
        break;
    case OM_JSON_OBJECT:
        v = dict_from_json(r, j);
        break;
    }
    jj_leave(r);
    return v;
}

/* ---- asking ---- */

const char *jj_type_name(jj_val v)
{
    static const char *const kinds[] = {
        [JJ_LIST] = "list",        [JJ_TUPLE] = "tuple",         [JJ_GROUP] = "_GroupTuple",
        [JJ_RANGE] = "range",      [JJ_KEYS] = "dict_keys",      [JJ_VALUES] = "dict_values",
        [JJ_ITEMS] = "dict_items", [JJ_GENERATOR] = "generator",
    };
    static const char *const types[] = {
        [JJ_UNDEFINED] = "Undefined",
        [JJ_NONE] = "NoneType",
        [JJ_BOOL] = "bool",
        [JJ_INT] = "int",
        [JJ_REAL] = "float",
        [JJ_STR] = "str",
        [JJ_SEQ] = "list",
        [JJ_DICT] = "dict",
        [JJ_NAMESPACE] = "Namespace",
        [JJ_LOOP] = "LoopContext",
        [JJ_MACRO] = "Macro",
        [JJ_BUILTIN] = "function",
    };

    if (v.type == JJ_STR && v.s->markup)
        return "Markup";
    return v.type == JJ_SEQ ? kinds[v.seq->kind] : types[v.type];
}

bool jj_has_len(jj_val v)
{
    return v.type == JJ_STR || v.type == JJ_DICT || v.type == JJ_UNDEFINED || v.type == JJ_LOOP ||
           (v.type == JJ_SEQ && v.seq->kind != JJ_GENERATOR);
}

bool jj_true(jj_val v)
{
    switch (v.type) {
    case JJ_UNDEFINED:
    case JJ_NONE:
        return false;
    case JJ_BOOL:
        return v.b;
    case JJ_INT:
        return v.i != 0;
    case JJ_REAL:
        return v.d != 0.0;
    case JJ_STR:
        return v.s->len > 0;
    case JJ_SEQ:
        return v.seq->kind == JJ_GENERATOR || v.seq->len > 0;
    case JJ_DICT:
        return v.dict->len > 0;
    case JJ_NAMESPACE:
    case JJ_LOOP:
    case JJ_MACRO:
    case JJ_BUILTIN:
        break;
    }
    return true;
}

bool jj_hashable(jj_val v)
{
    if (v.type == JJ_DICT)
        return false;
    if (v.type != JJ_SEQ)
        return true;
    if (v.seq->kind == JJ_LIST || v.seq->kind == JJ_KEYS || v.seq->kind == JJ_ITEMS)
        return false;
    for (size_t i = 0; v.seq->kind == JJ_TUPLE && i < v.seq->len; i++)
        if (v.seq->items[i].type == JJ_DICT || v.seq->items[i].type == JJ_SEQ)
            return false; /* one level is what templates use */
    return true;
}

/* Kinds that compare by their elements. */
static int family(const struct jj_seq *s)
{
    return s->kind == JJ_GROUP ? JJ_TUPLE : (int)s->kind;
}

static bool equal_seq(struct jj_run *r, const struct jj_seq *a, const struct jj_seq *b)
{
    if (a == b)
        return true;
    if (family(a) != family(b) || a->len != b->len || a->kind == JJ_GENERATOR ||
        a->kind == JJ_VALUES)
        return false;
    for (size_t i = 0; i < a->len; i++)
        if (!jj_equal(r, a->items[i], b->items[i]))
            return false;
    return true;
}

static bool equal_dict(struct jj_run *r, const struct jj_dict *a, const struct jj_dict *b)
{
    if (a == b || a->len != b->len)
        return a == b;
    for (size_t i = 0; i < a->len; i++) {
        const jj_val *const other = jj_dict_get(r, b, a->entries[i].key);
        if (!other || !jj_equal(r, a->entries[i].value, *other))
            return false;
    }
    return true;
}

bool jj_same(jj_val a, jj_val b)
{
    if (a.type != b.type)
        return false;
    switch (a.type) {
    case JJ_NONE:
        return true;
    case JJ_BOOL:
        return a.b == b.b;
    case JJ_INT:
        return a.i == b.i;
    case JJ_REAL:
        return a.d == b.d;
    case JJ_STR:
        return a.s == b.s || om_sv_eq(jj_sv(a), jj_sv(b));
    case JJ_UNDEFINED:
    case JJ_SEQ:
    case JJ_DICT:
    case JJ_NAMESPACE:
    case JJ_LOOP:
    case JJ_MACRO:
    case JJ_BUILTIN:
        break;
    }
    return a.seq == b.seq; /* any of the pointers */
}

bool jj_equal(struct jj_run *r, jj_val a, jj_val b)
{
    bool equal;

    if (jj_is_number(a) && jj_is_number(b))
        return jj_is_int(a) && jj_is_int(b) ? jj_i64(a) == jj_i64(b) : jj_f64(a) == jj_f64(b);
    if (a.type != b.type)
        return false;
    if (a.type == JJ_UNDEFINED)
        return true;
    if (a.type == JJ_STR)
        return jj_steps(r, a.s->len) && om_sv_eq(jj_sv(a), jj_sv(b));
    if ((a.type != JJ_SEQ && a.type != JJ_DICT) || !jj_enter(r))
        return jj_same(a, b);
    equal = a.type == JJ_SEQ ? equal_seq(r, a.seq, b.seq) : equal_dict(r, a.dict, b.dict);
    jj_leave(r);
    return equal && r->rc == 0;
}

static jj_val not_ordered(struct jj_run *r, jj_val a, jj_val b, const char *op)
{
    return jj_fail(r, OM_E_FORMAT, "'%s' not supported between instances of '%s' and '%s'", op,
                   jj_type_name(a), jj_type_name(b));
}

jj_val jj_use_undefined(struct jj_run *r, jj_val v)
{
    const struct jj_undefined *const u = v.undefined;
    struct om_buf b = OM_BUF_INIT((size_t)1 << 12);

    if (!u)
        return jj_fail(r, OM_E_FORMAT, "a value is undefined");
    if (u->why == JJ_HINT)
        return jj_fail(r, OM_E_FORMAT, "%s", u->owner);
    if (u->name)
        jj_repr(r, &b, *u->name);
    const bool is_none = u->owner && strcmp(u->owner, "NoneType") == 0;
    if (u->why == JJ_NO_NAME)
        jj_fail(r, OM_E_FORMAT, "%.*s is undefined", OM_SV(om_buf_sv(&b)));
    else
        jj_fail(r, OM_E_FORMAT, "'%s%s' has no %s %.*s", is_none ? "None" : u->owner,
                is_none ? "" : " object",
                u->name && u->name->type == JJ_STR ? "attribute" : "element", OM_SV(om_buf_sv(&b)));
    om_buf_release(&b);
    return v;
}

static int compare_seq(struct jj_run *r, const struct jj_seq *a, const struct jj_seq *b,
                       const char *op)
{
    const size_t n = OM_MIN(a->len, b->len);

    for (size_t i = 0; i < n && jj_step(r); i++)
        if (!jj_equal(r, a->items[i], b->items[i]))
            return jj_compare(r, a->items[i], b->items[i], op);
    return a->len < b->len ? -1 : a->len > b->len;
}

/* NaN is neither less nor greater: 2. */
static int compare_numbers(jj_val a, jj_val b)
{
    if (jj_is_int(a) && jj_is_int(b))
        return jj_i64(a) < jj_i64(b) ? -1 : jj_i64(a) > jj_i64(b);
    const double x = jj_f64(a), y = jj_f64(b);
    return isnan(x) || isnan(y) ? 2 : x < y ? -1 : x > y;
}

int jj_compare(struct jj_run *r, jj_val a, jj_val b, const char *op)
{
    int order = 0;

    if (a.type == JJ_UNDEFINED || b.type == JJ_UNDEFINED) {
        jj_use_undefined(r, a.type == JJ_UNDEFINED ? a : b);
        return 0;
    }
    if (jj_is_number(a) && jj_is_number(b))
        return compare_numbers(a, b);
    if (a.type == JJ_STR && b.type == JJ_STR)
        return jj_steps(r, a.s->len) ? om_sv_cmp(jj_sv(a), jj_sv(b)) : 0;
    if (a.type != JJ_SEQ || b.type != JJ_SEQ || family(a.seq) != family(b.seq) ||
        family(a.seq) > JJ_TUPLE) {
        not_ordered(r, a, b, op);
        return 0;
    }
    if (jj_enter(r)) {
        order = compare_seq(r, a.seq, b.seq, op);
        jj_leave(r);
    }
    return order;
}

int64_t jj_len(jj_val v)
{
    switch (v.type) {
    case JJ_STR:
        return (int64_t)v.s->chars;
    case JJ_SEQ:
        return (int64_t)v.seq->len;
    case JJ_DICT:
        return (int64_t)v.dict->len;
    case JJ_UNDEFINED:
    case JJ_NONE:
    case JJ_BOOL:
    case JJ_INT:
    case JJ_REAL:
    case JJ_NAMESPACE:
    case JJ_LOOP:
    case JJ_MACRO:
    case JJ_BUILTIN:
        break;
    }
    return 0;
}

bool jj_can_iterate(jj_val v)
{
    return v.type == JJ_STR || v.type == JJ_SEQ || v.type == JJ_DICT || v.type == JJ_UNDEFINED ||
           v.type == JJ_LOOP;
}

static jj_val *characters(struct jj_run *r, jj_val s)
{
    jj_val *const items = jj_alloc(r, s.s->chars, sizeof(*items));
    size_t at = 0, len;

    for (size_t i = 0; items && i < s.s->chars && jj_step(r); i++, at += len) {
        jj_decode(s.s->ptr + at, &len);
        items[i] = string(r, s.s->ptr + at, len, 1);
    }
    return items;
}

static jj_val *keys(struct jj_run *r, const struct jj_dict *d)
{
    jj_val *const items = jj_alloc(r, d->len, sizeof(*items));

    for (size_t i = 0; items && i < d->len && jj_step(r); i++)
        items[i] = d->entries[i].key;
    return items;
}

bool jj_iterate(struct jj_run *r, jj_val v, const jj_val **items, size_t *len)
{
    *items = NULL;
    *len = 0;
    if (!jj_step(r))
        return false;
    if (v.type == JJ_UNDEFINED)
        return true;
    if (v.type == JJ_STR) {
        *items = characters(r, v);
        *len = v.s->chars;
    } else if (v.type == JJ_DICT) {
        *items = keys(r, v.dict);
        *len = v.dict->len;
    } else if (v.type == JJ_SEQ) {
        *items = v.seq->items ? v.seq->items + v.seq->taken : NULL;
        *len = v.seq->len - v.seq->taken;
        if (v.seq->kind == JJ_GENERATOR)
            v.seq->taken = v.seq->len;
    } else {
        jj_fail(r, OM_E_FORMAT, "'%s' object is not iterable", jj_type_name(v));
    }
    return r->rc == 0;
}

/* A generator is used up to the element that is found. */
static bool contains_item(struct jj_run *r, struct jj_seq *s, jj_val v)
{
    for (size_t i = s->taken; i < s->len && jj_step(r); i++) {
        if (s->kind == JJ_GENERATOR)
            s->taken = i + 1;
        if (jj_same(s->items[i], v) || jj_equal(r, s->items[i], v))
            return true;
    }
    return false;
}

bool jj_contains(struct jj_run *r, jj_val container, jj_val v)
{
    if (container.type == JJ_UNDEFINED)
        return false;
    if (container.type == JJ_STR && v.type == JJ_STR)
        return jj_steps(r, container.s->len) && jj_find_text(jj_sv(container), jj_sv(v), 0) >= 0;
    if (container.type == JJ_STR)
        jj_fail(r, OM_E_FORMAT, "'in <string>' requires string as left operand, not %s",
                jj_type_name(v));
    else if (container.type == JJ_DICT && !jj_hashable(v))
        jj_fail(r, OM_E_FORMAT, "unhashable type: '%s'", jj_type_name(v));
    else if (container.type == JJ_DICT)
        return jj_dict_get(r, container.dict, v) != NULL;
    else if (container.type == JJ_SEQ)
        return contains_item(r, container.seq, v);
    else
        jj_fail(r, OM_E_FORMAT, "argument of type '%s' is not iterable", jj_type_name(container));
    return false;
}
