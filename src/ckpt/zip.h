/* src/ckpt/zip.h: zip archives as torch.save writes them (and as other tools write them again),
 * read as hostile input.
 *
 * Format: APPNOTE.TXT of PKWARE, version 6.3. What is refused: several disks, encryption, methods
 * other than stored and deflated, bytes before or after the archive, two members of one name,
 * members that overlap, and local headers that contradict the central directory. Names are only
 * labels here: nothing is extracted to a path. */
#ifndef OM_CKPT_ZIP_H
#define OM_CKPT_ZIP_H

#include "base/arena.h"
#include "base/file.h"
#include "base/map.h"

struct om_zip_member {
    om_sv name; /* a view of the file */
    bool deflated;
    uint32_t crc;    /* of the contents; writers of stored members may leave it wrong */
    uint64_t header; /* where the local header lies */
    uint64_t offset; /* of the first stored byte */
    uint64_t packed; /* stored bytes */
    uint64_t size;   /* bytes of the contents; of a deflated member, what it claims */
};

struct om_zip {
    const struct om_file *file;
    struct om_zip_member *members; /* in the order of their bytes */
    size_t len;
    struct om_map by_name;
};

/* Read the central directory and every local header. The file must outlive the archive; the arena
 * owns the members. Release also after a failure. */
int om_zip_open(struct om_arena *a, const struct om_file *file, struct om_zip *z,
                struct om_error *err);
void om_zip_release(struct om_zip *z); /* accepts a zeroed value */

const struct om_zip_member *om_zip_find(const struct om_zip *z, om_sv name); /* NULL when absent */

/* Inflate a deflated member into an unlinked temporary file (in TMPDIR, else /tmp) that is mapped
 * as *out, to be unmapped by the caller. Sizes beyond what deflate can reach are refused before
 * anything is written; contents that do not have the claimed size and checksum are an error. */
int om_zip_inflate(const struct om_zip *z, const struct om_zip_member *m, struct om_file *out,
                   struct om_error *err);

#endif
