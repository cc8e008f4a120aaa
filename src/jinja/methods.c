/* src/jinja/methods.c: methods of strings, lists, tuples and dicts. */
#include "jinja/builtin.h"
#include "jinja/format.h"

/* ---- arguments ---- */

bool jj_want_string(struct jj_run *r, jj_val v, om_sv *out)
{
    if (v.type == JJ_STR) {
        *out = jj_sv(v);
        return true;
    }
    if (v.type == JJ_UNDEFINED && r->rc == 0)
        jj_use_undefined(r, v);
    jj_fail(r, OM_E_FORMAT, "expected a string, found '%s'", jj_type_name(v));
    return false;
}

bool jj_want_int(struct jj_run *r, jj_val v, int64_t *out)
{
    if (jj_is_int(v)) {
        *out = jj_i64(v);
        return true;
    }
    jj_fail(r, OM_E_FORMAT, "'%s' object cannot be interpreted as an integer", jj_type_name(v));
    return false;
}

/* ---- ends ---- */

static jj_val strip(struct jj_run *r, jj_val self, const struct jj_args *a, enum jj_ends ends)
{
    om_sv set, s = jj_sv(self), left;

    if (!jj_is_none(a, 0) && !jj_want_string(r, a->v[0], &set))
        return self;
    left = jj_steps(r, s.len) ? jj_strip(s, jj_is_none(a, 0) ? NULL : &set, ends) : s;
    return jj_part(r, self, (size_t)(left.ptr - s.ptr), (size_t)(left.ptr - s.ptr) + left.len);
}

JJ_FN(str_strip)
{
    return strip(r, self, a, JJ_BOTH);
}
JJ_FN(str_lstrip)
{
    return strip(r, self, a, JJ_LEFT);
}
JJ_FN(str_rstrip)
{
    return strip(r, self, a, JJ_RIGHT);
}

/* The bytes of self that optional bounds in code points leave; false: an impossible range. */
static bool bounded(struct jj_run *r, jj_val self, const struct jj_args *a, unsigned first,
                    size_t *begin, size_t *end)
{
    const int64_t chars = (int64_t)self.s->chars;
    int64_t i[2] = { 0, chars };

    for (unsigned k = 0; k < 2; k++) {
        if (jj_is_none(a, first + k))
            continue;
        if (!jj_want_int(r, a->v[first + k], &i[k]))
            return false;
        if (i[k] < 0)
            i[k] = i[k] + chars < 0 ? 0 : i[k] + chars;
    }
    if (i[0] > chars || i[0] > i[1])
        return false;
    *begin = jj_byte_of(jj_sv(self), self.s->chars, (size_t)i[0]);
    *end = jj_byte_of(jj_sv(self), self.s->chars, (size_t)OM_MIN(i[1], chars));
    return true;
}

/* One text, or a tuple of them. */
static jj_val has_end(struct jj_run *r, jj_val self, const struct jj_args *a, bool start)
{
    const bool tuple = a->v[0].type == JJ_SEQ && a->v[0].seq->kind == JJ_TUPLE;
    const size_t n = tuple ? a->v[0].seq->len : 1;
    size_t begin, end;
    om_sv part;

    if (!bounded(r, self, a, 1, &begin, &end))
        return jj_bool(false);
    const om_sv s = { self.s->ptr + begin, end - begin };
    for (size_t i = 0; i < n && jj_step(r); i++) {
        if (!jj_want_string(r, tuple ? a->v[0].seq->items[i] : a->v[0], &part))
            break;
        if (start ? om_sv_starts(s, part) : om_sv_ends(s, part))
            return jj_bool(true);
    }
    return jj_bool(false);
}

JJ_FN(str_startswith)
{
    return has_end(r, self, a, true);
}
JJ_FN(str_endswith)
{
    return has_end(r, self, a, false);
}

JJ_FN(str_removeprefix)
{
    om_sv part;

    if (!jj_want_string(r, a->v[0], &part) || !om_sv_starts(jj_sv(self), part))
        return self;
    return jj_part(r, self, part.len, self.s->len);
}

