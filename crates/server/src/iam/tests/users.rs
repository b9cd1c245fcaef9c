//! Users and keys.

use super::*;

#[tokio::test]
async fn keys_sign_until_they_are_switched_off_or_deleted() {
    let stand = stand().await;
    let (key, secret) = stand.user("ann").await;
    let found = stand.iam.lookup(&key, NOW).unwrap();
    assert_eq!(found.secret, secret);
    assert_eq!(found.caller.arn(), format!("arn:aws:iam::{ACCOUNT}:user/ann"));
    assert_eq!(found.session_token, None);
    assert!(!format!("{found:?}").contains(&secret));
    let set = |status: &str| json!({"UserName": "ann", "AccessKeyId": key, "Status": status});
    stand.good("UpdateAccessKey", set("Inactive")).await;
    assert_eq!(stand.iam.lookup(&key, NOW).unwrap_err(), Unknown::Inactive);
    stand.good("UpdateAccessKey", set("Active")).await;
    assert!(stand.iam.lookup(&key, NOW).is_ok());
    // A renamed user signs under the new name at once.
    stand
        .good("UpdateUser", json!({"UserName": "ann", "NewUserName": "Anna", "NewPath": "/team/"}))
        .await;
    let arn = stand.iam.lookup(&key, NOW).unwrap().caller.arn();
    assert_eq!(arn, format!("arn:aws:iam::{ACCOUNT}:user/team/Anna"));
    assert_eq!(
        stand.bad("DeleteUser", json!({"UserName": "anna"})).await,
        triple("DeleteConflict", 409, "Cannot delete entity, must delete access keys first.")
    );
    stand.good("DeleteAccessKey", json!({"UserName": "anna", "AccessKeyId": key})).await;
    assert_eq!(stand.iam.lookup(&key, NOW).unwrap_err(), Unknown::NoSuchKey);
    assert_eq!(
        stand.bad("DeleteAccessKey", json!({"UserName": "anna", "AccessKeyId": key})).await,
        triple("NoSuchEntity", 404, &format!("The Access Key with id {key} cannot be found."))
    );
    stand.good("DeleteUser", json!({"UserName": "anna"})).await;
    for hostile in ["", "AKIA", "' OR 1=1 --        ", &"A".repeat(10_000)] {
        assert_eq!(stand.iam.lookup(hostile, NOW).unwrap_err(), Unknown::NoSuchKey);
    }
}

#[tokio::test]
async fn at_most_two_keys_and_their_last_use() {
    let stand = stand().await;
    let (key, _) = stand.user("ann").await;
    let caller = stand.iam.lookup(&key, NOW).unwrap().caller;
    // Without a name the caller is meant.
    let own = context(caller.clone(), NOW);
    stand.iam.call(&own, "CreateAccessKey", json!({})).await.unwrap();
    let error = stand.iam.call(&own, "CreateAccessKey", json!({})).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.status), ("LimitExceeded", 409));
    assert_eq!(error.message, "Cannot exceed quota for AccessKeysPerUser: 2");
    let keys = stand.iam.call(&own, "ListAccessKeys", json!({})).await.unwrap();
    assert_eq!(keys["AccessKeyMetadata"].as_array().unwrap().len(), 2);
    assert!(keys["AccessKeyMetadata"][0].get("SecretAccessKey").is_none());
    assert_eq!(stand.bad("ListAccessKeys", json!({})).await.0, "ValidationError");

    let ask = json!({"AccessKeyId": key});
    let never = stand.good("GetAccessKeyLastUsed", ask.clone()).await;
    assert_eq!(never["AccessKeyLastUsed"], json!({"ServiceName": "N/A", "Region": "N/A"}));
    stand.iam.note_use(&caller, "s3", "us-east-1", NOW);
    let used = stand.good("GetAccessKeyLastUsed", ask).await;
    assert_eq!(used["UserName"], "ann");
    assert_eq!(
        used["AccessKeyLastUsed"],
        json!({"LastUsedDate": 1_795_248_000, "ServiceName": "s3", "Region": "us-east-1"})
    );
}

#[tokio::test]
async fn users_are_found_by_name_and_by_themselves() {
    let stand = stand().await;
    let (key, _) = stand.user("ann").await;
    let caller = stand.iam.lookup(&key, NOW).unwrap().caller;
    let me = stand.iam.call(&context(caller, NOW), "GetUser", json!({})).await.unwrap();
    assert_eq!(me["User"]["UserName"], "ann");
    assert!(me["User"]["UserId"].as_str().unwrap().starts_with("AIDA"));
    assert_eq!(me["User"]["UserId"].as_str().unwrap().len(), 21);
    let root = stand.good("GetUser", json!({})).await;
    assert_eq!(root["User"]["Arn"], format!("arn:aws:iam::{ACCOUNT}:root"));
    assert_eq!(
        stand.bad("GetUser", json!({"UserName": "bob"})).await,
        triple("NoSuchEntity", 404, "The user with name bob cannot be found.")
    );
    assert_eq!(
        stand.bad("CreateUser", json!({"UserName": "ANN"})).await,
        triple("EntityAlreadyExists", 409, "User with name ANN already exists.")
    );
    stand.good("CreateUser", json!({"UserName": "bob"})).await;
    assert_eq!(
        stand.bad("UpdateUser", json!({"UserName": "bob", "NewUserName": "Ann"})).await.0,
        "EntityAlreadyExists"
    );
    for name in ["", "a b", "../x", "ü"] {
        assert_eq!(stand.bad("CreateUser", json!({"UserName": name})).await.0, "ValidationError");
    }
    for path in ["x", "/x", "//", "/a b/"] {
        let input = json!({"UserName": "eve", "Path": path});
        assert_eq!(stand.bad("CreateUser", input).await.0, "ValidationError", "{path}");
    }
}
