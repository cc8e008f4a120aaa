/* src/hub/download.c: one file of a repository, from the Hub into the cache.
 *
 * The Hub first says by which etag it knows the file; blob, lock and partial file are named by it.
 * Bytes are appended to the partial file, whatever breaks, until it has its size; then its hash
 * decides whether it becomes the blob. */
#include "hub/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/sha.h"

enum { HASH_TRIES = 2, ETAG_TRIES = 3, REPORT = 1 << 20 };

/* What the Hub says about a file. */
struct meta {
    om_sv etag;
    uint64_t size;
    om_sv hash; /* empty: none is known */
    enum om_sha_kind kind;
};

/* The partial file and how far it is. */
struct part {
    const struct om_hub_fetch *f;
    struct om_hub_conn *c;
    const struct om_hub_file *file;
    const struct meta *meta;
    const char *path;
    int fd;
    uint64_t have;
    struct om_sha sha;
    char if_range[256]; /* the strong etag of the server that sends the bytes; "": none yet */
    struct om_http_response *hub; /* of the last request of the current attempt to the Hub itself */
    bool begun;                   /* the response of this attempt has been looked at */
    bool failed;                  /* on this side: another attempt would not help */
    bool changed;                 /* the Hub has another file now */
};

/* ---- messages ---- */

/* The text of a header that a server wrote for people, without what a terminal should not get. */
static void add_printable(struct om_buf *b, om_sv s)
{
    for (size_t i = 0; i < s.len && i < 300; i++)
        om_buf_addc(b, s.ptr[i] >= ' ' && s.ptr[i] <= '~' ? s.ptr[i] : '?');
}

static int fail_gated(struct om_hub *hub, om_sv id, struct om_error *err)
{
    const char *next = hub->env.token ? "with the account of the token"
                                      : "and set HF_TOKEN to a token of your account";

    return om_fail(err, OM_E_MISSING, "%.*s is gated: accept its conditions on %s/%.*s %s",
                   OM_SV(id), hub->env.endpoint, OM_SV(id), next);
}

static int fail_not_found(struct om_hub *hub, om_sv id, struct om_error *err)
{
    return om_fail(
        err, OM_E_MISSING, "\"%.*s\" is neither a directory nor a repository on the Hub (%s)%s",
        OM_SV(id), hub->env.endpoint,
        hub->env.token ? " that the token may see" : "; a private one needs a token in HF_TOKEN");
}

int om_hub_fail_status(struct om_hub *hub, const struct om_http_response *rs, om_sv id,
                       const char *path, struct om_error *err)
{
    const om_sv code = om_http_header(&rs->headers, "x-error-code");
    const om_sv message = om_http_header(&rs->headers, "x-error-message");
    struct om_buf text = OM_BUF_INIT(1 << 10);
    int rc;

    if (om_sv_is(code, "GatedRepo"))
        return fail_gated(hub, id, err);
    if (om_sv_is(code, "RevisionNotFound"))
        return om_fail(err, OM_E_MISSING, "%.*s has no such revision", OM_SV(id));
    if (rs->status == 401 && hub->env.token && om_sv_starts(message, OM_SVL("Invalid credentials")))
        return om_fail(err, OM_E_MISSING,
                       "%.*s: the Hub does not accept the token (HF_TOKEN, or the file that `hf "
                       "auth login` wrote)",
                       OM_SV(id));
    if (om_sv_is(code, "EntryNotFound") || (rs->status == 404 && path))
        return om_fail(err, OM_E_MISSING, "%.*s: the repository has no file %s", OM_SV(id),
                       path ? path : "like that");
    if (rs->status == 404 || rs->status == 401)
        return fail_not_found(hub, id, err);
    add_printable(&text, message);
    rc = om_fail(err, OM_E_IO, "%.*s%s%s: the server answered %d%s%s", OM_SV(id), path ? ": " : "",
                 path ? path : "", rs->status, text.len ? ": " : "", text.len ? text.ptr : "");
    om_buf_release(&text);
    return rc;
}

static int fail_errno(struct part *p, const char *what, struct om_error *err)
{
    p->failed = true;
    return om_fail(err, OM_E_IO, "%s: %s: %s", p->path, what, strerror(errno));
}

/* ---- what the Hub says ---- */

