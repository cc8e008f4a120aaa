/* src/jinja/sequences.c: filters on sequences. */
#include "jinja/sequences.h"

#include <stdlib.h>

#include "jinja/builtin.h"

#define FILTER(name) jj_val name(struct jj_run *r, jj_val self, const struct jj_args *a)

/* ---- attributes ---- */

static jj_val path_part(struct jj_run *r, jj_val item, om_sv part)
{
    int64_t i;

    for (size_t k = 0; k < part.len; k++)
        if (part.ptr[k] < '0' || part.ptr[k] > '9')
            return jj_get_item(r, item, jj_view(r, part));
    return om_sv_i64(part, &i) ? jj_get_item(r, item, jj_int(i))
                               : jj_get_item(r, item, jj_view(r, part));
}

static jj_val path_text(struct jj_run *r, jj_val item, om_sv path, const jj_val *fallback)
{
    om_sv rest = path, part;

    if (path.len == 0)
        return jj_get_item(r, item, jj_view(r, path));
    while (r->rc == 0 && om_sv_split(&rest, '.', &part)) {
        item = path_part(r, item, part);
        if (fallback && item.type == JJ_UNDEFINED)
            item = *fallback;
    }
    return item;
}

jj_val jj_path(struct jj_run *r, jj_val item, jj_val attribute, const jj_val *fallback)
{
    if (attribute.type == JJ_NONE || !jj_step(r))
        return item;
    if (attribute.type == JJ_STR)
        return path_text(r, item, jj_sv(attribute), fallback);
    item = jj_get_item(r, item, attribute);
    return fallback && item.type == JJ_UNDEFINED ? *fallback : item;
}

jj_val jj_fold_case(struct jj_run *r, jj_val v)
{
    return v.type == JJ_STR && r->rc == 0 ? jj_cased(r, jj_sv(v), JJ_LOWER) : v;
}

/* ---- sorting ---- */

/* Does b come before a, which stands before it? */
static bool comes_first(struct jj_run *r, const struct jj_keyed *b, const struct jj_keyed *a,
                        bool reverse)
{
    const int order =
        reverse ? jj_compare(r, a->key, b->key, "<") : jj_compare(r, b->key, a->key, "<");

    return order < 0;
}

static void merge(struct jj_run *r, const struct jj_keyed *from, struct jj_keyed *to, size_t begin,
                  size_t middle, size_t end, bool reverse)
{
    size_t i = begin, k = middle;

    for (size_t at = begin; at < end && jj_step(r); at++) {
        const bool right = i >= middle || (k < end && comes_first(r, &from[k], &from[i], reverse));
        to[at] = from[right ? k++ : i++];
    }
}

void jj_sort(struct jj_run *r, struct jj_keyed *items, size_t n, bool reverse)
{
    struct jj_keyed *const other = n > 1 ? jj_alloc(r, n, sizeof(*other)) : NULL;
    struct jj_keyed *from = items, *to = other;

    for (size_t run = 1; other && run < n && r->rc == 0; run *= 2) {
        for (size_t i = 0; i < n; i += 2 * run)
            merge(r, from, to, i, OM_MIN(i + run, n), OM_MIN(i + 2 * run, n), reverse);
        struct jj_keyed *const done = to;
        to = from;
        from = done;
    }
    if (other && from == other && r->rc == 0)
        memcpy(items, other, n * sizeof(*items));
}

/* The values of v with the keys that attribute names: several with commas. */
static jj_val sort_key(struct jj_run *r, jj_val item, jj_val attribute, bool fold)
{
    om_sv rest, part;
    struct jj_list keys = { NULL, 0, 0 };

    if (attribute.type != JJ_STR || !attribute.s->len ||
        !memchr(attribute.s->ptr, ',', attribute.s->len)) {
        const jj_val key = jj_path(r, item, attribute, NULL);
        return fold ? jj_fold_case(r, key) : key;
    }
    rest = jj_sv(attribute);
    while (r->rc == 0 && om_sv_split(&rest, ',', &part)) {
        const jj_val key = jj_path(r, item, jj_view(r, part), NULL);
        jj_push(r, &keys, fold ? jj_fold_case(r, key) : key);
    }
    return jj_seq(r, JJ_LIST, keys.items, keys.len);
}

