"""A spool on a disk that is full, was damaged, or must not be read by others."""
import ctypes
import ctypes.util
import glob
import os
import random
import re
import shutil
import time

import pytest

import oracle
from agent import run, tail_to
from oracle import compare
from spooling import (AWAY, BACK, NOWHERE, SMALL, connect, dump, folder, quarantine, segments,
                      wait_saved)

COUNT = 20000
HEADER = 80  # of a frame


# ---- full ----

def mount_on_state(agent, size):
    """The state folder is a file system of its own for that run, and gone with it; only the agent sees it."""
    os.makedirs(agent.state, mode=0o700)
    mount = f'mount -t tmpfs -o size={size},mode=700 splashdam "{agent.state}" && exec "$@"'
    agent.wrapper = ['unshare', '-m' if os.geteuid() == 0 else '-rm', 'sh', '-c', mount, 'sh']


def fill(path, left):
    """Until so many bytes are free."""
    with open(path, 'wb', buffering=0) as file:
        while True:
            free = os.statvfs(path).f_bavail * os.statvfs(path).f_bsize
            if free <= left:
                return
            file.write(bytes(min(65536, free - left)))


def test_full_disk_in_an_outage_stops_nothing_and_loses_nothing(late_broker, agents, logs, report):
    agent = agents(late_broker, {'app': tail_to(logs / '*.log', 'full')}, spool=SMALL, memory='1MiB')
    mount_on_state(agent, '32m')
    agent.start()
    state = f'/proc/{agent.process.pid}/root{agent.state}'
    oracle.write_file(logs / 'a.log', 'a', COUNT)
    agent.wait_for_log(AWAY)
    fill(f'{state}/filler', 2**20)
    oracle.write_file(logs / 'a.log', 'a', 4 * COUNT, first=COUNT)
    agent.wait_for_log('cannot write; its lines stay in their files.*No space left')
    time.sleep(1)
    spent, began = agent.cpu(), time.monotonic()
    time.sleep(4)
    busy = (agent.cpu() - spent) / (time.monotonic() - began)
    agent.check_alive()
    os.unlink(f'{state}/filler')
    agent.wait_read(5 * COUNT)
    fill(f'{state}/filler', 0)  # not a byte: sending what is there makes room
    late_broker.start()
    agent.wait_for_log(BACK, 60)
    agent.wait_done(5 * COUNT)
    assert agent.stop()['app']['discarded'] == 0
    assert busy < 0.05, f'{busy:.1%} of a processor while the disk was full'
    result = compare({'a': 5 * COUNT}, oracle.read_topic(late_broker.client(), 'full')).check()
    report(f'{result.text()} {busy:.1%} of a CPU while full')


# ---- damaged ----

@pytest.fixture
def spooled(agents, topic, logs):
    """An agent that has stopped with COUNT lines of two files in its spool, in many segments."""
    def make(**spool):
        agent = agents(NOWHERE, {'app': tail_to(logs / '*.log', topic)}, spool={**SMALL, **spool}, drain='100ms')
        for src in 'ab':
            oracle.write_file(logs / f'{src}.log', src, COUNT)
        agent.start()
        agent.wait_read(2 * COUNT)
        agent.wait_for_log(AWAY)
        wait_saved(agent)
        agent.stop(left=True)
        return agent
    return make


def send_all(agent, broker, topic):
    """What comes out with Kafka there, and one more line of each file. The agent is stopped again."""
    connect(agent, broker)
    agent.start()
    agent.wait_for_log(BACK, 60)
    agent.wait_idle()
    account = agent.stop()['app']
    return account, oracle.read_topic(broker.client(), topic)


def flip(path, at, bit):
    with open(path, 'r+b') as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << bit]))


def flip_somewhere(chance, path, first=0):
    flip(path, chance.randrange(first, os.path.getsize(path)), chance.randrange(8))


@pytest.fixture
def flipped(spooled, report):
    """An agent with bits flipped in its ack and in seven frames, of one of them in its header; and the lines of these, by path."""
    seed = int(os.environ.get('FAULTS_SEED') or random.randrange(10**9))
    report(f'FAULTS_SEED={seed}')
    chance = random.Random(seed)
    agent = spooled()
    ends = {oracle.line(src, COUNT - 1) for src in 'ab'}  # read again from the file, when the position is behind
    held = {path: dump(agent, path) for path in segments(agent)}
    header, *hit = chance.sample([path for path in held if not ends & set(held[path])], 7)
    flip(header, chance.randrange(HEADER), chance.randrange(8))
    for path in hit:
        flip_somewhere(chance, path, HEADER)
    ack = os.path.join(agent.state, 'spool/app/ack')
    if os.path.exists(ack):
        flip_somewhere(chance, ack)
    assert run('spool', 'check', '--state', agent.state).returncode == 1
    return agent, chance, held[header], [line for path in hit for line in held[path]]


