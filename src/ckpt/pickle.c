/* src/ckpt/pickle.c: the stack machine: opcodes, stack and memo. */
#include "ckpt/pickle.h"

#include "ckpt/pickle_internal.h"

/* Items on the stack. Picklers put at most a thousand list or dict items there, but a tuple as a
 * whole. */
#define STACK_MAX (1u << 20)
/* Memo numbers are given one after the other, give or take some that an optimizer dropped. */
#define MEMO_SLACK 256u

struct op {
    const char *name;
    int (*run)(struct pk_machine *m, const struct op *op); /* NULL: refused */
    uint8_t width;     /* bytes of its number: an integer, a length, a memo index */
    enum pk_kind kind; /* of what it makes */
    uint8_t n;         /* items of a tuple, a truth value */
};

static int no_argument(struct pk_machine *m, const struct op *op)
{
    return om_fail(m->err, OM_E_FORMAT, "pickle is cut off within %s", op->name);
}

/* ---- memory ---- */

int om_pk_no_memory(struct pk_machine *m)
{
    if (m->arena->max - m->arena->used < m->arena->max / 2)
        return om_fail(m->err, OM_E_LIMIT, "pickle needs more than %zu bytes of memory",
                       m->arena->max);
    return om_fail(m->err, OM_E_NOMEM, "out of memory for a pickle");
}

static int reserve(struct pk_machine *m, struct pk_seq *s, size_t need)
{
    const size_t cap = OM_MAX(need, s->cap * 2); /* exact at first: most sequences never grow */
    struct pk_value *items;

    if (need <= s->cap)
        return 0;
    items = om_arena_array(m->arena, cap, sizeof(*items));
    if (!items)
        return om_pk_no_memory(m);
    if (s->len > 0)
        memcpy(items, s->items, s->len * sizeof(*items));
    s->items = items;
    s->cap = cap;
    return 0;
}

int om_pk_append(struct pk_machine *m, struct pk_seq *s, const struct pk_value *items, size_t n)
{
    OM_TRY(reserve(m, s, s->len + n));
    if (n > 0)
        memcpy(s->items + s->len, items, n * sizeof(*items));
    s->len += n;
    return 0;
}

int om_pk_make(struct pk_machine *m, enum pk_kind kind, const struct pk_value *items, size_t n,
               struct pk_value *out)
{
    struct pk_seq *s = om_arena_alloc(m->arena, sizeof(*s));

    if (!s)
        return om_pk_no_memory(m);
    if (n > 0)
        OM_TRY(om_pk_append(m, s, items, n));
    *out = (struct pk_value){ .kind = kind, .seq = s };
    return 0;
}

/* ---- the stack ---- */

static int push(struct pk_machine *m, struct pk_value v)
{
    if (m->stack.len >= STACK_MAX)
        return om_fail(m->err, OM_E_LIMIT, "pickle puts more than %u items on the stack",
                       STACK_MAX);
    return om_pk_append(m, &m->stack, &v, 1);
}

/* The n topmost items, none of them a mark, leave the stack; they stay readable until the next
 * push. */
static int pop(struct pk_machine *m, const struct op *op, size_t n, struct pk_value **items)
{
    if (m->stack.len < n)
        return om_fail(m->err, OM_E_FORMAT, "pickle: %s on a stack of %zu", op->name, m->stack.len);
    *items =
        n ? m->stack.items + (m->stack.len - n) : NULL; /* a stack that was never used is NULL */
    for (size_t i = 0; i < n; i++)
        if ((*items)[i].kind == PK_MARK)
            return om_fail(m->err, OM_E_FORMAT, "pickle: %s takes a mark for a value", op->name);
    m->stack.len -= n;
    return 0;
}

/* All items above the last mark leave the stack, and so does the mark. */
static int pop_mark(struct pk_machine *m, const struct op *op, struct pk_value **items, size_t *n)
{
    size_t at = m->stack.len;

    while (at > 0 && m->stack.items[at - 1].kind != PK_MARK)
        at--;
    if (at == 0)
        return om_fail(m->err, OM_E_FORMAT, "pickle: %s without a mark", op->name);
    *items = m->stack.items + at;
    *n = m->stack.len - at;
    m->stack.len = at - 1;
    return 0;
}

