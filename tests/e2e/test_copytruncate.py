"""Logs that are copied and truncated in place: by a program, by logrotate, under a live writer."""
import os
import shutil
import signal
import threading
import time

import pytest

import oracle
from agent import tail_to
from kafka import wait_until
from oracle import compare

matching = pytest.mark.parametrize('paths', ['app.log', 'app.log*'], ids=['copies-apart', 'copies-in-the-glob'])


class AppendingWriter(oracle.Writer):
    """Writes whole lines with O_APPEND; its log may be truncated at any moment. Lines that it writes while `gate` is held by
    somebody else wait."""

    def __init__(self, path, src, rate=2000):
        super().__init__(path, src, rate)
        self.gate = threading.Lock()

    def append(self, file, count):
        if count <= 0:
            return
        with self.gate:
            file.write(oracle.lines(self.src, self.count, count))
            self.count += count


def shift(path, keep):
    """As logrotate: .1 becomes .2 and so on; the oldest goes."""
    for number in range(keep, 0, -1):
        if os.path.exists(f'{path}.{number}'):
            os.rename(f'{path}.{number}', f'{path}.{number + 1}')
    if os.path.exists(f'{path}.{keep + 1}'):
        os.unlink(f'{path}.{keep + 1}')


def copytruncate(path, keep=60):
    shift(path, keep)
    shutil.copyfile(path, f'{path}.1')
    os.truncate(path, 0)


def away(agent, how):
    if how == 'frozen':
        agent.process.send_signal(signal.SIGSTOP)
    elif how == 'killed':
        agent.kill9()
    else:
        agent.stop()


def back(agent, how):
    if how == 'frozen':
        agent.process.send_signal(signal.SIGCONT)
    else:
        agent.start()


def on_disk(folder):
    """The lines in all files of the folder, with how often each stands there."""
    found = {}
    for name in os.listdir(folder):
        with open(os.path.join(folder, name), 'rb') as file:
            for line in file.read().split(b'\n')[:-1]:
                found[line] = found.get(line, 0) + 1
    return found


