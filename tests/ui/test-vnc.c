/* test-vnc: the VNC server and the browser page as their clients, good and bad, see them. */
#include "ui/display.h"
#include "util/bytes.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#if HAVE_VNC
#include <rfb/rfb.h>

typedef struct Server { Ui *ui; Console *con; char *path; InputHandler *keyboard; int keys; } Server;

static void on_key(void *o, KeyCode k, bool down) { ((Server *)o)->keys += k == KEY_A && down; }
static const InputOps kbd = { .name = "k", .mask = INPUT_KEY, .key = on_key };

static Server *server_new(const char *more)
{
    Server *s = g_new0(Server, 1);
    g_autofree char *spec = NULL;
    g_autoptr(GError) err = NULL;

    s->path = g_strdup_printf("%s/quern-vnc-%d", g_get_tmp_dir(), (int)getpid());
    s->ui = ui_new();
    s->con = console_new(s->ui, "VGA", NULL, NULL);
    s->keyboard = input_add(s->ui, &kbd, s);
    console_resize(s->con, 320, 200);
    pixman_image_get_data(console_surface(s->con))[0] = 0x123456;
    spec = g_strdup_printf("unix:%s%s", s->path, more);
    g_assert_true(display_open_vnc(s->ui, spec, &err));
    g_assert_no_error(err);
    return s;
}
static void server_free(Server *s)
{
    input_del(s->keyboard);
    ui_free(s->ui);
    console_free(s->con);
    g_assert_cmpint(access(s->path, F_OK), !=, 0);
    g_free(s->path);
    g_free(s);
}
static int join(Server *s)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    struct timeval tv = { .tv_sec = 10 };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    g_strlcpy(sa.sun_path, s->path, sizeof sa.sun_path);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&sa, sizeof sa), ==, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    return fd;
}
static bool get(int fd, void *buf, size_t len)
{
    return recv(fd, buf, len, MSG_WAITALL) == (ssize_t)len;
}
static void put(int fd, const void *buf, size_t len)
{
    g_assert_cmpint(send(fd, buf, len, MSG_NOSIGNAL), ==, (ssize_t)len);
}
static void spin_until(bool (*done)(Server *), Server *s)
{
    for (int i = 0; i < 3000 && !done(s); i++) {
        while (g_main_context_iteration(NULL, FALSE))
            ;
        g_usleep(1000);
    }
    g_assert_true(done(s));
}
static bool key_came(Server *s) { return s->keys == 1; }

/* Up to the server's name; returns whether security let us in. */
static bool handshake(int fd, const char *password)
{
    uint8_t b[64], n, type = password ? 2 : 1, shared = 1;

    g_assert_true(get(fd, b, 12));
    put(fd, "RFB 003.008\n", 12);
    g_assert_true(get(fd, &n, 1) && n > 0 && get(fd, b, n));
    g_assert_nonnull(memchr(b, type, n));
    put(fd, &type, 1);
    if (password) {
        g_autofree char *pw = g_strdup(password);

        g_assert_true(get(fd, b, 16));
        rfbEncryptBytes(b, pw);
        put(fd, b, 16);
    }
    if (!get(fd, b, 4) || ld32_be(b) != 0)
        return false;
    put(fd, &shared, 1);
    g_assert_true(get(fd, b, 24));
    g_assert_cmpuint(ld16_be(b), ==, 320);
    g_assert_cmpuint(ld16_be(b + 2), ==, 200);
    g_assert_true(get(fd, b + 24, ld32_be(b + 20)));
    return true;
}

static void client_sees_pixels_and_types(void)
{
    Server *s = server_new("");
    static const uint8_t format[20] = { 0, 0, 0, 0, 32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0 };
    static const uint8_t request[10] = { 3, 0, 0, 0, 0, 0, 0, 2, 0, 1 }, raw[8] = { 2, 0, 0, 1, 0, 0, 0, 0 };
    static const uint8_t key[8] = { 4, 1, 0, 0, 0, 0, 0, 'a' };
    uint8_t b[64];
    int fd = join(s);
    struct stat st;

    g_assert_cmpint(stat(s->path, &st), ==, 0);
    g_assert_cmpint(st.st_mode & 0777, ==, 0600);
    g_assert_true(handshake(fd, NULL));
    put(fd, format, sizeof format);
    put(fd, raw, sizeof raw);
    put(fd, request, sizeof request);
    g_assert_true(get(fd, b, 4 + 12 + 8));
    g_assert_cmpuint(ld16_be(b + 2), ==, 1);
    g_assert_cmphex(ld32_le(b + 16) & 0xffffff, ==, 0x123456);
    put(fd, key, sizeof key);
    spin_until(key_came, s);
    close(fd);
    server_free(s);
}

static void password_locks_until_set(void)
{
    Server *s = server_new(",password=on");
    g_autoptr(GError) err = NULL;
    int fd = join(s);

    g_assert_false(handshake(fd, ""));          /* none set: nobody gets in */
    close(fd);
    g_assert_true(display_vnc_set_password(s->ui, "secret", &err));
    fd = join(s);
    g_assert_false(handshake(fd, "secreT"));
    close(fd);
    fd = join(s);
    g_assert_true(handshake(fd, "secret"));
    close(fd);
    server_free(s);
}

