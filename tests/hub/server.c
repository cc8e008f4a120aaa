/* tests/hub/server.c: a Hub on the loopback interface, for tests: the API's listings, resolve URLs,
 * and a second server ("cdn", on another address) that large files are redirected to, as the real
 * one does. It can be told to misbehave.
 *
 *     hub_server [--token T] [--log FILE] [--page N] [--fault 'METHOD WHERE GLOB ACTION ARG
 * COUNT']... DIR PORTS
 *
 * DIR/ORG--NAME/REV/ holds the files of a revision (a slash in REV is written %2F);
 * DIR/ORG--NAME/pipeline_tag its tag; a file gated or private beside them makes the repository so.
 * PORTS receives "HUB_PORT CDN_PORT\n" when both listen. A commit is a hash over the names and
 * contents of its files. Files with the suffixes of weights are in LFS. The server ends when its
 * standard input does. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/sha.h"

#define HUB_ADDRESS "127.0.0.1"
#define CDN_ADDRESS "127.0.0.2"
#define ELSEWHERE "/elsewhere" /* the cdn at the Hub's port, by another name of the host */
#define SIGNATURE "?Expires=1&Signature=secret"

enum { FAULTS_MAX = 32, REQUEST_MAX = 64 << 10, FILES_MAX = 4096 };

enum action {
    NONE,
    STATUS,    /* ARG instead of the answer; 429 and 503 with "Retry-After: 1" */
    HANGUP,    /* close without an answer */
    TRUNCATE,  /* close after ARG bytes of the body */
    LENGTH,    /* announce ARG bytes more than there are (less when negative) */
    CORRUPT,   /* change the byte at ARG */
    STALL,     /* send nothing any more after ARG bytes, and keep the connection */
    LORIS,     /* one byte of the head at a time */
    CHUNKED,   /* chunked transfer coding, without a length */
    NORANGE,   /* ignore Range */
    ETAG,      /* another etag */
    LOCALHOST, /* redirect to the same server by another name of it */
    SLOW,      /* ARG bytes per second */
    GZIP,      /* say that the body is encoded */
    COMMIT,    /* another commit */
};
static const char *const action_names[] = {
    "none",    "status",  "hangup", "truncate",  "length", "corrupt", "stall", "loris",
    "chunked", "norange", "etag",   "localhost", "slow",   "gzip",    "commit"
};

struct fault {
    char method[8], where[8], glob[256];
    enum action action;
    long arg;
    int count;
};

static struct {
    const char *dir, *token;
    FILE *log;
    long page;
    struct fault faults[FAULTS_MAX];
    int n_faults;
    int hub_port, cdn_port;
    pthread_mutex_t lock; /* of faults, log and digests */
} server = { .lock = PTHREAD_MUTEX_INITIALIZER };

