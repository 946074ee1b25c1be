/* test-chardev: streams, back-pressure, the multiplexer's keys, telnet, the short option forms. */
#include "chardev/chardev.h"
#include "util/bytes.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

typedef struct Front {
    ChardevFe fe;
    GString *in, *events;
    size_t room;
    int writable;
} Front;

static size_t front_room(void *o) { return ((Front *)o)->room; }
static void front_receive(void *o, const uint8_t *b, size_t n)
{
    Front *f = o;

    g_assert_cmpuint(n, <=, f->room);
    g_string_append_len(f->in, (const char *)b, n);
}
static void front_event(void *o, ChrEvent e) { g_string_append_c(((Front *)o)->events, "OCBio"[e]); }
static void front_writable(void *o) { ((Front *)o)->writable++; }
static const ChardevFeOps front_ops = { front_room, front_receive, front_event, front_writable };

static Front *front_new(Chardev *c)
{
    Front *f = g_new0(Front, 1);

    f->in = g_string_new("");
    f->events = g_string_new("");
    f->room = 1000;
    g_assert_true(chr_attach(&f->fe, c, &front_ops, f, NULL));
    return f;
}
static void front_free(Front *f)
{
    chr_detach(&f->fe);
    g_string_free(f->in, TRUE);
    g_string_free(f->events, TRUE);
    g_free(f);
}
static void spin(void)
{
    for (int i = 0; i < 20; i++) {
        while (g_main_context_iteration(NULL, FALSE))
            ;
        g_usleep(500);
    }
}
static int client(const char *path)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    g_strlcpy(sa.sun_path, path, sizeof sa.sun_path);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&sa, sizeof sa), ==, 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}
static char *temp_path(void) { return g_strdup_printf("%s/quern-chr-%d", g_get_tmp_dir(), (int)getpid()); }

typedef struct Net { ChardevSet *set; Chardev *chr; int fd; char *path; int quits; } Net;
static void on_quit(void *o) { ((Net *)o)->quits++; }
static Net *net_new(const char *more)
{
    Net *n = g_new0(Net, 1);
    ChardevHooks hooks = { .quit = on_quit, .opaque = n };
    g_autofree char *path = temp_path();
    g_autofree char *spec = g_strdup_printf("socket,id=s,path=%s,server=on,wait=off%s", path, more);
    g_autoptr(GError) err = NULL;

    n->set = chardevs_new(&hooks);
    n->chr = chardev_parse(n->set, spec, &err);
    g_assert_no_error(err);
    n->path = g_strdup(path);
    n->fd = client(path);
    return n;
}
static void net_free(Net *n)
{
    if (n->fd >= 0)
        close(n->fd);
    chardevs_free(n->set);
    g_assert_cmpint(access(n->path, F_OK), !=, 0);
    g_free(n->path);
    g_free(n);
}
static char *net_read(Net *n)
{
    char buf[4096];
    ssize_t r = read(n->fd, buf, sizeof buf);

    return g_strndup(buf, MAX(r, 0));
}

static void socket_carries_both_ways(void)
{
    Net *n = net_new("");
    Front *f = front_new(n->chr);

    g_assert_cmpuint(chr_write(&f->fe, "lost", 4), ==, 4);      /* nobody connected yet */
    spin();
    g_assert_cmpstr(f->events->str, ==, "O");
    g_assert_cmpuint(chr_write(&f->fe, "hello", 5), ==, 5);
    g_autofree char *got = net_read(n);
    g_assert_cmpstr(got, ==, "hello");
    g_assert_cmpint(write(n->fd, "abc", 3), ==, 3);
    spin();
    g_assert_cmpstr(f->in->str, ==, "abc");
    close(n->fd);
    n->fd = -1;
    spin();
    g_assert_cmpstr(f->events->str, ==, "OC");
    n->fd = client(n->path);                                    /* a second client may come */
    spin();
    g_assert_cmpstr(f->events->str, ==, "OCO");
    front_free(f);
    net_free(n);
}

