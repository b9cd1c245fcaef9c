//! Roles, tags, boundaries, PassRole.

use super::*;

#[tokio::test]
async fn a_role_from_creation_to_deletion() {
    let stand = stand().await;
    let input = json!({
        "RoleName": "Dog", "Path": "/service-role/", "Description": "d",
        "AssumeRolePolicyDocument": sagemaker().to_string(),
        "Tags": [{"Key": "project", "Value": "dogs"}],
    });
    let role = stand.good("CreateRole", input.clone()).await["Role"].clone();
    assert_eq!(role["Arn"], format!("arn:aws:iam::{ACCOUNT}:role/service-role/Dog"));
    assert!(role["RoleId"].as_str().unwrap().starts_with("AROA"));
    assert_eq!(role["MaxSessionDuration"], 3600);
    assert_eq!(role["CreateDate"], 1_795_248_000);
    assert_eq!(role["Tags"], json!([{"Key": "project", "Value": "dogs"}]));
    assert!(role["AssumeRolePolicyDocument"].as_str().unwrap().starts_with("%7B%22Version%22%3A"));
    assert_eq!(decoded(&role["AssumeRolePolicyDocument"]), sagemaker());
    assert_eq!(stand.good("GetRole", json!({"RoleName": "dog"})).await["Role"]["RoleName"], "Dog");
    assert_eq!(
        stand.bad("CreateRole", input).await,
        triple("EntityAlreadyExists", 409, "Role with name Dog already exists.")
    );
    assert_eq!(
        stand.bad("GetRole", json!({"RoleName": "cat"})).await,
        triple("NoSuchEntity", 404, "The role with name cat cannot be found.")
    );

    let policy = "arn:aws:iam::aws:policy/AmazonSageMakerFullAccess";
    let attach = json!({"RoleName": "Dog", "PolicyArn": policy});
    stand.good("AttachRolePolicy", attach.clone()).await;
    stand.good("AttachRolePolicy", attach.clone()).await;
    assert_eq!(
        stand.good("ListAttachedRolePolicies", json!({"RoleName": "Dog"})).await,
        json!({"AttachedPolicies": [{"PolicyName": "AmazonSageMakerFullAccess", "PolicyArn": policy}],
               "IsTruncated": false})
    );
    let unknown = "arn:aws:iam::aws:policy/NoSuchPolicyX";
    assert_eq!(
        stand.bad("AttachRolePolicy", json!({"RoleName": "Dog", "PolicyArn": unknown})).await,
        triple(
            "NoSuchEntity",
            404,
            &format!("Policy {unknown} does not exist or is not attachable.")
        )
    );
    stand
        .good("PutRolePolicy", json!({"RoleName": "Dog", "PolicyName": "invoke", "PolicyDocument": allow("sagemaker:InvokeEndpoint")}))
        .await;
    let inline =
        stand.good("GetRolePolicy", json!({"RoleName": "Dog", "PolicyName": "invoke"})).await;
    assert_eq!(inline["RoleName"], "Dog");
    assert_eq!(decoded(&inline["PolicyDocument"])["Statement"][0]["Effect"], "Allow");
    assert_eq!(
        stand.good("ListRolePolicies", json!({"RoleName": "Dog"})).await["PolicyNames"],
        json!(["invoke"])
    );
    let delete = json!({"RoleName": "Dog"});
    assert_eq!(
        stand.bad("DeleteRole", delete.clone()).await,
        triple("DeleteConflict", 409, "Cannot delete entity, must detach all policies first.")
    );
    stand.good("DetachRolePolicy", attach.clone()).await;
    assert_eq!(stand.bad("DetachRolePolicy", attach).await.0, "NoSuchEntity");
    assert_eq!(
        stand.bad("DeleteRole", delete.clone()).await,
        triple("DeleteConflict", 409, "Cannot delete entity, must delete policies first.")
    );
    let inline = json!({"RoleName": "Dog", "PolicyName": "invoke"});
    stand.good("DeleteRolePolicy", inline.clone()).await;
    assert_eq!(
        stand.bad("DeleteRolePolicy", inline).await,
        triple("NoSuchEntity", 404, "The role policy with name invoke cannot be found.")
    );
    stand.good("DeleteRole", delete.clone()).await;
    assert_eq!(stand.bad("DeleteRole", delete).await.0, "NoSuchEntity");
}