JJ_FN(str_removesuffix)
{
    om_sv part;

    if (!jj_want_string(r, a->v[0], &part) || part.len == 0 || !om_sv_ends(jj_sv(self), part))
        return self;
    return jj_part(r, self, 0, self.s->len - part.len);
}

/* ---- splitting ---- */

static jj_val split_spaces(struct jj_run *r, jj_val self, int64_t most)
{
    struct jj_list l = { NULL, 0, 0 };
    om_sv s = jj_strip(jj_sv(self), NULL, JJ_LEFT);

    while (s.len && r->rc == 0) {
        size_t end = 0, len;
        while (end < s.len && !jj_is_space(jj_decode(s.ptr + end, &len)))
            end += len;
        if (most >= 0 && (int64_t)l.len >= most) {
            jj_push(r, &l, jj_view(r, s)); /* the rest keeps its white space at the end */
            break;
        }
        jj_push(r, &l, jj_view(r, (om_sv){ s.ptr, end }));
        s = jj_strip((om_sv){ s.ptr + end, s.len - end }, NULL, JJ_LEFT);
    }
    return jj_seq(r, JJ_LIST, l.items, l.len);
}

static void reverse(jj_val *items, size_t n)
{
    for (size_t i = 0; i < n / 2; i++) {
        const jj_val v = items[i];
        items[i] = items[n - 1 - i];
        items[n - 1 - i] = v;
    }
}

static size_t word_begin(om_sv s)
{
    size_t at = s.len, len;

    while (at > 0) {
        size_t before = at - 1;
        while (((unsigned char)s.ptr[before] & 0xC0) == 0x80)
            before--;
        if (jj_is_space(jj_decode(s.ptr + before, &len)))
            break;
        at = before;
    }
    return at;
}

static jj_val rsplit_spaces(struct jj_run *r, jj_val self, int64_t most)
{
    struct jj_list l = { NULL, 0, 0 };
    om_sv s = jj_strip(jj_sv(self), NULL, JJ_RIGHT);

    while (s.len && r->rc == 0) {
        if (most >= 0 && (int64_t)l.len >= most) {
            jj_push(r, &l, jj_view(r, s));
            break;
        }
        const size_t at = word_begin(s);
        jj_push(r, &l, jj_view(r, (om_sv){ s.ptr + at, s.len - at }));
        s = jj_strip((om_sv){ s.ptr, at }, NULL, JJ_RIGHT);
    }
    reverse(l.items, l.len);
    return jj_seq(r, JJ_LIST, l.items, l.len);
}

static jj_val split_at(struct jj_run *r, om_sv s, om_sv sep, int64_t most)
{
    struct jj_list l = { NULL, 0, 0 };
    size_t from = 0;
    int64_t at;

    while ((most < 0 || (int64_t)l.len < most) && r->rc == 0 &&
           (at = jj_find_text(s, sep, from)) >= 0) {
        jj_push(r, &l, jj_view(r, (om_sv){ s.ptr + from, (size_t)at - from }));
        from = (size_t)at + sep.len;
    }
    jj_push(r, &l, jj_view(r, (om_sv){ s.ptr + from, s.len - from }));
    return jj_seq(r, JJ_LIST, l.items, l.len);
}

static jj_val rsplit_at(struct jj_run *r, om_sv s, om_sv sep, int64_t most)
{
    struct jj_list l = { NULL, 0, 0 };
    int64_t at;

    while ((most < 0 || (int64_t)l.len < most) && r->rc == 0 && (at = jj_find_last(s, sep)) >= 0) {
        const size_t end = (size_t)at + sep.len;
        jj_push(r, &l, jj_view(r, (om_sv){ s.ptr + end, s.len - end }));
        s.len = (size_t)at;
    }
    jj_push(r, &l, jj_view(r, s));
    reverse(l.items, l.len);
    return jj_seq(r, JJ_LIST, l.items, l.len);
}

static jj_val split(struct jj_run *r, jj_val self, const struct jj_args *a, bool right)
{
    int64_t most = -1;
    om_sv sep;

    if ((jj_given(a, 1) && !jj_want_int(r, a->v[1], &most)) || !jj_steps(r, self.s->len))
        return self;
    if (jj_is_none(a, 0))
        return right ? rsplit_spaces(r, self, most) : split_spaces(r, self, most);
    if (!jj_want_string(r, a->v[0], &sep))
        return self;
    if (sep.len == 0)
        return jj_fail(r, OM_E_FORMAT, "empty separator");
    return right ? rsplit_at(r, jj_sv(self), sep, most) : split_at(r, jj_sv(self), sep, most);
}

