/* src/arch/arch.c: the registry of architectures, what they offer, and their configurations. */
#include "arch/arch.h"

#define OM_ARCH(type, name) extern const struct om_arch om_arch_##name;
#include "arch/archs.def"
#undef OM_ARCH

const struct om_arch_entry om_archs[] = {
#define OM_ARCH(type, name) { type, &om_arch_##name },
#include "arch/archs.def"
#undef OM_ARCH
};
const size_t om_arch_count = OM_COUNT(om_archs);

const struct om_arch *om_arch_find(const char *model_type)
{
    for (size_t i = 0; i < om_arch_count; i++)
        if (strcmp(om_archs[i].model_type, model_type) == 0)
            return om_archs[i].arch;
    return NULL;
}

bool om_arch_has_task(const struct om_arch *arch, const struct om_task *task)
{
    return task->head < OM_HEAD_COUNT && arch->heads[task->head] != NULL;
}

bool om_arch_has_past(const struct om_arch *arch, const struct om_task *task)
{
    return arch->kind != OM_ARCH_ENCODER && task->cache && om_arch_has_task(arch, task);
}

bool om_arch_two_sided(const struct om_arch_job *job)
{
    return job->arch->kind == OM_ARCH_SEQ2SEQ && !job->encoder_only &&
           (job->task->head == OM_HEAD_HIDDEN || job->task->head == OM_HEAD_SEQ2SEQ_LM);
}

const char *const *om_arch_tasks(struct om_arena *a, const struct om_arch *arch)
{
    const char **list = om_arena_array(a, 2 * om_task_count + 1, sizeof(*list));
    size_t n = 0;

    for (size_t i = 0; list && i < om_task_count; i++) {
        const struct om_task *t = &om_tasks[i];
        if (om_arch_has_task(arch, t))
            list[n++] = t->name;
        if (om_arch_has_past(arch, t)) {
            list[n] = om_arena_printf(a, "%s-with-past", t->name);
            if (!list[n++])
                return NULL;
        }
    }
    return list;
}

int om_arch_config(struct om_arena *a, const struct om_arch *arch, const struct om_config *config,
                   void **cfg, struct om_error *err)
{
    void *out = om_arena_alloc(a, arch->cfg_size);
    int rc = 0;

    if (!out)
        return om_fail(err, OM_E_NOMEM, "out of memory");
    rc = om_config_read(a, config->doc, arch->fields, out, err);
    if (rc == 0 && arch->derive)
        rc = arch->derive(a, out, config, err);
    if (rc < 0)
        return om_wrap(err, rc, "%s", config->path);
    *cfg = out;
    return 0;
}
