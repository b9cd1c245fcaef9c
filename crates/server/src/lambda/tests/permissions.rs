use super::*;
use crate::lambda::rows::UrlAuth;

fn allow(more: Value) -> Value {
    let base = json!({
        "FunctionName": "f", "StatementId": "s", "Action": "lambda:InvokeFunction",
        "Principal": "s3.amazonaws.com",
    });
    merged(base, more)
}

fn parsed(text: &Value) -> Value {
    serde_json::from_str(text.as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn statements_are_written_as_aws_does() {
    let stand = stand().await;
    stand.create("f", json!({"Publish": true})).await;
    let added = stand
        .good(
            "AddPermission",
            allow(json!({"SourceArn": "arn:aws:s3:::b", "SourceAccount": ACCOUNT})),
        )
        .await;
    let statement = json!({
        "Sid": "s",
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "lambda:InvokeFunction",
        "Resource": format!("{ARN}f"),
        "Condition": {
            "StringEquals": {"AWS:SourceAccount": ACCOUNT},
            "ArnLike": {"AWS:SourceArn": "arn:aws:s3:::b"},
        },
    });
    assert_eq!(parsed(&added["Statement"]), statement);
    let policy = stand.good("GetPolicy", name("f")).await;
    let whole = json!({"Version": "2012-10-17", "Id": "default", "Statement": [statement]});
    assert_eq!(parsed(&policy["Policy"]), whole);
    let fact = stand.lambda.resource_policy(&format!("{ARN}f")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&fact).unwrap(), whole);
    assert_eq!(stand.lambda.resource_policy(&format!("{ARN}f:1")), None);
    assert_eq!(stand.lambda.resource_policy("nonsense"), None);

    for (principal, written) in [
        ("*", json!("*")),
        ("999999999999", json!({"AWS": "arn:aws:iam::999999999999:root"})),
        ("arn:aws:iam::999999999999:role/r", json!({"AWS": "arn:aws:iam::999999999999:role/r"})),
    ] {
        let more = json!({"FunctionName": "f", "Qualifier": "1", "StatementId": format!("s-{}", principal.len()), "Principal": principal});
        let added = stand.good("AddPermission", allow(more)).await;
        let statement = parsed(&added["Statement"]);
        assert_eq!(statement["Principal"], written);
        assert_eq!(statement["Resource"], json!(format!("{ARN}f:1")));
    }
    assert!(stand.lambda.resource_policy(&format!("{ARN}f:1")).is_some());
}

#[tokio::test]
async fn permissions_are_refused_in_awss_words() {
    let stand = stand().await;
    stand.create("f", json!({})).await;
    let gone = "The resource you requested does not exist.";
    assert_eq!(stand.missing("GetPolicy", name("f")).await, gone);
    let remove = |sid: &str| json!({"FunctionName": "f", "StatementId": sid});
    assert_eq!(
        stand.missing("RemovePermission", remove("s")).await,
        "No policy is associated with the given resource."
    );
    stand.good("AddPermission", allow(json!({}))).await;
    assert_eq!(
        stand.conflict("AddPermission", allow(json!({}))).await,
        "The statement id (s) provided already exists. Please provide a new statement id, or remove the existing statement."
    );
    for bad in ["nobody", "12345", "arn:aws:s3:::b", "*.amazonaws.com"] {
        assert_eq!(
            stand
                .invalid("AddPermission", allow(json!({"StatementId": "t", "Principal": bad})))
                .await,
            "The provided principal was invalid. Please check the principal and try again."
        );
    }
    assert_eq!(
        stand.invalid("AddPermission", allow(json!({"Qualifier": "$LATEST"}))).await,
        "We currently do not support adding policies for $LATEST."
    );
    assert_eq!(
        stand.invalid("AddPermission", allow(json!({"FunctionUrlAuthType": "NONE"}))).await,
        "FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action"
    );
    let stale = allow(json!({"StatementId": "t", "RevisionId": "old"}));
    assert_eq!(stand.bad("AddPermission", stale).await.0, "PreconditionFailedException");
    assert_eq!(
        stand.missing("RemovePermission", remove("t")).await,
        "Statement t is not found in resource policy."
    );
    stand.good("RemovePermission", remove("s")).await;
    assert_eq!(stand.missing("GetPolicy", name("f")).await, gone);
    let large = "x".repeat(2000);
    for number in 0.. {
        let more = json!({"StatementId": format!("s{number}"), "SourceArn": format!("arn:aws:s3:::{large}")});
        match stand.call("AddPermission", allow(more)).await {
            Ok(_) => assert!(number < 10),
            Err(e) => {
                assert_eq!(e.code, "PolicyLengthExceededException");
                assert!(number > 5);
                break;
            }
        }
    }
}

#[tokio::test]
async fn urls_have_an_address_of_their_own() {
    let stand = stand().await;
    stand.create("f", json!({"Publish": true})).await;
    let cors = json!({"AllowOrigins": ["*"]});
    let create = json!({"FunctionName": "f", "AuthType": "NONE", "Cors": cors});
    let made = stand.good("CreateFunctionUrlConfig", create.clone()).await;
    let address = made["FunctionUrl"].as_str().unwrap();
    let id = address.strip_prefix("http://127.0.0.1:4566/_lambda-url/").unwrap();
    let id = id.strip_suffix('/').unwrap();
    assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
    assert_eq!((&made["AuthType"], &made["Cors"]), (&json!("NONE"), &cors));
    assert_eq!(made["FunctionArn"], json!(format!("{ARN}f")));
    let got = stand.good("GetFunctionUrlConfig", name("f")).await;
    assert_eq!(got["FunctionUrl"], made["FunctionUrl"]);
    assert_eq!(
        stand.conflict("CreateFunctionUrlConfig", create).await,
        format!(
            "Failed to create function url config for [functionArn = {ARN}f]. Error message:  FunctionUrlConfig exists for this Lambda function"
        )
    );
    // The flow of the course: everybody may call the URL.
    let open = allow(json!({
        "StatementId": "url", "Action": "lambda:InvokeFunctionUrl", "Principal": "*",
        "FunctionUrlAuthType": "NONE",
    }));
    stand.good("AddPermission", open).await;
    let policy = parsed(&stand.good("GetPolicy", name("f")).await["Policy"]);
    assert_eq!(policy["Statement"][0]["Action"], json!("lambda:InvokeFunctionUrl"));
    assert_eq!(
        policy["Statement"][0]["Condition"],
        json!({"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}})
    );

    let (resolved, row) = stand.lambda.url(id).unwrap().unwrap();
    assert_eq!((resolved.version.version, row.auth), (0, UrlAuth::Nobody));
    assert!(stand.lambda.url("nothing").unwrap().is_none());

    stand
        .good("CreateAlias", json!({"FunctionName": "f", "Name": "prod", "FunctionVersion": "1"}))
        .await;
    let of_alias = json!({"FunctionName": "f", "Qualifier": "prod", "AuthType": "AWS_IAM"});
    let second = stand.good("CreateFunctionUrlConfig", of_alias).await;
    assert_eq!(second["FunctionArn"], json!(format!("{ARN}f:prod")));
    let listed = stand.good("ListFunctionUrlConfigs", name("f")).await;
    assert_eq!(listed["FunctionUrlConfigs"].as_array().unwrap().len(), 2);
    let update = json!({"FunctionName": "f", "AuthType": "AWS_IAM"});
    let updated = stand.good("UpdateFunctionUrlConfig", update).await;
    assert_eq!((&updated["AuthType"], &updated["Cors"]), (&json!("AWS_IAM"), &cors));
    assert_eq!(updated["FunctionUrl"], made["FunctionUrl"]);

    for bad in ["1", "$LATEST"] {
        let input = json!({"FunctionName": "f", "Qualifier": bad, "AuthType": "NONE"});
        assert_eq!(stand.bad("CreateFunctionUrlConfig", input).await.0, "ValidationException");
    }
    let stream = json!({"FunctionName": "f", "InvokeMode": "RESPONSE_STREAM"});
    let text = stand.invalid("UpdateFunctionUrlConfig", stream).await;
    assert!(text.starts_with("response streaming is not implemented"), "{text}");
    stand.good("DeleteFunctionUrlConfig", name("f")).await;
    let gone = "The resource you requested does not exist.";
    assert_eq!(stand.missing("DeleteFunctionUrlConfig", name("f")).await, gone);
    assert_eq!(stand.missing("GetFunctionUrlConfig", name("f")).await, gone);
    assert!(stand.lambda.url(id).unwrap().is_none());
}
