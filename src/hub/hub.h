/* src/hub/hub.h: which local directory holds the files of a model on the Hugging Face Hub?
 *
 * A model is downloaded into the cache that Python's huggingface_hub uses, in its layout, so that
 * both share it: CACHE/models--ORG--NAME/{blobs/ETAG, refs/REVISION, snapshots/COMMIT/PATH -> blob,
 * .no_exist/COMMIT/PATH} CACHE/.locks/models--ORG--NAME/ETAG.lock Only the files an export needs
 * are fetched. What is incomplete has the name ETAG.incomplete and is continued by the next run; a
 * blob gets its name after its size and hash were found right. */
#ifndef OM_HUB_H
#define OM_HUB_H

#include "base/arena.h"

struct om_transport;
struct om_hub_clock;

struct om_hub_opts {
    const char *id;        /* "name" or "org/name", with or without "@revision" */
    const char *revision;  /* branch, tag, commit or refs/pr/N; NULL: the id's, else main */
    const char *subfolder; /* of the repository, NULL: its root */
    const char *cache_dir; /* NULL: by the environment */
    const char *token;     /* NULL: by the environment */
    bool local_files_only; /* never ask the Hub: what the cache has must do */
    bool force_download;   /* fetch files anew although the cache has them */
    const char *const
        *companions; /* NULL-terminated names of further small files wanted beside config.json */
    struct om_ctx *ctx;

    /* For tests; NULL: the network, the time of the machine, getenv(). */
    struct om_transport *transport;
    const struct om_hub_clock *clock;
    const char *(*get_env)(void *user, const char *name);
    void *env_user;
};

struct om_hub_repo; /* one revision of a repository, while its files are fetched */

/* True when text has the form of a repository's id, "@revision" included. Its name is then worth
 * asking for. */
bool om_hub_is_id(const char *text);
/* The rules that the text breaks, for a message; NULL when it is an id. */
const char *om_hub_id_problem(const char *text);

/* Ask the Hub (or, offline, the cache) for a revision and fetch its small files: configurations,
 * companions, indexes, and the modules of a sentence-transformers model without the transformer's
 * weights. */
int om_hub_open(const struct om_hub_opts *opts, struct om_hub_repo **out, struct om_error *err);
/* The directory of the snapshot with the subfolder, where the fetched files are (as links). Lives
 * as long as repo. */
const char *om_hub_dir(const struct om_hub_repo *repo);
/* What the repository's card says the model is for ("fill-mask"), "" when nothing or offline. */
const char *om_hub_pipeline_tag(const struct om_hub_repo *repo);
/* Fetch the weights: those of the first format that is there, of safetensors, PyTorch, TensorFlow.
 */
int om_hub_weights(struct om_hub_repo *repo, struct om_error *err);
/* The paths of all files of the revision (offline: of those in the cache), whatever the subfolder.
 */
size_t om_hub_file_count(const struct om_hub_repo *repo);
om_sv om_hub_file_at(const struct om_hub_repo *repo, size_t i);
/* Fetch one file by its path in the repository. *file is where it is, as long as repo lives; NULL:
 * the repository has no such file. */
int om_hub_fetch(struct om_hub_repo *repo, om_sv path, const char **file, struct om_error *err);
void om_hub_close(struct om_hub_repo *repo); /* accepts NULL */

/* True when path, which need not exist, lies in a snapshot of a cache: nothing may be written
 * there. */
bool om_hub_in_snapshot(const char *path);

#endif
