"""Kafka away for long, away again and again, and everything killed meanwhile: what goes to disk comes back whole.

What a kill may repeat: what Kafka acknowledged and nobody had saved yet, and what was on its way, which the agent's
memory bounds. Both are counted at each kill. FAULTS_SEED repeats a run."""
import os
import random
import time

import oracle
from agent import SLOW, tail_to
from faults import ALL
from oracle import Writer, compare
from spooling import AWAY, BACK, SOON, folder, size

MEMORY = 2**22  # of records
MOVES_MEANWHILE = 5000  # records, between the look at the accounts and the kill
UNSAVED_SECONDS = 1.5


def seeded(report):
    seed = int(os.environ.get('FAULTS_SEED') or random.randrange(10**9))
    report(f'FAULTS_SEED={seed}')
    return random.Random(seed)


class Killed:
    """An agent that is killed at any moment, and what that may cost."""

    def __init__(self, agent):
        self.agent = agent
        self.kills = 0
        self.allowed = 0
        self.samples = []  # time, records delivered since the start, records in flight

    def start(self):
        self.samples = [(0, 0, 0)]
        self.agent.start()

    def live(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(min(0.1, max(0, end - time.monotonic())))
            self.sample()

    def sample(self):
        account = self.agent.look()['app']
        self.samples.append((time.monotonic(), account['delivered'], account['in_flight']))

    def kill(self):
        self.sample()
        self.agent.kill9()
        self.kills += 1
        now, delivered, in_flight = self.samples[-1]
        before = [count for when, count, _ in self.samples if when < now - UNSAVED_SECONDS * SLOW]
        self.allowed += delivered - before[-1] + in_flight + MOVES_MEANWHILE


def test_backlog_ten_times_the_memory_goes_through_the_disk(own_broker, agents, logs, report):
    own_broker.create_topic('backlog', partitions=2)
    memory, limit = (2**25, 96 * 2**20) if ALL else (MEMORY, 48 * 2**20)
    count, rate = 10 * memory // len(oracle.lines('burst', 0, 1000)) * 1000, 2000
    agent = agents(own_broker, {'app': tail_to(logs / '*.log', 'backlog')}, spool=SOON, memory=str(memory)).start()
    with Writer(logs / 'live.log', 'live', rate) as writer:
        agent.wait_read(rate)
        own_broker.kill()
        agent.wait_for_log(AWAY)
        oracle.write_file(logs / 'burst.log', 'burst', count)
        agent.wait_read(count, 120)
        spooled = size(folder(agent))
        own_broker.start()
        began, before = time.monotonic(), agent.look()['app']['delivered']
        agent.wait_for_log(BACK, 120)
        drained = (agent.look()['app']['delivered'] - before) / (time.monotonic() - began)
        written = {'burst': count, 'live': writer.stop()}
    agent.wait_idle()
    agent.stop()
    result = compare(written, oracle.read_topic(own_broker.client(), 'backlog')).check()
    assert drained >= 3 * rate / SLOW, f'{drained:.0f} lines a second were sent, and {rate} came'
    report(f'{result.text()} {agent.check_memory(limit)} spool={spooled / 2**20:.0f}MiB drained={drained:.0f}/s input={rate}/s')


def test_broker_that_comes_and_goes_while_logs_rotate_loses_nothing(own_broker, agents, logs, report):
    chance = seeded(report)
    own_broker.create_topic('flaps', partitions=3)
    rounds, kills = (180, 20) if ALL else (2, 2)
    agent = agents(own_broker, {'app': tail_to(logs / '*.log', 'flaps')}, spool=SOON, memory=str(MEMORY), workers=2)
    killed = Killed(agent)
    killed_in = set(chance.sample(range(rounds), kills))
    with Writer(logs / 'a.log', 'a', 500, rotate_every=3) as a, Writer(logs / 'b.log', 'b', 500, rotate_every=4) as b:
        killed.start()
        for n in range(rounds):
            killed.live(5 if ALL else 2)
            own_broker.kill()
            killed.live(chance.uniform(0, 3))
            if n in killed_in:
                killed.kill()
                time.sleep(chance.uniform(0, 1))
                killed.start()
            killed.live(2)
            own_broker.start()
        written = {'a': a.stop(), 'b': b.stop()}
    agent.wait_idle()
    agent.stop()
    result = compare(written, oracle.read_topic(own_broker.client(), 'flaps')).check(killed.allowed)
    report(f'{rounds} outages, {killed.kills} kills: {result.text()} D<={killed.allowed} {agent.check_memory(96 * 2**20)}')


def test_agent_and_broker_killed_at_random_lose_nothing(own_broker, agents, logs, report):
    """kill -9 of the agent, of the broker, of both, and a broker that is stopped for a while; in any order."""
    chance = seeded(report)
    own_broker.create_topic('kills', partitions=2)
    kinds = ['agent', 'both'] * (25 if ALL else 2) + ['broker', 'frozen'] * (25 if ALL else 1)
    chance.shuffle(kinds)
    agent = agents(own_broker, {'app': tail_to(logs / '*.log', 'kills')}, memory=str(MEMORY), workers=2,
                   spool={**SOON, 'after': '300ms', 'segment_bytes': '256KiB'})
    killed = Killed(agent)
    with Writer(logs / 'a.log', 'a', 2000) as a, Writer(logs / 'b.log', 'b', 2000, rotate_every=5) as b:
        killed.start()
        for what in kinds:
            if what in ('broker', 'both'):
                own_broker.kill()
            if what == 'frozen':
                own_broker.freeze()
            killed.live(chance.uniform(0, 1.5))
            if what in ('agent', 'both'):
                killed.kill()
                time.sleep(chance.uniform(0, 0.5))
                killed.start()
            killed.live(chance.uniform(0, 1.5))
            if what in ('broker', 'both'):
                own_broker.start(wait=chance.random() < 0.7)
            if what == 'frozen':
                own_broker.thaw()
        own_broker.wait_ready()
        written = {'a': a.stop(), 'b': b.stop()}
    agent.wait_idle()
    agent.stop()
    result = compare(written, oracle.read_topic(own_broker.client(), 'kills')).check(killed.allowed)
    report(f'{killed.kills} kills of the agent, {kinds.count("both")} with the broker: {result.text()} D<={killed.allowed}')
