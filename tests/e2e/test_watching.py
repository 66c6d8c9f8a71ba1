"""What is noticed when inotify has no watches, loses events, or does not see a change at all."""
import os
import re
import shutil
import signal
import subprocess
import tempfile
from contextlib import contextmanager

import pytest

import oracle
from agent import SLOW, Agent, Setup, tail_to
from kafka import wait_until
from oracle import Writer, compare

FOLDERS = 12
MAX_EVENTS = '/proc/sys/fs/inotify/max_queued_events'


def limited(**limits):
    """Runs a command in a user namespace of its own with these limits: nothing else on the machine feels them."""
    writes = ' && '.join(f'echo {value} >/proc/sys/user/{name}' for name, value in limits.items())
    return ['unshare', '-Ur', 'sh', '-c', f'{writes} && exec "$@"', 'sh']


def raise_limit(pid, name, value):
    subprocess.run(['nsenter', '-t', str(pid), '-U', '--preserve-credentials', 'sh', '-c',
                    f'echo {value} >/proc/sys/user/{name}'], check=True)


@contextmanager
def queue_of(events):
    """A length of inotify's queues that is taken when one is made: only for as long as an agent starts."""
    with open(MAX_EVENTS) as file:
        before = file.read()
    try:
        with open(MAX_EVENTS, 'w') as file:
            file.write(str(events))
        yield
    finally:
        with open(MAX_EVENTS, 'w') as file:
            file.write(before)


def inotify_watches(pid):
    found = 0
    for fd in os.listdir(f'/proc/{pid}/fdinfo'):
        with open(f'/proc/{pid}/fdinfo/{fd}') as file:
            found += file.read().count('inotify wd:')
    return found


def check_all(broker, topic, written, report, duplicates=0):
    oracle.wait_for_lines(broker.client(), topic, sum(written.values()))
    report(compare(written, oracle.read_topic(broker.client(), topic)).check(duplicates).text())


@pytest.mark.parametrize('limits, setting, fallbacks', [
    ({'max_inotify_watches': 8}, 'max_user_watches', True),
    ({'max_inotify_instances': 0}, 'max_user_instances', True),
    ({}, 'poll', False),
], ids=['watches', 'instances', 'poll'])
def test_without_watches_files_are_polled_and_nothing_is_lost(limits, setting, fallbacks, broker, agents, topic, logs,
                                                              report):
    folders = [logs / f'{i}' for i in range(FOLDERS)]
    for folder in folders:
        folder.mkdir()
    tail = {'watch': 'poll'} if setting == 'poll' else {}
    agent = agents(broker, {'app': tail_to(logs / '*' / '*.log', topic, rescan='1h', **tail)})
    agent.wrapper = limited(**limits) if limits else []
    agent.start()
    assert inotify_watches(agent.process.pid) == limits.get('max_inotify_watches', 0)
    writers = [Writer(folder / 'app.log', f'{i}', 300, rotate_every=1.3) for i, folder in enumerate(folders)]
    for writer in writers:
        writer.start()
    agent.wait_read(5000)
    written = {writer.src: writer.stop() for writer in writers}
    late = logs / 'late'
    late.mkdir()
    oracle.write_file(late / 'app.log', 'late', 10)
    written['late'] = 10
    accounts = agent.wait_done(sum(written.values()))
    accounts = agent.look()
    assert accounts['app'].get('watch_fallbacks', 0) >= (FOLDERS - 8 if fallbacks else 0)
    assert fallbacks or 'watch_fallbacks' not in accounts['app']
    said = re.findall(r'error watch: .*', agent.log_text())
    assert len(said) == fallbacks, said
    assert not fallbacks or f'fs.inotify.{setting} (now ' in said[0]
    agent.stop()
    check_all(broker, topic, written, report)


def test_watches_that_come_free_are_taken_at_the_next_rescan(broker, agents, topic, logs):
    for i in range(FOLDERS):
        (logs / f'{i}').mkdir()
    agent = agents(broker, {'app': tail_to(logs / '*' / '*.log', topic, rescan='200ms')})
    agent.wrapper = limited(max_inotify_watches=5)
    agent.start()
    assert inotify_watches(agent.process.pid) == 5
    raise_limit(agent.process.pid, 'max_inotify_watches', 1000)
    wait_until(lambda: inotify_watches(agent.process.pid) >= FOLDERS, 20 * SLOW, 'all folders watched')
    agent.wait_for_log('there are inotify watches again')
    oracle.write_file(logs / '11' / 'a.log', 'a', 10)
    agent.wait_done(10)
    agent.stop()


