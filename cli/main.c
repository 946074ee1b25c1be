/*
 * main: dispatches the verbs of the program.
 */
#include <stdio.h>
#include <string.h>
#include "cli/img.h"

int main(int argc, char **argv)
{
    const char *base = strrchr(argv[0], '/');

    base = base ? base + 1 : argv[0];
    if (!strcmp(base, "qemu-img"))
        return img_main(argc, argv);
    if (argc > 1 && !strcmp(argv[1], "img"))
        return img_main(argc - 1, (argv[1] = argv[0], argv + 1));
    fprintf(stderr, "usage: %s img command ...\n", base);
    return 1;
}
