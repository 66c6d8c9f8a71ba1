"""The header `sd`, read by docs/examples/check_chains.py: nothing but Kafka is asked."""
import os
import subprocess
import sys

from confluent_kafka import Producer

import oracle
from agent import tail_to
from kafka import ROOT, wait_until
from oracle import Writer, compare

EXAMPLES = os.path.join(ROOT, 'docs', 'examples')
sys.path.insert(0, EXAMPLES)

import check_chains  # noqa: E402
from check_chains import Double, Hole  # noqa: E402

DROPS = [{'drop': {'when': 'message ~ "seq=[0-9]*[37] "'}}]


def proven(paths, topic, **more):
    stream = tail_to(paths, topic, **more)
    stream['ship']['proof'] = True
    return stream


def report_of(broker, topic):
    return check_chains.check(check_chains.read(broker.client(), topic))


def dropped(count):
    return sum(seq % 10 in (3, 7) for seq in range(count))


def test_drops_rotations_and_kills_leave_no_hole(broker, agents, topic, logs, report):
    broker.create_topic(topic, partitions=3)
    agent = agents(broker, {'app': proven(logs / '*.log', topic, chain=DROPS)}, workers=2)
    with Writer(logs / 'a.log', 'a', 5000, rotate_every=1) as a, Writer(logs / 'b.log', 'b', 5000) as b:
        for runs in range(1, 6):
            agent.start()
            wait_until(lambda: min(a.count, b.count) >= runs * 3000, 60, 'more lines')  # while positions are saved
            agent.kill9()
        written = {'a': a.stop(), 'b': b.stop()}
    agent.start().wait_idle()
    agent.stop()
    read = oracle.read_topic(broker.client(), topic)
    lost = len(compare(written, read).lost)
    assert lost == sum(map(dropped, written.values())), 'what was dropped is not all that is missing'
    found = report_of(broker, topic)
    report(f'{list(found.lines())[-1]} rotations={a.rotations} kills={runs}')
    assert found.holes() == [] and found.unproven == 0 and found.messages == len(read)
    assert a.rotations > 0 and len(found.chains) - a.rotations in (1, 2)  # the last file of a may be empty
    assert all(chain.begin == 0 and chain.agent == check_chains.agent_hash('tested') for chain in found.chains.values())
    assert sum(chain.dropped for chain in found.chains.values()) <= lost  # those at the chains' ends are not told


def copy_without(broker, topic, copy, left_out):
    """The topic's messages into another one, but for those numbered in left_out; returns all header values."""
    broker.create_topic(copy)
    producer = Producer(broker.client())
    values = []
    for number, message in enumerate(check_chains.messages(broker.client(), topic)):
        values.append(check_chains.decode(check_chains.proof_of(message)))
        for _ in range(left_out.get(number, 1)):
            producer.produce(copy, message.value(), headers=message.headers())
    assert producer.flush(60) == 0
    return values


def test_a_message_that_is_missing_or_doubled_is_found_exactly(broker, agents, topic, logs):
    oracle.write_file(logs / 'a.log', 'a', 1000)
    agent = agents(broker, {'app': proven(logs / 'a.log', topic, chain=DROPS)}).start()
    agent.wait_done(1000)
    agent.stop()
    assert list(report_of(broker, topic).lines())[-1].endswith('holes=0 doubles=0')
    copy = topic + '.copy'
    proofs = copy_without(broker, topic, copy, {100: 0, 101: 0, 500: 2, 600: 0})
    report = report_of(broker, copy)
    chain, = report.chains.values()
    assert chain.holes() == [Hole(proofs[100].start, proofs[101].end), Hole(proofs[600].start, proofs[600].end)]
    assert chain.doubles() == [Double(proofs[500].begin, proofs[500].end)]
    # The program says the same, and by its status.
    ran = subprocess.run([sys.executable, os.path.join(EXAMPLES, 'check_chains.py'), '--brokers', broker.bootstrap,
                          '--topic', copy, '--agent', 'tested'], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 1, ran.stderr
    assert f'hole agent={chain.agent:08x} generation={chain.generation:016x} bytes={proofs[600].start}-{proofs[600].end}\n' \
        in ran.stdout
    assert ran.stdout.count('hole ') == 2 and ran.stdout.count('double ') == 1


def test_a_chain_without_its_beginning_is_a_hole_unless_retention_took_it(broker, agents, topic, logs):
    oracle.write_file(logs / 'a.log', 'a', 100)
    agent = agents(broker, {'app': proven(logs / 'a.log', topic)}).start()
    agent.wait_done(100)
    agent.stop()
    copy = topic + '.copy'
    proofs = copy_without(broker, topic, copy, {0: 0, 1: 0})
    report = report_of(broker, copy)
    assert [hole for _, hole in report.holes()] == [Hole(0, proofs[1].end)]
    assert report.holes(retained=True) == []


def test_copytruncate_goes_on_in_the_chain_and_begins_another(broker, agents, topic, logs):
    path, copy = logs / 'a.log', logs / 'a.log.1'
    agent = agents(broker, {'app': proven(path, topic)})
    oracle.write_file(path, 'a', 500)
    agent.start().wait_done(500)
    agent.stop()
    oracle.write_file(path, 'a', 500, first=500)
    size = path.stat().st_size
    copy.write_bytes(path.read_bytes())
    os.truncate(path, 0)
    oracle.write_file(path, 'a', 500, first=1000)
    agent.start().wait_done(1000)
    agent.stop()
    compare({'a': 1500}, oracle.read_topic(broker.client(), topic)).check()
    report = report_of(broker, topic)
    assert report.holes() == [] and report.doubles() == []
    assert sorted(chain.end for chain in report.chains.values()) == sorted([size, path.stat().st_size])


CRI = '2016-10-06T00:17:09.669794202Z %s %s %s\n'


def test_records_of_two_streams_of_a_container_that_span_each_other(broker, agents, topic, logs):
    """stdout's parts and stderr's lines stand between each other; each record that is left out is missed."""
    path = logs / 'c.log'
    with open(path, 'w') as file:
        for number in range(100):
            file.write(CRI % ('stdout', 'P', f'{number} begins'))
            file.write(CRI % ('stderr', 'F', f'{number} between'))
            file.write(CRI % ('stdout', 'F', 'and ends'))
    agent = agents(broker, {'app': proven(path, topic, container='cri')}).start()
    agent.wait_done(200)
    agent.stop()
    report = report_of(broker, topic)
    assert report.messages == 200 and report.holes() == [] and report.doubles() == []
    for left_out in (50, 51):
        copy = f'{topic}.copy{left_out}'
        proofs = copy_without(broker, topic, copy, {left_out: 0})
        (_, hole), = report_of(broker, copy).holes()
        assert hole == Hole(proofs[left_out].start, proofs[left_out].end)