/* The item on top, which must be of a kind that op can work on and stays there. */
static int top(struct pk_machine *m, const struct op *op, enum pk_kind kind, struct pk_value **v)
{
    if (m->stack.len == 0 || m->stack.items[m->stack.len - 1].kind == PK_MARK)
        return om_fail(m->err, OM_E_FORMAT, "pickle: %s on an empty stack", op->name);
    *v = &m->stack.items[m->stack.len - 1];
    if ((*v)->kind != kind)
        return om_fail(m->err, OM_E_FORMAT, "pickle: %s on %s", op->name,
                       om_pk_kind_text((*v)->kind));
    return 0;
}

/* ---- arguments in the stream ---- */

static int take(struct pk_machine *m, const struct op *op, uint64_t n, om_sv *out)
{
    if (n > m->rest.len)
        return no_argument(m, op);
    *out = (om_sv){ m->rest.ptr, (size_t)n };
    m->rest = (om_sv){ m->rest.ptr + n, m->rest.len - (size_t)n };
    return 0;
}

/* The unsigned number of op->width bytes. */
static int take_number(struct pk_machine *m, const struct op *op, uint64_t *out)
{
    uint8_t bytes[8] = { 0 };
    om_sv s = { NULL, 0 };

    OM_TRY(take(m, op, op->width, &s));
    if (s.len > 0)
        memcpy(bytes, s.ptr, s.len);
    *out = om_le64(bytes);
    return 0;
}

static int take_line(struct pk_machine *m, const struct op *op, om_sv *out)
{
    const char *end = m->rest.len > 0 ? memchr(m->rest.ptr, '\n', m->rest.len) : NULL;

    if (!end)
        return no_argument(m, op);
    OM_TRY(take(m, op, (uint64_t)(end - m->rest.ptr), out));
    m->rest = (om_sv){ m->rest.ptr + 1, m->rest.len - 1 };
    return 0;
}

/* ---- opcodes: values ---- */

static int op_plain(struct pk_machine *m, const struct op *op)
{
    return push(m, (struct pk_value){ .kind = op->kind, .i = op->n });
}

static int op_int(struct pk_machine *m, const struct op *op)
{
    uint64_t v = 0;

    OM_TRY(take_number(m, op, &v));
    return push(m,
                (struct pk_value){ .kind = PK_INT, .i = op->width == 4 ? (int32_t)v : (int64_t)v });
}

/* An integer of any length, in two's complement. */
static int op_long(struct pk_machine *m, const struct op *op)
{
    uint8_t bytes[8];
    uint64_t n = 0;
    om_sv s = { NULL, 0 };

    OM_TRY(take_number(m, op, &n));
    OM_TRY(take(m, op, n, &s));
    if (s.len > sizeof(bytes))
        return push(m, (struct pk_value){ .kind = PK_LONG, .text = s });
    memset(bytes, s.len > 0 && s.ptr[s.len - 1] & 0x80 ? 0xff : 0, sizeof(bytes));
    if (s.len > 0)
        memcpy(bytes, s.ptr, s.len);
    return push(m, (struct pk_value){ .kind = PK_INT, .i = (int64_t)om_le64(bytes) });
}

/* The only big-endian number of the format. */
static int op_real(struct pk_machine *m, const struct op *op)
{
    struct pk_value v = { .kind = PK_REAL };
    uint64_t bits = 0;
    om_sv s = { NULL, 0 };

    OM_TRY(take(m, op, op->width, &s));
    for (size_t i = 0; i < s.len; i++)
        bits = bits << 8 | (uint8_t)s.ptr[i];
    memcpy(&v.f, &bits, sizeof(v.f));
    return push(m, v);
}

