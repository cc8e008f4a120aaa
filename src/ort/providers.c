/* src/ort/providers.c: execution providers and their options. */
#include "ort/session.h"

#include "base/buf.h"

/* What this build of ONNX Runtime has. */
struct available {
    char **names;
    int n;
};

static bool has(const struct available *a, const char *name)
{
    for (int i = 0; i < a->n; i++)
        if (strcmp(a->names[i], name) == 0)
            return true;
    return false;
}

static int refuse(const struct om_ort *ort, const struct available *a, const char *name,
                  struct om_error *err)
{
    struct om_buf list = OM_BUF_INIT(4096);
    int rc;

    for (int i = 0; i < a->n; i++)
        om_buf_printf(&list, "%s%s", i ? ", " : "", a->names[i]);
    rc = om_fail(err, OM_E_RUNTIME, "provider %s is not in %s, which has %s", name, ort->path,
                 list.ptr ? list.ptr : "none");
    om_buf_release(&list);
    return rc;
}

static int append_cuda(const struct om_ort *ort, struct ort_session_options *so,
                       const struct om_provider *p, struct om_error *err)
{
    struct ort_cuda_options *cuda = NULL;
    int rc = om_ort_check(ort, ort->create_cuda_options(&cuda), err);

    if (rc == 0 && p->n_options)
        rc = om_ort_check(
            ort, ort->update_cuda_options(cuda, p->option_keys, p->option_values, p->n_options),
            err);
    if (rc == 0)
        rc = om_ort_check(ort, ort->append_cuda(so, cuda), err);
    if (cuda)
        ort->release_cuda_options(cuda);
    return rc;
}

static int append_tensorrt(const struct om_ort *ort, struct ort_session_options *so,
                           const struct om_provider *p, struct om_error *err)
{
    struct ort_tensorrt_options *trt = NULL;
    int rc = om_ort_check(ort, ort->create_tensorrt_options(&trt), err);

    if (rc == 0 && p->n_options)
        rc = om_ort_check(
            ort, ort->update_tensorrt_options(trt, p->option_keys, p->option_values, p->n_options),
            err);
    if (rc == 0)
        rc = om_ort_check(ort, ort->append_tensorrt(so, trt), err);
    if (trt)
        ort->release_tensorrt_options(trt);
    return rc;
}

/* The others share one function, which knows them by shorter names. */
static int append_other(const struct om_ort *ort, struct ort_session_options *so,
                        const struct om_provider *p, struct om_error *err)
{
    static const struct {
        const char *name, *key;
    } names[] = {
        { "AzureExecutionProvider", "AZURE" },     { "CoreMLExecutionProvider", "CoreML" },
        { "JsExecutionProvider", "JS" },           { "OpenVINOExecutionProvider", "OpenVINO" },
        { "QNNExecutionProvider", "QNN" },         { "SNPEExecutionProvider", "SNPE" },
        { "VitisAIExecutionProvider", "VitisAI" }, { "WebGpuExecutionProvider", "WebGPU" },
        { "WebNNExecutionProvider", "WEBNN" },     { "XnnpackExecutionProvider", "XNNPACK" },
    };
    const char *key = p->name;

    for (size_t i = 0; i < OM_COUNT(names); i++)
        if (strcmp(names[i].name, p->name) == 0)
            key = names[i].key;
    return om_ort_check(
        ort, ort->append_provider(so, key, p->option_keys, p->option_values, p->n_options), err);
}

static int append(const struct om_ort *ort, struct ort_session_options *so,
                  const struct om_provider *p, struct om_error *err)
{
    if (strcmp(p->name, "CUDAExecutionProvider") == 0)
        return append_cuda(ort, so, p, err);
    if (strcmp(p->name, "TensorrtExecutionProvider") == 0)
        return append_tensorrt(ort, so, p, err);
    return append_other(ort, so, p, err);
}

/* The CPU is always the last resort and has no options. */
static int check(const struct om_provider *p, size_t i, struct om_error *err)
{
    if (!p->name)
        return om_fail(err, OM_E_USAGE, "provider %zu has no name", i);
    if (p->n_options && (!p->option_keys || !p->option_values))
        return om_fail(err, OM_E_USAGE, "provider %s: %zu options, but no keys or values", p->name,
                       p->n_options);
    for (size_t k = 0; k < p->n_options; k++)
        if (!p->option_keys[k] || !p->option_values[k])
            return om_fail(err, OM_E_USAGE, "provider %s: option %zu has no %s", p->name, k,
                           p->option_keys[k] ? "value" : "key");
    return 0;
}

static int use(const struct om_ort *ort, struct ort_session_options *so, const struct available *a,
               const struct om_provider *p, struct om_error *err)
{
    if (!has(a, p->name))
        return refuse(ort, a, p->name, err);
    if (strcmp(p->name, "CPUExecutionProvider") != 0)
        return om_wrap(err, append(ort, so, p, err), "provider %s", p->name);
    if (p->n_options)
        return om_fail(err, OM_E_USAGE, "provider %s: unknown option \"%s\", it has none", p->name,
                       p->option_keys[0]);
    return 0;
}

int om_ort_use_providers(const struct om_ort *ort, struct ort_session_options *so,
                         const struct om_provider *list, size_t n, struct om_error *err)
{
    struct available a = { NULL, 0 };
    int rc = 0;

    for (size_t i = 0; i < n; i++)
        OM_TRY(check(&list[i], i, err));
    OM_TRY(om_ort_check(ort, ort->available_providers(&a.names, &a.n), err));
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = use(ort, so, &a, &list[i], err);
    (void)om_ort_check(ort, ort->release_providers(a.names, a.n), NULL);
    return rc;
}
