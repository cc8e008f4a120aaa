/* tests/unit/t_hub.c: the Hub client on a scripted transport: names, settings, listings, choice of
 * files, the cache's layout, retries, redirects, resumed and broken downloads. tests/hub does it
 * over real connections. */
#include "base/file.h"
#include "base/sha.h"
#include "hub/internal.h"
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define COMMIT "0123456789abcdef0123456789abcdef01234567"
#define ENDPOINT "http://hub.test"

/* ---- names ---- */

static void ids(struct test *t)
{
    static const struct {
        const char *text;
        bool ok;
    } cases[] = {
        { "bert-base-uncased", true },
        { "org/name", true },
        { "Foo-BAR_foo.bar123", true },
        { "123", true },
        { "org/name@main", true },
        { "n@refs/pr/1", true },
        { "_a_/_b_", true },
        { "", false },
        { "a/b/c", false },
        { ".repo", false },
        { "foo--bar", false },
        { "foo.git", false },
        { "other..repo", false },
        { "-a", false },
        { "a-", false },
        { "a/", false },
        { "/a", false },
        { "a b", false },
        { "a/b.", false },
        { "ä", false },
        { "a@", false },
        { "a@..", false },
        { "a@x/../y", false },
        { "a@x//y", false },
        { "a@/x", false },
        { "a@x\n", false },
        { "a\\b", false },
    };
    char longest[98];

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        test_case(t, "\"%s\"", cases[i].text);
        CHECK_INT(t, om_hub_is_id(cases[i].text), cases[i].ok);
    }
    memset(longest, 'a', sizeof(longest));
    longest[97] = '\0';
    CHECK(t, !om_hub_is_id(longest));
    CHECK(t, om_hub_is_id(longest + 1));
}

static void etags(struct test *t)
{
    static const struct {
        const char *header, *want;
    } cases[] = {
        { "\"abc\"", "abc" }, { "W/\"abc\"", "abc" }, { "abc", "abc" },    { "\"a-b:c\"", "a-b:c" },
        { "\"\"", NULL },     { "", NULL },           { "W/", NULL },      { "\"../x\"", NULL },
        { "\"a/b\"", NULL },  { "\".x\"", NULL },     { "\"a b\"", NULL }, { "\"a\"b\"", NULL },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        om_sv got = { NULL, 0 };
        const bool ok = om_hub_etag(om_sv_str(cases[i].header), &got);

        test_case(t, "%s", cases[i].header);
        CHECK_INT(t, ok, cases[i].want != NULL);
        if (ok && cases[i].want)
            CHECK(t, om_sv_is(got, cases[i].want));
    }
}

static void links(struct test *t)
{
    static const struct {
        const char *header, *want;
    } cases[] = {
        { "<http://x/?a=1>; rel=\"next\"", "http://x/?a=1" },
        { "<a>; rel=prev, <b,c>; title=\"x\"; rel=\"last next\"", "b,c" },
        { "<a>; REL=NEXT", "a" },
        { "<a>; rel=\"prev\"", NULL },
        { "<a>; rel=nextly", NULL },
        { "<a", NULL },
        { "a; rel=next", NULL },
        { "<>; rel=next", NULL },
        { "", NULL },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        om_sv got = { NULL, 0 };
        const bool ok = om_hub_next_link(om_sv_str(cases[i].header), &got);

        test_case(t, "%s", cases[i].header);
        CHECK_INT(t, ok, cases[i].want != NULL);
        if (ok && cases[i].want)
            CHECK(t, om_sv_is(got, cases[i].want));
    }
}

static void urls(struct test *t)
{
    static const struct {
        const char *base, *location, *want;
    } joins[] = {
        { "https://a/b/c?d", "https://x/y", "https://x/y" },
        { "https://a/b/c?d", "/y?z", "https://a/y?z" },
        { "https://a/b/c?d", "y", "https://a/b/y" },
        { "https://a", "y", "https://a/y" },
        { "https://a/b", "//x/y", "https://x/y" },
        { "https://a/b", "ftp://x/y", NULL },
        { "https://a/b", "javascript:x", NULL },
        { "https://a/b", "http://x/\r\nA: b", NULL },
        { "https://a/b", "", NULL },
        { "https://a/b", "http://", NULL },
        { "https://a/b", "//@?x", NULL },
    };
    static const struct {
        const char *a, *b;
        bool same;
    } origins[] = {
        { "https://a/x", "https://A:443/y", true },
        { "http://a", "http://a:80/", true },
        { "https://a", "http://a", false },
        { "https://a", "https://a.b", false },
        { "http://a:8080/", "http://a:8081/", false },
        { "https://u:p@a/x", "https://a/y", true },
        { "https://a@b/x", "https://a/x", false },
        { "x", "x", false },
    };
    struct om_arena a = OM_ARENA_INIT(1 << 20);

    for (size_t i = 0; i < OM_COUNT(joins); i++) {
        const char *got = om_url_join(&a, om_sv_str(joins[i].base), om_sv_str(joins[i].location));

        test_case(t, "%s and %s", joins[i].base, joins[i].location);
        CHECK_STR(t, got ? got : "(none)", joins[i].want ? joins[i].want : "(none)");
    }
    for (size_t i = 0; i < OM_COUNT(origins); i++) {
        test_case(t, "%s and %s", origins[i].a, origins[i].b);
        CHECK_INT(t, om_url_same_origin(om_sv_str(origins[i].a), om_sv_str(origins[i].b)),
                  origins[i].same);
    }
    CHECK_STR(t, om_url_shown(&a, OM_SVL("https://user:secret@a:1/b/c?Signature=x")),
              "https://a:1/b/c");
    om_arena_release(&a);
}

/* ---- settings ---- */

struct variable {
    const char *name, *value;
};

static const char *look_up(void *user, const char *name)
{
    for (const struct variable *v = user; v && v->name; v++)
        if (strcmp(v->name, name) == 0)
            return v->value;
    return NULL;
}

