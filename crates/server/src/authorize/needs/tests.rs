use std::collections::BTreeMap;
use std::fmt::Write as _;

use kennel_wire::ServiceModel;
use serde_json::json;

use super::*;
use crate::context::Principal;

const ACCOUNT: &str = "123456789012";

struct Nobody;

impl Lookup for Nobody {
    fn role(&self, name: &str) -> Option<Known> {
        (name == "Dog").then(|| Known {
            arn: format!("arn:aws:iam::{ACCOUNT}:role/service-role/Dog"),
            boundary: Some("arn:aws:iam::aws:policy/PowerUserAccess".to_owned()),
            tags: vec![("team".to_owned(), "dogs".to_owned())],
        })
    }

    fn user(&self, name: &str) -> Option<Known> {
        let arn = format!("arn:aws:iam::{ACCOUNT}:user/staff/{name}");
        (name == "ann").then(|| Known { arn, ..Known::default() })
    }

    fn key_owner(&self, key: &str) -> Option<Known> {
        (key == "AKIAANN").then(|| self.user("ann")).flatten()
    }
}

fn ann() -> Caller {
    let principal = Principal::User {
        name: "ann".to_owned(),
        id: "AIDAANN".to_owned(),
        arn: format!("arn:aws:iam::{ACCOUNT}:user/staff/ann"),
    };
    Caller { account: ACCOUNT.to_owned(), principal, access_key: "AKIAANN".to_owned() }
}

fn ask(service: &str, operation: &str, input: Value) -> Option<Needs> {
    needs(&Asked {
        service,
        operation,
        input: &input,
        caller: &ann(),
        account: ACCOUNT,
        region: "us-east-1",
        lookup: &Nobody,
    })
}

fn all(service: &str, operation: &str, input: Value) -> Vec<Need> {
    match ask(service, operation, input) {
        Some(Needs::All(all)) => all,
        other => panic!("{service}:{operation}: {other:?}"),
    }
}

/// `action resource` of each.
fn lines(needs: &[Need]) -> Vec<String> {
    needs.iter().map(|need| format!("{} {}", need.action, need.resource)).collect()
}

/// An input in which every text that the operation's shape has says its own name.
fn named_input(service: &str, operation: &str) -> Value {
    let path = format!("{}/../wire/models/{service}.json", env!("CARGO_MANIFEST_DIR"));
    let model: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let shape = model["operations"][operation]["input"].as_str().unwrap_or_default();
    let mut input = serde_json::Map::new();
    for (name, member) in model["shapes"][shape]["members"].as_object().into_iter().flatten() {
        let target = member.as_str().or(member["shape"].as_str()).unwrap();
        match model["shapes"][target]["type"].as_str().unwrap() {
            "string" => input.insert(name.clone(), json!(format!("<{name}>"))),
            "integer" | "long" => input.insert(name.clone(), json!(7)),
            _ => None,
        };
    }
    Value::Object(input)
}

