use kennel_store::state::Database;
use rusqlite::OptionalExtension as _;
use tokio::sync::watch;

use super::*;
use crate::authorize::Need;
use crate::context::{Caller, Principal};
use crate::gateway::access;
use crate::iam::tests::{NOW, Stand};
use crate::iam::{self, Iam};

pub(crate) const ACCOUNT: &str = "123456789012";
pub(crate) const DAY: i64 = 86_400_000;

/// IAM and access records in one database.
pub(crate) struct Trail {
    pub(crate) stand: Stand,
    database: Database,
}

pub(crate) async fn trail() -> Trail {
    let folder = tempfile::tempdir().unwrap();
    let migrations = [access::MIGRATIONS, MIGRATIONS, iam::MIGRATIONS];
    let database = Database::open(&folder.path().join("state.db"), &migrations).unwrap();
    let iam = Iam::open(database.clone(), folder.path(), Some(ACCOUNT), NOW).await.unwrap();
    Trail { stand: Stand { folder, iam }, database }
}

impl Trail {
    /// Writes records as the gateway does.
    pub(crate) async fn write(&self, calls: Vec<access::Record>) {
        let (log, writer) = access::access_log(self.database.clone());
        for call in calls {
            log.record(call).await;
        }
        let (stop, stopped) = watch::channel(false);
        stop.send_replace(true);
        writer.run(stopped).await;
    }

    fn lookup(&self, attribute: Attribute) -> Vec<String> {
        let lookup = Lookup {
            attribute: Some(attribute),
            since: Timestamp(i64::MIN),
            until: Timestamp(i64::MAX),
            before: None,
            most: 50,
        };
        let found = self.stand.iam.read(|c| Ok(find(c, &lookup)?)).unwrap();
        found.into_iter().map(|record| record.request_id).collect()
    }
}

/// A session of a role without a path.
pub(crate) fn session(role: &str, name: &str) -> Caller {
    Caller {
        account: ACCOUNT.to_owned(),
        principal: Principal::Role {
            role: role.to_owned(),
            id: format!("AROA{}", role.to_uppercase()),
            session: name.to_owned(),
            role_arn: format!("arn:aws:iam::{ACCOUNT}:role/{role}"),
        },
        access_key: format!("ASIA{}", name.to_uppercase()),
    }
}

pub(crate) fn user(name: &str) -> Caller {
    Caller {
        account: ACCOUNT.to_owned(),
        principal: Principal::User {
            name: name.to_owned(),
            id: format!("AIDA{}", name.to_uppercase()),
            arn: format!("arn:aws:iam::{ACCOUNT}:user/people/{name}"),
        },
        access_key: format!("AKIA{}", name.to_uppercase()),
    }
}

pub(crate) fn endpoint(name: &str) -> String {
    format!("arn:aws:sagemaker:us-east-1:{ACCOUNT}:endpoint/{name}")
}

/// A call that asked for these needs, all of which were allowed.
pub(crate) fn call(id: &str, caller: Caller, needs: Vec<Need>) -> access::Record {
    let action = needs[0].action.to_string();
    let service = ["sagemaker", "s3", "iam", "lambda"];
    let service = service.into_iter().find(|s| action.starts_with(&format!("{s}:"))).unwrap();
    access::Record {
        time: NOW,
        request_id: id.to_owned(),
        caller: Some(caller),
        source: "127.0.0.1".to_owned(),
        service,
        action,
        resource: Some(needs[0].resource.clone()),
        allowed: true,
        status: 200,
        error: None,
        microseconds: 900,
        needs: needs.into_iter().map(|need| (need, true)).collect(),
        free: false,
        reason: None,
    }
}

/// The same, refused.
pub(crate) fn denied(mut call: access::Record) -> access::Record {
    call.allowed = false;
    call.status = 403;
    call.error = Some("AccessDeniedException".to_owned());
    call.reason = Some("no identity-based policy allows it".to_owned());
    for need in &mut call.needs {
        need.1 = false;
    }
    call
}

pub(crate) fn need(action: &'static str, resource: &str) -> Need {
    Need::new(action, resource)
}

pub(crate) fn passed(role: &str, service: &str) -> Need {
    let arn = format!("arn:aws:iam::{ACCOUNT}:role/{role}");
    need("iam:PassRole", &arn).with("iam:PassedToService", vec![service.to_owned()])
}

