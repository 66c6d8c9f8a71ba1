"""The oracle: what was written beside what Kafka holds.

A line is `src=<file> seq=<n> crc=<crc32c of body> <body>`, and it follows from src and seq alone: so what was written
is known by counts, and every byte that is read back can be compared. Bodies hold whatever may stand in a line: UTF-8
and bytes that are none, quotes, tabs, carriage returns.

Counts of a comparison, as in the scenarios' table:
    L  lines lost                    D  further copies of lines
    O  inversions: a line's first copy behind one that was written after it, in a source and partition
    C  lines whose bytes differ      X  messages that are no line that was written
"""
import collections
import dataclasses
import os
import random
import re
import subprocess
import threading
import time

import google_crc32c
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from kafka import wait_until

ID = re.compile(rb'src=([^ ]+) seq=(\d+) crc=[0-9a-f]{8} ')
BATCH = 10000
READ_SECONDS = 120
SHOWN = 5

Message = collections.namedtuple('Message', 'partition offset key value')


# ---- lines ----

def make_bodies(count=1021, seed=7):
    chance = random.Random(seed)
    specials = ['"quoted"', 'back\\slash', 'tab\there', 'Füße', '日本語', '🌲', '\x00nul', '\r carriage', '{"a":1}', '%{x}']
    bodies = []
    for _ in range(count):
        words = [''.join(chance.choices('abcdefghijklmnopqrstuvwxyz', k=chance.randint(1, 12)))
                 for _ in range(chance.randint(0, 28))]
        if chance.random() < 0.2:
            words.insert(0, chance.choice(specials))
        body = ' '.join(words).encode()
        if chance.random() < 0.02:
            body += bytes([0xff, 0xc3, 0x28])
        bodies.append(body + b'.')
    return bodies


def crc32c(body):
    return google_crc32c.value(body)


TAILS = [b'crc=%08x %s' % (crc32c(body), body) for body in make_bodies()]


def line(src, seq):
    """Without its newline."""
    return b'src=%s seq=%d %s' % (src.encode(), seq, TAILS[seq % len(TAILS)])


def lines(src, first, count):
    """`count` lines as they stand in a file."""
    name = src.encode()
    n = len(TAILS)
    return b''.join([b'src=%s seq=%d %s\n' % (name, seq, TAILS[seq % n]) for seq in range(first, first + count)])


def write_file(path, src, count, first=0, mode='ab'):
    with open(path, mode) as file:
        for start in range(first, first + count, 100000):
            file.write(lines(src, start, min(100000, first + count - start)))


class Writer:
    """Appends lines to a file from a thread of its own, `rate` lines a second, until stop().

    Writes end anywhere in a line, as those of a buffered program do. rotate(): the file is renamed, numbered ones
    shifted as logrotate does, and the writer goes on in the renamed one for a moment before it opens a new file."""

    def __init__(self, path, src, rate=2000, rotate_every=None):
        self.path = str(path)
        self.src = src
        self.rate = rate
        self.rotate_every = rotate_every
        self.rotations = 0
        self.count = 0
        self.failure = None
        self.chance = random.Random(src)
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *exception):
        self.ending.set()
        self.thread.join()

    def start(self):
        self.thread.start()
        return self

    def stop(self):
        """Returns how many lines were written: all of them complete, and on disk."""
        self.ending.set()
        self.thread.join()
        if self.failure is not None:
            raise self.failure
        return self.count

    def run(self):
        try:
            self.write()
        except Exception as failure:  # told by stop()
            self.failure = failure

    def write(self):
        file = open(self.path, 'ab', buffering=0)
        began = rotated = time.monotonic()
        while not self.ending.is_set():
            now = time.monotonic()
            self.append(file, int((now - began) * self.rate) - self.count)
            if self.rotate_every is not None and now - rotated >= self.rotate_every:
                file = self.rotate(file)
                rotated = now
            self.ending.wait(0.01)
        os.fsync(file.fileno())
        file.close()

    def append(self, file, count):
        if count <= 0:
            return
        data = lines(self.src, self.count, count)
        cut = self.chance.randrange(len(data))
        file.write(data[:cut])
        if self.chance.random() < 0.2:
            time.sleep(0.002)
        file.write(data[cut:])
        self.count += count

    def rotate(self, file):
        for number in range(self.rotations, 0, -1):
            os.rename(f'{self.path}.{number}', f'{self.path}.{number + 1}')
        os.rename(self.path, f'{self.path}.1')
        self.rotations += 1
        self.append(file, 20)
        os.fsync(file.fileno())
        file.close()
        return open(self.path, 'ab', buffering=0)


# ---- reading back ----

def watermarks(consumer, topic):
    """The end of each partition; none when there is no such topic."""
    found = consumer.list_topics(topic, timeout=30).topics[topic]
    if found.error is not None:
        if found.error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.LEADER_NOT_AVAILABLE):
            return {}
        raise KafkaException(found.error)
    ends = {p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=30) for p in found.partitions}
    return {partition: end for partition, (_, end) in ends.items()}


def topic_ends(client, topic):
    """The number of messages ever written to each partition."""
    consumer = Consumer({**client, 'group.id': 'oracle', 'allow.auto.create.topics': False})
    try:
        return watermarks(consumer, topic)
    finally:
        consumer.close()


