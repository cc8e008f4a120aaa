/* src/pipe/call.c: a call from either door: its memory, its items, its results. */
#include "pipe/pipe.h"

#include <stdlib.h>

/* In front of results, which are handed out alone: what has to be given back with them. */
struct block {
    _Alignas(16) struct om_arena arena;
};

/* ---- begin and end ---- */

int pipe_call_begin(struct pipe_call *c, const struct om_pipeline *p, struct om_error *err)
{
    *c = (struct pipe_call){ .p = p, .err = OM_ERROR_INIT, .batch_size = p->init_batch_size };
    om_arena_init(&c->arena, PIPE_ARENA_MAX);
    c->params = om_arena_copy(&c->arena, p->params, p->task->params_size);
    return c->params ? 0 : pipe_no_memory(err);
}

static void item_release(struct pipe_item *item)
{
    for (size_t i = 0; i < item->n_windows; i++) {
        struct pipe_window *const w = &item->windows[i];

        free(w->kept);
        om_error_release(w->failure);
        free(w->failure);
    }
    for (size_t i = 0; i < item->n_encs; i++)
        om_encoding_free(item->encs[i]);
    free(item->windows);
    free(item->encs);
    om_error_release(&item->err);
}

void pipe_call_end(struct pipe_call *c)
{
    for (size_t i = 0; i < c->n; i++)
        item_release(&c->items[i]);
    om_json_free(c->doc);
    om_error_release(&c->err);
    om_arena_release(&c->arena);
    *c = (struct pipe_call){ .n = 0 };
}

void *pipe_call_items(struct pipe_call *c, size_t n)
{
    const size_t size = c->p->task->input_size;
    struct pipe_item *const items = om_arena_array(&c->arena, n + 1, sizeof(*items));
    char *const inputs = om_arena_array(&c->arena, n + 1, size);

    if (!items || !inputs)
        return NULL;
    for (size_t i = 0; i < n; i++)
        items[i] = (struct pipe_item){ .call = c, .input = inputs + i * size };
    c->items = items;
    c->n = n;
    return inputs;
}

int pipe_call_names(struct pipe_call *c, const char *const *names, size_t n, struct pipe_texts *out,
                    struct om_error *err)
{
    struct om_text *const at = om_arena_array(&c->arena, n + 1, sizeof(*at));

    if (!at)
        return pipe_no_memory(err);
    for (size_t i = 0; i < n; i++)
        at[i] = (struct om_text){ names[i], strlen(names[i]) };
    *out = (struct pipe_texts){ at, n };
    return 0;
}

void *pipe_call_block(struct pipe_call *c, size_t n, size_t elem)
{
    size_t size;
    char *block;

    if (!om_mul_size(n, elem, &size) || !om_add_size(size, sizeof(struct block) + 1, &size))
        return NULL;
    block = om_arena_alloc(&c->arena, size);
    return block ? block + sizeof(struct block) : NULL;
}

int pipe_call_check(struct pipe_call *c, struct om_error *err)
{
    const struct pipe_reader r = { c->p, &c->arena, err, c->kwargs };

    return c->p->task->check ? c->p->task->check(&r, c->params) : 0;
}

struct om_text pipe_keep_text(struct pipe_call *c, om_sv text)
{
    return (struct om_text){ om_arena_str(&c->arena, text), text.len };
}

/* ---- the typed door ---- */

int pipe_typed_begin(struct pipe_call *c, const struct om_pipeline *p, const struct pipe_task *task,
                     struct om_error *err)
{
    *c = (struct pipe_call){ .n = 0 };
    if (p->task != task)
        return om_fail(err, OM_E_USAGE, "the pipeline is for %s, not for %s", p->task->name,
                       task->name);
    return pipe_call_begin(c, p, err);
}

/* The arena goes along with the block. */
const void *pipe_call_hand_out(struct pipe_call *c, void *at)
{
    struct block *const block = (struct block *)(void *)((char *)at - sizeof(struct block));

    for (size_t i = 0; i < c->n; i++)
        item_release(&c->items[i]);
    c->n = 0;
    block->arena = c->arena;
    om_arena_init(&c->arena, 0);
    return at;
}

int pipe_typed_run(struct pipe_call *c, int rc, struct om_error *err)
{
    if (rc == 0)
        rc = pipe_call_check(c, err);
    if (rc < 0)
        return rc;
    pipe_calls_run(c, 1);
    return c->err.code < 0 ? om_fail(err, c->err.code, "%s", om_error_text(&c->err)) : 0;
}

int pipe_typed_end(struct pipe_call *c, int rc, const void **out, struct om_error *err)
{
    rc = pipe_typed_run(c, rc, err);
    if (rc == 0)
        *out = pipe_call_hand_out(c, c->results);
    pipe_call_end(c);
    return rc;
}

void om_pipeline_release(const void *results)
{
    struct om_arena arena;

    if (!results)
        return;
    memcpy(&arena, (const char *)results - sizeof(struct block), sizeof(arena));
    om_arena_release(&arena);
}

/* ---- inputs as JSON ---- */

int pipe_read_texts(struct pipe_call *c, const struct om_json *inputs, struct om_error *err)
{
    const size_t n = om_json_len(inputs);
    struct om_text *texts;

    c->list = om_json_kind(inputs) == OM_JSON_ARRAY;
    texts = pipe_call_items(c, c->list ? n : 1);
    if (!texts)
        return pipe_no_memory(err);
    if (!c->list)
        return pipe_read_text(inputs, "inputs: ", texts, err);
    for (size_t i = 0; i < n; i++)
        OM_TRY(om_wrap(err, pipe_read_text(om_json_at(inputs, i), "", &texts[i], err), "input %zu",
                       i));
    return 0;
}
