"""Outages that go to disk: what comes out of the spool again, and what a full one does."""
import os
import time

import pytest

import oracle
from agent import SLOW, tail_to
from kafka import KafkaBroker, wait_until
from oracle import Writer, compare
from spooling import AT_ONCE, AWAY, BACK, NOWHERE, SMALL, SOON, Gauge, all_on_disk, connect, folder, segments, size, wait_saved

MEMORY = 96 * 2**20
SEGMENT = 2**17  # one of SMALL: a frame may be larger than segment_bytes


def write_and_delete(agent, folder, count, lines):
    """Files that are gone while Kafka is away. Returns what was written."""
    written = {}
    for n in range(count):
        path = folder / f'gone{n}.log'
        written[path.stem] = lines
        oracle.write_file(path, path.stem, lines)
        agent.wait_read(agent.look()['app']['read'] + lines // 2)
        all_on_disk(agent, lines * (n + 1))
        os.unlink(path)
    return written


def test_an_outage_with_rotation_and_deletion_loses_nothing(own_broker, agents, logs, report):
    own_broker.create_topic('outage', partitions=2)
    agent = agents(own_broker, {'app': tail_to(logs / '*.log', 'outage')}, spool=SOON).start()
    with Writer(logs / 'live.log', 'live', 2000, rotate_every=5000) as writer:
        time.sleep(1)
        own_broker.kill()
        agent.wait_for_log(AWAY)
        written = write_and_delete(agent, logs, 5, 20000)
        own_broker.start()
        agent.wait_for_log(BACK, 60)
        written['live'] = writer.stop()
    agent.wait_idle()
    agent.stop()
    result = compare(written, oracle.read_topic(own_broker.client(), 'outage')).check()
    report(f'{result.text()} {agent.check_memory(MEMORY)}')


def test_order_of_each_source_is_kept_over_workers_and_the_spool(own_broker, agents, logs, report):
    own_broker.create_topic('workers', partitions=3)
    agent = agents(own_broker, {'app': tail_to(logs / '*.log', 'workers')}, workers=3, spool=SOON).start()
    writers = [Writer(logs / f'{src}.log', src, 700, rotate_every=3) for src in 'abcdef']
    try:
        for writer in writers:
            writer.start()
        for _ in range(2):
            time.sleep(1)
            own_broker.kill()
            agent.wait_for_log(AWAY)
            time.sleep(2)
            own_broker.start()
            time.sleep(1)
    finally:
        written = {writer.src: writer.stop() for writer in writers}
    agent.wait_idle()
    accounts = agent.stop()
    assert accounts['app']['spool_in'] > 0
    result = compare(written, oracle.read_topic(own_broker.client(), 'workers')).check()
    report(f'{result.text()} spool_in={accounts["app"]["spool_in"]}')


# ---- at its cap ----

FULL = {**SMALL, 'max_bytes': '6MiB'}
CAP = 6 * 2**20
MANY = 150000  # lines, 20 MB


def test_full_spool_that_blocks_loses_nothing(late_broker, agents, logs, report):
    agent = agents(late_broker, {'app': tail_to(logs / '*.log', 'block')}, spool=FULL, memory='1MiB').start()
    with Gauge(folder(agent)) as gauge:
        oracle.write_file(logs / 'a.log', 'a', MANY)
        wait_until(lambda: size(folder(agent)) > CAP - SEGMENT, 60 * SLOW, 'the spool to be full')
        before = agent.look()['app']['read']
        spent, began = agent.cpu(), time.monotonic()
        time.sleep(3)
        idle = (agent.cpu() - spent) / (time.monotonic() - began)
        assert agent.look()['app']['read'] == before < MANY, 'a full spool did not stop the reading'
        late_broker.start()
        agent.wait_done(MANY, 120)
    assert agent.stop()['app']['discarded'] == 0
    assert gauge.most <= CAP + SEGMENT and idle < 0.05
    result = compare({'a': MANY}, oracle.read_topic(late_broker.client(), 'block')).check()
    report(f'{result.text()} most={gauge.most / 2**20:.1f}MiB of 6MiB, {idle:.1%} of a CPU while full')


@pytest.mark.parametrize('which', ['newest', 'oldest'])
def test_full_spool_that_drops_counts_exactly_what_is_lost(which, late_broker, agents, logs, report):
    agent = agents(late_broker, {'app': tail_to(logs / '*.log', 'drop')}, memory='1MiB',
                   spool={**FULL, 'when_full': f'drop_{which}'}).start()
    with Gauge(folder(agent)) as gauge:
        oracle.write_file(logs / 'a.log', 'a', MANY)
        agent.wait_read(MANY, 60)
        wait_saved(agent)
        account = agent.look()['app']
        oracle.write_file(logs / 'a.log', 'a', 1000, first=MANY)
        agent.wait_read(MANY + 1000, 60)
        late_broker.start()
        agent.wait_for_log(BACK, 60)
        oracle.write_file(logs / 'a.log', 'a', 1000, first=MANY + 1000)
        agent.wait_done(MANY + 2000, 120)
    account = agent.stop()['app']
    result = compare({'a': MANY + 2000}, oracle.read_topic(late_broker.client(), 'drop'))
    counts = result.counts()
    assert counts['L'] == account['discarded'] == account[f'discarded_spool_{which}'] > 0
    assert [counts[k] for k in 'DOCX'] == [0] * 4, result.text()
    lost = sorted(seq for _, seq in result.lost)
    assert max(lost) < MANY + 1000 and lost[0] > 0
    if which == 'oldest':
        assert max(lost) - min(lost) + 1 == len(lost), 'what is given up is what waited longest, without a gap'
    assert gauge.most <= CAP + SEGMENT
    report(f'{result.text()} discarded={account["discarded"]} most={gauge.most / 2**20:.1f}MiB of 6MiB')


def test_missing_topic_fills_only_its_share_of_the_spool(tmp_path, agents, logs, report):
    broker = KafkaBroker(tmp_path / 'kafka', {'auto.create.topics.enable': 'false'}).start()
    try:
        broker.create_topic('good')
        streams = {src: tail_to(logs / f'{src}.log', src) for src in ('good', 'missing')}
        agent = agents(broker, streams, spool={**FULL, 'after': '1s'}).start()
        with Gauge(os.path.join(agent.state, 'spool')) as gauge:
            oracle.write_file(logs / 'missing.log', 'missing', MANY)
            wait_until(lambda: size(folder(agent, 'missing')) > CAP * 3 / 4 - SEGMENT, 60 * SLOW, 'the share to be used up')
            began = time.monotonic()
            oracle.write_file(logs / 'good.log', 'good', MANY)
            agent.wait_account(lambda _: agent.accounts()['good']['delivered'] == MANY, 60, 'the good stream to go on')
            rate = MANY / (time.monotonic() - began)
            most = size(folder(agent, 'missing'))
            broker.create_topic('missing')
            agent.wait_done(2 * MANY, 120)
        accounts = agent.stop()
        assert accounts['good'].get('spool_in', 0) == 0, 'the good stream went by the disk'
        assert rate > 20000 / SLOW and most <= CAP * 3 / 4 + SEGMENT and gauge.most <= CAP + SEGMENT
        for src in ('good', 'missing'):
            compare({src: MANY}, oracle.read_topic(broker.client(), src)).check()
        report(f'L=0 D=0 O=0, share={most / 2**20:.1f}MiB of 6MiB, good={rate:.0f} lines/s meanwhile')
    finally:
        broker.kill()


@pytest.mark.parametrize('when_full', ['block', 'drop_newest'])
def test_what_a_full_spool_left_with_the_client_is_read_again_after_a_kill(when_full, tmp_path, agents, logs, report):
    """The client has more than the spool takes. What it delivers makes room for newer lines, while older ones still wait for their
    topic: the newer ones' place in the file must not be taken for how far all of it is done."""
    broker = KafkaBroker(tmp_path / 'kafka', {'auto.create.topics.enable': 'false'}).start()
    try:
        broker.create_topic('good')
        broker.kill()
        stream = tail_to(logs / 'a.log', '%{src}', chain=[{'parse_regex': {'pattern': '^src=(?<src>[^ ]+) ', 'keep': True}}])
        agent = agents(broker, {'app': stream}, spool={**SMALL, 'max_bytes': '1MiB', 'when_full': when_full})
        oracle.write_file(logs / 'a.log', 'good', 8000)
        oracle.write_file(logs / 'a.log', 'missing', 2000)
        agent.start()
        agent.wait_read(10000)
        agent.wait_for_log(AWAY)
        wait_saved(agent)
        oracle.write_file(logs / 'a.log', 'good', 1000, first=8000)
        agent.wait_read(10000 + 100)  # a batch that waits for room
        broker.start()
        agent.wait_account(lambda all: sum(a['delivered'] for a in all) >= 8000, 30, 'what can be delivered')
        oracle.write_file(logs / 'a.log', 'good', 1000, first=9000)
        agent.wait_account(lambda all: sum(a.get('spool_in', 0) for a in all) >= 1000, 30, 'newer lines to go to disk')
        wait_saved(agent)
        agent.kill9()
        broker.create_topic('missing')
        agent.start()
        agent.wait_for_log(BACK, 60)
        agent.wait_idle()
        agent.stop()
        messages = oracle.read_topic(broker.client(), 'good') + oracle.read_topic(broker.client(), 'missing')
        result = compare({'good': 10000, 'missing': 2000}, messages).check(duplicates=2000)
        report(f'{result.text()} D<=2000')
    finally:
        broker.kill()


def test_deliveries_that_time_out_are_sent_again_in_order(own_broker, agents, logs, report):
    own_broker.create_topic('timeout')
    agent = agents(own_broker, {'app': tail_to(logs / '*.log', 'timeout')}, spool=SOON, memory='1MiB',
                   properties={'message.timeout.ms': 1000}).start()
    with Writer(logs / 'a.log', 'a', 3000) as writer:
        agent.wait_done(1000)
        in_flight = 0
        for _ in range(2):
            own_broker.freeze()
            agent.wait_for_log(AWAY)
            in_flight += 2**20 // 256  # as many as the memory has room for
            time.sleep(6)
            own_broker.thaw()
            time.sleep(3)
        written = {'a': writer.stop()}
    agent.wait_idle()
    assert agent.stop()['app']['discarded'] == 0
    result = compare(written, oracle.read_topic(own_broker.client(), 'timeout')).check(duplicates=in_flight)
    report(f'{result.text()} D<={in_flight}')


# ---- starts and reloads in the middle of an outage ----

def test_stops_in_an_outage_lose_and_double_nothing(broker, agents, topic, logs, report):
    agent = agents(NOWHERE, {'app': tail_to(logs / '*.log', topic)}, spool=SOON, drain='500ms', workers=2)
    longest = 0
    for n in range(3):
        for src in 'ab':
            oracle.write_file(logs / f'{src}.log', src, 10000, first=10000 * n)
        agent.start()
        if n == 0:
            agent.wait_for_log(AWAY)
        agent.wait_read(20000)
        if n > 0:  # what it found in the spool is with the client, and the new lines go to disk all the same
            agent.wait_account(lambda all: sum(a.get('spool_in', 0) for a in all) >= 20000, 30, 'the new lines on disk')
        status, seconds = agent.terminate()
        longest = max(longest, seconds)
        assert status == 0
        agent.check_accounts(left=True)
    assert longest < 5 * SLOW
    connect(agent, broker)
    agent.start()
    agent.wait_for_log(BACK, 60)
    agent.wait_idle()
    agent.stop()
    result = compare({'a': 30000, 'b': 30000}, oracle.read_topic(broker.client(), topic)).check()
    report(f'{result.text()} longest stop {longest:.1f} s')


@pytest.mark.parametrize('end', ['stop', 'kill9'])
def test_spool_knows_the_positions_when_their_file_is_gone(end, broker, agents, topic, logs, report):
    agent = agents(NOWHERE, {'app': tail_to(logs / '*.log', topic)}, spool=AT_ONCE, drain='100ms')
    for src in 'ab':
        oracle.write_file(logs / f'{src}.log', src, 20000)
    agent.start()
    agent.wait_read(40000)
    agent.wait_for_log(AWAY)
    wait_saved(agent)
    if end == 'stop':
        agent.stop(left=True)
    else:
        agent.kill9()
    for name in os.listdir(agent.state):
        if name.startswith('positions'):
            os.unlink(os.path.join(agent.state, name))
    oracle.write_file(logs / 'a.log', 'a', 1000, first=20000)
    connect(agent, broker)
    agent.start()
    agent.wait_for_log(BACK, 60)
    agent.wait_idle()
    assert agent.stop()['app']['spool_found'] == 40000
    report(compare({'a': 21000, 'b': 20000}, oracle.read_topic(broker.client(), topic)).check().text())


def test_reload_in_an_outage_keeps_what_each_stream_has_on_disk(late_broker, agents, logs, report):
    def stream(src, **more):
        return tail_to(logs / f'{src}.log', src, **more)

    def write(src, first):
        oracle.write_file(logs / f'{src}.log', src, 10000, first=first)

    agent = agents(late_broker, {'changed': stream('changed'), 'removed': stream('removed')}, spool=SOON).start()
    write('changed', 0)
    write('removed', 0)
    agent.wait_read(20000)
    agent.wait_for_log(AWAY + '.*"removed"')
    agent.wait_for_log(AWAY + '.*"changed"')
    write('removed', 10000)
    agent.wait_account(lambda _: agent.accounts()['removed'].get('spool_in') == 10000, 30, 'it to go to disk')
    agent.setup.tree['streams'] = {'changed': stream('changed', chain=[{'set': {'also': 'this'}}]), 'added': stream('added')}
    assert 'holds' in agent.reload()
    write('changed', 10000)  # read when nothing of the stream as it was before is in flight
    write('added', 0)
    write('removed', 20000)  # nobody's any more
    agent.wait_account(lambda _: agent.accounts()['added']['read'] == 10000, 30, 'the new stream to be read')
    late_broker.start()
    agent.wait_for_log('account: removed stream=removed', 60)
    agent.wait_idle()
    agent.stop()
    for src, count in (('changed', 20000), ('removed', 20000), ('added', 10000)):
        result = compare({src: count}, oracle.read_topic(late_broker.client(), src)).check()
        report(f'{src}: {result.text()}')
