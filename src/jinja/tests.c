/* src/jinja/tests.c: what stands after "is". */
#include <math.h>

#include "jinja/builtin.h"

#define TEST_IS(name, condition)   \
    JJ_FN(name)                    \
    {                              \
        (void)r;                   \
        (void)a;                   \
        return jj_bool(condition); \
    }

TEST_IS(t_defined, self.type != JJ_UNDEFINED)
TEST_IS(t_undefined, self.type == JJ_UNDEFINED)
TEST_IS(t_none, self.type == JJ_NONE)
TEST_IS(t_boolean, self.type == JJ_BOOL)
TEST_IS(t_true, self.type == JJ_BOOL && self.b)
TEST_IS(t_false, self.type == JJ_BOOL && !self.b)
TEST_IS(t_integer, self.type == JJ_INT)
TEST_IS(t_float, self.type == JJ_REAL)
TEST_IS(t_number, jj_is_number(self))
TEST_IS(t_string, self.type == JJ_STR)
TEST_IS(t_mapping, self.type == JJ_DICT)
TEST_IS(t_iterable, jj_can_iterate(self))
TEST_IS(t_escaped, self.type == JJ_STR && self.s->markup)
TEST_IS(t_sameas, jj_same(self, a->v[0]))
TEST_IS(t_eq, jj_equal(r, self, a->v[0]))
TEST_IS(t_ne, !jj_equal(r, self, a->v[0]))
TEST_IS(t_in, jj_contains(r, a->v[0], self))
TEST_IS(t_callable, self.type == JJ_MACRO || self.type == JJ_BUILTIN || self.type == JJ_LOOP ||
                        self.type == JJ_UNDEFINED)
TEST_IS(t_lower, jj_all_case(jj_str(r, self), false))
TEST_IS(t_upper, jj_all_case(jj_str(r, self), true))
TEST_IS(t_filter, self.type == JJ_STR && jj_find(jj_filters, jj_sv(self)))
TEST_IS(t_test, self.type == JJ_STR && jj_find(jj_tests, jj_sv(self)))

/* What has a length and can be subscripted. */
TEST_IS(t_sequence, self.type == JJ_STR || self.type == JJ_DICT || self.type == JJ_UNDEFINED ||
                        (self.type == JJ_SEQ && self.seq->kind <= JJ_RANGE))

static jj_val is_multiple(struct jj_run *r, jj_val self, jj_val n, int64_t rest)
{
    const jj_val left = jj_arith(r, "%", self, n);

    return jj_bool(r->rc == 0 && jj_equal(r, left, jj_int(rest)));
}

JJ_FN(t_odd)
{
    (void)a;
    return is_multiple(r, self, jj_int(2), 1);
}
JJ_FN(t_even)
{
    (void)a;
    return is_multiple(r, self, jj_int(2), 0);
}
JJ_FN(t_divisibleby)
{
    return is_multiple(r, self, a->v[0], 0);
}

static jj_val ordered(struct jj_run *r, jj_val x, jj_val y, const char *op)
{
    const int order = jj_compare(r, x, y, op);

    if (order == 2)
        return jj_bool(false);
    return jj_bool(op[0] == '<' ? order < 0 || (op[1] && order == 0)
                                : order > 0 || (op[1] && order == 0));
}

JJ_FN(t_lt)
{
    return ordered(r, self, a->v[0], "<");
}
JJ_FN(t_le)
{
    return ordered(r, self, a->v[0], "<=");
}
JJ_FN(t_gt)
{
    return ordered(r, self, a->v[0], ">");
}
JJ_FN(t_ge)
{
    return ordered(r, self, a->v[0], ">=");
}

const struct jj_builtin jj_tests[] = {
    { "defined", t_defined, "" },
    { "undefined", t_undefined, "" },
    { "none", t_none, "" },
    { "boolean", t_boolean, "" },
    { "true", t_true, "" },
    { "false", t_false, "" },
    { "integer", t_integer, "" },
    { "float", t_float, "" },
    { "number", t_number, "" },
    { "string", t_string, "" },
    { "mapping", t_mapping, "" },
    { "sequence", t_sequence, "" },
    { "iterable", t_iterable, "" },
    { "callable", t_callable, "" },
    { "escaped", t_escaped, "" },
    { "sameas", t_sameas, "other" },
    { "lower", t_lower, "" },
    { "upper", t_upper, "" },
    { "odd", t_odd, "" },
    { "even", t_even, "" },
    { "divisibleby", t_divisibleby, "num" },
    { "filter", t_filter, "" },
    { "test", t_test, "" },
    { "in", t_in, "seq" },
    { "eq", t_eq, "other" },
    { "==", t_eq, "other" },
    { "equalto", t_eq, "other" },
    { "ne", t_ne, "other" },
    { "!=", t_ne, "other" },
    { "lt", t_lt, "other" },
    { "<", t_lt, "other" },
    { "lessthan", t_lt, "other" },
    { "le", t_le, "other" },
    { "<=", t_le, "other" },
    { "gt", t_gt, "other" },
    { ">", t_gt, "other" },
    { "greaterthan", t_gt, "other" },
    { "ge", t_ge, "other" },
    { ">=", t_ge, "other" },
    { NULL, NULL, NULL },
};