static struct jj_keyed *keyed(struct jj_run *r, jj_val v, jj_val attribute, bool fold, size_t *n)
{
    const jj_val *items;

    if (!jj_iterate(r, v, &items, n))
        return NULL;
    struct jj_keyed *const k = jj_alloc(r, *n, sizeof(*k));
    for (size_t i = 0; k && i < *n && r->rc == 0; i++)
        k[i] = (struct jj_keyed){ sort_key(r, items[i], attribute, fold), items[i] };
    return r->rc == 0 ? k : NULL;
}

static jj_val values_of(struct jj_run *r, const struct jj_keyed *k, size_t n)
{
    jj_val *const items = jj_alloc(r, n, sizeof(*items));

    for (size_t i = 0; items && i < n; i++)
        items[i] = k[i].value;
    return jj_seq(r, JJ_LIST, items, n);
}

static jj_val attribute_of(const struct jj_args *a, unsigned i)
{
    return jj_given(a, i) ? a->v[i] : jj_none();
}

FILTER(jj_sorted)
{
    size_t n;
    struct jj_keyed *const k = keyed(r, self, attribute_of(a, 2), !jj_flag(a, 1), &n);

    if (!k)
        return self;
    jj_sort(r, k, n, jj_flag(a, 0));
    return values_of(r, k, n);
}

const struct jj_entry *jj_sorted_entries(struct jj_run *r, const struct jj_dict *d)
{
    struct jj_keyed *const k = jj_alloc(r, d->len, sizeof(*k));
    struct jj_entry *const entries = jj_alloc(r, d->len, sizeof(*entries));

    if (!k || !entries)
        return NULL;
    for (size_t i = 0; i < d->len; i++)
        k[i] = (struct jj_keyed){ d->entries[i].key, jj_int((int64_t)i) };
    jj_sort(r, k, d->len, false);
    for (size_t i = 0; i < d->len; i++)
        entries[i] = d->entries[k[i].value.i];
    return r->rc == 0 ? entries : NULL;
}

FILTER(jj_dictsort)
{
    om_sv by = OM_SVL("key");
    size_t n;

    if (self.type != JJ_DICT)
        return jj_fail(r, OM_E_FORMAT, "expected a dict, found '%s'", jj_type_name(self));
    if (jj_given(a, 1) && !jj_want_string(r, a->v[1], &by))
        return self;
    if (!om_sv_is(by, "key") && !om_sv_is(by, "value"))
        return jj_fail(r, OM_E_FORMAT, "you can only sort by either \"key\" or \"value\"");
    const jj_val pairs = jj_pairs(r, self.dict->entries, self.dict->len, JJ_LIST);
    struct jj_keyed *const k = keyed(r, pairs, jj_int(om_sv_is(by, "value")), !jj_flag(a, 0), &n);
    if (!k)
        return self;
    jj_sort(r, k, n, jj_flag(a, 2));
    return values_of(r, k, n);
}

static jj_val new_group(struct jj_run *r, jj_val key, const struct jj_keyed *k, size_t n)
{
    jj_val *const pair = jj_alloc(r, 2, sizeof(*pair));

    if (!pair)
        return jj_none();
    pair[0] = key;
    pair[1] = values_of(r, k, n);
    return jj_seq(r, JJ_GROUP, pair, 2);
}

FILTER(jj_groupby)
{
    const jj_val *const fallback = jj_is_none(a, 1) ? NULL : &a->v[1];
    const bool fold = !jj_flag(a, 2);
    struct jj_list groups = { NULL, 0, 0 };
    size_t n;
    struct jj_keyed *const k = keyed(r, self, jj_none(), false, &n);

    for (size_t i = 0; k && i < n && r->rc == 0; i++) {
        k[i].key = jj_path(r, k[i].value, a->v[0], fallback);
        k[i].key = fold ? jj_fold_case(r, k[i].key) : k[i].key;
    }
    if (k && r->rc == 0)
        jj_sort(r, k, n, false);
    for (size_t i = 0, end; k && i < n && r->rc == 0; i = end) {
        for (end = i + 1; end < n && jj_equal(r, k[i].key, k[end].key);)
            end++;
        jj_push(r, &groups,
                new_group(r, jj_path(r, k[i].value, a->v[0], fallback), k + i, end - i));
    }
    return jj_seq(r, JJ_LIST, groups.items, groups.len);
}

