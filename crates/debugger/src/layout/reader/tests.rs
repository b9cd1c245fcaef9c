//! Round trips, and files that a hostile or careless script may leave.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::{TensorRef, TensorWriter};

/// A folder with one step, and the path of its file.
fn one_step() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = TensorWriter::create(folder.path(), "algo-1").unwrap();
    let weight = TensorRef {
        name: "head.output.weight",
        collections: &["weights", "mine"],
        shape: &[2, 3],
        values: &[1.0, -2.0, 0.5, f32::INFINITY, 0.0, 3.0],
    };
    let loss = TensorRef { name: "loss", collections: &["losses"], shape: &[], values: &[0.25] };
    writer.write(Mode::Train, 7, 1_234, &[weight, loss]).unwrap();
    let path = folder.path().join("algo-1/train/000000007.safetensors");
    (folder, path)
}

fn open(folder: &TempDir) -> Result<StepFile, Broken> {
    StepFile::open(folder.path(), "algo-1", Mode::Train, 7)
}

/// A file of this header and this data in the place of step 7.
fn raw(path: &PathBuf, header: &str, data: &[u8]) {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    fs::write(path, bytes).unwrap();
}

const METADATA: &str = r#""__metadata__":{"format":"kennel-tensors/1","step":"7","mode":"train","time_ms":"1","collections":"{}"}"#;

#[test]
fn what_is_written_is_read() {
    let (folder, path) = one_step();
    assert!(path.is_file());
    let names: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
    assert_eq!(names.len(), 1, "nothing is left aside");
    assert_eq!(workers(folder.path()), ["algo-1"]);
    assert_eq!(steps(folder.path(), "algo-1", Mode::Train, 0), [7]);
    assert_eq!(steps(folder.path(), "algo-1", Mode::Train, 8), [0u64; 0]);
    let file = open(&folder).unwrap();
    let tensors: Vec<_> = file.tensors().collect();
    let collections = ["mine".to_owned(), "weights".to_owned()];
    assert_eq!(tensors[0], ("head.output.weight", collections.as_slice()));
    let weight = file.read("head.output.weight").unwrap();
    assert_eq!(weight.shape, [2, 3]);
    assert_eq!(weight.values, [1.0, -2.0, 0.5, f32::INFINITY, 0.0, 3.0]);
    let loss = file.read("loss").unwrap();
    assert!(loss.shape.is_empty() && loss.values == [0.25]);
    assert!(matches!(file.read("other"), Err(Broken::NoTensor)));
    assert!(!ended(folder.path(), "algo-1"));
}

#[test]
fn a_worker_ends_and_starts_again() {
    let folder = tempfile::tempdir().unwrap();
    TensorWriter::create(folder.path(), "algo-1").unwrap().finish().unwrap();
    assert!(ended(folder.path(), "algo-1"));
    TensorWriter::create(folder.path(), "algo-1").unwrap();
    assert!(!ended(folder.path(), "algo-1"));
}

#[test]
fn what_a_killed_attempt_left_is_not_written_through() {
    let (folder, path) = one_step();
    let precious = folder.path().join("precious");
    fs::write(&precious, b"keep").unwrap();
    symlink(&precious, path.with_file_name(".next")).unwrap();
    let mut writer = TensorWriter::create(folder.path(), "algo-1").unwrap();
    writer.write(Mode::Train, 8, 0, &[]).unwrap();
    assert_eq!(fs::read(&precious).unwrap(), b"keep");
    assert_eq!(steps(folder.path(), "algo-1", Mode::Train, 0), [7, 8]);
}

