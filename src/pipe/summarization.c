/* src/pipe/summarization.c: text2text-generation whose answers are summaries. */
#include "pipe/generation.h"

/* Lengths that are hardly meant. The maximum is what max_length says, though max_new_tokens may
 * decide, as in the original. */
static int run(struct pipe_call *c, struct pipe_item *items, size_t n, struct om_error *err)
{
    const struct pipe_generation_params *const g = c->params;
    const int64_t min = g->config.min_length, max = g->config.max_length;
    const int64_t length = (int64_t)pipe_generation_length(c, items);

    if (max < min)
        om_log(g->ctx, OM_LOG_WARNING,
               "Your min_length=%" PRId64 " must be inferior than your max_length=%" PRId64 ".",
               min, max);
    if (length < max)
        om_log(g->ctx, OM_LOG_WARNING,
               "Your max_length is set to %" PRId64 ", but your input_length is only %" PRId64
               ". Since this is a summarization task, where outputs shorter than the input are "
               "typically wanted, you might consider decreasing max_length manually, e.g. "
               "summarizer('...', max_length=%" PRId64 ")",
               max, length, length / 2);
    return pipe_generation_run(c, items, n, err);
}

static void json(const struct pipe_call *c, const void *result, struct om_buf *b)
{
    pipe_text2text_json(c, result, "summary", b);
}

const struct pipe_task pipe_summarization = {
    .name = "summarization",
    .aliases = (const char *const[]){ NULL },
    .model_class = OM_MODEL_SEQ2SEQ_LM,
    .params = pipe_text2text_params,
    .params_size = sizeof(struct pipe_generation_params),
    .input_size = sizeof(struct pipe_generation_input),
    .result_size = sizeof(struct om_generated_texts),
    .defaults = &pipe_text2text_defaults,
    .takes = pipe_generation_takes,
    .open = pipe_generation_open,
    .close = pipe_generation_close,
    .check = pipe_text2text_check,
    .read = pipe_generation_read,
    .prepare = pipe_text2text_prepare,
    .arrange = pipe_generation_arrange,
    .run = run,
    .finish = pipe_text2text_finish,
    .json = json,
    .text = pipe_generation_text,
};
