/* src/jinja/eval.c: running a template: scopes, expressions, statements, macros, loops. */
#include "jinja/ast.h"
#include "jinja/text.h"

/* Names that are bound: the innermost scope first. Scopes live as long as the run, as macros refer
 * to those they were defined in. */
struct binding {
    uint32_t id;
    jj_val value;
    struct binding *next;
};

struct jj_scope {
    struct jj_scope *parent;
    struct binding *first;
};

struct jj_macro {
    const struct jj_node *n;
    struct jj_scope *scope;
    bool anonymous; /* the body of a call block */
};

struct jj_loop {
    const struct jj_node *n;
    struct jj_scope *scope; /* around it */
    const jj_val *items;
    size_t len, index0;
    unsigned depth0;
    jj_val changed; /* what changed() was given last */
    bool has_changed;
};

enum flow { FLOW_NEXT, FLOW_BREAK, FLOW_CONTINUE };

static jj_val eval(struct jj_run *r, struct jj_scope *s, const struct jj_node *n);
static enum flow exec_body(struct jj_run *r, struct jj_scope *s, const struct jj_nodes *body);

/* ---- scopes ---- */

static struct jj_scope *new_scope(struct jj_run *r, struct jj_scope *parent)
{
    struct jj_scope *const s = jj_alloc(r, 1, sizeof(*s));

    if (s)
        s->parent = parent;
    return s;
}

static struct binding *find_here(const struct jj_scope *s, uint32_t id)
{
    for (struct binding *b = s->first; b; b = b->next)
        if (b->id == id)
            return b;
    return NULL;
}

static void bind(struct jj_run *r, struct jj_scope *s, uint32_t id, jj_val value)
{
    struct binding *b = s ? find_here(s, id) : NULL;

    if (!s || r->rc < 0)
        return;
    if (!b) {
        b = jj_alloc(r, 1, sizeof(*b));
        if (!b)
            return;
        b->id = id;
        b->next = s->first;
        s->first = b;
    }
    b->value = value;
}

jj_val jj_bind(struct jj_run *r, const struct jj_builtin *builtin, jj_val self)
{
    struct jj_bound *const b = jj_alloc(r, 1, sizeof(*b));

    if (!b)
        return jj_none();
    *b = (struct jj_bound){ builtin, self };
    return (jj_val){ .type = JJ_BUILTIN, .bound = b };
}

static jj_val look_up(struct jj_run *r, const struct jj_scope *s, uint32_t id)
{
    for (; s; s = s->parent) {
        const struct binding *const b = find_here(s, id);
        if (b)
            return b->value;
    }
    const struct jj_name *const name = &r->t->names[id];
    if (name->function)
        return jj_bind(r, name->function, jj_none());
    return jj_undefined_name(r, name->text);
}

/* ---- assigning ---- */

static void assign(struct jj_run *r, struct jj_scope *s, const struct jj_node *target, jj_val v);

static void assign_all(struct jj_run *r, struct jj_scope *s, const struct jj_nodes *targets,
                       jj_val v)
{
    const jj_val *items;
    size_t len;

    if (!jj_iterate(r, v, &items, &len))
        return;
    if (len != targets->len) {
        jj_fail(r, OM_E_FORMAT, "%s values to unpack (expected %zu)",
                len < targets->len ? "not enough" : "too many", targets->len);
        return;
    }
    for (size_t i = 0; i < len; i++)
        assign(r, s, targets->items[i], items[i]);
}

static void assign_member(struct jj_run *r, const struct jj_scope *s, const struct jj_node *target,
                          jj_val v)
{
    const jj_val ns = look_up(r, s, target->id);

    if (ns.type != JJ_NAMESPACE)
        jj_fail(r, OM_E_FORMAT, "cannot assign attribute on non-namespace object");
    else
        jj_dict_set(r, &ns.ns->attrs, &ns.ns->cap, target->value, v);
}

static void assign(struct jj_run *r, struct jj_scope *s, const struct jj_node *target, jj_val v)
{
    if (r->rc < 0)
        return;
    r->line = target->line;
    if (target->type == JJ_N_TUPLE)
        assign_all(r, s, &target->body, v);
    else if (target->type == JJ_N_SET_MEMBER)
        assign_member(r, s, target, v);
    else
        bind(r, s, target->id, v);
}

/* ---- arguments and calls ---- */

struct arg_lists {
    struct jj_list pos;
    struct jj_named *named;
    size_t named_len, named_cap;
};

