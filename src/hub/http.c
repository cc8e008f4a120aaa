/* src/hub/http.c: requests to the Hub over any transport: headers, redirects, who sees the token,
 * retries. */
#include "hub/internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>

enum { REDIRECTS_MAX = 10, RETRY_AFTER_MAX = 300 };

/* ---- headers ---- */

void om_http_headers_add(struct om_http_headers *h, om_sv line)
{
    while (line.len > 0 && (line.ptr[line.len - 1] == '\n' || line.ptr[line.len - 1] == '\r'))
        line.len--;
    if (om_sv_starts(line, OM_SVL("HTTP/")))
        om_buf_clear(&h->lines);
    else if (line.len > 0 && !memchr(line.ptr, '\n', line.len)) {
        om_buf_add(&h->lines, line.ptr, line.len);
        om_buf_addc(&h->lines, '\n');
    }
}

om_sv om_http_header(const struct om_http_headers *h, const char *name)
{
    om_sv rest = om_buf_sv(&h->lines), line, key, found = { NULL, 0 };
    const size_t len = strlen(name);

    while (om_sv_split(&rest, '\n', &line)) {
        if (!om_sv_split(&line, ':', &key) || !line.ptr)
            continue;
        key = om_sv_trim(key);
        if (key.len == len && strncasecmp(key.ptr, name, len) == 0)
            found = om_sv_trim(line);
    }
    return found;
}

bool om_http_header_u64(const struct om_http_headers *h, const char *name, uint64_t *out)
{
    const om_sv v = om_http_header(h, name);
    int64_t n;

    if (!v.ptr || !om_sv_i64(v, &n) || n < 0)
        return false;
    *out = (uint64_t)n;
    return true;
}

void om_http_response_clear(struct om_http_response *rs)
{
    rs->status = 0;
    rs->failure = OM_HTTP_FINAL;
    om_buf_clear(&rs->headers.lines);
}

void om_http_response_release(struct om_http_response *rs)
{
    om_buf_release(&rs->headers.lines);
}

static void copy_response(struct om_http_response *to, const struct om_http_response *from)
{
    const om_sv lines = om_buf_sv(&from->headers.lines);

    om_http_response_clear(to);
    to->status = from->status;
    om_buf_add(&to->headers.lines, lines.ptr, lines.len);
}

/* Seconds, or a date (RFC 9110, 10.2.3). */
double om_http_retry_after(const struct om_http_headers *h)
{
    const om_sv v = om_http_header(h, "retry-after");
    struct tm when = { 0 };
    char text[40];
    int64_t n;

    if (!v.ptr || v.len >= sizeof(text))
        return -1.0;
    if (om_sv_i64(v, &n))
        return n >= 0 ? (double)n : -1.0;
    memcpy(text, v.ptr, v.len);
    text[v.len] = '\0';
    if (!strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &when))
        return -1.0;
    return OM_MAX(difftime(timegm(&when), time(NULL)), 0.0);
}

bool om_http_status_passes(int status)
{
    return status == 408 || status == 429 || (status >= 500 && status != 501 && status <= 599);
}

/* ---- clock, log, progress ---- */

