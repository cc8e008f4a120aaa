/* src/ir/dim.h: symbolic dimensions.
 *
 * A dim is a polynomial with integer coefficients over atoms; an atom is a symbol (batch_size) or the floor
 * division of one polynomial by another. Dims are interned in canonical form, so two equal dims have equal
 * handles and comparison is ==. Handles are valid for one om_dims. */
#ifndef OM_DIM_H
#define OM_DIM_H

#include <optimum/nn.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/map.h"

/* om_dim is a handle; 0 is no dim: what an operation gives after an overflow or when memory is short. */

struct om_dims;

int om_dims_new(struct om_arena *a, struct om_dims **out, struct om_error *err);
void om_dims_free(struct om_dims *d); /* frees the interning table; the rest is the arena's. Accepts NULL */

bool om_dims_no_memory(const struct om_dims *d); /* an operation gave 0 because memory was short */

om_dim om_dim_const(struct om_dims *d, int64_t v);
om_dim om_dim_symbol(struct om_dims *d, om_sv name);
om_dim om_dim_add(struct om_dims *d, om_dim a, om_dim b);
om_dim om_dim_sub(struct om_dims *d, om_dim a, om_dim b);
om_dim om_dim_mul(struct om_dims *d, om_dim a, om_dim b);
om_dim om_dim_div(struct om_dims *d, om_dim a, om_dim b); /* floor; exact division of polynomials is simplified */

bool om_dim_is_const(const struct om_dims *d, om_dim a, int64_t *v);
bool om_dim_is_symbol(const struct om_dims *d, om_dim a, om_sv *name);
/* Numpy broadcasting of two axes: equal, or one of them 1. 0 when they cannot be broadcast. A symbol against another
 * dim is taken to be equal only when they are the same polynomial. */
om_dim om_dim_broadcast(struct om_dims *d, om_dim a, om_dim b);

/* A symbol for an extent that cannot be known: "unk__0", "unk__1" ... Such a symbol may stand for any extent, so
 * inference lets it be equal to whatever it meets. Numbers follow the order of the calls. */
#define OM_DIM_UNKNOWN "unk__"
om_dim om_dim_fresh(struct om_dims *d);
bool om_dim_is_unknown(const struct om_dims *d, om_dim a); /* a fresh symbol occurs in it */

/* "past_sequence_length + sequence_length", "2*batch_size", "floor(height/16)*...". The text parses back. */
void om_dim_write(const struct om_dims *d, om_dim a, struct om_buf *out);
const char *om_dim_text(struct om_dims *d, om_dim a); /* in the arena */
om_dim om_dim_parse(struct om_dims *d, om_sv text);   /* 0 when it is not an expression (e.g. a tracer's axis name) */

/* The structure, for walking: a dim is a sum of terms coef * product(atom). */
struct om_dim_term { int64_t coef; uint32_t n_atoms; const uint32_t *atoms; };
struct om_dim_atom { bool is_div; om_sv symbol; om_dim num, den; };
size_t om_dim_terms(const struct om_dims *d, om_dim a, const struct om_dim_term **terms);
const struct om_dim_atom *om_dim_atom_at(const struct om_dims *d, uint32_t atom);

/* Values of symbols. */
struct om_dim_env { const struct om_dims *dims; int64_t *values; bool *bound; size_t len; };
int om_dim_env_init(struct om_dim_env *env, struct om_arena *a, const struct om_dims *d);
void om_dim_bind(struct om_dim_env *env, om_sv symbol, int64_t value);
bool om_dim_bound(const struct om_dim_env *env, om_sv symbol, int64_t *value);
bool om_dim_eval(const struct om_dim_env *env, om_dim a, int64_t *out); /* false: unbound symbol, overflow, x/0 */

#endif
