/* src/jinja/functions.c: the functions that Jinja and Transformers give templates. */
#include <locale.h>
#include <stdlib.h>
#include <time.h>

#include "jinja/builtin.h"

enum { RANGE_MAX = 100000 }; /* the sandbox's */

JJ_FN(g_range)
{
    int64_t begin = 0, end = 0, step = 1;
    struct jj_list l = { NULL, 0, 0 };

    (void)self;
    if (!jj_want_int(r, a->v[0], &end) || (jj_given(a, 1) && !jj_want_int(r, a->v[1], &end)) ||
        (jj_given(a, 1) && !jj_want_int(r, a->v[0], &begin)) ||
        (jj_given(a, 2) && !jj_want_int(r, a->v[2], &step)))
        return jj_none();
    if (step == 0)
        return jj_fail(r, OM_E_FORMAT, "the step must not be zero");
    const double count = ((double)end - (double)begin) / (double)step;
    if (count > RANGE_MAX)
        return jj_fail(r, OM_E_LIMIT, "more than %d elements", RANGE_MAX);
    for (int64_t i = begin; step > 0 ? i < end : i > end; i += step)
        jj_push(r, &l, jj_int(i));
    return jj_seq(r, JJ_RANGE, l.items, l.len);
}

/* A mapping or a sequence of pairs, then what is named. */
static void fill_dict(struct jj_run *r, struct jj_dict *d, size_t *cap, const struct jj_args *a)
{
    const jj_val *items, *pair;
    size_t n = 0, len;

    if (a->len > 1)
        jj_fail(r, OM_E_FORMAT, "expected at most 1 argument, found %zu", a->len);
    if (a->len == 1 && a->pos[0].type == JJ_DICT) {
        for (size_t i = 0; i < a->pos[0].dict->len && r->rc == 0; i++)
            jj_dict_set(r, d, cap, a->pos[0].dict->entries[i].key,
                        a->pos[0].dict->entries[i].value);
    } else if (a->len == 1 && jj_iterate(r, a->pos[0], &items, &n)) {
        for (size_t i = 0; i < n && jj_iterate(r, items[i], &pair, &len); i++) {
            if (len == 2)
                jj_dict_set(r, d, cap, pair[0], pair[1]);
            else
                jj_fail(r, OM_E_FORMAT, "element %zu has %zu elements, expected 2", i, len);
        }
    }
    for (size_t i = 0; i < a->named_len && r->rc == 0; i++)
        jj_dict_set(r, d, cap, jj_view(r, a->named[i].name), a->named[i].value);
}

JJ_FN(g_dict)
{
    struct jj_dict d = { 0, NULL };
    size_t cap = 0;

    (void)self;
    fill_dict(r, &d, &cap, a);
    return jj_dict(r, &d);
}

JJ_FN(g_namespace)
{
    struct jj_namespace *const ns = jj_alloc(r, 1, sizeof(*ns));

    (void)self;
    if (!ns)
        return jj_none();
    fill_dict(r, &ns->attrs, &ns->cap, a);
    return (jj_val){ .type = JJ_NAMESPACE, .ns = ns };
}

/* What the template says about its input: no word of ours before it. */
JJ_FN(g_raise_exception)
{
    const om_sv message = jj_str(r, a->v[0]);

    (void)self;
    r->in.kind = NULL;
    return jj_fail(r, OM_E_USAGE, "%.*s", OM_SV(message));
}

/* Python's directives that C lacks, or that a time without a zone has no text for. */
static void expand_format(struct om_buf *b, om_sv s)
{
    for (size_t i = 0; i < s.len; i++) {
        const char next = s.ptr[i] == '%' && i + 1 < s.len ? s.ptr[i + 1] : '\0';
        if (next == 'f')
            om_buf_adds(b, "000000");
        else if (next && next != 'z' && next != 'Z')
            om_buf_add(b, s.ptr + i, 2);
        else if (!next)
            om_buf_addc(b, s.ptr[i]);
        i += next != '\0';
    }
}

/* In English whatever the process has set. */
static jj_val format_time(struct jj_run *r, const char *format, const struct tm *tm)
{
    const locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    char text[1024];

    if (!c)
        return jj_no_memory(r);
    const size_t n = strftime_l(text, sizeof(text), format, tm, c);
    freelocale(c);
    if (n == 0 && format[0])
        return jj_fail(r, OM_E_LIMIT, "a time of more than %zu bytes", sizeof(text));
    return om_utf8_valid((om_sv){ text, n }) ? jj_text(r, (om_sv){ text, n })
                                             : jj_fail(r, OM_E_FORMAT, "the format is no text");
}

JJ_FN(g_strftime_now)
{
    const time_t now = r->opts->has_now ? (time_t)r->opts->now : time(NULL);
    struct om_buf b = OM_BUF_INIT(1u << 10);
    struct tm tm;
    om_sv format;
    jj_val v = self;

    if (!jj_want_string(r, a->v[0], &format))
        return self;
    if (!localtime_r(&now, &tm))
        return jj_fail(r, OM_E_FORMAT, "there is no such time");
    expand_format(&b, format);
    if (b.failed)
        jj_fail(r, OM_E_LIMIT, "the format is too long");
    else
        v = format_time(r, b.ptr ? b.ptr : "", &tm);
    om_buf_release(&b);
    return v;
}

JJ_FN(g_missing)
{
    (void)self;
    (void)a;
    return jj_fail(r, OM_E_UNSUPPORTED, "not implemented");
}

const struct jj_builtin jj_functions[] = {
    { "range", g_range, "start stop= step=" },
    { "dict", g_dict, NULL },
    { "namespace", g_namespace, NULL },
    { "raise_exception", g_raise_exception, "message" },
    { "strftime_now", g_strftime_now, "format" },
    { "lipsum", g_missing, NULL },
    { "cycler", g_missing, NULL },
    { "joiner", g_missing, NULL },
    { NULL, NULL, NULL },
};
