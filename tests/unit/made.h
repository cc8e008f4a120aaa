/* tests/unit/made.h: the bytes that a source of a document's tensor makes. */
#ifndef OM_TEST_MADE_H
#define OM_TEST_MADE_H

#include "onnx/doc.h"

struct made {
    struct om_arena arena;
    const char *dir; /* for the file that they are written to */
    om_sv bytes;     /* of the last source */
};

static inline int make(struct made *m, const struct om_doc_source *s, struct om_error *err)
{
    struct om_out out = OM_OUT_INIT;
    int rc = om_out_open(&out, m->dir, "made", NULL, err);

    if (rc == 0)
        rc = s->make(s, &out, err);
    if (rc == 0)
        rc = om_out_commit(&out, false, err);
    om_out_abort(&out);
    if (rc == 0)
        rc = om_file_read(&m->arena, om_path_join(&m->arena, m->dir, "made"), 1u << 24, &m->bytes,
                          err);
    return rc;
}

/* Numbers between -1 and 1 that depend on seed. */
static inline float number(unsigned *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (float)(*seed >> 8) / 8388608.0f - 1.0f;
}

#endif