static bool told_size(int fd)
{
    uint8_t b[16];

    g_assert_true(get(fd, b, 4));
    g_assert_cmpuint(ld16_be(b + 2), ==, 1);
    g_assert_true(get(fd, b, 12));
    g_assert_cmpint((int32_t)ld32_be(b + 8), ==, -223);
    return ld16_be(b + 4) == 640 && ld16_be(b + 6) == 480;
}

/* The new size is told, and colours stay what they were. */
static void resize_keeps_colours(void)
{
    Server *s = server_new("");
    static const uint8_t format[20] = { 0, 0, 0, 0, 32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0 };
    static const uint8_t request[10] = { 3, 0, 0, 0, 0, 0, 0, 2, 0, 1 }, encs[12] = { 2, 0, 0, 2, 0, 0, 0, 0, 255, 255, 255, 33 };
    uint8_t b[32];
    int fd = join(s);

    g_assert_true(handshake(fd, NULL));
    put(fd, format, sizeof format);
    put(fd, encs, sizeof encs);
    put(fd, request, sizeof request);
    g_assert_true(get(fd, b, 4 + 12 + 8));
    console_resize(s->con, 640, 480);
    for (int i = 0; i < 640 * 480; i++)
        pixman_image_get_data(console_surface(s->con))[i] = 0x123456;
    console_damage(s->con, 0, 0, 640, 480);
    for (int i = 0; i < 400; i++) {
        while (g_main_context_iteration(NULL, FALSE))
            ;
        g_usleep(1000);
    }
    put(fd, request, sizeof request);
    g_assert_true(told_size(fd));
    put(fd, request, sizeof request);
    g_assert_true(get(fd, b, 4 + 12 + 8));
    g_assert_cmphex(ld32_le(b + 16) & 0xffffff, ==, 0x123456);
    close(fd);
    server_free(s);
}

/* One message that may be right, half right or noise; its length. */
static size_t hostile_message(uint8_t *b, size_t room)
{
    static const uint8_t types[] = { 0, 2, 3, 4, 5, 6, 8, 9, 10, 11, 248, 250, 251, 252, 255, 1, 7 };
    static const int32_t encs[] = { 0, 1, 2, 4, 5, 6, 7, 16, 17, -223, -224, -239, -240, -232, -26, -256, -247, -308, -305, -257, -258 };
    size_t n = g_test_rand_int_range(8, 24);

    for (size_t i = 0; i < room; i++)
        b[i] = g_test_rand_int() >> 7;
    b[0] = types[g_test_rand_int_range(0, g_test_rand_int_range(0, 3) ? 5 : G_N_ELEMENTS(types))];
    switch (b[0]) {
    case 0:
        b[4] = 8 << g_test_rand_int_range(0, 3);
        return 20;
    case 2:
        b[2] = 0;
        b[3] = g_test_rand_int_range(0, 12);
        for (int i = 0; i < b[3]; i++)
            st32_be(b + 4 + 4 * i, encs[g_test_rand_int_range(0, G_N_ELEMENTS(encs))]);
        return 4 + 4 * b[3];
    case 3:
        return 10;
    case 4:
        return 8;
    case 5:
        return 6;
    case 6:
        st32_be(b + 4, n - 8);
        return n;
    default:
        return n;
    }
}

static void enter(int fd)
{
    uint8_t b[64], one = 1;

    if (!get(fd, b, 12) || send(fd, "RFB 003.008\n", 12, MSG_NOSIGNAL) != 12 || !get(fd, b, 2) ||
        send(fd, &one, 1, MSG_NOSIGNAL) != 1 || !get(fd, b, 4) || send(fd, &one, 1, MSG_NOSIGNAL) != 1 || !get(fd, b, 24))
        return;
    (void)!get(fd, b, MIN(ld32_be(b + 20), sizeof b));
}

