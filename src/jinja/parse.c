/* src/jinja/parse.c: tokens to a tree. */
#include <stdio.h>
#include <stdlib.h>

#include "jinja/ast.h"
#include "jinja/lex.h"
#include "jinja/text.h"

enum { PARSE_DEPTH = 120, SOURCE_MAX = 8 << 20, ARENA_PER_BYTE = 1024 };

struct parser {
    struct jinja_template *t;
    const struct jj_token *tok; /* the current one; the last is JJ_T_EOF */
    struct om_error *err;
    int rc;
    unsigned depth, loops;
    bool soft; /* directly in an {% if %}: unknown filters are errors only where reached */
    bool in_expression;
    const struct jj_node *unknown; /* a filter or test of the expression being read */
    unsigned uses;                 /* JJ_USES_* of the macro being read */
};

/* ---- failing and stepping ---- */

/* After the first failure every token is the end, so that all loops end. */
static void stop(struct parser *p)
{
    static const struct jj_token end = { .type = JJ_T_EOF };

    p->tok = &end;
}

static void *parse_fail(struct parser *p, int code, const char *fmt, ...) OM_PRINTF(3, 4);
static void *parse_fail(struct parser *p, int code, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    if (p->rc == 0) {
        va_start(ap, fmt);
        vsnprintf(text, sizeof(text), fmt, ap);
        va_end(ap);
        p->rc = om_fail(p->err, code, "%s, line %" PRIu32 ": %s", p->t->name, p->tok->line, text);
    }
    stop(p);
    return NULL;
}

static void *no_memory(struct parser *p)
{
    return parse_fail(p, OM_E_NOMEM, "out of memory for a template");
}

static void next(struct parser *p)
{
    if (p->tok->type != JJ_T_EOF)
        p->tok++;
}

static bool is(const struct parser *p, enum jj_token_type type)
{
    return p->tok->type == type;
}

static bool is_op(const struct parser *p, const char *op)
{
    return p->tok->type == JJ_T_OP && om_sv_is(p->tok->text, op);
}

static bool is_word(const struct parser *p, const char *word)
{
    return p->tok->type == JJ_T_NAME && om_sv_is(p->tok->text, word);
}

static bool is_one_of(const struct parser *p, const char *const *words)
{
    for (size_t i = 0; words[i]; i++)
        if (is_word(p, words[i]))
            return true;
    return false;
}

static bool skip_op(struct parser *p, const char *op)
{
    const bool hit = is_op(p, op);

    if (hit)
        next(p);
    return hit;
}

static bool skip_word(struct parser *p, const char *word)
{
    const bool hit = is_word(p, word);

    if (hit)
        next(p);
    return hit;
}

static void unexpected(struct parser *p, const char *expected)
{
    static const char *const ends[] = {
        [JJ_T_EOF] = "the end of the template",
        [JJ_T_DATA] = "text",
        [JJ_T_BLOCK] = "{%",
        [JJ_T_BLOCK_END] = "%}",
        [JJ_T_PRINT] = "{{",
        [JJ_T_PRINT_END] = "}}",
        [JJ_T_NAME] = NULL,
        [JJ_T_STRING] = "a string",
        [JJ_T_INT] = NULL,
        [JJ_T_REAL] = NULL,
        [JJ_T_OP] = NULL,
    };
    const char *const end = ends[p->tok->type];
    const om_sv found = end ? om_sv_str(end) : p->tok->text;

    parse_fail(p, OM_E_FORMAT, "expected %s, found %s%.*s%s", expected, end ? "" : "\"",
               OM_SV(found), end ? "" : "\"");
}

static void expect_op(struct parser *p, const char *op)
{
    if (!skip_op(p, op))
        unexpected(p, op);
}

static void expect_word(struct parser *p, const char *word)
{
    if (!skip_word(p, word))
        unexpected(p, word);
}

static void expect(struct parser *p, enum jj_token_type type, const char *what)
{
    if (is(p, type))
        next(p);
    else
        unexpected(p, what);
}

static bool deeper(struct parser *p)
{
    if (p->depth >= PARSE_DEPTH)
        parse_fail(p, OM_E_LIMIT, "nested more than %d levels deep", PARSE_DEPTH);
    else
        p->depth++;
    return p->rc == 0;
}

/* ---- making nodes ---- */

static struct jj_node *node(struct parser *p, enum jj_node_type type)
{
    struct jj_node *const n = om_arena_alloc(&p->t->arena, sizeof(*n));

    if (!n)
        return no_memory(p);
    n->type = type;
    n->line = p->tok->line;
    return n;
}

static struct jj_node *node_ab(struct parser *p, enum jj_node_type type, struct jj_node *a,
                               struct jj_node *b)
{
    struct jj_node *const n = node(p, type);

    if (!n)
        return NULL;
    n->a = a;
    n->b = b;
    if (a)
        n->line = a->line;
    return n;
}

struct builder { /* a list of nodes while it grows */
    struct jj_node **items;
    size_t len, cap;
};

