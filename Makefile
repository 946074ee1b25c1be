# quern's build: one non-recursive makefile. Run ./configure first.
# In the source folder it builds into build/; in another folder, into that folder.
ifndef SRCDIR
B := build
ifeq ($(wildcard build/config.mk),)
ifneq ($(MAKECMDGOALS),clean)
$(error run ./configure first)
endif
endif
-include build/config.mk
SRCDIR := .
else
B := .
endif
MAKEFLAGS += -r
.DEFAULT_GOAL := all
.SUFFIXES:
.DELETE_ON_ERROR:
V ?= 0
Q := $(if $(filter 0,$(V)),@)

WARN := -Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers \
        -Wno-sign-compare $(if $(findstring clang,$(CC)),-Wno-gnu-variable-sized-type-not-at-end,-Wno-maybe-uninitialized) -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef \
        -Wwrite-strings -Wold-style-definition
QCFLAGS = -std=gnu11 $(OPT) $(SAN) $(WARN) -fno-strict-aliasing -fwrapv -pthread \
          -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DCONFIG_JIT_$(CONFIG_JIT)=1 \
          -DCONFIG_KVM_$(CONFIG_KVM)=1 -I$(SRCDIR) $(DEP_CFLAGS) $(CFLAGS)

# Sources: every .c of these folders; optional parts by configuration.
DIRS := util softmmu target/x86 block block/* net chardev ui hw/* accel accel/soft accel/interp \
        accel/null monitor gdbstub migration
DIRS += $(if $(filter yes,$(CONFIG_JIT)),accel/jit)
DIRS += $(if $(filter yes,$(CONFIG_KVM)),accel/kvm)
LIB_SRCS := $(sort $(patsubst $(SRCDIR)/%,%,$(foreach d,$(DIRS),$(wildcard $(SRCDIR)/$(d)/*.c))))
LIB_SRCS := $(filter-out $(if $(filter 0,$(CONFIG_SDL2)),ui/sdl%) \
                         $(if $(filter 0,$(CONFIG_VNC)),ui/vnc% ui/web%) \
                         $(if $(filter 0,$(CONFIG_CURSES)),ui/curses%),$(LIB_SRCS))
CLI_SRCS := $(sort $(patsubst $(SRCDIR)/%,%,$(wildcard $(SRCDIR)/cli/*.c)))
# Tests: each tests/DIR/test-*.c is a GLib test program; other .c files there are shared.
TEST_SRCS := $(sort $(patsubst $(SRCDIR)/%,%,$(wildcard $(SRCDIR)/tests/*/test-*.c)))
TEST_LIB_SRCS := $(filter-out $(TEST_SRCS),$(sort $(patsubst $(SRCDIR)/%,%,$(wildcard $(SRCDIR)/tests/*/*.c))))
TEST_LIB_SRCS := $(filter-out tests/guests/% tests/fuzz/%,$(TEST_LIB_SRCS))
TEST_SRCS := $(filter-out tests/guests/% tests/fuzz/%,$(TEST_SRCS))
ifneq ($(CONFIG_CAPSTONE),yes)
TEST_SRCS := $(filter-out tests/%-capstone.c,$(TEST_SRCS))
endif

obj = $(patsubst %.c,$(B)/obj/%.o,$(1))
LIB_OBJS := $(call obj,$(LIB_SRCS))
CLI_OBJS := $(call obj,$(CLI_SRCS))
TESTS := $(patsubst %.c,$(B)/%,$(TEST_SRCS))

# Every 64-bit host has CMPXCHG16B in practice, but compilers want to be told.
EXTRA_target_x86_int_lock := $(if $(filter x86_64,$(HOST)),-mcx16)

all: $(if $(CLI_SRCS),$(B)/quern,$(B)/libquern.a)
$(B)/obj/%.o: $(SRCDIR)/%.c $(wildcard $(B)/config.mk)
	@mkdir -p $(@D)
	$(if $(Q),@echo "  CC    $*.c")
	$(Q)$(CC) $(QCFLAGS) $(EXTRA_$(subst /,_,$*)) -MMD -MP -c -o $@ $<
# A source that went away must leave the archive too: its list is a prerequisite.
$(B)/obj/lib.list: FORCE
	@mkdir -p $(@D)
	@echo '$(LIB_OBJS)' | cmp -s - $@ || { echo '$(LIB_OBJS)' > $@.$$$$ && mv $@.$$$$ $@; }
FORCE:
$(B)/libquern.a: $(LIB_OBJS) $(B)/obj/lib.list
	$(if $(Q),@echo "  AR    $@")
	$(Q)rm -f $@.$$$$ && ar rcs $@.$$$$ $(LIB_OBJS) && mv $@.$$$$ $@
# Libraries are loaded at their first call (scripts/lazy-libs.sh): short commands need few of them.
LAZY := $(if $(SAN),,$(if $(filter x86_64,$(HOST)),yes))
$(B)/obj/lazy.s: $(CLI_OBJS) $(B)/libquern.a $(SRCDIR)/scripts/lazy-libs.sh
	$(Q)$(SRCDIR)/scripts/lazy-libs.sh "$(CC)" $@ $(B)/obj/lazy.libs "$(DEP_LIBS)" $(CLI_OBJS) $(B)/libquern.a
$(B)/obj/lazy.o: $(B)/obj/lazy.s
	$(Q)$(CC) -c -o $@.$$$$ $< && mv $@.$$$$ $@
$(B)/quern: $(CLI_OBJS) $(B)/libquern.a $(if $(LAZY),$(B)/obj/lazy.o)
	$(if $(Q),@echo "  LINK  $@")
	$(Q)$(CC) $(SAN) -pthread -o $@.$$$$ $(CLI_OBJS) $(if $(LAZY),$(B)/obj/lazy.o) $(B)/libquern.a \
	  $(if $(LAZY),$$(cat $(B)/obj/lazy.libs),$(DEP_LIBS)) $(LDFLAGS) && mv $@.$$$$ $@
$(B)/libtest.a: $(call obj,$(TEST_LIB_SRCS))
	$(Q)rm -f $@.$$$$ && ar rcs $@.$$$$ $^ && mv $@.$$$$ $@
$(TESTS): $(B)/tests/%: $(B)/obj/tests/%.o $(B)/libtest.a $(B)/libquern.a
	@mkdir -p $(@D)
	$(if $(Q),@echo "  LINK  $@")
	$(Q)$(CC) $(SAN) -pthread -o $@ $< $(B)/libtest.a $(B)/libquern.a $(B)/libtest.a $(DEP_LIBS) \
	  $(if $(filter %-capstone,$@),-lcapstone) $(LDFLAGS)

# Fast checks: lint and every unit program. Slow ones (boots, soak) are tests/sh/slow-*.sh.
check-fast: all $(TESTS)
	$(SRCDIR)/scripts/run-tests.py --build $(B) --src $(SRCDIR) --fast $(T)
check: all $(TESTS)
	$(SRCDIR)/scripts/run-tests.py --build $(B) --src $(SRCDIR) $(T)
# A guest verifies what its CPUs compute: make soak-stress SECS=600 ENGINE=jit CPUS=4
soak-stress: all
	QUERN=$(abspath $(B)/quern) $(SRCDIR)/tests/soak/stress-ng.sh $(or $(SECS),300) $(or $(ENGINE),jit) $(or $(CPUS),2)
# A Debian guest compiles, packs and moves data: make soak-work SECS=3600
soak-work: all
	QUERN=$(abspath $(B)/quern) $(SRCDIR)/tests/soak/work.sh $(or $(SECS),3600) $(or $(ENGINE),jit) $(or $(CPUS),2)
tests: $(TESTS)
run: $(B)/quern
	$(B)/quern $(ARGS)
install: $(B)/quern
	install -D -m 755 $(B)/quern $(DESTDIR)$(PREFIX)/bin/quern
clean:
	rm -rf $(B)/obj $(B)/tests $(B)/quern $(B)/*.a
.PHONY: FORCE all check check-fast soak-stress soak-work tests run install clean bench

-include $(wildcard $(SRCDIR)/tests/*/*.mk)
-include $(patsubst %.o,%.d,$(LIB_OBJS) $(CLI_OBJS) $(call obj,$(TEST_SRCS) $(TEST_LIB_SRCS)))
