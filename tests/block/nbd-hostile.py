#!/usr/bin/env python3
"""nbd-hostile: clients and servers that lie, stop or send garbage; quern must answer or leave in time, and stay small.
usage: nbd-hostile.py QUERN SOCKET (in a folder with src.raw)"""
import os, random, socket, struct, subprocess, sys, threading, time
quern, path = sys.argv[1:3]
bad = []
OPTS, REP = 0x49484156454F5054, 0x3E889045565A9
URI = 'nbd+unix:///?socket=' + path

def start_server():
    if os.path.exists(path):
        os.unlink(path)
    p = subprocess.Popen([quern, 'nbd', '-t', '-e', '40', '-k', path, '-f', 'raw', 'src.raw'], stderr=subprocess.DEVNULL)
    for _ in range(500):                # the file appears a moment before the server listens
        try:
            socket.socket(socket.AF_UNIX).connect(path); break
        except OSError:
            time.sleep(0.01)
    return p

def connect(timeout=5):
    s = socket.socket(socket.AF_UNIX); s.settimeout(timeout); s.connect(path); return s

def get(s, n):
    b = b''
    while len(b) < n:
        c = s.recv(n - len(b))
        if not c:
            raise EOFError
        b += c
    return b

def hello(s, flags=3):
    get(s, 18); s.sendall(struct.pack('>I', flags))

def option(s, opt, data=b''):
    s.sendall(struct.pack('>QII', OPTS, opt, len(data)) + data)

def go(s):
    option(s, 8); get(s, 20)
    option(s, 7, struct.pack('>IH', 0, 0))
    while True:
        magic, o, t, n = struct.unpack('>QIII', get(s, 20)); get(s, n)
        if t == 1:
            return

def request(typ, off, n, flags=0, handle=1):
    return struct.pack('>IHHQQI', 0x25609513, flags, typ, handle, off, n)

def alive(p, what):
    if p.poll() is not None:
        bad.append(f'{what}: the server ended with {p.returncode}'); return
    try:
        s = connect(); hello(s); go(s); s.sendall(request(0, 0, 4096)); get(s, 20); s.close()
    except Exception as e:
        bad.append(f'{what}: the server does not answer any more: {e!r}')

def rss(pid):
    return int(open(f'/proc/{pid}/statm').read().split()[1]) * 4096

rnd = random.Random(7)
p = start_server()
cases = {
    'huge option': lambda s: (hello(s), s.sendall(struct.pack('>QII', OPTS, 7, 0xffffffff))),
    'wrong option magic': lambda s: (hello(s), s.sendall(b'x' * 16)),
    'name longer than the option': lambda s: (hello(s), option(s, 7, struct.pack('>IH', 0xfffffff0, 0))),
    'empty meta query': lambda s: (hello(s), option(s, 8), option(s, 10, struct.pack('>IIII', 0, 0xffffffff, 5, 7))),
    'endless options': lambda s: (hello(s), [option(s, 99) for _ in range(500)]),
    'huge read': lambda s: (hello(s), go(s), s.sendall(request(0, 0, 0xffffffff)), get(s, 1)),
    'huge write': lambda s: (hello(s), go(s), s.sendall(request(1, 0, 0xfffffff0) + b'y' * 100), get(s, 1)),
    'read past the end': lambda s: (hello(s), go(s), s.sendall(request(0, 1 << 62, 4096)), get(s, 20)),
    'unknown command': lambda s: (hello(s), go(s), s.sendall(request(77, 0, 0)), get(s, 20)),
    'wrong request magic': lambda s: (hello(s), go(s), s.sendall(b'z' * 28), get(s, 1)),
    'cut in a write': lambda s: (hello(s), go(s), s.sendall(request(1, 0, 65536) + b'q' * 1000)),
    'block status of nothing': lambda s: (hello(s), go(s), s.sendall(request(7, 0, 0)), get(s, 20)),
}
for name, act in cases.items():
    s = connect()
    try:
        act(s)
    except (OSError, EOFError):
        pass
    s.close(); alive(p, name)
for i in range(60):                     # any bytes, cut anywhere
    s = connect()
    try:
        hello(s)
        if i % 2:
            go(s)
        s.sendall(rnd.randbytes(rnd.randrange(1, 300)))
    except (OSError, EOFError):
        pass
    s.close()
alive(p, 'garbage')
lazy = [connect() for _ in range(12)]   # connects and says nothing
stuck = []
for _ in range(4):                      # asks for 400 x 1 MiB and never reads
    s = connect(); hello(s); go(s); s.settimeout(1)
    try:
        for h in range(400):
            s.sendall(request(0, 0, 1 << 20, handle=h))
    except OSError:
        pass
    stuck.append(s)
time.sleep(1); alive(p, 'clients that do not read')
size = rss(p.pid)
if size > 600 << 20:
    bad.append(f'the server grew to {size >> 20} MiB')
for s in stuck + lazy:
    s.close()
