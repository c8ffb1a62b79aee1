#include "CRE2.h"

#include <re2/re2.h>

#include <cstdlib>
#include <cstring>
#include <string>

struct cre2_regex {
    re2::RE2 program;
    cre2_regex(const re2::StringPiece &pattern, const re2::RE2::Options &options)
        : program(pattern, options) {}
};

static void copy_text(const std::string &text, char *to, size_t size) {
    if (size == 0) return;
    size_t length = text.size() < size - 1 ? text.size() : size - 1;
    memcpy(to, text.data(), length);
    to[length] = 0;
}

// RE2's StringPiece must not be built from a null pointer in debug builds of the library.
static re2::StringPiece piece(const char *text, size_t length) {
    return length == 0 ? re2::StringPiece("", 0) : re2::StringPiece(text, length);
}

cre2_regex *cre2_compile(const char *pattern, size_t length, char *error, size_t error_size) {
    re2::RE2::Options options;
    options.set_log_errors(false);
    cre2_regex *regex = new cre2_regex(piece(pattern, length), options);
    if (regex->program.ok()) return regex;
    copy_text(regex->program.error(), error, error_size);
    delete regex;
    return nullptr;
}

void cre2_free(cre2_regex *regex) { delete regex; }

int cre2_program_size(const cre2_regex *regex) { return regex->program.ProgramSize(); }

int cre2_group_count(const cre2_regex *regex) { return regex->program.NumberOfCapturingGroups(); }

bool cre2_full_match(const cre2_regex *regex, const char *text, size_t length) {
    return regex->program.Match(
        piece(text, length), 0, length, re2::RE2::ANCHOR_BOTH, nullptr, 0);
}

bool cre2_partial_match(const cre2_regex *regex, const char *text, size_t length) {
    return regex->program.Match(piece(text, length), 0, length, re2::RE2::UNANCHORED, nullptr, 0);
}

bool cre2_check_rewrite(
    const cre2_regex *regex, const char *rewrite, size_t length, char *error, size_t error_size) {
    std::string reason;
    if (regex->program.CheckRewriteString(piece(rewrite, length), &reason)) return true;
    copy_text(reason, error, error_size);
    return false;
}

char *cre2_replace_all(
    const cre2_regex *regex, const char *text, size_t text_length, const char *rewrite,
    size_t rewrite_length, size_t *result_length) {
    std::string result(text_length == 0 ? "" : text, text_length);
    re2::RE2::GlobalReplace(&result, regex->program, piece(rewrite, rewrite_length));
    char *copy = static_cast<char *>(malloc(result.size() + 1));
    if (copy == nullptr) return nullptr;
    memcpy(copy, result.data(), result.size() + 1);
    *result_length = result.size();
    return copy;
}
