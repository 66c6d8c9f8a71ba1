"""SIGHUP: another configuration under load. What is not changed is not touched, and no line is lost, doubled or out of order."""
import contextlib
import json
import os
import random
import re
import socket
import time

import pytest

import oracle
from agent import SANITIZED, SLOW, tail_to
from kafka import KafkaBroker, free_port, wait_until
from oracle import Writer, compare
from test_files import held

LOADS = re.compile(r' info reload: reading the configuration ')


def check(broker, topic, written, duplicates=0):
    return compare(written, oracle.read_topic(broker.client(), topic)).check(duplicates)


def wait_shipped(broker, topics, count, seconds=90):
    def shipped():
        return sum(sum(oracle.topic_ends(broker.client(), topic).values()) for topic in topics)
    wait_until(lambda: shipped() >= count, seconds * SLOW, lambda: f'{count} messages, {shipped()} are there', pause=0.2)


def resident(agent):
    with open(f'/proc/{agent.process.pid}/status') as file:
        return int(re.search(r'VmRSS:\s+(\d+) kB', file.read())[1]) * 1024


def descriptors(agent):
    """What each one leads to."""
    folder = f'/proc/{agent.process.pid}/fd'
    found = {}
    for fd in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):
            found[int(fd)] = os.readlink(os.path.join(folder, fd))
    return found


def watches(agent):
    """Watch descriptor and inode of each inotify watch of the agent."""
    found = set()
    for fd, path in descriptors(agent).items():
        if path == 'anon_inode:inotify':
            with open(f'/proc/{agent.process.pid}/fdinfo/{fd}') as file:
                found |= {(fd, *watch) for watch in re.findall(r'inotify wd:([0-9a-f]+) ino:([0-9a-f]+)', file.read())}
    return found


def json_lines(broker, topic, field):
    """(value of the field, sequence number) of each record, in the order of the topic."""
    found = []
    for message in oracle.read_topic(broker.client(), topic):
        record = json.loads(message.value)
        found.append((record[field], int(re.search(r'seq=(\d+)', record['message'])[1])))
    return found


# ---- scenario 24 ----

@pytest.mark.parametrize('workers', [1, 2])
def test_hundred_reloads_that_add_and_remove_inputs(workers, broker, agents, topic, logs, report):
    names = ['stays', 'one', 'two', 'three']
    streams = {name: tail_to(logs / name / '*.log', topic) for name in names}
    for name in names:
        os.mkdir(logs / name)
    broker.create_topic(topic)
    agent = agents(broker, dict(streams), workers=workers).start()
    chance = random.Random(24)
    sizes = {}
    with contextlib.ExitStack() as stack:
        writers = {name: stack.enter_context(Writer(logs / name / 'app.log', name, 3000)) for name in names}
        for number in range(100):
            wanted = {name for name in names[1:] if chance.random() < 0.5} if number % 10 != 9 else set(names)
            agent.setup.tree['streams'] = {name: streams[name] for name in names if name == 'stays' or name in wanted}
            assert 'new configuration holds' in agent.reload()
            if number % 10 == 9:
                wait_until(lambda: all(held(agent, logs / name) for name in names), 20 * SLOW, 'all files to be open')
                sizes[number] = (len(descriptors(agent)), resident(agent))
        written = {name: writer.stop() for name, writer in writers.items()}
    wait_shipped(broker, [topic], sum(written.values()))
    accounts = agent.stop()
    assert accounts['stays']['read'] == written['stays']  # its counters went on
    first, last = sizes[19], sizes[99]
    assert abs(last[0] - first[0]) <= 4, sizes  # connections and what is being closed come and go
    assert SANITIZED or last[1] - first[1] < 6 * 2**20, sizes
    report(f'{check(broker, topic, written).text()} fds={first[0]}->{last[0]} rss={first[1] >> 10}->{last[1] >> 10}KiB')


# ---- what is wrong changes nothing ----