time.sleep(0.3); alive(p, 'after all left')
s = connect(); hello(s); go(s)          # 200 requests at once, answers in any order
want = set(range(200)); s.sendall(b''.join(request(0, h * 4096, 4096, handle=h) for h in want))
while want:
    m, f, t, h, n = struct.unpack('>IHHQI', get(s, 20)); get(s, n)
    if f & 1:
        want.discard(h)
s.close(); p.terminate(); p.wait(timeout=20)

# ---- servers that lie to `quern img` ----
def lie(act):
    if os.path.exists(path):
        os.unlink(path)
    l = socket.socket(socket.AF_UNIX); l.bind(path); l.listen(4)
    def run():
        c, _ = l.accept(); c.settimeout(10)
        try:
            act(c)
        except (OSError, EOFError, struct.error):
            pass
        c.close()
    t = threading.Thread(target=run, daemon=True); t.start()
    try:
        r = subprocess.run([quern, 'img', 'convert', '-f', 'raw', '-O', 'raw', URI, 'lie.out'], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=50)
        return r.returncode
    except subprocess.TimeoutExpired:
        return 'timeout'
    finally:
        l.close()

def greet(c, size=1 << 20, flags=0x1 | 0x4):
    c.sendall(struct.pack('>QQH', 0x4E42444D41474943, OPTS, 3)); get(c, 4)
    while True:
        _, opt, n = struct.unpack('>QII', get(c, 16)); get(c, n)
        rep = lambda t, d=b'': c.sendall(struct.pack('>QIII', REP, opt, t, len(d)) + d)
        if opt == 7:
            rep(3, struct.pack('>HQH', 0, size, flags)); rep(1); return
        if opt == 10:
            rep(4, struct.pack('>I', 0) + b'base:allocation')
        rep(1)

def reply(c, typ, data, flags=1, handle=None):
    _, f, t, h, off, n = struct.unpack('>IHHQQI', get(c, 28))
    c.sendall(struct.pack('>IHHQI', 0x668e33ef, flags, typ, h if handle is None else handle, len(data(off, n))) + data(off, n))

status = lambda c: reply(c, 5, lambda o, n: struct.pack('>III', 0, n, 0))
lies = {
    'silence then end': lambda c: None,
    'garbage greeting': lambda c: c.sendall(b'g' * 500),
    'option reply of 4 GiB': lambda c: (c.sendall(struct.pack('>QQH', 0x4E42444D41474943, OPTS, 3)), get(c, 4), c.sendall(struct.pack('>QIII', REP, 8, 1, 0xffffffff))),
    'endless option replies': lambda c: (c.sendall(struct.pack('>QQH', 0x4E42444D41474943, OPTS, 3)), get(c, 4), [c.sendall(struct.pack('>QIII', REP, 7, 3, 0)) for _ in range(100000)]),
    'size 2^64-1': lambda c: greet(c, size=(1 << 64) - 1),
    'unknown handle': lambda c: (greet(c), reply(c, 5, lambda o, n: struct.pack('>III', 0, n, 0), handle=999999)),
    'status longer than asked': lambda c: (greet(c), reply(c, 5, lambda o, n: struct.pack('>III', 0, 0xffffffff, 3)), time.sleep(0.2)),
    'status of 0 bytes': lambda c: (greet(c), [reply(c, 5, lambda o, n: struct.pack('>III', 0, 0, 0)) for _ in range(3)]),
    'data outside the request': lambda c: (greet(c), status(c), reply(c, 1, lambda o, n: struct.pack('>Q', o + n) + b'd' * 4096)),
    'data before the request': lambda c: (greet(c), status(c), reply(c, 1, lambda o, n: struct.pack('>Q', (1 << 64) - 8) + b'd' * 4096)),
    'hole too long': lambda c: (greet(c), status(c), reply(c, 2, lambda o, n: struct.pack('>QI', o, 0xffffffff))),
    'chunk of 4 GiB': lambda c: (greet(c), status(c), get(c, 28), c.sendall(struct.pack('>IHHQI', 0x668e33ef, 1, 1, 2, 0xffffffff))),
    'error with a wild length': lambda c: (greet(c), status(c), reply(c, 0x8001, lambda o, n: struct.pack('>IH', 5, 60000) + b'e' * 10)),
    'simple reply with a strange error': lambda c: (greet(c), status(c), [c.sendall(struct.pack('>IIQ', 0x67446698, 424242, struct.unpack('>IHHQQI', get(c, 28))[3])) for _ in range(2)]),
    'end in the middle of data': lambda c: (greet(c), status(c), (lambda r: c.sendall(struct.pack('>IHHQI', 0x668e33ef, 1, 1, struct.unpack('>IHHQQI', r)[3], 8 + 4096) + struct.pack('>Q', 0) + b'x' * 100))(get(c, 28))),
}
for name, act in lies.items():
    r = lie(act)
    if r not in (0, 1):
        bad.append(f'server: {name}: exit {r}')
    if r == 0 and name not in ('status longer than asked',):
        bad.append(f'server: {name}: taken for good')
print('\n'.join(bad)); sys.exit(1 if bad else 0)
