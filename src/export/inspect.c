/* src/export/inspect.c: checkpoints and .onnx files as tables or JSON. */
#include <optimum/inspect.h>

#include "ckpt/ckpt.h"
#include "config/config.h"
#include "onnx/summary.h"

#define TEXT_MAX ((size_t)1 << 30)

/* ---- pieces ---- */

static void put_size(struct om_buf *b, uint64_t bytes)
{
    static const char *const units[] = { "B", "KB", "MB", "GB", "TB" };
    double v = (double)bytes;
    size_t u = 0;

    for (; v >= 1000.0 && u + 1 < OM_COUNT(units); u++)
        v /= 1000.0;
    om_buf_printf(b, u == 0 ? "%.0f %s" : "%.1f %s", v, units[u]);
}

static void put_text(struct om_buf *b, const char *key, const char *value)
{
    om_buf_json_string(b, om_sv_str(key));
    om_buf_adds(b, ": ");
    om_buf_json_string(b, om_sv_str(value));
}

static void put_dims(struct om_buf *b, const int64_t *dims, size_t n)
{
    om_buf_addc(b, '[');
    for (size_t i = 0; i < n; i++)
        om_buf_printf(b, "%s%" PRId64, i ? ", " : "", dims[i]);
    om_buf_addc(b, ']');
}

static bool is_number(const char *s)
{
    int64_t v;

    return om_sv_i64(om_sv_str(s), &v);
}

/* Axes: numbers as they are, names as strings in JSON. */
static void put_axes(struct om_buf *b, const struct om_onnx_item *item, bool json)
{
    om_buf_addc(b, '[');
    for (size_t i = 0; i < item->n_axes; i++) {
        om_buf_adds(b, i ? ", " : "");
        if (!json || is_number(item->axes[i]))
            om_buf_adds(b, item->axes[i]);
        else
            om_buf_json_string(b, om_sv_str(item->axes[i]));
    }
    om_buf_addc(b, ']');
}

/* Fill up to a column that was begun at start. */
static void pad(struct om_buf *b, size_t start, size_t width)
{
    while (!b->failed && b->len - start < width)
        om_buf_addc(b, ' ');
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* ---- checkpoints ---- */

static uint64_t checkpoint_bytes(const struct om_ckpt *ck)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < ck->len; i++)
        sum += ck->tensors[i].bytes;
    return sum;
}

static void checkpoint_table(struct om_buf *b, const char *path, const struct om_ckpt *ck,
                             const struct om_config *config)
{
    om_buf_printf(b, "%s: %s checkpoint", path, om_ckpt_format_text(ck->format));
    if (config->model_type)
        om_buf_printf(b, ", %s", config->model_type);
    if (config->model_type && config->architectures && config->architectures[0])
        om_buf_printf(b, " (%s)", config->architectures[0]);
    om_buf_printf(b, ", %zu tensors, ", ck->len);
    put_size(b, checkpoint_bytes(ck));
    om_buf_adds(b, "\n\nfiles:\n");
    for (size_t i = 0; i < ck->file_count; i++) {
        om_buf_printf(b, "  %s, ", base_name(ck->files[i].path));
        put_size(b, ck->files[i].size);
        om_buf_addc(b, '\n');
    }
    om_buf_adds(b, "\ntensors:\n");
    for (size_t i = 0; i < ck->len; i++) {
        const struct om_ckpt_tensor *t = &ck->tensors[i];
        const size_t start = b->len;

        om_buf_printf(b, "  %-9s", om_dtype_text(t->dtype));
        put_dims(b, t->dims, t->rank);
        pad(b, start, 32);
        om_buf_printf(b, " %12" PRIu64 "  %.*s\n", t->bytes, OM_SV(t->name));
    }
}

