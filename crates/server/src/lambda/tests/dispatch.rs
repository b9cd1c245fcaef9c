//! The dispatcher's decisions, without a process: settings, admission, the queue.

use bytes::Bytes;
use kennel_scaling::concurrency::Reason;

use super::*;
use crate::lambda::rows::{EventInvocation, ProvisionedStatus};
use crate::lambda::run::Target;

impl Stand {
    /// A function with version 1.
    async fn published(&self, name: &str) -> Target {
        self.create(name, json!({})).await;
        self.good("PublishVersion", json!({"FunctionName": name})).await;
        Target::of(&self.lambda.resolve(name, Some("1")).unwrap().version)
    }

    async fn put(&self, operation: &str, name: &str, more: Value) {
        self.good(operation, merged(json!({"FunctionName": name}), more)).await;
    }

    fn admit(&self, target: &Target) -> Result<run::Lease, Reason> {
        self.lambda.refresh().unwrap();
        let admitted = self.lambda.inner.live.admit(target, false, NOW);
        admitted.map(|(lease, _, _)| lease).map_err(|throttle| throttle.reason)
    }
}

#[tokio::test]
async fn reservations_hold_from_their_answer_on_and_places_come_back() {
    let stand = stand().await;
    let target = stand.published("f").await;
    let first = stand.admit(&target).unwrap();
    assert!(first.provisioned().is_none() && !first.spillover());
    stand.put("PutFunctionConcurrency", "f", json!({"ReservedConcurrentExecutions": 1})).await;
    let full = Reason::ReservedFunctionConcurrentInvocationLimitExceeded;
    assert_eq!(stand.admit(&target).unwrap_err(), full);
    drop(first);
    let second = stand.admit(&target).unwrap();
    assert_eq!(stand.admit(&target).unwrap_err(), full);
    drop(second);
    stand.put("PutFunctionConcurrency", "f", json!({"ReservedConcurrentExecutions": 0})).await;
    assert_eq!(stand.admit(&target).unwrap_err(), full);
    stand.put("DeleteFunctionConcurrency", "f", json!({})).await;
    assert!(stand.admit(&target).is_ok());
}

#[tokio::test]
async fn provisioned_concurrency_is_wanted_fails_and_is_forgotten() {
    let stand = stand().await;
    let target = stand.published("f").await;
    let live = stand.lambda.inner.live.clone();
    let wish = json!({"Qualifier": "1", "ProvisionedConcurrentExecutions": 2});
    stand.put("PutProvisionedConcurrencyConfig", "f", wish.clone()).await;
    stand.lambda.refresh().unwrap();
    let state = live.provisioned("f", "1").unwrap();
    assert_eq!((state.allocated, state.status), (0, ProvisionedStatus::InProgress));
    let lacking = live.lacking();
    assert_eq!(lacking.len(), 1);
    let (key, wanted, count) = &lacking[0];
    assert_eq!((key.1.as_str(), *count), ("1", 2));
    // Nothing is there yet, so calls run on demand and are no spill-over.
    let lease = stand.admit(&target).unwrap();
    assert!(lease.provisioned().is_none() && !lease.spillover());
    live.fail(key, wanted, "because".to_owned());
    let state = live.provisioned("f", "1").unwrap();
    assert_eq!(
        (state.status, state.reason.as_deref()),
        (ProvisionedStatus::Failed, Some("because"))
    );
    assert!(live.lacking().is_empty(), "it is not tried again by itself");
    // Another number is another try.
    let more = merged(wish, json!({"ProvisionedConcurrentExecutions": 3}));
    stand.put("PutProvisionedConcurrencyConfig", "f", more).await;
    stand.lambda.refresh().unwrap();
    assert_eq!(live.lacking().len(), 1);
    stand.put("DeleteProvisionedConcurrencyConfig", "f", json!({"Qualifier": "1"})).await;
    stand.lambda.refresh().unwrap();
    assert!(live.provisioned("f", "1").is_none() && live.lacking().is_empty());
}

#[tokio::test]
async fn settings_that_only_fit_together_are_taken_over_together() {
    let stand = stand().await;
    stand.published("a").await;
    stand.published("b").await;
    for (name, most) in [("a", 800), ("b", 100)] {
        let most = json!({"ReservedConcurrentExecutions": most});
        stand.put("PutFunctionConcurrency", name, most).await;
        stand.lambda.refresh().unwrap();
    }
    // Both change before anybody looks: `b` fits only once `a` has given way.
    for (name, most) in [("a", 100), ("b", 800)] {
        let most = json!({"ReservedConcurrentExecutions": most});
        stand.put("PutFunctionConcurrency", name, most).await;
    }
    let target = Target::of(&stand.lambda.resolve("b", Some("1")).unwrap().version);
    let leases: Vec<_> = (0..200).map(|_| stand.admit(&target).unwrap()).collect();
    assert_eq!(leases.len(), 200, "more than the hundred of before");
}

#[tokio::test]
async fn events_are_on_disk_when_they_are_accepted() {
    let stand = stand().await;
    stand.published("f").await;
    let request = crate::lambda::InvokeRequest {
        function: "f".to_owned(),
        qualifier: Some("1".to_owned()),
        invocation_type: crate::lambda::InvocationType::Event,
        tail: false,
        client_context: None,
        payload: Bytes::from_static(b"{\"n\": 1}"),
    };
    let answer = stand.lambda.invoke(&context_at(NOW), request.clone()).await.unwrap();
    assert_eq!(answer.status, 202);
    // Another process would find it.
    let (again, _) = open(stand.folder.path()).await;
    let due = again.read(|c| rows::due_events(c, NOW, 9)).unwrap();
    assert_eq!(due.len(), 1);
    let EventInvocation { id, function, qualifier, payload, attempts, .. } = &due[0];
    assert_eq!((id.as_str(), function.as_str(), *attempts), ("r", "f", 0));
    assert_eq!((qualifier.as_deref(), payload.as_slice()), (Some("1"), &b"{\"n\": 1}"[..]));
    let gone = crate::lambda::InvokeRequest { function: "g".to_owned(), ..request };
    let error = stand.lambda.invoke(&context_at(NOW), gone).await.unwrap_err();
    assert_eq!(error.code, "ResourceNotFoundException");
}

#[tokio::test]
async fn a_runtime_that_is_not_installed_says_what_to_do() {
    let stand = stand().await;
    stand.create("f", json!({})).await;
    let error = stand.lambda.interpreter("python3.12").unwrap_err();
    assert_eq!((error.code.as_str(), error.status), ("InvalidRuntimeException", 502));
    assert!(error.message.contains("kennel runtime install python"), "{error}");
    let error = stand.lambda.interpreter("nodejs22.x").unwrap_err();
    assert!(error.message.contains("not implemented"), "{error}");
}
