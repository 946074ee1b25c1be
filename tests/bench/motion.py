#!/usr/bin/env python3
"""Full motion at 1024x768: what a bare-metal guest draws, what the window shows, and what it costs.

motion.py QUERN GUEST.elf   (needs Xvfb; tests/bench/motion.mk calls it)
Each display alone, then with a VNC viewer that asks for everything and reads nothing.
"""
import os, re, shutil, socket, subprocess, sys, tempfile, time

SECONDS = 8             # of each phase of the guest (tests/guests/motion32.c)


def stuck_viewer(path):
    """An RFB 3.8 viewer without authentication (RFC 6143) that never reads a picture."""
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.recv(12); s.send(b"RFB 003.008\n")
    s.recv(64); s.send(b"\1")
    s.recv(4); s.send(b"\1")
    s.recv(1024)
    for _ in range(50):
        s.send(bytes([3, 0, 0, 0, 0, 0, 4, 0, 3, 0]))
    return s


def cpu(pid):
    """Seconds of the main thread and of the guest's processor."""
    used = {"main": 0.0, "guest": 0.0, "other": 0.0}
    for t in os.listdir(f"/proc/{pid}/task"):
        name = open(f"/proc/{pid}/task/{t}/comm").read()
        key = "main" if int(t) == pid else "guest" if name.startswith("cpu") else "other"
        used[key] += int(open(f"/proc/{pid}/task/{t}/schedstat").read().split()[0]) / 1e9
    return used


def wait_for(path, pattern, count, seconds):
    end = time.time() + seconds
    while time.time() < end:
        found = re.findall(pattern, open(path).read()) if os.path.exists(path) else []
        if len(found) >= count:
            return found
        time.sleep(0.05)
    sys.exit(f"motion: the guest did not say {pattern}")


def run(name, quern, guest, tmp, display, viewer):
    out, log, vnc = f"{tmp}/{name}.out", f"{tmp}/{name}.log", f"{tmp}/{name}.vnc"
    args = quern + ["-m", "64", "-kernel", guest, "-debugcon", f"file:{out}", "-monitor", "none", "-serial", "none",
                    "-nic", "none", "-display", display, "-trace", "sdl_present", "-D", log]
    if viewer:
        args += ["-vnc", f"unix:{vnc}"]
    p = subprocess.Popen(args, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        if viewer:
            while not os.path.exists(vnc):
                time.sleep(0.1)
            s = stuck_viewer(vnc)
        flat = int(wait_for(out, r"flat: (\w+)", 1, 90)[0], 16)
        shown, used = open(log).read().count("sdl_present"), cpu(p.pid)
        paced = int(wait_for(out, r"paced: (\w+)", 1, 90)[0], 16)
        shown = open(log).read().count("sdl_present") - shown
        used = {k: (v - used[k]) / SECONDS * 100 for k, v in cpu(p.pid).items()}
    finally:
        p.kill()
        p.wait()
    print(f"{name:14} {flat / SECONDS:8.1f} {paced / SECONDS:8.1f} {shown / SECONDS:8.1f}"
          f" {used['main']:8.1f} {used['guest']:8.1f} {used['other']:8.1f}", flush=True)


def main():
    quern, guest = sys.argv[1].split(), sys.argv[2]
    if not shutil.which("Xvfb"):
        print("skipped: no Xvfb")
        return
    r, w = os.pipe()
    x = subprocess.Popen(["Xvfb", "-displayfd", str(w), "-screen", "0", "1280x1024x24", "-nolisten", "tcp"], pass_fds=[w],
                         stderr=subprocess.DEVNULL)
    os.environ["DISPLAY"] = ":" + os.read(r, 16).decode().strip()
    try:
        with tempfile.TemporaryDirectory() as tmp:
            print("frames a second; % of a core while paced at 30\n"
                  f"{'display':14} {'flat out':>8} {'paced':>8} {'shown':>8} {'main':>8} {'guest':>8} {'other':>8}")
            for name, display, viewer in (("none", "none", False), ("sdl", "sdl", False), ("none+stuck", "none", True),
                                          ("sdl+stuck", "sdl", True)):
                run(name, quern, guest, tmp, display, viewer)
    finally:
        x.terminate()


main()
