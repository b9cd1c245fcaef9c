use kennel_wire::{ServiceModel, json as wire};

use super::*;
use crate::iam::tests::{NOW, context, trust};
use crate::records::tests::{
    ACCOUNT, Trail, call, denied, endpoint, need, passed, session, trail, user,
};

async fn ask(trail: &Trail, input: Value) -> Answer {
    let service = CloudTrail::new(trail.stand.iam.clone());
    let model = ServiceModel::by_name("cloudtrail").unwrap();
    let operation = model.operation("LookupEvents").unwrap();
    let read = wire::decode(model, operation, input.to_string().as_bytes()).unwrap();
    let answer = service.call(&context(trail.stand.root(), NOW), "LookupEvents", read).await?;
    let mut written: Value =
        serde_json::from_slice(&wire::encode(model, operation, &answer)).unwrap();
    // Whole seconds are written without a fraction.
    for event in written["Events"].as_array_mut().unwrap() {
        event["EventTime"] = json!(event["EventTime"].as_f64());
    }
    assert_eq!(written, answer, "the model has every member");
    Ok(answer)
}

fn by(key: &str, value: &str) -> Value {
    json!({"LookupAttributes": [{"AttributeKey": key, "AttributeValue": value}]})
}

fn ids(answer: &Value) -> Vec<&str> {
    answer["Events"].as_array().unwrap().iter().map(|e| e["EventId"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_refused_call_tells_who_what_and_why() {
    let trail = trail().await;
    let invoke = vec![need("sagemaker:InvokeEndpoint", &endpoint("dogs"))];
    trail.write(vec![denied(call("r-1", session("Lambda", "f"), invoke))]).await;
    let answer = ask(&trail, by("EventId", "r-1")).await.unwrap();
    let event = &answer["Events"][0];
    assert_eq!(event["EventName"], "InvokeEndpoint");
    assert_eq!(event["EventSource"], "sagemaker.amazonaws.com");
    assert_eq!(event["Username"], "f");
    assert_eq!(event["AccessKeyId"], "ASIAF");
    assert_eq!(event["ReadOnly"], "true");
    assert_eq!(
        event["Resources"],
        json!([{"ResourceType": "AWS::SageMaker::Endpoint", "ResourceName": endpoint("dogs")}])
    );
    let detail: Value = serde_json::from_str(event["CloudTrailEvent"].as_str().unwrap()).unwrap();
    let role = format!("arn:aws:iam::{ACCOUNT}:role/Lambda");
    assert_eq!(detail["userIdentity"]["type"], "AssumedRole");
    assert_eq!(detail["userIdentity"]["principalId"], "AROALAMBDA:f");
    assert_eq!(
        detail["userIdentity"]["sessionContext"]["sessionIssuer"],
        json!({
            "type": "Role", "principalId": "AROALAMBDA", "arn": role, "accountId": ACCOUNT,
            "userName": "Lambda",
        })
    );
    assert_eq!(detail["errorCode"], "AccessDeniedException");
    assert_eq!(detail["errorMessage"], "no identity-based policy allows it");
    assert_eq!(detail["eventCategory"], "Data");
    assert_eq!(detail["requestID"], "r-1");
    assert_eq!(detail["recipientAccountId"], ACCOUNT);
    let expected = json!([
        {"action": "sagemaker:InvokeEndpoint", "resource": endpoint("dogs"), "allowed": false}
    ]);
    assert_eq!(detail["additionalEventData"]["needs"], expected);
    assert_eq!(detail["additionalEventData"]["allowed"], false);
}

#[tokio::test]
async fn users_the_root_and_strangers_are_told_apart() {
    let trail = trail().await;
    let mut root = call("root", user("x"), vec![need("iam:GetUser", "*")]);
    root.caller = Some(trail.stand.root());
    let mut stranger =
        denied(call("nobody", user("x"), vec![need("s3:GetObject", "arn:aws:s3:::b/k")]));
    stranger.caller = None;
    trail
        .write(vec![
            call("ann", user("ann"), vec![need("s3:PutObject", "arn:aws:s3:::b/k")]),
            root,
            stranger,
        ])
        .await;
    let answer = ask(&trail, json!({})).await.unwrap();
    assert_eq!(ids(&answer), ["nobody", "root", "ann"]);
    let identity = |n: usize| {
        let text = answer["Events"][n]["CloudTrailEvent"].as_str().unwrap();
        serde_json::from_str::<Value>(text).unwrap()["userIdentity"].clone()
    };
    assert_eq!(identity(0)["accountId"], "ANONYMOUS_PRINCIPAL");
    assert_eq!(answer["Events"][0].get("Username"), None);
    assert_eq!(identity(1)["type"], "Root");
    assert_eq!(answer["Events"][1]["Username"], "root");
    assert_eq!(identity(2)["type"], "IAMUser");
    assert_eq!(identity(2)["userName"], "ann");
    assert_eq!(identity(2)["principalId"], "AIDAANN");
}

#[tokio::test]
async fn names_find_what_has_a_path() {
    let trail = trail().await;
    let input = json!({
        "RoleName": "Trainer", "Path": "/service-role/",
        "AssumeRolePolicyDocument": trust(json!({"Service": "sagemaker.amazonaws.com"})).to_string(),
    });
    trail.stand.run("CreateRole", input).await.unwrap();
    let job = format!("arn:aws:sagemaker:us-east-1:{ACCOUNT}:training-job/j");
    let handed = passed("service-role/Trainer", "sagemaker.amazonaws.com");
    trail
        .write(vec![
            call("train", user("ann"), vec![need("sagemaker:CreateTrainingJob", &job), handed]),
            call("invoke", user("ann"), vec![need("sagemaker:InvokeEndpoint", &endpoint("dogs"))]),
        ])
        .await;
    assert_eq!(ids(&ask(&trail, by("ResourceName", "Trainer")).await.unwrap()), ["train"]);
    // Endpoints are lower-cased in decisions, whatever they are called.
    assert_eq!(ids(&ask(&trail, by("ResourceName", "Dogs")).await.unwrap()), ["invoke"]);
    let found = ask(&trail, by("ResourceType", "AWS::SageMaker::TrainingJob")).await.unwrap();
    assert_eq!(ids(&found), ["train"]);
    assert_eq!(ids(&ask(&trail, by("ResourceType", "AWS::EC2::Instance")).await.unwrap()), [""; 0]);
    let found = ask(&trail, by("EventSource", "sagemaker.amazonaws.com")).await.unwrap();
    assert_eq!(ids(&found), ["invoke", "train"]);
}

#[tokio::test]
async fn pages_have_no_gaps_and_times_limit() {
    let trail = trail().await;
    let calls = (0..120).map(|n| {
        let mut record =
            call(&format!("{n:03}"), user("ann"), vec![need("s3:GetObject", "arn:aws:s3:::b/k")]);
        record.time = Timestamp(NOW.0 + n * 1000);
        record
    });
    trail.write(calls.collect()).await;
    let mut seen: Vec<String> = Vec::new();
    let mut input = by("Username", "ann");
    let mut pages = Vec::new();
    loop {
        let answer = ask(&trail, input.clone()).await.unwrap();
        let page = ids(&answer);
        pages.push(page.len());
        seen.extend(page.into_iter().map(str::to_owned));
        match answer.get("NextToken") {
            Some(token) => input["NextToken"] = token.clone(),
            None => break,
        }
    }
    assert_eq!(pages, [50, 50, 20]);
    let expected: Vec<String> = (0..120).rev().map(|n| format!("{n:03}")).collect();
    assert_eq!(seen, expected);

    let seconds = NOW.0 / 1000;
    let mut input = json!({"StartTime": seconds + 10, "EndTime": seconds + 12});
    assert_eq!(ids(&ask(&trail, input.clone()).await.unwrap()), ["012", "011", "010"]);
    input["MaxResults"] = json!(2);
    let answer = ask(&trail, input.clone()).await.unwrap();
    assert_eq!(ids(&answer), ["012", "011"]);
    input["NextToken"] = answer["NextToken"].clone();
    let answer = ask(&trail, input).await.unwrap();
    assert_eq!(ids(&answer), ["010"]);
    assert_eq!(answer.get("NextToken"), None);
}

#[tokio::test]
async fn mistakes_have_the_names_of_cloudtrail() {
    let trail = trail().await;
    let two = json!({"LookupAttributes": [
        {"AttributeKey": "EventId", "AttributeValue": "a"},
        {"AttributeKey": "EventName", "AttributeValue": "b"},
    ]});
    for (input, code) in [
        (two, "InvalidLookupAttributesException"),
        (by("ReadOnly", "maybe"), "InvalidLookupAttributesException"),
        (json!({"StartTime": 9, "EndTime": 3}), "InvalidTimeRangeException"),
        (json!({"NextToken": "%%%"}), "InvalidNextTokenException"),
        (json!({"NextToken": "eA"}), "InvalidNextTokenException"),
    ] {
        let error = ask(&trail, input.clone()).await.unwrap_err();
        assert_eq!((error.code.as_str(), error.status), (code, 400), "{input}");
    }
    let insight = ask(&trail, json!({"EventCategory": "insight"})).await.unwrap();
    assert_eq!(insight, json!({"Events": []}));
}
