//! Manifests, looking up, adding, and pulling from a server of the test's own.

use super::*;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::Mutex;

use super::pull::pull_into;
use crate::onnx::append_head;
use crate::testing::{TINY_WIDTH, tiny_backbone, tiny_head, tiny_preprocess};

/// What a server was asked: path and the start of the range, if one was given.
type Requests = Arc<Mutex<Vec<(String, Option<usize>)>>>;

fn entry(name: &str, content: &[u8]) -> BackboneEntry {
    BackboneEntry {
        name: name.into(),
        file: format!("{name}.onnx"),
        sha256: crate::hex(&Sha256::digest(content)),
        bytes: Some(content.len() as u64),
        urls: Vec::new(),
        input_size: [3, 16, 16],
        resize_shorter_side: Some(20),
        mean: [0.5; 3],
        std: [0.5; 3],
        feature_width: Some(TINY_WIDTH),
        features: None,
        license: Some("MIT".into()),
        source: None,
    }
}

fn network() -> Vec<u8> {
    append_head(&tiny_backbone(), &[tiny_head(5)]).unwrap().to_bytes()
}

/// A hub folder with one network, called `name`.
fn hub_folder(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(format!("{name}.onnx")), network()).unwrap();
    remember(folder.path(), entry(name, &network())).unwrap();
    folder
}

fn places(user: Option<&Path>, cache: &Path) -> Places {
    Places { user: user.map(Path::to_owned), cache: cache.to_owned() }
}

#[test]
fn the_registry_and_the_builtin_manifest_are_whole() {
    let registry = registry().unwrap();
    assert!(registry.len() >= 4);
    for entry in &registry {
        assert!(!entry.urls.is_empty() && entry.urls.iter().all(|u| u.starts_with("https://")));
        assert!(entry.license.is_some() && entry.feature_width.is_some(), "{}", entry.name);
        // The size is for the progress bar; where it is given it is that of a network, not of a page.
        assert!(entry.bytes.is_none_or(|b| b > 1_000_000), "{}", entry.name);
    }
    let builtin = parse_manifest(BUILTIN_MANIFEST, "built in").unwrap();
    assert_eq!((builtin.len(), builtin[0].name.as_str()), (1, BUILTIN));
    verify(BUILTIN_NETWORK, &builtin[0], BUILTIN).unwrap();
    let mut names = Vec::new();
    for entry in registry.iter().chain(&builtin) {
        assert_eq!(entry.sha256.len(), 64, "{}", entry.name);
        let lower = entry.sha256.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        assert!(lower, "{}: pull compares lower-case hexadecimal", entry.name);
        assert!(!names.contains(&&entry.name), "`{}` twice", entry.name);
        names.push(&entry.name);
    }
}

#[test]
fn hostile_manifests_are_refused() {
    let text = |file: &str| {
        let mut entry = entry("x", b"");
        entry.file = file.to_owned();
        toml::to_string(&HubManifest { backbone: vec![entry] }).unwrap()
    };
    assert!(parse_manifest(&text("x.onnx"), "m").is_ok());
    for file in ["../x.onnx", "/etc/passwd", "a/b.onnx", "a\\b.onnx", "..", ".", ""] {
        let error = parse_manifest(&text(file), "m").unwrap_err();
        assert!(matches!(error, HubError::Manifest { .. }), "`{file}`: {error}");
    }
    let changed = |from: &str, to: &str| parse_manifest(&text("x.onnx").replace(from, to), "m");
    assert!(changed("name =", "nmae =").is_err());
    assert!(changed("std = [0.5", "std = [0.0").is_err());
    assert!(changed("[3, 16, 16]", "[3, 0, 16]").is_err());
    assert!(changed("[3, 16, 16]", "[3, 99999, 16]").is_err());
    assert!(parse_manifest("no toml", "m").is_err());
}

#[test]
fn names_are_looked_up_in_order() {
    let (user, cache) = (hub_folder("same"), hub_folder("same"));
    let both = places(Some(user.path()), cache.path());
    let origin = |places: &Places, name: &str| {
        list_in(places).unwrap().into_iter().find(|(e, _)| e.name == name).map(|(_, origin)| origin)
    };
    assert_eq!(origin(&both, "same"), Some(Origin::Folder));
    let cached = places(None, cache.path());
    assert_eq!(origin(&cached, "same"), Some(Origin::Cache));
    assert_eq!(origin(&cached, BUILTIN), Some(Origin::Builtin));
    assert_eq!(origin(&cached, "resnet18"), Some(Origin::Registry));
    let open = |name: &str| open_in(&cached, name, &OpenOptions::default());
    assert!(matches!(open("resnet18"), Err(HubError::NotPulled { .. })));
    let error = open("nothing").unwrap_err();
    assert!(error.to_string().contains("same") && error.code() == ErrorCode::NotFound, "{error}");
    // A file that was deleted by hand is not offered.
    std::fs::remove_file(cache.path().join("same.onnx")).unwrap();
    assert_eq!(origin(&cached, "same"), None);
    let broken = places(Some(&cache.path().join("missing")), cache.path());
    assert!(matches!(list_in(&broken), Err(HubError::Manifest { .. })));
}