struct request {
    int fd;
    bool cdn, head, keep;
    char path[2048], query[1024]; /* decoded; raw */
    char token[256];
    long long from; /* of Range, -1: none */
    char if_range[256];
    struct fault fault;
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

/* ---- files of a revision ---- */

struct file {
    char path[1024], full[2048];
    off_t size;
    char sha1[OM_SHA_HEX_MAX], sha256[OM_SHA_HEX_MAX];
};

struct files {
    struct file *list;
    size_t n;
};

/* Digests by path, size and time: large files are read once. */
static struct digest {
    char full[2048];
    off_t size;
    struct timespec time;
    char sha1[OM_SHA_HEX_MAX], sha256[OM_SHA_HEX_MAX];
} digests[FILES_MAX];
static size_t n_digests;

static void compute(struct digest *d)
{
    static char piece[1 << 20];
    struct om_sha one, two;
    char header[32];
    FILE *f = fopen(d->full, "rb");
    size_t n;

    if (!f)
        die(d->full);
    om_sha_init(&one, OM_SHA1);
    om_sha_init(&two, OM_SHA256);
    om_sha_add(&one, header,
               (size_t)snprintf(header, sizeof(header), "blob %lld", (long long)d->size) + 1);
    while ((n = fread(piece, 1, sizeof(piece), f)) > 0) {
        om_sha_add(&one, piece, n);
        om_sha_add(&two, piece, n);
    }
    fclose(f);
    om_sha_hex(&one, d->sha1);
    om_sha_hex(&two, d->sha256);
}

static void digest(struct file *f, const struct stat *st)
{
    struct digest *d = NULL;

    pthread_mutex_lock(&server.lock);
    for (size_t i = 0; i < n_digests && !d; i++)
        if (strcmp(digests[i].full, f->full) == 0)
            d = &digests[i];
    if (!d) {
        if (n_digests == FILES_MAX)
            exit(1);
        d = &digests[n_digests++];
        snprintf(d->full, sizeof(d->full), "%s", f->full);
        d->size = -1;
    }
    if (d->size != st->st_size || memcmp(&d->time, &st->st_mtim, sizeof(d->time)) != 0) {
        d->size = st->st_size;
        d->time = st->st_mtim;
        compute(d);
    }
    memcpy(f->sha1, d->sha1, sizeof(f->sha1));
    memcpy(f->sha256, d->sha256, sizeof(f->sha256));
    pthread_mutex_unlock(&server.lock);
}

static void walk(struct files *v, const char *dir, const char *prefix)
{
    struct dirent **names;
    const int n = scandir(dir, &names, NULL, alphasort);

    for (int i = 0; i < n; i++) {
        struct stat st;
        struct file *f = &v->list[v->n];
        char below[1026];

        if (names[i]->d_name[0] != '.') {
            snprintf(f->path, sizeof(f->path), "%s%s", prefix, names[i]->d_name);
            snprintf(f->full, sizeof(f->full), "%s/%s", dir, names[i]->d_name);
            if (stat(f->full, &st) == 0 && S_ISDIR(st.st_mode)) {
                char sub[2048];

                snprintf(sub, sizeof(sub), "%s", f->full);
                snprintf(below, sizeof(below), "%s/", f->path);
                walk(v, sub, below);
            } else if (v->n + 1 < FILES_MAX) {
                f->size = st.st_size;
                digest(f, &st);
                v->n++;
            }
        }
        free(names[i]);
    }
    if (n >= 0)
        free(names);
}

static struct files list_files(const char *dir)
{
    struct files v = { calloc(FILES_MAX, sizeof(struct file)), 0 };

    if (!v.list)
        die("memory");
    walk(&v, dir, "");
    return v;
}

static bool in_lfs(const char *path)
{
    static const char *const suffixes[] = { ".safetensors", ".bin", ".h5", ".onnx", ".model" };
    const size_t len = strlen(path);

    for (size_t i = 0; i < OM_COUNT(suffixes); i++) {
        const size_t n = strlen(suffixes[i]);

        if (len > n && strcmp(path + len - n, suffixes[i]) == 0)
            return true;
    }
    return false;
}

static void commit_of(const struct files *v, char hex[OM_SHA_HEX_MAX])
{
    struct om_sha s;

    om_sha_init(&s, OM_SHA1);
    for (size_t i = 0; i < v->n; i++) {
        om_sha_add(&s, v->list[i].path, strlen(v->list[i].path) + 1);
        om_sha_add(&s, v->list[i].sha256, 64);
    }
    om_sha_hex(&s, hex);
}

/* ---- repositories ---- */

/* "ORG/NAME" as "ORG--NAME"; slashes of a revision as "%2F". */
static void escape(char *out, size_t size, const char *text, const char *slash)
{
    size_t n = 0;

    for (; *text && n + 4 < size; text++) {
        if (*text == '/')
            n += (size_t)snprintf(out + n, size - n, "%s", slash);
        else
            out[n++] = *text;
    }
    out[n] = '\0';
}

static bool repo_has(const char *id, const char *name)
{
    char folder[512], path[2048];

    escape(folder, sizeof(folder), id, "--");
    snprintf(path, sizeof(path), "%s/%s/%s", server.dir, folder, name);
    return access(path, F_OK) == 0;
}

/* The directory of a revision, by name or by commit; false when there is none. */
static bool find_revision(const char *id, const char *rev, char *dir, size_t size,
                          char commit[OM_SHA_HEX_MAX])
{
    char folder[512], name[512], repo[1024];
    DIR *d;
    bool found = false;

    escape(folder, sizeof(folder), id, "--");
    escape(name, sizeof(name), rev, "%2F");
    snprintf(repo, sizeof(repo), "%s/%s", server.dir, folder);
    d = opendir(repo);
    for (const struct dirent *e; d && !found && (e = readdir(d));) {
        struct stat st;
        struct files v;

        snprintf(dir, size, "%s/%s", repo, e->d_name);
        if (e->d_name[0] == '.' || stat(dir, &st) < 0 || !S_ISDIR(st.st_mode))
            continue;
        v = list_files(dir);
        commit_of(&v, commit);
        free(v.list);
        found = strcmp(e->d_name, name) == 0 || strcmp(commit, rev) == 0;
    }
    if (d)
        closedir(d);
    return found;
}

/* ---- answering ---- */

static bool send_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        const ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

