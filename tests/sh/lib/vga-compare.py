#!/usr/bin/env python3
"""vga-compare: the guest vga16 on two emulators side by side; the pictures and checksums must be the same.

usage: vga-compare.py IMAGE FOLDER EMULATOR-A EMULATOR-B   (each a command line in one word)
Pictures whose name starts with ~ blink: any phase of one has to be a phase of the other.
"""
import re, shlex, socket, subprocess, sys, time

# Pictures that rightly differ: the chip does more than emulator B (QEMU 7.2) shows. docs/hw/vga.md.
KNOWN = {
    'text-00-40x25': 'nine dots a character also with 40 columns',
    'text-01-40x25': 'nine dots a character also with 40 columns',
    'text-9th-dot-b0': 'only c0-df go on into the ninth dot',
    'text-80x28': 'the last, partly visible row is shown',
    'text-split': 'line compare in text modes',
    'text-preset-row': 'preset row scan', '0d-byte-pan-preset': 'preset row scan and byte panning',
    'text-byte-pan': 'byte panning', 'text-pixel-pan': 'pixel panning', 'text-pan-ends-at-split': 'pixel panning',
    '0d-pixel-pan': 'pixel panning', '0d-split-panned': 'pixel panning', '0d-split-pan-ends': 'pixel panning',
    '13-pixel-pan': 'pixel panning', 'x-pan-1': 'pixel panning', 'x-pan-2': 'pixel panning', 'x-pan-3': 'pixel panning',
    'text-planes': 'the colour plane enable register in text modes',
    'text-screen-off': 'the screen-off bit', '~text-blink': 'blinking characters',
    '0d-wraps': 'addresses wrap at 64 Ki', '12-dac-mask': 'the pixel mask', '13-dac-mask': 'the pixel mask',
    '13-split-inside-row': 'line compare resets the row counter',
    'vbe-800x600x15': 'five bits become eight by repeating: white is white',
    'vbe-800x600x4': 'the map mask works in 4-bit VBE modes',
}


class Guest:
    def __init__(self, name, command, image, folder):
        self.folder, self.name = folder, name
        paths = {k: f'{folder}/{name}.{k}' for k in ('serial', 'monitor')}
        args = ['-display', 'none', '-nic', 'none', '-m', '64', '-vga', 'std', '-drive', f'file={image},format=raw,if=ide',
                '-snapshot']
        for k, p in paths.items():
            args += [f'-{k}', f'unix:{p},server=on,wait=off']
        self.process = subprocess.Popen(shlex.split(command) + args, stdin=subprocess.DEVNULL)
        self.serial, self.monitor = (self.connect(paths[k]) for k in ('serial', 'monitor'))
        self.until(self.monitor, b'(qemu) ', b'(quern) ')

    def connect(self, path):
        for _ in range(200):
            try:
                s = socket.socket(socket.AF_UNIX)
                s.connect(path)
                s.settimeout(60)
                return s
            except OSError:
                time.sleep(0.05)
        raise SystemExit(f'{self.name} does not start')

    def until(self, s, *ends):
        got = b''
        while not got.endswith(ends):
            part = s.recv(1) if s is self.serial else s.recv(4096)
            if not part:
                raise SystemExit(f'{self.name} ended early')
            got += part
        return got

    def next(self):
        return self.until(self.serial, b'\n').decode().split()

    def go_on(self):
        self.serial.send(b'.')

    def picture(self):
        path = f'{self.folder}/{self.name}.ppm'
        self.monitor.send(f'screendump {path}\n'.encode())
        self.until(self.monitor, b'(qemu) ', b'(quern) ')
        with open(path, 'rb') as f:
            return f.read()

    def pictures(self, blinks):
        """One picture, or the phases seen in two seconds."""
        seen = [self.picture()]
        for _ in range(40 if blinks else 0):
            time.sleep(0.05)
            seen.append(self.picture())
        return set(seen)


def describe(a, b):
    head = re.compile(rb'P6\s+(\d+)\s+(\d+)\s+255\s')
    ha, hb = head.match(a), head.match(b)
    if ha.groups() != hb.groups():
        return f'size {ha.groups()} and {hb.groups()}'
    w = int(ha.group(1))
    da, db = a[ha.end():], b[hb.end():]
    bad = [i // 3 for i in range(0, len(da), 3) if da[i:i + 3] != db[i:i + 3]]
    i = bad[0] * 3
    return f'{len(bad)} pixels; first at {bad[0] % w},{bad[0] // w}: {da[i:i + 3].hex()} and {db[i:i + 3].hex()}'


image, folder = sys.argv[1:3]
guests = [Guest('ab'[i], command, image, folder) for i, command in enumerate(sys.argv[3:5])]
only = sys.argv[5] if len(sys.argv) > 5 else None
count = bad = 0
try:
    while True:
        (name, sum_a), (name_b, sum_b) = (g.next() for g in guests)
        if name != name_b:
            raise SystemExit(f'{name} and {name_b} at the same time')
        if name == 'end':
            break
        if not only or only in name:
            a, b = (g.pictures(name.startswith('~')) for g in guests)
            count += 1
            if name in KNOWN:
                print(f'ok {count} - {name}: {"differs as known" if a != b else "the same after all"}: {KNOWN[name]}')
            elif sum_a != sum_b:
                print(f'not ok {count} - {name}: reads {sum_a} and {sum_b}')
                bad += 1
            elif a != b and not (name.startswith('~') and len(a) > 1 and (a <= b or b <= a)):
                print(f'not ok {count} - {name}: {describe(min(a), min(b))}')
                bad += 1
                for g, pictures in zip(guests, (a, b)):
                    for i, p in enumerate(sorted(pictures)):
                        with open(f'{folder}/{name}-{g.name}{i}.ppm', 'wb') as f:
                            f.write(p)
            else:
                print(f'ok {count} - {name}')
            sys.stdout.flush()
        for g in guests:
            g.go_on()
finally:
    for g in guests:
        g.process.kill()
print(f'1..{count}')
sys.exit(1 if bad else 0)
