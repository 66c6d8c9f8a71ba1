#!/usr/bin/env python3
"""What many files cost that have nothing to say, and how long a start with many known files takes.

Run through tests/bench/idle.sh (or `make bench`). No broker is needed: the agent's embedded one takes the lines.

    idle      10,000 files with a line each, all delivered: CPU, sleeps of the agent's own threads (librdkafka's are named
              rdk:…) and memory, over IDLE_SECONDS
    memory    resident bytes a file: the difference to an agent with 100 files and as many lines, divided; when the lines were
              just delivered (what the heap keeps of that is in it), and after a restart that has nothing to deliver
    start     50,000 files that were delivered to their ends before: from exec() to the end of the first look, when all are
              as they were; when all were rotated; when all are gone

    IDLE_SECONDS=60  IDLE_FILES=10000  START_FILES=50000  START_REPEAT=3
    BENCH_STRICT=1   exits 1 when an aim is missed
"""
import datetime
import json
import os
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.path.join(ROOT, os.environ.get('BUILD', 'build'), 'splashdam')
SECONDS = int(os.environ.get('IDLE_SECONDS', '60'))
FILES = int(os.environ.get('IDLE_FILES', '10000'))
START_FILES = int(os.environ.get('START_FILES', '50000'))
REPEAT = int(os.environ.get('START_REPEAT', '3'))
FEW = 100
PATIENCE = 120
AIMS = {'start': 2.0, 'bytes': 1024, 'cpu': 0.1}  # seconds; a file; percent of one processor
missed = []


def show(what, value, unit, aim=None):
    word = '' if aim is None else 'met ' if value <= aim else 'MISS'
    print('%-4s %-44s %12.2f %s%s' % (word, what, value, unit, '' if aim is None else ', aim ≤ %g' % aim), flush=True)
    if word == 'MISS':
        missed.append(what)


class Agent:
    def __init__(self, folder):
        self.folder = folder
        self.log = os.path.join(folder, 'agent.log')
        self.file = os.path.join(folder, 'agent.yaml')
        with open(self.file, 'w') as file:
            json.dump({
                'agent': {'state': os.path.join(folder, 'state')},
                'kafka': {'brokers': 'embedded'},
                'streams': {'s': {'tail': {'paths': [os.path.join(folder, 'logs', '*.log')]},
                                  'ship': {'topic': 't', 'encode': 'json'}}}}, file)

    def __enter__(self):
        with open(self.log, 'w') as log:
            self.began = time.time()
            self.process = subprocess.Popen([BINARY, 'run', '-c', self.file], stdout=log, stderr=log)
        return self

    def __exit__(self, *exception):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def wait(self, pattern):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self.process.poll() is None:
            with open(self.log) as file:
                found = re.findall(pattern, file.read(), re.M)
            if found:
                return found[-1]
            time.sleep(0.05)
        sys.exit('bench: no %r in the log of the agent within %d s' % (pattern, PATIENCE))

    def wait_delivered(self, count):
        """Until the newest account says so."""
        self.started()
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            self.process.send_signal(signal.SIGUSR1)
            time.sleep(0.2)
            if int(self.wait(r' account: stream=s .* delivered=(\d+)')) >= count:
                return
        sys.exit('bench: %d lines were not delivered within %d s' % (count, PATIENCE))

    def started(self):
        """Seconds from exec() until everything was looked at: the agent's own clock, so that polling adds nothing."""
        text = self.wait(r'^(\S+)Z info main: running')
        return datetime.datetime.fromisoformat(text + '+00:00').timestamp() - self.began

    def status(self, name, task=None):
        path = '/proc/%d/%s' % (self.process.pid, 'status' if task is None else 'task/%s/status' % task)
        with open(path) as file:
            return re.search(r'^%s:\s*(.*)' % name, file.read(), re.M)[1]

    def resident(self):
        return int(self.status('VmRSS').split()[0]) * 1024

    def ticks(self):
        """Of the agent's own threads, librdkafka's apart; user and system."""
        sums = [0, 0]
        for task in os.listdir('/proc/%d/task' % self.process.pid):
            with open('/proc/%d/task/%s/stat' % (self.process.pid, task)) as file:
                name, _, rest = file.read().partition(') ')
            fields = rest.split()
            sums['(rdk:' in name] += int(fields[11]) + int(fields[12])
        return sums

    def switches(self):
        tasks = os.listdir('/proc/%d/task' % self.process.pid)
        return sum(int(self.status('voluntary_ctxt_switches', task)) for task in tasks
                   if not self.status('Name', task).startswith('rdk:'))


