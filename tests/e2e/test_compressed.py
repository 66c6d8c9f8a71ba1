"""Rotated logs that were compressed before the agent had read them, and logrotate itself with what it can be told."""
import gzip
import os
import subprocess
import time

import pytest

import oracle
from agent import tail_to
from kafka import wait_until
from oracle import compare
from test_copytruncate import AppendingWriter, away, back

matching = pytest.mark.parametrize('paths', ['app.log', 'app.log*'], ids=['apart', 'in-the-glob'])


def pack(path, tool='gzip'):
    """As the tool does: the plain file goes when the packed one is whole."""
    subprocess.run([tool, '-q', '--rm', path] if tool == 'zstd' else [tool, path], check=True)


@matching
@pytest.mark.parametrize('tool', ['gzip', 'zstd'])
@pytest.mark.parametrize('how', ['stopped', 'killed'])
def test_rotated_and_compressed_while_the_agent_is_away(how, tool, paths, broker, agents, topic, logs, report):
    path = logs / 'app.log'
    agent = agents(broker, {'app': tail_to(logs / paths, topic)}).start()
    count = 0
    for turn in range(2):
        oracle.write_file(path, 'app', 3000, first=count)
        oracle.wait_for_lines(broker.client(), topic, count + 3000)
        agent.wait_idle(quiet=0.5)
        away(agent, how)
        oracle.write_file(path, 'app', 2000, first=count + 3000)
        for number in range(turn, 0, -1):
            for end in ('.gz', '.zst'):
                if os.path.exists(f'{path}.{number}{end}'):
                    os.rename(f'{path}.{number}{end}', f'{path}.{number + 1}{end}')
        os.rename(path, f'{path}.1')
        pack(f'{path}.1', tool)
        count += 5000
        oracle.write_file(path, 'app', 500, first=count)
        count += 500
        back(agent, how)
        oracle.wait_for_lines(broker.client(), topic, count)
    agent.wait_idle(quiet=0.5)
    agent.stop()
    result = compare({'app': count}, oracle.read_topic(broker.client(), topic)).check(20000 if how == 'killed' else 0)
    report(result.text())


def test_a_large_compressed_file_keeps_its_order_and_its_memory(broker, agents, topic, logs, report):
    path = logs / 'app.log'
    agent = agents(broker, {'app': tail_to(path, topic), 'other': tail_to(logs / 'other.log', topic)})
    oracle.write_file(path, 'app', 1000)
    agent.start().wait_done(1000)
    agent.stop()
    oracle.write_file(path, 'app', 400000, first=1000)
    os.rename(path, logs / 'app.log-20260101')
    pack(logs / 'app.log-20260101')
    oracle.write_file(path, 'app', 1000, first=401000)
    oracle.write_file(logs / 'other.log', 'other', 10)
    agent.start().wait_done(401010, 90)
    agent.stop()
    result = compare({'app': 402000, 'other': 10}, oracle.read_topic(broker.client(), topic)).check()
    report(f'{result.text()} {agent.check_memory(200 << 20)}')
    assert not [name for name in os.listdir(agent.state) if name.startswith('inflate')]


