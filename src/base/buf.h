/* src/base/buf.h: a growing byte buffer with a hard maximum.
 *
 * The buffer is sticky: after the first failure (memory or maximum) later calls do nothing and failed stays
 * true, so a writer checks once at its end. The bytes are always followed by a NUL that len does not count. */
#ifndef OM_BUF_H
#define OM_BUF_H

#include "base/base.h"

struct om_buf {
    char *ptr;
    size_t len, cap, max;
    bool failed;
};
#define OM_BUF_INIT(max_bytes) { .ptr = NULL, .max = (max_bytes) }

void om_buf_release(struct om_buf *b); /* frees; the buffer is then empty and usable */
void om_buf_clear(struct om_buf *b);   /* keeps the memory */
void om_buf_add(struct om_buf *b, const void *data, size_t len);
void om_buf_addc(struct om_buf *b, char c);
void om_buf_adds(struct om_buf *b, const char *s);
void om_buf_printf(struct om_buf *b, const char *fmt, ...) OM_PRINTF(2, 3);
/* s as a JSON string with its quotes; control characters escaped, UTF-8 kept. */
void om_buf_json_string(struct om_buf *b, om_sv s);
/* d as Python's repr: the fewest digits that read back as the same number ("0.1", "1e-05", "nan"). */
void om_buf_real(struct om_buf *b, double d);
void om_buf_real32(struct om_buf *b, float f); /* the same for a float: "0.1", not "0.10000000149011612" */
om_sv om_buf_sv(const struct om_buf *b);
int om_buf_check(const struct om_buf *b, struct om_error *err); /* OM_E_NOMEM after a failure */

#endif
