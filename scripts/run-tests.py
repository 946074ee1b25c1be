#!/usr/bin/env python3
"""run-tests: runs lint, every test program and every test script; ends with 'N passed, N failed'.

A test program prints TAP (GLib does); a script tests/sh/*.sh prints TAP or just exits 0 (pass),
77 (skip) or anything else (fail). --fast leaves out tests/sh/slow-*.sh. Words at the end choose by name.
"""
import argparse, glob, os, re, subprocess, sys, time

ap = argparse.ArgumentParser()
ap.add_argument('--build', default='build')
ap.add_argument('--src', default='.')
ap.add_argument('--fast', action='store_true')
ap.add_argument('--timeout', type=int, default=600)
ap.add_argument('names', nargs='*')
a = ap.parse_args()
build, src = os.path.abspath(a.build), os.path.abspath(a.src)
env = dict(os.environ, QUERN=f'{build}/quern', QUERN_SRC=src, QUERN_BUILD=build, G_TEST_SRCDIR=src)
jobs = [(f'lint/{os.path.basename(p)}', [p, src]) for p in sorted(glob.glob(f'{src}/scripts/lint-*'))]
for c in sorted(glob.glob(f'{src}/tests/*/test-*.c')):
    prog = build + c[len(src):-2]
    if os.path.exists(prog):
        jobs.append((os.path.relpath(c, src + '/tests')[:-2], [prog, '--tap'] + (['-m', 'quick'] if a.fast else [])))
for s in sorted(glob.glob(f'{src}/tests/sh/*.sh')):
    if not (a.fast and os.path.basename(s).startswith('slow-')):
        jobs.append((os.path.relpath(s, src + '/tests'), ['bash', s]))
if a.names:
    jobs = [j for j in jobs if any(n in j[0] for n in a.names)]
passed = failed = skipped = 0
for name, cmd in jobs:
    t = time.time()
    try:
        p = subprocess.run(cmd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           env=env, timeout=a.timeout, errors='replace', text=True)
        out, rc = p.stdout, p.returncode
    except subprocess.TimeoutExpired as e:
        out = (e.stdout or b'').decode(errors='replace') if isinstance(e.stdout, bytes) else (e.stdout or '')
        out, rc = out + f'\n(timed out after {a.timeout} s)', 124
    skip = len(re.findall(r'^ok \d+.*# SKIP', out, re.M | re.I))
    ok = len(re.findall(r'^ok \d+', out, re.M)) - skip
    bad = len(re.findall(r'^not ok \d+', out, re.M))
    if not (ok or bad or skip):
        ok, bad, skip = int(rc == 0), int(rc not in (0, 77)), int(rc == 77)
    elif rc and not bad:
        bad = 1
    passed, failed, skipped = passed + ok, failed + bad, skipped + skip
    print(f"{'FAIL' if bad else 'ok':4} {name:44} {ok:4} passed{f', {bad} FAILED' if bad else ''} {time.time() - t:6.1f} s", flush=True)
    if bad:
        print('\n'.join('     | ' + l for l in out.splitlines()[-60:]), flush=True)
print(f'{passed} passed, {failed} failed' + (f', {skipped} skipped' if skipped else ''))
sys.exit(1 if failed or not passed else 0)
