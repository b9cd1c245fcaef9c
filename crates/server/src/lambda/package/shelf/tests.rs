use super::super::super::rows::{self, LayerRow, MIGRATIONS};
use super::super::UNPACKED;
use super::super::tests::files;
use super::*;
use crate::context::Timestamp;

fn open(folder: &Path) -> (Shelf, Database) {
    let database = Database::open(&folder.join("state.db"), &[MIGRATIONS]).unwrap();
    (Shelf::open(folder, database.clone()).unwrap(), database)
}

fn names(folder: &Path) -> Vec<String> {
    let read = std::fs::read_dir(folder.join("lambda/code")).unwrap();
    read.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn layer(code: &Code) -> LayerRow {
    LayerRow {
        name: "l".to_owned(),
        version: 0,
        code: code.clone(),
        description: String::new(),
        created: Timestamp(1),
        runtimes: Vec::new(),
        architectures: Vec::new(),
        license: None,
    }
}

#[test]
fn code_is_named_by_its_digest_and_there_once() {
    let folder = tempfile::tempdir().unwrap();
    let (shelf, _) = open(folder.path());
    let zip = files(&[("a.py", b"1"), ("b/c.py", b"23")]);
    let (code, hold) = shelf.place(Source::Bytes(zip.clone()), UNPACKED).unwrap();
    let digest: String = Sha256::digest(&zip).iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(
        (code.sha256.as_str(), code.size, code.unpacked),
        (digest.as_str(), zip.len() as u64, 3)
    );
    assert_eq!(std::fs::read(shelf.zip(&code.sha256)).unwrap(), zip);
    assert_eq!(std::fs::read(shelf.unpacked(&code.sha256).join("b/c.py")).unwrap(), b"23");
    let (again, second) = shelf.place(Source::Bytes(zip), UNPACKED).unwrap();
    assert_eq!(again, code);
    assert_eq!(names(folder.path()), std::slice::from_ref(&code.sha256));
    // No row refers to it: it stays for as long as someone holds it.
    drop(hold);
    assert!(shelf.unpacked(&code.sha256).is_dir());
    drop(second);
    assert!(names(folder.path()).is_empty());
}

#[test]
fn code_stays_while_a_row_or_an_environment_needs_it() {
    let folder = tempfile::tempdir().unwrap();
    let (shelf, database) = open(folder.path());
    let (code, hold) = shelf.place(Source::Bytes(files(&[("a", b"1")])), UNPACKED).unwrap();
    let row = layer(&code);
    database.write_blocking(move |c| rows::add_layer(c, row)).unwrap().unwrap();
    drop(hold);
    shelf.release(&code.sha256);
    assert_eq!(names(folder.path()), std::slice::from_ref(&code.sha256));
    // An environment runs it when its last row goes.
    let running = shelf.hold(&code.sha256);
    database.write_blocking(|c| rows::remove_layer(c, "l", 1)).unwrap().unwrap();
    shelf.release(&code.sha256);
    assert!(shelf.unpacked(&code.sha256).join("a").is_file());
    drop(running);
    assert!(names(folder.path()).is_empty());
}

#[test]
fn a_start_clears_what_a_killed_server_left() {
    let folder = tempfile::tempdir().unwrap();
    let (shelf, database) = open(folder.path());
    let (kept, hold) = shelf.place(Source::Bytes(files(&[("a", b"1")])), UNPACKED).unwrap();
    let row = layer(&kept);
    database.write_blocking(move |c| rows::add_layer(c, row)).unwrap().unwrap();
    drop(hold);
    // Placed, but killed before the row was written; and killed while unpacking.
    let (_, lost) = shelf.place(Source::Bytes(files(&[("b", b"2")])), UNPACKED).unwrap();
    std::mem::forget(lost);
    std::fs::create_dir(folder.path().join("lambda/code/.aside-x")).unwrap();
    assert_eq!(names(folder.path()).len(), 3);
    drop(Shelf::open(folder.path(), database).unwrap());
    assert_eq!(names(folder.path()), [kept.sha256]);
}

#[test]
fn refused_zips_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (shelf, _) = open(folder.path());
    for zip in [b"no zip".to_vec(), files(&[("a", b"1"), ("a/b", b"2")]), Vec::new()] {
        shelf.place(Source::Bytes(zip), UNPACKED).unwrap_err();
    }
    let large = files(&[("a", &[0; 4096])]);
    shelf.place(Source::Bytes(large), 4096).unwrap_err();
    assert!(names(folder.path()).is_empty());
}
