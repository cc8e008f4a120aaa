/* tests/unit/t_error.c: messages, their context, and the context object. */
#include "test.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>

#include <optimum/version.h>

static int inner(struct om_error *err)
{
    return om_fail(err, OM_E_FORMAT, "shape needs %d bytes, file gives %d", 64, 32);
}

static void wrapped(struct test *t)
{
    struct om_error err = OM_ERROR_INIT;

    CHECK_STR(t, om_error_text(&err), "");
    CHECK_INT(t, om_wrap(&err, 0, "unused"), 0);
    CHECK_STR(t, om_error_text(&err), "");
    CHECK_INT(t, om_wrap(&err, inner(&err), "tensor \"%s\"", "x.weight"), OM_E_FORMAT);
    om_wrap(&err, OM_E_IO, "%s", "model.safetensors");
    CHECK_STR(t, om_error_text(&err),
              "model.safetensors: tensor \"x.weight\": shape needs 64 bytes, file gives 32");
    CHECK_INT(t, err.code, OM_E_FORMAT);                    /* the first failure stays */
    om_fail(&err, OM_E_IO, "new: %s", om_error_text(&err)); /* may quote itself */
    CHECK_HAS(t, om_error_text(&err), "new: model.safetensors: tensor");
    CHECK_INT(t, err.code, OM_E_IO);
    om_error_release(&err);
    CHECK(t, err.code == 0 && om_error_text(&err)[0] == '\0');
    CHECK_INT(t, om_wrap(&err, OM_E_NOMEM, "alone"), OM_E_NOMEM);
    CHECK_STR(t, om_error_text(&err), "alone");
    CHECK_INT(t, err.code, OM_E_NOMEM);
    om_error_release(&err);
}

static void without_error(struct test *t)
{
    CHECK_INT(t, om_fail(NULL, OM_E_IO, "%s", "x"), OM_E_IO);
    CHECK_INT(t, om_wrap(NULL, OM_E_IO, "%s", "x"), OM_E_IO);
    CHECK_STR(t, om_error_text(NULL), "");
    om_error_release(NULL);
}

/* Around the size of the inline message, so that both homes and the step between them are met. */
static void any_length(struct test *t)
{
    char long_name[3 * OM_ERROR_SMALL];

    for (size_t len = OM_ERROR_SMALL - 12; len < sizeof(long_name); len += len < 270 ? 1 : 97) {
        struct om_error err = OM_ERROR_INIT;
        memset(long_name, 'n', len);
        long_name[len] = '\0';
        test_case(t, "%zu bytes", len);
        om_fail(&err, OM_E_MISSING, "%s|", long_name);
        CHECK_INT(t, strlen(om_error_text(&err)), len + 1);
        om_wrap(&err, OM_E_MISSING, "file");
        CHECK_INT(t, strlen(om_error_text(&err)), len + 1 + strlen("file: "));
        CHECK_INT(t, om_error_text(&err)[len + 6], '|');
        om_fail(&err, OM_E_IO, "short");
        CHECK_STR(t, om_error_text(&err), "short");
        om_error_release(&err);
    }
}

static void one_line(struct test *t)
{
    struct om_error err = OM_ERROR_INIT;

    om_fail(&err, OM_E_FORMAT, "tensor \"%s\"", "a\nb\x1B[31m\x7F \xC3\xA9");
    CHECK_STR(t, om_error_text(&err), "tensor \"a b?[31m? \xC3\xA9\"");
    om_error_release(&err);
}

static void codes(struct test *t)
{
    CHECK_STR(t, om_code_name(OM_OK), "OK");
    CHECK_STR(t, om_code_name(OM_E_FORMAT), "E_FORMAT");
    CHECK_STR(t, om_code_name(OM_E_INTERNAL), "E_INTERNAL");
    CHECK_STR(t, om_code_name(-99), "?");
    CHECK_STR(t, om_version(), OM_VERSION);
}

struct lines {
    int count;
    enum om_level level;
    char last[2048];
};

static void keep_line(void *user, enum om_level level, const char *line)
{
    struct lines *l = user;

    l->count++;
    l->level = level;
    snprintf(l->last, sizeof(l->last), "%s", line);
}

static void logging(struct test *t)
{
    struct om_ctx *ctx = om_ctx_new();
    struct lines l = { 0 };
    char text[1500];

    om_log(NULL, OM_LOG_ERROR, "nobody listens");
    om_log(ctx, OM_LOG_ERROR, "nobody listens yet");
    om_ctx_set_log(ctx, keep_line, &l, OM_LOG_INFO);
    om_log(ctx, OM_LOG_DEBUG, "too detailed");
    CHECK_INT(t, l.count, 0);
    om_log(ctx, OM_LOG_INFO, "%d of %d", 1, 2);
    CHECK_INT(t, l.count, 1);
    CHECK_INT(t, l.level, OM_LOG_INFO);
    CHECK_STR(t, l.last, "1 of 2");
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    om_log(ctx, OM_LOG_WARNING, "%s", text);
    CHECK_STR(t, l.last, text);
    om_ctx_free(ctx);
    om_ctx_free(NULL);
}

static void *cancel_thread(void *ctx)
{
    om_ctx_cancel(ctx);
    return NULL;
}

static void cancelling(struct test *t)
{
    struct om_ctx *ctx = om_ctx_new();
    struct om_error err = OM_ERROR_INIT;
    pthread_t thread;

    CHECK_INT(t, om_ctx_check(NULL, &err), 0);
    CHECK_INT(t, om_ctx_check(ctx, &err), 0);
    if (pthread_create(&thread, NULL, cancel_thread, ctx) == 0)
        pthread_join(thread, NULL);
    CHECK_INT(t, om_ctx_check(ctx, &err), OM_E_CANCELLED);
    CHECK(t, om_error_text(&err)[0] != '\0');
    om_error_release(&err);
    om_ctx_free(ctx);
}

const struct test_entry t_error[] = {
    { "wrapped", wrapped },       { "without_error", without_error },
    { "any_length", any_length }, { "one_line", one_line },
    { "codes", codes },           { "logging", logging },
    { "cancelling", cancelling }, TEST_END
};
