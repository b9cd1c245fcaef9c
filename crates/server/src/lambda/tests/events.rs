use super::*;
use crate::lambda::facts::{EventConfig, MAX_WAITING};
use crate::lambda::rows::EventInvocation;

fn event(id: &str, due: i64) -> EventInvocation {
    EventInvocation {
        id: id.to_owned(),
        function: "f".to_owned(),
        qualifier: Some("prod".to_owned()),
        attempts: 0,
        created: NOW,
        due: Timestamp(due),
        notes: json!({"client_context": null}),
        payload: vec![0, 159, 146, 150],
    }
}

fn due(lambda: &Lambda, now: i64, most: u32) -> Vec<EventInvocation> {
    lambda.read(|c| rows::due_events(c, Timestamp(now), most)).unwrap()
}

#[tokio::test]
async fn event_settings_are_kept_for_each_qualifier() {
    let stand = stand().await;
    stand.create("f", json!({"Publish": true})).await;
    stand.create("g", json!({})).await;
    let default = EventConfig { retries: 2, max_age: 21_600, on_success: None, on_failure: None };
    assert_eq!(stand.lambda.event_config("f", None).unwrap(), default);
    assert_eq!(
        stand.missing("GetFunctionEventInvokeConfig", name("f")).await,
        format!("The function {ARN}f:$LATEST doesn't have an EventInvokeConfig")
    );
    let queue = format!("arn:aws:sqs:us-east-1:{ACCOUNT}:failed");
    let put = json!({
        "FunctionName": "f", "MaximumRetryAttempts": 0,
        "DestinationConfig": {
            "OnFailure": {"Destination": queue},
            "OnSuccess": {"Destination": format!("{ARN}g")},
        },
    });
    let made = stand.good("PutFunctionEventInvokeConfig", put).await;
    assert_eq!(made["FunctionArn"], json!(format!("{ARN}f:$LATEST")));
    assert_eq!(made["LastModified"], json!(1_795_248_000.0));
    let update = json!({"FunctionName": "f", "MaximumEventAgeInSeconds": 60});
    let updated = stand.good("UpdateFunctionEventInvokeConfig", update.clone()).await;
    assert_eq!(
        (&updated["MaximumRetryAttempts"], &updated["MaximumEventAgeInSeconds"]),
        (&json!(0), &json!(60))
    );
    assert_eq!(
        stand.lambda.event_config("f", None).unwrap(),
        EventConfig {
            retries: 0,
            max_age: 60,
            on_success: Some(format!("{ARN}g")),
            on_failure: Some(queue)
        }
    );
    assert_eq!(stand.lambda.event_config("f", Some("1")).unwrap(), default);
    // Put replaces all, Update what it names.
    let replaced = stand.good("PutFunctionEventInvokeConfig", update).await;
    assert_eq!(replaced.get("MaximumRetryAttempts"), None);
    let version = json!({"FunctionName": "f", "Qualifier": "1", "MaximumRetryAttempts": 1});
    assert_eq!(
        stand.missing("UpdateFunctionEventInvokeConfig", version.clone()).await,
        format!("The function {ARN}f:1 doesn't have an EventInvokeConfig")
    );
    stand.good("PutFunctionEventInvokeConfig", version).await;
    let listed = stand.good("ListFunctionEventInvokeConfigs", name("f")).await;
    assert_eq!(listed["FunctionEventInvokeConfigs"].as_array().unwrap().len(), 2);
    stand.good("DeleteFunctionEventInvokeConfig", name("f")).await;
    stand.missing("DeleteFunctionEventInvokeConfig", name("f")).await;
}

