//! `kennel train`, `evaluate` and `predict`: what they write and say, and what a kill or a signal in
//! the middle of a run costs.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use kennel_infer::package::Package;
use serde_json::Value;

use crate::support::{Home, Ran, Running, draw, files, lasting, read_json, trained, until};

#[test]
fn training_writes_a_model_metrics_and_a_report() {
    let run = trained();
    for name in ["model.tar.gz", "metrics.json", "report.html"] {
        assert!(run.home.path(name).is_file(), "{name}");
        assert!(run.log.out.contains(&format!("wrote {name}")), "{}", run.log.out);
    }
    assert!(run.log.out.contains("top-1"), "{}", run.log.out);
    // The lines that metric definitions read.
    assert!(run.log.err.contains("epoch=8/8 train_loss="), "{}", run.log.err);
    assert!(run.log.err.contains(" valid_accuracy="), "{}", run.log.err);
    let metrics = read_json(&run.home.path("metrics.json"));
    assert_eq!(metrics["metrics"]["train"]["count"], 48);
    assert_eq!(metrics["features"]["computed"], 80);
    assert!(metrics["metrics"]["train"]["top1"].as_f64().unwrap() > 0.5, "{metrics}");
    let report = std::fs::read_to_string(run.home.path("report.html")).unwrap();
    assert!(report.starts_with("<!"), "{}", &report[..40]);
    assert!(!report.contains("src=\"http"), "the report loads nothing");
}

#[test]
fn evaluate_agrees_with_what_training_measured() {
    let run = trained();
    let photos = run.photos("test").display().to_string();
    let found = run.home.run(&["evaluate", &run.model(), &photos, "--json"]).ok().json();
    let said = &read_json(&run.home.path("metrics.json"))["metrics"]["test"];
    assert_eq!(found["count"], 16);
    assert_eq!(found["skipped"], 0);
    for key in ["top1", "top5"] {
        assert_eq!(found[key], said[key], "{key}");
    }
    assert!((found["loss"].as_f64().unwrap() - said["loss"].as_f64().unwrap()).abs() < 1e-3);
    let classes = found["classes"].as_array().unwrap();
    assert_eq!(classes.len(), 8);
    let mean: f64 = classes.iter().map(|c| c["top1"].as_f64().unwrap()).sum::<f64>() / 8.0;
    assert!((mean - found["top1"].as_f64().unwrap()).abs() < 1e-9, "two photos of each class");
    assert!(
        classes.iter().all(|c| c["count"] == 2 && c["name"].is_string() && c["class"].is_string())
    );
    let table = run.home.run(&["evaluate", &run.model(), &photos]).ok().out;
    assert!(table.contains("top-1") && table.contains("16 photos"), "{table}");
}

/// Folder names need not be the keys: other numbers before the same names are understood, and a folder
/// that is no class is left out aloud.
#[test]
fn evaluate_maps_folders_by_the_names_that_people_read() {
    let run = trained();
    let renamed = Home::new();
    let mut folders: Vec<_> =
        std::fs::read_dir(run.photos("test")).unwrap().map(|e| e.unwrap().path()).collect();
    folders.sort();
    for (number, folder) in folders.iter().enumerate() {
        let key = folder.file_name().unwrap().to_string_lossy().into_owned();
        let name = kennel_base::display_name(&key).to_lowercase();
        let to = renamed.path("photos").join(format!("{}.{name}", 900 - number));
        std::fs::create_dir_all(&to).unwrap();
        for photo in files(folder, ".jpg") {
            std::fs::copy(&photo, to.join(photo.file_name().unwrap())).unwrap();
        }
    }
    let stray = renamed.path("photos/zebra");
    std::fs::create_dir_all(&stray).unwrap();
    std::fs::copy(&files(&folders[0], ".jpg")[0], stray.join("1.jpg")).unwrap();
    let evaluate = |photos: &Path| {
        run.home.run(&["evaluate", &run.model(), &photos.display().to_string(), "--json"]).ok()
    };
    let found = evaluate(&renamed.path("photos"));
    assert!(found.err.contains("zebra"), "{}", found.err);
    // Summed in another order, the loss may differ in its last bit.
    let without_loss = |mut found: Value| {
        let loss = found.as_object_mut().unwrap().remove("loss").unwrap().as_f64().unwrap();
        (found, (loss * 1e6).round())
    };
    let plain = evaluate(&run.photos("test")).json();
    assert_eq!(without_loss(found.json()), without_loss(plain));
}