def test_lost_events_are_counted_and_no_line_is_lost(broker, agents, topic, logs, report):
    agent = agents(broker, {'app': tail_to(logs / '*.log', topic, rescan='1h')})
    with queue_of(16):
        agent.start()
    written = {}
    for round in range(3):
        agent.process.send_signal(signal.SIGSTOP)
        for i in range(100):
            oracle.write_file(logs / f'{i}.log', f'{i}', 5, first=written.get(f'{i}', 0))
            written[f'{i}'] = written.get(f'{i}', 0) + 5
        if round > 0:
            os.rename(logs / f'{round}.log', logs / f'{round}.log.1')
        agent.process.send_signal(signal.SIGCONT)
        agent.wait_done(sum(written.values()))
    accounts = agent.stop()
    assert accounts['app']['watch_overflows'] >= 3
    check_all(broker, topic, written, report)


def test_what_inotify_does_not_see_is_polled(broker, agents, topic, logs, tmp_path):
    """On an overlay what is written below, not through it, is such a change: as another machine's on NFS."""
    lower, upper, work = (tmp_path / name for name in ('lower', 'upper', 'work'))
    for folder in (lower, upper, work):
        folder.mkdir()
    subprocess.run(['mount', '-t', 'overlay', 'overlay', '-o', f'lowerdir={lower},upperdir={upper},workdir={work}',
                    str(logs)], check=True)
    try:
        agent = agents(broker, {'app': tail_to(logs / '*.log', topic, rescan='1h', watch='poll', poll='50ms')}).start()
        for i in range(5):
            oracle.write_file(upper / 'a.log', 'a', 10, first=10 * i)
            agent.wait_done(10 * (i + 1))
        agent.stop()
    finally:
        agent.finish()
        subprocess.run(['umount', str(logs)], check=True)
    compare({'a': 50}, oracle.read_topic(broker.client(), topic)).check()


class Pod:
    """A container's log as Kubernetes keeps it: containers/x.log is a link to pods/x/0.log, and that one is the file, or a link to
    docker/x/x.log. rotate() as kubelet does: renamed with the time, made anew. The writer keeps the file open until then."""

    def __init__(self, logs, docker):
        self.folders = [logs / name for name in ('containers', 'pods', 'docker')]
        for folder in self.folders:
            (folder / 'x').mkdir(parents=True)
        self.link = self.folders[0] / 'x.log'
        self.file = self.folders[2 if docker else 1] / 'x' / '0.log'
        if docker:
            os.symlink(self.file, self.folders[1] / 'x' / '0.log')
        os.symlink(self.folders[1] / 'x' / '0.log', self.link)


class KubeletWriter(Writer):
    def rotate(self, file):
        self.rotations += 1
        os.rename(self.path, f'{self.path}.20250131-{self.rotations:06d}')
        self.append(file, 20)
        os.fsync(file.fileno())
        file.close()
        return open(self.path, 'ab', buffering=0)


@pytest.mark.parametrize('docker', [False, True], ids=['cri', 'docker'])
def test_links_into_unwatched_folders_are_followed_through_rotations_and_kills(docker, broker, agents, topic, logs, report):
    """No rescan helps: what is noticed is noticed by events, also the pod that comes late."""
    pod = Pod(logs, docker)
    agent = agents(broker, {'app': tail_to(logs / 'containers' / '*.log', topic, rescan='1h')}).start()
    with KubeletWriter(pod.file, 'x', 2000, rotate_every=0.7) as writer:
        for _ in range(3):
            agent.wait_read(3000)
            agent.kill9()
            before = writer.rotations
            wait_until(lambda: writer.rotations >= before + 2, 20, 'two rotations')
            agent.start()
        before = agent.look()['app']['read']
        agent.wait_read(before + 3000)
        written = {'x': writer.stop()}
    oracle.wait_for_lines(broker.client(), topic, written['x'])
    agent.stop()
    result = compare(written, oracle.read_topic(broker.client(), topic)).check(duplicates=12000)
    report(f'{result.text()} rotations={writer.rotations}')