@matching
@pytest.mark.parametrize('kills', [0, 5], ids=['', 'kill9'])
def test_copytruncate_fifty_times_under_a_live_writer(paths, kills, broker, agents, topic, logs, report):
    path = logs / 'app.log'
    agent = agents(broker, {'app': tail_to(logs / paths, topic)}).start()
    with AppendingWriter(path, 'app', 5000) as writer:
        agent.wait_read(1)
        for turn in range(50):
            time.sleep(0.05)
            with writer.gate:
                copytruncate(path)
            if kills and turn % (50 // kills) == 7:
                agent.kill9()
                agent.start()
        written = {'app': writer.stop()}
    oracle.wait_for_lines(broker.client(), topic, written['app'], 60)
    agent.wait_idle(quiet=0.5)
    account = agent.stop()['app']
    result = compare(written, oracle.read_topic(broker.client(), topic)).check(duplicates=20000 if kills else 0)
    assert account.get('lost_bytes', 0) == 0
    if not kills:  # two that fall between two looks of an agent that gets no time are seen as one
        assert 25 <= account['truncations'] <= 50
    report(f'{result.text()} truncations={account["truncations"]}')


@matching
def test_copytruncate_racing_the_writer_delivers_every_line_that_is_left_on_disk(paths, broker, agents, topic, logs,
                                                                                 report):
    """What is written between the copying and the truncating is lost by the scheme, unless it was read in that time."""
    path = logs / 'app.log'
    agent = agents(broker, {'app': tail_to(logs / paths, topic)}).start()
    with AppendingWriter(path, 'app', 20000) as writer:
        agent.wait_read(1)
        for _ in range(50):
            time.sleep(0.05)
            copytruncate(path)
        written = writer.stop()
    agent.wait_idle(quiet=1)
    account = agent.stop()['app']
    left = on_disk(logs)
    whole = {line for line in left if oracle.ID.match(line) and line == oracle.line('app', sequence(line))}
    messages = oracle.read_topic(broker.client(), topic)
    shipped = [message.value for message in messages]
    lost = whole - set(shipped)
    assert not lost, f'{len(lost)} lines on disk were not delivered: {sorted(lost)[:3]}'
    result = compare({'app': written}, [m for m in messages if m.value in whole])
    report(f'{result.text()} on disk={len(whole)} shipped={len(shipped)} truncations={account["truncations"]}')
    assert not result.doubled, result.details()


def sequence(line):
    return int(oracle.ID.match(line)[2])


@pytest.mark.parametrize('kill', [False, True], ids=['', 'kill9'])
def test_a_writer_that_appends_to_the_log_and_to_its_copy(kill, broker, agents, topic, logs):
    path, copy = logs / 'app.log', logs / 'app.log.1'
    agent = agents(broker, {'app': tail_to(logs / 'app.log*', topic)}).start()
    oracle.write_file(path, 'common', 3000)
    agent.wait_done(3000)
    shutil.copyfile(path, copy)
    for turn in range(20):
        oracle.write_file(path, 'log', 50, first=50 * turn)
        oracle.write_file(copy, 'copy', 50, first=50 * turn)
        if turn == 10:
            agent.wait_done(3000 + 2 * 50 * 11)
            if kill:
                agent.kill9()
                agent.start()
    oracle.wait_for_lines(broker.client(), topic, 5000)
    agent.wait_idle(quiet=0.5)
    os.truncate(path, 0)
    oracle.write_file(path, 'log', 500, first=1000)
    oracle.write_file(copy, 'copy', 500, first=1000)
    oracle.wait_for_lines(broker.client(), topic, 6000)
    agent.wait_idle(quiet=0.5)
    agent.stop()
    left = on_disk(logs)
    result = compare({'common': 3000, 'log': 1500, 'copy': 1500}, oracle.read_topic(broker.client(), topic))
    assert len(left) == 3000 + 1500 + 500
    result.check(duplicates=4100 if kill else 0)


@pytest.mark.parametrize('crash', [False, True], ids=['', 'kill9'])
def test_truncated_and_regrown_past_the_old_offset_fifty_one_times(crash, broker, agents, topic, logs, report):
    path = logs / 'app.log'
    oracle.write_file(path, 'r00', 50)
    inode = os.stat(path).st_ino
    agent = agents(broker, {'app': tail_to(path, topic)}).start()
    written, total, truncations = {'r00': 50}, 50, 0
    agent.wait_done(50)
    for turn in range(1, 52):
        src, count = f'r{turn:02}', 50 + 5 * turn
        agent.process.send_signal(signal.SIGSTOP)
        os.truncate(path, 0)
        oracle.write_file(path, src, count)
        written[src] = count
        if crash and turn % 10 == 0:
            truncations += agent.accounts()['app'].get('truncations', 0)
            agent.kill9()
            agent.start()
            total = 0
        else:
            agent.process.send_signal(signal.SIGCONT)
        total += count
        agent.wait_done(total)
    assert os.stat(path).st_ino == inode
    truncations += agent.stop()['app']['truncations']
    # What a restart finds is told in the log.
    assert truncations == (51 - 5 if crash else 51)
    result = compare(written, oracle.read_topic(broker.client(), topic)).check(duplicates=2000 if crash else 0)
    report(result.text())


@matching
@pytest.mark.parametrize('how', ['frozen', 'stopped', 'killed'])
def test_chains_of_copytruncate_with_unread_lines_while_the_agent_is_away(paths, how, broker, agents, topic, logs,
                                                                          report):
    path = logs / 'app.log'
    agent = agents(broker, {'app': tail_to(logs / paths, topic)}).start()
    count = 0
    for _ in range(4):
        oracle.write_file(path, 'app', 1000, first=count)
        oracle.wait_for_lines(broker.client(), topic, count + 1000)
        count += 1000
        away(agent, how)
        for _ in range(3):
            oracle.write_file(path, 'app', 500, first=count)
            copytruncate(path)
            count += 500
        oracle.write_file(path, 'app', 200, first=count)
        count += 200
        back(agent, how)
        oracle.wait_for_lines(broker.client(), topic, count)
    agent.wait_idle(quiet=0.5)
    agent.stop()
    result = compare({'app': count}, oracle.read_topic(broker.client(), topic))
    result.check(duplicates=count if how == 'killed' else 0)
    report(result.text())


@matching
def test_a_broker_outage_leaves_lines_to_the_copies(paths, own_broker, agents, topic, logs):
    path = logs / 'app.log'
    agent = agents(own_broker, {'app': tail_to(logs / paths, topic)}, memory='1MiB').start()
    oracle.write_file(path, 'app', 1000)
    agent.wait_done(1000)
    own_broker.freeze()
    count = 1000
    for _ in range(4):
        oracle.write_file(path, 'app', 5000, first=count)
        count += 5000
        copytruncate(path)
        wait_until(lambda: agent.look(), 10, 'the agent to answer')
    own_broker.thaw()
    agent.wait_done(count, 60)
    account = agent.stop()['app']
    assert account.get('lost_bytes', 0) == 0
    compare({'app': count}, oracle.read_topic(own_broker.client(), topic)).check()


def test_lines_of_which_no_copy_is_left_are_counted_to_the_byte(own_broker, agents, topic, logs):
    path = logs / 'app.log'
    agent = agents(own_broker, {'app': tail_to(path, topic, rescan='50ms')}, memory='1MiB').start()
    oracle.write_file(path, 'a', 1000)
    agent.wait_done(1000)
    own_broker.freeze()
    oracle.write_file(path, 'lost', 50000)
    size = os.path.getsize(path)
    read = [0, 0]

    def stuck():
        read[:] = read[1], agent.look()['app']['bytes_read']
        return read[0] == read[1]
    wait_until(stuck, 20, 'the memory to be full', pause=0.5)
    assert read[1] < size
    os.truncate(path, 0)
    oracle.write_file(path, 'b', 100)
    size += os.path.getsize(path)
    own_broker.thaw()
    agent.wait_account(lambda all: all_read(all, size), 60, 'what is left')
    account = agent.stop()['app']
    assert account['truncations'] == 1 and account['lost_bytes'] > 0
    messages = oracle.read_topic(own_broker.client(), topic)
    result = compare({'a': 1000, 'b': 100, 'lost': range(account['read'] - 1100)}, messages)
    result.check()


def all_read(accounts, size):
    return all(a['bytes_read'] + a.get('lost_bytes', 0) == size and a['in_flight'] == 0 for a in accounts)
