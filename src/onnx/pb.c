/* src/onnx/pb.c: protobuf messages into structs, by a table of the fields that are wanted. */
#include "onnx/pb.h"

static int wrong_type(uint32_t number, enum om_wire_type type, struct om_error *err)
{
    return om_fail(err, OM_E_FORMAT, "field %" PRIu32 " has an unexpected wire type %d", number,
                   (int)type);
}

static int check_text(om_sv s, struct om_error *err)
{
    if (s.len > 0 && memchr(s.ptr, 0, s.len))
        return om_fail(err, OM_E_FORMAT, "a text contains a NUL byte");
    if (!om_utf8_valid(s))
        return om_fail(err, OM_E_FORMAT, "a text is not valid UTF-8");
    return 0;
}

static int store(const struct om_wire_field *f, const struct om_pb_rule *r, void *out,
                 struct om_error *err)
{
    char *const at = (char *)out + r->at;
    uint32_t bits;

    switch (r->kind) {
    case OM_PB_INT:
        if (f->type != OM_WIRE_VARINT)
            return wrong_type(f->number, f->type, err);
        memcpy(at, &f->value, sizeof(int64_t));
        return 0;
    case OM_PB_F32:
        if (f->type != OM_WIRE_I32)
            return wrong_type(f->number, f->type, err);
        bits = (uint32_t)f->value;
        memcpy(at, &bits, sizeof(float));
        return 0;
    case OM_PB_TEXT:
    case OM_PB_BYTES:
        if (f->type != OM_WIRE_LEN)
            return wrong_type(f->number, f->type, err);
        if (r->kind == OM_PB_TEXT)
            OM_TRY(check_text(f->bytes, err));
        memcpy(at, &f->bytes, sizeof(om_sv));
        return 0;
    case OM_PB_COUNT:
        *(size_t *)(void *)at += 1;
        return 0;
    }
    return 0;
}

int om_pb_read(om_sv msg, const struct om_pb_rule *rules, size_t n, void *out, struct om_error *err)
{
    struct om_wire_field f;
    int rc;

    while ((rc = om_wire_next(&msg, &f, err)) > 0) {
        for (size_t i = 0; i < n; i++) {
            if (rules[i].number != f.number)
                continue;
            OM_TRY(om_wrap(err, store(&f, &rules[i], out, err), "%s", rules[i].name));
        }
    }
    return rc;
}

int om_pb_next(om_sv *rest, uint32_t number, struct om_wire_field *f, struct om_error *err)
{
    int rc;

    while ((rc = om_wire_next(rest, f, err)) > 0)
        if (f->number == number)
            return 1;
    return rc;
}

int om_pb_next_bytes(om_sv *rest, uint32_t number, om_sv *bytes, struct om_error *err)
{
    struct om_wire_field f;
    const int rc = om_pb_next(rest, number, &f, err);

    if (rc <= 0)
        return rc;
    if (f.type != OM_WIRE_LEN)
        return wrong_type(f.number, f.type, err);
    *bytes = f.bytes;
    return 1;
}

int om_pb_next_text(om_sv *rest, uint32_t number, om_sv *text, struct om_error *err)
{
    const int rc = om_pb_next_bytes(rest, number, text, err);

    if (rc > 0)
        OM_TRY(check_text(*text, err));
    return rc;
}

static bool take_fixed(om_sv *rest, size_t size, uint64_t *value)
{
    if (rest->len < size)
        return false;
    *value = size == 4 ? om_le32(rest->ptr) : om_le64(rest->ptr);
    rest->ptr += size;
    rest->len -= size;
    return true;
}

int om_pb_element(struct om_wire_field *f, size_t size, uint64_t *value, struct om_error *err)
{
    const enum om_wire_type alone = size == 0   ? OM_WIRE_VARINT
                                    : size == 4 ? OM_WIRE_I32
                                                : OM_WIRE_I64;

    if (f->type == alone) { /* not packed: the field is its only element */
        *value = f->value;
        f->type = OM_WIRE_LEN;
        f->bytes = (om_sv){ NULL, 0 };
        return 1;
    }
    if (f->type != OM_WIRE_LEN)
        return wrong_type(f->number, f->type, err);
    if (f->bytes.len == 0)
        return 0;
    if (size == 0 ? om_wire_packed_varint(&f->bytes, value) : take_fixed(&f->bytes, size, value))
        return 1;
    return om_fail(err, OM_E_FORMAT, "field %" PRIu32 ": broken packed values", f->number);
}

int om_pb_ints(om_sv msg, uint32_t number, int64_t *out, size_t cap, size_t *n,
               struct om_error *err)
{
    struct om_wire_field f;
    size_t count = 0;
    int rc, more;

    while ((rc = om_pb_next(&msg, number, &f, err)) > 0) {
        uint64_t v;

        while ((more = om_pb_element(&f, 0, &v, err)) > 0) {
            if (out && count < cap)
                out[count] = (int64_t)v;
            count++;
        }
        OM_TRY(more);
    }
    *n = count;
    return rc;
}