JJ_FN(str_split)
{
    return split(r, self, a, false);
}
JJ_FN(str_rsplit)
{
    return split(r, self, a, true);
}

/* The length of a line break at s, 0: none. */
static size_t break_len(om_sv s)
{
    size_t len;
    const uint32_t c = jj_decode(s.ptr, &len);

    if (c == '\r')
        return s.len > 1 && s.ptr[1] == '\n' ? 2 : 1;
    return (c >= 10 && c <= 12) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
                   c == 0x2029
               ? len
               : 0;
}

jj_val jj_splitlines(struct jj_run *r, om_sv s, bool keep)
{
    struct jj_list l = { NULL, 0, 0 };
    size_t begin = 0, len;

    for (size_t i = 0; i < s.len && r->rc == 0; i += len) {
        const size_t brk = break_len((om_sv){ s.ptr + i, s.len - i });
        jj_decode(s.ptr + i, &len);
        if (!brk)
            continue;
        jj_push(r, &l, jj_view(r, (om_sv){ s.ptr + begin, i - begin + (keep ? brk : 0) }));
        len = brk;
        begin = i + brk;
    }
    if (begin < s.len)
        jj_push(r, &l, jj_view(r, (om_sv){ s.ptr + begin, s.len - begin }));
    return jj_seq(r, JJ_LIST, l.items, l.len);
}

JJ_FN(str_splitlines)
{
    return jj_splitlines(r, jj_sv(self), jj_given(a, 0) && jj_true(a->v[0]));
}

static jj_val partition(struct jj_run *r, jj_val self, const struct jj_args *a, bool right)
{
    const om_sv s = jj_sv(self);
    jj_val *const parts = jj_alloc(r, 3, sizeof(*parts));
    const jj_val empty = jj_view(r, (om_sv){ "", 0 });
    om_sv sep;

    if (!parts || !jj_want_string(r, a->v[0], &sep))
        return self;
    if (sep.len == 0)
        return jj_fail(r, OM_E_FORMAT, "empty separator");
    const int64_t at = right ? jj_find_last(s, sep) : jj_find_text(s, sep, 0);
    if (at < 0) {
        parts[0] = right ? empty : self;
        parts[1] = empty;
        parts[2] = right ? self : empty;
    } else {
        parts[0] = jj_part(r, self, 0, (size_t)at);
        parts[1] = jj_view(r, sep);
        parts[2] = jj_part(r, self, (size_t)at + sep.len, s.len);
    }
    return jj_seq(r, JJ_TUPLE, parts, 3);
}

JJ_FN(str_partition)
{
    return partition(r, self, a, false);
}
JJ_FN(str_rpartition)
{
    return partition(r, self, a, true);
}

/* ---- finding ---- */

/* The byte of part in the range, -1: none. */
static int64_t find_in(struct jj_run *r, jj_val self, const struct jj_args *a, bool last)
{
    size_t begin, end;
    om_sv part;

    if (!jj_want_string(r, a->v[0], &part) || !bounded(r, self, a, 1, &begin, &end) ||
        !jj_steps(r, self.s->len))
        return -1;
    const om_sv s = { self.s->ptr + begin, end - begin };
    const int64_t at = last ? jj_find_last(s, part) : jj_find_text(s, part, 0);
    return at < 0 ? -1 : at + (int64_t)begin;
}

static jj_val index_of(struct jj_run *r, jj_val self, const struct jj_args *a, bool last, bool must)
{
    const int64_t at = find_in(r, self, a, last);

    if (at < 0 && must)
        return jj_fail(r, OM_E_FORMAT, "substring not found");
    return jj_int(at < 0 ? -1 : (int64_t)jj_count((om_sv){ self.s->ptr, (size_t)at }));
}

