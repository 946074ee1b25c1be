#!/bin/sh
# try-installer: sets everything up, makes a Debian installer CD and boots it: in a window, or in this terminal.
# usage: scripts/try-installer.sh [quern options]
set -eu
cd "$(dirname "$0")/.."
scripts/setup.sh
[ -f build/debian-installer.iso ] || scripts/make-installer-cd.sh build/debian-installer.iso
if [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ]; then display=sdl; else display=curses; fi
case $display in
curses) keys="Ctrl-] then q" ;;
*) keys="closing the window, or Ctrl-C here," ;;
esac
echo "Booting the Debian installer (-display $display); $keys ends it."
exec build/quern -display $display -m 1G build/debian-installer.iso "$@"
