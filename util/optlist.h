/*
 * optlist: QEMU's option grammar: "value,key=value,flag,noflag", doubled commas, or a JSON object.
 *
 * An OptList keeps the order and every repetition (hostfwd=...,hostfwd=...). Getters take the
 * last value of a key, mark it used and check its form; optlist_check_unused() then reports what
 * nobody asked for, naming the nearest name that somebody did ask for. Not thread-safe.
 */
#ifndef UTIL_OPTLIST_H
#define UTIL_OPTLIST_H

#include "util/error.h"

#include <stdint.h>

typedef struct OptItem {
    char *key, *value;
    bool used;
    bool bare;                  /* written without "=": "flag" (value "on") or "noflag" (value "off") */
} OptItem;
typedef struct OptList {
    GPtrArray *items;           /* of OptItem */
    GPtrArray *asked;           /* names getters asked for: candidates for suggestions */
} OptList;

/*
 * Parses text. implied: the key of a first item without "=" ("type" for -netdev user,...), or NULL.
 * Text that starts with '{' is a JSON object: nested objects become dotted keys ("addr.type"),
 * arrays "key.0" ...; numbers and booleans their text. NULL on error.
 */
OptList *optlist_parse(const char *text, const char *implied, GError **err) MUST_CHECK;
OptList *optlist_new(void);
void optlist_free(OptList *l);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(OptList, optlist_free)
void optlist_add(OptList *l, const char *key, const char *value);

/* Last value of key, or def; NULL stays NULL. The string lives as long as the list. */
const char *optlist_str(OptList *l, const char *key, const char *def);
/* All values of key in order; NULL-terminated; free the array only. */
const char **optlist_all(OptList *l, const char *key);
bool optlist_bool(OptList *l, const char *key, bool def, bool *out, GError **err) MUST_CHECK;
bool optlist_uint(OptList *l, const char *key, uint64_t def, uint64_t max, uint64_t *out, GError **err) MUST_CHECK;
bool optlist_size(OptList *l, const char *key, uint64_t def, uint64_t *out, GError **err) MUST_CHECK;
bool optlist_has(OptList *l, const char *key);
/* Fails on the first item no getter asked for: "unknown option 'x' (did you mean 'y'?)". */
bool optlist_check_unused(OptList *l, GError **err) MUST_CHECK;
/* Calls fn for each item not yet used, marking it used; stops on false. For pass-through to devices. */
bool optlist_each_unused(OptList *l, bool (*fn)(void *opaque, const char *key, const char *value, GError **err),
                         void *opaque, GError **err) MUST_CHECK;

/* Value parsers, also for other users. Sizes: digits with optional fraction and b k M G T P E (x1024);
   a bare number counts units of `unit` bytes. */
bool parse_bool_text(const char *text, bool *out, GError **err) MUST_CHECK;
bool parse_uint_text(const char *text, uint64_t max, uint64_t *out, GError **err) MUST_CHECK;
bool parse_size_text(const char *text, uint64_t unit, uint64_t *out, GError **err) MUST_CHECK;

#endif
