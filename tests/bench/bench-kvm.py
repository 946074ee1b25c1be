#!/usr/bin/env python3
"""bench-kvm: ring-3 code in a guest under -accel kvm against the same static program on the host, by CPU time, in one run.

A Linux guest (Debian's kernel, a busybox initramfs) runs each job of userspeed.c between two marks on its serial port; quern's CPU
time (user and system, timer interrupts and the guest's kernel included) between them is set against the program's own on the host,
which runs before and after: the better of the two counts. A ratio of 1: host speed.
usage: bench-kvm.py QUERN [MILLIONS [ENGINE...]]   (needs gcc, busybox-static, a Debian kernel; ENGINE: kvm unless given)
"""
import glob, os, resource, shutil, subprocess, sys, tempfile, time

SRC = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LIMIT = int(os.environ.get('LIMIT', '600'))     # seconds for one guest
JOBS = [('compute', 4), ('memory', 1), ('simd', 4)]     # and how many times MILLIONS


def skip(why):
    print(f'skipped: {why}')
    sys.exit(0)


def prepare(tmp, millions):
    program, script, initrd = f'{tmp}/userspeed', f'{tmp}/script', f'{tmp}/initrd'
    if subprocess.run(['gcc', '-O2', '-static', '-o', program, f'{SRC}/tests/guests/userspeed.c']).returncode:
        skip('no compiler for static programs')
    with open(script, 'w') as f:
        for name, times in JOBS:
            f.write(f'echo "MARK {name}" >/dev/ttyS0\n/lib/userspeed {name} {times * millions} >/tmp/{name}\n'
                    f'echo "DONE $(cat /tmp/{name})" >/dev/ttyS0\n')
        f.write('poweroff -f\n')
    made = subprocess.run([f'{SRC}/scripts/make-initramfs.sh', initrd, script], env={**os.environ, 'EXTRA': program})
    if made.returncode:
        skip('no initramfs')
    return program, initrd


def native(program, millions):
    seconds, sums = {}, {}
    for name, times in JOBS:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        sums[name] = subprocess.run([program, name, str(times * millions)], check=True, capture_output=True, text=True).stdout.split()[1]
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds[name] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, sums


def cpu_seconds(pid):
    fields = open(f'/proc/{pid}/stat').read().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def lines_of(path):
    return open(path, errors='replace').read().splitlines(keepends=True) if os.path.exists(path) else []


def guest(quern, engine, kernel, initrd, tmp):
    """Seconds and sums by job; what was missing when the guest ended or time ran out is not in them."""
    serial, seconds, sums, start, seen = f'{tmp}/serial', {}, {}, None, 0
    if os.path.exists(serial):
        os.unlink(serial)
    p = subprocess.Popen([quern, '-accel', engine, '-m', '256', '-display', 'none', '-vga', 'none', '-nic', 'none', '-monitor', 'null',
                          '-serial', f'file:{serial}', '-kernel', kernel, '-initrd', initrd, '-append',
                          'console=ttyS0 quiet panic=-1 no_timer_check tsc=reliable mitigations=off'], stdin=subprocess.DEVNULL)
    end = time.monotonic() + LIMIT
    try:
        while time.monotonic() < end and len(sums) < len(JOBS) and p.poll() is None:
            used, lines = cpu_seconds(p.pid), [l for l in lines_of(serial) if l.endswith('\n')]
            for words in (l.split() for l in lines[seen:]):
                if words[:1] == ['MARK']:
                    start = used
                elif words[:1] == ['DONE'] and len(words) == 3:
                    seconds[words[1]], sums[words[1]] = used - start, words[2]
            seen = len(lines)
            time.sleep(0.01)
    finally:
        p.kill()
        p.wait()
    return seconds, sums


def main():
    quern, millions = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 100
    engines, kernels, bad = sys.argv[3:] or ['kvm'], sorted(glob.glob('/boot/vmlinuz-*-amd64')), False
    if 'kvm' in engines and not os.access('/dev/kvm', os.R_OK | os.W_OK):
        skip('no usable /dev/kvm')
    if not kernels or not os.access(kernels[-1], os.R_OK):
        skip('no readable kernel: apt-get install linux-image-amd64')
    tmp = tempfile.mkdtemp()
    try:
        program, initrd = prepare(tmp, millions)
        first, sums = native(program, millions)
        results = [(e, *guest(quern, e, kernels[-1], initrd, tmp)) for e in engines]
        last, _ = native(program, millions)
        print(f'{"CPU seconds":12}{"job":10}{"host":>8}{"guest":>8}{"ratio":>8}')
        for engine, seconds, got in results:
            for name, _ in JOBS:
                host = min(first[name], last[name])
                if name not in got:
                    verdict = '  the guest did not get there'
                else:
                    verdict = f'{seconds[name]:8.2f}{seconds[name] / host:8.2f}' + ('' if got[name] == sums[name] else '  WRONG SUM')
                bad |= got.get(name) != sums[name]
                print(f'{engine:12}{name:10}{host:8.2f}{verdict}')
    finally:
        shutil.rmtree(tmp)
    sys.exit(bad)


if __name__ == '__main__':
    main()
