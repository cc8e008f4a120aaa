/* src/base/json.h: JSON documents, strict on the way in, read through a handful of typed getters.
 *
 * Backed by jansson: UTF-8 is checked, the whole input is consumed, depth is bounded (2048), \u0000 is allowed
 * in strings but not in keys, reals that do not fit a double are refused. Integers that do not fit int64 are read as reals, and so
 * are Python's NaN, Infinity and -Infinity. A document owns its values; views into it live as
 * long as it does. */
#ifndef OM_JSON_H
#define OM_JSON_H

#include "base/base.h"
#include "base/buf.h"

struct om_json;                 /* a document or any value in it (opaque) */

enum om_json_kind { OM_JSON_NULL, OM_JSON_BOOL, OM_JSON_INT, OM_JSON_REAL, OM_JSON_STRING, OM_JSON_ARRAY, OM_JSON_OBJECT };

enum om_json_flags { OM_JSON_LAST_WINS = 0, OM_JSON_NO_DUPLICATES = 1 << 0 };

/* Parse text into *out, to be freed with om_json_free(). Messages say line and column. */
int om_json_parse(om_sv text, unsigned flags, struct om_json **out, struct om_error *err);
int om_json_read(const char *path, unsigned flags, struct om_json **out, struct om_error *err); /* a file, <= 1 GiB */
void om_json_free(struct om_json *doc); /* accepts NULL; only for what parse returned */

enum om_json_kind om_json_kind(const struct om_json *v); /* NULL counts as OM_JSON_NULL */
const char *om_json_kind_text(const struct om_json *v);  /* "string", "integer" ... for messages; "nothing" for NULL */

/* Members and elements: NULL when absent or when v is of another kind (v may be NULL). */
const struct om_json *om_json_get(const struct om_json *v, const char *key);
const struct om_json *om_json_at(const struct om_json *v, size_t i);
size_t om_json_len(const struct om_json *v); /* of arrays and objects, else 0 */

/* Values. The getters return false and leave *out when v is NULL or of another kind; an integer is also
 * accepted where a real is asked for. */
bool om_json_bool(const struct om_json *v, bool *out);
bool om_json_i64(const struct om_json *v, int64_t *out);
bool om_json_f64(const struct om_json *v, double *out);
bool om_json_str(const struct om_json *v, om_sv *out);

/* Visit an object's members in file order: for (it = {0}; om_json_next(obj, &it); ) it.key, it.value */
struct om_json_iter { void *state; om_sv key; const struct om_json *value; };
bool om_json_next(const struct om_json *object, struct om_json_iter *it);

/* Write v as JSON. indent 0: one line. Objects keep file order; reals as Python's repr would. */
void om_json_write(struct om_buf *b, const struct om_json *v, unsigned indent);

/* Copy a JSON object's text and replace or append top-level members, every other byte unchanged (numbers keep
 * their spelling). value is JSON text. New members look like the last one; of patches with the same key the
 * last counts. */
struct om_json_patch { const char *key; const char *value; };
int om_json_patch(om_sv text, const struct om_json_patch *patches, size_t n, struct om_buf *out, struct om_error *err);

#endif
