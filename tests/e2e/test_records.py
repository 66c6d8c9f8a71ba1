"""What becomes one record: several lines, lines of containers, of other encodings, without an end, behind a header."""
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import threading
import time

import pytest

import oracle
from agent import BINARY, run, tail_to
from kafka import wait_until
from records import TRACES, Container, Text, cri, docker, words

KIB = 1024
LONG = '300s'  # longer than any test: what is held back by it goes out by other lines
crashing = pytest.mark.parametrize('crash', [False, True], ids=['stop', 'kill9'])


def append(path, data):
    with open(path, 'ab', buffering=0) as file:
        file.write(data)


def end(agent, crash):
    if crash:
        agent.kill9()
    else:
        agent.stop()


def read_records(broker, topic):
    return [json.loads(message.value) for message in oracle.read_topic(broker.client(), topic)]


def values(broker, topic):
    return [message.value for message in oracle.read_topic(broker.client(), topic)]


def matches(record, expected):
    return all(record.get(name) == value for name, value in expected.items())


def compare(expected, found, doubles=0):
    """Each expected record is there, nothing else is, and in each of the log's streams they stand in order."""
    by_offset = {}
    for record in found:
        by_offset.setdefault((record.get('stream'), record['log.offset']), record)
    wanted = {record['log.offset']: record for record in expected}
    wrong = [(record, wanted.get(record['log.offset'])) for record in by_offset.values()
             if not matches(record, wanted.get(record['log.offset'], {'message': None}))]
    assert not wrong, f'{len(wrong)} records are not what was written, the first ones: {wrong[:2]}'
    missing = wanted.keys() - {offset for _, offset in by_offset}
    assert not missing, f'lost: {[wanted[offset] for offset in sorted(missing)[:3]]}'
    assert len(found) - len(by_offset) <= doubles, f'{len(found) - len(by_offset)} doubles'
    for stream in {stream for stream, _ in by_offset}:
        offsets = [offset for name, offset in by_offset if name == stream]
        assert offsets == sorted(offsets), f'{stream} is not in order'


def wait_for_records(broker, topic, count, seconds=60):
    """Different ones: where doubles keep the account from telling. Returns all."""
    def all_there():
        if sum(oracle.topic_ends(broker.client(), topic).values()) < count:
            return None
        found = read_records(broker, topic)
        return found if len({(record['log.file.path'], record['log.offset']) for record in found}) >= count else None
    return wait_until(all_there, seconds, f'{count} records in {topic}', pause=0.3)


# ---- all kinds of files, written in pieces that are cut anywhere, the agent stopped or killed meanwhile ----

def groups(chance, text, head, rest, tail=None, count=120):
    for _ in range(count):
        lines = [head + words(chance)] + [rest + words(chance) for _ in range(chance.choice([0, 0, 1, 2, 7]))]
        text.record(*(lines + [tail] if tail else lines))
    return text


def text_start(chance):
    text = Text().record(' before the first').record('lines are alone')
    groups(chance, text, '2025-01-01 ', '  ').line('2025-01-01 the last one stays open')
    return {'multiline': {'start': r'^\d{4}-', 'timeout': LONG}}, text


def text_continue(chance):
    text = groups(chance, Text(), 'head ', '\t')
    text.line('the last one stays open')
    return {'multiline': {'continue': r'^\s', 'timeout': LONG}}, text


def text_end(chance):
    return {'multiline': {'end': r';$', 'timeout': LONG}}, groups(chance, Text(), 'select ', 'from ', 'where a = 1;')


def text_start_and_end(chance):
    text = Text()
    for _ in range(60):
        groups(chance, text, '<<', '', '>>', count=1).record('outside of ' + words(chance))
    return {'multiline': {'start': '^<<', 'end': '^>>', 'timeout': LONG}}, text


def traces_of(name):
    def make(chance):
        text = Text()
        for _ in range(12):
            text.record(*TRACES[name].split('\n')).record('INFO ' + words(chance)).record(words(chance))
        return {'multiline': {'preset': [name], 'timeout': LONG}}, text
    return make