        if (n <= 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL);
}

/* Wait until the other side gives up. */
static void hold(int fd)
{
    char c;

    while (recv(fd, &c, 1, 0) > 0)
        ;
}

static bool send_head(struct request *rq, int status, const char *lines)
{
    char head[8192];
    const int n = snprintf(head, sizeof(head), "HTTP/1.1 %d Whatever\r\nServer: test\r\n%s\r\n",
                           status, lines);

    if (rq->fault.action != LORIS)
        return send_all(rq->fd, head, (size_t)n);
    for (int i = 0; i < n; i++) {
        if (!send_all(rq->fd, head + i, 1))
            return false;
        pause_ms(300);
    }
    return true;
}

static void answer_text(struct request *rq, int status, const char *lines, const char *text)
{
    char head[4096];

    snprintf(head, sizeof(head), "Content-Length: %zu\r\n%s", strlen(text), lines);
    rq->keep = send_head(rq, status, head) && (rq->head || send_all(rq->fd, text, strlen(text)));
}

static void answer_error(struct request *rq, int status, const char *code, const char *message)
{
    char lines[512];

    snprintf(lines, sizeof(lines), "X-Error-Code: %s\r\nX-Error-Message: %s\r\n", code, message);
    answer_text(rq, status, lines, "{\"error\":\"no\"}");
}

/* The body of a file under the fault of the request. Gives whether the connection is still in
 * order. */
static bool send_body(struct request *rq, FILE *f, off_t from, off_t size)
{
    char piece[16 << 10];
    off_t at = from;
    size_t n;

    fseeko(f, from, SEEK_SET);
    while (at < size && (n = fread(piece, 1, sizeof(piece), f)) > 0) {
        const struct fault *x = &rq->fault;
        const bool cut =
            (x->action == TRUNCATE || x->action == STALL) && at + (off_t)n > from + x->arg;
        char chunk[32];

        if (cut)
            n = (size_t)(from + x->arg - at);
        if (x->action == CORRUPT && at <= x->arg && x->arg < at + (off_t)n)
            piece[x->arg - at] ^= 1;
        if (x->action == CHUNKED &&
            !send_all(rq->fd, chunk, (size_t)snprintf(chunk, sizeof(chunk), "%zx\r\n", n)))
            return false;
        if (!send_all(rq->fd, piece, n))
            return false;
        if (x->action == CHUNKED && !send_all(rq->fd, "\r\n", 2))
            return false;
        if (cut && x->action == STALL)
            hold(rq->fd);
        if (cut)
            return false;
        at += (off_t)n;
        if (x->action == SLOW)
            pause_ms((long)(n * 1000) / OM_MAX(x->arg, 1));
    }
    return rq->fault.action != CHUNKED || send_all(rq->fd, "0\r\n\r\n", 5);
}

