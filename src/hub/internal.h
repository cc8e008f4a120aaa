/* src/hub/internal.h: the parts of the Hub client. Private to src/hub and its tests.
 *
 * From the bottom: name.c (ids, etags, URLs), env.c (settings), http.c (one request with retries
 * and redirects over a transport), listing.c (what a repository has), select.c (what an export
 * needs of it), cache.c (the directories), download.c (one file), hub.c (the whole). */
#ifndef OM_HUB_INTERNAL_H
#define OM_HUB_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "base/map.h"
#include "hub/hub.h"

/* ---- names (name.c) ---- */

enum { OM_COMMIT_LEN = 40 };

bool om_hub_is_commit(om_sv s);
/* "org/name@rev" in two; *rev is empty without "@". */
void om_hub_split_id(om_sv text, om_sv *id, om_sv *rev);
/* Refs as git allows them, as far as it matters to paths: no empty, "." or ".." component, no
 * control character. */
bool om_hub_is_revision(om_sv s);
/* A path inside a repository that may become a path on disk: the same rules. */
bool om_hub_is_path(om_sv s);
/* W/"x" or "x" -> x. false: nothing that may become a file name. */
bool om_hub_etag(om_sv header, om_sv *out);
/* The URL of rel="next" in a Link header; false when there is none. */
bool om_hub_next_link(om_sv header, om_sv *url);
/* Percent-encode s; slashes too unless keep_slashes. */
void om_hub_quote(struct om_buf *b, om_sv s, bool keep_slashes);
/* "https://host:port" of a URL; empty when it is not http or https. Credentials ("user@") are no
 * part of it. */
om_sv om_url_scheme(om_sv url);
om_sv om_url_host(om_sv url); /* with port */
bool om_url_same_origin(om_sv a, om_sv b);
/* Where a Location header leads from base, as an arena string; NULL: nowhere (another scheme,
 * garbage) or no memory. */
char *om_url_join(struct om_arena *a, om_sv base, om_sv location);
/* A URL as messages show it: no credentials, no query (signatures of storage servers). */
char *om_url_shown(struct om_arena *a, om_sv url);

/* ---- environment (env.c) ---- */

struct om_hub_env {
    const char *cache_dir;
    const char *endpoint;                    /* without a slash at its end */
    const char *token;                       /* NULL: none. Never in a message */
    bool offline, quiet;                     /* quiet: no progress */
    bool local_only;                         /* offline because the caller says so */
    bool force;                              /* fetch what the cache has */
    unsigned etag_timeout, download_timeout; /* seconds without a byte */
};
/* get is getenv() but in tests. cache_dir may be NULL. */
typedef const char *om_getenv_fn(void *user, const char *name);
int om_hub_env_read(struct om_arena *a, om_getenv_fn *get, void *user, const char *cache_dir,
                    struct om_hub_env *out, struct om_error *err);

/* from: where the token is from, for the message. */
int om_hub_check_token(const char *token, const char *from, struct om_error *err);

/* ---- HTTP (http.c, curl.c) ---- */

/* The headers of a response; names are compared without case. */
struct om_http_headers {
    struct om_buf lines; /* "name: value\n" */
};
enum { OM_HTTP_HEADERS_MAX = 256 << 10 };
#define OM_HTTP_HEADERS_INIT                      \
    {                                             \
        .lines = OM_BUF_INIT(OM_HTTP_HEADERS_MAX) \
    }

/* A line as it came. A status line ("HTTP/...") starts over: it ends an interim response. */
void om_http_headers_add(struct om_http_headers *h, om_sv line);
om_sv om_http_header(const struct om_http_headers *h,
                     const char *name); /* trimmed; .ptr NULL when absent */
bool om_http_header_u64(const struct om_http_headers *h, const char *name, uint64_t *out);

/* Why a request failed, as far as it decides what to do next. */
enum om_http_failure {
    OM_HTTP_FINAL,      /* nothing will change */
    OM_HTTP_BROKEN,     /* the connection broke or stood still: another attempt may succeed */
    OM_HTTP_UNREACHABLE /* there was no connection, maybe there is no network */
};

struct om_http_response {
    int status;
    struct om_http_headers headers;
    enum om_http_failure failure; /* of a failed perform */
};
#define OM_HTTP_RESPONSE_INIT           \
    {                                   \
        .headers = OM_HTTP_HEADERS_INIT \
    }
void om_http_response_clear(struct om_http_response *rs); /* keeps the memory */
void om_http_response_release(struct om_http_response *rs);

