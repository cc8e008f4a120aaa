/* src/tok/post.c: post-processors, and writing what they leave. */
#include "tok/post.h"

#include <stdlib.h>

struct post_processor {
    struct tok_kind kind;
    size_t (*added)(const void *conf, bool pair);
    bool (*trims)(const void *conf);
    void (*run)(const void *conf, struct tok_work *w, struct tok_encs *encs, bool special);
};

static const struct post_processor *processor(const struct tok_component *c)
{
    return (const struct post_processor *)c->kind;
}

size_t tok_post_added(const struct tok_component *c, bool pair)
{
    return c->kind ? processor(c)->added(c->conf, pair) : 0;
}

bool tok_post_trims(const struct tok_component *c)
{
    return c->kind && processor(c)->trims(c->conf);
}

static void run(const struct tok_component *c, struct tok_work *w, struct tok_encs *encs,
                bool special)
{
    if (w->rc == 0)
        processor(c)->run(c->conf, w, encs, special);
}

static void *alloc(struct tok_work *w, size_t n, size_t elem)
{
    void *const p = w->rc < 0 ? NULL : om_arena_array(&w->arena, n, elem);

    if (!p)
        tok_no_memory(w);
    return p;
}

/* ---- windows ---- */

struct tok_enc tok_enc_new(struct tok_work *w, const struct tok_token *tokens, size_t n,
                           uint32_t type_id)
{
    struct tok_enc e = { .overflow = NULL };
    struct tok_segment *const s = alloc(w, 1, sizeof(*s));

    if (!s)
        return e;
    *s = (struct tok_segment){ .tokens = tokens, .len = (uint32_t)n, .type_id = type_id };
    e.main = (struct tok_window){ .segments = s, .segments_len = 1, .len = (uint32_t)n };
    return e;
}

static struct tok_window special_window(struct tok_work *w, const uint32_t *ids, size_t n,
                                        uint32_t type_id)
{
    struct tok_segment *const s = alloc(w, 1, sizeof(*s));

    if (!s)
        return (struct tok_window){ .segments = NULL };
    *s =
        (struct tok_segment){ .ids = ids, .len = (uint32_t)n, .type_id = type_id, .special = true };
    return (struct tok_window){ .segments = s, .segments_len = 1, .len = (uint32_t)n };
}

/* Say that all of a window belongs to a text; what it said of that text before is replaced. */
static void set_sequence(struct tok_work *w, struct tok_window *v, uint32_t sequence)
{
    const struct tok_range r = { sequence, 0, v->len };

    for (size_t i = 0; i < v->ranges_len; i++) {
        if (v->ranges[i].sequence == sequence) {
            v->ranges[i] = r;
            return;
        }
    }
    struct tok_range *const ranges = alloc(w, v->ranges_len + 1, sizeof(*ranges));
    if (!ranges)
        return;
    if (v->ranges_len)
        memcpy(ranges, v->ranges, v->ranges_len * sizeof(*ranges));
    ranges[v->ranges_len++] = r;
    v->ranges = ranges;
}

static void set_type(struct tok_window *v, uint32_t type_id)
{
    for (size_t i = 0; i < v->segments_len; i++)
        v->segments[i].type_id = type_id;
}

static void add_ranges(struct tok_window *to, const struct tok_window *from, uint32_t shift)
{
    for (size_t i = 0; i < from->ranges_len; i++) {
        struct tok_range r = from->ranges[i];
        size_t k = 0;
        r.begin += shift;
        r.end += shift;
        while (k < to->ranges_len && to->ranges[k].sequence != r.sequence)
            k++;
        to->ranges[k] = r;
        to->ranges_len += k == to->ranges_len;
    }
}

static struct tok_window join(struct tok_work *w, const struct tok_window *a,
                              const struct tok_window *b)
{
    struct tok_window v = { .len = a->len + b->len };
    uint64_t len = (uint64_t)a->len + b->len;

    if (len > UINT32_MAX)
        tok_fail(w, OM_E_LIMIT, "a window of %" PRIu64 " tokens", len);
    v.segments = alloc(w, a->segments_len + b->segments_len, sizeof(*v.segments));
    v.ranges = alloc(w, a->ranges_len + b->ranges_len, sizeof(*v.ranges));
    if (!v.segments || !v.ranges)
        return (struct tok_window){ .segments = NULL };
    if (a->segments_len)
        memcpy(v.segments, a->segments, a->segments_len * sizeof(*v.segments));
    if (b->segments_len)
        memcpy(v.segments + a->segments_len, b->segments, b->segments_len * sizeof(*v.segments));
    v.segments_len = a->segments_len + b->segments_len;
    add_ranges(&v, a, 0);
    add_ranges(&v, b, a->len);
    return v;
}

