use super::*;
use crate::lambda::facts::Allocation;
use crate::lambda::rows::ProvisionedStatus;

fn reserve(function: &str, number: u32) -> Value {
    json!({"FunctionName": function, "ReservedConcurrentExecutions": number})
}

fn provision(qualifier: &str, number: u32) -> Value {
    json!({"FunctionName": "f", "Qualifier": qualifier, "ProvisionedConcurrentExecutions": number})
}

fn at(qualifier: &str) -> Value {
    json!({"FunctionName": "f", "Qualifier": qualifier})
}

#[tokio::test]
async fn reservations_leave_a_hundred_unreserved() {
    let stand = stand().await;
    stand.create("f", json!({})).await;
    stand.create("g", json!({})).await;
    assert_eq!(stand.good("GetFunctionConcurrency", name("f")).await, json!({}));
    stand.good("PutFunctionConcurrency", reserve("f", 5)).await;
    let got = stand.good("GetFunctionConcurrency", name("f")).await;
    assert_eq!(got, json!({"ReservedConcurrentExecutions": 5}));
    let whole = stand.good("GetFunction", name("f")).await;
    assert_eq!(whole["Concurrency"], json!({"ReservedConcurrentExecutions": 5}));
    stand.good("PutFunctionConcurrency", reserve("g", 895)).await;
    assert_eq!(
        stand.invalid("PutFunctionConcurrency", reserve("g", 896)).await,
        "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [100]."
    );
    let settings = stand.good("GetAccountSettings", json!({})).await;
    assert_eq!(settings["AccountLimit"]["ConcurrentExecutions"], json!(1000));
    assert_eq!(settings["AccountLimit"]["UnreservedConcurrentExecutions"], json!(100));
    assert_eq!(settings["AccountUsage"]["FunctionCount"], json!(2));
    assert!(settings["AccountUsage"]["TotalCodeSize"].as_u64().unwrap() > 100);
    assert_eq!(stand.lambda.all_reserved().unwrap(), [("f".to_owned(), 5), ("g".to_owned(), 895)]);
    stand.good("DeleteFunctionConcurrency", name("g")).await;
    stand.good("PutFunctionConcurrency", reserve("f", 900)).await;
    stand.good("PutFunctionConcurrency", reserve("f", 0)).await;
    assert_eq!(stand.lambda.resolve("f", None).unwrap().function.reserved, Some(0));
    let gone = stand.missing("PutFunctionConcurrency", reserve("no", 1)).await;
    assert_eq!(gone, format!("Function not found: {ARN}no"));
    assert!(
        stand
            .invalid("PutFunctionConcurrency", reserve("f:prod", 1))
            .await
            .starts_with("This operation is permitted on Lambda functions only.")
    );
}

#[tokio::test]
async fn provisioned_concurrency_goes_its_way() {
    let stand = stand().await;
    stand.create("f", json!({"Publish": true})).await;
    let made = stand.good("PutProvisionedConcurrencyConfig", provision("1", 2)).await;
    assert_eq!(
        made,
        json!({
            "RequestedProvisionedConcurrentExecutions": 2,
            "AvailableProvisionedConcurrentExecutions": 0,
            "AllocatedProvisionedConcurrentExecutions": 0,
            "Status": "IN_PROGRESS",
            "LastModified": "2026-11-21T08:00:00+0000",
        })
    );
    let mut all = stand.lambda.all_provisioned().unwrap();
    let of = all.pop().unwrap();
    assert!(all.is_empty());
    let ready = Allocation { allocated: 2, available: 2 };
    let done = stand.lambda.set_allocation(&of, ready, ProvisionedStatus::Ready, None).await;
    assert!(done.unwrap());
    let got = stand.good("GetProvisionedConcurrencyConfig", at("1")).await;
    assert_eq!(
        (&got["Status"], &got["AllocatedProvisionedConcurrentExecutions"]),
        (&json!("READY"), &json!(2))
    );
    let listed = stand.good("ListProvisionedConcurrencyConfigs", name("f")).await;
    assert_eq!(
        listed["ProvisionedConcurrencyConfigs"][0]["FunctionArn"],
        json!(format!("{ARN}f:1"))
    );

    // More is asked for: what the dispatcher says of before does not count any more.
    stand.good("PutProvisionedConcurrencyConfig", provision("1", 3)).await;
    let late = stand.lambda.set_allocation(&of, ready, ProvisionedStatus::Ready, None).await;
    assert!(!late.unwrap());
    assert_eq!(
        stand.good("GetProvisionedConcurrencyConfig", at("1")).await["Status"],
        json!("IN_PROGRESS")
    );
    let of = stand.lambda.all_provisioned().unwrap().remove(0);
    let reason = Some("out of memory".to_owned());
    let failed = stand.lambda.set_allocation(&of, ready, ProvisionedStatus::Failed, reason).await;
    assert!(failed.unwrap());
    let got = stand.good("GetProvisionedConcurrencyConfig", at("1")).await;
    assert_eq!((&got["Status"], &got["StatusReason"]), (&json!("FAILED"), &json!("out of memory")));

    stand.good("DeleteProvisionedConcurrencyConfig", at("1")).await;
    let (code, status, text) = stand.bad("GetProvisionedConcurrencyConfig", at("1")).await;
    assert_eq!((code.as_str(), status), ("ProvisionedConcurrencyConfigNotFoundException", 404));
    assert_eq!(text, "No Provisioned Concurrency Config found for this function");
}