static void environment(struct test *t)
{
    static const struct {
        struct variable vars[5];
        const char *given, *cache_dir, *endpoint, *token;
        bool offline;
    } cases[] = {
        { { { "HOME", "/h" } },
          NULL,
          "/h/.cache/huggingface/hub",
          "https://huggingface.co",
          NULL,
          false },
        { { { "HOME", "/h" }, { "XDG_CACHE_HOME", "/x" } },
          NULL,
          "/x/huggingface/hub",
          NULL,
          NULL,
          false },
        { { { "HOME", "/h" }, { "HF_HOME", "~/f" }, { "XDG_CACHE_HOME", "/x" } },
          NULL,
          "/h/f/hub",
          NULL,
          NULL,
          false },
        { { { "HF_HOME", "/f" }, { "HUGGINGFACE_HUB_CACHE", "/o" } },
          NULL,
          "/o",
          NULL,
          NULL,
          false },
        { { { "HF_HUB_CACHE", "$A/${B}/$C" },
            { "A", "/a" },
            { "B", "b" },
            { "HUGGINGFACE_HUB_CACHE", "/o" } },
          NULL,
          "/a/b/$C",
          NULL,
          NULL,
          false },
        { { { "HF_HUB_CACHE", "/e" } }, "given", "given", NULL, NULL, false },
        { { { "HF_ENDPOINT", "http://mirror:1/x//" }, { "HF_HUB_OFFLINE", "yes" } },
          "c",
          "c",
          "http://mirror:1/x",
          NULL,
          true },
        { { { "TRANSFORMERS_OFFLINE", "1" } }, "c", "c", NULL, NULL, true },
        { { { "TRANSFORMERS_OFFLINE", "1" }, { "HF_HUB_OFFLINE", "0" } },
          "c",
          "c",
          NULL,
          NULL,
          false },
        { { { "HF_TOKEN", " hf_x\n" } }, "c", "c", NULL, "hf_x", false },
        { { { "HUGGING_FACE_HUB_TOKEN", "old" } }, "c", "c", NULL, "old", false },
        { { { "HF_TOKEN", "hf_x" }, { "HF_HUB_DISABLE_IMPLICIT_TOKEN", "1" } },
          "c",
          "c",
          NULL,
          NULL,
          false },
    };
    struct om_arena a = OM_ARENA_INIT(1 << 20);
    struct om_error err = OM_ERROR_INIT;

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_hub_env env;

        test_case(t, "%zu", i);
        CHECK_OK(t, om_hub_env_read(&a, look_up, (void *)cases[i].vars, cases[i].given, &env, &err),
                 &err);
        CHECK_STR(t, env.cache_dir, cases[i].cache_dir);
        if (cases[i].endpoint)
            CHECK_STR(t, env.endpoint, cases[i].endpoint);
        CHECK_STR(t, env.token ? env.token : "", cases[i].token ? cases[i].token : "");
        CHECK_INT(t, env.offline, cases[i].offline);
        CHECK_INT(t, env.etag_timeout, 10);
    }
    om_arena_release(&a);
}

static void wrong_environment(struct test *t)
{
    static const struct {
        struct variable vars[2];
        const char *message;
    } cases[] = {
        { { { "HF_TOKEN", "a\x01"
                          "b" } },
          "HF_TOKEN: the token has a character" },
        { { { "HF_TOKEN", "a b" } }, "HF_TOKEN: the token has a character" },
        { { { "HF_ENDPOINT", "huggingface.co" } }, "HF_ENDPOINT: expected http" },
        { { { "HF_ENDPOINT", "file:///x" } }, "HF_ENDPOINT: expected http" },
        { { { "HF_HUB_ETAG_TIMEOUT", "soon" } }, "HF_HUB_ETAG_TIMEOUT: expected seconds" },
        { { { "HF_HUB_DOWNLOAD_TIMEOUT", "-1" } }, "HF_HUB_DOWNLOAD_TIMEOUT: expected seconds" },
    };
    struct om_arena a = OM_ARENA_INIT(1 << 20);

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_error err = OM_ERROR_INIT;
        struct om_hub_env env;

        test_case(t, "%zu", i);
        CHECK_INT(t, om_hub_env_read(&a, look_up, (void *)cases[i].vars, "c", &env, &err),
                  OM_E_USAGE);
        CHECK_HAS(t, om_error_text(&err), cases[i].message);
        om_error_release(&err);
    }
    om_arena_release(&a);
}

static void stored_token(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT(1 << 20);
    const char *path = om_path_join(&a, test_tmpdir(t), "token");
    const struct variable vars[] = { { "HF_HOME", test_tmpdir(t) }, { NULL, NULL } };
    struct om_error err = OM_ERROR_INIT;
    struct om_hub_env env;
    FILE *f = fopen(path, "w");

    CHECK(t, f && fputs("hf_stored\r\n", f) >= 0 && fclose(f) == 0);
    CHECK_OK(t, om_hub_env_read(&a, look_up, (void *)vars, NULL, &env, &err), &err);
    CHECK_STR(t, env.token ? env.token : "", "hf_stored");
    om_arena_release(&a);
}

static void headers(struct test *t)
{
    struct om_http_headers h = OM_HTTP_HEADERS_INIT;
    uint64_t n = 0;

    om_http_headers_add(&h, OM_SVL("HTTP/1.1 100 Continue\r\n"));
    om_http_headers_add(&h, OM_SVL("X-Old: 1\r\n"));
    om_http_headers_add(&h, OM_SVL("HTTP/1.1 200 OK\r\n"));
    om_http_headers_add(&h, OM_SVL("Content-Length:  12 \r\n"));
    om_http_headers_add(&h, OM_SVL("X-Twice: a\r\n"));
    om_http_headers_add(&h, OM_SVL("x-twice: b\r\n"));
    om_http_headers_add(&h, OM_SVL("no colon\r\n"));
    om_http_headers_add(&h, OM_SVL("Retry-After: -5\r\n"));
    om_http_headers_add(&h, OM_SVL("\r\n"));
    CHECK(t, om_http_header(&h, "x-old").ptr == NULL);
    CHECK(t, om_http_header_u64(&h, "content-length", &n) && n == 12);
    CHECK(t, om_sv_is(om_http_header(&h, "X-TWICE"), "b"));
    CHECK(t, om_http_header(&h, "no colon").ptr == NULL);
    CHECK(t, om_http_retry_after(&h) < 0.0);
    om_buf_clear(&h.lines);
    om_http_headers_add(&h, OM_SVL("Retry-After: 7"));
    CHECK(t, om_http_retry_after(&h) == 7.0);
    om_http_headers_add(&h, OM_SVL("Retry-After: Wed, 21 Oct 2015 07:28:00 GMT"));
    CHECK(t, om_http_retry_after(&h) == 0.0);
    om_buf_release(&h.lines);
}

/* ---- a scripted Hub ---- */

/* What the next request of a method for a URL gets. */
struct step {
    const char *method, *url; /* the URL's end */
    int status;
    const char *headers; /* lines */
    const char *body;
    int cut;                      /* the connection breaks after so many bytes; 0: it does not */
    enum om_http_failure failure; /* of a step without status */
    bool again;                   /* for every such request */
    bool used;
};

struct fake {
    struct om_transport transport;
    struct om_hub_clock clock;
    pthread_mutex_t lock;
    struct step *steps;
    double now;
    struct om_buf log; /* "GET url [token] [from N]\n" */
};

static struct step *find_step(struct fake *f, const char *method, const char *url)
{
    for (struct step *s = f->steps; s->method; s++)
        if ((!s->used || s->again) && strcmp(s->method, method) == 0 &&
            om_sv_ends(om_sv_str(url), om_sv_str(s->url))) {
            s->used = true;
            return s;
        }
    return NULL;
}

