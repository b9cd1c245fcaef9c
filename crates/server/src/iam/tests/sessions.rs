//! Temporary credentials, the cache, several callers at once.

use super::*;
use crate::context::Clock;

#[tokio::test]
async fn sessions_expire_and_die_with_their_role() {
    let stand = stand().await;
    stand.role("Dog", sagemaker()).await;
    let arn = format!("arn:aws:iam::{ACCOUNT}:role/Dog");
    let hour = Duration::from_secs(3600);
    let session = stand.iam.session_for_role(&arn, "job-1", NOW, hour).await.unwrap();
    assert!(session.access_key_id.starts_with("ASIA"));
    assert!(!format!("{session:?}").contains(&session.secret_access_key));
    assert!(!format!("{session:?}").contains(&session.session_token));
    let found = stand.iam.lookup(&session.access_key_id, NOW).unwrap();
    assert_eq!(found.session_token.as_deref(), Some(session.session_token.as_str()));
    assert_eq!(found.caller.arn(), format!("arn:aws:sts::{ACCOUNT}:assumed-role/Dog/job-1"));
    assert!(
        matches!(&found.caller.principal, Principal::Role { role_arn, .. } if *role_arn == arn)
    );
    let last = Timestamp(session.expires.0 - 1);
    assert!(stand.iam.lookup(&session.access_key_id, last).is_ok());
    assert_eq!(
        stand.iam.lookup(&session.access_key_id, session.expires).unwrap_err(),
        Unknown::Expired
    );

    // A day after its end it is forgotten, but not the one that lives.
    let later = session.expires.plus(Duration::from_secs(24 * 3600 + 1));
    let other = stand.iam.session_for_role(&arn, "job-2", later, hour).await.unwrap();
    stand.iam.maintain(later).await.unwrap();
    stand.iam.shared.cache.clear();
    assert_eq!(stand.iam.lookup(&session.access_key_id, later).unwrap_err(), Unknown::NoSuchKey);
    assert!(stand.iam.lookup(&other.access_key_id, later).is_ok());

    stand.good("DeleteRole", json!({"RoleName": "Dog"})).await;
    assert_eq!(stand.iam.lookup(&other.access_key_id, later).unwrap_err(), Unknown::NoSuchKey);
    // A new role of the same name does not revive it.
    stand.role("Dog", sagemaker()).await;
    assert_eq!(stand.iam.lookup(&other.access_key_id, later).unwrap_err(), Unknown::NoSuchKey);
    for name in ["", "x", "a b", &"x".repeat(65)] {
        let error = stand.iam.session_for_role(&arn, name, NOW, hour).await.unwrap_err();
        assert_eq!(error.code, "ValidationError", "{name}");
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_reopening() {
    let stand = stand().await;
    let (key, secret) = stand.user("ann").await;
    let session = stand.iam.default_session(NOW, Duration::from_secs(900)).await.unwrap();
    // No orderly end: the second handle reads what the first has committed.
    let again = open(stand.folder.path()).await.unwrap();
    assert_eq!(again.lookup(&key, NOW).unwrap().secret, secret);
    let found = again.lookup(&session.access_key_id, NOW).unwrap();
    assert_eq!(
        found.caller.arn(),
        format!("arn:aws:sts::{ACCOUNT}:assumed-role/{DEFAULT_ROLE}/SageMaker")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_name_goes_to_one_of_many_at_once() {
    let stand = Arc::new(stand().await);
    let tasks: Vec<_> = (0..16)
        .map(|n| {
            let stand = Arc::clone(&stand);
            let name = if n % 2 == 0 { "Dog" } else { "DOG" };
            tokio::spawn(async move {
                let input =
                    json!({"RoleName": name, "AssumeRolePolicyDocument": sagemaker().to_string()});
                stand.run("CreateRole", input).await.is_ok()
            })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        made += usize::from(task.await.unwrap());
    }
    assert_eq!(made, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_deleted_key_never_comes_back_from_the_cache() {
    let stand = Arc::new(stand().await);
    for round in 0..20 {
        let name = format!("user{round}");
        let (key, _) = stand.user(&name).await;
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let (stand, key, stop) = (Arc::clone(&stand), key.clone(), Arc::clone(&stop));
                tokio::task::spawn_blocking(move || {
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        let _ = stand.iam.lookup(&key, NOW);
                    }
                })
            })
            .collect();
        stand.good("DeleteAccessKey", json!({"UserName": name, "AccessKeyId": key})).await;
        let dead = (0..50).all(|_| stand.iam.lookup(&key, NOW).is_err());
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        for reader in readers {
            reader.await.unwrap();
        }
        assert!(dead, "round {round}");
    }
}

#[tokio::test]
async fn a_cached_lookup_takes_microseconds() {
    let stand = stand().await;
    let (key, _) = stand.user("ann").await;
    stand.iam.lookup(&key, NOW).unwrap();
    let began = Clock.now();
    for _ in 0..10_000 {
        stand.iam.lookup(&key, NOW).unwrap();
    }
    let took = Clock.now().0 - began.0;
    // Far above what it takes, far below what 10,000 queries would.
    assert!(took < 1_000, "{took} ms");
}

#[tokio::test]
async fn what_was_read_before_a_write_is_not_kept_after_it() {
    let stand = stand().await;
    let entry = || Arc::new(Entry::lasting("secret", stand.root()));
    let cache = Cache::default();
    let (before, _) = cache.get("AKIA");
    cache.clear();
    cache.put(before, "AKIA", entry());
    assert!(cache.get("AKIA").1.is_none());
    let (now, _) = cache.get("AKIA");
    cache.put(now, "AKIA", entry());
    assert!(cache.get("AKIA").1.is_some());
}