#[tokio::test]
async fn bad_documents_are_refused_and_nothing_is_left() {
    let stand = stand().await;
    let create = |document: &str| json!({"RoleName": "Dog", "AssumeRolePolicyDocument": document});
    let (code, status, message) = stand.bad("CreateRole", create("{not json")).await;
    assert_eq!((code.as_str(), status), ("MalformedPolicyDocument", 400));
    assert!(message.starts_with("This policy contains invalid Json"), "{message}");
    let ghost = trust(json!({"AWS": format!("arn:aws:iam::{ACCOUNT}:user/ghost")}));
    let (code, _, message) = stand.bad("CreateRole", create(&ghost.to_string())).await;
    assert_eq!(code, "MalformedPolicyDocument");
    assert!(message.starts_with("Invalid principal in policy: \"AWS\":\"arn:"), "{message}");
    let long = trust(json!({"Service": vec!["sagemaker.amazonaws.com"; 100]}));
    assert_eq!(
        stand.bad("CreateRole", create(&long.to_string())).await,
        triple("LimitExceeded", 409, "Cannot exceed quota for ACLSizePerRole: 2048")
    );
    assert_eq!(stand.bad("GetRole", json!({"RoleName": "Dog"})).await.0, "NoSuchEntity");

    stand.role("Dog", sagemaker()).await;
    let put = |name: &str, document: &str| json!({"RoleName": "Dog", "PolicyName": name, "PolicyDocument": document});
    let (code, _, message) = stand.bad("PutRolePolicy", put("p", "{}")).await;
    assert_eq!(code, "MalformedPolicyDocument");
    assert!(message.starts_with("Syntax errors in policy.\nhint: "), "{message}");
    let long = allow(&format!("s3:{}", "x".repeat(6_000)));
    stand.good("PutRolePolicy", put("one", &long)).await;
    assert_eq!(
        stand.bad("PutRolePolicy", put("two", &long)).await,
        triple("LimitExceeded", 409, "Maximum policy size of 10240 bytes exceeded for role Dog")
    );
    assert_eq!(
        stand.good("ListRolePolicies", json!({"RoleName": "Dog"})).await["PolicyNames"],
        json!(["one"])
    );
    let bad = json!({"RoleName": "Dog", "PolicyDocument": allow("s3:*")});
    assert_eq!(stand.bad("UpdateAssumeRolePolicy", bad).await.0, "MalformedPolicyDocument");
    let user = trust(json!({"AWS": "*"}));
    stand
        .good(
            "UpdateAssumeRolePolicy",
            json!({"RoleName": "Dog", "PolicyDocument": user.to_string()}),
        )
        .await;
    let role = stand.good("GetRole", json!({"RoleName": "Dog"})).await;
    assert_eq!(decoded(&role["Role"]["AssumeRolePolicyDocument"]), user);
}