static void add_lines(struct om_http_headers *h, const char *text)
{
    om_sv rest = om_sv_str(text), line;

    while (text && om_sv_split(&rest, '\n', &line))
        om_http_headers_add(h, line);
}

static int play(const struct step *s, const struct om_http_request *rq, struct om_http_response *rs,
                struct om_error *err)
{
    const char *body = s->body ? s->body : "";
    size_t len = strlen(body);

    if (s->status == 0) {
        rs->failure = s->failure;
        return om_fail(err, OM_E_IO, "no connection");
    }
    rs->status = s->status;
    add_lines(&rs->headers, s->headers);
    if (s->status == 206) {
        body += rq->from;
        len -= (size_t)rq->from;
    }
    if (s->cut)
        len = OM_MIN(len, (size_t)s->cut);
    if (!rq->head && len > 0)
        OM_TRY(rq->body(rq->user, rs, body, len, err));
    if (!s->cut)
        return 0;
    rs->failure = OM_HTTP_BROKEN;
    return om_fail(err, OM_E_IO, "the connection broke");
}

static int fake_perform(struct om_transport *transport, void **conn,
                        const struct om_http_request *rq, struct om_http_response *rs,
                        struct om_error *err)
{
    struct fake *f = (struct fake *)transport;
    const char *method = rq->head ? "HEAD" : "GET";
    const struct step *s;

    *conn = f;
    pthread_mutex_lock(&f->lock);
    om_buf_printf(&f->log, "%s %s", method, rq->url);
    if (rq->bearer)
        om_buf_printf(&f->log, " [%s]", rq->bearer);
    if (rq->from)
        om_buf_printf(&f->log, " [from %d%s%s]", (int)rq->from, rq->if_range ? " of " : "",
                      rq->if_range ? rq->if_range : "");
    om_buf_addc(&f->log, '\n');
    s = find_step(f, method, rq->url);
    pthread_mutex_unlock(&f->lock);
    if (!s) {
        rs->status = 404;
        add_lines(&rs->headers, "x-error-code: EntryNotFound");
        return 0;
    }
    return play(s, rq, rs, err);
}

static void fake_close(struct om_transport *transport, void *conn)
{
    (void)transport, (void)conn;
}

static double fake_now(void *user)
{
    struct fake *f = user;

    pthread_mutex_lock(&f->lock);
    const double now = f->now;
    pthread_mutex_unlock(&f->lock);
    return now;
}

static void fake_sleep(void *user, double seconds)
{
    struct fake *f = user;

    pthread_mutex_lock(&f->lock);
    f->now += seconds;
    pthread_mutex_unlock(&f->lock);
}

static const char *const companions[] = { "tokenizer.json", "vocab.txt", NULL };
static const struct variable with_token[] = { { "HF_ENDPOINT", ENDPOINT },
                                              { "HF_TOKEN", "hf_secret" },
                                              { NULL, NULL } };
static const struct variable offline[] = { { "HF_ENDPOINT", ENDPOINT },
                                           { "HF_HUB_OFFLINE", "1" },
                                           { NULL, NULL } };

static void fake_init(struct fake *f, struct step *steps)
{
    *f = (struct fake){ .transport = { fake_perform, fake_close },
                        .steps = steps,
                        .log = OM_BUF_INIT(1 << 20) };
    f->clock = (struct om_hub_clock){ fake_now, fake_sleep, f };
    pthread_mutex_init(&f->lock, NULL);
}

static void fake_release(struct fake *f)
{
    om_buf_release(&f->log);
    pthread_mutex_destroy(&f->lock);
}

/* Open a repository from the fake in the test's directory, and fetch its weights. */
static int fetch_with(struct test *t, struct fake *f, struct om_hub_opts opts,
                      const struct variable *env, struct om_error *err)
{
    struct om_hub_repo *repo = NULL;
    int rc;

    opts.cache_dir = test_tmpdir(t);
    opts.companions = companions;
    opts.transport = &f->transport;
    opts.clock = &f->clock;
    opts.get_env = look_up;
    opts.env_user = (void *)env;
    rc = om_hub_open(&opts, &repo, err);

    if (rc == 0)
        rc = om_hub_weights(repo, err);
    om_hub_close(repo);
    return rc;
}

static int fetch(struct test *t, struct fake *f, const char *id, const struct variable *env,
                 struct om_error *err)
{
    return fetch_with(t, f, (struct om_hub_opts){ .id = id }, env, err);
}

/* The text of a file in the test's directory; "" when there is none. */
static const char *text_of(struct test *t, struct om_arena *a, const char *name)
{
    struct om_error ignored = OM_ERROR_INIT;
    om_sv text = { "", 0 };

    om_file_read(a, om_path_join(a, test_tmpdir(t), name), 1 << 20, &text, &ignored);
    om_error_release(&ignored);
    return text.ptr;
}

static bool exists(struct test *t, struct om_arena *a, const char *name)
{
    return om_file_exists(om_path_join(a, test_tmpdir(t), name));
}

#define REPO "models--org--m/"
#define SNAPSHOT REPO "snapshots/" COMMIT "/"
/* The files of org/m and their names in the cache: SHA-256 of what is in LFS, git's SHA-1 of the
 * rest. */
#define WEIGHTS "weights\n"
#define WEIGHTS_SHA "1b465fa6b6bcbc06a3199e3d2d8aec35d37494a712f888b6d5536684dd89d0f0"
#define CONFIG "{}"
#define CONFIG_SHA "9e26dfeeb6e641a33dae4961196235bdb965b21b"
#define VOCAB "a\nb"
#define VOCAB_SHA "0a207c060e61f3b88eaee0a8cd0696f46fb155eb"

#define LINES(etag, size) "etag: \"" etag "\"\nx-repo-commit: " COMMIT "\ncontent-length: " size
#define FILE_URL(name) "/org/m/resolve/" COMMIT "/" name
#define HEAD(name, etag, size)                                                                \
    {                                                                                         \
        .method = "HEAD", .url = FILE_URL(name), .status = 200, .headers = LINES(etag, size), \
        .again = true                                                                         \
    }
#define GET(name, etag, text)                                                                   \
    {                                                                                           \
        .method = "GET", .url = FILE_URL(name), .status = 200, .headers = "etag: \"" etag "\"", \
        .body = (text), .again = true                                                           \
    }
#define INFO_URL "/api/models/org/m/revision/main?blobs=true"
#define INFO(files)                                                                                \
    {                                                                                              \
        .method = "GET", .url = INFO_URL, .status = 200, .again = true,                            \
        .body = "{\"sha\":\"" COMMIT "\",\"pipeline_tag\":\"fill-mask\",\"siblings\":[" files "]}" \
    }
#define SIBLING(name, size) "{\"rfilename\":\"" name "\",\"size\":" size "}"
#define LFS_SIBLING(name, size, sha)                                                               \
    "{\"rfilename\":\"" name "\",\"size\":" size ",\"lfs\":{\"sha256\":\"" sha "\",\"size\":" size \
    ",\"pointerSize\":130}}"
