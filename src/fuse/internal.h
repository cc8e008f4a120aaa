/* src/fuse/internal.h: one graph of a document while its patterns are looked for. */
#ifndef OM_FUSE_INTERNAL_H
#define OM_FUSE_INTERNAL_H

#include "base/map.h"
#include "fuse/fuse.h"
#include "fuse/shapes.h"

enum { FZ_F32 = 1, FZ_I64 = 7, FZ_F16 = 10 }; /* TensorProto.DataType */

/* Uses of a value; of a weight, those by a Gemm with transB, too. */
struct fz_count {
    uint32_t uses, turned;
};

struct fuse {
    struct om_doc *d;
    const struct om_optimize_config *config;
    struct om_error *err;
    int64_t opset; /* of the default domain */
    size_t fused;

    struct fz_shapes *known;
    const struct om_graph *shapes; /* its values and dims */
    struct om_doc_types *types;

    struct fz_scope *scopes; /* names to counts, graph by graph */
    size_t n_scopes, cap_scopes;
    struct fz_count *counts;
    size_t n_counts, cap_counts;

    struct om_map aliases; /* names that are read no more to what is read in their place */
    om_sv *targets;
    size_t n_targets, cap_targets;

    size_t changes;      /* that cleaning made */
    struct om_map names; /* of all graphs, once a new one was asked for */
    uint32_t n_made;
    struct om_map lists; /* elements of added lists to tensors of the outermost graph */

    struct om_map wide_of; /* rows of the outermost graph to the same with three axes (flat.c) */
    om_sv *wide;
    size_t n_wide, cap_wide;
    struct om_map turned; /* names to tensors of the outermost graph: the same, turned */

    struct om_doc_graph *g; /* at work */
    struct om_map makers;   /* of g: names to indices of nodes */
    struct om_map ports;    /* of g: outputs and inputs */

    struct om_doc_node **fresh; /* nodes that g gets; in makers they follow those that it has */
    size_t n_fresh, cap_fresh;
    bool unsorted;       /* a node gives what another one gave */
    struct om_map notes; /* of g: what was made of a name for others, as fz_note() says */
    om_sv *noted;
    size_t n_noted, cap_noted;
};

int fz_no_memory(struct fuse *f);

/* ---- scope.c: names and who uses them ---- */

/* uses.c; names are those that g sees */
int fz_count_uses(struct fuse *f);
void fz_forget_uses(struct fuse *f);
int fz_define(struct fuse *f, om_sv name); /* g got it */
uint32_t fz_uses(const struct fuse *f, om_sv name);
uint32_t fz_turned_uses(const struct fuse *f, om_sv name);
void fz_use(struct fuse *f, om_sv name, int by); /* of a name that was counted */
int fz_enter(struct fuse *f, struct om_doc_graph *g);
void fz_leave(struct fuse *f);
bool fz_is_output(const struct fuse *f, om_sv name);

/* n becomes another operator on other inputs; its outputs stay. */
int fz_become(struct fuse *f, struct om_doc_node *n, const char *domain, const char *op,
              const om_sv *in, uint32_t n_in);
void fz_kill(struct fuse *f, struct om_doc_node *n); /* its outputs have another maker, or no use */
/* A node that g gets, which gives out. NULL: memory is short. */
struct om_doc_node *fz_add(struct fuse *f, const char *domain, const char *op, const om_sv *in,
                           uint32_t n_in, om_sv out);
int fz_merge(struct fuse *f, struct om_doc_graph *g); /* the added nodes, all in order */
/* n, which is of g, gives out as its output i (at most 4). */
int fz_put_output(struct fuse *f, struct om_doc_node *n, uint32_t i, om_sv out);
/* What was made of name already, under a key of this graph; an empty name: nothing. */
om_sv fz_noted(const struct fuse *f, om_sv key);
int fz_note(struct fuse *f, om_sv key, om_sv made);
/* name is computed from what, directly or not. */
int fz_depends(struct fuse *f, om_sv name, om_sv what, bool *yes);
bool fz_is_dead(const struct om_doc_node *n);
/* Whoever reads name reads target from now on; by fz_resolve(), in g and the graphs below
 * it: others may use the same names for other values. */
int fz_alias(struct fuse *f, om_sv name, om_sv target);
int fz_resolve(struct fuse *f, struct om_doc_graph *g);
/* Drop the nodes whose results nobody uses, in g and below. */
void fz_sweep(struct fuse *f, struct om_doc_graph *g);

/* Whoever reads what n makes reads target, which is equal; not where it is an output of the graph.
 */
int fz_drop(struct fuse *f, struct om_doc_node *n, om_sv target);
int fz_reread(struct fuse *f, struct om_doc_node *n, uint32_t i, om_sv name); /* input i is name */
int fz_new_name(struct fuse *f, const char *stem, om_sv *name);
/* The same for a value: of base, with a word of what it is. Empty: memory is short. */
om_sv fz_name(struct fuse *f, om_sv base, const char *what);
/* The name of an initializer with these elements, in the outermost graph. */
int fz_add_ints(struct fuse *f, const int64_t *v, size_t n, om_sv *name);

