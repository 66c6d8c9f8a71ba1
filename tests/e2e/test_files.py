"""Files as they are treated in the field: truncated, replaced, linked, cut anywhere, between two looks of the agent."""
import collections
import contextlib
import os
import shutil
import signal
import socket

import pytest

import oracle
from agent import tail_to
from kafka import wait_until
from oracle import compare

crashing = pytest.mark.parametrize('crash', [False, True], ids=['', 'kill9'])


@contextlib.contextmanager
def frozen(agent):
    """What is done within happens between two looks of the agent."""
    process = agent.process
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def end(agent, crash):
    if crash:
        agent.kill9()
    else:
        agent.stop()


def append(path, data):
    with open(path, 'ab') as file:
        file.write(data)


def check(broker, topic, written, duplicates=0):
    return compare(written, oracle.read_topic(broker.client(), topic)).check(duplicates)


def check_values(broker, topic, expected):
    values = [message.value for message in oracle.read_topic(broker.client(), topic)]
    assert collections.Counter(values) == collections.Counter(expected)


def shift(path, most):
    """path.1 becomes path.2 and so on, path becomes path.1."""
    for number in range(most, 0, -1):
        if os.path.exists(f'{path}.{number}'):
            os.rename(f'{path}.{number}', f'{path}.{number + 1}')
    os.rename(path, f'{path}.1')


def held(agent, name):
    folder = f'/proc/{agent.process.pid}/fd'
    found = []
    for fd in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(os.path.join(folder, fd)))
    return [path for path in found if path.startswith(str(name))]


# ---- truncated ----

@crashing
def test_copytruncate_after_the_end_was_reached(crash, broker, agents, topic, logs):
    path = logs / 'app.log'
    agent = agents(broker, {'app': tail_to(path, topic)}).start()
    oracle.write_file(path, 'old', 5000)
    agent.wait_done(5000)
    shutil.copy(path, logs / 'app.log.1')
    os.truncate(path, 0)
    oracle.write_file(path, 'sentinel', 3)
    if crash:
        agent.kill9()
        agent.start()
    oracle.write_file(path, 'new', 10000)
    agent.wait_done(10000 if crash else 15003)
    oracle.wait_for_lines(broker.client(), topic, 15003)
    agent.wait_idle(quiet=0.3)
    agent.stop()
    check(broker, topic, {'old': 5000, 'sentinel': 3, 'new': 10000}, 5003 if crash else 0)


@crashing
def test_truncated_and_regrown_past_the_old_offset_between_two_reads(crash, broker, agents, topic, logs):
    path = logs / 'app.log'
    agent = agents(broker, {'app': tail_to(path, topic)}).start()
    written = {'r0': 500}
    oracle.write_file(path, 'r0', 500)
    inode = os.stat(path).st_ino
    agent.wait_done(500)
    total = 500
    for turn in range(1, 5):
        count = 500 + 300 * turn
        src = f'r{turn}'  # as long as the one before: the same bytes stand before the old offset
        with frozen(agent):
            os.truncate(path, 0)
            oracle.write_file(path, src, count)
            if crash:
                agent.kill9()
        if crash:
            agent.start()
            total = 0
        total += count
        written[src] = count
        agent.wait_done(total)
    assert os.stat(path).st_ino == inode
    account = agent.stop()['app']
    if not crash:
        assert account['truncations'] == 4
    check(broker, topic, written)


@crashing
def test_copytruncate_with_the_copy_in_the_glob_loses_nothing(crash, broker, agents, topic, logs):
    path = logs / 'app.log'
    agent = agents(broker, {'app': tail_to(logs / 'app.log*', topic)}).start()
    oracle.write_file(path, 'a', 2000)
    agent.wait_read(1)
    with frozen(agent):
        oracle.write_file(path, 'a', 500, first=2000)
        shutil.copy(path, logs / 'app.log.1')
        os.truncate(path, 0)
        oracle.write_file(path, 'b', 100)
        if crash:
            agent.kill9()
    if crash:
        agent.start()
    oracle.write_file(path, 'b', 1000, first=100)
    oracle.wait_for_lines(broker.client(), topic, 3600)
    agent.wait_idle(quiet=0.5)
    agent.stop()
    check(broker, topic, {'a': 2500, 'b': 1100}, 2500 if crash else 0)


