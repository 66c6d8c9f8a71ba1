"""Outages that go to disk."""
import os
import time

import oracle
from agent import tail_to
from oracle import Writer, compare

SOON = {'after': '1s', 'fsync': '100ms'}
MEMORY = 96 * 2**20
AWAY = 'the stream goes to disk'
BACK = 'the stream goes direct'


def write_and_delete(agent, folder, count, lines):
    """Files that are gone while Kafka is away. Returns what was written."""
    written = {}
    for n in range(count):
        path = folder / f'gone{n}.log'
        written[path.stem] = lines
        oracle.write_file(path, path.stem, lines)
        agent.wait_read(agent.look()['app']['read'] + lines // 2)
        agent.wait_account(lambda all: all_on_disk(all, lines * (n + 1)), 30, 'all of a file on disk')
        os.unlink(path)
    return written


def all_on_disk(accounts, lines):
    return sum(a['spooled'] for a in accounts) >= lines


def test_an_outage_with_rotation_and_deletion_loses_nothing(own_broker, agents, logs, report):
    own_broker.create_topic('outage', partitions=2)
    agent = agents(own_broker, {'app': tail_to(logs / '*.log', 'outage')}, spool=SOON).start()
    with Writer(logs / 'live.log', 'live', 2000, rotate_every=5000) as writer:
        time.sleep(1)
        own_broker.kill()
        agent.wait_for_log(AWAY)
        written = write_and_delete(agent, logs, 5, 20000)
        own_broker.start()
        agent.wait_for_log(BACK, 60)
        written['live'] = writer.stop()
    agent.wait_idle()
    agent.stop()
    result = compare(written, oracle.read_topic(own_broker.client(), 'outage')).check()
    report(f'{result.text()} {agent.check_memory(MEMORY)}')
