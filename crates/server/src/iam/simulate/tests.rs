use serde_json::{Value, json};

use crate::iam::tests::{Stand, fits_the_model, stand, trust};

const ENDPOINT: &str = "arn:aws:sagemaker:us-east-1:123456789012:endpoint/dogs-1";

async fn good(stand: &Stand, operation: &str, input: Value) -> Value {
    let answer = stand.run(operation, input.clone()).await;
    let answer = answer.unwrap_or_else(|e| panic!("{operation}: {e}"));
    fits_the_model("iam", operation, &input, &answer);
    answer
}

async fn simulated(stand: &Stand, input: Value) -> Vec<Value> {
    let operation = match input.get("PolicySourceArn") {
        Some(_) => "SimulatePrincipalPolicy",
        None => "SimulateCustomPolicy",
    };
    let answer = good(stand, operation, input).await;
    answer["EvaluationResults"].as_array().unwrap().clone()
}

fn decisions(results: &[Value]) -> Vec<&str> {
    results.iter().map(|result| result["EvalDecision"].as_str().unwrap()).collect()
}

fn policy(effect: &str, action: &str, resource: &str) -> String {
    json!({"Version": "2012-10-17", "Statement": [
        {"Effect": effect, "Action": action, "Resource": resource}]})
    .to_string()
}

/// A role with the managed policy and an inline one that denies.
async fn role(stand: &Stand) -> Value {
    let arn =
        stand.role("R", trust(json!({"Service": "lambda.amazonaws.com"}))).await["Arn"].clone();
    let managed = "arn:aws:iam::aws:policy/AmazonSageMakerFullAccess";
    let input = json!({"RoleName": "R", "PolicyArn": managed});
    stand.run("AttachRolePolicy", input).await.unwrap();
    let deny = policy("Deny", "sagemaker:DeleteEndpoint", "*");
    let input = json!({"RoleName": "R", "PolicyName": "keep", "PolicyDocument": deny});
    stand.run("PutRolePolicy", input).await.unwrap();
    arn
}

#[tokio::test]
async fn a_roles_policies_decide_and_are_named() {
    let stand = stand().await;
    let arn = role(&stand).await;
    let actions = ["sagemaker:InvokeEndpoint", "sagemaker:DeleteEndpoint", "iam:DeleteUser"];
    let input = json!({"PolicySourceArn": arn, "ActionNames": actions, "ResourceArns": [ENDPOINT]});
    let results = simulated(&stand, input).await;
    assert_eq!(decisions(&results), ["allowed", "explicitDeny", "implicitDeny"]);
    for (result, action) in results.iter().zip(actions) {
        assert_eq!(result["EvalActionName"], action);
        assert_eq!(result["EvalResourceName"], ENDPOINT);
        let specific = &result["ResourceSpecificResults"][0];
        assert_eq!(specific["EvalResourceName"], ENDPOINT);
        assert_eq!(specific["EvalResourceDecision"], result["EvalDecision"]);
        assert_eq!(specific["MatchedStatements"], result["MatchedStatements"]);
    }
    let ids = |n: usize| -> Vec<&Value> {
        let all = results[n]["MatchedStatements"].as_array().unwrap();
        all.iter().map(|matched| &matched["SourcePolicyId"]).collect()
    };
    assert!(!ids(0).is_empty() && ids(0).iter().all(|id| **id == "AmazonSageMakerFullAccess"));
    assert_eq!(ids(1), ["role_R_keep"]);
    assert_eq!(ids(2), [""; 0]);
    let deny = &results[1]["MatchedStatements"][0];
    assert_eq!(deny["SourcePolicyType"], "IAM Policy");
    // One line of JSON: the statement is between its braces.
    let text = policy("Deny", "sagemaker:DeleteEndpoint", "*");
    let place = |at: Option<usize>| json!({"Line": 1, "Column": at.unwrap() + 2});
    assert_eq!(deny["StartPosition"], place(text.find("[{").map(|at| at + 1)));
    assert_eq!(deny["EndPosition"], place(text.find("}]")));
}

#[tokio::test]
async fn policies_of_the_call_add_and_exclusions_take_away() {
    let stand = stand().await;
    let arn = role(&stand).await;
    let ask = |more: Value| {
        let mut input = json!({
            "PolicySourceArn": arn, "ActionNames": ["sagemaker:DeleteEndpoint"],
            "ResourceArns": [ENDPOINT],
        });
        for (name, value) in more.as_object().unwrap() {
            input[name] = value.clone();
        }
        input
    };
    let keep = json!({"InlinePolicyIdentifier":
        {"PolicyName": "keep", "AttachmentType": "role", "AttachmentName": "R"}});
    let found = simulated(&stand, ask(json!({"PolicyExclusionList": [keep]}))).await;
    assert_eq!(decisions(&found), ["allowed"]);
    let managed = "arn:aws:iam::aws:policy/AmazonSageMakerFullAccess";
    let both = ask(json!({"PolicyExclusionList": [keep, {"PolicyArn": managed}]}));
    assert_eq!(decisions(&simulated(&stand, both.clone()).await), ["implicitDeny"]);
    let mut added = both;
    added["PolicyInputList"] = json!([policy("Allow", "sagemaker:*", "*")]);
    let found = simulated(&stand, added.clone()).await;
    assert_eq!(decisions(&found), ["allowed"]);
    assert_eq!(found[0]["MatchedStatements"][0]["SourcePolicyId"], "PolicyInputList.1");
    added["PermissionsBoundaryPolicyInputList"] = json!([policy("Allow", "s3:*", "*")]);
    let found = simulated(&stand, added).await;
    assert_eq!(decisions(&found), ["implicitDeny"]);
    let detail = json!({"AllowedByPermissionsBoundary": false});
    assert_eq!(found[0]["PermissionsBoundaryDecisionDetail"], detail);
}