def text_indent(chance):
    text = groups(chance, Text(), '', '  ')
    text.line('the last one stays open')
    return {'multiline': {'preset': ['indent'], 'timeout': LONG}}, text


def text_max_lines(chance):
    text = Text()
    for _ in range(40):
        text.record('head', ' a', ' b').record(' c', ' d')
    text.line('the last one stays open')
    return {'multiline': {'continue': '^ ', 'max_lines': 3, 'timeout': LONG}}, text


def text_max_bytes(chance):
    text = Text()
    for _ in range(30):
        text.record('h' * 400, ' ' + 'a' * 622).record(' ' + 'b' * 1022).record(' c', ' ' + 'd' * 1020).record(' e')
    text.line('the last one stays open')
    return {'multiline': {'continue': '^ ', 'max_bytes': '1KiB', 'timeout': LONG}}, text


def of_container(name, formats, **more):
    def make(chance):
        return {'container': name, 'multiline': {'start': '^2025 ', 'timeout': LONG}, **more}, Container(formats, name)
    return make


def of_encoding(name, python, mark='', **more):
    def make(chance):
        text = Text(python, mark=mark.encode(python))
        for _ in range(150):
            line = (words(chance) + ' \u0a0d \u0d0a').encode(python, 'ignore').decode(python)
            text.record(line)
        return {'encoding': name, **more}, text
    return make


def of_delimiter(delimiter, end):
    def make(chance):
        text = Text(end=end)
        for _ in range(150):
            text.record(words(chance) + chance.choice(['', '', '--END', '-', '\n', '--END-']))
        return {'delimiter': delimiter}, text
    return make


def text_crlf(chance):
    text = groups(chance, Text(end='\r\n'), 'head ', ' ')
    text.line('the last one stays open')
    return {'multiline': {'continue': '^ ', 'timeout': LONG}}, text


def text_header(chance):
    text = Text(mark='\ufeff'.encode()).record('#fields', ends=0).record('# a,b', ends=0)
    for _ in range(100):
        text.record(words(chance))
    return {'header_lines': 2}, text


TEXTS = {
    'start': text_start,
    'continue': text_continue,
    'end': text_end,
    'start-and-end': text_start_and_end,
    **{name: traces_of(name) for name in TRACES},
    'indent': text_indent,
    'max-lines': text_max_lines,
    'max-bytes': text_max_bytes,
    'cri': of_container('cri', ['cri']),
    'docker': of_container('docker', ['docker']),
    'auto': of_container('auto', ['cri', 'docker']),
    'utf-16le': of_encoding('utf-16le', 'utf-16le', '\ufeff'),
    'utf-16be': of_encoding('utf-16be', 'utf-16be', '\ufeff'),
    'utf-16-by-mark': of_encoding('utf-16', 'utf-16be', '\ufeff', header_lines=0),
    'utf-32-by-mark': of_encoding('utf-32', 'utf-32be', '\ufeff'),
    'latin-1': of_encoding('latin-1', 'latin-1'),
    'windows-1252': of_encoding('windows-1252', 'cp1252'),
    'shift_jis': of_encoding('shift_jis', 'shift_jis'),
    'gb18030': of_encoding('gb18030', 'gb18030'),
    'carriage-returns': of_delimiter('\r', '\r'),
    'nul': of_delimiter('nul', '\0'),
    'long-delimiter': of_delimiter('--END--\n', '--END--\n'),
    'crlf': text_crlf,
    'header': text_header,
}


class Pieces(threading.Thread):
    """Writes files side by side, in pieces of any length: the first ones byte by byte."""

    def __init__(self, files, seed):
        super().__init__(daemon=True)
        self.files = files  # path -> bytes
        self.chance = random.Random(seed)
        self.failure = None

    def run(self):
        try:
            self.write()
        except OSError as failure:  # told by finish()
            self.failure = failure

    def write(self):
        with contextlib.ExitStack() as stack:
            left = [[stack.enter_context(open(path, 'ab', buffering=0)), data, 0] for path, data in self.files.items()]
            while left:
                for item in left:
                    file, data, at = item
                    item[2] += self.chance.randint(1, 3 if at < 60 else 250)
                    file.write(data[at:item[2]])
                left = [item for item in left if item[2] < len(item[1])]
                time.sleep(0.005)

    def finish(self):
        self.join()
        assert self.failure is None, self.failure


