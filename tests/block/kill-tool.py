#!/usr/bin/env python3
"""kill-tool: SIGKILL at random moments of `quern img` operations; each image must then check clean (leaks allowed)
and show what it showed before, or what the finished operation would show. KILLS=n says how many; exit 1 on a loss."""
import os, random, shutil, subprocess, sys, tempfile, time
Q = os.environ['QUERN']; KILLS = int(os.environ.get('KILLS', '36'))
rnd = random.Random(int(os.environ.get('SEED', time.time_ns())))
base = '/dev/shm' if os.access('/dev/shm', os.W_OK) else None
os.chdir(tempfile.mkdtemp(prefix='quern-kill-', dir=os.environ.get('TMPDIR', base)))
DIR = os.getcwd()
MIB = 1 << 20

def run(*a, ok=(0,)):
    p = subprocess.run([Q, 'img', *a], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if ok is not None and p.returncode not in ok:
        raise SystemExit(f'{" ".join(a)}: exit {p.returncode}: {p.stdout[-2000:]}')
    return p

def source(name, mib, seed):
    r = random.Random(seed)
    with open(name, 'wb') as f:
        f.truncate(mib * MIB)
        for i in range(mib * 2):
            f.seek(r.randrange(0, mib * MIB - 200000) & ~511)
            f.write(r.choice([r.randbytes(r.randrange(1, 90000)), b'line %d\n' % i * r.randrange(1, 6000)])[:200000])
        f.truncate(mib * MIB)

source('a.raw', 8, 1); source('b.raw', 8, 2)
run('convert', '-f', 'raw', '-O', 'qcow2', 'a.raw', 'base.tpl'); run('convert', '-f', 'raw', '-O', 'qcow2', '-o', 'cluster_size=4k', 'b.raw', 'other.tpl')
run('convert', '-f', 'raw', '-O', 'qcow2', '-o', 'cluster_size=4k', 'a.raw', 'fine.tpl')
run('create', '-q', '-f', 'qcow2', '-b', 'base.qcow2', '-F', 'qcow2', '-u', 'top.tpl', '8M')
shutil.copy('base.tpl', 'base.qcow2')
run('dd', '-f', 'raw', '-O', 'raw', 'if=b.raw', 'of=piece.raw', 'bs=512k', 'count=6')
subprocess.run([Q, 'img', 'bench', '-q', '-w', '-c', '40', '-s', '65536', '-S', '150016', '--pattern=7', '-f', 'qcow2', 'top.tpl'], stdout=subprocess.DEVNULL, check=True)
run('convert', '-O', 'raw', 'top.tpl', 'top.raw')

def same(img, fmt, raw, rawfmt='raw'):
    return run('compare', '-q', '-f', fmt, '-F', rawfmt, img, raw, ok=(0, 1)).returncode == 0

def healthy(img, what):
    p = run('check', '-f', 'qcow2', img, ok=None)
    if p.returncode == 2 or 'repair' in p.stdout:       # snapshot marks: the next writer settles them
        run('snapshot', '-c', 'heal', img)
        p = run('check', '-f', 'qcow2', img, ok=None)
    if p.returncode not in (0, 3):
        return f'{what}: check says {p.returncode}: {p.stdout[-1500:]}'
    if rnd.random() < 0.1 and shutil.which('qemu-img'):
        q = subprocess.run(['qemu-img', 'check', img], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if q.returncode not in (0, 3):
            return f'{what}: qemu-img check says {q.returncode}: {q.stdout[-1500:]}'

def whole_or_nothing(fmt):
    def look(what):
        if not os.path.exists('out'):
            return None
        return None if same('out', fmt, 'a.raw') else f'{what}: half a file looks whole'
    return look

def keeps(img, *raws):
    def look(what):
        return healthy(img, what) or (None if any(same(img, 'qcow2', r) for r in raws) else f'{what}: content changed')
    return look

def grown(what):
    bad = healthy('x', what)
    size = int(subprocess.run([Q, 'img', 'info', '--output=json', 'x'], stdout=subprocess.PIPE, text=True).stdout.split('"virtual-size":')[1].split(',')[0])
    return bad or (None if size in (8 * MIB, 600 * MIB) and run('compare', '-q', '-f', 'qcow2', '-F', 'raw', 'x', 'a.raw', ok=(0, 1)).returncode == 0
                   else f'{what}: size {size} or content wrong')

def prepare(**files):
    for n in os.listdir('.'):
        if n == 'out' or n.startswith(('x', 'out.', 'out-')):
            os.unlink(n)
    for to, frm in files.items():
        shutil.copy(frm, {'base': 'base.qcow2', 'other': 'other.qcow2'}.get(to, to))

shutil.copy('fine.tpl', 'snap.tpl'); run('snapshot', '-c', 'one', 'snap.tpl')
run('convert', '-n', '-f', 'raw', '-O', 'qcow2', 'b.raw', 'snap.tpl'); run('snapshot', '-c', 'two', 'snap.tpl')
with open('broken.tpl', 'wb') as f:         # leaks for check -r
    f.write(open('base.tpl', 'rb').read())
    f.seek(2 * 65536 + 20000); f.write(b'\0\1'); f.seek(2 * 65536 + 30000); f.write(b'\0\1')
cases = []
for fmt, opt in (('qcow2', None), ('qcow2', 'cluster_size=4k'), ('raw', None), ('vdi', None), ('vpc', 'force_size=on'), ('vhdx', None)):
    cases.append((f'convert to {fmt}', {}, ['convert', '-f', 'raw', '-O', fmt, *(['-o', opt] if opt else []), 'a.raw', 'out'], whole_or_nothing(fmt)))
cases.append(('convert -c', {}, ['convert', '-c', '-f', 'raw', '-O', 'qcow2', 'a.raw', 'out'], whole_or_nothing('qcow2')))
cases += [
    ('convert -n', {'x': 'fine.tpl'}, ['convert', '-n', '-f', 'raw', '-O', 'qcow2', 'a.raw', 'x'], lambda w: healthy('x', w)),
    ('snapshot -c', {'x': 'fine.tpl'}, ['snapshot', '-c', 'one', 'x'], keeps('x', 'a.raw')),
    ('snapshot -d', {'x': 'snap.tpl'}, ['snapshot', '-d', 'one', 'x'], keeps('x', 'b.raw')),
    ('snapshot -a', {'x': 'snap.tpl'}, ['snapshot', '-a', 'one', 'x'], keeps('x', 'a.raw', 'b.raw')),
    ('resize +', {'x': 'base.tpl'}, ['resize', '-q', 'x', '600M'], grown),
    ('resize full', {'x': 'base.tpl'}, ['resize', '-q', '--preallocation=metadata', 'x', '600M'], grown),
    ('rebase', {'x': 'top.tpl', 'base': 'base.tpl', 'other': 'other.tpl'}, ['rebase', '-b', 'other.qcow2', '-F', 'qcow2', 'x'], keeps('x', 'top.raw')),
    ('rebase flat', {'x': 'top.tpl', 'base': 'base.tpl'}, ['rebase', '-b', '', 'x'], keeps('x', 'top.raw')),
    ('commit', {'x': 'top.tpl', 'base': 'base.tpl'}, ['commit', '-q', 'x'], lambda w: keeps('x', 'top.raw')(w) or healthy('base.qcow2', w)),
    ('amend refcounts', {'x': 'fine.tpl'}, ['amend', '-o', 'refcount_bits=64', 'x'], keeps('x', 'a.raw')),
    ('amend 0.10', {'x': 'fine.tpl'}, ['amend', '-o', 'compat=0.10', 'x'], keeps('x', 'a.raw')),
    ('check -r leaks', {'x': 'broken.tpl'}, ['check', '-q', '-r', 'leaks', 'x'], keeps('x', 'a.raw')),
    ('check -r all', {'x': 'broken.tpl'}, ['check', '-q', '-r', 'all', 'x'], keeps('x', 'a.raw')),
    ('bench -w', {'x': 'fine.tpl'}, ['bench', '-q', '-w', '-c', '2000', '-s', '69632', '-d', '8', '--flush-interval=25', '-f', 'qcow2', 'x'], lambda w: healthy('x', w)),
    ('dd', {}, ['dd', '-f', 'raw', '-O', 'qcow2', 'if=a.raw', 'of=out', 'bs=64k'], lambda w: healthy('out', w) if os.path.exists('out') and os.path.getsize('out') > 65536 * 3 else None),
]
fast = {}                       # seconds a whole run takes, without the loading of the program
bad = finished = 0
for k in range(KILLS):
    name, files, cmd, look = cases[k % len(cases)]
    prepare(**files)
    if name not in fast:
        t = time.monotonic(); run(*cmd, ok=None); fast[name] = time.monotonic() - t
        prepare(**files)
    p = subprocess.Popen([Q, 'img', *cmd], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(rnd.random() ** 1.3 * fast[name])
    p.kill()
    if p.wait() == 0:
        finished += 1; fast[name] *= 0.97
    else:
        fast[name] *= 1.02
    why = look(f'{name} (kill {k})')
    if why:
        bad += 1; print('# ' + why.replace('\n', '\n# '))
        shutil.copytree('.', f'/tmp/quern-kill-{os.getpid()}-{k}', dirs_exist_ok=True) if os.environ.get('KEEP') else None
shutil.rmtree(DIR)
print(f'# {KILLS} kills, {finished} came too late, {bad} losses')
sys.exit(1 if bad else 0)
