// RE2, the linear-time regular-expression engine that Envoy uses, behind a C interface.
#ifndef CRE2_H
#define CRE2_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/// A compiled expression. Immutable; any number of threads may match with it at once.
typedef struct cre2_regex cre2_regex;

/// Compiles `pattern` (UTF-8, RE2 syntax). Returns NULL on failure and writes the engine's reason,
/// NUL-terminated and cut to `error_size`, to `error`.
cre2_regex *cre2_compile(const char *pattern, size_t length, char *error, size_t error_size);
void cre2_free(cre2_regex *regex);

/// Size of the compiled program: a rough measure of its cost. Envoy's `max_program_size` limits it.
int cre2_program_size(const cre2_regex *regex);
/// How many capturing groups it has.
int cre2_group_count(const cre2_regex *regex);

/// Whether the whole text matches.
bool cre2_full_match(const cre2_regex *regex, const char *text, size_t length);
/// Whether some part of the text matches.
bool cre2_partial_match(const cre2_regex *regex, const char *text, size_t length);

/// Whether `rewrite` (\0 whole match, \1…\9 groups, \\ a backslash) fits the expression; the reason
/// goes to `error` where it does not.
bool cre2_check_rewrite(
    const cre2_regex *regex, const char *rewrite, size_t length, char *error, size_t error_size);
/// Replaces every match that does not overlap an earlier one. The result is allocated with malloc,
/// its size stored to `result_length`; the caller frees it. NULL when memory ran out.
char *cre2_replace_all(
    const cre2_regex *regex, const char *text, size_t text_length, const char *rewrite,
    size_t rewrite_length, size_t *result_length);

#ifdef __cplusplus
}
#endif
#endif
