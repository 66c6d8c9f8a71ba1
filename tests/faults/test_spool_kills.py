"""SIGKILL at every step of what the spool does on disk: writing, fsync, acknowledging, deleting."""
import subprocess

import pytest

from agent import BINARY
from faults import points
from test_spool_calls import LINES, begin, outage

STEPS = 'openat,mkdirat,write,pwrite,fsync,ftruncate,renameat,unlinkat'
SHORT_RUNS = 12  # of each case, when not all are tried


def on_disk(history):
    """Records in the spool: those that may be sent, or may have been sent and not acknowledged."""
    command = [BINARY, 'spool', 'dump', '--state', history.agent.state, '--raw']
    return subprocess.run(command, stdout=subprocess.PIPE, timeout=60).stdout.count(b'\n')


@pytest.mark.parametrize('calls,action', [(STEPS, 'kill-before'), (STEPS, 'kill-after'), ('write,pwrite', 'kill-amid')])
def test_kill_at_every_step_of_an_outage_loses_nothing(calls, action, agents, mock, topic, logs, report):
    """Twice at the same step, one after the other; then a run that is left alone."""
    history = begin(agents, mock, topic, logs)
    wrong, seen, _ = outage(history, mock, f'{calls}:0:{action}')
    assert wrong is None and seen > 3, wrong
    kills = allowed = 0
    failed = []
    for number in points(seen, SHORT_RUNS):
        for _ in range(2):
            wrong, _, _ = outage(history, mock, f'{calls}:{number}:{action}')
            if wrong not in (None, 'ended with -9'):
                failed.append(f'{calls}:{number}: {wrong}')
            kills += wrong is not None
            allowed += history.unsaved() + on_disk(history)
        wrong = history.recovers(allowed)
        if wrong is not None:
            failed.append(f'{calls}:{number}: {wrong}')
        if len(failed) >= 3:
            break
    assert not failed, '\n'.join(failed)
    assert kills >= 2
    report(f'{kills} kills at {seen} steps: {history.check(allowed).text()} D<={allowed}, {LINES} lines at a time')
