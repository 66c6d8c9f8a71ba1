"""Configurations that are wrong are refused with the place and in words that help; usage; the examples are right."""
import glob
import os
import re

import pytest

from agent import run
from kafka import ROOT

PLACE = '§'  # in a configuration below: where the error is

HEAD = 'kafka:\n  brokers: [localhost:9092]\n'
STREAM = 'streams:\n  app:\n    tail: {paths: [/var/log/app.log]}\n    ship: {topic: logs}\n'


def stream(tail='paths: [/var/log/app.log]', chain=None, ship='topic: logs'):
    steps = '' if chain is None else f'    chain:\n      - {chain}\n'
    return f'{HEAD}streams:\n  app:\n    tail: {{{tail}}}\n{steps}    ship: {{{ship}}}\n'


WRONG = {
    'unknown section': ('§stream: {}\n' + HEAD + STREAM, 'did you mean "streams"'),
    'unknown key of the agent': ('agent: {§worker: 2}\n' + HEAD + STREAM, 'did you mean "workers"'),
    'unknown key of kafka': ('kafka: {§broker: [a:9092]}\n' + STREAM, 'did you mean "brokers"'),
    'unknown key of a stream': (HEAD + STREAM + '    §chian: []\n', 'did you mean "chain"'),
    'unknown key of tail': (stream(tail='paths: [/a], §exlude: [b]'), 'did you mean "exclude"'),
    'unknown key of ship': (stream(ship='§topik: logs'), 'did you mean "topic"'),
    'unknown step': (stream(chain='§parse_regexp: {pattern: a}'), 'did you mean "parse_regex"'),
    'unknown option of a step': (stream(chain='parse_regex: {§patern: a}'), 'did you mean "pattern"'),
    'word for a number': ('agent: {workers: §many}\n' + HEAD + STREAM, 'workers must be .*auto.*"many"'),
    'number out of range': ('agent: {workers: §0}\n' + HEAD + STREAM, 'workers must be .*1'),
    'size with an unknown unit': (stream(tail='paths: [/a], max_line: §12parsecs'), 'max_line must be .*"12parsecs"'),
    'time that is none': ('agent: {drain: §soon}\n' + HEAD + STREAM, 'drain must be .*"soon"'),
    'unknown encoding': (stream(ship='topic: logs, encode: §xml'), 'encode must be .*json.*raw.*"xml"'),
    'unknown start': (stream(tail='paths: [/a], start: §middle'), 'start must be .*beginning.*end.*"middle"'),
    'unknown partitioner': (stream(ship='topic: logs, partitioner: §murmur3'), 'partitioner must be .*murmur2'),
    'stream without ship': (HEAD + 'streams:\n  §app:\n    tail: {paths: [/a]}\n', 'needs "ship"'),
    'stream without tail': (HEAD + 'streams:\n  §app:\n    ship: {topic: a}\n', 'needs "tail"'),
    'ship without a topic': (HEAD + 'streams:\n  app:\n    tail: {paths: [/a]}\n    ship: §{encode: raw}\n',
                             'needs "topic"'),
    'tail without paths': (HEAD + 'streams:\n  app:\n    tail: §{start: end}\n    ship: {topic: a}\n', 'needs "paths"'),
    'relative path': (stream(tail='paths: [/a, §var/log/x]'), 'absolute.*"var/log/x"'),
    'topic that cannot be': (stream(ship="topic: §'a b'"), '"a b".*249'),
    'template without its end': (stream(ship="topic: §'logs.%{app'"), 'topic.*%{'),
    'condition without its end': (stream(chain="drop: {when: §'status == '}"), 'when'),
    'condition with an unknown operator': (stream(chain="drop: {when: §'status = 404'}"), '=='),
    'regular expression without its end': (stream(chain="parse_regex: {pattern: §'^(a'}"), 'pattern.*parenthesis'),
    'broker without a port': ('kafka: {brokers: [a:9092, §kafka-1]}\n' + STREAM, '"kafka-1".*host:port'),
    'unknown property': (HEAD + '  properties: {§linger.msec: 5}\n' + STREAM, 'linger.msec'),
    'property with a wrong value': (HEAD + '  properties: {§linger.ms: soon}\n' + STREAM, 'linger.ms'),
    'property that would break a promise': (HEAD + "  properties: {§acks: '1'}\n" + STREAM, 'acks must be all'),
    'delivery that is not known': (HEAD + '  delivery: §once\n' + STREAM, 'at-least-once or exactly-once'),
    'variable that is not set': (stream(ship="topic: §'${SPLASHDAM_IS_NOT_SET}'"), 'SPLASHDAM_IS_NOT_SET'),
    'key twice': (HEAD + STREAM + '    §ship: {topic: other}\n', 'ship.*twice|twice.*ship|already'),
    'text for a mapping': (HEAD + 'streams:\n  app:\n    tail: §/var/log/app.log\n    ship: {topic: a}\n', 'mapping'),
    'mapping for a text': (stream(ship='topic: §{name: logs}'), 'topic must be .*mapping'),
    'bracket without its end': (HEAD + 'streams:\n  app:\n    tail: {paths: [/a§}\n', 'not valid YAML'),
    'tab for indentation': (HEAD + 'streams:\n§\tapp: {}\n', 'not valid YAML'),
}


