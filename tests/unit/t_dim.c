/* tests/unit/t_dim.c: symbolic dims: algebra in canonical form, text, broadcasting, values. */
#include "ir/dim.h"
#include "test.h"

#include <stdio.h>

struct fixture {
    struct om_arena arena;
    struct om_dims *d;
};

static void setup(struct test *t, struct fixture *f)
{
    *f = (struct fixture){ .arena = OM_ARENA_INIT(64u << 20) };
    CHECK(t, om_dims_new(&f->arena, &f->d, NULL) == 0);
}

static void teardown(struct fixture *f)
{
    om_dims_free(f->d);
    om_arena_release(&f->arena);
}

static om_dim parse(const struct fixture *f, const char *text)
{
    return om_dim_parse(f->d, om_sv_str(text));
}

/* Text in, canonical text out; NULL: not an expression. */
static void text(struct test *t)
{
    static const struct {
        const char *in, *want;
    } cases[] = {
        { "0", "0" },
        { "12", "12" },
        { "-3", "-3" },
        { "batch_size", "batch_size" },
        { "past_sequence_length + sequence_length", "past_sequence_length + sequence_length" },
        { "sequence_length + past_sequence_length", "past_sequence_length + sequence_length" },
        { "batch_size * 2", "2*batch_size" },
        { "1 + s", "s + 1" },
        { "s - s", "0" },
        { "a - b", "a - b" },
        { "b - a", "-a + b" },
        { "(a + b)*(a - b)", "a*a - b*b" },
        { "c*b*a", "a*b*c" },
        { "b + a*b + a*a*a", "a*a*a + a*b + b" },
        { "floor(height/16)", "floor(height/16)" },
        { "height // 16", "floor(height/16)" },
        { "floor(height/16 - 1)", "floor(height/16) - 1" },
        { "floor(h/4)*floor(w/4)", "floor(h/4)*floor(w/4)" },
        { "floor(h/(2*p))", "floor(h/(2*p))" },
        { "floor((h + 1)/(p + 1))", "floor((h + 1)/(p + 1))" },
        { "( x - 10 ) // 5 + 1", "floor(x/5) - 1" },
        { "( ( ( sequence_length - 8 ) // 4 + 1 - 3 ) // 2 + 1 - 3 ) // 2 + 1",
          "floor(floor(floor(sequence_length/4)/2)/2) - 1" },
        { "( ( sequence_length + 2 * 3 - 1 * (7 - 1) - 1 ) // 3 ) + 1",
          "floor((sequence_length + 2)/3)" },
        { "( encoder_sequence_length + 4 - 1 ) // 4", "floor((encoder_sequence_length + 3)/4)" },
        { "unk__0", "unk__0" },
        { "a.b_9", "a.b_9" },
        { "9223372036854775807", "9223372036854775807" },
        { "", NULL },
        { "a +", NULL },
        { "a b", NULL },
        { "(a", NULL },
        { "a)", NULL },
        { "a/2", NULL }, /* a fraction outside of floor() */
        { "a // 0", NULL },
        { "floor(a", NULL },
        { "floor(a/0)", NULL },
        { "2x", NULL },
        { "1.5", NULL },
        { "a$b", NULL },
        { "9223372036854775808", NULL },
        { "9223372036854775807 + 1", NULL },
        { "9223372036854775807*2", NULL },
    };
    struct fixture f;

    setup(t, &f);
    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        const om_dim d = parse(&f, cases[i].in);
        test_case(t, "%s", cases[i].in);
        CHECK_INT(t, d != 0, cases[i].want != NULL);
        if (d == 0 || !cases[i].want)
            continue;
        CHECK_STR(t, om_dim_text(f.d, d), cases[i].want);
        CHECK_INT(t, parse(&f, om_dim_text(f.d, d)), d); /* the text parses back to the same dim */
    }
    teardown(&f);
}

