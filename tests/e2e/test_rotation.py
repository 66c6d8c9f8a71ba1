"""Files that are renamed, truncated, replaced, that come and go."""
import os
import signal
import time

import pytest

import oracle
from agent import tail_to
from kafka import wait_until
from oracle import Writer, compare

SECONDS = 15


@pytest.mark.parametrize('workers', [1, 2])
def test_rename_rotation_every_second_under_live_writers(workers, broker, agents, topic, logs, report):
    """One log whose rotated names leave the glob, one whose rotated names stay in it."""
    seconds = SECONDS if workers == 1 else 6
    broker.create_topic(topic, partitions=2)
    streams = {'leaving': tail_to(logs / 'a.log', topic), 'staying': tail_to(logs / 'b.log*', topic)}
    agent = agents(broker, streams, workers=workers).start()
    with Writer(logs / 'a.log', 'a', 3000, rotate_every=1) as a, Writer(logs / 'b.log', 'b', 3000, rotate_every=1) as b:
        time.sleep(seconds)
        written = {'a': a.stop(), 'b': b.stop()}
    assert a.rotations >= seconds - 3 and b.rotations >= seconds - 3
    agent.wait_done(sum(written.values()))
    accounts = agent.stop()
    assert [accounts[name]['delivered'] for name in ('leaving', 'staying')] == [written['a'], written['b']]
    result = compare(written, oracle.read_topic(broker.client(), topic)).check()
    report(f'{result.text()} rotations={a.rotations + b.rotations}')


@pytest.mark.alone
def test_fifty_rotations_at_twenty_megabytes_a_second(broker, agents, topic, logs, report):
    """The rotated names stay in the glob."""
    path, lines_a_second = logs / 'app.log', 150000
    agent = agents(broker, {'app': tail_to(logs / 'app.log*', topic)}).start()
    began = time.monotonic()
    with Writer(path, 'app', lines_a_second, rotate_every=0.1) as writer:
        wait_until(lambda: writer.rotations >= 50, 60, 'fifty rotations')
        written = {'app': writer.stop()}
    size = sum(file.stat().st_size for file in logs.iterdir()) / (time.monotonic() - began) / 1e6
    agent.wait_done(written['app'], 60)
    agent.stop()
    result = compare(written, oracle.read_topic(broker.client(), topic)).check()
    report(f'{result.text()} rotations={writer.rotations} {size:.0f} MB/s')


@pytest.mark.parametrize('away', ['frozen', 'stopped', 'killed'])
@pytest.mark.parametrize('paths', ['app.log', 'app.log*'], ids=['leaving', 'staying'])
def test_chains_of_rotations_while_the_agent_is_away_are_shipped_whole_and_in_order(paths, away, broker, agents, topic,
                                                                                   logs, report):
    agent = agents(broker, {'app': tail_to(logs / paths, topic)}).start()
    with Writer(logs / 'app.log', 'app', 3000, rotate_every=0.2) as writer:
        agent.wait_read(1000)
        for _ in range(2):
            if away == 'frozen':
                agent.process.send_signal(signal.SIGSTOP)
            elif away == 'stopped':
                agent.stop()
            else:
                agent.kill9()
            before = writer.rotations
            wait_until(lambda: writer.rotations >= before + 4, 10, 'four rotations')
            if away == 'frozen':
                agent.process.send_signal(signal.SIGCONT)
            else:
                agent.start()
            agent.wait_read(1)
        written = {'app': writer.stop()}
    oracle.wait_for_lines(broker.client(), topic, written['app'])
    agent.stop()
    result = compare(written, oracle.read_topic(broker.client(), topic)).check(duplicates=10000 if away == 'killed' else 0)
    report(f'{result.text()} rotations={writer.rotations}')


def test_rotations_while_the_agent_is_stopped(broker, agents, topic, logs):
    path = logs / 'app.log'
    agent = agents(broker, {'app': tail_to(path, topic)})
    oracle.write_file(path, 'a', 1000)
    agent.start().wait_done(1000)
    agent.stop()
    oracle.write_file(path, 'a', 1000, first=1000)
    os.rename(path, logs / 'app.log.1')
    oracle.write_file(path, 'a', 1000, first=2000)
    agent.start().wait_done(2000)
    agent.stop()
    compare({'a': 3000}, oracle.read_topic(broker.client(), topic)).check()


@pytest.mark.parametrize('away', ['stopped', 'killed'])
def test_rotation_to_other_folders_while_the_agent_is_away(away, broker, agents, topic, logs, tmp_path):
    """One folder within the log's, which is looked into anyway, and one elsewhere, which has to be named."""
    inside, elsewhere = logs / 'old', tmp_path / 'elsewhere'
    inside.mkdir()
    elsewhere.mkdir()
    streams = {'app': tail_to(logs / '*.log', topic, rotated_to=[str(elsewhere)])}
    agent = agents(broker, streams)
    for name in ('a', 'b'):
        oracle.write_file(logs / f'{name}.log', name, 1000)
    agent.start().wait_done(2000)
    if away == 'stopped':
        agent.stop()
    else:
        agent.kill9()
    for name, folder in (('a', inside), ('b', elsewhere)):
        oracle.write_file(logs / f'{name}.log', name, 500, first=1000)
        os.rename(logs / f'{name}.log', folder / f'{name}.log.1')
        oracle.write_file(logs / f'{name}.log', name, 500, first=1500)
    agent.start()
    written = {'a': 2000, 'b': 2000}
    oracle.wait_for_lines(broker.client(), topic, 4000)
    agent.stop()
    compare(written, oracle.read_topic(broker.client(), topic)).check(duplicates=2000 if away == 'killed' else 0)


