"""Every call that can fail does, as in test_syscalls.py, in a run that goes through an outage: lines are delivered, Kafka goes
away, lines go to disk, Kafka comes back. Whatever fails, nothing is lost, and no position passes what is not on disk."""
import re

import pytest

from faults import History, Reader, end_run, points
from spooling import AT_ONCE, AWAY, BACK, size

SPOOL = {**AT_ONCE, 'segment_bytes': '64KiB', 'compression': 'none'}
QUICK = {'reconnect.backoff.ms': 10, 'reconnect.backoff.max.ms': 50}
CASES = [
    ('memory', 'ENOMEM', False), ('openat', 'EIO', False), ('openat', 'EMFILE', True), ('mkdirat', 'EROFS', False),
    ('pwrite', 'ENOSPC', False), ('pwrite', 'ENOSPC', True), ('pwrite', 'EIO', False), ('pwrite', 'EINTR', False),
    ('pwrite', 'short', False), ('pwrite,ftruncate', 'EIO', True), ('fsync', 'EIO', False), ('fsync', 'EIO', True),
    ('fsync', 'ENOSPC', False), ('unlinkat', 'EIO', False), ('unlinkat', 'EROFS', True),
    ('renameat', 'EIO', False), ('pread', 'EIO', False), ('pread', 'short', False), ('fdopendir,readdir', 'EIO', False),
    ('getrandom', 'EAGAIN', False), ('fcntl', 'EMFILE', False),
]
SHORT_RUNS = 6  # of each case, when not all are tried
HEAL_SECONDS = 10
LINES = 600  # more than a segment
RUN = 2 * LINES + 20  # lines of one


def begin(agents, mock, topic, logs):
    mock.tell(f'topic {topic}')
    tail = {'paths': [str(logs / 'app.log')], 'rescan': '200ms'}
    agent = agents(mock, {'app': {'tail': tail, 'ship': {'topic': topic, 'encode': 'raw'}}}, spool=SPOOL, drain='3s',
                   properties=QUICK)
    return History(agent, Reader(mock, topic), logs / 'app.log')


def wait_log(history, pattern, seconds):
    """Not longer than that: what was to happen may have been made impossible."""
    try:
        history.agent.wait_for_log(pattern, seconds)
    except AssertionError:
        pass


def outage(history, mock, fault, for_ever=False):
    """One run. Returns what was wrong with it, or None, and how many calls there were, and how many failed."""
    patience = 0.5 if for_ever else HEAL_SECONDS
    history.write(10)
    history.start(fault)
    history.wait(patience)
    mock.tell('down')
    for _ in range(2):
        history.write(LINES)
        wait_log(history, AWAY, 0.5)
    wait_to_rest(history)
    mock.tell('up')
    history.wait(patience)
    history.write(10)
    whole = history.wait(patience)
    return end_run(history, whole, for_ever)


def wait_to_rest(history):
    """Until the spool does not grow any more."""
    before = -1
    for _ in range(20):
        history.look(0.05)
        now = size(history.agent.state + '/spool')
        if now == before or not history.alive():
            return
        before = now


def may_double(history):
    """What was delivered could not be noted, and that was said."""
    return re.search(r' (error|warn) (positions|spool): |not acknowledged', history.agent.log_text()) is not None


@pytest.mark.parametrize('calls,error,for_ever', CASES, ids=lambda x: {True: 'for-ever', False: 'once'}.get(x) or x.replace(',', '+'))
def test_call_that_fails_in_an_outage_loses_nothing(calls, error, for_ever, agents, mock, topic, logs, report):
    history = begin(agents, mock, topic, logs)
    wrong, seen, _ = outage(history, mock, f'{calls}:0:{error}')
    assert wrong is None and seen > 0, wrong
    assert re.search(AWAY, history.agent.log_text()) and re.search(BACK, history.agent.log_text())
    failed, runs, doubles = [], 0, 0
    for number in points(seen, SHORT_RUNS):
        before = history.doubled
        wrong, _, fired = outage(history, mock, f'{calls}:{number}{"+" if for_ever else ""}:{error}', for_ever)
        tail = history.agent.log_text()
        doubles = doubles // 2 + (2 * RUN if may_double(history) else 0)  # from the files, and from the spool
        wrong = wrong or history.recovers(before + doubles)
        if wrong is not None:
            failed.append(f'{calls}:{number}: {wrong}\n{tail}')
        runs += fired > 0
        if len(failed) >= 3:
            break
    assert not failed, f'{len(failed)} of {runs} runs:\n' + '\n'.join(failed)
    report(f'{runs} runs of {seen}: {history.check(history.doubled).text()}')
