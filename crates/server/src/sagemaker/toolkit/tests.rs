use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{MODULES, Toolkit};

/// The Python files below a folder, as paths relative to `root`.
fn python_files(root: &Path, folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            python_files(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "py") {
            found.insert(path.strip_prefix(root).unwrap().display().to_string());
        }
    }
}

#[test]
fn the_binary_carries_every_module_and_writes_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../runtimes/python");
    let mut there = BTreeSet::new();
    for folder in ["kennel_runtime", "user", "compat"] {
        python_files(&root, &root.join(folder), &mut there);
    }
    let carried: BTreeSet<String> = MODULES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(carried, there);

    let data = tempfile::tempdir().unwrap();
    let stale = data.path().join("runtimes/toolkit/user/kennel_debugger/hook.py");
    std::fs::create_dir_all(stale.parent().unwrap()).unwrap();
    std::fs::write(&stale, "of an older Kennel").unwrap();
    let toolkit = Toolkit::install(data.path(), BTreeMap::new()).unwrap();
    let mut written = BTreeSet::new();
    python_files(&toolkit.folder, &toolkit.folder, &mut written);
    assert_eq!(written, there);
    for name in &there {
        let text = std::fs::read(toolkit.folder.join(name)).unwrap();
        assert_eq!(text, std::fs::read(root.join(name)).unwrap(), "{name}");
    }
}