#[test]
fn a_writer_refuses_what_no_reader_would_take() {
    let folder = tempfile::tempdir().unwrap();
    for worker in ["", ".", "..", "a/b", ".a", "a b", &"a".repeat(65)] {
        assert!(TensorWriter::create(folder.path(), worker).is_err(), "{worker}");
    }
    let mut writer = TensorWriter::create(folder.path(), "algo-1").unwrap();
    let mut write = |name: &'static str, shape: &'static [usize], times: usize| {
        let one = TensorRef { name, collections: &[], shape, values: &[1.0, 2.0] };
        writer.write(Mode::Eval, 0, 0, &vec![one; times])
    };
    assert!(write("a", &[2], 1).is_ok());
    assert!(write("a", &[2], 2).is_err());
    assert!(write("a", &[3], 1).is_err());
    assert!(write("a", &[usize::MAX, 2], 1).is_err());
    assert!(write("", &[2], 1).is_err());
    assert!(write("__metadata__", &[2], 1).is_err());
}

#[test]
fn other_types_become_floats() {
    let (folder, path) = one_step();
    let header = format!(
        r#"{{{METADATA},"a":{{"dtype":"F16","shape":[5],"data_offsets":[0,10]}},"b":{{"dtype":"BF16","shape":[1],"data_offsets":[10,12]}},"c":{{"dtype":"F64","shape":[1],"data_offsets":[12,20]}},"d":{{"dtype":"I64","shape":[1],"data_offsets":[20,28]}},"e":{{"dtype":"I32","shape":[1],"data_offsets":[28,32]}},"f":{{"dtype":"U8","shape":[2],"data_offsets":[32,34]}},"g":{{"dtype":"I16","shape":[1],"data_offsets":[34,36]}}}}"#
    );
    let mut data = Vec::new();
    // 1, -2, the smallest subnormal, infinity, not a number.
    for half in [0x3c00u16, 0xc000, 0x0001, 0x7c00, 0x7e00] {
        data.extend(half.to_le_bytes());
    }
    data.extend(0x3fc0u16.to_le_bytes());
    data.extend((-0.125f64).to_le_bytes());
    data.extend((-9i64).to_le_bytes());
    data.extend(12i32.to_le_bytes());
    data.extend([7, 255]);
    data.extend(3i16.to_le_bytes());
    raw(&path, &header, &data);
    let file = open(&folder).unwrap();
    let read = |name: &str| file.read(name).unwrap().values;
    assert_eq!(read("a")[..4], [1.0, -2.0, 2f32.powi(-24), f32::INFINITY]);
    assert!(read("a")[4].is_nan());
    assert_eq!(read("b"), [1.5]);
    assert_eq!(read("c"), [-0.125]);
    assert_eq!(read("d"), [-9.0]);
    assert_eq!(read("e"), [12.0]);
    assert_eq!(read("f"), [7.0, 255.0]);
    assert!(matches!(file.read("g"), Err(Broken::Type(_))));
}

