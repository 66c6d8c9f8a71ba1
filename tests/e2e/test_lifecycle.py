"""The life of a tail's open files: kept while something is unread, closed when there is nothing, opened again."""
import os
import re

import pytest

import oracle
from agent import SLOW, tail_to
from kafka import wait_until
from oracle import Writer, compare
from test_files import crashing, frozen, held

RELEASED_SECONDS = 30


def check(broker, topic, written, duplicates=0):
    return compare(written, oracle.read_topic(broker.client(), topic)).check(duplicates)


def wait_released(agent, path):
    wait_until(lambda: not held(agent, path), RELEASED_SECONDS * SLOW, f'{path} to be closed', pause=0.2)


def wait_shipped(agent, broker, topic, count, seconds=60):
    """Until the topic holds at least so many messages, and the agent has nothing left to do."""
    wait_until(lambda: sum(oracle.topic_ends(broker.client(), topic).values()) >= count, seconds * SLOW,
               f'{count} messages in {topic}', pause=0.3)
    agent.wait_idle(quiet=0.5)


def lost_bytes(agent):
    return agent.look()['app'].get('lost_bytes', 0)


# ---- what is unread keeps its file open ----

@crashing
def test_rotated_file_with_a_backlog_is_read_whole_after_an_outage_and_closed(crash, own_broker, agents, topic, logs,
                                                                              report):
    path, rotated = logs / 'app.log', logs / 'app.log.1'
    own_broker.create_topic(topic)
    agent = agents(own_broker, {'app': tail_to(path, topic)}, memory='4MiB').start()
    oracle.write_file(path, 'a', 1000)
    agent.wait_done(1000)
    own_broker.kill()
    count = 250000
    oracle.write_file(path, 'a', count - 1000, first=1000)
    backlog = os.path.getsize(path)
    assert backlog > 30e6
    agent.wait_read(1001)
    os.rename(path, rotated)
    with Writer(path, 'b', 2000) as writer:
        agent.wait_read(2000)
        if crash:
            agent.kill9()
            agent.start()
        assert held(agent, rotated)
        own_broker.start()
        wait_until(lambda: writer.count >= 10000, 30, '10000 lines of the new file')
        written = {'a': count, 'b': writer.stop()}
    wait_shipped(agent, own_broker, topic, sum(written.values()), 120)
    wait_released(agent, rotated)
    agent.stop()
    # Those that were acknowledged before the outage, if the agent was killed before their position was saved.
    report(f'{check(own_broker, topic, written, 1000 if crash else 0).text()} backlog={backlog}')


def test_unlinked_files_with_a_backlog_are_read_whole_and_closed(own_broker, agents, topic, logs, report):
    path = logs / 'app.log'
    own_broker.create_topic(topic)
    agent = agents(own_broker, {'app': tail_to(path, topic)}, memory='2MiB').start()
    oracle.write_file(path, 'a', 1000)
    agent.wait_done(1000)
    own_broker.freeze()
    written = 1000
    for generation in range(1, 4):
        oracle.write_file(path, 'a', 30000, first=written)
        written += 30000
        wait_until(lambda count=generation: len(held(agent, path)) == count, 10, 'the new file to be opened')
        os.unlink(path)
    with Writer(path, 'b', 2000) as writer:
        wait_until(lambda: len(held(agent, path)) == 4, 10, 'all four generations to be open')
        own_broker.thaw()
        count = writer.stop()
    agent.wait_done(written + count, 60)
    wait_until(lambda: len(held(agent, path)) == 1, RELEASED_SECONDS * SLOW, 'the unlinked files to be closed')
    assert lost_bytes(agent) == 0
    agent.stop()
    report(check(own_broker, topic, {'a': written, 'b': count}).text())


def test_beyond_unlinked_max_bytes_exactly_what_is_counted_is_lost(own_broker, agents, topic, logs, report):
    path = logs / 'app.log'
    own_broker.create_topic(topic)
    tail = tail_to(path, topic, unlinked_max_bytes='2MiB')
    agent = agents(own_broker, {'app': tail}, memory='1MiB').start()
    oracle.write_file(path, 'first', 1000)
    agent.wait_done(1000)
    own_broker.freeze()
    counts = {'first': 41000, 'second': 8000, 'third': 5000}
    oracle.write_file(path, 'first', 40000, first=1000)
    agent.wait_read(1001)
    for src in ('second', 'third'):
        os.unlink(path)
        oracle.write_file(path, src, counts[src])
        wait_until(lambda: any(not name.endswith('(deleted)') for name in held(agent, path)), 10,
                   'the new file to be opened')
    agent.wait_for_log(r' error tail: lost, deleted with more unread than tail.unlinked_max_bytes ')
    lost = re.findall(r'lost, .* from=(\d+) to=(\d+) bytes=(\d+)', agent.log_text())
    own_broker.thaw()
    oracle.wait_for_lines(own_broker.client(), topic, 1000 + counts['second'] + counts['third'], 60)
    agent.wait_idle(quiet=1)
    account = agent.stop()['app']
    begin, end, size = map(int, lost[0])
    assert len(lost) == 1 and account['lost_bytes'] == size == end - begin
    assert end == len(oracle.lines('first', 0, counts['first']))
    kept = account['read'] - counts['second'] - counts['third']
    assert 1000 < kept < counts['first'] and len(oracle.lines('first', 0, kept)) == begin
    report(f'{check(own_broker, topic, {**counts, "first": kept}).text()} lost_bytes={size}')


