/* cli/opt.h: command-line options as a table that parses arguments and prints the help.
 *
 * Long options may be written with hyphens or underscores, as --name VALUE or --name=VALUE, and shortened while that is
 * unambiguous, as argparse allows. "--" ends the options. */
#ifndef CLI_OPT_H
#define CLI_OPT_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/cli.h"

enum opt_kind {
    OPT_KIND_END,
    OPT_KIND_GROUP,  /* a heading of the help */
    OPT_KIND_STR,    /* const char * */
    OPT_KIND_INT,    /* int64_t */
    OPT_KIND_REAL,   /* double */
    OPT_KIND_FLAG,   /* bool: set to true */
    OPT_KIND_COUNT,  /* int: counts its occurrences */
    OPT_KIND_CHOICE, /* int: the value of the matching choice */
    OPT_KIND_REFUSE, /* known from Optimum, without meaning here; takes a value when metavar is set */
    OPT_KIND_ARG,    /* const char *: a positional argument */
    OPT_KIND_ARGS    /* struct opt_args: the positional arguments that are left */
};

struct opt_choice {
    const char *name;
    int value;
};

struct opt_args {
    char **items; /* in argv, whose order changes */
    size_t len;
};

enum opt_flags { OPT_REQUIRED = 1 << 0, OPT_HIDDEN = 1 << 1 };

struct opt {
    enum opt_kind kind;
    char short_name; /* 0: none */
    const char *name;
    const char *metavar;
    void *out;
    const char *help; /* of OPT_KIND_REFUSE: what to do instead */
    const struct opt_choice *choices; /* ends with a NULL name */
    int64_t min;      /* of OPT_KIND_INT */
    unsigned flags;
};

#define OPT_GROUP(title) { .kind = OPT_KIND_GROUP, .name = (title) }
#define OPT_STR(s, n, dst, mv, h, f) \
    { .kind = OPT_KIND_STR, .short_name = (s), .name = (n), .out = (dst), .metavar = (mv), .help = (h), .flags = (f) }
#define OPT_INT(s, n, dst, mv, least, h) \
    { .kind = OPT_KIND_INT, .short_name = (s), .name = (n), .out = (dst), .metavar = (mv), .min = (least), .help = (h) }
#define OPT_REAL(s, n, dst, mv, h) \
    { .kind = OPT_KIND_REAL, .short_name = (s), .name = (n), .out = (dst), .metavar = (mv), .help = (h) }
#define OPT_FLAG(s, n, dst, h) { .kind = OPT_KIND_FLAG, .short_name = (s), .name = (n), .out = (dst), .help = (h) }
#define OPT_COUNTER(s, n, dst, h) { .kind = OPT_KIND_COUNT, .short_name = (s), .name = (n), .out = (dst), .help = (h) }
#define OPT_CHOICE(s, n, dst, c, h) \
    { .kind = OPT_KIND_CHOICE, .short_name = (s), .name = (n), .out = (dst), .choices = (c), .help = (h) }
#define OPT_REFUSED(n, mv, instead) { .kind = OPT_KIND_REFUSE, .name = (n), .metavar = (mv), .help = (instead) }
#define OPT_ARG(mv, dst, h, f) { .kind = OPT_KIND_ARG, .name = (mv), .metavar = (mv), .out = (dst), .help = (h), .flags = (f) }
#define OPT_ARGS(mv, dst, h, f) { .kind = OPT_KIND_ARGS, .name = (mv), .metavar = (mv), .out = (dst), .help = (h), .flags = (f) }
/* For the help of commands that build models: main.c has taken it out of the arguments. */
#define OPT_PLUGIN(cli)                                                                            \
    OPT_STR(0, "plugin", &(cli)->plugin, "FILE",                                                    \
            "a shared object with more model types (may be repeated; OPTIMUM_PLUGINS=FILE:FILE "    \
            "does the same)",                                                                       \
            0)
#define OPT_END { .kind = OPT_KIND_END }

/* Fill the outs. False: the command ends here with *status, after the help (-h, --help) or a message was printed. */
bool opt_parse(const struct cli *cli, const char *summary, const struct opt *opts, int argc,
               char **argv, int *status);

/* Whether an argument list names an option (before "--"), for commands that look ahead such as --list. */
bool opt_given(int argc, char **argv, const char *name);

/* The values of --onnxruntime-level. */
extern const struct opt_choice cli_offline_levels[];

/* Parts of text between commas, as a list that ends with NULL, empty ones left out: *buffer holds
 * both, for free(). Without text there is no list. False: out of memory. */
bool opt_split(const char *text, void **buffer, const char *const **list);

#endif
