# slow-net-rtl8139: a Linux guest's whole use of the user network through rtl8139.
NIC=rtl8139 MODULE="8139cp" MIB=${MIB:-64}
. "$QUERN_SRC/tests/sh/lib/netmatrix.sh"