/* ---- match.c: questions about a name ---- */

/* The node of g that makes name, whatever it is. */
struct om_doc_node *fz_maker(const struct fuse *f, om_sv name);
/* The same, or one of a graph around g. */
const struct om_doc_node *fz_maker_anywhere(const struct fuse *f, om_sv name);
/* The node of g that makes name as its first output from at least one input, and is such an
 * operator of the default domain. */
struct om_doc_node *fz_made_by(const struct fuse *f, om_sv name, const char *op);
bool fz_is(const struct om_doc_node *n, const char *domain, const char *op);
/* The initializer that name stands for, wherever the graph is run from. */
const struct om_doc_tensor *fz_const(const struct fuse *f, om_sv name);
/* name is not computed in g. */
bool fz_is_outer(const struct fuse *f, om_sv name);
/* The first element of a tensor of numbers or bools that has one. */
bool fz_first(const struct fuse *f, const struct om_doc_tensor *t, double *v);
/* A constant of one element that has no axes, or does not add one. */
bool fz_scalar(const struct fuse *f, om_sv name, double *v, double *tolerance);
bool fz_is_scalar(const struct fuse *f, om_sv name, double v);
/* The operand beside the constant v; false: there is none. */
bool fz_beside(const struct fuse *f, const struct om_doc_node *n, double v, om_sv *x);
bool fz_beside_name(const struct om_doc_node *n, om_sv name, om_sv *x);
/* The factors of a product: Mul nodes opened, but for what is called stop. 0: more than max. */
size_t fz_factors(const struct fuse *f, om_sv name, om_sv stop, om_sv *factors, size_t max);

const struct om_value *fz_shape(const struct fuse *f, om_sv name);
bool fz_same_shape(const struct fuse *f, om_sv a, om_sv b);
/* The extent of the last axis; false: not known. */
bool fz_last_dim(const struct fuse *f, om_sv name, int64_t *v);
/* A vector as long as the last axis of x. */
bool fz_is_row(const struct fuse *f, om_sv name, om_sv x);
/* The elements of an integer or truth value of at most one axis, where they are known numbers. */
bool fz_ints(const struct fuse *f, om_sv name, int64_t *v, size_t cap, size_t *len);
bool fz_is_float(const struct fuse *f, om_sv name); /* float32 or float16 */
bool fz_int(const struct om_doc_node *n, const char *key, int64_t def, int64_t *v);
bool fz_float(const struct om_doc_node *n, const char *key, double def, double *v);
/* The node reduces the last axis, which stays. */
bool fz_reduces_last(const struct fuse *f, const struct om_doc_node *n);

/* ---- the rewrites of one node; they say by fz_become() what they did ---- */

typedef int fz_rule(struct fuse *f, struct om_doc_node *n);

int fz_clean(struct fuse *f); /* g: what computes nothing */
fz_rule fz_drop_moves, fz_drop_spread, fz_drop_led, fz_merge_views, fz_merge_unsqueezes,
    fz_merge_transposes, fz_merge_turned, fz_constant_target;           /* views.c */
fz_rule fz_drop_neutral, fz_drop_choice, fz_drop_logic, fz_merge_casts; /* values.c */
fz_rule fz_piece_of_shape;                                              /* extents.c */
/* n gives the same extents as a node before it; seen: theirs. */
int fz_share_extents(struct fuse *f, struct om_map *seen, uint32_t at, struct om_doc_node *n);
fz_rule fz_fold;          /* fold.c: its inputs are constants, and so is what it gives */
fz_rule fz_unflatten;     /* linear.c */
fz_rule fz_inline_branch; /* branches.c */
/* An initializer of g with the elements of t under a name; *added: its elements can be read. */
int fz_add_tensor(struct fuse *f, const struct om_doc_tensor *t, om_sv name, bool *added);
/* Of initializers with equal elements one stays. */
int fz_share_tensors(struct fuse *f);
fz_rule fz_layer_norm, fz_rms_norm, fz_skip_norm;
fz_rule fz_trim; /* results of fused nodes that nobody reads */
fz_rule fz_embed_layer_norm;
fz_rule fz_rotary, fz_attention;
int fz_spread_rows(struct fuse *f); /* g: rows get the axes of their texts back (flat.c) */
fz_rule fz_take_output;             /* a Reshape that changes nothing gives an output */
/* The name of the matrix name, turned: its rows are columns. */
int fz_turn(struct fuse *f, om_sv name, om_sv *out);
fz_rule fz_gelu, fz_quick_gelu, fz_bias_gelu, fz_approximate_gelu;

#endif
