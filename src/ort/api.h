/* src/ort/api.h: ONNX Runtime's C interface, as far as this library uses it.
 *
 * ONNX Runtime exports one function, OrtGetApiBase(), which leads to a table of function pointers.
 * Slots are only ever appended to that table and keep number and signature, so declaring the ones
 * in use is enough: no header of ONNX Runtime and no development package is needed. api.c is the
 * only file that knows how the library is found. */
#ifndef OM_ORT_API_H
#define OM_ORT_API_H

#include <optimum/session.h>

#include "base/base.h"

/* ONNX Runtime's objects, all opaque. */
struct ort_status;
struct ort_env;
struct ort_allocator;
struct ort_memory_info;
struct ort_session_options;
struct ort_session;
struct ort_run_options;
struct ort_value;
struct ort_type_info;
struct ort_shape_info;
struct ort_cuda_options;
struct ort_tensorrt_options;

/* OrtErrorCode, OrtLoggingLevel, ONNXType: the values this library looks at. */
enum {
    ORT_NO_SUCHFILE = 3,
    ORT_INVALID_PROTOBUF = 7,
    ORT_NOT_IMPLEMENTED = 9,
    ORT_INVALID_GRAPH = 10
};
enum { ORT_LOG_WARNING = 2, ORT_LOG_ERROR = 3 };
enum { ORT_TYPE_TENSOR = 1 };
enum { ORT_ALLOCATOR_DEVICE = 0, ORT_MEMORY_DEFAULT = 0 };

typedef void ort_log_fn(void *user, int severity, const char *category, const char *logid,
                        const char *location, const char *message);

/* The releases 1.N this code reads slots of: the oldest accepted, and the newest it has a use for.
 */
#define OM_ORT_MINOR_MIN 17u
#define OM_ORT_MINOR_MAX 24u

/* An opened ONNX Runtime. Immutable, shared by all sessions. */
struct om_ort {
    const char *version; /* "1.32.0" */
    const char *path;    /* of the library */
    uint32_t minor;      /* 32 */
    struct ort_env *env;
    struct ort_allocator *allocator;
    struct ort_memory_info *cpu;
#define OM_ORT_FN(ret, name, slot, since, args) ret(*name) args;
#include "ort/api.def"
#undef OM_ORT_FN
};

/* The process's ONNX Runtime, found and opened by the first call. OM_E_RUNTIME when there is none:
 * the message says where it was looked for and what installs it. A failure is not remembered. Any
 * thread. */
int om_ort_get(const struct om_ort **out, struct om_error *err);

/* Find and open an ONNX Runtime into *ort. library: the file or directory to take, NULL: search.
 * What this opens stays open; everybody but om_ort_get() and tests wants om_ort_get(). */
int om_ort_open(const char *library, struct om_ort *ort, struct om_error *err);

/* Turn a status into 0 or a negative code with a one-line message; releases the status. */
int om_ort_check(const struct om_ort *ort, struct ort_status *status, struct om_error *err);

/* What ONNX Runtime reports on the calling thread goes to ctx from now on; NULL: nowhere. */
void om_ort_log_to(struct om_ctx *ctx);

#endif
