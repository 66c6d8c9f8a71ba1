#!/usr/bin/env python3
"""Proves from Kafka alone that nothing of the logs is missing in a topic, by the header `sd` (docs/proof.md).

    check_chains.py --brokers kafka-1:9092 --topic logs.nginx [--agent web-1] [--idle 10] [--retained]

Reads the topic from its beginning, committed messages only, up to what it held at the start (--until end), or until
nothing has come for so many seconds (--idle SECONDS). Prints a line for each hole and each double, with byte ranges, and
one for each chain that has any. Exits 1 when there is a hole, or no message has the header.

As a module: check(read(client, topic)) gives a Report.
"""
import argparse
import collections
import dataclasses
import sys
import time
import zlib

HEADER = 'sd'
VERSION = 1
FIRST = 1

Proof = collections.namedtuple('Proof', 'agent generation first start begin end dropped')
Proof.__doc__ = """What a header says. `start` is its `from`: where the record shipped before it ended."""

Hole = collections.namedtuple('Hole', 'begin end')  # bytes [begin, end) are accounted for by no message
Double = collections.namedtuple('Double', 'begin end')  # bytes [begin, end) came once more


# ---- one header ----

def take_varint(data, at):
    number = shift = 0
    while True:
        byte = data[at]
        number |= (byte & 0x7f) << shift
        at += 1
        shift += 7
        if byte < 0x80:
            return number, at


def decode(data):
    """The header's value to a Proof. ValueError: it is none, or of another version."""
    if len(data) < 18 or data[0] != VERSION:
        raise ValueError(f'not a header of version {VERSION}: {data.hex()}')
    agent, generation = int.from_bytes(data[2:6], 'big'), int.from_bytes(data[6:14], 'big')
    numbers, at = [], 14
    try:
        for _ in range(4):
            number, at = take_varint(data, at)
            numbers.append(number)
    except IndexError:
        raise ValueError(f'it is cut: {data.hex()}') from None
    begin, length, gap, dropped = numbers
    gap = gap >> 1 ^ -(gap & 1)
    return Proof(agent, generation, bool(data[1] & FIRST), begin - gap, begin, begin + length, dropped)


def agent_hash(name):
    """What stands for agent.id in the header."""
    return zlib.crc32(name.encode())


# ---- chains ----

@dataclasses.dataclass
class Chain:
    """All messages of one generation of a file."""
    agent: int
    generation: int
    proofs: list = dataclasses.field(default_factory=list)

    @property
    def begin(self):
        return min(proof.start for proof in self.proofs)

    @property
    def end(self):
        return max(proof.end for proof in self.proofs)

    @property
    def dropped(self):
        """Records that were not shipped, as told by the messages; each stretch once."""
        return sum({(proof.start, proof.end): proof.dropped for proof in self.proofs}.values())

    def holes(self, retained=False):
        """Each message accounts for the bytes from `from` to `end`; together they account for all up to the last one's
        end, from where the first one says that the chain begins. `retained`: the topic may have lost its beginning."""
        found = []
        ordered = sorted(self.proofs, key=lambda proof: (proof.start, proof.end))
        covered = ordered[0].start
        if not retained and not any(proof.first for proof in ordered if proof.start == covered):
            found.append(Hole(0, covered))
        for proof in ordered:
            if proof.start > covered:
                found.append(Hole(covered, proof.start))
            covered = max(covered, proof.end)
        return found

    def doubles(self):
        """A record has the bytes from `begin`, or from `from` if that is greater, to `end`: no two records share any."""
        found = []
        seen = 0
        for begin, end in sorted((max(proof.start, proof.begin), proof.end) for proof in self.proofs):
            if begin < seen:
                found.append(Double(begin, min(end, seen)))
            seen = max(seen, end)
        return found


