/* src/base/file.h: mapped input files, and output files that appear under their name only when complete. */
#ifndef OM_FILE_H
#define OM_FILE_H

#include "base/arena.h"
#include "base/base.h"

/* A read-only mapping. data is NULL for an empty file, and where the contents are not there but computed. */
struct om_file {
    char *path; /* as it was opened */
    int fd;
    const uint8_t *data;
    uint64_t size;
    const struct om_file_maker *maker; /* NULL: what is mapped */
};

/* Contents that are computed for whoever reads them. */
struct om_file_maker {
    void (*make)(const struct om_file_maker *m, uint64_t offset, size_t len, void *dst); /* any range of the file */
};
#define OM_FILE_INIT { .path = NULL, .fd = -1 }

/* Map the regular file at path. Messages name the path. */
int om_file_map(struct om_file *f, const char *path, struct om_error *err);
void om_file_unmap(struct om_file *f); /* accepts a zeroed or OM_FILE_INIT value */

/* The whole of a small file (at most max bytes) in arena memory, followed by a NUL. */
int om_file_read(struct om_arena *a, const char *path, size_t max, om_sv *out, struct om_error *err);

bool om_file_exists(const char *path);                 /* a regular file, links followed */
bool om_dir_exists(const char *path);
int om_dir_make(const char *path, struct om_error *err); /* with parents; existing is fine */
/* The plain entries of a directory (no "." and ".."), sorted by name, as arena strings. */
int om_dir_list(struct om_arena *a, const char *path, const char ***names, size_t *len, struct om_error *err);
char *om_path_join(struct om_arena *a, const char *dir, const char *name);
bool om_file_same(const char *a, const char *b);       /* one inode behind both paths */

/* A file being written. It has a hidden temporary name in its directory (".NAME.partial", locked, so that a
 * leftover of a killed run is recognised and replaced) until om_out_commit() renames it. */
struct om_out {
    char *path, *partial;
    int fd;
    uint64_t pos;           /* bytes written so far, buffered ones included */
    uint8_t *buf;
    size_t buf_len;
    struct om_ctx *ctx;     /* progress and cancellation; may be NULL */
    uint64_t total;         /* expected size for the progress; 0: unknown */
    bool failed;            /* some bytes are missing: all later calls fail, nothing is published */
};
#define OM_OUT_INIT { .path = NULL, .fd = -1 }

/* name is a plain file name, dir an existing directory. Every other call may fail; then, as at any other time
 * before a successful commit, om_out_abort() removes the file. Messages name the final path. */
#define OM_OUT_BUFFER (256u << 10)
int om_out_open(struct om_out *o, const char *dir, const char *name, struct om_ctx *ctx, struct om_error *err);
int om_out_write(struct om_out *o, const void *data, size_t len, struct om_error *err);
/* Append len bytes of in from offset: copy_file_range where it works and pages line up, reads and writes elsewhere. */
int om_out_copy(struct om_out *o, const struct om_file *in, uint64_t offset, uint64_t len, struct om_error *err);
/* Make the empty output a reflink of in where the file system can, else copy it. */
int om_out_clone(struct om_out *o, const struct om_file *in, struct om_error *err);
int om_out_pad(struct om_out *o, uint64_t align, struct om_error *err); /* zeros up to a multiple */
int om_out_flush(struct om_out *o, struct om_error *err);               /* bytes reach the file, name stays hidden */
int om_out_commit(struct om_out *o, bool durable, struct om_error *err); /* flush, [fsync], rename, close */
void om_out_abort(struct om_out *o);                                     /* remove; accepts a zeroed value */
/* An output that never gets a name: an unlinked file in TMPDIR, else /tmp. om_out_map() ends it: what was written, as a
 * mapping, which om_file_unmap() releases. */
int om_out_temp(struct om_out *o, struct om_error *err);
int om_out_map(struct om_out *o, struct om_file *out, struct om_error *err);
/* The same in pieces: the file; bytes appended to it; its mapping, which owns fd from then on. name: what messages
 * call it. */
int om_temp_open(int *fd, struct om_error *err);
int om_temp_write(int fd, const uint8_t *p, size_t len, struct om_error *err);
int om_temp_map(int fd, uint64_t size, om_sv name, struct om_file *out, struct om_error *err);
/* Remove what a killed run left of dir/name; a file that another process is writing stays. Nothing there is fine. */
void om_out_discard(const char *dir, const char *name);

#endif
