/* src/ckpt/ckpt.c: find the weights of a directory, and look tensors up. */
#include "ckpt/h5.h"
#include "ckpt/internal.h"
#include "ckpt/keras.h"

#define SUFFIX ".safetensors"

/* What Transformers loads, in its order. */
static const struct om_ckpt_layout layouts[] = {
    { "model.safetensors", "model.safetensors.index.json", SUFFIX },
    { "pytorch_model.bin", "pytorch_model.bin.index.json", ".bin" },
    { "tf_model.h5", "tf_model.h5.index.json", ".h5" },
};

struct om_ckpt *om_ckpt_new(struct om_arena *a, size_t n)
{
    struct om_ckpt *ck = om_arena_alloc(a, sizeof(*ck));

    if (!ck)
        return NULL;
    ck->files = om_arena_array(a, n, sizeof(*ck->files));
    if (!ck->files)
        return NULL;
    for (size_t i = 0; i < n; i++)
        ck->files[i] = (struct om_file)OM_FILE_INIT;
    ck->file_count = n;
    return ck;
}

void om_ckpt_close(struct om_ckpt *ck)
{
    if (!ck)
        return;
    for (size_t i = 0; i < ck->file_count; i++)
        om_file_unmap(&ck->files[i]);
    for (struct om_ckpt_temp *t = ck->temps; t; t = t->next)
        om_file_unmap(&t->file);
    ck->file_count = 0;
    ck->temps = NULL;
    om_map_release(&ck->by_name);
}

int om_ckpt_index_names(struct om_ckpt *ck, struct om_error *err)
{
    if (ck->len > UINT32_MAX)
        return om_fail(err, OM_E_LIMIT, "%zu tensors, at most %" PRIu32, ck->len, UINT32_MAX);
    for (size_t i = 0; i < ck->len; i++) {
        const om_sv name = ck->tensors[i].name;

        if (om_map_get(&ck->by_name, name, NULL))
            return om_fail(err, OM_E_FORMAT, "tensor \"%.*s\" is there twice", OM_SV(name));
        if (om_map_put(&ck->by_name, name, (uint32_t)i) < 0)
            return om_fail(err, OM_E_NOMEM, "out of memory for the tensor names");
    }
    return 0;
}

const char *om_ckpt_format_text(enum om_ckpt_format format)
{
    switch (format) {
    case OM_CKPT_SAFETENSORS:
        return "safetensors";
    case OM_CKPT_PYTORCH:
        return "pytorch";
    case OM_CKPT_TENSORFLOW:
        return "tensorflow";
    }
    return "?";
}

bool om_ckpt_is_lfs_pointer(const struct om_file *f)
{
    static const char magic[] = "version https://git-lfs.github.com/spec/";

    return f->size >= sizeof(magic) - 1 && memcmp(f->data, magic, sizeof(magic) - 1) == 0;
}

/* A safetensors file begins with a length below 2^32 and an opening brace. An archive may have the
 * same zeros, but not the brace; a pickle's third byte is an opcode. What is neither is left to the
 * reader that its name asks for. */
static enum om_ckpt_format detect(const struct om_file *f)
{
    static const char zip[] = "PK\3\4", tar[] = "ustar";
    const uint8_t *const p = f->data;

    if (f->size > 8 && p[8] == '{' && om_le32(p + 4) == 0)
        return OM_CKPT_SAFETENSORS;
    if (f->size >= 4 && (memcmp(p, zip, 4) == 0 || (p[0] == 0x80 && p[1] >= 2 && p[1] <= 5)))
        return OM_CKPT_PYTORCH;
    if (om_h5_detect(f) || om_sv_ends(om_sv_str(f->path), OM_SVL(".h5")))
        return OM_CKPT_TENSORFLOW;
    if (f->size >= 512 && memcmp(p + 257, tar, sizeof(tar) - 1) == 0)
        return OM_CKPT_PYTORCH;
    return om_sv_ends(om_sv_str(f->path), OM_SVL(SUFFIX)) ? OM_CKPT_SAFETENSORS : OM_CKPT_PYTORCH;
}

int om_ckpt_read_file(struct om_arena *a, struct om_ckpt *ck, size_t i, const char *path,
                      struct om_ckpt_tensor **tensors, size_t *len, struct om_error *err)
{
    struct om_file *const f = &ck->files[i];
    enum om_ckpt_format format;
    int rc = 0;

    OM_TRY(om_file_map(f, path, err));
    format = detect(f);
    switch (format) {
    case OM_CKPT_SAFETENSORS:
        rc = om_safetensors_parse(a, f, tensors, len, err);
        break;
    case OM_CKPT_PYTORCH:
        rc = om_torch_parse(a, f, &ck->temps, tensors, len, err);
        break;
    case OM_CKPT_TENSORFLOW:
        rc = om_keras_parse(a, f, tensors, len, err);
        break;
    }
    if (format != OM_CKPT_SAFETENSORS)
        ck->format = format;
    return om_wrap(err, rc, "%s", path);
}

int om_ckpt_open_file(struct om_arena *a, const char *path, struct om_ckpt **out,
                      struct om_error *err)
{
    struct om_ckpt *ck = om_ckpt_new(a, 1);
    int rc;

    if (!ck)
        return om_fail(err, OM_E_NOMEM, "%s: out of memory", path);
    rc = om_ckpt_read_file(a, ck, 0, path, &ck->tensors, &ck->len, err);
    if (rc == 0)
        rc = om_wrap(err, om_ckpt_index_names(ck, err), "%s", path);
    if (rc < 0) {
        om_ckpt_close(ck);
        return rc;
    }
    *out = ck;
    return 0;
}