#[tokio::test]
async fn event_settings_are_refused_in_awss_words() {
    let stand = stand().await;
    stand.create("f", json!({})).await;
    let put = "PutFunctionEventInvokeConfig";
    assert_eq!(
        stand.invalid(put, name("f")).await,
        "You must specify at least one of error handling or destination setting."
    );
    for (member, value) in [("MaximumRetryAttempts", 3), ("MaximumEventAgeInSeconds", 59)] {
        let input = json!({"FunctionName": "f", member: value});
        assert_eq!(stand.bad(put, input).await.0, "ValidationException");
    }
    let to = |arn: &str| json!({"FunctionName": "f", "DestinationConfig": {"OnFailure": {"Destination": arn}}});
    assert_eq!(
        stand.invalid(put, to(&format!("{ARN}f"))).await,
        "You can't specify the function as a destination for itself."
    );
    assert_eq!(
        stand.missing(put, to(&format!("{ARN}no"))).await,
        format!("Function not found: {ARN}no")
    );
    let text = stand.invalid(put, to(&format!("arn:aws:sns:us-east-1:{ACCOUNT}:t"))).await;
    assert!(text.contains("not implemented by Kennel"), "{text}");
    stand
        .missing(put, json!({"FunctionName": "f", "Qualifier": "7", "MaximumRetryAttempts": 1}))
        .await;
}

#[tokio::test]
async fn accepted_invocations_survive_a_restart_and_go_with_their_function() {
    let stand = stand().await;
    stand.create("f", json!({})).await;
    assert!(stand.lambda.enqueue(event("b", 200)).await.unwrap());
    assert!(stand.lambda.enqueue(event("a", 100)).await.unwrap());
    assert!(stand.lambda.enqueue(event("c", 300)).await.unwrap());
    let ghost = EventInvocation { function: "no".to_owned(), ..event("d", 1) };
    assert!(!stand.lambda.enqueue(ghost).await.unwrap());

    let (again, _) = open(stand.folder.path()).await;
    assert_eq!(due(&again, 200, 10), [event("a", 100), event("b", 200)]);
    again.put_off("a", 1, Timestamp(400), json!({"error": "boom"})).await.unwrap();
    again.done("b").await.unwrap();
    let waiting = due(&again, 400, 10);
    let ids: Vec<&str> = waiting.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(ids, ["c", "a"]);
    assert_eq!((waiting[1].attempts, &waiting[1].notes), (1, &json!({"error": "boom"})));
    assert_eq!(due(&again, 400, 1).len(), 1);

    stand.good("DeleteFunction", name("f")).await;
    assert!(due(&stand.lambda, 999, 10).is_empty());
}

#[tokio::test]
async fn the_queue_of_a_function_is_bounded() {
    let stand = stand().await;
    stand.create("f", json!({})).await;
    let fill = stand.lambda.queue(|c| {
        for number in 0..MAX_WAITING {
            rows::add_event(c, &event(&number.to_string(), 1), MAX_WAITING)?;
        }
        Ok(())
    });
    fill.await.unwrap();
    assert!(!stand.lambda.enqueue(event("one more", 1)).await.unwrap());
    stand.lambda.done("0").await.unwrap();
    assert!(stand.lambda.enqueue(event("one more", 1)).await.unwrap());
}

#[tokio::test]
async fn resolved_names_are_forgotten_when_rows_change() {
    let stand = stand().await;
    stand.create("f", json!({})).await;
    let before = stand.lambda.resolve("f", None).unwrap();
    assert!(std::sync::Arc::ptr_eq(&before, &stand.lambda.resolve("f", None).unwrap()));
    stand.good("UpdateFunctionConfiguration", json!({"FunctionName": "f", "Timeout": 9})).await;
    let after = stand.lambda.resolve(&format!("{ARN}f"), None).unwrap();
    assert_eq!(after.version.configuration.timeout, 9);
    assert_ne!(after.version.revision, before.version.revision);
    stand.good("DeleteFunction", name("f")).await;
    stand.create("f", json!({})).await;
    let anew = stand.lambda.resolve("f", None).unwrap();
    assert_ne!(anew.function.id, before.function.id, "another function of the same name");
}
