/* src/jinja/value.h: what a running template computes with, and the run itself.
 *
 * Values are those of Python that templates can reach. They do not change once made, but for namespaces, and live in the arena of their
 * run. A run is sticky: after the first failure functions return undefined at once, and jj_step() is false, which ends loops. */
#ifndef OM_JINJA_VALUE_H
#define OM_JINJA_VALUE_H

#include "base/arena.h"
#include "jinja/jinja.h"

enum jj_type {
    JJ_UNDEFINED,
    JJ_NONE,
    JJ_BOOL,
    JJ_INT,
    JJ_REAL,
    JJ_STR,
    JJ_SEQ,
    JJ_DICT,
    JJ_NAMESPACE,
    JJ_LOOP,
    JJ_MACRO,
    JJ_BUILTIN /* a function, or a method with its object */
};

/* Kinds of a sequence. */
enum jj_kind { JJ_LIST, JJ_TUPLE, JJ_GROUP, JJ_RANGE, JJ_KEYS, JJ_VALUES, JJ_ITEMS, JJ_GENERATOR };

struct jj_str {
    const char *ptr; /* UTF-8 */
    size_t len, chars;
    bool markup; /* from |safe or |escape: adding to it escapes */
};

struct jj_undefined {
    enum { JJ_NO_NAME, JJ_NO_MEMBER, JJ_HINT } why;
    const char *owner; /* JJ_NO_MEMBER: the type; JJ_HINT: the message */
    const struct jj_val *name;
};

typedef struct jj_val {
    enum jj_type type;
    union {
        bool b;
        int64_t i;
        double d;
        const struct jj_str *s;
        struct jj_seq *seq;
        const struct jj_dict *dict;
        struct jj_namespace *ns;
        struct jj_loop *loop;
        const struct jj_macro *macro;
        const struct jj_bound *bound;
        const struct jj_undefined *undefined;
    };
} jj_val;

struct jj_seq {
    enum jj_kind kind;
    size_t len;
    const jj_val *items;
    const char *name; /* JJ_GENERATOR: what made it */
    size_t taken;     /* JJ_GENERATOR: elements that are used up */
};

struct jj_entry {
    jj_val key, value;
    uint64_t hash;
};

struct jj_dict {
    size_t len;
    struct jj_entry *entries; /* in the order of insertion */
};

struct jj_namespace {
    struct jj_dict attrs;
    size_t cap;
};

struct jj_named {
    om_sv name;
    jj_val value;
};

/* Arguments of a call. v is what a builtin's parameter list made of them; JJ_ABSENT() tells those not given. */
struct jj_args {
    const jj_val *pos;
    size_t len;
    const struct jj_named *named;
    size_t named_len;
    jj_val v[8];
    uint32_t given; /* bit i: v[i] was given */
};

struct jj_run;
typedef jj_val jj_fn(struct jj_run *r, jj_val self, const struct jj_args *args);

/* A function, filter, test or method. */
struct jj_builtin {
    const char *name;
    jj_fn *fn;
    const char *params; /* "width first=" separated by spaces, '=' where one may be left out; NULL: any, unbound */
};

struct jj_bound {
    const struct jj_builtin *builtin;
    jj_val self;
};

/* ---- the run ---- */

struct jj_scope;
struct jj_node;

struct jj_run {
    const struct jinja_template *t;
    const struct jinja_opts *opts;
    struct om_arena arena;
    struct om_buf *out;
    struct om_error *err;
    int rc; /* the first failure */
    uint64_t steps_left;
    unsigned depth, max_depth;
    uint32_t line;
    struct {
        const char *kind; /* "filter" ...; NULL: none */
        const char *name;
    } in; /* what is called, for messages */
    struct {
        char *end; /* of the newest text, which grows in place while nothing else follows it */
        size_t room;
    } tail;
};

/* Fail with "template, line N: message"; keeps the first failure. Returns undefined. */
jj_val jj_fail(struct jj_run *r, int code, const char *fmt, ...) OM_PRINTF(3, 4);
jj_val jj_no_memory(struct jj_run *r);
bool jj_step(struct jj_run *r);                 /* false: the run has failed or is used up */
bool jj_steps(struct jj_run *r, size_t bytes);  /* the same for work on so many bytes */
bool jj_enter(struct jj_run *r);                /* one level deeper, to be left by jj_leave() */
void jj_leave(struct jj_run *r);
void *jj_alloc(struct jj_run *r, size_t n, size_t size); /* zeroed; NULL: failed */

/* ---- making values ---- */

jj_val jj_undefined_name(struct jj_run *r, om_sv name);
jj_val jj_undefined_member(struct jj_run *r, jj_val owner, jj_val name);
jj_val jj_undefined_hint(struct jj_run *r, const char *message);
static inline jj_val jj_none(void) { return (jj_val){ .type = JJ_NONE }; }
static inline jj_val jj_bool(bool b) { return (jj_val){ .type = JJ_BOOL, .b = b }; }
static inline jj_val jj_int(int64_t i) { return (jj_val){ .type = JJ_INT, .i = i }; }
static inline jj_val jj_real(double d) { return (jj_val){ .type = JJ_REAL, .d = d }; }
jj_val jj_text(struct jj_run *r, om_sv s);          /* a copy */
jj_val jj_view(struct jj_run *r, om_sv s);          /* of bytes that live as long as the run */
jj_val jj_part(struct jj_run *r, jj_val s, size_t begin, size_t end); /* bytes of a string */
jj_val jj_concat(struct jj_run *r, jj_val a, om_sv b); /* a is a string */
jj_val jj_buf(struct jj_run *r, struct om_buf *b);  /* a copy; releases b */
jj_val jj_seq(struct jj_run *r, enum jj_kind kind, const jj_val *items, size_t len); /* items are kept */
jj_val jj_generator(struct jj_run *r, const char *name, const jj_val *items, size_t len);
jj_val jj_from_json(struct jj_run *r, const struct om_json *j);

