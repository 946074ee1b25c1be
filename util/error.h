/*
 * error: how fallible functions report to the host user.
 *
 * A fallible function returns bool (or a pointer) and takes a GError ** last; it
 * returns false (NULL) if and only if it set the error, and undoes its own work.
 * Nobody but the reporter in cli/ and monitor/ looks inside an error.
 */
#ifndef UTIL_ERROR_H
#define UTIL_ERROR_H

#include <glib.h>
#include <stdbool.h>

#define MUST_CHECK __attribute__((warn_unused_result))

typedef enum {
    ERR_FAILED,                 /* anything a sentence explains best */
    ERR_NOT_FOUND,              /* no such device, node, property ... (QMP DeviceNotFound) */
    ERR_LOCKED,                 /* somebody else holds the file */
    ERR_UNSUPPORTED,
} ErrCode;

GQuark quern_error_quark(void);

/* Sets *err (when err is not NULL) and returns false, so: return err_set(err, "..."). */
bool err_set(GError **err, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
bool err_set_code(GError **err, ErrCode code, const char *fmt, ...) G_GNUC_PRINTF(3, 4);
/* As err_set, with ": " and the text of errnum (an errno value) added. */
bool err_set_errno(GError **err, int errnum, const char *fmt, ...) G_GNUC_PRINTF(3, 4);
/* Puts "context: " before the message of *err, if any; returns false. */
bool err_prefix(GError **err, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

/* The candidate nearest to word by edit distance, or NULL if none is near. candidates ends with NULL. */
const char *nearest_name(const char *word, const char *const *candidates);

#endif