FILTER(jj_unique)
{
    struct jj_list kept = { NULL, 0, 0 };
    size_t n, seen = 0;
    struct jj_keyed *const k = keyed(r, self, attribute_of(a, 1), !jj_flag(a, 0), &n);

    for (size_t i = 0; k && i < n && jj_steps(r, seen * 16); i++) {
        size_t at = 0;
        if (!jj_hashable(k[i].key))
            return jj_fail(r, OM_E_FORMAT, "unhashable type: '%s'", jj_type_name(k[i].key));
        while (at < seen && !jj_equal(r, k[at].key, k[i].key))
            at++;
        if (at < seen)
            continue;
        k[seen++].key = k[i].key; /* those seen before, at the front */
        jj_push(r, &kept, k[i].value);
    }
    return jj_generator(r, "do_unique", kept.items, kept.len);
}

static jj_val extreme(struct jj_run *r, jj_val self, const struct jj_args *a, bool max)
{
    size_t n, best = 0;
    const struct jj_keyed *const k = keyed(r, self, attribute_of(a, 1), !jj_flag(a, 0), &n);

    if (!k)
        return self;
    if (n == 0)
        return jj_undefined_hint(r, "no aggregated item, sequence was empty");
    for (size_t i = 1; i < n && jj_step(r); i++) {
        const int order = jj_compare(r, k[i].key, k[best].key, max ? ">" : "<");
        if (order != 2 && (max ? order > 0 : order < 0))
            best = i;
    }
    return k[best].value;
}

FILTER(jj_max)
{
    return extreme(r, self, a, true);
}
FILTER(jj_min)
{
    return extreme(r, self, a, false);
}

/* ---- one by one ---- */

FILTER(jj_to_list)
{
    const jj_val *items;
    size_t n;

    (void)a;
    return jj_iterate(r, self, &items, &n) ? jj_seq(r, JJ_LIST, items, n) : self;
}

FILTER(jj_first)
{
    const jj_val *items;
    size_t n;

    (void)a;
    const size_t taken = self.type == JJ_SEQ ? self.seq->taken : 0;
    if (!jj_iterate(r, self, &items, &n))
        return self;
    if (self.type == JJ_SEQ && self.seq->kind == JJ_GENERATOR)
        self.seq->taken = OM_MIN(taken + 1, self.seq->len);
    return n ? items[0] : jj_undefined_hint(r, "no first item, sequence was empty");
}

static bool can_reverse(struct jj_run *r, jj_val v)
{
    if (jj_can_iterate(v) && !(v.type == JJ_SEQ && v.seq->kind == JJ_GENERATOR))
        return true;
    jj_fail(r, OM_E_FORMAT, "'%s' object is not reversible", jj_type_name(v));
    return false;
}

FILTER(jj_last)
{
    const jj_val *items;
    size_t n;

    (void)a;
    if (!can_reverse(r, self) || !jj_iterate(r, self, &items, &n))
        return self;
    return n ? items[n - 1] : jj_undefined_hint(r, "no last item, sequence was empty");
}

FILTER(jj_reversed)
{
    struct om_buf b = OM_BUF_INIT(r->arena.max);
    struct jj_list l = { NULL, 0, 0 };
    const jj_val *items;
    size_t n;

    (void)a;
    if (!jj_iterate(r, self, &items, &n))
        return self;
    for (size_t i = n; i-- > 0 && jj_step(r);) {
        if (self.type == JJ_STR)
            om_buf_add(&b, items[i].s->ptr, items[i].s->len);
        else
            jj_push(r, &l, items[i]);
    }
    return self.type == JJ_STR ? jj_buf(r, &b) : jj_generator(r, "reversed", l.items, l.len);
}