#define SMALL_INFO                                                                               \
    INFO(SIBLING("config.json", "2") "," SIBLING("README.md", "3") "," SIBLING(                  \
        "vocab.txt", "3") "," SIBLING("pytorch_model.bin",                                       \
                                      "8") "," SIBLING("onnx/model.onnx",                        \
                                                       "8") "," LFS_SIBLING("model.safetensors", \
                                                                            "8", WEIGHTS_SHA))
#define CONFIG_STEPS HEAD("config.json", CONFIG_SHA, "2"), GET("config.json", CONFIG_SHA, CONFIG)
#define VOCAB_STEPS HEAD("vocab.txt", VOCAB_SHA, "3"), GET("vocab.txt", VOCAB_SHA, VOCAB)
#define WEIGHTS_HEAD HEAD("model.safetensors", WEIGHTS_SHA, "8")
#define END            \
    {                  \
        .method = NULL \
    }

/* Every file that the repository has and an export needs, and no other; under the names that
 * Python's client gives them. */
static void layout(struct test *t)
{
    struct step steps[] = { SMALL_INFO,
                            CONFIG_STEPS,
                            VOCAB_STEPS,
                            WEIGHTS_HEAD,
                            GET("model.safetensors", WEIGHTS_SHA, WEIGHTS),
                            END };
    struct om_arena a = OM_ARENA_INIT(1 << 20);
    struct om_error err = OM_ERROR_INIT;
    struct fake f;
    char target[256] = "";

    fake_init(&f, steps);
    CHECK_OK(t, fetch(t, &f, "org/m", with_token, &err), &err);
    CHECK_STR(t, text_of(t, &a, REPO "refs/main"), COMMIT);
    CHECK_STR(t, text_of(t, &a, REPO "blobs/" CONFIG_SHA), CONFIG);
    CHECK_STR(t, text_of(t, &a, REPO "blobs/" WEIGHTS_SHA), WEIGHTS);
    CHECK_STR(t, text_of(t, &a, SNAPSHOT "vocab.txt"), VOCAB);
    CHECK(t, readlink(om_path_join(&a, test_tmpdir(t), SNAPSHOT "model.safetensors"), target,
                      sizeof(target) - 1) > 0);
    CHECK_STR(t, target, "../../blobs/" WEIGHTS_SHA);
    CHECK(t, exists(t, &a, ".locks/models--org--m/" WEIGHTS_SHA ".lock"));
    CHECK(t, exists(t, &a, REPO ".no_exist/" COMMIT "/tokenizer.json"));
    CHECK(t, !exists(t, &a, REPO ".no_exist/" COMMIT "/vocab.txt"));
    CHECK(t, strstr(f.log.ptr, "README") == NULL && strstr(f.log.ptr, ".bin") == NULL &&
                 strstr(f.log.ptr, "onnx") == NULL);
    CHECK_HAS(t, f.log.ptr, "GET " ENDPOINT INFO_URL " [hf_secret]\n");

    om_buf_clear(&f.log); /* again: one question, no file */
    CHECK_OK(t, fetch(t, &f, "org/m@main", with_token, &err), &err);
    CHECK_STR(t, f.log.ptr, "GET " ENDPOINT INFO_URL " [hf_secret]\n");

    om_buf_clear(&f.log); /* offline: not even that */
    om_buf_adds(&f.log, "");
    CHECK_OK(t, fetch(t, &f, "org/m", offline, &err), &err);
    CHECK_INT(t, f.log.len, 0);
    CHECK_OK(t, fetch(t, &f, "org/m@" COMMIT, offline, &err), &err);
    CHECK_INT(t, fetch(t, &f, "org/m@other", offline, &err), OM_E_MISSING);
    CHECK_HAS(t, om_error_text(&err), "its revision \"other\" is not in the cache");
    om_error_release(&err);
    fake_release(&f);
    om_arena_release(&a);
}

/* What the caller says comes before the environment. */
static void caller_decides(struct test *t)
{
    struct step steps[] = { SMALL_INFO,
                            SMALL_INFO,
                            SMALL_INFO,
                            CONFIG_STEPS,
                            VOCAB_STEPS,
                            WEIGHTS_HEAD,
                            GET("model.safetensors", WEIGHTS_SHA, WEIGHTS),
                            CONFIG_STEPS,
                            VOCAB_STEPS,
                            WEIGHTS_HEAD,
                            GET("model.safetensors", WEIGHTS_SHA, WEIGHTS),
                            END };
    struct om_hub_opts o = { .id = "org/m", .local_files_only = true };
    struct om_error err = OM_ERROR_INIT;
    struct fake f;

    fake_init(&f, steps);
    CHECK_INT(t, fetch_with(t, &f, o, with_token, &err), OM_E_MISSING);
    CHECK_HAS(t, om_error_text(&err), "only local files may be used");
    CHECK_INT(t, f.log.len, 0);

    o = (struct om_hub_opts){ .id = "org/m", .token = "hf_mine" };
    CHECK_OK(t, fetch_with(t, &f, o, with_token, &err), &err);
    CHECK_HAS(t, f.log.ptr, "GET " ENDPOINT INFO_URL " [hf_mine]\n");
    CHECK(t, strstr(f.log.ptr, "hf_secret") == NULL);

    om_buf_clear(&f.log); /* none, and all files once more */
    o = (struct om_hub_opts){ .id = "org/m", .token = "", .force_download = true };
    CHECK_OK(t, fetch_with(t, &f, o, with_token, &err), &err);
    CHECK_HAS(t, f.log.ptr, "GET " ENDPOINT INFO_URL "\n");
    CHECK_HAS(t, f.log.ptr, "vocab.txt");
    CHECK_HAS(t, f.log.ptr, "model.safetensors");

    om_buf_clear(&f.log);
    o = (struct om_hub_opts){ .id = "org/m", .local_files_only = true, .force_download = true };
    CHECK_OK(t, fetch_with(t, &f, o, with_token, &err), &err);
    CHECK_INT(t, f.log.len, 0);

    o = (struct om_hub_opts){ .id = "org/m", .token = "a\nb: c" };
    CHECK_INT(t, fetch_with(t, &f, o, with_token, &err), OM_E_USAGE);
    CHECK_HAS(t, om_error_text(&err), "option token: the token has a character");
    om_error_release(&err);
    fake_release(&f);
}

/* The weights travel in ways that break. Each case: what the requests for them get, and what comes
 * of it. */
