use serde_json::{Value, json};

use crate::iam::tests::{Stand, fits_the_model, stand, trust};

async fn good(stand: &Stand, operation: &str, input: Value) -> Value {
    let answer = stand.run(operation, input.clone()).await.unwrap();
    fits_the_model("iam", operation, &input, &answer);
    answer["ContextKeyNames"].clone()
}

fn policy(resource: &str, condition: Value) -> String {
    json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "s3:GetObject", "Resource": resource, "Condition": condition,
    }]})
    .to_string()
}

#[tokio::test]
async fn keys_of_conditions_and_variables_are_told_once() {
    let stand = stand().await;
    let one = policy(
        "arn:aws:s3:::homes/${aws:username}/*",
        json!({"StringEquals": {"aws:PrincipalTag/team": "${aws:userid}", "AWS:USERNAME": "ann"}}),
    );
    let of_a_bucket = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::b/*",
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }]});
    let input = json!({"PolicyInputList": [one, of_a_bucket.to_string()]});
    let names = good(&stand, "GetContextKeysForCustomPolicy", input).await;
    let names: Vec<String> =
        names.as_array().unwrap().iter().map(|n| n.as_str().unwrap().to_lowercase()).collect();
    assert_eq!(
        names,
        ["aws:principaltag/team", "aws:securetransport", "aws:userid", "aws:username"]
    );

    let bad = json!({"PolicyInputList": ["{"]});
    let error = stand.run("GetContextKeysForCustomPolicy", bad).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.status), ("InvalidInput", 400));
}

#[tokio::test]
async fn a_roles_own_policies_count_too() {
    let stand = stand().await;
    let arn =
        stand.role("R", trust(json!({"Service": "lambda.amazonaws.com"}))).await["Arn"].clone();
    let inline = policy("*", json!({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}));
    let input = json!({"RoleName": "R", "PolicyName": "p", "PolicyDocument": inline});
    stand.run("PutRolePolicy", input).await.unwrap();
    let input = json!({"PolicySourceArn": arn});
    let names = good(&stand, "GetContextKeysForPrincipalPolicy", input).await;
    assert_eq!(names, json!(["aws:SourceIp"]));
    let more = policy("*", json!({"Null": {"aws:TokenIssueTime": "true"}}));
    let input = json!({"PolicySourceArn": arn, "PolicyInputList": [more]});
    let names = good(&stand, "GetContextKeysForPrincipalPolicy", input).await;
    assert_eq!(names, json!(["aws:SourceIp", "aws:TokenIssueTime"]));
}
