use super::*;

fn tar_gz(build: impl FnOnce(&mut tar::Builder<flate2::write::GzEncoder<Vec<u8>>>)) -> Vec<u8> {
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut builder = tar::Builder::new(gzip);
    build(&mut builder);
    builder.into_inner().unwrap().finish().unwrap()
}

fn add(
    builder: &mut tar::Builder<flate2::write::GzEncoder<Vec<u8>>>,
    name: &str,
    kind: tar::EntryType,
    body: &[u8],
) {
    let mut header = tar::Header::new_gnu();
    // Written by hand: the builder itself refuses hostile names.
    header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_size(body.len() as u64);
    header.set_mode(0o644);
    if kind.is_symlink() || kind.is_hard_link() {
        header.set_link_name("/etc/passwd").unwrap();
    }
    header.set_cksum();
    builder.append(&header, body).unwrap();
}

fn unpacked(bytes: &[u8], limits: Limits) -> (tempfile::TempDir, Result<(), ArchiveError>) {
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("a.tar.gz");
    std::fs::write(&archive, bytes).unwrap();
    let outcome = unpack(&archive, &folder.path().join("out"), limits);
    (folder, outcome)
}

#[test]
fn what_was_packed_is_unpacked_and_the_first_folder_wins() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    std::fs::create_dir_all(one.join("code")).unwrap();
    std::fs::create_dir_all(&two).unwrap();
    std::fs::write(one.join("model.pth"), "first").unwrap();
    std::fs::write(one.join("code/inference.py"), "pass").unwrap();
    std::fs::write(two.join("model.pth"), "second").unwrap();
    std::fs::write(two.join("extra.txt"), "extra").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("/etc/passwd", one.join("link")).unwrap();
    let archive = folder.path().join("model.tar.gz");
    let skipped = pack(&[one, two], &archive).unwrap();
    assert_eq!(skipped, ["link"]);
    let out = folder.path().join("out");
    unpack(&archive, &out, MODEL).unwrap();
    assert_eq!(std::fs::read_to_string(out.join("model.pth")).unwrap(), "first");
    assert_eq!(std::fs::read_to_string(out.join("extra.txt")).unwrap(), "extra");
    assert_eq!(std::fs::read_to_string(out.join("code/inference.py")).unwrap(), "pass");
    assert!(!out.join("link").exists());
}

#[test]
fn hostile_entries_are_refused_and_nothing_is_left() {
    use tar::EntryType;
    for (name, kind) in [
        ("../escape", EntryType::Regular),
        ("a/../../escape", EntryType::Regular),
        ("link", EntryType::Symlink),
        ("hard", EntryType::Link),
        ("pipe", EntryType::Fifo),
        ("device", EntryType::Char),
    ] {
        let bytes = tar_gz(|b| add(b, name, kind, b""));
        let (folder, outcome) = unpacked(&bytes, MODEL);
        assert!(matches!(outcome, Err(ArchiveError::Entry { .. })), "{name}: {outcome:?}");
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "{name}: only the archive itself stays");
    }
}

#[test]
fn absolute_names_stay_below_the_target() {
    let bytes = tar_gz(|b| {
        add(b, "/", tar::EntryType::Directory, b"");
        add(b, "/code/inference.py", tar::EntryType::Regular, b"pass");
    });
    let (folder, outcome) = unpacked(&bytes, MODEL);
    outcome.unwrap();
    assert_eq!(std::fs::read(folder.path().join("out/code/inference.py")).unwrap(), b"pass");
}

#[test]
fn bombs_and_rubbish_end() {
    let bytes = tar_gz(|b| add(b, "zeros", tar::EntryType::Regular, &vec![0; 1 << 20]));
    let small = Limits { bytes: 1000, entries: 10 };
    assert!(matches!(unpacked(&bytes, small).1, Err(ArchiveError::TooLarge(_))));
    let many = tar_gz(|b| {
        for n in 0..20 {
            add(b, &format!("f{n}"), tar::EntryType::Regular, b"");
        }
    });
    assert!(matches!(unpacked(&many, small).1, Err(ArchiveError::TooLarge(_))));
    assert!(unpacked(b"not an archive", MODEL).1.is_err());
    let (_folder, truncated) = unpacked(&bytes[..bytes.len() / 2], MODEL);
    assert!(matches!(truncated, Err(ArchiveError::Unreadable(_))), "{truncated:?}");
    assert!(unpacked(b"", MODEL).1.is_err());
}

#[test]
fn long_names_work_and_endless_ones_end() {
    let long = format!("code/{}/inference.py", "d".repeat(180));
    for pax in [false, true] {
        let bytes = tar_gz(|b| {
            let mut header = tar::Header::new_gnu();
            header.set_size(4);
            header.set_mode(0o644);
            header.set_entry_type(tar::EntryType::Regular);
            if pax {
                b.append_pax_extensions([("path", long.as_bytes())]).unwrap();
                add(b, "short", tar::EntryType::Regular, b"pass");
            } else {
                b.append_data(&mut header, &long, &b"pass"[..]).unwrap();
            }
        });
        let (folder, outcome) = unpacked(&bytes, MODEL);
        outcome.unwrap();
        assert_eq!(std::fs::read(folder.path().join("out").join(&long)).unwrap(), b"pass");
    }
    let endless =
        tar_gz(|b| add(b, "././@LongLink", tar::EntryType::GNULongName, &vec![b'n'; 1 << 20]));
    assert!(matches!(unpacked(&endless, MODEL).1, Err(ArchiveError::TooLarge(_))));
}
