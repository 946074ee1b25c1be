# Long runs of the image tests: make crash, make fuzz-block, make bench-img, make matrix.
KILLS ?= 3000
FUZZ_SECONDS ?= 600
# Every fault position, thousands of power cuts, thousands of kills of a workload and of the image tool.
crash: $(B)/quern $(B)/tests/block/test-crash $(B)/tests/block/test-kill $(B)/tests/block/test-formats
	$(B)/tests/block/test-crash -m slow
	$(B)/tests/block/test-formats -m slow
	KILLS=$(KILLS) $(B)/tests/block/test-kill
	KILLS=$(KILLS) QUERN=$(abspath $(B))/quern QUERN_SRC=$(abspath $(SRCDIR)) bash $(SRCDIR)/tests/sh/img-kill.sh

matrix: $(B)/quern
	QUERN=$(abspath $(B))/quern QUERN_SRC=$(abspath $(SRCDIR)) LIMIT=$(or $(LIMIT),600) bash $(SRCDIR)/tests/block/img-matrix.sh

# libFuzzer (clang): every format opener, with a corpus of small images made first.
fuzz-block: $(B)/quern
	@mkdir -p $(B)/fuzz/corpus
	clang $(filter-out -Werror,$(QCFLAGS)) -Wno-everything -fsanitize=fuzzer,address,undefined -o $(B)/fuzz/image \
	  $(SRCDIR)/tests/fuzz/fuzz-image.c $(addprefix $(SRCDIR)/,$(filter block/% util/%,$(LIB_SRCS))) $(DEP_LIBS) $(LDFLAGS)
	$(SRCDIR)/tests/fuzz/image-corpus.sh $(abspath $(B))/quern $(B)/fuzz/corpus
	$(B)/fuzz/image -artifact_prefix=$(B)/fuzz/ -max_len=65536 -rss_limit_mb=1024 -malloc_limit_mb=512 -timeout=60 -max_total_time=$(FUZZ_SECONDS) $(B)/fuzz/corpus

bench-img: $(B)/quern
	QUERN=$(abspath $(B))/quern bash $(SRCDIR)/tests/block/bench-img.sh
bench: bench-img
.PHONY: crash matrix fuzz-block bench-img
