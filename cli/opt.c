/* cli/opt.c: parsing by table, and the help that the same table prints. */
#include "cli/opt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

#include <optimum/export.h>

#define HELP_COLUMN 30
#define HELP_WIDTH 100

/* ---- help ---- */

static bool takes_value(const struct opt *o)
{
    return o->kind != OPT_KIND_FLAG && o->kind != OPT_KIND_COUNT &&
           (o->kind != OPT_KIND_REFUSE || o->metavar != NULL);
}

static bool is_positional(const struct opt *o)
{
    return o->kind == OPT_KIND_ARG || o->kind == OPT_KIND_ARGS;
}

static void print_choices(FILE *f, const struct opt *o)
{
    fputc('{', f);
    for (const struct opt_choice *c = o->choices; c->name != NULL; c++)
        fprintf(f, "%s%s", c == o->choices ? "" : ",", c->name);
    fputc('}', f);
}

static void print_metavar(FILE *f, const struct opt *o)
{
    if (o->kind == OPT_KIND_CHOICE)
        print_choices(f, o);
    else
        fputs(o->metavar, f);
}

static bool has_optional(const struct opt *opts)
{
    for (const struct opt *o = opts; o->kind != OPT_KIND_END; o++)
        if (o->kind != OPT_KIND_GROUP && !is_positional(o) &&
            !(o->flags & (OPT_REQUIRED | OPT_HIDDEN)))
            return true;
    return false;
}

static void print_usage(FILE *f, const struct cli *cli, const struct opt *opts)
{
    fprintf(f, "usage: %s [-h]", cli->command);
    for (const struct opt *o = opts; o->kind != OPT_KIND_END; o++) {
        if (o->kind == OPT_KIND_GROUP || is_positional(o) || !(o->flags & OPT_REQUIRED))
            continue;
        fprintf(f, " --%s ", o->name);
        print_metavar(f, o);
    }
    if (has_optional(opts))
        fputs(" [options]", f);
    for (const struct opt *o = opts; o->kind != OPT_KIND_END; o++)
        if (is_positional(o))
            fprintf(f, o->flags & OPT_REQUIRED ? " %s%s" : " [%s%s]", o->metavar,
                    o->kind == OPT_KIND_ARGS ? " ..." : "");
    fputc('\n', f);
}

/* The text wrapped at HELP_WIDTH, every line from HELP_COLUMN on. */
static void print_wrapped(FILE *f, const char *text, int column)
{
    while (*text != '\0') {
        const char *end = strchr(text, ' ');
        const int len = end != NULL ? (int)(end - text) : (int)strlen(text);

        if (column > HELP_COLUMN && column + len + 1 > HELP_WIDTH) {
            fprintf(f, "\n%*s", HELP_COLUMN, "");
            column = HELP_COLUMN;
        }
        column += fprintf(f, "%s%.*s", column > HELP_COLUMN ? " " : "", len, text);
        text += len + (end != NULL);
    }
    fputc('\n', f);
}

static int print_name(FILE *f, const struct opt *o)
{
    char choices[256] = "";
    int n;

    if (is_positional(o))
        return fprintf(f, "  %s", o->metavar);
    if (o->short_name != 0)
        n = fprintf(f, "  -%c, --%s", o->short_name, o->name);
    else
        n = fprintf(f, "  --%s", o->name);
    if (!takes_value(o))
        return n;
    if (o->kind != OPT_KIND_CHOICE)
        return n + fprintf(f, " %s", o->metavar);
    for (const struct opt_choice *c = o->choices; c->name != NULL; c++)
        snprintf(choices + strlen(choices), sizeof(choices) - strlen(choices), "%s%s",
                 c == o->choices ? "" : ",", c->name);
    return n + fprintf(f, " {%s}", choices);
}

static void print_help(const struct cli *cli, const char *summary, const struct opt *opts)
{
    print_usage(stdout, cli, opts);
    printf("\n%s\n", summary);
    for (const struct opt *o = opts; o->kind != OPT_KIND_END; o++) {
        int column;

        if (o->kind == OPT_KIND_GROUP) {
            printf("\n%s:\n", o->name);
            continue;
        }
        if (o->kind == OPT_KIND_REFUSE || (o->flags & OPT_HIDDEN))
            continue;
        column = print_name(stdout, o);
        if (column + 2 > HELP_COLUMN) {
            putchar('\n');
            column = 0;
        }
        printf("%*s", HELP_COLUMN - column, "");
        print_wrapped(stdout, o->help, HELP_COLUMN);
    }
    printf("\n  -h, --help%*sshow this help\n", HELP_COLUMN - 12, "");
}

/* ---- parsing ---- */