def read_topic(client, topic):
    """All messages of a topic, from offset 0 to its present end, in each partition in order."""
    consumer = Consumer({**client, 'group.id': 'oracle', 'enable.auto.commit': False, 'enable.partition.eof': True,
                         'isolation.level': 'read_committed', 'auto.offset.reset': 'error', 'check.crcs': True,
                         'allow.auto.create.topics': False, 'queued.max.messages.kbytes': 65536})
    try:
        open_ends = {p for p, end in watermarks(consumer, topic).items() if end > 0}
        consumer.assign([TopicPartition(topic, p, 0) for p in sorted(open_ends)])
        return consume_all(consumer, open_ends, topic)
    finally:
        consumer.close()


def wait_for_lines(client, topic, count, seconds=30):
    """Until the topic has so many different lines: where doubles keep the agent's own account from telling."""
    def all_there():
        return (sum(topic_ends(client, topic).values()) >= count and
                len({message.value for message in read_topic(client, topic)}) >= count)
    wait_until(all_there, seconds, f'{count} lines in {topic}', pause=0.3)


def consume_all(consumer, open_ends, topic):
    messages = []
    end = time.monotonic() + READ_SECONDS
    while open_ends:
        if time.monotonic() > end:
            raise AssertionError(f'{topic} was not read to its end in {READ_SECONDS} s: {len(messages)} messages')
        for message in consumer.consume(BATCH, 0.1):
            error = message.error()
            if error is None:
                messages.append(Message(message.partition(), message.offset(), message.key(), message.value()))
            elif error.code() == KafkaError._PARTITION_EOF:
                open_ends.discard(message.partition())
            else:
                raise KafkaException(error)
    return messages


def read_topic_with_kcat(bootstrap, topic):
    """The same by kcat, so that what is read back does not hang on one client."""
    command = ['kcat', '-C', '-q', '-e', '-b', bootstrap, '-t', topic, '-o', 'beginning',
               '-X', 'isolation.level=read_committed', '-X', 'check.crcs=true', '-f', '%p %o %R%s']
    data = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=READ_SECONDS).stdout
    messages = []
    at = 0
    while at < len(data):
        partition, offset, _ = data[at:at + 40].split(b' ', 2)
        at += len(partition) + len(offset) + 2
        size = int.from_bytes(data[at:at + 4], 'big')
        messages.append(Message(int(partition), int(offset), None, data[at + 4:at + 4 + size]))
        at += 4 + size
    return messages


# ---- comparing ----

@dataclasses.dataclass
class Comparison:
    written: int
    read: int
    lost: list = dataclasses.field(default_factory=list)
    doubled: list = dataclasses.field(default_factory=list)
    inverted: list = dataclasses.field(default_factory=list)
    corrupt: list = dataclasses.field(default_factory=list)
    unknown: list = dataclasses.field(default_factory=list)

    def counts(self):
        return {'L': len(self.lost), 'D': len(self.doubled), 'O': len(self.inverted), 'C': len(self.corrupt),
                'X': len(self.unknown)}

    def text(self):
        return f'written={self.written} read={self.read} ' + ' '.join(f'{k}={v}' for k, v in self.counts().items())

    def details(self):
        kinds = [('lost', self.lost), ('doubled', self.doubled), ('inverted', self.inverted),
                 ('corrupt', self.corrupt), ('unknown', self.unknown)]
        return '\n'.join(f'{name}: {", ".join(str(x)[:200] for x in items[:SHOWN])}{" …" if len(items) > SHOWN else ""}'
                         for name, items in kinds if items)

    def check(self, duplicates=0):
        """Nothing lost, inverted, corrupt or unknown, and at most so many duplicates."""
        wrong = {k: v for k, v in self.counts().items() if v > (duplicates if k == 'D' else 0)}
        assert not wrong, f'{self.text()} (D <= {duplicates} is allowed)\n{self.details()}'
        return self


def compare(written, messages, value=lambda message: message.value, expected=line):
    """`written`: source -> number of lines, or the sequence numbers. `value`: a message's line.
    `expected`: what a line's message must be, when that is not the line itself."""
    wanted = {src.encode(): range(n) if isinstance(n, int) else frozenset(n) for src, n in written.items()}
    copies = {src: collections.defaultdict(list) for src in wanted}  # seq -> the places of its copies
    newest = {}
    behind = set()
    result = Comparison(sum(len(numbers) for numbers in wanted.values()), len(messages))
    for message in messages:
        text = value(message)
        match = ID.match(text) if text is not None else None
        src, seq = (match[1], int(match[2])) if match else (None, -1)
        if src not in wanted or seq not in wanted[src]:
            result.unknown.append(text)
            continue
        if text != expected(src.decode(), seq):
            result.corrupt.append((src.decode(), seq, text))
        places = copies[src][seq]
        if message.partition not in places and newest.setdefault((src, message.partition), seq) > seq:
            behind.add((src, seq, message.partition))
        else:
            newest[src, message.partition] = max(seq, newest.get((src, message.partition), seq))
        places.append(message.partition)
    for src, numbers in wanted.items():
        add_source(result, src, numbers, copies[src], behind)
    return result


def add_source(result, src, numbers, copies, behind):
    name = src.decode()
    result.lost += [(name, seq) for seq in numbers if seq not in copies]
    for seq, places in copies.items():
        result.doubled += [(name, seq)] * (len(places) - 1)
    # Which of the copies in several partitions was meant to be the first can't be told: one in order will do.
    for seq in sorted({seq for s, seq, _ in behind if s == src}):
        if all((src, seq, partition) in behind for partition in set(copies[seq])):
            result.inverted.append((name, seq, f'partition {copies[seq][0]}'))
