/* fdfmt: formats every track of a floppy through the kernel's driver. */
#include <fcntl.h>
#include <linux/fd.h>
#include <stdio.h>
#include <sys/ioctl.h>
int main(int argc, char **argv)
{
    struct floppy_struct g;
    struct format_descr f = { 0 };
    int fd = open(argv[1], O_RDWR);

    if (fd < 0 || ioctl(fd, FDGETPRM, &g) < 0 || ioctl(fd, FDFMTBEG, 0) < 0)
        return 1;
    for (f.track = 0; f.track < g.track; f.track++)
        for (f.head = 0; f.head < g.head; f.head++)
            if (ioctl(fd, FDFMTTRK, &f) < 0)
                return 2;
    if (ioctl(fd, FDFMTEND, 0) < 0)
        return 3;
    printf("formatted %u tracks\n", g.track);
    return 0;
}
