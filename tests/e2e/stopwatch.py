"""How long lines take from their writing to a consumer: each has the monotonic time of its writing in it, `t=<ns> `."""
import re
import threading
import time

from confluent_kafka import Consumer, TopicPartition

STAMP = re.compile(rb't=(\d+) ')


class Stopwatch:
    """Consumes a topic from its present end on, until it is stopped. Everything must be on one machine."""

    def __init__(self, client, topic, partitions=1):
        self.delays = []  # seconds
        self.consumer = Consumer({**client, 'group.id': 'stopwatch', 'enable.auto.commit': False})
        ends = [TopicPartition(topic, p, self.consumer.get_watermark_offsets(TopicPartition(topic, p), 10)[1])
                for p in range(partitions)]
        self.consumer.assign(ends)
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exception):
        self.stopped.set()
        self.thread.join()
        self.consumer.close()

    def run(self):
        while not self.stopped.is_set():
            messages = self.consumer.consume(1000, 0.05) if self.behind() else [self.consumer.poll(0.1)]
            now = time.monotonic_ns()
            for message in messages:
                if message is not None and message.error() is None:
                    self.delays.append((now - int(STAMP.match(message.value())[1])) / 1e9)

    def behind(self):
        """Late anyway: many at a time are then as good as one by one, and cheaper."""
        return bool(self.delays) and self.delays[-1] > 1

    def wait(self, count, seconds=30):
        end = time.monotonic() + seconds
        while len(self.delays) < count and time.monotonic() < end:
            time.sleep(0.02)
        if len(self.delays) < count:
            raise AssertionError(f'{len(self.delays)} of {count} lines came within {seconds:g} s')
        return self


def quantile(delays, q):
    ordered = sorted(delays)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


def text_of(delays):
    """In milliseconds."""
    return '  '.join('%s %.1f ms' % (name, quantile(delays, q) * 1000)
                     for name, q in (('p50', 0.5), ('p90', 0.9), ('p99', 0.99), ('max', 1.0)))
