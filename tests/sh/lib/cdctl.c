/* cdctl: opens, closes or locks the tray of a CD drive through the kernel. usage: cdctl DEVICE eject|close|lock|unlock|status */
#include <fcntl.h>
#include <limits.h>
#include <linux/cdrom.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
int main(int argc, char **argv)
{
    int fd = argc > 2 ? open(argv[1], O_RDONLY | O_NONBLOCK) : -1, r;

    if (fd < 0)
        return 1;
    r = !strcmp(argv[2], "eject") ? ioctl(fd, CDROMEJECT, 0) : !strcmp(argv[2], "close") ? ioctl(fd, CDROMCLOSETRAY, 0) :
        !strcmp(argv[2], "lock") ? ioctl(fd, CDROM_LOCKDOOR, 1) : !strcmp(argv[2], "unlock") ? ioctl(fd, CDROM_LOCKDOOR, 0) :
        ioctl(fd, CDROM_DRIVE_STATUS, CDSL_CURRENT);
    printf("%s %s: %d\n", argv[1], argv[2], r);
    return 0;
}
