use serde_json::{Value, json};

use crate::context::{Caller, Timestamp};
use crate::gateway::access;
use crate::iam::tests::{NOW, context, fits_the_model, trust};
use crate::records::tests::{ACCOUNT, DAY, Trail, call, denied, endpoint, need, session, trail};
use crate::service::Service as _;

impl Trail {
    async fn later(&self, operation: &str, input: Value) -> Value {
        let context = context(self.stand.root(), Timestamp(NOW.0 + DAY));
        let answer = self.stand.iam.call(&context, operation, input.clone()).await;
        let answer = answer.unwrap_or_else(|e| panic!("{operation}: {e}"));
        fits_the_model("iam", operation, &input, &answer);
        answer
    }

    /// The job and its services.
    async fn report(&self, input: Value) -> (Value, Value) {
        let job = self.later("GenerateServiceLastAccessedDetails", input).await["JobId"].clone();
        assert_eq!(job.as_str().unwrap().len(), 36);
        let answer = self.later("GetServiceLastAccessedDetails", json!({"JobId": job})).await;
        assert_eq!(answer["JobStatus"], "COMPLETED");
        (job, answer["ServicesLastAccessed"].clone())
    }

    async fn with_role(&self, name: &str, actions: Value) -> String {
        self.stand.role(name, trust(json!({"Service": "lambda.amazonaws.com"}))).await;
        let document = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": actions, "Resource": "*"},
            {"Effect": "Deny", "Action": "iam:*", "Resource": "*"},
        ]});
        let input = json!({
            "RoleName": name, "PolicyName": "p", "PolicyDocument": document.to_string(),
        });
        self.stand.run("PutRolePolicy", input).await.unwrap();
        format!("arn:aws:iam::{ACCOUNT}:role/{name}")
    }
}

fn at(mut record: access::Record, time: i64) -> access::Record {
    record.time = Timestamp(time);
    record
}

fn invoke(id: &str, caller: Caller) -> access::Record {
    call(id, caller, vec![need("sagemaker:InvokeEndpoint", &endpoint("e"))])
}

