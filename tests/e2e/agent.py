"""splashdam as the tests use it: configured, started, stopped, killed, and held to its account."""
import json
import os
import re
import signal
import subprocess
import time

from kafka import ROOT, wait_until

BUILD = os.path.join(ROOT, os.environ.get('BUILD', 'build'))
BINARY = os.path.join(BUILD, 'splashdam')
SANITIZED = os.path.basename(BUILD).startswith('build-')
SLOW = 4 if SANITIZED else 1  # how much longer things may take
ACCOUNT = re.compile(r' account: (stream=.*)')
REMOVED = re.compile(r' account: removed (stream=.*)')
RELOADED = re.compile(r' reload: the (new configuration holds .*|configuration is refused, .*)')
START_SECONDS = 20 * SLOW
STOP_SECONDS = 20 * SLOW


def run(*arguments, data=None, seconds=30):
    """A command to its end. Its output is text."""
    return subprocess.run([BINARY, *map(str, arguments)], input=data, capture_output=True, text=True,
                          errors='surrogateescape', timeout=seconds * SLOW)


def tail_to(paths, topic, encode='raw', chain=None, key=None, **tail):
    """A stream's definition."""
    paths = paths if isinstance(paths, list) else [paths]
    stream = {'tail': {'paths': [str(path) for path in paths], **tail}, 'ship': {'topic': topic, 'encode': encode}}
    if chain is not None:
        stream['chain'] = chain
    if key is not None:
        stream['ship']['key'] = key
    return stream


def settled(account):
    return account['in_flight'] == 0 and account['spooled'] == 0


def all_settled(accounts):
    return all(settled(a) for a in accounts)


def finished(account):
    return account['read'] + account.get('spool_found', 0) - account['in_flight'] - account['spooled']


class Setup:
    """A configuration. It is written as JSON, which is YAML too."""

    def __init__(self, broker, streams, state, properties=None, spool=None, **agent):
        brokers = broker if isinstance(broker, str) else [broker.bootstrap]
        self.state = str(state)
        self.tree = {
            'agent': {'id': 'tested', 'state': self.state, **agent},
            'kafka': {'brokers': brokers, 'properties': {'linger.ms': 5, **(properties or {})}},
            'streams': streams,
        }
        if spool is not None:
            self.tree['spool'] = spool

    def write(self, path):
        os.makedirs(self.state, mode=0o700, exist_ok=True)
        with open(f'{path}.new', 'w') as file:
            json.dump(self.tree, file, indent=2)
        os.replace(f'{path}.new', path)  # an agent that reads it meanwhile sees all of it


