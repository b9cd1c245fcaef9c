use kennel_wire::{ServiceModel, rest};

use super::*;
use crate::iam::tests::{NOW, context, trust};
use crate::records::tests::{
    ACCOUNT, DAY, Trail, call, denied, endpoint, need, passed, session, trail, user,
};

struct Desk {
    trail: Trail,
    service: AccessAnalyzer,
}

/// With a role `Lambda` that is as old as the window is long.
async fn desk() -> Desk {
    let trail = trail().await;
    let service = AccessAnalyzer::new(trail.stand.iam.clone());
    trail.stand.role("Lambda", trust(json!({"Service": "lambda.amazonaws.com"}))).await;
    Desk { trail, service }
}

const ROLE: &str = "arn:aws:iam::123456789012:role/Lambda";

impl Desk {
    async fn ask(&self, operation: &str, input: Value) -> Answer {
        let root = self.trail.stand.root();
        let now = Timestamp(NOW.0 + DAY);
        let answer = self.service.call(&context(root, now), operation, input).await?;
        let model = ServiceModel::by_name("accessanalyzer").unwrap();
        let shape = model.operation(operation).unwrap();
        let body = rest::answer(model, shape, &answer, "request").body;
        let mut written: Value = serde_json::from_slice(&body).unwrap();
        let mut expected = answer.clone();
        // Moments are written as texts; all else is as it was.
        plain(&mut written);
        plain(&mut expected);
        assert_eq!(written, expected, "the model has every member");
        Ok(answer)
    }

    async fn generate(&self, more: Value) -> Value {
        let mut input = json!({"policyGenerationDetails": {"principalArn": ROLE}});
        if !more.is_null() {
            input["cloudTrailDetails"] = more;
        }
        let job = self.ask("StartPolicyGeneration", input).await.unwrap();
        self.ask("GetGeneratedPolicy", json!({"jobId": job["jobId"]})).await.unwrap()
    }
}

