# slow-net-rtl8139-classic: a Linux guest's whole use of the user network through the older 8139 ring and 8139too.
NIC=rtl8139,cplus=off MODULE=8139too MIB=${MIB:-32}
. "$QUERN_SRC/tests/sh/lib/netmatrix.sh"
