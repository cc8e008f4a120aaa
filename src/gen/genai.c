/* src/gen/genai.c: what genai_config.json says of a file that onnxruntime-genai loads, too. */
#include "base/arena.h"
#include "base/file.h"
#include "base/json.h"
#include "gen/decoder.h"

#define CONFIG_NAME "genai_config.json"

static bool names_file(const struct om_json *config, const char *file)
{
    const struct om_json *decoder = om_json_get(om_json_get(config, "model"), "decoder");
    const char *slash = strrchr(file, '/');
    om_sv name;

    return om_json_str(om_json_get(decoder, "filename"), &name) &&
           om_sv_is(name, slash ? slash + 1 : file);
}

bool om_model_is_grouped(const struct om_model_info *info)
{
    struct om_arena a = OM_ARENA_INIT((size_t)1 << 20);
    const char *slash = strrchr(info->file, '/');
    const size_t len = slash ? (size_t)(slash - info->file) + 1 : 0;
    const char *path =
        om_arena_printf(&a, "%.*s" CONFIG_NAME, (int)OM_MIN(len, (size_t)INT32_MAX), info->file);
    struct om_json *config = NULL;
    bool shares = false;

    if (path && om_file_exists(path) && om_json_read(path, OM_JSON_LAST_WINS, &config, NULL) == 0)
        shares =
            names_file(config, info->file) &&
            om_json_bool(om_json_get(om_json_get(config, "search"), "past_present_share_buffer"),
                         &shares) &&
            shares;
    om_json_free(config);
    om_arena_release(&a);
    return shares;
}