@dataclasses.dataclass
class Report:
    chains: dict  # by generation
    messages: int  # all that were read
    unproven: int  # of these, those without the header

    def holes(self, retained=False):
        return [(chain, hole) for chain in self.chains.values() for hole in chain.holes(retained)]

    def doubles(self):
        return [(chain, double) for chain in self.chains.values() for double in chain.doubles()]

    def lines(self, retained=False):
        """For people."""
        for what, found in (('hole', self.holes(retained)), ('double', self.doubles())):
            for chain, (begin, end) in found:
                yield f'{what} agent={chain.agent:08x} generation={chain.generation:016x} bytes={begin}-{end}'
        yield (f'chains={len(self.chains)} messages={self.messages} without_header={self.unproven} '
               f'dropped={sum(chain.dropped for chain in self.chains.values())} '
               f'holes={len(self.holes(retained))} doubles={len(self.doubles())}')


def check(values):
    """Of messages' header values, None for those without one, in any order. ValueError: one is not valid."""
    report = Report({}, 0, 0)
    for value in values:
        report.messages += 1
        if value is None:
            report.unproven += 1
            continue
        proof = decode(value)
        chain = report.chains.setdefault(proof.generation, Chain(proof.agent, proof.generation))
        chain.proofs.append(proof)
    return report


# ---- Kafka ----

def proof_of(message):
    """The header's value, or None."""
    for name, value in message.headers() or ():
        if name == HEADER:
            return value
    return None


def messages(client, topic, idle=None, patience=60):
    """All messages of the topic, up to its end at the start; with `idle`, until none has come for so many seconds."""
    from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

    consumer = Consumer({'group.id': 'check-chains', 'enable.auto.commit': False, **client,
                         'isolation.level': 'read_committed', 'enable.partition.eof': True})
    try:
        known = consumer.list_topics(topic, timeout=patience).topics[topic]
        if known.error is not None:
            raise KafkaException(known.error)
        ends = {}
        for number in known.partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=patience)
            if high > low or idle is not None:
                ends[number] = high
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in ends])
        yield from until_end(consumer, ends, idle, patience)
    finally:
        consumer.close()


def until_end(consumer, ends, idle, patience):
    """`ends`: the offset of each partition at which it is done; does not matter with `idle`."""
    from confluent_kafka import KafkaError, KafkaException

    newest = time.monotonic()
    while ends or idle is not None:
        message = consumer.poll(0.2)
        if message is None:
            waited = time.monotonic() - newest
            if idle is not None and waited > idle:
                return
            if idle is None and waited > patience:
                raise TimeoutError(f'nothing came for {patience} s before the end')
            continue
        if message.error() is None:
            newest = time.monotonic()
            yield message
        elif message.error().code() != KafkaError._PARTITION_EOF:
            raise KafkaException(message.error())
        # The last offsets may be marks of transactions: then it is the partition's end that tells.
        if message.error() is not None or message.offset() + 1 >= ends.get(message.partition(), 0):
            ends.pop(message.partition(), None)


def read(client, topic, idle=None):
    """The header's values of all messages of a topic; `client`: properties of the Kafka client."""
    return map(proof_of, messages(client, topic, idle))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--brokers', required=True)
    parser.add_argument('--topic', required=True)
    parser.add_argument('--property', action='append', default=[], metavar='NAME=VALUE', help='of the Kafka client')
    parser.add_argument('--agent', help='only what the agent with this agent.id has shipped')
    parser.add_argument('--until', choices=['end'], default='end', help='what the topic holds at the start')
    parser.add_argument('--idle', type=float, metavar='SECONDS', help='until nothing has come for so long')
    parser.add_argument('--retained', action='store_true', help='the topic may have lost its beginning')
    options = parser.parse_args()
    client = {'bootstrap.servers': options.brokers, **dict(pair.split('=', 1) for pair in options.property)}
    report = check(read(client, options.topic, options.idle))
    if options.agent is not None:
        wanted = agent_hash(options.agent)
        report.chains = {key: chain for key, chain in report.chains.items() if chain.agent == wanted}
    print(*report.lines(options.retained), sep='\n')
    return 1 if report.holes(options.retained) or not report.chains else 0


if __name__ == '__main__':
    sys.exit(main())
