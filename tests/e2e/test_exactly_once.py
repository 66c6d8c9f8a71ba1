"""delivery: exactly-once: a read_committed consumer sees every line once, in order, whatever happens to agent and broker."""
import os
import random
import re
import shutil
import time

import oracle
from agent import SLOW, tail_to
from kafka import KafkaBroker
from oracle import Writer, compare

RATE = 3000  # lines a second of each writer
POSITIONS = 'splashdam.positions'
FENCED = 78


def exactly_once(agents, broker, streams, **more):
    agent = agents(broker, streams, **more)
    agent.setup.tree['kafka']['delivery'] = 'exactly-once'
    return agent


def check(broker, topic, written):
    """Nothing lost, nothing doubled, in order. read_topic() reads what is committed."""
    return compare(written, oracle.read_topic(broker.client(), topic)).check()


def test_every_line_once(own_broker, agents, logs, report):
    own_broker.create_topic('plain', partitions=3)
    agent = exactly_once(agents, own_broker, {'app': tail_to(logs / '*.log', 'plain')}, workers=2).start()
    with Writer(logs / 'a.log', 'a', RATE) as a, Writer(logs / 'b.log', 'b', RATE) as b:
        agent.wait_read(RATE * 4)
        written = {'a': a.stop(), 'b': b.stop()}
    agent.wait_done(sum(written.values()))
    accounts = agent.stop()
    assert accounts['app']['delivered'] == sum(written.values())
    report(check(own_broker, 'plain', written).text())


def test_kill9_at_random_moments_under_load(own_broker, agents, logs, report):
    seed = int(os.environ.get('SEED', time.time_ns() % 1000000))
    print(f'seed={seed}')  # SEED=… repeats it
    chance = random.Random(seed)
    own_broker.create_topic('killed', partitions=2)
    agent = exactly_once(agents, own_broker, {'app': tail_to(logs / '*.log', 'killed')}, workers=2)
    with Writer(logs / 'a.log', 'a', RATE) as a, Writer(logs / 'b.log', 'b', RATE, rotate_every=2) as b:
        for kill in range(10):
            agent.start(wait=False)
            time.sleep(chance.uniform(0.05, 2.5))
            agent.kill9()
        agent.start()
        written = {'a': a.stop(), 'b': b.stop()}
    oracle.wait_for_lines(own_broker.client(), 'killed', sum(written.values()), 90 * SLOW)
    agent.wait_idle()
    agent.stop()
    report(f'{check(own_broker, "killed", written).text()} seed={seed}')


def test_broker_killed_and_restarted(own_broker, agents, logs, report):
    own_broker.create_topic('outage', partitions=2)
    agent = exactly_once(agents, own_broker, {'app': tail_to(logs / '*.log', 'outage')}).start()
    with Writer(logs / 'a.log', 'a', RATE) as a:
        for _ in range(2):
            agent.wait_read(a.count + 1)
            time.sleep(1)
            own_broker.kill()
            time.sleep(2)
            own_broker.start()
        agent.wait_read(a.count + 1, seconds=60)
        written = {'a': a.stop()}
    agent.wait_done(written['a'], seconds=90)
    agent.stop()
    report(check(own_broker, 'outage', written).text())


def test_broker_silent_for_longer_than_a_transaction_may_take(tmp_path, agents, logs, report):
    """Kafka aborts the open transaction by itself and fences its producer: that is no other agent."""
    changes = {'transaction.abort.timed.out.transaction.cleanup.interval.ms': 500}
    broker = KafkaBroker(tmp_path / 'kafka', properties=changes).start()
    try:
        broker.create_topic('silent')
        agent = exactly_once(agents, broker, {'app': tail_to(logs / '*.log', 'silent')},
                             properties={'transaction.timeout.ms': 3000, 'socket.timeout.ms': 2000}).start()
        with Writer(logs / 'a.log', 'a', RATE) as a:
            for _ in range(2):
                agent.wait_read(a.count + 1, seconds=60)
                broker.freeze()
                time.sleep(6)
                broker.thaw()
            agent.wait_read(a.count + 1, seconds=60)
            written = {'a': a.stop()}
        agent.wait_done(written['a'], seconds=90)
        agent.stop()
        report(check(broker, 'silent', written).text())
    finally:
        broker.kill()