static void checkpoint_json(struct om_buf *b, const char *path, const struct om_ckpt *ck,
                            const struct om_config *config)
{
    om_buf_adds(b, "{\n  ");
    put_text(b, "kind", "checkpoint");
    om_buf_adds(b, ",\n  ");
    put_text(b, "path", path);
    om_buf_adds(b, ",\n  ");
    put_text(b, "format", om_ckpt_format_text(ck->format));
    if (config->model_type) {
        om_buf_adds(b, ",\n  ");
        put_text(b, "model_type", config->model_type);
    }
    om_buf_printf(b, ",\n  \"bytes\": %" PRIu64 ",\n  \"files\": [", checkpoint_bytes(ck));
    for (size_t i = 0; i < ck->file_count; i++) {
        om_buf_adds(b, i ? ",\n    { " : "\n    { ");
        put_text(b, "name", base_name(ck->files[i].path));
        om_buf_printf(b, ", \"bytes\": %" PRIu64 " }", ck->files[i].size);
    }
    om_buf_adds(b, "\n  ],\n  \"tensors\": [");
    for (size_t i = 0; i < ck->len; i++) {
        const struct om_ckpt_tensor *t = &ck->tensors[i];

        om_buf_adds(b, i ? ",\n    { \"name\": " : "\n    { \"name\": ");
        om_buf_json_string(b, t->name);
        om_buf_adds(b, ", ");
        put_text(b, "dtype", om_dtype_text(t->dtype));
        om_buf_adds(b, ", \"shape\": ");
        put_dims(b, t->dims, t->rank);
        om_buf_printf(b, ", \"bytes\": %" PRIu64 ", ", t->bytes);
        put_text(b, "file", base_name(t->file->path));
        om_buf_adds(b, " }");
    }
    om_buf_adds(b, "\n  ]\n}\n");
}

static int inspect_checkpoint(struct om_arena *a, const char *path, enum om_inspect_form form,
                              struct om_buf *b, struct om_error *err)
{
    const bool dir = om_dir_exists(path);
    const char *config_path = om_path_join(a, path, "config.json");
    struct om_config config = { 0 };
    struct om_ckpt *ck = NULL;
    int rc;

    if (!config_path)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    rc = dir ? om_ckpt_open(a, path, &ck, err) : om_ckpt_open_file(a, path, &ck, err);
    if (rc == 0 && dir && om_file_exists(config_path))
        rc = om_config_open(a, path, &config, err);
    if (rc == 0 && form == OM_INSPECT_JSON)
        checkpoint_json(b, path, ck, &config);
    else if (rc == 0)
        checkpoint_table(b, path, ck, &config);
    om_config_close(&config);
    om_ckpt_close(ck);
    return rc;
}

/* ---- .onnx files ---- */

static uint64_t weights_bytes(const struct om_onnx_summary *s)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < s->weights.len; i++)
        sum += s->weights.items[i].bytes;
    return sum;
}

static void items_table(struct om_buf *b, struct om_arena *a, const char *title,
                        const struct om_onnx_items *list, bool weights)
{
    om_buf_printf(b, "\n%s:\n", title);
    for (size_t i = 0; i < list->len; i++) {
        const struct om_onnx_item *it = &list->items[i];
        const size_t start = b->len;

        om_buf_printf(b, "  %-9s", om_onnx_type_text(a, it->data_type));
        if (!weights) {
            om_buf_printf(b, "%.*s ", OM_SV(it->name));
            put_axes(b, it, false);
        } else {
            put_axes(b, it, false);
            pad(b, start, 32);
            om_buf_printf(b, " %12" PRIu64 "  %.*s", it->bytes, OM_SV(it->name));
        }
        if (it->location.len)
            om_buf_printf(b, "  (in %.*s)", OM_SV(it->location));
        om_buf_addc(b, '\n');
    }
}

static void onnx_table(struct om_buf *b, struct om_arena *a, const char *path,
                       const struct om_onnx_summary *s)
{
    om_buf_printf(b, "%s: ONNX, IR version %" PRId64, path, s->ir_version);
    for (size_t i = 0; i < s->n_opsets; i++)
        om_buf_printf(b, ", opset %.*s%s%" PRId64, OM_SV(s->opsets[i].domain),
                      s->opsets[i].domain.len ? " " : "", s->opsets[i].version);
    om_buf_printf(b, ", by %.*s %.*s\ngraph %.*s: %" PRIu64 " nodes, %zu weights, ",
                  OM_SV(s->producer_name), OM_SV(s->producer_version), OM_SV(s->graph_name),
                  s->n_nodes, s->weights.len);
    put_size(b, weights_bytes(s));
    om_buf_addc(b, '\n');
    items_table(b, a, "inputs", &s->inputs, false);
    items_table(b, a, "outputs", &s->outputs, false);
    om_buf_adds(b, "\noperators:\n");
    for (size_t i = 0; i < s->n_ops; i++)
        om_buf_printf(b, "  %6" PRIu64 "  %.*s%s%.*s\n", s->ops[i].n, OM_SV(s->ops[i].domain),
                      s->ops[i].domain.len ? "." : "", OM_SV(s->ops[i].op));
    items_table(b, a, "weights", &s->weights, true);
}