struct parse {
    const struct cli *cli;
    const struct opt *opts;
    const char *summary;
    int argc;
    char **argv;
    int at;
    bool seen[128]; /* by index into opts */
};

static bool is_option(const struct opt *o)
{
    return o->kind != OPT_KIND_GROUP && !is_positional(o);
}

/* Compare with hyphen and underscore taken as equal; *exact tells whether s is the whole name. */
static bool name_starts(const char *name, const char *s, size_t len, bool *exact)
{
    for (size_t i = 0; i < len; i++) {
        const char a = name[i] == '_' ? '-' : name[i];
        const char b = s[i] == '_' ? '-' : s[i];

        if (a != b)
            return false;
    }
    *exact = name[len] == '\0';
    return true;
}

static const struct opt *fail_unknown(struct parse *p, const char *arg, size_t len)
{
    const char *names[129];
    const char *nearest;
    size_t n = 0;

    for (const struct opt *o = p->opts; o->kind != OPT_KIND_END && n + 1 < OM_COUNT(names); o++)
        if (is_option(o))
            names[n++] = o->name;
    names[n] = NULL;
    nearest = om_sv_nearest((om_sv){ arg, len }, names);
    cli_usage_error(p->cli, "unknown option --%.*s%s%s%s", (int)len, arg,
                    nearest ? "; did you mean --" : "", nearest ? nearest : "", nearest ? "?" : "");
    return NULL;
}

/* A whole name is that option, whichever longer names begin with it. */
static const struct opt *find_long(struct parse *p, const char *arg, size_t len)
{
    const struct opt *found = NULL, *second = NULL;

    for (const struct opt *o = p->opts; o->kind != OPT_KIND_END; o++) {
        bool exact;

        if (!is_option(o) || !name_starts(o->name, arg, len, &exact))
            continue;
        if (exact)
            return o;
        if (found == NULL)
            found = o;
        else if (second == NULL)
            second = o;
    }
    if (found == NULL)
        return fail_unknown(p, arg, len);
    if (second == NULL)
        return found;
    cli_usage_error(p->cli, "option --%.*s is ambiguous: --%s, --%s", (int)len, arg, found->name,
                    second->name);
    return NULL;
}

static const struct opt *find_short(struct parse *p, char c)
{
    for (const struct opt *o = p->opts; o->kind != OPT_KIND_END; o++)
        if (is_option(o) && o->short_name == c)
            return o;
    cli_usage_error(p->cli, "unknown option -%c", c);
    return NULL;
}

static int store_int(const struct parse *p, const struct opt *o, const char *text)
{
    int64_t v;

    if (!om_sv_i64(om_sv_str(text), &v))
        return cli_usage_error(p->cli, "--%s: expected an integer, found \"%s\"", o->name, text);
    if (v < o->min)
        return cli_usage_error(p->cli, "--%s: expected an integer from %" PRId64 ", found %" PRId64,
                               o->name, o->min, v);
    *(int64_t *)o->out = v;
    return 0;
}

static int store_real(const struct parse *p, const struct opt *o, const char *text)
{
    double v;

    if (!om_sv_f64(om_sv_str(text), &v) || !(v >= 0.0))
        return cli_usage_error(p->cli, "--%s: expected a number from 0, found \"%s\"", o->name,
                               text);
    *(double *)o->out = v;
    return 0;
}

static int store_choice(const struct parse *p, const struct opt *o, const char *text)
{
    for (const struct opt_choice *c = o->choices; c->name != NULL; c++) {
        if (strcmp(c->name, text) == 0) {
            *(int *)o->out = c->value;
            return 0;
        }
    }
    fprintf(stderr, "%s: error: --%s: invalid choice \"%s\" (choose from ", p->cli->command,
            o->name, text);
    print_choices(stderr, o);
    fprintf(stderr, ")\n");
    return CLI_USAGE;
}

static int store(struct parse *p, const struct opt *o, const char *value)
{
    if ((size_t)(o - p->opts) < OM_COUNT(p->seen))
        p->seen[o - p->opts] = true;
    switch (o->kind) {
    case OPT_KIND_STR:
    case OPT_KIND_ARG:
        *(const char **)o->out = value;
        return 0;
    case OPT_KIND_ARGS:
        return 0; /* by parse_positional() */
    case OPT_KIND_INT:
        return store_int(p, o, value);
    case OPT_KIND_REAL:
        return store_real(p, o, value);
    case OPT_KIND_CHOICE:
        return store_choice(p, o, value);
    case OPT_KIND_FLAG:
        *(bool *)o->out = true;
        return 0;
    case OPT_KIND_COUNT:
        ++*(int *)o->out;
        return 0;
    case OPT_KIND_REFUSE:
        return cli_usage_error(p->cli, "--%s is not applicable: %s", o->name, o->help);
    case OPT_KIND_END:
    case OPT_KIND_GROUP:
        break;
    }
    return 0;
}

