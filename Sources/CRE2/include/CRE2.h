// RE2, the linear-time regular-expression engine that Envoy uses, behind a C interface.
#ifndef CRE2_H
#define CRE2_H
#endif
