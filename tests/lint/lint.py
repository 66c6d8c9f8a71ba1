#!/usr/bin/env python3
"""The project's own rules, those that no compiler holds. Prints `file:line: what`; exits 1 when there is any.

    lint.py [--root DIR] [FILE …]       default: every tracked file

Formatting and static analysis are clang-format's and clang-tidy's part, see lint.sh. Rules look at C with its
comments and strings blanked out, so neither can trip them. test_lint.py shows each rule catching a bad sample.
"""
import argparse
import os
import re
import subprocess
import sys

FUNCTION_LINES = 60
FILE_LINES = 600

# What each banned function is replaced by; DESIGN: length travels with pointer.
BANNED = {
    'strcpy': 'memcpy with a length', 'strcat': 'memcpy with a length', 'stpcpy': 'memcpy with a length',
    'sprintf': 'snprintf', 'vsprintf': 'vsnprintf', 'strtok': 'memchr', 'strtok_r': 'memchr',
    'atoi': 'strtol with its errors checked', 'atol': 'strtol with its errors checked',
    'atoll': 'strtoll with its errors checked', 'gets': 'fgets', 'alloca': 'an arena',
}
SLEEPS = ('sleep', 'usleep', 'nanosleep', 'clock_nanosleep')
SYNCS = ('fsync', 'fdatasync', 'sync', 'syncfs', 'sync_file_range')

KAFKA_FILES = re.compile(r'agent/(producer\w*|kafka\w*|partitioner)\.c$|tests/')
FLUSHER_FILE = 'agent/flusher.c'
TEST_FILE = re.compile(r'tests/(agent|plugins)/test_(\w+)\.c$')
COVERS = re.compile(r'/\* covers:? (?P<what>[^*]+?)\s*\*/')
LONG = re.compile(r'/\* long: \S')
NO_TEXT_RULES = re.compile(r'(^|/)(corpus|data)/|\.(png|gz|zst|xz|bin)$')

# Letters in brackets keep these patterns from finding themselves.
UNFINISHED = re.compile(r'\b(TO[D]O|FIX[M]E|XX[X])\b')
WORKPLACE = [
    (re.compile(r'(?<![\w.$}-])/(wor[k]|far[m]|workspac[e]|roo[t]|home/[a-z]\w+)/'), 'a path of one machine'),
    (re.compile(r'\.\./share[d]\b|(?<![\w/])share[d]/(DESIGN|STYLE|SCENARIOS)'), "a path outside the project"),
    (re.compile(r'https?://[\w.-]*(artifactor[y]|nexu[s]|devp[i])[\w.-]*'), "one workplace's package registry"),
]


def blank_c(text):
    """The text with comments, strings and characters turned to blanks; lines and columns stay."""
    pattern = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
    return pattern.sub(lambda match: re.sub(r'[^\n]', ' ', match.group()), text)


def calls(line, names):
    for match in re.finditer(r'(?<![\w.>])(%s)\s*\(' % '|'.join(names), line):
        yield match.group(1)


def check_banned(path, code, lines):
    daemon = path.startswith(('agent/', 'plugins/'))
    for number, line in enumerate(code, 1):
        for name in calls(line, BANNED):
            yield number, '%s() is banned: use %s' % (name, BANNED[name])
        if daemon:
            for name in calls(line, SLEEPS):
                yield number, '%s(): nothing in the agent sleeps; use a timer of the loop' % name
        if daemon and path != FLUSHER_FILE and not re.search(r'/\*|//', lines[number - 1]):
            for name in calls(line, SYNCS):
                yield number, '%s() outside %s without a comment on its line that says why' % (name, FLUSHER_FILE)
        if not KAFKA_FILES.match(path):
            for match in re.finditer(r'\b(rd_kafka_\w+)\s*\(', line):
                yield number, '%s(): only agent/producer*.c and partitioner.c call librdkafka' % match.group(1)


def signature_start(code, brace):
    """Index of the first line of the signature above the line of a function's opening brace."""
    first = brace
    while first > 0 and code[first - 1].strip() and not re.search(r'[;}]\s*$|^#', code[first - 1]):
        first -= 1
    return first


def check_function_length(_path, code, lines):
    """A function opens with `{` and closes with `}` in the first column: .clang-format sees to that."""
    opened = None
    for index, line in enumerate(code):
        if line.rstrip() == '{':
            opened = index
        elif line.startswith('}') and opened is not None:
            first = signature_start(code, opened)
            above = '\n'.join(lines[max(0, first - 3):first])
            if index - opened - 1 > FUNCTION_LINES and not LONG.search(above):
                yield first + 1, 'function of %d lines; %d is the limit without a /* long: why */ above it' % (
                    index - opened - 1, FUNCTION_LINES)
            opened = None


def check_file_length(_path, _code, lines):
    if len(lines) > FILE_LINES:
        yield FILE_LINES + 1, 'file of %d lines; %d is the limit: find the seam' % (len(lines), FILE_LINES)


def check_test_name(path, _code, lines, exists):
    match = TEST_FILE.match(path)
    if match is None or exists('%s/%s.c' % match.groups()):
        return
    covers = COVERS.search('\n'.join(lines[:20]))
    if covers is None:
        yield 1, 'no %s/%s.c; a test of something else says /* covers FILE … */ at its head' % match.groups()
        return
    for name in re.findall(r'[\w/]+\.\w+', covers.group('what')):
        if not exists(name):
            yield 1, 'covers %s, which does not exist' % name


def check_text(_path, lines):
    for number, line in enumerate(lines, 1):
        if line != line.rstrip():
            yield number, 'trailing white space'
        for match in UNFINISHED.finditer(line):
            yield number, '%s: finish it or open an issue' % match.group()
        for pattern, what in WORKPLACE:
            if pattern.search(line):
                yield number, '%s: %s' % (what, pattern.search(line).group())


def check(path, text, exists=os.path.exists):
    """Yields (line number, what) for one file; path is relative to the project's root."""
    lines = text.split('\n')
    if lines[-1] == '':
        lines.pop()
    elif not NO_TEXT_RULES.search(path):
        yield len(lines), 'no newline at the end'
    if not NO_TEXT_RULES.search(path):
        yield from check_text(path, lines)
    if path.endswith(('.c', '.h')):
        code = blank_c(text).split('\n')[:len(lines)]
        yield from check_banned(path, code, lines)
        yield from check_function_length(path, code, lines)
        yield from check_file_length(path, code, lines)
        yield from check_test_name(path, code, lines, exists)


def tracked(root):
    out = subprocess.run(['git', '-C', root, 'ls-files', '-z'], check=True, stdout=subprocess.PIPE).stdout
    return [name.decode() for name in out.split(b'\0') if name]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--root', default=os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..'))
    parser.add_argument('files', nargs='*', help='relative to the root')
    args = parser.parse_args()
    os.chdir(args.root)
    found = 0
    for path in args.files or tracked('.'):
        if os.path.islink(path) or not os.path.isfile(path):
            continue
        with open(path, 'rb') as file:
            raw = file.read()
        if b'\0' in raw:
            continue
        for number, what in sorted(check(path, raw.decode('utf-8', 'replace'))):
            print('%s:%d: %s' % (path, number, what))
            found += 1
    return 1 if found else 0


if __name__ == '__main__':
    sys.exit(main())