static void add_named(struct jj_run *r, struct arg_lists *l, om_sv name, jj_val v)
{
    for (size_t i = 0; i < l->named_len; i++)
        if (om_sv_eq(l->named[i].name, name)) {
            jj_fail(r, OM_E_FORMAT, "got multiple values for keyword argument '%.*s'", OM_SV(name));
            return;
        }
    if (l->named_len == l->named_cap) {
        const size_t cap = l->named_cap * 2 + 4;
        struct jj_named *const named = jj_alloc(r, cap, sizeof(*named));
        if (!named)
            return;
        if (l->named_len)
            memcpy(named, l->named, l->named_len * sizeof(*named));
        l->named = named;
        l->named_cap = cap;
    }
    l->named[l->named_len++] = (struct jj_named){ name, v };
}

static void add_list(struct jj_run *r, struct arg_lists *l, jj_val v)
{
    const jj_val *items;
    size_t len;

    if (jj_iterate(r, v, &items, &len))
        for (size_t i = 0; i < len; i++)
            jj_push(r, &l->pos, items[i]);
}

static void add_dict(struct jj_run *r, struct arg_lists *l, jj_val v)
{
    if (v.type != JJ_DICT) {
        jj_fail(r, OM_E_FORMAT, "argument after ** must be a mapping, not %s", jj_type_name(v));
        return;
    }
    for (size_t i = 0; i < v.dict->len && jj_steps(r, l->named_len * 16); i++) {
        const struct jj_entry *const e = &v.dict->entries[i];
        if (e->key.type != JJ_STR)
            jj_fail(r, OM_E_FORMAT, "keywords must be strings");
        else
            add_named(r, l, jj_sv(e->key), e->value);
    }
}

static void eval_args(struct jj_run *r, struct jj_scope *s, const struct jj_nodes *nodes,
                      struct arg_lists *l)
{
    for (size_t i = 0; i < nodes->len && r->rc == 0; i++) {
        const struct jj_node *const n = nodes->items[i];
        const jj_val v = eval(r, s, n->a);
        if (n->type == JJ_N_ARG)
            jj_push(r, &l->pos, v);
        else if (n->type == JJ_N_NAMED_ARG)
            add_named(r, l, n->text, v);
        else if (n->type == JJ_N_LIST_ARG)
            add_list(r, l, v);
        else
            add_dict(r, l, v);
    }
}

static struct jj_args args_of(const struct arg_lists *l)
{
    return (struct jj_args){
        .pos = l->pos.items, .len = l->pos.len, .named = l->named, .named_len = l->named_len
    };
}

/* The index of a parameter in "a b= c="; *count is how many there are, *required how many must be
 * given. */
static int param_index(const char *params, om_sv name, unsigned *count, unsigned *required)
{
    om_sv rest = om_sv_str(params), param;
    int hit = -1;

    *count = *required = 0;
    while (om_sv_split(&rest, ' ', &param) && param.len) {
        const bool optional = param.ptr[param.len - 1] == '=';
        param.len -= optional;
        if (om_sv_eq(param, name))
            hit = (int)*count;
        *required += !optional;
        ++*count;
    }
    return hit;
}

/* Arguments to the places that the parameter list gives them. */
static bool bind_params(struct jj_run *r, const char *params, struct jj_args *a)
{
    unsigned count, required;

    param_index(params, (om_sv){ NULL, 0 }, &count, &required);
    if (a->len > count) {
        jj_fail(r, OM_E_FORMAT, "takes at most %u argument%s, found %zu", count,
                count == 1 ? "" : "s", a->len);
        return false;
    }
    for (size_t i = 0; i < a->len; i++)
        a->v[i] = a->pos[i];
    a->given = (1u << a->len) - 1;
    for (size_t i = 0; i < a->named_len; i++) {
        const int k = param_index(params, a->named[i].name, &count, &required);
        if (k < 0 || jj_given(a, (unsigned)k)) {
            jj_fail(r, OM_E_FORMAT, "%s argument '%.*s'", k < 0 ? "has no" : "got twice its",
                    OM_SV(a->named[i].name));
            return false;
        }
        a->v[k] = a->named[i].value;
        a->given |= 1u << k;
    }
    for (unsigned i = 0; i < required; i++)
        if (!jj_given(a, i)) {
            jj_fail(r, OM_E_FORMAT, "argument %u is missing", i + 1);
            return false;
        }
    return true;
}

