/* Tokens of a condition. Text in quotes is unescaped in place, in a copy of the condition: it never gets longer. */
#include "agent/expr_token.h"

#include <stdarg.h>
#include <stdio.h>

int tokens_wrong(struct tokens *tokens, const char *format, ...)
{
    if (tokens->failed)
        return -1;
    tokens->failed = true;
    char what[sizeof(tokens->error->text)];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    int column = 1;
    const char *start = tokens->source + (tokens->start - tokens->copy);
    for (const char *at = tokens->source; at < start; at++)
        column += ((unsigned char)*at & 0xC0) != 0x80; /* characters, not bytes */
    return error_set(tokens->error, "column %d: %.*s", column, (int)sizeof(what) - 32, what);
}

struct quoted tokens_shown(const struct tokens *tokens)
{
    size_t offset = (size_t)(tokens->start - tokens->copy);
    return quote(slice_of(tokens->source + offset, (size_t)(tokens->at - tokens->start)));
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_name_char(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           c == '.' || c == '@' || c == '-' || ((unsigned char)c & 0x80) != 0;
}

static enum token take_quoted(struct tokens *tokens, enum token token)
{
    char mark = *tokens->start;
    char *to = tokens->at + 1;
    char *from = to;
    tokens->value.ptr = to;
    for (; *from != mark; *to++ = *from++) {
        bool pair = *from == '\\' && (from[1] == mark || from[1] == '\\');
        if (pair && from[1] == '\\' && tokens->want_regex)
            *to++ = *from++; /* both stay; the second one escapes nothing */
        else if (pair)
            from++;
        if (*from == '\0') {
            tokens_wrong(tokens, "the %c that begins here has no second one", mark);
            return T_WRONG;
        }
    }
    tokens->value.len = (size_t)(to - tokens->value.ptr);
    tokens->at = from + 1;
    return token;
}

static enum token take_number(struct tokens *tokens)
{
    char *end = tokens->at + 1;
    while (is_name_char(*end) || (*end == '+' && (end[-1] == 'e' || end[-1] == 'E')))
        end++;
    tokens->value = slice_of(tokens->at, (size_t)(end - tokens->at));
    tokens->at = end;
    if (json_is_number(tokens->value))
        return T_NUMBER;
    tokens_wrong(
        tokens,
        "%s is no number (those are written as in JSON: 404, -1, 0.5, 1e9); text stands in quotes, "
        "odd field names in `backquotes`",
        tokens_shown(tokens).text);
    return T_WRONG;
}

static enum token take_word(struct tokens *tokens)
{
    static const struct {
        const char *word;
        enum token token;
    } words[] = {
        {"and", T_AND},   {"or", T_OR},      {"not", T_NOT},   {"in", T_IN},
        {"true", T_BOOL}, {"false", T_BOOL}, {"null", T_NULL}, {"exists", T_EXISTS},
    };
    while (is_name_char(*tokens->at))
        tokens->at++;
    tokens->value = slice_of(tokens->start, (size_t)(tokens->at - tokens->start));
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (slice_equal(tokens->value, slice_str(words[i].word)))
            return words[i].token;
    return T_NAME;
}

const char *tokens_other_name(struct slice word)
{
    static const char *const names[][2] = {
        {"=", "=="},    {"===", "=="}, {"!==", "!="},    {"<>", "!="},      {"=~", "~"},
        {"=<", "<="},   {"=>", ">="},  {"&&", "and"},    {"&", "and"},      {"||", "or"},
        {"|", "or"},    {"!", "not"},  {"~=", "~"},      {"AND", "and"},    {"OR", "or"},
        {"NOT", "not"}, {"IN", "in"},  {"matches", "~"}, {"contains", "~"}, {"eq", "=="},
        {"is", "=="},   {"ne", "!="},  {"like", "~"},    {"And", "and"},    {"Or", "or"},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (slice_equal(word, slice_str(names[i][0])))
            return names[i][1];
    return NULL;
}

static enum token take_operator(struct tokens *tokens)
{
    static const struct {
        const char *sign;
        enum token token;
    } signs[] = {
        {"==", T_EQ}, {"!=", T_NE}, {"<", T_LT},    {"<=", T_LE},
        {">", T_GT},  {">=", T_GE}, {"~", T_MATCH}, {"!~", T_NOT_MATCH},
    };
    size_t len = strspn(tokens->at, "=!<>~&|");
    if (len == 0) {
        tokens->at++;
        tokens_wrong(
            tokens, "%s has no meaning here; text stands in quotes, odd field names in `backquotes`",
            tokens_shown(tokens).text);
        return T_WRONG;
    }
    struct slice sign = slice_of(tokens->at, len);
    tokens->at += len;
    for (size_t i = 0; i < sizeof(signs) / sizeof(signs[0]); i++)
        if (slice_equal(sign, slice_str(signs[i].sign)))
            return signs[i].token;
    const char *other = tokens_other_name(sign);
    if (other != NULL)
        tokens_wrong(tokens, "unknown operator %s, did you mean \"%s\"?", tokens_shown(tokens).text,
                     other);
    else
        tokens_wrong(tokens,
                     "unknown operator %s; known are == != < <= > >= ~ !~ in exists and or not",
                     tokens_shown(tokens).text);
    return T_WRONG;
}

static enum token take_token(struct tokens *tokens)
{
    static const char marks[] = "()[],";
    static const enum token mark_tokens[] = {T_OPEN, T_CLOSE, T_LIST, T_LIST_END, T_COMMA};
    char c = *tokens->at;
    if (c == '\0')
        return T_END;
    const char *mark = strchr(marks, c);
    if (mark != NULL) {
        tokens->at++;
        return mark_tokens[mark - marks];
    }
    if (c == '\'' || c == '"' || (c == '/' && tokens->want_regex))
        return take_quoted(tokens, T_TEXT);
    if (c == '`')
        return take_quoted(tokens, T_QUOTED_NAME);
    if (is_digit(c) || c == '-' || c == '+')
        return take_number(tokens);
    return is_name_char(c) ? take_word(tokens) : take_operator(tokens);
}

void tokens_next(struct tokens *tokens)
{
    if (tokens->token == T_WRONG)
        return;
    tokens->at += strspn(tokens->at, " \t\r\n");
    tokens->start = tokens->at;
    tokens->token = take_token(tokens);
}
