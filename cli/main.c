/* main: picks a verb by the program's name or first word; without one, launches a machine. */
#include "cli/cli.h"

#include <stdlib.h>

int verb_help(int argc, char **argv);
#define VERB(n, alias, fn, help) int fn(int argc, char **argv);
#include "cli/verbs.def"
#undef VERB

static const struct Verb { const char *name, *program; int (*fn)(int, char **); const char *help; } verbs[] = {
#define VERB(n, alias, fn, help) { n, alias, fn, help },
#include "cli/verbs.def"
#undef VERB
};

int verb_help(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "verbs")) {
        for (size_t i = 0; i < G_N_ELEMENTS(verbs); i++)
            printf("quern %-8s %s\n", verbs[i].name, verbs[i].help);
        return 0;
    }
    cli_print_help();
    return 0;
}

static int launch(int argc, char **argv, bool want_kvm)
{
    g_autoptr(GError) err = NULL;
    Cli cli;
    int rc;

    cli_init(&cli);
    if (want_kvm)
        g_ptr_array_add(cli.accels, optlist_parse("auto", "accel", NULL));
    switch (cli_parse(&cli, argc, argv, &err)) {
    case CLI_DONE:
        rc = EXIT_SUCCESS;
        break;
    case CLI_BAD:
        fprintf(stderr, "quern: %s\n", err->message);
        rc = EXIT_FAILURE;
        break;
    default:
        rc = cli_launch(&cli);
    }
    cli_clear(&cli);
    return rc;
}

int main(int argc, char **argv)
{
    g_autofree char *prog = g_path_get_basename(argc ? argv[0] : "quern");

    for (size_t i = 0; i < G_N_ELEMENTS(verbs); i++)
        if (verbs[i].program && !strcmp(prog, verbs[i].program))
            return verbs[i].fn(argc, argv);
    if (argc > 1)
        for (size_t i = 0; i < G_N_ELEMENTS(verbs); i++)
            if (!strcmp(argv[1], verbs[i].name) && !g_file_test(argv[1], G_FILE_TEST_EXISTS))
                return verbs[i].fn(argc - 1, argv + 1);
    return launch(argc, argv, !strcmp(prog, "kvm"));
}