jj_val jj_call_builtin(struct jj_run *r, const struct jj_builtin *b, const char *kind, jj_val self,
                       const struct jj_args *args)
{
    const char *const outer_kind = r->in.kind, *const outer_name = r->in.name;
    struct jj_args a = *args;
    jj_val v = jj_none();

    if (!jj_enter(r))
        return v;
    r->in.kind = kind;
    r->in.name = b->name;
    if (!b->params || bind_params(r, b->params, &a))
        v = b->fn(r, self, &a);
    r->in.kind = outer_kind;
    r->in.name = outer_name;
    jj_leave(r);
    return v;
}

jj_val jj_call(struct jj_run *r, jj_val callee, const struct jj_args *args)
{
    if (r->rc < 0)
        return jj_none();
    switch (callee.type) {
    case JJ_BUILTIN:
        return jj_call_builtin(r, callee.bound->builtin,
                               callee.bound->self.type == JJ_NONE ? "function" : "method",
                               callee.bound->self, args);
    case JJ_MACRO:
        return jj_call_macro(r, callee.macro, args);
    case JJ_LOOP:
        return jj_call_loop(r, callee.loop, args);
    case JJ_UNDEFINED:
        return jj_use_undefined(r, callee);
    case JJ_NONE:
    case JJ_BOOL:
    case JJ_INT:
    case JJ_REAL:
    case JJ_STR:
    case JJ_SEQ:
    case JJ_DICT:
    case JJ_NAMESPACE:
        break;
    }
    return jj_fail(r, OM_E_FORMAT, "'%s' object is not callable", jj_type_name(callee));
}

/* ---- expressions ---- */

static jj_val eval_list(struct jj_run *r, struct jj_scope *s, const struct jj_node *n)
{
    struct jj_list l = { NULL, 0, 0 };

    for (size_t i = 0; i < n->body.len && r->rc == 0; i++)
        jj_push(r, &l, eval(r, s, n->body.items[i]));
    return jj_seq(r, n->type == JJ_N_LIST ? JJ_LIST : JJ_TUPLE, l.items, l.len);
}

static jj_val eval_dict(struct jj_run *r, struct jj_scope *s, const struct jj_node *n)
{
    struct jj_dict d = { 0, NULL };
    size_t cap = 0;

    for (size_t i = 0; i + 1 < n->body.len && r->rc == 0; i += 2) {
        const jj_val key = eval(r, s, n->body.items[i]);
        jj_dict_set(r, &d, &cap, key, eval(r, s, n->body.items[i + 1]));
    }
    return jj_dict(r, &d);
}

static jj_val eval_item(struct jj_run *r, struct jj_scope *s, const struct jj_node *n)
{
    const jj_val of = eval(r, s, n->a);
    jj_val bounds[3];

    if (n->b->type != JJ_N_SLICE) {
        const jj_val key = eval(r, s, n->b);
        r->line = n->line;
        return r->rc == 0 ? jj_get_item(r, of, key) : of;
    }
    for (size_t i = 0; i < 3; i++)
        bounds[i] = n->b->body.items[i] ? eval(r, s, n->b->body.items[i]) : jj_none();
    r->line = n->line;
    return r->rc == 0 ? jj_slice(r, of, bounds) : of;
}

static jj_val eval_call(struct jj_run *r, struct jj_scope *s, const struct jj_node *n,
                        const struct jj_macro *caller)
{
    const jj_val callee = eval(r, s, n->a);
    struct arg_lists l = { .named = NULL };

    eval_args(r, s, &n->args, &l);
    if (caller)
        add_named(r, &l, OM_SVL("caller"), (jj_val){ .type = JJ_MACRO, .macro = caller });
    r->line = n->line;
    const struct jj_args args = args_of(&l);
    return jj_call(r, callee, &args);
}

/* A filter or test on v. */
static jj_val apply(struct jj_run *r, struct jj_scope *s, const struct jj_node *n, jj_val v)
{
    const bool filter = n->type == JJ_N_FILTER;
    struct arg_lists l = { .named = NULL };

    eval_args(r, s, &n->args, &l);
    r->line = n->line;
    if (r->rc < 0)
        return v;
    if (!n->builtin)
        return jj_fail(r, OM_E_UNSUPPORTED, "%s \"%.*s\" %s", filter ? "filter" : "test",
                       OM_SV(n->text), jj_unknown_text(filter, n->text));
    const struct jj_args args = args_of(&l);
    return jj_call_builtin(r, n->builtin, filter ? "filter" : "test", v, &args);
}

