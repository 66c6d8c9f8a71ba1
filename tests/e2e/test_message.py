"""What messages have beside key and value: headers, and their time."""
import datetime
import json
import time

import oracle
from agent import tail_to
from kafka import wait_until

HOUR = 3600 * 1000
DAY = 24 * HOUR


def read(broker, topic):
    """(timestamp type, ms, headers, value) of all messages."""
    from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
    consumer = Consumer(broker.client(**{'group.id': 'test'}))
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    count = oracle.topic_ends(broker.client(), topic)[0]
    found = []
    while len(found) < count:
        message = consumer.poll(60)
        assert message is not None and message.error() is None, f'{topic}: {message and message.error()}'
        found.append((*message.timestamp(), message.headers(), message.value()))
    consumer.close()
    return found


def stream(path, topic, **ship):
    made = tail_to(path, topic, encode='json', chain=['parse_json'], container='cri')
    made['ship'].update(ship)
    return made


def rfc3339(ms):
    return datetime.datetime.fromtimestamp(ms / 1000, datetime.timezone.utc).isoformat(timespec='milliseconds') \
        .replace('+00:00', 'Z')


def write(path, times, **fields):
    """Lines as a container's runtime writes them, with these times."""
    with open(path, 'a') as file:
        for ms in times:
            file.write(f'{rfc3339(ms)} stdout F {json.dumps({"t": ms, **fields})}\n')


def test_headers_have_constants_and_fields_and_are_left_out_without_their_field(broker, agents, topic, logs):
    headers = {'source': 'test', 'app': '%{app}', 'both': '%{app}/%{env}', 'sure': '%{env:-none}'}
    agent = agents(broker, {'app': stream(logs / 'a.log', topic, headers=headers)}).start()
    now = int(time.time() * 1000)
    write(logs / 'a.log', [now], app='web', env='live')
    write(logs / 'a.log', [now])
    agent.wait_done(2)
    agent.stop()
    found = [given for _, _, given, _ in read(broker, topic)]
    assert found == [
        [('source', b'test'), ('app', b'web'), ('both', b'web/live'), ('sure', b'live')],
        [('source', b'test'), ('sure', b'none')],
    ]


def test_messages_have_their_records_times_or_that_of_reading(broker, agents, topic, logs):
    """Old ones are those that the topic does not keep; one too far ahead would be refused."""
    path, now = logs / 'a.log', int(time.time() * 1000)
    times = {'recent': now - HOUR, 'old': now - 3 * DAY, 'ahead': now + 3 * HOUR}
    topics = {
        topic + '.keeps': ({'retention_ms': -1}, {}, {'recent', 'old'}),
        topic + '.days': ({'retention_ms': DAY}, {}, {'recent'}),
        topic + '.compacts': ({'retention_ms': DAY, 'cleanup_policy': 'compact'}, {'key': '%{t}'}, {'recent', 'old'}),
        topic + '.off': ({'retention_ms': -1}, {'max_age': 'off'}, {'recent', 'old'}),
        topic + '.set': ({'retention_ms': -1}, {'max_age': '2d'}, {'recent'}),
        topic + '.read': ({'retention_ms': -1}, {'timestamp': 'read'}, set()),
    }
    streams = {}
    for name, (properties, ship, _) in topics.items():
        broker.create_topic(name, message_timestamp_after_max_ms=HOUR, **properties)
        streams[name[len(topic) + 1:]] = stream(path, name, **ship)
    agent = agents(broker, streams).start()
    write(path, times.values())
    agent.wait_done(3 * len(topics), 60)
    accounts = agent.stop()
    ended = int(time.time() * 1000)
    for name, (_, ship, own) in topics.items():
        for (kind, ms), (_, stamp, _, value) in zip(times.items(), read(broker, name), strict=True):
            assert json.loads(value)['t'] == ms
            assert stamp == ms if kind in own else now <= stamp <= ended, f'{name}: {kind}: {stamp - now} ms from now'
        replaced = 0 if ship.get('timestamp') == 'read' else 3 - len(own)
        assert accounts[name[len(topic) + 1:]].get('time_replaced', 0) == replaced, name


def test_a_retention_that_is_changed_is_asked_for_once_more(broker, agents, topic, logs):
    """After a minute: so the agent is started again here, which asks, too."""
    from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource
    broker.create_topic(topic, retention_ms=-1)
    path, old = logs / 'a.log', int(time.time() * 1000) - 3 * DAY
    agent = agents(broker, {'app': stream(path, topic)}).start()
    write(path, [old])
    agent.wait_done(1)
    agent.stop()
    entry = ConfigEntry('retention.ms', str(10 * DAY), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])
    admin = broker.admin()
    admin.incremental_alter_configs([resource])[resource].result(30)
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    wait_until(lambda: admin.describe_configs([resource])[resource].result(30)['retention.ms'].value == str(10 * DAY), 30,
               'the changed retention')
    agent.start()
    write(path, [old, old - 10 * DAY])
    agent.wait_done(2)
    assert agent.stop()['app']['time_replaced'] == 1
    stamps = [stamp for _, stamp, _, _ in read(broker, topic)]
    assert stamps[:2] == [old, old] and stamps[2] > old + 2 * DAY
