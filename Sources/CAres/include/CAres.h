// c-ares: asynchronous DNS.
#ifndef CARES_SHIM_H
#define CARES_SHIM_H
#include <ares.h>

/// The servers a channel asks, "address:port" joined by commas; to be freed with free(). NULL where
/// there are none or memory is short.
char *cares_servers(ares_channel channel);

#endif