static int op_text(struct pk_machine *m, const struct op *op)
{
    struct pk_value v = { .kind = op->kind };
    uint64_t n = 0;
    om_sv s = { NULL, 0 };

    OM_TRY(take_number(m, op, &n));
    OM_TRY(take(m, op, n, &s));
    if (op->kind == PK_TEXT)
        v.text = s;
    return push(m, v);
}

/* ---- opcodes: containers ---- */

static int op_empty(struct pk_machine *m, const struct op *op)
{
    struct pk_value v;

    OM_TRY(om_pk_make(m, op->kind, NULL, 0, &v));
    return push(m, v);
}

static int op_tuple_n(struct pk_machine *m, const struct op *op)
{
    struct pk_value *items = NULL, v;

    OM_TRY(pop(m, op, op->n, &items));
    OM_TRY(om_pk_make(m, PK_TUPLE, items, op->n, &v));
    return push(m, v);
}

/* TUPLE and FROZENSET. */
static int op_collect(struct pk_machine *m, const struct op *op)
{
    struct pk_value *items = NULL, v;
    size_t n = 0;

    OM_TRY(pop_mark(m, op, &items, &n));
    OM_TRY(om_pk_make(m, op->kind, items, n, &v));
    return push(m, v);
}

/* Move n items to the container below them. */
static int extend(struct pk_machine *m, const struct op *op, const struct pk_value *items, size_t n)
{
    struct pk_value *target = NULL;

    OM_TRY(top(m, op, op->kind, &target));
    if (op->kind == PK_DICT && n % 2 != 0)
        return om_fail(m->err, OM_E_FORMAT, "pickle: %s with a key that has no value", op->name);
    return om_pk_append(m, target->seq, items, n);
}

static int op_add(struct pk_machine *m, const struct op *op)
{
    struct pk_value *items = NULL;

    OM_TRY(pop(m, op, op->n, &items));
    return extend(m, op, items, op->n);
}

static int op_add_marked(struct pk_machine *m, const struct op *op)
{
    struct pk_value *items = NULL;
    size_t n = 0;

    OM_TRY(pop_mark(m, op, &items, &n));
    return extend(m, op, items, n);
}

/* ---- opcodes: stack and memo ---- */

static int op_mark(struct pk_machine *m, const struct op *op)
{
    (void)op;
    return push(m, (struct pk_value){ .kind = PK_MARK });
}

static int op_pop(struct pk_machine *m, const struct op *op)
{
    if (m->stack.len == 0)
        return om_fail(m->err, OM_E_FORMAT, "pickle: %s on an empty stack", op->name);
    m->stack.len--;
    return 0;
}

static int op_pop_mark(struct pk_machine *m, const struct op *op)
{
    struct pk_value *items = NULL;
    size_t n = 0;

    return pop_mark(m, op, &items, &n);
}

/* BINPUT, LONG_BINPUT and MEMOIZE, which counts by itself. */
static int op_put(struct pk_machine *m, const struct op *op)
{
    uint64_t at = m->memo.len;

    if (m->stack.len == 0 || m->stack.items[m->stack.len - 1].kind == PK_MARK)
        return om_fail(m->err, OM_E_FORMAT, "pickle: %s on an empty stack", op->name);
    if (op->width > 0)
        OM_TRY(take_number(m, op, &at));
    if (at > (uint64_t)m->memo.len * 2 + MEMO_SLACK)
        return om_fail(m->err, OM_E_FORMAT, "pickle: %s %" PRIu64 " after %zu entries", op->name,
                       at, m->memo.len);
    OM_TRY(reserve(m, &m->memo, (size_t)at + 1));
    for (; m->memo.len <= at; m->memo.len++) /* entries that were skipped hold no value */
        m->memo.items[m->memo.len] = (struct pk_value){ .kind = PK_MARK };
    m->memo.items[at] = m->stack.items[m->stack.len - 1];
    return 0;
}

static int op_get(struct pk_machine *m, const struct op *op)
{
    uint64_t at = 0;

    OM_TRY(take_number(m, op, &at));
    if (at >= m->memo.len || m->memo.items[at].kind == PK_MARK)
        return om_fail(m->err, OM_E_FORMAT, "pickle: %s %" PRIu64 " has no value", op->name, at);
    return push(m, m->memo.items[at]);
}

