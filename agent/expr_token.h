/* The words and signs of conditions; the language is described at the head of expr.c. */
#ifndef SPLASHDAM_EXPR_TOKEN_H
#define SPLASHDAM_EXPR_TOKEN_H

#include "agent/quote.h"

enum token {
    T_END,
    T_OPEN,
    T_CLOSE,
    T_LIST,
    T_LIST_END,
    T_COMMA,
    T_EQ,
    T_NE,
    T_LT,
    T_LE,
    T_GT,
    T_GE,
    T_MATCH,
    T_NOT_MATCH,
    T_AND,
    T_OR,
    T_NOT,
    T_IN,
    T_EXISTS,
    T_NAME,
    T_QUOTED_NAME,
    T_NUMBER,
    T_TEXT,
    T_BOOL,
    T_NULL,
    T_WRONG, /* the error is set */
};

struct tokens {
    const char *source; /* the text as it was given, for columns and errors */
    char *copy;         /* the same, unescaped in place */
    char *at;           /* in the copy */
    char *start;        /* of the token */
    enum token token;
    struct slice value; /* the token's text, unescaped */
    bool want_regex;    /* what comes is a regular expression */
    struct error *error;
    bool failed;
};

/* Steps to the next token; stays where one was wrong. */
void tokens_next(struct tokens *tokens);
/* Sets the error, with the token's column before it, unless there is one already. Returns -1. */
int tokens_wrong(struct tokens *tokens, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The token as it stands in the source, for an error. */
struct quoted tokens_shown(const struct tokens *tokens);
/* What an operator of other languages is called here; NULL: nothing known. */
const char *tokens_other_name(struct slice word);

#endif