/* Append b to a. Their further windows: each of a's with b and with each of b's, then a with each
 * of b's. */
static void merge(struct tok_work *w, struct tok_enc *a, const struct tok_enc *b)
{
    const size_t n = a->overflow_len * (1 + b->overflow_len) + b->overflow_len;
    struct tok_window *const overflow = n ? alloc(w, n, sizeof(*overflow)) : NULL;
    size_t k = 0;

    for (size_t i = 0; i < a->overflow_len && w->rc == 0; i++) {
        overflow[k++] = join(w, &a->overflow[i], &b->main);
        for (size_t j = 0; j < b->overflow_len && w->rc == 0; j++)
            overflow[k++] = join(w, &a->overflow[i], &b->overflow[j]);
    }
    for (size_t j = 0; j < b->overflow_len && w->rc == 0; j++)
        overflow[k++] = join(w, &a->main, &b->overflow[j]);
    a->main = join(w, &a->main, &b->main);
    a->overflow = overflow;
    a->overflow_len = w->rc == 0 ? n : 0;
}

/* ---- BertProcessing and RobertaProcessing ---- */

struct bert {
    uint32_t cls, sep;
    bool trim, prefix_space; /* of Roberta */
};

static const struct tok_field bert_fields[] = { TOK_FIELD_SKIP("sep"), TOK_FIELD_SKIP("cls"),
                                                TOK_FIELDS_END };

static const struct tok_field roberta_fields[] = {
    TOK_FIELD_SKIP("sep"),
    TOK_FIELD_SKIP("cls"),
    TOK_FIELD(BOOL, struct bert, trim, "trim_offsets", 0, 0),
    TOK_FIELD(BOOL, struct bert, prefix_space, "add_prefix_space", 0, 0),
    TOK_FIELDS_END,
};

/* ["[SEP]", 102] */
static int token_pair(struct tok_loader *l, const struct om_json *j, const char *key, uint32_t *id)
{
    const struct om_json *const v = om_json_get(j, key);
    int64_t n = -1;

    if (om_json_len(v) != 2 || om_json_kind(om_json_at(v, 0)) != OM_JSON_STRING ||
        !om_json_i64(om_json_at(v, 1), &n) || n < 0 || n >= TOK_NONE)
        return om_fail(l->err, OM_E_CONFIG, "key \"%s\": expected a token and its id", key);
    *id = (uint32_t)n;
    return 0;
}

static int bert_finish(struct tok_loader *l, const struct om_json *j, void *conf)
{
    struct bert *const b = conf;

    OM_TRY(token_pair(l, j, "sep", &b->sep));
    return token_pair(l, j, "cls", &b->cls);
}

static size_t bert_added(const void *conf, bool pair)
{
    (void)conf;
    return pair ? 3 : 2;
}

static size_t roberta_added(const void *conf, bool pair)
{
    (void)conf;
    return pair ? 4 : 2;
}

static bool never(const void *conf)
{
    (void)conf;
    return false;
}

static bool roberta_trims(const void *conf)
{
    return ((const struct bert *)conf)->trim;
}

/* Put one special token before (NULL: none) and one behind; what is between is the text `sequence`,
 * and no special token. */
static void wrap(struct tok_work *w, struct tok_window *v, const uint32_t *before,
                 const uint32_t *behind, uint32_t sequence, uint32_t type_id)
{
    const struct tok_window first = special_window(w, before, before != NULL, type_id);
    const struct tok_window last = special_window(w, behind, 1, type_id);

    for (size_t i = 0; i < v->segments_len; i++)
        v->segments[i].special = false;
    v->ranges_len = 0;
    set_sequence(w, v, sequence);
    *v = join(w, &first, v);
    *v = join(w, v, &last);
}