/* ---- opcodes: names and calls ---- */

static int push_global(struct pk_machine *m, om_sv module, om_sv name)
{
    const struct pk_global *g = om_pk_global(module, name);
    char a[PK_SHOWN], b[PK_SHOWN];

    if (!g)
        return om_fail(
            m->err, OM_E_UNSUPPORTED,
            "pickle calls %s.%s, which is not allowed: only tensors in a state_dict are read",
            om_pk_show(a, module), om_pk_show(b, name));
    return push(m, (struct pk_value){ .kind = PK_GLOBAL, .global = g });
}

static int op_global(struct pk_machine *m, const struct op *op)
{
    om_sv module = { NULL, 0 }, name = { NULL, 0 };

    OM_TRY(take_line(m, op, &module));
    OM_TRY(take_line(m, op, &name));
    return push_global(m, module, name);
}

static int op_stack_global(struct pk_machine *m, const struct op *op)
{
    struct pk_value *v = NULL;

    OM_TRY(pop(m, op, 2, &v));
    if (v[0].kind != PK_TEXT || v[1].kind != PK_TEXT)
        return om_fail(m->err, OM_E_FORMAT, "pickle: %s of %s and %s", op->name,
                       om_pk_kind_text(v[0].kind), om_pk_kind_text(v[1].kind));
    return push_global(m, v[0].text, v[1].text);
}

/* REDUCE and NEWOBJ: both call their first operand with the second. */
static int op_call(struct pk_machine *m, const struct op *op)
{
    struct pk_value *v = NULL, made = { .kind = PK_NONE };

    OM_TRY(pop(m, op, 2, &v));
    OM_TRY(om_pk_call(m, &v[0], &v[1], &made));
    return push(m, made);
}

/* Attributes of an object. A state_dict has "_metadata", which says nothing about tensors. */
static int op_build(struct pk_machine *m, const struct op *op)
{
    struct pk_value *state = NULL, *object = NULL;

    OM_TRY(pop(m, op, 1, &state));
    return top(m, op, PK_DICT, &object);
}

static int op_persistent(struct pk_machine *m, const struct op *op)
{
    struct pk_value *id = NULL, made = { .kind = PK_NONE };

    OM_TRY(pop(m, op, 1, &id));
    OM_TRY(om_pk_persistent(m, id, &made));
    return push(m, made);
}

/* ---- opcodes: framing ---- */

static int op_proto(struct pk_machine *m, const struct op *op)
{
    uint64_t version = 0;

    OM_TRY(take_number(m, op, &version));
    if (version < 2 || version > 5)
        return om_fail(m->err, OM_E_UNSUPPORTED, "pickle of protocol %" PRIu64 ", expected 2 to 5",
                       version);
    return 0;
}

/* Frames only tell how much to read ahead. */
static int op_frame(struct pk_machine *m, const struct op *op)
{
    uint64_t len = 0;

    OM_TRY(take_number(m, op, &len));
    return len <= m->rest.len ? 0 : no_argument(m, op);
}

static int op_stop(struct pk_machine *m, const struct op *op)
{
    struct pk_value *v = NULL;

    OM_TRY(pop(m, op, 1, &v));
    if (m->stack.len > 0)
        return om_fail(m->err, OM_E_FORMAT, "pickle: %s leaves %zu items on the stack", op->name,
                       m->stack.len);
    m->root = *v;
    m->stopped = true;
    return 0;
}

