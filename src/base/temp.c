/* src/base/temp.c: what cannot be mapped where it lies, as an unlinked temporary file. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int om_temp_open(int *fd, struct om_error *err)
{
    const char *env = getenv("TMPDIR"), *dir = env && *env ? env : "/tmp";
    char path[4096];
    int n;

    *fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (*fd >= 0)
        return 0;
    n = snprintf(path, sizeof(path), "%s/optimum-XXXXXX", dir);
    *fd = n > 0 && (size_t)n < sizeof(path) ? mkostemp(path, O_CLOEXEC) : -1;
    if (*fd < 0)
        return om_fail(err, OM_E_IO, "%s: no temporary file: %s", dir, strerror(errno));
    unlink(path);
    return 0;
}

int om_temp_write(int fd, const uint8_t *p, size_t len, struct om_error *err)
{
    while (len > 0) {
        const ssize_t n = write(fd, p, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return om_fail(err, OM_E_IO, "temporary file: %s", strerror(errno));
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

int om_temp_map(int fd, uint64_t size, om_sv name, struct om_file *out, struct om_error *err)
{
    struct om_file f = { .fd = fd, .size = size };

    f.path = strndup(name.ptr, name.len);
    if (!f.path || size > SIZE_MAX)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    if (size > 0) {
        void *p = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, fd, 0);

        if (p == MAP_FAILED) {
            free(f.path);
            return om_fail(err, OM_E_NOMEM, "temporary file: %s", strerror(errno));
        }
        f.data = p;
    }
    *out = f;
    return 0;
}

int om_out_temp(struct om_out *o, struct om_error *err)
{
    struct om_out opened = OM_OUT_INIT;
    int rc;

    opened.path = strdup("temporary file");
    opened.buf = malloc(OM_OUT_BUFFER);
    rc = opened.path && opened.buf ? om_temp_open(&opened.fd, err)
                                   : om_fail(err, OM_E_NOMEM, "out of memory");
    if (!opened.path)
        free(opened.buf);
    if (rc < 0)
        om_out_abort(&opened);
    else
        *o = opened;
    return rc;
}

int om_out_map(struct om_out *o, struct om_file *out, struct om_error *err)
{
    OM_TRY(om_out_flush(o, err));
    OM_TRY(om_temp_map(o->fd, o->pos, om_sv_str(o->path), out, err));
    o->fd = -1; /* the mapping's now */
    om_out_abort(o);
    return 0;
}
