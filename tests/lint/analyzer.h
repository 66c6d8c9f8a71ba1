/* Included before every file of agent/ and plugins/ that clang-tidy sees, but error.c: the analyzer looks at one file at a
 * time and can't know that these always return -1. yaml.c, which defines most of them, has YAML_ITSELF set. */
#include "agent/yaml.h"
#include "plugins/plugin.h"

#define error_set(...) (error_set(__VA_ARGS__), -1)
#ifndef YAML_ITSELF
#define yaml_error(...)       (yaml_error(__VA_ARGS__), -1)
#define yaml_error_at(...)    (yaml_error_at(__VA_ARGS__), -1)
#define yaml_error_place(...) (yaml_error_place(__VA_ARGS__), -1)
#endif
