/*
 * nbd_list: tells what an NBD server offers, in the words of qemu-nbd --list.
 */
#include <errno.h>
#include <unistd.h>
#include "block/nbd.h"
#include "block/nbd_int.h"

enum { LIST_SECONDS = 30, MAX_EXPORTS = 10000, MAX_REPLIES = 10000 };
enum { INFO_EXPORT, INFO_NAME, INFO_DESCRIPTION, INFO_BLOCK_SIZE };

static const struct { uint16_t bit; const char *name; } flag_names[] = {
    { TF_READ_ONLY, "readonly" }, { TF_FLUSH, "flush" }, { TF_FUA, "fua" }, { TF_ROTATIONAL, "rotational" }, { TF_TRIM, "trim" },
    { TF_ZEROES, "zeroes" }, { TF_DF, "df" }, { TF_MULTI, "multi" }, { TF_RESIZE, "resize" }, { TF_CACHE, "cache" },
    { TF_FAST_ZERO, "fast-zero" },
};

typedef struct Export { char *name, *description; } Export;

static void export_free(gpointer p)
{
    Export *e = p;

    g_free(e->name);
    g_free(e->description);
    g_free(e);
}

/* Control characters of a server we do not know stay away from the terminal. */
static char *printable(const uint8_t *d, uint32_t len)
{
    char *t = g_strndup((const char *)d, len);

    for (char *p = t; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
    return t;
}

static int get_names(int fd, GPtrArray *exports)
{
    uint32_t type, len;
    int ret = nbd_send_opt(fd, OPT_LIST, NULL, 0);

    for (int budget = MAX_EXPORTS; !ret; budget--) {
        g_autofree uint8_t *d = NULL;
        ret = budget ? nbd_get_reply(fd, &type, &d, &len) : -EPROTO;
        if (ret || type == REP_ACK)
            break;
        if (type != REP_SERVER || len < 4 || ld32_be(d) > len - 4)
            return type & 0x80000000u ? -EACCES : -EPROTO;
        uint32_t nlen = ld32_be(d);
        Export *e = g_new(Export, 1);
        *e = (Export) { g_strndup((char *)d + 4, nlen), len - 4 > nlen ? printable(d + 4 + nlen, len - 4 - nlen) : NULL };
        g_ptr_array_add(exports, e);
    }
    return ret;
}

static void print_flags(FILE *out, uint16_t flags)
{
    fprintf(out, "  flags: 0x%x (", flags);
    for (size_t i = 0; i < ARRAY_LEN(flag_names); i++)
        if (flags & flag_names[i].bit)
            fprintf(out, " %s", flag_names[i].name);
    fprintf(out, " )\n");
}

static int print_details(int fd, const Export *e, FILE *out)
{
    static const uint16_t wanted[] = { INFO_NAME, INFO_DESCRIPTION, INFO_BLOCK_SIZE };
    uint32_t nlen = strlen(e->name), type, len;
    g_autofree uint8_t *q = g_malloc0(nlen + 6 + sizeof wanted);
    int ret;

    st32_be(q, nlen);
    memcpy(q + 4, e->name, nlen);
    st16_be(q + 4 + nlen, ARRAY_LEN(wanted));
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
        st16_be(q + 6 + nlen + 2 * i, wanted[i]);
    ret = nbd_send_opt(fd, OPT_INFO, q, nlen + 6 + sizeof wanted);
    for (int budget = MAX_REPLIES; !ret; budget--) {
        g_autofree uint8_t *d = NULL;
        ret = budget ? nbd_get_reply(fd, &type, &d, &len) : -EPROTO;
        if (ret || type == REP_ACK || (type & 0x80000000u))
            break;
        if (type != REP_INFO || len < 2)
            return -EPROTO;
        if (ld16_be(d) == INFO_EXPORT && len >= 12) {
            fprintf(out, "  size:  %" PRIu64 "\n", ld64_be(d + 2));
            print_flags(out, ld16_be(d + 10));
        } else if (ld16_be(d) == INFO_BLOCK_SIZE && len >= 14) {
            fprintf(out, "  min block: %u\n  opt block: %u\n  max block: %u\n", ld32_be(d + 2), ld32_be(d + 6), ld32_be(d + 10));
        }
    }
    return ret;
}

static int print_contexts(int fd, const Export *e, FILE *out)
{
    uint32_t nlen = strlen(e->name), type, len;
    g_autofree uint8_t *q = g_malloc0(nlen + 8);
    g_autoptr(GPtrArray) found = g_ptr_array_new_with_free_func(g_free);
    int ret;

    st32_be(q, nlen);
    memcpy(q + 4, e->name, nlen);
    ret = nbd_send_opt(fd, OPT_LIST_META, q, nlen + 8);
    for (int budget = MAX_REPLIES; !ret; budget--) {
        g_autofree uint8_t *d = NULL;
        ret = budget ? nbd_get_reply(fd, &type, &d, &len) : -EPROTO;
        if (ret || type == REP_ACK || (type & 0x80000000u))
            break;
        if (type == REP_META && len >= 4)
            g_ptr_array_add(found, printable(d + 4, len - 4));
    }
    if (found->len)
        fprintf(out, "  available meta contexts: %u\n", found->len);
    for (guint i = 0; i < found->len; i++)
        fprintf(out, "   %s\n", (char *)g_ptr_array_index(found, i));
    return ret;
}

static int list_all(int fd, FILE *out)
{
    g_autoptr(GPtrArray) exports = g_ptr_array_new_with_free_func(export_free);
    g_autofree uint8_t *d = NULL;
    uint32_t type, len;
    int ret = nbd_greet(fd);

    ret = ret ? ret : nbd_send_opt(fd, OPT_STRUCTURED, NULL, 0);
    ret = ret ? ret : nbd_get_reply(fd, &type, &d, &len);
    bool structured = !ret && type == REP_ACK;
    ret = ret ? ret : get_names(fd, exports);
    if (ret)
        return ret;
    fprintf(out, "exports available: %u\n", exports->len);
    for (guint i = 0; i < exports->len && !ret; i++) {
        const Export *e = g_ptr_array_index(exports, i);
        g_autofree char *shown = printable((const uint8_t *)e->name, strlen(e->name));
        fprintf(out, " export: '%s'\n", shown);
        if (e->description && *e->description)
            fprintf(out, "  description: %s\n", e->description);
        ret = print_details(fd, e, out);
        if (!ret && structured)
            ret = print_contexts(fd, e, out);
    }
    nbd_send_opt(fd, OPT_ABORT, NULL, 0);
    return ret;
}

bool nbd_list(const char *path, const char *host, const char *port, FILE *out, GError **err)
{
    int fd = nbd_dial(path, host, port, err), ret;

    if (fd < 0)
        return false;
    nbd_set_timeout(fd, LIST_SECONDS);
    ret = list_all(fd, out);
    close(fd);
    return !ret || err_set_errno(err, -ret, ret == -EACCES ? "the NBD server does not list its exports" : "NBD handshake");
}
