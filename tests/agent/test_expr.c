#include "agent/expr.h"

#include "tests/plugins/harness.h"

#define ROWS(table) (sizeof(table) / sizeof((table)[0]))

/* Every condition of the tables is asked of this record. */
static struct batch *made_batch(void)
{
    static const struct field fields[] = {
        {{"method", 6}, {"GET", 3}, FIELD_STRING},
        {{"status", 6}, {"404", 3}, FIELD_NUMBER},
        {{"status.text", 11}, {"404", 3}, FIELD_STRING},
        {{"time", 4}, {"1.50", 4}, FIELD_NUMBER},
        {{"id", 2}, {"9007199254740993", 16}, FIELD_NUMBER},
        {{"huge", 4}, {"123456789012345678901234567890", 30}, FIELD_NUMBER},
        {{"tls", 3}, {"true", 4}, FIELD_BOOL},
        {{"nothing", 7}, {"null", 4}, FIELD_NULL},
        {{"tags", 4}, {"[\"a\",1]", 7}, FIELD_JSON},
        {{"empty", 5}, {"", 0}, FIELD_STRING},
        {{"url", 3}, {"/a/b.css?x='1'\\", 15}, FIELD_STRING},
        {{"odd name", 8}, {"x", 1}, FIELD_STRING},
        {{"in", 2}, {"y", 1}, FIELD_STRING},
        {{"same", 4}, {"GET", 3}, FIELD_STRING},
        {{"zehn", 4}, {"010", 3}, FIELD_STRING},
        {{"gr\xC3\xB6\xC3\x9F"
          "e",
          7},
         {"9", 1},
         FIELD_STRING},
    };
    struct batch *batch = batch_of_lines(1, "the line");
    for (size_t i = 0; i < ROWS(fields); i++)
        record_add(batch, &batch->records[0], fields[i].key, fields[i].value, fields[i].type);
    return batch;
}

static bool ask(struct batch *batch, const char *text)
{
    struct error error = {.text = ""};
    struct condition *condition = condition_new(text, &error);
    if (condition == NULL)
        fail_msg("%s: %s", text, error.text);
    bool result = condition_matches(condition, batch, &batch->records[0]);
    condition_free(&condition);
    assert_null(condition);
    return result;
}

