/* tests/fuzz/fuzz_hub.c: what a server sends: listings, indexes, headers, etags, addresses. The
 * first byte says what the rest is. What comes of it may become a path, so it stays inside. */
#include "fuzz.h"
#include "hub/internal.h"

static void check_path(om_sv path)
{
    FUZZ_CHECK(path.len > 0 && path.ptr[0] != '/');
    FUZZ_CHECK(memchr(path.ptr, '\0', path.len) == NULL);
    for (size_t i = 0; i + 1 < path.len; i++)
        if (path.ptr[i] == '.' && path.ptr[i + 1] == '.') /* only within a name */
            FUZZ_CHECK((i > 0 && path.ptr[i - 1] != '/') ||
                       (i + 2 < path.len && path.ptr[i + 2] != '/'));
}

static void check_result(int rc, struct om_error *err)
{
    FUZZ_CHECK(rc == 0 || om_error_text(err)[0] != '\0');
    om_error_release(err);
}

static void fuzz_listing(struct om_arena *a, om_sv text, bool tree)
{
    static const char *const companions[] = { "tokenizer.json", NULL };
    struct om_hub_listing l = { 0 };
    struct om_hub_want w = { .listing = &l, .arena = a };
    struct om_error err = OM_ERROR_INIT;
    om_sv index;
    bool found;
    const int rc =
        tree ? om_hub_parse_tree(a, text, &l, &err) : om_hub_parse_info(a, text, &l, &err);

    check_result(rc, &err);
    for (size_t i = 0; i < l.len; i++) {
        check_path(l.files[i].path);
        FUZZ_CHECK(om_hub_listing_find(&l, l.files[i].path) == &l.files[i]);
        FUZZ_CHECK(l.files[i].sha256.len == 0 || l.files[i].sha256.len == 64);
    }
    if (rc == 0 && !tree)
        FUZZ_CHECK(om_hub_is_commit(l.commit));
    check_result(om_hub_want_small(&w, OM_SVL(""), companions, &err), &err);
    check_result(om_hub_want_weights(&w, OM_SVL("a/"), &index, &found, &err), &err);
    for (size_t i = 0; i < w.len; i++)
        FUZZ_CHECK(w.files[i] < l.len);
    om_hub_want_release(&w);
    om_hub_listing_release(&l);
}

static void fuzz_index(struct om_arena *a, om_sv text)
{
    static const struct om_hub_file files[] = { { .path = { "a/1.bin", 7 } },
                                                { .path = { "a/2.bin", 7 } } };
    struct om_hub_listing l = { 0 };
    struct om_hub_want w = { .listing = &l, .arena = a };
    struct om_error err = OM_ERROR_INIT;

    for (size_t i = 0; i < OM_COUNT(files); i++)
        FUZZ_CHECK(om_hub_listing_add(&l, &files[i], &err) == 0);
    check_result(om_hub_want_shards(&w, OM_SVL("a/"), text, &err), &err);
    FUZZ_CHECK(w.len <= l.len);
    om_hub_want_release(&w);
    om_hub_listing_release(&l);
}

static void fuzz_modules(struct om_arena *a, om_sv text)
{
    struct om_hub_module *modules = NULL;
    struct om_error err = OM_ERROR_INIT;
    size_t n = 0;
    const int rc = om_hub_modules(a, OM_SVL("r/"), text, &modules, &n, &err);

    for (size_t i = 0; rc == 0 && i < n; i++) {
        FUZZ_CHECK(om_sv_starts(modules[i].dir, OM_SVL("r/")));
        check_path(modules[i].dir);
    }
    check_result(rc, &err);
}

static void fuzz_headers(om_sv text)
{
    static const char *const names[] = { "etag", "link", "location", "x-linked-size" };
    struct om_http_headers h = { .lines = OM_BUF_INIT(1 << 16) };
    om_sv line;
    uint64_t n;

    while (om_sv_split(&text, '\n', &line))
        om_http_headers_add(&h, line);
    for (size_t i = 0; i < OM_COUNT(names); i++) {
        const om_sv v = om_http_header(&h, names[i]);
        FUZZ_CHECK(!v.ptr || memchr(v.ptr, '\n', v.len) == NULL);
        om_http_header_u64(&h, names[i], &n);
    }
    FUZZ_CHECK(om_http_retry_after(&h) >= -1.0);
    om_buf_release(&h.lines);
}

static void fuzz_names(struct om_arena *a, om_sv text)
{
    const char *string = om_arena_str(a, text);
    om_sv got;
    char *url;

    if (om_hub_etag(text, &got)) {
        check_path(got);
        FUZZ_CHECK(memchr(got.ptr, '/', got.len) == NULL);
    }
    if (om_hub_next_link(text, &got))
        fuzz_touch(text.ptr, text.len, (uint64_t)(got.ptr - text.ptr),
                   (uint64_t)(got.ptr - text.ptr) + got.len);
    url = om_url_join(a, OM_SVL("https://hub/a/b?c"), text);
    if (url) {
        FUZZ_CHECK(om_url_scheme(om_sv_str(url)).len > 0 && om_url_host(om_sv_str(url)).len > 0);
        FUZZ_CHECK(om_url_shown(a, om_sv_str(url)) != NULL);
        FUZZ_CHECK(om_url_same_origin(om_sv_str(url), om_sv_str(url)));
        FUZZ_CHECK(strpbrk(url, "\r\n ") == NULL);
    }
    if (om_hub_is_path(text))
        check_path(text);
    if (string && om_hub_is_id(string)) {
        om_sv id, rev;
        om_hub_split_id(om_sv_str(string), &id, &rev);
        check_path(id);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = fuzz_copy(data, size);
    struct om_arena a = OM_ARENA_INIT(16u << 20);
    const om_sv text = { (const char *)copy + 1, size ? size - 1 : 0 };

    switch (size ? copy[0] : 0) {
    case 'i':
        fuzz_listing(&a, text, false);
        break;
    case 't':
        fuzz_listing(&a, text, true);
        break;
    case 's':
        fuzz_index(&a, text);
        break;
    case 'm':
        fuzz_modules(&a, text);
        break;
    case 'h':
        fuzz_headers(text);
        break;
    default:
        fuzz_names(&a, text);
        break;
    }
    om_arena_release(&a);
    free(copy);
    return 0;
}
