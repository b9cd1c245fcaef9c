//! What AWS adds to an input before it stores and answers it.

use kennel_wire::ServiceError;
use serde_json::{Map, Value, json};

use super::ranges::autotuned;
use super::{Definition, OBJECTIVE_PARAMETER, Request};

/// The input as it is stored and answered: with what AWS adds to it, and with the ranges that Autotune chose.
pub(in crate::sagemaker::tuning) fn complete(mut input: Value) -> Result<Value, ServiceError> {
    let request = Request::parse(&input)?;
    let typed: Vec<Definition> = request.typed_definitions()?.into_iter().cloned().collect();
    let autotune = request.autotune.is_some();
    if request.several() {
        if let Some(Value::Array(list)) = input.get_mut("TrainingJobDefinitions") {
            for (raw, definition) in list.iter_mut().zip(&typed) {
                if autotune {
                    let given = definition.hyper_parameter_ranges.clone().unwrap_or_default();
                    let tuned = autotuned(raw, definition, &given)?;
                    fix(raw, tuned.fixed);
                    put(raw, "HyperParameterRanges", Some(tuned.ranges));
                }
                let objective = definition.tuning_objective.as_ref();
                complete_definition(raw, objective.map(|o| o.metric_name.as_str()));
            }
        }
        return Ok(input);
    }
    let config = &request.config;
    let tuned = match (input.get("TrainingJobDefinition"), typed.first(), autotune) {
        (Some(raw), Some(definition), true) => {
            let given = config.parameter_ranges.clone().unwrap_or_default();
            Some(autotuned(raw, definition, &given)?)
        }
        _ => None,
    };
    let (ranges, fixed) = tuned.map(|tuned| (tuned.ranges, tuned.fixed)).unzip();
    if let Some(config) = input.get_mut("HyperParameterTuningJobConfig") {
        put(config, "ParameterRanges", ranges);
        // `HyperparameterTuner.attach` reads all three without asking whether they are there.
        if let Some(Value::Object(ranges)) = config.get_mut("ParameterRanges") {
            for kind in [
                "IntegerParameterRanges",
                "ContinuousParameterRanges",
                "CategoricalParameterRanges",
            ] {
                ranges.entry(kind).or_insert_with(|| json!([]));
            }
        }
        if let Value::Object(config) = config {
            config.entry("TrainingJobEarlyStoppingType").or_insert(json!("Off"));
        }
    }
    if let Some(raw) = input.get_mut("TrainingJobDefinition") {
        fix(raw, fixed.unwrap_or_default());
        let own = typed.first().and_then(|definition| definition.tuning_objective.as_ref());
        let objective = own.or(config.objective.as_ref());
        complete_definition(raw, objective.map(|o| o.metric_name.as_str()));
    }
    Ok(input)
}

fn put(target: &mut Value, name: &str, value: Option<Value>) {
    if let (Value::Object(members), Some(value)) = (target, value) {
        members.insert(name.to_owned(), value);
    }
}

/// Adds static hyperparameters; those that are there stay.
fn fix(raw: &mut Value, fixed: Vec<(String, String)>) {
    if fixed.is_empty() {
        return;
    }
    let Value::Object(members) = raw else { return };
    let own = members.entry("StaticHyperParameters").or_insert_with(|| json!({}));
    if let Value::Object(own) = own {
        for (name, value) in fixed {
            own.entry(name).or_insert(json!(value));
        }
    }
}

/// The members that AWS adds to a definition.
fn complete_definition(raw: &mut Value, metric: Option<&str>) {
    let Value::Object(members) = raw else { return };
    if let Some(metric) = metric {
        let fixed = members.entry("StaticHyperParameters").or_insert_with(|| json!({}));
        if let Value::Object(fixed) = fixed {
            fixed.insert(OBJECTIVE_PARAMETER.to_owned(), json!(metric));
        }
    }
    if let Some(Value::Object(output)) = members.get_mut("OutputDataConfig") {
        output.entry("KmsKeyId").or_insert_with(|| json!(""));
    }
    for name in [
        "EnableNetworkIsolation",
        "EnableInterContainerTrafficEncryption",
        "EnableManagedSpotTraining",
    ] {
        members.entry(name).or_insert(json!(false));
    }
    // The SDK sends one of the two and reads the other.
    let tuning = members.get("HyperParameterTuningResourceConfig").cloned();
    let plain = members.get("ResourceConfig").cloned();
    match (tuning, plain) {
        (Some(Value::Object(tuning)), None) => {
            let first = tuning.get("InstanceConfigs").and_then(|list| list.get(0));
            let mut plain = match first {
                Some(Value::Object(first)) => first.clone(),
                _ => tuning,
            };
            plain.remove("AllocationStrategy");
            members.insert("ResourceConfig".to_owned(), Value::Object(plain));
        }
        (None, Some(Value::Object(plain))) => {
            let known = ["InstanceType", "InstanceCount", "VolumeSizeInGB", "VolumeKmsKeyId"];
            let tuning: Map<String, Value> =
                plain.into_iter().filter(|(name, _)| known.contains(&name.as_str())).collect();
            members.insert("HyperParameterTuningResourceConfig".to_owned(), Value::Object(tuning));
        }
        _ => {}
    }
}