JJ_FN(str_find)
{
    return index_of(r, self, a, false, false);
}
JJ_FN(str_rfind)
{
    return index_of(r, self, a, true, false);
}
JJ_FN(str_index)
{
    return index_of(r, self, a, false, true);
}
JJ_FN(str_rindex)
{
    return index_of(r, self, a, true, true);
}

JJ_FN(str_count)
{
    size_t begin, end;
    om_sv part;
    int64_t n = 0, at;

    if (!jj_want_string(r, a->v[0], &part) || !bounded(r, self, a, 1, &begin, &end) ||
        !jj_steps(r, self.s->len))
        return jj_int(0);
    const om_sv s = { self.s->ptr + begin, end - begin };
    if (part.len == 0)
        return jj_int((int64_t)jj_count(s) + 1);
    for (size_t from = 0; (at = jj_find_text(s, part, from)) >= 0; n++)
        from = (size_t)at + part.len;
    return jj_int(n);
}

/* new between all characters, and at the ends. */
static void replace_empty(struct om_buf *b, om_sv s, om_sv new, int64_t most)
{
    size_t len = 0;

    for (size_t i = 0; i <= s.len && !b->failed; i += len) {
        if (most != 0)
            om_buf_add(b, new.ptr, new.len);
        most -= most > 0;
        if (i == s.len)
            break;
        jj_decode(s.ptr + i, &len);
        om_buf_add(b, s.ptr + i, len);
    }
}

jj_val jj_replace(struct jj_run *r, om_sv s, om_sv old, om_sv new, int64_t most)
{
    struct om_buf b = OM_BUF_INIT(r->arena.max);
    size_t from = 0;
    int64_t at;

    if (!jj_steps(r, s.len))
        return jj_none();
    if (old.len == 0)
        replace_empty(&b, s, new, most);
    for (; old.len && most != 0 && !b.failed && (at = jj_find_text(s, old, from)) >= 0;
         most -= most > 0) {
        om_buf_add(&b, s.ptr + from, (size_t)at - from);
        om_buf_add(&b, new.ptr, new.len);
        from = (size_t)at + old.len;
    }
    if (old.len)
        om_buf_add(&b, s.ptr + from, s.len - from);
    return jj_buf(r, &b);
}

JJ_FN(str_replace)
{
    int64_t most = -1;
    om_sv old, new;

    if (!jj_want_string(r, a->v[0], &old) || !jj_want_string(r, a->v[1], &new) ||
        (jj_given(a, 2) && !jj_want_int(r, a->v[2], &most)))
        return self;
    return jj_replace(r, jj_sv(self), old, new, most);
}

JJ_FN(str_join)
{
    struct om_buf b = OM_BUF_INIT(r->arena.max);
    const jj_val *items;
    size_t len;
    om_sv part;

    if (!jj_iterate(r, a->v[0], &items, &len))
        return self;
    for (size_t i = 0; i < len && jj_step(r) && jj_want_string(r, items[i], &part); i++) {
        if (i)
            om_buf_add(&b, self.s->ptr, self.s->len);
        om_buf_add(&b, part.ptr, part.len);
    }
    return jj_buf(r, &b);
}

/* ---- cases ---- */

jj_val jj_cased(struct jj_run *r, om_sv s, enum jj_case to)
{
    struct om_buf b = OM_BUF_INIT(r->arena.max);

    if (!jj_steps(r, s.len))
        return jj_none();
    jj_put_all(&b, s, to);
    return jj_buf(r, &b);
}

JJ_FN(str_lower)
{
    (void)a;
    return jj_cased(r, jj_sv(self), JJ_LOWER);
}
JJ_FN(str_upper)
{
    (void)a;
    return jj_cased(r, jj_sv(self), JJ_UPPER);
}
JJ_FN(str_casefold)
{
    (void)a;
    return jj_cased(r, jj_sv(self), JJ_FOLD);
}
JJ_FN(str_swapcase)
{
    (void)a;
    return jj_cased(r, jj_sv(self), JJ_SWAP);
}