def test_a_compressed_file_that_was_cut_gives_the_lines_that_it_has(broker, agents, topic, logs):
    path = logs / 'app.log'
    agent = agents(broker, {'app': tail_to(path, topic)})
    oracle.write_file(path, 'app', 1000)
    agent.start().wait_done(1000)
    agent.stop()
    oracle.write_file(path, 'app', 20000, first=1000)
    with open(path, 'rb') as file:
        packed = gzip.compress(file.read())
    with open(logs / 'app.log.1.gz', 'wb') as file:
        file.write(packed[:len(packed) // 2])
    os.unlink(path)
    oracle.write_file(path, 'new', 10)
    agent.start().wait_for_log(r'a compressed file ends too early', 30)
    agent.wait_idle(quiet=0.5)
    account = agent.stop()['app']
    assert 2000 < account['read'] < 20000
    compare({'app': 1000 + account['read'] - 10, 'new': 10}, oracle.read_topic(broker.client(), topic)).check()


def test_a_file_that_is_gone_for_good_is_reported_and_forgotten(broker, agents, topic, logs):
    path = logs / 'app.log'
    agent = agents(broker, {'app': tail_to(path, topic)})
    oracle.write_file(path, 'app', 100)
    agent.start().wait_done(100)
    agent.stop()
    os.unlink(path)
    with gzip.open(logs / 'app.log.1.gz', 'wb') as file:
        file.write(b'not the same\n' * 1000)
    agent.start().wait_for_log(r'a file is gone since the last run')
    agent.stop()
    with open(os.path.join(agent.state, 'positions')) as file:
        assert 'app.log' not in file.read()
    compare({'app': 100}, oracle.read_topic(broker.client(), topic)).check()


# ---- logrotate ----

SCHEMES = {
    'create': 'create',
    'nocreate': 'nocreate',
    'dateext': 'create\ndateext\ndateformat -%Y%m%d-%s',
    'delaycompress': 'create\ncompress\ndelaycompress',
    'copytruncate': 'copytruncate',
    'copytruncate-dateext': 'copytruncate\ndateext\ndateformat -%Y%m%d-%s',
    'copytruncate-delaycompress': 'copytruncate\ncompress\ndelaycompress',
    'copytruncate-compress': 'copytruncate\ncompress',
    'compress': 'create\ncompress',
}


class Logrotate:
    def __init__(self, folder, path, scheme):
        self.config, self.state = folder / 'logrotate.conf', folder / 'logrotate.state'
        self.config.write_text(f'{path} {{\nsu root root\nrotate 100\n{SCHEMES[scheme]}\n}}\n')

    def run(self):
        subprocess.run(['logrotate', '-f', '-s', str(self.state), str(self.config)], check=True, timeout=60)


class ReopeningWriter(AppendingWriter):
    """Opens its log anew for each write, as after a reload."""

    def append(self, file, count):
        if count <= 0:
            return
        with self.gate, open(self.path, 'ab') as anew:
            anew.write(oracle.lines(self.src, self.count, count))
            self.count += count


def wait_for_messages(broker, topic, count):
    """While they are still being written."""
    wait_until(lambda: sum(oracle.topic_ends(broker.client(), topic).values()) >= count, 30, f'{count} messages')


@matching
@pytest.mark.parametrize('scheme', SCHEMES)
def test_logrotate_under_a_live_writer(scheme, paths, broker, agents, topic, logs, tmp_path, report):
    """Every other rotation while the agent is stopped. A file of which it has not seen a line can't be told once it is
    compressed: where that happens at once, the agent is not stopped before it has seen some."""
    logs.chmod(0o755)
    path = logs / 'app.log'
    dated = 'dateext' in scheme
    agent = agents(broker, {'app': tail_to(logs / paths, topic)}).start()
    logrotate = Logrotate(tmp_path, path, scheme)
    rotated = 0
    with ReopeningWriter(path, 'app', 3000) as writer:
        agent.wait_read(1)
        for turn in range(4):
            if turn % 2 == 1:
                if scheme in ('compress', 'copytruncate-compress'):
                    wait_for_messages(broker, topic, rotated + 1)
                agent.stop()
            before = writer.count
            time.sleep(1.1 if dated else 0.2)  # one name a second
            with writer.gate:
                logrotate.run()
                rotated = writer.count
            assert rotated > before
            if turn % 2 == 1:
                agent.start()
        written = {'app': writer.stop()}
    oracle.wait_for_lines(broker.client(), topic, written['app'], 60)
    agent.wait_idle(quiet=0.5)
    agent.stop()
    result = compare(written, oracle.read_topic(broker.client(), topic)).check()
    report(result.text())