def test_wrong_configurations_change_nothing_and_are_told_with_their_place(broker, agents, topic, logs):
    stream = tail_to(logs / 'app.log', topic, chain=[{'parse_regex': {'pattern': '(?<seq>\\d+)', 'keep': True}}])
    agent = agents(broker, {'app': stream}).start()
    good = json.loads(json.dumps(agent.setup.tree))
    oracle.write_file(logs / 'app.log', 'a', 1000)
    agent.wait_done(1000)
    opened, watched = descriptors(agent), watches(agent)
    wrong = [
        (lambda tree: tree['streams']['app'].update(chain=[{'no_such': {}}]), 'no_such'),
        (lambda tree: tree['streams']['app'].update(chain=[{'parse_regex': {'pattern': '('}}]), 'pattern'),
        (lambda tree: tree['streams']['app']['tail'].update(patsh=['/x']), 'paths'),
        (lambda tree: tree['streams'].update(other=tail_to('relative.log', topic)), 'absolute'),
        (lambda tree: tree['streams'].clear(), 'no stream is configured'),
        (lambda tree: tree['kafka']['properties'].update({'linger.ms': 'soon'}), 'linger.ms'),
        (lambda tree: tree['kafka']['properties'].update({'ssl.ca.location': '/no/such', 'security.protocol': 'ssl'}), None),
        (lambda tree: tree['kafka'].update(brokers=['nowhere']), 'host:port'),
        (lambda tree: tree['agent'].update(workers=3), 'agent.workers is another one: that needs a restart'),
        (lambda tree: tree['agent'].update(state='/var/tmp/other'), 'agent.state is another one: that needs a restart'),
        (lambda tree: tree['streams']['app']['ship'].update(partitioner='murmur2'), 'ship.partitioner is another one'),
    ]
    for change, what in wrong:
        agent.setup.tree = json.loads(json.dumps(good))
        change(agent.setup.tree)
        told = agent.reload()
        assert told.startswith('configuration is refused, and the one that runs goes on as it is: '), told
        if what is not None:
            assert what in told and re.search(rf'{re.escape(agent.file)}:\d+:\d+: ', told), told
    agent.setup.tree = json.loads(json.dumps(good))
    with open(agent.file, 'w') as file:
        file.write('streams: {app: [\n')
    agent.setup.write = lambda path: None
    assert re.search(rf'{re.escape(agent.file)}:\d+:\d+: ', agent.reload())
    os.unlink(agent.file)
    assert agent.file in agent.reload()
    files = {fd: path for fd, path in opened.items() if path.startswith('/')}
    assert {fd: path for fd, path in descriptors(agent).items() if path.startswith('/')} == files
    assert watches(agent) == watched
    oracle.write_file(logs / 'app.log', 'a', 1000, first=1000)
    agent.wait_done(2000)
    assert agent.stop()['app']['read'] == 2000
    check(broker, topic, {'a': 2000})


# ---- what is not changed ----

def test_unchanged_streams_are_not_touched(broker, agents, topic, logs):
    for name in ['kept', 'more']:
        os.mkdir(logs / name)
        oracle.write_file(logs / name / 'app.log', name, 1000)
    kept, more = (tail_to(logs / name / '*.log', topic) for name in ['kept', 'more'])
    agent = agents(broker, {'kept': kept}).start()
    agent.wait_done(1000)
    before, watched = descriptors(agent), watches(agent)
    mine = [fd for fd, path in before.items() if path == str(logs / 'kept' / 'app.log')]
    assert len(mine) == 1
    agent.setup.tree['streams'] = {'more': more, 'kept': kept}  # its place in the file is another one
    agent.setup.tree['agent']['drain'] = '3s'
    assert 'added=1 changed=0 removed=0 unchanged=1' in agent.reload()
    agent.wait_done(2000)
    assert watched < watches(agent)
    agent.setup.tree['streams'] = {'kept': kept}
    assert 'added=0 changed=0 removed=1 unchanged=1' in agent.reload()
    agent.wait_for_log(r'account: removed stream=more read=1000 delivered=1000 ')
    assert [fd for fd, path in descriptors(agent).items() if path.startswith(str(logs))] == mine
    assert watches(agent) == watched
    oracle.write_file(logs / 'kept' / 'app.log', 'kept', 1000, first=1000)
    agent.wait_done(2000)
    assert len(re.findall(r'found path="[^"]*/kept/app.log"', agent.log_text())) == 1
    assert 'going on with' not in agent.log_text()
    assert agent.stop()['kept']['read'] == 2000
    check(broker, topic, {'kept': 2000, 'more': 1000})


