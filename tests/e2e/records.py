"""Files of which the records are known: each text grows by records(), and knows what is to come out of it.

An expected record is a dict of fields; `log.offset` and `message` are always among them.
"""
import datetime
import json
import random

EPOCH = datetime.datetime(2025, 1, 1)

TRACES = {
    'java': '''\
Exception in thread "main" com.example.shop.OrderException: order 1234 could not be paid
\tat com.example.shop.Orders.pay(Orders.java:88)
\tat com.example.shop.Main.main(Main.java:12)
\tSuppressed: java.io.IOException: close failed
\t\tat com.example.shop.Connection.close(Connection.java:44)
\t\t... 2 more
Caused by: java.net.SocketTimeoutException: Read timed out
\tat java.base/java.net.SocketInputStream.read(SocketInputStream.java:168)
\t... 17 common frames omitted
Caused by: java.lang.IllegalStateException
\tat com.example.shop.Pool.take(Pool.java:7)
\t... 20 more''',
    'python': '''\
Traceback (most recent call last):
  File "/srv/app/db.py", line 31, in query
    return cursor.execute(text)
           ^^^^^^^^^^^^^^^^^^^^
sqlite3.OperationalError: no such table: orders

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/srv/app/main.py", line 12, in <module>
    main()
  File "/srv/app/main.py", line 8, in main
    raise OrderError('no orders') from None
app.errors.OrderError: no orders''',
    'go': '''\
panic: runtime error: invalid memory address or nil pointer dereference
[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x48f5e6]

goroutine 1 [running]:
main.(*Shop).Pay(0x0, {0x4c2f10, 0x4})
\t/srv/app/main.go:21 +0x26
main.main()
\t/srv/app/main.go:9 +0x1d
exit status 2''',
    'ruby': '''\
/srv/app/order.rb:12:in `pay': not enough money (ArgumentError)
\tfrom /srv/app/order.rb:30:in `block in run'
\tfrom /srv/app/main.rb:3:in `<main>\'''',
    'php': '''\
PHP Fatal error:  Uncaught RuntimeException: no connection in /srv/app/Db.php:14
Stack trace:
#0 /srv/app/index.php(9): Db->open()
#1 {main}

Next LogicException: cannot pay in /srv/app/index.php:11
Stack trace:
#0 {main}
  thrown in /srv/app/index.php on line 11''',
    'dotnet': '''\
Unhandled exception. System.InvalidOperationException: cannot pay
 ---> System.TimeoutException: the bank does not answer
   at Shop.Bank.Ask() in /srv/app/Bank.cs:line 41
   --- End of inner exception stack trace ---
   at Shop.Orders.Pay() in /srv/app/Orders.cs:line 17''',
    'node': '''\
/srv/app/pay.js:10
    throw new Error('cannot pay');
    ^

Error: cannot pay
    at pay (/srv/app/pay.js:10:11)
    at Object.<anonymous> (/srv/app/main.js:3:1) {
  [cause]: Error: no connection
      at connect (/srv/app/bank.js:2:9)
}

Node.js v18.19.0''',
}


class Text:
    """Bytes of a file, and the records that they are."""

    def __init__(self, encoding='utf-8', end='\n', mark=b''):
        self.data = mark
        self.expected = []
        self.encoding = encoding
        self.end = end
        self.first = 0  # the mark belongs to the first line

    def line(self, text):
        """Returns the line's offset."""
        offset = self.first if self.first is not None else len(self.data)
        self.first = None
        self.data += (text + self.end).encode(self.encoding, 'surrogateescape')
        return offset

    def record(self, *lines, ends=1):
        """Lines that are `ends` records: one, or none when they are to be left out."""
        offsets = [self.line(text) for text in lines]
        if ends:
            self.expected.append({'log.offset': offsets[0], 'message': '\n'.join(lines)})
        return self


def words(chance, most=12):
    return ' '.join(chance.choices(['order', 'paid', '1234', 'Füße', '"quoted"', '{}', '€', 'at', '日本'], k=chance.randint(1, most)))


def stamp(number):
    """Runtime times, a millisecond apart."""
    return (EPOCH + datetime.timedelta(milliseconds=number)).strftime('%Y-%m-%dT%H:%M:%S.%f')


def cri(number, stream, tag, text):
    return f'{stamp(number)}789Z {stream} {tag} {text}\n'.encode()


def docker(number, stream, log, **more):
    return json.dumps({'log': log, 'stream': stream, **more, 'time': f'{stamp(number)}789Z'}).encode() + b'\n'


class Container:
    """A container's log: stdout and stderr write records of lines of parts, in any order among each other."""

    def __init__(self, formats, seed, count=150, heads='2025 '):
        self.data = b''
        self.expected = []
        self.chance = random.Random(seed)
        self.formats = formats
        self.heads = heads
        self.number = 0
        left = {'stdout': self.steps('stdout', count), 'stderr': self.steps('stderr', count)}
        while left:
            name = self.chance.choice(sorted(left))
            for _ in range(self.chance.randint(1, 4)):
                if next(left[name], None) is None:
                    del left[name]
                    break
            if self.chance.random() < 0.03:
                self.alone()
        for stream in ('stdout', 'stderr'):
            self.write(stream, self.heads + 'the last one stays open', True)

    def alone(self):
        """Something that no runtime wrote."""
        text = self.chance.choice(['', 'torn', '2025-01-01T00:00:00Z stdin F x', '{"log":"no stream\\n"}'])
        self.expected.append({'log.offset': len(self.data), 'message': text, 'stream': None})
        self.data += text.encode() + b'\n'

    def steps(self, stream, count):
        """Writes a part of a line at each step."""
        for _ in range(count):
            lines = [self.heads + words(self.chance)] + [' ' + words(self.chance) for _ in range(self.chance.choice([0, 0, 1, 3]))]
            first = None
            for text in lines:
                cuts = sorted(self.chance.randint(0, len(text)) for _ in range(self.chance.choice([0, 0, 0, 1, 2])))
                parts = [text[a:b] for a, b in zip([0] + cuts, cuts + [len(text)])]
                for i, part in enumerate(parts):
                    if first is None:
                        first = len(self.data), self.number
                    self.write(stream, part, i == len(parts) - 1)
                    yield True
            self.expected.append({'log.offset': first[0], 'message': '\n'.join(lines), 'stream': stream,
                                  '@timestamp': stamp(first[1]) + '789Z'})

    def write(self, stream, text, whole):
        if self.chance.choice(self.formats) == 'cri':
            self.data += cri(self.number, stream, 'F' if whole else 'P', text)
        else:
            self.data += docker(self.number, stream, text + ('\n' if whole else ''))
        self.number += 1