static char *file_url(const struct om_hub_fetch *f, struct om_arena *a,
                      const struct om_hub_file *file)
{
    struct om_buf b = OM_BUF_INIT(16 << 10);
    char *url;

    om_buf_printf(&b, "%s/%.*s/resolve/%.*s/", f->hub->env.endpoint, OM_SV(f->id),
                  OM_SV(f->commit));
    om_hub_quote(&b, file->path, true);
    url = b.failed ? NULL : om_arena_str(a, om_buf_sv(&b));
    om_buf_release(&b);
    return url;
}

/* The Hub's etag of the file: of the linked file where there is one. */
static bool response_etag(const struct om_http_headers *h, om_sv *etag)
{
    om_sv v = om_http_header(h, "x-linked-etag");

    if (!v.ptr)
        v = om_http_header(h, "etag");
    return v.ptr && om_hub_etag(v, etag);
}

static void choose_hash(const struct om_hub_file *file, struct meta *m)
{
    if (file->sha256.len) {
        m->hash = file->sha256;
        m->kind = OM_SHA256;
    } else if (m->etag.len == 64 && strspn(m->etag.ptr, "0123456789abcdef") == 64) {
        m->hash = m->etag;
        m->kind = OM_SHA256;
    } else if (file->git_sha1.len && om_sv_eq(m->etag, file->git_sha1)) {
        m->hash = file->git_sha1;
        m->kind = OM_SHA1;
    }
}

static int read_meta(const struct om_hub_fetch *f, struct om_hub_conn *c,
                     const struct om_hub_file *file, const struct om_http_response *rs,
                     struct meta *m, struct om_error *err)
{
    const om_sv commit = om_http_header(&rs->headers, "x-repo-commit");
    char *copy;

    if (rs->status >= 400 || rs->status < 200)
        return om_hub_fail_status(f->hub, rs, f->id, file->path.ptr, err);
    if (commit.ptr && !om_sv_eq(commit, f->commit))
        return om_fail(err, OM_E_IO, "%s: asked for commit %.*s, the server answers for %.*s",
                       file->path.ptr, OM_SV(f->commit), OM_SV(commit));
    if (!response_etag(&rs->headers, &m->etag))
        return om_fail(err, OM_E_IO,
                       "%s: the server gives no usable etag; is HF_ENDPOINT (%s) a Hub?",
                       file->path.ptr, f->hub->env.endpoint);
    copy = om_arena_str(&c->arena, m->etag); /* the headers go away */
    if (!copy)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    m->etag.ptr = copy;
    if (!om_http_header_u64(&rs->headers, "x-linked-size", &m->size) &&
        (rs->status != 200 || !om_http_header_u64(&rs->headers, "content-length", &m->size))) {
        if (!file->size_known)
            return om_fail(err, OM_E_IO, "%s: the server gives no size", file->path.ptr);
        m->size = file->size;
    }
    choose_hash(file, m);
    return 0;
}

static int ask_meta(const struct om_hub_fetch *f, struct om_hub_conn *c,
                    const struct om_hub_file *file, struct meta *m, struct om_error *err)
{
    struct om_http_response rs = OM_HTTP_RESPONSE_INIT;
    const char *url = file_url(f, &c->arena, file);
    int rc =
        url ? om_hub_ask(c, url, true, NULL, &rs, err) : om_fail(err, OM_E_NOMEM, "out of memory");

    *m = (struct meta){ .size = 0 };
    if (rc == 0)
        rc = read_meta(f, c, file, &rs, m, err);
    om_http_response_release(&rs);
    return rc;
}

/* ---- the partial file ---- */

/* git's name of a blob covers a header before its bytes. */
static void hash_start(struct part *p)
{
    char header[32];

    om_sha_init(&p->sha, p->meta->kind);
    if (p->meta->kind == OM_SHA1)
        om_sha_add(&p->sha, header,
                   (size_t)snprintf(header, sizeof(header), "blob %" PRIu64, p->meta->size) + 1);
}

static int start_over(struct part *p, struct om_error *err)
{
    if (ftruncate(p->fd, 0) < 0)
        return fail_errno(p, "cannot empty the file", err);
    p->have = 0;
    p->if_range[0] = '\0';
    hash_start(p);
    return 0;
}