static void answer_file(struct request *rq, const struct file *file, const char *etag,
                        const char *commit)
{
    const enum action fault = rq->fault.action;
    char own_etag[256];
    const bool same =
        snprintf(own_etag, sizeof(own_etag), "\"%s%s\"", etag, fault == ETAG ? "x" : "") > 0 &&
        (!rq->if_range[0] || strcmp(rq->if_range, own_etag) == 0);
    const bool partial = rq->from >= 0 && same && fault != NORANGE;
    const off_t from = partial ? (off_t)rq->from : 0;
    struct om_buf head = OM_BUF_INIT(8 << 10);
    FILE *f = fopen(file->full, "rb");
    bool ok;

    if (!f || from > file->size || (partial && from == file->size)) {
        answer_text(rq, f ? 416 : 404, "", "");
        if (f)
            fclose(f);
        return;
    }
    om_buf_printf(&head, "Accept-Ranges: bytes\r\nETag: %s\r\n", own_etag);
    if (commit)
        om_buf_printf(&head, "X-Repo-Commit: %s\r\n", commit);
    if (fault == CHUNKED)
        om_buf_adds(&head, "Transfer-Encoding: chunked\r\n");
    else
        om_buf_printf(&head, "Content-Length: %lld\r\n",
                      (long long)(file->size - from) + (fault == LENGTH ? rq->fault.arg : 0));
    if (fault == GZIP)
        om_buf_adds(&head, "Content-Encoding: gzip\r\n");
    if (partial)
        om_buf_printf(&head, "Content-Range: bytes %lld-%lld/%lld\r\n", (long long)from,
                      (long long)file->size - 1, (long long)file->size);
    ok = send_head(rq, partial ? 206 : 200, head.ptr);
    if (ok && !rq->head)
        ok = send_body(rq, f, from, file->size);
    rq->keep = ok && fault != LENGTH;
    fclose(f);
    om_buf_release(&head);
}

/* ---- the API ---- */

static void put_file(struct om_buf *b, const struct file *f, bool tree)
{
    const char *git = in_lfs(f->path) ? "1111111111111111111111111111111111111111" : f->sha1;

    om_buf_adds(b, tree ? "{\"type\":\"file\",\"path\":" : "{\"rfilename\":");
    om_buf_json_string(b, om_sv_str(f->path));
    om_buf_printf(b, ",\"size\":%lld,\"%s\":\"%s\"", (long long)f->size, tree ? "oid" : "blobId",
                  git);
    if (in_lfs(f->path))
        om_buf_printf(b, ",\"lfs\":{\"%s\":\"%s\",\"size\":%lld,\"pointerSize\":134}",
                      tree ? "oid" : "sha256", f->sha256, (long long)f->size);
    om_buf_addc(b, '}');
}

static void put_tag(struct om_buf *b, const char *id)
{
    char folder[512], path[2048], tag[64] = "";
    FILE *f;

    escape(folder, sizeof(folder), id, "--");
    snprintf(path, sizeof(path), "%s/%s/pipeline_tag", server.dir, folder);
    f = fopen(path, "r");
    if (f && fgets(tag, sizeof(tag), f)) {
        tag[strcspn(tag, "\n")] = '\0';
        om_buf_printf(b, ",\"pipeline_tag\":\"%s\"", tag);
    }
    if (f)
        fclose(f);
}