#[tokio::test]
async fn records_come_back_with_their_needs() {
    let trail = trail().await;
    let job = format!("arn:aws:sagemaker:us-east-1:{ACCOUNT}:training-job/j");
    let needs =
        vec![need("sagemaker:CreateTrainingJob", &job), passed("R", "sagemaker.amazonaws.com")];
    let mut free = call("free", user("ann"), vec![need("iam:GetUser", "*")]);
    (free.needs, free.free) = (Vec::new(), true);
    trail
        .write(vec![
            call("two", session("R", "s"), needs),
            denied(call("one", session("R", "s"), vec![need("s3:GetObject", "arn:aws:s3:::b/k")])),
            free,
        ])
        .await;
    let all = Lookup {
        attribute: None,
        since: Timestamp(i64::MIN),
        until: Timestamp(i64::MAX),
        before: None,
        most: 50,
    };
    let found = trail.stand.iam.read(|c| Ok(find(c, &all)?)).unwrap();
    let ids: Vec<&str> = found.iter().map(|r| r.request_id.as_str()).collect();
    assert_eq!(ids, ["free", "one", "two"], "the newest first");
    assert_eq!(found[0].needs, []);
    let one = RecordedNeed {
        action: "s3:GetObject".to_owned(),
        resource: "arn:aws:s3:::b/k".to_owned(),
        allowed: false,
    };
    assert_eq!(found[1].needs, [one]);
    assert_eq!(found[1].reason.as_deref(), Some("no identity-based policy allows it"));
    assert_eq!(found[2].needs.len(), 2);
    assert!(found[2].needs.iter().all(|need| need.allowed));
    assert_eq!(found[2].needs[1].action, "iam:PassRole");
    assert_eq!(found[2].context["iam:PassedToService"], ["sagemaker.amazonaws.com"]);
    assert_eq!(found[2].identity_id.as_deref(), Some("AROAR"));
}

#[tokio::test]
async fn each_attribute_finds_its_own() {
    let trail = trail().await;
    let job = format!("arn:aws:sagemaker:us-east-1:{ACCOUNT}:training-job/j");
    let training =
        vec![need("sagemaker:CreateTrainingJob", &job), passed("R", "sagemaker.amazonaws.com")];
    let mut root = call("root", user("x"), vec![need("iam:DeleteUser", "*")]);
    root.caller = Some(trail.stand.root());
    trail
        .write(vec![
            call("train", user("ann"), training),
            call(
                "invoke",
                session("R", "web"),
                vec![need("sagemaker:InvokeEndpoint", &endpoint("e"))],
            ),
            call("get", session("Q", "web"), vec![need("s3:GetObject", "arn:aws:s3:::b/k")]),
            call("list", user("bob"), vec![need("s3:ListBucket", "arn:aws:s3:::b")]),
            root,
        ])
        .await;
    let text = str::to_owned;
    let role = format!("arn:aws:iam::{ACCOUNT}:role/R");
    for (attribute, expected) in [
        (Attribute::RequestId(text("get")), vec!["get"]),
        (Attribute::RequestId(text("nobody")), vec![]),
        (Attribute::EventName(text("InvokeEndpoint")), vec!["invoke"]),
        (Attribute::ReadOnly(true), vec!["list", "get", "invoke"]),
        (Attribute::ReadOnly(false), vec!["root", "train"]),
        (Attribute::UserName(text("web")), vec!["get", "invoke"]),
        (Attribute::UserName(text("ann")), vec!["train"]),
        (Attribute::UserName(text("root")), vec!["root"]),
        (Attribute::AccessKey(text("AKIABOB")), vec!["list"]),
        (Attribute::Service(text("s3")), vec!["list", "get"]),
        // What it did, and who handed it on.
        (Attribute::Resource(vec![role]), vec!["invoke", "train"]),
        (Attribute::Resource(vec![job, text("arn:aws:s3:::b")]), vec!["list", "train"]),
        (Attribute::ResourceType(vec![text("arn:aws:s3:::*")], Some(true)), vec!["get"]),
        (Attribute::ResourceType(vec![text("arn:aws:s3:::*")], Some(false)), vec!["list"]),
        (
            Attribute::ResourceType(vec![text("arn:aws:sagemaker:*:*:endpoint/*")], None),
            vec!["invoke"],
        ),
    ] {
        assert_eq!(trail.lookup(attribute.clone()), expected, "{attribute:?}");
    }
}