/* Viewers that say anything, while the screen changes its size and contents. */
static void hostile_viewers(void)
{
    Server *s = server_new("");
    int64_t end = g_get_monotonic_time() + 2500000;

    for (unsigned turn = 0; g_get_monotonic_time() < end; turn++) {
        uint8_t b[256], sink[65536];
        int fd = join(s);

        if (turn % 4)
            enter(fd);
        for (int i = 0; i < 60; i++) {
            size_t n = hostile_message(b, sizeof b);

            if (send(fd, b, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
                break;
            if (i % 8 == 0) {
                console_resize(s->con, 8 + (turn * 37 + i) % 900, 8 + (turn * 11 + i) % 700);
                console_damage(s->con, 0, 0, 2000, 2000);
                g_main_context_iteration(NULL, FALSE);
                while (recv(fd, sink, sizeof sink, MSG_DONTWAIT) > 0)
                    ;
                g_usleep(500);
            }
        }
        console_resize(s->con, 320, 200);
        for (int i = 0; i < 5; i++)
            g_main_context_iteration(NULL, FALSE);
        close(fd);
    }
    server_free(s);
}

/* A client that goes away after each byte of a whole conversation. */
static void cut_connections_do_no_harm(void)
{
    static const uint8_t talk[] = { 'R', 'F', 'B', ' ', '0', '0', '3', '.', '0', '0', '8', '\n', 1, 1,
        0, 0, 0, 0, 32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0, 2, 0, 0, 1, 0, 0, 0, 0,
        3, 0, 0, 0, 0, 0, 1, 0x40, 0, 200, 6, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3 };
    Server *s = server_new("");
    int fd;

    for (unsigned n = 0; n <= sizeof talk; n += 3) {
        fd = join(s);
        if (send(fd, talk, n, MSG_NOSIGNAL) < 0)
            g_test_message("closed early");
        close(fd);
        while (g_main_context_iteration(NULL, FALSE))
            ;
    }
    fd = join(s);
    g_assert_true(handshake(fd, NULL));
    close(fd);
    server_free(s);
}

/* ---- the page ---- */

static char *ask(int port, const char *request)
{
    struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct timeval tv = { .tv_sec = 10 };
    GString *all = g_string_new(NULL);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    char buf[4096];
    ssize_t n;

    g_assert_cmpint(connect(fd, (struct sockaddr *)&sa, sizeof sa), ==, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    put(fd, request, strlen(request));
    while (all->len < 200 && (n = recv(fd, buf, sizeof buf, 0)) > 0)
        g_string_append_len(all, buf, n);
    close(fd);
    return g_string_free(all, FALSE);
}

static void page_opens_once_and_guards_its_socket(void)
{
    Ui *ui = ui_new();
    Console *con = console_new(ui, "VGA", NULL, NULL);
    g_autofree char *info = NULL, *no = NULL, *bad = NULL, *ws = NULL;
    g_autoptr(GError) err = NULL;
    int port;

    g_assert_true(display_open(ui, "web", &err));
    info = display_vnc_describe(ui);
    port = atoi(strstr(info, "127.0.0.1:") + 10);
    no = ask(port, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    g_assert_nonnull(strstr(no, "403"));
    bad = ask(port, "GET /?token=00000000000000000000000000000000 HTTP/1.1\r\nHost: x\r\n\r\n");
    g_assert_nonnull(strstr(bad, "403"));
    g_assert_null(strstr(bad, "<canvas"));
    ws = ask(port, "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nOrigin: http://x\r\n"
                   "Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\nSec-WebSocket-Version: 13\r\n\r\n");
    g_assert_nonnull(strstr(ws, "403"));
    ui_free(ui);
    console_free(con);
}

static int join_port(int port)
{
    struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (connect(fd, (struct sockaddr *)&sa, sizeof sa) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Frames of any kind, length and mask behind a right and a wrong upgrade. */
static void hostile_websockets(void)
{
    static const char upgrade[] = "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nOrigin: http://x\r\n"
        "Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: binary\r\n\r\n";
    int port = 20000 + getpid() % 20000;
    g_autofree char *spec = g_strdup_printf("127.0.0.1:%d,websocket=%d", port - 5900, port + 1);
    Ui *ui = ui_new();
    Console *con = console_new(ui, "VGA", NULL, NULL);
    g_autoptr(GError) err = NULL;
    int64_t end = g_get_monotonic_time() + 1500000;

    if (!display_open_vnc(ui, spec, &err)) {
        g_test_skip(err->message);
        end = 0;
    }
    while (g_get_monotonic_time() < end) {
        int fd = join_port(port + 1);
        uint8_t b[300], sink[4096];

        g_assert_cmpint(fd, >=, 0);
        (void)!send(fd, upgrade, sizeof upgrade - 1 - (g_test_rand_int_range(0, 4) ? 0 : g_test_rand_int_range(1, 150)), MSG_NOSIGNAL);
        g_usleep(2000);
        for (int i = 0; i < 20; i++) {
            size_t n = hostile_message(b + 14, 200), head = 6;

            b[14 - head] = 0x80 | (g_test_rand_int_range(0, 3) ? 2 : g_test_rand_int_range(0, 16));
            b[15 - head] = g_test_rand_int_range(0, 4) ? 0x80 | n : g_test_rand_int();
            memset(b + 16 - head, 0, 4);
            if (i == 0)
                memcpy(b + 14, "RFB 003.008\n", 12);
            if (send(fd, b + 14 - head, n + head, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
                break;
            while (recv(fd, sink, sizeof sink, MSG_DONTWAIT) > 0)
                ;
            g_main_context_iteration(NULL, FALSE);
        }
        close(fd);
    }
    ui_free(ui);
    console_free(con);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vnc/client", client_sees_pixels_and_types);
    g_test_add_func("/vnc/password", password_locks_until_set);
    g_test_add_func("/vnc/resize", resize_keeps_colours);
    g_test_add_func("/vnc/cuts", cut_connections_do_no_harm);
    g_test_add_func("/vnc/hostile", hostile_viewers);
    g_test_add_func("/vnc/hostile-websockets", hostile_websockets);
    g_test_add_func("/vnc/page", page_opens_once_and_guards_its_socket);
    return g_test_run();
}
#else
int main(void)
{
    return 77;
}
#endif
