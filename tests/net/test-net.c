/* test-net: plugging, back-pressure, the slirp frame filter, the user network's options. */
#include "net/net.h"
#include "net/slirp_guard.h"
#include "util/bytes.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/socket.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

typedef struct Sink {
    bool ready;
    unsigned got, writable;
} Sink;

static bool sink_receive(void *opaque, const uint8_t *frame, size_t len)
{
    Sink *s = opaque;

    s->got += s->ready;
    return s->ready;
}

static void sink_writable(void *opaque)
{
    ((Sink *)opaque)->writable++;
}

static const NetPortOps sink_ops = { .receive = sink_receive, .writable = sink_writable };

static void busy_receiver_stops_sender_then_wakes_it(void)
{
    Sink a = { true }, b = { false };
    NetPort *pa = net_port_new("test", "a", &sink_ops, &a), *pb = net_port_new("test", "b", &sink_ops, &b);
    uint8_t frame[60] = { 0 };
    unsigned sent = 0;

    g_assert_true(net_port_plug(pa, pb, NULL));
    while (net_send(pa, frame, sizeof frame))
        sent++;
    sent++;
    g_assert_cmpuint(sent, <=, NET_QUEUE_MAX);
    g_assert_cmpuint(b.got, ==, 0);
    b.ready = true;
    net_port_ready(pb);
    g_assert_cmpuint(b.got, ==, sent);
    g_assert_cmpuint(a.writable, ==, 1);
    net_port_free(pa);
    net_port_free(pb);
}

typedef struct Pump {
    NetPort *port;
    unsigned left, got;
    bool ready;
} Pump;

static bool pump_receive(void *opaque, const uint8_t *frame, size_t len)
{
    Pump *p = opaque;

    p->got += p->ready;
    if (p->ready)
        net_port_ready(p->port);        /* as a stream does whose socket took the frame whole */
    return p->ready;
}

static void pump_send(void *opaque)
{
    static const uint8_t frame[60];
    Pump *p = opaque;

    while (p->left && p->left-- && net_send(p->port, frame, sizeof frame))
        ;
}

/* A sender that refills the queue as soon as it is woken: every frame arrives, though no further event comes. */
static void woken_sender_loses_no_wakeup(void)
{
    static const NetPortOps sender = { .receive = sink_receive, .writable = pump_send }, taker = { .receive = pump_receive };
    Pump a = { .left = 20000 }, b = { .ready = false };

    a.port = net_port_new("test", "a", &sender, &a);
    b.port = net_port_new("test", "b", &taker, &b);
    g_assert_true(net_port_plug(a.port, b.port, NULL));
    pump_send(&a);
    b.ready = true;
    net_port_ready(b.port);
    for (int i = 0; i < 2000 && b.got < 20000; i++)
        g_main_context_iteration(NULL, FALSE);
    g_assert_cmpuint(b.got, ==, 20000);
    net_port_free(a.port);
    net_port_free(b.port);
}

static void link_down_drops_frames(void)
{
    Sink a = { true }, b = { true };
    NetPort *pa = net_port_new("test", "a", &sink_ops, &a), *pb = net_port_new("test", "b", &sink_ops, &b);
    uint8_t frame[60] = { 0 };

    g_assert_true(net_port_plug(pa, pb, NULL));
    net_port_set_link(pb, false);
    g_assert_true(net_send(pa, frame, sizeof frame));
    g_assert_cmpuint(b.got, ==, 0);
    net_port_set_link(pb, true);
    g_assert_true(net_send(pa, frame, sizeof frame));
    g_assert_cmpuint(b.got, ==, 1);
    net_port_free(pa);
    net_port_free(pb);
}

/* Held until the interval is over; nothing is lost when the filter goes. */
static void buffer_holds_frames_for_its_interval(void)
{
    Sink a = { true }, b = { true };
    NetPort *pa = net_port_new("test", "a", &sink_ops, &a), *pb = net_port_new("test", "b", &sink_ops, &b);
    uint8_t frame[60] = { 0 };

    g_assert_true(net_port_plug(pa, pb, NULL));
    g_assert_true(net_buffer_attach(pa, 20000, true, false, NULL));
    g_assert_false(net_buffer_attach(pa, 20000, true, false, NULL));
    net_send(pa, frame, sizeof frame);          /* the way it does not watch */
    g_assert_cmpuint(b.got, ==, 1);
    for (int i = 0; i < 5000; i++)
        net_send(pb, frame, sizeof frame);
    g_assert_cmpuint(a.got, ==, 0);
    while (!a.got)
        g_main_context_iteration(NULL, TRUE);
    g_assert_cmpuint(a.got, <, 5000);           /* bounded */
    a.got = 0;
    net_send(pb, frame, sizeof frame);
    net_buffer_detach(pa);
    g_assert_cmpuint(a.got, ==, 1);
    net_send(pb, frame, sizeof frame);
    g_assert_cmpuint(a.got, ==, 2);
    net_port_free(pa);
    net_port_free(pb);
}