static const struct op ops[256] = {
    ['('] = { "MARK", op_mark, .n = 0 },
    ['.'] = { "STOP", op_stop, .n = 0 },
    ['0'] = { "POP", op_pop, .n = 0 },
    ['1'] = { "POP_MARK", op_pop_mark, .n = 0 },
    ['2'] = { "DUP", .n = 0 },
    ['B'] = { "BINBYTES", op_text, 4, PK_OPAQUE, 0 },
    ['C'] = { "SHORT_BINBYTES", op_text, 1, PK_OPAQUE, 0 },
    ['F'] = { "FLOAT", .n = 0 },
    ['G'] = { "BINFLOAT", op_real, 8, PK_REAL, 0 },
    ['I'] = { "INT", .n = 0 },
    ['J'] = { "BININT", op_int, 4, PK_INT, 0 },
    ['K'] = { "BININT1", op_int, 1, PK_INT, 0 },
    ['L'] = { "LONG", .n = 0 },
    ['M'] = { "BININT2", op_int, 2, PK_INT, 0 },
    ['N'] = { "NONE", op_plain, 0, PK_NONE, 0 },
    ['P'] = { "PERSID", .n = 0 },
    ['Q'] = { "BINPERSID", op_persistent, .n = 0 },
    ['R'] = { "REDUCE", op_call, .n = 0 },
    ['S'] = { "STRING", .n = 0 },
    ['T'] = { "BINSTRING", op_text, 4, PK_TEXT, 0 },
    ['U'] = { "SHORT_BINSTRING", op_text, 1, PK_TEXT, 0 },
    ['V'] = { "UNICODE", .n = 0 },
    ['X'] = { "BINUNICODE", op_text, 4, PK_TEXT, 0 },
    ['a'] = { "APPEND", op_add, 0, PK_LIST, 1 },
    ['b'] = { "BUILD", op_build, .n = 0 },
    ['c'] = { "GLOBAL", op_global, .n = 0 },
    ['d'] = { "DICT", .n = 0 },
    ['e'] = { "APPENDS", op_add_marked, 0, PK_LIST, 0 },
    ['g'] = { "GET", .n = 0 },
    ['h'] = { "BINGET", op_get, 1, PK_NONE, 0 },
    ['i'] = { "INST", .n = 0 },
    ['j'] = { "LONG_BINGET", op_get, 4, PK_NONE, 0 },
    ['l'] = { "LIST", .n = 0 },
    ['o'] = { "OBJ", .n = 0 },
    ['p'] = { "PUT", .n = 0 },
    ['q'] = { "BINPUT", op_put, 1, PK_NONE, 0 },
    ['r'] = { "LONG_BINPUT", op_put, 4, PK_NONE, 0 },
    ['s'] = { "SETITEM", op_add, 0, PK_DICT, 2 },
    ['t'] = { "TUPLE", op_collect, 0, PK_TUPLE, 0 },
    ['u'] = { "SETITEMS", op_add_marked, 0, PK_DICT, 0 },
    [')'] = { "EMPTY_TUPLE", op_tuple_n, 0, PK_TUPLE, 0 },
    [']'] = { "EMPTY_LIST", op_empty, 0, PK_LIST, 0 },
    ['}'] = { "EMPTY_DICT", op_empty, 0, PK_DICT, 0 },
    [0x80] = { "PROTO", op_proto, 1, PK_NONE, 0 },
    [0x81] = { "NEWOBJ", op_call, .n = 0 },
    [0x82] = { "EXT1", .n = 0 },
    [0x83] = { "EXT2", .n = 0 },
    [0x84] = { "EXT4", .n = 0 },
    [0x85] = { "TUPLE1", op_tuple_n, 0, PK_TUPLE, 1 },
    [0x86] = { "TUPLE2", op_tuple_n, 0, PK_TUPLE, 2 },
    [0x87] = { "TUPLE3", op_tuple_n, 0, PK_TUPLE, 3 },
    [0x88] = { "NEWTRUE", op_plain, 0, PK_BOOL, 1 },
    [0x89] = { "NEWFALSE", op_plain, 0, PK_BOOL, 0 },
    [0x8a] = { "LONG1", op_long, 1, PK_INT, 0 },
    [0x8b] = { "LONG4", op_long, 4, PK_INT, 0 },
    [0x8c] = { "SHORT_BINUNICODE", op_text, 1, PK_TEXT, 0 },
    [0x8d] = { "BINUNICODE8", op_text, 8, PK_TEXT, 0 },
    [0x8e] = { "BINBYTES8", op_text, 8, PK_OPAQUE, 0 },
    [0x8f] = { "EMPTY_SET", op_empty, 0, PK_LIST, 0 },
    [0x90] = { "ADDITEMS", op_add_marked, 0, PK_LIST, 0 },
    [0x91] = { "FROZENSET", op_collect, 0, PK_LIST, 0 },
    [0x92] = { "NEWOBJ_EX", .n = 0 },
    [0x93] = { "STACK_GLOBAL", op_stack_global, .n = 0 },
    [0x94] = { "MEMOIZE", op_put, 0, PK_NONE, 0 },
    [0x95] = { "FRAME", op_frame, 8, PK_NONE, 0 },
    [0x96] = { "BYTEARRAY8", op_text, 8, PK_OPAQUE, 0 },
    [0x97] = { "NEXT_BUFFER", .n = 0 },
    [0x98] = { "READONLY_BUFFER", .n = 0 },
};

