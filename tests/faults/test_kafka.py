"""Acknowledgements that never come, a queue that is full, a producer that is fenced off by its own numbers."""
import os
import selectors
import shutil
import socket
import threading
import time

import pytest

import oracle
from agent import SLOW, tail_to
from faults import Reader, make_history
from kafka import KafkaBroker, free_port, wait_until


class Proxy:
    """Stands between agent and broker. While `swallow` is set, what the broker says is thrown away."""

    def __init__(self):
        self.port = free_port()
        self.target = None
        self.swallow = False
        self.swallowed = 0
        self.ending = False
        self.listener = socket.create_server(('127.0.0.1', self.port))
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        with selectors.DefaultSelector() as ready:
            ready.register(self.listener, selectors.EVENT_READ, None)
            while not self.ending:
                for key, _ in ready.select(0.1):
                    if key.data is None:
                        self.accept(ready)
                    else:
                        self.forward(ready, key.fileobj, *key.data)

    def accept(self, ready):
        client, _ = self.listener.accept()
        broker = socket.create_connection(('127.0.0.1', self.target))
        ready.register(client, selectors.EVENT_READ, (broker, False))
        ready.register(broker, selectors.EVENT_READ, (client, True))

    def forward(self, ready, source, sink, from_broker):
        try:
            data = source.recv(1 << 20)
            if from_broker and self.swallow:
                self.swallowed += len(data)
            elif data:
                sink.sendall(data)
        except OSError:
            data = b''
        if not data:
            for end in (source, sink):
                if end.fileno() != -1:
                    ready.unregister(end)
                    end.close()

    def stop(self):
        self.ending = True
        self.thread.join()
        self.listener.close()


@pytest.fixture
def proxied(tmp_path):
    """A real broker and the proxy through which the agent reaches it."""
    proxy = Proxy()
    inner = free_port()
    broker = KafkaBroker(tmp_path / 'kafka')
    base = broker.properties()
    broker.changes = {
        'listeners': f'{base["listeners"]},PROXIED://127.0.0.1:{inner}',
        'advertised.listeners': f'{base["advertised.listeners"]},PROXIED://127.0.0.1:{proxy.port}',
        'listener.security.protocol.map': f'{base["listener.security.protocol.map"]},PROXIED:PLAINTEXT',
        'inter.broker.listener.name': 'PLAINTEXT',
    }
    proxy.target = inner
    yield broker.start(), proxy
    broker.kill()
    proxy.stop()
    shutil.rmtree(broker.data, ignore_errors=True)


def saved_positions(agent):
    path = os.path.join(agent.state, 'positions')
    if not os.path.exists(path):
        return ''
    with open(path) as file:
        return file.read()


@pytest.mark.parametrize('killed', [False, True], ids=['lives', 'killed'])
def test_swallowed_acknowledgements_lose_nothing(killed, proxied, agents, topic, logs, report):
    broker, proxy = proxied
    broker.create_topic(topic)
    streams = {'app': tail_to(logs / 'app.log', topic)}
    agent = agents(broker, streams, properties={'socket.timeout.ms': 3000})
    agent.setup.tree['kafka']['brokers'] = [f'127.0.0.1:{proxy.port}']
    size = len(oracle.lines('a', 0, 1000))
    oracle.write_file(logs / 'app.log', 'a', 1000)
    agent.start().wait_done(1000)
    wait_until(lambda: f' {size} ' in saved_positions(agent), 10, 'the position to be saved')
    proxy.swallow = True
    oracle.write_file(logs / 'app.log', 'a', 1000, first=1000)
    oracle.wait_for_lines(broker.client(), topic, 2000)  # Kafka has them, and the agent does not know
    wait_until(lambda: proxy.swallowed > 0, 20, 'an answer to be swallowed')
    if killed:
        agent.kill9()
    else:
        assert agent.look()['app']['in_flight'] == 1000
    proxy.swallow = False
    if killed:
        agent.start()
    agent.wait_done(1000 if killed else 2000, 60)
    agent.stop()
    result = oracle.compare({'a': 2000}, oracle.read_topic(broker.client(), topic)).check(1000 if killed else 0)
    report(f'{result.text()} swallowed={proxy.swallowed}')


def test_full_queue_holds_reading_back_and_does_not_spin(agents, mock, topic, logs, report):
    mock.tell(f'topic {topic}')
    mock.tell('down')
    count = 20000
    oracle.write_file(logs / 'app.log', 'a', count)
    agent = agents(mock, {'app': tail_to(logs / 'app.log', topic)},
                   properties={'queue.buffering.max.messages': 100}).start()
    agent.wait_read(100)
    before = agent.cpu()
    time.sleep(2)  # what is measured
    spent = agent.cpu() - before
    assert spent < 0.2 * SLOW, f'{spent:.2f} s of the processor in 2 s'
    assert agent.look()['app']['read'] < count
    mock.tell('up')
    agent.wait_done(count, 60)
    agent.stop()
    reader = Reader(mock, topic)
    wait_until(lambda: reader.poll(0.1) or len(reader.messages) >= count, 30, 'all messages')
    report(f'{oracle.compare({"a": count}, reader.messages).check().text()} processor: {spent:.2f} s in 2 s')
    reader.close()


def test_fatal_error_costs_a_new_producer_and_no_line(agents, mock, topic, logs, report):
    history = make_history(agents, mock, topic, logs)
    history.start()
    history.agent.wait_for_log(r' info main: running')
    rounds = 5
    for _ in range(rounds):
        mock.tell('error 45 1')  # OUT_OF_ORDER_SEQUENCE_NUMBER
        history.write(200)
        assert history.wait(20)
    assert history.end() == 0
    made_anew = history.agent.log_text().count('a new one is made')
    assert made_anew > 0
    report(f'{history.check(rounds * 200).text()} new producers: {made_anew}')
