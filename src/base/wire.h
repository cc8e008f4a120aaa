/* src/base/wire.h: the protobuf wire format (https://protobuf.dev/programming-guides/encoding).
 *
 * Reading is a cursor over bytes that somebody else owns: every length is checked against what is left, and
 * nothing is copied. Writing appends to an om_buf; a nested message is written between begin and end. */
#ifndef OM_WIRE_H
#define OM_WIRE_H

#include "base/base.h"
#include "base/buf.h"

enum om_wire_type { OM_WIRE_VARINT = 0, OM_WIRE_I64 = 1, OM_WIRE_LEN = 2, OM_WIRE_I32 = 5 };

struct om_wire_field {
    uint32_t number;
    enum om_wire_type type;
    uint64_t value; /* VARINT, I64 and I32 */
    om_sv bytes;    /* LEN */
};

/* The next field of *rest, which advances. 1: a field, 0: the end, negative: OM_E_FORMAT with a message
 * (groups, over-long varints, lengths that pass the end, field number 0). */
int om_wire_next(om_sv *rest, struct om_wire_field *f, struct om_error *err);
/* The next element of a packed repeated varint field; false at the end or when broken. */
bool om_wire_packed_varint(om_sv *rest, uint64_t *value);

void om_wire_varint(struct om_buf *b, uint64_t v);
void om_wire_put_int(struct om_buf *b, uint32_t number, int64_t v);    /* int64, int32, enum, bool */
void om_wire_put_float(struct om_buf *b, uint32_t number, float v);
void om_wire_put_bytes(struct om_buf *b, uint32_t number, om_sv v);
/* A nested message: bytes written between the calls become the payload (the length is patched in,
 * in its shortest form). */
size_t om_wire_begin(struct om_buf *b, uint32_t number);
void om_wire_end(struct om_buf *b, size_t begun);
/* Only tag and length of a LEN field whose payload the caller streams. */
void om_wire_put_header(struct om_buf *b, uint32_t number, uint64_t len);
size_t om_wire_varint_size(uint64_t v);

#endif