/* What is in a directory, sorted out by what it means for us. */
struct survey {
    const char *weights; /* the last *.safetensors file that may be the model */
    size_t weights_count;
    struct om_buf candidates, others; /* names for the message, comma separated */
    bool flax;
};

/* Files that hold weights but cannot be opened as a checkpoint here. */
static bool is_other_weights(om_sv name)
{
    static const char *const suffixes[] = { ".bin",  ".pt",   ".pth",     ".ckpt", ".h5",
                                            ".gguf", ".onnx", ".msgpack", SUFFIX };

    for (size_t i = 0; i < OM_COUNT(suffixes); i++)
        if (om_sv_ends(name, om_sv_str(suffixes[i])))
            return true;
    return false;
}

static void list_name(struct om_buf *b, const char *name)
{
    if (b->len > 200) /* enough to recognise the directory */
        return;
    if (b->len > 0)
        om_buf_adds(b, ", ");
    om_buf_adds(b, name);
}

static void survey_name(struct survey *s, const char *name)
{
    const om_sv sv = om_sv_str(name);

    if (name[0] == '.')
        return;
    if (om_sv_ends(sv, OM_SVL(SUFFIX)) && !om_sv_starts(sv, OM_SVL("adapter_"))) {
        s->weights = name;
        s->weights_count++;
        list_name(&s->candidates, name);
    } else if (is_other_weights(sv)) {
        s->flax |= om_sv_ends(sv, OM_SVL(".msgpack"));
        list_name(&s->others, name);
    }
}

static int no_weights(const char *dir, const struct survey *s, struct om_error *err)
{
    static const char wanted[] =
        "expected model.safetensors, pytorch_model.bin or tf_model.h5, the index of one of them "
        "(*.index.json) or a single other *" SUFFIX " file";

    if (s->weights_count > 1)
        return om_fail(err, OM_E_MISSING, "%s: %s, found %zu: %s", dir, wanted, s->weights_count,
                       s->candidates.ptr ? s->candidates.ptr : "");
    if (s->others.len > 0)
        return om_fail(err, OM_E_UNSUPPORTED, "%s: %s, found only %s%s", dir, wanted, s->others.ptr,
                       s->flax ? " (weights of Flax are not read)" : "");
    return om_fail(err, OM_E_MISSING, "%s: no weights: %s, found none", dir, wanted);
}

/* Neither of the usual names is there: look at all files. */
static int open_other(struct om_arena *a, const char *dir, struct om_ckpt **out,
                      struct om_error *err)
{
    struct survey s = { .candidates = OM_BUF_INIT(1 << 20), .others = OM_BUF_INIT(1 << 20) };
    const char **names = NULL;
    const char *path = NULL;
    size_t n = 0;
    int rc = om_dir_list(a, dir, &names, &n, err);

    if (rc < 0)
        goto out;
    for (size_t i = 0; i < n; i++)
        survey_name(&s, names[i]);
    if (s.weights_count != 1) {
        rc = no_weights(dir, &s, err);
        goto out;
    }
    path = om_path_join(a, dir, s.weights);
    rc = path ? om_ckpt_open_file(a, path, out, err)
              : om_fail(err, OM_E_NOMEM, "%s: out of memory for a path", dir);
out:
    om_buf_release(&s.candidates);
    om_buf_release(&s.others);
    return rc;
}

/* The file or the index of a layout; *out stays NULL when neither is there. */
static int open_layout(struct om_arena *a, const char *dir, const struct om_ckpt_layout *layout,
                       struct om_ckpt **out, struct om_error *err)
{
    const char *single = om_path_join(a, dir, layout->single);
    const char *index = om_path_join(a, dir, layout->index);

    if (!single || !index)
        return om_fail(err, OM_E_NOMEM, "%s: out of memory for a path", dir);
    if (om_file_exists(single))
        return om_ckpt_open_file(a, single, out, err);
    if (om_file_exists(index))
        return om_ckpt_open_shards(a, dir, layout, out, err);
    return 0;
}

int om_ckpt_open(struct om_arena *a, const char *dir, struct om_ckpt **out, struct om_error *err)
{
    struct om_ckpt *ck = NULL;

    if (!om_dir_exists(dir))
        return om_fail(err, OM_E_MISSING, "%s: no such directory", dir);
    for (size_t i = 0; i < OM_COUNT(layouts) && !ck; i++)
        OM_TRY(open_layout(a, dir, &layouts[i], &ck, err));
    if (!ck)
        OM_TRY(open_other(a, dir, &ck, err));
    *out = ck;
    return 0;
}

const struct om_ckpt_tensor *om_ckpt_find(const struct om_ckpt *ck, om_sv name)
{
    uint32_t at;

    return om_map_get(&ck->by_name, name, &at) ? &ck->tensors[at] : NULL;
}

const void *om_ckpt_data(const struct om_ckpt_tensor *t)
{
    return t->file->data ? t->file->data + t->offset : NULL; /* an empty file has no mapping */
}

bool om_ckpt_has_prefix(const struct om_ckpt *ck, om_sv prefix)
{
    for (size_t i = 0; i < ck->len; i++)
        if (om_sv_starts(ck->tensors[i].name, prefix))
            return true;
    return false;
}
