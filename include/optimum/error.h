/* include/optimum/error.h: how every call of the library reports failure.
 *
 * Functions return 0 or a negative enum om_code. The message lives in a struct om_error that the caller
 * owns: initialise it with OM_ERROR_INIT, pass its address (or NULL when only the code matters), read it
 * with om_error_text() and give it back with om_error_release(). A message is one line that names the
 * file, tensor or key, what was expected and what was found. The library never prints, exits or aborts. */
#ifndef OPTIMUM_ERROR_H
#define OPTIMUM_ERROR_H

#include <stddef.h>

#if defined(__GNUC__)
#define OM_API __attribute__((visibility("default")))
#define OM_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define OM_API
#define OM_PRINTF(fmt, args)
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* One line per code: OM_CODE(name, value, text). */
#define OM_CODES(OM_CODE)                                                         \
    OM_CODE(OK, 0, "success")                                                     \
    OM_CODE(E_NOMEM, -1, "out of memory")                                         \
    OM_CODE(E_IO, -2, "the operating system refused a file operation")            \
    OM_CODE(E_FORMAT, -3, "a file does not follow its format")                    \
    OM_CODE(E_CONFIG, -4, "a configuration key is missing or has a wrong value")  \
    OM_CODE(E_UNSUPPORTED, -5, "valid input that this version does not implement") \
    OM_CODE(E_MISSING, -6, "something that was named does not exist")             \
    OM_CODE(E_LIMIT, -7, "a documented limit was reached")                        \
    OM_CODE(E_RUNTIME, -8, "ONNX Runtime is absent or reported an error")         \
    OM_CODE(E_MISMATCH, -9, "the validation found a difference")                  \
    OM_CODE(E_USAGE, -10, "the caller passed contradictory or invalid options")   \
    OM_CODE(E_CANCELLED, -11, "om_ctx_cancel() was called")                       \
    OM_CODE(E_INTERNAL, -12, "a defect of this library")

enum om_code {
#define OM_CODE_ENUM(name, value, text) OM_##name = (value),
    OM_CODES(OM_CODE_ENUM)
#undef OM_CODE_ENUM
};

#define OM_ERROR_SMALL 256 /* longer messages live on the heap */

struct om_error {
    int code;                  /* the enum om_code of the first failure, 0 when there was none */
    char *heap;                /* NULL, or the whole message when it does not fit below */
    char small[OM_ERROR_SMALL];
};
#define OM_ERROR_INIT { .code = 0 }

/* The message; "" when there is none. Valid until the error is changed or released. */
OM_API const char *om_error_text(const struct om_error *err);

/* Free the message and make *err reusable. Accepts NULL. */
OM_API void om_error_release(struct om_error *err);

/* Set the message, replacing an older one, and return code. err may be NULL. When memory is short the
 * message is cut to what fits in the struct. */
OM_API int om_fail(struct om_error *err, int code, const char *fmt, ...) OM_PRINTF(3, 4);

/* Put context before the message ("context: message") and return rc. Does nothing when rc is 0. */
OM_API int om_wrap(struct om_error *err, int rc, const char *fmt, ...) OM_PRINTF(3, 4);

/* The name of a code, such as "E_FORMAT"; "?" for an unknown one. */
OM_API const char *om_code_name(int code);

#ifdef __cplusplus
}
#endif

#endif
