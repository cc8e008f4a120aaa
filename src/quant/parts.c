/* src/quant/parts.c: bytes and errors by layer. A tensor belongs to the layer that its name says:
 * the path up to its first number, or the module that holds it. Names without a path, as of tensors
 * that an exporter folded, take the layer of the node that reads them. */
#include "quant/report.h"

#include <ctype.h>

struct counting {
    struct om_quant_file *f;
    bool after;
    struct om_map readers; /* names of anonymous tensors to indices into the nodes of their graph */
};

static int no_memory(struct om_error *err)
{
    return om_fail(err, OM_E_NOMEM, "out of memory");
}

static bool is_separator(char c)
{
    return c == '.' || c == '/';
}

static bool is_number(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!isdigit((unsigned char)s[i]))
            return false;
    return len > 0;
}

/* Up to the first component that is a number; an empty view where there is none. */
static om_sv numbered_path(om_sv name)
{
    for (size_t at = 0; at < name.len;) {
        size_t end = at;

        while (end < name.len && !is_separator(name.ptr[end]))
            end++;
        if (at > 0 && is_number(name.ptr + at, end - at))
            return (om_sv){ name.ptr, end };
        at = end + 1;
    }
    return (om_sv){ "", 0 };
}

static om_sv without_root(om_sv name)
{
    while (name.len > 0 && is_separator(name.ptr[0])) {
        name.ptr++;
        name.len--;
    }
    return name;
}

static bool has_path(om_sv name)
{
    for (size_t i = 0; i < name.len; i++)
        if (is_separator(name.ptr[i]))
            return true;
    return false;
}

/* "onnx::MatMul_12_quantized" is one of many "onnx::MatMul". */
static om_sv unnumbered(om_sv name)
{
    for (size_t i = 1; i + 1 < name.len; i++)
        if (name.ptr[i] == '_' && isdigit((unsigned char)name.ptr[i + 1]))
            return (om_sv){ name.ptr, i };
    return name;
}

/* reader: the name of a node that reads the tensor, or empty. */
static om_sv part_name(om_sv tensor, om_sv reader)
{
    const om_sv name = without_root(tensor);
    om_sv path = numbered_path(name);

    if (path.len > 0)
        return path;
    if (!has_path(name)) {
        path = numbered_path(without_root(reader));
        return path.len > 0 ? path : unnumbered(name);
    }
    path = name;
    while (path.len > 0 && !is_separator(path.ptr[path.len - 1]))
        path.len--;
    if (path.len > 0)
        path.len--;
    return path;
}

static int find_part(struct om_quant_file *f, om_sv name, uint32_t *at, struct om_error *err)
{
    char *const text = om_arena_str(&f->arena, name);

    if (!text)
        return no_memory(err);
    for (char *p = text; *p; p++) /* a path is one, however it was written */
        *p = *p == '/' ? '.' : *p;
    if (om_map_get(&f->part_of, om_sv_str(text), at))
        return 0;
    if (!om_grow(&f->parts, &f->cap_parts, f->n_parts + 1, sizeof(*f->parts)) ||
        om_map_put(&f->part_of, om_sv_str(text), (uint32_t)f->n_parts) < 0)
        return no_memory(err);
    f->parts[f->n_parts] = (struct om_quant_part){ .name = text };
    *at = (uint32_t)f->n_parts++;
    return 0;
}

static int note_readers(struct counting *c, const struct om_doc_graph *g, struct om_error *err)
{
    om_map_release(&c->readers);
    for (size_t i = 0; i < g->nodes.len; i++) {
        const struct om_doc_node *const n = &g->nodes.items[i];

        for (uint32_t k = 0; k < n->n_in; k++)
            if (!has_path(n->in[k]) && !om_map_get(&c->readers, n->in[k], NULL) &&
                om_map_put(&c->readers, n->in[k], (uint32_t)i) < 0)
                return no_memory(err);
    }
    return 0;
}

/* Tensors are known by "=NAME", so that no part is taken for one. */
static int remember(struct om_quant_file *f, om_sv tensor, uint32_t at, struct om_error *err)
{
    const char *const key = om_arena_printf(&f->arena, "=%.*s", OM_SV(tensor));

    return key && om_map_put(&f->part_of, om_sv_str(key), at) == 0 ? 0 : no_memory(err);
}

static int count_graph(void *user, struct om_doc_graph *g, struct om_error *err)
{
    struct counting *const c = user;

    OM_TRY(note_readers(c, g, err));
    for (size_t i = 0; i < g->tensors.len; i++) {
        const struct om_doc_tensor *const t = &g->tensors.items[i];
        om_sv reader = { "", 0 };
        struct om_quant_part *p;
        uint32_t at;

        if (om_map_get(&c->readers, t->name, &at))
            reader = g->nodes.items[at].name;
        OM_TRY(find_part(c->f, part_name(t->name, reader), &at, err));
        OM_TRY(remember(c->f, t->name, at, err));
        p = &c->f->parts[at];
        *(c->after ? &p->after : &p->before) += t->bytes;
    }
    return 0;
}

int om_quant_count_parts(struct om_quant_file *f, struct om_doc *d, bool after,
                         struct om_error *err)
{
    struct counting c = { f, after, OM_MAP_INIT };
    const int rc = om_doc_walk(d->graph, count_graph, &c, err);

    om_map_release(&c.readers);
    return rc;
}

/* A weight may have got an ending meanwhile: "onnx::MatMul_12_Transposed". */
static int part_of_weight(struct om_quant_file *f, const char *weight, uint32_t *at,
                          struct om_error *err)
{
    om_sv key = { NULL, strlen(weight) + 1 };

    key.ptr = om_arena_printf(&f->arena, "=%s", weight);
    if (!key.ptr)
        return no_memory(err);
    while (key.len > 1) {
        if (om_map_get(&f->part_of, key, at))
            return 0;
        do
            key.len--;
        while (key.len > 1 && key.ptr[key.len] != '_');
    }
    return find_part(f, part_name(om_sv_str(weight), (om_sv){ "", 0 }), at, err);
}

int om_quant_spread_errors(struct om_quant_file *f, struct om_error *err)
{
    for (size_t i = 0; i < f->n_weights; i++) {
        struct om_quant_weight *const w = &f->weights[i];
        struct om_quant_part *p;

        OM_TRY(part_of_weight(f, w->name, &w->part, err));
        if (!w->measured)
            continue;
        p = &f->parts[w->part];
        p->measured = true;
        p->max = OM_MAX(p->max, w->max);
        p->error += w->error;
        p->total += w->total;
    }
    return 0;
}