static void push(struct parser *p, struct builder *b, struct jj_node *n)
{
    if (p->rc < 0)
        return;
    if (!om_grow(&b->items, &b->cap, b->len + 1, sizeof(*b->items)))
        no_memory(p);
    else
        b->items[b->len++] = n;
}

static struct jj_nodes done(struct parser *p, struct builder *b)
{
    struct jj_nodes nodes = { NULL, 0 };

    if (p->rc == 0 && b->len) {
        nodes.items = om_arena_copy(&p->t->arena, b->items, b->len * sizeof(*b->items));
        nodes.len = b->len;
        if (!nodes.items) {
            no_memory(p);
            nodes.len = 0;
        }
    }
    free(b->items);
    return nodes;
}

static struct jj_node *constant(struct parser *p, jj_val value)
{
    struct jj_node *const n = node(p, JJ_N_CONST);

    if (n)
        n->value = value;
    return n;
}

static jj_val string_value(struct parser *p, om_sv text)
{
    struct jj_str *const s = om_arena_alloc(&p->t->arena, sizeof(*s));

    if (!s) {
        no_memory(p);
        return jj_none();
    }
    *s = (struct jj_str){ text.ptr, text.len, jj_count(text), false };
    return (jj_val){ .type = JJ_STR, .s = s };
}

/* ---- names ---- */

bool jj_listed(const char *const *names, om_sv name)
{
    for (size_t i = 0; names[i]; i++)
        if (om_sv_is(name, names[i]))
            return true;
    return false;
}

static uint32_t intern(struct parser *p, om_sv text)
{
    struct jinja_template *const t = p->t;
    uint32_t id = 0;

    if (om_map_get(&t->index, text, &id))
        return id;
    id = (uint32_t)t->names_len;
    if (!om_grow(&t->names, &t->names_cap, t->names_len + 1, sizeof(*t->names)) ||
        om_map_put(&t->index, text, id) < 0) {
        no_memory(p);
        return 0;
    }
    t->names[t->names_len++] = (struct jj_name){ text, jj_find(jj_functions, text) };
    return id;
}

static struct jj_node *name_node(struct parser *p, om_sv text)
{
    struct jj_node *const n = node(p, JJ_N_NAME);

    if (n)
        n->id = intern(p, text);
    if (om_sv_is(text, "caller"))
        p->uses |= JJ_USES_CALLER;
    if (om_sv_is(text, "kwargs"))
        p->uses |= JJ_USES_KWARGS;
    if (om_sv_is(text, "varargs"))
        p->uses |= JJ_USES_VARARGS;
    return n;
}

static bool is_reserved(om_sv name)
{
    static const char *const words[] = { "true", "false", "none", "True", "False", "None", NULL };

    return jj_listed(words, name);
}

/* ---- expressions, loosest first ---- */

static struct jj_node *expression(struct parser *p, bool with_cond);
static struct jj_node *unary(struct parser *p, bool with_filter);

/* What may end a tuple without parentheses. */
static bool tuple_ends(const struct parser *p, const char *end_word)
{
    return is(p, JJ_T_BLOCK_END) || is(p, JJ_T_PRINT_END) || is_op(p, ")") || is(p, JJ_T_EOF) ||
           (end_word && is_word(p, end_word));
}

/* One expression, or several with commas: a tuple. */
static struct jj_node *tuple(struct parser *p, bool with_cond, const char *end_word, bool parens)
{
    struct jj_node *const n = node(p, JJ_N_TUPLE);
    struct builder items = { NULL, 0, 0 };
    bool comma = false;

    while (n && !(comma && tuple_ends(p, end_word)) &&
           !(items.len == 0 && tuple_ends(p, end_word))) {
        push(p, &items, expression(p, with_cond));
        if (!is_op(p, ","))
            break;
        comma = true;
        next(p);
    }
    struct jj_node *const only = items.len ? items.items[0] : NULL;
    const struct jj_nodes body = done(p, &items);
    if (!n || p->rc < 0)
        return NULL;
    if (!comma && body.len == 1)
        return only;
    if (body.len == 0 && !parens) {
        unexpected(p, "an expression");
        return NULL;
    }
    n->body = body;
    return n;
}

static struct jj_node *list_literal(struct parser *p)
{
    struct jj_node *const n = node(p, JJ_N_LIST);
    struct builder items = { NULL, 0, 0 };

    expect_op(p, "[");
    while (!is_op(p, "]") && p->rc == 0) {
        if (items.len)
            expect_op(p, ",");
        if (is_op(p, "]"))
            break;
        push(p, &items, expression(p, true));
    }
    expect_op(p, "]");
    const struct jj_nodes body = done(p, &items);
    if (n)
        n->body = body;
    return n;
}

static struct jj_node *dict_literal(struct parser *p)
{
    struct jj_node *const n = node(p, JJ_N_DICT);
    struct builder items = { NULL, 0, 0 };

