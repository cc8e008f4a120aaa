/* src/jinja/builtin.h: what filters, tests, functions and methods share. */
#ifndef OM_JINJA_BUILTIN_H
#define OM_JINJA_BUILTIN_H

#include "jinja/text.h"
#include "jinja/value.h"

#define JJ_FN(name) static jj_val name(struct jj_run *r, jj_val self, const struct jj_args *a)

/* False after failing with what was expected. */
bool jj_want_string(struct jj_run *r, jj_val v, om_sv *out);
bool jj_want_int(struct jj_run *r, jj_val v, int64_t *out);
static inline bool jj_is_none(const struct jj_args *a, unsigned i) /* or not given */
{
    return !jj_given(a, i) || a->v[i].type == JJ_NONE;
}
static inline bool jj_flag(const struct jj_args *a, unsigned i)
{
    return jj_given(a, i) && jj_true(a->v[i]);
}

jj_val jj_splitlines(struct jj_run *r, om_sv s, bool keep);
jj_val jj_replace(struct jj_run *r, om_sv s, om_sv old, om_sv new, int64_t most); /* most < 0: all */
jj_val jj_cased(struct jj_run *r, om_sv s, enum jj_case to);
jj_val jj_titled(struct jj_run *r, om_sv s, bool words);
bool jj_all_case(om_sv s, bool upper);
jj_val jj_pairs(struct jj_run *r, const struct jj_entry *entries, size_t len, enum jj_kind kind);
jj_val jj_justify(struct jj_run *r, jj_val s, int64_t width, om_sv fill, char align);
/* An attribute proper, as opposed to a key. */
bool jj_own_attr(struct jj_run *r, jj_val v, jj_val name, jj_val *out);

/* item.a.b or item[0] for the attribute "a.b" or 0; with fallback for what is undefined on the way (NULL: none). */
jj_val jj_path(struct jj_run *r, jj_val item, jj_val attribute, const jj_val *fallback);
jj_val jj_fold_case(struct jj_run *r, jj_val v); /* lower case, if it is a text */

struct jj_keyed {
    jj_val key, value;
};
/* Stable, by key; equal ones keep their order when reversed as well. */
void jj_sort(struct jj_run *r, struct jj_keyed *items, size_t n, bool reverse);

#endif
