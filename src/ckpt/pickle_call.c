/* src/ckpt/pickle_call.c: all that a pickle may name, and what calling it means here. */
#include "ckpt/pickle_internal.h"

static int bad_arguments(struct pk_machine *m, const struct pk_global *g)
{
    return om_fail(m->err, OM_E_FORMAT,
                   "pickle: %s.%s is called with other arguments than torch.save writes", g->module,
                   g->name);
}

/* ---- containers ---- */

/* Python 2 pickles an OrderedDict with a list of pairs. */
static int call_dict(struct pk_machine *m, const struct pk_global *g, const struct pk_seq *args,
                     struct pk_value *out)
{
    OM_TRY(om_pk_make(m, PK_DICT, NULL, 0, out));
    if (args->len == 0)
        return 0;
    if (args->len != 1 || args->items[0].kind != PK_LIST)
        return bad_arguments(m, g);
    for (size_t i = 0; i < args->items[0].seq->len; i++) {
        const struct pk_value *pair = &args->items[0].seq->items[i];

        if ((pair->kind != PK_LIST && pair->kind != PK_TUPLE) || pair->seq->len != 2)
            return bad_arguments(m, g);
        OM_TRY(om_pk_append(m, out->seq, pair->seq->items, 2));
    }
    return 0;
}

/* set(list), torch.Size(tuple): the items are what counts. */
static int call_items(struct pk_machine *m, const struct pk_global *g, const struct pk_seq *args,
                      struct pk_value *out)
{
    if (args->len == 0)
        return om_pk_make(m, PK_LIST, NULL, 0, out);
    if (args->len != 1 || (args->items[0].kind != PK_LIST && args->items[0].kind != PK_TUPLE))
        return bad_arguments(m, g);
    *out = args->items[0];
    return 0;
}

static int call_opaque(struct pk_machine *m, const struct pk_global *g, const struct pk_seq *args,
                       struct pk_value *out)
{
    (void)m;
    (void)g;
    (void)args;
    *out = (struct pk_value){ .kind = PK_OPAQUE };
    return 0;
}

/* ---- tensors ---- */

/* A tuple of non-negative integers, to arena memory. */
static int read_ints(struct pk_machine *m, const struct pk_global *g, const struct pk_value *v,
                     const int64_t **out)
{
    int64_t *ints;

    if ((v->kind != PK_TUPLE && v->kind != PK_LIST) || v->seq->len > PK_RANK_MAX)
        return bad_arguments(m, g);
    ints = om_arena_array(m->arena, v->seq->len, sizeof(*ints));
    if (!ints)
        return om_pk_no_memory(m);
    for (size_t i = 0; i < v->seq->len; i++) {
        if (v->seq->items[i].kind != PK_INT || v->seq->items[i].i < 0)
            return bad_arguments(m, g);
        ints[i] = v->seq->items[i].i;
    }
    *out = ints;
    return 0;
}

/* storage, offset, dims and strides come first in all versions. */
static int make_tensor(struct pk_machine *m, const struct pk_global *g, const struct pk_seq *args,
                       const struct pk_global *dtype, struct pk_value *out)
{
    const struct pk_value *v = args->items;
    struct pk_tensor *t;

    if (v[0].kind != PK_STORAGE || v[1].kind != PK_INT || v[1].i < 0)
        return bad_arguments(m, g);
    t = om_arena_alloc(m->arena, sizeof(*t));
    if (!t)
        return om_pk_no_memory(m);
    if (!dtype)
        dtype = v[0].storage->type;
    *t = (struct pk_tensor){
        .storage = v[0].storage, .dtype = dtype->dtype, .dtype_text = dtype->text, .offset = v[1].i
    };
    if (t->dtype == OM_DTYPE_NONE &&
        !t->dtype_text) /* an untyped storage needs the version that gives a dtype */
        return bad_arguments(m, g);
    OM_TRY(read_ints(m, g, &v[2], &t->dims));
    OM_TRY(read_ints(m, g, &v[3], &t->strides));
    if (v[2].seq->len != v[3].seq->len)
        return bad_arguments(m, g);
    t->rank = (uint32_t)v[2].seq->len;
    *out = (struct pk_value){ .kind = PK_TENSOR, .tensor = t };
    return 0;
}

