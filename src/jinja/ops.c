/* src/jinja/ops.c: arithmetic, and what + * % do with texts and lists. */
#include "jinja/format.h"
#include "jinja/text.h"
#include "jinja/value.h"

#include <math.h>

static jj_val no_operation(struct jj_run *r, const char *op, jj_val a, jj_val b)
{
    if (a.type == JJ_UNDEFINED || b.type == JJ_UNDEFINED)
        return jj_use_undefined(r, a.type == JJ_UNDEFINED ? a : b);
    if (op[0] == '+' && a.type == JJ_STR)
        return jj_fail(r, OM_E_FORMAT, "can only concatenate str (not \"%s\") to str",
                       jj_type_name(b));
    return jj_fail(r, OM_E_FORMAT, "unsupported operand type(s) for %s: '%s' and '%s'", op,
                   jj_type_name(a), jj_type_name(b));
}

static jj_val overflow(struct jj_run *r)
{
    return jj_fail(r, OM_E_LIMIT, "an integer beyond 64 bits");
}

/* ---- texts and lists ---- */

jj_val jj_escape(struct jj_run *r, om_sv s)
{
    static const struct {
        char c;
        const char *text;
    } escapes[] = {
        { '&', "&amp;" }, { '<', "&lt;" }, { '>', "&gt;" }, { '"', "&#34;" }, { '\'', "&#39;" }
    };
    struct om_buf b = OM_BUF_INIT(r->arena.max);

    for (size_t i = 0; i < s.len && !b.failed; i++) {
        size_t k = 0;
        while (k < OM_COUNT(escapes) && escapes[k].c != s.ptr[i])
            k++;
        if (k < OM_COUNT(escapes))
            om_buf_adds(&b, escapes[k].text);
        else
            om_buf_addc(&b, s.ptr[i]);
    }
    return jj_markup(r, jj_buf(r, &b));
}

jj_val jj_markup(struct jj_run *r, jj_val s)
{
    struct jj_str *const copy = s.type == JJ_STR ? jj_alloc(r, 1, sizeof(*copy)) : NULL;

    if (!copy)
        return s;
    *copy = *s.s;
    copy->markup = true;
    return (jj_val){ .type = JJ_STR, .s = copy };
}

/* Safe text escapes what is added to it. */
static jj_val add_strings(struct jj_run *r, jj_val a, jj_val b)
{
    if (a.s->markup == b.s->markup) {
        const jj_val sum = jj_concat(r, a, jj_sv(b));
        return a.s->markup ? jj_markup(r, sum) : sum;
    }
    const jj_val left = a.s->markup ? a : jj_escape(r, jj_sv(a));
    const jj_val right = b.s->markup ? b : jj_escape(r, jj_sv(b));
    return r->rc == 0 ? jj_markup(r, jj_concat(r, left, jj_sv(right))) : a;
}

static jj_val add_lists(struct jj_run *r, const struct jj_seq *a, const struct jj_seq *b)
{
    jj_val *const items =
        jj_steps(r, (a->len + b->len) * 16) ? jj_alloc(r, a->len + b->len, sizeof(*items)) : NULL;

    if (!items)
        return jj_none();
    if (a->len)
        memcpy(items, a->items, a->len * sizeof(*items));
    if (b->len)
        memcpy(items + a->len, b->items, b->len * sizeof(*items));
    return jj_seq(r, a->kind == JJ_LIST ? JJ_LIST : JJ_TUPLE, items, a->len + b->len);
}

static bool is_tuple(jj_val v)
{
    return v.type == JJ_SEQ && (v.seq->kind == JJ_TUPLE || v.seq->kind == JJ_GROUP);
}

static bool is_list(jj_val v)
{
    return v.type == JJ_SEQ && v.seq->kind == JJ_LIST;
}

static jj_val add_numbers(struct jj_run *r, jj_val a, jj_val b)
{
    int64_t i;

    if (!jj_is_int(a) || !jj_is_int(b))
        return jj_real(jj_f64(a) + jj_f64(b));
    return __builtin_add_overflow(jj_i64(a), jj_i64(b), &i) ? overflow(r) : jj_int(i);
}

jj_val jj_add(struct jj_run *r, jj_val a, jj_val b)
{
    if (jj_is_number(a) && jj_is_number(b))
        return add_numbers(r, a, b);
    if (a.type == JJ_STR && b.type == JJ_STR)
        return add_strings(r, a, b);
    if ((is_list(a) && is_list(b)) || (is_tuple(a) && is_tuple(b)))
        return add_lists(r, a.seq, b.seq);
    return no_operation(r, "+", a, b);
}

static jj_val repeat_string(struct jj_run *r, jj_val s, int64_t n)
{
    const size_t times = n > 0 ? (size_t)n : 0;
    size_t len;

    if (!om_mul_size(s.s->len, times, &len) || len > r->arena.max)
        return jj_fail(r, OM_E_LIMIT, "a text is repeated %" PRId64 " times", n);
    char *const p = jj_steps(r, len) ? jj_alloc(r, len + 1, 1) : NULL;
    for (size_t i = 0; p && len && i < times; i++)
        memcpy(p + i * s.s->len, s.s->ptr, s.s->len);
    return p ? jj_view(r, (om_sv){ p, len }) : s;
}

static jj_val repeat_list(struct jj_run *r, const struct jj_seq *s, int64_t n)
{
    struct jj_list l = { NULL, 0, 0 };

    for (int64_t k = 0; k < n && s->len && r->rc == 0; k++)
        for (size_t i = 0; i < s->len && r->rc == 0; i++)
            jj_push(r, &l, s->items[i]);
    return jj_seq(r, s->kind, l.items, l.len);
}

