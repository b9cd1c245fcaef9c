use super::*;

async fn publish(stand: &Stand) -> Value {
    stand.good("PublishVersion", name("f")).await
}

async fn change(stand: &Stand, body: &str) {
    stand.good("UpdateFunctionCode", json!({"FunctionName": "f", "ZipFile": python(body)})).await;
}

#[tokio::test]
async fn versions_keep_their_code_and_are_made_only_of_changes() {
    let stand = stand().await;
    let latest = stand.create("f", json!({})).await;
    let described = json!({"FunctionName": "f", "Description": "first"});
    let first = stand.good("PublishVersion", described).await;
    assert_eq!((&first["Version"], &first["Description"]), (&json!("1"), &json!("first")));
    assert_eq!(first["FunctionArn"], json!(format!("{ARN}f:1")));
    assert_eq!(first["CodeSha256"], latest["CodeSha256"]);
    assert_eq!(publish(&stand).await, first, "nothing has changed");
    change(&stand, "2").await;
    let second = publish(&stand).await;
    assert_eq!(second["Version"], json!("2"));
    let kept = stand.good("GetFunctionConfiguration", name("f:1")).await;
    assert_eq!(kept["CodeSha256"], latest["CodeSha256"]);
    // Configuration counts as well as code.
    stand.good("UpdateFunctionConfiguration", json!({"FunctionName": "f", "Timeout": 9})).await;
    assert_eq!(publish(&stand).await["Version"], json!("3"));
    assert_eq!(stand.good("GetFunctionConfiguration", name("f:2")).await["Timeout"], json!(3));

    let listed = stand.good("ListVersionsByFunction", name("f")).await;
    let versions: Vec<&Value> =
        listed["Versions"].as_array().unwrap().iter().map(|row| &row["Version"]).collect();
    assert_eq!(versions, ["$LATEST", "1", "2", "3"]);
    assert_eq!(listed["Versions"][0]["FunctionArn"], json!(format!("{ARN}f:$LATEST")));
    assert_eq!(stand.shelf().len(), 2);
}

#[tokio::test]
async fn publishing_may_demand_a_digest_or_a_revision() {
    let stand = stand().await;
    let latest = stand.create("f", json!({})).await;
    let has = latest["CodeSha256"].as_str().unwrap();
    let text =
        stand.invalid("PublishVersion", json!({"FunctionName": "f", "CodeSha256": "other"})).await;
    assert_eq!(
        text,
        format!(
            "CodeSHA256 (other) is different from current CodeSHA256 in $LATEST ({has}). Please try again with the CodeSHA256 in $LATEST."
        )
    );
    let stale = json!({"FunctionName": "f", "RevisionId": "old"});
    assert_eq!(stand.bad("PublishVersion", stale).await.0, "PreconditionFailedException");
    let fits = json!({"FunctionName": "f", "CodeSha256": has, "RevisionId": latest["RevisionId"]});
    assert_eq!(stand.good("PublishVersion", fits).await["Version"], json!("1"));
}

#[tokio::test]
async fn numbers_of_deleted_versions_are_not_used_again() {
    let stand = stand().await;
    stand.create("f", json!({"Publish": true})).await;
    let of = |q: &str| json!({"FunctionName": "f", "Qualifier": q});
    stand.good("DeleteFunction", of("1")).await;
    assert_eq!(
        stand.missing("GetFunction", name("f:1")).await,
        format!("Function not found: {ARN}f:1")
    );
    assert_eq!(
        publish(&stand).await["Version"],
        json!("2"),
        "the last version is not there any more"
    );
    assert_eq!(
        stand.invalid("DeleteFunction", of("$LATEST")).await,
        "$LATEST version cannot be deleted without deleting the function."
    );
    stand
        .good("CreateAlias", json!({"FunctionName": "f", "Name": "prod", "FunctionVersion": "2"}))
        .await;
    assert_eq!(
        stand.conflict("DeleteFunction", of("2")).await,
        format!(
            "Unable to delete version because the following aliases reference it: [{ARN}f:prod]"
        )
    );
    assert_eq!(
        stand.invalid("DeleteFunction", of("prod")).await,
        "Deletion of aliases is not currently supported."
    );
}

