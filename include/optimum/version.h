/* include/optimum/version.h: the version of the library, at compile time and at run time. */
#ifndef OPTIMUM_VERSION_H
#define OPTIMUM_VERSION_H

#include <optimum/error.h>

#define OM_VERSION "0.1.0"

#ifdef __cplusplus
extern "C" {
#endif

/* The OM_VERSION of the library that was linked or loaded. */
OM_API const char *om_version(void);

#ifdef __cplusplus
}
#endif

#endif
