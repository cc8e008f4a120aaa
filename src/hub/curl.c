/* src/hub/curl.c: the network, through libcurl's blocking interface.
 *
 * Proxies, certificates and name resolution are libcurl's. Redirects are not: http.c follows them,
 * because it decides who sees the token. */
#include "hub/internal.h"

#ifdef OM_HAVE_CURL

#include <curl/curl.h>
#include <dlfcn.h>
#include <optimum/version.h>
#include <stdlib.h>
#include <time.h>

/* Less than SLOW bytes per second for the time-out is a connection that stands still. */
enum { SLOW = 64, BUFFER = 256 << 10 };

/* libcurl brings some thirty libraries along, whose loading costs as much as building a graph. So
 * it is loaded by the first request. */
#define LIB_NAME "libcurl.so.4"
/* clang-format off */
#define LIB_FUNCTIONS(F)                                                                  \
    F(global_init) F(easy_init) F(easy_cleanup) F(easy_getinfo) F(easy_perform)           \
    F(easy_reset) F(easy_setopt) F(easy_strerror) F(slist_append) F(slist_free_all)
/* clang-format on */

/* The checks that the header wraps around these would call the functions by name. */
#undef curl_easy_getinfo
#undef curl_easy_setopt

static pthread_once_t lib_once = PTHREAD_ONCE_INIT;
static struct {
    bool loaded;
#define MEMBER(name) __typeof__(curl_##name) *name;
    LIB_FUNCTIONS(MEMBER)
#undef MEMBER
} lib;

/* libcurl also wants to be set up once per process, by one thread. */
static void load_lib(void)
{
    void *const handle = dlopen(LIB_NAME, RTLD_NOW | RTLD_LOCAL);
    bool complete = handle != NULL;

#define LOAD(member)                                                               \
    if (complete) { /* copied, as C has no conversion from objects to functions */ \
        void *const symbol = dlsym(handle, "curl_" #member);                       \
                                                                                   \
        complete = symbol != NULL;                                                 \
        memcpy(&lib.member, &symbol, sizeof(symbol));                              \
    }
    LIB_FUNCTIONS(LOAD)
#undef LOAD
    lib.loaded = complete && lib.global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
}

struct transfer {
    const struct om_http_request *rq;
    struct om_http_response *rs;
    struct om_error *err;
    int rc;           /* of the callbacks */
    curl_off_t moved; /* bytes by the last call of on_progress() */
    time_t moved_at;
    CURL *easy;
    char message[CURL_ERROR_SIZE];
};

static size_t on_header(char *line, size_t size, size_t n, void *user)
{
    struct transfer *t = user;

    om_http_headers_add(&t->rs->headers, (om_sv){ line, size * n });
    return size * n;
}

static size_t on_body(char *data, size_t size, size_t n, void *user)
{
    struct transfer *t = user;
    long status = 0;

    lib.easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    t->rs->status = (int)status;
    t->rc = t->rq->body(t->rq->user, t->rs, data, size * n, t->err);
    return t->rc < 0 ? 0 : size * n;
}

static time_t seconds_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec;
}

/* libcurl's own limit looks at an average, which remembers a burst for some seconds; this one sees
 * silence. */
static bool is_stalled(struct transfer *t, curl_off_t bytes)
{
    const time_t now = seconds_now();

    if (bytes != t->moved) {
        t->moved = bytes;
        t->moved_at = now;
    }
    return now - t->moved_at > (time_t)t->rq->timeout;
}

/* Called at least once per second. */
static int on_progress(void *user, curl_off_t total, curl_off_t now, curl_off_t up_total,
                       curl_off_t up)
{
    struct transfer *t = user;

    (void)total, (void)up_total;
    if (t->rc == 0) /* a failure of on_body() is kept */
        t->rc = om_ctx_check(t->rq->ctx, t->err);
    if (t->rc == 0 && is_stalled(t, now + up)) {
        t->rs->failure = OM_HTTP_BROKEN;
        t->rc = om_fail(t->err, OM_E_IO, "nothing has come for %u seconds", t->rq->timeout);
    }
    return t->rc < 0;
}

/* The file of certificates that users of Python's requests and of OpenSSL name. */
static const char *ca_file(void)
{
    static const char *const names[] = { "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE" };

    for (size_t i = 0; i < OM_COUNT(names); i++) {
        const char *v = getenv(names[i]);

        if (v && v[0])
            return v;
    }
    return NULL;
}

static void set_protocols(CURL *easy)
{
#if LIBCURL_VERSION_NUM >= 0x075500
    lib.easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    lib.easy_setopt(easy, CURLOPT_PROTOCOLS, CURLPROTO_HTTP | CURLPROTO_HTTPS);
#endif
}

static void set_options(CURL *easy, struct transfer *t)
{
    const struct om_http_request *rq = t->rq;
    const char *ca = ca_file();

    lib.easy_reset(easy); /* keeps the connection */
    set_protocols(easy);
    lib.easy_setopt(easy, CURLOPT_URL, rq->url);
    lib.easy_setopt(easy, CURLOPT_NOBODY, rq->head ? 1L : 0L);
    lib.easy_setopt(easy, CURLOPT_USERAGENT, "optimum-cli/" OM_VERSION);
    lib.easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    lib.easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)BUFFER);
    lib.easy_setopt(easy, CURLOPT_ERRORBUFFER, t->message);
    lib.easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, (long)rq->timeout);
    lib.easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, (long)SLOW);
    lib.easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long)rq->timeout);
    lib.easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    lib.easy_setopt(easy, CURLOPT_HEADERDATA, t);
    lib.easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    lib.easy_setopt(easy, CURLOPT_WRITEDATA, t);
    lib.easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, on_progress);
    lib.easy_setopt(easy, CURLOPT_XFERINFODATA, t);
    lib.easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
    lib.easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    if (ca)
        lib.easy_setopt(easy, CURLOPT_CAINFO, ca);
}

