//! Managed policies, lists.

use super::*;

#[tokio::test]
async fn policies_and_their_versions() {
    let stand = stand().await;
    let create =
        json!({"PolicyName": "Least", "PolicyDocument": allow("s3:GetObject"), "Description": "d"});
    let policy = stand.good("CreatePolicy", create.clone()).await["Policy"].clone();
    let arn = format!("arn:aws:iam::{ACCOUNT}:policy/Least");
    assert_eq!(policy["Arn"], arn);
    assert!(policy["PolicyId"].as_str().unwrap().starts_with("ANPA"));
    assert_eq!(
        (&policy["DefaultVersionId"], &policy["AttachmentCount"]),
        (&json!("v1"), &json!(0))
    );
    assert_eq!(
        stand.bad("CreatePolicy", create).await,
        triple(
            "EntityAlreadyExists",
            409,
            "A policy called Least already exists. Duplicate names are not allowed."
        )
    );
    let of = |version: &str| json!({"PolicyArn": arn, "VersionId": version});
    for n in 2..=5 {
        let input = json!({"PolicyArn": arn, "PolicyDocument": allow("s3:PutObject"), "SetAsDefault": n == 2});
        let version = stand.good("CreatePolicyVersion", input).await["PolicyVersion"].clone();
        assert_eq!(version["VersionId"], format!("v{n}"));
        assert_eq!(version["IsDefaultVersion"], n == 2);
    }
    let more = json!({"PolicyArn": arn, "PolicyDocument": allow("s3:PutObject")});
    assert_eq!(stand.bad("CreatePolicyVersion", more.clone()).await.0, "LimitExceeded");
    assert_eq!(
        stand.bad("DeletePolicyVersion", of("v2")).await,
        triple("DeleteConflict", 409, "Cannot delete the default version of a policy.")
    );
    stand.good("DeletePolicyVersion", of("v5")).await;
    // A number is never given twice.
    assert_eq!(stand.good("CreatePolicyVersion", more).await["PolicyVersion"]["VersionId"], "v6");
    let first = stand.good("ListPolicyVersions", json!({"PolicyArn": arn, "MaxItems": 2})).await;
    assert_eq!(first["Versions"][0]["VersionId"], "v6");
    let input = json!({"PolicyArn": arn, "Marker": first["Marker"]});
    let rest = stand.good("ListPolicyVersions", input).await;
    let ids: Vec<&str> = rest["Versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v["VersionId"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["v3", "v2", "v1"]);
    assert_eq!(
        decoded(&stand.good("GetPolicyVersion", of("v1")).await["PolicyVersion"]["Document"])["Statement"]
            [0]["Action"],
        "s3:GetObject"
    );
    assert_eq!(
        stand.bad("GetPolicyVersion", of("v99")).await,
        triple(
            "NoSuchEntity",
            404,
            &format!("Policy {arn} version v99 does not exist or is not attachable.")
        )
    );
    stand.good("SetDefaultPolicyVersion", of("v1")).await;
    assert_eq!(
        stand.good("GetPolicy", json!({"PolicyArn": arn})).await["Policy"]["DefaultVersionId"],
        "v1"
    );

    stand.role("Dog", sagemaker()).await;
    stand.user("ann").await;
    stand.good("AttachRolePolicy", json!({"RoleName": "Dog", "PolicyArn": arn})).await;
    stand.good("AttachUserPolicy", json!({"UserName": "ann", "PolicyArn": arn})).await;
    stand.good("CreateUser", json!({"UserName": "bob", "PermissionsBoundary": arn})).await;
    assert_eq!(
        stand.good("GetPolicy", json!({"PolicyArn": arn})).await["Policy"]["AttachmentCount"],
        2
    );
    let who = stand
        .good(
            "ListEntitiesForPolicy",
            json!({"PolicyArn": arn, "PolicyUsageFilter": "PermissionsPolicy"}),
        )
        .await;
    assert_eq!(who["PolicyRoles"][0]["RoleName"], "Dog");
    assert_eq!(who["PolicyUsers"].as_array().unwrap().len(), 1);
    let who = stand
        .good("ListEntitiesForPolicy", json!({"PolicyArn": arn, "EntityFilter": "User"}))
        .await;
    assert_eq!(
        (
            who["PolicyUsers"].as_array().unwrap().len(),
            who["PolicyRoles"].as_array().unwrap().len()
        ),
        (2, 0)
    );
    assert_eq!(
        stand.bad("DeletePolicy", json!({"PolicyArn": arn})).await,
        triple("DeleteConflict", 409, "Cannot delete a policy attached to entities.")
    );
    stand.good("DetachRolePolicy", json!({"RoleName": "Dog", "PolicyArn": arn})).await;
    stand.good("DetachUserPolicy", json!({"UserName": "ann", "PolicyArn": arn})).await;
    stand.good("DeleteUserPermissionsBoundary", json!({"UserName": "bob"})).await;
    let (code, _, message) = stand.bad("DeletePolicy", json!({"PolicyArn": arn})).await;
    assert!(code == "DeleteConflict" && message.contains("more than one version"), "{message}");
    for version in ["v2", "v3", "v4", "v6"] {
        stand.good("DeletePolicyVersion", of(version)).await;
    }
    stand.good("DeletePolicy", json!({"PolicyArn": arn})).await;
    assert_eq!(
        stand.bad("GetPolicy", json!({"PolicyArn": arn})).await,
        triple("NoSuchEntity", 404, &format!("Policy {arn} was not found."))
    );
}

#[tokio::test]
async fn policies_of_aws_are_there_whole_and_cannot_be_changed() {
    assert_eq!(managed::all().len(), managed::COUNT);
    for policy in managed::all() {
        let document = Document::parse(&policy.document, PolicyKind::Identity);
        assert!(document.is_ok(), "{}: {:?}", policy.name, document);
    }
    let stand = stand().await;
    for name in [
        "AmazonSageMakerFullAccess",
        "AmazonS3FullAccess",
        "service-role/AWSLambdaBasicExecutionRole",
    ] {
        let arn = format!("arn:aws:iam::aws:policy/{name}");
        let policy = stand.good("GetPolicy", json!({"PolicyArn": arn})).await["Policy"].clone();
        let input = json!({"PolicyArn": arn, "VersionId": policy["DefaultVersionId"]});
        let version = stand.good("GetPolicyVersion", input).await;
        assert!(decoded(&version["PolicyVersion"]["Document"])["Statement"].is_array());
        assert_eq!(stand.bad("DeletePolicy", json!({"PolicyArn": arn})).await.0, "AccessDenied");
    }
    stand.good("CreatePolicy", json!({"PolicyName": "Own", "PolicyDocument": allow("s3:*")})).await;
    let count = |answer: Value| answer["Policies"].as_array().unwrap().len();
    assert_eq!(count(stand.good("ListPolicies", json!({"Scope": "AWS"})).await), managed::COUNT);
    assert_eq!(count(stand.good("ListPolicies", json!({"Scope": "Local"})).await), 1);
    assert_eq!(count(stand.good("ListPolicies", json!({})).await), managed::COUNT + 1);
    assert_eq!(
        count(stand.good("ListPolicies", json!({"OnlyAttached": true})).await),
        DEFAULT_POLICIES.len()
    );
    assert_eq!(count(stand.good("ListPolicies", json!({"PathPrefix": "/service-role/"})).await), 1);
}

#[tokio::test]
async fn lists_come_in_pages_that_miss_and_repeat_nothing() {
    let stand = stand().await;
    for n in 0..7 {
        let input = json!({"UserName": format!("User{n}"), "Path": if n % 2 == 0 { "/even/" } else { "/odd/" }});
        stand.good("CreateUser", input).await;
    }
    let mut names: Vec<String> = Vec::new();
    let mut marker = Value::Null;
    loop {
        let mut input = json!({"MaxItems": 3});
        if marker.is_string() {
            input["Marker"] = marker.clone();
        }
        let page = stand.good("ListUsers", input).await;
        let users = page["Users"].as_array().unwrap();
        assert!(users.len() <= 3);
        names.extend(users.iter().map(|u| u["UserName"].as_str().unwrap().to_owned()));
        assert_eq!(page["IsTruncated"] == true, page.get("Marker").is_some());
        match page.get("Marker") {
            Some(next) => marker = next.clone(),
            None => break,
        }
    }
    assert_eq!(names, (0..7).map(|n| format!("User{n}")).collect::<Vec<_>>());
    let even = stand.good("ListUsers", json!({"PathPrefix": "/even/"})).await;
    assert_eq!(even["Users"].as_array().unwrap().len(), 4);
    assert_eq!(stand.bad("ListUsers", json!({"Marker": "!"})).await.0, "ValidationError");
}

#[tokio::test]
async fn what_is_not_built_says_so() {
    let stand = stand().await;
    for operation in ["CreateGroup", "GetAccountAuthorizationDetails"] {
        let (code, status, message) = stand.bad(operation, json!({})).await;
        assert_eq!((code.as_str(), status), ("NotImplementedException", 501));
        assert!(message.contains(operation));
    }
}