static jj_val eval_binary(struct jj_run *r, struct jj_scope *s, const struct jj_node *n)
{
    const jj_val a = eval(r, s, n->a), b = eval(r, s, n->b);

    r->line = n->line;
    if (r->rc < 0)
        return a;
    return n->text.ptr[0] == '+' ? jj_add(r, a, b) : jj_arith(r, n->text.ptr, a, b);
}

static jj_val eval_concat(struct jj_run *r, struct jj_scope *s, const struct jj_node *n)
{
    jj_val sum = jj_text(r, (om_sv){ "", 0 });

    for (size_t i = 0; i < n->body.len && r->rc == 0; i++) {
        const jj_val v = eval(r, s, n->body.items[i]);
        const om_sv text = jj_str(r, v);
        if (r->rc == 0)
            sum = i == 0 ? jj_view(r, text) : jj_concat(r, sum, text);
    }
    return sum;
}

static bool compare_one(struct jj_run *r, om_sv op, jj_val a, jj_val b)
{
    int order;

    if (om_sv_is(op, "=="))
        return jj_equal(r, a, b);
    if (om_sv_is(op, "!="))
        return !jj_equal(r, a, b);
    if (om_sv_is(op, "in"))
        return jj_contains(r, b, a);
    if (om_sv_is(op, "not in"))
        return !jj_contains(r, b, a);
    order = jj_compare(r, a, b, op.ptr);
    if (order == 2)
        return false;
    return op.ptr[0] == '<' ? order < 0 || (op.len == 2 && order == 0)
                            : order > 0 || (op.len == 2 && order == 0);
}

/* a < b < c compares neighbours, as far as needed. */
static jj_val eval_compare(struct jj_run *r, struct jj_scope *s, const struct jj_node *n)
{
    jj_val a = eval(r, s, n->a);

    for (size_t i = 0; i < n->body.len && r->rc == 0; i++) {
        const struct jj_node *const o = n->body.items[i];
        const jj_val b = eval(r, s, o->a);
        r->line = o->line;
        if (r->rc < 0 || !compare_one(r, o->text, a, b))
            return jj_bool(false);
        a = b;
    }
    return jj_bool(true);
}

static jj_val eval_cond(struct jj_run *r, struct jj_scope *s, const struct jj_node *n)
{
    if (jj_true(eval(r, s, n->b)))
        return eval(r, s, n->a);
    return n->c ? eval(r, s, n->c)
                : jj_undefined_hint(r,
                                    "the inline if-expression evaluated to false and has no else");
}

static jj_val eval_logic(struct jj_run *r, struct jj_scope *s, const struct jj_node *n)
{
    const jj_val a = eval(r, s, n->a);

    if (n->type == JJ_N_NOT)
        return jj_bool(!jj_true(a));
    return r->rc == 0 && jj_true(a) == (n->type == JJ_N_AND) ? eval(r, s, n->b) : a;
}

static jj_val eval_unary(struct jj_run *r, struct jj_scope *s, const struct jj_node *n)
{
    const jj_val v = eval(r, s, n->a);

    r->line = n->line;
    return r->rc == 0 ? jj_negate(r, v, n->type == JJ_N_NEG) : v;
}

static jj_val eval_attr(struct jj_run *r, struct jj_scope *s, const struct jj_node *n)
{
    const jj_val of = eval(r, s, n->a);

    r->line = n->line;
    return r->rc == 0 ? jj_get_attr(r, of, n->value) : of;
}

static jj_val eval_node(struct jj_run *r, struct jj_scope *s, const struct jj_node *n)
{
    switch (n->type) {
    case JJ_N_CONST:
        return n->value;
    case JJ_N_NAME:
        return look_up(r, s, n->id);
    case JJ_N_LIST:
    case JJ_N_TUPLE:
        return eval_list(r, s, n);
    case JJ_N_DICT:
        return eval_dict(r, s, n);
    case JJ_N_ATTR:
        return eval_attr(r, s, n);
    case JJ_N_ITEM:
        return eval_item(r, s, n);
    case JJ_N_CALL:
        return eval_call(r, s, n, NULL);
    case JJ_N_FILTER:
    case JJ_N_TEST:
        return apply(r, s, n, eval(r, s, n->a));
    case JJ_N_NEG:
    case JJ_N_POS:
        return eval_unary(r, s, n);
    case JJ_N_NOT:
    case JJ_N_AND:
    case JJ_N_OR:
        return eval_logic(r, s, n);
    case JJ_N_BINARY:
        return eval_binary(r, s, n);
    case JJ_N_CONCAT:
        return eval_concat(r, s, n);
    case JJ_N_COMPARE:
        return eval_compare(r, s, n);
    case JJ_N_COND:
        return eval_cond(r, s, n);
    default: /* statements and parts of expressions */
        return jj_none();
    }
}