static void items_json(struct om_buf *b, struct om_arena *a, const char *key,
                       const struct om_onnx_items *list, bool weights)
{
    om_buf_printf(b, ",\n  \"%s\": [", key);
    for (size_t i = 0; i < list->len; i++) {
        const struct om_onnx_item *it = &list->items[i];

        om_buf_adds(b, i ? ",\n    { \"name\": " : "\n    { \"name\": ");
        om_buf_json_string(b, it->name);
        om_buf_adds(b, ", ");
        put_text(b, "dtype", om_onnx_type_text(a, it->data_type));
        om_buf_adds(b, ", \"shape\": ");
        put_axes(b, it, true);
        if (weights)
            om_buf_printf(b, ", \"bytes\": %" PRIu64, it->bytes);
        if (it->location.len) {
            om_buf_adds(b, ", \"location\": ");
            om_buf_json_string(b, it->location);
        }
        om_buf_adds(b, " }");
    }
    om_buf_adds(b, list->len ? "\n  ]" : "]");
}

static void onnx_json(struct om_buf *b, struct om_arena *a, const char *path,
                      const struct om_onnx_summary *s)
{
    om_buf_adds(b, "{\n  ");
    put_text(b, "kind", "onnx");
    om_buf_adds(b, ",\n  ");
    put_text(b, "path", path);
    om_buf_printf(b, ",\n  \"ir_version\": %" PRId64 ",\n  \"producer_name\": ", s->ir_version);
    om_buf_json_string(b, s->producer_name);
    om_buf_adds(b, ",\n  \"producer_version\": ");
    om_buf_json_string(b, s->producer_version);
    om_buf_adds(b, ",\n  \"graph\": ");
    om_buf_json_string(b, s->graph_name);
    om_buf_adds(b, ",\n  \"opsets\": {");
    for (size_t i = 0; i < s->n_opsets; i++) {
        om_buf_adds(b, i ? ", " : " ");
        om_buf_json_string(b, s->opsets[i].domain);
        om_buf_printf(b, ": %" PRId64, s->opsets[i].version);
    }
    om_buf_printf(b, " },\n  \"nodes\": %" PRIu64 ",\n  \"operators\": [", s->n_nodes);
    for (size_t i = 0; i < s->n_ops; i++) {
        om_buf_adds(b, i ? ",\n    { \"domain\": " : "\n    { \"domain\": ");
        om_buf_json_string(b, s->ops[i].domain);
        om_buf_adds(b, ", \"op\": ");
        om_buf_json_string(b, s->ops[i].op);
        om_buf_printf(b, ", \"count\": %" PRIu64 " }", s->ops[i].n);
    }
    om_buf_adds(b, "\n  ]");
    items_json(b, a, "inputs", &s->inputs, false);
    items_json(b, a, "outputs", &s->outputs, false);
    items_json(b, a, "weights", &s->weights, true);
    om_buf_printf(b, ",\n  \"weights_bytes\": %" PRIu64 "\n}\n", weights_bytes(s));
}

static int inspect_onnx(struct om_arena *a, const char *path, enum om_inspect_form form,
                        struct om_buf *b, struct om_error *err)
{
    struct om_file file = OM_FILE_INIT;
    struct om_onnx_summary s;
    int rc = om_file_map(&file, path, err);

    if (rc < 0)
        return rc;
    rc = om_onnx_summarize(a, &file, &s, err);
    if (rc < 0)
        rc = om_wrap(err, rc, "%s", path);
    else if (form == OM_INSPECT_JSON)
        onnx_json(b, a, path, &s);
    else
        onnx_table(b, a, path, &s);
    om_file_unmap(&file);
    return rc;
}

int om_inspect(struct om_ctx *ctx, const char *path, enum om_inspect_form form, char **text,
               struct om_error *err)
{
    struct om_arena a = OM_ARENA_INIT(TEXT_MAX);
    struct om_buf b = OM_BUF_INIT(TEXT_MAX);
    int rc;

    (void)ctx;
    if (om_sv_ends(om_sv_str(path), OM_SVL(".onnx")))
        rc = inspect_onnx(&a, path, form, &b, err);
    else if (om_dir_exists(path) || om_file_exists(path))
        rc = inspect_checkpoint(&a, path, form, &b, err);
    else
        rc = om_fail(err, OM_E_MISSING, "%s: no such file or directory", path);
    om_arena_release(&a);
    if (rc == 0)
        rc = om_buf_check(&b, err);
    if (rc == 0)
        *text = b.ptr;
    else
        om_buf_release(&b);
    return rc;
}