fn names(services: &Value) -> Vec<&str> {
    let all = services.as_array().unwrap().iter();
    all.map(|service| service["ServiceNamespace"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn every_allowed_service_is_there_and_attempts_count() {
    let trail = trail().await;
    let actions = json!(["sagemaker:InvokeEndpoint", "S3:Get*", "ecr:GetAuthorizationToken"]);
    let arn = trail.with_role("R", actions).await;
    let get = vec![need("s3:GetObject", "arn:aws:s3:::b/k")];
    trail
        .write(vec![
            at(invoke("1", session("R", "a")), NOW.0 + 1000),
            at(invoke("2", session("R", "b")), NOW.0 + 5000),
            at(denied(call("3", session("R", "b"), get)), NOW.0 + 9000),
            at(invoke("4", session("Q", "b")), NOW.0 + 20_000),
        ])
        .await;
    let (job, services) = trail.report(json!({"Arn": arn})).await;
    assert_eq!(names(&services), ["ecr", "s3", "sagemaker"]);
    assert_eq!(services[0].get("LastAuthenticated"), None);
    assert_eq!(services[0]["TotalAuthenticatedEntities"], 0);
    let seconds = NOW.0 / 1000;
    assert_eq!(services[1]["LastAuthenticated"], seconds + 9, "refused, and yet an attempt");
    assert_eq!(services[2]["LastAuthenticated"], seconds + 5);
    assert_eq!(services[2]["LastAuthenticatedEntity"], arn);
    assert_eq!(services[2]["LastAuthenticatedRegion"], "us-east-1");
    assert_eq!(services[2]["TotalAuthenticatedEntities"], 1);
    assert_eq!(services[2]["ServiceName"], "Amazon SageMaker");
    assert_eq!(services[2].get("TrackedActionsLastAccessed"), None);

    let mut input = json!({"JobId": job, "MaxItems": 2});
    let first = trail.later("GetServiceLastAccessedDetails", input.clone()).await;
    assert_eq!(names(&first["ServicesLastAccessed"]), ["ecr", "s3"]);
    input["Marker"] = first["Marker"].clone();
    let second = trail.later("GetServiceLastAccessedDetails", input).await;
    assert_eq!(names(&second["ServicesLastAccessed"]), ["sagemaker"]);
    assert_eq!(second["IsTruncated"], false);
}

#[tokio::test]
async fn actions_are_told_when_asked_for() {
    let trail = trail().await;
    let arn = trail.with_role("R", json!(["sagemaker:DeleteModel", "sagemaker:Invoke*"])).await;
    trail.write(vec![at(invoke("1", session("R", "a")), NOW.0 + 1000)]).await;
    let input = json!({"Arn": arn, "Granularity": "ACTION_LEVEL"});
    let (_, services) = trail.report(input).await;
    assert_eq!(
        services[0]["TrackedActionsLastAccessed"],
        json!([
            {"ActionName": "DeleteModel"},
            {
                "ActionName": "InvokeEndpoint",
                "LastAccessedEntity": arn,
                "LastAccessedTime": NOW.0 / 1000 + 1,
                "LastAccessedRegion": "us-east-1",
            },
        ])
    );
}

#[tokio::test]
async fn wildcards_mean_all_of_ours_and_age_ends() {
    let trail = trail().await;
    let arn = trail.with_role("R", json!("*")).await;
    // Before the role was made, its name was another's.
    trail.write(vec![at(invoke("1", session("R", "a")), NOW.0 - 1)]).await;
    let (_, services) = trail.report(json!({"Arn": arn})).await;
    assert_eq!(names(&services).len(), super::SERVED.len());
    for service in services.as_array().unwrap() {
        assert_eq!(service.get("LastAuthenticated"), None, "{service}");
    }
}

#[tokio::test]
async fn a_policy_counts_all_who_have_it() {
    let trail = trail().await;
    for role in ["A", "B", "C"] {
        trail.stand.role(role, trust(json!({"Service": "lambda.amazonaws.com"}))).await;
        let arn = "arn:aws:iam::aws:policy/AmazonS3FullAccess";
        trail
            .stand
            .run("AttachRolePolicy", json!({"RoleName": role, "PolicyArn": arn}))
            .await
            .unwrap();
    }
    let get =
        |id, role| call(id, session(role, "s"), vec![need("s3:GetObject", "arn:aws:s3:::b/k")]);
    trail.write(vec![at(get("1", "A"), NOW.0 + 9000), at(get("2", "B"), NOW.0 + 4000)]).await;
    let input = json!({"Arn": "arn:aws:iam::aws:policy/AmazonS3FullAccess"});
    let (job, services) = trail.report(input).await;
    let s3 = services.as_array().unwrap().iter().find(|s| s["ServiceNamespace"] == "s3").unwrap();
    assert_eq!(s3["TotalAuthenticatedEntities"], 2);
    assert_eq!(s3["LastAuthenticatedEntity"], format!("arn:aws:iam::{ACCOUNT}:role/A"));
    let input = json!({"JobId": job, "ServiceNamespace": "s3"});
    let answer = trail.later("GetServiceLastAccessedDetailsWithEntities", input).await;
    let all: Vec<(&str, Option<i64>)> = answer["EntityDetailsList"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| (e["EntityInfo"]["Name"].as_str().unwrap(), e["LastAuthenticated"].as_i64()))
        .filter(|(name, _)| name.len() == 1)
        .collect();
    let second = NOW.0 / 1000;
    assert_eq!(all, [("A", Some(second + 9)), ("B", Some(second + 4)), ("C", None)]);
}

#[tokio::test]
async fn jobs_are_forgotten_after_a_week_and_nobody_is_unknown() {
    let trail = trail().await;
    let arn = trail.with_role("R", json!("s3:*")).await;
    let (job, _) = trail.report(json!({"Arn": arn})).await;
    let run = async |days: i64, operation: &str, input: Value| {
        let context = context(trail.stand.root(), Timestamp(NOW.0 + days * DAY));
        trail.stand.iam.call(&context, operation, input).await
    };
    let get = json!({"JobId": job});
    run(7, "GenerateServiceLastAccessedDetails", json!({"Arn": arn})).await.unwrap();
    run(7, "GetServiceLastAccessedDetails", get.clone()).await.unwrap();
    run(9, "GenerateServiceLastAccessedDetails", json!({"Arn": arn})).await.unwrap();
    let nobody = format!("arn:aws:iam::{ACCOUNT}:role/Nobody");
    let group = format!("arn:aws:iam::{ACCOUNT}:group/readers");
    let policy = format!("arn:aws:iam::{ACCOUNT}:policy/none");
    let unknown = uuid::Uuid::new_v4().to_string();
    for (operation, input, code) in [
        ("GetServiceLastAccessedDetails", get, "NoSuchEntity"),
        ("GetServiceLastAccessedDetails", json!({"JobId": unknown}), "NoSuchEntity"),
        ("GenerateServiceLastAccessedDetails", json!({"Arn": nobody}), "NoSuchEntity"),
        ("GenerateServiceLastAccessedDetails", json!({"Arn": group}), "NoSuchEntity"),
        ("GenerateServiceLastAccessedDetails", json!({"Arn": policy}), "NoSuchEntity"),
        (
            "GenerateServiceLastAccessedDetails",
            json!({"Arn": "arn:aws:s3:::some-bucket"}),
            "InvalidInput",
        ),
    ] {
        let error = run(9, operation, input.clone()).await.unwrap_err();
        assert_eq!(error.code, code, "{operation} {input}");
    }
}