static void answer_info(struct request *rq, const char *id, const char *commit,
                        const struct files *v)
{
    struct om_buf b = OM_BUF_INIT(16 << 20);

    om_buf_printf(&b,
                  "{\"id\":\"%s\",\"modelId\":\"%s\",\"sha\":\"%s\",\"private\":false,\"tags\":[]",
                  id, id, rq->fault.action == COMMIT ? "xyz" : commit);
    put_tag(&b, id);
    if (server.page == 0) { /* else there are too many to list them here */
        om_buf_adds(&b, ",\"siblings\":[");
        for (size_t i = 0; i < v->n; i++) {
            om_buf_adds(&b, i ? "," : "");
            put_file(&b, &v->list[i], false);
        }
        om_buf_addc(&b, ']');
    }
    om_buf_addc(&b, '}');
    answer_text(rq, 200, "Content-Type: application/json\r\n", b.ptr);
    om_buf_release(&b);
}

static void answer_tree(struct request *rq, const struct files *v)
{
    const char *cursor = strstr(rq->query, "cursor=");
    const size_t from = cursor ? (size_t)atol(cursor + 7) : 0,
                 step = server.page ? (size_t)server.page : v->n;
    struct om_buf b = OM_BUF_INIT(16 << 20);
    char lines[4096] = "";

    om_buf_addc(&b, '[');
    for (size_t i = from; i < v->n && i < from + step; i++) {
        om_buf_adds(&b, i > from ? "," : "");
        put_file(&b, &v->list[i], true);
    }
    om_buf_addc(&b, ']');
    if (from + step < v->n)
        snprintf(lines, sizeof(lines),
                 "Link: <http://" HUB_ADDRESS ":%d%s?recursive=true&cursor=%zu>; rel=\"next\"\r\n",
                 server.hub_port, rq->path, from + step);
    answer_text(rq, 200, lines, b.ptr);
    om_buf_release(&b);
}

/* Who may see what: false after an answer that says no. */
static bool admit(struct request *rq, const char *id)
{
    const bool right = server.token && strcmp(rq->token, server.token) == 0;
    char folder[512], path[1024];

    escape(folder, sizeof(folder), id, "--");
    snprintf(path, sizeof(path), "%s/%s", server.dir, folder);
    if (rq->token[0] && !right)
        answer_error(rq, 401, "", "Invalid credentials in Authorization header");
    else if (access(path, F_OK) < 0 || (repo_has(id, "private") && !right))
        answer_error(rq, right ? 404 : 401, right ? "RepoNotFound" : "",
                     "Invalid username or password.");
    else if (repo_has(id, "gated") && !right)
        answer_error(rq, 401, "GatedRepo", "Access to this model is restricted.");
    else if (repo_has(id, "gated-for-all"))
        answer_error(rq, 403, "GatedRepo", "You are not in the authorized list.");
    else
        return true;
    return false;
}

/* A file with its own headers, directly or on the cdn. */
static void answer_resolve(struct request *rq, const char *id, const char *dir, const char *commit,
                           const char *path, bool cached)
{
    struct files v = list_files(dir);
    const bool elsewhere = rq->fault.action == LOCALHOST;
    const struct file *f = NULL;
    char lines[8192];

    for (size_t i = 0; i < v.n && !f; i++)
        if (strcmp(v.list[i].path, path) == 0)
            f = &v.list[i];
    if (!f) {
        snprintf(lines, sizeof(lines), "X-Error-Code: EntryNotFound\r\nX-Repo-Commit: %s\r\n",
                 commit);
        answer_text(rq, 404, lines, "Entry not found");
    } else if (in_lfs(path)) {
        snprintf(lines, sizeof(lines),
                 "Location: http://%s:%d%s%s" SIGNATURE
                 "\r\nX-Repo-Commit: %s\r\nX-Linked-Size: %lld\r\n"
                 "X-Linked-Etag: \"%s%s\"\r\nETag: \"page\"\r\n",
                 elsewhere ? "localhost" : CDN_ADDRESS,
                 elsewhere ? server.hub_port : server.cdn_port, elsewhere ? ELSEWHERE : "",
                 f->full + strlen(server.dir), commit, (long long)f->size, f->sha256,
                 rq->fault.action == ETAG ? "x" : "");
        answer_text(rq, 302, lines, "Found.");
    } else if (!cached) { /* small files have a place of their own, within the Hub */
        snprintf(lines, sizeof(lines),
                 "Location: /api/resolve-cache/models/%s/%s/%s\r\nX-Repo-Commit: "
                 "%s\r\nX-Linked-Etag: \"%s\"\r\n",
                 id, commit, path, commit, f->sha1);
        answer_text(rq, 307, lines, "Temporary Redirect.");
    } else {
        answer_file(rq, f, f->sha1, commit);
    }
    free(v.list);
}