typedef struct Echo { NetPort *port; unsigned got; } Echo;

static bool echo_receive(void *opaque, const uint8_t *frame, size_t len)
{
    Echo *e = opaque;

    e->got++;
    net_send(e->port, frame, len);
    return true;
}

/* Two ends that answer each frame at once: one way in an interval. */
static void buffer_holds_answers_too(void)
{
    static const NetPortOps ops = { .receive = echo_receive };
    Echo a = { .got = 0 }, b = { .got = 0 };
    uint8_t frame[60] = { 0 };

    a.port = net_port_new("test", "a", &ops, &a);
    b.port = net_port_new("test", "b", &ops, &b);
    g_assert_true(net_port_plug(a.port, b.port, NULL));
    g_assert_true(net_buffer_attach(a.port, 1000, true, true, NULL));
    net_send(a.port, frame, sizeof frame);
    for (unsigned n = 1; n <= 4; n++) {
        while (a.got + b.got < n)
            g_main_context_iteration(NULL, TRUE);
        g_assert_cmpuint(a.got + b.got, ==, n);
    }
    net_port_set_link(a.port, false);           /* else they would now go on without a pause */
    net_port_free(a.port);
    net_port_free(b.port);
}

/* 100 kB/s: a hundred frames of 1000 bytes take a second, in order; the queue is bounded; nothing is lost when it goes. */
static void throttle_lets_frames_go_at_its_rate(void)
{
    Sink a = { true }, b = { true };
    NetPort *pa = net_port_new("test", "a", &sink_ops, &a), *pb = net_port_new("test", "b", &sink_ops, &b);
    NetThrottleLimits limits = { .rate = 100000, .burst = 2000, .frames = 30 };
    uint8_t frame[1000] = { 0 };
    int64_t start;

    g_assert_true(net_port_plug(pa, pb, NULL));
    g_assert_false(net_throttle_attach(pa, &(NetThrottleLimits) { .rate = 0, .frames = 1 }, true, true, NULL));
    g_assert_true(net_throttle_attach(pa, &limits, true, false, NULL));
    g_assert_false(net_throttle_attach(pa, &limits, true, false, NULL));
    net_send(pa, frame, sizeof frame);          /* the way it does not watch */
    g_assert_cmpuint(b.got, ==, 1);
    start = g_get_monotonic_time();
    for (int i = 0; i < 100; i++)
        g_assert_true(net_send(pb, frame, sizeof frame));
    g_assert_cmpuint(a.got, >=, 2);             /* the burst */
    g_assert_cmpuint(a.got, <, 20);
    while (a.got < 32)
        g_main_context_iteration(NULL, TRUE);
    g_assert_cmpint(g_get_monotonic_time() - start, >=, 290000);
    g_assert_cmpuint(pa->dropped, >=, 60);
    a.got = 0;
    for (int i = 0; i < 5; i++)
        net_send(pb, frame, sizeof frame);
    net_throttle_detach(pa);
    g_assert_cmpuint(a.got, ==, 5);
    net_send(pb, frame, sizeof frame);
    g_assert_cmpuint(a.got, ==, 6);
    net_port_free(pa);
    net_port_free(pb);
}

static void card_announce(void *opaque, uint8_t mac[NET_MAC_LEN])
{
    memcpy(mac, "\x52\x54\x00\x01\x02\x03", NET_MAC_LEN);
}

static void card_announces_itself_in_rounds(void)
{
    static const NetPortOps card_ops = { .receive = sink_receive, .announce = card_announce };
    static const NetAnnouncePlan plan = { .initial_ms = 1, .max_ms = 5, .rounds = 4, .step_ms = 2 };
    Sink a = { true }, b = { true };
    NetPort *card = net_port_new("nic", "a", &card_ops, &a), *wire = net_port_new("test", "b", &sink_ops, &b);

    g_assert_true(net_port_plug(card, wire, NULL));
    g_assert_false(net_announce(wire, &plan));
    g_assert_true(net_announce(card, &plan));
    g_assert_cmpuint(b.got, ==, 1);
    while (b.got < 4)
        g_main_context_iteration(NULL, TRUE);
    g_assert_null(card->announce);
    g_assert_true(net_announce(card, &plan));
    net_port_free(card);                        /* in the middle of it */
    net_port_free(wire);
}

static uint16_t sum16(const uint8_t *p, size_t n, uint32_t s)
{
    for (size_t i = 0; i + 1 < n; i += 2)
        s += ld16_be(p + i);
    while (s >> 16)
        s = (s & 0xffff) + (s >> 16);
    return s;
}

