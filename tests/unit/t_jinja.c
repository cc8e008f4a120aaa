/* tests/unit/t_jinja.c: templates against what Jinja made of them, limits, and what messages say.
 */
#include <stdlib.h>

#include "base/file.h"
#include "jinja/jinja.h"
#include "test.h"

enum { VARS_MAX = 64 };

struct vars {
    struct jinja_var items[VARS_MAX];
    size_t len;
};

/* The members of an object; names are to be freed. */
static void read_vars(const struct om_json *object, struct vars *v)
{
    struct om_json_iter it = { 0 };

    v->len = 0;
    while (om_json_next(object, &it) && v->len < VARS_MAX)
        v->items[v->len++] = (struct jinja_var){ strndup(it.key.ptr, it.key.len), it.value };
}

static void free_vars(struct vars *v)
{
    for (size_t i = 0; i < v->len; i++)
        free((char *)v->items[i].name);
}

static int render(om_sv source, const struct vars *v, const struct jinja_limits *limits,
                  struct om_buf *out, struct om_error *err)
{
    struct jinja_opts opts = { .has_now = true, .now = 1700000000 };
    struct jinja_template *t = NULL;
    int rc = jinja_compile(source, "t", &t, err);

    if (v) {
        opts.vars = v->items;
        opts.len = v->len;
    }
    if (limits)
        opts.limits = *limits;
    if (rc == 0)
        rc = jinja_render(t, &opts, out, err);
    jinja_free(t);
    return rc;
}

/* ---- recorded cases ---- */

static void check_case(struct test *t, const struct om_json *c, const struct vars *v)
{
    struct om_buf out = OM_BUF_INIT(1u << 24);
    struct om_error err = OM_ERROR_INIT;
    om_sv source = { "", 0 }, want = { "", 0 };

    om_json_str(om_json_get(c, "template"), &source);
    const bool works = om_json_str(om_json_get(c, "out"), &want);
    const int rc = render(source, v, NULL, &out, &err);
    test_case(t, "%.*s", OM_SV(source));
    if (works) {
        CHECK_OK(t, rc, &err);
        CHECK_STR(t, out.ptr ? out.ptr : "", want.ptr);
    } else {
        CHECK(t, rc < 0);
        CHECK_HAS(t, om_error_text(&err), "t, line ");
        CHECK(t, !strchr(om_error_text(&err), '\n'));
        CHECK_INT(t, out.len, 0);
    }
    om_error_release(&err);
    om_buf_release(&out);
}

static void recorded(struct test *t)
{
    struct om_error err = OM_ERROR_INIT;
    struct om_json *first = NULL, *j;
    struct om_file f = OM_FILE_INIT;
    struct vars v = { .len = 0 };
    om_sv rest, line;
    size_t n = 0;

    CHECK_OK(t, om_file_map(&f, test_data(t, "jinja/cases.jsonl"), &err), &err);
    rest = (om_sv){ (const char *)f.data, (size_t)f.size };
    while (om_sv_split(&rest, '\n', &line) && line.len) {
        CHECK_OK(t, om_json_parse(line, 0, &j, &err), &err);
        if (!first) {
            first = j;
            read_vars(om_json_get(first, "vars"), &v);
            continue;
        }
        check_case(t, j, &v);
        om_json_free(j);
        n++;
    }
    CHECK(t, n > 800);
    free_vars(&v);
    om_json_free(first);
    om_file_unmap(&f);
    om_error_release(&err);
}

/* ---- messages ---- */

static void messages(struct test *t)
{
    static const struct {
        const char *source, *message;
        int code;
    } cases[] = {
        { "a\n{{ 1 | nope }}", "t, line 2: filter \"nope\" does not exist", OM_E_UNSUPPORTED },
        { "{{ 1 | pprint }}", "t, line 1: filter \"pprint\" is not implemented", OM_E_UNSUPPORTED },
        { "\n\n{{ 1 is nope }}", "t, line 3: test \"nope\" does not exist", OM_E_UNSUPPORTED },
        { "{{ nope(1) }}", "t, line 1: 'nope' is undefined", OM_E_FORMAT },
        { "{{ cycler(1) }}", "t, line 1: function \"cycler\": not implemented", OM_E_UNSUPPORTED },
        { "{{ 'a'.translate({}) }}", "string method \"translate\" is not implemented",
          OM_E_UNSUPPORTED },
        { "{% include 'x' %}", "t, line 1: tag \"include\" is not implemented", OM_E_UNSUPPORTED },
        { "{% wobble %}", "t, line 1: unknown tag \"wobble\"", OM_E_FORMAT },
        { "{% if 1 %}\n{{ 2 }}", "t, line 2: the template ends before {% endif %}", OM_E_FORMAT },
        { "{{ 1 2 }}", "t, line 1: expected }}, found \"2\"", OM_E_FORMAT },
        { "{{ {'a': 1}.b.c }}", "t, line 1: 'dict object' has no attribute 'b'", OM_E_FORMAT },
        { "\n{{ 5|join }}", "t, line 2: filter \"join\": 'int' object is not iterable",
          OM_E_FORMAT },
        { "{{ 'a'.split('') }}", "t, line 1: method \"split\": empty separator", OM_E_FORMAT },
        { "{{ [].append(1) }}", "access to attribute 'append' of 'list' object is unsafe",
          OM_E_FORMAT },
        { "\n{{ raise_exception('no\ntools') }}", "t, line 2: no tools", OM_E_USAGE },
        { "{{ 9223372036854775807 + 1 }}", "t, line 1: an integer beyond 64 bits", OM_E_LIMIT },
        { "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}",
          "macro 'm' takes not more than 1 argument(s)", OM_E_FORMAT },
        { "\xFF", "t, line 1: the template is not UTF-8", OM_E_FORMAT },
        { "{{ 'a", "t, line 1: a string without its closing quote", OM_E_FORMAT },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_buf out = OM_BUF_INIT(1u << 16);
        struct om_error err = OM_ERROR_INIT;
        test_case(t, "%s", cases[i].source);
        CHECK_INT(t, render(om_sv_str(cases[i].source), NULL, NULL, &out, &err), cases[i].code);
        CHECK_HAS(t, om_error_text(&err), cases[i].message);
        om_error_release(&err);
        om_buf_release(&out);
    }
}