static double machine_now(void *user)
{
    struct timespec t;

    (void)user;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void machine_sleep(void *user, double seconds)
{
    const struct timespec t = { (time_t)seconds,
                                (long)((seconds - (double)(time_t)seconds) * 1e9) };

    (void)user;
    nanosleep(&t, NULL); /* waking up early does no harm: om_hub_sleep() looks at the clock */
}

const struct om_hub_clock om_hub_machine_clock = { machine_now, machine_sleep, NULL };

int om_hub_check(struct om_hub *hub, struct om_error *err)
{
    if (atomic_load(&hub->stop))
        return om_fail(err, OM_E_CANCELLED, "cancelled");
    return om_ctx_check(hub->ctx, err);
}

int om_hub_sleep(struct om_hub *hub, double seconds, struct om_error *err)
{
    const double until = hub->clock->now(hub->clock->user) + seconds;
    double left = seconds;

    for (; left > 0.0; left = until - hub->clock->now(hub->clock->user)) {
        OM_TRY(om_hub_check(hub, err));
        hub->clock->sleep(hub->clock->user, OM_MIN(left, 0.1));
    }
    return om_hub_check(hub, err);
}

void om_hub_log(struct om_hub *hub, enum om_level level, const char *fmt, ...)
{
    char *line = NULL;
    va_list ap;

    va_start(ap, fmt);
    const int n = vasprintf(&line, fmt, ap);
    va_end(ap);
    if (n < 0)
        return;
    pthread_mutex_lock(&hub->lock);
    om_log(hub->ctx, level, "%s", line);
    pthread_mutex_unlock(&hub->lock);
    free(line);
}

void om_hub_progress(struct om_hub *hub, const char *what, uint64_t done, uint64_t total)
{
    if (hub->env.quiet)
        return;
    pthread_mutex_lock(&hub->lock);
    om_progress(hub->ctx, what, done, total);
    pthread_mutex_unlock(&hub->lock);
}

/* ---- retries ---- */

/* Half a second, doubled each time. */
static double backoff_seconds(unsigned failures)
{
    return OM_MIN(0.5 * (double)(1u << (failures - 1)), 8.0);
}

int om_backoff_wait(struct om_hub *hub, struct om_backoff *b, double retry_after,
                    struct om_error *err)
{
    const double wait = retry_after >= 0.0 ? retry_after : backoff_seconds(b->failures + 1);

    if (++b->failures > OM_RETRIES)
        return om_wrap(err, err->code, "given up after %u attempts", b->failures);
    if (wait > RETRY_AFTER_MAX)
        return om_wrap(err, err->code, "the server asks to wait %.0f seconds", wait);
    om_hub_log(hub, OM_LOG_WARNING, "%s; trying again in %.1f s [%u/%d]", om_error_text(err), wait,
               b->failures, OM_RETRIES);
    om_error_release(err);
    return om_hub_sleep(hub, wait, err);
}

/* ---- one attempt ---- */

void om_hub_conn_init(struct om_hub_conn *c, struct om_hub *hub)
{
    *c = (struct om_hub_conn){ .hub = hub };
    om_arena_init(&c->arena, 16 << 20);
}

void om_hub_conn_reset(struct om_hub_conn *c)
{
    if (c->conn)
        c->hub->transport->close(c->hub->transport, c->conn);
    c->conn = NULL;
}

void om_hub_conn_release(struct om_hub_conn *c)
{
    om_hub_conn_reset(c);
    om_arena_release(&c->arena);
}

static bool is_redirect(const struct om_http_response *rs)
{
    const int s = rs->status;

    return (s == 301 || s == 302 || s == 303 || s == 307 || s == 308) &&
           om_http_header(&rs->headers, "location").ptr;
}

struct body {
    const struct om_http_request *rq;
    struct om_hub_conn *c;
};

/* The text of a redirect is nobody's. */
static int pass_body(void *user, const struct om_http_response *rs, const void *data, size_t len,
                     struct om_error *err)
{
    const struct body *b = user;

    OM_TRY(om_hub_check(b->c->hub, err));
    if (is_redirect(rs) || !b->rq->body)
        return 0;
    return b->rq->body(b->rq->user, rs, data, len, err);
}

static int perform(struct om_hub_conn *c, const struct om_http_request *rq, const char *url,
                   struct om_http_response *rs, struct om_error *err)
{
    const struct om_hub_env *env = &c->hub->env;
    const bool home = om_url_same_origin(om_sv_str(url), om_sv_str(env->endpoint));
    struct body b = { rq, c };
    struct om_http_request one = *rq;
    char *shown = om_url_shown(&c->arena, om_sv_str(url));
    int rc;

    one.url = url;
    one.bearer = home ? env->token : NULL;
    one.body = pass_body;
    one.user = &b;
    one.ctx = c->hub->ctx;
    if (!shown)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    om_http_response_clear(rs);
    rc = c->hub->transport->perform(c->hub->transport, &c->conn, &one, rs, err);
    if (rc == 0 && rs->headers.lines.failed)
        rc = om_fail(err, OM_E_LIMIT, "more than %d bytes of headers", OM_HTTP_HEADERS_MAX);
    if (rc == 0)
        om_hub_log(c->hub, OM_LOG_DEBUG, "%s %s: %d", rq->head ? "HEAD" : "GET", shown, rs->status);
    return om_wrap(err, rc, "%s", shown);
}

/* Where the redirect leads, or an error. */
static int next_url(struct om_hub_conn *c, const char *url, const struct om_http_response *rs,
                    const char **next, struct om_error *err)
{
    const om_sv location = om_http_header(&rs->headers, "location");

    *next = om_url_join(&c->arena, om_sv_str(url), location);
    if (!*next)
        return om_fail(err, OM_E_IO, "%s: redirected to what is no http(s) address",
                       om_url_shown(&c->arena, om_sv_str(url)));
    if (om_url_scheme(om_sv_str(url)).len > om_url_scheme(om_sv_str(*next)).len)
        return om_fail(err, OM_E_IO, "%s: redirected from https to http, which is refused",
                       om_url_shown(&c->arena, om_sv_str(url)));
    return 0;
}

static int follow_redirects(struct om_hub_conn *c, const struct om_http_request *rq,
                            enum om_follow follow, struct om_http_response *rs,
                            struct om_http_response *hub, struct om_error *err)
{
    const char *url = rq->url, *next;

    for (int i = 0; i <= REDIRECTS_MAX; i++) {
        OM_TRY(perform(c, rq, url, rs, err));
        if (hub && om_url_same_origin(om_sv_str(url), om_sv_str(c->hub->env.endpoint)))
            copy_response(hub, rs);
        if (!is_redirect(rs))
            return 0;
        OM_TRY(next_url(c, url, rs, &next, err));
        const bool same = om_url_same_origin(om_sv_str(url), om_sv_str(next));
        if (follow == OM_FOLLOW_ORIGIN && !same)
            return 0;
        if (hub && same) /* a renamed repository: what it says about the file comes next */
            om_http_response_clear(hub);
        url = next;
    }
    return om_fail(err, OM_E_IO, "%s: more than %d redirects",
                   om_url_shown(&c->arena, om_sv_str(rq->url)), REDIRECTS_MAX);
}

int om_hub_attempt(struct om_hub_conn *c, const struct om_http_request *rq, enum om_follow follow,
                   struct om_http_response *rs, struct om_http_response *hub, struct om_error *err)
{
    const struct om_mark mark = om_arena_mark(&c->arena);
    const int rc = follow_redirects(c, rq, follow, rs, hub, err);

    om_arena_rewind(&c->arena, mark);
    return rc;
}

void om_http_fail_passing(struct om_hub_conn *c, const char *url, int status, struct om_error *err)
{
    const struct om_mark mark = om_arena_mark(&c->arena);
    const char *shown = om_url_shown(&c->arena, om_sv_str(url));

    om_fail(err, OM_E_IO, "%s: the server answered %d (%s)", shown ? shown : "the Hub", status,
            status == 429 ? "too many requests" : "it is overloaded or out of order");
    om_arena_rewind(&c->arena, mark);
}

/* ---- small documents ---- */

static int collect(void *user, const struct om_http_response *rs, const void *data, size_t len,
                   struct om_error *err)
{
    struct om_buf *text = user;

    (void)rs;
    om_buf_add(text, data, len);
    if (!text->failed)
        return 0;
    return om_fail(err, OM_E_LIMIT, "the answer is longer than %zu bytes, or memory is short",
                   text->max);
}

int om_hub_ask(struct om_hub_conn *c, const char *url, bool head, struct om_buf *text,
               struct om_http_response *rs, struct om_error *err)
{
    const struct om_http_request rq = { .head = head,
                                        .url = url,
                                        .timeout = c->hub->env.etag_timeout,
                                        .body = head ? NULL : collect,
                                        .user = text };
    struct om_backoff b = { 0 };

    for (;;) {
        if (!head)
            om_buf_clear(text);
        const int rc = om_hub_attempt(c, &rq, OM_FOLLOW_ORIGIN, rs, NULL, err);
        if (rc < 0 &&
            (rs->failure == OM_HTTP_FINAL || (rs->failure == OM_HTTP_UNREACHABLE && b.failures)))
            return rc;
        if (rc == 0 && (!om_http_status_passes(rs->status) || b.failures == OM_RETRIES))
            return 0;
        if (rc == 0)
            om_http_fail_passing(c, url, rs->status, err);
        else
            om_hub_conn_reset(c);
        OM_TRY(
            om_backoff_wait(c->hub, &b, rc == 0 ? om_http_retry_after(&rs->headers) : -1.0, err));
    }
}
