# slow-net-virtio: a Linux guest's whole use of the user network through virtio-net-pci.
NIC=virtio-net-pci MODULE="virtio_pci virtio_net" MIB=${MIB:-256}
. "$QUERN_SRC/tests/sh/lib/netmatrix.sh"