/* Take what an earlier run left. */
static int hash_leftover(struct part *p, struct om_error *err)
{
    uint8_t piece[64 << 10];

    while (p->have < p->meta->size) {
        const ssize_t n = pread(p->fd, piece, sizeof(piece), (off_t)p->have);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_errno(p, "cannot read", err);
        if (n == 0)
            return 0;
        OM_TRY(om_hub_check(p->f->hub, err));
        om_sha_add(&p->sha, piece, (size_t)n);
        p->have += (uint64_t)n;
    }
    return 0;
}

static int open_part(struct part *p, struct om_error *err)
{
    struct stat st;

    p->fd = open(p->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (p->fd < 0 || fstat(p->fd, &st) < 0)
        return fail_errno(p, "cannot create the file", err);
    if (!S_ISREG(st.st_mode))
        return om_fail(err, OM_E_IO, "%s: is in the way", p->path);
    if ((uint64_t)st.st_size > p->meta->size)
        return start_over(p, err);
    hash_start(p);
    OM_TRY(hash_leftover(p, err));
    if (p->have > 0)
        om_hub_log(p->f->hub, OM_LOG_INFO, "%s: continuing after %" PRIu64 " of %" PRIu64 " bytes",
                   p->file->path.ptr, p->have, p->meta->size);
    return 0;
}

static int append(struct part *p, const uint8_t *data, size_t len, struct om_error *err)
{
    const uint64_t before = p->have, step = OM_MIN(p->meta->size / 256, REPORT) + 1;

    om_sha_add(&p->sha, data, len);
    while (len > 0) {
        const ssize_t n = pwrite(p->fd, data, len, (off_t)p->have);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            const int rc = fail_errno(p, "cannot write", err);
            p->have = before; /* the next run hashes what is there */
            return rc;
        }
        data += n;
        len -= (size_t)n;
        p->have += (uint64_t)n;
    }
    if (before / step != p->have / step)
        om_hub_progress(p->f->hub, p->file->path.ptr, p->have, p->meta->size);
    return 0;
}

/* ---- one transfer ---- */

/* The Hub may by now know the file by another etag: bytes of two versions must not meet in one
 * file. */
static bool etag_changed(const struct part *p, const struct om_http_response *rs)
{
    const bool redirected = p->hub->status != 0;
    om_sv etag;

    return response_etag(redirected ? &p->hub->headers : &rs->headers, &etag) &&
           !om_sv_eq(etag, p->meta->etag);
}

/* "bytes FROM-LAST/TOTAL"; TOTAL may be "*". */
static bool range_fits(const struct part *p, const struct om_http_response *rs)
{
    om_sv v = om_http_header(&rs->headers, "content-range"), from, range;
    int64_t first, total;

    if (!om_sv_starts(v, OM_SVL("bytes ")))
        return false;
    v = (om_sv){ v.ptr + 6, v.len - 6 };
    if (!om_sv_split(&v, '/', &range) || !om_sv_split(&range, '-', &from) ||
        !om_sv_i64(from, &first))
        return false;
    if (!om_sv_is(v, "*") && (!om_sv_i64(v, &total) || (uint64_t)total != p->meta->size))
        return false;
    return (uint64_t)first == p->have;
}

static void remember_etag(struct part *p, const struct om_http_response *rs)
{
    const om_sv etag = om_http_header(&rs->headers, "etag");

    p->if_range[0] = '\0';
    if (etag.len > 1 && etag.ptr[0] == '"' && etag.len < sizeof(p->if_range)) {
        memcpy(p->if_range, etag.ptr, etag.len);
        p->if_range[etag.len] = '\0';
    }
}

/* Look at the head of a response that has bytes of the file. */
static int begin(struct part *p, const struct om_http_response *rs, struct om_error *err)
{
    const om_sv encoding = om_http_header(&rs->headers, "content-encoding");

    p->begun = true;
    if (encoding.len > 0 && !(encoding.len == 8 && strncasecmp(encoding.ptr, "identity", 8) == 0)) {
        p->failed = true;
        return om_fail(err, OM_E_IO, "%s: the server sends it encoded (%.*s)", p->file->path.ptr,
                       OM_SV(encoding));
    }
    if (etag_changed(p, rs)) {
        p->changed = true;
        return om_fail(err, OM_E_IO, "%s: the file on the Hub has changed", p->file->path.ptr);
    }
    if (rs->status == 200 && p->have > 0)
        OM_TRY(start_over(p, err)); /* the server does not do ranges, or has other bytes now */
    if (rs->status == 206 && !range_fits(p, rs)) {
        OM_TRY(start_over(p, err));
        return om_fail(err, OM_E_IO, "%s: the server sent other bytes than those asked for",
                       p->file->path.ptr);
    }
    remember_etag(p, rs);
    return 0;
}