/* "ORG/NAME/WORD/REV/REST" or "NAME/WORD/REV/REST" in its parts. */
static bool split_path(char *path, const char *word, char **id, char **rev, char **rest)
{
    char needle[32], *at;

    snprintf(needle, sizeof(needle), "/%s/", word);
    at = strstr(path, needle);
    if (!at)
        return false;
    *at = '\0';
    *id = path;
    *rev = at + strlen(needle);
    *rest = strchr(*rev, '/');
    if (*rest)
        *(*rest)++ = '\0';
    return true;
}

static void unescape(char *s)
{
    char *out = s;

    for (; *s; s++) {
        unsigned c;

        if (*s == '%' && sscanf(s + 1, "%2x", &c) == 1) {
            *out++ = (char)c;
            s += 2;
        } else {
            *out++ = *s;
        }
    }
    *out = '\0';
}

/* path is still escaped, so that the slashes of a revision do not split it. */
static void answer_hub(struct request *rq, char *path)
{
    char *id, *rev, *rest, dir[2048], commit[OM_SHA_HEX_MAX];
    static const struct {
        const char *prefix, *word;
    } places[] = { { "/api/models/", "revision" }, { "/api/models/", "tree" }, { "/", "resolve" } };
    size_t i = 0;
    bool cached = false;

    if (strncmp(path, "/api/resolve-cache/models/", 26) == 0) { /* ID/COMMIT/PATH */
        char *slash = path + 26;

        cached = true;
        id = slash;
        slash = strchr(slash, '/');
        if (slash && strlen(slash) > 41 && slash[41] != '/')
            slash = strchr(slash + 1, '/');
        if (!slash || strlen(slash) < 43 || slash[41] != '/') {
            answer_text(rq, 404, "", "");
            return;
        }
        *slash = '\0';
        rev = slash + 1;
        slash[41] = '\0';
        rest = slash + 42;
        i = 2;
    } else {
        for (; i < OM_COUNT(places); i++)
            if (strncmp(path, places[i].prefix, strlen(places[i].prefix)) == 0 &&
                split_path(path + strlen(places[i].prefix), places[i].word, &id, &rev, &rest))
                break;
        if (i == OM_COUNT(places)) {
            answer_text(rq, 404, "", "");
            return;
        }
    }
    unescape(rev);
    if (!admit(rq, id))
        return;
    if (!find_revision(id, rev, dir, sizeof(dir), commit)) {
        answer_error(rq, 404, "RevisionNotFound", "Invalid rev id");
        return;
    }
    if (i == 2) {
        unescape(rest);
        answer_resolve(rq, id, dir, commit, rest, cached);
    } else {
        struct files v = list_files(dir);

        if (i == 0)
            answer_info(rq, id, commit, &v);
        else
            answer_tree(rq, &v);
        free(v.list);
    }
}

static void answer_cdn(struct request *rq, const char *path)
{
    struct file f = { .size = 0 };
    struct stat st;

    snprintf(f.full, sizeof(f.full), "%s%s", server.dir, path);
    if (strstr(path, "..") || stat(f.full, &st) < 0 || !S_ISREG(st.st_mode)) {
        answer_text(rq, 404, "", "");
        return;
    }
    if (!strstr(rq->query, "Signature=secret")) {
        answer_text(rq, 403, "", "AccessDenied");
        return;
    }
    f.size = st.st_size;
    answer_file(rq, &f, "storage-etag", NULL);
}