/* Expressions that have to be one dim, or two different ones. */
static void equality(struct test *t)
{
    static const struct {
        const char *a, *b;
        bool equal;
    } cases[] = {
        { "a + b", "b + a", true },
        { "(a + b)*c", "a*c + b*c", true },
        { "(a*b) // a", "b", true },
        { "(4*s) // 2", "2*s", true },
        { "(12*a*b) // (4*b)", "3*a", true },
        { "(a*(p + s)) // (p + s)", "a", true },
        { "(2*s) // 4", "s // 2", true },
        { "(a*s) // (a*4)", "s // 4", true },
        { "(4*s + 3) // 4", "s", true },
        { "(s - 10) // 5", "s // 5 - 2", true },
        { "(3 - s) // -1", "s - 3", true },
        { "7 // 2", "3", true },
        { "-7 // 2", "-4", true },
        { "s // (2*s)", "0", true },
        { "s // s", "1", true },
        { "0 // s", "0", true },
        { "s // 1", "s", true },
        { "s", "t", false },
        { "2*(s // 2)", "s", false },
        { "(s + 1) // 2", "s // 2", false },
        { "a*b", "a + b", false },
    };
    struct fixture f;

    setup(t, &f);
    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        const om_dim a = parse(&f, cases[i].a), b = parse(&f, cases[i].b);
        test_case(t, "%s and %s", cases[i].a, cases[i].b);
        CHECK(t, a != 0 && b != 0);
        CHECK_INT(t, a == b, cases[i].equal);
    }
    teardown(&f);
}

static void broadcast(struct test *t)
{
    static const struct {
        const char *a, *b, *want;
    } cases[] = {
        { "1", "batch", "batch" }, { "batch", "1", "batch" },
        { "1", "1", "1" },         { "past + seq", "seq + past", "past + seq" },
        { "3", "3", "3" },         { "3", "4", NULL },
        { "batch", "3", NULL },    { "batch", "seq", NULL },
        { "0", "1", "0" },
    };
    struct fixture f;

    setup(t, &f);
    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        const om_dim got = om_dim_broadcast(f.d, parse(&f, cases[i].a), parse(&f, cases[i].b));
        test_case(t, "%s with %s", cases[i].a, cases[i].b);
        CHECK_INT(t, got != 0, cases[i].want != NULL);
        if (got != 0 && cases[i].want)
            CHECK_STR(t, om_dim_text(f.d, got), cases[i].want);
    }
    teardown(&f);
}

static void values(struct test *t)
{
    static const struct {
        const char *text;
        bool known;
        int64_t want;
    } cases[] = {
        { "7", true, 7 },
        { "b*s", true, 2 * 17 },
        { "past + s", true, 17 },
        { "floor(s/4)", true, 4 },
        { "floor((s - 20)/4)", true, -1 },
        { "(s - 8) // 4 + 1", true, 3 },
        { "s*s - b", true, 287 },
        { "unbound", false, 0 },
        { "s + unbound", false, 0 },
        { "floor(s/past)", false, 0 }, /* past is 0 */
        { "big*big", false, 0 },
        { "big + big", false, 0 },
    };
    struct fixture f;
    struct om_dim_env env;
    int64_t v = 0;

    setup(t, &f);
    for (size_t i = 0; i < OM_COUNT(cases); i++)
        parse(&f, cases[i].text);
    CHECK(t, om_dim_env_init(&env, &f.arena, f.d) == 0);
    om_dim_bind(&env, OM_SVL("b"), 2);
    om_dim_bind(&env, OM_SVL("s"), 17);
    om_dim_bind(&env, OM_SVL("past"), 0);
    om_dim_bind(&env, OM_SVL("big"), INT64_MAX);
    om_dim_bind(&env, OM_SVL("no such symbol"), 3);
    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        const bool known = om_dim_eval(&env, parse(&f, cases[i].text), &v);
        test_case(t, "%s", cases[i].text);
        CHECK_INT(t, known, cases[i].known);
        if (known)
            CHECK_INT(t, v, cases[i].want);
    }
    test_case(t, "bound and unbound");
    CHECK(t, !om_dim_eval(&env, 0, &v));
    CHECK(t, om_dim_bound(&env, OM_SVL("s"), &v) && v == 17);
    CHECK(t, !om_dim_bound(&env, OM_SVL("unbound"), &v));
    CHECK(t, !om_dim_bound(&env, OM_SVL("no such symbol"), &v));
    teardown(&f);
}

