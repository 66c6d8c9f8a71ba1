"""The wall clock goes wrong while the agent runs: set a day ahead, a day back. Only records' times may show it."""
import datetime
import json
import os
import shutil
import subprocess
import time

import oracle
from agent import BINARY, START_SECONDS, tail_to
from oracle import compare

DAY = 86400

# In front of libc for one process: CLOCK_REALTIME and its like are off by what the file says, CLOCK_MONOTONIC is not.
SHIM = r'''
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long offset(void)
{
    long seconds = 0;
    FILE *file = fopen(getenv("CLOCK_OFFSET_FILE"), "re");
    if (file == NULL || fscanf(file, "%ld", &seconds) != 1)
        abort();
    fclose(file);
    return seconds;
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
    int result = (int)syscall(SYS_clock_gettime, id, ts);
    if (result == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        ts->tv_sec += offset();
    return result;
}

int gettimeofday(struct timeval *tv, void *zone)
{
    struct timespec ts;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &ts);
    *tv = (struct timeval){ts.tv_sec, ts.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *ret)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    if (ret != NULL)
        *ret = ts.tv_sec;
    return ts.tv_sec;
}
'''


class Clock:
    def __init__(self, folder):
        self.file = folder / 'offset'
        self.shim = folder / 'shim.so'
        self.set(0)
        compiler = shutil.which('gcc') or shutil.which('cc')
        subprocess.run([compiler, '-shared', '-fPIC', '-O2', '-x', 'c', '-o', self.shim, '-'], input=SHIM.encode(),
                       check=True)

    def set(self, seconds):
        new = self.file.with_suffix('.new')
        new.write_text(f'{seconds}\n')
        os.replace(new, self.file)

    def start(self, agent):
        agent.setup.write(agent.file)
        environment = {**os.environ, 'LD_PRELOAD': str(self.shim), 'CLOCK_OFFSET_FILE': str(self.file),
                       'ASAN_OPTIONS': 'verify_asan_link_order=0'}
        with open(agent.log, 'ab') as log:
            agent.process = subprocess.Popen([BINARY, 'run', '-c', agent.file], stdin=subprocess.DEVNULL, stdout=log,
                                             stderr=log, env=environment)
        agent.wait_for_log(r' info main: running', START_SECONDS)
        return agent


def day_of(message, real):
    """Of the record's time: how many days from now."""
    stamp = datetime.datetime.fromisoformat(json.loads(message.value)['@timestamp'].replace('Z', '+00:00'))
    return round((stamp.timestamp() - real) / DAY)


def test_the_wall_clock_jumps_a_day_ahead_and_back(broker, agents, topic, logs, report):
    """The same file in two streams: byte by byte, and with the records' times."""
    path, timed = logs / 'a.log', topic + '.timed'
    for name in (topic, timed):
        broker.create_topic(name, message_timestamp_after_max_ms=2 * DAY * 1000)
    agent = agents(broker, {'raw': tail_to(path, topic, rescan='1s'), 'timed': tail_to(path, timed, encode='json')})
    clock = Clock(logs.parent)
    clock.start(agent)
    written, delays, real = 0, [], time.time()
    for offset in (0, DAY, 0, -DAY, DAY, 0):
        clock.set(offset)
        for count in (200, 200, 100):
            began = time.monotonic()
            oracle.write_file(path, 'a', count, first=written)
            written += count
            agent.wait_done(2 * written)
            delays.append(time.monotonic() - began)
        os.rename(path, logs / 'a.log.1')
    accounts = agent.stop()
    assert [accounts[stream]['read'] for stream in ('raw', 'timed')] == [written, written]
    result = compare({'a': written}, oracle.read_topic(broker.client(), topic)).check()
    days = [day_of(message, real) for message in oracle.read_topic(broker.client(), timed)]
    assert days == [0] * 500 + [1] * 500 + [0] * 500 + [-1] * 500 + [1] * 500 + [0] * 500
    report(f'{result.text()} slowest {max(delays):.2f} s')


def test_records_that_kafka_takes_for_the_future_wait_for_the_clock(broker, agents, topic, logs, report):
    """By default a topic takes none whose time is more than an hour ahead."""
    path = logs / 'a.log'
    broker.create_topic(topic, message_timestamp_after_max_ms=3600 * 1000)
    agent = agents(broker, {'app': tail_to(path, topic)})
    clock = Clock(logs.parent)
    clock.start(agent)
    oracle.write_file(path, 'a', 100)
    agent.wait_done(100)
    clock.set(DAY)
    oracle.write_file(path, 'a', 100, first=100)
    agent.wait_for_log('is tried again: .*; set this machine\'s clock')
    account = agent.look()['app']
    assert (account['in_flight'], account['discarded']) == (100, 0)
    clock.set(0)
    agent.wait_done(200)
    assert agent.stop()['app']['delivered'] == 200
    report(compare({'a': 200}, oracle.read_topic(broker.client(), topic)).check().text())
