use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use super::*;
use crate::context::Clock;

pub(crate) const NOW: Timestamp = Timestamp(1_795_248_000_000);
const ACCOUNT: &str = "123456789012";

/// IAM in a folder of its own.
pub(crate) struct Stand {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) iam: Iam,
}

pub(crate) async fn open(folder: &Path) -> Result<Iam, OpenError> {
    let database = Database::open(&folder.join("state.db"), &[MIGRATIONS]).unwrap();
    Iam::open(database, folder, Some(ACCOUNT), NOW).await
}

pub(crate) async fn stand() -> Stand {
    let folder = tempfile::tempdir().unwrap();
    let iam = open(folder.path()).await.unwrap();
    Stand { folder, iam }
}

pub(crate) fn context(caller: Caller, now: Timestamp) -> Context {
    Context {
        request_id: "request".to_owned(),
        caller,
        region: "us-east-1".to_owned(),
        now,
        endpoint: "http://127.0.0.1:4566".to_owned(),
    }
}

impl Stand {
    pub(crate) fn root(&self) -> Caller {
        credentials::caller(ACCOUNT, Principal::Root, &self.iam.root().access_key_id)
    }

    pub(crate) async fn run(&self, operation: &str, input: Value) -> Answer {
        self.iam.call(&context(self.root(), NOW), operation, input).await
    }

    async fn good(&self, operation: &str, input: Value) -> Value {
        self.run(operation, input).await.unwrap_or_else(|e| panic!("{operation}: {e}"))
    }

    /// Code, status and message.
    async fn bad(&self, operation: &str, input: Value) -> (String, u16, String) {
        let error = self.run(operation, input).await.unwrap_err();
        (error.code, error.status, error.message)
    }

    pub(crate) async fn role(&self, name: &str, trust: Value) -> Value {
        let trust = trust.to_string();
        let input = json!({"RoleName": name, "AssumeRolePolicyDocument": trust});
        self.good("CreateRole", input).await["Role"].clone()
    }

    /// A user with a key: (key, secret).
    pub(crate) async fn user(&self, name: &str) -> (String, String) {
        self.good("CreateUser", json!({"UserName": name})).await;
        let key = self.good("CreateAccessKey", json!({"UserName": name})).await;
        let part = |member: &str| key["AccessKey"][member].as_str().unwrap().to_owned();
        (part("AccessKeyId"), part("SecretAccessKey"))
    }
}

pub(crate) fn trust(principal: Value) -> Value {
    json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}]})
}

fn sagemaker() -> Value {
    trust(json!({"Service": "sagemaker.amazonaws.com"}))
}

fn allow(action: &str) -> String {
    json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": action, "Resource": "*"}]})
    .to_string()
}

fn decoded(text: &Value) -> Value {
    let text = percent_encoding::percent_decode_str(text.as_str().unwrap()).decode_utf8().unwrap();
    serde_json::from_str(&text).unwrap()
}

fn triple(code: &str, status: u16, message: &str) -> (String, u16, String) {
    (code.to_owned(), status, message.to_owned())
}

#[tokio::test]
async fn first_start_makes_account_root_and_default_role_and_the_second_keeps_them() {
    let stand = stand().await;
    let root = stand.iam.root().clone();
    assert_eq!(root.account_id, ACCOUNT);
    assert!(root.access_key_id.starts_with("AKIA") && root.access_key_id.len() == 20);
    assert_eq!(root.secret_access_key.len(), 40);
    assert!(!format!("{root:?}").contains(&root.secret_access_key));
    for file in [ROOT_CREDENTIALS, "state.db"] {
        let mode = std::fs::metadata(stand.folder.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let role = stand.good("GetRole", json!({"RoleName": DEFAULT_ROLE})).await;
    assert_eq!(role["Role"]["Arn"], stand.iam.default_role_arn());
    assert_eq!(role["Role"]["Path"], "/service-role/");
    let attached = stand.good("ListAttachedRolePolicies", json!({"RoleName": DEFAULT_ROLE})).await;
    assert_eq!(attached["AttachedPolicies"].as_array().unwrap().len(), 2);

    let Stand { folder, iam } = stand;
    drop(iam);
    let again = open(folder.path()).await.unwrap();
    assert_eq!(again.root(), &root);
    assert_eq!(again.lookup(&root.access_key_id, NOW).unwrap().caller.principal, Principal::Root);
    let read = RootCredentials::read(folder.path()).unwrap().unwrap();
    assert_eq!(read, root);
}

#[tokio::test]
async fn a_deleted_default_role_stays_deleted() {
    let stand = stand().await;
    for name in ["AmazonSageMakerFullAccess", "AmazonS3FullAccess"] {
        let arn = format!("arn:aws:iam::aws:policy/{name}");
        let input = json!({"RoleName": DEFAULT_ROLE, "PolicyArn": arn});
        stand.good("DetachRolePolicy", input).await;
    }
    stand.good("DeleteRole", json!({"RoleName": DEFAULT_ROLE})).await;
    let again = open(stand.folder.path()).await.unwrap();
    let error = again.default_session(NOW, Duration::from_secs(900)).await.unwrap_err();
    assert_eq!(error.code, "NoSuchEntity");
}

#[tokio::test]
async fn lost_root_keys_are_made_anew_and_broken_ones_are_refused() {
    let Stand { folder, iam } = stand().await;
    let old = iam.root().clone();
    let file = folder.path().join(ROOT_CREDENTIALS);
    std::fs::remove_file(&file).unwrap();
    let new = open(folder.path()).await.unwrap();
    assert_eq!(new.account(), ACCOUNT);
    assert_ne!(new.root(), &old);
    assert_eq!(new.lookup(&old.access_key_id, NOW).unwrap_err(), Unknown::NoSuchKey);

    std::fs::write(&file, format!("{{\"AccountId\": \"{}\"", old.secret_access_key)).unwrap();
    let error = open(folder.path()).await.unwrap_err();
    assert!(matches!(error, OpenError::Root(RootError::Broken { .. })), "{error}");
    assert!(!error.to_string().contains(&old.secret_access_key));
}

#[tokio::test]
async fn accounts_are_checked() {
    let stand = stand().await;
    let path = stand.folder.path();
    for (wanted, other) in [("210987654321", true), ("12345", false), ("000000000000", false)] {
        let database = Database::open(&path.join("state.db"), &[MIGRATIONS]).unwrap();
        let error = Iam::open(database, path, Some(wanted), NOW).await.unwrap_err();
        assert_eq!(matches!(error, OpenError::OtherAccount { .. }), other, "{error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(&folder.path().join("state.db"), &[MIGRATIONS]).unwrap();
    let iam = Iam::open(database, folder.path(), None, NOW).await.unwrap();
    assert_eq!(iam.account().len(), 12);
    assert!(!iam.account().starts_with('0'));
}

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
    assert_eq!(count(stand.good("ListPolicies", json!({"OnlyAttached": true})).await), 2);
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
async fn what_is_not_built_says_so() {
    let stand = stand().await;
    for operation in
        ["SimulatePrincipalPolicy", "GenerateServiceLastAccessedDetails", "CreateGroup"]
    {
        let (code, status, message) = stand.bad(operation, json!({})).await;
        assert_eq!((code.as_str(), status), ("NotImplementedException", 501));
        assert!(message.contains(operation));
    }
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
        for _ in 0..50 {
            assert_eq!(stand.iam.lookup(&key, NOW).unwrap_err(), Unknown::NoSuchKey);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        for reader in readers {
            reader.await.unwrap();
        }
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