#[tokio::test]
async fn lookups_go_along_an_index_or_back_from_the_newest_and_sort_nothing() {
    let trail = trail().await;
    let needs = format!("({MORE_NEEDS}) AND (instr(needs, ?))");
    for (condition, index) in [
        ("request_id = ?", "access_by_request"),
        ("event_name = ?", "INTEGER PRIMARY KEY"),
        ("user_name = ?", "INTEGER PRIMARY KEY"),
        ("access_key = ?", "INTEGER PRIMARY KEY"),
        ("service = ?", "INTEGER PRIMARY KEY"),
        ("resource = ?", "access_by_resource"),
        ("identity = ?", "access_of_identity"),
        (needs.as_str(), "access_with_needs"),
    ] {
        let sql = format!("EXPLAIN QUERY PLAN {}", lookup_sql(condition));
        let plan = trail.stand.iam.read(|c| {
            let mut statement = c.prepare(&sql)?;
            let rows = statement
                .query_map(rusqlite::params!["x", 9, 0, 9, 9], |row| row.get::<_, String>(3))?;
            Ok(rows.collect::<Result<Vec<String>, _>>()?)
        });
        let plan = plan.unwrap().join("\n");
        assert!(plan.contains(index), "{condition}: {plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{condition}: {plan}");
    }
}

#[tokio::test]
async fn what_was_used_is_told_once_and_only_if_allowed() {
    let trail = trail().await;
    let invoke = || vec![need("sagemaker:InvokeEndpoint", &endpoint("e"))];
    let at = |mut record: access::Record, time: i64| {
        record.time = Timestamp(time);
        record
    };
    let job = format!("arn:aws:sagemaker:us-east-1:{ACCOUNT}:training-job/j");
    let training =
        || vec![need("sagemaker:CreateTrainingJob", &job), passed("R", "sagemaker.amazonaws.com")];
    trail
        .write(vec![
            call("1", session("R", "a"), invoke()),
            call("2", session("R", "b"), invoke()),
            call("3", session("R", "b"), training()),
            denied(call("4", session("R", "b"), vec![need("s3:GetObject", "arn:aws:s3:::b/k")])),
            call("5", session("Other", "b"), vec![need("s3:PutObject", "arn:aws:s3:::b/k")]),
            at(
                call("6", session("R", "b"), vec![need("s3:PutObject", "arn:aws:s3:::b/old")]),
                NOW.0 - 9,
            ),
            at(
                call("7", session("R", "b"), vec![need("s3:PutObject", "arn:aws:s3:::b/new")]),
                NOW.0 + 9,
            ),
        ])
        .await;
    let read = |created: i64, since: i64, until: i64| {
        let arn = format!("arn:aws:iam::{ACCOUNT}:role/R");
        let identity = Identity { arn, created: Timestamp(created) };
        let found =
            trail.stand.iam.read(|c| Ok(used(c, &identity, Timestamp(since), Timestamp(until))?));
        let show = |u: Used| (u.action, u.passed_to.is_some());
        found.unwrap().into_iter().map(show).collect::<Vec<(String, bool)>>()
    };
    let expected = [
        ("iam:PassRole".to_owned(), true),
        ("sagemaker:CreateTrainingJob".to_owned(), false),
        ("sagemaker:InvokeEndpoint".to_owned(), false),
    ];
    assert_eq!(read(0, NOW.0, NOW.0), expected);
    assert_eq!(read(0, 0, NOW.0).len(), 4, "with the old one");
    assert_eq!(read(NOW.0, 0, NOW.0), expected, "the old one was another role's");
    assert_eq!(read(0, NOW.0, NOW.0 + 9).len(), 4, "with the new one");
}

#[tokio::test]
async fn a_database_from_before_gets_the_indexes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let old = access::MIGRATIONS.scripts.split_at(1).0;
    let old = Migrations { component: access::MIGRATIONS.component, scripts: old };
    let first = Database::open(&path, &[old]).unwrap();
    first
        .write(|c| {
            c.execute(
                "INSERT INTO access_records VALUES
                 (1, 5, 'r', 'arn:aws:iam::1:user/ann', 'AKIA', '::1', 's3', 's3:GetObject', NULL,
                  1, 200, NULL, 7)",
                [],
            )
        })
        .await
        .unwrap()
        .unwrap();
    drop(first);
    let database = Database::open(&path, &[access::MIGRATIONS, MIGRATIONS]).unwrap();
    let name: Option<(String, String)> = database
        .read(|c| {
            c.query_row("SELECT event_name, user_name FROM access_records", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()
        })
        .unwrap()
        .unwrap();
    assert_eq!(name, Some(("GetObject".to_owned(), "ann".to_owned())));
}