@pytest.mark.parametrize('crash, workers', [(False, 1), (True, 2)], ids=['stop', 'kill9'])
def test_records_are_whole_wherever_reads_and_runs_end(crash, workers, broker, agents, topic, logs, report):
    made = {name: make(random.Random(name)) for name, make in TEXTS.items()}
    streams = {name: tail_to(logs / name, topic, encode='json', **tail) for name, (tail, _) in made.items()}
    agent = agents(broker, streams, workers=workers).start()
    pieces = Pieces({logs / name: text.data for name, (_, text) in made.items()}, seed=workers)
    pieces.start()
    for _ in range(4):
        agent.wait_read(200)
        end(agent, crash)
        agent.start()
    pieces.finish()
    count = sum(len(text.expected) for _, text in made.values())
    found = wait_for_records(broker, topic, count)
    agent.stop()
    for name, (_, text) in made.items():
        of_text = [record for record in found if record['log.file.path'] == str(logs / name)]
        compare(text.expected, of_text, doubles=len(found) if crash else 0)
    report(f'texts={len(made)} records={count} doubles={len(found) - count}')


# ---- time ----

def test_last_record_comes_after_its_time_and_a_slow_one_is_one(broker, agents, topic, logs):
    path = logs / 'app.log'
    tail = {'multiline': {'start': '^2025', 'timeout': '3s'}}
    agent = agents(broker, {'app': tail_to(path, topic, encode='json', **tail)}).start()
    began = time.monotonic()
    append(path, b'2025 a\n b\n')
    agent.wait_done(1)
    assert time.monotonic() - began >= 3
    text = b'2025 slow\n' + b''.join(b' line %d\n' % i for i in range(8))
    for line in text.splitlines(keepends=True):
        append(path, line)
        time.sleep(0.5)  # what is tested: eight of these are longer than the time, one is not
    assert agent.look()['app']['read'] == 1
    account = agent.wait_done(2)['app']
    assert account['lines_joined'] == 9
    agent.stop()
    compare([{'log.offset': 0, 'message': '2025 a\n b'}, {'log.offset': 10, 'message': text.decode()[:-1]}],
            read_records(broker, topic))


@pytest.mark.parametrize('lines', [300, 1900], ids=['longer-than-a-read', 'nearly-a-batch'])
def test_record_that_waits_goes_out_whole_however_many_others_there_are(lines, broker, agents, topic, logs):
    """The time is over while other files fill the batches."""
    record = '2025 head\n' + '\n'.join(f' {i} ' + 'x' * (600 if lines == 300 else 30) for i in range(lines))
    tail = {'multiline': {'start': '^2025', 'max_lines': 2000, 'timeout': '1s'}}
    agent = agents(broker, {'app': tail_to(logs / '*.log', topic, encode='json', **tail)}).start()
    append(logs / 'held.log', record.encode() + b'\n')
    for number in range(1, 200):
        append(logs / f'{number}.log', b'2025 a\n' * 50)
    agent.wait_done(1 + 199 * 50)
    agent.stop()
    held = [r for r in read_records(broker, topic) if r['log.file.path'].endswith('/held.log')]
    compare([{'log.offset': 0, 'message': record}], held)