static int on_body(void *user, const struct om_http_response *rs, const void *data, size_t len,
                   struct om_error *err)
{
    struct part *p = user;

    if (rs->status != 200 && rs->status != 206) /* the text of an error */
        return 0;
    if (!p->begun)
        OM_TRY(begin(p, rs, err));
    if (len > p->meta->size - p->have) {
        OM_TRY(start_over(p, err));
        return om_fail(err, OM_E_IO,
                       "%s: the server sends more than the %" PRIu64 " bytes of the file",
                       p->file->path.ptr, p->meta->size);
    }
    return append(p, data, len, err);
}

/* What a complete response means. 0: the attempt is over, look at p->have. */
static int judge(struct part *p, const struct om_http_response *rs, bool *passes,
                 struct om_error *err)
{
    const bool elsewhere = p->hub->status != rs->status; /* the answer is a storage server's */

    *passes = true;
    if (rs->status == 200 || rs->status == 206) {
        if (p->have == p->meta->size)
            return 0;
        return om_fail(err, OM_E_IO,
                       "%s: the connection ended after %" PRIu64 " of %" PRIu64 " bytes",
                       p->file->path.ptr, p->have, p->meta->size);
    }
    if (rs->status == 416) {
        OM_TRY(start_over(p, err));
        return om_fail(err, OM_E_IO, "%s: the server does not continue it", p->file->path.ptr);
    }
    if (om_http_status_passes(rs->status) ||
        (rs->status == 403 && elsewhere)) /* 403: a signature too old */
        return om_fail(err, OM_E_IO, "%s: the server answered %d", p->file->path.ptr, rs->status);
    *passes = false;
    return om_hub_fail_status(p->f->hub, rs, p->f->id, p->file->path.ptr, err);
}

/* One request for what is missing. *passes: after a failure, another attempt may succeed. */
static int transfer_once(struct part *p, const char *url, struct om_http_response *rs, bool *passes,
                         struct om_error *err)
{
    const struct om_http_request rq = { .url = url,
                                        .from = p->have,
                                        .if_range = p->if_range[0] ? p->if_range : NULL,
                                        .timeout = p->f->hub->env.download_timeout,
                                        .body = on_body,
                                        .user = p };
    int rc;

    p->begun = false;
    om_http_response_clear(p->hub);
    rc = om_hub_attempt(p->c, &rq, OM_FOLLOW_ALL, rs, p->hub, err);
    if (rc == 0)
        return judge(p, rs, passes, err);
    *passes =
        !p->failed && !p->changed && rc == OM_E_IO && (p->begun || rs->failure != OM_HTTP_FINAL);
    return rc;
}

/* Requests until the file has all its bytes. Progress makes up for failures before it. */
static int transfer(struct part *p, const char *url, struct om_error *err)
{
    struct om_http_response rs = OM_HTTP_RESPONSE_INIT, hub = OM_HTTP_RESPONSE_INIT;
    struct om_backoff b = { 0 };
    uint64_t most = p->have;
    int rc = 0;

    p->hub = &hub;
    while (rc == 0 && p->have < p->meta->size) {
        bool passes = false;

        rc = transfer_once(p, url, &rs, &passes, err);
        if (p->have > most) {
            most = p->have;
            b.failures = 0;
        }
        if (rc < 0)
            om_hub_conn_reset(p->c);
        if (rc < 0 && passes)
            rc = om_backoff_wait(p->f->hub, &b, om_http_retry_after(&rs.headers), err);
    }
    p->hub = NULL;
    om_http_response_release(&rs);
    om_http_response_release(&hub);
    return rc;
}

/* ---- from partial file to blob ---- */

