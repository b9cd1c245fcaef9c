//! SageMaker, its runtime, and Application Auto Scaling.

use serde_json::Value;

use super::{Asked, Keys, Need, Needs, has_tags, pass, tags, text, values};

const SERVICE: &str = "sagemaker.amazonaws.com";

/// Operation, kind of the resource, and the member that names it.
const BY_NAME: [(&str, &str, &str); 23] = [
    ("CreateTrainingJob", "training-job", "TrainingJobName"),
    ("DescribeTrainingJob", "training-job", "TrainingJobName"),
    ("StopTrainingJob", "training-job", "TrainingJobName"),
    ("UpdateTrainingJob", "training-job", "TrainingJobName"),
    ("CreateHyperParameterTuningJob", TUNING, TUNING_NAME),
    ("DescribeHyperParameterTuningJob", TUNING, TUNING_NAME),
    ("StopHyperParameterTuningJob", TUNING, TUNING_NAME),
    ("ListTrainingJobsForHyperParameterTuningJob", TUNING, TUNING_NAME),
    ("DescribeProcessingJob", "processing-job", "ProcessingJobName"),
    ("CreateModel", "model", "ModelName"),
    ("DescribeModel", "model", "ModelName"),
    ("DeleteModel", "model", "ModelName"),
    ("CreateEndpointConfig", "endpoint-config", "EndpointConfigName"),
    ("DescribeEndpointConfig", "endpoint-config", "EndpointConfigName"),
    ("DeleteEndpointConfig", "endpoint-config", "EndpointConfigName"),
    ("CreateEndpoint", "endpoint", "EndpointName"),
    ("DescribeEndpoint", "endpoint", "EndpointName"),
    ("UpdateEndpoint", "endpoint", "EndpointName"),
    ("UpdateEndpointWeightsAndCapacities", "endpoint", "EndpointName"),
    ("DeleteEndpoint", "endpoint", "EndpointName"),
    ("CreateNotebookInstance", NOTEBOOK, "NotebookInstanceName"),
    ("DescribeNotebookInstance", NOTEBOOK, "NotebookInstanceName"),
    ("DeleteNotebookInstance", NOTEBOOK, "NotebookInstanceName"),
];
const TUNING: &str = "hyper-parameter-tuning-job";
const TUNING_NAME: &str = "HyperParameterTuningJobName";
const NOTEBOOK: &str = "notebook-instance";

pub(super) fn sagemaker(asked: &Asked<'_>) -> Option<Needs> {
    let (input, action) = (asked.input, asked.action("sagemaker"));
    let named = BY_NAME.iter().find(|(operation, ..)| *operation == asked.operation);
    let Some((operation, kind, member)) = named else {
        return match asked.operation {
            "ListTrainingJobs"
            | "ListHyperParameterTuningJobs"
            | "ListProcessingJobs"
            | "ListModels"
            | "ListEndpointConfigs"
            | "ListEndpoints"
            | "ListNotebookInstances" => Some(Need::new(action, "*").into()),
            "ListTags" => Some(Need::new(action, asked.text("ResourceArn")).into()),
            "AddTags" => {
                Some(Need::new(action, asked.text("ResourceArn")).and(&tags(input, "Tags")).into())
            }
            "DeleteTags" => {
                let need = Need::new(action, asked.text("ResourceArn"));
                Some(need.and(&tags(input, "TagKeys")).into())
            }
            _ => None,
        };
    };
    let resource = arn(asked, kind, asked.text(member));
    let mut needs = Vec::new();
    // AWS checks both where an operation touches two resources.
    if matches!(*operation, "CreateEndpoint" | "UpdateEndpoint") {
        let config = arn(asked, "endpoint-config", asked.text("EndpointConfigName"));
        needs.push(Need::new(action.clone(), config));
    }
    let mut keys = conditions(operation, input);
    if has_tags(input, "Tags") {
        keys.extend(tags(input, "Tags"));
        needs.push(Need::new("sagemaker:AddTags", resource.clone()).and(&tags(input, "Tags")));
    }
    needs.extend(roles(operation, input).into_iter().map(|role| pass(&role, SERVICE)));
    needs.insert(0, Need::new(action, resource).and(&keys));
    Some(Needs::All(needs))
}

/// SageMaker lower-cases names in its ARNs.
fn arn(asked: &Asked<'_>, kind: &str, name: &str) -> String {
    asked.arn("sagemaker", &format!("{kind}/{}", name.to_lowercase()))
}

/// The roles that a request hands over, each once.
fn roles(operation: &str, input: &Value) -> Vec<String> {
    let mut roles = match operation {
        "CreateTrainingJob" | "CreateNotebookInstance" => values(input, "RoleArn"),
        "CreateModel" => values(input, "ExecutionRoleArn"),
        // Without a role of its own the model's is used, which was handed over with it.
        "CreateEndpointConfig" => values(input, "ExecutionRoleArn"),
        "CreateHyperParameterTuningJob" => {
            let mut all = values(input, "TrainingJobDefinition.RoleArn");
            all.extend(values(input, "TrainingJobDefinitions[].RoleArn"));
            all
        }
        _ => Vec::new(),
    };
    roles.sort();
    roles.dedup();
    roles
}