def test_log_level_applies(broker, agents, topic, logs):
    agent = agents(broker, {'app': tail_to(logs / 'app.log', topic)}, log_level='error').start(wait=False)
    wait_until(lambda: os.path.exists(os.path.join(agent.state, 'lock')) and watches(agent), 20 * SLOW, 'the agent to run')
    wait_until(lambda: 'SigCgt' in (text := open(f'/proc/{agent.process.pid}/status').read()) and
               int(re.search(r'SigCgt:\s+([0-9a-f]+)', text)[1], 16) & 1, 20 * SLOW, 'SIGHUP to be caught')
    agent.setup.tree['agent']['log_level'] = 'debug'
    assert 'unchanged=1' in agent.reload()
    agent.stop()


# ---- what is changed ----

def test_changed_topic_and_chain_apply_from_one_line_on(broker, agents, topic, logs, report):
    """The files stay open, and no line comes twice or is left out."""
    path = logs / 'app.log'

    def stream(version):
        return tail_to(path, f'{topic}.{version % 2}', encode='json', chain=[{'set': {'version': str(version)}}])
    for part in range(2):
        broker.create_topic(f'{topic}.{part}')
    agent = agents(broker, {'app': stream(0)}).start()
    with Writer(path, 'a', 3000) as writer:
        wait_until(lambda: held(agent, path), 20 * SLOW, 'the file to be open')
        mine = [fd for fd, name in descriptors(agent).items() if name == str(path)]
        for version in range(1, 6):
            agent.wait_done(writer.count)
            agent.setup.tree['streams']['app'] = stream(version)
            assert 'changed=1' in agent.reload()
            count = writer.count
            wait_until(lambda count=count: writer.count > count + 1000, 20, '1000 lines')
        written = writer.stop()
    wait_shipped(broker, [f'{topic}.0', f'{topic}.1'], written)
    assert [fd for fd, name in descriptors(agent).items() if name == str(path)] == mine
    assert agent.stop()['app']['read'] == written
    records = sorted(json_lines(broker, f'{topic}.0', 'version') + json_lines(broker, f'{topic}.1', 'version'),
                     key=lambda record: record[1])
    assert [seq for _, seq in records] == list(range(written))
    versions = [int(version) for version, _ in records]
    assert versions == sorted(versions) and set(versions) == set(range(6))
    for part in range(2):
        found = json_lines(broker, f'{topic}.{part}', 'version')
        assert all(int(version) % 2 == part for version, _ in found)
        assert [seq for _, seq in found] == sorted(seq for _, seq in found)
    report(f'written={written} versions={[versions.count(v) for v in range(6)]}')


def test_changed_globs_apply(broker, agents, topic, logs):
    agent = agents(broker, {'app': tail_to(logs / 'a.log', topic)}).start()
    for name in ['a', 'b', 'c']:
        oracle.write_file(logs / f'{name}.log', name, 1000)
    agent.wait_done(1000)
    agent.setup.tree['streams']['app'] = tail_to([logs / 'a.log', logs / 'b.log'], topic)
    assert 'changed=1' in agent.reload()
    agent.wait_done(2000)
    agent.setup.tree['streams']['app'] = tail_to([logs / '*.log'], topic, exclude=['a.log'])
    assert 'changed=1' in agent.reload()
    wait_until(lambda: not held(agent, logs / 'a.log'), 20 * SLOW, 'a.log to be let go')
    oracle.write_file(logs / 'a.log', 'a', 1000, first=1000)
    agent.wait_done(3000)
    agent.setup.tree['streams']['app'] = tail_to([logs / '*.log'], topic)  # goes on where it was left
    agent.reload()
    agent.wait_done(4000)
    agent.stop()
    check(broker, topic, {'a': 2000, 'b': 1000, 'c': 1000})


