"""docs/plugins.md does what it says: its plugin is built out of the tree, against the installed header, and tried."""
import os
import re
import shutil
import subprocess

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get('BUILD', 'build'))


def blocks(language):
    with open(os.path.join(ROOT, 'docs', 'plugins.md'), encoding='utf-8') as page:
        return re.findall(rf'^```{language}\n(.*?)^```', page.read(), re.M | re.S)


def run(command, folder, **more):
    return subprocess.run(command, shell=isinstance(command, str), cwd=folder, text=True, capture_output=True, **more)


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """An empty folder, and splashdam installed beside it."""
    folder = tmp_path_factory.mktemp('plugin')
    installed = folder / 'root'
    suffix = os.path.basename(BUILD)[len('build'):].lstrip('-').replace('-', ',')
    made = run(['make', 'install', f'DESTDIR={installed}', 'PREFIX=/usr', f'SAN={suffix}', f'B={BUILD}'], ROOT)
    assert made.returncode == 0, made.stderr
    (folder / 'upper.c').write_text(blocks('c')[0])
    built = run(blocks('sh')[0].replace('cc ', f'cc -Werror -I{installed}/usr/include '), folder)
    assert built.returncode == 0, built.stderr
    shutil.copy(folder / 'upper.so', installed / 'usr/lib/splashdam/plugins')
    (folder / 'try.yaml').write_text(
        f'agent: {{plugins: {installed}/usr/lib/splashdam/plugins}}\n' + blocks('yaml')[0])
    return folder


def environment(place):
    return {**os.environ, 'PATH': f'{place}/root/usr/bin:{os.environ["PATH"]}',
            'SPLASHDAM_PLUGINS': f'{place}/root/usr/lib/splashdam/plugins'}


def test_the_pages_plugin_gives_the_pages_output(place):
    tried = run(blocks('sh')[1], place, env=environment(place))
    assert tried.stderr == ''
    assert tried.stdout == blocks('json')[0]


def test_its_options_are_listed_from_its_table(place):
    listed = run('splashdam plugins upper', place, env=environment(place))
    assert listed.returncode == 0, listed.stderr
    assert 'The field to turn into capitals.' in listed.stdout
    assert 'upper: {field: level}' in listed.stdout


def test_a_mistake_in_its_options_is_told_with_its_place(place):
    wrong = place / 'wrong.yaml'
    wrong.write_text(blocks('yaml')[0].replace('{field: level', '{feild: level'))
    checked = run('splashdam check -c wrong.yaml', place, env=environment(place))
    assert checked.returncode == 1
    assert checked.stderr.startswith('wrong.yaml:7:17: unknown key "feild" in upper; did you mean "field"?')


def test_a_plugin_of_another_version_is_refused_with_both_numbers(place):
    source = (place / 'upper.c').read_text().replace('.abi = PLUGIN_ABI', '.abi = PLUGIN_ABI + 1') \
        .replace('"upper"', '"old"')
    (place / 'old.c').write_text(source)
    built = run(f'cc -std=gnu11 -I{place}/root/usr/include -fPIC -fvisibility=hidden -shared '
                f'-o {place}/root/usr/lib/splashdam/plugins/old.so old.c', place)
    assert built.returncode == 0, built.stderr
    (place / 'old.yaml').write_text((place / 'try.yaml').read_text().replace('- upper: {field: level, ', '- old: {'))
    checked = run('splashdam check -c old.yaml', place, env=environment(place))
    os.remove(place / 'root/usr/lib/splashdam/plugins/old.so')
    assert checked.returncode == 1
    assert 'built for version 2 of the plugin interface and this agent has version 1' in checked.stderr
