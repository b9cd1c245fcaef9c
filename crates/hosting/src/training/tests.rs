//! Layout and checks; whole jobs are in tests/training.rs.

use std::path::Path;

use super::*;

fn spec(folder: &Path, hosts: usize) -> TrainingSpec {
    TrainingSpec {
        name: "job".to_owned(),
        arn: "arn:aws:sagemaker:us-east-1:000000000000:training-job/job".to_owned(),
        folder: folder.join("job"),
        hosts,
        instance_type: "ml.m5.large".to_owned(),
        shape: Shape { threads: 2, memory_bytes: 1 << 30, gpus: 0, note: None },
        program: TrainingProgram::Native { kennel: "/bin/kennel".into() },
        hyperparameters: BTreeMap::from([("epochs".to_owned(), "3".to_owned())]),
        channels: vec![Channel {
            name: "train".to_owned(),
            folders: vec![folder.to_owned()],
            content_type: Some("application/x-image".to_owned()),
            input_mode: "File".to_owned(),
            record_wrapper: "None".to_owned(),
            compression: None,
        }],
        configuration: BTreeMap::new(),
        environment: BTreeMap::new(),
        network_interface: "lo".to_owned(),
        stop_grace: STOP_GRACE,
        private_root: PrivateRoot::No,
    }
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn the_contract_is_laid_out_per_instance() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.jpg"), "x").unwrap();
    let spec = spec(folder.path(), 11);
    let made = layout::prepare(&spec).unwrap();
    assert_eq!(made.len(), 11);
    assert_eq!(made[1].host, "algo-2");
    let config = made[1].root.join("input/config");
    assert_eq!(json(&config.join("hyperparameters.json")), serde_json::json!({"epochs": "3"}));
    let resources = json(&config.join("resourceconfig.json"));
    assert_eq!(resources["current_host"], "algo-2");
    assert_eq!(resources["hosts"][1], "algo-10");
    assert_eq!(resources["hosts"].as_array().unwrap().len(), 11);
    assert_eq!(resources["network_interface_name"], "lo");
    assert_eq!(resources["current_group_name"], "homogeneousCluster");
    assert_eq!(resources["instance_groups"][0]["instance_type"], "ml.m5.large");
    assert_eq!(
        json(&config.join("inputdataconfig.json")),
        serde_json::json!({"train": {
            "TrainingInputMode": "File",
            "S3DistributionType": "FullyReplicated",
            "RecordWrapperType": "None",
            "ContentType": "application/x-image",
        }})
    );
    assert!(made[1].root.join("input/data/train/a.jpg").is_file());
    assert!(made[1].model.is_dir() && made[1].output_data.is_dir());
}

#[test]
fn a_new_attempt_keeps_checkpoints_and_inputs_only() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.jpg"), "x").unwrap();
    let spec = spec(folder.path(), 1);
    let made = layout::prepare(&spec).unwrap();
    std::fs::write(made[0].root.join("checkpoints/1"), "c").unwrap();
    std::fs::write(made[0].root.join("output/failure"), "old").unwrap();
    std::fs::write(made[0].model.join("half"), "m").unwrap();
    let made = layout::prepare(&spec).unwrap();
    assert!(made[0].checkpoints.join("1").is_file());
    assert!(!made[0].root.join("output/failure").exists());
    assert!(!made[0].model.join("half").exists());
    assert!(folder.path().join("a.jpg").is_file(), "a link was followed while removing");
}

#[test]
fn names_that_leave_the_folder_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["", "..", ".", "a/b", ".hidden", "ü"] {
        let mut spec = spec(folder.path(), 1);
        spec.channels[0].name = name.to_owned();
        assert!(check(&spec).is_err(), "{name}");
    }
    assert!(check(&spec(folder.path(), 0)).is_err());
    assert!(check(&spec(folder.path(), 1)).is_ok());
}

#[test]
fn failure_files_are_bounded_and_never_links() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("failure");
    assert_eq!(layout::read_failure(&file), None);
    std::fs::write(&file, "  \n").unwrap();
    assert_eq!(layout::read_failure(&file), None);
    std::fs::write(&file, "ü".repeat(5000)).unwrap();
    assert_eq!(layout::read_failure(&file).unwrap().chars().count(), FAILURE_CHARACTERS);
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    assert_eq!(layout::read_failure(&link), None);
}

#[test]
fn callers_variables_win_and_threads_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let mut spec = spec(folder.path(), 1);
    spec.environment.insert("OMP_NUM_THREADS".to_owned(), "1".to_owned());
    let made = layout::prepare(&spec).unwrap();
    let process = process(&spec, &made[0]);
    assert_eq!(process.command.argv, ["/bin/kennel", "train", "--threads", "2"]);
    let environment = &process.command.environment;
    assert_eq!(environment["OMP_NUM_THREADS"], "1");
    assert_eq!(environment["RAYON_NUM_THREADS"], "2");
    assert_eq!(environment["KENNEL_ML_ROOT"], made[0].root.display().to_string());
    assert!(process.mounts.is_empty());
}
