use super::*;
use crate::context::Timestamp;
use crate::iam::tests::{NOW, Stand, context, fits_the_model, stand, trust};
use crate::identity::{Credentials as _, Unknown};

const ACCOUNT: &str = "123456789012";

struct Desk {
    stand: Stand,
    sts: Sts,
}

async fn desk() -> Desk {
    let stand = stand().await;
    let sts = Sts::new(stand.iam.clone());
    Desk { stand, sts }
}

impl Desk {
    fn caller(&self, key: &str) -> Caller {
        self.stand.iam.lookup(key, NOW).unwrap().caller
    }

    async fn ask(&self, caller: Caller, operation: &str, input: Value) -> Answer {
        let answer = self.sts.call(&context(caller, NOW), operation, input.clone()).await?;
        fits_the_model("sts", operation, &input, &answer);
        Ok(answer)
    }

    async fn assume(&self, caller: Caller, role: &str, extra: Value) -> Answer {
        let mut input = json!({
            "RoleArn": format!("arn:aws:iam::{ACCOUNT}:role/{role}"),
            "RoleSessionName": "notebook",
        });
        for (name, value) in extra.as_object().unwrap() {
            input[name] = value.clone();
        }
        self.ask(caller, "AssumeRole", input).await
    }
}

#[tokio::test]
async fn everybody_learns_who_they_are() {
    let desk = desk().await;
    let root = desk.ask(desk.stand.root(), "GetCallerIdentity", json!({})).await.unwrap();
    assert_eq!(
        root,
        json!({"UserId": ACCOUNT, "Account": ACCOUNT, "Arn": format!("arn:aws:iam::{ACCOUNT}:root")})
    );
    let (key, _) = desk.stand.user("ann").await;
    let user = desk.ask(desk.caller(&key), "GetCallerIdentity", json!({})).await.unwrap();
    assert_eq!(user["Arn"], format!("arn:aws:iam::{ACCOUNT}:user/ann"));
}

#[tokio::test]
async fn an_assumed_role_signs_as_its_session() {
    let desk = desk().await;
    let path = "service-role/AmazonSageMaker-ExecutionRole";
    let answer = desk.assume(desk.stand.root(), path, json!({})).await.unwrap();
    let key = answer["Credentials"]["AccessKeyId"].as_str().unwrap();
    assert!(key.starts_with("ASIA"));
    assert_eq!(answer["Credentials"]["Expiration"], NOW.0 / 1000 + 3600);
    let arn = format!("arn:aws:sts::{ACCOUNT}:assumed-role/AmazonSageMaker-ExecutionRole/notebook");
    assert_eq!(answer["AssumedRoleUser"]["Arn"], arn);
    let found = desk.stand.iam.lookup(key, NOW).unwrap();
    assert_eq!(found.secret, answer["Credentials"]["SecretAccessKey"]);
    assert_eq!(found.session_token.as_deref(), answer["Credentials"]["SessionToken"].as_str());
    let me = desk.ask(found.caller, "GetCallerIdentity", json!({})).await.unwrap();
    assert_eq!(me["Arn"], arn);
    assert_eq!(me["UserId"], answer["AssumedRoleUser"]["AssumedRoleId"]);
    let end = Timestamp(NOW.0 + 3_600_000);
    assert_eq!(desk.stand.iam.lookup(key, end).unwrap_err(), Unknown::Expired);
}