static const struct {
    const char *text;
    bool expected;
} outcomes[] = {
    /* text */
    {"method == 'GET'", true},
    {"method == \"GET\"", true},
    {"method == 'get'", false},
    {"method != 'POST'", true},
    {"method < 'H'", true},
    {"method <= 'GET'", true},
    {"method > 'G'", true},
    {"method >= 'GETS'", false},
    {"empty == ''", true},
    {"\n\tempty==''\r\n", true},
    {"empty < 'a'", true},
    {"url == '/a/b.css?x=\\'1\\'\\\\'", true},
    {"url == \"/a/b.css?x='1'\\\\\"", true},
    /* numbers as numbers */
    {"status == 404", true},
    {"status == 404.0", true},
    {"status == 4.04e2", true},
    {"status != 404", false},
    {"status < 1000", true},
    {"status <= 404", true},
    {"status > 99", true},
    {"status >= 405", false},
    {"status > -1", true},
    {"time == 1.5", true},
    {"time < 1.51", true},
    {"id == 9007199254740993", true},
    {"id == 9007199254740992", false},
    {"id > 9007199254740992", true},
    {"huge > 123456789012345678901234567889", true},
    {"huge == 123456789012345678901234567890", true},
    /* a number and a text */
    {"status.text == 404", true},
    {"status.text < 1000", true},
    {"status.text < '1000'", false}, /* two texts: by bytes */
    {"status == '404'", true},
    {"status == '404.0'", true},
    {"status < '1000'", true},
    {"status < 'x'", false},
    {"status > 'x'", false},
    {"status == 'x'", false},
    {"status != 'x'", true},
    {"method < 5", false},
    {"method >= 5", false},
    {"zehn == 10", false}, /* no JSON number */
    {"zehn == '010'", true},
    /* other types */
    {"tls == true", true},
    {"tls == 'true'", true},
    {"tls == false", false},
    {"tls < true", false},
    {"tls <= true", true},
    {"nothing == null", true},
    {"nothing == 'null'", false},
    {"nothing != null", false},
    {"method == null", false},
    {"method != null", true},
    {"tags == '[\"a\",1]'", true},
    {"tags ~ '\"a\"'", true},
    {"status ~ '^4'", true},
    /* regular expressions */
    {"url ~ '\\.css\\b'", true},
    {"url ~ \"^/a\"", true},
    {"url ~ /^\\/a\\/.\\.css/", true},
    {"url ~ '=\\'1\\''", true},
    {"url ~ '\\\\$'", true},
    {"url !~ '\\.css'", false},
    {"url !~ '\\.js'", true},
    {"method ~ '(?i)get'", true},
    {"empty ~ ''", true},
    /* lists */
    {"status in [200, 404]", true},
    {"status in ['404']", true},
    {"status in [200]", false},
    {"status not in [200]", true},
    {"method in ['POST', \"GET\", null, 1, true]", true},
    {"nothing in [null]", true},
    {"tls in [true]", true},
    /* other fields */
    {"method == `same`", true},
    {"method != `same`", false},
    {"status == `status.text`", true},
    {"status > `time`", true},
    {"method == `missing`", false},
    {"method != `missing`", true},
    {"`odd name` == 'x'", true},
    {"`in` == 'y'", true},
    {"gr\xC3\xB6\xC3\x9F"
     "e == 9",
     true},
    /* built-in ones */
    {"message == 'the line'", true},
    {"host.name == 'web-1'", true},
    {"log.file.path ~ '/test\\.log$'", true},
    {"log.offset == 0", true},
    {"@timestamp ~ '^2023-11-14T22:13:20'", true},
    {"@timestamp >= '2023-11-01'", true},
    /* missing */
    {"missing == 'x'", false},
    {"missing == null", false},
    {"missing != 'x'", true},
    {"missing < 1", false},
    {"missing >= 1", false},
    {"missing ~ ''", false},
    {"missing !~ ''", true},
    {"missing in ['x']", false},
    {"missing not in ['x']", true},
    {"not missing == 'x'", true},
    {"exists missing", false},
    {"not exists missing", true},
    {"exists method", true},
    {"exists nothing", true},
    {"exists empty", true},
    {"exists host.name", true},
    {"exists `odd name`", true},
    {"not not exists method", true},
    {"not missing == 'x' and method == 'POST'", false},       /* not binds tighter than and */
    {"tls == true or method == 'x' and method == 'y'", true}, /* and than or */
    {"(tls == true or method == 'x') and method == 'y'", false},
};

static void conditions_hold_or_not(void **state)
{
    struct batch *batch = made_batch();
    (void)state;
    for (size_t i = 0; i < ROWS(outcomes); i++)
        if (ask(batch, outcomes[i].text) != outcomes[i].expected)
            fail_msg("%s is %s", outcomes[i].text, outcomes[i].expected ? "false" : "true");
    batch_done(&batch);
}

/* ---- and, or, not: against an evaluator that has nothing in common with the one that is tested ---- */

struct oracle {
    const char *at;
};

static bool oracle_or(struct oracle *oracle);

static bool oracle_factor(struct oracle *oracle)
{
    char c = *oracle->at++;
    if (c == '!')
        return !oracle_factor(oracle);
    if (c != '(')
        return c == 'T';
    bool result = oracle_or(oracle);
    oracle->at++;
    return result;
}

static bool oracle_and(struct oracle *oracle)
{
    bool result = oracle_factor(oracle);
    while (*oracle->at == '&') {
        oracle->at++;
        bool right = oracle_factor(oracle);
        result = result && right;
    }
    return result;
}

static bool oracle_or(struct oracle *oracle)
{
    bool result = oracle_and(oracle);
    while (*oracle->at == '|') {
        oracle->at++;
        bool right = oracle_and(oracle);
        result = result || right;
    }
    return result;
}

struct text {
    char *at;
};

static unsigned dice(uint32_t *seed, unsigned n)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (*seed >> 16) % n;
}

/* A random formula of T F ! & | ( ). */
static void make_formula(struct text *text, uint32_t *seed, int depth)
{
    unsigned kind = depth == 0 ? 0 : dice(seed, 6);
    if (kind < 2) {
        *text->at++ = dice(seed, 2) == 0 ? 'F' : 'T';
    } else if (kind == 2) {
        *text->at++ = '!';
        *text->at++ = '(';
        make_formula(text, seed, depth - 1);
        *text->at++ = ')';
    } else if (kind == 3) {
        *text->at++ = '(';
        make_formula(text, seed, depth - 1);
        *text->at++ = ')';
    } else {
        make_formula(text, seed, depth - 1);
        *text->at++ = kind == 4 ? '&' : '|';
        make_formula(text, seed, depth - 1);
    }
}