static void make_tcp(uint8_t f[54])
{
    memset(f, 0, 54);
    st16_be(f + 12, 0x0800);
    f[14] = 0x45;
    st16_be(f + 16, 40);
    f[23] = 6;
    f[46] = 0x50;
    f[47] = 0x20 | 0x10;
    st16_be(f + 52, 0x4242);
    st16_be(f + 50, ~sum16(f + 34, 20, 0));
}

static void guard_clears_tcp_urgent_and_keeps_checksum(void)
{
    uint8_t f[54];
    const char *why;

    make_tcp(f);
    g_assert_true(slirp_guard(f, sizeof f, &why));
    g_assert_cmpuint(f[47], ==, 0x10);
    g_assert_cmpuint(ld16_be(f + 52), ==, 0);
    g_assert_cmpuint(sum16(f + 34, 20, 0), ==, 0xffff);
}

static void guard_drops_lying_lengths(void)
{
    uint8_t f[54];
    const char *why;
    static const struct { int at, val; } lies[] = {
        { 14, 0x44 }, { 14, 0x4f }, { 16, 0xff }, { 46, 0x40 }, { 46, 0xf0 }, { 14, 0x65 },
    };

    for (size_t i = 0; i < ARRAY_LEN(lies); i++) {
        make_tcp(f);
        f[lies[i].at] = lies[i].val;
        g_assert_false(slirp_guard(f, sizeof f, &why));
    }
    for (size_t n = 0; n < 54; n++) {
        make_tcp(f);
        g_assert_false(slirp_guard(f, n, &why));
    }
}

/* One case a row: protocol, UDP destination port, IP total length, transport length field (UDP), fragment word, verdict. */
static void guard_knows_each_protocol(void)
{
    static const struct { const char *what; int proto, port, total, ulen, frag; bool passes; } cases[] = {
        { "UDP", 17, 53, 40, 20, 0, true }, { "UDP header cut short", 17, 53, 27, 8, 0, false },
        { "UDP length below its header", 17, 53, 40, 7, 0, false }, { "UDP length past the packet", 17, 53, 40, 21, 0, false },
        { "UDP port 0", 17, 0, 40, 20, 0, false }, { "DHCP cut short", 17, 67, 40, 20, 0, false },
        { "DHCP one byte short", 17, 67, 28 + 235, 8 + 235, 0, false }, { "DHCP", 17, 67, 28 + 240, 8 + 240, 0, true },
        { "TFTP cut short", 17, 69, 31, 11, 0, false }, { "TFTP", 17, 69, 40, 20, 0, true },
        { "ICMP cut short", 1, 0, 27, 0, 0, false }, { "ICMP", 1, 0, 28, 0, 0, true },
        { "first fragment without a header", 17, 53, 24, 8, 0x2000, false }, { "last fragment", 17, 53, 40, 20, 0x0010, true },
        { "fragment beyond 64 KiB", 17, 53, 300, 20, 0x1fff, false }, { "TCP header cut short", 6, 80, 39, 0, 0, false },
        { "total length past the frame", 17, 53, 301, 20, 0, false }, { "total length below the header", 17, 53, 19, 20, 0, false },
    };
    uint8_t f[14 + 300];
    const char *why;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        memset(f, 0, sizeof f);
        st16_be(f + 12, 0x0800);
        f[14] = 0x45;
        st16_be(f + 16, cases[i].total);
        st16_be(f + 20, cases[i].frag);
        f[23] = cases[i].proto;
        st16_be(f + 36, cases[i].port);
        st16_be(f + 38, cases[i].ulen);
        g_test_message("%s", cases[i].what);
        g_assert_true(slirp_guard(f, sizeof f, &why) == cases[i].passes);
    }
    memset(f, 0, sizeof f);
    st16_be(f + 12, 0x0806);
    g_assert_false(slirp_guard(f, 14 + 27, &why));      /* ARP */
    g_assert_true(slirp_guard(f, 14 + 28, &why));
    st16_be(f + 12, 0x8100);
    g_assert_false(slirp_guard(f, sizeof f, &why));     /* neither IP nor ARP */
    st16_be(f + 12, 0x86dd);
    f[14] = 0x60;
    f[20] = 17;
    st16_be(f + 18, 261);
    g_assert_false(slirp_guard(f, sizeof f, &why));     /* IPv6 payload past the frame */
}

static void guard_survives_random_frames(void)
{
    uint8_t f[128];
    const char *why;

    for (int i = 0; i < 200000; i++) {
        size_t n = g_test_rand_int_range(0, sizeof f);

        for (size_t k = 0; k < n; k++)
            f[k] = g_test_rand_int();
        if (n > 14 && i % 2)
            st16_be(f + 12, i % 4 < 2 ? 0x0800 : 0x86dd);
        slirp_guard(f, n, &why);
    }
}

