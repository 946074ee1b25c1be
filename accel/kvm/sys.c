/* sys: the kernel behind KvmSys. */
#include "accel/kvm/sys.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static int host_open(const char *path, int flags)
{
    return open(path, flags);
}

static int host_ioctl(int fd, unsigned long request, void *arg)
{
    return ioctl(fd, request, arg);
}

static void *host_mmap(size_t len, int fd, uint64_t offset)
{
    void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);

    return p == MAP_FAILED ? NULL : p;
}

const KvmSys kvm_sys_host = {
    .open = host_open, .close = close, .ioctl = host_ioctl, .mmap = host_mmap, .munmap = munmap,
};