#[tokio::test]
async fn an_attached_boundary_limits() {
    let stand = stand().await;
    let arn = role(&stand).await;
    let input = json!({"RoleName": "R", "PermissionsBoundary": "arn:aws:iam::aws:policy/AmazonS3FullAccess"});
    stand.run("PutRolePermissionsBoundary", input).await.unwrap();
    let mut input = json!({"PolicySourceArn": arn, "ActionNames": ["sagemaker:InvokeEndpoint"]});
    let found = simulated(&stand, input.clone()).await;
    assert_eq!(decisions(&found), ["implicitDeny"]);
    assert_eq!(found[0]["EvalResourceName"], "*");
    // The call's boundary stands for the attached one.
    input["PermissionsBoundaryPolicyInputList"] = json!([policy("Allow", "*", "*")]);
    let found = simulated(&stand, input).await;
    assert_eq!(decisions(&found), ["allowed"]);
    let detail = json!({"AllowedByPermissionsBoundary": true});
    assert_eq!(found[0]["PermissionsBoundaryDecisionDetail"], detail);
}

#[tokio::test]
async fn context_is_missing_until_it_is_given() {
    let stand = stand().await;
    let allow = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "s3:GetObject", "Resource": "*",
        "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}},
    }]});
    let mut input =
        json!({"PolicyInputList": [allow.to_string()], "ActionNames": ["s3:GetObject"]});
    let found = simulated(&stand, input.clone()).await;
    assert_eq!(decisions(&found), ["implicitDeny"]);
    assert_eq!(found[0]["MissingContextValues"], json!(["aws:SourceIp"]));
    let entry = |value: &str| json!([{"ContextKeyName": "aws:SourceIp", "ContextKeyType": "ip", "ContextKeyValues": [value]}]);
    input["ContextEntries"] = entry("10.1.2.3");
    let found = simulated(&stand, input.clone()).await;
    assert_eq!(decisions(&found), ["allowed"]);
    assert_eq!(found[0]["MissingContextValues"], json!([]));
    input["ContextEntries"] = entry("192.168.0.1");
    assert_eq!(decisions(&simulated(&stand, input.clone()).await), ["implicitDeny"]);
    input["ContextEntries"] = entry("here");
    let error = stand.run("SimulateCustomPolicy", input).await.unwrap_err();
    assert_eq!(error.code, "InvalidInput");
}

#[tokio::test]
async fn a_users_name_and_tags_are_known() {
    let stand = stand().await;
    stand.user("ann").await;
    let tags = json!({"UserName": "ann", "Tags": [{"Key": "team", "Value": "dogs"}]});
    stand.run("TagUser", tags).await.unwrap();
    let own = policy(
        "Allow",
        "s3:GetObject",
        "arn:aws:s3:::homes/${aws:PrincipalTag/team}/${aws:username}",
    );
    let input = json!({
        "PolicySourceArn": "arn:aws:iam::123456789012:user/ann", "PolicyInputList": [own],
        "ActionNames": ["s3:GetObject"],
        "ResourceArns": ["arn:aws:s3:::homes/dogs/ann", "arn:aws:s3:::homes/dogs/bob"],
    });
    assert_eq!(decisions(&simulated(&stand, input).await), ["allowed", "implicitDeny"]);
}

#[tokio::test]
async fn resource_policies_need_a_caller_and_decide_across_accounts() {
    let stand = stand().await;
    let bucket = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:user/ann"},
        "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*",
    }]});
    let nothing = policy("Allow", "sts:GetCallerIdentity", "*");
    let mut input = json!({
        "PolicyInputList": [nothing], "ActionNames": ["s3:GetObject"],
        "ResourceArns": ["arn:aws:s3:::b/k"], "ResourcePolicy": bucket.to_string(),
    });
    let error = stand.run("SimulateCustomPolicy", input.clone()).await.unwrap_err();
    assert_eq!(error.code, "InvalidInput");
    input["CallerArn"] = json!("arn:aws:iam::123456789012:user/ann");
    let found = simulated(&stand, input.clone()).await;
    assert_eq!(decisions(&found), ["allowed"]);
    assert_eq!(found[0]["MatchedStatements"][0]["SourcePolicyId"], "ResourcePolicy");
    assert_eq!(found[0]["MatchedStatements"][0]["SourcePolicyType"], "Resource Policy");
    assert_eq!(found[0].get("EvalDecisionDetails"), None);
    // Of another account's bucket, the own side must allow too.
    input["ResourceOwner"] = json!("arn:aws:iam::210987654321:root");
    let answer = stand.run("SimulateCustomPolicy", input).await.unwrap();
    let result = &answer["EvaluationResults"][0];
    assert_eq!(result["EvalDecision"], "implicitDeny");
    let expected = json!({"IAM Policy": "implicitDeny", "Resource Policy": "allowed"});
    assert_eq!(result["EvalDecisionDetails"], expected);
}