def test_rotation_and_copytruncate(own_broker, agents, logs, report):
    own_broker.create_topic('rotated')
    agent = exactly_once(agents, own_broker, {'app': tail_to(logs / '*.log*', 'rotated')}, workers=2).start()
    with Writer(logs / 'a.log', 'a', RATE, rotate_every=0.5) as a:
        agent.wait_read(RATE * 2)
        agent.kill9()
        agent.start().wait_read(RATE * 2)
        written = {'a': a.stop()}
    count = 5000
    oracle.write_file(logs / 'c.log', 'c', count)
    agent.wait_idle()
    shutil.copyfile(logs / 'c.log', logs / 'c.log.1')
    os.truncate(logs / 'c.log', 0)
    oracle.write_file(logs / 'c.log', 'c', count, first=count)
    written['c'] = 2 * count
    oracle.wait_for_lines(own_broker.client(), 'rotated', sum(written.values()), 60 * SLOW)
    agent.wait_idle()
    agent.kill9()
    shutil.rmtree(agent.state)
    oracle.write_file(logs / 'c.log', 'c', 10, first=2 * count)
    written['c'] += 10
    agent.start().wait_read(10)
    agent.wait_idle()
    agent.stop()
    report(check(own_broker, 'rotated', written).text())


def test_a_wiped_state_folder_goes_on_from_kafka(own_broker, agents, logs, report):
    own_broker.create_topic('wiped')
    agent = exactly_once(agents, own_broker, {'app': tail_to(logs / '*.log', 'wiped')}).start()
    with Writer(logs / 'a.log', 'a', RATE) as a:
        for _ in range(3):
            agent.wait_read(1)
            time.sleep(1)
            agent.kill9()
            shutil.rmtree(agent.state)
            agent.start()
        agent.wait_read(1)
        written = {'a': a.stop()}
    oracle.wait_for_lines(own_broker.client(), 'wiped', written['a'], 60 * SLOW)
    agent.wait_idle()
    agent.stop()
    report(check(own_broker, 'wiped', written).text())


def test_positions_of_files_that_are_gone_leave_the_topic(own_broker, agents, logs):
    agent = exactly_once(agents, own_broker, {'app': tail_to(logs / '*.log', 'gone')}).start()
    for number in range(5):
        oracle.write_file(logs / f'{number}.log', f's{number}', 100)
    agent.wait_done(500)
    for number in range(4):
        os.unlink(logs / f'{number}.log')

    def left():
        oracle.write_file(logs / '4.log', 's4', 1, first=left.next)
        left.next += 1
        keys = {}
        for message in oracle.read_topic(own_broker.client(), POSITIONS):
            keys[message.key] = message.value
        return sum(1 for key, value in keys.items() if b'|' in key and value is not None) == 1
    left.next = 100
    oracle.wait_until(left, 30 * SLOW, 'positions of files that are gone to be deleted', pause=0.5)
    agent.wait_idle()
    agent.stop()


def test_a_second_agent_with_the_same_name_fences_the_first(own_broker, agents, logs, report):
    own_broker.create_topic('fenced')
    streams = {'app': tail_to(logs / '*.log', 'fenced')}
    first = exactly_once(agents, own_broker, streams).start()
    with Writer(logs / 'a.log', 'a', RATE) as a:
        first.wait_read(RATE)
        second = exactly_once(agents, own_broker, streams, state='other').start()
        assert first.wait(20 * SLOW) == FENCED
        assert re.search(r' error main: another splashdam with the same agent.id .*', first.log_text())
        second.wait_read(1)
        written = {'a': a.stop()}
    second.wait_idle()
    second.stop()
    report(check(own_broker, 'fenced', written).text())


def test_a_record_too_large_is_discarded_and_all_others_arrive(own_broker, agents, logs, report):
    own_broker.create_topic('large', max_message_bytes=20000)
    own_broker.create_topic('small')
    agent = exactly_once(agents, own_broker, {'app': tail_to(logs / 'a.log', 'large'),
                                              'other': tail_to(logs / 'b.log', 'small')},
                         properties={'compression.codec': 'none'})
    oracle.write_file(logs / 'a.log', 'a', 300)
    for _ in range(2):
        with open(logs / 'a.log', 'ab') as file:
            file.write(b'x' * 50000 + b'\n')
    oracle.write_file(logs / 'a.log', 'a', 300, first=300)
    oracle.write_file(logs / 'b.log', 'b', 300)
    agent.start().wait_done(902, seconds=60)
    account = agent.stop()
    assert account['app']['discarded'] == account['app']['discarded_too_large'] == 2
    assert account['app']['delivered'] == 600 and account['other']['delivered'] == 300
    check(own_broker, 'large', {'a': 600})
    check(own_broker, 'small', {'b': 300})


