"""Much of everything: lines, files, workers."""
import time

import pytest

import oracle
from agent import tail_to
from oracle import compare

MEMORY = 64 * 2**20


@pytest.mark.alone
def test_million_lines_in_one_file(broker, agents, topic, logs, report):
    count = 1000000
    oracle.write_file(logs / 'big.log', 'big', count)
    broker.create_topic(topic, partitions=3)
    began = time.monotonic()
    agent = agents(broker, {'app': tail_to(logs / 'big.log', topic)}).start()
    agent.wait_done(count, 120)
    seconds = time.monotonic() - began
    assert agent.stop()['app']['delivered'] == count
    result = compare({'big': count}, oracle.read_topic(broker.client(), topic)).check()
    report(f'{result.text()} {agent.check_memory(MEMORY)} {count / seconds:.0f} lines/s')


@pytest.mark.alone
@pytest.mark.parametrize('workers', [1, 2])
def test_two_hundred_files_at_once(workers, broker, agents, topic, logs, report):
    files, before, after = 200, 300, 200
    broker.create_topic(topic, partitions=2)
    for n in range(files):
        oracle.write_file(logs / f'{n}.log', f'file-{n}', before)
    agent = agents(broker, {'app': tail_to(logs / '*.log', topic)}, workers=workers).start()
    for n in range(files):
        oracle.write_file(logs / f'{n}.log', f'file-{n}', after, first=before)
    agent.wait_done(files * (before + after))
    assert agent.stop()['app']['read'] == files * (before + after)
    written = {f'file-{n}': before + after for n in range(files)}
    result = compare(written, oracle.read_topic_with_kcat(broker.bootstrap, topic)).check()
    report(f'{result.text()} {agent.check_memory(MEMORY)}')
