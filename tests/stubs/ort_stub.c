/* tests/stubs/ort_stub.c: libraries that look like ONNX Runtime and must be refused.
 *
 * STUB_VERSION is what the library says it is; without it the library has no OrtGetApiBase at all.
 */
#include <stdint.h>

#ifdef STUB_VERSION
static const void *get_api(uint32_t version)
{
    (void)version;
    return 0;
}

static const char *get_version(void)
{
    return STUB_VERSION;
}

static const struct {
    const void *(*get_api)(uint32_t version);
    const char *(*get_version)(void);
} base = { get_api, get_version };

__attribute__((visibility("default"))) const void *OrtGetApiBase(void);

const void *OrtGetApiBase(void)
{
    return &base;
}
#else
__attribute__((visibility("default"))) int ort_stub_nothing(void);

int ort_stub_nothing(void)
{
    return 0;
}
#endif