#[tokio::test]
async fn after_a_restart_nothing_is_ready_before_it_is_there() {
    let stand = stand().await;
    stand.create("f", json!({"Publish": true})).await;
    stand.good("PutProvisionedConcurrencyConfig", provision("1", 1)).await;
    let of = stand.lambda.all_provisioned().unwrap().remove(0);
    let ready = Allocation { allocated: 1, available: 1 };
    stand.lambda.set_allocation(&of, ready, ProvisionedStatus::Ready, None).await.unwrap();
    let (again, _) = open(stand.folder.path()).await;
    let got = again.call(&context_at(NOW), "GetProvisionedConcurrencyConfig", at("1")).await;
    assert_eq!(got.unwrap()["Status"], json!("IN_PROGRESS"));
}

#[tokio::test]
async fn provisioned_concurrency_is_refused_in_awss_words() {
    let stand = stand().await;
    stand.create("f", json!({"Publish": true})).await;
    let alias = |name: &str, version: &str| json!({"FunctionName": "f", "Name": name, "FunctionVersion": version});
    stand.good("CreateAlias", alias("prod", "1")).await;
    stand.good("CreateAlias", alias("test", "1")).await;
    stand.good("CreateAlias", alias("dev", "$LATEST")).await;
    let put = "PutProvisionedConcurrencyConfig";
    for qualifier in ["$LATEST", "dev"] {
        assert_eq!(
            stand.invalid(put, provision(qualifier, 1)).await,
            "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
        );
    }
    let (code, _, text) = stand.bad(put, provision("1", 0)).await;
    assert_eq!(code, "ValidationException", "{text}");
    assert_eq!(
        stand.missing(put, provision("7", 1)).await,
        format!("Function not found: {ARN}f:7")
    );
    assert_eq!(
        stand.missing(put, provision("no", 1)).await,
        format!("Cannot find alias arn: {ARN}f:no")
    );
    assert_eq!(
        stand.invalid(put, provision("1", 1001)).await,
        "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [1000]."
    );
    assert_eq!(
        stand.invalid(put, provision("1", 901)).await,
        "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [100]."
    );
    stand.good("PutFunctionConcurrency", reserve("f", 4)).await;
    assert_eq!(
        stand.invalid(put, provision("1", 5)).await,
        "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function"
    );
    stand.good(put, provision("prod", 2)).await;
    assert_eq!(
        stand.conflict(put, provision("1", 1)).await,
        "Version is pointed by a Provisioned Concurrency alias"
    );
    assert_eq!(
        stand.conflict(put, provision("test", 1)).await,
        "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version"
    );
    let text = stand.invalid("PutFunctionConcurrency", reserve("f", 1)).await;
    assert!(
        text.contains("should not be lower than function's total provisioned concurrency [2]."),
        "{text}"
    );
    // 0 stops the function whatever it has provisioned.
    stand.good("PutFunctionConcurrency", reserve("f", 0)).await;
    stand.good("DeleteFunctionConcurrency", name("f")).await;
    let settings = stand.good("GetAccountSettings", json!({})).await;
    assert_eq!(settings["AccountLimit"]["UnreservedConcurrentExecutions"], json!(998));
    // An alias takes its configuration along.
    stand.good("DeleteAlias", json!({"FunctionName": "f", "Name": "prod"})).await;
    assert!(stand.lambda.all_provisioned().unwrap().is_empty());
}
