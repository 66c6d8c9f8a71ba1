/* The language of `when:`.
 *
 *     condition  = term { or term }
 *     term       = factor { and factor }
 *     factor     = not factor | ( condition ) | exists FIELD | comparison
 *     comparison = FIELD OPERATOR value | FIELD ~ REGEX | FIELD !~ REGEX
 *                | FIELD [not] in [ literal { , literal } ]
 *     OPERATOR   = == != < <= > >=
 *     value      = literal | FIELD in backquotes
 *     literal    = number | 'text' | "text" | true | false | null
 *     REGEX      = 'text' | "text" | /text/
 *     FIELD      = letters, digits, _ . @ - and all that isn't ASCII, not beginning with a digit or -;
 *                  or any text in `backquotes`
 *
 * The right side wants backquotes around a field's name, so that `level == error` is an error and not
 * a comparison with a field that nobody has.
 *
 * In quotes a backslash before the quote, or before a backslash, stands for that character; any other
 * backslash stands for itself. In a REGEX only the one before the quote is taken out: '\d' and '\\' are PCRE2's.
 *
 * What is true:
 *  - A number and a number, or a number and a text that is one (as JSON writes them), compare as numbers:
 *    number_compare(). So 404 == '404' and 2 < '10'.
 *  - Text and text compare by bytes: '10' < '2'.
 *  - null equals null and nothing else. Others are equal when their text is: true == 'true'.
 *  - < <= > >= are false where neither of the first two lines fits.
 *  - ~ looks at the value's text. A regex that comes to its limit doesn't match (and is counted).
 *  - A field that is missing: every comparison is false. `a != x` is `not a == x` and `a !~ x` is `not a ~ x`,
 *    `a not in […]` is `not a in […]`: true when a is missing.
 *
 * A condition is an array of tests, each with the index of the test that comes next when it is true,
 * and when it is false; END_TRUE and END_FALSE end it. While it is compiled, the exits that lead nowhere yet are lists,
 * threaded through the very members that will hold the index:
 *
 *     a == 1 and (b == 2 or c == 3)        0: a == 1   true → 1    false → END_FALSE
 *                                          1: b == 2   true → END  false → 2
 *                                          2: c == 3   true → END  false → END_FALSE
 *
 * So evaluation needs no stack, and stops as soon as the outcome is known; `not` swaps the two lists. */
#include "agent/expr.h"

#include "agent/expr_token.h"
#include "agent/number.h"

#include <stdlib.h>

#define LENGTH_MOST  4096u
#define NESTING_MOST 32
#define END_FALSE    UINT16_C(0xFFFE)
#define END_TRUE     UINT16_C(0xFFFF)

static_assert(LENGTH_MOST < END_FALSE / 2, "a test takes a character at least");

enum test_kind { TEST_EXISTS, TEST_ORDER, TEST_MATCH, TEST_IN, TEST_FIELDS };

struct test {
    enum test_kind kind;
    enum token op;      /* TEST_ORDER, TEST_FIELDS: T_EQ T_LT T_LE T_GT T_GE */
    uint16_t next[2];   /* when false, when true; see above */
    struct slice field; /* its name */
    struct field value; /* TEST_ORDER: the literal; TEST_FIELDS: its key is the other field */
    struct regex *regex;
    size_t first, n; /* TEST_IN: of the literals */
};

struct condition {
    char *text; /* a copy, unescaped in place; names and literals point into it */
    size_t n_tests, tests_room;
    struct test *tests;
    size_t n_literals, literals_room;
    struct field *literals; /* of lists */
};

struct parser {
    struct tokens tokens;
    struct condition *condition;
    int nesting;
};

/* ---- tests and exits ---- */

#define NO_EXIT UINT16_MAX

/* A part of the condition: its tests stand from `first` on. Exits are lists of 2 * test + side. */
struct part {
    uint16_t first;
    uint16_t exits[2]; /* when the part is false, when it is true */
};

static uint16_t *exit_slot(const struct condition *condition, uint16_t which)
{
    return &condition->tests[which / 2].next[which % 2];
}

static void lead(const struct condition *condition, uint16_t exits, uint16_t target)
{
    while (exits != NO_EXIT) {
        uint16_t *slot = exit_slot(condition, exits);
        exits = *slot;
        *slot = target;
    }
}

static uint16_t join(const struct condition *condition, uint16_t a, uint16_t b)
{
    if (b == NO_EXIT)
        return a;
    uint16_t *slot = exit_slot(condition, b);
    while (*slot != NO_EXIT)
        slot = exit_slot(condition, *slot);
    *slot = a;
    return b;
}

static struct part negated(struct part part)
{
    return (struct part){part.first, {part.exits[1], part.exits[0]}};
}

