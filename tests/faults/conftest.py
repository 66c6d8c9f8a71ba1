"""The scenarios' fixtures (tests/e2e/conftest.py), and a mock broker for runs by the hundred."""
import importlib.util
import os

import pytest

from faults import MockBroker
from kafka import ROOT

# By its path: two modules can't both be called conftest.
SPEC = importlib.util.spec_from_file_location('scenarios', os.path.join(ROOT, 'tests', 'e2e', 'conftest.py'))
scenarios = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(scenarios)
broker, own_broker, topic, logs, agents, report = (scenarios.broker, scenarios.own_broker, scenarios.topic,
                                                   scenarios.logs, scenarios.agents, scenarios.report)
pytest_runtest_makereport = scenarios.pytest_runtest_makereport
pytest_terminal_summary = scenarios.pytest_terminal_summary


@pytest.fixture
def mock():
    broker = MockBroker()
    yield broker
    broker.stop()
