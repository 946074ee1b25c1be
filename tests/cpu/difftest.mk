# make difftest N=1000000 [CLASSES=sse,avx] [ENGINE=interp] [SEED=1]: the differential tester at length.
N ?= 1000000
ENGINE ?= interp
SEED ?= 1
difftest: $(B)/tests/cpu/test-difftest-capstone
	$< --cases $(N) --seed $(SEED) --engine $(ENGINE) --compat $(if $(CLASSES),--classes $(CLASSES))
.PHONY: difftest