static jj_val eval(struct jj_run *r, struct jj_scope *s, const struct jj_node *n)
{
    jj_val v = { .type = JJ_UNDEFINED };

    if (!jj_enter(r))
        return v;
    r->line = n->line;
    v = eval_node(r, s, n);
    jj_leave(r);
    return v;
}

/* ---- output ---- */

static void put(struct jj_run *r, om_sv text)
{
    if (!jj_steps(r, text.len))
        return;
    if (text.len > r->out->max - r->out->len)
        jj_fail(r, OM_E_LIMIT, "the template renders more than %zu MiB", r->out->max >> 20);
    om_buf_add(r->out, text.ptr, text.len);
    if (r->out->failed)
        jj_no_memory(r);
}

/* What has been put since the output had so many bytes, taken back. */
static jj_val take_back(struct jj_run *r, size_t start)
{
    if (r->rc < 0)
        return jj_none();
    const jj_val v = jj_text(r, (om_sv){ r->out->ptr + start, r->out->len - start });
    r->out->len = start;
    return v;
}

/* The text of a body with a scope of its own. */
static jj_val captured(struct jj_run *r, struct jj_scope *parent, const struct jj_nodes *body)
{
    const size_t start = r->out->len;
    struct jj_scope *const s = new_scope(r, parent);

    if (s)
        exec_body(r, s, body);
    return take_back(r, start);
}

/* ---- macros ---- */

om_sv jj_macro_name(struct jj_run *r, const struct jj_macro *macro)
{
    return macro->anonymous ? (om_sv){ NULL, 0 } : r->t->names[macro->n->id].text;
}

static om_sv shown_name(struct jj_run *r, const struct jj_macro *macro)
{
    return macro->anonymous ? OM_SVL("caller") : jj_macro_name(r, macro);
}

static int64_t find_named(const struct jj_args *args, om_sv name)
{
    for (size_t i = 0; i < args->named_len; i++)
        if (om_sv_eq(args->named[i].name, name))
            return (int64_t)i;
    return -1;
}

static bool is_param(struct jj_run *r, const struct jj_macro *m, size_t first, om_sv name)
{
    for (size_t i = first; i < m->n->params.len; i++)
        if (om_sv_eq(r->t->names[m->n->params.items[i]->id].text, name))
            return true;
    return false;
}

static void bind_macro_params(struct jj_run *r, const struct jj_macro *m, struct jj_scope *s,
                              const struct jj_args *args)
{
    const struct jj_nodes *const params = &m->n->params;

    for (size_t i = 0; i < params->len && r->rc == 0; i++) {
        const struct jj_node *const p = params->items[i];
        const int64_t k = find_named(args, r->t->names[p->id].text);
        if (i < args->len)
            bind(r, s, p->id, args->pos[i]);
        else if (k >= 0)
            bind(r, s, p->id, args->named[k].value);
        else
            bind(r, s, p->id,
                 p->b ? eval(r, s, p->b) : jj_undefined_hint(r, "a parameter was not provided"));
    }
}

/* Named arguments without a parameter: kwargs, the caller, or an error. */
static void bind_macro_rest(struct jj_run *r, const struct jj_macro *m, struct jj_scope *s,
                            const struct jj_args *args)
{
    const unsigned uses = m->n->uses;
    const int64_t caller = find_named(args, OM_SVL("caller"));
    struct jj_dict rest = { 0, NULL };
    size_t cap = 0;

    const bool has_param = is_param(r, m, 0, OM_SVL("caller"));
    for (size_t i = 0; i < args->named_len && r->rc == 0; i++) {
        const om_sv name = args->named[i].name;
        if (is_param(r, m, args->len, name) ||
            (om_sv_is(name, "caller") && (uses & JJ_USES_CALLER) && !has_param))
            continue;
        if (uses & JJ_USES_KWARGS)
            jj_dict_set(r, &rest, &cap, jj_view(r, name), args->named[i].value);
        else
            jj_fail(r, OM_E_FORMAT, "macro '%.*s' takes no keyword argument '%.*s'",
                    OM_SV(shown_name(r, m)), OM_SV(name));
    }
    if (uses & JJ_USES_KWARGS)
        bind(r, s, JJ_ID_KWARGS, jj_dict(r, &rest));
    if ((uses & JJ_USES_CALLER) && !has_param)
        bind(r, s, JJ_ID_CALLER,
             caller >= 0 ? args->named[caller].value : jj_undefined_hint(r, "No caller defined"));
}

