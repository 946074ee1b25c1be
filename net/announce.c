/* announce: a card tells the network where it is, several times, at growing intervals (announce-self). */
#include "net/net_int.h"

#include "util/bytes.h"

#include <string.h>

struct NetAnnounce {
    NetPort *card;
    NetAnnouncePlan plan;
    unsigned round;
    guint timer;
};

/* RFC 903: "who am I", from the card's address to everybody; switches on the way learn its port. */
static void send_rarp(NetPort *card, const uint8_t mac[NET_MAC_LEN])
{
    enum { RARP = 0x8035, REQUEST_REVERSE = 3, SENDER = 22, TARGET = 32, FRAME = 60 };
    uint8_t f[FRAME] = { 0 };

    memset(f, 0xff, NET_MAC_LEN);
    memcpy(f + 6, mac, NET_MAC_LEN);
    st16_be(f + 12, RARP);
    st16_be(f + 14, 1);                 /* ethernet */
    st16_be(f + 16, 0x0800);            /* IPv4 */
    f[18] = NET_MAC_LEN;
    f[19] = 4;
    st16_be(f + 20, REQUEST_REVERSE);
    memcpy(f + SENDER, mac, NET_MAC_LEN);
    memcpy(f + TARGET, mac, NET_MAC_LEN);
    net_send(card, f, sizeof f);
}

static gboolean next_round(gpointer opaque)
{
    NetAnnounce *a = opaque;
    uint8_t mac[NET_MAC_LEN];
    uint64_t wait = a->plan.initial_ms + (uint64_t)a->plan.step_ms * a->round;

    a->timer = 0;
    a->card->ops->announce(a->card->opaque, mac);
    send_rarp(a->card, mac);
    if (++a->round < a->plan.rounds)
        a->timer = g_timeout_add(MIN(wait, a->plan.max_ms), next_round, a);
    else
        net_announce_stop(a->card);
    return G_SOURCE_REMOVE;
}

bool net_announce(NetPort *card, const NetAnnouncePlan *plan)
{
    if (!card->ops->announce || !plan->rounds)
        return false;
    net_announce_stop(card);
    card->announce = g_new0(NetAnnounce, 1);
    *card->announce = (NetAnnounce) { .card = card, .plan = *plan };
    next_round(card->announce);
    return true;
}

void net_announce_stop(NetPort *card)
{
    if (card->announce && card->announce->timer)
        g_source_remove(card->announce->timer);
    g_clear_pointer(&card->announce, g_free);
}
