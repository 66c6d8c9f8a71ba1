#include "agent/multiline.h"

#include "tests/agent/harness.h"

static struct multiline *made(const struct multiline_config *config)
{
    struct error error = {.text = ""};
    struct multiline *multiline = multiline_new(config, &error);
    if (multiline == NULL)
        fail_msg("%s", error.text);
    return multiline;
}

static struct multiline *made_of(const char **presets, size_t n)
{
    struct multiline_config config = {.presets = {n, presets}};
    return made(&config);
}

/* The text's lines begin with the verdict that is expected: N new, A alone, J join, E join and end. */
static void check_lines(struct multiline *multiline, const char *text)
{
    struct multiline_state state = {0};
    while (*text != '\0') {
        size_t len = strcspn(text, "\n");
        char got = "NAJE"[multiline_line(multiline, &state, slice_of(text + 1, len - 1))];
        if (got != text[0])
            fail_msg("%c, not %.*s", got, (int)len, text);
        assert_int_equal(state.open, got == 'N' || got == 'J');
        text += len + (text[len] == '\n');
    }
}

static const struct {
    const char *preset;
    const char *lines;
} traces[] = {
    {"java", "A2024-01-01 12:00:00 INFO started: all well\n"
             "Njavax.servlet.ServletException: Something bad happened\n"
             "J    at com.example.Filter.doFilter(Filter.java:60)\n"
             "J\tat com.example.Handler$Chain.doFilter(Handler.java:1157)\n"
             "JCaused by: com.example.MyOops\n"
             "J\tat com.example.MyServlet.doPost(MyServlet.java:169)\n"
             "J\tSuppressed: java.io.IOException: closed\n"
             "J\t\tat a.B.close(B.kt:1)\n"
             "J\t\t... 3 more\n"
             "J\t... 27 common frames omitted\n"
             "A2024-01-01 12:00:01 INFO next\n"
             "A    indented, of nobody"},
    {"java", "NException in thread \"main\" java.lang.IllegalStateException\n"
             "J\tat Main.main(Main.java:3)\n"
             "N2024 ERROR failed: java.lang.NullPointerException: null\n"
             "J\tat Main.main(Main.java:4)\n"
             "Njava.lang.StackOverflowError\n"
             "Norg.postgresql.util.PSQLException: ERROR: duplicate key\n"
             "J  Detail: Key (id)=(1) already exists.\n"
             "J\tat org.postgresql.Q.go(Q.java:1)\n"
             "Ncom.example.MyFailed: no frames\n"
             "A"},
    {"python", "AINFO: ready\n"
               "NTraceback (most recent call last):\n"
               "J  File \"a.py\", line 1, in <module>\n"
               "J    f()\n"
               "J    ^^^\n"
               "JKeyError: 'x'\n"
               "J\n"
               "JDuring handling of the above exception, another exception occurred:\n"
               "J\n"
               "JTraceback (most recent call last):\n"
               "J  File \"a.py\", line 3, in <module>\n"
               "Jmod.sub.MyError: why\n"
               "J\n"
               "JThe above exception was the direct cause of the following exception:\n"
               "J\n"
               "JTraceback (most recent call last):\n"
               "J  File \"a.py\", line 4, in <module>\n"
               "JKeyboardInterrupt\n"
               "AINFO done"},
    {"python", "N  File \"a.py\", line 1\n"
               "J    print(\n"
               "J         ^\n"
               "JSyntaxError: '(' was never closed\n"
               "N  + Exception Group Traceback (most recent call last):\n"
               "J  |   File \"a.py\", line 2, in <module>\n"
               "J  | ExceptionGroup: both (2 sub-exceptions)\n"
               "J  +-+---------------- 1 ----------------\n"
               "J    | ValueError: 1\n"
               "J    +---------------- 2 ----------------\n"
               "J    | TypeError: 2\n"
               "J    +------------------------------------\n"
               "Aan ordinary line"},
    {"go", "A2024/01/01 listening\n"
           "Npanic: runtime error: invalid memory address or nil pointer dereference\n"
           "J\tpanic: again\n"
           "J[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x7fd34f]\n"
           "J\n"
           "Jgoroutine 5 [running]:\n"
           "Jpanic({0x45cb40?, 0x47ad70?})\n"
           "J\t/usr/local/go/src/runtime/panic.go:542 +0x46c\n"
           "Jnet/http.(*ServeMux).ServeHTTP(0xc01045cab0, 0x2afb7042a408, ...)\n"
           "J\tserver.go:1541 +0x1b4\n"
           "Jcreated by main.main in goroutine 1\n"
           "J\tserver.go:20 +0x91\n"
           "J\n"
           "Jgoroutine 1 [chan receive]:\n"
           "Jmain.main()\n"
           "J\tfoo.go:9 +0x6f\n"
           "Eexit status 2\n"
           "A2024/01/01 next (it has parentheses)"},
    {"go", "Nfatal error: all goroutines are asleep - deadlock!\n"
           "J\n"
           "Jgoroutine 1 [select (no cases)]:\n"
           "Jmain.main()\n"
           "J\t/x.go:4 +0x1d\n"
           "N2024/01/01 http: panic serving 10.0.0.1:5: boom\n"
           "Jgoroutine 7 [running]:\n"
           "Jnet/http.(*conn).serve.func1()\n"
           "J\t/server.go:1850 +0xb0\n"
           "Adone"},
    {"ruby", "Ax.rb is loaded\n"
             "Na.rb:3:in `foo': undefined method `x' for nil:NilClass (NoMethodError)\n"
             "J\tfrom a.rb:7:in `block in <main>'\n"
             "J\tfrom a.rb:6:in `<main>'\n"
             "A I, [2024] INFO: next\n"
             "N NoMethodError (undefined method `x' for #<BooksController>):\n"
             "J  \n"
             "J  app/controllers/books.rb:69:in `load'\n"
             "J  rack (2.0.3) lib/rack/runtime.rb:22:in `call'\n"
             "AStarted GET"},
    {"ruby", "NTraceback (most recent call last):\n"
             "J\t1: from a.rb:6:in `<main>'\n"
             "Ja.rb:3:in `foo': bad (RuntimeError)\n"
             "Anext"},
    {"php", "A[01-Jan-2024] NOTICE: ready\n"
            "NPHP Fatal error:  Uncaught Exception: no in /a.php:5\n"
            "JStack trace:\n"
            "J#0 /a.php(9): f()\n"
            "J#1 {main}\n"
            "J\n"
            "JNext RuntimeException: yes in /a.php:7\n"
            "JStack trace:\n"
            "J#0 {main}\n"
            "E  thrown in /a.php on line 5\n"
            "A#1 of nobody"},
    {"php", "N[2024] production.ERROR: no {\"exception\":\"[object] (E(code: 0): no at /a.php:1)\n"
            "J[stacktrace]\n"
            "J#0 /a.php(9): f()\n"
            "E\"} \n"
            "Nexception 'Exception' with message 'x' in /a.php:5\n"
            "Anext"},
    {"dotnet", "Ainfo: started\n"
               "NUnhandled exception. System.InvalidOperationException: outer\n"
               "J ---> System.ArgumentNullException: Value cannot be null. (Parameter 'x')\n"
               "J   at App.Inner() in /src/P.cs:line 9\n"
               "J   --- End of inner exception stack trace ---\n"
               "J   at App.Main(String[] args) in /src/P.cs:line 3\n"
               "J--- End of stack trace from previous location ---\n"
               "J   at App.Again()\n"
               "NSystem.Net.Sockets.SocketException (0x80004005): refused\n"
               "J   at X.Y()\n"
               "Ainfo: next"},
    {"node", "Aserver listening on :3000\n"
             "NReferenceError: myArray is not defined\n"
             "J    at next (/app/router/index.js:256:14)\n"
             "J    at async /app/app.js:52:3 {\n"
             "J  code: 'X',\n"
             "J  [cause]: Error: inner\n"
             "J      at f (/a.js:1:2) {\n"
             "J    errno: -2\n"
             "J  }\n"
             "E}\n"
             "ATheError happened\n"
             "NTypeError [ERR_INVALID_ARG_TYPE]: The \"path\" argument\n"
             "J    at a (node:internal/validators:1:2)\n"
             "NError\n"
             "J    at <anonymous>:6:4\n"
             "Anext"},
    {"node", "N/app/x.js:10\n"
             "J        throw new Error('no');\n"
             "J        ^\n"
             "J\n"
             "JError: no\n"
             "J    at Object.<anonymous> (/app/x.js:10:15)\n"
             "J\n"
             "ENode.js v20.1.0\n"
             "NError: Cannot find module 'x'\n"
             "JRequire stack:\n"
             "J- /app/y.js\n"
             "J    at M._load (node:internal:1:2)\n"
             "Anext"},
    {"indent", "Na\nJ b\nJ\tc\nNd\nN\nNe"},
};