def make_files(folder, count, lines=1):
    """Names as long as those of a container's log."""
    os.makedirs(os.path.join(folder, 'logs'))
    for i in range(count):
        with open(os.path.join(folder, 'logs', 'application-%05d.instance-%032x.log' % (i, i)), 'w') as file:
            file.write('a line of file number %d\n' % i * lines)


def measure_idle(folder, count):
    """Resident bytes when everything is delivered, and after a restart; in between, CPU and sleeps."""
    make_files(folder, count, FILES // count)
    with Agent(folder) as agent:
        agent.wait_delivered(FILES // count * count)
        time.sleep(25)  # positions are saved, and the looks at everything have become rare
        resident = agent.resident()
        if count != FEW:
            measure_rest(agent, count)
    with Agent(folder) as agent:
        agent.started()
        time.sleep(3)
        return resident, agent.resident()


def measure_rest(agent, count):
    ticks, switches = agent.ticks(), agent.switches()
    time.sleep(SECONDS)
    own, theirs = (after - before for after, before in zip(agent.ticks(), ticks))
    hertz = os.sysconf('SC_CLK_TCK')
    what = '%d idle files, %d s: ' % (count, SECONDS)
    show(what + 'CPU', 100 * own / hertz / SECONDS, '% of a processor', AIMS['cpu'])
    show(what + 'CPU', own, 'ticks (librdkafka: %d)' % theirs)
    show(what + 'sleeps', agent.switches() - switches, 'of the agent\'s own threads')


def measure_memory(folder):
    few = measure_idle(os.path.join(folder, 'few'), FEW)
    many = measure_idle(os.path.join(folder, 'many'), FILES)
    for i, when in enumerate(('delivered', 'restarted')):
        show('memory, %d files, %s' % (FILES, when), many[i] / 2**20, 'MiB')
        show('memory, a file, %s' % when, (many[i] - few[i]) / (FILES - FEW), 'bytes', AIMS['bytes'] if i == 1 else None)


def nothing(logs):
    pass


def rotate(logs):
    for name in os.listdir(logs):
        path = os.path.join(logs, name)
        os.rename(path, path + '.1')
        with open(path, 'w') as file:
            file.write('the first line of the next generation\n')


def remove(logs):
    shutil.rmtree(logs)
    os.mkdir(logs)


def measure_start(folder):
    make_files(folder, START_FILES)
    logs, state = os.path.join(folder, 'logs'), os.path.join(folder, 'state')
    with Agent(folder) as agent:
        agent.wait_delivered(START_FILES)
    shutil.copytree(state, state + '.saved')
    for what, change in (('known', nothing), ('rotated', rotate), ('gone', remove)):
        change(logs)
        times = []
        for _ in range(REPEAT):
            shutil.rmtree(state)
            shutil.copytree(state + '.saved', state)
            with Agent(folder) as agent:
                times.append(agent.started())
        show('start, %d files, %s' % (START_FILES, what), statistics.median(times), 's', AIMS['start'])


def main():
    hard = max(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 2 * START_FILES + 1000)
    try:  # so that none is closed for another one
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, PermissionError):
        print('bench: the limit of open files cannot be raised to %d: the agent closes files in between' % hard)
    parent = '/dev/shm' if os.access('/dev/shm', os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix='splashdam-bench.', dir=parent) as folder:
        measure_memory(folder)
        measure_start(os.path.join(folder, 'start'))
    return 1 if os.environ.get('BENCH_STRICT') == '1' and missed else 0


if __name__ == '__main__':
    sys.exit(main())
