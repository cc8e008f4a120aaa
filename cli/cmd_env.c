/* cli/cmd_env.c: optimum-cli env: what a bug report needs. */
#include <stdio.h>
#include <sys/utsname.h>

#include "base/thread.h"
#include "cli/opt.h"

#include <optimum/session.h>
#include <optimum/version.h>

int cmd_env(struct cli *cli, int argc, char **argv)
{
    int status;
    const struct opt opts[] = { OPT_END };
    struct om_error err = OM_ERROR_INIT;
    const char *version, *path;
    struct utsname u;

    if (!opt_parse(cli, "Show versions and libraries, for bug reports.", opts, argc, argv, &status))
        return status;
    printf("Copy-and-paste the text below in your issue:\n\n");
    printf("- `optimum.c` version: %s\n", om_version());
    if (uname(&u) == 0)
        printf("- Platform: %s %s %s\n", u.sysname, u.release, u.machine);
    printf("- CPUs: %zu\n", om_cpu_count());
#ifdef __clang__
    printf("- Compiler: %s\n", __VERSION__);
#else
    printf("- Compiler: GCC %s\n", __VERSION__);
#endif
#ifdef OM_HAVE_CBLAS
    printf("- Reference executor: CBLAS\n");
#else
    printf("- Reference executor: built-in matrix product\n");
#endif
#ifdef OM_HAVE_CURL
    printf("- Models from the Hub: libcurl\n");
#else
    printf("- Models from the Hub: none: built without libcurl\n");
#endif
    if (om_ort_version(&version, &path, &err) == 0)
        printf("- ONNX Runtime: %s (%s)\n", version, path);
    else
        printf("- ONNX Runtime: none: %s\n", om_error_text(&err));
    om_error_release(&err);
    return CLI_OK;
}
