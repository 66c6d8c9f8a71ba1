"""Fixtures: brokers, agents, topics; and what a failed or finished run shows."""
import re
import shutil

import pytest

from agent import Agent, Setup
from kafka import KafkaBroker

@pytest.fixture(scope='session')
def broker(tmp_path_factory):
    """The one broker that is shared by all tests that leave it alone."""
    broker = KafkaBroker(tmp_path_factory.mktemp('kafka'))
    yield broker.start()
    broker.stop()
    shutil.rmtree(broker.data, ignore_errors=True)


@pytest.fixture
def own_broker(tmp_path):
    """A broker to be stopped, killed or frozen."""
    broker = KafkaBroker(tmp_path / 'kafka')
    yield broker.start()
    broker.kill()
    shutil.rmtree(broker.data, ignore_errors=True)


@pytest.fixture
def late_broker(tmp_path):
    """One that is not there yet: start() it."""
    broker = KafkaBroker(tmp_path / 'kafka')
    broker.format()
    yield broker
    broker.kill()
    shutil.rmtree(broker.data, ignore_errors=True)


@pytest.fixture
def topic(request):
    """A name for this test's topic."""
    return re.sub(r'[^a-zA-Z0-9._-]', '.', request.node.name)[:200]


@pytest.fixture
def logs(tmp_path):
    """A folder for the files that are tailed."""
    folder = tmp_path / 'logs'
    folder.mkdir()
    return folder


@pytest.fixture
def agents(request, tmp_path):
    """agents(broker, streams, …) makes an agent. What still runs at the end is stopped, and every account checked."""
    request.node.agents = made = []

    def make(broker, streams, state='state', **more):
        made.append(Agent(tmp_path, Setup(broker, streams, tmp_path / state, **more), len(made)))
        return made[-1]

    yield make
    for agent in made:
        agent.finish()


@pytest.fixture
def report(request):
    """report(text): counts that are shown at the end of the run."""
    def add(text):
        line = f'{request.node.name}: {text}'
        print(line)
        request.node.user_properties.append(('count', line))
    return add


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    result = (yield).get_result()
    if not result.failed:
        return
    for agent in getattr(item, 'agents', []):
        result.sections.append((f'log of {agent.name}', agent.log_tail()))
    own = item.funcargs.get('own_broker') if hasattr(item, 'funcargs') else None
    if own is not None:
        result.sections.append(('log of the broker', own.log_tail()))


def pytest_terminal_summary(terminalreporter):
    reports = terminalreporter.getreports('passed') + terminalreporter.getreports('failed')
    counts = [text for report in reports if report.when == 'call' for name, text in report.user_properties if name == 'count']
    if counts:
        terminalreporter.section('counts')
        for line in counts:
            terminalreporter.write_line(line)