static void user_network_checks_its_options(void)
{
    static const char *const bad[] = {
        "user,net=1.2.3", "user,hostfwd=tcp::x-:22", "user,hostfwd=tcp::1", "user,hostname=a,bogus=1",
        "user,dns=10.9.9.9", "user,tftp=/no/such/folder", "usr", "user,guestfwd=udp:1", "user,net=10.0.0.0/40",
    };
    g_autoptr(GError) err = NULL;
    g_autoptr(OptList) good = optlist_parse("user,id=n0,net=192.168.7.0/24,hostfwd=tcp:127.0.0.1:0-:22", "type", NULL);
    NetPort *p = net_backend_new(good, &err);
    g_autofree char *text = NULL;

    g_assert_no_error(err);
    text = p->ops->describe(p->opaque);
    g_assert_cmpstr(text, ==, "type=user,net=192.168.7.0,restrict=off");
    net_port_free(p);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        g_autoptr(OptList) o = optlist_parse(bad[i], "type", NULL);
        g_autoptr(GError) e = NULL;

        g_assert_null(net_backend_new(o, &e));
        g_assert_nonnull(e);
    }
}

/* A DHCP DISCOVER goes in, an OFFER comes back: slirp runs behind the door, here or in its helper. */
static void user_network_answers_dhcp(gconstpointer options)
{
    g_autoptr(OptList) o = optlist_parse(options, "type", NULL);
    NetPort *p = net_backend_new(o, NULL);
    Sink nic = { true };
    NetPort *n = net_port_new("test", "nic", &sink_ops, &nic);
    uint8_t f[14 + 20 + 8 + 244] = { 0 };

    g_assert_true(net_port_plug(p, n, NULL));
    memset(f, 0xff, 6);
    f[6] = 0x52;
    st16_be(f + 12, 0x0800);
    f[14] = 0x45;
    st16_be(f + 16, sizeof f - 14);
    f[22] = 64;
    f[23] = 17;
    st32_be(f + 30, 0xffffffff);
    st16_be(f + 24, ~sum16(f + 14, 20, 0));
    st16_be(f + 34, 68);
    st16_be(f + 36, 67);
    st16_be(f + 38, 8 + 244);
    f[42] = 1;
    f[43] = 1;
    f[44] = 6;
    f[42 + 28] = 0x52;
    st32_be(f + 42 + 236, 0x63825363);
    f[42 + 240] = 53;
    f[42 + 241] = 1;
    f[42 + 242] = 1;
    f[42 + 243] = 0xff;
    net_send(n, f, sizeof f);
    for (int i = 0; i < 2000 && !nic.got; i++) {
        g_main_context_iteration(NULL, FALSE);
        g_usleep(1000);
    }
    g_assert_cmpuint(nic.got, >=, 1);
    net_port_free(n);
    net_port_free(p);
}

static void socket_pair_carries_frames(void)
{
    g_autoptr(OptList) lo = optlist_parse("stream,id=a,server=on,addr.type=unix,addr.path=test-net.sock", "type", NULL);
    g_autoptr(OptList) co = optlist_parse("stream,id=b,addr.type=unix,addr.path=test-net.sock", "type", NULL);
    g_autofree char *cwd = g_get_current_dir();
    g_autofree char *dir = g_dir_make_tmp("quern-net-XXXXXX", NULL);
    Sink sa = { true }, sb = { true };
    NetPort *na = net_port_new("test", "na", &sink_ops, &sa), *nb = net_port_new("test", "nb", &sink_ops, &sb);
    NetPort *a, *b;
    uint8_t frame[1514] = { 1 };

    g_assert_cmpint(g_chdir(dir), ==, 0);
    a = net_backend_new(lo, NULL);
    b = net_backend_new(co, NULL);
    g_assert_true(net_port_plug(a, na, NULL) && net_port_plug(b, nb, NULL));
    for (int i = 0; i < 1000 && sa.got < 5; i++) {
        if (net_port_link(nb) && net_port_link(na))
            net_send(nb, frame, sizeof frame);
        g_main_context_iteration(NULL, FALSE);
    }
    g_assert_cmpuint(sa.got, >=, 5);
    net_port_free(a);
    net_port_free(b);
    net_port_free(na);
    net_port_free(nb);
    g_assert_cmpint(g_unlink("test-net.sock"), ==, 0);
    g_assert_cmpint(g_chdir(cwd), ==, 0);
    g_rmdir(dir);
}

