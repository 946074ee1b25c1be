# Full motion through the window and past a stuck VNC viewer: make bench-motion (needs Xvfb).
bench-motion: $(B)/quern
	$(SRCDIR)/tests/guests/build.sh $(B)/guests
	taskset -c 0 $(SRCDIR)/tests/bench/motion.py "$(abspath $(B)/quern) -accel jit" $(abspath $(B)/guests/motion32.elf)
bench: bench-motion
.PHONY: bench-motion