/* The formula in the language of conditions. */
static void spell(const char *formula, struct text *to)
{
    for (; *formula != '\0'; formula++) {
        const char *word = *formula == 'T'   ? "a==1"
                           : *formula == 'F' ? "a==2"
                           : *formula == '!' ? "not "
                           : *formula == '&' ? " and "
                           : *formula == '|' ? " or "
                           : *formula == '(' ? "("
                                             : ")";
        size_t len = strlen(word);
        memcpy(to->at, word, len);
        to->at += len;
    }
    *to->at = '\0';
}

static void and_or_not_combine_as_they_bind(void **state)
{
    struct batch *batch = batch_of_lines(1, "x");
    uint32_t seed = 20260105;
    unsigned counts[2] = {0, 0};
    (void)state;
    record_add(batch, &batch->records[0], SLICE("a"), SLICE("1"), FIELD_NUMBER);
    for (int i = 0; i < 20000; i++) {
        char formula[1024];
        char spelled[8192];
        struct text text = {formula};
        make_formula(&text, &seed, 1 + (int)dice(&seed, 6));
        *text.at = '\0';
        struct text to = {spelled};
        spell(formula, &to);
        if (strlen(spelled) > 4096)
            continue;
        struct oracle oracle = {formula};
        bool expected = oracle_or(&oracle);
        if (ask(batch, spelled) != expected)
            fail_msg("%s is %d", spelled, !expected);
        counts[expected]++;
    }
    assert_true(counts[0] > 1000 && counts[1] > 1000);
    batch_done(&batch);
}

static const char *const mistakes[][2] = {
    {"", "column 1: the condition is empty; it needs a comparison such as status == 404"},
    {"  ", "column 3: the condition is empty"},
    {"status = 404", "column 8: unknown operator \"=\", did you mean \"==\"?"},
    {"a === 1", "did you mean \"==\"?"},
    {"a =~ 'x'", "did you mean \"~\"?"},
    {"a <> 1", "did you mean \"!=\"?"},
    {"a == 1 && b == 2", "column 8: unknown operator \"&&\", did you mean \"and\"?"},
    {"a == 1 || b == 2", "did you mean \"or\"?"},
    {"a == 1 AND b == 2", "column 8: unknown operator \"AND\", did you mean \"and\"?"},
    {"! exists a", "did you mean \"not\"?"},
    {"a contains 'b'", "column 3: unknown operator \"contains\", did you mean \"~\"?"},
    {"a <=> 1", "unknown operator \"<=>\"; known are == != < <= > >= ~ !~ in exists and or not"},
    {"a", "column 2: an operator is missing behind the field: == != < <= > >= ~ !~ in"},
    {"a b", "column 3: an operator is missing"},
    {"a ==", "column 5: a value is missing at the end"},
    {"a == )", "column 6: \")\" where a value should stand"},
    {"level == error",
     "column 10: error is no value: write 'error' for the text, or `error` for the field"},
    {"404 == a", "column 1: \"404\" where a field's name should stand"},
    {"'x' == a", "column 1: \"'x'\" where a field's name should stand"},
    {"a == 'x", "column 6: the ' that begins here has no second one"},
    {"a == \"x\\\"", "column 6: the \" that begins here has no second one"},
    {"`a == 1", "column 1: the ` that begins here has no second one"},
    {"`` == 1", "column 1: the field's name is empty"},
    {"a == 05", "column 6: \"05\" is no number"},
    {"a == 10.0.0.1", "column 6: \"10.0.0.1\" is no number"},
    {"a == -", "column 6: \"-\" is no number"},
    {"4xx == 1", "column 1: \"4xx\" is no number"},
    {"a == #", "column 6: \"#\" has no meaning here"},
    {"a == /x/", "column 6: \"/\" has no meaning here"},
    {"a ~ x", "column 5: a regular expression in quotes or slashes must stand behind ~ and !~"},
    {"a ~ '('", "column 5: in the regular expression: missing closing parenthesis"},
    {"a ~ /x", "column 5: the / that begins here has no second one"},
    {"a in 1", "column 6: a list such as [200, 304] must stand behind in"},
    {"a in []", "column 7: \"]\" where a value should stand"},
    {"a in [1", "column 8: \",\" or \"]\" is missing in the list"},
    {"a in [1 2]", "column 9: \",\" or \"]\" is missing in the list"},
    {"a in [1,]", "column 9: \"]\" where a value should stand"},
    {"a in [b]", "b is no value"},
    {"a not == 1", "column 7: \"in\" is missing behind \"not\""},
    {"exists", "column 7: a field's name is missing behind exists"},
    {"exists 'a'", "column 8: \"'a'\" where a field's name should stand, behind exists"},
    {"(a == 1", "column 8: \")\" is missing"},
    {"a == 1)", "column 7: \")\" where \"and\", \"or\" or the end should stand"},
    {"a == 1 b == 1", "column 8: \"b\" where \"and\", \"or\" or the end should stand"},
    {"a == 1 and", "column 11: a field's name is missing"},
    {"and == 1", "column 1: \"and\" where a field's name should stand"},
    {"gr\xC3\xB6\xC3\x9F"
     "e = 1",
     "column 7: unknown operator"},                          /* characters, not bytes */
    {"'a\\'b' == 'c' = 1", "column 1: \"'a\\\\'b'\" where"}, /* as written, not unescaped */
};

