#!/usr/bin/env python3
"""bench-bochs: the interpreter against Debian's bochs on the same guest work, in turns, by CPU time.

One CD (isolinux, Debian's kernel, a busybox initramfs) boots under both with the same firmware. The guest writes marks to its
serial port; the CPU time (user and system) each emulator has used is taken at every mark. A ratio above 1: quern is faster.
usage: bench-bochs.py QUERN [ROUNDS]   (needs bochs, seabios, vgabios or bochsbios, isolinux, xorriso, busybox-static, a Debian kernel)
"""
import glob, os, re, shutil, subprocess, sys, tempfile, time

SRC = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LIMIT = int(os.environ.get('LIMIT', '900'))     # seconds for one boot
JOBS = [('sha256', 'sha256sum /tmp/d'), ('gzip', 'gzip -c /tmp/d | wc -c'), ('sort', 'sort /tmp/w | md5sum'),
        ('awk', "awk 'BEGIN { for (i = 0; i < 60000; i++) s = s * 3 % 1000003 + i; print s }'"),
        ('shell', 'i=0; while [ $i -lt 5000 ]; do i=$((i + 1)); done; echo $i'),
        ('fork', 'i=0; while [ $i -lt 40 ]; do /bin/true; i=$((i + 1)); done; echo $i')]
MARKS = [('boot: firmware, loader, to the first line', 'Linux version'), ('boot: kernel to the first program', 'MARK up')] + \
        [(name, f'MARK {name}') for name, _ in JOBS]
BOCHS = """megs: 256
romimage: file=/usr/share/seabios/bios.bin
vgaromimage: file={vga}
ata0: enabled=1
ata0-master: type=cdrom, path={iso}, status=inserted
boot: cdrom
display_library: rfb, options="timeout=0"
sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy
speaker: enabled=0
com1: enabled=1, mode=file, dev={serial}
log: {dir}/log
panic: action=report
error: action=ignore
cpu: model=broadwell_ult, count=1, ips=100000000, reset_on_triple_fault=0
clock: sync=none
"""


def make_cd(tmp):
    script = f'{tmp}/script'
    with open(script, 'w') as f:
        f.write('mark() { echo "MARK $*" > /dev/ttyS0; }\ndd if=/bin/busybox of=/tmp/d bs=64k count=16 2>/dev/null\n'
                'od -A n -v -t x4 -w4 -N 40000 /tmp/d > /tmp/w\nmark up\n')
        for name, command in JOBS:
            f.write(f'{command} > /tmp/out\nmark {name} $(md5sum < /tmp/out | cut -c1-8)\n')
    iso = f'{tmp}/iso'
    os.mkdir(iso)
    subprocess.run([f'{SRC}/scripts/make-initramfs.sh', f'{iso}/initrd', script], check=True)
    shutil.copy(sorted(glob.glob('/boot/vmlinuz-*-amd64'))[-1], f'{iso}/linux')
    for f in ['/usr/lib/ISOLINUX/isolinux.bin', '/usr/lib/syslinux/modules/bios/ldlinux.c32']:
        shutil.copy(f, iso)
    with open(f'{iso}/isolinux.cfg', 'w') as f:
        f.write('DEFAULT l\nPROMPT 0\nLABEL l\n KERNEL linux\n APPEND initrd=initrd console=ttyS0 earlyprintk=ttyS0 panic=-1 '
                'no_timer_check tsc=reliable mitigations=off\n')
    subprocess.run(['xorriso', '-as', 'mkisofs', '-quiet', '-o', f'{tmp}/cd.iso', '-b', 'isolinux.bin', '-c', 'boot.cat', '-no-emul-boot',
                    '-boot-load-size', '4', '-boot-info-table', iso], check=True, stderr=subprocess.DEVNULL)
    return f'{tmp}/cd.iso'


def cpu_seconds(pid):
    fields = open(f'/proc/{pid}/stat').read().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def run(command, serial, cwd):
    """CPU time at each mark, and the guest's results."""
    times, sums, seen = [], [], ''
    p = subprocess.Popen(command, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    if command[0] == 'bochs':
        p.stdin.write(b'c\n')       # its debugger waits for "continue"
        p.stdin.flush()
    end = time.time() + LIMIT
    try:
        while len(times) < len(MARKS) and time.time() < end and p.poll() is None:
            time.sleep(0.02)
            if os.path.exists(serial):
                seen = open(serial, errors='replace').read()
            while len(times) < len(MARKS) and re.search(MARKS[len(times)][1] + r'.*\n', seen):
                times.append(cpu_seconds(p.pid))
    finally:
        p.kill()
        p.wait()
    return times, sorted(l.strip() for l in seen.splitlines() if l.startswith('MARK'))


def main():
    quern, rounds = os.path.abspath(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    if not shutil.which('bochs') or not glob.glob('/boot/vmlinuz-*-amd64'):
        print('skipped: no bochs, or no readable kernel')
        return 0
    vga = next(f for f in ['/usr/share/bochs/VGABIOS-lgpl-latest', '/usr/share/vgabios/vgabios.bin'] if os.path.exists(f))
    best = {}
    with tempfile.TemporaryDirectory() as tmp:
        iso = make_cd(tmp)
        with open(f'{tmp}/rc', 'w') as f:
            f.write(BOCHS.format(vga=vga, iso=iso, serial=f'{tmp}/bochs.serial', dir=tmp))
        commands = {
            'quern': [quern, '-accel', 'interp', '-m', '256', '-nodefaults', '-vga', 'std', '-display', 'none', '-serial', f'file:{tmp}/quern.serial',
                      '-cdrom', iso, '-boot', 'd'],
            'bochs': ['bochs', '-q', '-f', 'rc']}
        for _ in range(rounds):
            for name, command in commands.items():
                serial = f'{tmp}/{name}.serial'
                if os.path.exists(serial):
                    os.unlink(serial)
                times, sums = run(command, serial, tmp)
                if len(times) < len(MARKS):
                    print(f'{name} came only to mark {len(times)} of {len(MARKS)}; {open(serial, errors="replace").read()[-400:]}')
                    return 1
                spans = [b - a for a, b in zip([0] + times, times)]
                best.setdefault(name, []).append(spans)
                best.setdefault('sums', set()).add('\n'.join(sums))
    print(f'{"CPU seconds, best of " + str(rounds):44} {"quern":>8} {"bochs":>8}   ratio')
    total = {'quern': 0, 'bochs': 0}
    for n, (what, _) in enumerate(MARKS):
        q, b = (max(min(s[n] for s in best[k]), 0.005) for k in ('quern', 'bochs'))
        total['quern'] += q
        total['bochs'] += b
        print(f'{what:44} {q:8.2f} {b:8.2f} {b / q:7.2f}')
    print(f'{"all":44} {total["quern"]:8.2f} {total["bochs"]:8.2f} {total["bochs"] / total["quern"]:7.2f}')
    if len(best['sums']) != 1:
        print('the guests computed different results:\n' + '\n--\n'.join(best['sums']))
        return 1
    return 0


sys.exit(main())
