"""What a killed agent, a second one, and damaged state can't do: lose a line."""
import os
import random
import time

import pytest

import oracle
from agent import run, tail_to
from oracle import Writer, compare

KILLS = 5
RATE = 4000  # lines a second of each writer


def test_kill9_five_times_under_live_writers_loses_nothing(own_broker, agents, logs, report):
    own_broker.create_topic('killed')
    agent = agents(own_broker, {'app': tail_to(logs / '*.log', 'killed')}, workers=2)
    chance = random.Random(5)
    with Writer(logs / 'a.log', 'a', RATE) as a, Writer(logs / 'b.log', 'b', RATE, rotate_every=2) as b:
        for kill in range(KILLS):
            agent.start().wait_read(1)
            time.sleep(chance.uniform(0.3, 1.5))
            kill_in_flight(own_broker, agent, freeze=kill % 2 == 0)
            time.sleep(chance.uniform(0.3, 0.6))
        agent.start().wait_read(1)
        written = {'a': a.stop(), 'b': b.stop()}
    agent.wait_idle()
    agent.stop()
    # What a kill may repeat: what was acknowledged since the last save, at most a second ago, and what was in flight.
    most = KILLS * 2 * RATE
    result = compare(written, oracle.read_topic(own_broker.client(), 'killed')).check(duplicates=most)
    report(f'{result.text()} D<={most}')


def kill_in_flight(broker, agent, freeze):
    """With a frozen broker much is in flight: read, taken by the client library, and not acknowledged."""
    if freeze:
        broker.freeze()
        time.sleep(0.8)
    agent.kill9()
    if freeze:
        broker.thaw()


def spoil(path, change):
    with open(path, 'rb') as file:
        data = file.read()
    assert data, f'{path} is empty'
    with open(path, 'wb') as file:
        file.write(change(data))


def flip(data):
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0x10]) + data[middle + 1:]


DAMAGES = {
    'empty': lambda data: b'',
    'cut': lambda data: data[:len(data) // 2],
    'one-bit': flip,
    'garbage': lambda data: random.Random(1).randbytes(len(data)),
    'zeros': lambda data: bytes(len(data)),
    'huge': lambda data: data + b'9' * 100000,
}


@pytest.mark.parametrize('both', [False, True], ids=['newest', 'both'])
@pytest.mark.parametrize('damage', DAMAGES)
def test_damaged_positions_lose_nothing(damage, both, broker, agents, topic, logs):
    streams = {'app': tail_to(logs / 'app.log', topic)}
    agent = agents(broker, streams)
    written = 0
    for _ in range(2):  # two runs, so that there are two saves
        oracle.write_file(logs / 'app.log', 'a', 1000, first=written)
        written += 1000
        agent.start().wait_done(1000)
        agent.stop()
    names = ['positions', 'positions.old'] if both else ['positions']
    for name in names:
        spoil(os.path.join(agent.state, name), DAMAGES[damage])
    oracle.write_file(logs / 'app.log', 'a', 500, first=written)
    agent.start()
    agent.wait_for_log(r' error positions: positions is damaged')
    agent.wait_done(500)
    agent.wait_idle(quiet=0.5)
    agent.stop()
    kept = [name for name in os.listdir(agent.state) if name.startswith('positions.damaged-')]
    assert len(kept) == len(names)
    compare({'a': written + 500}, oracle.read_topic(broker.client(), topic)).check(duplicates=written)
    agent.start().stop()
    assert agent.accounts()['app']['read'] == 0, 'the state was not made good again'


def test_second_agent_on_one_state_folder_is_refused(broker, agents, topic, logs):
    streams = {'app': tail_to(logs / 'app.log', topic)}
    first = agents(broker, streams).start()
    second = agents(broker, streams)
    second.setup.write(second.file)
    refused = run('run', '-c', second.file)
    assert refused.returncode == 1
    assert ' error main: ' in refused.stderr and first.state in refused.stderr
    oracle.write_file(logs / 'app.log', 'a', 1000)
    first.wait_done(1000)
    first.stop()
    compare({'a': 1000}, oracle.read_topic(broker.client(), topic)).check()


def test_state_folder_is_free_again_after_kill9(broker, agents, topic, logs):
    agent = agents(broker, {'app': tail_to(logs / 'app.log', topic)}).start()
    agent.kill9()
    agent.start().stop()
