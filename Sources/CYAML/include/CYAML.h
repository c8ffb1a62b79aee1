// libyaml: YAML 1.1 event parser.
#ifndef CYAML_H
#define CYAML_H
#include <yaml.h>
#endif
