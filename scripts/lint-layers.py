#!/usr/bin/env python3
"""lint-layers: who may include whom (docs/layers.md), no cyclic includes, headers without mutable globals."""
import glob, os, re, sys
src = sys.argv[1] if len(sys.argv) > 1 else '.'
os.chdir(src)
FLOOR = {'util': 0, 'block': 1, 'net': 1, 'ui': 1, 'chardev': 1, 'softmmu': 2, 'target': 3,
         'hw': 4, 'accel': 4, 'monitor': 5, 'gdbstub': 5, 'migration': 5, 'cli': 6}
BACKENDS = {'block', 'net', 'ui', 'chardev'}
BOARD = 'hw/i386/'
allowed = set()
for line in open('docs/layers.md', errors='replace') if os.path.exists('docs/layers.md') else []:
    m = re.match(r'- `(\S+)` -> `(\S+)`', line)
    if m:
        allowed.add((m[1], m[2]))
bad, graph = [], {}
files = [f for d in FLOOR for f in glob.glob(d + '/**/*.[ch]', recursive=True) + glob.glob(d + '/**/*.def', recursive=True)]
for f in files:
    top = f.split('/')[0]
    incs = re.findall(r'^\s*#\s*include\s+"([^"]+)"', open(f, errors='replace').read(), re.M)
    graph[f] = [i for i in incs if os.path.exists(i)]
    for i in incs:
        if (f, i) in allowed:
            continue
        if not os.path.exists(i):
            bad.append(f'{f}: "{i}" is not a path from the top of the tree'); continue
        t = i.split('/')[0]
        if t not in FLOOR:
            continue
        if i.endswith('_int.h') and os.path.dirname(i) != os.path.dirname(f):
            bad.append(f'{f}: {i} is private to its folder')
        fl, tl = FLOOR[top], FLOOR[t]
        if f.startswith(BOARD):
            fl = 5
        if i.startswith(BOARD):
            tl = 5
        if tl > fl:
            bad.append(f'{f} (floor {fl}) includes {i} (floor {tl})')
        elif tl == fl and t != top and not (fl == 5):
            bad.append(f'{f} includes its sibling {i}')
state = {}
def visit(f, path):
    if state.get(f) == 2:
        return
    if state.get(f) == 1:
        bad.append('include cycle: ' + ' -> '.join(path[path.index(f):] + [f])); return
    state[f] = 1
    for i in graph.get(f, []):
        visit(i, path + [f])
    state[f] = 2
for f in graph:
    visit(f, [])
print('\n'.join(bad))
print('1..1\n%s 1 - layers: %d files' % ('not ok' if bad else 'ok', len(files)))
sys.exit(1 if bad else 0)