#[tokio::test]
async fn tags_and_boundaries() {
    let stand = stand().await;
    stand.role("Dog", sagemaker()).await;
    let tag = |tags: Value| json!({"RoleName": "Dog", "Tags": tags});
    stand
        .good("TagRole", tag(json!([{"Key": "b", "Value": "1"}, {"Key": "a", "Value": "2"}])))
        .await;
    stand.good("TagRole", tag(json!([{"Key": "B", "Value": "3"}]))).await;
    assert_eq!(
        stand.good("ListRoleTags", json!({"RoleName": "Dog"})).await["Tags"],
        json!([{"Key": "a", "Value": "2"}, {"Key": "B", "Value": "3"}])
    );
    let twice = tag(json!([{"Key": "x", "Value": "1"}, {"Key": "X", "Value": "2"}]));
    assert_eq!(stand.bad("TagRole", twice).await.0, "InvalidInput");
    assert_eq!(
        stand.bad("TagRole", tag(json!([{"Key": "aws:x", "Value": "1"}]))).await.0,
        "InvalidInput"
    );
    let many: Vec<Value> = (0..49).map(|n| json!({"Key": format!("k{n}"), "Value": ""})).collect();
    assert_eq!(stand.bad("TagRole", tag(json!(many))).await.0, "LimitExceeded");
    stand.good("UntagRole", json!({"RoleName": "Dog", "TagKeys": ["A", "none"]})).await;
    assert_eq!(
        stand.good("ListRoleTags", json!({"RoleName": "Dog"})).await["Tags"]
            .as_array()
            .unwrap()
            .len(),
        1
    );

    let boundary = "arn:aws:iam::aws:policy/PowerUserAccess";
    let put = |arn: &str| json!({"RoleName": "Dog", "PermissionsBoundary": arn});
    assert_eq!(
        stand.bad("PutRolePermissionsBoundary", put("arn:aws:iam::aws:policy/None")).await.0,
        "NoSuchEntity"
    );
    stand.good("PutRolePermissionsBoundary", put(boundary)).await;
    let role = stand.good("GetRole", json!({"RoleName": "Dog"})).await;
    assert_eq!(role["Role"]["PermissionsBoundary"]["PermissionsBoundaryArn"], boundary);
    stand.good("DeleteRolePermissionsBoundary", json!({"RoleName": "Dog"})).await;
    assert_eq!(
        stand.bad("DeleteRolePermissionsBoundary", json!({"RoleName": "Dog"})).await.0,
        "NoSuchEntity"
    );

    stand
        .good(
            "UpdateRole",
            json!({"RoleName": "Dog", "MaxSessionDuration": 7200, "Description": "x"}),
        )
        .await;
    let role =
        stand.good("UpdateRoleDescription", json!({"RoleName": "Dog", "Description": "y"})).await;
    assert_eq!(
        (&role["Role"]["MaxSessionDuration"], &role["Role"]["Description"]),
        (&json!(7200), &json!("y"))
    );
    assert_eq!(
        stand.bad("UpdateRole", json!({"RoleName": "Dog", "MaxSessionDuration": 60})).await.0,
        "ValidationError"
    );
}

#[tokio::test]
async fn roles_are_passed_only_to_services_they_trust() {
    let stand = stand().await;
    stand.role("Dog", sagemaker()).await;
    let arn = format!("arn:aws:iam::{ACCOUNT}:role/Dog");
    let pass = |arn: &str, service: &str| stand.iam.check_pass_role(&stand.root(), arn, service);
    assert_eq!(pass(&arn, "sagemaker.amazonaws.com"), Ok(()));
    assert_eq!(pass(&stand.iam.default_role_arn(), "sagemaker.amazonaws.com"), Ok(()));
    let error = pass(&arn, "lambda.amazonaws.com").unwrap_err();
    assert_eq!(error.code, "InvalidParameterValueException");
    assert_eq!(error.message, "The role defined for the function cannot be assumed by Lambda.");
    for other in [
        format!("arn:aws:iam::{ACCOUNT}:role/wrong-path/Dog"),
        format!("arn:aws:iam::{ACCOUNT}:role/None"),
        format!("arn:aws:iam::{ACCOUNT}:user/Dog"),
        "arn:aws:iam::210987654321:role/Dog".to_owned(),
        "Dog".to_owned(),
    ] {
        let error = pass(&other, "sagemaker.amazonaws.com").unwrap_err();
        assert_eq!((error.code.as_str(), error.status), ("ValidationException", 400), "{other}");
        assert!(error.message.contains("Please ensure that the role exists and allows principal 'sagemaker.amazonaws.com' to assume the role."));
    }
    let stranger = Caller { account: "210987654321".to_owned(), ..stand.root() };
    assert!(stand.iam.check_pass_role(&stranger, &arn, "sagemaker.amazonaws.com").is_err());
}