static int step(struct pk_machine *m)
{
    const struct op *op;
    uint8_t code;

    if (m->rest.len == 0)
        return om_fail(m->err, OM_E_FORMAT, "pickle ends without STOP (truncated?)");
    code = (uint8_t)m->rest.ptr[0];
    m->rest = (om_sv){ m->rest.ptr + 1, m->rest.len - 1 };
    op = &ops[code];
    if (!op->name)
        return om_fail(m->err, OM_E_FORMAT, "pickle: 0x%02x is no opcode", (unsigned)code);
    if (!op->run)
        return om_fail(m->err, OM_E_UNSUPPORTED, "pickle uses the opcode %s, which is not allowed",
                       op->name);
    return op->run(m, op);
}

int om_pk_load(struct om_arena *a, om_sv bytes, struct pk_doc *doc, struct om_error *err)
{
    struct pk_machine m = { .arena = a, .rest = bytes, .err = err };
    int rc = 0;

    if (bytes.len < 2 || (uint8_t)bytes.ptr[0] != 0x80)
        return om_fail(err, OM_E_FORMAT, "not a pickle of protocol 2 to 5");
    while (rc == 0 && !m.stopped)
        rc = step(&m);
    om_map_release(&m.by_key);
    if (rc < 0)
        return rc;
    *doc = (struct pk_doc){ .root = m.root,
                            .storages = m.storages,
                            .n_storages = m.n_storages,
                            .used = bytes.len - m.rest.len };
    return 0;
}

/* ---- for readers of a document ---- */

const struct pk_value *om_pk_get(const struct pk_value *dict, const char *key)
{
    if (dict->kind != PK_DICT)
        return NULL;
    for (size_t i = dict->seq->len; i >= 2; i -= 2) {
        const struct pk_value *k = &dict->seq->items[i - 2];

        if (k->kind == PK_TEXT && om_sv_is(k->text, key))
            return &dict->seq->items[i - 1];
    }
    return NULL;
}

const char *om_pk_kind_text(enum pk_kind kind)
{
    switch (kind) {
    case PK_MARK:
        return "a mark";
    case PK_NONE:
        return "None";
    case PK_BOOL:
        return "a bool";
    case PK_INT:
    case PK_LONG:
        return "an int";
    case PK_REAL:
        return "a float";
    case PK_TEXT:
        return "a str";
    case PK_TUPLE:
        return "a tuple";
    case PK_LIST:
        return "a list";
    case PK_DICT:
        return "a dict";
    case PK_GLOBAL:
        return "a class or function";
    case PK_STORAGE:
        return "a storage";
    case PK_TENSOR:
        return "a tensor";
    case PK_OPAQUE:
        break;
    }
    return "an object";
}

const char *om_pk_show(char buf[PK_SHOWN], om_sv text)
{
    const size_t most = PK_SHOWN - 4, n = OM_MIN(text.len, most);

    for (size_t i = 0; i < n; i++)
        buf[i] = text.ptr[i] >= 0x20 && text.ptr[i] < 0x7f ? text.ptr[i] : '?';
    memcpy(buf + n, text.len > most ? "..." : "", text.len > most ? sizeof("...") : 1);
    return buf;
}