# ---- replaced and renamed ----

def take_inode(path, inode):
    """A new empty file, with this inode if the file system can be brought to give it again."""
    names = [f'{path}.spare{number}' for number in range(50)]
    chosen = names[0]
    for name in names:
        append(name, b'')
        if os.stat(name).st_ino == inode:
            chosen = name
            break
    os.rename(chosen, path)
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
    return os.stat(path).st_ino == inode


@pytest.mark.parametrize('running', [False, True], ids=['stopped', 'running'])
def test_deleted_file_whose_inode_a_new_one_takes(running, broker, agents, topic, logs, report):
    path = logs / 'app.log'
    agent = agents(broker, {'app': tail_to(path, topic)}).start()
    oracle.write_file(path, 'a', 1000)
    agent.wait_done(1000)
    inode = os.stat(path).st_ino
    if not running:
        agent.stop()
    os.unlink(path)
    if running:
        wait_until(lambda: not held(agent, path), 30, 'the deleted file to be closed')
    reused = take_inode(path, inode)
    oracle.write_file(path, 'b', 1500)
    if not running:
        agent.start()
    agent.wait_done(2500 if running else 1500)
    agent.stop()
    report(f'{check(broker, topic, {"a": 1000, "b": 1500}).text()} inode taken again: {reused}')


@crashing
def test_two_rotations_while_the_agent_is_stopped(crash, broker, agents, topic, logs):
    path = logs / 'app.log'
    agent = agents(broker, {'app': tail_to(path, topic)}).start()
    oracle.write_file(path, 'a', 1000)
    agent.wait_done(1000)
    end(agent, crash)
    oracle.write_file(path, 'a', 500, first=1000)
    shift(path, 2)
    oracle.write_file(path, 'a', 700, first=1500)
    shift(path, 2)
    oracle.write_file(path, 'a', 900, first=2200)
    agent.start()
    oracle.wait_for_lines(broker.client(), topic, 3100)
    agent.wait_idle(quiet=0.3)
    agent.stop()
    check(broker, topic, {'a': 3100}, 1000 if crash else 0)


@crashing
def test_twenty_rotations_with_several_between_two_looks(crash, broker, agents, topic, logs):
    path = logs / 'app.log'
    agent = agents(broker, {'app': tail_to(logs / 'app.log*', topic)}).start()
    written = 0
    for _ in range(5):
        with frozen(agent):
            for _ in range(4):
                oracle.write_file(path, 'a', 100, first=written)
                written += 100
                shift(path, 20)
            oracle.write_file(path, 'a', 100, first=written)
            written += 100
            if crash:
                agent.kill9()
        if crash:
            agent.start()
    oracle.wait_for_lines(broker.client(), topic, written)
    agent.wait_idle(quiet=0.5)
    agent.stop()
    check(broker, topic, {'a': written}, written * 5 if crash else 0)


def test_rename_chain_that_deletes_its_oldest_name_ten_times(broker, agents, topic, logs):
    path = logs / 'app.log'
    agent = agents(broker, {'app': tail_to(logs / 'app.log*', topic)}).start()
    for turn in range(10):
        oracle.write_file(path, 'a', 200, first=200 * turn)
        agent.wait_done(200 * (turn + 1))
        shift(path, 2)
        if os.path.exists(f'{path}.3') and turn > 3:
            os.unlink(f'{path}.3')
    agent.stop()
    check(broker, topic, {'a': 2000})


@pytest.mark.parametrize('where, crash', [('archive/app.log', False), ('app.log.1', False), ('app.log.1', True)],
                         ids=['archive', 'nocreate', 'nocreate-kill9'])