static void traces_are_one_record_and_ordinary_lines_their_own(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS(traces); i++) {
        const char *preset = traces[i].preset;
        struct multiline *multiline = made_of(&preset, 1);
        check_lines(multiline, traces[i].lines);
        multiline_free(&multiline);
    }
}

static void the_first_preset_that_knows_the_head_owns_the_trace(void **state)
{
    (void)state;
    const char *presets[] = {"python", "go", "java", "indent"};
    struct multiline *multiline = made_of(presets, 4);
    check_lines(multiline, "NTraceback (most recent call last):\n"
                           "J  File \"a.py\", line 1, in <module>\n"
                           "JKeyError: 'x'\n"
                           "Npanic: no\nJ\nJgoroutine 1 [running]:\n"
                           "Na.b.OopsException: x\nJ\tat a.B.c(B.java:1)\n"
                           "Nplain\nJ  indented");
    multiline_free(&multiline);
}

static void expressions_begin_continue_and_end_records(void **state)
{
    (void)state;
    static const struct {
        struct multiline_config config;
        const char *lines;
    } rows[] = {
        {{.start = "^\\d"}, "Abefore\nA\nN1 a\nJb\nJ\nN2 c"},
        {{.continued = "^\\s"}, "N b\nJ c\nNd\nJ\te\nNf"},
        {{.end = ";$"}, "Na\nJb\nEc;\nAd;\nNe"},
        {{.start = "^<", .end = ">$"}, "Aout\nN<a\nJb\nEc>\nAout>\nA<d>\nN<e\nN<f"},
    };
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct multiline *multiline = made(&rows[i].config);
        check_lines(multiline, rows[i].lines);
        multiline_free(&multiline);
    }
}

