"""What an agent costs that has nothing to do."""
import os
import re
import time

import pytest

from agent import tail_to


def switches(pid):
    """How often each of the agent's own threads (librdkafka's are named rdk:…) went to sleep until now."""
    counts = {}
    for task in os.listdir(f'/proc/{pid}/task'):
        with open(f'/proc/{pid}/task/{task}/status') as file:
            status = file.read()
        name = re.search(r'^Name:\s*(.*)', status, re.M)[1]
        if not name.startswith('rdk:'):
            counts[f'{name} {task}'] = int(re.search(r'^voluntary_ctxt_switches:\s*(\d+)', status, re.M)[1])
    return counts


@pytest.mark.alone
def test_idle_agent_sleeps_and_still_wakes_for_a_line(broker, agents, topic, logs):
    """Nothing but the rescan, every 10 s, wakes it: at most one here, and each thread is looked at on its own."""
    for i in range(100):
        (logs / f'{i}.log').write_text(f'line of {i}\n')
    agent = agents(broker, {'app': tail_to(logs / '*.log', topic)}, workers=2).start()
    agent.wait_done(100)
    time.sleep(1.5)  # positions are saved, the last timer has run out
    before = switches(agent.process.pid)
    time.sleep(5)
    after = switches(agent.process.pid)
    assert set(before) == set(after)
    assert any(name.startswith('worker 1') for name in before)
    woken = {name: after[name] - before[name] for name in before}
    assert all(times <= 3 for times in woken.values()), woken
    with open(logs / '7.log', 'a') as file:
        file.write('another\n')
    agent.wait_done(101)
    agent.stop()
