/* src/ckpt/h5.h: HDF5 files in the form that Keras' h5py writes, read as hostile input.
 *
 * Read is what the format's first version defines (superblock 0 or 1, groups of B-trees and heaps,
 * object headers 1), of datasets the contiguous and the compact layout: those lie in the file as
 * they are and become views. Chunks, filters, external files, links other than hard ones and the
 * later forms of groups and headers are refused by name.
 *
 * The format: https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html */
#ifndef OM_H5_H
#define OM_H5_H

#include "ckpt/ckpt.h"

struct om_h5 {
    const struct om_file *file;
    uint64_t root;   /* address of the root group's object header */
    uint64_t budget; /* bytes that may still be parsed: objects may be linked in circles */
};

bool om_h5_detect(const struct om_file *file); /* the signature is there */
/* The file must stay mapped while h is used. */
int om_h5_open(struct om_h5 *h, const struct om_file *file, struct om_error *err);

/* Follow path (components separated by slashes) from a group to an object. */
int om_h5_find(struct om_h5 *h, uint64_t group, om_sv path, uint64_t *object, struct om_error *err);

/* A one-dimensional attribute of strings. at is NULL when the object has no such attribute. */
struct om_h5_strings {
    const uint8_t *at;
    size_t len, width; /* width: bytes per string, or per reference to one */
    bool references;   /* to strings of any length in the file's global heap */
};
int om_h5_strings(struct om_h5 *h, uint64_t object, om_sv name, struct om_h5_strings *out,
                  struct om_error *err);
/* Its i-th string, as bytes of the mapping. */
int om_h5_string(struct om_h5 *h, const struct om_h5_strings *s, size_t i, om_sv *out,
                 struct om_error *err);

/* Whether the object is a dataset; then everything of *t but its name is set. */
int om_h5_dataset(struct om_h5 *h, struct om_arena *a, uint64_t object, bool *is_dataset,
                  struct om_ckpt_tensor *t, struct om_error *err);

#endif