static void transfers(struct test *t)
{
#define WEIGHTS_GET(...)                                                   \
    {                                                                      \
        .method = "GET", .url = FILE_URL("model.safetensors"), __VA_ARGS__ \
    }
#define FROM_HUB .status = 200, .headers = "etag: \"" WEIGHTS_SHA "\"", .body = WEIGHTS
#define REST_OF(range)                                                                  \
    .status = 206, .headers = "etag: \"" WEIGHTS_SHA "\"\ncontent-range: bytes " range, \
    .body = WEIGHTS
#define TO_CDN                                                                                     \
    .status = 302, .headers =                                                                      \
                       "location: http://cdn.test/blob?Signature=s\nx-linked-etag: \"" WEIGHTS_SHA \
                       "\"\nx-linked-size: 8"
#define CDN(...)                                                                \
    {                                                                           \
        .method = "GET", .url = "http://cdn.test/blob?Signature=s", __VA_ARGS__ \
    }
    static const struct {
        const char *name;
        struct step steps[14];
        const char *message;  /* of the failure; NULL: it succeeds */
        const char *log;      /* a line that is there */
        const char *leftover; /* in the partial file before; NULL: there is none */
        double waited;        /* at least; 0: not at all */
    } cases[] = {
        { "a storage server gets no token",
          { WEIGHTS_GET(TO_CDN), CDN(FROM_HUB) },
          NULL,
          "GET http://cdn.test/blob?Signature=s\n",
          NULL,
          0 },
        { "continued where it broke",
          { WEIGHTS_GET(FROM_HUB, .cut = 3), WEIGHTS_GET(REST_OF("3-7/8")) },
          NULL,
          "[from 3 of \"" WEIGHTS_SHA "\"]\n",
          NULL,
          0.5 },
        { "from the storage server, by its etag",
          { WEIGHTS_GET(TO_CDN, .again = true),
            CDN(.status = 200, .headers = "etag: \"cdn\"", .body = WEIGHTS, .cut = 5),
            CDN(.status = 206, .headers = "content-range: bytes 5-7/8", .body = WEIGHTS) },
          NULL,
          "GET http://cdn.test/blob?Signature=s [from 5 of \"cdn\"]\n",
          NULL,
          0.5 },
        { "a leftover is continued",
          { WEIGHTS_GET(REST_OF("4-7/8")) },
          NULL,
          "[hf_secret] [from 4]\n",
          "weig",
          0 },
        { "a whole leftover needs no request", { END }, NULL, NULL, WEIGHTS, 0 },
        { "a wrong leftover is found out by the hash",
          { WEIGHTS_GET(REST_OF("4-7/8")), WEIGHTS_GET(FROM_HUB) },
          NULL,
          NULL,
          "WEIG",
          0 },
        { "a leftover that is too long",
          { WEIGHTS_GET(FROM_HUB) },
          NULL,
          NULL,
          "weights\nweights\n",
          0 },
        { "a server without ranges",
          { WEIGHTS_GET(FROM_HUB, .cut = 3), WEIGHTS_GET(FROM_HUB) },
          NULL,
          "[from 3",
          NULL,
          0.5 },
        { "a server that counts otherwise",
          { WEIGHTS_GET(FROM_HUB, .cut = 3), WEIGHTS_GET(REST_OF("2-7/8")), WEIGHTS_GET(FROM_HUB) },
          NULL,
          NULL,
          NULL,
          1 },
        { "a range that is not satisfiable",
          { WEIGHTS_GET(.status = 416), WEIGHTS_GET(FROM_HUB) },
          NULL,
          NULL,
          "weig",
          0.5 },
        { "less than announced",
          { WEIGHTS_GET(.status = 200, .body = "wei"), WEIGHTS_GET(REST_OF("3-7/8")) },
          NULL,
          "[from 3",
          NULL,
          0.5 },
        { "more than announced",
          { WEIGHTS_GET(.status = 200, .body = "weights\nmore"), WEIGHTS_GET(FROM_HUB) },
          NULL,
          NULL,
          NULL,
          0.5 },
        { "Retry-After is waited for",
          { WEIGHTS_GET(.status = 429, .headers = "retry-after: 7"), WEIGHTS_GET(FROM_HUB) },
          NULL,
          NULL,
          NULL,
          7 },
        { "Retry-After of an hour is not",
          { WEIGHTS_GET(.status = 429, .headers = "retry-after: 3600") },
          "the server asks to wait 3600 seconds: model.safetensors: the server answered 429",
          NULL,
          NULL,
          0 },
        { "503 passes",
          { WEIGHTS_GET(.status = 503), WEIGHTS_GET(.status = 502), WEIGHTS_GET(FROM_HUB) },
          NULL,
          NULL,
          NULL,
          1.5 },
        { "an outdated signature is renewed",
          { WEIGHTS_GET(TO_CDN, .again = true), CDN(.status = 403), CDN(FROM_HUB) },
          NULL,
          NULL,
          NULL,
          0.5 },
        { "503 for ever",
          { WEIGHTS_GET(.status = 503, .again = true) },
          "given up after 6 attempts: model.safetensors: the server answered 503",
          NULL,
          NULL,
          15 },
        { "one wrong hash",
          { WEIGHTS_GET(.status = 200, .body = "WEIGHTS\n"), WEIGHTS_GET(FROM_HUB) },
          NULL,
          NULL,
          NULL,
          0 },
        { "always a wrong hash",
          { WEIGHTS_GET(.status = 200, .body = "WEIGHTS\n", .again = true) },
          "model.safetensors: the downloaded bytes have the hash",
          NULL,
          NULL,
          0 },
        { "no connection",
          { WEIGHTS_GET(.failure = OM_HTTP_UNREACHABLE), WEIGHTS_GET(FROM_HUB) },
          NULL,
          NULL,
          NULL,
          0.5 },
        { "a certificate that is wrong",
          { WEIGHTS_GET(.failure = OM_HTTP_FINAL) },
          FILE_URL("model.safetensors") ": no connection",
          NULL,
          NULL,
          0 },
        { "an encoded body",
          { WEIGHTS_GET(.status = 200, .headers = "content-encoding: gzip", .body = WEIGHTS) },
          "the server sends it encoded (gzip)",
          NULL,
          NULL,
          0 },
        { "forbidden",
          { WEIGHTS_GET(.status = 403, .headers = "x-error-message: not \x1b[1m yours") },
          "org/m: model.safetensors: the server answered 403: not ?[1m yours",
          NULL,
          NULL,
          0 },
        { "the file changes for good",
          { WEIGHTS_GET(.status = 200, .headers = "etag: \"other\"", .body = WEIGHTS,
                        .again = true) },
          "model.safetensors: the file on the Hub has changed",
          NULL,
          NULL,
          0 },
        { "redirected in circles",
          { WEIGHTS_GET(.status = 302, .headers = "location: model.safetensors", .again = true) },
          "more than 10 redirects",
          NULL,
          NULL,
          0 },
        { "redirected to a file",
          { WEIGHTS_GET(.status = 302, .headers = "location: file:///etc/passwd") },
          "redirected to what is no http(s) address",
          NULL,
          NULL,
          0 },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct step steps[24] = { SMALL_INFO, CONFIG_STEPS, VOCAB_STEPS, WEIGHTS_HEAD };
        struct om_arena a = OM_ARENA_INIT(1 << 20);
        struct om_error err = OM_ERROR_INIT;
        struct fake f;
        const char *partial =
            om_path_join(&a, test_tmpdir(t), REPO "blobs/" WEIGHTS_SHA ".incomplete");
        int rc;

        test_case(t, "%s", cases[i].name);
        memcpy(steps + 6, cases[i].steps, sizeof(cases[i].steps));
        unlink(om_path_join(&a, test_tmpdir(t), REPO "blobs/" WEIGHTS_SHA));
        unlink(om_path_join(&a, test_tmpdir(t), SNAPSHOT "model.safetensors"));
        unlink(partial);
        if (cases[i].leftover) {
            FILE *file;

            CHECK_OK(t, om_dir_make(om_path_join(&a, test_tmpdir(t), REPO "blobs"), &err), &err);
            file = fopen(partial, "w");
            CHECK(t, file && fputs(cases[i].leftover, file) >= 0 && fclose(file) == 0);
        }
        fake_init(&f, steps);
        rc = fetch(t, &f, "org/m", with_token, &err);
        if (cases[i].message) {
            CHECK(t, rc < 0);
            CHECK_HAS(t, om_error_text(&err), cases[i].message);
            CHECK(t, !exists(t, &a, REPO "blobs/" WEIGHTS_SHA) &&
                         !exists(t, &a, SNAPSHOT "model.safetensors"));
        } else {
            CHECK_OK(t, rc, &err);
            CHECK_STR(t, text_of(t, &a, SNAPSHOT "model.safetensors"), WEIGHTS);
            CHECK(t, access(partial, F_OK) < 0);
        }
        if (cases[i].log)
            CHECK_HAS(t, f.log.ptr, cases[i].log);
        CHECK(t, strstr(om_error_text(&err), "hf_secret") == NULL &&
                     strstr(om_error_text(&err), "Signature") == NULL);
        CHECK(t, f.now >= cases[i].waited && f.now <= cases[i].waited + 0.9);
        om_error_release(&err);
        fake_release(&f);
        om_arena_release(&a);
    }
}

