/* src/ort/session.h: what opening a session and running it share. */
#ifndef OM_ORT_SESSION_H
#define OM_ORT_SESSION_H

#include <optimum/session.h>

#include "base/arena.h"
#include "base/map.h"
#include "ort/api.h"

/* The inputs or the outputs of a model. */
struct om_ports {
    struct om_session_port *items;
    const char **names; /* those of the items, as ONNX Runtime takes them */
    size_t len;
    struct om_map by_name; /* keys are the items' names */
};

struct om_session {
    const struct om_ort *ort;
    struct ort_session *handle;
    const char *label; /* the model's path, for messages */
    struct om_ports inputs, outputs;
    struct om_arena arena; /* owns the label and the ports */
};

/* Let sessions made with so prefer these providers, in their order (src/ort/providers.c). */
int om_ort_use_providers(const struct om_ort *ort, struct ort_session_options *so,
                         const struct om_provider *list, size_t n, struct om_error *err);

#endif