/* attached: the text after "=" or behind a short option, NULL when there is none. */
static int parse_value(struct parse *p, const struct opt *o, const char *attached)
{
    if (!takes_value(o)) {
        if (attached != NULL)
            return cli_usage_error(p->cli, "--%s takes no value", o->name);
        return store(p, o, NULL);
    }
    if (attached == NULL) {
        if (p->at + 1 >= p->argc)
            return cli_usage_error(p->cli, "--%s: expected a value", o->name);
        attached = p->argv[++p->at];
    }
    return store(p, o, attached);
}

static int parse_long(struct parse *p, const char *arg)
{
    const char *eq = strchr(arg, '=');
    const size_t len = eq != NULL ? (size_t)(eq - arg) : strlen(arg);
    const struct opt *o = find_long(p, arg, len);

    return o == NULL ? CLI_USAGE : parse_value(p, o, eq != NULL ? eq + 1 : NULL);
}

static int parse_short(struct parse *p, const char *arg)
{
    for (; *arg != '\0'; arg++) {
        const struct opt *o = find_short(p, *arg);
        int rc;

        if (o == NULL)
            return CLI_USAGE;
        if (takes_value(o))
            return parse_value(p, o, arg[1] != '\0' ? arg + 1 : NULL);
        rc = store(p, o, NULL);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* argv up to here has been read, so there is room at its start. */
static void collect(struct parse *p, const struct opt *o, char *arg)
{
    struct opt_args *const args = o->out;

    args->items = p->argv;
    args->items[args->len++] = arg;
    if ((size_t)(o - p->opts) < OM_COUNT(p->seen))
        p->seen[o - p->opts] = true;
}

static int parse_positional(struct parse *p, char *arg)
{
    for (const struct opt *o = p->opts; o->kind != OPT_KIND_END; o++) {
        if (o->kind == OPT_KIND_ARGS) {
            collect(p, o, arg);
            return 0;
        }
        if (o->kind == OPT_KIND_ARG && !p->seen[o - p->opts])
            return store(p, o, arg);
    }
    return cli_usage_error(p->cli, "unexpected argument \"%s\"", arg);
}

static int check_required(const struct parse *p)
{
    for (const struct opt *o = p->opts; o->kind != OPT_KIND_END; o++) {
        if (!(o->flags & OPT_REQUIRED) || p->seen[o - p->opts])
            continue;
        return cli_usage_error(p->cli, is_positional(o) ? "%s is required" : "--%s is required",
                               o->name);
    }
    return 0;
}

bool opt_parse(const struct cli *cli, const char *summary, const struct opt *opts, int argc,
               char **argv, int *status)
{
    struct parse p = { .cli = cli, .opts = opts, .summary = summary, .argc = argc, .argv = argv };
    bool only_positional = false;

    *status = CLI_USAGE;
    for (p.at = 0; p.at < argc; p.at++) {
        char *arg = argv[p.at];
        int rc;

        if (!only_positional && (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0)) {
            print_help(cli, summary, opts);
            *status = CLI_OK;
            return false;
        }
        if (!only_positional && strcmp(arg, "--") == 0) {
            only_positional = true;
            continue;
        }
        if (!only_positional && arg[0] == '-' && arg[1] == '-')
            rc = parse_long(&p, arg + 2);
        else if (!only_positional && arg[0] == '-' && arg[1] != '\0')
            rc = parse_short(&p, arg + 1);
        else
            rc = parse_positional(&p, arg);
        if (rc != 0)
            return false;
    }
    return check_required(&p) == 0;
}

bool opt_given(int argc, char **argv, const char *name)
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], name) == 0)
            return true;
    return false;
}

const struct opt_choice cli_offline_levels[] = { { "off", OM_OFFLINE_NONE },
                                                 { "basic", OM_OFFLINE_BASIC },
                                                 { "extended", OM_OFFLINE_EXTENDED },
                                                 { "all", OM_OFFLINE_ALL },
                                                 { NULL, 0 } };

bool opt_split(const char *text, void **buffer, const char *const **list)
{
    const size_t len = text ? strlen(text) : 0;
    const char **parts;
    char *copy;
    size_t n = 0;

    *buffer = NULL;
    if (len == 0)
        return true;
    parts = malloc((len + 2) * sizeof(*parts) + len + 1);
    if (!parts)
        return false;
    copy = memcpy(parts + len + 2, text, len + 1);
    for (char *rest = copy, *part; (part = strsep(&rest, ",")) != NULL;)
        if (part[0] != '\0')
            parts[n++] = part;
    parts[n] = NULL;
    *buffer = parts;
    *list = parts;
    return true;
}
