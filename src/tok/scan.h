/* src/tok/scan.h: the long lists of tokenizer.json, read straight from its text.
 *
 * Vocabulary and merges are nearly all of a file. Building a tree of JSON values for them takes longer than everything
 * else, so they are cut out first and read by a scanner that knows their forms; the rest is parsed as usual. */
#ifndef OM_TOK_SCAN_H
#define OM_TOK_SCAN_H

#include "base/arena.h"
#include "base/buf.h"
#include "tok/model.h"

enum { TOK_CHARSMAPS = 4 };

struct tok_cuts {
    om_sv vocab, merges; /* the values of model.vocab and model.merges; ptr NULL: absent */
    om_sv charsmaps[TOK_CHARSMAPS]; /* long texts of precompiled_charsmap, without quotes */
    size_t charsmaps_len;
};

/* Copy text to rest, with null for the two values and its index for each charsmap. A text that is no JSON is copied as it is. */
int tok_cut(om_sv text, struct tok_cuts *cuts, struct om_buf *rest, struct om_error *err);

struct tok_entries {
    struct tok_entry *items; /* malloc'ed; texts lie in the JSON text, or in a where they were escaped */
    size_t len, cap;
};

struct tok_merges {
    struct tok_merge *items; /* likewise */
    size_t len, cap;
};

int tok_scan_vocab(struct om_arena *a, om_sv json, struct tok_entries *out, struct om_error *err);  /* {"token": id, ...} */
int tok_scan_pieces(struct om_arena *a, om_sv json, struct tok_entries *out, struct om_error *err); /* [["piece", score], ...] */
int tok_scan_merges(struct om_arena *a, om_sv json, struct tok_merges *out, struct om_error *err);  /* ["a b", ...] or [["a", "b"], ...] */

#endif