/* ---- limits ---- */

static void limits(struct test *t)
{
    static const struct {
        const char *source, *message;
        struct jinja_limits limits;
    } cases[] = {
        { "{% for a in range(1000) %}{{ a }}{% endfor %}", "too many steps", { .steps = 1000 } },
        { "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
          "",
          { 0 } },
        { "{{ 'a' * 100000 }}", "a text is repeated", { .memory = 1 << 16 } },
        { "{{ 'a' * 9999999999 }}", "is repeated", { 0 } },
        { "{% set n = namespace(s='ab') %}{% for a in range(99) %}{% set n.s = n.s * 2 %}{% endfor "
          "%}",
          "for its values",
          { 0 } },
        { "{% for a in range(100) %}{{ 'x' * 100 }}{% endfor %}",
          "renders more than",
          { .output = 1000 } },
        { "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "levels deep", { 0 } },
        { "{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}", "levels deep", { 0 } },
        { "{% set n = namespace() %}{% set n.n = n %}{{ n }}", "levels deep", { 0 } },
        { "{{ range(100001) }}", "more than 100000 elements", { 0 } },
        { "{{ '%99999999d' % 1 }}", "too large", { 0 } },
        { "{{ '{:99999999}'.format(1) }}", "too large", { 0 } },
        { "{{ [1]|tojson(indent=99999999) }}", "an indentation", { 0 } },
        { "{{ 'a'.center(999999999) }}", "", { 0 } },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_buf out = OM_BUF_INIT(1u << 24);
        struct om_error err = OM_ERROR_INIT;
        test_case(t, "%s", cases[i].source);
        CHECK(t, render(om_sv_str(cases[i].source), NULL, &cases[i].limits, &out, &err) < 0);
        CHECK_HAS(t, om_error_text(&err), cases[i].message);
        om_error_release(&err);
        om_buf_release(&out);
    }
}

/* Sources that nest, beyond what the parser follows. */
static void nesting(struct test *t)
{
    static const struct {
        const char *before, *middle, *after;
        size_t times;
        bool works;
    } cases[] = {
        { "(", "1", ")", 50, true },
        { "(", "1", ")", 100000, false },
        { "[", "1", "]", 1000, false },
        { "not ", "1", "", 100000, false },
        { "-", "1", "", 100000, false },
        { "", "1", " + 1", 500, true },
        { "", "1", " + 1", 100000, false },
        { "", "x", ".y", 100000, false },
        { "", "1", "|string", 100000, false },
        { "1 if 1 else ", "2", "", 100000, false },
        { "", "1", " if 1 else 2", 100000, false },
        { "{1:", "1", "}", 1000, false },
        { "f(", "1", ")", 10000, false },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_buf source = OM_BUF_INIT(1u << 24), out = OM_BUF_INIT(1u << 24);
        struct om_error err = OM_ERROR_INIT;
        om_buf_adds(&source, "{{ ");
        for (size_t k = 0; k < cases[i].times; k++)
            om_buf_adds(&source, cases[i].before);
        om_buf_adds(&source, cases[i].middle);
        for (size_t k = 0; k < cases[i].times; k++)
            om_buf_adds(&source, cases[i].after);
        om_buf_adds(&source, " }}");
        test_case(t, "%s %s %s", cases[i].before, cases[i].middle, cases[i].after);
        const int rc = render(om_buf_sv(&source), NULL, NULL, &out, &err);
        CHECK(t, (rc == 0) == cases[i].works);
        om_error_release(&err);
        om_buf_release(&source);
        om_buf_release(&out);
    }
}

/* A text that grows to megabytes by small additions takes memory in proportion. */
static void growth(struct test *t)
{
    static const char source[] =
        "{% set n = namespace(s='') %}{% for a in range(50000) %}{% set n.s = n.s ~ '0123456789' %}"
        "{% endfor %}{% for a in range(50000) %}{% set n.s = n.s + '0123456789' %}{% endfor %}{{ "
        "n.s|length }}";
    struct om_buf out = OM_BUF_INIT(1u << 16);
    struct om_error err = OM_ERROR_INIT;

    CHECK_OK(t, render(OM_SVL(source), NULL, NULL, &out, &err), &err);
    CHECK_STR(t, out.ptr ? out.ptr : "", "1000000");
    om_error_release(&err);
    om_buf_release(&out);
}

static void clock(struct test *t)
{
    struct om_buf out = OM_BUF_INIT(1u << 16);
    struct om_error err = OM_ERROR_INIT;

    CHECK_OK(t, render(OM_SVL("{{ strftime_now('%Y %b%%%z%f') }}"), NULL, NULL, &out, &err), &err);
    CHECK_STR(t, out.ptr ? out.ptr : "", "2023 Nov%000000");
    om_error_release(&err);
    om_buf_release(&out);
}

const struct test_entry t_jinja[] = {
    { "recorded", recorded },
    { "messages", messages },
    { "limits", limits },
    { "nesting", nesting },
    { "growth", growth },
    { "clock", clock },
    TEST_END,
};
