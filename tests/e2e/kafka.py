"""Apache Kafka as the tests use it: one broker in KRaft mode, started, stopped, killed and frozen at will.

The broker is whatever properties() says: a dict that a caller may change through `properties`, so that further
listeners, TLS, SASL or more nodes need no change here. Clients, this module's own too, connect with client().
"""
import base64
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import time
import uuid

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LIBS = os.path.join(ROOT, 'build', 'kafka', 'libs')
JAVA_OPTIONS = ('-Xms128m', '-Xmx512m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1',
                '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn', '-Dorg.slf4j.simpleLogger.showDateTime=true',
                '-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS')
# Ports are taken below those that the kernel gives to clients: a client that connects to a stopped broker's port
# could be given that very port and would then be connected to itself.
PORTS = range(20000, 32000)
READY_SECONDS = 60


def wait_until(condition, seconds, what, pause=0.05):
    """Returns the condition's first true value."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f'waited {seconds:g} s in vain for {what() if callable(what) else what}')
        time.sleep(pause)


def free_port():
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(('127.0.0.1', port))
            except OSError:
                continue
            return port


def java():
    """A Java 17 if there is one, else whatever `java` is."""
    folder = '/usr/lib/jvm'
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    for name in names:
        path = os.path.join(folder, name, 'bin', 'java')
        if re.search(r'(^|\D)17(\D|$)', name) and os.access(path, os.X_OK):
            return path
    found = shutil.which('java')
    if found is None:
        raise RuntimeError('no java; packaging/install-dependencies.sh check installs one')
    return found


class KafkaBroker:
    """One node, broker and controller. All it writes is in `folder`."""

    def __init__(self, folder, properties=None, client=None, node=1, java_options=()):
        self.folder = str(folder)
        self.node = node
        self.port = free_port()
        self.controller_port = free_port()
        self.bootstrap = f'127.0.0.1:{self.port}'
        self.client_properties = dict(client or {})
        self.java_options = list(JAVA_OPTIONS) + list(java_options)
        self.process = None
        self.log = os.path.join(self.folder, 'broker.log')
        self.data = os.path.join(self.folder, 'data')
        self.file = os.path.join(self.folder, 'server.properties')
        self.cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip('=')
        self.changes = dict(properties or {})
        os.makedirs(self.folder, exist_ok=True)

    def properties(self):
        return {
            'process.roles': 'broker,controller',
            'node.id': self.node,
            'controller.quorum.voters': f'{self.node}@127.0.0.1:{self.controller_port}',
            'controller.listener.names': 'CONTROLLER',
            'listeners': f'PLAINTEXT://{self.bootstrap},CONTROLLER://127.0.0.1:{self.controller_port}',
            'advertised.listeners': f'PLAINTEXT://{self.bootstrap}',
            'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT',
            'log.dirs': self.data,
            'num.partitions': 1,
            'auto.create.topics.enable': 'true',
            'offsets.topic.num.partitions': 1,
            'offsets.topic.replication.factor': 1,
            'transaction.state.log.num.partitions': 1,
            'transaction.state.log.replication.factor': 1,
            'transaction.state.log.min.isr': 1,
            'share.coordinator.state.topic.num.partitions': 1,
            'share.coordinator.state.topic.replication.factor': 1,
            'share.coordinator.state.topic.min.isr': 1,
            'group.initial.rebalance.delay.ms': 0,
            'num.network.threads': 2,
            'num.io.threads': 4,
            'log.cleaner.dedupe.buffer.size': 4 * 1024 * 1024,
            'broker.session.timeout.ms': 6000,
            'broker.heartbeat.interval.ms': 1000,
            **self.changes,
        }

    def client(self, **more):
        """Properties of a client of this broker."""
        return {'bootstrap.servers': self.bootstrap, **self.client_properties, **more}

    def admin(self):
        return AdminClient(self.client())

    def java(self, *arguments):
        command = [java(), *self.java_options, '-cp', os.path.join(LIBS, '*'), *arguments]
        with open(self.log, 'ab') as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def format(self):
        with open(self.file, 'w') as file:
            file.writelines(f'{name}={value}\n' for name, value in self.properties().items())
        tool = self.java('kafka.tools.StorageTool', 'format', '--ignore-formatted', f'--cluster-id={self.cluster}',
                         f'--config={self.file}')
        if tool.wait(READY_SECONDS) != 0:
            raise RuntimeError(f'the broker\'s storage could not be formatted:\n{self.log_tail()}')

    def start(self, wait=True):
        assert self.process is None, 'the broker runs already'
        if not os.path.exists(os.path.join(self.data, 'meta.properties')):
            self.format()
        self.process = self.java('kafka.Kafka', self.file)
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self):
        wait_until(self.answers, READY_SECONDS, lambda: f'the broker to be ready:\n{self.log_tail()}', pause=0.1)

    def answers(self):
        if self.process.poll() is not None:
            raise RuntimeError(f'the broker ended with {self.process.returncode}:\n{self.log_tail()}')
        try:
            socket.create_connection(('127.0.0.1', self.port), 1).close()
            return len(self.admin().list_topics(timeout=2).brokers) > 0
        except (OSError, KafkaException):
            return False

    def end(self, number, seconds):
        process, self.process = self.process, None
        if process is None:
            return
        process.send_signal(signal.SIGCONT)
        process.send_signal(number)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def stop(self):
        self.end(signal.SIGTERM, 20)

    def kill(self):
        self.end(signal.SIGKILL, 20)

    def restart(self):
        self.stop()
        self.start()

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def create_topic(self, name, partitions=1, **properties):
        """Topic properties have underscores for dots: max_message_bytes=1000."""
        config = {key.replace('_', '.'): str(value) for key, value in properties.items()}
        topic = NewTopic(name, num_partitions=partitions, replication_factor=1, config=config)
        admin = self.admin()
        admin.create_topics([topic])[name].result(30)
        return name

    def log_tail(self, lines=30):
        with open(self.log, errors='replace') as file:
            return ''.join(file.readlines()[-lines:])
