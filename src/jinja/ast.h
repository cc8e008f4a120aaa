/* src/jinja/ast.h: a compiled template: a tree of nodes in one arena. */
#ifndef OM_JINJA_AST_H
#define OM_JINJA_AST_H

#include "base/map.h"
#include "jinja/value.h"

enum jj_node_type {
    /* expressions */
    JJ_N_CONST,   /* value */
    JJ_N_NAME,    /* id */
    JJ_N_LIST,    /* body */
    JJ_N_TUPLE,   /* body */
    JJ_N_DICT,    /* body: keys and values in turn */
    JJ_N_ATTR,    /* a . value */
    JJ_N_ITEM,    /* a [ b ] */
    JJ_N_SLICE,   /* body: three bounds, NULL where left out; only as b of JJ_N_ITEM */
    JJ_N_CALL,    /* a ( args ) */
    JJ_N_FILTER,  /* a | text ( args ); a NULL: what the block holds */
    JJ_N_TEST,    /* a is text ( args ) */
    JJ_N_NOT,     /* a */
    JJ_N_NEG,     /* a */
    JJ_N_POS,     /* a */
    JJ_N_AND,     /* a, b */
    JJ_N_OR,      /* a, b */
    JJ_N_BINARY,  /* a text b */
    JJ_N_CONCAT,  /* body */
    JJ_N_COMPARE, /* a, then body: JJ_N_OPERAND */
    JJ_N_OPERAND, /* text a */
    JJ_N_COND,    /* a if b else c; c NULL */
    /* arguments of calls */
    JJ_N_ARG,        /* a */
    JJ_N_NAMED_ARG,  /* text = a */
    JJ_N_LIST_ARG,   /* *a */
    JJ_N_DICT_ARG,   /* **a */
    /* statements */
    JJ_N_TEXT,         /* text */
    JJ_N_PRINT,        /* a */
    JJ_N_IF,           /* body: JJ_N_BRANCH */
    JJ_N_BRANCH,       /* a (NULL: else), body */
    JJ_N_FOR,          /* a in b if c: body, other; flag: recursive */
    JJ_N_SET,          /* a = b */
    JJ_N_SET_BLOCK,    /* a = body | b (NULL) */
    JJ_N_SET_MEMBER,   /* target of an assignment: id . value */
    JJ_N_MACRO,        /* id, params, body */
    JJ_N_CALL_BLOCK,   /* call a with caller(params): body */
    JJ_N_FILTER_BLOCK, /* body | b */
    JJ_N_WITH,         /* params: body */
    JJ_N_SCOPE,        /* body: {% generation %} */
    JJ_N_BREAK,
    JJ_N_CONTINUE,
    JJ_N_PARAM /* id or a target a, with default or value b (NULL) */
};

struct jj_nodes {
    struct jj_node **items;
    size_t len;
};

/* What a macro's body asks for beside its parameters. */
enum { JJ_USES_CALLER = 1, JJ_USES_KWARGS = 2, JJ_USES_VARARGS = 4 };

struct jj_node {
    enum jj_node_type type;
    uint32_t line, id;
    unsigned uses;
    bool flag;
    om_sv text;
    jj_val value;
    const struct jj_builtin *builtin; /* of filters and tests; NULL: unknown, an error when reached */
    struct jj_node *a, *b, *c;
    struct jj_nodes body, other, params, args;
};

/* Names that every template has. */
enum { JJ_ID_LOOP, JJ_ID_CALLER, JJ_ID_VARARGS, JJ_ID_KWARGS };

struct jj_name {
    om_sv text;
    const struct jj_builtin *function; /* the global of that name */
};

struct jinja_template {
    struct om_arena arena;
    const char *name;
    struct jj_nodes body;
    struct jj_name *names; /* by id */
    size_t names_len, names_cap;
    struct om_map index; /* of names */
};

/* What Jinja or Python has and this does not, for messages. */
bool jj_listed(const char *const *names, om_sv name);
const char *jj_unknown_text(bool filter, om_sv name); /* "does not exist", "is not implemented" */

#endif
