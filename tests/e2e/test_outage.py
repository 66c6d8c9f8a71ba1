"""A broker that is away, slow, or refuses."""
import time

import pytest

import oracle
from agent import tail_to
from kafka import KafkaBroker
from oracle import Writer, compare

MEMORY = 64 * 2**20


def test_broker_killed_for_15_s_loses_and_doubles_nothing_in_bounded_memory(own_broker, agents, logs, report):
    own_broker.create_topic('outage', partitions=2)
    agent = agents(own_broker, {'app': tail_to(logs / '*.log', 'outage')}).start()
    with Writer(logs / 'live.log', 'live', 4000) as writer:
        time.sleep(2)
        own_broker.kill()
        oracle.write_file(logs / 'burst.log', 'burst', 500000)  # more than the agent may hold
        time.sleep(15)
        own_broker.start()
        time.sleep(2)
        written = {'burst': 500000, 'live': writer.stop()}
    agent.wait_done(sum(written.values()), 60)
    agent.stop()
    result = compare(written, oracle.read_topic(own_broker.client(), 'outage')).check()
    report(f'{result.text()} {agent.check_memory(MEMORY)}')


def test_frozen_broker_delays_and_nothing_else(own_broker, agents, logs, report):
    own_broker.create_topic('frozen')
    agent = agents(own_broker, {'app': tail_to(logs / '*.log', 'frozen')}).start()
    with Writer(logs / 'live.log', 'live', 4000) as writer:
        for _ in range(2):
            time.sleep(1)
            own_broker.freeze()
            time.sleep(3)
            own_broker.thaw()
        written = {'live': writer.stop()}
    agent.wait_done(written['live'])
    agent.stop()
    report(compare(written, oracle.read_topic(own_broker.client(), 'frozen')).check().text())


def test_full_queue_is_back_pressure_and_no_loss(broker, agents, topic, logs, report):
    broker.create_topic(topic, partitions=2)
    oracle.write_file(logs / 'app.log', 'a', 20000)
    agent = agents(broker, {'app': tail_to(logs / 'app.log', topic)},
                   properties={'queue.buffering.max.messages': 100}).start()
    agent.wait_done(20000)
    assert agent.stop()['app']['discarded'] == 0
    report(compare({'a': 20000}, oracle.read_topic(broker.client(), topic)).check().text())


@pytest.mark.parametrize('refuser', ['broker', 'client'])
def test_record_too_large_is_discarded_and_counted_and_the_others_go_on(refuser, broker, agents, topic, logs, report):
    limit = 5000
    broker.create_topic(topic, **({'max_message_bytes': limit} if refuser == 'broker' else {}))
    properties = {'compression.codec': 'none'}
    if refuser == 'client':
        properties['message.max.bytes'] = limit
    giants = 3
    for n in range(giants):
        oracle.write_file(logs / 'app.log', 'a', 500, first=500 * n)
        with open(logs / 'app.log', 'ab') as file:
            file.write(b'G' * 2 * limit + b'\n')
    oracle.write_file(logs / 'app.log', 'a', 500, first=500 * giants)
    agent = agents(broker, {'app': tail_to(logs / 'app.log', topic)}, properties=properties).start()
    agent.wait_done(2000 + giants)
    account = agent.stop()['app']
    assert account['discarded'] == account['discarded_too_large'] == giants
    result = compare({'a': 2000}, oracle.read_topic(broker.client(), topic)).check()
    report(f'{result.text()} discarded={giants}')


def test_record_without_a_valid_topic_is_discarded_and_the_others_go_on(broker, agents, topic, logs, report):
    with open(logs / 'bad.log', 'wb') as file:
        file.write(b'ok\nno topic\n../../etc\nok\n' + b'x' * 300 + b'\n\nok\n')
    oracle.write_file(logs / 'good.log', 'good', 2000)
    prefix = topic[:100]
    streams = {'bad': tail_to(logs / 'bad.log', prefix + '.%{message}'), 'good': tail_to(logs / 'good.log', topic)}
    agent = agents(broker, streams).start()
    agent.wait_done(2007)
    accounts = agent.stop()
    report(f'bad: {accounts["bad"]}')
    assert [m.value for m in oracle.read_topic(broker.client(), prefix + '.ok')] == [b'ok'] * 3
    assert accounts['bad']['delivered'] == 3 + delivered_without_name(broker, prefix)
    assert accounts['bad']['discarded_topic'] == 7 - accounts['bad']['delivered']
    compare({'good': 2000}, oracle.read_topic(broker.client(), topic)).check()


def delivered_without_name(broker, prefix):
    """An empty line makes the topic `prefix.`, which is a valid name."""
    return len(oracle.read_topic(broker.client(), prefix + '.'))


def test_topic_that_does_not_exist_stops_only_its_stream_until_it_does(tmp_path, agents, logs, report):
    broker = KafkaBroker(tmp_path / 'kafka', {'auto.create.topics.enable': 'false'}).start()
    try:
        broker.create_topic('good')
        for src in ('good', 'missing'):
            oracle.write_file(logs / f'{src}.log', src, 1000)
        streams = {src: tail_to(logs / f'{src}.log', src) for src in ('good', 'missing')}
        agent = agents(broker, streams).start()
        agent.wait_done(1000)
        oracle.write_file(logs / 'good.log', 'good', 1000, first=1000)
        agent.wait_account(lambda _: agent.accounts()['good']['delivered'] == 2000, 10, 'the good stream to go on')
        assert agent.look()['missing']['discarded'] == 0, 'a topic may be made later: nothing may be discarded'
        broker.create_topic('missing')
        agent.wait_done(3000, 60)
        agent.stop()
        compare({'good': 2000}, oracle.read_topic(broker.client(), 'good')).check()
        compare({'missing': 1000}, oracle.read_topic(broker.client(), 'missing')).check()
    finally:
        broker.kill()