/* ---- requests ---- */

static void take_fault(struct request *rq, const char *method)
{
    rq->fault.action = NONE;
    for (int i = 0; i < server.n_faults && rq->fault.action == NONE; i++) {
        struct fault *f = &server.faults[i];

        if (f->count == 0 || strcmp(f->method, method) != 0 ||
            strcmp(f->where, rq->cdn ? "cdn" : "hub") != 0 || fnmatch(f->glob, rq->path, 0) != 0)
            continue;
        rq->fault = *f;
        f->count--;
    }
}

static void header_value(const char *text, const char *name, char *out, size_t size)
{
    const size_t len = strlen(name);

    out[0] = '\0';
    for (const char *p = strstr(text, "\r\n"); p; p = strstr(p + 2, "\r\n"))
        if (strncasecmp(p + 2, name, len) == 0 && p[2 + len] == ':') {
            const char *v = p + 3 + len + strspn(p + 3 + len, " ");

            snprintf(out, size, "%.*s", (int)strcspn(v, "\r\n"), v);
        }
}

static void note(const struct request *rq, const char *method)
{
    if (!server.log)
        return;
    fprintf(server.log, "%s %s %s token=%s from=%lld\n", method, rq->cdn ? "cdn" : "hub", rq->path,
            rq->token[0] ? rq->token : "-", rq->from);
    fflush(server.log);
}

static void answer(struct request *rq, char *target)
{
    char *path = target;

    if (strncmp(path, "http://", 7) == 0) /* as a proxy is asked */
        path = strchr(path + 7, '/') ? strchr(path + 7, '/') : path;
    if (rq->fault.action == HANGUP) {
        rq->keep = false;
    } else if (rq->fault.action == STATUS) {
        answer_text(rq, (int)rq->fault.arg,
                    rq->fault.arg == 429 || rq->fault.arg == 503 ? "Retry-After: 1\r\n" : "", "no");
    } else if (rq->cdn) { /* its paths are names on disk, "%2F" and all */
        answer_cdn(rq, path);
    } else {
        answer_hub(rq, path);
    }
}

static void handle(struct request *rq, char *text)
{
    char method[8] = "", target[4096] = "", value[512], *query;

    sscanf(text, "%7s %4095s", method, target);
    query = strchr(target, '?');
    snprintf(rq->query, sizeof(rq->query), "%s", query ? query + 1 : "");
    if (query)
        *query = '\0';
    if (strncmp(target, ELSEWHERE, strlen(ELSEWHERE)) == 0) {
        memmove(target, target + strlen(ELSEWHERE), strlen(target + strlen(ELSEWHERE)) + 1);
        rq->cdn = true;
    }
    snprintf(rq->path, sizeof(rq->path), "%.2047s", target);
    rq->head = strcmp(method, "HEAD") == 0;
    header_value(text, "authorization", value, sizeof(value));
    snprintf(rq->token, sizeof(rq->token), "%.255s",
             strncmp(value, "Bearer ", 7) == 0 ? value + 7 : "");
    header_value(text, "range", value, sizeof(value));
    header_value(text, "if-range", rq->if_range, sizeof(rq->if_range));
    rq->from = -1;
    sscanf(value, "bytes=%lld-", &rq->from);
    pthread_mutex_lock(&server.lock);
    take_fault(rq, method);
    note(rq, method);
    pthread_mutex_unlock(&server.lock);
    answer(rq, target);
}