def test_files_that_come_while_a_stream_is_changed_are_read_from_their_beginning(broker, agents, topic, logs, report):
    """With `start: end` a file that appears in a followed folder is new, also between the old stream and the new one."""
    oracle.write_file(logs / 'before.log', 'before', 100)

    def stream(number):
        return tail_to(logs / '*.log', topic, start='end', max_line=f'{1000 + number}KiB')
    agent = agents(broker, {'app': stream(0)}).start()
    written = {}
    for number in range(1, 31):
        agent.setup.tree['streams']['app'] = stream(number)
        agent.setup.write(agent.file)
        agent.hang_up()
        for part in range(5):
            name = f'new{number}.{part}'
            oracle.write_file(logs / f'{name}.log', name, 20)
            written[name] = 20
            time.sleep(0.004)
    agent.reload()
    wait_shipped(broker, [topic], sum(written.values()))
    agent.wait_idle(quiet=0.5)
    agent.stop()
    report(check(broker, topic, written).text())


def test_deleted_file_is_read_to_its_end_by_the_changed_stream(own_broker, agents, topic, logs, report):
    """Its descriptor is all that leads to it, and its stream is changed in an outage: how files are read, too."""
    path = logs / 'app.log'
    own_broker.create_topic(topic)
    agent = agents(own_broker, {'app': tail_to(path, topic)}, memory='1MiB').start()
    oracle.write_file(path, 'a', 1000)
    agent.wait_done(1000)
    own_broker.freeze()
    oracle.write_file(path, 'a', 60000, first=1000)
    agent.wait_read(1001)
    agent.setup.tree['streams']['app'] = tail_to(path, topic, max_line='64KiB')
    agent.reload()
    with open(path, 'ab') as writer:
        os.unlink(path)
        oracle.write_file(path, 'b', 20000)
        writer.write(oracle.lines('a', 61000, 1000))
        own_broker.thaw()
        wait_shipped(own_broker, [topic], 82000)
        writer.write(oracle.lines('a', 62000, 1000))
    wait_shipped(own_broker, [topic], 83000)
    agent.stop()
    report(check(own_broker, topic, {'a': 63000, 'b': 20000}).text())


def test_changed_stream_goes_on_in_every_generation(broker, agents, topic, logs, report):
    """Rotation and reload at once."""
    broker.create_topic(topic)

    def stream(number):
        return tail_to(logs / 'app.log', topic, max_line=f'{1000 + number}KiB')
    agent = agents(broker, {'app': stream(0)}).start()
    with Writer(logs / 'app.log', 'a', 5000, rotate_every=0.4) as writer:
        for number in range(1, 41):
            time.sleep(0.1)
            agent.setup.tree['streams']['app'] = stream(number)
            assert 'changed=1' in agent.reload()
        written = writer.stop()
    wait_shipped(broker, [topic], written)
    agent.wait_idle(quiet=0.5)
    agent.stop()
    report(f'{check(broker, topic, {"a": written}).text()} rotations={writer.rotations}')


# ---- while Kafka is away ----

