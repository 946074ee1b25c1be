#!/usr/bin/env python3
"""lint-classes: every device class has a state, a description, and its page in docs/hw."""
import glob, os, re, sys
os.chdir(sys.argv[1] if len(sys.argv) > 1 else '.')
bad, n = [], 0
docs = ''.join(open(f, errors='replace').read() for f in glob.glob('docs/hw/*.md'))
for f in sorted(glob.glob('hw/**/*.c', recursive=True)):
    text = open(f, errors='replace').read()
    for m in re.finditer(r'const DeviceClass (\w+)_class = \{(.*?)\n\};', text, re.S):
        n += 1
        if '.state' not in m[2]:
            bad.append(f'{f}: {m[1]} has no state: describe it, or say STATE_NONE("why")')
        if '.desc' not in m[2]:
            bad.append(f'{f}: {m[1]} has no description')
print('\n'.join(bad))
print('1..1\n%s 1 - device classes: %d' % ('not ok' if bad else 'ok', n))
sys.exit(1 if bad else 0)