/* _rebuild_tensor(storage, offset, size, stride), _rebuild_tensor_v2(the same, requires_grad,
 * hooks[, metadata]) */
static int call_tensor(struct pk_machine *m, const struct pk_global *g, const struct pk_seq *args,
                       struct pk_value *out)
{
    if (args->len < 4 || args->len > 7)
        return bad_arguments(m, g);
    return make_tensor(m, g, args, NULL, out);
}

/* _rebuild_tensor_v3(storage, offset, size, stride, requires_grad, hooks, dtype[, metadata]): of an
 * untyped storage */
static int call_tensor_v3(struct pk_machine *m, const struct pk_global *g,
                          const struct pk_seq *args, struct pk_value *out)
{
    if (args->len < 7 || args->len > 8 || args->items[6].kind != PK_GLOBAL ||
        args->items[6].global->class != PK_DTYPE)
        return bad_arguments(m, g);
    return make_tensor(m, g, args, args->items[6].global, out);
}

/* _rebuild_parameter(tensor, requires_grad, hooks[, state]) */
static int call_parameter(struct pk_machine *m, const struct pk_global *g,
                          const struct pk_seq *args, struct pk_value *out)
{
    if (args->len < 1 || args->len > 4 || args->items[0].kind != PK_TENSOR)
        return bad_arguments(m, g);
    *out = args->items[0];
    return 0;
}

/* _rebuild_from_type_v2(function, type, arguments, state): a tensor that carries attributes. One of
 * these functions within another is not written by torch.save, so nothing recurses. */
static int call_from_type(struct pk_machine *m, const struct pk_global *g,
                          const struct pk_seq *args, struct pk_value *out)
{
    const struct pk_value *v = args->items;

    if (args->len != 4 || v[0].kind != PK_GLOBAL || v[1].kind != PK_GLOBAL ||
        v[1].global->class != PK_TYPE || v[2].kind != PK_TUPLE ||
        v[0].global->class != PK_FUNCTION || !v[0].global->call ||
        v[0].global->call == call_from_type)
        return bad_arguments(m, g);
    return v[0].global->call(m, v[0].global, v[2].seq, out);
}

/* ---- names ---- */