def test_stream_that_writes_on_does_not_wait_for_a_silent_one(broker, agents, topic, logs):
    """A record of stderr may go on, and the file never rests: by the runtime's times it is complete."""
    path = logs / 'app.log'
    tail = {'container': 'cri', 'multiline': {'start': '^2025', 'timeout': '1s'}}
    agent = agents(broker, {'app': tail_to(path, topic, encode='json', **tail)}).start()
    append(path, cri(0, 'stderr', 'F', '2025 silent') + cri(1, 'stderr', 'F', ' goes on'))
    ended = threading.Event()

    def write():
        number = 0
        while not ended.is_set():
            number += 20
            append(path, cri(number, 'stdout', 'F', f'2025 {number}'))
            ended.wait(0.02)
    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        agent.wait_done(100, seconds=20)
    finally:
        ended.set()
        writer.join()
    agent.stop(left=True)
    found = read_records(broker, topic)
    assert {'2025 silent\n goes on', '2025 20', '2025 1000'} <= {record['message'] for record in found}


# ---- rotation, truncation ----

@pytest.mark.parametrize('away', ['watching', 'frozen', 'stop', 'kill9'])
def test_record_that_a_rotation_cuts_is_whole(away, broker, agents, topic, logs):
    """Its rest is written to the renamed file, before the new one is begun."""
    path, old = logs / 'app.log', logs / 'app.log.1'
    tail = {'multiline': {'start': '^2025', 'timeout': LONG}}
    agent = agents(broker, {'app': tail_to(path, topic, **tail)}).start()
    append(path, b'2025 first\n2025 cut\n by')
    agent.wait_done(1)
    if away == 'frozen':
        agent.process.send_signal(signal.SIGSTOP)
    elif away != 'watching':
        end(agent, away == 'kill9')
    os.rename(path, old)
    append(old, b' a rotation\n')
    append(old, b' once\n')
    append(path, b'2025 new\n goes on\n')
    append(path, b'2025 last\n')
    if away == 'frozen':
        agent.process.send_signal(signal.SIGCONT)
    elif away != 'watching':
        agent.start()
    oracle.wait_for_lines(broker.client(), topic, 3)
    agent.stop()
    found = values(broker, topic)
    assert found[-2:] == [b'2025 cut\n by a rotation\n once', b'2025 new\n goes on']
    assert set(found[:-2]) == {b'2025 first'} and (away == 'kill9' or len(found) == 3)


def test_what_is_written_after_a_truncation_begins_anew(broker, agents, topic, logs):
    path = logs / 'app.log'
    tail = {'multiline': {'start': '^2025', 'timeout': '500ms'}, 'header_lines': 1}
    agent = agents(broker, {'app': tail_to(path, topic, **tail)}).start()
    append(path, b'# header\n2025 a\n b\n2025 c\n d\n')
    agent.wait_done(3)
    with open(path, 'wb', buffering=0) as file:
        file.write(b'# other\n2025 e\n')
    agent.wait_done(5)
    account = agent.stop()['app']
    assert values(broker, topic) == [b'2025 a\n b', b'2025 c\n d', b'2025 e']
    assert (account['dropped'], account['truncations'], account['lines_joined']) == (2, 1, 2)


@crashing
def test_each_generation_has_its_header(crash, broker, agents, topic, logs):
    path = logs / 'app.csv'
    agent = agents(broker, {'app': tail_to(path, topic, header_lines=2)}).start()
    for number in range(3):
        append(path, b'#one\n')
        end(agent, crash)
        agent.start()
        append(path, b'#two\nrow %d\n' % number)
        oracle.wait_for_lines(broker.client(), topic, 2 * number + 1)
        end(agent, crash)
        append(path, b'more of %d\n' % number)
        agent.start()
        oracle.wait_for_lines(broker.client(), topic, 2 * number + 2)
        os.rename(path, logs / f'app.csv.{number}')
    agent.stop()
    found = values(broker, topic)
    wanted = [text % number for number in range(3) for text in (b'row %d', b'more of %d')]
    assert sorted(set(found)) == sorted(wanted) and (crash or len(found) == len(wanted))


def test_header_that_comes_in_pieces_is_left_out_whole(broker, agents, topic, logs):
    path = logs / 'app.csv'
    agent = agents(broker, {'app': tail_to(path, topic, header_lines=2, incomplete_after='300ms')}).start()
    append(path, b'#one')
    agent.wait_done(1)
    append(path, b'\n#tw')
    agent.wait_done(3)
    append(path, b'o\nrow\n')
    agent.wait_done(5)
    account = agent.stop()['app']
    assert values(broker, topic) == [b'row'] and account['dropped'] == 4


