#!/usr/bin/python3
"""netpeer: the host's side of the guest network tests: data with checksums, echo, a barrier of connections.

usage: netpeer.py FOLDER. Writes FOLDER/peer.env with the ports and serves until it is killed.
Protocols, one connection each (IPv4 and IPv6 loopback):
  DATA  "get N\n" sends N bytes, then nothing; "put\n" takes bytes to the end and answers their md5
  BARRIER  one line each from BARRIER_SIZE clients; only when all have come, each gets its line three times
  ECHO  UDP datagrams come back
"""
import hashlib, os, socket, sys, threading

folder = sys.argv[1]
BARRIER_SIZE = 200
BLOCK = 1 << 20
base = os.urandom(BLOCK - 8)


def stream(n):
    i = 0
    while n > 0:
        b = i.to_bytes(8, "big") + base
        yield b[:n] if n < BLOCK else b
        n -= BLOCK
        i += 1


def data(c):
    line = b""
    while not line.endswith(b"\n"):
        b = c.recv(1)
        if not b:
            return
        line += b
    word = line.split()
    if word[0] == b"get":
        for b in stream(int(word[1])):
            c.sendall(b)
    elif word[0] == b"sum":
        h = hashlib.md5()
        for b in stream(int(word[1])):
            h.update(b)
        c.sendall(h.hexdigest().encode() + b"\n")
    else:
        h, n = hashlib.md5(), 0
        while b := c.recv(BLOCK):
            h.update(b)
            n += len(b)
        c.sendall(f"{h.hexdigest()} {n}\n".encode())
    c.shutdown(socket.SHUT_WR)
    c.recv(1)


def serve(s, fn):
    def one(c):
        try:
            fn(c)
        except OSError as e:
            print("connection:", e, flush=True)
        c.close()
    while True:
        c, _ = s.accept()
        threading.Thread(target=one, args=(c,), daemon=True).start()


lock, waiting = threading.Lock(), []


def barrier(c):
    line = c.makefile("rb").readline()
    with lock:
        waiting.append((c.dup(), line))
        if len(waiting) < BARRIER_SIZE:
            return
        for d, l in waiting:
            d.sendall(l * 3)
            d.shutdown(socket.SHUT_WR)
            d.close()
        waiting.clear()


def echo(s):
    while True:
        b, who = s.recvfrom(65536)
        s.sendto(b, who)


def sockets(kind):
    """The same port on 127.0.0.1 and ::1."""
    for _ in range(50):
        a = socket.socket(socket.AF_INET, kind)
        a.bind(("127.0.0.1", 0))
        b = socket.socket(socket.AF_INET6, kind)
        try:
            b.bind(("::1", a.getsockname()[1]))
            return [a, b], a.getsockname()[1]
        except OSError as e:
            if e.errno != 98:           # no IPv6 loopback here
                return [a], a.getsockname()[1]
            a.close()
    sys.exit("no port is free in both families")


ports = {}
for name, kind, fn in (("DATA", socket.SOCK_STREAM, data), ("BARRIER", socket.SOCK_STREAM, barrier),
                       ("ECHO", socket.SOCK_DGRAM, None)):
    socks, ports[name] = sockets(kind)
    for s in socks:
        if fn:
            s.listen(512)
        threading.Thread(target=serve if fn else echo, args=(s, fn) if fn else (s,), daemon=True).start()
with open(folder + "/peer.env.new", "w") as f:
    f.writelines(f"{k}={v}\n" for k, v in ports.items())
os.rename(folder + "/peer.env.new", folder + "/peer.env")
threading.Event().wait()
