/* tests/fuzz/fuzz_wire.c: fields lie inside their message, and what is written from them reads back
 * the same. */
#include "base/wire.h"
#include "fuzz.h"

static void put_field(struct om_buf *b, const struct om_wire_field *f)
{
    float single;
    uint32_t bits;

    switch (f->type) {
    case OM_WIRE_VARINT:
        om_wire_put_int(b, f->number, (int64_t)f->value);
        break;
    case OM_WIRE_I32:
        bits = (uint32_t)f->value;
        memcpy(&single, &bits, sizeof(single));
        om_wire_put_float(b, f->number, single);
        break;
    case OM_WIRE_LEN: {
        const size_t begun = om_wire_begin(b, f->number);
        om_buf_add(b, f->bytes.ptr, f->bytes.len);
        om_wire_end(b, begun);
        break;
    }
    case OM_WIRE_I64: /* never written by us */
        break;
    }
}

static void check_rewritten(const struct om_wire_field *f)
{
    struct om_buf b = OM_BUF_INIT(16u << 20);
    struct om_wire_field again;

    put_field(&b, f);
    om_sv rest = om_buf_sv(&b);
    if (f->type != OM_WIRE_I64) {
        FUZZ_CHECK(om_wire_next(&rest, &again, NULL) == 1 && rest.len == 0);
        FUZZ_CHECK(again.number == f->number && again.type == f->type);
        FUZZ_CHECK(f->type == OM_WIRE_LEN ? om_sv_eq(again.bytes, f->bytes)
                                          : again.value == f->value);
    }
    om_buf_release(&b);
}

static void walk(om_sv message, int depth)
{
    struct om_error err = OM_ERROR_INIT;
    struct om_wire_field f;
    om_sv rest = message;
    uint64_t value;
    int rc;

    while ((rc = om_wire_next(&rest, &f, &err)) > 0) {
        FUZZ_CHECK(f.number > 0 && rest.ptr + rest.len == message.ptr + message.len);
        check_rewritten(&f);
        if (f.type != OM_WIRE_LEN)
            continue;
        const size_t begin = (size_t)(f.bytes.ptr - message.ptr);
        fuzz_touch(message.ptr, message.len, begin, begin + f.bytes.len);
        if (depth < 4)
            walk(f.bytes, depth + 1);
        for (om_sv packed = f.bytes; om_wire_packed_varint(&packed, &value);)
            FUZZ_CHECK(packed.ptr + packed.len == f.bytes.ptr + f.bytes.len);
    }
    FUZZ_CHECK(rc == 0 ? rest.len == 0 : rc == OM_E_FORMAT && om_error_text(&err)[0] != '\0');
    om_error_release(&err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = fuzz_copy(data, size);

    walk((om_sv){ (const char *)copy, size }, 0);
    free(copy);
    return 0;
}