/* The Hub's answers that are no listing. */
static void refusals(struct test *t)
{
#define ANSWER(code, lines, text)                                                               \
    {                                                                                           \
        .method = "GET", .url = INFO_URL, .status = (code), .headers = (lines), .body = (text), \
        .again = true                                                                           \
    }
    static const struct {
        struct step step;
        const char *message;
    } cases[] = {
        { ANSWER(404, "x-error-code: RepoNotFound", NULL),
          "\"org/m\" is neither a directory nor a repository on the Hub (" ENDPOINT ")" },
        { ANSWER(401, NULL, NULL),
          "\"org/m\" is neither a directory nor a repository on the Hub (" ENDPOINT ")" },
        { ANSWER(401, "x-error-message: Invalid credentials in Authorization header", NULL),
          "does not accept the token" },
        { ANSWER(403, "x-error-code: GatedRepo", NULL),
          "org/m is gated: accept its conditions on " ENDPOINT "/org/m with the account" },
        { ANSWER(404, "x-error-code: RevisionNotFound", NULL),
          "revision \"main\": org/m has no such revision" },
        { ANSWER(200, NULL, "<html>"), "the answer of " ENDPOINT " for org/m: line 1" },
        { ANSWER(200, NULL, "{\"sha\":\"x\"}"), "key \"sha\": expected a commit, found \"x\"" },
        { ANSWER(200, NULL, "{}"), "key \"sha\": expected a commit, found nothing" },
        { INFO(SIBLING("model.safetensors", "8")), "org/m: the repository has no config.json" },
        { ANSWER(301, "location: https://x/", NULL), "the server answered 301" },
    };

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct step steps[] = { cases[i].step, END };
        struct om_error err = OM_ERROR_INIT;
        struct fake f;

        test_case(t, "%zu", i);
        fake_init(&f, steps);
        CHECK(t, fetch(t, &f, "org/m", with_token, &err) < 0);
        CHECK_HAS(t, om_error_text(&err), cases[i].message);
        om_error_release(&err);
        fake_release(&f);
    }
}

/* What was fetched once serves while the Hub cannot be asked. */
static void falls_back(struct test *t)
{
    struct step steps[] = { SMALL_INFO,
                            CONFIG_STEPS,
                            VOCAB_STEPS,
                            WEIGHTS_HEAD,
                            GET("model.safetensors", WEIGHTS_SHA, WEIGHTS),
                            END };
    struct step gone[] = {
        { .method = "GET", .url = INFO_URL, .failure = OM_HTTP_UNREACHABLE, .again = true }, END
    };
    struct om_error err = OM_ERROR_INIT;
    struct fake f;

    fake_init(&f, gone);
    CHECK_INT(t, fetch(t, &f, "org/m", with_token, &err), OM_E_IO);
    CHECK_HAS(t, om_error_text(&err), "no connection");
    om_error_release(&err);
    f.steps = steps;
    CHECK_OK(t, fetch(t, &f, "org/m", with_token, &err), &err);
    f.steps = gone;
    f.now = 0.0;
    CHECK_OK(t, fetch(t, &f, "org/m", with_token, &err), &err);
    CHECK(t, f.now < 1.0);
    fake_release(&f);
}

/* A renamed repository: the question and the files are redirected within the Hub, where the token
 * is still due. */
static void renamed(struct test *t)
{
    struct step steps[] = { { .method = "GET",
                              .url = INFO_URL,
                              .status = 307,
                              .headers = "location: /api/models/new/m?blobs=true" },
                            { .method = "GET",
                              .url = "/api/models/new/m?blobs=true",
                              .status = 200,
                              .body = "{\"sha\":\"" COMMIT "\",\"siblings\":[" SIBLING(
                                  "config.json", "2") "," SIBLING("model.safetensors", "8") "]}" },
                            { .method = "HEAD",
                              .url = FILE_URL("config.json"),
                              .status = 307,
                              .headers = "location: /new/config.json" },
                            { .method = "HEAD",
                              .url = "/new/config.json",
                              .status = 200,
                              .headers = LINES(CONFIG_SHA, "2") },
                            { .method = "GET",
                              .url = FILE_URL("config.json"),
                              .status = 307,
                              .headers = "location: /new/config.json\netag: \"x\"" },
                            { .method = "GET",
                              .url = "/new/config.json",
                              .status = 200,
                              .headers = LINES(CONFIG_SHA, "2"),
                              .body = CONFIG },
                            WEIGHTS_HEAD,
                            GET("model.safetensors", WEIGHTS_SHA, WEIGHTS),
                            END };
    struct om_error err = OM_ERROR_INIT;
    struct fake f;

    fake_init(&f, steps);
    CHECK_OK(t, fetch(t, &f, "org/m", with_token, &err), &err);
    CHECK_HAS(t, f.log.ptr, "GET " ENDPOINT "/new/config.json [hf_secret]\n");
    fake_release(&f);
}