static gboolean set_flag(gpointer flag)
{
    *(bool *)flag = true;
    return G_SOURCE_REMOVE;
}

/* An open descriptor and nothing to do: the main loop sleeps until slirp's next timer. */
static void idle_user_network_lets_the_main_loop_sleep(void)
{
    g_autoptr(OptList) o = optlist_parse("user,id=n0,hostfwd=tcp:127.0.0.1:0-:22", "type", NULL);
    NetPort *p = net_backend_new(o, NULL);
    unsigned rounds = 0;
    bool over = false;

    g_timeout_add(200, set_flag, &over);
    while (!over) {
        g_main_context_iteration(NULL, TRUE);
        rounds++;
    }
    g_assert_cmpuint(rounds, <, 20);
    net_port_free(p);
}

/* Rules and their texts cross to the helper and back; its end is a pulled cable. */
static void isolated_network_takes_rules_and_may_die(void)
{
    g_autoptr(OptList) o = optlist_parse("user,id=n0,isolated=on", "type", NULL), bad = NULL;
    g_autoptr(GError) err = NULL;
    NetPort *p = net_backend_new(o, &err);
    Sink nic = { true };
    NetPort *n = net_port_new("test", "nic", &sink_ops, &nic);
    g_autofree char *info = NULL, *helper = NULL;

    g_assert_no_error(err);
    g_assert_true(net_port_plug(p, n, NULL));
    g_assert_true(net_user_hostfwd_add(p, "tcp:127.0.0.1:0-:22", NULL));
    info = net_user_describe(p);
    g_assert_nonnull(strstr(info, "HOST_FORWARD"));
    g_assert_false(net_user_hostfwd_remove(p, "tcp:127.0.0.1:1", &err));
    g_assert_nonnull(strstr(err->message, "no host forwarding rule"));
    g_clear_error(&err);
    helper = g_strdup_printf("pkill -9 -P %d quern-net", getpid());
    g_assert_cmpint(system(helper), ==, 0);
    for (int i = 0; i < 2000 && net_port_link(n); i++) {
        g_main_context_iteration(NULL, FALSE);
        g_usleep(1000);
    }
    g_assert_false(net_port_link(n));
    g_assert_false(net_user_hostfwd_add(p, "tcp:127.0.0.1:0-:22", NULL));
    net_port_free(n);
    net_port_free(p);
    bad = optlist_parse("user,id=n0,isolated=on,bogus=1", "type", NULL);
    g_assert_null(net_backend_new(bad, &err));
    g_assert_nonnull(strstr(err->message, "bogus"));
}

/* A helper that was away for long answers what it was asked meanwhile; nobody takes that for another answer. */
static void isolated_network_answers_late(void)
{
    g_autoptr(OptList) o = optlist_parse("user,id=n0,isolated=on", "type", NULL);
    g_autoptr(GError) err = NULL;
    NetPort *p = net_backend_new(o, &err);
    g_autofree char *halt = g_strdup_printf("pkill -STOP -P %d quern-net", getpid()), *info = NULL;
    g_autofree char *go_on = g_strdup_printf("pkill -CONT -P %d quern-net", getpid());

    g_assert_no_error(err);
    g_assert_cmpint(system(halt), ==, 0);
    g_assert_false(net_user_hostfwd_add(p, "tcp:127.0.0.1:0-:22", &err));
    g_assert_nonnull(strstr(err->message, "does not answer"));
    g_clear_error(&err);
    g_assert_cmpint(system(go_on), ==, 0);
    info = net_user_describe(p);
    g_assert_nonnull(strstr(info, "HOST_FORWARD"));
    g_assert_false(net_user_hostfwd_remove(p, "tcp:127.0.0.1:1", &err));
    g_assert_nonnull(strstr(err->message, "no host forwarding rule"));
    net_port_free(p);
}

/* What was read before the card was full is delivered when it is ready, though nothing more comes. */
static void stream_keeps_no_frame_behind_a_full_card(void)
{
    g_autofree char *text = NULL;
    g_autoptr(OptList) o = NULL;
    Sink sink = { false };
    NetPort *n = net_port_new("test", "n", &sink_ops, &sink), *p;
    uint8_t frame[64] = { 0, 0, 0, 60, 1 };
    unsigned sent = 0;
    int pair[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), ==, 0);
    text = g_strdup_printf("socket,id=a,fd=%d", pair[0]);
    o = optlist_parse(text, "type", NULL);
    p = net_backend_new(o, NULL);
    g_assert_true(net_port_plug(p, n, NULL));
    fcntl(pair[1], F_SETFL, O_NONBLOCK);
    while (write(pair[1], frame, sizeof frame) == sizeof frame) {       /* until the card stops the stream */
        sent++;
        for (int i = 0; i < 4; i++)
            g_main_context_iteration(NULL, FALSE);
    }
    g_assert_cmpuint(sent, >, NET_QUEUE_MAX / 2);
    sink.ready = true;
    net_port_ready(n);
    for (int i = 0; i < 1000; i++)
        g_main_context_iteration(NULL, FALSE);
    g_assert_cmpuint(sink.got, ==, sent);
    net_port_free(p);
    net_port_free(n);
    close(pair[1]);
}