#[tokio::test]
async fn the_trust_policy_decides_and_tells_nothing_else() {
    let desk = desk().await;
    let (ann, _) = desk.stand.user("ann").await;
    let (bob, _) = desk.stand.user("bob").await;
    let only_ann = trust(json!({"AWS": format!("arn:aws:iam::{ACCOUNT}:user/ann")}));
    desk.stand.role("Dog", only_ann).await;
    desk.assume(desk.caller(&ann), "Dog", json!({})).await.unwrap();
    for (role, key) in [("Dog", &bob), ("None", &bob), ("x/Dog", &ann)] {
        let error = desk.assume(desk.caller(key), role, json!({})).await.unwrap_err();
        let name = if key == &bob { "bob" } else { "ann" };
        assert_eq!((error.code.as_str(), error.status), ("AccessDenied", 403));
        assert_eq!(
            error.message,
            format!(
                "User: arn:aws:iam::{ACCOUNT}:user/{name} is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::{ACCOUNT}:role/{role}"
            )
        );
    }
    let error = desk.assume(desk.stand.root(), "Dog", json!({})).await.unwrap_err();
    assert_eq!(error.code, "AccessDenied");
    // Tags need a permission of their own.
    let tags = json!({"Tags": [{"Key": "a", "Value": "b"}]});
    let error = desk.assume(desk.caller(&ann), "Dog", tags).await.unwrap_err();
    assert!(error.message.contains("sts:TagSession"), "{error}");

    let mut external = trust(json!({"AWS": ACCOUNT}));
    external["Statement"][0]["Condition"] = json!({"StringEquals": {"sts:ExternalId": "secret"}});
    desk.stand.role("Ext", external).await;
    assert!(desk.assume(desk.caller(&bob), "Ext", json!({})).await.is_err());
    assert!(desk.assume(desk.caller(&bob), "Ext", json!({"ExternalId": "no"})).await.is_err());
    assert!(desk.assume(desk.caller(&bob), "Ext", json!({"ExternalId": "secret"})).await.is_ok());
}

#[tokio::test]
async fn trust_follows_a_user_and_not_a_name() {
    let desk = desk().await;
    let (ann, _) = desk.stand.user("ann").await;
    let only_ann = trust(json!({"AWS": format!("arn:aws:iam::{ACCOUNT}:user/ann")}));
    desk.stand.role("Dog", only_ann).await;
    let rename = json!({"UserName": "ann", "NewUserName": "anna"});
    desk.stand.run("UpdateUser", rename).await.unwrap();
    desk.assume(desk.caller(&ann), "Dog", json!({})).await.unwrap();
    let delete = json!({"UserName": "anna", "AccessKeyId": ann});
    desk.stand.run("DeleteAccessKey", delete).await.unwrap();
    desk.stand.run("DeleteUser", json!({"UserName": "anna"})).await.unwrap();
    for name in ["ann", "anna"] {
        let (other, _) = desk.stand.user(name).await;
        let error = desk.assume(desk.caller(&other), "Dog", json!({})).await.unwrap_err();
        assert_eq!(error.code, "AccessDenied", "{name}");
    }
    let role = desk.stand.run("GetRole", json!({"RoleName": "Dog"})).await.unwrap();
    assert!(role["Role"]["AssumeRolePolicyDocument"].as_str().unwrap().contains("AIDA"));
}

#[tokio::test]
async fn a_role_assumes_another_for_an_hour_at_most() {
    let desk = desk().await;
    desk.stand.role("First", trust(json!({"AWS": ACCOUNT}))).await;
    let first = format!("arn:aws:iam::{ACCOUNT}:role/First");
    desk.stand.role("Second", trust(json!({"AWS": first}))).await;
    let long = json!({"RoleName": "Second", "MaxSessionDuration": 43_200});
    desk.stand.run("UpdateRole", long).await.unwrap();
    let answer = desk.assume(desk.stand.root(), "First", json!({})).await.unwrap();
    let caller = desk.caller(answer["Credentials"]["AccessKeyId"].as_str().unwrap());
    desk.assume(caller.clone(), "Second", json!({})).await.unwrap();
    let chained = json!({"DurationSeconds": 7_200});
    let error = desk.assume(caller, "Second", chained).await.unwrap_err();
    assert!(error.code == "ValidationError" && error.message.contains("role chaining"), "{error}");
}

