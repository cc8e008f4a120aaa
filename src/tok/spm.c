/* src/tok/spm.c: SentencePiece models
 * (https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto). */
#include "tok/spm.h"

#include <math.h>

#include "base/wire.h"

/* Field numbers of the messages. */
enum { MODEL_PIECES = 1, MODEL_TRAINER = 2, MODEL_NORMALIZER = 3 };
enum { PIECE_TEXT = 1, PIECE_SCORE = 2, PIECE_TYPE = 3 };
enum { TRAINER_ALGORITHM = 3, TRAINER_UNK_ID = 40, TRAINER_UNK_PIECE = 45 };
enum { NORMALIZER_CHARSMAP = 2, NORMALIZER_DUMMY_PREFIX = 3, NORMALIZER_REMOVE_SPACES = 4 };

static int expect(const struct om_wire_field *f, enum om_wire_type type, struct om_error *err)
{
    if (f->type == type)
        return 0;
    return om_fail(err, OM_E_FORMAT, "field %" PRIu32 " has wire type %d, expected %d", f->number,
                   (int)f->type, (int)type);
}

static int read_piece(om_sv bytes, struct tok_spm_piece *p, struct om_error *err)
{
    struct om_wire_field f;
    int rc;

    *p = (struct tok_spm_piece){ .text = { "", 0 }, .type = TOK_SPM_NORMAL };
    while ((rc = om_wire_next(&bytes, &f, err)) > 0) {
        if (f.number == PIECE_TEXT) {
            OM_TRY(expect(&f, OM_WIRE_LEN, err));
            p->text = f.bytes;
        } else if (f.number == PIECE_SCORE) {
            const uint32_t bits = (uint32_t)f.value;
            OM_TRY(expect(&f, OM_WIRE_I32, err));
            memcpy(&p->score, &bits, sizeof(bits));
        } else if (f.number == PIECE_TYPE) {
            OM_TRY(expect(&f, OM_WIRE_VARINT, err));
            if (f.value < TOK_SPM_NORMAL || f.value > TOK_SPM_BYTE)
                return om_fail(err, OM_E_FORMAT, "type %" PRIu64 ", expected 1 to 6", f.value);
            p->type = (enum tok_spm_type)f.value;
        }
    }
    OM_TRY(rc);
    if (p->text.len > TOK_SPM_PIECE_MAX)
        return om_fail(err, OM_E_LIMIT, "%zu bytes, expected at most %d", p->text.len,
                       (int)TOK_SPM_PIECE_MAX);
    if (!om_utf8_valid(p->text))
        return om_fail(err, OM_E_FORMAT, "the text is not UTF-8");
    if (!isfinite(p->score))
        return om_fail(err, OM_E_FORMAT, "the score is not finite");
    return 0;
}

static int read_trainer(om_sv bytes, struct tok_spm *m, struct om_error *err)
{
    struct om_wire_field f;
    int rc;

    while ((rc = om_wire_next(&bytes, &f, err)) > 0) {
        if (f.number == TRAINER_ALGORITHM) {
            OM_TRY(expect(&f, OM_WIRE_VARINT, err));
            if (f.value < TOK_SPM_UNIGRAM || f.value > TOK_SPM_CHAR)
                return om_fail(err, OM_E_FORMAT, "model type %" PRIu64 ", expected 1 to 4",
                               f.value);
            m->algorithm = (enum tok_spm_algorithm)f.value;
        } else if (f.number == TRAINER_UNK_ID) {
            OM_TRY(expect(&f, OM_WIRE_VARINT, err));
            m->unk_id = f.value < UINT32_MAX ? (uint32_t)f.value : UINT32_MAX;
        } else if (f.number == TRAINER_UNK_PIECE) {
            OM_TRY(expect(&f, OM_WIRE_LEN, err));
            m->unk_piece = f.bytes;
        }
    }
    return rc;
}

static int read_normalizer(om_sv bytes, struct tok_spm *m, struct om_error *err)
{
    struct om_wire_field f;
    int rc;

    while ((rc = om_wire_next(&bytes, &f, err)) > 0) {
        if (f.number == NORMALIZER_CHARSMAP) {
            OM_TRY(expect(&f, OM_WIRE_LEN, err));
            m->charsmap = f.bytes;
        } else if (f.number == NORMALIZER_DUMMY_PREFIX) {
            OM_TRY(expect(&f, OM_WIRE_VARINT, err));
            m->dummy_prefix = f.value != 0;
        } else if (f.number == NORMALIZER_REMOVE_SPACES) {
            OM_TRY(expect(&f, OM_WIRE_VARINT, err));
            m->extra_spaces = f.value == 0;
        }
    }
    return rc;
}

/* The number of pieces, so that they are one array. */
static int count_pieces(om_sv bytes, size_t *n, struct om_error *err)
{
    struct om_wire_field f;
    int rc;

    *n = 0;
    while ((rc = om_wire_next(&bytes, &f, err)) > 0)
        *n += f.number == MODEL_PIECES;
    OM_TRY(rc);
    if (*n == 0 || *n > TOK_SPM_PIECES_MAX)
        return om_fail(err, *n ? OM_E_LIMIT : OM_E_FORMAT, "%zu pieces, expected 1 to %d", *n,
                       (int)TOK_SPM_PIECES_MAX);
    return 0;
}

static int read_field(const struct om_wire_field *f, struct tok_spm *m, struct om_error *err)
{
    if (f->number < MODEL_PIECES || f->number > MODEL_NORMALIZER)
        return 0;
    OM_TRY(expect(f, OM_WIRE_LEN, err));
    switch (f->number) {
    case MODEL_PIECES:
        OM_TRY(om_wrap(err, read_piece(f->bytes, &m->pieces[m->len], err), "piece %zu", m->len));
        m->len++;
        return 0;
    case MODEL_TRAINER:
        return om_wrap(err, read_trainer(f->bytes, m, err), "trainer_spec");
    default:
        return om_wrap(err, read_normalizer(f->bytes, m, err), "normalizer_spec");
    }
}

int tok_spm_read(struct om_arena *a, om_sv bytes, struct tok_spm *out, struct om_error *err)
{
    struct tok_spm m = { .algorithm = TOK_SPM_UNIGRAM,
                         .unk_piece = OM_SVL("<unk>"),
                         .charsmap = { "", 0 },
                         .dummy_prefix = true };
    struct om_wire_field f;
    size_t n;
    int rc;

    OM_TRY(count_pieces(bytes, &n, err));
    m.pieces = om_arena_array(a, n, sizeof(*m.pieces));
    if (!m.pieces)
        return om_fail(err, OM_E_NOMEM, "out of memory for %zu pieces", n);
    while ((rc = om_wire_next(&bytes, &f, err)) > 0)
        OM_TRY(read_field(&f, &m, err));
    OM_TRY(rc);
    if (!om_utf8_valid(m.unk_piece))
        return om_fail(err, OM_E_FORMAT, "trainer_spec: unk_piece is not UTF-8");
    *out = m;
    return 0;
}