/* Too many files for one answer: the tree, page by page. */
static void paged(struct test *t)
{
#define TREE "/api/models/org/m/tree/" COMMIT "?recursive=true&expand=false"
    struct step steps[] = {
        { .method = "GET",
          .url = INFO_URL,
          .status = 200,
          .body = "{\"sha\":\"" COMMIT "\"}",
          .again = true },
        { .method = "GET",
          .url = TREE,
          .status = 200,
          .headers = "link: <" ENDPOINT "/page2>; rel=\"next\"",
          .body = "[{\"type\":\"directory\",\"path\":\"x\"},{\"type\":\"file\",\"path\":\"config."
                  "json\",\"oid\":\"" CONFIG_SHA "\",\"size\":2}]" },
        { .method = "GET",
          .url = "/page2",
          .status = 200,
          .body =
              "[{\"type\":\"file\",\"path\":\"model.safetensors\",\"size\":8,\"oid\":\"" CONFIG_SHA
              "\",\"lfs\":{\"oid\":\"" WEIGHTS_SHA "\",\"size\":8}}]" },
        CONFIG_STEPS,
        WEIGHTS_HEAD,
        GET("model.safetensors", WEIGHTS_SHA, WEIGHTS),
        END
    };
    struct step elsewhere[] = { steps[0],
                                { .method = "GET",
                                  .url = TREE,
                                  .status = 200,
                                  .headers = "link: <http://other.test/page2>; rel=\"next\"",
                                  .body = "[]" },
                                END };
    struct om_error err = OM_ERROR_INIT;
    struct fake f;

    fake_init(&f, elsewhere);
    CHECK_INT(t, fetch(t, &f, "org/m", with_token, &err), OM_E_IO);
    CHECK_HAS(t, om_error_text(&err), "the list of files continues on another server");
    om_error_release(&err);
    f.steps = steps;
    CHECK_OK(t, fetch(t, &f, "org/m", with_token, &err), &err);
    fake_release(&f);
}

/* ---- choice of files ---- */

/* A listing of names, separated by spaces. */
static void list_names(struct test *t, struct om_hub_listing *l, const char *names)
{
    struct om_error err = OM_ERROR_INIT;
    om_sv rest = om_sv_str(names), name;

    while (om_sv_split(&rest, ' ', &name)) {
        const struct om_hub_file f = { .path = name };
        CHECK_OK(t, om_hub_listing_add(l, &f, &err), &err);
    }
}

static void chosen_text(const struct om_hub_want *w, struct om_buf *b)
{
    om_buf_clear(b);
    for (size_t i = 0; i < w->len; i++)
        om_buf_printf(b, "%s%.*s", i ? " " : "", OM_SV(w->listing->files[w->files[i]].path));
}

static void weights(struct test *t)
{
    static const struct {
        const char *names, *dir, *want, *index;
    } cases[] = {
        { "model.safetensors pytorch_model.bin", "", "model.safetensors", "" },
        { "model.safetensors model.safetensors.index.json", "", "model.safetensors", "" },
        { "model.safetensors.index.json pytorch_model.bin", "", "model.safetensors.index.json",
          "model.safetensors.index.json" },
        { "pytorch_model.bin tf_model.h5 model.fp16.safetensors", "", "pytorch_model.bin", "" },
        { "pytorch_model.bin.index.json tf_model.h5", "", "pytorch_model.bin.index.json",
          "pytorch_model.bin.index.json" },
        { "tf_model.h5 flax_model.msgpack", "", "tf_model.h5", "" },
        { "tf_model.h5.index.json", "", "tf_model.h5.index.json", "tf_model.h5.index.json" },
        { "other.safetensors adapter_model.safetensors x/y.safetensors", "", "other.safetensors",
          "" },
        { "a.safetensors b.safetensors", "", NULL, "" },
        { "flax_model.msgpack model.onnx onnx/model.safetensors", "", NULL, "" },
        { "model.safetensors sub/pytorch_model.bin", "sub/", "sub/pytorch_model.bin", "" },
        { "../model.safetensors /model.safetensors", "", NULL, "" },
    };
    struct om_buf text = OM_BUF_INIT(1 << 12);

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_arena a = OM_ARENA_INIT(1 << 20);
        struct om_hub_listing l = { 0 };
        struct om_hub_want w = { .listing = &l, .arena = &a };
        struct om_error err = OM_ERROR_INIT;
        om_sv index;
        bool found;

        test_case(t, "%s", cases[i].names);
        list_names(t, &l, cases[i].names);
        CHECK_OK(t, om_hub_want_weights(&w, om_sv_str(cases[i].dir), &index, &found, &err), &err);
        CHECK_INT(t, found, cases[i].want != NULL);
        chosen_text(&w, &text);
        CHECK_STR(t, text.len ? text.ptr : "", cases[i].want ? cases[i].want : "");
        CHECK(t, om_sv_is(index, cases[i].index));
        om_hub_want_release(&w);
        om_hub_listing_release(&l);
        om_arena_release(&a);
    }
    om_buf_release(&text);
}

static void shards(struct test *t)
{
    static const struct {
        const char *json, *want, *message;
    } cases[] = {
        { "{\"weight_map\":{\"a\":\"1.bin\",\"b\":\"2.bin\",\"c\":\"1.bin\"}}",
          "sub/1.bin sub/2.bin", NULL },
        { "{\"weight_map\":{\"a\":\"3.bin\"}}", NULL, "shard \"3.bin\" is not there" },
        { "{\"weight_map\":{\"a\":\"../1.bin\"}}", NULL, "expected the plain name of a file" },
        { "{\"weight_map\":{\"a\":\"x/1.bin\"}}", NULL, "expected the plain name of a file" },
        { "{\"weight_map\":{\"a\":1}}", NULL, "expected the plain name of a file" },
        { "{\"weight_map\":{}}", NULL,
          "key \"weight_map\": expected an object with tensors, found an empty one" },
        { "{}", NULL, "key \"weight_map\"" },
        { "[", NULL, "line 1" },
    };
    struct om_buf text = OM_BUF_INIT(1 << 12);

    for (size_t i = 0; i < OM_COUNT(cases); i++) {
        struct om_arena a = OM_ARENA_INIT(1 << 20);
        struct om_hub_listing l = { 0 };
        struct om_hub_want w = { .listing = &l, .arena = &a };
        struct om_error err = OM_ERROR_INIT;

        test_case(t, "%s", cases[i].json);
        list_names(t, &l, "1.bin sub/1.bin sub/2.bin");
        if (om_hub_want_shards(&w, OM_SVL("sub/"), om_sv_str(cases[i].json), &err) == 0) {
            chosen_text(&w, &text);
            CHECK_STR(t, text.ptr, cases[i].want ? cases[i].want : "(a failure)");
        } else {
            CHECK_HAS(t, om_error_text(&err), cases[i].message ? cases[i].message : "(no failure)");
        }
        om_error_release(&err);
        om_hub_want_release(&w);
        om_hub_listing_release(&l);
        om_arena_release(&a);
    }
    om_buf_release(&text);
}

