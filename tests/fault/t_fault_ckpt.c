/* tests/fault/t_fault_ckpt.c: checkpoints, configs and their writers under failing allocations,
 * reads and writes. */
#include "ckpt/ckpt.h"
#include "config/config.h"
#include "fault/fault.h"
#include "tools/mkckpt_lib.h"

#include <stdio.h>

enum { ALL = FAULT_MEMORY | FAULT_WRITE | FAULT_COPY | FAULT_READ };

struct state {
    const char *golden;
    char checkpoint[512], file[512];
};

static void prepare(struct test *t, struct state *s)
{
    const struct mkckpt_opts opts = { .shards = 2 };
    struct om_error err = OM_ERROR_INIT;
    const char *dir = test_tmpdir(t);

    s->golden = test_data(t, "goldens/distilbert/feature-extraction");
    snprintf(s->checkpoint, sizeof(s->checkpoint), "%s/checkpoint", dir);
    snprintf(s->file, sizeof(s->file), "%s/x.safetensors", dir);
    CHECK_OK(t, mkckpt_run(s->golden, s->checkpoint, &opts, &err), &err);
    om_error_release(&err);
}

static int open_checkpoint(void *user, struct om_error *err)
{
    const struct state *s = user;
    struct om_arena a = OM_ARENA_INIT(1 << 24);
    struct om_ckpt *ck = NULL;
    int rc = om_ckpt_open(&a, s->checkpoint, &ck, err);

    if (rc == 0 && !om_ckpt_find(ck, OM_SVL("embeddings.LayerNorm.weight")))
        rc = om_fail(err, OM_E_INTERNAL, "the checkpoint is incomplete");
    om_ckpt_close(ck);
    om_arena_release(&a);
    return rc;
}

/* A file of torch.save or of Keras. */
static int open_file(void *user, struct om_error *err)
{
    struct om_arena a = OM_ARENA_INIT(1 << 24);
    struct om_ckpt *ck = NULL;
    int rc = om_ckpt_open_file(&a, user, &ck, err);

    if (rc == 0 && ck->len == 0)
        rc = om_fail(err, OM_E_INTERNAL, "the checkpoint is incomplete");
    om_ckpt_close(ck);
    om_arena_release(&a);
    return rc;
}

static int open_shards(void *user, struct om_error *err)
{
    const struct state *s = user;
    struct om_arena a = OM_ARENA_INIT(1 << 24);
    struct om_ckpt *ck = NULL;
    int rc = om_ckpt_open(&a, s->checkpoint, &ck, err);

    if (rc == 0 && !om_ckpt_find(ck, OM_SVL("predictions.bias")))
        rc = om_fail(err, OM_E_INTERNAL, "the checkpoint is incomplete");
    om_ckpt_close(ck);
    om_arena_release(&a);
    return rc;
}

static int open_config(void *user, struct om_error *err)
{
    static const struct om_field fields[] = {
        { .kind = OM_FIELD_KIND_INT, .key = "hidden_dim", .required = true },
        OM_FIELD_REFUSE("sinusoidal_pos_embds", "false"),
        OM_FIELD_END,
    };
    const struct state *s = user;
    struct om_arena a = OM_ARENA_INIT(1 << 24);
    struct om_config c;
    int64_t hidden = 0;
    int rc = om_config_open(&a, s->checkpoint, &c, err);

    if (rc == 0)
        rc = om_config_fields(&a, &c, fields, &hidden, err);
    if (rc == 0 && hidden <= 0)
        rc = om_fail(err, OM_E_INTERNAL, "hidden_dim was not read");
    om_config_close(&c);
    om_arena_release(&a);
    return rc;
}

static int write_file(void *user, struct om_error *err)
{
    static const int64_t dims[] = { 4 };
    static const float values[] = { 1, 2, 3, 4 };
    static const struct om_tensor tensors[] = { { "a", OM_F32, 1, dims, values },
                                                { "b", OM_U8, 1, dims, values } };
    const struct state *s = user;

    return om_safetensors_write(s->file, tensors, OM_COUNT(tensors), err);
}

/* The file has its name only when it is complete. */
static void check_file(struct test *t, void *user, int rc)
{
    const struct state *s = user;
    struct om_arena a = OM_ARENA_INIT(1 << 20);
    struct om_ckpt *ck = NULL;

    CHECK(t, rc == 0 || !om_file_exists(s->file));
    if (rc == 0) {
        CHECK_INT(t, om_ckpt_open_file(&a, s->file, &ck, NULL), 0);
        remove(s->file);
    }
    om_ckpt_close(ck);
    om_arena_release(&a);
}

static void readers(struct test *t)
{
    struct state s;

    prepare(t, &s);
    test_case(t, "checkpoint");
    fault_sweep(t, ALL, open_checkpoint, NULL, &s);
    test_case(t, "config");
    fault_sweep(t, ALL, open_config, NULL, &s);
}

static void torch(struct test *t)
{
    static const char *const files[] = {
        "torch.bin",
        "legacy.bin",
        "nested4.bin",
#ifdef OM_HAVE_ZLIB
        "deflated.bin",
#endif
    };
    char path[512];

    for (size_t i = 0; i < OM_COUNT(files); i++) {
        snprintf(path, sizeof(path), "%s/%s", test_data(t, "fuzz/zip"), files[i]);
        test_case(t, "%s", files[i]);
        fault_sweep(t, ALL, open_file, NULL, path);
    }
}

static void keras(struct test *t)
{
    static const char *const files[] = { "model.h5", "model-fixed-strings.h5", "numbered.h5",
                                         "shard.h5" };
    char path[512];

    for (size_t i = 0; i < OM_COUNT(files); i++) {
        snprintf(path, sizeof(path), "%s/%s", test_data(t, "fuzz/h5"), files[i]);
        test_case(t, "%s", files[i]);
        fault_sweep(t, ALL, open_file, NULL, path);
    }
}

static void shards(struct test *t)
{
    struct state s = { .golden = NULL };

    snprintf(s.checkpoint, sizeof(s.checkpoint), "%s",
             test_data(t, "checkpoints/keras-albert-fill-mask-sharded"));
    fault_sweep(t, ALL, open_shards, NULL, &s);
}

static void writer(struct test *t)
{
    struct state s;

    prepare(t, &s);
    fault_sweep(t, ALL, write_file, check_file, &s);
}

const struct test_entry t_fault_ckpt[] = {
    { "readers", readers }, { "torch", torch },   { "keras", keras },
    { "shards", shards },   { "writer", writer }, TEST_END,
};
