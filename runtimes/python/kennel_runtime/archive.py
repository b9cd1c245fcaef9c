"""Unpacks a sourcedir.tar.gz that nobody has vouched for.

Rules: gzip tar only; names are relative and without `..`; only folders and regular files come to be on disk. A link
becomes a copy of the file it names inside the archive, so no link is ever written and none can be written through;
links to anything else, devices and pipes are refused. Entries, unpacked bytes and header sizes are bounded. The
folder appears whole or not at all.
"""

import gzip
import os
import posixpath
import shutil
import tarfile
import tempfile
import zlib

from .errors import ScriptModeError

MAX_BYTES = 1 << 30
MAX_ENTRIES = 50000
# tarfile reads a name or extended header with one `read`; no honest one comes near this.
MAX_READ = 1 << 20
CHUNK = 1 << 16


class _Bounded:
    """The unpacked stream with a bound on its length and on the size of one read."""

    def __init__(self, stream, limit):
        self._stream = stream
        self._limit = limit

    def read(self, size=-1):
        if size < 0 or size > MAX_READ:
            raise ScriptModeError("the archive has a header of %d bytes, at most %d are allowed" % (size, MAX_READ))
        data = self._stream.read(size)
        self._check(self._stream.tell())
        return data

    def seek(self, position, whence=os.SEEK_SET):
        if whence != os.SEEK_SET:
            raise OSError("only absolute seeks")
        self._check(position)
        return self._stream.seek(position)

    def tell(self):
        return self._stream.tell()

    def _check(self, position):
        if position > self._limit:
            raise ScriptModeError(
                "the archive unpacks to more than %d bytes\nhint: keep data out of the source folder, "
                "give it to the job as an input channel" % self._limit
            )


def extract(archive, target, max_bytes=MAX_BYTES, max_entries=MAX_ENTRIES):
    """Unpacks `archive` into the folder `target`, which is replaced. Raises ScriptModeError for a bad archive."""
    target = os.path.abspath(target)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    staging = tempfile.mkdtemp(prefix=".unpack-", dir=os.path.dirname(target))
    try:
        try:
            _unpack(archive, staging, max_bytes, max_entries)
        except (tarfile.TarError, EOFError, zlib.error, OSError, ValueError) as error:
            raise ScriptModeError("cannot unpack `%s`: %s\nhint: it has to be a gzip tar" % (archive, error))
        os.chmod(staging, 0o755)
        replace_folder(staging, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def replace_folder(source, target):
    """Moves the folder `source` to `target`, in place of what was there."""
    if os.path.isdir(target) and not os.path.islink(target):
        shutil.rmtree(target)
    os.rename(source, target)


def _unpack(archive, staging, max_bytes, max_entries):
    links = []
    # Headers count 512 bytes and more per entry on top of the content.
    stream_limit = max_bytes + 4096 * max_entries
    with gzip.open(archive, "rb") as unzipped, tarfile.open(
        fileobj=_Bounded(unzipped, stream_limit), mode="r:"
    ) as tar:
        left = max_bytes
        entries = 0
        while True:
            member = tar.next()
            # tarfile keeps every header it has read; this reader needs none of them again.
            tar.members = []
            if member is None:
                break
            entries += 1
            if entries > max_entries:
                raise ScriptModeError("the archive has more than %d entries" % max_entries)
            name = _checked_name(member.name)
            if not name:
                continue
            path = os.path.join(staging, name)
            if member.isdir():
                os.makedirs(path, exist_ok=True)
            elif member.isreg():
                left = _write(tar.extractfile(member), path, member.mode, left)
            elif member.issym():
                links.append((name, posixpath.join(posixpath.dirname(name), member.linkname), member.linkname))
            elif member.islnk():
                links.append((name, member.linkname, member.linkname))
            else:
                raise ScriptModeError("the archive entry `%s` is a device or a pipe" % name)
    for name, goal, shown in links:
        goal = posixpath.normpath(goal)
        # INVARIANT: staging holds no links, so this lexical check is also the physical one.
        inside = not (shown.startswith("/") or goal == ".." or goal.startswith("../"))
        source = os.path.join(staging, goal)
        if not inside or not os.path.isfile(source):
            raise ScriptModeError(
                "the archive entry `%s` is a link to `%s`, which is not a file of the archive\n"
                "hint: pack with `tar --dereference`" % (name, shown)
            )
        with open(source, "rb") as reader:
            left = _write(reader, os.path.join(staging, name), os.stat(source).st_mode, left)


def _checked_name(name):
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or "\\" in name or "\0" in name:
        raise ScriptModeError("the archive entry `%s` points outside the source folder" % name)
    return "/".join(part for part in parts if part not in ("", "."))


def _write(reader, path, mode, left):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    # A second entry of the same name replaces the first, as tar does.
    with open(path, "wb") as out:
        while True:
            chunk = reader.read(CHUNK)
            if not chunk:
                break
            left -= len(chunk)
            if left < 0:
                raise ScriptModeError("the archive unpacks to more bytes than a source folder may have")
            out.write(chunk)
    os.chmod(path, 0o755 if mode & 0o100 else 0o644)
    return left
