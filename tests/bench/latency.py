#!/usr/bin/env python3
"""Measures how fast lines get through, and what it costs while they trickle, storm, or compete. One real broker.

Run through tests/bench/run.sh (or `make bench`), after bench.py. Three cases:
    latency     100 lines a second, from write(2) to a consumer on the same machine, linger.ms 5;
                beside a bare producer with the same properties and the same consumer
    storm       100,000 write(2) of a line each a second into one file: CPU and wake-ups of the agent's threads
    fairness    50 files of 10 lines a second beside one that is written as fast as its writer can

    LATENCY_SECONDS=20  STORM_SECONDS=5  FAIRNESS_SECONDS=10
    BENCH_STRICT=1   exits 1 when an aim is missed
"""
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, 'tests', 'e2e'))

from kafka import KafkaBroker, wait_until  # noqa: E402
from stopwatch import Stopwatch, quantile, text_of  # noqa: E402

BUILD = os.path.join(ROOT, os.environ.get('BUILD', 'build'))
PACED = os.path.join(BUILD, 'bench', 'paced')
SECONDS = {name: int(os.environ.get(name.upper() + '_SECONDS', default))
           for name, default in (('latency', '20'), ('storm', '5'), ('fairness', '10'))}
PROPERTIES = {'linger.ms': '5', 'acks': 'all', 'enable.idempotence': 'true', 'compression.codec': 'lz4'}
RATE = 100
STORM_RATE = 100000
SLOW_FILES, SLOW_RATE = 50, 10
AIM_LATENCY = 0.020   # s, p99
AIM_WAKEUPS = 2000    # a second, of one thread
AIM_FAIRNESS = 0.100  # s, p99
TICKS = os.sysconf('SC_CLK_TCK')


class Agent:
    """splashdam on one stream of all *.log of a folder, for as long as the `with` lasts."""

    def __init__(self, folder, bootstrap, topic, chain=()):
        self.logs = os.path.join(folder, topic)
        os.mkdir(self.logs)
        self.file = os.path.join(folder, topic + '.yaml')
        self.errors = os.path.join(folder, topic + '.err')
        topic = topic + '-%{src}' if chain else topic
        stream = {'tail': {'paths': [self.logs + '/*.log'], 'start': 'beginning'},
                  'ship': {'topic': topic, 'encode': 'raw'}}
        if chain:
            stream['chain'] = list(chain)
        state = os.path.join(folder, 'state-' + os.path.basename(self.logs))
        os.mkdir(state)
        with open(self.file, 'w') as file:
            json.dump({'agent': {'id': 'bench', 'state': state},
                       'kafka': {'brokers': [bootstrap], 'properties': PROPERTIES}, 'streams': {'app': stream}}, file)

    def __enter__(self):
        with open(self.errors, 'w') as errors:
            self.process = subprocess.Popen([os.path.join(BUILD, 'splashdam'), 'run', '-c', self.file], stderr=errors)
        wait_until(lambda: 'info main: running' in self.log(), 20, 'the agent to run')
        return self

    def __exit__(self, *exception):
        self.process.send_signal(signal.SIGKILL)  # of the fast file more may be left than anyone waits for
        self.process.wait()

    def log(self):
        with open(self.errors, errors='replace') as file:
            return file.read()

    def threads(self):
        """name -> (CPU seconds, voluntary context switches) of each thread so far."""
        found = {}
        for task in os.listdir('/proc/%d/task' % self.process.pid):
            folder = '/proc/%d/task/%s/' % (self.process.pid, task)
            with open(folder + 'stat') as file:
                name, rest = re.match(r'\d+ \((.*)\) (.*)', file.read()).groups()
            with open(folder + 'status') as file:
                switches = int(re.search(r'^voluntary_ctxt_switches:\s+(\d+)', file.read(), re.M)[1])
            cpu, before = found.get(name, (0, 0))
            fields = rest.split()
            found[name] = (cpu + (int(fields[11]) + int(fields[12])) / TICKS, before + switches)
        return found


def paced(*arguments):
    return int(subprocess.run([PACED, *map(str, arguments)], check=True, stdout=subprocess.PIPE).stdout)


def verdict(what, value, aim, form):
    print('%-4s %s: %s, aim ≤ %s' % ('met' if value <= aim else 'MISS', what, form(value), form(aim)))
    return value <= aim


def milliseconds(value):
    return '%.1f ms' % (value * 1000)