FILTER(jj_items)
{
    (void)a;
    if (self.type == JJ_UNDEFINED)
        return jj_generator(r, "do_items", NULL, 0);
    if (self.type != JJ_DICT)
        return jj_fail(r, OM_E_FORMAT, "can only get item pairs from a mapping");
    const jj_val pairs = jj_pairs(r, self.dict->entries, self.dict->len, JJ_GENERATOR);
    if (pairs.type == JJ_SEQ)
        pairs.seq->name = "do_items";
    return pairs;
}

FILTER(jj_join)
{
    const om_sv between = jj_given(a, 0) ? jj_str(r, a->v[0]) : (om_sv){ "", 0 };
    struct om_buf b = OM_BUF_INIT(r->arena.max);
    const jj_val *items;
    size_t n;

    if (!jj_iterate(r, self, &items, &n))
        return self;
    for (size_t i = 0; i < n && jj_steps(r, between.len) && !b.failed; i++) {
        const om_sv text = jj_str(r, jj_path(r, items[i], attribute_of(a, 1), NULL));
        if (i)
            om_buf_add(&b, between.ptr, between.len);
        om_buf_add(&b, text.ptr, text.len);
    }
    return jj_buf(r, &b);
}

FILTER(jj_sum)
{
    jj_val sum = jj_given(a, 1) ? a->v[1] : jj_int(0);
    const jj_val *items;
    size_t n;

    if (!jj_iterate(r, self, &items, &n))
        return self;
    if (sum.type == JJ_STR)
        return jj_fail(r, OM_E_FORMAT, "sum() can't sum strings");
    for (size_t i = 0; i < n && r->rc == 0; i++)
        sum = jj_add(r, sum, jj_path(r, items[i], attribute_of(a, 0), NULL));
    return sum;
}

/* ---- portions ---- */

FILTER(jj_batch)
{
    struct jj_list batches = { NULL, 0, 0 }, batch = { NULL, 0, 0 };
    const jj_val *items;
    int64_t size;
    size_t n;

    if (!jj_want_int(r, a->v[0], &size) || !jj_iterate(r, self, &items, &n))
        return self;
    for (size_t i = 0; i < n && r->rc == 0; i++) {
        if (batch.len && (int64_t)batch.len == size) {
            jj_push(r, &batches, jj_seq(r, JJ_LIST, batch.items, batch.len));
            batch = (struct jj_list){ NULL, 0, 0 };
        }
        jj_push(r, &batch, items[i]);
    }
    while (batch.len && !jj_is_none(a, 1) && (int64_t)batch.len < size && r->rc == 0)
        jj_push(r, &batch, a->v[1]);
    if (batch.len)
        jj_push(r, &batches, jj_seq(r, JJ_LIST, batch.items, batch.len));
    return jj_generator(r, "do_batch", batches.items, batches.len);
}

FILTER(jj_slices)
{
    struct jj_list slices = { NULL, 0, 0 };
    const jj_val *items;
    int64_t count;
    size_t n, at = 0;

    if (!jj_want_int(r, a->v[0], &count) || !jj_iterate(r, self, &items, &n))
        return self;
    if (count == 0)
        return jj_fail(r, OM_E_FORMAT, "integer division or modulo by zero");
    for (int64_t i = 0; i < count && r->rc == 0; i++) {
        const size_t extra = n % (size_t)count, len = n / (size_t)count + ((size_t)i < extra);
        struct jj_list slice = { NULL, 0, 0 };
        for (size_t k = 0; k < len; k++)
            jj_push(r, &slice, items[at + k]);
        at += len;
        if (!jj_is_none(a, 1) && (size_t)i >= extra)
            jj_push(r, &slice, a->v[1]);
        jj_push(r, &slices, jj_seq(r, JJ_LIST, slice.items, slice.len));
    }
    return jj_generator(r, "sync_do_slice", slices.items, slices.len);
}

/* ---- map, select, reject ---- */

/* Arguments after the first n positional ones. */
static struct jj_args rest_of(const struct jj_args *a, size_t n)
{
    return (struct jj_args){ .pos = a->len > n ? a->pos + n : NULL,
                             .len = a->len - n,
                             .named = a->named,
                             .named_len = a->named_len };
}