# ---- containers ----

def test_names_of_a_pod_its_rotations_and_long_lines(broker, agents, topic, tmp_path, report):
    """As the kubelet does it: 0.log becomes 0.log.<date> under load. The agent is killed meanwhile."""
    folder = tmp_path / 'pods' / 'shop_cart-5d4f_0f3e1c2a-77aa-4b3c-9d8e-001122334455' / 'web'
    os.makedirs(folder)
    tail = {'container': 'auto', 'multiline': {'preset': ['java'], 'timeout': LONG}}
    agent = agents(broker, {'pods': tail_to(tmp_path / 'pods' / '*' / '*' / '*.log', topic, encode='json', **tail)})
    agent.start()
    long = 'x' * 100000
    number = 0
    for generation in range(4):
        data = b''
        for _ in range(100):
            lines = [f'{number} java.lang.Error: why', '\tat a.B.c(B.java:1)', '\tat d.E.f(E.java:2)']
            data += b''.join(cri(number, 'stderr', 'F', text) for text in lines)
            data += cri(number, 'stdout', 'P', f'{number} one ') + cri(number, 'stdout', 'F', 'line')
            number += 1
        for at in range(0, len(long), 16 * KIB):
            data += docker(number, 'stdout', long[at:at + 16 * KIB], attrs={'a': 'b'})
        data += docker(number, 'stdout', '\n', attrs={'a': 'b'})
        append(folder / '0.log', data[:5000])
        agent.wait_read(1)
        end(agent, crash=generation > 0)  # of the first one the position has to be known
        append(folder / '0.log', data[5000:])
        os.rename(folder / '0.log', folder / f'0.log.20250101-00000{generation}')
        agent.start()
    append(folder / '0.log', cri(number, 'stdout', 'F', 'end') + b'torn\n')
    wanted = {'end', 'torn', long}
    for i in range(number):
        wanted |= {f'{i} java.lang.Error: why\n\tat a.B.c(B.java:1)\n\tat d.E.f(E.java:2)', f'{i} one line'}

    def all_there():
        found = read_records(broker, topic)
        return found if {record['message'] for record in found} >= wanted else None
    found = wait_until(all_there, 40, 'all records', pause=0.5)
    agent.stop()
    assert {record['message'] for record in found} == wanted
    names = {'kubernetes.namespace': 'shop', 'kubernetes.pod.name': 'cart-5d4f', 'kubernetes.container.name': 'web',
             'kubernetes.pod.uid': '0f3e1c2a-77aa-4b3c-9d8e-001122334455'}
    for record in found:
        if record['message'] == 'torn':
            assert 'error.message' in record
        else:
            assert matches(record, names), record
            assert record['@timestamp'].startswith('2025-01-01T00:00:0') and 'error.message' not in record
            assert record['stream'] == ('stderr' if 'java' in record['message'] else 'stdout')
            assert record.get('docker.attrs') == ({'a': 'b'} if record['message'] == long else None)
    report(f'records={len(wanted)} doubles={len(found) - len(wanted)}')


def test_names_come_from_a_link_and_from_what_it_leads_to(broker, agents, topic, logs, tmp_path):
    folder = tmp_path / 'pods' / 'shop_cart-5d4f_0f3e1c2a-77aa-4b3c-9d8e-001122334455' / 'web'
    os.makedirs(folder)
    number = 'ab' * 32
    append(folder / '0.log', cri(0, 'stdout', 'F', 'a'))
    os.symlink(folder / '0.log', logs / f'cart-5d4f_shop_web-{number}.log')
    agent = agents(broker, {'app': tail_to(logs / '*.log', topic, encode='json', container='cri', rescan='1s')}).start()
    append(folder / '0.log', cri(1, 'stdout', 'F', 'b'))
    agent.wait_done(2)
    agent.stop()
    found = read_records(broker, topic)
    assert [record['message'] for record in found] == ['a', 'b']
    for record in found:
        assert matches(record, {'container.id': number, 'kubernetes.pod.uid': '0f3e1c2a-77aa-4b3c-9d8e-001122334455',
                                'kubernetes.namespace': 'shop', 'kubernetes.container.name': 'web'}), record


