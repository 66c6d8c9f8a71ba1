"""What a line is."""
import time

import oracle
from agent import tail_to
from oracle import compare

MIB = 2**20


def append(path, data):
    with open(path, 'ab') as file:
        file.write(data)


def values(broker, topic):
    return [message.value for message in oracle.read_topic(broker.client(), topic)]


def test_incomplete_last_line_waits_for_its_end(broker, agents, topic, logs):
    path = logs / 'app.log'
    agent = agents(broker, {'app': tail_to(path, topic)})
    append(path, b'first\nsecond, half')
    agent.start().wait_done(1)
    agent.wait_idle(quiet=0.5)
    assert values(broker, topic) == [b'first']
    append(path, b' and whole\nthird')
    agent.wait_done(2)
    agent.stop()
    assert values(broker, topic) == [b'first', b'second, half and whole']
    append(path, b' after a restart\n')
    agent.start().wait_done(1)
    agent.stop()
    assert values(broker, topic) == [b'first', b'second, half and whole', b'third after a restart']


def test_line_that_comes_byte_by_byte_is_one_record(broker, agents, topic, logs):
    path = logs / 'app.log'
    agent = agents(broker, {'app': tail_to(path, topic)}).start()
    for byte in 'Füße 🌲\r\n'.encode():
        append(path, bytes([byte]))
        time.sleep(0.05)
    agent.wait_done(1)
    agent.stop()
    assert values(broker, topic) == ['Füße 🌲'.encode()]


def test_line_ends_are_no_part_of_lines_and_all_else_is(broker, agents, topic, logs):
    text = b'unix\nwindows\r\n\n\r\nreturn \r within\ntwo returns\r\r\n\x00\n\xff\xfe\n tab\t \n'
    expected = [b'unix', b'windows', b'', b'', b'return \r within', b'two returns\r', b'\x00', b'\xff\xfe', b' tab\t ']
    append(logs / 'app.log', text)
    agent = agents(broker, {'app': tail_to(logs / 'app.log', topic)}).start()
    agent.wait_done(len(expected))
    account = agent.stop()['app']
    assert values(broker, topic) == expected
    assert account['bytes_read'] == len(text)


def test_very_long_line_is_cut_and_the_next_is_whole(broker, agents, topic, logs, report):
    broker.create_topic(topic, max_message_bytes=4 * MIB)
    giant = b'<' + b'0123456789abcdef' * (3 * MIB // 16) + b'>'
    exact = b'=' * MIB
    append(logs / 'app.log', b'before\n' + giant + b'\nbetween\n' + exact + b'\n' + exact + b'\r\nafter\n')
    agent = agents(broker, {'app': tail_to(logs / 'app.log', topic, max_line='1MiB')},
                   properties={'message.max.bytes': 4 * MIB}).start()
    agent.wait_done(6)
    account = agent.stop()['app']
    assert values(broker, topic) == [b'before', giant[:MIB], b'between', exact, exact, b'after']
    assert account['cut_lines'] == 1 and account['cut_bytes'] == len(giant) - MIB
    report(f'{agent.check_memory(64 * MIB)} cut_bytes={account["cut_bytes"]}')


def test_very_long_line_that_grows_across_a_restart_is_one_record(broker, agents, topic, logs):
    path = logs / 'app.log'
    agent = agents(broker, {'app': tail_to(path, topic, max_line='1KiB')})
    append(path, b'before\n' + b'x' * 5000)
    agent.start().wait_read(1)
    agent.wait_idle(quiet=0.5)
    agent.stop()
    append(path, b'y' * 5000 + b'\nafter\n')
    agent.start()
    agent.wait_idle(quiet=0.5)
    agent.stop()
    assert values(broker, topic) == [b'before', b'x' * 1024, b'after']


def test_bytes_of_every_kind_arrive_as_they_were(broker, agents, topic, logs):
    oracle.write_file(logs / 'app.log', 'a', 3000)
    agent = agents(broker, {'app': tail_to(logs / 'app.log', topic)}).start()
    agent.wait_done(3000)
    agent.stop()
    compare({'a': 3000}, oracle.read_topic_with_kcat(broker.bootstrap, topic)).check()