/* Room for one more, or NULL. */
static void *grow(void *items, size_t n, size_t *room, size_t size)
{
    if (n < *room)
        return items;
    size_t wanted = *room == 0 ? 4 : 2 * *room;
    void *grown = realloc(items, wanted * size);
    if (grown != NULL)
        *room = wanted;
    return grown;
}

/* Takes the test's regex over. */
static int add_test(struct parser *parser, struct test test, struct part *ret_part)
{
    struct condition *condition = parser->condition;
    struct test *tests = (struct test *)grow(condition->tests, condition->n_tests,
                                             &condition->tests_room, sizeof(test));
    if (tests == NULL) {
        regex_free(&test.regex);
        return tokens_wrong(&parser->tokens, "out of memory");
    }
    condition->tests = tests;
    uint16_t index = (uint16_t)condition->n_tests++;
    test.next[0] = test.next[1] = NO_EXIT;
    tests[index] = test;
    *ret_part = (struct part){index, {(uint16_t)(2 * index), (uint16_t)(2 * index + 1)}};
    return 0;
}

/* ---- grammar: 0 and *ret_part, else the error is set ---- */

static int parse_or(struct parser *parser, struct part *ret_part);

static int parse_literal(struct parser *parser, struct field *ret_literal)
{
    enum field_type type = FIELD_STRING;
    switch (parser->tokens.token) {
    case T_TEXT: break;
    case T_NUMBER: type = FIELD_NUMBER; break;
    case T_BOOL: type = FIELD_BOOL; break;
    case T_NULL: type = FIELD_NULL; break;
    case T_NAME: {
        int len =
            parser->tokens.value.len > QUOTE_MOST ? (int)QUOTE_MOST : (int)parser->tokens.value.len;
        return tokens_wrong(&parser->tokens,
                            "%.*s is no value: write '%.*s' for the text, or `%.*s` for the field",
                            len, parser->tokens.value.ptr, len, parser->tokens.value.ptr, len,
                            parser->tokens.value.ptr);
    }
    case T_END: return tokens_wrong(&parser->tokens, "a value is missing at the end");
    default:
        return tokens_wrong(&parser->tokens,
                            "%s where a value should stand: a number, 'text', true, false or null",
                            tokens_shown(&parser->tokens).text);
    }
    *ret_literal = (struct field){.value = parser->tokens.value, .type = type};
    tokens_next(&parser->tokens);
    return 0;
}

/* The name itself, at the token. */
static int parse_name(struct parser *parser, const char *where, struct slice *ret_name)
{
    if (parser->tokens.token == T_END)
        return tokens_wrong(&parser->tokens, "a field's name is missing %s", where);
    if (parser->tokens.token != T_NAME && parser->tokens.token != T_QUOTED_NAME)
        return tokens_wrong(&parser->tokens, "%s where a field's name should stand, %s",
                            tokens_shown(&parser->tokens).text, where);
    if (parser->tokens.value.len == 0)
        return tokens_wrong(&parser->tokens, "the field's name is empty");
    *ret_name = parser->tokens.value;
    tokens_next(&parser->tokens);
    return 0;
}

static int parse_match(struct parser *parser, struct test *test)
{
    parser->tokens.want_regex = true;
    tokens_next(&parser->tokens);
    parser->tokens.want_regex = false;
    if (parser->tokens.token != T_TEXT)
        return tokens_wrong(&parser->tokens,
                            "a regular expression in quotes or slashes must stand behind ~ and !~");
    struct error why;
    char *pattern = parser->condition->text + (parser->tokens.value.ptr - parser->condition->text);
    pattern[parser->tokens.value.len] = '\0'; /* the quote stood there, or before it */
    test->kind = TEST_MATCH;
    test->regex = regex_new(pattern, &why);
    if (test->regex == NULL)
        return tokens_wrong(&parser->tokens, "in the regular expression: %s", why.text);
    tokens_next(&parser->tokens);
    return 0;
}

static int parse_list(struct parser *parser, struct test *test)
{
    struct condition *condition = parser->condition;
    tokens_next(&parser->tokens);
    if (parser->tokens.token != T_LIST)
        return tokens_wrong(&parser->tokens, "a list such as [200, 304] must stand behind in");
    test->kind = TEST_IN;
    test->first = condition->n_literals;
    do {
        tokens_next(&parser->tokens);
        struct field literal;
        if (parse_literal(parser, &literal) != 0)
            return -1;
        struct field *literals =
            (struct field *)grow(condition->literals, condition->n_literals,
                                 &condition->literals_room, sizeof(literals[0]));
        if (literals == NULL)
            return tokens_wrong(&parser->tokens, "out of memory");
        condition->literals = literals;
        literals[condition->n_literals++] = literal;
    } while (parser->tokens.token == T_COMMA);
    if (parser->tokens.token != T_LIST_END)
        return tokens_wrong(&parser->tokens, "\",\" or \"]\" is missing in the list");
    test->n = condition->n_literals - test->first;
    tokens_next(&parser->tokens);
    return 0;
}

