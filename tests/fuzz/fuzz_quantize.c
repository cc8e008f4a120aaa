/* tests/fuzz/fuzz_quantize.c: any bytes are refused with a message, or are a document that can be
 * written again and quantized by every method, into a file that is a document again. */
#include <optimum/quantize.h>

#include <unistd.h>

#include "fuzz.h"
#include "onnx/doc.h"

static char dir[64];

static void write_model(const uint8_t *data, size_t size)
{
    struct om_out out = OM_OUT_INIT;
    struct om_error err = OM_ERROR_INIT;

    if (dir[0] == '\0') {
        strcpy(dir, "/tmp/fuzz_quantize_XXXXXX");
        FUZZ_CHECK(mkdtemp(dir) != NULL);
    }
    FUZZ_CHECK(om_out_open(&out, dir, "m.onnx", NULL, &err) == 0);
    FUZZ_CHECK(om_out_write(&out, data, size, &err) == 0);
    FUZZ_CHECK(om_out_commit(&out, false, &err) == 0);
}

/* Is the file a document? */
static void reread(const char *path)
{
    struct om_arena a = OM_ARENA_INIT(256u << 20);
    struct om_error err = OM_ERROR_INIT;
    struct om_doc *d = NULL;
    const int rc = om_doc_open(&a, path, &d, &err);

    if (rc < 0)
        fprintf(stderr, "%s\n", om_error_text(&err));
    FUZZ_CHECK(rc == 0);
    FUZZ_CHECK(om_doc_size(d) != UINT64_MAX);
    om_doc_close(d);
    om_error_release(&err);
    om_arena_release(&a);
}

static void quantize(const struct om_quant_config *config)
{
    struct om_quantize_opts o = OM_QUANTIZE_OPTS_INIT;
    struct om_error err = OM_ERROR_INIT;
    char model[96], out[96], path[128];
    int rc;

    snprintf(model, sizeof(model), "%s/m.onnx", dir);
    snprintf(out, sizeof(out), "%s/out", dir);
    snprintf(path, sizeof(path), "%s/m_quantized.onnx", out);
    o.model = model;
    o.out_dir = out;
    o.config = config;
    unlink(path);
    rc = om_quantize_run(NULL, &o, &err);
    if (rc < 0) {
        FUZZ_CHECK(om_error_text(&err)[0] != '\0');
        FUZZ_CHECK(rc != OM_E_INTERNAL);
        FUZZ_CHECK(access(path, F_OK) != 0);
    } else {
        reread(path);
    }
    om_error_release(&err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct om_quant_config config = OM_QUANT_CONFIG_INIT;

    write_model(data, size);
    config.per_channel = size % 2 != 0;
    config.reduce_range = size % 3 == 0;
    quantize(&config);
    config.method = OM_QUANT_WEIGHT_ONLY;
    config.bits = size % 2 != 0 ? 4 : 8;
    config.symmetric = size % 3 != 0;
    config.search = size % 5 == 0 ? OM_QUANT_HQQ : OM_QUANT_RTN;
    config.rest_float16 = size % 7 == 0;
    quantize(&config);
    config.bits = 4;
    config.symmetric = true;
    config.search = OM_QUANT_RTN;
    config.numbers = size % 2 != 0 ? OM_QUANT_NF4 : OM_QUANT_FP4;
    quantize(&config);
    config.method = OM_QUANT_FLOAT16;
    config.convert_io = size % 2 != 0;
    quantize(&config);
    /* Up to the calibration, which ONNX Runtime would run. */
    setenv("OPTIMUM_ORT_LIBRARY", "/nowhere", 1);
    FUZZ_CHECK(om_quant_preset_static(size % 2 != 0 ? "avx2" : "tensorrt", &config, NULL) == 0);
    config.float_output_operators = size % 3 != 0 ? config.float_output_operators : NULL;
    config.operators_to_quantize = size % 5 != 0 ? NULL : config.operators_to_quantize;
    config.format = size % 7 == 0 ? OM_QUANT_QOPERATOR : OM_QUANT_QDQ;
    quantize(&config);
    return 0;
}
