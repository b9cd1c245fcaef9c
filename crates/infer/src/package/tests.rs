//! Round trips, and archives that an attacker or a full disk would leave.

use super::*;
use tar::{Builder, EntryType, Header};

use crate::testing::tiny_package;

fn same(a: &Package, b: &Package) {
    assert_eq!(a.manifest, b.manifest);
    assert_eq!(a.network, b.network);
    assert_eq!(a.extras, b.extras);
}

/// An archive made entry by entry; names go in as they are, which the tar crate's own API refuses.
fn archive(entries: &[(&str, EntryType, &[u8], Option<u64>)]) -> Vec<u8> {
    let mut builder = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, kind, bytes, declared) in entries {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        if matches!(kind, EntryType::Symlink | EntryType::Link) {
            header.set_link_name("/etc/passwd").unwrap();
        }
        header.set_size(declared.unwrap_or(bytes.len() as u64));
        header.set_mode(0o644);
        header.set_cksum();
        builder.append(&header, *bytes).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

fn file<'a>(name: &'a str, bytes: &'a [u8]) -> (&'a str, EntryType, &'a [u8], Option<u64>) {
    (name, EntryType::Regular, bytes, None)
}

fn manifest() -> Vec<u8> {
    serde_json::to_vec(&tiny_package(2).manifest).unwrap()
}

fn read_bytes(bytes: &[u8]) -> Result<Package, PackageError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.tar.gz");
    std::fs::write(&path, bytes).unwrap();
    Package::read(&path)
}

fn refused(bytes: &[u8], words: &str) {
    let error = read_bytes(bytes).unwrap_err();
    assert!(matches!(error, PackageError::Invalid { .. }), "{error}");
    assert!(error.to_string().contains(words), "{error}");
}

#[test]
fn an_archive_comes_back_and_its_bytes_depend_on_the_content_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("a.tar.gz"), folder.path().join("b.tar.gz"));
    let package = tiny_package(3);
    package.write(&first).unwrap();
    let read = Package::read(&first).unwrap();
    same(&read, &package);
    read.write(&second).unwrap();
    assert_eq!(std::fs::read(&first).unwrap(), std::fs::read(&second).unwrap());
    let mut other = package;
    other.manifest.data.skipped += 1;
    other.write(&second).unwrap();
    assert_ne!(std::fs::read(&first).unwrap(), std::fs::read(&second).unwrap());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "something was left aside");
}

#[test]
fn a_folder_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let package = tiny_package(3);
    package.write_folder(folder.path()).unwrap();
    assert_eq!(std::fs::read(folder.path().join("metrics.json")).unwrap(), b"{}\n");
    let read = Package::read(folder.path()).unwrap();
    // Serving needs the network and its manifest; what else lies in the folder is not loaded.
    same(&read, &Package { extras: BTreeMap::new(), ..package.clone() });
    // SageMaker may put the archive itself there.
    let outer = tempfile::tempdir().unwrap();
    package.write(&outer.path().join("model.tar.gz")).unwrap();
    same(&Package::read(outer.path()).unwrap(), &package);
    let empty = tempfile::tempdir().unwrap();
    let error = Package::read(empty.path()).unwrap_err();
    assert!(error.to_string().contains(MANIFEST_FILE), "{error}");
    let missing = Package::read(&empty.path().join("nothing")).unwrap_err();
    assert_eq!(missing.code(), ErrorCode::NotFound);
}

#[test]
fn archives_of_other_tools_are_read() {
    let (manifest, network) = (manifest(), tiny_package(2).network);
    let read = read_bytes(&archive(&[
        ("./", EntryType::Directory, b"", None),
        file("./kennel.json", &manifest),
        ("code/", EntryType::Directory, b"", None),
        file("code/inference.py", b"print()"),
        file("./model.onnx", &network),
        file("notes.txt", b"hello"),
    ]))
    .unwrap();
    assert_eq!(read.network, network);
    assert_eq!(read.extras.keys().collect::<Vec<_>>(), ["notes.txt"]);
}

