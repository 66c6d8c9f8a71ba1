"""Lines that no memory should hold."""
import json
import os

import oracle
from agent import tail_to

MIB = 2**20
MEMORY = 64 * MIB
TOLERANCE = 1.1


def append(path, data):
    with open(path, 'ab') as file:
        file.write(data)


def records(broker, topic):
    """Of each record its line and whether it says that it is cut."""
    trees = [json.loads(message.value) for message in oracle.read_topic(broker.client(), topic)]
    return [(tree['message'], tree.get('log.flags', [])) for tree in trees]


def huge(broker, agents, topic, path):
    broker.create_topic(topic, max_message_bytes=8 * MIB)
    return agents(broker, {'app': tail_to(path, topic, encode='json', max_line='1MiB')},
                  properties={'message.max.bytes': 8 * MIB, 'compression.codec': 'lz4'})


def check(agent, report, cut, left_out):
    account = agent.stop()['app']
    assert (account['cut_lines'], account['cut_bytes']) == (cut, left_out)
    report(f'{agent.check_memory(MEMORY * TOLERANCE)} cut_bytes={left_out}')


def test_a_line_of_64_mib_is_cut_and_the_next_is_whole(broker, agents, topic, logs, report):
    path = logs / 'app.log'
    block = b'0123456789abcdef' * (MIB // 16)
    append(path, b'before\n')
    for _ in range(64):
        append(path, block)
    append(path, b'\nafter\n')
    agent = huge(broker, agents, topic, path).start()
    agent.wait_done(3)
    check(agent, report, 1, 63 * MIB)
    assert records(broker, topic) == [('before', []), (block.decode(), ['truncated']), ('after', [])]


def test_200_mib_without_a_line_end_then_one(broker, agents, topic, logs, report):
    path = logs / 'app.log'
    block = b'fedcba9876543210' * (MIB // 16)
    for _ in range(200):
        append(path, block)
    agent = huge(broker, agents, topic, path).start()
    agent.wait_done(1, 60)
    append(path, b'still the same line\nnext\n')
    agent.wait_done(2, 60)
    check(agent, report, 1, 199 * MIB + len('still the same line'))
    assert records(broker, topic) == [(block.decode(), ['truncated']), ('next', [])]


def test_a_gib_of_nuls_without_a_line_end(broker, agents, topic, logs, report):
    """A hole in the file, as a writer leaves one that goes on at its old offset after a truncation."""
    path = logs / 'app.log'
    append(path, b'before\n')
    os.truncate(path, 1024 * MIB)
    agent = huge(broker, agents, topic, path).start()
    agent.wait_done(2, 60)
    append(path, b'\nafter\n')
    agent.wait_done(3, 120)
    check(agent, report, 1, 1023 * MIB - len('before\n'))
    assert records(broker, topic) == [('before', []), ('\0' * MIB, ['truncated']), ('after', [])]
