/*
 * sys: the system calls /dev/kvm is driven with, as a table: the kernel's, or a test's.
 *
 * Every descriptor and mapping of the back-end goes through one KvmSys, so a test can record,
 * answer and refuse each call (tests/kvm). Results and errno as in the system calls.
 */
#ifndef ACCEL_KVM_SYS_H
#define ACCEL_KVM_SYS_H

#include "softmmu/accel.h"

typedef struct KvmSys {
    int (*open)(const char *path, int flags);
    int (*close)(int fd);
    int (*ioctl)(int fd, unsigned long request, void *arg);     /* numbers travel as pointers */
    void *(*mmap)(size_t len, int fd, uint64_t offset);         /* shared, read and write; NULL: errno */
    int (*munmap)(void *p, size_t len);
} KvmSys;

extern const KvmSys kvm_sys_host;

/* What the Accel's probe and create do, on a given table. */
bool kvm_probe_on(const KvmSys *sys, const void *cpu_model, GError **why);
bool kvm_create_on(Machine *m, const KvmSys *sys, GHashTable *opts, GError **err) MUST_CHECK;

#endif
