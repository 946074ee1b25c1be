#!/usr/bin/env python3
"""make-map: writes docs/map.md from the first comment line of each source file."""
import glob, os, re, sys
os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
TOPS = ['util', 'block', 'net', 'chardev', 'ui', 'softmmu', 'target', 'hw', 'accel', 'monitor', 'gdbstub', 'migration', 'cli']
out = ['# Source map', '', 'Written by `scripts/make-map.py` from the first comment of each file; do not edit.', '']
for top in TOPS:
    files = sorted(glob.glob(top + '/**/*.[ch]', recursive=True) + glob.glob(top + '/**/*.def', recursive=True))
    folder = None
    for f in files:
        head = open(f, errors='replace').read(1200)
        m = re.search(r'/\*\s*(?:\*\s*)?([\w.-]+): (.*?)(?:\n \*\s*\n|\*/|\n \*/)', head, re.S)
        text = re.sub(r'\s*\n \*\s*', ' ', m[2]).strip() if m else ''
        if os.path.dirname(f) != folder:
            folder = os.path.dirname(f)
            out += ['', f'## {folder}/', '']
        out.append(f'- `{os.path.basename(f)}`: {text}')
open('docs/map.md', 'w').write('\n'.join(out) + '\n')
