/*
 * img: the image tool, `quern img VERB`, also when the program is called qemu-img.
 *
 * Exit codes and texts that programs parse are listed in docs/img.md.
 */
#ifndef CLI_IMG_H
#define CLI_IMG_H

/* argv[0] is the program's name, argv[1] the verb. Returns the exit code. */
int img_main(int argc, char **argv);

#endif
