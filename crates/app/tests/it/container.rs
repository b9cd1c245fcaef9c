//! SageMaker's container contract, below KENNEL_ML_ROOT.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::support::{Home, Ran, Running, Server, assert_close, draw, files, read_json, trained};

/// A training container's folder with the course's three channels.
fn container(hyperparameters: &serde_json::Value) -> Home {
    let home = Home::new();
    let data = home.path("ml/input/data");
    draw(&data, 4, 2, 1);
    std::fs::rename(data.join("valid"), data.join("validation")).unwrap();
    let config = home.path("ml/input/config");
    std::fs::create_dir_all(&config).unwrap();
    std::fs::write(config.join("hyperparameters.json"), hyperparameters.to_string()).unwrap();
    home
}

fn command(home: &Home, arguments: &[&str]) -> Command {
    let mut command = home.kennel();
    command.args(arguments).env("KENNEL_ML_ROOT", home.path("ml"));
    command
}

fn failure(home: &Home) -> Option<String> {
    std::fs::read_to_string(home.path("ml/output/failure")).ok()
}

#[test]
fn training_reads_strings_and_writes_where_sagemaker_looks() {
    let home = container(&json!({
        "epochs": "4", "mini_batch_size": "8", "optimizer": "adam", "head": "mlp:16",
        "num_classes": "8", "sagemaker_region": "us-east-1",
    }));
    let ran = Ran::of(&mut command(&home, &["train"])).ok();
    assert!(ran.err.contains("epoch=4/4"), "{}", ran.err);
    for file in [
        "model/model.onnx",
        "model/kennel.json",
        "output/data/metrics.json",
        "output/data/report.html",
    ] {
        assert!(home.path("ml").join(file).is_file(), "{file}");
    }
    assert_eq!(failure(&home), None);
    let manifest = read_json(&home.path("ml/model/kennel.json"));
    assert_eq!(manifest["training"]["head"], "mlp:16");
    assert_eq!(manifest["training"]["optimizer"], "adam");
    assert_eq!(manifest["training"]["batch_size"], 8);
    let counts = &read_json(&home.path("ml/output/data/metrics.json"))["metrics"];
    assert_eq!(
        [&counts["train"]["count"], &counts["valid"]["count"], &counts["test"]["count"]],
        [32, 16, 8]
    );
}

#[test]
fn the_sdks_quoted_strings_are_unquoted_and_one_channel_is_split() {
    let home = container(&json!({
        "epochs": "2", "optimizer": "\"sgd\"", "head": "\"linear\"", "class_weights": "true",
        "sagemaker_program": "\"train.py\"",
    }));
    for name in ["validation", "test"] {
        std::fs::remove_dir_all(home.path("ml/input/data").join(name)).unwrap();
    }
    Ran::of(&mut command(&home, &["train"])).ok();
    let manifest = read_json(&home.path("ml/model/kennel.json"));
    assert_eq!(manifest["training"]["optimizer"], "sgd");
    assert_eq!(manifest["training"]["class_weights"], true);
    assert_eq!(manifest["data"]["photos"], json!({"test": 8, "train": 16, "valid": 8}));
}

#[test]
fn a_failure_is_an_exit_code_and_a_file_of_at_most_1024_characters() {
    let long = "ä".repeat(5000);
    for (name, value) in [("epochs", "many"), ("epochz", "3"), ("optimizer", long.as_str())] {
        let home = container(&json!({ name: value }));
        let ran = Ran::of(&mut command(&home, &["train"]));
        assert_eq!(ran.code, Some(2), "{}", ran.err);
        let text = failure(&home).expect("a failure file");
        assert!(text.contains(&format!("`{name}`")), "{text}");
        assert!(text.chars().count() <= 1024, "{} characters", text.chars().count());
        assert!(!home.path("ml/model/kennel.json").exists());
    }
}

#[test]
fn a_wrong_number_of_classes_and_missing_channels_are_failures() {
    let home = container(&json!({"epochs": "1", "num_classes": "133"}));
    let ran = Ran::of(&mut command(&home, &["train"]));
    assert!(ran.code.is_some_and(|c| c != 0));
    assert!(failure(&home).unwrap().contains("num_classes is 133"));

    std::fs::remove_dir_all(home.path("ml/input/data")).unwrap();
    let ran = Ran::of(&mut command(&home, &["train"]));
    assert!(ran.code.is_some_and(|c| c != 0));
    assert!(failure(&home).unwrap().contains("channels"));
}

/// Serves a folder by the hosting contract and compares with `kennel predict`.
fn serves(home: &Home) {
    let run = trained();
    let photo = files(&run.photos("test"), ".jpg").remove(3);
    let predicted = run
        .home
        .run(&["predict", &run.model(), &photo.display().to_string(), "--json"])
        .ok()
        .json();
    let wanted: Vec<f64> = serde_json::from_value(predicted[0]["logits"].clone()).unwrap();
    let mut serve = command(home, &["serve"]);
    // How SageMaker itself moves the port.
    let mut server = Server::start(serve.env("SAGEMAKER_BIND_TO_PORT", "0"));
    assert_close(&server.logits(&photo), &wanted, 1e-4);
    server.process.signal("TERM");
    let end = server.process.wait();
    let log = server.process.log();
    assert_eq!(end.code(), Some(0), "{log}");
    assert!(log.contains("every accepted request was answered"), "{log}");
}

fn model_folder(home: &Home) -> std::path::PathBuf {
    let folder = home.path("ml/model");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn hosting_serves_the_unpacked_folder() {
    let home = Home::new();
    let package = kennel_infer::package::Package::read(Path::new(&trained().model())).unwrap();
    package.write_folder(&model_folder(&home)).unwrap();
    serves(&home);
}

#[test]
fn hosting_serves_a_folder_with_the_archive() {
    let home = Home::new();
    std::fs::copy(trained().model(), model_folder(&home).join("model.tar.gz")).unwrap();
    serves(&home);
}

#[test]
fn hosting_without_a_model_is_refused() {
    let home = Home::new();
    model_folder(&home);
    let ran = Ran::of(&mut command(&home, &["serve", "--port", "0"]));
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert!(ran.err.contains("hint:"), "{}", ran.err);
}

/// Managed spot training: SIGTERM, and later a new container in which only the checkpoints are the same.
#[test]
fn an_interrupted_job_goes_on_in_a_new_container() {
    let home = container(&json!({
        "epochs": "1500", "mini_batch_size": "4", "early_stopping": "false",
    }));
    std::fs::create_dir_all(home.path("ml/checkpoints")).unwrap();
    let mut run = Running::start(&mut command(&home, &["train"]));
    run.line_with("epoch=5/1500");
    run.signal("TERM");
    assert_eq!(run.wait().code(), Some(130), "{}", run.log());
    assert_eq!(failure(&home), None, "an interruption is no failure");
    assert_eq!(files(&home.path("ml/checkpoints"), ".checkpoint").len(), 1);
    std::fs::remove_dir_all(home.path("cache")).unwrap();
    let second = Ran::of(&mut command(&home, &["train"])).ok();
    assert!(second.err.contains("went on from the checkpoint"), "{}", second.err);
    assert!(!second.err.contains("epoch=1/1500"));
    assert!(home.path("ml/model/model.onnx").is_file());
}
