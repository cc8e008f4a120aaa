/* src/onnx/pb.h: protobuf messages into structs, by a table of the fields that are wanted. */
#ifndef OM_ONNX_PB_H
#define OM_ONNX_PB_H

#include "base/base.h"
#include "base/wire.h"

enum om_pb_kind {
    OM_PB_INT,   /* int64_t */
    OM_PB_F32,   /* float */
    OM_PB_TEXT,  /* om_sv: UTF-8 without NUL */
    OM_PB_BYTES, /* om_sv: bytes, or a message; ptr stays NULL when absent */
    OM_PB_COUNT  /* size_t: how often the field occurs */
};

struct om_pb_rule {
    uint32_t number;
    enum om_pb_kind kind;
    size_t at; /* offset in the struct */
    const char *name;
};

/* Fill out; a field that occurs again replaces the earlier one, unknown fields are skipped. */
int om_pb_read(om_sv msg, const struct om_pb_rule *rules, size_t n, void *out,
               struct om_error *err);

/* The next field with this number: 1, 0 at the end, negative on a broken message. */
int om_pb_next(om_sv *rest, uint32_t number, struct om_wire_field *f, struct om_error *err);
/* The same where the field is a message or string. */
int om_pb_next_bytes(om_sv *rest, uint32_t number, om_sv *bytes, struct om_error *err);
int om_pb_next_text(om_sv *rest, uint32_t number, om_sv *text, struct om_error *err);

/* Elements of a repeated number, packed or not; size is 0 for varints, 4 or 8 for fixed widths.
 * Takes one element of f: 1, 0 when f has no more, negative when it is broken. */
int om_pb_element(struct om_wire_field *f, size_t size, uint64_t *value, struct om_error *err);
/* All elements of field number in msg: their count, and with out not NULL at most cap of them. */
int om_pb_ints(om_sv msg, uint32_t number, int64_t *out, size_t cap, size_t *n,
               struct om_error *err);

#endif
