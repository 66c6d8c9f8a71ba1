"""What a disk may hold after a power cut, from the journal of inject.so.

The file system keeps a file's bytes from the end of its fsync(2) on, and names from that of the folder's. Of the rest anything
may be there: none of it, all of it, some sectors; names in the order in which they were changed, or with one change missing. What
is in a folder that has no name is gone."""
import dataclasses
import os

SECTOR = 512


@dataclasses.dataclass
class File:
    data: bytes = b''
    synced: bytes = b''

    def contents(self):
        """Each that may be found."""
        if self.data == self.synced:
            return [self.data]
        found = [self.data, self.synced, bytes(len(self.data))]
        sectors = range(0, len(self.data), SECTOR)
        for at in sectors:  # torn, and with one sector that never came
            found.append(self.data[:at])
            found.append(self.data[:at] + bytes(len(self.data[at:at + SECTOR])) + self.data[at + SECTOR:])
        return found


class Folder:
    pass


class Disk:
    def __init__(self):
        self.names = {}  # as they are surely found: name -> File or Folder
        self.changes = []  # since then: (what, name, name or File)

    @staticmethod
    def change(names, what, name, other):
        if what == 'make':
            names[name] = other
        elif what == 'unlink':
            names.pop(name, None)
        elif name in names:
            names[other] = names.pop(name)

    def present(self):
        names = dict(self.names)
        for change in self.changes:
            self.change(names, *change)
        return names

    def sync(self, name):
        file = self.present().get(name)
        if isinstance(file, File):
            file.synced = file.data
            return
        within = [change for change in self.changes if (os.path.dirname(change[1]) or '.') == name]
        for change in within:
            self.change(self.names, *change)
            self.changes.remove(change)

    def do(self, what, *arguments):
        name = arguments[0]
        if what in ('open', 'mkdir'):
            if name not in self.present():
                self.changes.append(('make', name, File() if what == 'open' else Folder()))
        elif what == 'write':
            file = self.present()[name]
            offset, data = int(arguments[1]), bytes.fromhex(arguments[2])
            file.data = file.data[:offset].ljust(offset, b'\0') + data + file.data[offset + len(data):]
        elif what == 'truncate':
            file = self.present()[name]
            file.data = file.data[:int(arguments[1])]
        elif what == 'sync':
            self.sync(name)
        else:
            self.changes.append((what, name, arguments[1] if what == 'rename' else None))

    def states(self):
        """Each folder that may be found: a dict of names and contents; a folder's content is None."""
        orders = [self.changes[:n] for n in range(len(self.changes) + 1)]
        orders += [self.changes[:n] + self.changes[n + 1:] for n in range(len(self.changes))]
        for order in orders:
            names = dict(self.names)
            for change in order:
                self.change(names, *change)
            names = {name: file for name, file in names.items() if has_place(names, name)}
            whole = {name: getattr(file, 'data', None) for name, file in names.items()}
            yield whole
            for name, file in names.items():
                for content in file.contents() if isinstance(file, File) else ():
                    yield {**whole, name: content}


def has_place(names, name):
    folder = os.path.dirname(name)
    return folder == '' or (folder in names and has_place(names, folder))


def states(path):
    """Each state that a power cut may leave at any time of the journal, once, with the last `written` line before it."""
    disk, written, seen = Disk(), 0, set()
    with open(path) as file:
        for text in file:
            what, *arguments = text.split()
            if what == 'written':
                written = int(arguments[0])
                continue
            disk.do(what, *arguments)
            for state in disk.states():
                key = frozenset(state.items())
                if key not in seen:
                    seen.add(key)
                    yield written, state
