"""perf.data → self time by object and the symbols that take most. Also: python3 profile_report.py perf.data"""
import collections
import re
import subprocess
import sys


def object_group(name):
    """A name that a reader knows for a shared object of perf's."""
    for pattern, group in (('kernel|vmlinux', 'kernel'), (r'splashdam', 'splashdam'), ('rdkafka', 'librdkafka'),
                           ('lz4', 'lz4'), ('zstd', 'zstd'), ('pcre2', 'pcre2'), (r'anon|JIT|perf-\d', 'pcre2 JIT'),
                           (r'libc[.-]|ld-linux', 'libc'), ('vdso', 'kernel')):
        if re.search(pattern, name):
            return group
    return re.sub(r'\.so.*', '', name)


def samples(data):
    """Yields (share in %, object, symbol) by self time."""
    out = subprocess.run(['perf', 'report', '-i', data, '--no-children', '--stdio', '-g', 'none', '-s', 'dso,sym',
                          '-t', '\t', '-q'], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    for line in out.splitlines():
        parts = [part.strip() for part in line.split('\t')]
        if len(parts) >= 3 and parts[0].endswith('%'):
            yield float(parts[0][:-1]), parts[1], re.sub(r'^\[[.k]\] ', '', parts[2])


def print_report(data, top=25):
    groups = collections.Counter()
    symbols = collections.Counter()
    for share, name, symbol in samples(data):
        group = object_group(name)
        groups[group] += share
        symbols[group, '(no symbols)' if symbol.startswith('0x') else symbol] += share
    if not groups:
        print('  perf recorded nothing here')
        return
    for group, share in groups.most_common(10):
        print('  %5.1f %%  %s' % (share, group))
    print('  the %d symbols that take most:' % top)
    for (group, symbol), share in symbols.most_common(top):
        print('  %5.1f %%  %-12s %s' % (share, group, symbol))


if __name__ == '__main__':
    print_report(sys.argv[1])
