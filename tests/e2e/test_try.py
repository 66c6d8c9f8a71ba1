"""`splashdam try`: lines on standard input, records on standard output, nothing of Kafka."""
import json
import subprocess

import pytest

from agent import BINARY


def attempt(tmp_path, data, encode='raw', chain=None, max_line='300B', stream='tested'):
    """Bytes in, (status, bytes out, text of errors)."""
    file = tmp_path / 'try.yaml'
    file.write_text(json.dumps({
        'kafka': {'brokers': 'nowhere:1'},
        'streams': {'tested': {'tail': {'paths': '/nowhere', 'max_line': max_line}, 'chain': chain,
                               'ship': {'topic': 't', 'encode': encode}}}}))
    done = subprocess.run([BINARY, 'try', '-c', str(file), '-s', stream], input=data, capture_output=True, timeout=60)
    return done.returncode, done.stdout, done.stderr.decode()


LINES = {
    'nothing': (b'', []),
    'one line': (b'a\n', [b'a']),
    'last line without its end': (b'a\nb', [b'a', b'b']),
    'empty lines': (b'\n\n', [b'', b'']),
    'carriage return before the line end': (b'a\r\nb\rc\r\n\r\n', [b'a', b'b\rc', b'']),
    'any bytes': (b'\xff\x00\x80\n', [b'\xff\x00\x80']),
    'line of the greatest length': (b'x' * 300 + b'\r\ny\n', [b'x' * 300, b'y']),
    'line that is cut': (b'x' * 301 + b'\ny\n', [b'x' * 300, b'y']),
    'line that is cut over many reads': (b'x' * 5_000_000 + b'\ny\n', [b'x' * 300, b'y']),
    'line that is cut at the end': (b'y\n' + b'x' * 1_000_000, [b'y', b'x' * 300]),
    'more lines than a batch has': (b'line\n' * 10_000, [b'line'] * 10_000),
}


@pytest.mark.parametrize('name', LINES)
def test_lines_come_out_as_they_went_in(name, tmp_path):
    data, lines = LINES[name]
    status, out, errors = attempt(tmp_path, data)
    assert (status, errors) == (0, '')
    assert out == b''.join(line + b'\n' for line in lines)


def test_records_go_through_chain_and_encoding(tmp_path):
    data = b'{"a":1}\r\n{"a":404}\n\n{"b":"\xff"}'
    status, out, errors = attempt(tmp_path, data, 'json', ['parse_json', {'drop': {'when': 'a == 404'}}])
    assert (status, errors) == (0, '')
    records = [json.loads(line) for line in out.splitlines()]
    assert [record['log.offset'] for record in records] == [0, 19, 20]
    assert [record.get('a') for record in records] == [1, None, None]
    assert records[2]['b'] == '\ufffd'
    assert all('log.file.path' not in record and record['host.name'] for record in records)


def test_stream_that_is_not_there_names_the_nearest(tmp_path):
    status, out, errors = attempt(tmp_path, b'a\n', stream='testd')
    assert (status, out) == (1, b'')
    assert 'did you mean "tested"?' in errors


def test_output_that_cannot_be_written_is_an_error(tmp_path):
    attempt(tmp_path, b'')
    with open('/dev/full', 'wb') as full:
        done = subprocess.run([BINARY, 'try', '-c', str(tmp_path / 'try.yaml'), '-s', 'tested'], input=b'a\n',
                              stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 1
    assert 'standard output' in done.stderr.decode()