/* A list that grows. */
struct jj_list {
    jj_val *items;
    size_t len, cap;
};
void jj_push(struct jj_run *r, struct jj_list *l, jj_val v);

/* A dict that grows; capacity is the caller's. */
void jj_dict_set(struct jj_run *r, struct jj_dict *d, size_t *cap, jj_val key, jj_val value);
jj_val jj_dict(struct jj_run *r, const struct jj_dict *d);
const jj_val *jj_dict_get(struct jj_run *r, const struct jj_dict *d, jj_val key); /* NULL: none */

/* ---- asking values ---- */

static inline bool jj_is_number(jj_val v) { return v.type == JJ_BOOL || v.type == JJ_INT || v.type == JJ_REAL; }
static inline bool jj_is_int(jj_val v) { return v.type == JJ_BOOL || v.type == JJ_INT; }
static inline int64_t jj_i64(jj_val v) { return v.type == JJ_BOOL ? v.b : v.i; }
static inline double jj_f64(jj_val v) { return v.type == JJ_REAL ? v.d : (double)jj_i64(v); }
static inline om_sv jj_sv(jj_val v) { return (om_sv){ v.s->ptr, v.s->len }; }
const char *jj_type_name(jj_val v); /* Python's: "str", "NoneType" ... */
bool jj_true(jj_val v);
bool jj_equal(struct jj_run *r, jj_val a, jj_val b);
bool jj_same(jj_val a, jj_val b); /* Python's `is` */
/* Order: negative, 0, positive; fails where Python does. op is for the message. */
int jj_compare(struct jj_run *r, jj_val a, jj_val b, const char *op);
jj_val jj_use_undefined(struct jj_run *r, jj_val v); /* fail with what v lacks */
bool jj_contains(struct jj_run *r, jj_val container, jj_val v);
bool jj_has_len(jj_val v);
int64_t jj_len(jj_val v);
bool jj_hashable(jj_val v);
/* The elements of anything that can be iterated; fails otherwise. A generator is used up. */
bool jj_iterate(struct jj_run *r, jj_val v, const jj_val **items, size_t *len);
bool jj_can_iterate(jj_val v);
om_sv jj_str(struct jj_run *r, jj_val v); /* str(v) */
void jj_repr(struct jj_run *r, struct om_buf *b, jj_val v);

/* How json.dumps() writes. */
struct jj_json_style {
    bool ascii, sort_keys, pretty;
    om_sv indent, item, colon; /* of one level, between elements, after keys */
};
void jj_json(struct jj_run *r, struct om_buf *b, jj_val v, const struct jj_json_style *style);

/* ---- members ---- */

jj_val jj_get_attr(struct jj_run *r, jj_val v, jj_val name); /* v.name */
jj_val jj_get_item(struct jj_run *r, jj_val v, jj_val key);  /* v[key] */
jj_val jj_slice(struct jj_run *r, jj_val v, const jj_val bounds[3]);

/* ---- operators ---- */

jj_val jj_add(struct jj_run *r, jj_val a, jj_val b);
jj_val jj_arith(struct jj_run *r, const char *op, jj_val a, jj_val b); /* - * / // % ** */
jj_val jj_negate(struct jj_run *r, jj_val v, bool minus);
jj_val jj_percent(struct jj_run *r, jj_val format, jj_val args);       /* "..." % args */

/* ---- calls ---- */

static inline bool jj_given(const struct jj_args *a, unsigned i) { return a->given >> i & 1; }
jj_val jj_call(struct jj_run *r, jj_val callee, const struct jj_args *args);
jj_val jj_call_builtin(struct jj_run *r, const struct jj_builtin *b, const char *what, jj_val self, const struct jj_args *args);
jj_val jj_call_loop(struct jj_run *r, struct jj_loop *loop, const struct jj_args *args);
jj_val jj_call_macro(struct jj_run *r, const struct jj_macro *macro, const struct jj_args *args);
om_sv jj_macro_name(struct jj_run *r, const struct jj_macro *macro); /* ptr NULL: none */
void jj_repr_loop(struct om_buf *b, const struct jj_loop *loop);
/* The entries by key; NULL: failed. */
const struct jj_entry *jj_sorted_entries(struct jj_run *r, const struct jj_dict *d);
jj_val jj_loop_attr(struct jj_run *r, struct jj_loop *loop, om_sv name);
jj_val jj_bind(struct jj_run *r, const struct jj_builtin *builtin, jj_val self); /* a method; self none: a function */
const struct jj_builtin *jj_find(const struct jj_builtin *table, om_sv name);

/* Tables end with a row without a name. */
extern const struct jj_builtin jj_filters[], jj_tests[], jj_functions[], jj_str_methods[], jj_list_methods[], jj_tuple_methods[],
    jj_dict_methods[], jj_loop_methods[];
/* Names that Jinja or Python has and this does not. */
extern const char *const jj_missing_filters[], *const jj_missing_str_methods[];

#endif
