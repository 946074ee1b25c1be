/* nicbench: builds a bench around a network card and keeps what it sends. */
#include "tests/hw/nicbench.h"

#include <string.h>

static bool wire_receive(void *opaque, const uint8_t *f, size_t len)
{
    NicBench *c = opaque;

    c->frames++;
    c->len = len;
    c->bytes += len;
    memcpy(c->last, f, MIN(len, sizeof c->last));
    return true;
}

NicBench *nicbench_new(const char *cls, unsigned bar)
{
    static const NetPortOps wire_ops = { .receive = wire_receive };
    NicBench *c = g_new0(NicBench, 1);

    c->b = bench_new(NULL, NULL);
    c->port = net_port_new("test", "w", &wire_ops, c);
    bench_backend(c->b, "netdev", "w", c->port);
    bench_add(c->b, cls, "netdev=w,mac=52:54:00:aa:bb:cc");
    bench_pci_map(c->b, bench_dev(c->b, 0));
    c->bar = bench_bar(c->b, bench_dev(c->b, 0), bar);
    return c;
}

void nicbench_free(NicBench *c)
{
    bench_free(c->b);
    net_port_free(c->port);
    g_free(c);
}
