"""At the edges of what the system gives, and at odd moments."""
import os
import subprocess

import oracle
from agent import BINARY, tail_to
from kafka import wait_until
from oracle import compare


def start_through_shell(agent, script):
    """Starts the agent as the last command of a shell script, "$@"."""
    agent.setup.write(agent.file)
    with open(agent.log, 'ab') as log:
        agent.process = subprocess.Popen(['sh', '-c', script, 'sh', BINARY, 'run', '-c', agent.file],
                                         stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    return agent


def test_stops_while_the_first_files_are_read_double_nothing(broker, agents, topic, logs, report):
    files = 3000
    for i in range(files):
        oracle.write_file(logs / f'{i}.log', f'f{i}', 2)
    agent = agents(broker, {'app': tail_to(logs / '*.log', topic)}, workers=2)
    reads = []
    for _ in range(5):
        agent.start(wait=False)
        agent.wait_for_log(r' info tail: (found|going on)')
        reads.append(agent.stop()['app']['read'])
    agent.start().wait_done(2 * files - sum(reads))
    agent.stop()
    result = compare({f'f{i}': 2 for i in range(files)}, oracle.read_topic(broker.client(), topic)).check()
    report(f'{result.text()} read until each stop: {reads}')


def test_more_files_than_descriptors_wait_and_are_all_delivered(broker, agents, topic, logs):
    for i in range(200):
        oracle.write_file(logs / f'{i:03}.log', f'f{i}', 10)
    agent = agents(broker, {'app': tail_to(logs / '*.log', topic)})
    start_through_shell(agent, 'ulimit -n 100; exec "$@"')
    agent.wait_for_log('Too many open files')
    agent.wait_for_log('info main: running')
    agent.wait_done(2000)
    agent.stop()
    assert 'cannot save' not in agent.log_text()
    compare({f'f{i}': 10 for i in range(200)}, oracle.read_topic(broker.client(), topic)).check()


def test_closed_standard_streams_are_not_taken_for_the_agents_own_files(broker, agents, topic, logs):
    oracle.write_file(logs / 'a.log', 'a', 100)
    agent = agents(broker, {'app': tail_to(logs / '*.log', topic)})
    start_through_shell(agent, 'exec "$@" 0<&- 1>&- 2>&-')
    wait_until(lambda: sum(oracle.topic_ends(broker.client(), topic).values()) == 100, 30, '100 messages')
    descriptors = {fd: os.readlink(f'/proc/{agent.process.pid}/fd/{fd}') for fd in range(3)}
    assert set(descriptors.values()) == {'/dev/null'}, descriptors
    status, _ = agent.terminate()
    assert status == 0
    assert os.path.getsize(os.path.join(agent.state, 'lock')) == 0
    compare({'a': 100}, oracle.read_topic(broker.client(), topic)).check()


def test_a_file_written_anew_many_times_is_told_apart_from_one_that_grew(broker, agents, topic, logs):
    """The same inode, emptied and at once longer than before: what is in it when it is read must all come."""
    path = logs / 'a.log'
    agent = agents(broker, {'app': tail_to(path, topic)}).start()
    total = 0
    for round in range(20):
        body = b''.join(b'round %d line %d\n' % (round, i) for i in range(10 * (round + 1)))
        with open(path, 'r+b' if round else 'wb') as file:
            file.truncate(0)
            file.write(body)
        total += 10 * (round + 1)
        agent.wait_done(total)
    assert agent.stop()['app']['truncations'] == 19
    values = [message.value for message in oracle.read_topic(broker.client(), topic)]
    assert sorted(values) == sorted(b'round %d line %d' % (r, i) for r in range(20) for i in range(10 * (r + 1)))


def test_an_installed_agent_finds_its_plugins_wherever_it_stands(tmp_path):
    root = os.path.dirname(os.path.dirname(BINARY)) if os.path.isabs(BINARY) else os.getcwd()
    build = os.path.dirname(BINARY)
    suffix = os.path.basename(build)[len('build'):].lstrip('-').replace('-', ',')
    made = subprocess.run(['make', 'install', f'DESTDIR={tmp_path}', 'PREFIX=/opt/x', f'SAN={suffix}', f'B={build}'],
                          cwd=root, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    listed = subprocess.run([f'{tmp_path}/opt/x/bin/splashdam', 'plugins'], capture_output=True, text=True)
    assert listed.returncode == 0, listed.stderr
    assert 'parse_json' in listed.stdout
    unit = (tmp_path / 'opt/x/lib/systemd/system/splashdam.service').read_text()
    assert 'ExecStart=/opt/x/bin/splashdam run' in unit