#[test]
fn hostile_archives_are_refused() {
    let (manifest, network) = (manifest(), b"network".to_vec());
    let good = [file("kennel.json", &manifest), file("model.onnx", &network)];
    assert!(read_bytes(&archive(&good)).is_ok());
    let with = |entry| archive(&[good[0], good[1], entry]);
    refused(&with(file("../escape", b"x")), "`../escape` leads outside");
    refused(&with(file("/etc/cron.d/x", b"x")), "leads outside");
    refused(&with(file("code/../../x", b"x")), "leads outside");
    refused(&with(("weights", EntryType::Symlink, b"", None)), "`weights` is a link");
    refused(&with(("weights", EntryType::Link, b"", None)), "`weights` is a link");
    refused(&with(("big", EntryType::Regular, b"x", Some(1 << 40))), "larger than a model");
    refused(&with(("code/big", EntryType::Regular, b"x", Some(1 << 40))), "larger than a model");
    refused(&with(("text", EntryType::Regular, b"x", Some(MAX_TEXT + 1))), "`text` is larger");
    refused(&with(("short", EntryType::Regular, b"x", Some(1 << 20))), "damaged");
    refused(&with(file("model.onnx", b"another")), "twice");
    let links = [("kennel.json", EntryType::Symlink, &b""[..], None), good[1]];
    refused(&archive(&links), "link");
}

#[test]
fn a_truncated_or_damaged_archive_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.tar.gz");
    tiny_package(3).write(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    for keep in (0..bytes.len()).step_by(7).chain(bytes.len() - 12..bytes.len()) {
        assert!(read_bytes(&bytes[..keep]).is_err(), "{keep} of {} bytes pass", bytes.len());
    }
    // Past the ten bytes of the gzip header, whose time and flags carry nothing.
    for place in (10..bytes.len()).step_by(5) {
        let mut flipped = bytes.clone();
        flipped[place] ^= 0x10;
        // The last bits of a compressed stream are padding: what passes must be unchanged.
        if let Ok(read) = read_bytes(&flipped) {
            same(&read, &tiny_package(3));
        }
    }
}

#[test]
fn what_is_no_model_is_refused_in_words() {
    let manifest = manifest();
    refused(b"", "damaged");
    refused(b"not a model at all, just text", "damaged");
    refused(&archive(&[]), "no `kennel.json`");
    refused(&archive(&[file("model.onnx", b"x")]), "no `kennel.json`");
    refused(&archive(&[file("kennel.json", &manifest)]), "no `model.onnx`");
    refused(&archive(&[file("kennel.json", b"{"), file("model.onnx", b"x")]), "`kennel.json`: EOF");
    let altered = |change: fn(&mut serde_json::Value)| {
        let mut value: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        change(&mut value);
        let text = serde_json::to_vec(&value).unwrap();
        archive(&[file("kennel.json", &text), file("model.onnx", b"x")])
    };
    refused(&altered(|v| v["format"] = 2.into()), "format 2");
    refused(&altered(|v| v["classes"] = serde_json::json!([])), "no classes");
    refused(&altered(|v| v["preprocess"]["crop"] = serde_json::json!([0, 9])), "4096");
    refused(&altered(|v| v["preprocess"]["gamma"] = 2.into()), "gamma");
    refused(&altered(|v| drop(v.as_object_mut().unwrap().remove("data"))), "data");
    // A later version may add to the manifest without a new format.
    assert!(read_bytes(&altered(|v| v["remark"] = "new".into())).is_ok());
}

#[test]
fn a_failing_write_leaves_the_old_file_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.tar.gz");
    tiny_package(2).write(&path).unwrap();
    let old = std::fs::read(&path).unwrap();
    let full = || std::io::Error::new(std::io::ErrorKind::StorageFull, "disk full");
    let failed = write_aside(&path, |file| {
        file.write_all(b"half of it")?;
        Err(full())
    });
    assert_eq!(failed.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    assert_eq!(std::fs::read(&path).unwrap(), old);
    // A folder stands where the file should go: found only at the very end.
    let taken = folder.path().join("taken");
    std::fs::create_dir(&taken).unwrap();
    std::fs::write(taken.join("inside"), "x").unwrap();
    assert!(matches!(tiny_package(2).write(&taken), Err(PackageError::Io { .. })));
    assert!(tiny_package(2).write(&folder.path().join("missing/model.tar.gz")).is_err());
    let mut names: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["model.tar.gz", "taken"], "something was left aside");
}