@pytest.mark.parametrize('how', ['frozen', 'killed'])
def test_reloads_while_kafka_is_away(how, own_broker, agents, topic, logs, report):
    own_broker.create_topic(topic)
    names = ['kept', 'changed', 'removed', 'again']

    def streams(number, *wanted):
        return {name: tail_to(logs / f'{name}.log', topic, max_line=f'{1000 + (number if name == "changed" else 0)}KiB')
                for name in wanted}
    agent = agents(own_broker, streams(0, *names), memory='2MiB').start()
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(Writer(logs / f'{name}.log', name, 1500)) for name in names]
        time.sleep(1)
        (own_broker.freeze if how == 'frozen' else own_broker.kill)()
        time.sleep(1)
        for number, wanted in enumerate([names[:3], names[:2], names[:2], [*names[:2], 'again'], names[:2], names], 1):
            agent.setup.tree['streams'] = streams(number, *wanted)
            assert 'new configuration holds' in agent.reload()
            agent.look()
            time.sleep(0.3)
        (own_broker.thaw if how == 'frozen' else own_broker.start)()
        time.sleep(1)
        written = {writer.src: writer.stop() for writer in writers}
    wait_shipped(own_broker, [topic], sum(written.values()))
    accounts = agent.stop()
    assert {name: account['read'] for name, account in accounts.items()} == written  # with what was read before
    report(check(own_broker, topic, written).text())


# ---- signals ----

def many_patterns(logs, topic):
    """Streams that take long to load, some tenths of a second: their expressions are compiled."""
    steps = [{'parse_regex': {'pattern': f'(?<f{n}>{n} ' + '(?:[a-z]+|[0-9]+)(?: [a-z]{1,40}){1,30}' * 6 + ')', 'keep': True}}
             for n in range(400)]
    return {f'slow{n}': tail_to(logs / f'slow{n}.log', topic, chain=steps) for n in range(10)}


def test_signals_during_a_reload_cause_exactly_one_more(broker, agents, topic, logs):
    agent = agents(broker, {'app': tail_to(logs / 'app.log', topic), **many_patterns(logs, topic)}).start()
    agent.hang_up()
    agent.wait_for_log(LOADS.pattern)
    agent.setup.tree['streams']['late'] = tail_to(logs / 'late.log', topic)
    agent.setup.write(agent.file)
    for _ in range(5):
        agent.hang_up()
        time.sleep(0.005)
    agent.wait_for_log(r'(?s)the new configuration holds .*the new configuration holds ')
    agent.reload()  # a third: whatever would still come, came
    text = agent.log_text()
    assert text.count('asked again: once more after this one') == 1
    assert len(LOADS.findall(text)) == 3
    oracle.write_file(logs / 'app.log', 'app', 1000)
    oracle.write_file(logs / 'late.log', 'late', 1000)
    wait_shipped(broker, [topic], 2000)
    agent.stop()
    check(broker, topic, {'app': 1000, 'late': 1000})


def test_stop_in_the_middle_of_a_reload(broker, agents, topic, logs, report):
    broker.create_topic(topic)
    slow = many_patterns(logs, topic)
    agent = agents(broker, {'app': tail_to(logs / 'app.log', topic)})
    with Writer(logs / 'app.log', 'a', 2000) as writer:
        for pause in [0, 0.01, 0.1, 0.3]:
            agent.setup.tree['streams'] = {'app': tail_to(logs / 'app.log', topic)}
            agent.start()
            agent.setup.tree['streams'] = {'app': tail_to(logs / 'app.log', topic, max_line='64KiB'), **slow}
            agent.setup.write(agent.file)
            agent.hang_up()
            time.sleep(pause)
            status, _ = agent.terminate()
            assert status == 0
        written = writer.stop()
    agent.setup.tree['streams'] = {'app': tail_to(logs / 'app.log', topic)}
    agent.start()
    wait_shipped(broker, [topic], written)
    agent.stop()
    report(check(broker, topic, {'a': written}).text())


