/* src/ckpt/keras.c: the weights of a tf_model.h5 as Keras lays them out.
 *
 * The root's attribute layer_names lists the layers, a layer's attribute weight_names its
 * variables: paths below the layer's group. A shard lists its variables in layer_names instead,
 * without the model's own scope. */
#include "ckpt/keras.h"

#include <stdio.h>
#include <stdlib.h>

#include "ckpt/h5.h"
#include "ckpt/tf_names.h"

#define TENSORS_MAX (1u << 18) /* layers may list each other's variables over and over */

struct keras {
    struct om_h5 h5;
    struct om_arena *arena;
    struct om_ckpt_tensor *tensors;
    size_t len, cap;
    struct om_map seen; /* variable -> index */
};

typedef int each_fn(struct keras *k, uint64_t object, om_sv name, struct om_error *err);

static int each(struct keras *k, uint64_t object, const struct om_h5_strings *names, each_fn *fn,
                struct om_error *err)
{
    for (size_t i = 0; i < names->len; i++) {
        om_sv name;

        OM_TRY(om_h5_string(&k->h5, names, i, &name, err));
        OM_TRY(om_wrap(err, fn(k, object, name, err), "\"%.*s\"", (int)OM_MIN(name.len, 200),
                       name.ptr));
    }
    return 0;
}

/* Call fn for every string of an attribute. A list that is too long for one attribute is in NAME0,
 * NAME1 and so on. */
static int each_name(struct keras *k, uint64_t object, const char *attribute, each_fn *fn,
                     bool *found, struct om_error *err)
{
    struct om_h5_strings names;
    char numbered[64];

    OM_TRY(om_h5_strings(&k->h5, object, om_sv_str(attribute), &names, err));
    *found = names.at != NULL;
    if (*found)
        return each(k, object, &names, fn, err);
    for (unsigned i = 0;; i++) {
        const int n = snprintf(numbered, sizeof(numbered), "%s%u", attribute, i);

        OM_TRY(om_h5_strings(&k->h5, object, (om_sv){ numbered, (size_t)n }, &names, err));
        if (!names.at)
            return 0;
        *found = true;
        OM_TRY(each(k, object, &names, fn, err));
    }
}

static bool same_shape(const struct om_ckpt_tensor *a, const struct om_ckpt_tensor *b)
{
    return a->dtype == b->dtype && a->rank == b->rank &&
           (a->rank == 0 || memcmp(a->dims, b->dims, a->rank * sizeof(*a->dims)) == 0);
}

/* Layers that share a variable each save it: the first copy stands for all. */
static int add_tensor(struct keras *k, struct om_ckpt_tensor *t, om_sv variable, bool scoped,
                      struct om_error *err)
{
    uint32_t at;

    OM_TRY(om_tf_tensor(k->arena, t, variable, scoped, err));
    if (om_map_get(&k->seen, variable, &at))
        return same_shape(t, &k->tensors[at])
                   ? 0
                   : om_fail(err, OM_E_FORMAT, "it is there twice, with different shapes");
    if (k->len >= TENSORS_MAX)
        return om_fail(err, OM_E_LIMIT, "more than %u variables", TENSORS_MAX);
    if (!om_grow(&k->tensors, &k->cap, k->len + 1, sizeof(*k->tensors)) ||
        om_map_put(&k->seen, variable, (uint32_t)k->len) < 0)
        return om_fail(err, OM_E_NOMEM, "out of memory for the tensor table");
    k->tensors[k->len++] = *t;
    return 0;
}

static int add_variable(struct keras *k, uint64_t layer, om_sv path, struct om_error *err)
{
    struct om_ckpt_tensor t;
    bool is_dataset = false;
    uint64_t object;

    OM_TRY(om_h5_find(&k->h5, layer, path, &object, err));
    OM_TRY(om_h5_dataset(&k->h5, k->arena, object, &is_dataset, &t, err));
    if (!is_dataset)
        return om_fail(err, OM_E_FORMAT, "expected a dataset, found a group");
    return add_tensor(k, &t, path, true, err);
}

static int add_layer(struct keras *k, uint64_t root, om_sv name, struct om_error *err)
{
    struct om_ckpt_tensor t;
    bool is_dataset = false, found;
    uint64_t object;

    OM_TRY(om_h5_find(&k->h5, root, name, &object, err));
    OM_TRY(om_h5_dataset(&k->h5, k->arena, object, &is_dataset, &t, err));
    if (is_dataset)
        return add_tensor(k, &t, name, om_tf_scoped(name), err);
    return each_name(k, object, "weight_names", add_variable, &found, err);
}

static int read_layers(struct keras *k, const struct om_file *file, struct om_error *err)
{
    bool found;

    OM_TRY(om_h5_open(&k->h5, file, err));
    OM_TRY(each_name(k, k->h5.root, "layer_names", add_layer, &found, err));
    if (!found)
        return om_fail(err, OM_E_FORMAT,
                       "no attribute \"layer_names\": not weights that Keras saved");
    return 0;
}

static int by_offset(const void *a, const void *b)
{
    const struct om_ckpt_tensor *x = a, *y = b;

    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return om_sv_cmp(x->name, y->name);
}

int om_keras_parse(struct om_arena *a, const struct om_file *file, struct om_ckpt_tensor **tensors,
                   size_t *len, struct om_error *err)
{
    struct keras k = { .arena = a };
    int rc = read_layers(&k, file, err);

    if (rc == 0) {
        if (k.len > 1)
            qsort(k.tensors, k.len, sizeof(*k.tensors), by_offset);
        *tensors = om_arena_copy(a, k.tensors, k.len * sizeof(*k.tensors));
        *len = k.len;
        if (k.len > 0 && !*tensors)
            rc = om_fail(err, OM_E_NOMEM, "out of memory for the tensor table");
    }
    free(k.tensors);
    om_map_release(&k.seen);
    return rc;
}
