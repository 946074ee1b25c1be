#!/usr/bin/env python3
"""matrix: random walks over formats, options and operations, done by quern img in one folder and by Debian's qemu-img in
another. Texts and exit codes must be the same; each image must hold the same bytes, check clean and look the same
(info, check, map, measure, snapshot -l as JSON and text) through both tools. SEED, LIMIT (seconds), WALKS bound a run."""
import json, os, random, re, shutil, subprocess, sys, tempfile, time
Q = [os.environ['QUERN'], 'img']; E = ['qemu-img']
LIMIT = float(os.environ.get('LIMIT', '60')); WALKS = int(os.environ.get('WALKS', '100000')); SEED = int(os.environ.get('SEED', '1'))
VERBOSE = bool(os.environ.get('VERBOSE'))
base = os.environ.get('TMPDIR') or ('/dev/shm' if os.access('/dev/shm', os.W_OK) else '/tmp')
top = tempfile.mkdtemp(prefix='quern-matrix-', dir=base)
MIB = 1 << 20
bad = 0; compared = 0; known = {}

def run(tool, args, cwd, timeout=60):
    p = subprocess.run([*tool, *args], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout)
    return p.returncode, p.stdout.decode(errors='replace'), p.stderr.decode(errors='replace')

def first_difference(a, b):
    """The smallest part of two answers that differs."""
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)) and type(a) is type(b):
        for i, (x, y) in enumerate(zip(a, b)):
            if x != y:
                return first_difference(x, y)
        return a[len(b):], b[len(a):]
    if isinstance(a, dict) and isinstance(b, dict):
        keys = [k for k in {**a, **b} if a.get(k) != b.get(k)]
        if len(keys) == 1 and isinstance(a.get(keys[0]), (list, dict)):
            return first_difference(a[keys[0]], b.get(keys[0]))
        return a, b
    if isinstance(a, str) and isinstance(b, str) and '\n' in a + b:
        return first_difference(a.split('\n'), b.split('\n'))
    return a, b

def report(walk, what, a, b):
    global bad
    bad += 1
    if b is not None:
        a, b = first_difference(a, b)
    print(f'# walk {walk}: {what}\n#   quern: {a!r}\n#   qemu:  {b!r}'[:3000])

def norm(text):
    return re.sub(r'^(quern img|qemu-img|quern): ', '', text, flags=re.M)

QCOW2 = [('cluster_size', ['512', '1k', '4k', '16k', '64k', '256k', '2M']), ('refcount_bits', ['1', '2', '4', '8', '16', '32', '64']),
         ('compression_type', ['zlib', 'zstd']), ('extended_l2', ['on', 'off']), ('lazy_refcounts', ['on', 'off']),
         ('compat', ['0.10', '1.1', 'v2', 'v3']), ('preallocation', ['off', 'metadata', 'falloc', 'full']),
         ('data_file', ['data.raw']), ('data_file_raw', ['on'])]
OPTS = {'qcow2': QCOW2, 'raw': [('preallocation', ['off', 'falloc', 'full'])], 'vdi': [('static', ['on', 'off'])],
        'vpc': [('subformat', ['dynamic', 'fixed']), ('force_size', ['on', 'off'])],
        'vhdx': [('subformat', ['dynamic', 'fixed']), ('block_size', ['1M', '2M', '8M', '0']), ('log_size', ['1M', '4M']), ('block_state_zero', ['on', 'off'])],
        'vmdk': [('subformat', ['monolithicSparse', 'monolithicFlat', 'twoGbMaxExtentSparse', 'twoGbMaxExtentFlat', 'streamOptimized']),
                 ('adapter_type', ['ide', 'lsilogic', 'buslogic', 'legacyESX']), ('zeroed_grain', ['on', 'off']), ('hwversion', ['4', '6']), ('compat6', ['on', 'off'])]}

