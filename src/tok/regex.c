/* src/tok/regex.c: patterns over pieces; PCRE2. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "tok/regex.h"

#include <pcre2.h>
#include <stdlib.h>

#include "tok/unicode.h"

enum { STEPS_MAX = 1000000, JIT_STACK_MIN = 32 << 10, JIT_STACK_MAX = 1 << 20 };

struct tok_regex {
    pcre2_code *code;
};

struct tok_matcher {
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
};

/* ---- compiling ---- */

static int compile(om_sv source, om_sv pattern, struct tok_regex *re, struct om_error *err)
{
    pcre2_compile_context *const context = pcre2_compile_context_create(NULL);
    PCRE2_SIZE at = 0;
    int code = 0;

    if (!context)
        return om_fail(err, OM_E_NOMEM, "out of memory for a regular expression");
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    re->code = pcre2_compile((PCRE2_SPTR)source.ptr, source.len,
                             PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                             &code, &at, context);
    pcre2_compile_context_free(context);
    if (!re->code && code == PCRE2_ERROR_HEAP_FAILED)
        return om_fail(err, OM_E_NOMEM, "out of memory for a regular expression");
    if (re->code) {
        (void)pcre2_jit_compile(re->code, PCRE2_JIT_COMPLETE); /* without it matching interprets */
        return 0;
    }
    PCRE2_UCHAR text[128];
    pcre2_get_error_message(code, text, sizeof(text));
    return om_fail(err, OM_E_FORMAT, "regular expression \"%.*s\": %s", OM_SV(pattern),
                   (char *)text);
}

int tok_regex_compiles(om_sv pcre2, struct om_error *err)
{
    PCRE2_SIZE at;
    int error = 0;
    pcre2_code *const code =
        pcre2_compile((PCRE2_SPTR)pcre2.ptr, pcre2.len, PCRE2_UTF | PCRE2_UCP, &error, &at, NULL);

    if (!code && error == PCRE2_ERROR_HEAP_FAILED)
        return om_fail(err, OM_E_NOMEM, "out of memory for a regular expression");
    pcre2_code_free(code);
    return code != NULL;
}

int tok_regex_new(om_sv pattern, struct tok_regex **out, struct om_error *err)
{
    struct om_buf source = OM_BUF_INIT(1u << 20);
    struct tok_regex *re = calloc(1, sizeof(*re));
    int rc = re ? tok_regex_translate(pattern, &source, err)
                : om_fail(err, OM_E_NOMEM, "out of memory for a regular expression");

    if (rc == 0)
        rc = compile(om_buf_sv(&source), pattern, re, err);
    om_buf_release(&source);
    if (rc < 0) {
        free(re);
        return rc;
    }
    *out = re;
    return 0;
}

void tok_regex_free(struct tok_regex *re)
{
    if (!re)
        return;
    pcre2_code_free(re->code);
    free(re);
}

/* ---- matching ---- */

void tok_matcher_free(struct tok_matcher *m)
{
    if (!m)
        return;
    pcre2_match_data_free(m->data);
    pcre2_match_context_free(m->context);
    pcre2_jit_stack_free(m->stack);
    free(m);
}

static struct tok_matcher *matcher(struct tok_work *w)
{
    struct tok_matcher *m = w->matcher;

    if (m)
        return m;
    m = calloc(1, sizeof(*m));
    if (m) {
        m->data = pcre2_match_data_create(1, NULL);
        m->context = pcre2_match_context_create(NULL);
        m->stack = pcre2_jit_stack_create(JIT_STACK_MIN, JIT_STACK_MAX, NULL);
    }
    if (!m || !m->data || !m->context || !m->stack) {
        tok_matcher_free(m);
        tok_no_memory(w);
        return NULL;
    }
    pcre2_set_match_limit(m->context, STEPS_MAX);
    pcre2_jit_stack_assign(m->context, NULL, m->stack);
    w->matcher = m;
    return m;
}

/* The first match at or after from, as [*begin, *end). */
static bool regex_next(struct tok_work *w, const struct tok_regex *re, om_sv text, size_t from,
                       size_t *begin, size_t *end)
{
    struct tok_matcher *const m = matcher(w);

    if (!m)
        return false;
    const int n = pcre2_match(re->code, (PCRE2_SPTR)text.ptr, text.len, from, PCRE2_NO_UTF_CHECK,
                              m->data, m->context);
    if (n < 0) {
        if (n != PCRE2_ERROR_NOMATCH)
            tok_fail(w, OM_E_LIMIT, "a regular expression gave up at byte %zu (error %d)", from, n);
        return false;
    }
    const PCRE2_SIZE *const at = pcre2_get_ovector_pointer(m->data);
    *begin = at[0];
    *end = at[1];
    return *begin <= *end;
}

static bool literal_next(om_sv literal, om_sv text, size_t from, size_t *begin, size_t *end)
{
    const char *const hit =
        literal.len == 0 ? text.ptr + from
                         : memmem(text.ptr + from, text.len - from, literal.ptr, literal.len);
    if (!hit)
        return false;
    *begin = (size_t)(hit - text.ptr);
    *end = *begin + literal.len;
    return true;
}

static size_t char_len(om_sv text, size_t at)
{
    size_t len = 1;

    while (at + len < text.len && tok_is_cont(text.ptr[at + len]))
        len++;
    return len;
}

/* An empty match right behind the last one does not count; the search goes on a character later. */
static void find_spans(struct tok_work *w, const struct tok_pattern *pattern, om_sv text,
                       uint32_t base)
{
    size_t from = 0, done = 0, begin, end;
    bool any = false;

    while (from <= text.len && w->rc == 0) {
        if (!(pattern->regex ? regex_next(w, pattern->regex, text, from, &begin, &end)
                             : literal_next(pattern->literal, text, from, &begin, &end)))
            break;
        if (begin == end && any && end == done) {
            from += from < text.len ? char_len(text, from) : 1;
            continue;
        }
        if (done != begin)
            tok_match_add(w, base + (uint32_t)done, base + (uint32_t)begin, false);
        tok_match_add(w, base + (uint32_t)begin, base + (uint32_t)end, true);
        any = true;
        done = from = end;
    }
    if (done != text.len)
        tok_match_add(w, base + (uint32_t)done, base + (uint32_t)text.len, false);
}

static void find_chars(struct tok_work *w, bool (*is)(uint32_t), om_sv text, uint32_t base)
{
    size_t done = 0, len;

    for (size_t i = 0; i < text.len; i += len) {
        if (!is(tok_utf8_decode(text.ptr + i, &len)))
            continue;
        if (done != i)
            tok_match_add(w, base + (uint32_t)done, base + (uint32_t)i, false);
        tok_match_add(w, base + (uint32_t)i, base + (uint32_t)(i + len), true);
        done = i + len;
    }
    if (done != text.len)
        tok_match_add(w, base + (uint32_t)done, base + (uint32_t)text.len, false);
}

void tok_find_in(struct tok_work *w, const struct tok_pattern *pattern, const char *text,
                 uint32_t begin, uint32_t end)
{
    const om_sv part = { text + begin, end - begin };

    w->matches_len = 0;
    if (begin == end)
        tok_match_add(w, begin, end, false);
    else if (pattern->is)
        find_chars(w, pattern->is, part, begin);
    else
        find_spans(w, pattern, part, begin);
}

void tok_find(struct tok_work *w, const struct tok_pattern *pattern, const struct tok_piece *p)
{
    tok_find_in(w, pattern, w->bytes, p->begin, p->end);
}
