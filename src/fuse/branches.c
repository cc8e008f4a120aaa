/* src/fuse/branches.c: of an If whose condition is known, the branch that is taken takes its place.
 */
#include <stdlib.h>

#include "fuse/internal.h"

struct inlining {
    struct fuse *f;
    struct om_map renamed; /* names of the branch to indices of names */
    om_sv *names;
    size_t n_names, cap_names;
};

static const struct om_doc_graph *taken(const struct fuse *f, const struct om_doc_node *n)
{
    const struct om_doc_attr *a;
    int64_t truth;
    size_t len;

    if (!fz_is(n, "", "If") || n->n_in != 1 || !fz_ints(f, n->in[0], &truth, 1, &len) || len != 1)
        return NULL;
    a = om_doc_attr(n, truth ? "then_branch" : "else_branch");
    if (!a || a->n_graphs != 1 || a->graphs[0]->outputs.len != n->n_out ||
        a->graphs[0]->inputs.len > 0)
        return NULL;
    return a->graphs[0];
}

/* ---- new names: other branches may have the same ---- */

static bool find(const struct inlining *x, om_sv name, om_sv *to)
{
    uint32_t at;

    if (name.len == 0 || !om_map_get(&x->renamed, name, &at))
        return false;
    *to = x->names[at];
    return true;
}

static int rename_to(struct inlining *x, om_sv name, om_sv to)
{
    if (!om_grow(&x->names, &x->cap_names, x->n_names + 1, sizeof(*x->names)) ||
        om_map_put(&x->renamed, name, (uint32_t)x->n_names) < 0)
        return fz_no_memory(x->f);
    x->names[x->n_names++] = to;
    return 0;
}

static int rename_new(struct inlining *x, om_sv name)
{
    om_sv to;

    if (name.len == 0 || om_map_get(&x->renamed, name, NULL))
        return 0;
    OM_TRY(fz_new_name(x->f, "branch", &to));
    return rename_to(x, name, to);
}

static int name_all(struct inlining *x, const struct om_doc_graph *b)
{
    for (size_t i = 0; i < b->tensors.len; i++)
        OM_TRY(rename_new(x, b->tensors.items[i].name));
    for (size_t i = 0; i < b->nodes.len; i++)
        for (uint32_t k = 0; k < b->nodes.items[i].n_out; k++)
            OM_TRY(rename_new(x, b->nodes.items[i].out[k]));
    return 0;
}

static int reread(void *user, struct om_doc_graph *g, struct om_error *err)
{
    const struct inlining *const x = user;

    (void)err;
    for (size_t i = 0; i < g->nodes.len; i++)
        for (uint32_t k = 0; k < g->nodes.items[i].n_in; k++)
            find(x, g->nodes.items[i].in[k], &g->nodes.items[i].in[k]);
    return 0;
}

/* ---- moving ---- */

static bool is_made(const struct om_doc_graph *b, om_sv name)
{
    for (size_t i = 0; i < b->nodes.len; i++)
        for (uint32_t k = 0; k < b->nodes.items[i].n_out; k++)
            if (om_sv_eq(b->nodes.items[i].out[k], name))
                return true;
    return false;
}

/* What is an output of the graph around keeps its name: then the branch has to make it, once. */
static bool can_give(const struct fuse *f, const struct om_doc_node *n,
                     const struct om_doc_graph *b)
{
    for (uint32_t i = 0; i < n->n_out; i++) {
        const om_sv name = b->outputs.items[i].name;

        if (!fz_is_output(f, n->out[i]))
            continue;
        if (!is_made(b, name))
            return false;
        for (uint32_t k = 0; k < i; k++)
            if (om_sv_eq(b->outputs.items[k].name, name))
                return false;
    }
    return true;
}

static int move_nodes(struct inlining *x, struct om_doc_graph *b)
{
    struct fuse *const f = x->f;

    for (size_t i = 0; i < b->nodes.len; i++) {
        struct om_doc_node *const n = &b->nodes.items[i];

        for (uint32_t k = 0; k < n->n_out; k++)
            find(x, n->out[k], &n->out[k]);
        for (uint32_t k = 0; k < n->n_attrs; k++)
            for (uint32_t j = 0; j < n->attrs[k].n_graphs; j++)
                n->attrs[k].graphs[j]->parent = f->g;
        if (!om_grow(&f->fresh, &f->cap_fresh, f->n_fresh + 1, sizeof(*f->fresh)))
            return fz_no_memory(f);
        f->fresh[f->n_fresh++] = n;
    }
    return 0;
}

/* Before anything else moves: a tensor that cannot be read keeps the whole where it is. */
static int move_tensors(struct inlining *x, const struct om_doc_graph *b, bool *all)
{
    *all = true;
    for (size_t i = 0; i < b->tensors.len && *all; i++) {
        om_sv name = b->tensors.items[i].name;

        find(x, name, &name);
        OM_TRY(fz_add_tensor(x->f, &b->tensors.items[i], name, all));
    }
    return 0;
}

static int name_outputs(struct inlining *x, const struct om_doc_node *n,
                        const struct om_doc_graph *b)
{
    for (uint32_t i = 0; i < n->n_out; i++)
        if (fz_is_output(x->f, n->out[i]))
            OM_TRY(rename_to(x, b->outputs.items[i].name, n->out[i]));
    return name_all(x, b);
}

static int alias_outputs(struct inlining *x, const struct om_doc_node *n,
                         const struct om_doc_graph *b)
{
    for (uint32_t i = 0; i < n->n_out; i++) {
        om_sv name = b->outputs.items[i].name;

        find(x, name, &name);
        if (n->out[i].len > 0 && !om_sv_eq(name, n->out[i]))
            OM_TRY(fz_alias(x->f, n->out[i], name));
    }
    return 0;
}

static int inline_branch(struct inlining *x, struct om_doc_node *n, struct om_doc_graph *b)
{
    bool all;

    OM_TRY(name_outputs(x, n, b));
    OM_TRY(move_tensors(x, b, &all));
    if (!all) /* those that were added nobody reads */
        return 0;
    OM_TRY(alias_outputs(x, n, b));
    OM_TRY(om_doc_walk(b, reread, x, x->f->err));
    OM_TRY(move_nodes(x, b));
    fz_kill(x->f, n);
    x->f->changes++;
    return 0;
}

int fz_inline_branch(struct fuse *f, struct om_doc_node *n)
{
    struct inlining x = { .f = f, .renamed = OM_MAP_INIT };
    struct om_doc_graph *const b = (struct om_doc_graph *)taken(f, n);
    int rc;

    if (!b || !can_give(f, n, b))
        return 0;
    rc = inline_branch(&x, n, b);
    om_map_release(&x.renamed);
    free(x.names);
    return rc;
}