static void wrap_all(struct tok_work *w, struct tok_enc *e, const uint32_t *before,
                     const uint32_t *behind, uint32_t sequence, uint32_t type_id)
{
    wrap(w, &e->main, before, behind, sequence, type_id);
    for (size_t i = 0; i < e->overflow_len && w->rc == 0; i++)
        wrap(w, &e->overflow[i], before, behind, sequence, type_id);
}

static void bert(const void *conf, struct tok_work *w, struct tok_encs *encs, bool special)
{
    const struct bert *const b = conf;

    for (size_t i = 0; special && i < encs->len; i++)
        wrap_all(w, &encs->items[i], i == 0 ? &b->cls : NULL, &b->sep, i != 0, i != 0);
}

static void trim_all(struct tok_work *w, struct tok_encs *encs, bool prefix_space);

static void roberta(const void *conf, struct tok_work *w, struct tok_encs *encs, bool special)
{
    const struct bert *const b = conf;

    if (b->trim)
        trim_all(w, encs, b->prefix_space);
    for (size_t i = 0; i < encs->len; i++)
        set_type(&encs->items[i].main, 0);
    for (size_t i = 0; special && i < encs->len; i++) {
        for (size_t k = 0; k < encs->items[i].overflow_len; k++)
            set_type(&encs->items[i].overflow[k], 0);
        wrap_all(w, &encs->items[i], i == 0 ? &b->cls : &b->sep, &b->sep, i != 0, 0);
    }
}

/* ---- ByteLevel: white space at the ends of tokens is taken from their offsets ---- */

struct byte_level {
    bool prefix_space, trim, use_regex;
};

static const struct tok_field byte_level_fields[] = {
    TOK_FIELD(BOOL, struct byte_level, prefix_space, "add_prefix_space", 0, 0),
    TOK_FIELD(BOOL, struct byte_level, trim, "trim_offsets", 0, 0),
    TOK_FIELD(BOOL, struct byte_level, use_regex, "use_regex", TOK_OPTIONAL, true),
    TOK_FIELDS_END,
};

static void trim_offsets(struct om_offsets *o, uint32_t lead, uint32_t trail, bool first,
                         bool prefix_space)
{
    if (lead == 1 && prefix_space && (first || o->begin == 0))
        lead = 0; /* the space that was put there */
    o->begin = OM_MIN(o->begin + lead, o->end);
    if (trail > 0 && o->end >= trail)
        o->end = OM_MAX(o->end - trail, o->begin);
}

static void trim(struct tok_work *w, struct tok_window *v, bool prefix_space)
{
    size_t before = 0; /* tokens */

    for (size_t i = 0; i < v->segments_len; before += v->segments[i++].len) {
        struct tok_segment *const s = &v->segments[i];
        if (!s->tokens || s->len == 0)
            continue;
        struct tok_token *const copy = om_arena_copy(&w->arena, s->tokens, s->len * sizeof(*copy));
        if (!copy) {
            tok_no_memory(w);
            return;
        }
        for (size_t k = 0; k < s->len; k++) {
            struct tok_token *const t = &copy[k];
            trim_offsets(&t->bytes, t->lead, t->trail, before + k == 0, prefix_space);
            trim_offsets(&t->chars, t->lead, t->trail, before + k == 0, prefix_space);
        }
        s->tokens = copy;
    }
}

static void trim_all(struct tok_work *w, struct tok_encs *encs, bool prefix_space)
{
    for (size_t i = 0; i < encs->len; i++) {
        struct tok_enc *const e = &encs->items[i];
        trim(w, &e->main, prefix_space);
        for (size_t k = 0; k < e->overflow_len && w->rc == 0; k++)
            trim(w, &e->overflow[k], prefix_space);
    }
}

static size_t none_added(const void *conf, bool pair)
{
    (void)conf;
    (void)pair;
    return 0;
}

static bool byte_level_trims(const void *conf)
{
    return ((const struct byte_level *)conf)->trim;
}

static void byte_level(const void *conf, struct tok_work *w, struct tok_encs *encs, bool special)
{
    const struct byte_level *const b = conf;

    (void)special;
    if (b->trim)
        trim_all(w, encs, b->prefix_space);
    for (size_t i = 0; i < encs->len; i++)
        set_sequence(w, &encs->items[i].main, (uint32_t)i);
}

/* ---- TemplateProcessing ---- */