static void input_waits_for_room(void)
{
    Net *n = net_new("");
    Front *f = front_new(n->chr);

    f->room = 0;
    g_assert_cmpint(write(n->fd, "abc", 3), ==, 3);
    spin();
    g_assert_cmpuint(f->in->len, ==, 0);
    f->room = 2;
    chr_accept_input(&f->fe);
    g_assert_cmpuint(f->in->len, ==, 0);                        /* never from inside the call */
    spin();
    g_assert_cmpstr(f->in->str, ==, "abc");
    front_free(f);
    net_free(n);
}

static void output_stops_at_slow_reader(void)
{
    Net *n = net_new("");
    Front *f = front_new(n->chr);
    static uint8_t big[1 << 20];

    spin();
    while (chr_write(&f->fe, big, sizeof big) == sizeof big)
        ;
    g_assert_cmpint(f->writable, ==, 0);
    while (read(n->fd, big, sizeof big) > 0)
        ;
    spin();
    g_assert_cmpint(f->writable, ==, 1);
    front_free(f);
    net_free(n);
}

static void mux_keys_switch_and_quit(void)
{
    Net *n = net_new(",mux=on");
    Front *a = front_new(n->chr), *b = front_new(n->chr);

    spin();
    g_assert_cmpstr(a->events->str, ==, "Oi");
    g_assert_cmpint(write(n->fd, "1\001c2\001\0013\001b\001x", 11), ==, 11);
    spin();
    g_assert_cmpstr(a->in->str, ==, "1");
    g_assert_cmpstr(b->in->str, ==, "2\0013");
    g_assert_cmpstr(a->events->str, ==, "Oio");
    g_assert_cmpint(n->quits, ==, 1);
    g_assert_nonnull(strchr(b->events->str, 'B'));
    g_assert_cmpuint(chr_write(&a->fe, "A", 1), ==, 1);         /* both are heard */
    g_assert_cmpuint(chr_write(&b->fe, "B", 1), ==, 1);
    g_autofree char *got = net_read(n);
    g_assert_true(g_str_has_suffix(got, "AB"));
    front_free(b);
    g_assert_cmpint(write(n->fd, "4", 1), ==, 1);               /* focus fell back to a */
    spin();
    g_assert_cmpstr(a->in->str, ==, "14");
    front_free(a);
    net_free(n);
}

static void mux_escape_works_while_guest_sleeps(void)
{
    Net *n = net_new(",mux=on");
    Front *a = front_new(n->chr);

    a->room = 0;
    for (int i = 0; i < 200; i++)
        g_assert_cmpint(write(n->fd, "typed ahead", 11), ==, 11);
    spin();
    g_assert_cmpint(write(n->fd, "\001x", 2), ==, 2);
    spin();
    g_assert_cmpint(n->quits, ==, 1);
    a->room = 1 << 20;
    chr_accept_input(&a->fe);
    spin();
    g_assert_cmpuint(a->in->len, ==, 2200);
    front_free(a);
    net_free(n);
}

static void telnet_strips_and_quotes(void)
{
    Net *n = net_new(",telnet=on");
    Front *f = front_new(n->chr);
    char buf[64];

    spin();
    g_assert_cmpint(read(n->fd, buf, sizeof buf), ==, 12);      /* the negotiation */
    g_assert_cmpint(write(n->fd, "a\xff\xfd\x01" "b\xff\xffz\xff\xf3\xff\xfa\x18\x01\xff\xf0" "c", 17), ==, 17);
    spin();
    g_assert_cmpstr(f->in->str, ==, "ab\xffzc");
    g_assert_nonnull(strchr(f->events->str, 'B'));
    g_assert_cmpuint(chr_write(&f->fe, "x\xffy", 3), ==, 3);
    g_assert_cmpint(read(n->fd, buf, sizeof buf), ==, 4);
    g_assert_cmpint(memcmp(buf, "x\xff\xffy", 4), ==, 0);
    front_free(f);
    net_free(n);
}

static void ringbuf_keeps_the_last_bytes(void)
{
    ChardevSet *set = chardevs_new(NULL);
    Chardev *c = chardev_parse(set, "ringbuf,id=r,size=8", NULL);
    Front *f = front_new(c);
    g_autoptr(GByteArray) out = g_byte_array_new();

    chr_write_all(&f->fe, "0123456789", 10);
    g_assert_true(chardev_ringbuf_read(c, out, 100, NULL));
    g_assert_cmpuint(out->len, ==, 8);
    g_assert_cmpint(memcmp(out->data, "23456789", 8), ==, 0);
    g_assert_false(chardev_remove(set, "r", NULL));             /* in use */
    front_free(f);
    g_assert_true(chardev_remove(set, "r", NULL));
    chardevs_free(set);
}