static void bind_macro_varargs(struct jj_run *r, const struct jj_macro *m, struct jj_scope *s,
                               const struct jj_args *args)
{
    const size_t n = m->n->params.len, more = args->len > n ? args->len - n : 0;

    if (m->n->uses & JJ_USES_VARARGS)
        bind(r, s, JJ_ID_VARARGS, jj_seq(r, JJ_TUPLE, more ? args->pos + n : NULL, more));
    else if (more)
        jj_fail(r, OM_E_FORMAT, "macro '%.*s' takes not more than %zu argument(s)",
                OM_SV(shown_name(r, m)), n);
}

jj_val jj_call_macro(struct jj_run *r, const struct jj_macro *macro, const struct jj_args *args)
{
    struct jj_scope *const s = new_scope(r, macro->scope);
    jj_val v = jj_none();

    if (!s || !jj_enter(r))
        return v;
    bind_macro_rest(r, macro, s, args);
    bind_macro_varargs(r, macro, s, args);
    bind_macro_params(r, macro, s, args);
    const size_t start = r->out->len;
    if (r->rc == 0)
        exec_body(r, s, &macro->n->body);
    v = take_back(r, start);
    jj_leave(r);
    return v;
}

static struct jj_macro *new_macro(struct jj_run *r, struct jj_scope *s, const struct jj_node *n)
{
    struct jj_macro *const m = jj_alloc(r, 1, sizeof(*m));

    if (m)
        *m = (struct jj_macro){ n, s, n->type == JJ_N_CALL_BLOCK };
    return m;
}

/* ---- loops ---- */

static enum flow run_iteration(struct jj_run *r, struct jj_loop *loop)
{
    struct jj_scope *const s = new_scope(r, loop->scope);

    if (!s)
        return FLOW_BREAK;
    bind(r, s, JJ_ID_LOOP, (jj_val){ .type = JJ_LOOP, .loop = loop });
    assign(r, s, loop->n->a, loop->items[loop->index0]);
    return exec_body(r, s, &loop->n->body);
}

/* The elements that pass the loop's own condition. */
static bool select_items(struct jj_run *r, struct jj_loop *loop)
{
    struct jj_list kept = { NULL, 0, 0 };

    for (size_t i = 0; i < loop->len && r->rc == 0; i++) {
        struct jj_scope *const s = new_scope(r, loop->scope);
        if (!s)
            return false;
        assign(r, s, loop->n->a, loop->items[i]);
        if (jj_true(eval(r, s, loop->n->c)))
            jj_push(r, &kept, loop->items[i]);
    }
    loop->items = kept.items;
    loop->len = kept.len;
    return r->rc == 0;
}

static void run_loop(struct jj_run *r, struct jj_scope *scope, const struct jj_node *n,
                     jj_val iterable, unsigned depth0)
{
    struct jj_loop *const loop = jj_alloc(r, 1, sizeof(*loop));
    enum flow flow = FLOW_NEXT;
    bool completed = false;

    if (!loop)
        return;
    loop->n = n;
    loop->scope = scope;
    loop->depth0 = depth0;
    if (!jj_iterate(r, iterable, &loop->items, &loop->len) || (n->c && !select_items(r, loop)))
        return;
    /* As in Jinja, the other part runs unless an iteration has come to its end. */
    for (; loop->index0 < loop->len && flow != FLOW_BREAK && jj_step(r); loop->index0++) {
        flow = run_iteration(r, loop);
        completed = completed || flow == FLOW_NEXT;
    }
    if (!completed && n->other.len && r->rc == 0) {
        struct jj_scope *const s = new_scope(r, scope);
        if (s)
            exec_body(r, s, &n->other);
    }
}

jj_val jj_call_loop(struct jj_run *r, struct jj_loop *loop, const struct jj_args *args)
{
    const size_t start = r->out->len;
    jj_val v = jj_none();

    if (!loop->n->flag)
        return jj_fail(r, OM_E_FORMAT,
                       "the loop must have the 'recursive' marker to be called recursively");
    if (args->len != 1 || args->named_len)
        return jj_fail(r, OM_E_FORMAT, "loop() takes one argument");
    if (!jj_enter(r))
        return v;
    run_loop(r, loop->scope, loop->n, args->pos[0], loop->depth0 + 1);
    v = take_back(r, start);
    jj_leave(r);
    return v;
}