def latency(broker, folder):
    print('\nFrom write(2) to the consumer, %d lines a second, linger.ms %s:' % (RATE, PROPERTIES['linger.ms']))
    bare, own = broker.create_topic('latency-bare'), broker.create_topic('latency')
    seconds = SECONDS['latency']
    properties = ['%s=%s' % pair for pair in PROPERTIES.items()]
    with Agent(folder, broker.bootstrap, own) as agent:
        # One warms the other's broker; both have their connections before they are measured.
        paced('kafka', broker.bootstrap, bare, RATE, 2, *properties)
        with Stopwatch(broker.client(), own) as warm:
            warm.wait(paced('file', agent.logs, 'app', 1, RATE, 2))
        with Stopwatch(broker.client(), bare) as watch:
            watch.wait(paced('kafka', broker.bootstrap, bare, RATE, seconds, *properties))
        print('  bare producer  %s' % text_of(watch.delays[RATE:]))  # not its connecting
        with Stopwatch(broker.client(), own) as watch:
            watch.wait(paced('file', agent.logs, 'app', 1, RATE, seconds))
        print('  splashdam      %s' % text_of(watch.delays[RATE:]))
    return verdict('latency, p99', quantile(watch.delays[RATE:], 0.99), AIM_LATENCY, milliseconds)


def storm(broker, folder):
    topic = broker.create_topic('storm')
    with Agent(folder, broker.bootstrap, topic) as agent:
        paced('file', agent.logs, 'app', 1, RATE, 1)
        before, start = agent.threads(), time.monotonic()
        written = paced('file', agent.logs, 'app', 1, STORM_RATE, SECONDS['storm'])
        seconds = time.monotonic() - start
        after = agent.threads()
    print('\nOne file, %.0f write(2) of a line each a second:' % (written / seconds))
    most = 0
    for name, (cpu, switches) in sorted(after.items()):
        cpu_before, switches_before = before.get(name, (0, 0))
        wakeups = (switches - switches_before) / seconds
        if wakeups >= 1:
            print('  %-16s %5.1f %% CPU  %6.0f wake-ups a second' % (name, (cpu - cpu_before) / seconds * 100, wakeups))
        if name.startswith('worker'):
            most = max(most, wakeups)
    cpu = sum(c for c, _ in after.values()) - sum(c for c, _ in before.values())
    print('  together         %5.1f %% CPU, %.2f CPU s / million lines' % (cpu / seconds * 100, cpu / written * 1e6))
    return verdict('storm, wake-ups of a worker a second', most, AIM_WAKEUPS, lambda value: '%.0f' % value)


def fairness(broker, folder):
    seconds = SECONDS['fairness']
    slow = broker.create_topic('fair-slow')
    broker.create_topic('fair-fast', 4)
    chain = [{'parse_regex': {'pattern': r'src=(?<src>\w+)'}}]
    with Agent(folder, broker.bootstrap, 'fair', chain) as agent:
        paced('file', agent.logs, 'slow', SLOW_FILES, SLOW_FILES * SLOW_RATE, 1)
        alone_watch = Stopwatch(broker.client(), slow)
        with alone_watch as watch:
            watch.wait(paced('file', agent.logs, 'slow', SLOW_FILES, SLOW_FILES * SLOW_RATE, seconds))
        alone = watch.delays
        fast = subprocess.Popen([PACED, 'file', agent.logs, 'fast', '1', '0', str(seconds + 1)],
                                stdout=subprocess.PIPE, text=True)
        with Stopwatch(broker.client(), slow) as watch:
            time.sleep(1)
            watch.wait(paced('file', agent.logs, 'slow', SLOW_FILES, SLOW_FILES * SLOW_RATE, seconds - 1), 60)
        written = int(fast.communicate()[0])
    print('\n%d files of %d lines a second, from write(2) to the consumer:' % (SLOW_FILES, SLOW_RATE))
    print('  alone                               %s' % text_of(alone))
    print('  beside one of %6.0f lines a second  %s' % (written / (seconds + 1), text_of(watch.delays)))
    return verdict('fairness, p99', quantile(watch.delays, 0.99), AIM_FAIRNESS, milliseconds)


def main():
    cases = [case for case in (latency, storm, fairness) if SECONDS[case.__name__] > 0]
    with tempfile.TemporaryDirectory(prefix='splashdam-bench.') as folder:
        broker = KafkaBroker(os.path.join(folder, 'kafka'), client={'log_level': 3}, java_options=[
            '-XX:TieredStopAtLevel=4', '-XX:-UseSerialGC', '-XX:+UseG1GC'])
        broker.start()
        try:
            met = [case(broker, folder) for case in cases]
        finally:
            broker.stop()
    return 1 if os.environ.get('BENCH_STRICT') == '1' and not all(met) else 0


if __name__ == '__main__':
    sys.exit(main())