static jj_val repeat(struct jj_run *r, jj_val a, jj_val b)
{
    const jj_val what = jj_is_int(a) ? b : a, times = jj_is_int(a) ? a : b;

    if (!jj_is_int(times) || (what.type != JJ_STR && !is_list(what) && !is_tuple(what)))
        return no_operation(r, "*", a, b);
    return what.type == JJ_STR ? repeat_string(r, what, jj_i64(times))
                               : repeat_list(r, what.seq, jj_i64(times));
}

/* ---- numbers ---- */

/* Python's: the quotient is rounded down, the remainder has the sign of the divisor. */
static jj_val divide_ints(struct jj_run *r, char op, int64_t a, int64_t b)
{
    if (b == 0)
        return jj_fail(r, OM_E_FORMAT, "integer division or modulo by zero");
    if (b == -1)
        return op == '%' ? jj_int(0) : a == INT64_MIN ? overflow(r) : jj_int(-a);
    const bool down = a % b != 0 && (a < 0) != (b < 0);
    return jj_int(op == '%' ? a % b + (down ? b : 0) : a / b - down);
}

static jj_val divide_reals(struct jj_run *r, char op, double a, double b)
{
    double m;

    if (b == 0.0)
        return jj_fail(r, OM_E_FORMAT, "float modulo or division by zero");
    m = fmod(a, b);
    double q = (a - m) / b;
    if (m != 0.0 && (b < 0) != (m < 0)) {
        m += b;
        q -= 1.0;
    } else if (m == 0.0) {
        m = copysign(0.0, b);
    }
    if (op == '%')
        return jj_real(m);
    if (q == 0.0)
        return jj_real(copysign(0.0, a / b));
    const double f = floor(q);
    return jj_real(q - f > 0.5 ? f + 1.0 : f);
}

static jj_val power(struct jj_run *r, jj_val a, jj_val b)
{
    int64_t result = 1, base, n;

    if (!jj_is_int(a) || !jj_is_int(b) || jj_i64(b) < 0) {
        if (jj_f64(a) == 0.0 && jj_f64(b) < 0.0)
            return jj_fail(r, OM_E_FORMAT, "0.0 cannot be raised to a negative power");
        const double d = pow(jj_f64(a), jj_f64(b));
        if (isnan(d) && !isnan(jj_f64(a)) && !isnan(jj_f64(b)))
            return jj_fail(r, OM_E_UNSUPPORTED, "a power that is a complex number");
        return isinf(d) && isfinite(jj_f64(a)) ? jj_fail(r, OM_E_FORMAT, "the result is too large")
                                               : jj_real(d);
    }
    base = jj_i64(a);
    n = jj_i64(b);
    if (base == 0 || base == 1 || base == -1)
        return jj_int(n == 0 ? 1 : base == -1 && n % 2 == 0 ? 1 : base);
    for (; n > 0; n--)
        if (__builtin_mul_overflow(result, base, &result))
            return overflow(r);
    return jj_int(result);
}

static jj_val arith_ints(struct jj_run *r, const char *op, jj_val a, jj_val b)
{
    const int64_t x = jj_i64(a), y = jj_i64(b);
    int64_t i;

    if (op[0] == '-')
        return __builtin_sub_overflow(x, y, &i) ? overflow(r) : jj_int(i);
    if (op[0] == '*')
        return __builtin_mul_overflow(x, y, &i) ? overflow(r) : jj_int(i);
    return divide_ints(r, op[0], x, y);
}

static jj_val arith_numbers(struct jj_run *r, const char *op, jj_val a, jj_val b)
{
    if (strcmp(op, "**") == 0)
        return power(r, a, b);
    if (strcmp(op, "/") == 0)
        return jj_f64(b) == 0.0 ? jj_fail(r, OM_E_FORMAT, "division by zero")
                                : jj_real(jj_f64(a) / jj_f64(b));
    if (jj_is_int(a) && jj_is_int(b))
        return arith_ints(r, op, a, b);
    if (op[0] == '-')
        return jj_real(jj_f64(a) - jj_f64(b));
    if (op[0] == '*')
        return jj_real(jj_f64(a) * jj_f64(b));
    return divide_reals(r, op[0], jj_f64(a), jj_f64(b));
}

jj_val jj_arith(struct jj_run *r, const char *op, jj_val a, jj_val b)
{
    if (jj_is_number(a) && jj_is_number(b))
        return arith_numbers(r, op, a, b);
    if (a.type == JJ_STR && op[0] == '%')
        return jj_percent(r, a, b);
    if (strcmp(op, "*") == 0 && a.type != JJ_UNDEFINED && b.type != JJ_UNDEFINED)
        return repeat(r, a, b);
    return no_operation(r, op, a, b);
}

jj_val jj_negate(struct jj_run *r, jj_val v, bool minus)
{
    if (v.type == JJ_UNDEFINED)
        return jj_use_undefined(r, v);
    if (!jj_is_number(v))
        return jj_fail(r, OM_E_FORMAT, "bad operand type for unary %c: '%s'", minus ? '-' : '+',
                       jj_type_name(v));
    if (v.type == JJ_REAL)
        return jj_real(minus ? -v.d : v.d);
    if (minus && jj_i64(v) == INT64_MIN)
        return overflow(r);
    return jj_int(minus ? -jj_i64(v) : jj_i64(v));
}