    expect_op(p, "{");
    while (!is_op(p, "}") && p->rc == 0) {
        if (items.len)
            expect_op(p, ",");
        if (is_op(p, "}"))
            break;
        push(p, &items, expression(p, true));
        expect_op(p, ":");
        push(p, &items, expression(p, true));
    }
    expect_op(p, "}");
    const struct jj_nodes body = done(p, &items);
    if (n)
        n->body = body;
    return n;
}

/* Strings that follow each other are one. */
static struct jj_node *string_literal(struct parser *p)
{
    struct om_buf b = OM_BUF_INIT(SIZE_MAX / 2);
    om_sv text = p->tok->text;
    struct jj_node *const n = constant(p, jj_none());

    next(p);
    if (is(p, JJ_T_STRING)) {
        om_buf_add(&b, text.ptr, text.len);
        for (; is(p, JJ_T_STRING); next(p))
            om_buf_add(&b, p->tok->text.ptr, p->tok->text.len);
        text.ptr = b.failed ? NULL : om_arena_str(&p->t->arena, om_buf_sv(&b));
        text.len = b.len;
        if (!text.ptr)
            no_memory(p);
    }
    om_buf_release(&b);
    if (n && p->rc == 0)
        n->value = string_value(p, text);
    return n;
}

static struct jj_node *name_or_literal(struct parser *p)
{
    const om_sv text = p->tok->text;
    struct jj_node *n;

    if (om_sv_is(text, "true") || om_sv_is(text, "True"))
        n = constant(p, jj_bool(true));
    else if (om_sv_is(text, "false") || om_sv_is(text, "False"))
        n = constant(p, jj_bool(false));
    else if (om_sv_is(text, "none") || om_sv_is(text, "None"))
        n = constant(p, jj_none());
    else
        n = name_node(p, text);
    next(p);
    return n;
}

static struct jj_node *primary(struct parser *p)
{
    struct jj_node *n;

    if (is(p, JJ_T_NAME))
        return name_or_literal(p);
    if (is(p, JJ_T_STRING))
        return string_literal(p);
    if (is(p, JJ_T_INT) || is(p, JJ_T_REAL)) {
        n = constant(p, is(p, JJ_T_INT) ? jj_int(p->tok->i) : jj_real(p->tok->d));
        next(p);
        return n;
    }
    if (skip_op(p, "(")) {
        n = tuple(p, true, NULL, true);
        expect_op(p, ")");
        return n;
    }
    if (is_op(p, "["))
        return list_literal(p);
    if (is_op(p, "{"))
        return dict_literal(p);
    unexpected(p, "an expression");
    return NULL;
}

/* ---- calls ---- */

static bool is_named_arg(const struct parser *p)
{
    return is(p, JJ_T_NAME) && p->tok[1].type == JJ_T_OP && om_sv_is(p->tok[1].text, "=");
}

static struct jj_node *argument(struct parser *p)
{
    struct jj_node *n;

    if (is_op(p, "*") || is_op(p, "**")) {
        n = node(p, is_op(p, "*") ? JJ_N_LIST_ARG : JJ_N_DICT_ARG);
        next(p);
    } else if (is_named_arg(p)) {
        n = node(p, JJ_N_NAMED_ARG);
        if (n)
            n->text = p->tok->text;
        next(p);
        next(p);
    } else {
        n = node(p, JJ_N_ARG);
    }
    if (n)
        n->a = expression(p, true);
    return n;
}

/* Positional ones come first, then *list, then names, then **dict. */
static bool in_order(const struct builder *args, const struct jj_node *arg)
{
    for (size_t i = 0; arg && i < args->len; i++) {
        const enum jj_node_type before = args->items[i]->type;
        if (before == JJ_N_DICT_ARG || (arg->type == JJ_N_ARG && before != JJ_N_ARG) ||
            (arg->type == JJ_N_LIST_ARG && before == JJ_N_LIST_ARG))
            return false;
    }
    return true;
}

static struct jj_nodes arguments(struct parser *p)
{
    struct builder items = { NULL, 0, 0 };

    expect_op(p, "(");
    while (!is_op(p, ")") && p->rc == 0) {
        if (items.len)
            expect_op(p, ",");
        if (is_op(p, ")"))
            break;
        struct jj_node *const arg = argument(p);
        if (!in_order(&items, arg))
            parse_fail(p, OM_E_FORMAT, "arguments of a call are out of order");
        push(p, &items, arg);
    }
    expect_op(p, ")");
    return done(p, &items);
}

static struct jj_node *call(struct parser *p, struct jj_node *callee)
{
    struct jj_node *const n = node_ab(p, JJ_N_CALL, callee, NULL);
    const struct jj_nodes args = arguments(p);

    if (n)
        n->args = args;
    return n;
}

/* ---- members ---- */

static struct jj_node *attribute(struct parser *p, struct jj_node *of)
{
    struct jj_node *const n = node_ab(p, JJ_N_ATTR, of, NULL);