/// SageMaker's own condition keys, where the request has them.
fn conditions(operation: &str, input: &Value) -> Keys {
    let mut keys: Keys = Vec::new();
    let mut key = |name: &'static str, paths: &[&str], prefix: &str| {
        let mut all: Vec<String> =
            paths.iter().flat_map(|path| values(input, &format!("{prefix}{path}"))).collect();
        all.sort();
        all.dedup();
        match keys.iter_mut().find(|(known, _)| known == name) {
            Some((_, there)) => there.extend(all),
            None => keys.push((name.into(), all)),
        }
    };
    let mut job = |prefix: &str| {
        let types = [
            "ResourceConfig.InstanceType",
            "ResourceConfig.InstanceGroups[].InstanceType",
            "HyperParameterTuningResourceConfig.InstanceType",
            "HyperParameterTuningResourceConfig.InstanceConfigs[].InstanceType",
        ];
        key("sagemaker:InstanceTypes", &types, prefix);
        key("sagemaker:MaxRuntimeInSeconds", &["StoppingCondition.MaxRuntimeInSeconds"], prefix);
        key("sagemaker:NetworkIsolation", &["EnableNetworkIsolation"], prefix);
        let encrypted = ["EnableInterContainerTrafficEncryption"];
        key("sagemaker:InterContainerTrafficEncryption", &encrypted, prefix);
        key("sagemaker:OutputKmsKey", &["OutputDataConfig.KmsKeyId"], prefix);
        key("sagemaker:VolumeKmsKey", &["ResourceConfig.VolumeKmsKeyId"], prefix);
        key("sagemaker:VpcSubnets", &["VpcConfig.Subnets[]"], prefix);
        key("sagemaker:VpcSecurityGroupIds", &["VpcConfig.SecurityGroupIds[]"], prefix);
    };
    match operation {
        "CreateTrainingJob" | "UpdateTrainingJob" => job(""),
        "CreateHyperParameterTuningJob" => {
            job("TrainingJobDefinition.");
            job("TrainingJobDefinitions[].");
        }
        "CreateModel" => {
            key("sagemaker:NetworkIsolation", &["EnableNetworkIsolation"], "");
            key("sagemaker:VpcSubnets", &["VpcConfig.Subnets[]"], "");
            key("sagemaker:VpcSecurityGroupIds", &["VpcConfig.SecurityGroupIds[]"], "");
        }
        "CreateEndpointConfig" => {
            key("sagemaker:InstanceTypes", &["ProductionVariants[].InstanceType"], "");
            key("sagemaker:VolumeKmsKey", &["KmsKeyId"], "");
        }
        "CreateNotebookInstance" => {
            key("sagemaker:InstanceTypes", &["InstanceType"], "");
            key("sagemaker:DirectInternetAccess", &["DirectInternetAccess"], "");
            key("sagemaker:RootAccess", &["RootAccess"], "");
            key("sagemaker:VolumeKmsKey", &["KmsKeyId"], "");
        }
        _ => {}
    }
    keys
}

pub(super) fn runtime(asked: &Asked<'_>) -> Option<Needs> {
    match asked.operation {
        "InvokeEndpoint" | "InvokeEndpointAsync" | "InvokeEndpointWithResponseStream" => {
            let resource = arn(asked, "endpoint", asked.text("EndpointName"));
            let need = Need::new(asked.action("sagemaker"), resource)
                .with("sagemaker:TargetModel", values(asked.input, "TargetModel"));
            Some(need.into())
        }
        _ => None,
    }
}

/// The ids of scalable targets are not known to callers, so that AWS, too, names them `*` when it denies.
pub(super) fn scaling(asked: &Asked<'_>) -> Option<Needs> {
    let action = asked.action("application-autoscaling");
    let resource = match asked.operation {
        "RegisterScalableTarget"
        | "DeregisterScalableTarget"
        | "PutScalingPolicy"
        | "DeleteScalingPolicy"
        | "PutScheduledAction"
        | "DeleteScheduledAction" => asked.arn("application-autoscaling", "scalable-target/*"),
        "DescribeScalableTargets"
        | "DescribeScalingPolicies"
        | "DescribeScalingActivities"
        | "DescribeScheduledActions" => "*".to_owned(),
        "TagResource" | "UntagResource" | "ListTagsForResource" => {
            let need = Need::new(action, asked.text("ResourceARN"));
            let member = if asked.operation == "TagResource" { "Tags" } else { "TagKeys" };
            return Some(need.and(&tags(asked.input, member)).into());
        }
        _ => return None,
    };
    let mut need = Need::new(action, resource);
    if need.resource != "*" {
        need = need
            .with(
                "application-autoscaling:scalable-dimension",
                values(asked.input, "ScalableDimension"),
            )
            .with(
                "application-autoscaling:service-namespace",
                values(asked.input, "ServiceNamespace"),
            )
            .and(&tags(asked.input, "Tags"));
    }
    let role = text(asked.input, "RoleARN");
    let mut needs = vec![need];
    if !role.is_empty() {
        needs.push(pass(role, "sagemaker.application-autoscaling.amazonaws.com"));
    }
    Some(Needs::All(needs))
}
