"""The harness itself: the oracle detects what it is there for, and the broker does as it is told."""
import os

import pytest
from confluent_kafka import Producer

import oracle
from kafka import wait_until
from oracle import Message, compare


def messages(count=100, src='a', partition=0):
    return [Message(partition, n, None, oracle.line(src, n)) for n in range(count)]


def differences(read, written=None):
    counts = compare(written or {'a': 100}, read).counts()
    return {name: count for name, count in counts.items() if count}


def test_oracle_accepts_what_was_written():
    compare({'a': 100, 'b': 50}, messages() + messages(50, 'b', 1)).check()


def test_oracle_detects_a_lost_line():
    read = messages()
    del read[41]
    assert differences(read) == {'L': 1}
    with pytest.raises(AssertionError, match=r"L=1 [\s\S]*lost: \('a', 41\)"):
        compare({'a': 100}, read).check()


def test_oracle_detects_a_lost_last_line_and_a_silent_file():
    assert differences(messages(99)) == {'L': 1}
    assert differences(messages(), {'a': 100, 'b': 7}) == {'L': 7}


def test_oracle_detects_a_doubled_line_and_bounds_it():
    read = messages()
    read.append(read[41])
    assert differences(read) == {'D': 1}
    compare({'a': 100}, read).check(duplicates=1)
    with pytest.raises(AssertionError, match='D=1'):
        compare({'a': 100}, read).check()


def test_oracle_detects_an_inversion_within_a_partition_only():
    read = messages()
    read[10], read[11] = read[11], read[10]
    assert differences(read) == {'O': 1}
    apart = [m._replace(partition=n % 2) for n, m in enumerate(read)]
    assert differences(apart) == {}


def test_oracle_takes_a_copy_in_another_partition_for_no_inversion():
    elsewhere = [m._replace(partition=1) for m in messages()[50:60]]
    assert differences(messages() + elsewhere) == {'D': 10}
    assert differences(elsewhere + messages()) == {'D': 10}
    late = [m._replace(partition=1) for m in messages()[40:50]]
    assert differences(messages() + elsewhere + late) == {'D': 20}
    read = messages()
    read[40], read[41] = read[41], read[40]
    assert differences(read + [m._replace(partition=1) for m in read[41:43]]) == {'D': 2}
    assert differences(read + elsewhere + [read[40]]) == {'D': 11, 'O': 1}


@pytest.mark.parametrize('spoil', [
    lambda text: text[:-1],
    lambda text: text + b'x',
    lambda text: text.replace(b'crc=', b'crc=0')[:len(text)],
    lambda text: text[:-2] + bytes([text[-2] ^ 1]) + text[-1:],
    lambda text: text + b'\r',
])
def test_oracle_detects_a_changed_byte(spoil):
    read = messages()
    read[41] = read[41]._replace(value=spoil(read[41].value))
    found = differences(read)
    assert found in ({'C': 1}, {'X': 1, 'L': 1}), found


def test_oracle_detects_what_nobody_wrote():
    assert differences(messages() + [Message(0, 100, None, b'halfway through a line')]) == {'X': 1}
    assert differences(messages(101)) == {'X': 1}
    assert differences(messages() + messages(1, 'b')) == {'X': 1}
    assert differences(messages() + [Message(0, 100, None, None)]) == {'X': 1}


def test_lines_carry_the_checksum_of_their_body():
    for seq in range(2000):
        head, body = oracle.line('a', seq).split(b' ', 3)[2:]
        assert head == b'crc=%08x' % oracle.crc32c(body)
        assert b'\n' not in body and not body.endswith(b'\r')


def test_crc32c_is_castagnolis():
    assert oracle.crc32c(b'123456789') == 0xe3069283


def test_rotating_writer_leaves_every_line_in_one_of_its_files(tmp_path):
    with oracle.Writer(tmp_path / 'app.log', 'a', rate=5000, rotate_every=0.1) as writer:
        wait_until(lambda: writer.rotations >= 5, 10, 'rotations')
        count = writer.stop()
    order = [f'app.log.{n}' for n in range(writer.rotations, 0, -1)] + ['app.log']
    assert b''.join((tmp_path / name).read_bytes() for name in order) == oracle.lines('a', 0, count)
    assert len(os.listdir(tmp_path)) == writer.rotations + 1


def produce(broker, topic, count, first=0):
    producer = Producer(broker.client(**{'enable.idempotence': True, 'queue.buffering.max.messages': 1000000}))
    for seq in range(first, first + count):
        producer.produce(topic, oracle.line('a', seq))
    assert producer.flush(30) == 0


def test_both_readers_see_every_byte(broker, topic):
    topic = broker.create_topic(topic, partitions=3)
    produce(broker, topic, 20000)
    compare({'a': 20000}, oracle.read_topic(broker.client(), topic)).check()
    compare({'a': 20000}, oracle.read_topic_with_kcat(broker.bootstrap, topic)).check()


def test_topic_that_is_not_there_reads_as_empty(broker, topic):
    assert oracle.read_topic(broker.client(), topic) == []


def test_broker_keeps_what_it_acknowledged_when_killed_stopped_and_frozen(own_broker):
    own_broker.create_topic('kept')
    produce(own_broker, 'kept', 1000)
    own_broker.kill()
    own_broker.start()
    produce(own_broker, 'kept', 1000, 1000)
    own_broker.restart()
    own_broker.freeze()
    assert not own_broker.answers()
    own_broker.thaw()
    own_broker.wait_ready()
    compare({'a': 2000}, oracle.read_topic(own_broker.client(), 'kept')).check()