static int parse_value(struct parser *parser, struct test *test)
{
    tokens_next(&parser->tokens);
    if (parser->tokens.token != T_QUOTED_NAME) {
        test->kind = TEST_ORDER;
        return parse_literal(parser, &test->value);
    }
    test->kind = TEST_FIELDS;
    return parse_name(parser, "behind an operator", &test->value.key);
}

static int no_operator(struct parser *parser)
{
    const char *other =
        parser->tokens.token == T_NAME ? tokens_other_name(parser->tokens.value) : NULL;
    if (other != NULL)
        return tokens_wrong(&parser->tokens, "unknown operator %s, did you mean \"%s\"?",
                            tokens_shown(&parser->tokens).text, other);
    return tokens_wrong(&parser->tokens,
                        "an operator is missing behind the field: == != < <= > >= ~ !~ in; whether "
                        "it is there says \"exists\" before it");
}

static int parse_comparison(struct parser *parser, struct part *ret_part)
{
    struct test test = {.op = T_EQ};
    if (parse_name(parser, "at the beginning of a comparison", &test.field) != 0)
        return -1;
    bool negate = parser->tokens.token == T_NE || parser->tokens.token == T_NOT_MATCH ||
                  parser->tokens.token == T_NOT;
    if (parser->tokens.token == T_NOT) {
        tokens_next(&parser->tokens);
        if (parser->tokens.token != T_IN)
            return tokens_wrong(&parser->tokens, "\"in\" is missing behind \"not\"");
    }
    int result;
    switch (parser->tokens.token) {
    case T_MATCH:
    case T_NOT_MATCH: result = parse_match(parser, &test); break;
    case T_IN: result = parse_list(parser, &test); break;
    case T_LT:
    case T_LE:
    case T_GT:
    case T_GE: test.op = parser->tokens.token; /* fall through */
    case T_EQ:
    case T_NE: result = parse_value(parser, &test); break;
    default: return no_operator(parser);
    }
    if (result != 0 || add_test(parser, test, ret_part) != 0)
        return -1;
    if (negate)
        *ret_part = negated(*ret_part);
    return 0;
}

static int parse_parentheses(struct parser *parser, struct part *ret_part)
{
    if (++parser->nesting > NESTING_MOST)
        return tokens_wrong(&parser->tokens,
                            "nested too deeply: %d pairs of parentheses are the most", NESTING_MOST);
    tokens_next(&parser->tokens);
    if (parse_or(parser, ret_part) != 0)
        return -1;
    if (parser->tokens.token != T_CLOSE)
        return tokens_wrong(&parser->tokens, "\")\" is missing");
    parser->nesting--;
    tokens_next(&parser->tokens);
    return 0;
}

static int parse_factor(struct parser *parser, struct part *ret_part)
{
    bool negate = false;
    for (; parser->tokens.token == T_NOT; tokens_next(&parser->tokens))
        negate = !negate;
    int result;
    if (parser->tokens.token == T_OPEN) {
        result = parse_parentheses(parser, ret_part);
    } else if (parser->tokens.token == T_EXISTS) {
        struct test test = {.kind = TEST_EXISTS};
        tokens_next(&parser->tokens);
        result = parse_name(parser, "behind exists", &test.field);
        if (result == 0)
            result = add_test(parser, test, ret_part);
    } else {
        result = parse_comparison(parser, ret_part);
    }
    if (result == 0 && negate)
        *ret_part = negated(*ret_part);
    return result;
}

/* Parts with `and` (side 1) or `or` (side 0) between them: the part behind is looked at when the ones
 * before come out on that side. */
static int parse_chain(struct parser *parser, int side, struct part *ret_part)
{
    struct condition *condition = parser->condition;
    int result = side == 1 ? parse_factor(parser, ret_part) : parse_chain(parser, 1, ret_part);
    while (result == 0 && parser->tokens.token == (side == 1 ? T_AND : T_OR)) {
        struct part part;
        tokens_next(&parser->tokens);
        result = side == 1 ? parse_factor(parser, &part) : parse_chain(parser, 1, &part);
        if (result != 0)
            break;
        lead(condition, ret_part->exits[side], part.first);
        ret_part->exits[side] = part.exits[side];
        ret_part->exits[!side] = join(condition, ret_part->exits[!side], part.exits[!side]);
    }
    return result;
}

static int parse_or(struct parser *parser, struct part *ret_part)
{
    return parse_chain(parser, 0, ret_part);
}

/* ---- making and freeing ---- */