void jj_repr_loop(struct om_buf *b, const struct jj_loop *loop)
{
    om_buf_printf(b, "<LoopContext %zu/%zu>", loop->index0 + 1, loop->len);
}

static jj_val neighbour(struct jj_run *r, const struct jj_loop *loop, bool next)
{
    if (next)
        return loop->index0 + 1 < loop->len ? loop->items[loop->index0 + 1]
                                            : jj_undefined_hint(r, "there is no next item");
    return loop->index0 ? loop->items[loop->index0 - 1]
                        : jj_undefined_hint(r, "there is no previous item");
}

jj_val jj_loop_attr(struct jj_run *r, struct jj_loop *loop, om_sv name)
{
    const int64_t index0 = (int64_t)loop->index0, len = (int64_t)loop->len;
    const struct {
        const char *name;
        jj_val value;
    } attrs[] = {
        { "index0", jj_int(index0) },
        { "index", jj_int(index0 + 1) },
        { "first", jj_bool(index0 == 0) },
        { "last", jj_bool(index0 + 1 >= len) },
        { "length", jj_int(len) },
        { "revindex", jj_int(len - index0) },
        { "revindex0", jj_int(len - index0 - 1) },
        { "depth0", jj_int(loop->depth0) },
        { "depth", jj_int(loop->depth0 + 1) },
    };
    const jj_val self = { .type = JJ_LOOP, .loop = loop };

    for (size_t i = 0; i < OM_COUNT(attrs); i++)
        if (om_sv_is(name, attrs[i].name))
            return attrs[i].value;
    if (om_sv_is(name, "nextitem") || om_sv_is(name, "previtem"))
        return neighbour(r, loop, name.ptr[0] == 'n');
    const struct jj_builtin *const method = jj_find(jj_loop_methods, name);
    return method ? jj_bind(r, method, self) : jj_undefined_member(r, self, jj_view(r, name));
}

static jj_val loop_cycle(struct jj_run *r, jj_val self, const struct jj_args *a)
{
    if (a->len == 0)
        return jj_fail(r, OM_E_FORMAT, "no items for cycling given");
    return a->pos[self.loop->index0 % a->len];
}

static jj_val loop_changed(struct jj_run *r, jj_val self, const struct jj_args *a)
{
    struct jj_loop *const loop = self.loop;
    const jj_val now = jj_seq(r, JJ_TUPLE, a->pos, a->len);

    if (r->rc < 0 || (loop->has_changed && jj_equal(r, loop->changed, now)))
        return jj_bool(false);
    loop->changed = now;
    loop->has_changed = true;
    return jj_bool(true);
}

const struct jj_builtin jj_loop_methods[] = { { "cycle", loop_cycle, NULL },
                                              { "changed", loop_changed, NULL },
                                              { NULL, NULL, NULL } };

/* ---- statements ---- */

/* What a block holds, through the filters n; innermost first. */
static jj_val filtered(struct jj_run *r, struct jj_scope *s, const struct jj_node *n, jj_val v)
{
    if (!n || !jj_enter(r))
        return v;
    v = filtered(r, s, n->a, v);
    if (r->rc == 0)
        v = apply(r, s, n, v);
    jj_leave(r);
    return v;
}

static enum flow exec_if(struct jj_run *r, struct jj_scope *s, const struct jj_node *n)
{
    for (size_t i = 0; i < n->body.len && r->rc == 0; i++) {
        const struct jj_node *const branch = n->body.items[i];
        if (!branch->a || jj_true(eval(r, s, branch->a)))
            return exec_body(r, s, &branch->body);
    }
    return FLOW_NEXT;
}

static void exec_with(struct jj_run *r, struct jj_scope *s, const struct jj_node *n)
{
    struct jj_scope *const inner = new_scope(r, s);

    for (size_t i = 0; inner && i < n->params.len && r->rc == 0; i++)
        assign(r, inner, n->params.items[i]->a, eval(r, s, n->params.items[i]->b));
    if (r->rc == 0)
        exec_body(r, inner, &n->body);
}

static void exec_call_block(struct jj_run *r, struct jj_scope *s, const struct jj_node *n)
{
    const struct jj_macro *const caller = new_macro(r, s, n);

    if (!caller)
        return;
    const jj_val v = eval_call(r, s, n->a, caller);
    put(r, jj_str(r, v));
}

