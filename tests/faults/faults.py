"""What the fault tests have in common: the injector, the mock broker, and a log whose lines are followed through many runs.

FAULTS=all tries every call; without it each test tries as many as it has seconds for, spread over the whole run."""
import os
import re
import subprocess
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

import oracle
from agent import BUILD, SLOW

INJECTOR = os.path.join(BUILD, 'tests', 'faults', 'inject.so')
MOCK_BROKER = os.path.join(BUILD, 'tests', 'faults', 'mock_broker')
ALL = os.environ.get('FAULTS') == 'all'
# What a fault must not lead to, whatever else is said.
BAD_LOG = re.compile(r'does not balance|Sanitizer|runtime error:|Assertion')


class MockBroker:
    """librdkafka's mock cluster: as good as Kafka where only its answers matter, and at once there."""

    def __init__(self):
        self.process = subprocess.Popen([MOCK_BROKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.bootstrap = self.process.stdout.readline().strip().removeprefix('bootstrap=')
        assert self.bootstrap, 'the mock broker did not start'

    def tell(self, command):
        self.process.stdin.write(command + '\n')
        self.process.stdin.flush()
        assert self.process.stdout.readline() == 'done\n', f'the mock broker did not obey {command}'

    def client(self, **more):
        return {'bootstrap.servers': self.bootstrap, **more}

    def stop(self):
        self.process.stdin.close()
        self.process.wait(20)


class Reader:
    """Reads a topic of one partition as it grows."""

    def __init__(self, broker, topic):
        self.topic = topic
        self.messages = []
        self.consumer = Consumer({**broker.client(), 'group.id': 'faults', 'enable.auto.commit': False,
                                  'auto.offset.reset': 'error', 'fetch.wait.max.ms': 20,
                                  'reconnect.backoff.ms': 10, 'reconnect.backoff.max.ms': 50})
        self.consumer.assign([TopicPartition(topic, 0, 0)])

    def poll(self, seconds):
        for message in self.consumer.consume(10000, seconds):
            if message.error() is None:
                self.messages.append(oracle.Message(message.partition(), message.offset(), None, message.value()))
            elif message.error().code() not in (KafkaError._PARTITION_EOF, KafkaError.UNKNOWN_TOPIC_OR_PART,
                                                KafkaError._UNKNOWN_TOPIC):
                raise KafkaException(message.error())

    def close(self):
        self.consumer.close()


class History:
    """One log that grows and is rotated, what of it is in the topic, and an agent that is started again and again."""

    def __init__(self, agent, reader, path):
        self.agent = agent
        self.reader = reader
        self.path = str(path)
        self.written = 0
        self.seen = 0  # of the reader's messages
        self.there = set()
        self.doubled = 0
        self.report = os.path.join(agent.state, '..', f'{agent.name}.fault')

    def write(self, count):
        oracle.write_file(self.path, 'a', count, first=self.written)
        self.written += count

    def rotate(self):
        """Two older generations are kept, as long as the third is surely delivered."""
        for number in (2, 1):
            if os.path.exists(f'{self.path}.{number}'):
                os.rename(f'{self.path}.{number}', f'{self.path}.{number + 1}')
        os.rename(self.path, f'{self.path}.1')

    def start(self, fault=None, by='agent', **environment):
        """Does not wait: with a fault it may never run."""
        self.agent.wrapper = []
        if fault is not None:
            environment.update(FAULT=fault, FAULT_BY=by, FAULT_REPORT=self.report)
        if environment:
            if os.path.exists(self.report):
                os.unlink(self.report)
            environment['LD_PRELOAD'] = INJECTOR
            self.agent.wrapper = ['env', *(f'{name}={value}' for name, value in environment.items())]
        self.agent.start(wait=False)

    def look(self, seconds=0.02):
        """Reads on. Returns how many lines are missing."""
        self.reader.poll(seconds)
        for message in self.reader.messages[self.seen:]:
            found = oracle.ID.match(message.value)
            number = int(found[2])
            self.doubled += number in self.there
            self.there.add(number)
        self.seen = len(self.reader.messages)
        return self.written - len(self.there)

    def alive(self):
        return self.agent.process.poll() is None

    def wait(self, seconds):
        """Until all is delivered: True; or the agent ended, or the time is over: False."""
        end = time.monotonic() + seconds * SLOW
        while self.look() > 0:
            if not self.alive() or time.monotonic() > end:
                return self.look() == 0
        return True

    def end(self, seconds=15):
        """SIGTERM if it still runs; the exit status."""
        if self.alive():
            return self.agent.terminate(seconds * SLOW)[0]
        return self.agent.wait(10)

    def fired(self):
        """How many calls were counted, and how many of them failed."""
        with open(self.report) as file:
            counts = dict(part.split('=') for part in file.read().split())
        return int(counts['seen']), int(counts['fired'])

    def unsaved(self):
        """Lines behind the saved positions: what a crash may send again."""
        saved = {}
        name = os.path.join(self.agent.state, 'positions')
        if os.path.exists(name):
            with open(name) as file:
                entries = [text.split(' ') for text in file if not text.startswith(('splashdam-', 'end '))]
            saved = {int(entry[2]): int(entry[7]) for entry in entries}
        count = 0
        for path in [self.path, *(f'{self.path}.{number}' for number in (1, 2, 3))]:
            if os.path.exists(path):
                with open(path, 'rb') as file:
                    count += file.read()[saved.get(os.stat(path).st_ino, 0):].count(b'\n')
        return count

    def recovers(self, doubles, seconds=8):
        """A start without faults makes everything good: None, or what is wrong. `doubles`: so many in all."""
        self.start()
        self.agent.wait_for_log(' info main: running')  # from then on SIGTERM ends it cleanly
        whole = self.wait(seconds)
        if self.end() != 0:
            return 'the next run failed'
        if not whole:
            return f'{self.look()} lines are missing after the next run'
        if self.doubled > doubles:
            return f'{self.doubled - doubles} more doubles than allowed'
        return None

    def check(self, duplicates):
        """Everything that was ever written is there, in order, and no more doubles than allowed."""
        return oracle.compare({'a': self.written}, self.reader.messages).check(duplicates)


def make_history(agents, mock, topic, logs, chain=None, **more):
    """With a first run behind it, so that there are positions, and a rotated file."""
    tail = {'paths': [str(logs / 'app.log')], 'rescan': '200ms'}
    stream = {'tail': tail, 'ship': {'topic': topic, 'encode': 'raw'}}
    if chain is not None:
        stream["chain"] = chain
    mock.tell(f'topic {topic}')
    agent = agents(mock, {'app': stream}, drain='3s', **more)
    history = History(agent, Reader(mock, topic), logs / 'app.log')
    history.write(20)
    history.start()
    assert history.wait(20)
    history.rotate()
    history.write(20)
    assert history.wait(20) and history.end() == 0
    return history


def points(count, most):
    """Which of `count` calls are tried: all of them, or `most`, spread evenly."""
    if ALL or count <= most:
        return list(range(1, count + 1))
    return sorted({1 + round(i * (count - 1) / (most - 1)) for i in range(most)})


def end_run(history, whole, for_ever):
    """Ends a run in which calls failed; `whole`: all that was written had come. Returns what was wrong with it, or None, and how many calls
    there were, and how many failed."""
    ended = not history.alive()
    status = history.end()
    seen, fired = history.fired() if status >= 0 else (0, 1)
    text = history.agent.log_text()
    if status not in (0, 1):
        return f'ended with {status}', seen, fired
    if BAD_LOG.search(text):
        return BAD_LOG.search(text)[0], seen, fired
    if ended and not (status == 1 and re.search(r' error |: ', text)):
        return f'ended with {status} and does not say why', seen, fired
    if not ended and not whole and not for_ever:
        return 'did not go on', seen, fired
    return None, seen, fired