@pytest.mark.parametrize('name', ['cri', 'docker', 'auto'])
def test_raw_records_are_what_the_container_wrote(name, broker, agents, topic, logs):
    formats = {'cri': ['cri'], 'docker': ['docker'], 'auto': ['cri', 'docker']}[name]
    text = Container(formats, name, count=600)
    append(logs / 'app.log', text.data)
    tail = {'container': name, 'multiline': {'start': '^2025 ', 'timeout': LONG}}
    agent = agents(broker, {'app': tail_to(logs / 'app.log', topic, **tail)}).start()
    agent.wait_done(len(text.expected))
    account = agent.stop()['app']
    assert sorted(values(broker, topic)) == sorted(record['message'].encode() for record in text.expected)
    assert account['parse_failed'] == sum(record['stream'] is None for record in text.expected)


# ---- encodings and bytes ----

def test_what_is_ill_formed_is_replaced_and_counted(broker, agents, topic, logs):
    append(logs / 'wide.log', '\ufeffa\n'.encode('utf-16le') + b'\x00\xd8b\x00\n\x00' + 'c\0\n'.encode('utf-16le'))
    append(logs / 'sjis.log', b'a\x81\nb\n')
    streams = {'wide': tail_to(logs / 'wide.log', topic, encoding='utf-16'),
               'sjis': tail_to(logs / 'sjis.log', topic, encoding='shift_jis')}
    agent = agents(broker, streams).start()
    agent.wait_done(5)
    accounts = agent.stop()
    assert sorted(values(broker, topic)) == sorted(['a'.encode(), '\ufffdb'.encode(), b'c\0', 'a\ufffd'.encode(), b'b'])
    assert [accounts[name]['invalid_utf8'] for name in ('wide', 'sjis')] == [1, 1]


def test_sparse_and_binary_files_are_lines_like_any(broker, agents, topic, logs):
    with open(logs / 'sparse.log', 'wb') as file:
        file.truncate(200 * KIB)
        file.seek(0, os.SEEK_END)
        file.write(b'end\n')
    noise = random.Random(3).randbytes(50000)
    append(logs / 'noise.log', noise + b'\n')
    agent = agents(broker, {'app': tail_to(logs / '*.log', topic, multiline={'end': '.', 'timeout': '300ms'})}).start()
    agent.wait_idle(quiet=1)
    account = agent.stop()['app']
    found = values(broker, topic)
    assert b'\0' * 200 * KIB + b'end' in found
    assert account['bytes_read'] == 200 * KIB + 4 + len(noise) + 1


@pytest.mark.parametrize('encoding, python', [('utf-8', 'utf-8'), ('utf-16le', 'utf-16le'), ('utf-16', 'utf-16be')])
def test_start_at_the_end_loses_nothing_that_comes(encoding, python, broker, agents, topic, logs):
    path = logs / 'app.log'
    append(path, '\ufeffthere\n'.encode(python))
    agent = agents(broker, {'app': tail_to(path, topic, encoding=encoding, start='end')}).start()
    append(path, 'first\nsecond\n'.encode(python))
    agent.wait_done(2)
    agent.stop()
    assert values(broker, topic) == [b'first', b'second']


# ---- last lines without an end ----

@pytest.mark.parametrize('between', ['nothing', 'stop', 'kill9'])
def test_incomplete_line_comes_once_and_its_rest_by_itself(between, broker, agents, topic, logs):
    path = logs / 'app.log'
    long = b'x' * 150000  # longer than one read
    agent = agents(broker, {'app': tail_to(path, topic, incomplete_after='300ms')}).start()
    for piece, wanted in [(b'one\ntw', [b'one', b'tw']), (b'o\nthree', [b'o', b'three']), (b'\n', []),
                          ('Füße'.encode(), ['Füße'.encode()]), (b'\r\n', []), (long, [long]), (b'\nend\n', [b'end'])]:
        append(path, piece)
        for value in wanted:
            wait_until(lambda value=value: value in values(broker, topic), 20, f'{value[:20]}')
        if between != 'nothing':
            end(agent, between == 'kill9')
            agent.start()
    agent.stop()
    found = values(broker, topic)
    assert set(found) == {b'one', b'tw', b'o', b'three', 'Füße'.encode(), long, b'end'}
    assert between == 'kill9' or len(found) == len(set(found))


