/* tests/unit/t_wire.c: the protobuf wire format: what is written is read back, broken input is
 * refused. */
#include "base/wire.h"
#include "test.h"

static const uint64_t numbers[] = { 0,     1,          127,        128,       16383,
                                    16384, UINT32_MAX, 1ull << 35, INT64_MAX, UINT64_MAX };

static void varints(struct test *t)
{
    struct om_buf b = OM_BUF_INIT(1000);

    for (size_t i = 0; i < OM_COUNT(numbers); i++) {
        const size_t before = b.len;
        om_wire_varint(&b, numbers[i]);
        CHECK_INT(t, b.len - before, om_wire_varint_size(numbers[i]));
    }
    CHECK_INT(t, om_wire_varint_size(127), 1);
    CHECK_INT(t, om_wire_varint_size(128), 2);
    CHECK_INT(t, om_wire_varint_size(UINT64_MAX), 10);

    om_sv rest = om_buf_sv(&b);
    uint64_t v = 0;
    for (size_t i = 0; i < OM_COUNT(numbers); i++)
        CHECK(t, om_wire_packed_varint(&rest, &v) && v == numbers[i]);
    CHECK(t, !om_wire_packed_varint(&rest, &v) && rest.len == 0);
    om_buf_release(&b);
}

static bool next_is(om_sv *rest, uint32_t number, enum om_wire_type type, struct om_wire_field *f)
{
    return om_wire_next(rest, f, NULL) == 1 && f->number == number && f->type == type;
}

static void fields(struct test *t)
{
    struct om_buf b = OM_BUF_INIT(1000);
    struct om_wire_field f;

    om_wire_put_int(&b, 1, 150);
    om_wire_put_int(&b, 2, -1);
    om_wire_put_float(&b, 3, 1.0f);
    om_wire_put_bytes(&b, 4, OM_SVL("name"));
    om_wire_put_bytes(&b, 536870911, (om_sv){ NULL, 0 });
    om_wire_put_header(&b, 9, 2);
    om_buf_adds(&b, "xy");
    om_buf_add(&b, "\x51\1\2\3\4\5\6\7\x08", 9);     /* field 10, 64 bits */
    CHECK(t, memcmp(b.ptr, "\x08\x96\x01", 3) == 0); /* the example of the specification */

    om_sv rest = om_buf_sv(&b);
    CHECK(t, next_is(&rest, 1, OM_WIRE_VARINT, &f) && f.value == 150);
    CHECK(t, next_is(&rest, 2, OM_WIRE_VARINT, &f) && (int64_t)f.value == -1);
    CHECK(t, next_is(&rest, 3, OM_WIRE_I32, &f) && f.value == 0x3F800000);
    CHECK(t, next_is(&rest, 4, OM_WIRE_LEN, &f) && om_sv_is(f.bytes, "name"));
    CHECK(t, next_is(&rest, 536870911, OM_WIRE_LEN, &f) && f.bytes.len == 0);
    CHECK(t, next_is(&rest, 9, OM_WIRE_LEN, &f) && om_sv_is(f.bytes, "xy"));
    CHECK(t, next_is(&rest, 10, OM_WIRE_I64, &f) && f.value == 0x0807060504030201u);
    CHECK_INT(t, om_wire_next(&rest, &f, NULL), 0);
    om_buf_release(&b);
}

/* A message within a message, at the payload sizes where the length grows by a byte. */
static void nested(struct test *t)
{
    static const size_t sizes[] = { 0, 1, 124, 125, 126, 127, 128, 129, 16380, 16384, 70000 };
    static char payload[70000];

    memset(payload, 'p', sizeof(payload));
    for (size_t i = 0; i < OM_COUNT(sizes); i++) {
        struct om_buf b = OM_BUF_INIT(1u << 20);
        struct om_wire_field f;
        const size_t outer = om_wire_begin(&b, 7);
        const size_t inner = om_wire_begin(&b, 300);
        om_buf_add(&b, payload, sizes[i]);
        om_wire_end(&b, inner);
        om_wire_put_int(&b, 1, 5);
        om_wire_end(&b, outer);

        test_case(t, "%zu bytes", sizes[i]);
        om_sv rest = om_buf_sv(&b);
        CHECK(t, next_is(&rest, 7, OM_WIRE_LEN, &f) && rest.len == 0);
        const size_t inner_size = 2 + om_wire_varint_size(sizes[i]) + sizes[i];
        CHECK_INT(t, f.bytes.len, inner_size + 2); /* lengths have their shortest form */
        rest = f.bytes;
        CHECK(t, next_is(&rest, 300, OM_WIRE_LEN, &f) && f.bytes.len == sizes[i]);
        CHECK(t, om_sv_eq(f.bytes, (om_sv){ payload, sizes[i] }));
        CHECK(t, next_is(&rest, 1, OM_WIRE_VARINT, &f) && f.value == 5 && rest.len == 0);
        om_buf_release(&b);
    }
}

static void full_buffer(struct test *t)
{
    for (size_t max = 0; max < 140; max++) {
        struct om_buf b = OM_BUF_INIT(max);
        const size_t begun = om_wire_begin(&b, 1);
        for (int i = 0; i < 130; i++)
            om_buf_addc(&b, 'x');
        om_wire_end(&b, begun);
        test_case(t, "at most %zu bytes", max);
        CHECK_INT(t, b.failed, max < 133);
        om_buf_release(&b);
    }
}

static void refused(struct test *t)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *message;
    } cases[] = {
        { "\x08", 1, "varint" },
        { "\x08\x80", 2, "varint" },
        { "\x08\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x02", 11, "varint" },     /* 65 bits */
        { "\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", 12, "varint" }, /* 11 bytes */
        { "\x80", 1, "tag" },
        { "\x00\x01", 2, "field number 0" },
        { "\x80\x80\x80\x80\x10\x00", 6, "field number 536870912" },
        { "\x0B", 1, "wire type 3" },
        { "\x0C", 1, "wire type 4" },
        { "\x0E", 1, "wire type 6" },
        { "\x0F", 1, "wire type 7" },
        { "\x0D\x01\x02\x03", 4, "cut off, 3 bytes" },
        { "\x09\x01\x02\x03\x04\x05\x06\x07", 8, "cut off, 7 bytes" },
        { "\x0A\x05hell", 6, "length 5, but only 4" },
        { "\x0A", 1, "length" },
        { "\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01x", 12, "18446744073709551615" },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_error err = OM_ERROR_INIT;
        struct om_wire_field f;
        om_sv rest = { cases[i].bytes, cases[i].len };
        test_case(t, "case %zu", i);
        CHECK_INT(t, om_wire_next(&rest, &f, &err), OM_E_FORMAT);
        CHECK_HAS(t, om_error_text(&err), cases[i].message);
        om_error_release(&err);
    }
}

const struct test_entry t_wire[] = { { "varints", varints }, { "fields", fields },
                                     { "nested", nested },   { "full_buffer", full_buffer },
                                     { "refused", refused }, TEST_END };