#[tokio::test]
async fn aliases_are_made_changed_listed_and_deleted() {
    let stand = stand().await;
    stand.create("f", json!({"Publish": true})).await;
    change(&stand, "2").await;
    publish(&stand).await;
    let alias = |more: Value| merged(json!({"FunctionName": "f", "Name": "prod"}), more);
    let made = stand.good("CreateAlias", alias(json!({"FunctionVersion": "1"}))).await;
    assert_eq!(made["AliasArn"], json!(format!("{ARN}f:prod")));
    assert_eq!((&made["FunctionVersion"], &made["Description"]), (&json!("1"), &json!("")));
    assert_eq!(stand.good("GetAlias", alias(json!({}))).await, made);
    assert_eq!(
        stand.conflict("CreateAlias", alias(json!({"FunctionVersion": "1"}))).await,
        format!("Alias already exists: {ARN}f:prod")
    );
    let ninth = alias(json!({"Name": "x", "FunctionVersion": "9"}));
    assert_eq!(stand.missing("CreateAlias", ninth).await, format!("Function not found: {ARN}f:9"));
    for bad in ["12", "$LATEST", "a b"] {
        let input = alias(json!({"Name": bad, "FunctionVersion": "1"}));
        assert_eq!(stand.bad("CreateAlias", input).await.0, "ValidationException", "{bad}");
    }
    let routed = json!({"RoutingConfig": {"AdditionalVersionWeights": {"2": 0.25}}});
    let updated = stand.good("UpdateAlias", alias(routed.clone())).await;
    assert_eq!(updated["RoutingConfig"], routed["RoutingConfig"]);
    assert_eq!(updated["FunctionVersion"], json!("1"));
    let stale = alias(json!({"RevisionId": made["RevisionId"], "Description": "x"}));
    let (code, _, text) = stand.bad("UpdateAlias", stale).await;
    assert_eq!(code, "PreconditionFailedException");
    assert!(text.contains("Call the GetAlias API"), "{text}");

    // What the dispatcher is told.
    let resolved = stand.lambda.resolve("f", Some("prod")).unwrap();
    assert_eq!(resolved.version.version, 1);
    assert_eq!(resolved.also.as_ref().map(|(row, weight)| (row.version, *weight)), Some((2, 0.25)));
    assert_eq!(resolved.arn, format!("{ARN}f:prod"));

    let listed =
        stand.good("ListAliases", json!({"FunctionName": "f", "FunctionVersion": "1"})).await;
    assert_eq!(listed["Aliases"], json!([updated]));
    let none =
        stand.good("ListAliases", json!({"FunctionName": "f", "FunctionVersion": "2"})).await;
    assert_eq!(none["Aliases"], json!([]));
    let plain = alias(json!({"FunctionVersion": "2", "RoutingConfig": {}}));
    assert_eq!(stand.good("UpdateAlias", plain).await.get("RoutingConfig"), None);
    assert_eq!(stand.lambda.resolve("f:prod", None).unwrap().version.version, 2);

    stand.good("DeleteAlias", alias(json!({}))).await;
    stand.good("DeleteAlias", alias(json!({}))).await;
    assert_eq!(
        stand.missing("GetAlias", alias(json!({}))).await,
        format!("Cannot find alias arn: {ARN}f:prod")
    );
    assert_eq!(
        stand.missing("UpdateAlias", alias(json!({}))).await,
        format!("Cannot find alias arn: {ARN}f:prod")
    );
}

#[tokio::test]
async fn routing_is_refused_in_awss_words() {
    let stand = stand().await;
    stand.create("f", json!({"Publish": true})).await;
    change(&stand, "2").await;
    publish(&stand).await;
    let alias = |version: &str, weights: Value| {
        json!({
            "FunctionName": "f", "Name": "prod", "FunctionVersion": version,
            "RoutingConfig": {"AdditionalVersionWeights": weights},
        })
    };
    for (version, weights, text) in [
        (
            "1",
            json!({"2": 0.1, "3": 0.1}),
            "Number of items in AdditionalVersionWeights cannot be greater than 1",
        ),
        (
            "$LATEST",
            json!({"1": 0.1}),
            "$LATEST is not supported for an alias pointing to more than 1 version",
        ),
        (
            "1",
            json!({"1": 0.1}),
            "Invalid function version 1. Function version 1 is already included in routing configuration.",
        ),
    ] {
        assert_eq!(stand.invalid("CreateAlias", alias(version, weights)).await, text);
    }
    let (code, ..) = stand.bad("CreateAlias", alias("1", json!({"2": 1.5}))).await;
    assert_eq!(code, "ValidationException");
    assert_eq!(
        stand.missing("CreateAlias", alias("1", json!({"7": 0.5}))).await,
        format!("Function not found: {ARN}f:7")
    );
    // Routing that is there must fit a version that is set later.
    stand.good("CreateAlias", alias("1", json!({"2": 0.5}))).await;
    let onto = json!({"FunctionName": "f", "Name": "prod", "FunctionVersion": "2"});
    stand.invalid("UpdateAlias", onto).await;
}