def test_renamed_file_is_read_while_its_writer_goes_on_and_no_new_one_exists(where, crash, broker, agents, topic, logs):
    path = logs / 'app.log'
    os.mkdir(logs / 'archive')
    agent = agents(broker, {'app': tail_to(path, topic)}).start()
    with open(path, 'ab', buffering=0) as file:
        file.write(oracle.lines('a', 0, 1000))
        agent.wait_done(1000)
        os.rename(path, logs / where)
        file.write(oracle.lines('a', 1000, 500))
        agent.wait_done(1500)
        if crash:
            agent.kill9()
        file.write(oracle.lines('a', 1500, 500))
    if agent.process is None:
        agent.start().wait_done(500)
    else:
        agent.wait_done(2000)
    oracle.write_file(path, 'a', 1000, first=2000)
    oracle.wait_for_lines(broker.client(), topic, 3000)
    agent.wait_idle(quiet=0.3)
    agent.stop()
    check(broker, topic, {'a': 3000}, 1500 if crash else 0)


def test_unlinked_file_with_a_backlog_is_read_to_its_end_and_closed(own_broker, agents, topic, logs):
    path = logs / 'app.log'
    own_broker.create_topic(topic)
    agent = agents(own_broker, {'app': tail_to(path, topic)}).start()
    oracle.write_file(path, 'a', 1000)
    agent.wait_done(1000)
    own_broker.freeze()
    oracle.write_file(path, 'a', 50000, first=1000)
    agent.wait_read(1001)
    os.unlink(path)
    own_broker.thaw()
    agent.wait_done(51000)
    wait_until(lambda: not held(agent, path), 30, 'the unlinked file to be closed')
    agent.stop()
    check(own_broker, topic, {'a': 51000})


# ---- links ----

def test_symlink_that_is_retargeted_and_removed(broker, agents, topic, logs):
    link, other = logs / 'current.log', logs / 'other.log'
    agent = agents(broker, {'app': tail_to(link, topic)}).start()
    oracle.write_file(logs / 'one', 'one', 500)
    os.symlink(logs / 'one', link)
    agent.wait_done(500)
    oracle.write_file(logs / 'two', 'two', 500)
    os.symlink(logs / 'two', other)
    os.rename(other, link)
    agent.wait_done(1000)
    oracle.write_file(logs / 'two', 'two', 500, first=500)
    os.unlink(link)
    agent.wait_done(1500)
    agent.stop()
    check(broker, topic, {'one': 500, 'two': 1000})


@crashing
@pytest.mark.parametrize('link', [os.symlink, os.link], ids=['symlink', 'hardlink'])
def test_two_names_of_one_file_in_the_glob_are_read_once(link, crash, broker, agents, topic, logs):
    agent = agents(broker, {'app': tail_to(logs / '*.log', topic)}).start()
    oracle.write_file(logs / 'b.log', 'a', 500)
    agent.wait_done(500)
    link(logs / 'b.log', logs / 'a.log')
    oracle.write_file(logs / 'a.log', 'a', 500, first=500)
    agent.wait_done(1000)
    end(agent, crash)
    oracle.write_file(logs / 'b.log', 'a', 500, first=1000)
    agent.start().wait_done(500)
    os.unlink(logs / 'a.log')
    oracle.write_file(logs / 'b.log', 'a', 500, first=1500)
    oracle.wait_for_lines(broker.client(), topic, 2000)
    agent.wait_idle(quiet=0.3)
    agent.stop()
    check(broker, topic, {'a': 2000}, 1000 if crash else 0)


# ---- lines and beginnings ----

@crashing
def test_line_cut_at_each_byte_by_a_restart_is_one_record(crash, broker, agents, topic, logs):
    path = logs / 'app.log'
    agent = agents(broker, {'app': tail_to(path, topic)})
    for byte in 'ü🌲\n'.encode():
        if agent.process is not None:
            end(agent, crash)
        agent.start()
        append(path, bytes([byte]))
        agent.look()
    agent.wait_done(1)
    agent.stop()
    check_values(broker, topic, ['ü🌲'.encode()])


