"""What a disk may hold after a power cut, from the journal of inject.so.

The file system keeps a file's bytes from the end of its fsync(2) on, and names from that of the folder's. Of the rest anything
may be there: none of it, all of it, some sectors; names in the order in which they were changed, or with one change missing."""
import dataclasses

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


class Disk:
    def __init__(self):
        self.names = {}  # as they are surely found: name -> File
        self.changes = []  # since then: (what, name, name or File)

    @staticmethod
    def change(names, what, name, other):
        if what == 'open':
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

    def do(self, what, *arguments):
        name = arguments[0]
        if what == 'open':
            if name not in self.present():
                self.changes.append(('open', name, File()))
        elif what == 'write':
            file = self.present()[name]
            offset, data = int(arguments[1]), bytes.fromhex(arguments[2])
            file.data = file.data[:offset].ljust(offset, b'\0') + data + file.data[offset + len(data):]
        elif what == 'sync' and name == '.':
            self.names, self.changes = self.present(), []
        elif what == 'sync':
            file = self.present()[name]
            file.synced = file.data
        else:
            self.changes.append((what, name, arguments[1] if what == 'rename' else None))

    def states(self):
        """Each folder that may be found: a dict of names and contents."""
        orders = [self.changes[:n] for n in range(len(self.changes) + 1)]
        orders += [self.changes[:n] + self.changes[n + 1:] for n in range(len(self.changes))]
        for order in orders:
            names = dict(self.names)
            for change in order:
                self.change(names, *change)
            whole = {name: file.data for name, file in names.items()}
            yield whole
            for name, file in names.items():
                for content in file.contents():
                    yield {**whole, name: content}


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
                key = tuple(sorted(state.items()))
                if key not in seen:
                    seen.add(key)
                    yield written, state