#[test]
fn a_backbone_is_opened_cut_and_verified() {
    let user = hub_folder("tiny");
    let cache = tempfile::tempdir().unwrap();
    let places = places(Some(user.path()), cache.path());
    let open = |options: &OpenOptions| open_in(&places, "tiny", options);
    let backbone = open(&OpenOptions::default()).unwrap();
    assert_eq!((backbone.cut.tensor.as_str(), backbone.cut.width), ("features", Some(TINY_WIDTH)));
    assert_eq!(backbone.sha256, crate::hex(&Sha256::digest(backbone.bytes.as_slice())));
    assert_eq!((backbone.preprocess.crop, backbone.license.as_deref()), ([16, 16], Some("MIT")));
    // Named tensors of four and of two dimensions; the engine tells which.
    for name in ["relu", "features"] {
        let options = OpenOptions { features: Some(name.into()), preprocess: None };
        let named = open(&options).unwrap();
        let pooling = if name == "relu" { Pooling::Space } else { Pooling::Flat };
        assert_eq!((named.cut.pooling, named.cut.width), (Some(pooling), Some(TINY_WIDTH)));
    }
    let nowhere = OpenOptions { features: Some("nowhere".into()), preprocess: None };
    assert!(matches!(open(&nowhere), Err(HubError::Onnx(OnnxError::NoTensor { .. }))));
    let wrong = Preprocess { crop: [32, 32], ..tiny_preprocess() };
    let wrong = OpenOptions { features: None, preprocess: Some(wrong) };
    assert!(matches!(open(&wrong), Err(HubError::Onnx(OnnxError::Input { .. }))));
    // One byte more, and it is not the file that the manifest knows.
    std::fs::write(user.path().join("tiny.onnx"), [network(), vec![0]].concat()).unwrap();
    let error = open(&OpenOptions::default()).unwrap_err();
    assert!(
        matches!(&error, HubError::File { .. }) && error.to_string().contains("SHA-256"),
        "{error}"
    );
    std::fs::remove_file(user.path().join("tiny.onnx")).unwrap();
    assert!(matches!(open(&OpenOptions::default()), Err(HubError::File { .. })));
}

#[test]
fn the_builtin_backbone_opens_without_any_folder() {
    let nowhere = tempfile::tempdir().unwrap();
    let places = places(None, &nowhere.path().join("cache"));
    let backbone = open_in(&places, BUILTIN, &OpenOptions::default()).unwrap();
    let manifest = parse_manifest(BUILTIN_MANIFEST, "built in").unwrap();
    assert_eq!(backbone.cut.width, manifest[0].feature_width);
}

#[test]
fn a_file_of_the_users_is_added_and_opened() {
    let folder = tempfile::tempdir().unwrap();
    let (file, cache) = (folder.path().join("mine.onnx"), folder.path().join("cache"));
    std::fs::write(&file, network()).unwrap();
    let options = OpenOptions { features: None, preprocess: Some(tiny_preprocess()) };
    let places = places(None, &cache);
    let bare = open_in(&places, file.to_str().unwrap(), &options).unwrap();
    assert_eq!(bare.name, "mine");
    for _ in 0..2 {
        let added = add_in(&cache, &file, "my-net", &options).unwrap();
        assert_eq!(added.feature_width, Some(TINY_WIDTH));
        assert_eq!(read_manifest(&cache).unwrap(), [added]);
    }
    let opened = open_in(&places, "my-net", &OpenOptions::default()).unwrap();
    assert_eq!((opened.sha256, opened.preprocess), (bare.sha256, tiny_preprocess()));
    for name in ["", "../up", ".hidden", "a b", "a/b"] {
        assert!(add_in(&cache, &file, name, &options).is_err(), "`{name}` was taken");
    }
    std::fs::write(&file, b"text").unwrap();
    assert!(matches!(add_in(&cache, &file, "bad", &options), Err(HubError::Onnx(_))));
    assert_eq!(read_manifest(&cache).unwrap().len(), 1);
}

/// Serves until the test ends: `answer` gets the path and where the client wants to start, and gives
/// status, extra headers, announced length and the bytes that are really sent.
fn serve(
    answer: impl Fn(&str, Option<usize>) -> (u16, String, usize, Vec<u8>) + Send + 'static,
) -> (String, Requests) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines: Vec<String> = BufReader::new(stream.try_clone().unwrap())
                .lines()
                .map_while(Result::ok)
                .take_while(|line| !line.is_empty())
                .collect();
            let path = lines.first().and_then(|l| l.split(' ').nth(1)).unwrap_or("/").to_owned();
            let range = lines.iter().find_map(|line| {
                let line = line.to_ascii_lowercase();
                line.strip_prefix("range: bytes=")?.trim_end_matches('-').parse().ok()
            });
            log.lock().unwrap().push((path.clone(), range));
            let (status, headers, length, body) = answer(&path, range);
            let head = format!(
                "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n"
            );
            let _ = stream.write_all(&[head.into_bytes(), body].concat());
        }
    });
    (address, seen)
}