#[tokio::test]
async fn organizations_limit() {
    let stand = stand().await;
    let level =
        |action: &str| json!({"ServiceControlPolicyInputList": [policy("Allow", action, "*")]});
    let ask = |levels: Value| {
        json!({
            "PolicyInputList": [policy("Allow", "*", "*")], "ActionNames": ["s3:GetObject"],
            "OrderedOrganizationPolicyInputList": levels,
        })
    };
    let found = simulated(&stand, ask(json!([level("*"), level("s3:*")]))).await;
    assert_eq!(decisions(&found), ["allowed"]);
    let found = simulated(&stand, ask(json!([level("*"), level("iam:*")]))).await;
    assert_eq!(decisions(&found), ["implicitDeny"]);
    assert_eq!(found[0]["OrganizationsDecisionDetail"], json!({"AllowedByOrganizations": false}));
}

#[tokio::test]
async fn results_come_in_pages() {
    let stand = stand().await;
    let arns: Vec<String> = (0..7).map(|n| format!("arn:aws:s3:::b/{n}")).collect();
    let mut input = json!({
        "PolicyInputList": [policy("Allow", "s3:GetObject", "arn:aws:s3:::b/5")],
        "ActionNames": ["s3:GetObject", "s3:PutObject"], "ResourceArns": arns, "MaxItems": 5,
    });
    let mut seen = Vec::new();
    let mut allowed = Vec::new();
    loop {
        let answer = good(&stand, "SimulateCustomPolicy", input.clone()).await;
        for result in answer["EvaluationResults"].as_array().unwrap() {
            let text = |name: &str| result[name].as_str().unwrap().to_owned();
            let pair = (text("EvalActionName"), text("EvalResourceName"));
            if result["EvalDecision"] == "allowed" {
                allowed.push(pair.clone());
            }
            seen.push(pair);
        }
        assert_eq!(answer["IsTruncated"], answer.get("Marker").is_some());
        match answer.get("Marker") {
            Some(marker) => input["Marker"] = marker.clone(),
            None => break,
        }
    }
    let pair = |action: &str, n: usize| (action.to_owned(), format!("arn:aws:s3:::b/{n}"));
    let expected: Vec<(String, String)> = ["s3:GetObject", "s3:PutObject"]
        .iter()
        .flat_map(|action| (0..7).map(move |n| pair(action, n)))
        .collect();
    assert_eq!(seen, expected);
    assert_eq!(allowed, [pair("s3:GetObject", 5)]);
}

#[tokio::test]
async fn mistakes_are_told() {
    let stand = stand().await;
    let arn = role(&stand).await;
    let actions = json!(["s3:GetObject"]);
    let nobody = "arn:aws:iam::123456789012:role/Nobody";
    let allow = policy("Allow", "*", "*");
    for (input, code) in [
        (json!({"PolicySourceArn": nobody, "ActionNames": actions}), "NoSuchEntity"),
        (
            json!({"PolicySourceArn": "arn:aws:s3:::a-bucket-of-mine", "ActionNames": actions}),
            "InvalidInput",
        ),
        (
            json!({"PolicySourceArn": "not an arn, twenty characters", "ActionNames": actions}),
            "InvalidInput",
        ),
        (json!({"PolicySourceArn": arn, "ActionNames": ["s3:*"]}), "InvalidInput"),
        (json!({"PolicySourceArn": arn, "ActionNames": ["GetObject"]}), "InvalidInput"),
        (
            json!({"PolicySourceArn": arn, "ActionNames": actions, "ResourceArns": ["b/k"]}),
            "InvalidInput",
        ),
        (
            json!({"PolicySourceArn": arn, "ActionNames": actions, "PolicyInputList": ["{"]}),
            "InvalidInput",
        ),
        (
            json!({"PolicySourceArn": arn, "ActionNames": actions, "CallerArn": nobody}),
            "InvalidInput",
        ),
        (
            json!({"PolicySourceArn": arn, "ActionNames": actions, "ResourceOwner": "me"}),
            "InvalidInput",
        ),
        (json!({"PolicySourceArn": arn, "ActionNames": actions, "Marker": "x"}), "InvalidInput"),
        (
            json!({"PolicySourceArn": arn, "ActionNames": actions,
                "PermissionsBoundaryPolicyInputList": [allow, allow]}),
            "InvalidInput",
        ),
    ] {
        let error = stand.run("SimulatePrincipalPolicy", input.clone()).await.unwrap_err();
        assert_eq!(error.code, code, "{input}: {}", error.message);
    }
}