    next(p);
    if (!n)
        return NULL;
    n->line = p->tok->line;
    if (is(p, JJ_T_NAME)) {
        n->value = string_value(p, p->tok->text);
    } else if (is(p, JJ_T_INT)) {
        n->type = JJ_N_ITEM;
        n->b = constant(p, jj_int(p->tok->i));
    } else {
        unexpected(p, "a name or number");
    }
    next(p);
    return n;
}

static bool slice_ends(const struct parser *p)
{
    return is_op(p, ":") || is_op(p, "]") || is_op(p, ",");
}

/* A subscript, or a slice. */
static struct jj_node *subscript(struct parser *p)
{
    struct jj_node *bounds[3] = { NULL, NULL, NULL };
    struct jj_node *const n = node(p, JJ_N_SLICE);
    size_t i = 0;

    if (!slice_ends(p))
        bounds[0] = expression(p, true);
    if (!is_op(p, ":"))
        return bounds[0] ? bounds[0] : (unexpected(p, "an expression"), NULL);
    while (i < 2 && skip_op(p, ":")) {
        i++;
        if (!slice_ends(p))
            bounds[i] = expression(p, true);
    }
    if (!n)
        return NULL;
    n->body.items = om_arena_copy(&p->t->arena, bounds, sizeof(bounds));
    n->body.len = 3;
    return n->body.items ? n : no_memory(p);
}

static struct jj_node *item(struct parser *p, struct jj_node *of)
{
    struct jj_node *const n = node_ab(p, JJ_N_ITEM, of, NULL);
    struct builder keys = { NULL, 0, 0 };

    expect_op(p, "[");
    do
        push(p, &keys, subscript(p));
    while (skip_op(p, ",") && !is_op(p, "]"));
    expect_op(p, "]");
    const struct jj_nodes body = done(p, &keys);
    if (!n || p->rc < 0)
        return NULL;
    n->b = body.items[0];
    if (body.len > 1) {
        n->b = node(p, JJ_N_TUPLE);
        if (n->b)
            n->b->body = body;
        for (size_t i = 0; i < body.len; i++)
            if (body.items[i]->type == JJ_N_SLICE)
                return parse_fail(p, OM_E_UNSUPPORTED, "a slice among several subscripts");
    }
    return n;
}

/* Chains are long rather than deep for the parser, but the tree of them is deep: count the links.
 */
static struct jj_node *postfix(struct parser *p, struct jj_node *n)
{
    while (p->rc == 0) {
        if (is_op(p, "."))
            n = attribute(p, n);
        else if (is_op(p, "["))
            n = item(p, n);
        else if (is_op(p, "("))
            n = call(p, n);
        else
            break;
    }
    return n;
}

/* ---- filters and tests ---- */

static om_sv dotted_name(struct parser *p)
{
    om_sv name = p->tok->text;

    expect(p, JJ_T_NAME, "a name");
    while (is_op(p, ".") &&
           p->rc == 0) { /* none of ours has a dot, but messages should say it all */
        next(p);
        name.len = (size_t)(p->tok->text.ptr + p->tok->text.len - name.ptr);
        expect(p, JJ_T_NAME, "a name");
    }
    return name;
}

const char *jj_unknown_text(bool filter, om_sv name)
{
    return filter && jj_listed(jj_missing_filters, name) ? "is not implemented" : "does not exist";
}

static void find_builtin(struct parser *p, struct jj_node *n)
{
    n->builtin = jj_find(n->type == JJ_N_FILTER ? jj_filters : jj_tests, n->text);
    if (!n->builtin && !p->unknown)
        p->unknown = n;
}

static struct jj_node *filter(struct parser *p, struct jj_node *of)
{
    struct jj_node *const n = node(p, JJ_N_FILTER);

    if (!n)
        return NULL;
    n->a = of;
    n->text = dotted_name(p);
    find_builtin(p, n);
    if (is_op(p, "("))
        n->args = arguments(p);
    return n;
}

/* An argument without parentheses: x is divisibleby 3. */
static bool has_bare_argument(const struct parser *p)
{
    static const char *const not_one[] = { "else", "or", "and", "is", NULL };

    if (is(p, JJ_T_NAME))
        return !is_one_of(p, not_one);
    return is(p, JJ_T_STRING) || is(p, JJ_T_INT) || is(p, JJ_T_REAL) || is_op(p, "[") ||
           is_op(p, "{");
}

static struct jj_nodes bare_argument(struct parser *p)
{
    struct builder items = { NULL, 0, 0 };
    struct jj_node *const n = node(p, JJ_N_ARG);

    if (n)
        n->a = postfix(p, primary(p));
    push(p, &items, n);
    return done(p, &items);
}

static struct jj_node *test(struct parser *p, struct jj_node *of)
{
    struct jj_node *const n = node_ab(p, JJ_N_TEST, of, NULL);
    const bool negated = skip_word(p, "not");