@crashing
@pytest.mark.parametrize('same', [16, 1024])
def test_files_with_the_same_beginning_are_not_taken_for_each_other(same, crash, broker, agents, topic, logs):
    head = b'h' * (same - 1) + b'\n'
    names = ['a', 'b', 'c']
    agent = agents(broker, {'app': tail_to(logs / '*.log', topic)}).start()
    for name in names:
        append(logs / f'{name}.log', head)
    agent.wait_done(3)
    agent.wait_idle(quiet=0.4)  # so that a killed agent has saved it
    end(agent, crash)
    for name in names:
        append(logs / f'{name}.log', f'this is {name}\n'.encode())
    os.rename(logs / 'a.log', logs / 'd.log')
    agent.start().wait_done(3)
    agent.stop()
    check_values(broker, topic, [head[:-1]] * 3 + [f'this is {name}'.encode() for name in names])


def test_file_that_grows_through_the_fingerprint_size_over_restarts(broker, agents, topic, logs):
    agent = agents(broker, {'app': tail_to(logs / '*.log', topic)})
    expected = []
    for turn in range(8):
        for name in ('a', 'b'):
            text = f'{name if turn > 5 else "both"} {turn} '.encode() + b'.' * 180
            append(logs / f'{name}.log', text + b'\n')
            expected.append(text)
        agent.start().wait_done(2)
        agent.stop()
    check_values(broker, topic, expected)


# ---- many, and others ----

def test_burst_of_new_folders_and_files(broker, agents, topic, logs):
    agent = agents(broker, {'app': tail_to(logs / '**' / '*.log', topic)}).start()
    written = {}
    for number in range(500):
        folder = logs / f'd{number % 25}' / f'e{number % 50}'
        os.makedirs(folder, exist_ok=True)
        oracle.write_file(folder / f'{number}.log', f's{number}', 10)
        written[f's{number}'] = 10
    agent.wait_done(5000)
    agent.stop()
    check(broker, topic, written)


def test_what_is_no_regular_file_is_skipped(broker, agents, topic, logs):
    os.mkfifo(logs / 'fifo.log')
    os.mkdir(logs / 'folder.log')
    os.symlink('/dev/zero', logs / 'device.log')
    os.symlink(logs / 'nothing', logs / 'dangling.log')
    with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(logs) if hasattr(
            contextlib, 'chdir') else contextlib.nullcontext():
        server.bind(os.path.relpath(logs / 'socket.log'))
        agent = agents(broker, {'app': tail_to(logs / '*.log', topic)}).start()
        oracle.write_file(logs / 'file.log', 'a', 1000)
        agent.wait_done(1000)
        assert [os.path.basename(path) for path in held(agent, logs)] == ['file.log']
        agent.wait_for_log(r' warn tail: not a regular file')
        agent.stop()
    check(broker, topic, {'a': 1000})


@crashing
def test_names_with_a_newline_and_with_bytes_that_are_no_utf8(crash, broker, agents, topic, logs):
    names = {'newline': b'new\nline.log', 'bytes': b'\xff\xfe\xc3(.log', 'space': b' "x".log'}
    paths = {src: os.path.join(os.fsencode(logs), name) for src, name in names.items()}
    agent = agents(broker, {'app': tail_to(logs / '*.log', topic)}).start()
    for src, path in paths.items():
        oracle.write_file(path, src, 300)
    agent.wait_done(900)
    end(agent, crash)
    for src, path in paths.items():
        oracle.write_file(path, src, 300, first=300)
    agent.start().wait_done(900)
    oracle.wait_for_lines(broker.client(), topic, 1800)
    agent.wait_idle(quiet=0.3)
    agent.stop()
    check(broker, topic, dict.fromkeys(paths, 600), 900 if crash else 0)