def options(r, fmt):
    picked = {}
    for key, values in OPTS[fmt]:
        if r.random() < (0.12 if key.startswith('data_file') else 0.3):
            picked[key] = r.choice(values)
    if 'data_file_raw' in picked and r.random() < 0.9:
        picked['data_file'] = 'data.raw'
    if fmt == 'vpc' and r.random() < 0.5:
        picked['force_size'] = 'on'
    return ','.join(f'{k}={v}' for k, v in picked.items()), picked

class Walk:
    def __init__(self, n, seed):
        self.n, self.r = n, random.Random(seed)
        self.dirs = [os.path.join(top, 'q'), os.path.join(top, 'e')]
        for d in self.dirs:
            shutil.rmtree(d, ignore_errors=True); os.mkdir(d)
        self.images = {}            # name -> format
        self.below = {}             # name -> backing image
        self.holey = set()          # made by dd: quern leaves zeroes out, qemu-img writes them
        self.log = []

    def over(self, name, fmt):
        while name and self.images[name] != fmt:
            name = self.below.get(name)
        return bool(name)

    def both(self, args, stdout=True, stderr=False):
        a, b = run(Q, args, self.dirs[0]), run(E, args, self.dirs[1])
        self.log.append(' '.join(args))
        if VERBOSE:
            print('#', ' '.join(args), a[0], b[0])
        if args[0] == 'measure' and a[0] and run(E, ['create', '-q', '-f', 'qcow2', '-o', args[args.index('-o') + 1], 'measured', '1M'], self.dirs[1])[0]:
            return False            # qemu-img measures what it could not create
        if a[0] and args[0] == 'amend' and 'incompatible features' in a[2]:
            return False            # a zstd image has no version 2; qemu-img renames the compression instead
        if args[0] == 'convert' and '-c' in args and 'data_file' in ' '.join(args) and self.over(args[-2], 'vhdx'):
            return False            # zeroes that qemu-img takes for data cannot be compressed into a data file
        if (a[0] == 0) != (b[0] == 0):
            report(self.n, 'exit of ' + ' '.join(args), a, b)
        elif stdout and a[0] in (0, 1) and (args[0] != 'create' or a[0] == 0) and norm(a[1]) != norm(b[1]):
            report(self.n, 'output of ' + ' '.join(args), a[1], b[1])
        return a[0] == 0 and b[0] == 0

    def view(self, args, drop=()):
        """Both tools on each folder's file."""
        global compared
        for d in self.dirs:
            a, b = run(Q, args, d), run(E, args, d)
            compared += 1
            x, y = a[1], b[1]
            if '--output=json' in args and x and y:
                def clean(v):
                    if isinstance(v, dict):
                        return {k: clean(w) for k, w in v.items() if k not in drop}
                    return [clean(w) for w in v] if isinstance(v, list) else v
                try:
                    x, y = clean(json.loads(x)), clean(json.loads(y))
                except ValueError:
                    pass
            if a[0] != b[0] or x != y:
                report(self.n, f'{os.path.basename(d)}: {" ".join(args)} after {" ; ".join(self.log)}', (a[0], x, a[2]), (b[0], y, b[2]))

    def content(self, name):
        sums = []
        for d, tool in ((self.dirs[0], E), (self.dirs[0], Q), (self.dirs[1], Q)):
            out = os.path.join(top, 'out.raw')
            if os.path.exists(out):
                os.unlink(out)
            c = run(tool, ['convert', '-f', self.images[name], '-O', 'raw', name, out], d)
            sums.append((c[0], run(['sha256sum'], ['out.raw'], top)[1] if c[0] == 0 else c[2]))
        if sums[0] != sums[1] or sums[1] != sums[2]:
            report(self.n, f'content of {name} after {" ; ".join(self.log)}', sums[:2], sums[2:])

    def look(self):
        for name, fmt in self.images.items():
            f = ['-f', fmt]
            drop = []
            if fmt == 'vmdk':
                drop = ['actual-size', 'cluster-size', 'children']
            self.view(['info', '--output=json', *f, name], drop)
            if fmt != 'vmdk':
                self.view(['info', *f, name])
            if fmt != 'vhdx' and not self.over(name, 'vhdx'):
                self.view(['map', '--output=json', *f, name]); self.view(['map', *f, name])
                
            self.view(['check', '--output=json', *f, name]) if fmt in ('qcow2', 'vdi') else None
            if fmt == 'qcow2':
                self.view(['snapshot', '-l', name]); self.view(['check', *f, name])
                self.view(['info', '--backing-chain', '--output=json', *f, name]) if not self.over(name, 'vmdk') else None
            for d in self.dirs:
                for tool in (Q, E):     # what qemu-img leaks in its own folder is its affair
                    c = run(tool, ['check', '-q', *f, name], d)
                    if c[0] not in ((0, 63) if d.endswith('q') else (0, 3, 63)):
                        report(self.n, f'check of {name} in {os.path.basename(d)} by {tool[-1]} after {" ; ".join(self.log)}', c, None)
            o, _ = options(self.r, self.r.choice(['qcow2', 'qcow2', 'raw']) if fmt else 'raw')
            if not self.over(name, 'vhdx'):     # to qemu-img each VHDX is full of data
                self.view(['measure', '--output=json', '-O', 'qcow2', *f, name])
            self.content(name)

    def write(self, name):
        fmt, r = self.images[name], self.r
        for _ in range(r.randrange(1, 5)):
            off, n = r.randrange(0, 6 * MIB) & ~511, r.randrange(512, 700000) & ~511
            cmd = r.choice(['write -P %d' % r.randrange(1, 256)] * 4 + ['write -z', 'write -z -u', 'discard'])
            if cmd == 'discard' and fmt not in ('qcow2', 'raw'):
                continue
            for d in self.dirs:
                run(['qemu-io'], ['-d', 'unmap', '-f', fmt, '-c', f'{cmd} {off} {max(n, 512)}', name], d)
        self.log.append('writes to ' + name)

    def create(self, name, fmt=None, size=None, backing=None):
        fmt = fmt or self.r.choice(['qcow2'] * 5 + ['raw', 'vdi', 'vpc', 'vhdx', 'vmdk'])
        o, picked = options(self.r, fmt)
        if backing:
            o = ','.join(x for x in o.split(',') if x and not x.startswith(('data_file', 'prealloc')))
        o = o.replace('data.raw', name + '.data')
        args = ['create', '-f', fmt] + (['-o', o] if o else []) + (['-b', backing, '-F', self.images[backing]] if backing else []) + [name]
        size = size or self.r.choice(['8M', '8M', '7340032', '8389120', '6500k', '9M'])
        if not backing or self.r.random() < 0.3:
            args.append(size)
        if self.both(args):
            self.images[name] = fmt
            self.below[name] = backing
            return True
        return False

    def convert(self, src):
        fmt = self.r.choice(['qcow2'] * 5 + ['raw', 'vdi', 'vpc', 'vhdx', 'vmdk'])
        o, picked = options(self.r, fmt)
        name = f'c{len(self.images)}'
        o = o.replace('data.raw', name + '.data')
        args = ['convert', '-f', self.images[src], '-O', fmt] + (['-o', o] if o else [])
        if picked.get('subformat') == 'streamOptimized' or (fmt in ('qcow2',) and self.r.random() < 0.3):
            args.append('-c') if fmt == 'qcow2' else None
        if self.r.random() < 0.2:
            args += ['-S', self.r.choice(['0', '4k', '64k'])]
        if self.r.random() < 0.2:
            args += ['-m', str(self.r.randrange(1, 17))] + (['-W'] if self.r.random() < 0.5 else [])
        if self.both(args + [src, name]):
            self.images[name] = fmt

    def step(self):
        r = self.r; q2 = [n for n, f in self.images.items() if f == 'qcow2']
        name = r.choice(list(self.images))
        what = r.choice(['convert', 'convert', 'overlay', 'snapshot', 'snapshot', 'resize', 'rebase', 'commit', 'amend', 'write', 'write', 'dd', 'measure', 'compare'])
        if what == 'convert':
            self.convert(name)
        elif what == 'write' :
            if self.images[name] != 'vmdk':
                self.write(name)
        elif what == 'overlay' and len(self.images) < 6:
            self.create(f'o{len(self.images)}', 'qcow2', backing=name)
        elif what == 'resize':
            self.both(['resize', '-f', self.images[name]] + (['--shrink'] if r.random() < 0.5 else []) +
                      (['--preallocation=' + r.choice(['off', 'metadata', 'falloc', 'full'])] if r.random() < 0.3 else []) +
                      [name, r.choice(['+1M', '+512', '-1M', '5M', '10M', '-100k'])])
        elif what == 'dd':
            n = f'd{len(self.images)}'
            f = r.choice(['raw', 'qcow2', 'vdi'])
            if self.both(['dd', '-f', self.images[name], '-O', f, 'if=' + name, 'of=' + n, 'bs=' + r.choice(['512', '4k', '64k', '100000', '1M'])] +
                         # not both: qemu-img counts the skipped blocks, too
                         r.choice([[], ['skip=%d' % r.randrange(0, 9)], ['count=%d' % r.randrange(1, 99)]])):
                self.images[n] = f
                self.holey.add(n)
        elif what == 'measure':
            o, _ = options(r, 'qcow2')
            o = o.replace('=v2', '=0.10').replace('=v3', '=1.1')        # to its measure these are no versions
            self.both(['measure', '-O', 'qcow2'] + (['-o', o] if o else []) + ['--size', r.choice(['1G', '0', '3000000', '5T', '777M'])])
            self.both(['measure', '-O', 'raw', '--size', '12345'])
        elif what == 'compare':
            other = r.choice(list(self.images))
            self.both(['compare', '-f', self.images[name], '-F', self.images[other]] + (['-s'] if r.random() < 0.4 and not {name, other} & self.holey and not self.over(name, 'vhdx') and not self.over(other, 'vhdx') else []) + [name, other])
        elif q2:
            name = r.choice(q2)
            if what == 'snapshot':
                flag = r.choice(['-c', '-c', '-c', '-a', '-d'])
                self.both(['snapshot', flag, 's%d' % r.randrange(4), name])
            elif what == 'rebase':
                others = [n for n in self.images if n < name]
                target = r.choice(others + ['']) if others else ''
                self.both(['rebase', '-f', 'qcow2'] + (['-u'] if r.random() < 0.1 and not target else []) + ['-b', target] + (['-F', self.images[target]] if target else []) + [name]) and self.below.update({name: target or None})
            elif what == 'commit':
                self.both(['commit', '-f', 'qcow2'] + (['-d'] if r.random() < 0.3 else []) + [name])
            elif what == 'amend':
                o = r.choice(['refcount_bits=%d' % 2 ** r.randrange(0, 7), 'compat=0.10', 'compat=1.1', 'lazy_refcounts=on', 'lazy_refcounts=off', 'size=12M', 'size=4M'])
                self.both(['amend', '-f', 'qcow2', '-o', o, name])

end = time.monotonic() + LIMIT
n = 0
while n < WALKS and time.monotonic() < end:
    w = Walk(SEED + n, SEED + n)
    n += 1
    try:
        if w.create('a'):
            if w.images['a'] != 'vmdk' or True:
                w.write('a')
            for _ in range(w.r.randrange(2, 7)):
                w.step()
            w.look()
    except subprocess.TimeoutExpired as e:
        if e.cmd[:1] == E:          # it does: amend from 1-bit counts with large clusters, for one
            continue
        report(w.n, 'a command hangs after ' + ' ; '.join(w.log), str(e.cmd), None)
if not os.environ.get('KEEP'):
    shutil.rmtree(top)
print(f'# seed {SEED}: {n} walks, {compared} views compared, {bad} differences')
print(f'{"not ok" if bad else "ok"} 1 - quern img and qemu-img agree on {n} random walks\n1..1')
sys.exit(bool(bad))
