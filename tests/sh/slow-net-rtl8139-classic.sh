# slow-net-rtl8139-classic: the same with the older chip's ring and Linux's 8139too, less the 200 connections (docs/hw/rtl8139.md).
MANY=no NIC=rtl8139,cplus=off MODULE=8139too MIB=${MIB:-32}
. "$QUERN_SRC/tests/sh/lib/netmatrix.sh"
