/* src/jinja/member.c: attributes, items and slices, as Python and Jinja's sandbox give them. */
#include "jinja/builtin.h"

/* Methods that would change a value: the sandbox refuses to call them. */
static const char *const list_changes[] = { "append", "clear",   "extend", "insert", "pop",
                                            "remove", "reverse", "sort",   NULL };
static const char *const dict_changes[] = {
    "clear", "pop", "popitem", "setdefault", "update", NULL
};
static const char *const none[] = { NULL };

static bool listed(const char *const *names, om_sv name)
{
    for (size_t i = 0; names[i]; i++)
        if (om_sv_is(name, names[i]))
            return true;
    return false;
}

const struct jj_builtin *jj_find(const struct jj_builtin *table, om_sv name)
{
    for (; table->name; table++)
        if (om_sv_is(name, table->name))
            return table;
    return NULL;
}

static const struct jj_builtin no_methods[] = { { NULL, NULL, NULL } };

static const struct jj_builtin *methods_of(jj_val v)
{
    if (v.type == JJ_STR)
        return jj_str_methods;
    if (v.type == JJ_DICT)
        return jj_dict_methods;
    if (v.type == JJ_SEQ && v.seq->kind == JJ_LIST)
        return jj_list_methods;
    if (v.type == JJ_SEQ &&
        (v.seq->kind == JJ_TUPLE || v.seq->kind == JJ_GROUP || v.seq->kind == JJ_RANGE))
        return jj_tuple_methods;
    return no_methods;
}

static const char *const *changes_of(jj_val v)
{
    if (v.type == JJ_DICT)
        return dict_changes;
    return v.type == JJ_SEQ && v.seq->kind == JJ_LIST ? list_changes : none;
}

static jj_val unsafe(struct jj_run *r, jj_val v, om_sv name)
{
    char *const text =
        om_arena_printf(&r->arena, "access to attribute '%.*s' of '%s' object is unsafe",
                        OM_SV(name), jj_type_name(v));

    return text ? jj_undefined_hint(r, text) : jj_no_memory(r);
}

/* An attribute that Python objects of this type have. */
bool jj_own_attr(struct jj_run *r, jj_val v, jj_val name, jj_val *out)
{
    const om_sv text = jj_sv(name);
    const struct jj_builtin *const method = jj_find(methods_of(v), text);

    if (method)
        *out = jj_bind(r, method, v);
    else if (v.type == JJ_LOOP)
        *out = jj_loop_attr(r, v.loop, text);
    else if (v.type == JJ_MACRO && om_sv_is(text, "name"))
        *out = jj_macro_name(r, v.macro).ptr ? jj_view(r, jj_macro_name(r, v.macro)) : jj_none();
    else if (v.type == JJ_SEQ && v.seq->kind == JJ_GROUP && om_sv_is(text, "grouper"))
        *out = v.seq->items[0];
    else if (v.type == JJ_SEQ && v.seq->kind == JJ_GROUP && om_sv_is(text, "list"))
        *out = v.seq->items[1];
    else if (listed(changes_of(v), text))
        *out = unsafe(r, v, text);
    else if (v.type == JJ_STR && listed(jj_missing_str_methods, text))
        *out =
            jj_fail(r, OM_E_UNSUPPORTED, "string method \"%.*s\" is not implemented", OM_SV(text));
    else
        return false;
    return true;
}

/* v[key] where Python has it; false where it raises, which Jinja turns into undefined. */
static bool own_item(struct jj_run *r, jj_val v, jj_val key, jj_val *out)
{
    const jj_val *found = NULL;
    int64_t i;

    if (v.type == JJ_DICT || v.type == JJ_NAMESPACE) {
        const struct jj_dict *const d = v.type == JJ_DICT ? v.dict : &v.ns->attrs;
        found = jj_hashable(key) ? jj_dict_get(r, d, key) : NULL;
    } else if (v.type == JJ_STR || (v.type == JJ_SEQ && v.seq->kind <= JJ_RANGE)) {
        i = jj_is_int(key) ? jj_i64(key) : INT64_MAX;
        i += i < 0 ? jj_len(v) : 0;
        if (i < 0 || i >= jj_len(v))
            return false;
        if (v.type == JJ_SEQ) {
            found = &v.seq->items[i];
        } else {
            const size_t at = jj_byte_of(jj_sv(v), v.s->chars, (size_t)i);
            size_t len;
            jj_decode(v.s->ptr + at, &len);
            *out = jj_steps(r, at) ? jj_part(r, v, at, at + len) : v;
            return true;
        }
    }
    if (found)
        *out = *found;
    return found != NULL;
}

