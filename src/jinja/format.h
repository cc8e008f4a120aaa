/* src/jinja/format.h: Python's two ways to format: "..." % args and "...".format(). */
#ifndef OM_JINJA_FORMAT_H
#define OM_JINJA_FORMAT_H

#include "jinja/value.h"

jj_val jj_markup(struct jj_run *r, jj_val s);  /* s as safe text */
jj_val jj_escape(struct jj_run *r, om_sv s);   /* with &, <, >, " and ' escaped */
jj_val jj_format(struct jj_run *r, jj_val self, const struct jj_args *args); /* the method */

#endif