    if (!n)
        return NULL;
    n->line = p->tok->line;
    n->text = dotted_name(p);
    find_builtin(p, n);
    if (is_op(p, "("))
        n->args = arguments(p);
    else if (is_word(p, "is"))
        return parse_fail(p, OM_E_FORMAT, "tests cannot be chained with \"is\"");
    else if (has_bare_argument(p))
        n->args = bare_argument(p);
    return negated ? node_ab(p, JJ_N_NOT, n, NULL) : n;
}

static struct jj_node *filters(struct parser *p, struct jj_node *n)
{
    while (p->rc == 0) {
        if (skip_op(p, "|"))
            n = filter(p, n);
        else if (skip_word(p, "is"))
            n = test(p, n);
        else if (is_op(p, "("))
            n = call(p, n);
        else
            break;
    }
    return n;
}

/* ---- operators ---- */

static struct jj_node *unary(struct parser *p, bool with_filter)
{
    struct jj_node *n;

    if (!deeper(p))
        return NULL;
    if (is_op(p, "-") || is_op(p, "+")) {
        n = node(p, is_op(p, "-") ? JJ_N_NEG : JJ_N_POS);
        next(p);
        if (n)
            n->a = unary(p, false);
    } else {
        n = primary(p);
    }
    n = postfix(p, n);
    if (with_filter)
        n = filters(p, n);
    p->depth--;
    return n;
}

static struct jj_node *unary_operand(struct parser *p)
{
    return unary(p, true);
}

/* Operators that bind to the left: level by level, the loosest first. */
static const struct level {
    const char *ops[5];
} levels[] = {
    { { "+", "-", NULL } }, { { "~", NULL } }, { { "*", "/", "//", "%", NULL } }, { { "**", NULL } }
};

static const char *op_of(const struct parser *p, size_t level)
{
    for (size_t i = 0; levels[level].ops[i]; i++)
        if (is_op(p, levels[level].ops[i]))
            return levels[level].ops[i];
    return NULL;
}

static struct jj_node *binary(struct parser *p, size_t level);

static struct jj_node *operand(struct parser *p, size_t level)
{
    return level + 1 < OM_COUNT(levels) ? binary(p, level + 1) : unary_operand(p);
}

/* a ~ b ~ c is one node. */
static struct jj_node *concat(struct parser *p, struct jj_node *first, size_t level)
{
    struct jj_node *const n = node(p, JJ_N_CONCAT);
    struct builder items = { NULL, 0, 0 };

    push(p, &items, first);
    while (skip_op(p, "~"))
        push(p, &items, operand(p, level));
    const struct jj_nodes body = done(p, &items);
    if (n)
        n->body = body;
    return n;
}

static struct jj_node *binary(struct parser *p, size_t level)
{
    struct jj_node *n = operand(p, level);
    const char *op;

    while (p->rc == 0 && (op = op_of(p, level)) != NULL) {
        if (op[0] == '~') {
            n = concat(p, n, level);
            continue;
        }
        struct jj_node *const b = node(p, JJ_N_BINARY);
        next(p);
        if (!b)
            return NULL;
        b->text = om_sv_str(op);
        b->a = n;
        b->b = operand(p, level);
        n = b;
    }
    return n;
}

static const char *comparison(struct parser *p)
{
    static const char *const ops[] = { "==", "!=", "<", "<=", ">", ">=" };

    for (size_t i = 0; i < OM_COUNT(ops); i++)
        if (skip_op(p, ops[i]))
            return ops[i];
    if (skip_word(p, "in"))
        return "in";
    if (is_word(p, "not") && p->tok[1].type == JJ_T_NAME && om_sv_is(p->tok[1].text, "in")) {
        next(p);
        next(p);
        return "not in";
    }
    return NULL;
}

static struct jj_node *compare(struct parser *p)
{
    struct jj_node *const n = node(p, JJ_N_COMPARE);
    struct jj_node *const first = binary(p, 0);
    struct builder items = { NULL, 0, 0 };
    const char *op;

    while (p->rc == 0 && (op = comparison(p)) != NULL) {
        struct jj_node *const o = node(p, JJ_N_OPERAND);
        if (o) {
            o->text = om_sv_str(op);
            o->a = binary(p, 0);
        }
        push(p, &items, o);
    }
    const struct jj_nodes body = done(p, &items);
    if (!n || body.len == 0)
        return first;
    n->a = first;
    n->body = body;
    return n;
}

static struct jj_node *negation(struct parser *p)
{
    struct jj_node *n;

    if (!is_word(p, "not"))
        return compare(p);
    if (!deeper(p))
        return NULL;
    n = node(p, JJ_N_NOT);
    next(p);
    if (n)
        n->a = negation(p);
    p->depth--;
    return n;
}

static struct jj_node *conjunction(struct parser *p)
{
    struct jj_node *n = negation(p);

    while (skip_word(p, "and"))
        n = node_ab(p, JJ_N_AND, n, negation(p));
    return n;
}

static struct jj_node *disjunction(struct parser *p)
{
    struct jj_node *n = conjunction(p);

