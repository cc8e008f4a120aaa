/* src/base/wire.c: the protobuf wire format (https://protobuf.dev/programming-guides/encoding). */
#include "base/wire.h"

enum { VARINT_MAX = 10, FIELD_MAX = (1 << 29) - 1 };

/* Take a varint; false, with *rest unchanged, when it is cut off or does not fit 64 bits. */
static bool take_varint(om_sv *rest, uint64_t *value)
{
    uint64_t v = 0;

    for (size_t i = 0; i < rest->len && i < VARINT_MAX; i++) {
        const uint8_t byte = (uint8_t)rest->ptr[i];
        if (i == VARINT_MAX - 1 && byte > 1)
            return false;
        v |= (uint64_t)(byte & 0x7F) << (7 * i);
        if (byte < 0x80) {
            rest->ptr += i + 1;
            rest->len -= i + 1;
            *value = v;
            return true;
        }
    }
    return false;
}

static bool take_bytes(om_sv *rest, uint64_t len, om_sv *bytes)
{
    if (len > rest->len)
        return false;
    *bytes = (om_sv){ rest->ptr, (size_t)len };
    rest->ptr += len;
    rest->len -= (size_t)len;
    return true;
}

static int take_payload(om_sv *rest, struct om_wire_field *f, struct om_error *err)
{
    const size_t left = rest->len;
    om_sv raw;

    switch (f->type) {
    case OM_WIRE_VARINT:
        if (!take_varint(rest, &f->value))
            return om_fail(err, OM_E_FORMAT, "field %" PRIu32 ": broken varint", f->number);
        return 1;
    case OM_WIRE_I64:
        if (!take_bytes(rest, 8, &raw))
            break;
        f->value = om_le64(raw.ptr);
        return 1;
    case OM_WIRE_I32:
        if (!take_bytes(rest, 4, &raw))
            break;
        f->value = om_le32(raw.ptr);
        return 1;
    case OM_WIRE_LEN:
        if (!take_varint(rest, &f->value))
            return om_fail(err, OM_E_FORMAT, "field %" PRIu32 ": broken length", f->number);
        if (!take_bytes(rest, f->value, &f->bytes))
            return om_fail(err, OM_E_FORMAT,
                           "field %" PRIu32 ": length %" PRIu64 ", but only %zu bytes are left",
                           f->number, f->value, rest->len);
        return 1;
    }
    return om_fail(err, OM_E_FORMAT, "field %" PRIu32 ": cut off, %zu bytes are left", f->number,
                   left);
}

static bool known_type(uint64_t type)
{
    return type == OM_WIRE_VARINT || type == OM_WIRE_I64 || type == OM_WIRE_LEN ||
           type == OM_WIRE_I32;
}

int om_wire_next(om_sv *rest, struct om_wire_field *f, struct om_error *err)
{
    uint64_t tag;

    if (rest->len == 0)
        return 0;
    if (!take_varint(rest, &tag))
        return om_fail(err, OM_E_FORMAT, "broken field tag");
    if (tag >> 3 == 0 || tag >> 3 > FIELD_MAX)
        return om_fail(err, OM_E_FORMAT, "field number %" PRIu64 " is not valid", tag >> 3);
    if (!known_type(tag & 7))
        return om_fail(err, OM_E_FORMAT, "field %" PRIu64 ": wire type %d is not supported",
                       tag >> 3, (int)(tag & 7));
    *f = (struct om_wire_field){ .number = (uint32_t)(tag >> 3),
                                 .type = (enum om_wire_type)(tag & 7) };
    return take_payload(rest, f, err);
}

bool om_wire_packed_varint(om_sv *rest, uint64_t *value)
{
    return take_varint(rest, value);
}

/* ---- writing ---- */

static size_t encode_varint(uint8_t out[VARINT_MAX], uint64_t v)
{
    size_t n = 0;

    for (; v >= 0x80; v >>= 7)
        out[n++] = (uint8_t)(v | 0x80);
    out[n++] = (uint8_t)v;
    return n;
}

size_t om_wire_varint_size(uint64_t v)
{
    uint8_t bytes[VARINT_MAX];
    return encode_varint(bytes, v);
}

void om_wire_varint(struct om_buf *b, uint64_t v)
{
    uint8_t bytes[VARINT_MAX];
    om_buf_add(b, bytes, encode_varint(bytes, v));
}

static void put_tag(struct om_buf *b, uint32_t number, enum om_wire_type type)
{
    om_wire_varint(b, (uint64_t)number << 3 | (uint64_t)type);
}

void om_wire_put_int(struct om_buf *b, uint32_t number, int64_t v)
{
    put_tag(b, number, OM_WIRE_VARINT);
    om_wire_varint(b, (uint64_t)v);
}

void om_wire_put_float(struct om_buf *b, uint32_t number, float v)
{
    uint32_t bits;

    memcpy(&bits, &v, sizeof(bits));
    const uint8_t bytes[4] = { (uint8_t)bits, (uint8_t)(bits >> 8), (uint8_t)(bits >> 16),
                               (uint8_t)(bits >> 24) };
    put_tag(b, number, OM_WIRE_I32);
    om_buf_add(b, bytes, sizeof(bytes));
}

void om_wire_put_header(struct om_buf *b, uint32_t number, uint64_t len)
{
    put_tag(b, number, OM_WIRE_LEN);
    om_wire_varint(b, len);
}

void om_wire_put_bytes(struct om_buf *b, uint32_t number, om_sv v)
{
    om_wire_put_header(b, number, v.len);
    om_buf_add(b, v.ptr, v.len);
}

/* One byte is set aside for the length, which is enough for most messages; longer payloads move up.
 */
size_t om_wire_begin(struct om_buf *b, uint32_t number)
{
    put_tag(b, number, OM_WIRE_LEN);
    om_buf_addc(b, 0);
    return b->len;
}

void om_wire_end(struct om_buf *b, size_t begun)
{
    static const uint8_t room[VARINT_MAX] = { 0 };
    uint8_t bytes[VARINT_MAX];

    if (b->failed)
        return;
    const size_t len = b->len - begun, n = encode_varint(bytes, len);
    om_buf_add(b, room, n - 1);
    if (b->failed)
        return;
    memmove(b->ptr + begun + n - 1, b->ptr + begun, len);
    memcpy(b->ptr + begun - 1, bytes, n);
}
