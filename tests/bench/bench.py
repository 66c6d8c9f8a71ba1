#!/usr/bin/env python3
"""Measures splashdam beside the limit, a bare librdkafka loop with the same properties, against one real broker.

Run through tests/bench/run.sh (or `make bench`). Two cases, over the same nginx access log:
    raw         lines as they are
    regex+json  the combined format parsed by a regular expression with typed fields, 404s dropped, JSON
    …+once      the same with `delivery: exactly-once`
and the first two with `proof: true`, a header with each message (which the loops have not)

The measure is CPU seconds (user and system) a million lines: clients and broker share the machine, so wall time tells
more of the broker. Runs are interleaved, and each figure is the median with its spread. An agent's CPU seconds count all
of it: starting, compiling regexes, draining, saving positions.

    BENCH_LINES=2000000  BENCH_REPEAT=3  BENCH_PARTITIONS=4
    BENCH_PROPERTIES='compression.codec=zstd linger.ms=5'   for the loop and the agent alike
    BENCH_PERF=1     profiles one more run of each case and prints where the time goes
    BENCH_STRICT=1   exits 1 when an aim is missed
"""
import dataclasses
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, 'tests', 'e2e'))
sys.path.insert(0, HERE)

import profile_report  # noqa: E402
from confluent_kafka import Consumer, TopicPartition  # noqa: E402
from kafka import KafkaBroker  # noqa: E402  tests/e2e/kafka.py

BUILD = os.path.join(ROOT, os.environ.get('BUILD', 'build'))
LINES = int(os.environ.get('BENCH_LINES', '2000000'))
REPEAT = int(os.environ.get('BENCH_REPEAT', '3'))
PARTITIONS = int(os.environ.get('BENCH_PARTITIONS', '4'))
PATIENCE = 60 + LINES / 20000  # seconds a run may take

# The agent's defaults, told to both so that neither has an advantage.
PROPERTIES = {
    'acks': 'all',
    'enable.idempotence': 'true',
    'message.timeout.ms': '0',
    'compression.codec': 'lz4',
    'linger.ms': '20',
    'batch.num.messages': '10000',
    'queue.buffering.max.messages': '1000000',
    'queue.buffering.max.kbytes': '1048576',
}
PROPERTIES.update(pair.split('=', 1) for pair in os.environ.get('BENCH_PROPERTIES', '').split())

COMBINED = (r'^(?<client>\S+) \S+ (?<user>\S+) \[(?<time>[^\]]+)\] "(?<method>\S+) (?<url>\S+) (?<protocol>[^"]+)" '
            r'(?<status>\d{3}) (?<size>\d+|-) "(?<referer>[^"]*)" "(?<agent>[^"]*)"$')
PARSING = """
    chain:
      - parse_regex: {pattern: '%s', types: {status: number, size: number}}
      - drop: {when: 'status == 404'}""" % COMBINED
# Of each case: the chain, and how it is shipped.
CHAINS = {
    'raw': ('', 'encode: raw'),
    'regex+json': (PARSING, 'encode: json'),
    'raw, proof': ('', 'encode: raw, proof: true'),
    'json, proof': (PARSING, 'encode: json, proof: true'),
    'raw+once': ('', 'encode: raw'),
    'json+once': (PARSING, 'encode: json'),
}
ONCE = {'raw+once': 'raw', 'json+once': 'regex+json'}  # exactly-once, and what it is compared with
MARKERS = 10000  # of transactions, that a topic may have; each is an offset in a partition
# The agent's memory bounds what is in flight, and a loop without a bound loses time to its own memory; so the limit is
# the better of two loops: one with the very properties, one whose queue is as short as what the agent has in flight.
LOOPS = {'bare loop': {}, 'bare, short': {'queue.buffering.max.messages': '100000'}}
AIMS = {'raw': 1.15, 'regex+json': 2.0}
AIM_MEMORY = 64  # MiB
AIM_ONCE = 0.75  # of the throughput of at-least-once


@dataclasses.dataclass
class Run:
    seconds: float
    cpu: float
    peak: float  # MiB, VmHWM
    anonymous: float  # MiB of the peak that are no file's pages, as sampled


class Memory:
    """What /proc says of a process, looked at while it runs."""

    def __init__(self, pid):
        self.path = '/proc/%d/status' % pid
        self.peak = self.anonymous = 0.0

    def look(self):
        try:
            with open(self.path) as file:
                status = dict(line.split(':', 1) for line in file if line.startswith(('VmHWM', 'RssAnon')))
        except OSError:
            return
        self.peak = max(self.peak, self.mib(status, 'VmHWM'))
        self.anonymous = max(self.anonymous, self.mib(status, 'RssAnon'))

    @staticmethod
    def mib(status, name):
        return int(status.get(name, '0').split()[0]) / 1024