/* Nobody there at first: the machine is made and goes on, and the link comes up with the peer. */
static void stream_reconnects(void)
{
    g_autofree char *dir = g_dir_make_tmp("quern-net-XXXXXX", NULL), *path = g_build_filename(dir, "s", NULL);
    g_autofree char *text = g_strdup_printf("stream,id=a,addr.type=unix,addr.path=%s,reconnect=1", path);
    g_autoptr(OptList) o = optlist_parse(text, "type", NULL);
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    Sink sink = { true };
    NetPort *n = net_port_new("test", "n", &sink_ops, &sink), *p = net_backend_new(o, NULL);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0), peer;

    g_assert_true(net_port_plug(p, n, NULL));
    g_assert_false(net_port_link(n));
    g_strlcpy(un.sun_path, path, sizeof un.sun_path);
    g_assert_true(!bind(fd, (void *)&un, sizeof un) && !listen(fd, 1));
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 8000 && !net_port_link(n); i++) {
            g_main_context_iteration(NULL, FALSE);
            g_usleep(1000);
        }
        g_assert_true(net_port_link(n));
        peer = accept(fd, NULL, NULL);
        close(peer);
        for (int i = 0; i < 1000 && net_port_link(n); i++)
            g_main_context_iteration(NULL, FALSE);
        g_assert_false(net_port_link(n));
    }
    net_port_free(p);
    net_port_free(n);
    close(fd);
    g_unlink(path);
    g_rmdir(dir);
}

static int listener(uint16_t *port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

    g_assert_true(!bind(fd, (void *)&a, sizeof a) && !listen(fd, 4) && !getsockname(fd, (void *)&a, &len));
    *port = ntohs(a.sin_port);
    return fd;
}

/* Does a SYN from the guest to address:port reach a listener on the host's loopback? */
static bool loopback_reached(const char *options, uint32_t address)
{
    g_autoptr(OptList) o = optlist_parse(options, "type", NULL);
    NetPort *p = net_backend_new(o, NULL);
    Sink nic = { true };
    NetPort *n = net_port_new("test", "nic", &sink_ops, &nic);
    uint16_t port;
    int fd = listener(&port), got = -1;
    uint8_t f[54];

    g_assert_true(net_port_plug(p, n, NULL));
    make_tcp(f);
    f[22] = 64;
    st32_be(f + 26, 0x0a00020f);
    st32_be(f + 30, address);
    st16_be(f + 24, ~sum16(f + 14, 20, 0));
    st16_be(f + 34, 4000);
    st16_be(f + 36, port);
    f[47] = 2;
    st16_be(f + 48, 8192);
    st16_be(f + 50, 0);
    st16_be(f + 52, 0);
    st16_be(f + 50, ~sum16(f + 34, 20, sum16(f + 26, 8, 6 + 20)));
    net_send(n, f, sizeof f);
    for (int i = 0; i < 50 && got < 0; i++) {
        g_main_context_iteration(NULL, FALSE);
        g_usleep(2000);
        got = accept(fd, NULL, NULL);
    }
    if (got >= 0)
        close(got);
    close(fd);
    net_port_free(n);
    net_port_free(p);
    return got >= 0;
}

static void restricted_guest_does_not_reach_the_host(void)
{
    g_assert_true(loopback_reached("user,id=n0", 0x0a000202));
    g_assert_false(loopback_reached("user,id=n0,restrict=on", 0x0a000202));
    g_assert_false(loopback_reached("user,id=n0,restrict=on", 0x0a000203));
    g_assert_false(loopback_reached("user,id=n0,restrict=on", 0x7f000001));
    g_assert_true(loopback_reached("user,id=n0,isolated=on", 0x0a000202));
    g_assert_false(loopback_reached("user,id=n0,isolated=on,restrict=on", 0x0a000202));
}

static void taken_port_names_its_owner(void)
{
    uint16_t port;
    int fd = listener(&port);
    g_autofree char *text = g_strdup_printf("user,id=n0,hostfwd=tcp:127.0.0.1:%u-:22", port);
    g_autofree char *me = g_strdup_printf("process %d)", getpid());
    g_autoptr(OptList) o = optlist_parse(text, "type", NULL);
    g_autoptr(GError) err = NULL;

    g_assert_null(net_backend_new(o, &err));
    g_assert_nonnull(strstr(err->message, me));
    close(fd);
}

