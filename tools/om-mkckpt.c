/* tools/om-mkckpt.c: the program mkckpt, see mkckpt_lib.h. */
#include "tools/mkckpt_lib.h"

#include <getopt.h>
#include <stdio.h>

static const char usage[] =
    "usage: mkckpt [--shards N] [--dtype F32|F16|BF16] GOLDEN_DIR OUT_DIR\n"
    "\n"
    "Write the checkpoint that GOLDEN_DIR/tensors.json describes into OUT_DIR,\n"
    "with config.json and the other files that belong to it.\n"
    "\n"
    "  --shards N   N files with an index, instead of one model.safetensors\n"
    "  --dtype T    convert floating-point tensors\n"
    "  -h, --help   show this text\n";

static int bad_usage(const char *what, const char *value)
{
    fprintf(stderr, "mkckpt: %s %s\n%s", what, value, usage);
    return 2;
}

static bool parse_shards(const char *text, size_t *out)
{
    int64_t n;

    if (!om_sv_i64(om_sv_str(text), &n) || n < 1 || n > 99999)
        return false;
    *out = (size_t)n;
    return true;
}

static bool parse_dtype(const char *text, enum om_dtype *out)
{
    *out = om_dtype_from_safetensors(om_sv_str(text));
    return *out == OM_F32 || *out == OM_F16 || *out == OM_BF16;
}

int main(int argc, char **argv)
{
    static const struct option options[] = { { "shards", required_argument, NULL, 's' },
                                             { "dtype", required_argument, NULL, 'd' },
                                             { "help", no_argument, NULL, 'h' },
                                             { NULL, 0, NULL, 0 } };
    struct mkckpt_opts opts = MKCKPT_OPTS_INIT;
    struct om_error err = OM_ERROR_INIT;
    int opt, rc;

    while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (opt == 'h') {
            fputs(usage, stdout);
            return 0;
        }
        if (opt == '?')
            return 2; /* getopt has printed the message */
        if (opt == 's' && !parse_shards(optarg, &opts.shards))
            return bad_usage("--shards: expected 1 to 99999, found", optarg);
        if (opt == 'd' && !parse_dtype(optarg, &opts.dtype))
            return bad_usage("--dtype: expected F32, F16 or BF16, found", optarg);
    }
    if (argc - optind != 2)
        return bad_usage("expected", "GOLDEN_DIR and OUT_DIR");
    rc = mkckpt_run(argv[optind], argv[optind + 1], &opts, &err);
    if (rc < 0)
        fprintf(stderr, "mkckpt: %s\n", om_error_text(&err));
    om_error_release(&err);
    return rc < 0;
}
