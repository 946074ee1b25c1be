/* error: GError helpers and the "did you mean" search. */
#include "util/error.h"

#include <string.h>

GQuark quern_error_quark(void)
{
    return g_quark_from_static_string("quern");
}

static bool set_va(GError **err, ErrCode code, const char *fmt, va_list ap)
{
    if (err) {
        g_autofree char *msg = g_strdup_vprintf(fmt, ap);

        g_warn_if_fail(*err == NULL);
        *err = g_error_new_literal(quern_error_quark(), code, msg);
    }
    return false;
}

bool err_set(GError **err, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    set_va(err, ERR_FAILED, fmt, ap);
    va_end(ap);
    return false;
}

bool err_set_code(GError **err, ErrCode code, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    set_va(err, code, fmt, ap);
    va_end(ap);
    return false;
}

bool err_set_errno(GError **err, int errnum, const char *fmt, ...)
{
    va_list ap;

    if (err) {
        g_autofree char *msg = NULL;

        va_start(ap, fmt);
        msg = g_strdup_vprintf(fmt, ap);
        va_end(ap);
        err_set(err, "%s: %s", msg, g_strerror(errnum));
    }
    return false;
}

bool err_prefix(GError **err, const char *fmt, ...)
{
    va_list ap;

    if (err && *err) {
        g_autofree char *msg = NULL;

        va_start(ap, fmt);
        msg = g_strdup_vprintf(fmt, ap);
        va_end(ap);
        g_prefix_error(err, "%s: ", msg);
    }
    return false;
}

/* Levenshtein distance with a transposition counted as one step; words are short names. */
static unsigned distance(const char *a, const char *b)
{
    enum { MAX = 64 };
    unsigned d[3][MAX + 1] = { 0 };
    size_t n = strlen(a), m = strlen(b);

    if (n > MAX || m > MAX)
        return G_MAXUINT;
    for (size_t j = 0; j <= m; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        unsigned *cur = d[i % 3], *prev = d[(i - 1) % 3], *prev2 = d[(i + 1) % 3];

        cur[0] = i;
        for (size_t j = 1; j <= m; j++) {
            cur[j] = MIN(MIN(prev[j] + 1, cur[j - 1] + 1), prev[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                cur[j] = MIN(cur[j], prev2[j - 2] + 1);
        }
    }
    return d[n % 3][m];
}

const char *nearest_name(const char *word, const char *const *candidates)
{
    const char *best = NULL;
    unsigned best_d = strlen(word) / 3 + 2;

    for (; *candidates; candidates++) {
        unsigned d = distance(word, *candidates);

        if (d < best_d) {
            best_d = d;
            best = *candidates;
        }
    }
    return best;
}
