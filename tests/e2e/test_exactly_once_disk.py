"""delivery: exactly-once with the spool: what Kafka, the spool and the state folder know of a file must make one story."""
import glob
import os
import random
import shutil
import time

import oracle
from agent import SLOW, tail_to
from kafka import wait_until
from oracle import Writer
from spooling import AT_ONCE, AWAY, NOWHERE, SOON, all_on_disk, connect, wait_saved
from test_exactly_once import RATE, check, exactly_once


def finish(agent, broker, topic, written, report):
    """Everything comes, and nothing comes again at another start."""
    for _ in range(2):
        oracle.wait_for_lines(broker.client(), topic, sum(written.values()), 60 * SLOW)
        agent.wait_idle()
        agent.stop()
        agent.start()
    agent.wait_for_log('transactions are used')
    agent.wait_idle()
    agent.stop()
    report(check(broker, topic, written).text())


def test_lines_that_are_dropped_in_an_outage_do_not_hold_the_position_back(own_broker, agents, logs, report):
    own_broker.create_topic('dropping')
    stream = tail_to(logs / '*.log', 'dropping', chain=[{'drop': {'when': 'message ~ "^src=dropped "'}}])
    agent = exactly_once(agents, own_broker, {'app': stream}, spool=SOON, drain='100ms')
    oracle.write_file(logs / 'x.log', 'a', 10)
    agent.start().wait_done(10)
    own_broker.kill()
    oracle.write_file(logs / 'x.log', 'a', 10, first=10)
    agent.wait_read(20)
    oracle.write_file(logs / 'x.log', 'dropped', 10)  # a batch of nothing but its position
    agent.wait_read(30)
    agent.wait_for_log(AWAY)
    for n in range(10):
        oracle.write_file(logs / 'x.log', 'a', 10, first=20 + 10 * n)
        agent.wait_read(40 + 10 * n)
    wait_saved(agent)
    agent.stop(left=True)
    agent.start(wait=False)
    own_broker.start()
    finish(agent, own_broker, 'dropping', {'a': 120}, report)


def test_lost_positions_are_put_together_from_kafka_and_the_spool(own_broker, agents, logs, report):
    own_broker.create_topic('joined')
    agent = exactly_once(agents, own_broker, {'app': tail_to(logs / '*.log', 'joined')}, spool=SOON, drain='100ms')
    oracle.write_file(logs / 'a.log', 'a', 1000)
    agent.start().wait_done(1000)
    own_broker.kill()
    oracle.write_file(logs / 'a.log', 'a', 1000, first=1000)
    agent.wait_for_log(AWAY)
    wait_saved(agent)
    agent.stop(left=True)
    for path in glob.glob(os.path.join(agent.state, 'positions*')):
        os.unlink(path)
    own_broker.start()
    agent.start(wait=False)
    finish(agent, own_broker, 'joined', {'a': 2000}, report)


def test_a_copy_that_is_shorter_than_what_was_read_is_not_read_again(broker, agents, topic, logs, report):
    broker.create_topic(topic)
    agent = exactly_once(agents, broker, {'app': tail_to(logs / '*.log*', topic)})
    log = logs / 'a.log'
    oracle.write_file(log, 'a', 100)
    agent.start().wait_done(100)
    shutil.copyfile(log, logs / 'a.log.1')
    oracle.write_file(log, 'a', 10, first=100)
    agent.wait_done(110)
    os.truncate(log, 0)
    agent.wait_for_log('truncated')
    oracle.write_file(log, 'a', 20, first=110)
    agent.wait_done(130)
    finish(agent, broker, topic, {'a': 130}, report)


def test_what_at_least_once_left_in_the_spool_is_sent_first(broker, agents, topic, logs, report):
    broker.create_topic(topic)
    agent = agents(NOWHERE, {'app': tail_to(logs / '*.log', topic)}, spool=AT_ONCE, drain='100ms')
    oracle.write_file(logs / 'a.log', 'a', 20000)
    agent.start()
    all_on_disk(agent, 20000)
    agent.kill9()
    connect(agent, broker)
    agent.setup.tree['kafka']['delivery'] = 'exactly-once'
    oracle.write_file(logs / 'a.log', 'a', 1000, first=20000)
    agent.start()
    oracle.wait_for_lines(broker.client(), topic, 21000, 60 * SLOW)
    agent.wait_idle()
    agent.stop()
    report(check(broker, topic, {'a': 21000}).text())


def is_saved(agent, path):
    """Does the position, which Kafka or the spool has everything before, stand at the file's end?"""
    with open(os.path.join(agent.state, 'positions')) as file:
        offsets = [line.split()[7] for line in file if line.rstrip().endswith(str(path))]
    return offsets == [str(os.path.getsize(path))]


def test_an_outage_goes_to_disk_and_every_line_comes_once(own_broker, agents, logs, report):
    seed = int(os.environ.get('SEED', time.time_ns() % 1000000))
    print(f'seed={seed}')
    chance = random.Random(seed)
    own_broker.create_topic('spooled', partitions=2)
    agent = exactly_once(agents, own_broker, {'app': tail_to(logs / '*.log', 'spooled')}, spool=SOON, drain='100ms')
    agent.start()
    with Writer(logs / 'live.log', 'live', RATE, rotate_every=5000) as writer:
        agent.wait_read(1)
        time.sleep(1)
        own_broker.kill()
        agent.wait_for_log(AWAY)
        oracle.write_file(logs / 'gone.log', 'gone', 30000)
        wait_until(lambda: is_saved(agent, logs / 'gone.log'), 60, 'all of a file in the spool')
        os.unlink(logs / 'gone.log')
        agent.kill9()  # Kafka is away now, so the next one reads nothing before it is back
        agent.start(wait=False)
        own_broker.start()
        for _ in range(6):
            agent.wait_for_log('transactions are used', 60)
            time.sleep(chance.uniform(0.0, 0.3))
            agent.kill9()
            agent.start(wait=False)
        written = {'live': writer.stop(), 'gone': 30000}
    oracle.wait_for_lines(own_broker.client(), 'spooled', sum(written.values()), 90 * SLOW)
    agent.wait_idle()
    agent.stop()
    report(f'{check(own_broker, "spooled", written).text()} seed={seed}')
