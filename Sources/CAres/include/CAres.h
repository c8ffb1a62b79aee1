// c-ares: asynchronous DNS.
#ifndef CARES_SHIM_H
#define CARES_SHIM_H
#include <ares.h>
#endif