static void wrong_configurations_are_refused_with_words(void **state)
{
    (void)state;
    static const char *java_twice[] = {"java", "java"}, *cobol[] = {"cobol"};
#define WAYS ": a record's lines are told by start, end or both of them, by continue, or by preset"
    static const struct {
        struct multiline_config config;
        const char *text;
    } rows[] = {
        {{0}, "one of start, end, continue and preset is needed"},
        {{.start = "a", .continued = "b"}, "start and continue exclude each other" WAYS},
        {{.end = "a", .continued = "b"}, "end and continue exclude each other" WAYS},
        {{.end = "a", .presets = {1, java_twice}}, "end and preset exclude each other" WAYS},
        {{.continued = "a", .presets = {1, java_twice}},
         "continue and preset exclude each other" WAYS},
        {{.presets = {2, java_twice}}, "preset \"java\" is given twice"},
        {{.presets = {1, cobol}},
         "there is no preset \"cobol\"; there are dotnet, go, indent, "
         "java, node, php, python, ruby"},
        {{.end = "("}, "end: missing closing parenthesis, at the end of the pattern (offset 1)"},
    };
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct error error = {.text = ""};
        assert_null(multiline_new(&rows[i].config, &error));
        assert_string_equal(error.text, rows[i].text);
    }
}

