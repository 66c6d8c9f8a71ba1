#!/usr/bin/env python3
"""Measures an outage that goes to disk: how fast lines are spooled, how fast they are drained when Kafka is back, and in how much memory.

Run through tests/bench/run.sh (or `make bench`), after bench.py, whose log and bare loop it uses:
    spool     the agent reads the log while the broker is away, beside a plain sequential write of the same bytes, fsync included
    drain     the broker comes back, beside the bare loop that sends the log
The state folder is on a disk, as it would be.

    BENCH_LINES=2000000
    BENCH_STRICT=1   exits 1 when an aim is missed
"""
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

import bench
from bench import BUILD, LINES, Memory, last_account, tail_of
from kafka import KafkaBroker, wait_until

AIM_MEMORY = 96  # MiB
BLOCK = 1 << 20
TICKS = os.sysconf('SC_CLK_TCK')


def plain_write(source, folder):
    """Bytes a second."""
    start = time.monotonic()
    with open(source, 'rb') as log, open(os.path.join(folder, 'plain'), 'wb') as copy:
        while block := log.read(BLOCK):
            copy.write(block)
        copy.flush()
        os.fsync(copy.fileno())
    seconds = time.monotonic() - start
    os.unlink(os.path.join(folder, 'plain'))
    return os.path.getsize(source) / seconds


def cpu_of(pid):
    with open('/proc/%d/stat' % pid) as file:
        fields = file.read().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Outage:
    """An agent on the bench's log, started while the broker is away."""

    def __init__(self, made, folder):
        self.bench = made
        self.errors = os.path.join(folder, 'agent.log')
        self.topic = made.topic()
        made.broker.kill()
        config = self.write_config(folder)
        with open(self.errors, 'w') as stderr:
            self.process = subprocess.Popen([os.path.join(BUILD, 'splashdam'), 'run', '-c', config], stderr=stderr)
        self.pid = self.process.pid
        self.memory = Memory(self.pid)

    def write_config(self, folder):
        path = os.path.join(folder, 'outage.yaml')
        state = os.path.join(folder, 'state')
        os.mkdir(state)
        with open(path, 'w') as file:
            file.write("""agent: {id: bench, state: '%s'}
kafka: {brokers: ['%s'], properties: {linger.ms: 20}}
spool: {after: 1s, max_bytes: 4GiB}
streams:
  app: {tail: {paths: ['%s'], start: beginning}, ship: {topic: %s, encode: raw}}
""" % (state, self.bench.bootstrap, self.bench.log, self.topic))
        return path

    def account(self):
        self.memory.look()
        if self.process.poll() is not None:
            sys.exit('bench: splashdam ended with %d:\n%s' % (self.process.returncode, tail_of(self.errors)))
        if os.path.getsize(self.errors):
            os.kill(self.pid, signal.SIGUSR1)
        return last_account(self.errors) or {'read': 0, 'spooled': 0, 'in_flight': 0, 'delivered': 0}

    def said(self, words):
        with open(self.errors, errors='replace') as file:
            return re.search(words, file.read())

    def until(self, condition, what):
        """Waits; returns seconds and CPU seconds that it took."""
        start, cpu = time.monotonic(), cpu_of(self.pid)
        wait_until(lambda: condition(self.account()), bench.PATIENCE, what, pause=0.1)
        return time.monotonic() - start, cpu_of(self.pid) - cpu


def measure(made, folder):
    size = os.path.getsize(made.log)
    average = size / LINES
    plain = plain_write(made.log, folder)
    bare = made.bare(made.log)
    outage = Outage(made, folder)
    outage.until(lambda a: outage.said('goes to disk'), 'that it goes to disk')
    before = outage.account()['spooled']
    seconds, cpu = outage.until(lambda a: a['spooled'] + a['in_flight'] == LINES, 'that all lines are on disk')
    spooled = outage.account()['spooled'] - before
    print('spool  %8.1f MB/s, %.3f CPU s a million lines; a plain write of the log: %.1f MB/s; %.2f of it' % (
        spooled * average / seconds / 1e6, cpu / spooled * 1e6, plain / 1e6, spooled * average / seconds / plain))
    made.broker.start()
    outage.until(lambda a: a['delivered'] > 0, 'that it is delivered again')
    before = outage.account()['delivered']
    seconds, cpu = outage.until(lambda a: a['delivered'] == LINES, 'that all lines are delivered')
    drained = LINES - before
    rate, limit = drained / seconds, LINES / bare.seconds
    print('drain  %8.0f lines/s, %.3f CPU s a million lines; the bare loop: %.0f lines/s, %.3f; %.2f of its rate' % (
        rate, cpu / drained * 1e6, limit, bare.cpu / LINES * 1e6, rate / limit))
    outage.process.send_signal(signal.SIGTERM)
    outage.process.wait(30)
    made.close_topic(outage.topic, LINES)
    met = outage.memory.peak <= AIM_MEMORY
    print('%-4s outage, peak memory: %.2f MiB, aim ≤ %d' % ('met' if met else 'MISS', outage.memory.peak, AIM_MEMORY))
    return met


def main():
    with tempfile.TemporaryDirectory(prefix='splashdam-bench.', dir=os.path.join(BUILD, 'bench')) as folder, \
            tempfile.TemporaryDirectory(prefix='splashdam-bench.') as broker_folder:
        broker = KafkaBroker(broker_folder, client={'log_level': 3})
        broker.start()
        try:
            made = bench.Bench(folder, broker)
            print('log: %s' % made.make_log(made.log, LINES))
            met = measure(made, folder)
        finally:
            broker.kill()
    return 1 if os.environ.get('BENCH_STRICT') == '1' and not met else 0


if __name__ == '__main__':
    sys.exit(main())