class Bench:
    def __init__(self, folder, broker):
        self.folder = folder
        self.broker = broker
        self.bootstrap = broker.bootstrap
        self.log = os.path.join(folder, 'access.log')
        self.runs = 0

    def make_log(self, path, lines):
        out = subprocess.run([os.path.join(BUILD, 'bench', 'nginx_log'), path, str(lines)], check=True,
                             stdout=subprocess.PIPE, text=True).stdout
        return out.strip()

    def topic(self):
        self.runs += 1
        return self.broker.create_topic('bench-%d' % self.runs, PARTITIONS)

    def close_topic(self, topic, delivered, markers=0):
        """The broker's own count must be what the client says that it delivered, and at most so many markers of transactions."""
        consumer = Consumer(self.broker.client(**{'group.id': 'bench'}))
        partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        held = sum(high - low for low, high in map(consumer.get_watermark_offsets, partitions))
        consumer.close()
        if not delivered <= held <= delivered + markers:
            sys.exit('bench: the broker holds %d records, %d were said to be delivered' % (held, delivered))
        admin = self.broker.admin()  # must live until the result is there
        admin.delete_topics([topic])[topic].result()

    def bare(self, log, changes=()):
        topic = self.topic()
        properties = ['%s=%s' % pair for pair in {**PROPERTIES, **dict(changes)}.items()]
        process = subprocess.Popen([os.path.join(BUILD, 'bench', 'bare_loop'), log, self.bootstrap, topic, *properties],
                                   stdout=subprocess.PIPE, text=True)
        memory = Memory(process.pid)
        deadline = time.monotonic() + PATIENCE
        while process.poll() is None:
            memory.look()
            if time.monotonic() > deadline:
                process.kill()
                sys.exit('bench: the bare loop is not done after %d s' % PATIENCE)
            time.sleep(0.02)
        values = dict(pair.split('=') for pair in process.stdout.read().split())
        if process.returncode != 0:
            sys.exit('bench: the bare loop failed: %s' % values)
        self.close_topic(topic, int(values['lines']))
        return Run(float(values['seconds']), float(values['cpu_seconds']), memory.peak, memory.anonymous)

    def write_config(self, case, log, topic):
        state = os.path.join(self.folder, 'state')
        shutil.rmtree(state, ignore_errors=True)
        os.mkdir(state)
        chain, ship = CHAINS[case]
        path = os.path.join(self.folder, 'bench.yaml')
        delivery = 'exactly-once' if case in ONCE else 'at-least-once'
        properties = {name: value for name, value in PROPERTIES.items() if case not in ONCE or name != 'message.timeout.ms'}
        with open(path, 'w') as file:  # an agent of another name: Kafka knows no positions of it
            file.write("""agent: {id: bench-%d, state: '%s'}
kafka:
  brokers: ['%s']
  delivery: %s
  properties: {%s}
streams:
  app:
    tail: {paths: ['%s'], start: beginning}%s
    ship: {topic: %s, %s}
""" % (self.runs, state, self.bootstrap, delivery, ', '.join("%s: '%s'" % pair for pair in properties.items()), log, chain,
       topic, ship))
        return path

    def agent(self, case, log, lines, wrapper=()):
        topic = self.topic()
        config = self.write_config(case, log, topic)
        errors = os.path.join(self.folder, 'agent.log')
        start = time.monotonic()
        with open(errors, 'w') as stderr:
            process = subprocess.Popen([*wrapper, os.path.join(BUILD, 'splashdam'), 'run', '-c', config], stderr=stderr)
        pid = child_of(process.pid) if wrapper else process.pid
        memory = Memory(pid)
        account = self.wait_for_delivery(pid, errors, lines, memory)
        seconds = time.monotonic() - start
        os.kill(pid, signal.SIGTERM)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if not wrapper and process.returncode != 0:
            sys.exit('bench: splashdam ended with %d:\n%s' % (process.returncode, tail_of(errors)))
        if account['delivered'] + account['dropped'] != lines or account.get('parse_failed', 0) != 0:
            sys.exit('bench: what was measured is not the job: %s' % account)
        self.close_topic(topic, account['delivered'], markers=MARKERS if case in ONCE else 0)
        return Run(seconds, usage.ru_utime + usage.ru_stime, memory.peak, memory.anonymous)

    @staticmethod
    def wait_for_delivery(pid, errors, lines, memory):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            time.sleep(0.1)
            memory.look()
            if not os.path.getsize(errors):
                continue  # it has not said a word yet: its signal handlers may not stand
            account = last_account(errors)
            if account and account['read'] == lines and account['in_flight'] == 0:
                return account
            try:
                os.kill(pid, signal.SIGUSR1)
            except ProcessLookupError:
                break
        os.path.exists('/proc/%d' % pid) and os.kill(pid, signal.SIGKILL)
        sys.exit('bench: splashdam did not deliver %d lines:\n%s' % (lines, tail_of(errors)))


def child_of(pid):
    """The process that a wrapper such as perf started."""
    for _ in range(200):
        with open('/proc/%d/task/%d/children' % (pid, pid)) as file:
            children = file.read().split()
        if children and os.path.basename(os.readlink('/proc/%s/exe' % children[0])) == 'splashdam':
            return int(children[0])
        time.sleep(0.02)
    sys.exit('bench: the wrapper did not start splashdam')


def last_account(path):
    with open(path, errors='replace') as file:
        found = re.findall(r' account: stream=app (.*)', file.read())
    return {name: int(value) for name, value in re.findall(r'(\w+)=(\d+)', found[-1])} if found else None


