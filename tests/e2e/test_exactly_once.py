"""delivery: exactly-once: a read_committed consumer sees every line once, in order, whatever happens to agent and broker."""
import os
import random
import re
import shutil
import time

import pytest

import oracle
from agent import SLOW, run, tail_to
from oracle import Writer, compare

RATE = 3000  # lines a second of each writer
POSITIONS = 'splashdam.positions'
FENCED = 78


def exactly_once(agents, broker, streams, **more):
    agent = agents(broker, streams, **more)
    agent.setup.tree['kafka']['delivery'] = 'exactly-once'
    return agent


def check(broker, topic, written):
    """Nothing lost, nothing doubled, in order. read_topic() reads what is committed."""
    return compare(written, oracle.read_topic(broker.client(), topic)).check()


def test_every_line_once(own_broker, agents, logs, report):
    own_broker.create_topic('plain', partitions=3)
    agent = exactly_once(agents, own_broker, {'app': tail_to(logs / '*.log', 'plain')}, workers=2).start()
    with Writer(logs / 'a.log', 'a', RATE) as a, Writer(logs / 'b.log', 'b', RATE) as b:
        agent.wait_read(RATE * 4)
        written = {'a': a.stop(), 'b': b.stop()}
    agent.wait_done(sum(written.values()))
    accounts = agent.stop()
    assert accounts['app']['delivered'] == sum(written.values())
    report(check(own_broker, 'plain', written).text())
