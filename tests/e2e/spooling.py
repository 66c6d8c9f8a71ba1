"""What the scenarios of the spool have in common."""
import glob
import os
import subprocess
import threading
import time

from agent import BINARY, SLOW
from kafka import wait_until

SOON = {'after': '1s', 'fsync': '100ms'}
AT_ONCE = {'after': '100ms', 'fsync': '50ms'}
# Many small files, of which the size on disk can be told.
SMALL = {**AT_ONCE, 'segment_bytes': '64KiB', 'compression': 'none'}
AWAY = 'the stream goes to disk'
BACK = 'the stream goes direct'
NOWHERE = '127.0.0.1:1'  # nobody listens there


def folder(agent, stream='app'):
    return os.path.join(agent.state, 'spool', stream)


def segments(agent, stream='app'):
    """Paths, oldest first."""
    return sorted(glob.glob(os.path.join(folder(agent, stream), '*.seg')))


def quarantine(agent):
    return sorted(os.listdir(os.path.join(agent.state, 'spool', 'quarantine')))


def size(path):
    """Bytes of all files below it, of which some may go meanwhile."""
    total = 0
    for where, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(where, name)).st_size
            except FileNotFoundError:
                pass
    return total


class Gauge:
    """Watches how much a folder holds at most."""

    def __init__(self, path):
        self.path = path
        self.most = 0
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        while not self.ending.wait(0.02):
            self.most = max(self.most, size(self.path))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exception):
        self.ending.set()
        self.thread.join()


def all_on_disk(agent, count, seconds=60):
    """Until so many records are in the spools and nothing is in flight but what the client has, too."""
    return agent.wait_account(lambda all: sum(a.get('spool_in', 0) + a.get('spool_found', 0) + a['in_flight']
                                              for a in all) >= count, seconds, f'{count} records on disk')


def wait_saved(agent, stream='app', seconds=20):
    """Until nothing more is written to the spool."""
    newest = [None, 0.0]

    def look():
        now = time.monotonic()
        state = [(path, os.path.getsize(path)) for path in segments(agent, stream)]
        if state != newest[0]:
            newest[:] = state, now
        return now - newest[1] >= 0.5
    wait_until(look, seconds * SLOW, 'the spool to rest', pause=0.1)


def dump(agent, *arguments):
    """The payloads of the spool's records, as `splashdam spool dump` tells them."""
    command = [BINARY, 'spool', 'dump', '--state', agent.state, '--raw', *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, timeout=60).stdout.split(b'\n')[:-1]


def connect(agent, broker):
    """From the next start on it ships there."""
    agent.setup.tree['kafka']['brokers'] = [broker if isinstance(broker, str) else broker.bootstrap]