static void exec_print(struct jj_run *r, struct jj_scope *s, const struct jj_node *n)
{
    const jj_val v = eval(r, s, n->a);

    r->line = n->line;
    if (r->rc == 0)
        put(r, jj_str(r, v));
}

static enum flow exec_scope(struct jj_run *r, struct jj_scope *s, const struct jj_node *n)
{
    struct jj_scope *const inner = new_scope(r, s);

    return inner ? exec_body(r, inner, &n->body) : FLOW_NEXT;
}

static enum flow exec_node(struct jj_run *r, struct jj_scope *s, const struct jj_node *n)
{
    jj_val v;

    switch (n->type) {
    case JJ_N_TEXT:
        put(r, n->text);
        break;
    case JJ_N_PRINT:
        exec_print(r, s, n);
        break;
    case JJ_N_IF:
        return exec_if(r, s, n);
    case JJ_N_FOR:
        v = eval(r, s, n->b);
        r->line = n->line;
        if (r->rc == 0)
            run_loop(r, s, n, v, 0);
        break;
    case JJ_N_SET:
        v = eval(r, s, n->b);
        assign(r, s, n->a, v);
        break;
    case JJ_N_SET_BLOCK:
        v = captured(r, s, &n->body);
        v = filtered(r, s, n->b, v);
        assign(r, s, n->a, v);
        break;
    case JJ_N_MACRO:
        v = (jj_val){ .type = JJ_MACRO, .macro = new_macro(r, s, n) };
        bind(r, s, n->id, v);
        break;
    case JJ_N_CALL_BLOCK:
        exec_call_block(r, s, n);
        break;
    case JJ_N_FILTER_BLOCK:
        v = captured(r, s, &n->body);
        v = filtered(r, s, n->b, v);
        put(r, jj_str(r, v));
        break;
    case JJ_N_WITH:
        exec_with(r, s, n);
        break;
    case JJ_N_SCOPE:
        return exec_scope(r, s, n);
    case JJ_N_BREAK:
        return FLOW_BREAK;
    case JJ_N_CONTINUE:
        return FLOW_CONTINUE;
    default: /* expressions */
        break;
    }
    return FLOW_NEXT;
}

static enum flow exec_body(struct jj_run *r, struct jj_scope *s, const struct jj_nodes *body)
{
    enum flow flow = FLOW_NEXT;

    for (size_t i = 0; i < body->len && flow == FLOW_NEXT && jj_enter(r); i++) {
        r->line = body->items[i]->line;
        flow = exec_node(r, s, body->items[i]);
        jj_leave(r);
    }
    return r->rc < 0 ? FLOW_BREAK : flow;
}

/* ---- rendering ---- */

static const struct jinja_limits defaults = { .steps = 20u * 1000 * 1000,
                                              .memory = (size_t)256 << 20,
                                              .output = (size_t)64 << 20,
                                              .depth = 2000 };

/* The variables that the template mentions. */
static void bind_vars(struct jj_run *r, struct jj_scope *s)
{
    for (size_t i = 0; i < r->opts->len && r->rc == 0; i++) {
        uint32_t id;
        if (om_map_get(&r->t->index, om_sv_str(r->opts->vars[i].name), &id))
            bind(r, s, id, jj_from_json(r, r->opts->vars[i].value));
    }
}

static void run(struct jj_run *r)
{
    struct jj_scope *const globals = new_scope(r, NULL);
    struct jj_scope *const top = new_scope(r, globals);

    if (!top)
        return;
    bind_vars(r, globals);
    exec_body(r, top, &r->t->body);
}

int jinja_render(const struct jinja_template *t, const struct jinja_opts *opts, struct om_buf *out,
                 struct om_error *err)
{
    const struct jinja_limits *const l = &opts->limits;
    struct om_buf text = OM_BUF_INIT(l->output ? l->output : defaults.output);
    struct jj_run r = { .t = t,
                        .opts = opts,
                        .out = &text,
                        .err = err,
                        .line = 1,
                        .steps_left = l->steps ? l->steps : defaults.steps,
                        .max_depth = l->depth ? l->depth : defaults.depth };

    om_arena_init(&r.arena, l->memory ? l->memory : defaults.memory);
    run(&r);
    if (r.rc == 0)
        om_buf_add(out, text.ptr, text.len);
    if (r.rc == 0 && out->failed)
        r.rc = om_buf_check(out, err);
    om_arena_release(&r.arena);
    om_buf_release(&text);
    return r.rc;
}