/* The first letter of the text, or of each word, in title case, the others in lower case. */
jj_val jj_titled(struct jj_run *r, om_sv s, bool words)
{
    struct om_buf b = OM_BUF_INIT(r->arena.max);
    bool inside = false;
    size_t len;

    if (!jj_steps(r, s.len))
        return jj_none();
    for (size_t i = 0; i < s.len; i += len) {
        const uint32_t c = jj_decode(s.ptr + i, &len);
        jj_put_case(&b, s, i, c, inside ? JJ_LOWER : JJ_TITLE);
        inside = words ? jj_is_upper(c) || jj_is_lower(c) || jj_is_title(c) : true;
    }
    return jj_buf(r, &b);
}

JJ_FN(str_capitalize)
{
    (void)a;
    return jj_titled(r, jj_sv(self), false);
}
JJ_FN(str_title)
{
    (void)a;
    return jj_titled(r, jj_sv(self), true);
}

/* ---- widths ---- */

jj_val jj_justify(struct jj_run *r, jj_val s, int64_t width, om_sv fill, char align)
{
    const size_t chars = s.s->chars;
    struct om_buf b = OM_BUF_INIT(r->arena.max);

    if (width <= (int64_t)chars)
        return s;
    const size_t pad = (size_t)width - chars;
    /* Python puts the odd one at the left where the width is odd. */
    const size_t left = align == '>' ? pad : align == '^' ? pad / 2 + (pad & (size_t)width & 1) : 0;
    if (!jj_steps(r, pad))
        return s;
    for (size_t i = 0; i < left && !b.failed; i++)
        om_buf_add(&b, fill.ptr, fill.len);
    om_buf_add(&b, s.s->ptr, s.s->len);
    for (size_t i = left; i < pad && !b.failed; i++)
        om_buf_add(&b, fill.ptr, fill.len);
    return jj_buf(r, &b);
}

static jj_val justify(struct jj_run *r, jj_val self, const struct jj_args *a, char align)
{
    om_sv fill = OM_SVL(" ");
    int64_t width;

    if (!jj_want_int(r, a->v[0], &width) || (jj_given(a, 1) && !jj_want_string(r, a->v[1], &fill)))
        return self;
    if (jj_count(fill) != 1)
        return jj_fail(r, OM_E_FORMAT, "the fill character must be exactly one character long");
    return jj_justify(r, self, width, fill, align);
}

JJ_FN(str_center)
{
    return justify(r, self, a, '^');
}
JJ_FN(str_ljust)
{
    return justify(r, self, a, '<');
}
JJ_FN(str_rjust)
{
    return justify(r, self, a, '>');
}

JJ_FN(str_zfill)
{
    const bool sign = self.s->len && (self.s->ptr[0] == '-' || self.s->ptr[0] == '+');
    struct om_buf b = OM_BUF_INIT(r->arena.max);
    int64_t width;

    if (!jj_want_int(r, a->v[0], &width) || width <= (int64_t)self.s->chars ||
        !jj_steps(r, (size_t)width))
        return self;
    om_buf_add(&b, self.s->ptr, sign);
    for (int64_t i = (int64_t)self.s->chars; i < width && !b.failed; i++)
        om_buf_addc(&b, '0');
    om_buf_add(&b, self.s->ptr + sign, self.s->len - sign);
    return jj_buf(r, &b);
}

JJ_FN(str_expandtabs)
{
    struct om_buf b = OM_BUF_INIT(r->arena.max);
    const om_sv s = jj_sv(self);
    int64_t size = 8, column = 0;

    if ((jj_given(a, 0) && !jj_want_int(r, a->v[0], &size)) || size > 1000 ||
        !jj_steps(r, s.len * 4))
        return self;
    for (size_t i = 0; i < s.len && !b.failed; i++) {
        const int64_t pad = size > 0 ? size - column % size : 0;
        if (s.ptr[i] != '\t')
            om_buf_addc(&b, s.ptr[i]);
        for (int64_t k = 0; s.ptr[i] == '\t' && k < pad; k++)
            om_buf_addc(&b, ' ');
        if (s.ptr[i] == '\n' || s.ptr[i] == '\r')
            column = 0;
        else
            column += s.ptr[i] == '\t' ? pad : ((unsigned char)s.ptr[i] & 0xC0) != 0x80;
    }
    return jj_buf(r, &b);
}

/* ---- classes ---- */

