# netguest: what the network tests with Linux guests share; sourced after boot.sh.
PY=/usr/bin/python3
need_net_tools() {
    need_kernel
    for t in socat "$PY"; do command -v "$t" >/dev/null || skip "no $t"; done
}
# add_program FILE...: programs of this machine and the libraries they need, into the guest's root.
add_program() {
    for f in "$@"; do
        p=$(command -v "$f") || return 1
        mkdir -p "$tmp/root/bin"; cp -L "$p" "$tmp/root/bin/"
        for l in $(ldd "$p" | grep -o '/[^ ]*'); do mkdir -p "$tmp/root$(dirname "$l")"; cp -L "$l" "$tmp/root$l"; done
    done
}
# start_peer: the host's side of the tests; its ports are in $tmp/peer.env.
start_peer() {
    "$PY" "$QUERN_SRC/tests/sh/lib/netpeer.py" "$tmp" > "$tmp/peer.log" 2>&1 & peer=$!
    trap 'kill $peer 2>/dev/null; rm -rf "$tmp"' EXIT
    for i in $(seq 100); do [ -s "$tmp/peer.env" ] && break; sleep 0.1; done
    [ -s "$tmp/peer.env" ] || { cat "$tmp/peer.log"; fail "the host's side did not start"; }
    . "$tmp/peer.env"
}
free_port() { "$PY" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