/* A sentence-transformers model of the old layout: everything lies in the modules' directories. */
static void modules(struct test *t)
{
#define MODULES                                                                                 \
    "[{\"path\":\"0_T/"                                                                         \
    "\",\"type\":\"sentence_transformers.models.Transformer\"},{\"path\":\"1_Dense\",\"type\":" \
    "\"x.Dense\"},{\"path\":\"../2\"}]"
#define PLAIN(name, text, size) HEAD(name, name "-etag", size), GET(name, name "-etag", text)
    struct step steps[] = {
        INFO(SIBLING("modules.json", "119") "," SIBLING("0_T/config.json", "2") "," SIBLING(
            "0_T/model.safetensors",
            "8") "," SIBLING("0_T/vocab.txt",
                             "3") "," SIBLING("1_Dense/config.json",
                                              "2") "," SIBLING("1_Dense/pytorch_model.bin",
                                                               "1") "," SIBLING("3_Other/"
                                                                                "config.json",
                                                                                "2")),
        { .method = "HEAD",
          .url = FILE_URL("modules.json"),
          .status = 200,
          .headers = LINES("m", "119") },
        { .method = "GET", .url = FILE_URL("modules.json"), .status = 200, .body = MODULES },
        { .method = "HEAD",
          .url = "config.json",
          .status = 200,
          .headers = LINES(CONFIG_SHA, "2"),
          .again = true },
        { .method = "GET", .url = "config.json", .status = 200, .body = CONFIG, .again = true },
        { .method = "HEAD", .url = "vocab.txt", .status = 200, .headers = LINES(VOCAB_SHA, "3") },
        { .method = "GET", .url = "vocab.txt", .status = 200, .body = VOCAB },
        { .method = "HEAD",
          .url = "1_Dense/pytorch_model.bin",
          .status = 200,
          .headers = LINES("d", "1") },
        { .method = "GET", .url = "1_Dense/pytorch_model.bin", .status = 200, .body = "d" },
        { .method = "HEAD",
          .url = "0_T/model.safetensors",
          .status = 200,
          .headers = LINES(WEIGHTS_SHA, "8") },
        { .method = "GET", .url = "0_T/model.safetensors", .status = 200, .body = WEIGHTS },
        END
    };
    struct om_arena a = OM_ARENA_INIT(1 << 20);
    struct om_error err = OM_ERROR_INIT;
    struct fake f;
    char target[256] = "";

    CHECK_INT(t, strlen(MODULES), 119);
    fake_init(&f, steps);
    CHECK_OK(t, fetch(t, &f, "org/m", with_token, &err), &err);
    CHECK_STR(t, text_of(t, &a, SNAPSHOT "0_T/model.safetensors"), WEIGHTS);
    CHECK_STR(t, text_of(t, &a, SNAPSHOT "1_Dense/pytorch_model.bin"), "d");
    CHECK(t, readlink(om_path_join(&a, test_tmpdir(t), SNAPSHOT "0_T/config.json"), target,
                      sizeof(target) - 1) > 0);
    CHECK_STR(t, target, "../../../blobs/" CONFIG_SHA);
    CHECK(t, strstr(f.log.ptr, "3_Other") == NULL);
    om_error_release(&err);
    fake_release(&f);
    om_arena_release(&a);
}

static void snapshots(struct test *t)
{
    struct om_arena a = OM_ARENA_INIT(1 << 20);
    struct om_error err = OM_ERROR_INIT;
    const char *dir = om_path_join(&a, test_tmpdir(t), SNAPSHOT);

    CHECK(t, !om_hub_in_snapshot(dir));
    CHECK_OK(t, om_dir_make(dir, &err), &err);
    CHECK(t, om_hub_in_snapshot(dir));
    CHECK(t, om_hub_in_snapshot(om_path_join(&a, dir, "new/dir")));
    CHECK(t, !om_hub_in_snapshot(test_tmpdir(t)));
    CHECK(t, !om_hub_in_snapshot("nowhere"));
    om_arena_release(&a);
}

/* Files that no export needs, asked for one by one. */
static void single_files(struct test *t)
{
    struct step steps[] = { INFO(SIBLING("config.json", "2") "," SIBLING("a/m.onnx", "3")),
                            HEAD("config.json", CONFIG_SHA, "2"),
                            GET("config.json", CONFIG_SHA, CONFIG),
                            HEAD("a/m.onnx", VOCAB_SHA, "3"),
                            GET("a/m.onnx", VOCAB_SHA, VOCAB),
                            END };
    struct om_arena a = OM_ARENA_INIT(1 << 20);
    struct om_error err = OM_ERROR_INIT;
    struct om_hub_repo *repo = NULL;
    struct fake f;

    fake_init(&f, steps);
    for (int i = 0; i < 2; i++) { /* from the server, then from the cache */
        const struct om_hub_opts opts = { .id = "org/m",
                                          .cache_dir = test_tmpdir(t),
                                          .transport = &f.transport,
                                          .clock = &f.clock,
                                          .get_env = look_up,
                                          .env_user = (void *)(i ? offline : with_token) };
        const char *file = "untouched";

        test_case(t, "%s", i ? "offline" : "online");
        CHECK_OK(t, om_hub_open(&opts, &repo, &err), &err);
        if (!repo)
            break;
        CHECK_INT(t, om_hub_file_count(repo), 2);
        CHECK(t, exists(t, &a, SNAPSHOT "a/m.onnx") == (i == 1));
        CHECK_OK(t, om_hub_fetch(repo, OM_SVL("a/m.onnx"), &file, &err), &err);
        CHECK_HAS(t, file, SNAPSHOT "a/m.onnx");
        CHECK_STR(t, text_of(t, &a, SNAPSHOT "a/m.onnx"), VOCAB);
        CHECK_OK(t, om_hub_fetch(repo, OM_SVL("a/none.onnx"), &file, &err), &err);
        CHECK(t, file == NULL);
        om_hub_close(repo);
        repo = NULL;
    }
    fake_release(&f);
    om_error_release(&err);
    om_arena_release(&a);
}

const struct test_entry t_hub[] = {
    { "ids", ids },
    { "etags", etags },
    { "links", links },
    { "urls", urls },
    { "environment", environment },
    { "wrong environment", wrong_environment },
    { "stored token", stored_token },
    { "headers", headers },
    { "layout", layout },
    { "the caller decides", caller_decides },
    { "transfers", transfers },
    { "refusals", refusals },
    { "falls back", falls_back },
    { "renamed", renamed },
    { "paged", paged },
    { "weights", weights },
    { "shards", shards },
    { "modules", modules },
    { "snapshots", snapshots },
    { "single files", single_files },
    TEST_END,
};
