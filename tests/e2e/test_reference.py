"""The generated reference is that of this build, and the schema says what the agent does."""
import copy
import json
import os
import re

import pytest

from agent import run
from kafka import ROOT

TYPES = {'object': dict, 'array': list, 'string': str, 'boolean': bool, 'null': type(None)}


@pytest.mark.parametrize('form, file', [('markdown', 'configuration.md'), ('schema', 'splashdam.schema.json')])
def test_generated_reference_is_not_stale(form, file):
    generated = run('reference', form)
    assert generated.returncode == 0, generated.stderr
    with open(os.path.join(ROOT, 'docs', file)) as stored:
        assert stored.read() == generated.stdout, f'docs/{file} is stale: make docs'


def test_every_plugin_is_in_the_reference():
    names = [line.split()[0] for line in run('plugins').stdout.splitlines()]
    assert names == sorted(names) and 'parse_regex' in names
    markdown = run('reference', 'markdown').stdout
    step = json.loads(run('reference', 'schema').stdout)['definitions']['step']['anyOf'][1]
    for name in names:
        assert f'\n### {name}\n' in markdown
        assert step['properties'][name]['description']
        one = run('plugins', name)
        assert one.returncode == 0 and 'Example:' in one.stdout
        assert yaml_step_in(one.stdout.split('Example:')[1]) == name


def yaml_step_in(example):
    return re.search(r'^\s*(?:- )?(\w+)', example).group(1)


def is_type(value, name):
    if name in ('integer', 'number'):
        return isinstance(value, int if name == 'integer' else (int, float)) and not isinstance(value, bool)
    return isinstance(value, TYPES[name])


def valid(schema, value, root):
    """The part of JSON Schema, draft 7, that the schema uses."""
    known = {'$schema', '$ref', 'title', 'description', 'default', 'definitions', 'type', 'enum', 'anyOf', 'pattern',
             'minimum', 'maximum', 'items', 'minItems', 'maxItems', 'properties', 'required', 'additionalProperties',
             'propertyNames', 'minProperties', 'maxProperties'}
    assert set(schema) <= known, set(schema) - known
    if '$ref' in schema:
        return valid(root['definitions'][schema['$ref'].split('/')[-1]], value, root)
    types = schema.get('type', [])
    types = types if isinstance(types, list) else [types]
    checks = [not types or any(is_type(value, name) for name in types),
              'enum' not in schema or value in schema['enum'],
              'anyOf' not in schema or any(valid(each, value, root) for each in schema['anyOf'])]
    if isinstance(value, str):
        checks.append(re.search(schema.get('pattern', ''), value) is not None)
    if is_type(value, 'number'):
        checks.append(schema.get('minimum', value) <= value <= schema.get('maximum', value))
    if isinstance(value, list):
        checks.append(schema.get('minItems', 0) <= len(value) <= schema.get('maxItems', len(value)))
        checks += [valid(schema.get('items', {}), each, root) for each in value]
    if isinstance(value, dict):
        checks.append(schema.get('minProperties', 0) <= len(value) <= schema.get('maxProperties', len(value)))
        checks.append(set(schema.get('required', [])) <= set(value))
        for name, each in value.items():
            checks.append(valid(schema.get('propertyNames', {}), name, root))
            rest = schema.get('additionalProperties', {})
            each_schema = schema.get('properties', {}).get(name, rest)
            checks.append(each_schema is not False and valid(each_schema, each, root))
    return all(checks)


GOOD = {
    'agent': {'id': 'web-1', 'state': '/var/lib/splashdam', 'workers': 2, 'drain': '10s', 'memory': '32MiB'},
    'kafka': {'brokers': ['kafka-1:9092'], 'properties': {'linger.ms': 20, 'compression.codec': 'zstd'}},
    'streams': {'app': {
        'tail': {'paths': ['/var/log/*.log'], 'exclude': '*.gz', 'start': 'end', 'max_line': 65536},
        'chain': ['parse_json', {'parse_json': None}, {'parse_regex': {'pattern': '^(?<a>.)', 'types': {'a': 'number'}}},
                  {'drop': {'when': 'a == 404'}}, {'set': {'host': 'x', 'n': 5}}, {'set': {'a': 'b', 'when': 'a == 1'}},
                  {'rename': {'a': 'b'}}, {'remove': ['a', 'b']}],
        'ship': {'topic': 'logs.%{app}', 'key': '%{a}', 'partitioner': 'murmur2_random', 'encode': 'json'}}}}


def good_with(**paths):
    """GOOD with values set at dotted places; None of the word `remove` takes one out."""
    tree = copy.deepcopy(GOOD)
    for path, value in paths.items():
        *folders, name = path.split('__')
        node = tree
        for folder in folders:
            node = node[folder]
        if value == 'remove':
            del node[name]
        else:
            node[name] = value
    return tree


CASES = {
    'the whole': (GOOD, True),
    'workers as a word': (good_with(agent__workers='auto'), True),
    'time as a word': (good_with(streams__app__tail__start='beginning'), True),
    'time beside words': (good_with(streams__app__tail__start='1h'), True),
    'variable for a number': (good_with(agent__workers='${SPLASHDAM_WORKERS:-2}'), True),
    'variable for a word': (good_with(streams__app__ship__encode='${SPLASHDAM_ENCODE:-raw}'), True),
    'no chain': (good_with(streams__app__chain='remove'), True),
    'one broker': (good_with(kafka__brokers='a:1'), True),
    'unknown section': (good_with(stream={}), False),
    'unknown key': (good_with(streams__app__ship__topik='a'), False),
    'unknown step': (good_with(streams__app__chain=['parse_jsn']), False),
    'unknown option': (good_with(streams__app__chain=[{'parse_regex': {'patern': 'a'}}]), False),
    'step without what it needs': (good_with(streams__app__chain=[{'parse_regex': {}}]), False),
    'step by name without what it needs': (good_with(streams__app__chain=['parse_regex']), False),
    'two plugins in a step': (good_with(streams__app__chain=[{'parse_json': {}, 'drop': {'when': 'a == 1'}}]), False),
    'text in a list of steps': (good_with(streams__app__chain='parse_json'), False),
    'number out of range': (good_with(agent__workers=0), False),
    'size without its unit': (good_with(agent__memory='many'), False),
    'time without its unit': (good_with(agent__drain=10), False),
    'neither a time nor its word': (good_with(streams__app__tail__close_idle='soon'), False),
    'unknown word': (good_with(streams__app__ship__encode='xml'), False),
    'wrong word in a map': (good_with(streams__app__chain=[{'parse_regex': {'pattern': 'a', 'types': {'a': 'x'}}}]),
                            False),
    'list for a text': (good_with(streams__app__ship__topic=['a']), False),
    'no topic': (good_with(streams__app__ship__topic='remove'), False),
    'no ship': (good_with(streams__app__ship='remove'), False),
    'no paths': (good_with(streams__app__tail__paths=[]), False),
    'name of a stream': (good_with(streams={'a b': GOOD['streams']['app']}), False),
}


@pytest.mark.parametrize('name', CASES)
def test_schema_and_agent_agree(name, tmp_path):
    tree, right = CASES[name]
    schema = json.loads(run('reference', 'schema').stdout)
    file = tmp_path / 'tested.yaml'
    file.write_text(json.dumps(tree, indent=1))
    checked = run('check', '-c', file)
    assert (checked.returncode == 0) == right, checked.stderr
    assert valid(schema, tree, schema) == right