static const jj_val *named(const struct jj_args *a, const char *name)
{
    for (size_t i = 0; i < a->named_len; i++)
        if (om_sv_is(a->named[i].name, name))
            return &a->named[i].value;
    return NULL;
}

/* The filter or test that an argument names. */
static const struct jj_builtin *named_builtin(struct jj_run *r, const struct jj_builtin *table,
                                              const char *kind, jj_val name)
{
    om_sv text;

    if (!jj_want_string(r, name, &text))
        return NULL;
    const struct jj_builtin *const b = jj_find(table, text);
    if (!b)
        jj_fail(r, OM_E_UNSUPPORTED, "there is no %s \"%.*s\"", kind, OM_SV(text));
    return b;
}

static jj_val map_attribute(struct jj_run *r, jj_val self, const struct jj_args *a)
{
    const jj_val *const attribute = named(a, "attribute"), *const other = named(a, "default");
    const jj_val *const fallback = other && other->type != JJ_NONE ? other : NULL;
    struct jj_list l = { NULL, 0, 0 };
    const jj_val *items;
    size_t n;

    if (!jj_true(self)) /* Jinja lets nothing be a sequence here */
        return jj_generator(r, "sync_do_map", NULL, 0);
    if (!attribute)
        return jj_fail(r, OM_E_FORMAT, "map requires a filter argument");
    if (a->named_len > (other ? 2 : 1))
        return jj_fail(r, OM_E_FORMAT, "unexpected keyword argument");
    if (!jj_iterate(r, self, &items, &n))
        return self;
    for (size_t i = 0; i < n && r->rc == 0; i++)
        jj_push(r, &l, jj_path(r, items[i], *attribute, fallback));
    return jj_generator(r, "sync_do_map", l.items, l.len);
}

FILTER(jj_map)
{
    struct jj_list l = { NULL, 0, 0 };
    const jj_val *items;
    size_t n;

    if (a->len == 0 || !jj_true(self))
        return map_attribute(r, self, a);
    const struct jj_builtin *const b = named_builtin(r, jj_filters, "filter", a->pos[0]);
    const struct jj_args rest = rest_of(a, 1);
    if (!b || !jj_iterate(r, self, &items, &n))
        return self;
    for (size_t i = 0; i < n && r->rc == 0; i++)
        jj_push(r, &l, jj_call_builtin(r, b, "filter", items[i], &rest));
    return jj_generator(r, "sync_do_map", l.items, l.len);
}

/* Elements, or by = 1 an attribute of them, that pass a test or are true. */
static jj_val choose(struct jj_run *r, jj_val self, const struct jj_args *a, size_t by, bool want)
{
    const struct jj_builtin *b = NULL;
    struct jj_list l = { NULL, 0, 0 };
    const jj_val *items;
    size_t n;

    if (!jj_true(self))
        return jj_generator(r, "select_or_reject", NULL, 0);
    if (a->len < by)
        return jj_fail(r, OM_E_FORMAT, "missing parameter for attribute name");
    const jj_val attribute = by ? a->pos[0] : jj_none();
    const struct jj_args rest = rest_of(a, OM_MIN(a->len, by + 1));
    if (a->len > by && !(b = named_builtin(r, jj_tests, "test", a->pos[by])))
        return self;
    if (!jj_iterate(r, self, &items, &n))
        return self;
    for (size_t i = 0; i < n && jj_step(r); i++) {
        jj_val v = jj_path(r, items[i], attribute, NULL);
        if (b && r->rc == 0)
            v = jj_call_builtin(r, b, "test", v, &rest);
        if (jj_true(v) == want)
            jj_push(r, &l, items[i]);
    }
    return jj_generator(r, "select_or_reject", l.items, l.len);
}

FILTER(jj_select)
{
    return choose(r, self, a, 0, true);
}
FILTER(jj_reject)
{
    return choose(r, self, a, 0, false);
}
FILTER(jj_selectattr)
{
    return choose(r, self, a, 1, true);
}
FILTER(jj_rejectattr)
{
    return choose(r, self, a, 1, false);
}