static void structure(struct test *t)
{
    const struct om_dim_term *terms;
    struct fixture f;
    om_sv name;
    int64_t v;

    setup(t, &f);
    CHECK(t, om_dim_is_const(f.d, om_dim_const(f.d, -5), &v) && v == -5);
    CHECK(t, om_dim_is_const(f.d, om_dim_const(f.d, 0), &v) && v == 0);
    CHECK(t, !om_dim_is_const(f.d, parse(&f, "s"), &v));
    CHECK(t, !om_dim_is_const(f.d, 0, &v));
    CHECK(t, om_dim_is_symbol(f.d, parse(&f, "s"), &name) && om_sv_is(name, "s"));
    CHECK(t, !om_dim_is_symbol(f.d, parse(&f, "2*s"), NULL));
    CHECK(t, !om_dim_is_symbol(f.d, parse(&f, "s // 2"), NULL));
    CHECK_INT(t, om_dim_terms(f.d, parse(&f, "3*a*b + 4"), &terms), 2);
    CHECK(t, terms[0].coef == 3 && terms[0].n_atoms == 2 && terms[1].n_atoms == 0);
    CHECK(t, om_sv_is(om_dim_atom_at(f.d, terms[0].atoms[0])->symbol, "a"));
    CHECK_INT(t, om_dim_terms(f.d, parse(&f, "h // 16"), &terms), 1);
    CHECK(t, om_dim_atom_at(f.d, terms[0].atoms[0])->is_div);
    CHECK_INT(t, om_dim_add(f.d, 0, om_dim_const(f.d, 1)), 0); /* no dim stays no dim */
    CHECK_INT(t, om_dim_div(f.d, om_dim_const(f.d, 1), om_dim_const(f.d, 0)), 0);
    CHECK_INT(t, om_dim_symbol(f.d, OM_SVL("")), 0);
    CHECK_STR(t, om_dim_text(f.d, 0), "?");
    CHECK_INT(t, om_dim_symbol(f.d, OM_SVL("s")), parse(&f, "s"));
    teardown(&f);
}

static void fresh(struct test *t)
{
    struct fixture f;

    setup(t, &f);
    CHECK(t, om_dim_symbol(f.d, OM_SVL("unk__1")) != 0); /* taken */
    CHECK_STR(t, om_dim_text(f.d, om_dim_fresh(f.d)), "unk__0");
    CHECK_STR(t, om_dim_text(f.d, om_dim_fresh(f.d)), "unk__2");
    CHECK(t, om_dim_is_unknown(f.d, parse(&f, "s*floor((unk__0 + 1)/2)")));
    CHECK(t, !om_dim_is_unknown(f.d, parse(&f, "s*floor((t + 1)/2)")));
    teardown(&f);
}

/* Canonical forms have the value of what they were made from: random expressions over positive
 * symbols, checked against plain arithmetic. */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

enum { POOL = 48, POINTS = 4 };

struct sample {
    om_dim dim;
    int64_t at[POINTS]; /* its value for each binding */
};

static bool combine(struct fixture *f, unsigned op, const struct sample *a, const struct sample *b,
                    struct sample *out)
{
    om_dim (*const fns[])(struct om_dims *, om_dim, om_dim) = { om_dim_add, om_dim_sub, om_dim_mul,
                                                                om_dim_div };

    out->dim = fns[op](f->d, a->dim, b->dim);
    for (size_t i = 0; i < POINTS; i++) {
        const int64_t x = a->at[i], y = b->at[i];
        if (x > 1000000 || x < -1000000 || y > 1000000 || y < -1000000 || (op == 3 && y <= 0))
            return false;
        out->at[i] = op == 0 ? x + y : op == 1 ? x - y : op == 2 ? x * y : x / y - (x % y < 0);
    }
    return out->dim != 0;
}