static void *serve(void *user)
{
    struct request *rq = user;
    char *text = malloc(REQUEST_MAX + 1);
    size_t len = 0;

    rq->keep = text != NULL;
    while (rq->keep) {
        char *end;
        const ssize_t n = recv(rq->fd, text + len, REQUEST_MAX - len, 0);

        if (n <= 0)
            break;
        len += (size_t)n;
        text[len] = '\0';
        end = strstr(text, "\r\n\r\n");
        if (!end)
            continue;
        end[2] = '\0';
        handle(rq, text);
        len = 0; /* requests come one by one: GET and HEAD have no bodies */
    }
    close(rq->fd);
    free(text);
    free(rq);
    return NULL;
}

/* ---- listening ---- */

static int listen_on(const char *address, int *port)
{
    struct sockaddr_in a = { .sin_family = AF_INET };
    socklen_t len = sizeof(a);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    inet_pton(AF_INET, address, &a.sin_addr);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 64) < 0 ||
        getsockname(fd, (struct sockaddr *)&a, &len) < 0)
        die(address);
    *port = ntohs(a.sin_port);
    return fd;
}

struct door {
    int fd;
    bool cdn;
};

static void *accept_all(void *user)
{
    const struct door *door = user;

    for (;;) {
        struct request *rq = calloc(1, sizeof(*rq));
        pthread_t thread;

        if (!rq)
            die("memory");
        rq->cdn = door->cdn;
        rq->fd = accept(door->fd, NULL, NULL);
        if (rq->fd < 0 || pthread_create(&thread, NULL, serve, rq) != 0) {
            free(rq);
            continue;
        }
        pthread_detach(thread);
    }
    return NULL;
}

static void add_fault(const char *text)
{
    struct fault *f = &server.faults[server.n_faults];
    char action[16] = "";

    if (server.n_faults == FAULTS_MAX ||
        sscanf(text, "%7s %7s %255s %15s %ld %d", f->method, f->where, f->glob, action, &f->arg,
               &f->count) != 6) {
        fprintf(stderr, "hub_server: bad fault \"%s\"\n", text);
        exit(2);
    }
    for (size_t i = 0; i < OM_COUNT(action_names); i++)
        if (strcmp(action, action_names[i]) == 0)
            f->action = (enum action)i;
    if (f->action == NONE) {
        fprintf(stderr, "hub_server: unknown action \"%s\"\n", action);
        exit(2);
    }
    server.n_faults++;
}

static void write_ports(const char *path)
{
    char temp[4096];
    FILE *f;

    snprintf(temp, sizeof(temp), "%s.tmp", path);
    f = fopen(temp, "w");
    if (!f || fprintf(f, "%d %d\n", server.hub_port, server.cdn_port) < 0 || fclose(f) != 0 ||
        rename(temp, path) < 0)
        die(path);
}

int main(int argc, char **argv)
{
    struct door doors[2] = { { .cdn = false }, { .cdn = true } };
    int i = 1;
    char c;

    for (; i + 1 < argc && strncmp(argv[i], "--", 2) == 0; i += 2) {
        if (strcmp(argv[i], "--token") == 0)
            server.token = argv[i + 1];
        else if (strcmp(argv[i], "--log") == 0)
            server.log = fopen(argv[i + 1], "a");
        else if (strcmp(argv[i], "--page") == 0)
            server.page = atol(argv[i + 1]);
        else if (strcmp(argv[i], "--fault") == 0)
            add_fault(argv[i + 1]);
    }
    if (argc - i != 2) {
        fputs("usage: hub_server [options] DIR PORTS\n", stderr);
        return 2;
    }
    server.dir = argv[i];
    doors[0].fd = listen_on(HUB_ADDRESS, &server.hub_port);
    doors[1].fd = listen_on(CDN_ADDRESS, &server.cdn_port);
    for (int k = 0; k < 2; k++) {
        pthread_t thread;

        if (pthread_create(&thread, NULL, accept_all, &doors[k]) != 0)
            die("thread");
    }
    write_ports(argv[i + 1]);
    alarm(900); /* whatever happens */
    while (read(STDIN_FILENO, &c, 1) > 0)
        ;
    return 0;
}