jj_val jj_get_attr(struct jj_run *r, jj_val v, jj_val name)
{
    jj_val out = jj_none();

    if (v.type == JJ_UNDEFINED)
        return jj_use_undefined(r, v);
    if (om_sv_starts(jj_sv(name), OM_SVL("__")))
        return unsafe(r, v, jj_sv(name));
    if (jj_own_attr(r, v, name, &out) || own_item(r, v, name, &out) || r->rc < 0)
        return out;
    return jj_undefined_member(r, v, name);
}

jj_val jj_get_item(struct jj_run *r, jj_val v, jj_val key)
{
    jj_val out = jj_none();

    if (v.type == JJ_UNDEFINED)
        return jj_use_undefined(r, v);
    if (own_item(r, v, key, &out) || r->rc < 0)
        return out;
    if (key.type == JJ_STR && om_sv_starts(jj_sv(key), OM_SVL("__")))
        return unsafe(r, v, jj_sv(key));
    if (key.type == JJ_STR && jj_own_attr(r, v, key, &out))
        return out;
    return jj_undefined_member(r, v, key);
}

/* ---- slices ---- */

struct range {
    int64_t begin, step, count;
};

static bool read_bound(struct jj_run *r, jj_val v, int64_t none_value, int64_t *out)
{
    *out = none_value;
    if (v.type == JJ_NONE)
        return true;
    if (v.type == JJ_UNDEFINED || !jj_is_int(v)) {
        jj_fail(r, OM_E_FORMAT, "slice indices must be integers or None");
        return false;
    }
    *out = jj_i64(v);
    return true;
}

/* A bound counted from the end if negative, and within [low, high]. */
static int64_t clamp(int64_t i, int64_t len, int64_t low, int64_t high)
{
    if (i < 0)
        i = i < -len ? low : i + len;
    return i < low ? low : i > high ? high : i;
}

static bool read_range(struct jj_run *r, const jj_val bounds[3], int64_t len, struct range *out)
{
    int64_t begin, end, step;

    if (!read_bound(r, bounds[2], 1, &step))
        return false;
    if (step == 0) {
        jj_fail(r, OM_E_FORMAT, "slice step cannot be zero");
        return false;
    }
    const int64_t low = step < 0 ? -1 : 0, high = step < 0 ? len - 1 : len;
    if (!read_bound(r, bounds[0], 0, &begin) || !read_bound(r, bounds[1], 0, &end))
        return false;
    begin = bounds[0].type == JJ_NONE ? (step < 0 ? high : low) : clamp(begin, len, low, high);
    end = bounds[1].type == JJ_NONE ? (step < 0 ? low : high) : clamp(end, len, low, high);
    const int64_t span = step < 0 ? begin - end : end - begin;
    const uint64_t stride = step < 0 ? -(uint64_t)step : (uint64_t)step;
    *out =
        (struct range){ begin, step, span > 0 ? (int64_t)(((uint64_t)span - 1) / stride) + 1 : 0 };
    return true;
}

static jj_val slice_string(struct jj_run *r, jj_val v, const struct range *range)
{
    const om_sv s = jj_sv(v);
    struct om_buf b = OM_BUF_INIT(r->arena.max);
    size_t len;

    if (!jj_steps(r, s.len))
        return v;
    if (range->step == 1) {
        const size_t begin = jj_byte_of(s, v.s->chars, (size_t)range->begin);
        return jj_part(r, v, begin,
                       jj_byte_of(s, v.s->chars, (size_t)(range->begin + range->count)));
    }
    const jj_val *items;
    size_t n;
    if (!jj_iterate(r, v, &items, &n))
        return v;
    for (int64_t k = 0, i = range->begin; k < range->count; k++, i += range->step) {
        len = items[i].s->len;
        om_buf_add(&b, items[i].s->ptr, len);
    }
    return jj_buf(r, &b);
}

jj_val jj_slice(struct jj_run *r, jj_val v, const jj_val bounds[3])
{
    const bool seq = v.type == JJ_SEQ && v.seq->kind <= JJ_RANGE;
    struct range range;

    if (v.type == JJ_UNDEFINED)
        return jj_use_undefined(r, v);
    if (v.type != JJ_STR && !seq)
        return jj_fail(r, OM_E_FORMAT, "'%s' object cannot be sliced", jj_type_name(v));
    if (!read_range(r, bounds, jj_len(v), &range))
        return v;
    if (v.type == JJ_STR)
        return slice_string(r, v, &range);
    struct jj_list l = { NULL, 0, 0 };
    for (int64_t k = 0, i = range.begin; k < range.count && jj_step(r); k++, i += range.step)
        jj_push(r, &l, v.seq->items[i]);
    return jj_seq(r, v.seq->kind == JJ_GROUP ? JJ_TUPLE : v.seq->kind, l.items, l.len);
}