# ---- try and check ----

HEAD = 'kafka: {brokers: [localhost:9092]}\nstreams:\n  app:\n    ship: {topic: t, encode: raw}\n    tail:\n      paths: [/a]\n'

WRONG = {
    'two kinds': ('multiline: §{start: a, continue: b}', 'start and continue exclude each other'),
    'no kind': ('multiline: §{max_lines: 3}', 'needs one of start, end, continue and preset'),
    'unknown preset': ('multiline: §{preset: [java, cobol]}', 'there is no preset "cobol"; there are .*java'),
    'preset behind indent': ('multiline: §{preset: [indent, java]}', 'must stand last'),
    'expression': ("multiline: §{start: '(a'}", 'start: .*parenthesis'),
    'key of multiline': ('multiline: {§begin: a}', 'begin'),
    'lines out of range': ('multiline: {start: a, max_lines: §1}', 'max_lines must be'),
    'encoding': ('encoding: §utf-61', 'there is no encoding "utf-61"'),
    'encoding with states': ('encoding: §utf-7', 'ends of lines'),
    'encoding of a container': ('container: cri\n      encoding: §latin-1', 'encoding and container exclude each other'),
    'incomplete line of a container': ('container: cri\n      incomplete_after: §1s',
                                       'incomplete_after and container exclude each other'),
    'container': ('container: §podman', 'container must be .*docker'),
    'delimiter': ('delimiter: §"0123456789abcdef"', 'delimiter must'),
    'header': ('header_lines: §-1', 'header_lines must be'),
}


@pytest.mark.parametrize('name', WRONG)
def test_wrong_configuration_is_refused_at_its_place(name, tmp_path):
    more, words_of_it = WRONG[name]
    marked = HEAD + '      ' + more + '\n'
    file = tmp_path / 'wrong.yaml'
    file.write_text(marked.replace('§', ''))
    before = marked[:marked.index('§')]
    place = f'{file}:{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}: '
    for command in (['check'], ['try', '-s', 'app']):
        result = run(*command, '-c', file, data='')
        assert result.returncode == 1
        assert result.stderr.startswith(place) and re.search(words_of_it, result.stderr), result.stderr


def attempt(tmp_path, data, **tail):
    """Messages that `splashdam try` makes of the data."""
    file = tmp_path / 'try.yaml'
    file.write_text(json.dumps({'kafka': {'brokers': 'nowhere:1'}, 'streams': {
        'app': {'tail': {'paths': ['/nowhere'], **tail}, 'ship': {'topic': 't', 'encode': 'json'}}}}))
    done = subprocess.run([BINARY, 'try', '-c', str(file), '-s', 'app'], input=data, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b'')
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_try_loses_nothing_behind_a_record_that_stays_open(tmp_path):
    lines = [f'2025 {number}' for number in range(5000)]
    data = cri(0, 'stderr', 'F', '2025 open') + b''.join(cri(1, 'stdout', 'F', text) for text in lines)
    found = attempt(tmp_path, data, container='cri', multiline={'start': '^2025'})
    assert [record['message'] for record in found if record['stream'] == 'stdout'] == lines
    assert [record['message'] for record in found if record['stream'] == 'stderr'] == ['2025 open']


@pytest.mark.parametrize('name', TEXTS)
def test_try_makes_the_same_records(name, tmp_path):
    tail, text = TEXTS[name](random.Random(name))
    found = attempt(tmp_path, text.data, **tail)
    compare(text.expected, [record for record in found if 'the last one stays open' not in record['message']])