#[tokio::test]
async fn durations_names_and_policies_are_checked() {
    let desk = desk().await;
    desk.stand.role("Dog", trust(json!({"AWS": ACCOUNT}))).await;
    let root = || desk.stand.root();
    for (extra, code) in [
        (json!({"DurationSeconds": 899}), "ValidationError"),
        (json!({"DurationSeconds": 43_201}), "ValidationError"),
        (json!({"DurationSeconds": 3_601}), "ValidationError"),
        (json!({"RoleSessionName": "a b"}), "ValidationError"),
        (json!({"RoleSessionName": "a"}), "ValidationError"),
        (json!({"RoleArn": "Dog"}), "ValidationError"),
        (json!({"Policy": "{}"}), "MalformedPolicyDocument"),
        (json!({"Policy": " ".repeat(2_049)}), "PackedPolicyTooLarge"),
        (json!({"SerialNumber": "arn:aws:iam::1:mfa/x", "TokenCode": "123456"}), "AccessDenied"),
    ] {
        let error = desk.assume(root(), "Dog", extra.clone()).await.unwrap_err();
        assert_eq!(error.code, code, "{extra}");
    }
    let policy = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]})
    .to_string();
    let extra = json!({"Policy": policy, "DurationSeconds": 900});
    let answer = desk.assume(root(), "Dog", extra).await.unwrap();
    assert_eq!(answer["Credentials"]["Expiration"], NOW.0 / 1000 + 900);
    assert!((1..10).contains(&answer["PackedPolicySize"].as_i64().unwrap()));
}

#[tokio::test]
async fn session_tokens_are_for_lasting_keys_only() {
    let desk = desk().await;
    let (key, _) = desk.stand.user("ann").await;
    let answer = desk.ask(desk.caller(&key), "GetSessionToken", json!({})).await.unwrap();
    let temporary = answer["Credentials"]["AccessKeyId"].as_str().unwrap();
    assert_eq!(answer["Credentials"]["Expiration"], NOW.0 / 1000 + 43_200);
    let found = desk.stand.iam.lookup(temporary, NOW).unwrap();
    assert_eq!(found.caller.arn(), format!("arn:aws:iam::{ACCOUNT}:user/ann"));
    let error = desk.ask(found.caller, "GetSessionToken", json!({})).await.unwrap_err();
    assert_eq!(error.code, "AccessDenied");
    let root = desk
        .ask(desk.stand.root(), "GetSessionToken", json!({"DurationSeconds": 43_200}))
        .await
        .unwrap();
    assert_eq!(root["Credentials"]["Expiration"], NOW.0 / 1000 + 3_600);
    let key = root["Credentials"]["AccessKeyId"].as_str().unwrap();
    assert_eq!(desk.caller(key).principal, Principal::Root);
    // The user goes, the user's sessions go.
    let keys = json!({"UserName": "ann", "AccessKeyId": desk_key(&desk).await});
    desk.stand.run("DeleteAccessKey", keys).await.unwrap();
    desk.stand.run("DeleteUser", json!({"UserName": "ann"})).await.unwrap();
    assert_eq!(desk.stand.iam.lookup(temporary, NOW).unwrap_err(), Unknown::NoSuchKey);
}

async fn desk_key(desk: &Desk) -> String {
    let keys = desk.stand.run("ListAccessKeys", json!({"UserName": "ann"})).await.unwrap();
    keys["AccessKeyMetadata"][0]["AccessKeyId"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn known_keys_have_an_account_and_the_rest_is_not_built() {
    let desk = desk().await;
    let (key, _) = desk.stand.user("ann").await;
    let root = desk.stand.iam.root().access_key_id.clone();
    for key in [key, root] {
        let input = json!({"AccessKeyId": key});
        let info = desk.ask(desk.stand.root(), "GetAccessKeyInfo", input).await.unwrap();
        assert_eq!(info, json!({"Account": ACCOUNT}));
    }
    let unknown = json!({"AccessKeyId": "AKIAAAAAAAAAAAAAAAAA"});
    let error = desk.ask(desk.stand.root(), "GetAccessKeyInfo", unknown).await.unwrap_err();
    assert_eq!(error.code, "ValidationError");
    let error = desk.ask(desk.stand.root(), "GetFederationToken", json!({})).await.unwrap_err();
    assert_eq!(error.status, 501);
}