    while (skip_word(p, "or"))
        n = node_ab(p, JJ_N_OR, n, conjunction(p));
    return n;
}

/* What may not be reached may use filters that do not exist. */
static struct jj_node *conditional(struct parser *p)
{
    const struct jj_node *const unknown = p->unknown;
    struct jj_node *n = disjunction(p), *c;

    while (skip_word(p, "if")) {
        c = node_ab(p, JJ_N_COND, n, NULL);
        n = disjunction(p);
        if (c) {
            c->b = n;
            c->c = skip_word(p, "else") ? expression(p, true) : NULL;
        }
        n = c;
        p->unknown = unknown;
    }
    return n;
}

/* Refuse what find_builtin() did not find, unless it stands in an {% if %}. */
static void settle(struct parser *p)
{
    const struct jj_node *const n = p->unknown;

    p->unknown = NULL;
    if (!n || p->soft || p->rc < 0)
        return;
    p->rc = om_fail(p->err, OM_E_UNSUPPORTED, "%s, line %" PRIu32 ": %s \"%.*s\" %s", p->t->name,
                    n->line, n->type == JJ_N_FILTER ? "filter" : "test", OM_SV(n->text),
                    jj_unknown_text(n->type == JJ_N_FILTER, n->text));
    stop(p);
}

static struct jj_node *expression(struct parser *p, bool with_cond)
{
    const bool inner = p->in_expression;
    struct jj_node *n;

    if (!deeper(p))
        return NULL;
    p->in_expression = true;
    n = with_cond ? conditional(p) : disjunction(p);
    p->in_expression = inner;
    p->depth--;
    if (!inner)
        settle(p);
    return n;
}

/* ---- statements ---- */

static struct jj_nodes statements(struct parser *p, const char *const *ends);

static const char *const if_ends[] = { "elif", "else", "endif", NULL };

/* The body of a tag up to one of ends, with a scope of its own: a loop, a macro. */
static struct jj_nodes scoped_body(struct parser *p, const char *const *ends)
{
    const bool soft = p->soft;

    p->soft = false;
    const struct jj_nodes body = statements(p, ends);
    p->soft = soft;
    return body;
}

static struct jj_nodes whole_body(struct parser *p, const char *end)
{
    const char *const ends[] = { end, NULL };
    const struct jj_nodes body = scoped_body(p, ends);

    expect_word(p, end);
    return body;
}

/* A name that is assigned to, or for members of a namespace name.member. */
static struct jj_node *target_name(struct parser *p, bool members)
{
    const om_sv text = p->tok->text;
    struct jj_node *n;

    if (!is(p, JJ_T_NAME)) {
        unexpected(p, "a name");
        return NULL;
    }
    if (is_reserved(text))
        return parse_fail(p, OM_E_FORMAT, "cannot assign to \"%.*s\"", OM_SV(text));
    n = name_node(p, text);
    next(p);
    if (members && skip_op(p, ".")) {
        if (n) {
            n->type = JJ_N_SET_MEMBER;
            n->value = string_value(p, p->tok->text);
        }
        expect(p, JJ_T_NAME, "a name");
    }
    return n;
}

/* One name, or several with commas. */
static struct jj_node *target(struct parser *p, bool members)
{
    struct jj_node *const n = node(p, JJ_N_TUPLE);
    struct builder items = { NULL, 0, 0 };
    bool comma = false;

    do {
        if (comma && !is(p, JJ_T_NAME) && !is_op(p, "("))
            break;
        if (skip_op(p, "(")) {
            if (!deeper(p))
                break;
            push(p, &items, target(p, members));
            p->depth--;
            expect_op(p, ")");
        } else {
            push(p, &items, target_name(p, members));
        }
        comma = is_op(p, ",");
    } while (skip_op(p, ",") && !is_word(p, "in"));
    const struct jj_nodes body = done(p, &items);
    if (!n || p->rc < 0)
        return NULL;
    if (body.len == 1 && !comma)
        return body.items[0];
    n->body = body;
    return n;
}

static struct jj_node *parse_if(struct parser *p, struct jj_node *n)
{
    struct builder branches = { NULL, 0, 0 };
    const bool soft = p->soft;
    bool last = false;

    p->soft = true;
    while (!last && p->rc == 0) {
        struct jj_node *const branch = node(p, JJ_N_BRANCH);
        last = is_word(p, "else");
        next(p); /* if, elif or else */
        if (branch) {
            branch->a = last ? NULL : tuple(p, false, NULL, false);
            branch->body = statements(p, last ? if_ends + 2 : if_ends);
        }
        push(p, &branches, branch);
        last = last || is_word(p, "endif");
    }
    expect_word(p, "endif");
    p->soft = soft;
    n->body = done(p, &branches);
    return n;
}

static struct jj_node *parse_for(struct parser *p, struct jj_node *n)
{
    static const char *const ends[] = { "else", "endfor", NULL };