struct template_piece {
    const uint32_t *ids; /* NULL: a text */
    uint32_t len;        /* of ids; or which text, 0 or 1 */
    uint32_t type_id;
};

struct template_list {
    struct template_piece *items;
    size_t len;
};

struct templates {
    struct template_list single, pair;
};

static const struct tok_field template_fields[] = {
    TOK_FIELD_SKIP("single"),
    TOK_FIELD_SKIP("pair"),
    TOK_FIELD_SKIP("special_tokens"),
    TOK_FIELDS_END,
};

/* The ids of special_tokens[name]. */
static int special_ids(struct tok_loader *l, const struct om_json *j, om_sv name,
                       struct template_piece *p)
{
    const char *const key = om_arena_str(l->arena, name);
    const struct om_json *const ids =
        om_json_get(om_json_get(om_json_get(j, "special_tokens"), key ? key : ""), "ids");

    if (om_json_kind(ids) != OM_JSON_ARRAY)
        return om_fail(l->err, OM_E_CONFIG,
                       "special token \"%.*s\" has no list \"ids\" in \"special_tokens\"",
                       OM_SV(name));
    const size_t n = om_json_len(ids);
    uint32_t *const out = om_arena_array(l->arena, n, sizeof(*out));
    if (!out)
        return tok_loader_no_memory(l);
    for (size_t i = 0; i < n; i++) {
        int64_t id;
        if (!om_json_i64(om_json_at(ids, i), &id) || id < 0 || id >= TOK_NONE)
            return om_fail(l->err, OM_E_CONFIG, "special token \"%.*s\": an id is no token id",
                           OM_SV(name));
        out[i] = (uint32_t)id;
    }
    p->ids = out;
    p->len = (uint32_t)n;
    return 0;
}

static int template_piece(struct tok_loader *l, const struct om_json *j,
                          const struct om_json *piece, bool pair, struct template_piece *out)
{
    const struct om_json *const text = om_json_get(piece, "Sequence"), *const token = om_json_get(
                                                                           piece, "SpecialToken");
    const struct om_json *const body = text ? text : token;
    int64_t type_id;
    om_sv id;

    if (!om_json_str(om_json_get(body, "id"), &id) ||
        !om_json_i64(om_json_get(body, "type_id"), &type_id) || type_id < 0 || type_id > UINT32_MAX)
        return om_fail(l->err, OM_E_CONFIG,
                       "expected {\"Sequence\" or \"SpecialToken\": {\"id\", \"type_id\"}}");
    out->type_id = (uint32_t)type_id;
    if (token)
        return special_ids(l, j, id, out);
    if (!om_sv_is(id, "A") && !(pair && om_sv_is(id, "B")))
        return om_fail(l->err, OM_E_CONFIG, "there is no text \"%.*s\"", OM_SV(id));
    out->len = om_sv_is(id, "B");
    return 0;
}

static int template_read(struct tok_loader *l, const struct om_json *j, const char *key, bool pair,
                         struct template_list *out)
{
    const struct om_json *const list = om_json_get(j, key);

    if (om_json_kind(list) != OM_JSON_ARRAY)
        return om_fail(l->err, OM_E_CONFIG, "key \"%s\": expected an array, found %s", key,
                       om_json_kind_text(list));
    out->len = om_json_len(list);
    out->items = om_arena_array(l->arena, out->len, sizeof(*out->items));
    if (!out->items)
        return tok_loader_no_memory(l);
    for (size_t i = 0; i < out->len; i++) {
        const int rc = template_piece(l, j, om_json_at(list, i), pair, &out->items[i]);
        if (rc < 0)
            return om_wrap(l->err, rc, "key \"%s\", piece %zu", key, i);
    }
    return 0;
}

static int template_finish(struct tok_loader *l, const struct om_json *j, void *conf)
{
    struct templates *const t = conf;

    OM_TRY(template_read(l, j, "single", false, &t->single));
    return template_read(l, j, "pair", true, &t->pair);
}

static size_t template_added(const void *conf, bool pair)
{
    const struct templates *const t = conf;
    const struct template_list *const list = pair ? &t->pair : &t->single;
    size_t n = 0;

    for (size_t i = 0; i < list->len; i++)
        n += list->items[i].ids ? list->items[i].len : 0;
    return n;
}

