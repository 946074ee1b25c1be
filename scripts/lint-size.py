#!/usr/bin/env python3
"""lint-size: functions of at most 120 lines, files of at most 1,200, first comment lines, forbidden words."""
import glob, os, re, sys
src = sys.argv[1] if len(sys.argv) > 1 else '.'
os.chdir(src)
TOPS = ['util', 'softmmu', 'target', 'block', 'net', 'chardev', 'ui', 'hw', 'accel', 'monitor', 'gdbstub', 'migration', 'cli']
MAX_FUNC, MAX_FILE = 120, 1200
# Exceptions, each with its reason: docs/layers.md is for includes, this is for size.
LONG_FILES = {}
WORDS = re.compile(r'\b(TODO|FIXME|XXX|HACK)\b')
bad, count = [], 0
files = [f for t in TOPS for f in glob.glob(t + '/**/*.[ch]', recursive=True) + glob.glob(t + '/**/*.def', recursive=True)]
for f in sorted(files):
    lines = open(f, errors='replace').read().split('\n')
    count += 1
    if f.endswith('.c') and len(lines) - 1 > LONG_FILES.get(f, MAX_FILE):
        bad.append(f'{f}: {len(lines) - 1} lines, at most {MAX_FILE}')
    head = '\n'.join(lines[:3])
    if f.endswith(('.c', '.h')) and not re.match(r'/\*\s*(\*\s*)?\n?\s*\*?\s*[\w.-]+: ', head):
        bad.append(f'{f}: the first comment line is not "name: one sentence"')
    start = None
    for n, line in enumerate(lines, 1):
        if WORDS.search(line):
            bad.append(f'{f}:{n}: forbidden word')
        if f.endswith('.c'):
            if line == '{':
                start = n
            elif line == '}' and start:
                if n - start - 1 > MAX_FUNC:
                    bad.append(f'{f}:{start}: function of {n - start - 1} lines, at most {MAX_FUNC}')
                start = None
print('\n'.join(bad))
print('1..1\n%s 1 - size, heads and words: %d files' % ('not ok' if bad else 'ok', count))
sys.exit(1 if bad else 0)
