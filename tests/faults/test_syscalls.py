"""Every call that can fail does: the Nth one, for N = 1 until none is left, once and from then on.

The run is short: a backlog is read, lines are appended, the log is rotated. Whatever fails, the agent goes on, or ends
with status 1 and says why; the next start, without a fault, delivers all that is missing."""
import re

import pytest

from faults import end_run, make_history, points

# Allocations fail only with ENOMEM. What says nothing of files, or fails in no other way, has one error.
CASES = [
    ('memory', 'ENOMEM'),
    ('open,openat', 'EMFILE'), ('open,openat', 'EIO'), ('open,openat', 'ENOMEM'), ('open,openat', 'EINTR'),
    ('read,pread,preadv', 'EIO'), ('read,pread,preadv', 'EINTR'), ('read,pread,preadv', 'short'),
    ('write', 'ENOSPC'), ('write', 'EIO'), ('write', 'EINTR'), ('write', 'short'),
    ('fsync', 'EIO'), ('fsync', 'ENOSPC'), ('fsync', 'EINTR'),
    ('renameat', 'EIO'), ('renameat', 'ENOSPC'), ('unlinkat', 'EIO'), ('unlinkat', 'EROFS'),
    ('statx,stat,lstat,fstat', 'EIO'), ('statx,stat,lstat,fstat', 'ENOMEM'), ('statx,stat,lstat,fstat', 'ESTALE'),
    ('opendir,readdir,scandir,glob', 'EMFILE'), ('opendir,readdir,scandir,glob', 'EIO'),
    ('inotify_init1', 'EMFILE'), ('inotify_add_watch', 'ENOSPC'), ('inotify_add_watch', 'ENOMEM'),
    ('mkdir', 'EROFS'), ('flock', 'EINTR'), ('flock', 'EIO'), ('fcntl', 'EAGAIN'), ('eventfd', 'EMFILE'),
    ('readlink,realpath,access', 'EIO'), ('pthread_create', 'EAGAIN'),
]
SHORT_RUNS = 30  # of each case, when not all are tried
HEAL_SECONDS = 8
STEPS = [{'parse_regex': {'pattern': '^src=(?<src>[^ ]+) seq=(?<seq>[0-9]+)', 'types': {'seq': 'number'}, 'keep': True}},
         {'set': {'label': '%{src}-%{seq}'}}, {'drop': {'when': 'seq == -1'}}]


def one_run(history, fault, for_ever, by='agent'):
    """Returns what was wrong with it, or None, and how many calls there were, and how many failed."""
    history.write(10)
    history.start(fault, by)
    whole = history.wait(0.6 if for_ever else HEAL_SECONDS)
    # What could not be opened under its log's name while nothing was known of it is not followed when it is renamed.
    if 'every file is read from its beginning' not in history.agent.log_text():
        history.rotate()
    history.write(10)
    whole = history.wait(0.3 if for_ever else HEAL_SECONDS) and whole
    return end_run(history, whole, for_ever)


def may_double(history):
    """Positions that could not be saved or read, and said so."""
    return re.search(r' (error|warn) positions: |not acknowledged', history.agent.log_text()) is not None


@pytest.mark.parametrize('calls,error,often', [(calls, error, often) for calls, error in CASES
                                               for often in ('once', 'for-ever') if (error, often) != ('EINTR', 'for-ever')],
                         ids=lambda text: text.replace(',', '+'))
def test_call_that_fails_loses_nothing(calls, error, often, agents, mock, topic, logs, report):
    for_ever = often == 'for-ever'
    history = make_history(agents, mock, topic, logs, chain=STEPS)
    wrong, seen, _ = one_run(history, f'{calls}:0:{error}', False)
    assert wrong is None
    numbers = points(seen, SHORT_RUNS)
    failed = []
    runs = earlier = 0
    while numbers:
        number = numbers.pop(0)
        before = history.doubled
        wrong, _, fired = one_run(history, f'{calls}:{number}{"+" if for_ever else ""}:{error}', for_ever)
        doubles = 60 if may_double(history) else 0
        tail = history.agent.log_text()
        wrong = wrong or history.recovers(before + doubles + earlier)
        earlier = doubles  # what the recovery may have left to the run after it
        if wrong is not None:
            failed.append(f'{calls}:{number}: {wrong}\n{tail}')
            if len(failed) >= 3:
                break
        runs += fired > 0
        if fired > 0 and not numbers and number >= seen:
            numbers = [number + 1]  # the run has become longer: until none fires
    assert not failed, f'{len(failed)} of {runs} runs:\n' + '\n'.join(failed[:12])
    report(f'{runs} runs: {history.check(history.doubled).text()}')