/* The type of a text goes to its main window; its further windows keep the one they had. */
static struct tok_enc template_text(struct tok_work *w, const struct tok_enc *e,
                                    const struct template_piece *p)
{
    struct tok_enc copy = *e;
    const struct tok_window empty = { .segments = NULL };

    copy.main = join(w, &e->main, &empty); /* its own segments and ranges */
    set_type(&copy.main, p->type_id);
    set_sequence(w, &copy.main, p->len);
    return copy;
}

static void template_run(const void *conf, struct tok_work *w, struct tok_encs *encs, bool special)
{
    const struct templates *const t = conf;
    const struct template_list *const list = encs->len == 2 ? &t->pair : &t->single;
    struct tok_encs out = { alloc(w, list->len, sizeof(*out.items)), 0 };

    if (encs->len > 2)
        tok_fail(w, OM_E_UNSUPPORTED,
                 "TemplateProcessing behind another post-processor that takes texts apart");
    for (size_t i = 0; i < list->len && w->rc == 0; i++) {
        const struct template_piece *const p = &list->items[i];
        if (!p->ids)
            out.items[out.len++] = template_text(w, &encs->items[p->len], p);
        else if (special)
            out.items[out.len++] =
                (struct tok_enc){ .main = special_window(w, p->ids, p->len, p->type_id) };
    }
    *encs = out;
}

/* ---- Sequence ---- */

static const struct tok_field sequence_fields[] = { TOK_FIELD_SKIP("processors"), TOK_FIELDS_END };

static int sequence_finish(struct tok_loader *l, const struct om_json *j, void *conf)
{
    return tok_components_read(l, &tok_post_processors, j, "processors", conf);
}

static size_t sequence_added(const void *conf, bool pair)
{
    const struct tok_components *const c = conf;
    size_t n = 0;

    for (size_t i = 0; i < c->len; i++)
        n += tok_post_added(&c->items[i], pair);
    return n;
}

static bool sequence_trims(const void *conf)
{
    const struct tok_components *const c = conf;
    bool any = false;

    for (size_t i = 0; i < c->len; i++)
        any |= tok_post_trims(&c->items[i]);
    return any;
}

static void sequence(const void *conf, struct tok_work *w, struct tok_encs *encs, bool special)
{
    const struct tok_components *const c = conf;

    for (size_t i = 0; i < c->len; i++)
        run(&c->items[i], w, encs, special);
}

/* ---- the table ---- */

static const struct post_processor kinds[] = {
    { { "TemplateProcessing", template_fields, sizeof(struct templates), template_finish },
      template_added,
      never,
      template_run },
    { { "BertProcessing", bert_fields, sizeof(struct bert), bert_finish },
      bert_added,
      never,
      bert },
    { { "RobertaProcessing", roberta_fields, sizeof(struct bert), bert_finish },
      roberta_added,
      roberta_trims,
      roberta },
    { { "ByteLevel", byte_level_fields, sizeof(struct byte_level), NULL },
      none_added,
      byte_level_trims,
      byte_level },
    { { "Sequence", sequence_fields, sizeof(struct tok_components), sequence_finish },
      sequence_added,
      sequence_trims,
      sequence },
};

static const struct tok_kind *const list[] = { &kinds[0].kind, &kinds[1].kind, &kinds[2].kind,
                                               &kinds[3].kind, &kinds[4].kind, NULL };

const struct tok_stage tok_post_processors = { "post-processor", list };

struct tok_enc tok_post_process(const struct tok_component *c, struct tok_work *w,
                                struct tok_encs *encs, bool special)
{
    struct tok_enc all = { .overflow = NULL };

    for (size_t i = 0; i < encs->len && c->kind; i++) {
        set_sequence(w, &encs->items[i].main, (uint32_t)i);
        for (size_t k = 0; k < encs->items[i].overflow_len; k++)
            set_sequence(w, &encs->items[i].overflow[k], (uint32_t)i);
    }
    if (c->kind)
        run(c, w, encs, special);
    else if (encs->len == 2) /* without a post-processor only the main windows know their texts */
        for (size_t i = 0; i < encs->len; i++)
            set_sequence(w, &encs->items[i].main, (uint32_t)i);
    if (encs->len == 1)
        return encs->items[0];
    for (size_t i = 0; i < encs->len && w->rc == 0; i++)
        merge(w, &all, &encs->items[i]);
    return all;
}