fn plain(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, value) in members.iter_mut() {
                match name.as_str() {
                    "startedOn" | "completedOn" | "startTime" | "endTime" => *value = json!("then"),
                    _ => plain(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(plain),
        _ => {}
    }
}

fn policy(answer: &Value) -> Value {
    let all = answer["generatedPolicyResult"]["generatedPolicies"].as_array().unwrap();
    assert_eq!(all.len(), 1);
    serde_json::from_str(all[0]["policy"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn the_policy_is_what_was_done_and_no_more() {
    let desk = desk().await;
    let job = format!("arn:aws:sagemaker:us-east-1:{ACCOUNT}:training-job/j");
    let invoke = |name: &str| vec![need("sagemaker:InvokeEndpoint", &endpoint(name))];
    let training =
        vec![need("sagemaker:CreateTrainingJob", &job), passed("R", "sagemaker.amazonaws.com")];
    desk.trail
        .write(vec![
            call("1", session("Lambda", "a"), invoke("dogs")),
            call("2", session("Lambda", "b"), invoke("dogs")),
            call("3", session("Lambda", "b"), training),
            denied(call("4", session("Lambda", "b"), invoke("cats"))),
            call("5", session("Other", "b"), invoke("birds")),
            call("6", user("ann"), invoke("fish")),
        ])
        .await;
    let answer = desk.generate(Value::Null).await;
    assert_eq!(answer["jobDetails"]["status"], "SUCCEEDED");
    let properties = &answer["generatedPolicyResult"]["properties"];
    assert_eq!(properties["principalArn"], ROLE);
    assert_eq!(properties["isComplete"], true);
    assert_eq!(properties["cloudTrailProperties"]["endTime"], (NOW.0 + DAY) as f64 / 1000.0);
    assert_eq!(properties["cloudTrailProperties"]["startTime"], (NOW.0 - 89 * DAY) as f64 / 1000.0);
    let found = policy(&answer);
    let text = found.to_string();
    for absent in ["cats", "birds", "fish", "\"*\""] {
        assert!(!text.contains(absent), "{absent}: {text}");
    }
    let statements = found["Statement"].as_array().unwrap();
    assert_eq!(statements.len(), 3, "{text}");
    let with = |action: &str| {
        let has = |s: &&Value| s["Action"].to_string().contains(action);
        statements.iter().find(has).unwrap()
    };
    assert!(with("InvokeEndpoint")["Resource"].to_string().contains(&endpoint("dogs")));
    assert!(with("CreateTrainingJob")["Resource"].to_string().contains(&job));
    let pass = with("PassRole");
    let condition = pass["Condition"]["StringEquals"]["iam:PassedToService"].to_string();
    assert!(condition.contains("sagemaker.amazonaws.com"), "{text}");
    // It is a policy that IAM takes.
    let input = json!({"RoleName": "Lambda", "PolicyName": "least", "PolicyDocument": text});
    desk.trail.stand.run("PutRolePolicy", input).await.unwrap();
}

#[tokio::test]
async fn times_limit_and_nothing_done_is_no_policy() {
    let desk = desk().await;
    let mut old =
        call("1", session("Lambda", "a"), vec![need("s3:GetObject", "arn:aws:s3:::b/old")]);
    old.time = Timestamp(NOW.0 + 1000);
    let mut new =
        call("2", session("Lambda", "a"), vec![need("s3:GetObject", "arn:aws:s3:::b/new")]);
    new.time = Timestamp(NOW.0 + 9000);
    desk.trail.write(vec![old, new]).await;
    let window = |from: i64, to: i64| {
        let second = NOW.0 / 1000;
        json!({"trails": [], "accessRole": ROLE, "startTime": second + from, "endTime": second + to})
    };
    let found = policy(&desk.generate(window(5, 20)).await).to_string();
    assert!(found.contains("b/new") && !found.contains("b/old"), "{found}");
    let found = policy(&desk.generate(window(0, 5)).await).to_string();
    assert!(found.contains("b/old") && !found.contains("b/new"), "{found}");
    let none = desk.generate(window(50, 60)).await;
    assert_eq!(none["generatedPolicyResult"]["generatedPolicies"], json!([]));
}

#[tokio::test]
async fn jobs_are_listed_found_again_and_bounded() {
    let desk = desk().await;
    let start = |token: &str| json!({"policyGenerationDetails": {"principalArn": ROLE}, "clientToken": token});
    let mut ids = Vec::new();
    for n in 0..JOBS + 3 {
        let job = desk.ask("StartPolicyGeneration", start(&format!("t{n}"))).await.unwrap();
        ids.push(job["jobId"].as_str().unwrap().to_owned());
    }
    let again = desk.ask("StartPolicyGeneration", start(&format!("t{}", JOBS + 2))).await.unwrap();
    assert_eq!(again["jobId"], *ids.last().unwrap());
    let other = desk.trail.stand.iam.default_role_arn();
    let mut input = start(&format!("t{}", JOBS + 2));
    input["policyGenerationDetails"]["principalArn"] = json!(other);
    let error = desk.ask("StartPolicyGeneration", input).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.status), ("ConflictException", 409));

    let mut seen = Vec::new();
    let mut input = json!({"principalArn": ROLE, "maxResults": 90});
    loop {
        let page = desk.ask("ListPolicyGenerations", input.clone()).await.unwrap();
        let jobs = page["policyGenerations"].as_array().unwrap();
        seen.extend(jobs.iter().map(|job| job["jobId"].as_str().unwrap().to_owned()));
        match page.get("nextToken") {
            Some(token) => input["nextToken"] = token.clone(),
            None => break,
        }
    }
    let kept: Vec<String> = ids.iter().skip(3).rev().cloned().collect();
    assert_eq!(seen, kept, "the newest first, and the oldest three are gone");
    let none = desk.ask("ListPolicyGenerations", json!({"principalArn": other})).await.unwrap();
    assert_eq!(none["policyGenerations"], json!([]));
}

#[tokio::test]
async fn what_cannot_be_is_refused() {
    let desk = desk().await;
    let start = |arn: &str| json!({"policyGenerationDetails": {"principalArn": arn}});
    let job = desk.ask("StartPolicyGeneration", start(ROLE)).await.unwrap()["jobId"].clone();
    let nobody = format!("arn:aws:iam::{ACCOUNT}:role/Nobody");
    let mut turned = start(ROLE);
    turned["cloudTrailDetails"] =
        json!({"trails": [], "accessRole": ROLE, "startTime": 20, "endTime": 10});
    for (operation, input, reason) in [
        ("StartPolicyGeneration", start(&nobody), "fieldValidationFailed"),
        ("StartPolicyGeneration", turned, "fieldValidationFailed"),
        ("GetGeneratedPolicy", json!({"jobId": "unknown"}), "other"),
        (
            "GetGeneratedPolicy",
            json!({"jobId": job, "includeServiceLevelTemplate": true}),
            "notSupported",
        ),
        ("CancelPolicyGeneration", json!({"jobId": job}), "other"),
        ("CancelPolicyGeneration", json!({"jobId": "unknown"}), "other"),
        ("ListPolicyGenerations", json!({"nextToken": "%"}), "cannotParse"),
    ] {
        let error = desk.ask(operation, input.clone()).await.unwrap_err();
        assert_eq!((error.code.as_str(), error.status), ("ValidationException", 400), "{input}");
        assert_eq!(error.members["reason"], reason, "{operation} {input}");
    }
    let error = desk.ask("CreateAnalyzer", json!({})).await.unwrap_err();
    assert_eq!(error.status, 501);
}