static int compile(struct parser *parser)
{
    struct part whole;
    tokens_next(&parser->tokens);
    if (parser->tokens.token == T_END)
        return tokens_wrong(&parser->tokens,
                            "the condition is empty; it needs a comparison such as status == 404");
    if (parse_or(parser, &whole) != 0)
        return -1;
    if (parser->tokens.token != T_END) {
        const char *other =
            parser->tokens.token == T_NAME ? tokens_other_name(parser->tokens.value) : NULL;
        if (other != NULL)
            return no_operator(parser);
        return tokens_wrong(&parser->tokens, "%s where \"and\", \"or\" or the end should stand",
                            tokens_shown(&parser->tokens).text);
    }
    lead(parser->condition, whole.exits[0], END_FALSE);
    lead(parser->condition, whole.exits[1], END_TRUE);
    return 0;
}

struct condition *condition_new(const char *text, struct error *error)
{
    if (strlen(text) > LENGTH_MOST) {
        error_set(error, "the condition is longer than %u bytes", LENGTH_MOST);
        return NULL;
    }
    struct condition *condition = (struct condition *)calloc(1, sizeof(*condition));
    if (condition == NULL || (condition->text = strdup(text)) == NULL) {
        free(condition);
        error_set(error, "out of memory");
        return NULL;
    }
    struct parser parser = {
        .tokens = {.source = text,
                   .copy = condition->text,
                   .at = condition->text,
                   .start = condition->text,
                   .error = error},
        .condition = condition,
    };
    if (compile(&parser) != 0)
        condition_free(&condition);
    return condition;
}

void condition_free(struct condition **condition)
{
    if (*condition == NULL)
        return;
    for (size_t i = 0; i < (*condition)->n_tests; i++)
        regex_free(&(*condition)->tests[i].regex);
    free((*condition)->tests);
    free((*condition)->literals);
    free((*condition)->text);
    free(*condition);
    *condition = NULL;
}

/* ---- evaluation ---- */

enum order { LESS = -1, EQUAL, GREATER, UNEQUAL };

static enum order order_of(int difference)
{
    return difference < 0 ? LESS : difference > 0 ? GREATER : EQUAL;
}

static enum order compare_bytes(struct slice a, struct slice b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int difference = len == 0 ? 0 : memcmp(a.ptr, b.ptr, len);
    return order_of(difference != 0 ? difference : (a.len > b.len) - (a.len < b.len));
}

/* A number, or a text that is one? */
static bool is_numeric(const struct field *field)
{
    return field->type == FIELD_NUMBER ||
           (field->type == FIELD_STRING && json_is_number(field->value));
}

static enum order compare(const struct field *a, const struct field *b)
{
    if (a->type == FIELD_STRING && b->type == FIELD_STRING)
        return compare_bytes(a->value, b->value);
    if ((a->type == FIELD_NUMBER && is_numeric(b)) || (b->type == FIELD_NUMBER && is_numeric(a)))
        return order_of(number_compare(a->value, b->value));
    if (a->type == FIELD_NULL || b->type == FIELD_NULL)
        return a->type == b->type ? EQUAL : UNEQUAL;
    return slice_equal(a->value, b->value) ? EQUAL : UNEQUAL;
}

static bool holds(enum token op, enum order order)
{
    switch (op) {
    case T_LT: return order == LESS;
    case T_LE: return order == LESS || order == EQUAL;
    case T_GT: return order == GREATER;
    case T_GE: return order == GREATER || order == EQUAL;
    default: return order == EQUAL;
    }
}

static bool matches(const struct test *test, struct batch *batch, struct slice text)
{
    int result = regex_match(test->regex, text);
    batch->n_limited += result == REGEX_LIMIT;
    return result > 0;
}

static bool is_true(const struct condition *condition, const struct test *test, struct batch *batch,
                    const struct record *record)
{
    struct field field;
    struct field other;
    if (!record_get(batch, record, test->field, &field))
        return false;
    switch (test->kind) {
    case TEST_EXISTS: return true;
    case TEST_ORDER: return holds(test->op, compare(&field, &test->value));
    case TEST_MATCH: return matches(test, batch, field.value);
    case TEST_FIELDS:
        return record_get(batch, record, test->value.key, &other) &&
               holds(test->op, compare(&field, &other));
    case TEST_IN:
        for (size_t i = 0; i < test->n; i++)
            if (compare(&field, &condition->literals[test->first + i]) == EQUAL)
                return true;
        return false;
    }
    return false;
}

/* A test's exits always lead to later tests: it ends. */
bool condition_matches(struct condition *condition, struct batch *batch, const struct record *record)
{
    uint16_t at = 0;
    do {
        const struct test *test = &condition->tests[at];
        at = test->next[is_true(condition, test, batch, record)];
    } while (at < END_FALSE);
    return at == END_TRUE;
}