/* *again: the hash is wrong, the file was emptied, and it may be tried once more. */
static int verify(struct part *p, int tries, bool *again, struct om_error *err)
{
    char hex[OM_SHA_HEX_MAX];

    *again = false;
    if (p->meta->hash.len == 0)
        return 0;
    om_sha_hex(&p->sha, hex);
    if (om_sv_is(p->meta->hash, hex))
        return 0;
    OM_TRY(start_over(p, err));
    *again = tries < HASH_TRIES;
    return om_fail(err, OM_E_FORMAT, "%s: the downloaded bytes have the hash %s, expected %.*s",
                   p->file->path.ptr, hex, OM_SV(p->meta->hash));
}

static int fill(struct part *p, const char *url, struct om_error *err)
{
    bool again;
    int rc;

    for (int tries = 1;; tries++) {
        OM_TRY(transfer(p, url, err));
        rc = verify(p, tries, &again, err);
        if (rc == 0 || !again)
            return rc;
        om_hub_log(p->f->hub, OM_LOG_WARNING, "%s; it is fetched again", om_error_text(err));
        om_error_release(err);
    }
}

static int download(struct part *p, const char *url, const char *blob, struct om_error *err)
{
    int rc = open_part(p, err);

    if (rc == 0)
        rc = fill(p, url, err);
    if (p->fd >= 0 && close(p->fd) < 0 && rc == 0)
        rc = fail_errno(p, "cannot write", err);
    p->fd = -1;
    if (rc == 0 && rename(p->path, blob) < 0)
        rc = fail_errno(p, "cannot rename the finished file", err);
    if (rc == 0)
        om_hub_progress(p->f->hub, p->file->path.ptr, p->meta->size, p->meta->size);
    return rc;
}

static bool has_size(const char *path, uint64_t size)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == size;
}

/* Under the lock: use the blob that is there, else make it. */
static int make_blob(struct part *p, bool locked, struct om_error *err)
{
    struct om_arena *a = &p->c->arena;
    const char *url = file_url(p->f, a, p->file);
    const char *dir = om_arena_printf(a, "%s/blobs", p->f->cache->repo);
    const char *blob = om_arena_printf(a, "%s/%.*s", dir ? dir : "", OM_SV(p->meta->etag));
    int rc;

    /* Without locks two processes must not share a partial file. */
    p->path = locked ? om_arena_printf(a, "%s.incomplete", blob ? blob : "")
                     : om_arena_printf(a, "%s.%ld.incomplete", blob ? blob : "", (long)getpid());
    if (!url || !dir || !blob || !p->path)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    if (!p->f->hub->env.force && has_size(blob, p->meta->size))
        return 0;
    OM_TRY(om_dir_make(dir, err));
    rc = download(p, url, blob, err);
    if (rc < 0 && !locked)
        unlink(p->path);
    return rc;
}

static int fetch_once(const struct om_hub_fetch *f, struct om_hub_conn *c,
                      const struct om_hub_file *file, bool *changed, struct om_error *err)
{
    struct om_hub_lock lock = { .fd = -1 };
    struct meta meta;
    struct part p = { .f = f, .c = c, .file = file, .meta = &meta, .fd = -1 };
    const char *path;
    int rc;

    OM_TRY(ask_meta(f, c, file, &meta, err));
    path = om_arena_printf(&c->arena, "%s/%.*s.lock", f->cache->locks, OM_SV(meta.etag));
    if (!path)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    OM_TRY(om_hub_lock(f->hub, &lock, path, err));
    rc = make_blob(&p, lock.fd >= 0, err);
    if (rc == 0)
        rc = om_hub_cache_link(f->cache, &c->arena, f->commit, file->path, meta.etag, err);
    om_hub_unlock(&lock);
    *changed = p.changed;
    return rc;
}

int om_hub_fetch_file(const struct om_hub_fetch *f, struct om_hub_conn *c,
                      const struct om_hub_file *file, struct om_error *err)
{
    const struct om_mark mark = om_arena_mark(&c->arena);
    const char *path = om_hub_cache_snapshot(f->cache, &c->arena, f->commit, file->path);
    bool changed = true;
    int rc = 0;

    if (!path)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    if (!f->hub->env.force &&
        (file->size_known ? has_size(path, file->size) : om_file_exists(path)))
        return 0;
    for (int i = 0; i < ETAG_TRIES && changed; i++) {
        om_error_release(err);
        changed = false;
        rc = fetch_once(f, c, file, &changed, err);
    }
    om_arena_rewind(&c->arena, mark);
    return rc;
}
