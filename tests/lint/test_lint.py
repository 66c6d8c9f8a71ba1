"""Every rule of lint.py catches its bad sample and lets a good one pass. Run: python3 -m unittest tests/lint/test_lint.py"""
import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lint  # noqa: E402


def found(path, text, files=()):
    return ['%d: %s' % (number, what) for number, what in lint.check(path, text, lambda name: name in files)]


def function(lines, above=''):
    return above + 'static int f(int x,\n             int y)\n{\n' + '    x++;\n' * lines + '}\n'


# path, text, line and words of what must be found
BAD = [
    ('agent/a.c', 'int x;\nvoid f(char *a) { strcpy(a, b); }\n', '2: strcpy() is banned'),
    ('agent/a.c', 'strcat(a, b);\n', '1: strcat() is banned'),
    ('agent/a.c', 'sprintf (a, "%d", 1);\n', '1: sprintf() is banned'),
    ('agent/a.c', 'vsprintf(a, f, ap);\n', '1: vsprintf() is banned'),
    ('plugins/a.c', 'p = strtok(a, b);\n', '1: strtok() is banned'),
    ('tests/agent/test_a.c', '/* covers agent/tail.h */\nn = atoi(a);\n', '2: atoi() is banned'),
    ('agent/a.c', 'n = atol(a);\n', '1: atol() is banned'),
    ('agent/a.c', 'gets(a);\n', '1: gets() is banned'),
    ('agent/a.c', 'p = alloca(9);\n', '1: alloca() is banned'),
    ('agent/a.c', 'sleep(1);\n', '1: sleep(): nothing in the agent sleeps'),
    ('plugins/a.c', 'usleep(1);\n', '1: usleep(): nothing in the agent sleeps'),
    ('agent/tail.c', 'rd_kafka_poll(rk, 0);\n', '1: rd_kafka_poll(): only'),
    ('plugins/a.c', 'x = rd_kafka_err2str(e);\n', '1: rd_kafka_err2str(): only'),
    ('agent/positions.c', 'fsync(fd);\n', '1: fsync() outside agent/flusher.c'),
    ('agent/positions.c', 'if (fdatasync(fd) == -1)\n', '1: fdatasync() outside agent/flusher.c'),
    ('agent/a.c', function(61), '1: function of 61 lines'),
    ('agent/a.c', 'int g(void);\n\n' + function(61, '/* What it does. */\n'), '4: function of 61 lines'),
    ('agent/a.c', 'int x;\n' * 601, '601: file of 601 lines'),
    ('tests/agent/test_ghost.c', 'int x;\n', '1: no agent/ghost.c'),
    ('tests/plugins/test_ghost.c', '/* covers plugins/gone.c */\n', '1: covers plugins/gone.c, which'),
    ('README.md', 'text \n', '1: trailing white space'),
    ('agent/a.c', '\tint x;\t\n', '1: trailing white space'),
    ('docs/x.md', 'text', '1: no newline at the end'),
    ('agent/a.c', 'int x; /* TO' 'DO: y */\n', '1: TO' 'DO: finish it'),
    ('a.py', '# FIX' 'ME\n', '1: FIX' 'ME: finish it'),
    ('a.sh', '# XX' 'X\n', '1: XX' 'X: finish it'),
    ('a.sh', 'cd /wor' 'k/main\n', '1: a path of one machine'),
    ('a.sh', 'x=/ho' 'me/joe/src\n', '1: a path of one machine'),
    ('a.md', 'see shar' 'ed/DESIGN.md\n', '1: a path outside the project'),
    ('pom.xml', '<url>https://nex' 'us.corp.example/maven</url>\n', "1: one workplace's package registry"),
]

GOOD = [
    ('agent/a.c', '/* strcpy() is not used */\nputs("sprintf(atoi())"); /* gets(x) */\n'),
    ('agent/a.c', 'my_strcpy(a); a->gets(b); strcpy_bounded(a); snprintf(a, n, "%d", 1);\n'),
    ('tests/bench/a.c', 'usleep(1); rd_kafka_poll(rk, 0);\n'),
    ('agent/producer.c', 'rd_kafka_poll(rk, 0);\n'),
    ('agent/producer_events.c', 'rd_kafka_poll(rk, 0);\n'),
    ('agent/partitioner.c', 'rd_kafka_msg_partitioner_random(a);\n'),
    ('agent/producer.h', 'rd_kafka_t *rk; /* rd_kafka_poll() */\n'),
    ('agent/flusher.c', 'fsync(fd);\n'),
    ('agent/positions.c', 'fsync(fd); /* the folder: before the loop runs */\n'),
    ('agent/a.c', function(60)),
    ('agent/a.c', function(90, '/* long: one case for each state */\n')),
    ('agent/a.c', 'static const struct x t[] = {\n' + '    {1},\n' * 80 + '};\n'),
    ('agent/a.c', 'int x;\n' * 600),
    ('tests/agent/test_tail.c', 'int x;\n'),
    ('tests/agent/test_rules.c', '/* covers agent/tail.c and agent/tail.h */\n'),
    ('tests/fuzz/corpus/json/a', 'no newline, TO' 'DO, white space '),
    ('a.sh', 'mktemp /tmp/x.XXXXXX; ls "$base/wor' 'k/x" ./wor' 'k/y\n'),
]

FILES = ('agent/tail.c', 'agent/tail.h')


class Rules(unittest.TestCase):
    def test_bad_samples_are_caught(self):
        for path, text, want in BAD:
            with self.subTest(want):
                got = found(path, text, FILES)
                self.assertTrue(any(line.startswith(want) for line in got), got)

    def test_bad_samples_are_caught_for_nothing_else(self):
        for path, text, want in BAD:
            with self.subTest(want):
                self.assertEqual(len(found(path, text, FILES)), 1)

    def test_good_samples_pass(self):
        for path, text in GOOD:
            with self.subTest(text[:60]):
                self.assertEqual(found(path, text, FILES), [])

    def test_every_banned_function_has_a_replacement_and_is_caught(self):
        for name, instead in lint.BANNED.items():
            self.assertTrue(instead)
            self.assertEqual(len(found('agent/a.c', 'x = %s(a);\n' % name)), 1, name)

    def test_blanking_keeps_lines_and_columns(self):
        text = 'a /* b\n "c */ d("e\\"f") \'"\' // g\nh\n'
        blank = lint.blank_c(text)
        self.assertEqual([len(line) for line in text.split('\n')], [len(line) for line in blank.split('\n')])
        self.assertEqual(blank.split(), ['a', 'd(', ')', 'h'])


if __name__ == '__main__':
    unittest.main()
