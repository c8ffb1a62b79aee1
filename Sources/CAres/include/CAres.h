// c-ares: asynchronous DNS.
#ifndef CARES_SHIM_H
#define CARES_SHIM_H
// First, so that the socket types that ares.h includes belong to one module: Swift asks for the import
// of the module that it sees a type in.
#include <CLinux.h>

#include <ares.h>

/// The servers a channel asks, "address:port" joined by commas; to be freed with free(). NULL where
/// there are none or memory is short.
char *cares_servers(ares_channel channel);

#endif
