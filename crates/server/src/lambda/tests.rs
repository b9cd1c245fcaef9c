//! The API's operations, through the handle.

mod concurrency;
mod dispatch;
mod events;
mod functions;
mod layers;
mod permissions;
mod versions;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kennel_hosting::process::LauncherOptions;
use kennel_store::objects::ObjectStore as _;
use kennel_wire::ServiceModel;
use serde_json::json;

use super::package::tests::files;
use super::*;
use crate::context::{Caller, Principal, Timestamp};

const NOW: Timestamp = Timestamp(1_795_248_000_000);
const ACCOUNT: &str = "123456789012";
const ARN: &str = "arn:aws:lambda:us-east-1:123456789012:function:";

struct Stand {
    folder: tempfile::TempDir,
    lambda: Lambda,
    iam: Iam,
}

fn context_at(now: Timestamp) -> Context {
    let caller = Caller {
        account: ACCOUNT.to_owned(),
        principal: Principal::Root,
        access_key: "AKIA".to_owned(),
    };
    Context {
        request_id: "r".to_owned(),
        caller,
        region: "us-east-1".to_owned(),
        now,
        endpoint: "http://127.0.0.1:4566".to_owned(),
    }
}

async fn open(folder: &std::path::Path) -> (Lambda, Iam) {
    let migrations = [
        crate::iam::MIGRATIONS,
        kennel_store::objects::MIGRATIONS,
        crate::logs::MIGRATIONS,
        crate::cloudwatch::MIGRATIONS,
        MIGRATIONS,
    ];
    let database = Database::open(&folder.join("state.db"), &migrations).unwrap();
    let iam = Iam::open(database.clone(), folder, Some(ACCOUNT), NOW).await.unwrap();
    let objects = FileStore::open(&folder.join("objects"), database.clone()).unwrap();
    let (logs, _) = Logs::new(database.clone(), crate::logs::Options::default());
    let metrics =
        crate::cloudwatch::Metrics::new(database.clone(), crate::cloudwatch::Options::default()).0;
    // Nothing is started here.
    let kennel = PathBuf::from("/nonexistent/kennel");
    let launcher = Launcher::start(LauncherOptions { kennel: kennel.clone() }).unwrap();
    let lambda = Lambda::new(Options {
        database,
        iam: iam.clone(),
        objects,
        logs,
        metrics: metrics.recorder(),
        launcher,
        data: folder.to_owned(),
        kennel,
        runtimes: BTreeMap::new(),
        url: "http://127.0.0.1:4566".to_owned(),
        region: "us-east-1".to_owned(),
        account: ACCOUNT.to_owned(),
        retry_scale: 1.0,
    });
    (lambda.unwrap(), iam)
}

async fn stand() -> Stand {
    let folder = tempfile::tempdir().unwrap();
    let (lambda, iam) = open(folder.path()).await;
    Stand { folder, lambda, iam }
}

/// The answer's members are all members of the operation's output, and its values survive the encoder.
fn fits_the_model(operation: &str, answer: &Value) {
    let model = ServiceModel::by_name("lambda").unwrap();
    let shape = model.operation(operation).unwrap();
    let body = kennel_wire::json::encode(model, shape, answer);
    let mut written: Value = serde_json::from_slice(&body).unwrap_or(json!({}));
    if operation == "DeleteFunction" {
        // The member is the response's status.
        written["StatusCode"] = answer["StatusCode"].clone();
    }
    assert_eq!(whole(written), whole(answer.clone()), "{operation}");
}

/// Whole numbers without a fraction, as the encoder writes seconds.
fn whole(value: Value) -> Value {
    match value {
        Value::Number(n) => match n.as_f64() {
            Some(f) if f.fract() == 0.0 && f.abs() < 1e15 => json!(f as i64),
            _ => Value::Number(n),
        },
        Value::Array(items) => items.into_iter().map(whole).collect(),
        Value::Object(map) => Value::Object(map.into_iter().map(|(k, v)| (k, whole(v))).collect()),
        other => other,
    }
}

impl Stand {
    async fn call(&self, operation: &str, input: Value) -> Answer {
        self.lambda.call(&context_at(NOW), operation, input).await
    }

    async fn good(&self, operation: &str, input: Value) -> Value {
        let answer =
            self.call(operation, input).await.unwrap_or_else(|e| panic!("{operation}: {e}"));
        fits_the_model(operation, &answer);
        answer
    }

    /// Code, status and text of a refusal; all but constraints carry the type.
    async fn bad(&self, operation: &str, input: Value) -> (String, u16, String) {
        let error = self.call(operation, input).await.unwrap_err();
        if error.code != "ValidationException" {
            assert_eq!(error.members.get("Type"), Some(&json!("User")), "{error}");
        }
        (error.code, error.status, error.message)
    }

    /// As [`Stand::bad`], for `InvalidParameterValueException`: the text.
    async fn invalid(&self, operation: &str, input: Value) -> String {
        let (code, status, text) = self.bad(operation, input).await;
        assert_eq!((code.as_str(), status), ("InvalidParameterValueException", 400), "{text}");
        text
    }

    /// As [`Stand::bad`], for `ResourceNotFoundException`: the text.
    async fn missing(&self, operation: &str, input: Value) -> String {
        let (code, status, text) = self.bad(operation, input).await;
        assert_eq!((code.as_str(), status), ("ResourceNotFoundException", 404), "{text}");
        text
    }

    /// As [`Stand::bad`], for `ResourceConflictException`: the text.
    async fn conflict(&self, operation: &str, input: Value) -> String {
        let (code, status, text) = self.bad(operation, input).await;
        assert_eq!((code.as_str(), status), ("ResourceConflictException", 409), "{text}");
        text
    }

    fn create_input(&self, name: &str) -> Value {
        json!({
            "FunctionName": name,
            "Runtime": "python3.12",
            "Role": self.iam.default_role_arn(),
            "Handler": "index.handler",
            "Code": {"ZipFile": python("1")},
        })
    }

    /// A function; `more` replaces or adds members.
    async fn create(&self, name: &str, more: Value) -> Value {
        self.good("CreateFunction", merged(self.create_input(name), more)).await
    }

    /// Digests of the code that lies in the data folder.
    fn shelf(&self) -> Vec<String> {
        let read = std::fs::read_dir(self.folder.path().join("lambda/code")).unwrap();
        read.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

fn row(lambda: &Lambda, function: &str, version: u64) -> rows::VersionRow {
    lambda.read(|c| rows::version(c, function, version)).unwrap().unwrap()
}

fn merged(mut whole: Value, more: Value) -> Value {
    for (key, value) in more.as_object().unwrap() {
        whole[key] = value.clone();
    }
    whole
}

/// A function's zip, base64.
fn python(body: &str) -> String {
    STANDARD.encode(files(&[("index.py", body.as_bytes())]))
}

fn name(function: &str) -> Value {
    json!({"FunctionName": function})
}