/* Impossible lengths, a frame cut short, garbage: the link goes down, nothing is delivered, and the next peer is welcome. */
static void lying_stream_peer_is_disconnected(void)
{
    static const uint8_t lies[][6] = { { 0xff, 0xff, 0xff, 0xff, 1, 2 }, { 0, 0, 0, 0, 1, 2 }, { 0, 2, 0, 0, 1, 2 }, { 0, 0, 5, 0, 1, 2 } };
    g_autofree char *dir = g_dir_make_tmp("quern-net-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "s", NULL);
    g_autofree char *text = g_strdup_printf("stream,id=a,server=on,addr.type=unix,addr.path=%s", path);
    g_autoptr(OptList) o = optlist_parse(text, "type", NULL);
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    Sink sink = { true };
    NetPort *n = net_port_new("test", "n", &sink_ops, &sink), *a = net_backend_new(o, NULL);

    g_assert_true(net_port_plug(a, n, NULL));
    g_strlcpy(un.sun_path, path, sizeof un.sun_path);
    for (size_t i = 0; i < ARRAY_LEN(lies); i++) {
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);

        g_assert_true(!connect(fd, (void *)&un, sizeof un));
        for (int k = 0; k < 1000 && !net_port_link(n); k++)
            g_main_context_iteration(NULL, FALSE);
        g_assert_true(net_port_link(n));
        g_assert_cmpint(write(fd, lies[i], 6), ==, 6);
        if (i == ARRAY_LEN(lies) - 1)
            shutdown(fd, SHUT_RDWR);
        for (int k = 0; k < 1000 && net_port_link(n); k++)
            g_main_context_iteration(NULL, FALSE);
        g_assert_false(net_port_link(n));
        close(fd);
    }
    g_assert_cmpuint(sink.got, ==, 0);
    net_port_free(a);
    net_port_free(n);
    g_unlink(path);
    g_rmdir(dir);
}

typedef struct Hostile { NetPort *card, *port; unsigned got; bool busy; size_t longest, sum; } Hostile;

static bool hostile_receive(void *opaque, const uint8_t *frame, size_t len)
{
    Hostile *h = opaque;

    if (h->busy)
        return false;
    h->got++;
    h->longest = MAX(h->longest, len);
    h->sum += len ? frame[0] + frame[len - 1] : 0;              /* reads it: a sanitizer looks */
    return true;
}

/* The back-end options begin with its half of a socket pair and end in a card that is busy now and then. */
static int hostile_new(Hostile *h, const char *options, int type)
{
    static const NetPortOps ops = { .receive = hostile_receive };
    g_autofree char *text = NULL;
    g_autoptr(OptList) o = NULL;
    g_autoptr(GError) err = NULL;
    int pair[2];

    g_assert_cmpint(socketpair(AF_UNIX, type | SOCK_NONBLOCK, 0, pair), ==, 0);
    text = g_strdup_printf("%s%d", options, pair[0]);
    o = optlist_parse(text, "type", NULL);
    *h = (Hostile) { .card = net_port_new("test", "card", &ops, h) };
    h->port = net_backend_new(o, &err);
    g_assert_no_error(err);
    g_assert_true(net_port_plug(h->port, h->card, NULL));
    return pair[1];
}

static void hostile_bytes(Hostile *h, int fd, bool datagrams)
{
    static uint8_t buf[NET_FRAME_MAX + 100];
    size_t n = g_test_rand_int_range(0, g_test_rand_int_range(0, 8) ? 300 : sizeof buf);
    uint32_t len = n;

    for (size_t i = 0; i < MIN(n, 64); i++)
        buf[i] = g_test_rand_int();
    if (!datagrams) {           /* a length before it: the true one, another, or what happens to be there */
        if (g_test_rand_int_range(0, 30) == 0)
            len = g_test_rand_int_range(0, 2) ? (uint32_t)g_test_rand_int() : NET_FRAME_MAX + (uint32_t)g_test_rand_int_range(-2, 3);
        if (n >= 4 && g_test_rand_int_range(0, 200))
            st32_be(buf, len == n ? n - 4 : len);
    }
    (void)!send(fd, buf, n, MSG_NOSIGNAL);      /* may be full or gone */
}