def test_kill_in_the_middle_of_a_reload(broker, agents, topic, logs, report):
    broker.create_topic(topic)
    chance = random.Random(9)

    def streams(number):
        return {'app': tail_to(logs / 'app.log', topic, max_line=f'{1000 + number}KiB'),
                **({'more': tail_to(logs / 'more.log', topic)} if number % 2 == 0 else {})}
    agent = agents(broker, streams(0)).start()
    with Writer(logs / 'app.log', 'app', 1500) as app, Writer(logs / 'more.log', 'more', 500) as more:
        for number in range(1, 13):
            time.sleep(0.3)
            agent.setup.tree['streams'] = streams(number)
            agent.setup.write(agent.file)
            agent.hang_up()
            time.sleep(chance.random() * 0.06)
            agent.kill9()
            agent.start()
        written = {'app': app.stop(), 'more': more.stop()}
    wait_shipped(broker, [topic], sum(written.values()))
    agent.wait_idle(quiet=0.5)
    agent.stop()
    report(check(broker, topic, written, duplicates=12 * 4000).text())


def test_service_manager_is_told(broker, agents, topic, logs, tmp_path):
    address = str(tmp_path / 'notify')
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(20 * SLOW)
        agent = agents(broker, {'app': tail_to(logs / 'app.log', topic)})
        agent.wrapper = ['env', f'NOTIFY_SOCKET={address}']
        agent.start()
        assert manager.recv(1000) == b'READY=1'
        before = time.monotonic_ns() // 1000
        agent.reload()
        match = re.fullmatch(rb'RELOADING=1\nMONOTONIC_USEC=(\d+)', manager.recv(1000))
        assert before <= int(match[1]) <= time.monotonic_ns() // 1000
        assert manager.recv(1000) == b'READY=1'
        agent.setup.tree['streams'].clear()
        assert 'refused' in agent.reload()
        assert manager.recv(1000).startswith(b'RELOADING=1\n')
        assert manager.recv(1000) == b'READY=1'
        agent.setup.tree['streams']['app'] = tail_to(logs / 'app.log', topic)
        agent.stop()
        assert manager.recv(1000) == b'STOPPING=1'


# ---- Kafka's own section ----

def test_changed_kafka_properties_under_load(broker, agents, topic, logs, report):
    broker.create_topic(topic, partitions=3)
    agent = agents(broker, {'app': tail_to(logs / '*.log', topic), 'other': tail_to(logs / 'b.log', topic)}).start()
    with Writer(logs / 'a.log', 'a', 4000) as writer:
        for codec in ['none', 'zstd', 'lz4', 'gzip']:
            time.sleep(0.5)
            agent.setup.tree['kafka']['properties']['compression.codec'] = codec
            assert 'unchanged=2' in agent.reload()
            agent.wait_for_log(r'(?s)' + r'a new producer goes on.*' * (['none', 'zstd', 'lz4', 'gzip'].index(codec) + 1))
        written = writer.stop()
    wait_shipped(broker, [topic], written)
    agent.stop()
    report(check(broker, topic, {'a': written}).text())


def test_wrong_brokers_are_mended(broker, agents, topic, logs):
    broker.create_topic(topic)
    agent = agents(f'127.0.0.1:{free_port()}', {'app': tail_to(logs / 'app.log', topic)}).start()
    oracle.write_file(logs / 'app.log', 'a', 20000)
    agent.wait_read(1)
    agent.setup.tree['kafka']['brokers'] = [broker.bootstrap]
    agent.reload()
    agent.wait_done(20000, 60)
    agent.stop()
    check(broker, topic, {'a': 20000})


def test_other_cluster_gets_what_comes_after_the_reload(broker, agents, topic, logs, tmp_path):
    other = KafkaBroker(tmp_path / 'other').start()
    try:
        agent = agents(broker, {'app': tail_to(logs / 'app.log', topic)}).start()
        oracle.write_file(logs / 'app.log', 'a', 1000)
        agent.wait_done(1000)
        agent.setup.tree['kafka']['brokers'] = [other.bootstrap]
        agent.reload()
        agent.wait_for_log('a new producer goes on')
        oracle.write_file(logs / 'app.log', 'a', 1000, first=1000)
        agent.wait_done(2000)
        agent.stop()
        check(broker, topic, {'a': 1000})
        check(other, topic, {'a': range(1000, 2000)})
    finally:
        other.kill()