def test_a_topic_that_is_missing_stops_no_other_stream(tmp_path, agents, logs):
    broker = KafkaBroker(tmp_path / 'kafka', properties={'auto.create.topics.enable': 'false'}).start()
    try:
        broker.create_topic('good')
        agent = exactly_once(agents, broker, {'good': tail_to(logs / 'a.log', 'good'),
                                              'bad': tail_to(logs / 'b.log', 'bad')}).start()
        oracle.write_file(logs / 'b.log', 'b', 100)
        agent.wait_read(100)
        oracle.write_file(logs / 'a.log', 'a', 1000)
        agent.wait_account(lambda all: sum(a['delivered'] for a in all) == 1000, 60, 'the good stream')
        broker.create_topic('bad')
        agent.wait_done(1100, seconds=60)
        agent.stop()
        check(broker, 'good', {'a': 1000})
        check(broker, 'bad', {'b': 100})
    finally:
        broker.kill()


def test_reload_in_the_middle(own_broker, agents, logs, report):
    own_broker.create_topic('reloaded')
    agent = exactly_once(agents, own_broker, {'app': tail_to(logs / 'a.log', 'reloaded')}).start()
    with Writer(logs / 'a.log', 'a', RATE) as a, Writer(logs / 'b.log', 'b', RATE) as b:
        agent.wait_read(RATE)
        agent.setup.tree['kafka']['properties']['linger.ms'] = 7  # another client
        assert agent.reload().startswith('new configuration holds')
        agent.setup.tree['streams']['more'] = tail_to(logs / 'b.log', 'reloaded')
        assert agent.reload().startswith('new configuration holds')
        agent.wait_account(lambda all: len(all) == 2 and all_read(all), 30, 'both streams')
        agent.setup.tree['kafka']['delivery'] = 'at-least-once'
        assert 'kafka.delivery is another one: that needs a restart' in agent.reload()
        agent.setup.tree['kafka']['delivery'] = 'exactly-once'
        written = {'a': a.stop(), 'b': b.stop()}
    agent.wait_done(sum(written.values()))
    agent.stop()
    report(check(own_broker, 'reloaded', written).text())


def all_read(accounts):
    return all(account['read'] > 0 for account in accounts)


def test_waits_for_kafka_at_the_start(own_broker, agents, logs):
    own_broker.stop()
    agent = exactly_once(agents, own_broker, {'app': tail_to(logs / '*.log', 'late')})
    oracle.write_file(logs / 'a.log', 'a', 1000)
    agent.start().wait_for_log('waiting for Kafka')
    agent.hang_up()
    agent.wait_for_log('reload: waiting for Kafka')
    agent.stop()  # SIGTERM ends the wait
    agent.start()
    own_broker.start()
    agent.wait_done(1000, seconds=60)
    agent.stop()
    check(own_broker, 'late', {'a': 1000})


def test_after_at_least_once_what_was_delivered_meanwhile_is_not_sent_again(own_broker, agents, logs):
    own_broker.create_topic('switched')
    agent = exactly_once(agents, own_broker, {'app': tail_to(logs / '*.log', 'switched')})
    for turn, delivery in enumerate(['exactly-once', 'at-least-once', 'exactly-once']):
        agent.setup.tree['kafka']['delivery'] = delivery
        oracle.write_file(logs / 'a.log', 'a', 1000, first=1000 * turn)
        agent.start().wait_done(1000)
        agent.stop()
    check(own_broker, 'switched', {'a': 3000})


def test_proof_and_json_with_times_go_in_transactions(own_broker, agents, logs):
    own_broker.create_topic('timed')
    stream = tail_to(logs / '*.log', 'timed')
    stream['ship']['proof'] = True
    agent = exactly_once(agents, own_broker, {'app': stream}).start()
    oracle.write_file(logs / 'a.log', 'a', 5000)
    agent.wait_done(5000)
    agent.stop()
    check(own_broker, 'timed', {'a': 5000})
