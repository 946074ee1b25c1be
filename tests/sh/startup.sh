#!/bin/bash
# startup: a short command loads few libraries; window, network and JSON libraries come with their first call.
set -u
file -b "$QUERN" | grep -q 'x86-64' || { echo "1..0 # SKIP other host"; exit 77; }
nm "$QUERN" 2>/dev/null | grep -q lazylib_table || { echo "1..0 # SKIP all libraries are linked"; exit 77; }
nm "$QUERN" 2>/dev/null | grep -q __asan_init && { echo "1..0 # SKIP a sanitizer loads its own"; exit 77; }
BAD=0 N=0
check() { N=$((N + 1)); if [ "$2" = 0 ]; then echo "ok $N - $1"; else echo "not ok $N - $1"; BAD=1; fi; }
n=$(LD_TRACE_LOADED_OBJECTS=1 "$QUERN" | wc -l); [ "$n" -le 12 ]; check "$n libraries at the start" $?
LD_TRACE_LOADED_OBJECTS=1 "$QUERN" | grep -qE 'SDL|vnc|gio|X11'; [ $? = 1 ]; check "no window library among them" $?
out=$("$QUERN" img info --image-opts '{"driver":"null-co"}' 2>&1); [ $? -le 1 ]; check "JSON comes when needed ($(echo "$out" | head -1))" $?
out=$(echo '{"execute":"qmp_capabilities"}{"execute":"quit"}' |
      timeout 60 "$QUERN" -M none -nodefaults -display none -qmp stdio -S 2>&1); case $out in *'"return"'*) true ;; *) false ;; esac
check "QMP over the lazily loaded library" $?
echo "1..$N"; exit $BAD
