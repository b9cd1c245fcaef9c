//! Zips, good and hostile.

use std::io::{Cursor, Write as _};

use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

use super::*;

/// An entry of a zip that a test makes.
pub(crate) enum Entry<'a> {
    /// A file with its mode and content.
    File(&'a str, u32, &'a [u8]),
    /// A folder.
    Folder(&'a str),
    /// A link and its target.
    Link(&'a str, &'a str),
}

/// A zip of entries.
pub(crate) fn zip_of(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default();
    for entry in entries {
        match entry {
            Entry::File(name, mode, bytes) => {
                writer.start_file(*name, options.unix_permissions(*mode)).unwrap();
                writer.write_all(bytes).unwrap();
            }
            Entry::Folder(name) => writer.add_directory(*name, options).unwrap(),
            Entry::Link(name, target) => writer.add_symlink(*name, *target, options).unwrap(),
        }
    }
    writer.finish().unwrap().into_inner()
}

/// A zip of plain files.
pub(crate) fn files(files: &[(&str, &[u8])]) -> Vec<u8> {
    let entries: Vec<Entry<'_>> =
        files.iter().map(|(name, bytes)| Entry::File(name, 0o644, bytes)).collect();
    zip_of(&entries)
}

/// Unpacks; answers the folder (what is outside of it is the test's own) and the bytes.
fn unpacked(zip: &[u8], limit: u64) -> (tempfile::TempDir, Result<u64, String>) {
    let around = tempfile::tempdir().unwrap();
    let path = around.path().join("zip");
    std::fs::write(&path, zip).unwrap();
    let folder = around.path().join("in");
    std::fs::create_dir(&folder).unwrap();
    let done = unpack(File::open(path).unwrap(), &folder, limit).map_err(|e| e.to_string());
    let outside: Vec<_> = std::fs::read_dir(around.path()).unwrap().collect();
    assert_eq!(outside.len(), 2, "something was made outside of the folder");
    (around, done)
}

fn refused(zip: &[u8]) -> String {
    unpacked(zip, UNPACKED).1.unwrap_err()
}

/// Replaces bytes of the same length, everywhere: local header and directory alike.
fn patched(mut zip: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let places: Vec<usize> = zip
        .windows(from.len())
        .enumerate()
        .filter(|(_, bytes)| *bytes == from)
        .map(|(at, _)| at)
        .collect();
    assert!(!places.is_empty());
    for at in places {
        zip[at..at + to.len()].copy_from_slice(to);
    }
    zip
}

#[cfg(unix)]
#[test]
fn files_are_read_only_and_executable_where_the_zip_says_so() {
    use std::os::unix::fs::PermissionsExt as _;
    let zip = zip_of(&[
        Entry::File("bootstrap", 0o755, b"#!/bin/sh\n"),
        Entry::File("handler.py", 0o600, b"x = 1\n"),
        Entry::Folder("empty/"),
        Entry::File("deep/er/data", 0o644, b"12345"),
        Entry::Link("deep/link", "er/data"),
        Entry::Link("up/link", "../handler.py"),
    ]);
    let (around, bytes) = unpacked(&zip, UNPACKED);
    assert_eq!(bytes, Ok(10 + 6 + 5));
    let folder = around.path().join("in");
    let mode =
        |name: &str| std::fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode("bootstrap"), 0o555);
    assert_eq!(mode("handler.py"), 0o444);
    assert!(folder.join("empty").is_dir());
    assert_eq!(std::fs::read(folder.join("deep/link")).unwrap(), b"12345");
    assert_eq!(std::fs::read(folder.join("up/link")).unwrap(), b"x = 1\n");
}

#[test]
fn names_that_leave_the_folder_are_refused() {
    for (name, what) in [
        ("../evil", "leaves the folder"),
        ("a/../../evil", "leaves the folder"),
        ("a/..", "leaves the folder"),
        ("/etc/evil", "has an absolute name"),
        ("a\\..\\evil", "backslash"),
    ] {
        let same = "x".repeat(name.len());
        let zip = patched(files(&[(&same, b"evil")]), same.as_bytes(), name.as_bytes());
        let text = refused(&zip);
        assert!(
            text.starts_with("Could not unzip uploaded file. Please check your file"),
            "{text}"
        );
        assert!(text.contains(what), "{name}: {text}");
    }
    let zip = patched(files(&[("abcd", b"")]), b"abcd", b"ab\0d");
    assert!(refused(&zip).contains("zero byte"), "{}", refused(&zip));
    let zip = patched(files(&[("abcd", b"")]), b"abcd", b"ab\xffd");
    assert!(refused(&zip).contains("not UTF-8"), "{}", refused(&zip));
}

#[test]
fn links_that_leave_the_folder_are_refused() {
    for (name, target, what) in [
        ("l", "/etc/passwd", "out of the folder"),
        ("l", "..", "out of the folder"),
        ("a/l", "../../x", "out of the folder"),
        ("a/l", "./../../x", "out of the folder"),
        ("l", "", "no name"),
        // With another link `a` to `b/c` this would be `b/..`: nothing tells where a name leads.
        ("l", "a/../x", "`..` after a name"),
    ] {
        let text = refused(&zip_of(&[Entry::Link(name, target)]));
        assert!(text.contains(what), "{name} -> {target}: {text}");
    }
}