def test_truncated_file_is_read_from_its_new_beginning(broker, agents, topic, logs):
    path = logs / 'app.log'
    agent = agents(broker, {'app': tail_to(path, topic)}).start()
    oracle.write_file(path, 'a', 1000)
    agent.wait_done(1000)
    oracle.write_file(path, 'b', 300, mode='wb')
    agent.wait_done(1300)
    oracle.write_file(path, 'b', 300, first=300)
    agent.wait_done(1600)
    account = agent.stop()['app']
    assert account['truncations'] == 1 and account['read'] == 1600
    compare({'a': 1000, 'b': 600}, oracle.read_topic(broker.client(), topic)).check()


@pytest.mark.parametrize('count', [300, 3000], ids=['shorter', 'longer'])
def test_file_rewritten_in_place_while_the_agent_is_stopped(count, broker, agents, topic, logs):
    path = logs / 'app.log'
    agent = agents(broker, {'app': tail_to(path, topic)})
    oracle.write_file(path, 'a', 1000)
    agent.start().wait_done(1000)
    agent.stop()
    oracle.write_file(path, 'b', count, mode='wb')
    agent.start().wait_done(count)
    agent.stop()
    compare({'a': 1000, 'b': count}, oracle.read_topic(broker.client(), topic)).check()


def test_files_and_folders_that_appear_and_disappear(broker, agents, topic, logs):
    paths = [str(logs / '*.log'), str(logs / '*' / 'app.log')]
    agent = agents(broker, {'app': tail_to(paths, topic)}).start()
    oracle.write_file(logs / 'one.log', 'one', 500)
    agent.wait_done(500)
    os.makedirs(logs / 'new')
    oracle.write_file(logs / 'new' / 'app.log', 'two', 500)
    agent.wait_done(1000)
    os.unlink(logs / 'one.log')
    oracle.write_file(logs / 'one.log', 'again', 500)
    oracle.write_file(logs / 'no-match.txt', 'ignored', 500)
    agent.wait_done(1500)
    oracle.write_file(logs / 'new' / 'app.log', 'two', 500, first=500)
    agent.wait_done(2000)
    agent.stop()
    compare({'one': 500, 'two': 1000, 'again': 500}, oracle.read_topic(broker.client(), topic)).check()


def test_file_moved_into_the_glob_is_read(broker, agents, topic, logs):
    agent = agents(broker, {'app': tail_to(logs / '*.log', topic)}).start()
    oracle.write_file(logs / 'app.tmp', 'a', 500)
    os.rename(logs / 'app.tmp', logs / 'app.log')
    agent.wait_done(500)
    agent.stop()
    compare({'a': 500}, oracle.read_topic(broker.client(), topic)).check()


def test_excluded_files_are_not_read(broker, agents, topic, logs):
    os.makedirs(logs / 'old')
    for name in ('a.log', 'skip-me.log', 'a.log.gz', 'old/b.log'):
        oracle.write_file(logs / name, name, 100)
    paths = [str(logs / '*'), str(logs / '*' / '*')]
    exclude = ['skip*', '*.gz', str(logs / 'old' / '*')]
    agent = agents(broker, {'app': tail_to(paths, topic, exclude=exclude)}).start()
    agent.wait_done(100)
    oracle.write_file(logs / 'skip-me.log', 'skip-me.log', 100, first=100)
    oracle.write_file(logs / 'skip-too.log', 'skip-too.log', 100)
    oracle.write_file(logs / 'a.log', 'a.log', 100, first=100)
    agent.wait_done(200)
    agent.wait_idle(quiet=0.5)
    agent.stop()
    compare({'a.log': 200}, oracle.read_topic(broker.client(), topic)).check()


def test_start_at_end_skips_what_was_there_but_nothing_that_came_later(broker, agents, topic, logs):
    oracle.write_file(logs / 'there.log', 'there', 500)
    agent = agents(broker, {'app': tail_to(logs / '*.log', topic, start='end')}).start()
    oracle.write_file(logs / 'there.log', 'there', 500, first=500)
    oracle.write_file(logs / 'later.log', 'later', 500)
    agent.wait_done(1000)
    agent.stop()
    oracle.write_file(logs / 'there.log', 'there', 100, first=1000)
    agent.start().wait_done(100)
    agent.stop()
    written = {'there': range(500, 1100), 'later': 500}
    compare(written, oracle.read_topic(broker.client(), topic)).check()


def test_renamed_file_is_let_go_when_it_is_finished(broker, agents, topic, logs):
    path = logs / 'app.log'
    agent = agents(broker, {'app': tail_to(path, topic)}).start()
    oracle.write_file(path, 'a', 100)
    agent.wait_done(100)
    os.rename(path, logs / 'app.log.1')
    oracle.write_file(path, 'a', 100, first=100)
    agent.wait_done(200)
    os.unlink(logs / 'app.log.1')
    wait_until(lambda: not deleted_files(agent), 20, 'the deleted file to be closed', pause=0.2)
    agent.stop()
    compare({'a': 200}, oracle.read_topic(broker.client(), topic)).check()


def deleted_files(agent):
    """Names of deleted log files that it holds open."""
    folder = f'/proc/{agent.process.pid}/fd'
    names = [os.readlink(os.path.join(folder, fd)) for fd in os.listdir(folder)]
    return [name for name in names if name.endswith('(deleted)') and '/logs/' in name]