    next(p);
    n->a = target(p, false);
    expect_word(p, "in");
    n->b = tuple(p, false, "recursive", false);
    if (skip_word(p, "if"))
        n->c = expression(p, true);
    n->flag = skip_word(p, "recursive");
    p->loops++;
    n->body = scoped_body(p, ends);
    p->loops--;
    if (skip_word(p, "else"))
        n->other = scoped_body(p, ends + 1);
    expect_word(p, "endfor");
    return n;
}

/* A chain of filters for what a block holds. */
static struct jj_node *block_filters(struct parser *p)
{
    const bool soft = p->soft;
    struct jj_node *n = filter(p, NULL);

    while (p->rc == 0 && skip_op(p, "|"))
        n = filter(p, n);
    p->soft = false; /* whatever they stand in */
    settle(p);
    p->soft = soft;
    return n;
}

static struct jj_node *parse_set(struct parser *p, struct jj_node *n)
{
    next(p);
    n->a = target(p, true);
    if (skip_op(p, "=")) {
        n->b = tuple(p, true, NULL, false);
        return n;
    }
    n->type = JJ_N_SET_BLOCK;
    if (skip_op(p, "|"))
        n->b = block_filters(p);
    n->body = whole_body(p, "endset");
    return n;
}

static struct jj_nodes signature(struct parser *p)
{
    struct builder params = { NULL, 0, 0 };
    bool defaults = false;

    expect_op(p, "(");
    while (!is_op(p, ")") && p->rc == 0) {
        if (params.len)
            expect_op(p, ",");
        if (is_op(p, ")"))
            break;
        struct jj_node *const n = target_name(p, false);
        if (n) {
            n->type = JJ_N_PARAM;
            if (skip_op(p, "="))
                n->b = expression(p, true);
            if (defaults && !n->b)
                parse_fail(p, OM_E_FORMAT, "a parameter without default after one with");
            if (!n->b && n->id == JJ_ID_CALLER)
                parse_fail(p, OM_E_FORMAT, "parameter \"caller\" needs a default");
            defaults = n->b != NULL;
        }
        push(p, &params, n);
    }
    expect_op(p, ")");
    return done(p, &params);
}

/* A body that is called: what it uses is its own matter, and loops around it are not left from it.
 */
static struct jj_nodes macro_body(struct parser *p, struct jj_node *n, const char *end)
{
    const unsigned uses = p->uses, loops = p->loops;

    p->uses = 0;
    p->loops = 0;
    const struct jj_nodes body = whole_body(p, end);
    n->uses = p->uses;
    p->uses |= uses;
    p->loops = loops;
    return body;
}

static struct jj_node *parse_macro(struct parser *p, struct jj_node *n)
{
    next(p);
    n->a = target_name(p, false);
    if (n->a)
        n->id = n->a->id;
    n->params = signature(p);
    n->body = macro_body(p, n, "endmacro");
    return n;
}

static struct jj_node *parse_call(struct parser *p, struct jj_node *n)
{
    next(p);
    if (is_op(p, "("))
        n->params = signature(p);
    n->a = expression(p, true);
    if (n->a && n->a->type != JJ_N_CALL)
        return parse_fail(p, OM_E_FORMAT, "expected a call");
    n->body = macro_body(p, n, "endcall");
    return n;
}

static struct jj_node *parse_filter(struct parser *p, struct jj_node *n)
{
    next(p);
    n->b = block_filters(p);
    n->body = whole_body(p, "endfilter");
    return n;
}

static struct jj_node *parse_with(struct parser *p, struct jj_node *n)
{
    struct builder params = { NULL, 0, 0 };

    next(p);
    while (!is(p, JJ_T_BLOCK_END) && p->rc == 0) {
        if (params.len)
            expect_op(p, ",");
        struct jj_node *const param = node(p, JJ_N_PARAM);
        if (param) {
            param->a = target(p, false);
            expect_op(p, "=");
            param->b = expression(p, true);
        }
        push(p, &params, param);
    }
    n->params = done(p, &params);
    n->body = whole_body(p, "endwith");
    return n;
}

static struct jj_node *parse_generation(struct parser *p, struct jj_node *n)
{
    const unsigned loops = p->loops;

    next(p);
    p->loops = 0;
    n->body = whole_body(p, "endgeneration");
    p->loops = loops;
    return n;
}

static struct jj_node *parse_jump(struct parser *p, struct jj_node *n)
{
    if (p->loops == 0)
        return parse_fail(p, OM_E_FORMAT, "\"%.*s\" outside of a loop", OM_SV(p->tok->text));
    next(p);
    return n;
}

static struct jj_node *parse_print(struct parser *p, struct jj_node *n)
{
    next(p);
    n->a = tuple(p, true, NULL, false);
    return n;
}