static void random_algebra(struct test *t)
{
    static const char *const symbols[] = { "a", "b", "c" };
    uint64_t state = 0x9E3779B97F4A7C15;
    struct sample pool[POOL];
    struct om_dim_env env;
    struct fixture f;
    int checked = 0;

    setup(t, &f);
    for (int round = 0; round < 60; round++) {
        for (size_t i = 0; i < OM_COUNT(symbols) + 4; i++) {
            const bool symbol = i < OM_COUNT(symbols);
            const int64_t v = (int64_t)(next_random(&state) % 9) - 2;
            pool[i].dim = symbol ? parse(&f, symbols[i]) : om_dim_const(f.d, v);
            for (size_t k = 0; k < POINTS; k++)
                pool[i].at[k] = symbol ? 1 + (int64_t)(next_random(&state) % 20) : v;
        }
        for (size_t n = OM_COUNT(symbols) + 4; n < POOL;)
            n += combine(&f, next_random(&state) % 4, &pool[next_random(&state) % n],
                         &pool[next_random(&state) % n], &pool[n]);
        for (size_t k = 0; k < POINTS; k++) {
            CHECK(t, om_dim_env_init(&env, &f.arena, f.d) == 0);
            for (size_t i = 0; i < OM_COUNT(symbols); i++)
                om_dim_bind(&env, om_sv_str(symbols[i]), pool[i].at[k]);
            for (size_t i = 0; i < POOL; i++) {
                const char *said = om_dim_text(f.d, pool[i].dim);
                int64_t v;
                if (!om_dim_eval(&env, pool[i].dim, &v))
                    continue; /* a divisor inside is 0 for this binding, or an overflow */
                test_case(t, "%s", said);
                CHECK_INT(t, v, pool[i].at[k]);
                CHECK_INT(t, parse(&f, said), pool[i].dim);
                checked++;
            }
        }
    }
    CHECK(t, checked > 5000);
    teardown(&f);
}

/* The canonical form does not depend on the order in which symbols were met. */
static void order_of_symbols(struct test *t)
{
    struct fixture f;

    for (int round = 0; round < 2; round++) {
        setup(t, &f);
        parse(&f, round ? "z + y + x" : "x + y + z");
        CHECK_STR(t, om_dim_text(f.d, parse(&f, "y*z + floor(z/2)*x + floor(y/2) + x")),
                  "x*floor(z/2) + y*z + x + floor(y/2)");
        teardown(&f);
    }
}

/* Nothing that a file can say makes dims large: they end as "no dim". */
static void bounds(struct test *t)
{
    struct fixture f;
    char deep[4096];
    om_dim d, sum;

    setup(t, &f);
    memset(deep, '(', sizeof(deep) - 1);
    deep[sizeof(deep) - 1] = '\0';
    CHECK_INT(t, parse(&f, deep), 0);
    memset(deep, '-', sizeof(deep) - 1);
    CHECK_INT(t, parse(&f, deep), 0);

    d = parse(&f, "x");
    for (int i = 0; i < 64 && d != 0; i++)
        d = om_dim_mul(f.d, d, d);
    CHECK_INT(t, d, 0); /* the degree is bounded */

    sum = om_dim_const(f.d, 0);
    for (int i = 0; i < 1000 && sum != 0; i++) {
        char name[16];
        snprintf(name, sizeof(name), "s%d", i);
        sum = om_dim_add(f.d, sum, om_dim_symbol(f.d, om_sv_str(name)));
    }
    CHECK_INT(t, sum, 0); /* so is the number of terms */

    d = parse(&f, "x");
    for (int i = 0; i < 10000 && d != 0; i++) /* would double with every step */
        d = om_dim_div(f.d, om_dim_add(f.d, om_dim_mul(f.d, d, d), d), om_dim_const(f.d, 7));
    CHECK_INT(t, d, 0);
    teardown(&f);
}

/* Every failing allocation is "no dim", never a crash. */
static void short_memory(struct test *t)
{
    for (size_t max = 0; max < 6000; max += 64) {
        struct om_arena a = OM_ARENA_INIT(max);
        struct om_dims *d;
        if (om_dims_new(&a, &d, NULL) == 0) {
            const om_dim x = om_dim_parse(d, OM_SVL("floor((a + 2*b)/(c*d)) + a*b*c"));
            om_dim_fresh(d);
            CHECK(t, om_dim_text(d, x) != NULL);
            om_dims_free(d);
        }
        om_arena_release(&a);
    }
}

const struct test_entry t_dim[] = { { "text", text },
                                    { "equality", equality },
                                    { "broadcast", broadcast },
                                    { "values", values },
                                    { "structure", structure },
                                    { "fresh", fresh },
                                    { "random_algebra", random_algebra },
                                    { "order_of_symbols", order_of_symbols },
                                    { "bounds", bounds },
                                    { "short_memory", short_memory },
                                    TEST_END };
