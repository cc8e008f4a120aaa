/* src/jinja/jinja.h: chat templates: the part of Jinja that published templates use, as Transformers sets it up.
 *
 * A template is compiled to a tree once and rendered any number of times, by any number of threads. It means what Jinja 3.1 makes of
 * it in an immutable sandbox with trim_blocks, lstrip_blocks, loop controls and {% generation %}. It cannot change what it is given,
 * reach the system, or run without end: steps, memory, output and nesting are bounded. Filters, tests, functions and methods that are
 * not known are errors that name them. Messages say template and line. */
#ifndef OM_JINJA_JINJA_H
#define OM_JINJA_JINJA_H

#include "base/base.h"
#include "base/buf.h"
#include "base/json.h"

struct jinja_template;

/* Compile source, which is copied. name is what messages call it: name "x" gives `x, line 3: ...`. */
int jinja_compile(om_sv source, const char *name, struct jinja_template **out, struct om_error *err);
void jinja_free(struct jinja_template *t); /* accepts NULL */

struct jinja_var {
    const char *name;
    const struct om_json *value; /* NULL: none; borrowed during the call */
};

/* What a rendering may use; 0 stands for the default. */
struct jinja_limits {
    uint64_t steps; /* evaluated expressions and statements, and bytes that are searched or compared in their hundreds */
    size_t memory;  /* bytes of intermediate values */
    size_t output;  /* bytes of text */
    unsigned depth; /* calls and expressions within each other */
};

struct jinja_opts {
    const struct jinja_var *vars; /* of two with the same name the later one counts */
    size_t len;
    struct jinja_limits limits;
    bool has_now;
    int64_t now; /* what strftime_now() shows, in seconds since 1970; without has_now: the clock */
};

/* Append what the template renders to out; after a failure out holds what it held. */
int jinja_render(const struct jinja_template *t, const struct jinja_opts *opts, struct om_buf *out, struct om_error *err);

#endif