def test_a_retargeted_link_and_a_late_target_are_noticed_by_events(broker, agents, topic, logs):
    containers, pods = logs / 'containers', logs / 'pods'
    for folder in (containers, pods / '0', pods / '1'):
        folder.mkdir(parents=True)
    agent = agents(broker, {'app': tail_to(containers / '*.log', topic, rescan='1h')}).start()
    os.symlink('../pods/0/0.log', containers / 'x.log')  # dangling
    oracle.write_file(pods / '0' / '0.log', 'a', 100)
    agent.wait_done(100)
    oracle.write_file(pods / '0' / '0.log', 'a', 100, first=100)
    agent.wait_done(200)
    oracle.write_file(pods / '0' / '0.log', 'a', 100, first=200)
    oracle.write_file(pods / '1' / '0.log', 'a', 100, first=300)
    os.symlink('../pods/1/0.log', containers / 'new')
    os.rename(containers / 'new', containers / 'x.log')
    agent.wait_done(400)
    oracle.write_file(pods / '1' / '0.log', 'a', 100, first=400)
    agent.wait_done(500)
    agent.kill9()
    oracle.write_file(pods / '1' / '0.log', 'a', 100, first=500)
    agent.start().wait_done(100)
    agent.stop()
    compare({'a': 600}, oracle.read_topic(broker.client(), topic)).check(duplicates=500)


def test_targets_that_come_right_after_their_links_are_noticed(broker, agents, topic, logs):
    containers, pods = logs / 'containers', logs / 'pods'
    names = [f's{number:03}' for number in range(300)]
    for folder in (containers, *(pods / name for name in names)):
        folder.mkdir(parents=True)
    agent = agents(broker, {'app': tail_to(containers / '*.log', topic, rescan='1h')}).start()
    for name in names:
        os.symlink(f'../pods/{name}/0.log', containers / f'{name}.log')
        oracle.write_file(pods / name / '0.log', name, 5)
    agent.wait_done(5 * len(names))
    agent.stop()
    compare(dict.fromkeys(names, 5), oracle.read_topic(broker.client(), topic)).check()


def test_a_loop_of_links_is_said_once(broker, agents, topic, logs):
    os.symlink('b.log', logs / 'a.log')
    os.symlink('a.log', logs / 'b.log')
    agent = agents(broker, {'app': tail_to(logs / '*.log', topic, rescan='50ms')}).start()
    oracle.write_file(logs / 'c.log', 'c', 10)
    agent.wait_done(10)
    agent.stop()
    assert len(re.findall('Too many levels of symbolic links', agent.log_text())) == 1
    compare({'c': 10}, oracle.read_topic(broker.client(), topic)).check()


NOBODY = 65534


@pytest.fixture
def nobody(broker):
    """nobody(tail) makes an agent that is not root, and the folder of its logs. pytest's own folders are closed to it."""
    folder = tempfile.mkdtemp(prefix='splashdam-nobody-')
    os.chmod(folder, 0o755)
    os.mkdir(os.path.join(folder, 'logs'))
    made = []

    def make(topic, pattern, **tail):
        setup = Setup(broker, {'app': tail_to(os.path.join(folder, 'logs', pattern), topic, **tail)},
                      os.path.join(folder, 'state'))
        made.append(Agent(folder, setup))
        made[0].wrapper = ['setpriv', f'--reuid={NOBODY}', f'--regid={NOBODY}', '--clear-groups']
        os.mkdir(setup.state, 0o700)
        os.chown(setup.state, NOBODY, NOBODY)
        return made[0], os.path.join(folder, 'logs')

    yield make
    for agent in made:
        agent.finish()
    shutil.rmtree(folder)


@pytest.mark.parametrize('watch', ['auto', 'poll'])
@pytest.mark.parametrize('what', ['file', 'folder'])
def test_what_may_be_read_later_is_read_from_its_beginning(what, watch, broker, nobody, topic):
    agent, logs = nobody(topic, '*/*.log', watch=watch, start='end', rescan='1h' if watch == 'auto' else '200ms')
    folder, file = os.path.join(logs, 'x'), os.path.join(logs, 'x', 'a.log')
    closed = file if what == 'file' else folder
    os.mkdir(folder)
    oracle.write_file(file, 'a', 10)
    os.chmod(closed, 0o000)
    agent.start()
    os.mkdir(os.path.join(logs, 'open'))
    oracle.write_file(os.path.join(logs, 'open', 'b.log'), 'b', 10)
    agent.wait_done(10)
    said = re.findall(r'warn .*Permission denied.* path="([^"]*)"', agent.log_text())
    assert said == [closed], agent.log_text()
    oracle.write_file(file, 'a', 10, first=10)
    os.chmod(closed, 0o755)
    agent.wait_done(30)
    oracle.write_file(file, 'a', 10, first=20)
    agent.wait_done(40)
    agent.stop()
    compare({'a': 30, 'b': 10}, oracle.read_topic(broker.client(), topic)).check()