static void file_and_logfile_get_the_output(void)
{
    ChardevSet *set = chardevs_new(NULL);
    g_autofree char *path = temp_path(), *log = g_strconcat(path, ".log", NULL), *text = NULL, *text2 = NULL;
    g_autofree char *spec = g_strdup_printf("file,id=f,path=%s,logfile=%s", path, log);
    Front *f = front_new(chardev_parse(set, spec, NULL));

    chr_write_all(&f->fe, "line\n", 5);
    front_free(f);
    chardevs_free(set);
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_true(g_file_get_contents(log, &text2, NULL, NULL));
    g_assert_cmpstr(text, ==, "line\n");
    g_assert_cmpstr(text2, ==, "line\n");
    unlink(path);
    unlink(log);
}

static void check_error(ChardevSet *set, const char *spec, const char *part)
{
    g_autoptr(GError) err = NULL;

    g_assert_null(chardev_parse_short(set, "x", spec, NULL, &err));
    g_assert_nonnull(err);
    if (!strstr(err->message, part))
        g_error("'%s' not in '%s'", part, err->message);
}

static void short_forms_parse_or_explain(void)
{
    ChardevSet *set = chardevs_new(NULL);
    g_autoptr(GError) err = NULL;
    bool mon;

    g_assert_null(chardev_parse_short(set, "a", "none", &mon, &err));
    g_assert_no_error(err);
    g_assert_nonnull(chardev_parse_short(set, "b", "mon:null", &mon, &err));
    g_assert_true(mon);
    g_assert_nonnull(chardev_parse_short(set, "c", "chardev:b", &mon, &err));
    check_error(set, "nul", "null");
    check_error(set, "tcp:1234", "HOST:PORT");
    check_error(set, "unix:/nonexistent/dir/x,server=on,wait=off", "No such file");
    check_error(set, "chardev:zz", "zz");
    check_error(set, "tcp:localhost:1,serverr", "server");
    check_error(set, "null,colour=1", "colour");
    chardevs_free(set);
}

static void pty_opens_when_somebody_does(void)
{
    ChardevSet *set = chardevs_new(NULL);
    g_autofree char *link = temp_path(), *spec = g_strdup_printf("pty,id=p,path=%s", link);
    Front *f;
    int fd;
    char buf[8];

    f = front_new(chardev_parse(set, spec, NULL));
    spin();
    g_assert_cmpstr(f->events->str, ==, "");
    fd = open(link, O_RDWR | O_NOCTTY);
    g_assert_cmpint(fd, >=, 0);
    for (int i = 0; i < 50 && !f->events->len; i++)
        spin();
    g_assert_cmpstr(f->events->str, ==, "O");
    g_assert_cmpint(write(fd, "hi", 2), ==, 2);
    spin();
    g_assert_cmpstr(f->in->str, ==, "hi");
    chr_write_all(&f->fe, "yo", 2);
    g_assert_cmpint(read(fd, buf, sizeof buf), ==, 2);
    close(fd);
    spin();
    g_assert_cmpstr(f->events->str, ==, "OC");
    front_free(f);
    chardevs_free(set);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/chardev/socket-both-ways", socket_carries_both_ways);
    g_test_add_func("/chardev/input-waits", input_waits_for_room);
    g_test_add_func("/chardev/output-stops", output_stops_at_slow_reader);
    g_test_add_func("/chardev/mux-keys", mux_keys_switch_and_quit);
    g_test_add_func("/chardev/mux-escape", mux_escape_works_while_guest_sleeps);
    g_test_add_func("/chardev/telnet", telnet_strips_and_quotes);
    g_test_add_func("/chardev/ringbuf", ringbuf_keeps_the_last_bytes);
    g_test_add_func("/chardev/file", file_and_logfile_get_the_output);
    g_test_add_func("/chardev/short-forms", short_forms_parse_or_explain);
    g_test_add_func("/chardev/pty", pty_opens_when_somebody_does);
    return g_test_run();
}
