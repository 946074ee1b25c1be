# make bench-bochs: the interpreter against Debian's bochs on the same guest (ROUNDS=3).
bench-bochs: $(B)/quern
	python3 $(SRCDIR)/tests/bench/bench-bochs.py $(B)/quern $(or $(ROUNDS),1)
bench: bench-bochs
.PHONY: bench-bochs
