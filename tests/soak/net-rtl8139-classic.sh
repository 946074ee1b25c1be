# net-rtl8139-classic: the NIC matrix with the older ring and 8139too; not in make check, it stalls (docs/hw/rtl8139.md).
NIC=rtl8139,cplus=off MODULE=8139too MIB=${MIB:-32}
. "$QUERN_SRC/tests/sh/lib/netmatrix.sh"