/* A peer that sends what it likes, does not read, stops in the middle of a frame or goes. */
static void hostile_peer_is_survived(gconstpointer options)
{
    const char *seconds = g_getenv("FUZZ_SECONDS");
    int64_t end = g_get_monotonic_time() + (seconds ? atoi(seconds) * G_USEC_PER_SEC : G_USEC_PER_SEC / 2);
    bool datagrams = g_str_has_prefix(options, "dgram");
    unsigned peers = 0, got = 0;
    uint8_t frame[2000] = { 0 }, back[4096];

    while (g_get_monotonic_time() < end) {
        Hostile h;
        int fd = hostile_new(&h, options, datagrams ? SOCK_DGRAM : SOCK_STREAM), steps = g_test_rand_int_range(1, 400);

        for (int i = 0; i < steps; i++) {
            int64_t before = g_get_monotonic_time();

            hostile_bytes(&h, fd, datagrams);
            h.busy = g_test_rand_int_range(0, 4) == 0;
            if (!h.busy)
                net_port_ready(h.card);
            net_send(h.card, frame, g_test_rand_int_range(0, sizeof frame));
            if (g_test_rand_int_range(0, 3) == 0 && recv(fd, back, sizeof back, 0) == 0)
                break;
            for (int k = 0; k < 3; k++)
                g_main_context_iteration(NULL, FALSE);
            g_assert_cmpint(g_get_monotonic_time() - before, <, 5 * G_USEC_PER_SEC);
        }
        g_assert_cmpuint(h.longest, <=, NET_FRAME_MAX);
        close(fd);
        for (int k = 0; k < 5; k++)
            g_main_context_iteration(NULL, FALSE);
        got += h.got;
        peers++;
        net_port_free(h.port);
        net_port_free(h.card);
    }
    g_test_message("%u peers, %u frames got through", peers, got);
    g_assert_cmpuint(got, >, 0);
}

int main(int argc, char **argv)
{
    if (argc > 1 && g_str_equal(argv[1], "net-helper"))         /* isolated networks start their own program again */
        return net_helper_main(argc, argv);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/net/busy_receiver_stops_sender_then_wakes_it", busy_receiver_stops_sender_then_wakes_it);
    g_test_add_func("/net/woken_sender_loses_no_wakeup", woken_sender_loses_no_wakeup);
    g_test_add_func("/net/link_down_drops_frames", link_down_drops_frames);
    g_test_add_func("/net/buffer_holds_frames_for_its_interval", buffer_holds_frames_for_its_interval);
    g_test_add_func("/net/buffer_holds_answers_too", buffer_holds_answers_too);
    g_test_add_func("/net/throttle_lets_frames_go_at_its_rate", throttle_lets_frames_go_at_its_rate);
    g_test_add_func("/net/card_announces_itself_in_rounds", card_announces_itself_in_rounds);
    g_test_add_func("/net/guard_clears_tcp_urgent_and_keeps_checksum", guard_clears_tcp_urgent_and_keeps_checksum);
    g_test_add_func("/net/guard_drops_lying_lengths", guard_drops_lying_lengths);
    g_test_add_func("/net/guard_knows_each_protocol", guard_knows_each_protocol);
    g_test_add_func("/net/guard_survives_random_frames", guard_survives_random_frames);
    g_test_add_func("/net/user_network_checks_its_options", user_network_checks_its_options);
    g_test_add_data_func("/net/user_network_answers_dhcp", "user,id=n0", user_network_answers_dhcp);
    g_test_add_data_func("/net/isolated_network_answers_dhcp", "user,id=n0,isolated=on", user_network_answers_dhcp);
    g_test_add_func("/net/isolated_network_takes_rules_and_may_die", isolated_network_takes_rules_and_may_die);
    if (g_test_slow())          /* waits for an answer as long as quern does */
        g_test_add_func("/net/isolated_network_answers_late", isolated_network_answers_late);
    g_test_add_func("/net/idle_user_network_lets_the_main_loop_sleep", idle_user_network_lets_the_main_loop_sleep);
    g_test_add_func("/net/socket_pair_carries_frames", socket_pair_carries_frames);
    g_test_add_func("/net/stream_keeps_no_frame_behind_a_full_card", stream_keeps_no_frame_behind_a_full_card);
    g_test_add_func("/net/stream_reconnects", stream_reconnects);
    g_test_add_func("/net/restricted_guest_does_not_reach_the_host", restricted_guest_does_not_reach_the_host);
    g_test_add_func("/net/taken_port_names_its_owner", taken_port_names_its_owner);
    g_test_add_func("/net/lying_stream_peer_is_disconnected", lying_stream_peer_is_disconnected);
    g_test_add_data_func("/net/hostile_peer_is_survived/stream", "stream,id=a,addr.type=fd,addr.str=", hostile_peer_is_survived);
    g_test_add_data_func("/net/hostile_peer_is_survived/socket", "socket,id=a,fd=", hostile_peer_is_survived);
    g_test_add_data_func("/net/hostile_peer_is_survived/dgram", "dgram,id=a,local.type=fd,local.str=", hostile_peer_is_survived);
    return g_test_run();
}