class Agent:
    """One agent; it may run several times, one after the other, on the same state."""

    def __init__(self, folder, setup, number=0):
        self.name = f'agent-{number}'
        self.setup = setup
        self.state = setup.state
        self.file = os.path.join(str(folder), f'{self.name}.yaml')
        self.log = os.path.join(str(folder), f'{self.name}.log')
        self.log_start = 0  # where the present run's log begins
        self.process = None
        self.wrapper = []  # a command that ends in exec "$@"
        self.peak = 0  # bytes, over all runs

    # ---- running ----

    def start(self, wait=True):
        assert self.process is None, f'{self.name} runs already'
        self.setup.write(self.file)
        self.log_start = os.path.getsize(self.log) if os.path.exists(self.log) else 0
        with open(self.log, 'ab') as log:
            self.process = subprocess.Popen([*self.wrapper, BINARY, 'run', '-c', self.file], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log)
        if wait:
            self.wait_for_log(r' info main: running', START_SECONDS)
        return self

    def terminate(self, seconds=None):
        """SIGTERM; returns the exit status and how many seconds it took."""
        self.note_memory()
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        return self.wait(seconds or STOP_SECONDS), time.monotonic() - began

    def wait(self, seconds):
        process, self.process = self.process, None
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f'{self.name} did not end within {seconds:g} s') from None

    def hang_up(self):
        self.process.send_signal(signal.SIGHUP)

    def reload(self):
        """Takes what the setup is now. Returns what the agent says of it."""
        self.setup.write(self.file)
        before = len(RELOADED.findall(self.log_text()))
        self.hang_up()
        return wait_until(lambda: RELOADED.findall(self.log_text())[before:], START_SECONDS,
                          f'{self.name} to reload', pause=0.01)[0]

    def stop(self, left=False):
        """A clean stop: exit 0 and accounts that balance, with nothing in flight unless `left`. Returns them."""
        status, _ = self.terminate()
        assert status == 0, f'{self.name} ended with {status}'
        return self.check_accounts(left)

    def kill9(self):
        self.note_memory()
        self.process.kill()
        self.wait(10)

    def finish(self):
        """The end of a test: whatever still runs is stopped cleanly, and has nothing to hide."""
        if self.process is not None:
            self.stop()
        self.check_log()

    # ---- its account ----

    def accounts(self):
        """The newest account in this run's log of each stream that was not removed."""
        found = {}
        for text in self.log_text().splitlines():
            match = ACCOUNT.search(text) or REMOVED.search(text)
            if match is None:
                continue
            pairs = dict(pair.split('=', 1) for pair in match[1].split())
            stream = pairs.pop('stream')
            found[stream] = {key: int(value) for key, value in pairs.items()}
            if match.re is REMOVED:
                account = found.pop(stream)
                self.check_law(stream, account)
                assert account['in_flight'] == 0, f'{self.name}: {stream} was removed before it was delivered'
        return found

    def check_accounts(self, left=False):
        accounts = self.accounts()
        assert set(accounts) == set(self.setup.tree['streams']), f'{self.name} has not accounted for every stream'
        for stream, a in accounts.items():
            self.check_law(stream, a)
            assert left or settled(a), f'{self.name}: {stream} has in_flight={a["in_flight"]} spooled={a["spooled"]}'
        return accounts

    def check_law(self, stream, a):
        total = a['delivered'] + a['dropped'] + a['discarded'] + a['spooled'] + a['in_flight']
        assert a['read'] + a.get('spool_found', 0) == total, f'{self.name}: the account of {stream} does not balance: {a}'

    def look(self):
        """The accounts now; each balances."""
        before = len(ACCOUNT.findall(self.log_text()))
        streams = len(self.setup.tree['streams'])
        self.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: len(ACCOUNT.findall(self.log_text())) >= before + streams, 10 * SLOW,
                   f'an account of {self.name}', pause=0.01)
        accounts = self.accounts()
        for stream, account in accounts.items():
            self.check_law(stream, account)
        return accounts

    def wait_read(self, count, seconds=30):
        """Until so many lines were read, of all streams together."""
        return self.wait_account(lambda all: sum(a['read'] for a in all) >= count, seconds, f'{count} lines read')

    def wait_done(self, count, seconds=30):
        """Until so many lines have an outcome, of all streams together, those that were in the spool at the start included."""
        return self.wait_account(lambda all: sum(finished(a) for a in all) >= count, seconds,
                                 f'{count} lines finished')

    def wait_idle(self, quiet=1.5, seconds=60):
        """Until nothing was read for a while, and nothing is in flight. For when it isn't known what is still to come."""
        newest = [None, 0.0]

        def idle(all):
            now = time.monotonic()
            read = [a['read'] for a in all]
            if read != newest[0]:
                newest[:] = read, now
            return now - newest[1] >= quiet * SLOW and all_settled(all)
        return self.wait_account(idle, seconds, 'all there is to do')

    def wait_account(self, condition, seconds, what):
        def look():
            self.check_alive()
            accounts = self.look()
            return accounts if condition(accounts.values()) else None
        return wait_until(look, seconds * SLOW, lambda: f'{what} by {self.name}: {self.accounts()}', pause=0.2)

    def check_left(self, count):
        """The last run said at its end that so many records are left."""
        text = self.log_text()
        assert re.search(rf' warn main: .* left={count}\b', text), f'{self.name} did not say left={count}'

    # ---- its log and its memory ----

    def log_text(self):
        with open(self.log, errors='replace') as file:
            file.seek(self.log_start)
            return file.read()

    def log_tail(self, lines=40):
        if not os.path.exists(self.log):
            return ''
        with open(self.log, errors='replace') as file:
            return ''.join(file.readlines()[-lines:])

    def wait_for_log(self, pattern, seconds=20):
        def look():
            found = re.search(pattern, self.log_text())
            if found is None:
                self.check_alive()
            return found
        return wait_until(look, seconds * SLOW, f'{pattern!r} in the log of {self.name}', pause=0.02)

    def check_alive(self):
        if self.process.poll() is not None:
            raise AssertionError(f'{self.name} ended with {self.process.returncode}:\n{self.log_tail()}')

    def check_log(self):
        """Over all runs: no broken account, no sanitizer's finding."""
        if not os.path.exists(self.log):
            return
        with open(self.log, errors='replace') as file:
            bad = [text for text in file if re.search(r'does not balance|Sanitizer|runtime error:', text)]
        assert not bad, f'in the log of {self.name}: {"".join(bad[:10])}'

    def note_memory(self):
        with open(f'/proc/{self.process.pid}/status') as file:
            found = re.search(r'VmHWM:\s+(\d+) kB', file.read())
        self.peak = max(self.peak, int(found[1]) * 1024 if found else 0)

    def cpu(self):
        """Seconds of a processor that it has used."""
        with open(f'/proc/{self.process.pid}/stat') as file:
            fields = file.read().rsplit(')', 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')

    def check_memory(self, limit):
        """Sanitizers need memory of their own."""
        limit = limit * 16 if SANITIZED else limit
        assert 0 < self.peak <= limit, f'{self.name} had {self.peak / 2**20:.1f} MiB at its peak'
        return f'peak={self.peak / 2**20:.1f}MiB'