static bool is_alnum(uint32_t c)
{
    return jj_is_alpha(c) || jj_is_numeric(c);
}

static bool all(jj_val self, bool (*is)(uint32_t))
{
    const om_sv s = jj_sv(self);
    size_t len;

    for (size_t i = 0; i < s.len; i += len)
        if (!is(jj_decode(s.ptr + i, &len)))
            return false;
    return s.len > 0;
}

JJ_FN(str_isalpha)
{
    (void)r;
    (void)a;
    return jj_bool(all(self, jj_is_alpha));
}
JJ_FN(str_isalnum)
{
    (void)r;
    (void)a;
    return jj_bool(all(self, is_alnum));
}
JJ_FN(str_isdigit)
{
    (void)r;
    (void)a;
    return jj_bool(all(self, jj_is_digit));
}
JJ_FN(str_isnumeric)
{
    (void)r;
    (void)a;
    return jj_bool(all(self, jj_is_numeric));
}
JJ_FN(str_isspace)
{
    (void)r;
    (void)a;
    return jj_bool(all(self, jj_is_space));
}
JJ_FN(str_isprintable)
{
    (void)r;
    (void)a;
    return jj_bool(self.s->len == 0 || all(self, jj_is_printable));
}
JJ_FN(str_isascii)
{
    (void)r;
    (void)a;
    return jj_bool(self.s->len == self.s->chars);
}

/* Some letters with case, none of the other case. */
bool jj_all_case(om_sv s, bool upper)
{
    bool any = false;
    size_t len;

    for (size_t i = 0; i < s.len; i += len) {
        const uint32_t c = jj_decode(s.ptr + i, &len);
        if (jj_is_title(c) || (upper ? jj_is_lower(c) : jj_is_upper(c)))
            return false;
        any = any || (upper ? jj_is_upper(c) : jj_is_lower(c));
    }
    return any;
}

JJ_FN(str_islower)
{
    (void)r;
    (void)a;
    return jj_bool(jj_all_case(jj_sv(self), false));
}
JJ_FN(str_isupper)
{
    (void)r;
    (void)a;
    return jj_bool(jj_all_case(jj_sv(self), true));
}

JJ_FN(str_istitle)
{
    const om_sv s = jj_sv(self);
    bool any = false, inside = false;
    size_t len;

    (void)r;
    (void)a;
    for (size_t i = 0; i < s.len; i += len) {
        const uint32_t c = jj_decode(s.ptr + i, &len);
        const bool upper = jj_is_upper(c) || jj_is_title(c), lower = jj_is_lower(c);
        if ((upper && inside) || (lower && !inside))
            return jj_bool(false);
        inside = upper || lower;
        any = any || inside;
    }
    return jj_bool(any);
}

const struct jj_builtin jj_str_methods[] = {
    { "strip", str_strip, "chars=" },
    { "lstrip", str_lstrip, "chars=" },
    { "rstrip", str_rstrip, "chars=" },
    { "startswith", str_startswith, "prefix start= end=" },
    { "endswith", str_endswith, "suffix start= end=" },
    { "removeprefix", str_removeprefix, "prefix" },
    { "removesuffix", str_removesuffix, "suffix" },
    { "split", str_split, "sep= maxsplit=" },
    { "rsplit", str_rsplit, "sep= maxsplit=" },
    { "splitlines", str_splitlines, "keepends=" },
    { "partition", str_partition, "sep" },
    { "rpartition", str_rpartition, "sep" },
    { "find", str_find, "sub start= end=" },
    { "rfind", str_rfind, "sub start= end=" },
    { "index", str_index, "sub start= end=" },
    { "rindex", str_rindex, "sub start= end=" },
    { "count", str_count, "sub start= end=" },
    { "replace", str_replace, "old new count=" },
    { "join", str_join, "iterable" },
    { "format", jj_format, NULL },
    { "lower", str_lower, "" },
    { "upper", str_upper, "" },
    { "casefold", str_casefold, "" },
    { "swapcase", str_swapcase, "" },
    { "capitalize", str_capitalize, "" },
    { "title", str_title, "" },
    { "center", str_center, "width fillchar=" },
    { "ljust", str_ljust, "width fillchar=" },
    { "rjust", str_rjust, "width fillchar=" },
    { "zfill", str_zfill, "width" },
    { "expandtabs", str_expandtabs, "tabsize=" },
    { "isalpha", str_isalpha, "" },
    { "isalnum", str_isalnum, "" },
    { "isdigit", str_isdigit, "" },
    { "isnumeric", str_isnumeric, "" },
    { "isspace", str_isspace, "" },
    { "isprintable", str_isprintable, "" },
    { "isascii", str_isascii, "" },
    { "islower", str_islower, "" },
    { "isupper", str_isupper, "" },
    { "istitle", str_istitle, "" },
    { NULL, NULL, NULL },
};