def place_of(marked):
    before = marked[:marked.index(PLACE)]
    return before.count('\n') + 1, len(before) - before.rfind('\n')


@pytest.mark.parametrize('name', WRONG)
def test_wrong_configuration_is_refused_at_its_place(name, tmp_path):
    marked, words = WRONG[name]
    file = tmp_path / 'wrong.yaml'
    file.write_text(marked.replace(PLACE, ''))
    line, column = place_of(marked)
    for command in ('check', 'run'):
        result = run(command, '-c', file)
        assert result.returncode == 1
        first = result.stderr.splitlines()[0]
        assert first.startswith(f'{file}:{line}:{column}: '), first
        assert_words(words, first)


def assert_words(words, text):
    assert re.search(words, text), f'{words!r} is not in: {text}'


def test_error_in_an_included_file_names_that_file(tmp_path):
    (tmp_path / 'conf.d').mkdir()
    (tmp_path / 'main.yaml').write_text('include: [conf.d/*.yaml]\n' + HEAD)
    (tmp_path / 'conf.d' / 'a.yaml').write_text(STREAM)
    (tmp_path / 'conf.d' / 'b.yaml').write_text('streams:\n  other:\n    tial: {}\n')
    result = run('check', '-c', tmp_path / 'main.yaml')
    assert result.returncode == 1
    assert_words(r'b\.yaml:3:5: .*did you mean "tail"', result.stderr)


def test_secret_in_a_refused_property_is_not_shown(tmp_path, monkeypatch):
    monkeypatch.setenv('SPLASHDAM_TEST_SECRET', 'hunter2-hunter2')
    file = tmp_path / 'wrong.yaml'
    file.write_text(HEAD + "  properties: {linger.ms: '${SPLASHDAM_TEST_SECRET}'}\n" + STREAM)
    result = run('check', '-c', file)
    assert result.returncode == 1
    assert 'hunter2' not in result.stderr + result.stdout


def test_right_configuration_is_accepted(tmp_path):
    file = tmp_path / 'right.yaml'
    file.write_text('agent: {workers: auto, drain: 5s, memory: 16MiB}\n' + HEAD + STREAM)
    result = run('check', '-c', file)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize('example', sorted(glob.glob(os.path.join(ROOT, 'conf.d', '*.yaml'))), ids=os.path.basename)
def test_example_is_right(example, tmp_path):
    file = tmp_path / 'main.yaml'
    file.write_text(f'include: [{example}]\n' + HEAD)
    result = run('check', '-c', file)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize('arguments', [['nonsense'], [], ['run', '--nonsense'], ['check', '-c'], ['try', '-c', '/x']],
                         ids=' '.join)
def test_wrong_usage_ends_with_2_and_the_usage(arguments):
    result = run(*arguments)
    assert result.returncode == 2
    assert 'usage: splashdam' in result.stderr


@pytest.mark.parametrize('command', ['run', 'check', 'try'])
def test_file_that_is_not_there_fails_with_its_name(command, tmp_path):
    more = ['-s', 'app'] if command == 'try' else []
    result = run(command, '-c', tmp_path / 'none.yaml', *more)
    assert result.returncode == 1
    assert 'none.yaml' in result.stderr and 'No such file' in result.stderr


@pytest.mark.parametrize('arguments', [['-h'], ['run', '-h'], ['check', '-h'], ['try', '-h'], ['plugins', '-h'],
                                       ['--version'], ['plugins']], ids=' '.join)
def test_help_and_lists_end_with_0_on_standard_output(arguments):
    result = run(*arguments)
    assert result.returncode == 0 and result.stdout != '' and result.stderr == ''


def test_try_shows_what_becomes_of_lines(tmp_path):
    file = tmp_path / 'try.yaml'
    file.write_text(stream(chain="drop: {when: 'message == \"b\"'}", ship='topic: logs, encode: raw'))
    result = run('try', '-c', file, '-s', 'app', data='a\nb\nc\n')
    assert (result.returncode, result.stdout) == (0, 'a\nc\n')
    wrong = run('try', '-c', file, '-s', 'ap', data='')
    assert wrong.returncode == 1
    assert_words('did you mean "app"', wrong.stderr)
