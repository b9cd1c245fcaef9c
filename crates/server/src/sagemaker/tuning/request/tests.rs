//! Inputs that are completed, and inputs that are refused.

use kennel_tune::Parameter;

use super::*;

fn input() -> Value {
    json!({
        "HyperParameterTuningJobName": "dogs",
        "HyperParameterTuningJobConfig": {
            "Strategy": "Bayesian",
            "ResourceLimits": { "MaxNumberOfTrainingJobs": 4, "MaxParallelTrainingJobs": 2 },
            "HyperParameterTuningJobObjective": { "Type": "Maximize", "MetricName": "validation:accuracy" },
            "ParameterRanges": { "ContinuousParameterRanges": [
                { "Name": "learning_rate", "MinValue": "0.001", "MaxValue": "0.1" } ] },
        },
        "TrainingJobDefinition": {
            "AlgorithmSpecification": { "TrainingImage": "kennel/image-classification:1", "TrainingInputMode": "File" },
            "RoleArn": "arn:aws:iam::123456789012:role/sagemaker",
            "OutputDataConfig": { "S3OutputPath": "s3://dogs/out" },
            "ResourceConfig": { "InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30, "KeepAlivePeriodInSeconds": 60 },
            "StoppingCondition": { "MaxRuntimeInSeconds": 600 },
            "CheckpointConfig": { "S3Uri": "s3://dogs/checkpoints/" },
        },
    })
}

fn with(pointer: &str, to: Value) -> Value {
    let mut input = input();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    input.pointer_mut(parent).unwrap()[name] = to;
    input
}

fn check(input: Value) -> Result<Vec<Algorithm>, ServiceError> {
    let input = complete(input)?;
    let request = Request::parse(&input)?;
    request.check_limits()?;
    let algorithms = request.algorithms(&input, 3)?;
    for algorithm in &algorithms {
        algorithm.sample("dogs")?;
    }
    Ok(algorithms)
}

#[test]
fn the_answer_has_what_the_sdk_reads_without_asking() {
    let full = complete(input()).unwrap();
    let definition = &full["TrainingJobDefinition"];
    assert_eq!(
        definition["StaticHyperParameters"]["_tuning_objective_metric"],
        "validation:accuracy"
    );
    assert_eq!(definition["OutputDataConfig"]["KmsKeyId"], "");
    assert_eq!(
        definition["HyperParameterTuningResourceConfig"],
        json!({ "InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30 })
    );
    let config = &full["HyperParameterTuningJobConfig"];
    assert_eq!(config["ParameterRanges"]["IntegerParameterRanges"], json!([]));
    assert_eq!(config["ParameterRanges"]["CategoricalParameterRanges"], json!([]));
    assert_eq!(config["TrainingJobEarlyStoppingType"], "Off");
    // What was answered can be sent again.
    assert_eq!(complete(full.clone()).unwrap(), full);

    let mut other = input();
    let definition = other["TrainingJobDefinition"].as_object_mut().unwrap();
    definition.remove("ResourceConfig");
    definition.insert(
        "HyperParameterTuningResourceConfig".to_owned(),
        json!({ "AllocationStrategy": "Prioritized", "InstanceConfigs": [
            { "InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5 },
            { "InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 5 } ] }),
    );
    let full = complete(other).unwrap();
    assert_eq!(full["TrainingJobDefinition"]["ResourceConfig"]["InstanceType"], "ml.m5.large");
}

#[test]
fn a_trial_is_a_training_job_with_checkpoints_of_its_own() {
    let algorithm = check(input()).unwrap().remove(0);
    let tuned = BTreeMap::from([("learning_rate".to_owned(), "0.01".to_owned())]);
    let job = algorithm.training_job("dogs-001-00000000", &tuned);
    assert_eq!(job["CheckpointConfig"]["S3Uri"], "s3://dogs/checkpoints/dogs-001-00000000");
    assert_eq!(
        job["HyperParameters"],
        json!({ "_tuning_objective_metric": "validation:accuracy", "learning_rate": "0.01" })
    );
    for own in ["StaticHyperParameters", "HyperParameterTuningResourceConfig"] {
        assert!(job.get(own).is_none(), "{own}");
    }
    // The seed is the job's own where none is given.
    assert_eq!(algorithm.plan.seed, 3);
    let seeded = check(with("/HyperParameterTuningJobConfig/RandomSeed", json!(9))).unwrap();
    assert_eq!(seeded[0].plan.seed, 9);
}

#[test]
fn autotune_knows_the_native_algorithms_ranges_only() {
    let mut bare = input();
    bare["Autotune"] = json!({ "Mode": "Enabled" });
    bare["HyperParameterTuningJobConfig"]["ParameterRanges"] = Value::Null;
    bare["TrainingJobDefinition"]["StaticHyperParameters"] = json!({ "mini_batch_size": "8" });
    let algorithm = check(bare.clone()).unwrap().remove(0);
    let names: Vec<&str> =
        algorithm.plan.space.parameters().iter().map(|p| p.name.as_str()).collect();
    assert!(names.contains(&"learning_rate"), "{names:?}");
    assert!(!names.contains(&"batch_size"), "a static value was overridden: {names:?}");
    // Its ranges are in the answer, and mean the same when they are read again.
    let full = complete(bare.clone()).unwrap();
    let again = Request::parse(&full).unwrap().algorithms(&full, 3).unwrap();
    let sorted = |space: &Space| {
        let mut all: Vec<Parameter> = space.parameters().to_vec();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    };
    assert_eq!(sorted(&again[0].plan.space), sorted(&algorithm.plan.space));

    bare["TrainingJobDefinition"]["AlgorithmSpecification"]["TrainingImage"] =
        json!("763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:1.4.0-cpu-py3");
    let refused = check(bare).unwrap_err();
    assert!(refused.message.contains("Autotune"), "{refused}");

    let mut hinted = input();
    hinted["Autotune"] = json!({ "Mode": "Enabled" });
    hinted["HyperParameterTuningJobConfig"]["ParameterRanges"] = json!({ "AutoParameters": [
        { "Name": "dropout", "ValueHint": "0.1" }, { "Name": "num_classes", "ValueHint": "8" } ] });
    let algorithm = check(hinted).unwrap().remove(0);
    let names: Vec<&str> =
        algorithm.plan.space.parameters().iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["dropout"]);
    assert_eq!(algorithm.fixed["num_classes"], "8", "what has no range keeps its hint");
}

#[test]
fn hyperband_goes_to_the_epochs_of_the_training() {
    let mut hyperband = with("/HyperParameterTuningJobConfig/Strategy", json!("Hyperband"));
    let strategy = |input: &Value| check(input.clone()).unwrap()[0].plan.strategy;
    assert_eq!(strategy(&hyperband), Strategy::Hyperband { min: 1, max: MAX_RESOURCE });
    hyperband["TrainingJobDefinition"]["StaticHyperParameters"] = json!({ "epochs": "\"81\"" });
    assert_eq!(strategy(&hyperband), Strategy::Hyperband { min: 1, max: 81 });
    hyperband["HyperParameterTuningJobConfig"]["StrategyConfig"] =
        json!({ "HyperbandStrategyConfig": { "MinResource": 2, "MaxResource": 9 } });
    assert_eq!(strategy(&hyperband), Strategy::Hyperband { min: 2, max: 9 });
}

#[test]
fn a_grid_has_as_many_trials_as_combinations() {
    let mut grid = with("/HyperParameterTuningJobConfig/Strategy", json!("Grid"));
    let config = &mut grid["HyperParameterTuningJobConfig"];
    config["ParameterRanges"] = json!({ "CategoricalParameterRanges": [
        { "Name": "a", "Values": ["1", "2", "3"] }, { "Name": "b", "Values": ["x", "y"] } ] });
    config["ResourceLimits"] = json!({ "MaxParallelTrainingJobs": 2 });
    assert_eq!(check(grid.clone()).unwrap()[0].plan.max_trials, 6);
    grid["HyperParameterTuningJobConfig"]["ResourceLimits"]["MaxNumberOfTrainingJobs"] = json!(5);
    assert!(check(grid).unwrap_err().message.contains("6 combinations"));
}

#[test]
fn what_cannot_work_is_refused_by_name() {
    let config = |name: &str| format!("/HyperParameterTuningJobConfig/{name}");
    let range = |min: &str, max: &str| json!({ "ContinuousParameterRanges": [{ "Name": "lr", "MinValue": min, "MaxValue": max }] });
    let whole = |min: &str, max: &str| json!({ "IntegerParameterRanges": [{ "Name": "n", "MinValue": min, "MaxValue": max }] });
    let many: Vec<Value> = (0..31)
        .map(|i| json!({ "Name": format!("p{i}"), "MinValue": "0", "MaxValue": "1" }))
        .collect();
    let cases = [
        (with(&config("ParameterRanges"), range("small", "1")), "`small`"),
        (with(&config("ParameterRanges"), range("2", "1")), "lr"),
        (with(&config("ParameterRanges"), range("0", "inf")), "lr"),
        (with(&config("ParameterRanges"), whole("1", "2.5")), "`2.5`"),
        (with(&config("ParameterRanges"), json!({})), ""),
        (with(&config("ParameterRanges"), json!({ "ContinuousParameterRanges": many })), "31"),
        (
            with(
                &config("HyperParameterTuningJobObjective"),
                json!({ "Type": "Minimize", "MetricName": "Test Loss" }),
            ),
            "A metric is required for this hyperparameter tuning job objective.",
        ),
        (with(&config("HyperParameterTuningJobObjective"), Value::Null), "Objective"),
        (with(&config("Strategy"), json!("Grid")), "categorical"),
        (
            with(&config("ResourceLimits"), json!({ "MaxParallelTrainingJobs": 2 })),
            "MaxNumberOfTrainingJobs",
        ),
        (
            with("/TrainingJobDefinition/StaticHyperParameters", json!({ "learning_rate": "0.1" })),
            "learning_rate",
        ),
        (
            with(
                &config("StrategyConfig"),
                json!({ "HyperbandStrategyConfig": { "MinResource": 1 } }),
            ),
            "Hyperband",
        ),
        (with("/TrainingJobDefinition", Value::Null), "TrainingJobDefinition"),
    ];
    for (input, word) in cases {
        let refused = check(input).unwrap_err();
        assert_eq!(refused.code, "ValidationException", "{refused}");
        assert!(refused.message.contains(word), "`{word}` is not in: {refused}");
    }
    let mut both = with("/HyperParameterTuningJobConfig/Strategy", json!("Hyperband"));
    both["HyperParameterTuningJobConfig"]["TrainingJobEarlyStoppingType"] = json!("Auto");
    assert!(check(both).is_err());
    for limits in [
        json!({ "MaxNumberOfTrainingJobs": 20, "MaxParallelTrainingJobs": 11 }),
        json!({ "MaxNumberOfTrainingJobs": 751, "MaxParallelTrainingJobs": 1 }),
    ] {
        let refused = check(with(&config("ResourceLimits"), limits)).unwrap_err();
        assert_eq!(refused.code, "ResourceLimitExceeded", "{refused}");
    }
}