def tail_of(path):
    with open(path, errors='replace') as file:
        return ''.join(file.readlines()[-15:])


def spread(values, form):
    return '%s (%s–%s)' % tuple(form % value for value in (statistics.median(values), min(values), max(values)))


def report(runs, lines):
    """Prints the table; True when every aim is met."""
    millions = lines / 1e6
    limit = min(statistics.median(run.cpu for run in runs[loop]) for loop in LOOPS)
    least = min(run.cpu for loop in LOOPS for run in runs[loop])
    print('\n%-12s %10s  %-22s %8s %8s %8s %9s %10s' % ('', 'lines/s', 'CPU s / million lines', '× limit', '(least)', 'aim',
                                                       'peak MiB', 'anonymous'))
    met = True
    for case, list_of_runs in runs.items():
        ratio = statistics.median(run.cpu for run in list_of_runs) / limit
        peak = max(run.peak for run in list_of_runs)
        least_ratio = min(run.cpu for run in list_of_runs) / least
        print('%-12s %10.0f  %-22s %8.2f %8.2f %8s %9.1f %10.1f' % (
            case, lines / statistics.median(run.seconds for run in list_of_runs),
            spread([run.cpu / millions for run in list_of_runs], '%.3f'), ratio, least_ratio,
            '≤ %.2f' % AIMS[case] if case in AIMS else '', peak, max(run.anonymous for run in list_of_runs)))
    for case, plain in ONCE.items():
        share = statistics.median(run.seconds for run in runs[plain]) / statistics.median(run.seconds for run in runs[case])
        print('\n%s: %.0f %% of the throughput of %s, aim ≥ %.0f %%' % (case, 100 * share, plain, 100 * AIM_ONCE))
        met = met and share >= AIM_ONCE
    print('\nThe limit is the better loop ("short": a queue of 100,000 messages). × limit compares medians, (least) the best runs,')
    print('which other work on the machine disturbs less. The loops map the log, so their peak has the log in it.')
    for case, aim in AIMS.items():
        ratio = statistics.median(run.cpu for run in runs[case]) / limit
        peak = max(run.peak for run in runs[case])
        for what, value, most, unit in (('CPU', ratio, aim, '× the limit'), ('peak memory', peak, AIM_MEMORY, 'MiB')):
            met = met and value <= most
            print('%-4s %s, %s: %.2f %s, aim ≤ %g' % ('met' if value <= most else 'MISS', case, what, value, unit, most))
    return met


def profile(bench, folder):
    """perf of one run a case: self time by object, then the symbols that take most."""
    for case in CHAINS:
        data = os.path.join(folder, 'perf.data')
        wrapper = ['perf', 'record', '-q', '-g', '-e', 'cpu-clock', '-F', '997', '-o', data, '--']
        bench.agent(case, bench.log, LINES, wrapper)
        print('\nWhere the time of %s goes (self time):' % case)
        profile_report.print_report(data, top=25)


def scratch_folder():
    """In memory where there is room: a disk would be measured otherwise."""
    parent = os.path.join(BUILD, 'bench')
    if os.access('/dev/shm', os.W_OK) and shutil.disk_usage('/dev/shm').free > LINES * 400 + (64 << 20):
        parent = '/dev/shm'
    return tempfile.TemporaryDirectory(prefix='splashdam-bench.', dir=parent)


def main():
    with scratch_folder() as folder, tempfile.TemporaryDirectory(prefix='splashdam-bench.') as broker_folder:
        # The scenarios' broker starts fast; this one shall run fast.
        broker = KafkaBroker(broker_folder, client={'log_level': 3}, java_options=[
            '-XX:TieredStopAtLevel=4', '-XX:-UseSerialGC', '-XX:+UseG1GC'])
        broker.start()
        try:
            bench = Bench(folder, broker)
            print('log: %s' % bench.make_log(bench.log, LINES))
            print('properties: %s; %d partitions' % (' '.join('%s=%s' % p for p in PROPERTIES.items()), PARTITIONS))
            small = os.path.join(folder, 'small.log')
            bench.make_log(small, 300000)
            bench.bare(small)  # the broker's own warming up
            runs = {name: [] for name in (*LOOPS, *CHAINS)}
            for i in range(REPEAT):
                print('run %d of %d' % (i + 1, REPEAT), flush=True)
                for loop, changes in LOOPS.items():
                    runs[loop].append(bench.bare(bench.log, changes))
                for case in CHAINS:
                    runs[case].append(bench.agent(case, bench.log, LINES))
            met = report(runs, LINES)
            one = os.path.join(folder, 'one.log')
            bench.make_log(one, 1)
            print('Of the agent\'s CPU, starting and ending are %.3f s (a log of one line, regex+json).' %
                  bench.agent('regex+json', one, 1).cpu)
            if os.environ.get('BENCH_PERF') == '1':
                profile(bench, folder)
        finally:
            broker.stop()
    return 1 if os.environ.get('BENCH_STRICT') == '1' and not met else 0


if __name__ == '__main__':
    sys.exit(main())