static const struct tag {
    const char *name;
    enum jj_node_type type;
    struct jj_node *(*parse)(struct parser *p, struct jj_node *n);
} tags[] = {
    { "if", JJ_N_IF, parse_if },
    { "set", JJ_N_SET, parse_set },
    { "for", JJ_N_FOR, parse_for },
    { "macro", JJ_N_MACRO, parse_macro },
    { "call", JJ_N_CALL_BLOCK, parse_call },
    { "filter", JJ_N_FILTER_BLOCK, parse_filter },
    { "with", JJ_N_WITH, parse_with },
    { "generation", JJ_N_SCOPE, parse_generation },
    { "break", JJ_N_BREAK, parse_jump },
    { "continue", JJ_N_CONTINUE, parse_jump },
};

static const char *const missing_tags[] = { "block",      "extends", "include", "import", "from",
                                            "autoescape", "do",      "trans",   "debug",  NULL };

static struct jj_node *statement(struct parser *p)
{
    const om_sv name = p->tok->text;
    struct jj_node *n;

    if (!is(p, JJ_T_NAME)) {
        unexpected(p, "the name of a tag");
        return NULL;
    }
    for (size_t i = 0; i < OM_COUNT(tags); i++) {
        if (!om_sv_is(name, tags[i].name))
            continue;
        n = deeper(p) ? node(p, tags[i].type) : NULL;
        n = n ? tags[i].parse(p, n) : NULL;
        p->depth--;
        return n;
    }
    if (jj_listed(missing_tags, name))
        return parse_fail(p, OM_E_UNSUPPORTED, "tag \"%.*s\" is not implemented", OM_SV(name));
    return parse_fail(p, OM_E_FORMAT, "unknown tag \"%.*s\"", OM_SV(name));
}

static struct jj_node *text_node(struct parser *p)
{
    struct jj_node *const n = node(p, JJ_N_TEXT);

    if (n)
        n->text = p->tok->text;
    next(p);
    return n;
}

static const char *last_of(const char *const *words)
{
    while (words[1])
        words++;
    return words[0];
}

/* Statements and text up to a tag that is one of ends, whose name is then the current token; NULL:
 * up to the end of the template. */
static void read_statements(struct parser *p, const char *const *ends, struct builder *items)
{
    struct jj_node *n;

    while (p->rc == 0 && !is(p, JJ_T_EOF)) {
        n = node(p, JJ_N_PRINT);
        if (is(p, JJ_T_DATA)) {
            n = text_node(p);
        } else if (is(p, JJ_T_PRINT)) {
            n = n ? parse_print(p, n) : NULL;
            expect(p, JJ_T_PRINT_END, "}}");
        } else {
            next(p);
            if (ends && is_one_of(p, ends))
                return;
            n = statement(p);
            expect(p, JJ_T_BLOCK_END, "%}");
        }
        push(p, items, n);
    }
    if (ends)
        parse_fail(p, OM_E_FORMAT, "the template ends before {%% %s %%}", last_of(ends));
}

static struct jj_nodes statements(struct parser *p, const char *const *ends)
{
    struct builder items = { NULL, 0, 0 };

    skip_op(p, ":");
    expect(p, JJ_T_BLOCK_END, "%}");
    read_statements(p, ends, &items);
    return done(p, &items);
}

/* ---- templates ---- */

static int parse_template(struct jinja_template *t, const struct jj_tokens *tokens,
                          struct om_error *err)
{
    static const char *const fixed[] = { "loop", "caller", "varargs", "kwargs" };
    struct parser p = { .t = t, .tok = tokens->items, .err = err };
    struct builder items = { NULL, 0, 0 };

    for (size_t i = 0; i < OM_COUNT(fixed); i++) /* in the order of JJ_ID_* */
        intern(&p, om_sv_str(fixed[i]));
    read_statements(&p, NULL, &items);
    t->body = done(&p, &items);
    return p.rc;
}

static int compile(struct jinja_template *t, om_sv source, const char *name, struct om_error *err)
{
    struct jj_tokens tokens = { NULL, 0, 0 };
    int rc;

    if (source.len > SOURCE_MAX)
        return om_fail(err, OM_E_LIMIT, "%s: %zu bytes, expected at most %d", name, source.len,
                       SOURCE_MAX);
    om_arena_init(&t->arena, ((size_t)1 << 16) + source.len * ARENA_PER_BYTE);
    t->name = om_arena_str(&t->arena, om_sv_str(name));
    if (!t->name)
        return om_fail(err, OM_E_NOMEM, "out of memory for a template");
    rc = jj_lex(&t->arena, source, t->name, &tokens, err);
    if (rc == 0)
        rc = parse_template(t, &tokens, err);
    free(tokens.items);
    return rc;
}

int jinja_compile(om_sv source, const char *name, struct jinja_template **out, struct om_error *err)
{
    struct jinja_template *const t = calloc(1, sizeof(*t));

    if (!t)
        return om_fail(err, OM_E_NOMEM, "out of memory for a template");
    const int rc = compile(t, source, name, err);
    if (rc == 0)
        *out = t;
    else
        jinja_free(t);
    return rc;
}

void jinja_free(struct jinja_template *t)
{
    if (!t)
        return;
    free(t->names);
    om_map_release(&t->index);
    om_arena_release(&t->arena);
    free(t);
}
