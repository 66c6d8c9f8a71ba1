"""SIGKILL: at every step of saving positions, and at random under load."""
import os
import random
import time

import pytest

from faults import ALL, make_history
from kafka import wait_until

STEPS = 'openat,write,fsync,renameat,unlinkat'


@pytest.mark.parametrize('calls,action', [(STEPS, 'kill-before'), (STEPS, 'kill-after'), ('write', 'kill-amid')])
def test_kill_at_every_step_of_a_save_loses_nothing(calls, action, agents, mock, topic, logs, report):
    """Twice at the same step, one after the other; then a run that is left alone."""
    history = make_history(agents, mock, topic, logs)
    number = kills = allowed = 0
    failed = []
    fired = True
    while fired and len(failed) < 3:
        number += 1
        fired = False
        for _ in range(2):
            history.write(10)
            history.start(f'{calls}:{number}:{action}')
            if history.wait(8):
                history.rotate()
                history.write(10)
                history.wait(8)
            wait_until(lambda: not history.alive() or history.unsaved() == 0, 10, 'positions to be saved', pause=0.01)
            status = history.end()
            if status not in (0, -9):
                failed.append(f'{calls}:{number}: ended with {status}')
            kills += status == -9
            fired |= status == -9
            allowed += history.unsaved()
        wrong = history.recovers(allowed)
        if wrong is not None:
            failed.append(f'{calls}:{number}: {wrong}')
    assert not failed, '\n'.join(failed)
    assert kills >= 2
    report(f'{kills} kills: {history.check(allowed).text()} D<={allowed}')


def test_kill_at_random_under_load_loses_nothing(agents, mock, topic, logs, report):
    seed = int(os.environ.get('FAULTS_SEED') or random.randrange(10**9))
    report(f'FAULTS_SEED={seed}')
    chance = random.Random(seed)
    history = make_history(agents, mock, topic, logs)
    kills, allowed = (1000 if ALL else 20), 0
    for _ in range(kills):
        history.start()
        end = time.monotonic() + chance.uniform(0.02, 0.6)
        while time.monotonic() < end:
            history.write(chance.randrange(1, 100))
            # The oldest generation is overwritten: all must be delivered, and saved.
            if chance.random() < 0.1 and history.look() == 0 and history.unsaved() == 0:
                history.rotate()
                history.write(1)
            history.look(0.01)
        history.agent.kill9()
        allowed += history.unsaved()
    assert history.recovers(allowed, 30) is None, history.check(allowed).text()
    report(f'{kills} kills: {history.check(allowed).text()} D<={allowed}')