static void mistakes_are_told_with_their_column_and_what_is_allowed(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS(mistakes); i++) {
        struct error error = {.text = ""};
        struct condition *condition = condition_new(mistakes[i][0], &error);
        if (condition != NULL)
            fail_msg("accepted: %s", mistakes[i][0]);
        if (strstr(error.text, mistakes[i][1]) == NULL)
            fail_msg("%s: \"%s\" does not say \"%s\"", mistakes[i][0], error.text, mistakes[i][1]);
    }
}

static void length_and_nesting_have_limits(void **state)
{
    char text[8192];
    struct error error;
    struct condition *condition;
    (void)state;
    for (int depth = 32; depth <= 33; depth++) {
        memset(text, '(', (size_t)depth);
        snprintf(text + depth, 8, "a==1");
        memset(text + depth + 4, ')', (size_t)depth);
        text[2 * depth + 4] = '\0';
        condition = condition_new(text, &error);
        assert_int_equal(condition != NULL, depth == 32);
        condition_free(&condition);
    }
    assert_non_null(strstr(error.text, "column 33: nested too deeply: 32 pairs of parentheses"));
    /* 4096 bytes are allowed, and as many tests as these can hold */
    size_t len = (size_t)snprintf(text, sizeof(text), "a<1");
    for (; len + 7 <= 4096; len += 7)
        memcpy(text + len, " or a<1", 7);
    text[4096] = '\0';
    memset(text + len, ' ', 4096 - len);
    condition = condition_new(text, &error);
    assert_non_null(condition);
    struct batch *batch = batch_of_lines(1, "x");
    assert_false(condition_matches(condition, batch, &batch->records[0]));
    batch_done(&batch);
    condition_free(&condition);
    memset(text, ' ', 4097);
    text[4097] = '\0';
    assert_null(condition_new(text, &error));
    assert_string_equal(error.text, "the condition is longer than 4096 bytes");
}

static void regex_at_its_limit_does_not_match_and_is_counted(void **state)
{
    struct batch *batch = batch_of_lines(1, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!");
    (void)state;
    assert_false(ask(batch, "message ~ '^(a+)+$'"));
    assert_int_equal(batch->n_limited, 1);
    assert_true(ask(batch, "message !~ '^(a+)+$'"));
    assert_int_equal(batch->n_limited, 2);
    assert_int_equal(batch->n_failed, 0);
    batch_done(&batch);
}

/* Only built-in fields that are made when they are asked for may need memory. */
static void evaluation_takes_no_memory(void **state)
{
    struct batch *batch = made_batch();
    const char *next = batch->arena.next;
    size_t size = batch->arena.size;
    (void)state;
    assert_true(ask(batch,
                    "method == 'GET' and status < 500 and url ~ 'css' and host.name != 'x' and "
                    "status in [1, 404] and log.file.path ~ 'log'"));
    assert_ptr_equal(batch->arena.next, next);
    assert_int_equal(batch->arena.size, size);
    batch_done(&batch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conditions_hold_or_not),
        cmocka_unit_test(and_or_not_combine_as_they_bind),
        cmocka_unit_test(mistakes_are_told_with_their_column_and_what_is_allowed),
        cmocka_unit_test(length_and_nesting_have_limits),
        cmocka_unit_test(regex_at_its_limit_does_not_match_and_is_counted),
        cmocka_unit_test(evaluation_takes_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
