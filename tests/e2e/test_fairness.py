"""One busy file takes nothing from the others."""
import subprocess
import sys
import time

import pytest

from agent import SLOW, tail_to
from stopwatch import Stopwatch, quantile, text_of

FILES = 50
RATE = 10  # lines a second of each
SECONDS = 8
BOUND = 1.0 * SLOW  # s: on a machine that others share

# As fast as it can, a write(2) a line.
FAST = '''
import sys
line = b"src=fast " + b"x" * 90 + b"\\n"
with open(sys.argv[1], "ab", buffering=0) as file:
    while True:
        file.write(line)
'''


def write_slowly(logs, seconds):
    """Returns how many lines were written."""
    files = [open(logs / f'{number}.log', 'ab', buffering=0) for number in range(FILES)]
    written, began = 0, time.monotonic()
    while written < seconds * FILES * RATE:
        while written > (time.monotonic() - began) * FILES * RATE:
            time.sleep(0.002)
        files[written % FILES].write(b't=%d src=slow\n' % time.monotonic_ns())
        written += 1
    for file in files:
        file.close()
    return written


@pytest.mark.alone
def test_slow_files_do_not_wait_for_one_at_full_speed(broker, agents, topic, logs, report):
    slow = broker.create_topic(f'{topic}.slow')
    broker.create_topic(f'{topic}.fast', partitions=2)
    chain = [{'parse_regex': {'pattern': r'src=(?<src>\w+)'}}]
    agent = agents(broker, {'app': tail_to(logs / '*.log', topic + '.%{src}', chain=chain)}).start()
    agent.wait_done(write_slowly(logs, 1))
    writer = subprocess.Popen([sys.executable, '-c', FAST, str(logs / 'fast.log')])
    try:
        agent.wait_read(50000)
        with Stopwatch(broker.client(), slow) as watch:
            watch.wait(write_slowly(logs, SECONDS))
    finally:
        writer.kill()
        writer.wait()
    account = agent.stop(left=True)['app']
    report(f'{text_of(watch.delays)} beside {account["read"]} lines')
    assert quantile(watch.delays, 0.99) <= BOUND