/* clang-format off */
#define STORAGE(module, prefix, dtype, size) \
    { module, prefix "Storage", PK_STORAGE_CLASS, NULL, OM_##dtype, "", size }
#define STORAGE_OTHER(module, prefix, text, size) \
    { module, prefix "Storage", PK_STORAGE_CLASS, NULL, OM_DTYPE_NONE, text, size }
#define UNTYPED(module, name) { module, name, PK_STORAGE_CLASS, NULL, OM_DTYPE_NONE, NULL, 1 }
#define DTYPE(name, dtype) { "torch", name, PK_DTYPE, NULL, OM_##dtype, "", 0 }
#define DTYPE_OTHER(name) { "torch", name, PK_DTYPE, NULL, OM_DTYPE_NONE, name, 0 }
#define FUNCTION(module, name, call) { module, name, PK_FUNCTION, call, OM_DTYPE_NONE, "", 0 }
#define TYPE(module, name) { module, name, PK_TYPE, NULL, OM_DTYPE_NONE, "", 0 }
/* clang-format on */
#define STORAGES(module)                                                       \
    STORAGE(module, "Float", F32, 4), STORAGE(module, "Double", F64, 8),       \
        STORAGE(module, "Half", F16, 2), STORAGE(module, "BFloat16", BF16, 2), \
        STORAGE(module, "Long", I64, 8), STORAGE(module, "Int", I32, 4),       \
        STORAGE(module, "Short", I16, 2), STORAGE(module, "Char", I8, 1),      \
        STORAGE(module, "Byte", U8, 1), STORAGE(module, "Bool", BOOL, 1),      \
        STORAGE_OTHER(module, "ComplexFloat", "complex64", 8),                 \
        STORAGE_OTHER(module, "ComplexDouble", "complex128", 16)

static const struct pk_global globals[] = {
    FUNCTION("collections", "OrderedDict", call_dict),
    FUNCTION("torch._utils", "_rebuild_tensor_v2", call_tensor),
    FUNCTION("torch._utils", "_rebuild_tensor", call_tensor),
    FUNCTION("torch._utils", "_rebuild_tensor_v3", call_tensor_v3),
    FUNCTION("torch._utils", "_rebuild_parameter", call_parameter),
    FUNCTION("torch._utils", "_rebuild_parameter_with_state", call_parameter),
    FUNCTION("torch._tensor", "_rebuild_from_type_v2", call_from_type),
    FUNCTION("torch", "Size", call_items),
    FUNCTION("torch", "device", call_opaque),
    FUNCTION("torch.serialization", "_get_layout", call_opaque),
    FUNCTION("_codecs", "encode", call_opaque), /* bytes, in protocol 2 */
    FUNCTION("builtins", "set", call_items),
    FUNCTION("__builtin__", "set", call_items),
    FUNCTION("builtins", "bytearray", call_opaque),
    FUNCTION("__builtin__", "bytearray", call_opaque),
    TYPE("torch", "Tensor"),
    TYPE("torch.nn.parameter", "Parameter"),
    STORAGES("torch"),
    STORAGES("torch.cuda"),
    STORAGE_OTHER("torch", "QInt8", "qint8", 1),
    STORAGE_OTHER("torch", "QUInt8", "quint8", 1),
    STORAGE_OTHER("torch", "QInt32", "qint32", 4),
    UNTYPED("torch.storage", "UntypedStorage"),
    UNTYPED("torch.storage", "_UntypedStorage"),
    UNTYPED("torch", "UntypedStorage"),
    DTYPE("float32", F32),
    DTYPE("float64", F64),
    DTYPE("float16", F16),
    DTYPE("bfloat16", BF16),
    DTYPE("int64", I64),
    DTYPE("int32", I32),
    DTYPE("int16", I16),
    DTYPE("int8", I8),
    DTYPE("uint8", U8),
    DTYPE("uint16", U16),
    DTYPE("uint32", U32),
    DTYPE("uint64", U64),
    DTYPE("bool", BOOL),
    DTYPE_OTHER("complex32"),
    DTYPE_OTHER("complex64"),
    DTYPE_OTHER("complex128"),
    DTYPE_OTHER("float8_e4m3fn"),
    DTYPE_OTHER("float8_e4m3fnuz"),
    DTYPE_OTHER("float8_e5m2"),
    DTYPE_OTHER("float8_e5m2fnuz"),
    DTYPE_OTHER("float8_e8m0fnu"),
    DTYPE_OTHER("float4_e2m1fn_x2"),
};

const struct pk_global *om_pk_global(om_sv module, om_sv name)
{
    for (size_t i = 0; i < OM_COUNT(globals); i++)
        if (om_sv_is(name, globals[i].name) && om_sv_is(module, globals[i].module))
            return &globals[i];
    return NULL;
}

int om_pk_call(struct pk_machine *m, const struct pk_value *callable, const struct pk_value *args,
               struct pk_value *out)
{
    if (callable->kind != PK_GLOBAL)
        return om_fail(m->err, OM_E_FORMAT, "pickle calls %s", om_pk_kind_text(callable->kind));
    if (!callable->global->call)
        return om_fail(m->err, OM_E_UNSUPPORTED, "pickle calls %s.%s, which is not allowed",
                       callable->global->module, callable->global->name);
    if (args->kind != PK_TUPLE)
        return bad_arguments(m, callable->global);
    return callable->global->call(m, callable->global, args->seq, out);
}

size_t om_pk_storage_elem(const struct pk_storage *s)
{
    return s->type->size;
}

/* ---- persistent ids ---- */

static int bad_id(struct pk_machine *m)
{
    return om_fail(m->err, OM_E_FORMAT,
                   "pickle: a persistent id other than ('storage', class, key, location, size)");
}

/* The storage of s->key, which every mention describes in the same way. */
static int find_storage(struct pk_machine *m, struct pk_storage *s)
{
    char key[PK_SHOWN];

    if (om_map_get(&m->by_key, s->key, &s->index)) {
        const struct pk_storage *first = m->storages[s->index];

        if (first->type != s->type || first->numel != s->numel)
            return om_fail(m->err, OM_E_FORMAT, "pickle: storage \"%s\" is described in two ways",
                           om_pk_show(key, s->key));
        return 0;
    }
    if (m->n_storages == m->cap_storages) {
        const size_t cap = OM_MAX(m->cap_storages * 2, 64);
        const struct pk_storage **grown = om_arena_array(m->arena, cap, sizeof(*grown));

        if (!grown)
            return om_pk_no_memory(m);
        if (m->n_storages > 0)
            memcpy(grown, m->storages, m->n_storages * sizeof(*grown));
        m->storages = grown;
        m->cap_storages = cap;
    }
    s->index = (uint32_t)m->n_storages;
    if (m->n_storages >= UINT32_MAX || om_map_put(&m->by_key, s->key, s->index) < 0)
        return om_fail(m->err, OM_E_NOMEM, "out of memory for a pickle");
    m->storages[m->n_storages++] = s;
    return 0;
}

/* Files before 1.0 describe a storage that is part of another: (key, offset, size). */
static int read_view(struct pk_machine *m, const struct pk_value *v, const struct pk_storage *root,
                     struct pk_value *out)
{
    const struct pk_value *items = v->kind == PK_TUPLE && v->seq->len == 3 ? v->seq->items : NULL;
    struct pk_storage *s;

    if (v->kind == PK_NONE)
        return 0;
    if (!items || items[1].kind != PK_INT || items[2].kind != PK_INT || items[1].i < 0 ||
        items[2].i < 0)
        return bad_id(m);
    if ((uint64_t)items[1].i > root->numel ||
        (uint64_t)items[2].i > root->numel - (uint64_t)items[1].i)
        return om_fail(m->err, OM_E_FORMAT,
                       "pickle: elements %" PRId64 " + %" PRId64 " of a storage of %" PRIu64,
                       items[1].i, items[2].i, root->numel);
    s = om_arena_copy(m->arena, root, sizeof(*root));
    if (!s)
        return om_pk_no_memory(m);
    s->first = (uint64_t)items[1].i;
    s->numel = (uint64_t)items[2].i;
    out->storage = s;
    return 0;
}

int om_pk_persistent(struct pk_machine *m, const struct pk_value *id, struct pk_value *out)
{
    const struct pk_value *v = id->kind == PK_TUPLE && id->seq->len > 0 ? id->seq->items : NULL;
    struct pk_storage *s;

    if (!v || v[0].kind != PK_TEXT)
        return bad_id(m);
    if (om_sv_is(v[0].text, "module"))
        return om_fail(
            m->err, OM_E_UNSUPPORTED,
            "pickle holds a whole module with its source code, only a state_dict is read");
    if (!om_sv_is(v[0].text, "storage") || id->seq->len < 5 || id->seq->len > 6 ||
        v[1].kind != PK_GLOBAL || v[1].global->class != PK_STORAGE_CLASS || v[2].kind != PK_TEXT ||
        v[4].kind != PK_INT || v[4].i < 0)
        return bad_id(m);
    s = om_arena_alloc(m->arena, sizeof(*s));
    if (!s)
        return om_pk_no_memory(m);
    *s = (struct pk_storage){ .key = v[2].text, .type = v[1].global, .numel = (uint64_t)v[4].i };
    OM_TRY(find_storage(m, s));
    *out = (struct pk_value){ .kind = PK_STORAGE, .storage = s };
    return id->seq->len == 6 ? read_view(m, &v[5], s, out) : 0;
}
