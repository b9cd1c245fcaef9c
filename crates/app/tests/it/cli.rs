//! The command line: help, mistakes and their exit codes, and what commands print.

use std::path::Path;

use serde_json::Value;

use crate::support::{Home, draw, files, trained};

#[test]
fn help_names_every_command_and_needs_nothing() {
    let home = Home::new();
    let help = home.run(&["--help"]).ok().out;
    for command in ["demo", "train", "predict", "evaluate", "serve", "data", "hub", "engine"] {
        assert!(help.contains(&format!("\n  {command} ")), "{command}: {help}");
        let own = home.run(&[command, "--help"]).ok().out;
        assert!(own.contains("Usage: kennel"), "{own}");
    }
    assert!(home.run(&["--version"]).ok().out.starts_with("kennel "));
    assert!(!home.path("cache").exists(), "help makes no folders");
}

#[test]
fn mistakes_exit_with_2_and_a_hint() {
    let home = Home::new();
    draw(&home.path("photos"), 1, 1, 0);
    std::fs::create_dir_all(home.path("empty")).unwrap();
    std::fs::write(home.path("text.tar.gz"), "no model").unwrap();
    let model = trained().model();
    let cases: &[(&[&str], &str)] = &[
        (&["train", "nowhere"], "`nowhere`"),
        (&["train", "empty"], "0 classes"),
        (&["train", "photos", "--output", "missing/m.tar.gz"], "`missing` does not exist"),
        (&["train", "photos", "--output", "empty"], "`empty` is a folder"),
        (&["train", "photos", "--backbone", "resnet-9000"], "`resnet-9000`"),
        (&["train", "photos", "--backbone", "text.tar.gz"], "not an ONNX model"),
        (&["train", "photos", "--head", "mlp:0"], "`mlp:0`"),
        (&["train", "photos", "--learning-rate", "fast"], "`fast`"),
        (&["train", "photos", "--epochs=-1"], "`-1`"),
        (&["train", "photos", "--valid-share", "0.95"], "`--valid-share`"),
        (&["train", "photos", "--features", "no_such_tensor"], "no_such_tensor"),
        (&["predict", "nowhere.tar.gz", "photos"], "`nowhere.tar.gz`"),
        (&["predict", "text.tar.gz", "photos"], "is not a Kennel model"),
        (&["predict", &model, "nowhere.jpg"], "`nowhere.jpg`"),
        (&["predict", &model, "empty"], "holds no photos"),
        (&["predict", &model, "http://127.0.0.1:9/dog.jpg"], "127.0.0.1"),
        (&["evaluate", &model, "nowhere"], "`nowhere`"),
        (&["evaluate", &model, "empty"], "no photos of the model's classes"),
        (&["serve", "nowhere.tar.gz", "--port", "0"], "`nowhere.tar.gz`"),
        (&["data", "inspect", "nowhere"], "`nowhere`"),
        (&["hub", "show", "resnet-9000"], "`resnet-9000`"),
        (&["hub", "pull", "resnet-9000"], "`resnet-9000`"),
        (&["hub", "add", "nowhere.onnx"], "nowhere.onnx"),
    ];
    for (arguments, wanted) in cases {
        let ran = home.run(arguments);
        assert_eq!(ran.code, Some(2), "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains("error: "), "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains("hint:"), "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(wanted), "{arguments:?}: {}", ran.err);
    }
    assert!(!home.path("model.tar.gz").exists());
}

#[test]
fn words_that_clap_does_not_know_exit_with_2() {
    let home = Home::new();
    for arguments in
        [&[][..], &["trian"], &["train", "--fast"], &["predict", "model.tar.gz"], &["data"]]
    {
        let ran = home.run(arguments);
        assert_eq!(ran.code, Some(2), "{arguments:?}");
        assert!(ran.err.contains("Usage: kennel"), "{arguments:?}: {}", ran.err);
        assert_eq!(ran.out, "", "{arguments:?}: data goes to stdout, complaints do not");
    }
    let ran = home.run(&["train", "photos", "--engine", "tpu"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("tpu") && ran.err.contains("rten"), "{}", ran.err);
}

/// Two classes of good photos with one of every trouble among them.
fn broken(root: &Path) {
    draw(&root.join("all"), 5, 1, 0);
    let photos = files(&root.join("all/train"), ".jpg");
    let valid = files(&root.join("all/valid"), ".jpg");
    let put = |from: &Path, to: &str| {
        let to = root.join("photos").join(to);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(from, to).unwrap();
    };
    for (number, photo) in photos.iter().take(5).enumerate() {
        put(photo, &format!("train/001.Brown_hound/{number}.jpg"));
    }
    put(&photos[5], "train/002.Grey_terrier/0.jpg");
    put(&photos[6], "train/002.Grey_terrier/1.jpg");
    put(&valid[0], "valid/001.Brown_hound/0.jpg");
    put(&valid[1], "valid/002.Grey_terrier/0.jpg");
    // Learned and asked at the same time; twice in a class; under two classes.
    put(&photos[0], "valid/001.Brown_hound/again.jpg");
    put(&photos[1], "train/001.Brown_hound/copy.jpg");
    put(&photos[2], "train/002.Grey_terrier/stray.jpg");
    let write =
        |path: &str, bytes: &[u8]| std::fs::write(root.join("photos").join(path), bytes).unwrap();
    write("train/001.Brown_hound/empty.jpg", b"");
    write("train/002.Grey_terrier/text.jpg", b"I only look like a photo.\n");
    write("train/002.Grey_terrier/notes.txt", b"left alone");
    let whole = std::fs::read(&photos[6]).unwrap();
    write("train/002.Grey_terrier/torn.jpg", &whole[..whole.len() * 3 / 4]);
}

#[test]
fn inspect_says_what_is_wrong_and_what_is_done_about_it() {
    let home = Home::new();
    broken(home.folder.path());
    let ran = home.run(&["data", "inspect", "photos", "--max-bad", "0.5"]).ok();
    insta::with_settings!({ filters => [(r" +\n", "\n")] }, {
        insta::assert_snapshot!("data_inspect", ran.out);
    });
    let strict = home.run(&["data", "inspect", "photos"]);
    assert_eq!(strict.code, Some(2));
    assert_eq!(strict.out, ran.out, "the table comes first, the verdict after it");
    insta::assert_snapshot!("data_inspect_verdict", strict.err);
}

#[test]
fn inspect_in_json_has_the_same_for_scripts() {
    let home = Home::new();
    broken(home.folder.path());
    let ran = home.run(&["data", "inspect", "photos", "--json", "--max-bad", "0.5"]).ok();
    let found: Value = ran.json();
    let keys: Vec<&String> = found.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        ["layout", "photos", "classes", "imbalance", "ignored", "problems", "bad_share", "sizes"]
    );
    assert_eq!(found["layout"], "splits");
    assert_eq!(found["photos"], 15);
    assert_eq!(found["ignored"].as_array().unwrap().len(), 1);
    assert_eq!(found["classes"][0]["class"], "001.Brown_hound");
    assert_eq!(found["classes"][0]["name"], "Brown hound");
    let mut kinds: Vec<&str> =
        found["problems"].as_array().unwrap().iter().map(|p| p["kind"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    assert_eq!(
        kinds,
        [
            "across_splits",
            "duplicate",
            "truncated",
            "two_classes",
            "two_classes",
            "unreadable",
            "unreadable"
        ]
    );
    assert!((found["bad_share"].as_f64().unwrap() - 2.0 / 15.0).abs() < 1e-9);
}

#[test]
fn the_built_in_backbone_is_listed_and_shown() {
    let home = Home::new();
    let table = home.run(&["hub", "list"]).ok().out;
    let line =
        table.lines().find(|l| l.contains("kennel-mini")).unwrap_or_else(|| panic!("{table}"));
    assert!(line.contains("built in"), "{line}");
    assert!(table.contains("resnet50"), "the registry is listed too: {table}");
    let rows = home.run(&["hub", "list", "--json"]).ok().json();
    assert!(rows.as_array().unwrap().iter().any(|r| r["backbone"]["name"] == "kennel-mini"));
    let shown = home.run(&["hub", "show", "kennel-mini"]).ok().out;
    for key in
        ["name        kennel-mini", "features    ", "preprocess  ", "sha256      ", "licence     "]
    {
        assert!(shown.contains(key), "{key}: {shown}");
    }
}

#[test]
fn engines_are_listed_for_scripts() {
    let home = Home::new();
    let rows = home.run(&["engine", "list", "--json"]).ok().json();
    let rten = rows.as_array().unwrap().iter().find(|r| r["engine"] == "rten").unwrap();
    assert_eq!(rten["available"], true);
    for key in ["engine", "available", "version", "library", "note"] {
        assert!(rten.as_object().unwrap().contains_key(key), "{key}");
    }
    assert!(rows.as_array().unwrap().iter().any(|r| r["engine"] == "onnxruntime"));
    assert!(home.run(&["engine", "list"]).ok().out.contains("rten"));
}

/// A network on the shelf beside the project, where there is one.
#[test]
fn the_shared_hub_is_found_through_its_variable() {
    let hub = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/hub");
    if !hub.join("hub.toml").is_file() {
        eprintln!("SKIPPED: {} is not there", hub.display());
        return;
    }
    let home = Home::new();
    let table =
        crate::support::Ran::of(home.kennel().args(["hub", "list"]).env("KENNEL_HUB", &hub))
            .ok()
            .out;
    assert!(table.contains("KENNEL_HUB"), "{table}");
}
