"""Whatever a power cut leaves of the saved positions and of the spool, the agent starts, and nothing is lost."""
import os

import journal
import oracle
from agent import SLOW, tail_to
from faults import INJECTOR, Reader, points
from kafka import wait_until
from spooling import AT_ONCE, BACK, segments, wait_saved

STAGES, LINES, SHORT = 6, 20, 60
SOURCES = ('a', 'b', 'c', 'd')


def written_by(path, text):
    with open(path, 'a') as file:
        file.write(text)


def ship_rest(agents, mock, logs, reader, state, number, **more):
    """What an agent sends that finds this state: source -> sequence numbers."""
    first = len(reader.messages)
    agent = agents(mock, {'app': tail_to(str(logs / '*.log'), reader.topic)}, state=f'state-{number}', drain='3s', **more)
    os.makedirs(agent.state, mode=0o700)
    for name, content in sorted(state.items()):
        if content is None:
            os.mkdir(os.path.join(agent.state, name), mode=0o700)
            continue
        with open(os.path.join(agent.state, name), 'wb') as file:
            file.write(content)
    agent.start()
    agent.wait_idle(quiet=0.1)
    agent.stop()
    read(reader, first + agent.accounts()['app']['delivered'])
    found = {src: [] for src in SOURCES}
    for message in reader.messages[first:]:
        match = oracle.ID.match(message.value)
        found[match[1].decode()].append(int(match[2]))
    return found


def read(reader, count):
    wait_until(lambda: reader.poll(0.05) or len(reader.messages) >= count, 20 * SLOW, f'{count} messages')


def test_every_state_that_a_power_cut_may_leave_loses_nothing(agents, mock, topic, tmp_path, report):
    logs = tmp_path / ('logs-' + 'x' * 200)  # so that the positions take several sectors
    logs.mkdir()
    path = str(tmp_path / 'journal')
    mock.tell(f'topic {topic}')
    agent = agents(mock, {'app': tail_to(str(logs / '*.log'), topic)})
    agent.wrapper = ['env', f'FAULT_JOURNAL={path}', f'FAULT_FOLDER={agent.state}', f'LD_PRELOAD={INJECTOR}']
    for stage in range(STAGES):
        written_by(path, f'written {(stage + 1) * LINES}\n')
        for src in SOURCES:
            oracle.write_file(logs / f'{src}.log', src, LINES, first=stage * LINES)
        if stage % 2 == 0:
            agent.start()
        agent.wait_done((stage % 2 + 1) * LINES * len(SOURCES))
        if stage % 2 == 1:
            agent.stop()
    reader = Reader(mock, topic)
    read(reader, STAGES * LINES * len(SOURCES))
    found = list(journal.states(path))
    assert len(found) > 20 and any(len(state.get('positions') or b'') > 2 * journal.SECTOR for _, state in found)
    tried = points(len(found), SHORT)
    again = 0
    for number in tried:
        written, state = found[number - 1]
        for src, numbers in ship_rest(agents, mock, logs, reader, state, number).items():
            first = STAGES * LINES - len(numbers)
            assert numbers == list(range(first, STAGES * LINES)), f'state {number}: {src}: {numbers[:5]}'
            assert first <= written, f'state {number}: {src} begins at {first}, and only {written} were there'
            again += len(numbers)
    report(f'{len(tried)} of {len(found)} states, lines sent again {again}, L=0 O=0')


SPOOL = {**AT_ONCE, 'compression': 'none'}


def test_every_state_that_a_power_cut_may_leave_of_a_spool_loses_nothing(agents, mock, topic, logs, tmp_path, report):
    """The power is cut while lines go to disk, over restarts, and while they come from there again."""
    path = str(tmp_path / 'journal')
    mock.tell(f'topic {topic}')
    mock.tell('down')
    agent = agents(mock, {'app': tail_to(str(logs / '*.log'), topic)}, spool=SPOOL, drain='50ms')
    agent.wrapper = ['env', f'FAULT_JOURNAL={path}', f'FAULT_FOLDER={agent.state}', f'LD_PRELOAD={INJECTOR}']
    for stage in range(STAGES):
        written_by(path, f'written {(stage + 1) * LINES}\n')
        for src in SOURCES:
            oracle.write_file(logs / f'{src}.log', src, LINES, first=stage * LINES)
        agent.start()
        agent.wait_read(LINES * len(SOURCES))
        wait_until(lambda: len(segments(agent)) > stage, 10, 'a segment of its own')
        wait_saved(agent)
        if stage < STAGES - 1:
            agent.stop(left=True)
    written_by(path, f'written {STAGES * LINES + 1}\n')  # from here on Kafka may have it
    mock.tell('up')
    agent.wait_for_log(BACK)
    agent.wait_idle(quiet=0.1)
    agent.stop()
    reader = Reader(mock, topic)
    read(reader, STAGES * LINES * len(SOURCES))
    found = list(journal.states(path))
    before = [state for written, state in found if written <= STAGES * LINES]
    after = [state for written, state in found if written > STAGES * LINES]
    assert len(before) > 50 and len(after) > 20
    everything = list(range(STAGES * LINES))
    tried = points(len(before), SHORT * 2 // 3)
    for number in tried:
        sent = ship_rest(agents, mock, logs, reader, before[number - 1], number, spool=SPOOL)
        for src, numbers in sent.items():
            assert numbers == everything, f'state {number}: {src}: {len(numbers)} of {len(everything)}'
    again = points(len(after), SHORT // 3)
    for number in again:
        sent = ship_rest(agents, mock, logs, reader, after[number - 1], len(before) + number, spool=SPOOL)
        for src, numbers in sent.items():
            assert numbers == everything[len(everything) - len(numbers):], f'state {number}: {src}: {numbers[:5]}'
    report(f'{len(tried)} of {len(before)} states while lines went to disk, {len(again)} of {len(after)} while they were sent: L=0 D=0 O=0')