def test_flipped_bits_cost_only_the_records_that_they_hit(flipped, broker, topic, report):
    agent, _, uncounted, counted = flipped
    account, messages = send_all(agent, broker, topic)
    result = compare({'a': COUNT, 'b': COUNT}, messages)
    counts = result.counts()
    assert [counts[k] for k in 'DOCX'] == [0] * 4, f'{result.text()}\n{result.details()}'
    assert sorted(oracle.line(src, seq) for src, seq in result.lost) == sorted(uncounted + counted)
    # How many were in a frame of which the header is damaged, nobody knows.
    assert account['discarded_spool_damaged'] == counts['L'] - len(uncounted)
    log = agent.log_text()
    holes = re.findall(r'frames (\d+) to (\d+) are missing', log)
    assert len(re.findall('is damaged at', log)) == sum(int(last) - int(first) + 1 for first, last in holes) == 7
    report(f'{result.text()} in 7 frames, counted={account["discarded_spool_damaged"]}')


def test_flipped_bits_in_spool_and_positions_lose_nothing_that_the_files_still_have(flipped, broker, topic, report):
    agent, chance, *_ = flipped
    for path in glob.glob(os.path.join(agent.state, 'positions*')):  # there may be no old one yet
        flip_somewhere(chance, path)
    _, messages = send_all(agent, broker, topic)
    counts = compare({'a': COUNT, 'b': COUNT}, messages).counts()
    assert [counts[k] for k in 'LCX'] == [0] * 3, counts
    report(str(counts))


def xxh3(data, seed):
    library = ctypes.CDLL(ctypes.util.find_library('xxhash'))
    library.XXH3_64bits_withSeed.restype = ctypes.c_uint64
    library.XXH3_64bits_withSeed.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64]
    return library.XXH3_64bits_withSeed(data, len(data), seed)


def make_later(path):
    """All of it becomes one frame of a version to come."""
    with open(path, 'r+b') as file:
        header = bytearray(file.read(72))
        header[4] = 2
        salt = int(os.path.basename(path)[:-4].split('-')[1], 16)
        file.seek(0)
        file.write(header + xxh3(bytes(header), salt).to_bytes(8, 'little'))


def test_foreign_and_missing_segments_cost_only_their_own_records(broker, spooled, topic, tmp_path, report):
    agent = spooled()
    missing, linked, later, copied = segments(agent)[5:25:5]
    lost = [line for path in (missing, linked, later) for line in dump(agent, path)]
    os.unlink(missing)
    secret = tmp_path / 'secret'
    secret.write_text('not to be sent\n')
    os.unlink(linked)
    os.symlink(secret, linked)
    make_later(later)
    number, salt = os.path.basename(copied)[:-4].split('-')
    shutil.copy(copied, os.path.join(folder(agent), f'{int(number) + 1:020d}-{salt}.seg'))
    with open(os.path.join(folder(agent), f'{10**9:020d}-{salt}.seg'), 'wb') as file:
        file.write(random.Random(3).randbytes(5000))
    account, messages = send_all(agent, broker, topic)
    result = compare({'a': COUNT, 'b': COUNT}, messages)
    counts = result.counts()
    assert sorted(oracle.line(src, seq) for src, seq in result.lost) == sorted(lost)
    assert [counts[k] for k in 'DOCX'] == [0] * 4, f'{result.text()}\n{result.details()}'
    kept = quarantine(agent)
    for path in (linked, later):
        assert f'app.{os.path.basename(path)}' in kept
    assert len([name for name in kept if name.endswith('.seg')]) == 4 and secret.read_text() == 'not to be sent\n'
    for text in ("can't be opened, or is no regular file", 'is of a later version', 'only frames that stand in other segments',
                 'has no valid frame', r'frames \d+ to \d+ are missing'):
        agent.wait_for_log(text)
    report(f'{result.text()} quarantine={len(kept)} {account}')


# ---- encrypted ----

def write_keys(path, *keys):
    path.write_text(''.join(key + '\n' for key in keys))
    path.chmod(0o600)


def test_encrypted_spool_survives_kills_and_a_new_key(broker, agents, topic, logs, tmp_path, report):
    keys = tmp_path / 'spool.key'
    old, new = '1' * 64, '2' * 64
    write_keys(keys, old)
    agent = agents(NOWHERE, {'app': tail_to(logs / '*.log', topic)}, drain='100ms',
                   spool={**SMALL, 'key_file': str(keys)})
    for n, some in enumerate(([old], [new, old])):
        write_keys(keys, *some)
        oracle.write_file(logs / 'a.log', 'a', COUNT, first=n * COUNT)
        agent.start()
        agent.wait_read(COUNT)
        wait_saved(agent)
        agent.kill9()
    for path in segments(agent):
        with open(path, 'rb') as file:
            assert b'src=a' not in file.read(), 'lines can be read on disk'
    before = [(path, os.path.getsize(path)) for path in segments(agent)]
    write_keys(keys, new)
    refused = run('run', '-c', agent.file)
    assert refused.returncode == 1 and 'add that key' in refused.stderr
    assert [(path, os.path.getsize(path)) for path in segments(agent)] == before, 'a start without the key changed something'
    write_keys(keys, new, old)
    account, messages = send_all(agent, broker, topic)
    assert account['spool_found'] == 2 * COUNT
    report(compare({'a': 2 * COUNT}, messages).check().text())
