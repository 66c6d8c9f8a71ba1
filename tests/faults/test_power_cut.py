"""Whatever a power cut leaves of the saved positions, the agent starts, and nothing is lost."""
import os

import journal
import oracle
from agent import tail_to
from faults import INJECTOR, Reader, points

STAGES, LINES, SHORT = 6, 20, 60
SOURCES = ('a', 'b', 'c', 'd')


def written_by(path, text):
    with open(path, 'a') as file:
        file.write(text)


def ship_rest(agents, mock, logs, topic, state, number):
    """What an agent sends that finds this state: source -> sequence numbers."""
    mock.tell(f'topic {topic}.{number}')
    agent = agents(mock, {'app': tail_to(str(logs / '*.log'), f'{topic}.{number}')}, state=f'state-{number}', drain='3s')
    os.makedirs(agent.state, mode=0o700)
    for name, content in state.items():
        with open(os.path.join(agent.state, name), 'wb') as file:
            file.write(content)
    agent.start()
    agent.wait_idle(quiet=0.1)
    agent.stop()
    reader = Reader(mock, f'{topic}.{number}')
    wanted = agent.accounts()['app']['delivered']
    while len(reader.messages) < wanted:
        reader.poll(0.05)
    reader.close()
    found = {src: [] for src in SOURCES}
    for message in reader.messages:
        match = oracle.ID.match(message.value)
        found[match[1].decode()].append(int(match[2]))
    return found


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
    found = list(journal.states(path))
    assert len(found) > 20 and any(len(state.get('positions', b'')) > 2 * journal.SECTOR for _, state in found)
    tried = points(len(found), SHORT)
    again = 0
    for number in tried:
        written, state = found[number - 1]
        for src, numbers in ship_rest(agents, mock, logs, topic, state, number).items():
            first = STAGES * LINES - len(numbers)
            assert numbers == list(range(first, STAGES * LINES)), f'state {number}: {src}: {numbers[:5]}'
            assert first <= written, f'state {number}: {src} begins at {first}, and only {written} were there'
            again += len(numbers)
    report(f'{len(tried)} of {len(found)} states, lines sent again {again}, L=0 O=0')
