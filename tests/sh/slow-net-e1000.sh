# slow-net-e1000: a Linux guest's whole use of the user network through e1000.
NIC=e1000 MODULE="e1000" MIB=${MIB:-256}
. "$QUERN_SRC/tests/sh/lib/netmatrix.sh"