fn content() -> Vec<u8> {
    (0..700_000u32)
        .flat_map(|v| (v.wrapping_mul(2_654_435_761) >> 16).to_le_bytes())
        .take(700_000)
        .collect()
}

/// Cuts the first answer short; what follows honours ranges, or not.
fn unreliable(ranges: bool) -> (String, Requests) {
    let first = std::sync::atomic::AtomicBool::new(true);
    serve(move |_, range| {
        let all = content();
        if first.swap(false, std::sync::atomic::Ordering::SeqCst) {
            return (200, String::new(), all.len(), all[..300_000].to_vec());
        }
        match range.filter(|_| ranges) {
            Some(start) => {
                let span =
                    format!("Content-Range: bytes {start}-{}/{}\r\n", all.len() - 1, all.len());
                (206, span, all.len() - start, all[start..].to_vec())
            }
            None => (200, String::new(), all.len(), all),
        }
    })
}

/// Pulls from these addresses; the folder, the outcome and the last progress.
fn pull_from(folder: &Path, urls: &[String]) -> (Result<bool, HubError>, Option<PullProgress>) {
    let entry = BackboneEntry { urls: urls.to_vec(), ..entry("net", &content()) };
    let mut last = None;
    let outcome = pull_into(folder, &entry, &mut |progress| last = Some(progress));
    (outcome, last)
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn whole(folder: &Path) {
    assert_eq!(std::fs::read(folder.join("net.onnx")).unwrap(), content());
    assert_eq!(names(folder), ["hub.toml", "net.onnx"]);
    assert_eq!(read_manifest(folder).unwrap()[0].name, "net");
}

#[test]
fn a_download_is_kept_and_not_repeated() {
    let (address, seen) = serve(|_, _| (200, String::new(), content().len(), content()));
    let folder = tempfile::tempdir().unwrap();
    let (outcome, last) = pull_from(folder.path(), std::slice::from_ref(&address));
    assert!(outcome.unwrap());
    assert_eq!(last, Some(PullProgress { done: 700_000, total: Some(700_000) }));
    whole(folder.path());
    assert!(!pull_from(folder.path(), &[address]).0.unwrap());
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[test]
fn a_cut_connection_is_resumed() {
    for ranges in [true, false] {
        let (address, seen) = unreliable(ranges);
        let folder = tempfile::tempdir().unwrap();
        let error = pull_from(folder.path(), std::slice::from_ref(&address)).0.unwrap_err();
        assert!(matches!(error, HubError::Pull(PullError::Failed { .. })), "{error}");
        let [partial] = &names(folder.path())[..] else { panic!("{:?}", names(folder.path())) };
        let have = std::fs::metadata(folder.path().join(partial)).unwrap().len() as usize;
        assert!(have > 0 && have <= 300_000, "{have} bytes are kept");
        assert!(pull_from(folder.path(), &[address]).0.unwrap());
        whole(folder.path());
        let starts: Vec<_> = seen.lock().unwrap().iter().map(|(_, range)| *range).collect();
        assert_eq!(starts, [None, Some(have)], "ranges honoured: {ranges}");
    }
}

#[test]
fn wrong_content_is_thrown_away() {
    let (address, _) = serve(|_, _| {
        let mut other = content();
        other[9] ^= 1;
        (200, String::new(), other.len(), other)
    });
    let folder = tempfile::tempdir().unwrap();
    let error = pull_from(folder.path(), &[address]).0.unwrap_err();
    assert!(matches!(error, HubError::Pull(PullError::Mismatch { .. })), "{error}");
    assert!(names(folder.path()).is_empty(), "{:?}", names(folder.path()));
}

#[test]
fn the_next_address_is_tried() {
    let (address, seen) = serve(|path, _| match path {
        "/good" => (200, String::new(), content().len(), content()),
        "/wrong" => (200, String::new(), 4, b"html".to_vec()),
        _ => (404, String::new(), 9, b"not found".to_vec()),
    });
    let urls = |paths: &[&str]| paths.iter().map(|p| format!("{address}{p}")).collect::<Vec<_>>();
    let folder = tempfile::tempdir().unwrap();
    assert!(pull_from(folder.path(), &urls(&["/gone", "/wrong", "/good"])).0.unwrap());
    whole(folder.path());
    assert_eq!(seen.lock().unwrap().len(), 3);
    let empty = tempfile::tempdir().unwrap();
    let error = pull_from(empty.path(), &urls(&["/gone", "/lost"])).0.unwrap_err().to_string();
    assert!(error.contains("/gone: answered 404") && error.contains("/lost"), "{error}");
    let error = pull_from(empty.path(), &[]).0.unwrap_err();
    assert!(matches!(error, HubError::Pull(PullError::NoAddress { .. })), "{error}");
}