static void limits_on_lines_and_bytes_begin_a_new_record(void **state)
{
    (void)state;
    struct multiline_state s = {0};
    struct multiline_config config = {.continued = "^ ", .max_lines = 2};
    struct multiline *multiline = made(&config);
    assert_int_equal(multiline_line(multiline, &s, SLICE("a")), MULTILINE_NEW);
    assert_true(multiline_may_go_on(multiline, &s));
    assert_int_equal(multiline_line(multiline, &s, SLICE(" b")), MULTILINE_JOIN);
    assert_false(multiline_may_go_on(multiline, &s));
    assert_int_equal(multiline_line(multiline, &s, SLICE(" c")), MULTILINE_NEW);
    assert_true(s.limited);
    assert_int_equal(multiline_line(multiline, &s, SLICE(" d")), MULTILINE_JOIN);
    assert_false(s.limited);
    assert_int_equal(multiline_line(multiline, &s, SLICE("e")), MULTILINE_NEW);
    assert_false(s.limited);
    multiline_free(&multiline);

    s = (struct multiline_state){0};
    config = (struct multiline_config){.end = ";$", .max_bytes = 5};
    multiline = made(&config);
    assert_int_equal(multiline_line(multiline, &s, SLICE("ab")), MULTILINE_NEW);
    assert_int_equal(multiline_line(multiline, &s, SLICE("cd")), MULTILINE_JOIN);
    assert_false(multiline_may_go_on(multiline, &s));
    assert_int_equal(multiline_line(multiline, &s, SLICE(";")), MULTILINE_ALONE);
    assert_true(s.limited);
    assert_int_equal(multiline_line(multiline, &s, SLICE("longer than it")), MULTILINE_NEW);
    assert_false(s.limited);
    assert_int_equal(multiline_line(multiline, &s, SLICE("")), MULTILINE_NEW);
    assert_true(s.limited);
    multiline_free(&multiline);
}

/* Joins only join what is open, so each line is in exactly one record, and limits hold. */
static void no_line_of_a_random_mix_is_lost(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "",
        "Error: x",
        "    at f (/a.js:1:2) {",
        "}",
        "panic: x",
        "exit status 2",
        "goroutine 1 [running]:",
        "main.f()",
        "\tx.go:1",
        "Stack trace:",
        "#0 {main}",
        "  thrown in x",
        "plain",
        " indented",
        "KeyError: 'x'",
        "a.rb:1:in `x'",
        "Traceback (most recent call last):",
        "/a.js:1",
        "^",
        "During handling of the above exception, another exception occurred:"};
    const char *presets[] = {"node", "python", "go", "php", "ruby", "dotnet", "java"};
    struct multiline_config config = {.presets = {7, presets}, .max_lines = 5, .max_bytes = 90};
    struct multiline *multiline = made(&config);
    struct multiline_state s = {0};
    uint64_t in_record = 0, bytes = 0, n_open = 0, n_done = 0;
    unsigned seed = 7;
    for (unsigned i = 0; i < 100000; i++) {
        struct slice line = slice_str(lines[(unsigned)rand_r(&seed) % ROWS(lines)]);
        bool open = s.open;
        enum multiline_verdict verdict = multiline_line(multiline, &s, line);
        bool joins = verdict == MULTILINE_JOIN || verdict == MULTILINE_JOIN_END;
        assert_true(!joins || open);
        if (!joins) {
            n_done += n_open;
            n_open = in_record = bytes = 0;
        }
        n_open++;
        bytes += line.len + (in_record++ > 0);
        assert_true(in_record == 1 || (in_record <= 5 && bytes <= 90));
        if (!s.open) {
            n_done += n_open;
            n_open = 0;
        } else {
            assert_int_equal(s.lines, in_record);
            assert_int_equal(s.bytes, bytes);
        }
        assert_int_equal(n_done + n_open, i + 1);
    }
    multiline_free(&multiline);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(traces_are_one_record_and_ordinary_lines_their_own),
        cmocka_unit_test(the_first_preset_that_knows_the_head_owns_the_trace),
        cmocka_unit_test(expressions_begin_continue_and_end_records),
        cmocka_unit_test(wrong_configurations_are_refused_with_words),
        cmocka_unit_test(limits_on_lines_and_bytes_begin_a_new_record),
        cmocka_unit_test(no_line_of_a_random_mix_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