#[test]
fn every_operation_that_is_served_has_an_entry() {
    let mut table = String::new();
    for model in ServiceModel::all() {
        let service = model.name.as_str();
        for operation in model.operation_names() {
            let asked = ask(service, operation, named_input(service, operation));
            let line = match asked {
                None => panic!("{service}:{operation} would be denied to everybody"),
                Some(Needs::Nothing) => "nothing".to_owned(),
                Some(Needs::Inside) => panic!("only S3 asks inside: {operation}"),
                Some(Needs::All(all)) => {
                    assert!(!all.is_empty(), "{service}:{operation}");
                    lines(&all).join(", ")
                }
            };
            writeln!(table, "{service} {operation}: {line}").unwrap();
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn what_is_not_in_the_table_is_unknown() {
    assert_eq!(ask("sagemaker", "CreateCluster", json!({})), None);
    assert_eq!(ask("iam", "CreateGroup", json!({})), None);
    assert_eq!(ask("ec2", "RunInstances", json!({})), None);
    for model in ServiceModel::all() {
        assert_eq!(ask(&model.name, "NoSuchOperation", json!({})), None, "{}", model.name);
    }
    assert_eq!(bucket_needs("PutBucketVersioning", "b", "", "", &[]), None);
}

#[test]
fn a_training_job_is_created_with_its_role_and_its_tags() {
    let role = format!("arn:aws:iam::{ACCOUNT}:role/Dog");
    let input = json!({
        "TrainingJobName": "Dog-1", "RoleArn": role,
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceGroups": [{"InstanceType": "ml.m5.xlarge"}]},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        "VpcConfig": {"Subnets": ["s1", "s2"]},
        "EnableNetworkIsolation": true,
        "Tags": [{"Key": "team", "Value": "dogs"}],
    });
    let needs = all("sagemaker", "CreateTrainingJob", input);
    let job = format!("arn:aws:sagemaker:us-east-1:{ACCOUNT}:training-job/dog-1");
    assert_eq!(
        lines(&needs),
        [
            format!("sagemaker:CreateTrainingJob {job}"),
            format!("sagemaker:AddTags {job}"),
            format!("iam:PassRole {role}"),
        ]
    );
    let keys: BTreeMap<_, _> =
        needs[0].context.iter().map(|(k, v)| (k.as_ref(), v.join(","))).collect();
    assert_eq!(keys["sagemaker:InstanceTypes"], "ml.m5.large,ml.m5.xlarge");
    assert_eq!(keys["sagemaker:MaxRuntimeInSeconds"], "60");
    assert_eq!(keys["sagemaker:VpcSubnets"], "s1,s2");
    assert_eq!(keys["sagemaker:NetworkIsolation"], "true");
    assert_eq!(keys["aws:RequestTag/team"], "dogs");
    assert_eq!(keys["aws:TagKeys"], "team");
    let passed = &needs[2].context;
    assert_eq!(passed[0].0, "iam:PassedToService");
    assert_eq!(passed[0].1, ["sagemaker.amazonaws.com"]);

    let tuning = json!({
        "HyperParameterTuningJobName": "t",
        "TrainingJobDefinitions": [{"RoleArn": "r1"}, {"RoleArn": "r2"}, {"RoleArn": "r1"}],
    });
    let needs = all("sagemaker", "CreateHyperParameterTuningJob", tuning);
    assert_eq!(lines(&needs)[1..], ["iam:PassRole r1", "iam:PassRole r2"]);
    let endpoint = json!({"EndpointName": "E", "EndpointConfigName": "C"});
    assert_eq!(
        lines(&all("sagemaker", "CreateEndpoint", endpoint)),
        [
            format!("sagemaker:CreateEndpoint arn:aws:sagemaker:us-east-1:{ACCOUNT}:endpoint/e"),
            format!(
                "sagemaker:CreateEndpoint arn:aws:sagemaker:us-east-1:{ACCOUNT}:endpoint-config/c"
            ),
        ]
    );
}

#[test]
fn iam_asks_for_the_path_the_boundary_and_the_tags_of_what_there_is() {
    let needs = all("iam", "AttachRolePolicy", json!({"RoleName": "Dog", "PolicyArn": "p"}));
    assert_eq!(needs[0].resource, format!("arn:aws:iam::{ACCOUNT}:role/service-role/Dog"));
    let key = |name: &str| needs[0].context.iter().find(|(k, _)| k == name).unwrap().1.join(",");
    assert_eq!(key("iam:PolicyARN"), "p");
    assert_eq!(key("iam:PermissionsBoundary"), "arn:aws:iam::aws:policy/PowerUserAccess");
    assert_eq!(key("iam:ResourceTag/team"), "dogs");
    assert_eq!(key("aws:ResourceTag/team"), "dogs");
    let of = |operation, input| lines(&all("iam", operation, input));
    let user = |path: &str| format!("arn:aws:iam::{ACCOUNT}:user/{path}");
    // Who names no user means oneself.
    assert_eq!(
        of("CreateAccessKey", json!({})),
        [format!("iam:CreateAccessKey {}", user("staff/ann"))]
    );
    let bob = json!({"UserName": "bob"});
    assert_eq!(of("CreateAccessKey", bob), [format!("iam:CreateAccessKey {}", user("bob"))]);
    let key = json!({"AccessKeyId": "AKIAANN"});
    assert_eq!(
        of("GetAccessKeyLastUsed", key),
        [format!("iam:GetAccessKeyLastUsed {}", user("staff/ann"))]
    );
    // Whoever renames a user needs both names.
    let rename = json!({"UserName": "ann", "NewUserName": "anna", "NewPath": "/"});
    assert_eq!(
        of("UpdateUser", rename),
        [
            format!("iam:UpdateUser {}", user("staff/ann")),
            format!("iam:UpdateUser {}", user("anna"))
        ]
    );
    let create = json!({"RoleName": "New", "Path": "/x/", "Tags": [{"Key": "a", "Value": "b"}]});
    let role = format!("arn:aws:iam::{ACCOUNT}:role/x/New");
    assert_eq!(
        of("CreateRole", create),
        [format!("iam:CreateRole {role}"), format!("iam:TagRole {role}")]
    );
}

#[test]
fn assuming_a_role_with_tags_and_an_identity_needs_three_rights() {
    let input = json!({
        "RoleArn": "r", "RoleSessionName": "s", "ExternalId": "e", "SourceIdentity": "i",
        "Tags": [{"Key": "a", "Value": "b"}],
    });
    let needs = all("sts", "AssumeRole", input);
    assert_eq!(lines(&needs), ["sts:AssumeRole r", "sts:TagSession r", "sts:SetSourceIdentity r"]);
    assert!(needs[0].context.contains(&("sts:ExternalId".into(), vec!["e".to_owned()])));
    assert_eq!(ask("sts", "GetCallerIdentity", json!({})), Some(Needs::Nothing));
}

#[test]
fn functions_have_many_names() {
    let arn = format!("arn:aws:lambda:us-east-1:{ACCOUNT}:function:dog");
    for (given, qualifier, resource) in [
        ("dog", "", arn.clone()),
        ("dog", "live", format!("{arn}:live")),
        ("dog:3", "", format!("{arn}:3")),
        ("123456789012:function:dog", "", arn.clone()),
        ("function:dog:3", "", format!("{arn}:3")),
        (arn.as_str(), "$LATEST", format!("{arn}:$LATEST")),
        (
            "arn:aws:lambda:eu-west-1:123456789012:function:dog:live",
            "",
            arn.replace("us-east", "eu-west") + ":live",
        ),
    ] {
        let input = json!({"FunctionName": given, "Qualifier": qualifier});
        let needs = all("lambda", "Invoke", input.clone());
        assert_eq!(lines(&needs), [format!("lambda:InvokeFunction {resource}")], "{given}");
        // What is about the function as a whole has no version.
        let whole = all("lambda", "PutFunctionConcurrency", input);
        assert!(whole[0].resource.ends_with(":function:dog"), "{}", whole[0].resource);
    }
    let create = json!({
        "FunctionName": "dog", "Role": "r", "Layers": ["l1"], "Tags": {"a": "b"},
        "Code": {"S3Bucket": "code", "S3Key": "dog.zip"},
    });
    assert_eq!(
        lines(&all("lambda", "CreateFunction", create)),
        [
            format!("lambda:CreateFunction {arn}"),
            "lambda:GetLayerVersion l1".to_owned(),
            "iam:PassRole r".to_owned(),
            format!("lambda:TagResource {arn}"),
            "s3:GetObject arn:aws:s3:::code/dog.zip".to_owned(),
        ]
    );
    // Without a new role none is passed.
    let update = json!({"FunctionName": "dog", "Timeout": 5});
    assert_eq!(all("lambda", "UpdateFunctionConfiguration", update).len(), 1);
}

#[test]
fn log_groups_are_named_as_their_streams() {
    let prefix = format!("arn:aws:logs:us-east-1:{ACCOUNT}:log-group");
    let of = |operation, input| all("logs", operation, input)[0].resource.clone();
    assert_eq!(
        of("PutLogEvents", json!({"logGroupName": "/a", "logStreamName": "s"})),
        format!("{prefix}:/a:log-stream:s")
    );
    let group = json!({"logGroupName": "/a"});
    assert_eq!(of("CreateLogGroup", group), format!("{prefix}:/a:log-stream:"));
    assert_eq!(of("DescribeLogGroups", json!({})), format!("{prefix}::log-stream:"));
    let arn = format!("{prefix}:/a:*");
    assert_eq!(
        of("FilterLogEvents", json!({"logGroupIdentifier": arn})),
        format!("{prefix}:/a:log-stream:")
    );
    assert_eq!(of("TagResource", json!({"resourceArn": arn})), format!("{prefix}:/a"));
    let needs = all("cloudwatch", "PutMetricData", json!({"Namespace": "Dogs"}));
    assert_eq!(needs[0].context, [("cloudwatch:namespace".into(), vec!["Dogs".to_owned()])]);
    assert_eq!(all("cloudwatch", "DeleteAlarms", json!({"AlarmNames": ["a", "b"]})).len(), 2);
}

fn bucket_needs(
    operation: &str,
    bucket: &str,
    key: &str,
    query: &str,
    headers: &[(&str, &str)],
) -> Option<Needs> {
    let query: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
    let header =
        |name: &str| headers.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
    s3(&S3Asked { operation, bucket, key, query: &query, header: &header })
}

/// Every method of `s3s`'s trait that `ops.rs` has, by the names of its operations.
fn served() -> Vec<String> {
    let source = include_str!("../../s3/ops.rs");
    let inputs = source.lines().filter_map(|line| line.trim().strip_prefix("req: S3Request<"));
    inputs.filter_map(|line| line.strip_suffix("Input>,")).map(str::to_owned).collect()
}

#[test]
fn every_operation_of_s3_has_an_entry() {
    let served = served();
    assert!(served.len() > 40, "{served:?}");
    let mut table = String::new();
    for operation in served {
        let line = match bucket_needs(&operation, "bucket", "key", "", &[]) {
            None => panic!("s3:{operation} would be denied to everybody"),
            Some(Needs::Nothing) => panic!("s3:{operation} would be open to everybody"),
            Some(Needs::Inside) => "for each key".to_owned(),
            Some(Needs::All(all)) => lines(&all).join(", "),
        };
        writeln!(table, "{operation}: {line}").unwrap();
    }
    insta::assert_snapshot!(table);
}

#[test]
fn s3_asks_with_versions_lists_and_headers() {
    let of = |operation, query, headers: &[(&str, &str)]| match bucket_needs(
        operation, "b", "k", query, headers,
    ) {
        Some(Needs::All(all)) => all,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        lines(&of("GetObject", "versionId=1", &[])),
        ["s3:GetObjectVersion arn:aws:s3:::b/k"]
    );
    let list = of("ListObjectsV2", "list-type=2&prefix=a%20b&delimiter=%2F&max-keys=5", &[]);
    assert_eq!(
        list[0].context,
        [
            ("s3:prefix".into(), vec!["a b".to_owned()]),
            ("s3:delimiter".into(), vec!["/".to_owned()]),
            ("s3:max-keys".into(), vec!["5".to_owned()]),
        ]
    );
    // A missing prefix is the empty one.
    assert_eq!(of("ListObjects", "", &[])[0].context, [("s3:prefix".into(), vec![String::new()])]);
    let put = of(
        "PutObject",
        "",
        &[
            ("x-amz-tagging", "a=b"),
            ("x-amz-acl", "public-read"),
            ("x-amz-storage-class", "GLACIER"),
        ],
    );
    let object = "arn:aws:s3:::b/k";
    assert_eq!(
        lines(&put),
        [
            format!("s3:PutObject {object}"),
            format!("s3:PutObjectAcl {object}"),
            format!("s3:PutObjectTagging {object}")
        ]
    );
    assert!(put[0].context.contains(&("s3:RequestObjectTag/a".into(), vec!["b".to_owned()])));
    assert!(
        put[0].context.contains(&("s3:x-amz-storage-class".into(), vec!["GLACIER".to_owned()]))
    );
}
