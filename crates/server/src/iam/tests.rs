mod policies;
mod roles;
mod sessions;
mod users;

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use super::*;

pub(crate) const NOW: Timestamp = Timestamp(1_795_248_000_000);
const ACCOUNT: &str = "123456789012";

/// The service's model lets this input through as it stands, and the answer's members are all written.
pub(crate) fn fits_the_model(service: &str, operation: &str, input: &Value, answer: &Value) {
    let model = kennel_wire::ServiceModel::by_name(service).unwrap();
    assert!(model.knows(operation), "{operation}");
    // The models are pruned; some operations here are not among those that are left.
    let Some(shape) = model.operation(operation) else { return };
    let mut fields = Vec::new();
    flatten(String::new(), input, &mut fields);
    let read = kennel_wire::query::decode(model, shape, &fields).unwrap();
    assert_eq!(&read, input, "{operation}");
    let xml = kennel_wire::query::encode(model, shape, answer, "request");
    let mut names = Vec::new();
    members(answer, &mut names);
    for name in names {
        let there = xml.contains(&format!("<{name}>"));
        assert!(there, "{operation}: `{name}` is not in {xml}");
    }
}

/// As a query writes it: `Tags.member.1.Key`.
fn flatten(at: String, value: &Value, fields: &mut Vec<(String, String)>) {
    let under = |name: String| if at.is_empty() { name } else { format!("{at}.{name}") };
    match value {
        Value::Object(map) => {
            map.iter().for_each(|(name, value)| flatten(under(name.clone()), value, fields));
        }
        Value::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                flatten(under(format!("member.{}", n + 1)), item, fields);
            }
        }
        Value::String(text) => fields.push((at, text.clone())),
        other => fields.push((at, other.to_string())),
    }
}

fn members<'a>(value: &'a Value, names: &mut Vec<&'a str>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                names.push(name);
                members(value, names);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| members(item, names)),
        _ => {}
    }
}

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
        let answer = self.run(operation, input.clone()).await;
        let answer = answer.unwrap_or_else(|e| panic!("{operation}: {e}"));
        fits_the_model("iam", operation, &input, &answer);
        answer
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
    assert_eq!(attached["AttachedPolicies"].as_array().unwrap().len(), DEFAULT_POLICIES.len());

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
    for name in DEFAULT_POLICIES {
        let arn = format!("arn:aws:iam::aws:policy/{name}");
        let input = json!({"RoleName": DEFAULT_ROLE, "PolicyArn": arn});
        stand.good("DetachRolePolicy", input).await;
    }
    let inline = json!({"RoleName": DEFAULT_ROLE, "PolicyName": DEFAULT_INLINE.0});
    stand.good("DeleteRolePolicy", inline).await;
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