/* Add a printf-made header to the list; false when memory is short. */
static bool add_header(struct curl_slist **list, struct om_buf *line)
{
    struct curl_slist *longer = line->failed ? NULL : lib.slist_append(*list, line->ptr);

    if (longer)
        *list = longer;
    om_buf_release(line);
    return longer != NULL;
}

static bool set_headers(CURL *easy, const struct om_http_request *rq, struct curl_slist **list)
{
    struct om_buf line = OM_BUF_INIT(16 << 10);
    bool ok;

    om_buf_adds(&line, "Accept-Encoding: identity"); /* sizes and hashes are those of the file */
    ok = add_header(list, &line);
    if (rq->bearer) {
        om_buf_printf(&line, "Authorization: Bearer %s", rq->bearer);
        ok = add_header(list, &line) && ok;
    }
    if (rq->from > 0) {
        om_buf_printf(&line, "Range: bytes=%" PRIu64 "-", rq->from);
        ok = add_header(list, &line) && ok;
    }
    if (rq->from > 0 && rq->if_range) {
        om_buf_printf(&line, "If-Range: %s", rq->if_range);
        ok = add_header(list, &line) && ok;
    }
    lib.easy_setopt(easy, CURLOPT_HTTPHEADER, *list);
    return ok;
}

static enum om_http_failure failure_of(CURL *easy, CURLcode code)
{
    double connected = 0.0;

    lib.easy_getinfo(easy, CURLINFO_CONNECT_TIME, &connected);
    if (code == CURLE_OPERATION_TIMEDOUT && connected <= 0.0)
        return OM_HTTP_UNREACHABLE;
    switch ((int)code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_SSL_CONNECT_ERROR:
        return OM_HTTP_UNREACHABLE;
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_UNSUPPORTED_PROTOCOL: /* what came is no HTTP */
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
    case CURLE_HTTP3:
        return OM_HTTP_BROKEN;
    default:
        return OM_HTTP_FINAL;
    }
}

static const char *hint(CURLcode code)
{
    switch ((int)code) {
    case CURLE_COULDNT_RESOLVE_HOST:
        return " (no network? with HF_HUB_OFFLINE=1 only the cache is used)";
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
        return " (the certificates come from the package ca-certificates, or from the file that "
               "REQUESTS_CA_BUNDLE names)";
    default:
        return "";
    }
}

static int conclude(struct transfer *t, CURLcode code)
{
    long status = 0;

    if (t->rc < 0)
        return t->rc; /* the callback has said why */
    if (code == CURLE_OUT_OF_MEMORY)
        return om_fail(t->err, OM_E_NOMEM, "out of memory");
    if (code != CURLE_OK) {
        t->rs->failure = failure_of(t->easy, code);
        return om_fail(t->err, OM_E_IO, "%s%s",
                       t->message[0] ? t->message : lib.easy_strerror(code), hint(code));
    }
    lib.easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    t->rs->status = (int)status;
    return 0;
}

static int curl_perform(struct om_transport *self, void **conn, const struct om_http_request *rq,
                        struct om_http_response *rs, struct om_error *err)
{
    struct transfer t = { .rq = rq, .rs = rs, .err = err, .moved_at = seconds_now() };
    struct curl_slist *list = NULL;
    int rc;

    (void)self;
    pthread_once(&lib_once, load_lib);
    if (!lib.loaded) {
        rs->failure = OM_HTTP_FINAL;
        return om_fail(err, OM_E_UNSUPPORTED,
                       "the Hub cannot be reached without libcurl, and " LIB_NAME
                       " cannot be loaded (Debian: libcurl4); local directories and, with "
                       "HF_HUB_OFFLINE=1, cached models work");
    }
    if (!*conn)
        *conn = lib.easy_init();
    t.easy = *conn;
    if (!t.easy)
        return om_fail(err, OM_E_NOMEM, "libcurl cannot be used: out of memory");
    set_options(t.easy, &t);
    if (set_headers(t.easy, rq, &list))
        rc = conclude(&t, lib.easy_perform(t.easy));
    else
        rc = om_fail(err, OM_E_NOMEM, "out of memory");
    lib.easy_setopt(t.easy, CURLOPT_HTTPHEADER, NULL);
    lib.easy_setopt(t.easy, CURLOPT_ERRORBUFFER, NULL);
    lib.slist_free_all(list);
    return rc;
}

static void curl_close(struct om_transport *self, void *conn)
{
    (void)self;
    lib.easy_cleanup(conn);
}

#else

static int curl_perform(struct om_transport *self, void **conn, const struct om_http_request *rq,
                        struct om_http_response *rs, struct om_error *err)
{
    (void)self, (void)conn, (void)rq;
    rs->failure = OM_HTTP_FINAL;
    return om_fail(
        err, OM_E_UNSUPPORTED,
        "this build cannot reach the Hub: it was made without libcurl (Debian: "
        "libcurl4-openssl-dev); local directories and, with HF_HUB_OFFLINE=1, cached models work");
}

static void curl_close(struct om_transport *self, void *conn)
{
    (void)self, (void)conn;
}

#endif

struct om_transport *om_transport_curl(void)
{
    static struct om_transport transport = { curl_perform, curl_close };

    return &transport;
}
