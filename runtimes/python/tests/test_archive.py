"""Archives that nobody has vouched for."""

import gzip
import io
import os
import tarfile
import tempfile
import unittest

from . import support
from kennel_runtime import archive
from kennel_runtime.errors import ScriptModeError


def entry(name, kind=tarfile.REGTYPE, linkname="", mode=0o644):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, linkname, mode
    return info


class Extract(unittest.TestCase):
    def setUp(self):
        held = tempfile.TemporaryDirectory()
        self.addCleanup(held.cleanup)
        self.folder = held.name
        self.target = os.path.join(held.name, "job", "code")
        self.path = os.path.join(held.name, "a.tar.gz")

    def extract(self, entries, **limits):
        support.tar_gz(self.path, entries)
        archive.extract(self.path, self.target, **limits)

    def refused(self, entries, pattern, **limits):
        with self.assertRaisesRegex(ScriptModeError, pattern):
            self.extract(entries, **limits)
        self.nothing_left()

    def nothing_left(self):
        self.assertEqual(sorted(os.listdir(self.folder)), ["a.tar.gz", "job"])
        self.assertEqual(os.listdir(os.path.join(self.folder, "job")), [])

    def test_an_honest_archive(self):
        self.extract([
            (entry("./", tarfile.DIRTYPE), b""),
            ("./train.py", b"print(1)"),
            (entry("lib/run.sh", mode=0o4777), b"true"),
            (entry("lib/same.sh", tarfile.SYMTYPE, "run.sh"), b""),
            (entry("again.py", tarfile.LNKTYPE, "./train.py"), b""),
        ])
        self.assertEqual(support.read(self.target, "train.py"), "print(1)")
        self.assertEqual(support.read(self.target, "lib", "same.sh"), "true")
        self.assertEqual(support.read(self.target, "again.py"), "print(1)")
        self.assertFalse(os.path.islink(os.path.join(self.target, "lib", "same.sh")))
        self.assertEqual(os.stat(os.path.join(self.target, "lib", "run.sh")).st_mode & 0o7777, 0o755)

    def test_the_folder_is_replaced_whole(self):
        support.write(self.target, "old.py", "")
        self.extract([("new.py", b"")])
        self.assertEqual(os.listdir(self.target), ["new.py"])

    def test_a_bad_archive_leaves_the_old_folder(self):
        support.write(self.target, "old.py", "")
        with self.assertRaises(ScriptModeError):
            self.extract([("new.py", b""), ("../x", b"")])
        self.assertEqual(os.listdir(self.target), ["old.py"])
        self.assertEqual(os.listdir(os.path.dirname(self.target)), ["code"])

    def test_names_that_leave_the_folder(self):
        for name in ("../evil", "a/../../evil", "/evil", "a\\..\\evil"):
            self.refused([("ok.py", b""), (name, b"x")], "outside the source folder")

    def test_links_that_leave_the_folder(self):
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            for goal in ("/etc/passwd", "../../a.tar.gz", "missing", "."):
                self.refused([(entry("l", kind, goal), b"")], "is a link to")

    def test_writing_through_a_link(self):
        outside = os.path.join(self.folder, "job")
        self.refused([(entry("d", tarfile.SYMTYPE, ".."), b""), ("d/evil", b"x")], "is a link to|cannot unpack")
        self.assertEqual(os.listdir(outside), [])

    def test_devices_and_pipes(self):
        for kind in (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE):
            self.refused([(entry("d", kind), b"")], "device or a pipe")

    def test_a_bomb_of_bytes(self):
        self.refused([("big", b"\0" * 3000000)], "more", max_bytes=1000000)
        self.refused([("a", b"\0" * 600000), ("b", b"\0" * 600000)], "more", max_bytes=1000000)

    def test_a_bomb_of_links(self):
        links = [(entry("l%d" % i, tarfile.SYMTYPE, "big"), b"") for i in range(20)]
        self.refused([("big", b"\0" * 100000)] + links, "more", max_bytes=1000000)

    def test_a_bomb_of_entries(self):
        self.refused([("f%d" % i, b"") for i in range(30)], "more than 20 entries", max_entries=20)

    def test_a_bomb_in_a_header(self):
        # A name of 8 MiB in a GNU long-name entry, which tarfile would read into memory in one piece.
        head = entry("././@LongLink", tarfile.GNUTYPE_LONGNAME)
        self.refused([(head, b"a" * (8 << 20)), ("x", b"")], "header of")

    def test_what_is_no_archive(self):
        packed = io.BytesIO()
        with gzip.open(packed, "wb") as f:
            f.write(b"no tar at all" * 1000)
        support.tar_gz(self.path, [("a.py", os.urandom(5000))])
        with open(self.path, "rb") as f:
            cut = f.read()[:-2000]
        for data in (b"", b"plain", packed.getvalue(), cut):
            with open(self.path, "wb") as f:
                f.write(data)
            with self.assertRaisesRegex(ScriptModeError, "cannot unpack", msg=data[:20]):
                archive.extract(self.path, self.target)
            self.nothing_left()