#[test]
fn broken_headers_are_refused() {
    let (folder, path) = one_step();
    let tensor = |shape: &str, offsets: &str| {
        format!(r#"{{{METADATA},"a":{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}}}"#)
    };
    let good = tensor("[1]", "[0,4]");
    raw(&path, &good, &[0; 4]);
    assert!(open(&folder).is_ok());
    for (header, data) in [
        (good.as_str(), 3),
        (good.as_str(), 5),
        (&tensor("[2]", "[0,4]"), 4),
        (&tensor("[1]", "[4,8]"), 8),
        (&tensor("[1]", "[4,0]"), 4),
        (&tensor("[4611686018427387904,4]", "[0,0]"), 0),
        (&tensor("[0,9223372036854775807,9]", "[0,0]"), 0),
        (&tensor("[1]", "[0,18446744073709551615]"), 4),
        (&good.replace("kennel-tensors/1", "kennel-tensors/2"), 4),
        (&good.replace(r#""step":"7""#, r#""step":"8""#), 4),
        (&good.replace(r#""mode":"train""#, r#""mode":"eval""#), 4),
        (&good.replace(r#""collections":"{}""#, r#""collections":"[1]""#), 4),
        ("{}", 0),
        ("", 0),
        ("[[[[", 0),
        ("null", 0),
        (&"[".repeat(100_000), 0),
    ] {
        raw(&path, header, &vec![0; data]);
        // An empty tensor of a strange shape is odd but harmless.
        let harmless = header.contains("[0,9223372036854775807,9]");
        assert_eq!(open(&folder).is_ok(), harmless, "{}", &header[..header.len().min(200)]);
    }
    for bytes in [&b""[..], b"1234567", &[255; 8], &[255; 64], &[0; 8]] {
        fs::write(&path, bytes).unwrap();
        assert!(open(&folder).is_err());
    }
    // Eight tensors, each as large as an address space lets one be, so that the sums overflow.
    let huge = 1u64 << 61;
    let parts: Vec<String> = (0..8)
        .map(|index: u64| {
            let (start, end) = (index * (huge - 1), (index + 1) * (huge - 1));
            let size = huge - 1;
            format!(
                r#""t{index}":{{"dtype":"U8","shape":[{size}],"data_offsets":[{start},{end}]}}"#
            )
        })
        .collect();
    raw(&path, &format!("{{{METADATA},{}}}", parts.join(",")), &[0; 4]);
    assert!(open(&folder).is_err());
}

#[test]
fn links_pipes_and_large_files_are_not_opened() {
    let (folder, path) = one_step();
    let aside = folder.path().join("aside");
    fs::rename(&path, &aside).unwrap();
    symlink(&aside, &path).unwrap();
    assert!(open(&folder).is_err());
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(open(&folder).is_err());
    fs::remove_dir(&path).unwrap();
    // A pipe that nobody writes to: opening it must not wait.
    let mode = Permissions::from_raw_mode(0o600);
    rustix::fs::mknodat(CWD, &path, FileType::Fifo, mode, 0).unwrap();
    assert!(matches!(open(&folder), Err(Broken::NotAFile)));
    fs::remove_file(&path).unwrap();
    fs::File::create(&path).unwrap().set_len(MAX_FILE + 1).unwrap();
    assert!(matches!(open(&folder), Err(Broken::TooLarge(_))));
    // Folders that are links show nothing.
    let real = folder.path().join("algo-1");
    symlink(&real, folder.path().join("algo-2")).unwrap();
    assert_eq!(steps(folder.path(), "algo-2", Mode::Train, 0), [0u64; 0]);
    let link = tempfile::tempdir().unwrap();
    symlink(folder.path(), link.path().join("tensors")).unwrap();
    assert_eq!(workers(&link.path().join("tensors")), [""; 0]);
}

#[test]
fn other_names_are_not_steps() {
    let (folder, path) = one_step();
    for name in ["7.safetensors", "+00000008.safetensors", ".tmp123", "000000009.safetensors.bak"] {
        fs::copy(&path, path.with_file_name(name)).unwrap();
    }
    fs::copy(&path, path.with_file_name("18446744073709551615.safetensors")).unwrap();
    assert_eq!(steps(folder.path(), "algo-1", Mode::Train, 0), [7, u64::MAX]);
}

proptest! {
    /// Whatever a file holds, reading it comes to an end without a panic.
    #[test]
    fn any_bytes(header in "\\PC*", data in proptest::collection::vec(any::<u8>(), 0..64)) {
        let (folder, path) = one_step();
        raw(&path, &header, &data);
        let _ = open(&folder);
    }

    /// A good file with some bytes changed or cut off.
    #[test]
    fn changed_bytes(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
                     keep in 0.5f64..1.0) {
        let (folder, path) = one_step();
        let mut bytes = fs::read(&path).unwrap();
        for (index, byte) in changes {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        bytes.truncate((bytes.len() as f64 * keep) as usize);
        fs::write(&path, bytes).unwrap();
        if let Ok(file) = open(&folder) {
            for (name, _) in file.tensors() {
                let _ = file.read(name);
            }
        }
    }
}