struct om_http_request {
    bool head; /* HEAD, else GET */
    const char *url;
    const char *bearer;   /* NULL: no Authorization */
    uint64_t from;        /* GET: "Range: bytes=FROM-" when not 0 */
    const char *if_range; /* with from: the etag the rest must have; NULL: none */
    unsigned timeout;     /* seconds without progress */
    struct om_ctx *ctx;
    /* Bytes of the body; status and headers are complete. A negative result ends the transfer. */
    int (*body)(void *user, const struct om_http_response *rs, const void *data, size_t len,
                struct om_error *err);
    void *user;
};

/* Carries out requests. *conn belongs to one thread and starts as NULL; close ends it. Redirects
 * are not followed. perform returns 0 when a whole response came, whatever its status. */
struct om_transport {
    int (*perform)(struct om_transport *t, void **conn, const struct om_http_request *rq,
                   struct om_http_response *rs, struct om_error *err);
    void (*close)(struct om_transport *t, void *conn);
};
/* The network through libcurl; without it every request fails and says why. */
struct om_transport *om_transport_curl(void);

struct om_hub_clock {
    double (*now)(void *user);
    void (*sleep)(void *user, double seconds);
    void *user;
};
extern const struct om_hub_clock om_hub_machine_clock;

/* What all requests of one repository share. */
struct om_hub {
    struct om_hub_env env;
    struct om_transport *transport;
    const struct om_hub_clock *clock;
    struct om_ctx *ctx;
    pthread_mutex_t
        lock;         /* of the context's logger and progress, which serve one thread at a time */
    atomic_bool stop; /* another thread has failed: transfers and waits end */
};
/* OM_E_CANCELLED after om_ctx_cancel() and when another thread has failed. */
int om_hub_check(struct om_hub *hub, struct om_error *err);
void om_hub_log(struct om_hub *hub, enum om_level level, const char *fmt, ...) OM_PRINTF(3, 4);
void om_hub_progress(struct om_hub *hub, const char *what, uint64_t done, uint64_t total);
/* Sleep, and wake up early with OM_E_CANCELLED. */
int om_hub_sleep(struct om_hub *hub, double seconds, struct om_error *err);

/* Attempts at something that may fail for a while. */
struct om_backoff {
    unsigned failures; /* in a row */
};
enum { OM_RETRIES = 5 };
/* After a failure that may pass: wait, or say that it was one too many. retry_after: seconds the
 * server asked for, negative: it did not. *err holds the reason of the failure and is kept when the
 * answer is negative. */
int om_backoff_wait(struct om_hub *hub, struct om_backoff *b, double retry_after,
                    struct om_error *err);
/* Seconds of a Retry-After header, negative: none. */
double om_http_retry_after(const struct om_http_headers *h);
bool om_http_status_passes(int status); /* 408, 429 and 5xx: worth another attempt */
struct om_hub_conn;
void om_http_fail_passing(struct om_hub_conn *c, const char *url, int status,
                          struct om_error *err); /* the message of those */

/* One thread's connection to the Hub and to where it redirects. */
struct om_hub_conn {
    struct om_hub *hub;
    void *conn;
    struct om_arena arena; /* scratch of one request */
};
void om_hub_conn_init(struct om_hub_conn *c, struct om_hub *hub);
/* Connect anew for the next request: after a failure nobody knows what is left on the old
 * connection. */
void om_hub_conn_reset(struct om_hub_conn *c);
void om_hub_conn_release(struct om_hub_conn *c);

/* One attempt. Redirects are followed within the origin of the URL, or to any place (from https to
 * http nowhere). The token goes to the endpoint's origin and nowhere else. hub, unless NULL,
 * receives the headers of the last response of that origin, which has the Hub's own headers; rs
 * those of the last response of all. */
enum om_follow { OM_FOLLOW_ORIGIN, OM_FOLLOW_ALL };
int om_hub_attempt(struct om_hub_conn *c, const struct om_http_request *rq, enum om_follow follow,
                   struct om_http_response *rs, struct om_http_response *hub, struct om_error *err);
/* A small document (HEAD: none) with retries: the body in *text, up to its maximum; headers in *rs.
 * Gives the last answer of the server whatever its status; negative when there was none. */
int om_hub_ask(struct om_hub_conn *c, const char *url, bool head, struct om_buf *text,
               struct om_http_response *rs, struct om_error *err);

/* ---- listing (listing.c) ---- */

struct om_hub_file {
    om_sv path; /* in the repository */
    uint64_t size;
    bool size_known;
    om_sv sha256;   /* of an LFS file, hexadecimal; empty: not known */
    om_sv git_sha1; /* of a blob in git; empty: not known */
};

struct om_hub_listing {
    struct om_hub_file *files;
    size_t len, cap;
    struct om_map by_path;
    om_sv commit, pipeline_tag;
    bool complete; /* false: too long for the answer, ask for the tree */
};
void om_hub_listing_release(struct om_hub_listing *l);
const struct om_hub_file *om_hub_listing_find(const struct om_hub_listing *l, om_sv path);
int om_hub_listing_add(struct om_hub_listing *l, const struct om_hub_file *f, struct om_error *err);
/* The answer of /api/models/ID/revision/REV?blobs=true. Paths that could not be files here are left
 * out. */
