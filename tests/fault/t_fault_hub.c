/* tests/fault/t_fault_hub.c: a model from the Hub into an empty cache under failing allocations,
 * writes and reads. Whatever fails, nothing wrong has a final name, and without a failure the files
 * are there. */
#include "base/file.h"
#include "fault/fault.h"
#include "hub/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define COMMIT "0123456789abcdef0123456789abcdef01234567"
#define SHA "1b465fa6b6bcbc06a3199e3d2d8aec35d37494a712f888b6d5536684dd89d0f0"
#define CONFIG_SHA "9e26dfeeb6e641a33dae4961196235bdb965b21b"
#define WEIGHTS "weights\n"

enum { ALL = FAULT_MEMORY | FAULT_WRITE | FAULT_READ };

static const char listing[] =
    "{\"sha\":\"" COMMIT "\",\"siblings\":[{\"rfilename\":\"config.json\",\"size\":2},"
    "{\"rfilename\":\"model.safetensors\",\"size\":8,\"lfs\":{\"sha256\":\"" SHA
    "\",\"size\":8}}]}";

static int perform(struct om_transport *self, void **conn, const struct om_http_request *rq,
                   struct om_http_response *rs, struct om_error *err)
{
    const bool api = strstr(rq->url, "/api/") != NULL,
               config = strstr(rq->url, "config.json") != NULL;
    const char *body = api ? listing : config ? "{}" : WEIGHTS;

    (void)self, (void)conn;
    rs->status = 200;
    om_http_headers_add(&rs->headers,
                        config ? OM_SVL("etag: \"" CONFIG_SHA "\"") : OM_SVL("etag: \"" SHA "\""));
    return rq->head ? 0 : rq->body(rq->user, rs, body, strlen(body), err);
}

static void end(struct om_transport *self, void *conn)
{
    (void)self, (void)conn;
}

static double now(void *user)
{
    double *t = user;
    return *t += 1.0;
}

static void no_sleep(void *user, double seconds)
{
    (void)user, (void)seconds;
}

static const char *no_variables(void *user, const char *name)
{
    (void)user, (void)name;
    return NULL;
}

struct state {
    char cache[512];
    double time;
};

static int fetch(void *user, struct om_error *err)
{
    struct state *s = user;
    struct om_transport transport = { perform, end };
    const struct om_hub_clock clock = { now, no_sleep, &s->time };
    const struct om_hub_opts opts = { .id = "org/m",
                                      .cache_dir = s->cache,
                                      .transport = &transport,
                                      .clock = &clock,
                                      .get_env = no_variables };
    struct om_hub_repo *repo = NULL;
    int rc = om_hub_open(&opts, &repo, err);

    if (rc == 0)
        rc = om_hub_weights(repo, err);
    om_hub_close(repo);
    return rc;
}

/* "" when the file is not there. */
static const char *text_of(struct om_arena *a, const struct state *s, const char *name)
{
    struct om_error ignored = OM_ERROR_INIT;
    om_sv text = { "", 0 };

    om_file_read(a, om_path_join(a, s->cache, name), 1 << 16, &text, &ignored);
    om_error_release(&ignored);
    return text.ptr;
}

static void check_cache(struct test *t, void *user, int rc)
{
    static const struct {
        const char *name, *text;
    } files[] = {
        { "models--org--m/refs/main", COMMIT },
        { "models--org--m/blobs/" SHA, WEIGHTS },
        { "models--org--m/blobs/" CONFIG_SHA, "{}" },
        { "models--org--m/snapshots/" COMMIT "/config.json", "{}" },
        { "models--org--m/snapshots/" COMMIT "/model.safetensors", WEIGHTS },
    };
    struct om_arena a = OM_ARENA_INIT(1 << 20);

    for (size_t i = 0; i < OM_COUNT(files); i++) {
        const char *path = om_path_join(&a, ((struct state *)user)->cache, files[i].name);

        if (rc == 0 || om_file_exists(path))
            CHECK_STR(t, text_of(&a, user, files[i].name), files[i].text);
    }
    for (size_t i = 0; i < OM_COUNT(files); i++)
        unlink(om_path_join(&a, ((struct state *)user)->cache, files[i].name));
    om_arena_release(&a);
}

static void download(struct test *t)
{
    struct state s;

    snprintf(s.cache, sizeof(s.cache), "%s/cache", test_tmpdir(t));
    s.time = 0.0;
    fault_sweep(t, ALL, fetch, check_cache, &s);
}

const struct test_entry t_fault_hub[] = { { "download", download }, TEST_END };
