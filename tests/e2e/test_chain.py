"""A stream's chain from the file to what a consumer parses, beside an independent computation of it."""
import collections
import json
import random
import re
import socket

import oracle
from agent import tail_to
from oracle import compare

PATTERN = (r'^(?<client>\S+) - (?<user>\S+) \[(?<when>[^\]]+)\] "(?<method>[A-Z]+) (?<path>[^" ]*) [^"]*" '
           r'(?<status>\d+) (?<bytes>\d+|-) "(?<agent>[^"]*)"$')
TIME = re.compile(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z')


def access_lines(count, seed=11):
    """An access log in which some lines are odd, and some are no access lines at all."""
    chance = random.Random(seed)
    made = []
    for n in range(count):
        if chance.random() < 0.03:
            made.append(f'worker {n} exited: "signal 11"\tcore\\dumped {chance.choice(["Füße", "🌲", ""])}')
            continue
        path = chance.choice(['/', '/cart', '/health', '/healthz', '/a%20b', '/ü', '/img/x.png'])
        made.append(f'10.0.{n % 7}.{n % 250} - {chance.choice(["-", "ann", "bob"])} [01/Jan/2026:00:00:{n % 60:02d} +0000] '
                    f'"{chance.choice(["GET", "POST"])} {path}?n={n} HTTP/1.1" {chance.choice([200, 200, 301, 404, 500])} '
                    f'{chance.choice(["-", str(chance.randrange(100000))])} "curl/7.{n % 90}"')
    return made


def expected_record(text, path, offset):
    """What the chain below has to make of a line; None: dropped."""
    record = {'host.name': socket.gethostname(), 'log.file.path': str(path), 'log.offset': offset}
    match = re.match(PATTERN.replace('(?<', '(?P<'), text)
    if match is None:
        return {**record, 'message': text, 'error.message': ..., 'env': 'test'}
    fields = match.groupdict()
    if fields['status'] == '404' or fields['path'].startswith('/health'):
        return None
    fields['status'] = int(fields['status'])
    if fields['bytes'] != '-':
        fields['bytes'] = int(fields['bytes'])
    if fields['user'] == '-':
        del fields['user']
    fields['request'] = fields['method'] + ' ' + fields['path']
    return {**record, **fields, 'env': 'test'}


CHAIN = [
    {'parse_regex': {'pattern': PATTERN, 'types': {'status': 'number', 'bytes': 'number'}}},
    {'drop': {'when': 'status == 404 or path ~ "^/health"'}},
    {'remove': {'fields': ['user'], 'when': 'user == "-"'}},
    {'set': {'request': '%{method} %{path}', 'when': 'exists method'}},
    {'set': {'env': 'test'}},
]


def simplify(record):
    """A record as it came, without what can't be foretold, each part of which is checked here."""
    assert TIME.fullmatch(record.pop('@timestamp'))
    if 'error.message' in record:
        assert 'parse_regex' in record['error.message']
        record['error.message'] = ...
    return record


def test_regex_drop_remove_set_and_json_as_computed_independently(broker, agents, topic, logs, report):
    path = logs / 'access.log'
    texts = access_lines(20000)
    expected, offset = [], 0
    for text in texts:
        expected.append(expected_record(text, path, offset))
        offset += len(text.encode()) + 1
    path.write_text(''.join(text + '\n' for text in texts))
    agent = agents(broker, {'access': tail_to(path, topic, encode='json', chain=CHAIN)}).start()
    agent.wait_done(len(texts))
    account = agent.stop()['access']
    shipped = [record for record in expected if record is not None]
    received = [simplify(json.loads(message.value)) for message in oracle.read_topic(broker.client(), topic)]
    for got, wanted in zip(received, shipped):
        assert got == wanted
    assert len(received) == len(shipped) == account['delivered']
    assert account['dropped'] == len(texts) - len(shipped)
    assert account['parse_failed'] == sum('error.message' in record for record in shipped)
    report(f'read={len(texts)} received={len(received)} dropped={account["dropped"]} '
           f'parse_failed={account["parse_failed"]}')


def test_json_lines_keep_their_numbers_as_they_were_written(broker, agents, topic, logs):
    line = '{"big":12345678901234567890,"price":1.10,"e":1E+2,"deep":{"a":[1, null,true]},"text":"\\u00fc\\n\\"","none":null}'
    (logs / 'app.log').write_text(line + '\nnot json\n{"open":\n')
    agent = agents(broker, {'app': tail_to(logs / '*.log', topic, encode='json', chain=[{'parse_json': {}}])}).start()
    agent.wait_done(3)
    account = agent.stop()['app']
    good, *bad = [message.value.decode() for message in oracle.read_topic(broker.client(), topic)]
    for part in ('"big":12345678901234567890', '"price":1.10', '"e":1E+2', '"none":null'):
        assert part in good
    record = json.loads(good)
    assert record['deep'] == {'a': [1, None, True]} and record['text'] == 'ü\n"' and 'message' not in record
    assert [json.loads(text)['message'] for text in bad] == ['not json', '{"open":']
    assert account['parse_failed'] == 2


def test_bytes_that_are_no_utf8_are_replaced_in_json_and_counted(broker, agents, topic, logs):
    (logs / 'app.log').write_bytes(b'a\xffb\xc3(\n' + 'ü🌲\x00\x1b"\\\n'.encode() + b'\xed\xa0\x80\n')
    agent = agents(broker, {'app': tail_to(logs / 'app.log', topic, encode='json')}).start()
    agent.wait_done(3)
    account = agent.stop()['app']
    texts = [json.loads(message.value)['message'] for message in oracle.read_topic(broker.client(), topic)]
    assert texts[:2] == ['a\ufffdb\ufffd(', 'ü🌲\x00\x1b"\\']
    assert texts[2].strip('\ufffd') == '' and texts[2] != ''
    assert account['invalid_utf8'] == 2 + len(texts[2])


def murmur2(key):
    """Kafka's own: the partition that its Java clients choose is this, without the sign, modulo the partitions."""
    m, mask = 0x5bd1e995, 0xffffffff
    h = 0x9747b28c ^ len(key)
    for at in range(0, len(key) - len(key) % 4, 4):
        k = int.from_bytes(key[at:at + 4], 'little') * m & mask
        k = (k ^ k >> 24) * m & mask
        h = h * m & mask ^ k
    rest = key[len(key) - len(key) % 4:]
    if rest:
        h = (h ^ int.from_bytes(rest, 'little')) * m & mask
    h = (h ^ h >> 13) * m & mask
    return (h ^ h >> 15) & 0x7fffffff


def test_topic_and_key_templates_and_javas_partitions(broker, agents, topic, logs, report):
    apps, partitions = ['web', 'db', 'cron'], 5
    prefix = topic[:50]
    for app in apps:
        broker.create_topic(f'{prefix}.{app}', partitions=partitions)
    records = [{'app': apps[n % 3], 'client': f'10.0.0.{n % 101}', 'n': n} for n in range(3000)]
    (logs / 'app.log').write_text(''.join(json.dumps(record) + '\n' for record in records))
    stream = tail_to(logs / 'app.log', prefix + '.%{app}', encode='json', key='%{client}', chain=[{'parse_json': {}}])
    stream['ship']['partitioner'] = 'murmur2_random'
    agent = agents(broker, {'app': stream}).start()
    agent.wait_done(len(records))
    agent.stop()
    newest = collections.defaultdict(lambda: -1)
    seen = set()
    for app in apps:
        for message in oracle.read_topic(broker.client(), f'{prefix}.{app}'):
            record = json.loads(message.value)
            assert (record['app'], record['client'].encode()) == (app, message.key)
            assert message.partition == murmur2(message.key) % partitions
            assert record['n'] > newest[app, message.partition]
            newest[app, message.partition] = record['n']
            seen.add(record['n'])
    assert seen == set(range(len(records)))
    report(f'received={len(seen)} topics={len(apps)} partitions used={len(newest)}')


def test_topic_that_is_made_by_shipping_to_it(broker, agents, topic, logs):
    oracle.write_file(logs / 'app.log', 'a', 1000)
    agent = agents(broker, {'app': tail_to(logs / 'app.log', topic)}).start()
    agent.wait_done(1000)
    agent.stop()
    compare({'a': 1000}, oracle.read_topic(broker.client(), topic)).check()


def test_embedded_broker_serves_any_client(agents, logs):
    oracle.write_file(logs / 'app.log', 'a', 2000)
    agent = agents('embedded', {'app': tail_to(logs / 'app.log', 'trial')}).start()
    bootstrap = agent.wait_for_log(r'embedded broker listening bootstrap=(\S+)')[1]
    agent.wait_done(2000)
    compare({'a': 2000}, oracle.read_topic({'bootstrap.servers': bootstrap}, 'trial')).check()
    compare({'a': 2000}, oracle.read_topic_with_kcat(bootstrap, 'trial')).check()
    agent.stop()