#[test]
fn predict_answers_in_json_and_in_a_table() {
    let run = trained();
    let photo = files(&run.photos("test"), ".jpg").remove(0).display().to_string();
    let model = run.model();
    let found = run.home.run(&["predict", &model, &photo, "--json", "--top", "3"]).ok().json();
    let row = &found[0];
    assert_eq!(row["path"], photo);
    let labels = row["labels"].as_array().unwrap();
    assert_eq!(labels.len(), 3);
    let probability = |l: &Value| l["probability"].as_f64().unwrap();
    assert!(labels.windows(2).all(|w| probability(&w[0]) >= probability(&w[1])), "{labels:?}");
    let logits: Vec<f64> =
        row["logits"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
    assert_eq!(logits.len(), 8);
    // The first label's probability is the softmax of the largest logit.
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logits.iter().map(|v| (v - largest).exp()).sum();
    assert!((probability(&labels[0]) - 1.0 / sum).abs() < 1e-5);

    let table = run.home.run(&["predict", &model, &photo]).ok().out;
    assert!(
        table.contains(&photo) && table.contains(labels[0]["label"].as_str().unwrap()),
        "{table}"
    );
    let folder = run.photos("test").display().to_string();
    let all = run.home.run(&["predict", &model, &folder, "--json"]).ok().json();
    assert_eq!(all.as_array().unwrap().len(), 16);
}

#[test]
fn a_photo_that_cannot_be_read_is_named_and_the_others_are_answered() {
    let run = trained();
    let bad = run.home.path("no_photo.jpg");
    std::fs::write(&bad, "text").unwrap();
    let photo = files(&run.photos("test"), ".jpg").remove(0).display().to_string();
    let bad = bad.display().to_string();
    let found = run.home.run(&["predict", &run.model(), &bad, &photo, "--json"]);
    assert_eq!(found.code, Some(2));
    assert!(found.err.contains("1 of 2 photos") && found.err.contains("hint:"), "{}", found.err);
    let rows = found.json();
    assert!(rows.as_array().unwrap().iter().any(|r| r["path"] == bad && r["error"].is_string()));
    assert!(rows.as_array().unwrap().iter().any(|r| r["path"] == photo && r["logits"].is_array()));
}

fn network(home: &Home) -> Vec<u8> {
    Package::read(&home.path("model.tar.gz")).unwrap().network
}

#[test]
fn two_runs_on_two_machines_give_the_same_bytes() {
    let [first, second] = [0, 1].map(|_| {
        let home = Home::new();
        draw(&home.path("photos"), 3, 1, 1);
        let options = [
            "train",
            "photos",
            "--head",
            "mlp:16",
            "--epochs",
            "3",
            "--dropout",
            "0.2",
            "--augmentation",
            "flip",
            "--views",
            "2",
        ];
        home.run(&options).ok();
        home
    });
    assert_eq!(network(&first), network(&second));
    let metrics = [&first, &second].map(|h| lasting(read_json(&h.path("metrics.json"))));
    assert_eq!(metrics[0], metrics[1]);
}

#[test]
fn two_runs_at_once_share_a_cache_without_harm() {
    let home = Home::new();
    draw(&home.path("photos"), 6, 1, 0);
    let options = |output: &'static str| ["train", "photos", "--epochs", "3", "--output", output];
    for name in ["first", "second"] {
        std::fs::create_dir_all(home.path(name)).unwrap();
    }
    let mut first = Running::start(home.kennel().args(options("first/model.tar.gz")));
    let mut second = Running::start(home.kennel().args(options("second/model.tar.gz")));
    assert!(first.wait().success(), "{}", first.log());
    assert!(second.wait().success(), "{}", second.log());
    let network = |name: &str| Package::read(&home.path(name)).unwrap().network;
    assert_eq!(network("first/model.tar.gz"), network("second/model.tar.gz"));
    home.run(&options("model.tar.gz")).ok();
    let third = read_json(&home.path("metrics.json"));
    assert_eq!(third["features"]["computed"], 0, "what either of them made is there");
}

#[test]
fn killed_during_extraction_a_run_goes_on_from_the_cache() {
    let home = Home::new();
    draw(&home.path("photos"), 24, 2, 0);
    let options = [
        "train",
        "photos",
        "--threads",
        "1",
        "--engine",
        "rten",
        "--engine-batch",
        "4",
        "--augmentation",
        "crop",
        "--views",
        "3",
        "--epochs",
        "2",
    ];
    let mut run = Running::start(home.kennel().args(options));
    // One flush of 32 whole records (key, 640 features, checksum) behind the segment's header; a size in
    // between is a write that the kill may tear. Most of the photos are still to come.
    let flushed = 12 + 32 * (40 + 4 * 640 + 4);
    let size = || {
        let segments = files(&home.path("cache/features"), ".seg");
        segments.iter().map(|s| s.metadata().unwrap().len()).sum::<u64>()
    };
    until("the first features", || {
        assert!(run.is_running(), "it ended early: {}", run.log());
        size() >= flushed
    });
    run.kill();
    assert_eq!(run.wait().signal(), Some(9), "killed in the middle, not ended");
    assert!(!home.path("model.tar.gz").exists());

    home.run(&options).ok();
    let metrics = read_json(&home.path("metrics.json"));
    let count = |key: &str| metrics["features"][key].as_u64().unwrap();
    assert!(count("cached") >= 32, "{metrics}");
    assert!(count("computed") > 0, "the kill came too late: {metrics}");
    assert_eq!(count("cached") + count("computed"), 8 * (24 * 3 + 2));

    let undisturbed = Home::new();
    let photos = home.path("photos").display().to_string();
    let mut same = options;
    same[1] = &photos;
    undisturbed.run(&same).ok();
    assert_eq!(lasting(metrics), lasting(read_json(&undisturbed.path("metrics.json"))));
    assert_eq!(network(&home), network(&undisturbed));
}

#[test]
fn a_signal_during_head_training_leaves_a_state_that_is_gone_on_from() {
    let home = Home::new();
    draw(&home.path("photos"), 3, 1, 0);
    let options =
        ["train", "photos", "--epochs", "1500", "--batch-size", "4", "--early-stopping", "0"];
    let mut run = Running::start(home.kennel().args(options));
    run.line_with("epoch=5/1500");
    run.signal("TERM");
    assert_eq!(run.wait().code(), Some(130), "{}", run.log());
    let log = run.log();
    assert!(log.contains("interrupted: the head is at epoch"), "{log}");
    assert!(log.contains("hint: run the same command again"), "{log}");
    assert!(!home.path("model.tar.gz").exists());
    assert_eq!(files(&home.path("cache"), ".checkpoint").len(), 1);

    let second = home.run(&options).ok();
    assert!(second.err.contains("went on from the checkpoint"), "{}", second.err);
    assert!(!second.err.contains("epoch=1/1500"), "the first epochs are not run again");
    assert!(second.err.contains("epoch=1500/1500"));
    assert!(files(&home.path("cache"), ".checkpoint").is_empty());
    let epochs = read_json(&home.path("metrics.json"))["epochs"].as_array().unwrap().len();
    assert_eq!(epochs, 1500, "the history is whole");
}

/// Three breeds of real photos on a network that learned ImageNet, where they lie beside the project.
#[test]
fn real_photos_are_learned_from_the_shared_hubs_network() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let (photos, hub) = (shared.join("data/dogs120"), shared.join("hub"));
    if !photos.join("train").is_dir() || !hub.join("hub.toml").is_file() {
        eprintln!("SKIPPED: {} has no data/dogs120 and hub", shared.display());
        return;
    }
    let home = Home::new();
    let mut breeds: Vec<_> =
        std::fs::read_dir(photos.join("train")).unwrap().map(|e| e.unwrap().file_name()).collect();
    breeds.sort();
    for (split, count) in [("train", 10), ("test", 8)] {
        for breed in breeds.iter().step_by(40) {
            let to = home.path("photos").join(split).join(breed);
            std::fs::create_dir_all(&to).unwrap();
            let folder = photos.join(split).join(breed);
            for photo in files(&folder, ".jpg").iter().take(count) {
                std::fs::copy(photo, to.join(photo.file_name().unwrap())).unwrap();
            }
        }
    }
    let train = |warm: &str| {
        let options =
            ["train", "photos", "--backbone", "mobilenet_v2_1.0_224", "--warm-start", warm];
        let ran = Ran::of(home.kennel().args(options).env("KENNEL_HUB", &hub)).ok();
        (ran, read_json(&home.path("metrics.json")))
    };
    let (_, cold) = train("false");
    assert_eq!(cold["metrics"]["test"]["count"], 24);
    assert_eq!(cold["warm_started_classes"], 0);
    let (ran, warm) = train("true");
    assert_eq!(warm["features"]["computed"], 0, "another head, the same features");
    assert!(
        warm["warm_started_classes"].as_u64().unwrap() >= 2,
        "ImageNet has these breeds: {warm}"
    );
    assert!(ran.err.contains("classes are known to the backbone"), "{}", ran.err);
    for metrics in [&cold, &warm] {
        assert!(metrics["metrics"]["test"]["top1"].as_f64().unwrap() >= 0.8, "{metrics}");
    }
}