# ---- closed and opened again ----

@crashing
@pytest.mark.parametrize('workers', [1, 2])
def test_many_files_through_few_descriptors_are_complete_and_in_order(workers, crash, broker, agents, topic, logs,
                                                                      report):
    files, budget, rounds, lines = 300, 20, 4, 20
    agent = agents(broker, {'app': tail_to(logs / '*.log', topic)}, open_files=budget, workers=workers).start()
    written = {f'f{number}': 0 for number in range(files)}
    most = 0
    for turn in range(rounds):
        for number, src in enumerate(written):
            path = logs / f'{src}.log'
            oracle.write_file(path, src, lines, first=written[src])
            written[src] += lines
            if turn > 0 and number % 10 == turn:  # with something unread, most of the time
                os.rename(path, f'{path}.{turn}')
                oracle.write_file(path, src, lines, first=written[src])
                written[src] += lines
            if number % 20 == 0:
                most = max(most, len(held(agent, f'{logs}/')))
        if crash and turn == 1:
            agent.kill9()
            agent.start()
        oracle.wait_for_lines(broker.client(), topic, sum(written.values()), 60)
        most = max(most, len(held(agent, f'{logs}/')))
    assert 0 < most <= budget
    agent.wait_idle(quiet=0.5)
    assert lost_bytes(agent) == 0
    agent.stop()
    result = check(broker, topic, written, 2 * files * lines if crash else 0)  # two rounds were written by then
    report(f'{result.text()} open at once: {most}')


@crashing
def test_files_closed_for_idleness_are_read_on_when_they_grow_and_are_rotated(crash, broker, agents, topic, logs, report):
    path = logs / 'app.log'
    agent = agents(broker, {'app': tail_to(path, topic, close_idle='1s', rescan='200ms')}).start()
    written = 0

    def write(where, count):
        nonlocal written
        oracle.write_file(where, 'a', count, first=written)
        written += count

    def wait_all_read():
        oracle.wait_for_lines(broker.client(), topic, written)
        wait_released(agent, f'{logs}/')

    write(path, 500)
    wait_all_read()
    write(path, 500)  # grown
    wait_all_read()
    os.rename(path, logs / 'app.log.1')  # rotated, first the name and then more of it
    write(logs / 'app.log.1', 300)
    write(path, 500)
    wait_all_read()
    with frozen(agent):  # rotated twice between two looks, the writer being late
        write(path, 100)
        os.rename(logs / 'app.log.1', logs / 'app.log.2')
        os.rename(path, logs / 'app.log.1')
        write(logs / 'app.log.1', 100)
        write(path, 100)
        os.rename(logs / 'app.log.2', logs / 'app.log.3')
        os.rename(logs / 'app.log.1', logs / 'app.log.2')
        os.rename(path, logs / 'app.log.1')
        write(path, 100)
        if crash:
            agent.kill9()
    if crash:
        agent.start()
    wait_all_read()
    assert lost_bytes(agent) == 0
    agent.stop()
    report(check(broker, topic, {'a': written}, 500 if crash else 0).text())


def test_closed_file_that_is_truncated_or_written_anew_is_read_from_its_beginning(broker, agents, topic, logs):
    path = logs / 'app.log'
    agent = agents(broker, {'app': tail_to(path, topic, close_idle='500ms', rescan='200ms')}).start()
    written = {}
    for number, count in enumerate((500, 300, 900, 900)):
        written[f'r{number}'] = count
        oracle.write_file(path, f'r{number}', count, mode='wb')
        agent.wait_done(sum(written.values()))
        wait_released(agent, path)
    assert agent.stop()['app']['truncations'] == 3
    check(broker, topic, written)


# ---- begun by age ----

def test_old_files_are_left_alone_until_they_change(broker, agents, topic, logs):
    hour = 3600
    for src, hours in (('old', 30), ('middle', 3), ('young', 0)):
        oracle.write_file(logs / f'{src}.log', src, 100)
        seconds = os.stat(logs / f'{src}.log').st_mtime - hours * hour
        os.utime(logs / f'{src}.log', (seconds, seconds))
    tail = tail_to(logs / '*.log', topic, start='1h', ignore_older='1d', read_order='newest')
    agent = agents(broker, {'app': tail}).start()
    agent.wait_done(100)
    assert not held(agent, logs / 'old.log')
    for src in ('old', 'middle', 'young'):
        oracle.write_file(logs / f'{src}.log', src, 50, first=100)
    agent.wait_done(250)
    agent.stop()
    check(broker, topic, {'young': 150, 'middle': range(100, 150), 'old': range(100, 150)})