int om_hub_parse_info(struct om_arena *a, om_sv json, struct om_hub_listing *l,
                      struct om_error *err);
/* One page of /api/models/ID/tree/REV?recursive=true, added to the listing. */
int om_hub_parse_tree(struct om_arena *a, om_sv json, struct om_hub_listing *l,
                      struct om_error *err);

/* ---- selection (select.c) ---- */

/* The files wanted so far, as indexes into the listing. */
struct om_hub_want {
    const struct om_hub_listing *listing;
    struct om_arena *arena;
    uint32_t *files;
    size_t len, cap;
    struct om_map seen;
};
void om_hub_want_release(struct om_hub_want *w);
/* A file of the listing; once is enough. */
int om_hub_want_file(struct om_hub_want *w, const struct om_hub_file *f, struct om_error *err);
/* config.json and what belongs to it, the companions included, of directory dir ("" or "a/b/"). */
int om_hub_want_small(struct om_hub_want *w, om_sv dir, const char *const *companions,
                      struct om_error *err);
/* The weights of a directory: a single file or an index, of the best format. *index receives the
 * path of the index when there is one, which must be read for the shards; else it is empty. *found:
 * there are any. */
int om_hub_want_weights(struct om_hub_want *w, om_sv dir, om_sv *index, bool *found,
                        struct om_error *err);
/* The shards an index (its text) names. */
int om_hub_want_shards(struct om_hub_want *w, om_sv dir, om_sv json, struct om_error *err);
/* The directories of a sentence-transformers model ("1_Dense/", below root) from the text of its
 * modules.json. */
struct om_hub_module {
    om_sv dir;
    bool transformer;
};
int om_hub_modules(struct om_arena *a, om_sv root, om_sv json, struct om_hub_module **out,
                   size_t *n, struct om_error *err);

/* ---- cache (cache.c) ---- */

struct om_hub_cache {
    struct om_arena *arena;
    const char *root;  /* CACHE */
    const char *repo;  /* CACHE/models--ORG--NAME */
    const char *locks; /* CACHE/.locks/models--ORG--NAME */
};
int om_hub_cache_init(struct om_hub_cache *c, struct om_arena *a, const char *root, om_sv id,
                      struct om_error *err);
/* The commit in refs/REVISION, or the revision itself when it is a commit; empty when there is
 * none. */
om_sv om_hub_cache_ref(const struct om_hub_cache *c, om_sv revision);
int om_hub_cache_set_ref(const struct om_hub_cache *c, om_sv revision, om_sv commit,
                         struct om_error *err);
/* snapshots/COMMIT, or PATH in it; from arena a. NULL: no memory. */
char *om_hub_cache_snapshot(const struct om_hub_cache *c, struct om_arena *a, om_sv commit,
                            om_sv path);
bool om_hub_cache_no_exist(const struct om_hub_cache *c, struct om_arena *a, om_sv commit,
                           om_sv path);
void om_hub_cache_set_no_exist(const struct om_hub_cache *c, struct om_arena *a, om_sv commit,
                               om_sv path); /* best effort */
/* The files of a snapshot as a listing, for use without the Hub. */
int om_hub_cache_list(const struct om_hub_cache *c, om_sv commit, struct om_hub_listing *l,
                      struct om_error *err);
/* Make snapshots/COMMIT/PATH a relative link to blobs/ETAG, replacing what is there. */
int om_hub_cache_link(const struct om_hub_cache *c, struct om_arena *a, om_sv commit, om_sv path,
                      om_sv etag, struct om_error *err);

/* An exclusive lock that Python's filelock respects. fd is -1 where the file system has no locks.
 */
struct om_hub_lock {
    int fd;
};
int om_hub_lock(struct om_hub *hub, struct om_hub_lock *l, const char *path, struct om_error *err);
void om_hub_unlock(struct om_hub_lock *l);

/* ---- one file (download.c) ---- */

struct om_hub_fetch {
    struct om_hub *hub;
    const struct om_hub_cache *cache;
    om_sv id, commit;
};
/* Make snapshots/COMMIT/PATH of a listed file exist. */
int om_hub_fetch_file(const struct om_hub_fetch *f, struct om_hub_conn *c,
                      const struct om_hub_file *file, struct om_error *err);
/* The message of a response that is no success; path: the file that was asked for, NULL: the
 * repository. */
int om_hub_fail_status(struct om_hub *hub, const struct om_http_response *rs, om_sv id,
                       const char *path, struct om_error *err);

#endif
