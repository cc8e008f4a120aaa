/* tests/unit/fixture.h: a small checkpoint with its configuration, and a builder on top. */
#ifndef OM_FIXTURE_H
#define OM_FIXTURE_H

#include "base/file.h"
#include "nn/builder.h"
#include "test.h"

#include <stdio.h>

struct fixture_tensor {
    const char *name;
    uint32_t rank;
    int64_t dims[4];
    const float *data; /* NULL: 0, 1/8, 2/8 ... */
};

struct fixture {
    struct om_arena arena;
    struct om_error err;
    struct om_config config;
    struct om_ckpt *ckpt;
    struct om_graph *g;
    struct om_builder b;
};

static inline void fixture_file(struct test *t, const char *dir, const char *name, const char *text)
{
    char path[600];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    f = fopen(path, "w");
    CHECK(t, f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static inline void fixture_weights(struct test *t, struct fixture *f, const char *dir,
                                   const struct fixture_tensor *tensors, size_t n)
{
    struct om_tensor *list = om_arena_array(&f->arena, n, sizeof(*list));
    char path[600];

    for (size_t i = 0; i < n; i++) {
        int64_t count = 0;
        float *data;
        CHECK(t, om_count(tensors[i].dims, tensors[i].rank, &count));
        data = om_arena_array(&f->arena, (size_t)count, sizeof(*data));
        for (int64_t k = 0; k < count; k++)
            data[k] = tensors[i].data ? tensors[i].data[k] : (float)k / 8;
        list[i] = (struct om_tensor){ .name = tensors[i].name,
                                      .dtype = OM_F32,
                                      .rank = tensors[i].rank,
                                      .dims = tensors[i].dims,
                                      .data = data };
    }
    snprintf(path, sizeof(path), "%s/model.safetensors", dir);
    CHECK_OK(t, om_safetensors_write(path, list, n, &f->err), &f->err);
}

/* Write the checkpoint into the test's directory and open it; false after a failure. */
static inline bool fixture_open(struct test *t, struct fixture *f,
                                const struct fixture_tensor *tensors, size_t n, const char *config)
{
    const char *dir = test_tmpdir(t);

    *f = (struct fixture){ .arena = OM_ARENA_INIT(256u << 20) };
    fixture_file(t, dir, "config.json", config);
    fixture_weights(t, f, dir, tensors, n);
    CHECK_OK(t, om_config_open(&f->arena, dir, &f->config, &f->err), &f->err);
    CHECK_OK(t, om_ckpt_open(&f->arena, dir, &f->ckpt, &f->err), &f->err);
    return !test_failed(t);
}

/* A graph with a builder; gives the root scope. */
static inline om_scope fixture_begin(struct test *t, struct fixture *f)
{
    CHECK_OK(t, om_graph_new(&f->arena, NULL, OM_SVL("test"), &f->g, &f->err), &f->err);
    CHECK_OK(t, om_builder_init(&f->b, f->g, NULL, f->ckpt, &f->config, "model.onnx", &f->err),
             &f->err);
    return om_builder_root(&f->b);
}

/* Finish the graph. */
static inline int fixture_finish(struct fixture *f)
{
    const int rc = om_builder_finish(&f->b, &f->err);

    return rc < 0 ? rc : om_graph_finish(f->g, &f->err);
}

static inline void fixture_end(struct fixture *f)
{
    om_builder_release(&f->b);
    om_graph_free(f->g);
    f->g = NULL;
    om_error_release(&f->err);
}

static inline void fixture_close(struct fixture *f)
{
    fixture_end(f);
    om_ckpt_close(f->ckpt);
    om_config_close(&f->config);
    om_arena_release(&f->arena);
}

#endif
