# make bench-kvm: user programs under -accel kvm against the same on the host (MILLIONS=100 sizes the jobs).
bench-kvm: $(B)/quern
	python3 $(SRCDIR)/tests/bench/bench-kvm.py $(abspath $(B)/quern) $(or $(MILLIONS),100)
bench: bench-kvm
.PHONY: bench-kvm