const char *const jj_missing_str_methods[] = {
    "encode", "format_map", "isdecimal", "isidentifier", "maketrans", "translate", NULL
};

/* ---- lists and tuples ---- */

JJ_FN(list_count)
{
    int64_t n = 0;

    for (size_t i = 0; i < self.seq->len && jj_step(r); i++)
        n += jj_equal(r, self.seq->items[i], a->v[0]);
    return jj_int(n);
}

JJ_FN(list_index)
{
    for (size_t i = 0; i < self.seq->len && jj_step(r); i++)
        if (jj_equal(r, self.seq->items[i], a->v[0]))
            return jj_int((int64_t)i);
    return jj_fail(r, OM_E_FORMAT, "the value is not in the list");
}

JJ_FN(list_copy)
{
    (void)a;
    return jj_seq(r, JJ_LIST, self.seq->items, self.seq->len);
}

const struct jj_builtin jj_list_methods[] = { { "count", list_count, "value" },
                                              { "index", list_index, "value" },
                                              { "copy", list_copy, "" },
                                              { NULL, NULL, NULL } };
const struct jj_builtin jj_tuple_methods[] = { { "count", list_count, "value" },
                                               { "index", list_index, "value" },
                                               { NULL, NULL, NULL } };

/* ---- dicts ---- */

JJ_FN(dict_get)
{
    const jj_val *v;

    if (!jj_hashable(a->v[0]))
        return jj_fail(r, OM_E_FORMAT, "unhashable type: '%s'", jj_type_name(a->v[0]));
    v = jj_dict_get(r, self.dict, a->v[0]);
    return v ? *v : jj_given(a, 1) ? a->v[1] : jj_none();
}

jj_val jj_pairs(struct jj_run *r, const struct jj_entry *entries, size_t len, enum jj_kind kind)
{
    jj_val *const items = jj_alloc(r, len, sizeof(*items));

    for (size_t i = 0; items && i < len && jj_step(r); i++) {
        jj_val *const pair = jj_alloc(r, 2, sizeof(*pair));
        if (!pair)
            break;
        pair[0] = entries[i].key;
        pair[1] = entries[i].value;
        items[i] = jj_seq(r, JJ_TUPLE, pair, 2);
    }
    return jj_seq(r, kind, items, len);
}

static jj_val column(struct jj_run *r, const struct jj_dict *d, enum jj_kind kind)
{
    jj_val *const items = jj_alloc(r, d->len, sizeof(*items));

    for (size_t i = 0; items && i < d->len && jj_step(r); i++)
        items[i] = kind == JJ_KEYS ? d->entries[i].key : d->entries[i].value;
    return jj_seq(r, kind, items, d->len);
}

JJ_FN(dict_items)
{
    (void)a;
    return jj_pairs(r, self.dict->entries, self.dict->len, JJ_ITEMS);
}
JJ_FN(dict_keys)
{
    (void)a;
    return column(r, self.dict, JJ_KEYS);
}
JJ_FN(dict_values)
{
    (void)a;
    return column(r, self.dict, JJ_VALUES);
}
JJ_FN(dict_copy)
{
    (void)a;
    return jj_dict(r, self.dict);
}

const struct jj_builtin jj_dict_methods[] = {
    { "get", dict_get, "key default=" }, { "items", dict_items, "" }, { "keys", dict_keys, "" },
    { "values", dict_values, "" },       { "copy", dict_copy, "" },   { NULL, NULL, NULL },
};