#[test]
fn nothing_is_written_through_a_link() {
    for other in ["l/evil", "l/deeper/evil"] {
        let zip = zip_of(&[Entry::Link("l", "d"), Entry::File(other, 0o644, b"evil")]);
        assert!(refused(&zip).contains("below a file or a link"));
        let zip = zip_of(&[Entry::File(other, 0o644, b"evil"), Entry::Link("l", "d")]);
        assert!(refused(&zip).contains("is there twice"));
    }
    let zip = zip_of(&[Entry::File("f", 0o644, b""), Entry::File("f/g", 0o644, b"")]);
    assert!(refused(&zip).contains("below a file or a link"));
}

#[test]
fn one_name_twice_is_refused() {
    let zip = files(&[("a/x", b"1"), ("./a//x", b"2")]);
    assert!(refused(&zip).contains("is there twice"), "{}", refused(&zip));
}

#[test]
fn devices_are_refused() {
    let zip = files(&[("fifo", b"")]);
    // External attributes: the type of a regular file becomes that of a pipe. Their place is 38 bytes into
    // the directory's entry.
    let at = zip.windows(4).position(|b| b == b"PK\x01\x02").unwrap() + 38;
    let mut zip = zip;
    let mode = (u32::from(0o010_644_u16) << 16).to_le_bytes();
    zip[at..at + 4].copy_from_slice(&mode);
    assert!(refused(&zip).contains("a device, a pipe or a socket"), "{}", refused(&zip));
}

#[test]
fn encrypted_entries_are_refused() {
    let mut zip = files(&[("secret", b"x")]);
    for (mark, flags) in [(b"PK\x03\x04", 6), (b"PK\x01\x02", 8)] {
        let at = zip.windows(4).position(|bytes| bytes == mark).unwrap();
        zip[at + flags] |= 1;
    }
    assert!(refused(&zip).contains("is encrypted"), "{}", refused(&zip));
}

#[test]
fn what_is_no_zip_is_refused_in_awss_words() {
    assert_eq!(refused(b""), "Uploaded file must be a non-empty zip");
    assert_eq!(refused(&files(&[])), "Uploaded file must be a non-empty zip");
    let good = files(&[("a", b"some text that is long enough to be cut")]);
    for bad in [&b"no zip at all"[..], &good[..good.len() / 2], &good[1..20]] {
        let text = refused(bad);
        let aws =
            "Could not unzip uploaded file. Please check your file, then try to upload again.";
        assert!(text.starts_with(aws), "{text}");
    }
}

#[test]
fn damaged_content_is_refused() {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    writer.start_file("a", stored).unwrap();
    writer.write_all(b"the right text").unwrap();
    let zip = patched(writer.finish().unwrap().into_inner(), b"right", b"wrong");
    assert!(refused(&zip).starts_with("Could not unzip uploaded file."));
}

#[test]
fn bombs_end_at_the_limit_whatever_their_headers_say() {
    let zip = files(&[("zeros", &vec![0u8; 3 << 20])]);
    assert!(zip.len() < 10_000);
    let text = unpacked(&zip, 1 << 20).1.unwrap_err();
    assert_eq!(text, "Unzipped size must be smaller than 1048576 bytes");
    assert_eq!(
        unpacked(&zip, 3 << 20).1.unwrap_err(),
        "Unzipped size must be smaller than 3145728 bytes"
    );
    assert_eq!(unpacked(&zip, (3 << 20) + 1).1, Ok(3 << 20));
    // Sizes in the headers that are too small are not believed.
    let lied = patched(zip, &(3u32 << 20).to_le_bytes(), &100u32.to_le_bytes());
    let (around, done) = unpacked(&lied, 1 << 20);
    assert!(done.is_err());
    let left = around.path().join("in/zeros");
    assert!(std::fs::metadata(left).map_or(0, |m| m.len()) <= 1 << 20);
}

#[test]
fn crowds_of_entries_and_deep_folders_are_refused() {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for number in 0..=NODES {
        writer.start_file(format!("{number}"), stored).unwrap();
    }
    let zip = writer.finish().unwrap().into_inner();
    assert!(refused(&zip).contains("more than 100000 files and folders"));
    // Marks that nobody can have meant are counted before the directory is read.
    let marks = b"PK\x01\x02".repeat(4 * NODES + 1);
    assert!(refused(&marks).contains("more than 100000 entries"));

    let deep = "d/".repeat(DEPTH + 1);
    assert!(refused(&files(&[(&format!("{deep}f"), b"")])).contains("too many folders"));
    let long = "n".repeat(256);
    assert!(refused(&files(&[(&long, b"")])).contains("too long"));
}

#[test]
fn marks_are_found_across_pieces() {
    struct Dribble<'a>(&'a [u8]);
    impl Read for Dribble<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let n = self.0.len().min(buffer.len()).min(3);
            buffer[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }
    let marks = b"PK\x01\x02".repeat(4 * NODES);
    assert!(refuse_crowds(&mut Dribble(&marks)).is_ok());
    let more = b"PK\x01\x02".repeat(4 * NODES + 1);
    assert!(refuse_crowds(&mut Dribble(&more)).is_err());
}

proptest::proptest! {
    /// Zips with bytes changed anywhere neither panic nor make anything outside of their folder.
    #[test]
    fn damaged_zips_stay_inside(changes in proptest::collection::vec((0usize..400, 0u8..=255), 1..8)) {
        let mut zip = zip_of(&[
            Entry::File("a/b", 0o755, b"content"),
            Entry::Link("c", "a/b"),
            Entry::Folder("d/"),
        ]);
        let length = zip.len();
        for (at, byte) in changes {
            zip[at % length] = byte;
        }
        drop(unpacked(&zip, 1 << 20));
    }
}
