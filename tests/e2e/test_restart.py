"""Stopping and going on."""
import oracle
from agent import tail_to
from oracle import Writer, compare


def test_restart_goes_on_exactly_where_it_was(broker, agents, topic, logs):
    agent = agents(broker, {'app': tail_to(logs / '*.log', topic)}, workers=2)
    written = 0
    for _ in range(4):
        for src in ('a', 'b'):
            oracle.write_file(logs / f'{src}.log', src, 500, first=written)
        agent.start().wait_done(1000)
        for src in ('a', 'b'):
            oracle.write_file(logs / f'{src}.log', src, 500, first=written + 500)
        agent.wait_done(2000)
        assert agent.stop()['app']['read'] == 2000
        written += 1000
    compare({'a': written, 'b': written}, oracle.read_topic(broker.client(), topic)).check()


def test_sigterm_under_load_drains_and_doubles_nothing(broker, agents, topic, logs, report):
    broker.create_topic(topic, partitions=3)
    count = 300000
    oracle.write_file(logs / 'old.log', 'old', count)
    agent = agents(broker, {'app': tail_to(logs / '*.log', topic)}, workers=2)
    stops = []
    with Writer(logs / 'live.log', 'live', 3000) as writer:
        for _ in range(3):
            agent.start().wait_read(1)
            account = agent.stop()['app']
            stops.append(account['read'])
            messages = sum(oracle.topic_ends(broker.client(), topic).values())
            assert messages == sum(stops), 'the account is not what Kafka has'
        written = {'old': count, 'live': writer.stop()}
    agent.start()
    agent.wait_done(sum(written.values()) - sum(stops), 60)
    agent.stop()
    result = compare(written, oracle.read_topic(broker.client(), topic)).check()
    report(f'{result.text()} read until each stop: {stops}')


def test_sigterm_while_the_broker_is_down_says_what_is_left_and_keeps_it(own_broker, agents, logs, report):
    own_broker.create_topic('kept')
    path = logs / 'app.log'
    agent = agents(own_broker, {'app': tail_to(path, 'kept')}, drain='2s').start()
    oracle.write_file(path, 'a', 1000)
    agent.wait_done(1000)
    own_broker.kill()
    oracle.write_file(path, 'a', 1000, first=1000)
    agent.wait_read(2000)
    status, seconds = agent.terminate()
    account = agent.check_accounts(left=True)['app']
    assert status == 0 and account['in_flight'] == 1000
    assert 1.5 <= seconds <= 2 + 2, f'drain of 2 s took {seconds:.1f} s'
    agent.check_left(1000)
    own_broker.start()
    agent.start().wait_done(1000)
    agent.stop()
    result = compare({'a': 2000}, oracle.read_topic(own_broker.client(), 'kept')).check()
    report(f'{result.text()} stopped after {seconds:.1f} s')


def test_agent_that_starts_before_its_broker_ships_everything(own_broker, agents, logs):
    own_broker.stop()
    oracle.write_file(logs / 'app.log', 'a', 1000)
    agent = agents(own_broker, {'app': tail_to(logs / 'app.log', 'late')}).start()
    agent.wait_read(1000)
    own_broker.start()
    agent.wait_done(1000)
    agent.stop()
    compare({'a': 1000}, oracle.read_topic(own_broker.client(), 'late')).check()
