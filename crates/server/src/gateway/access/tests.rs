use kennel_store::state::rusqlite::Connection;

use super::*;

fn record(action: &str, resource: Option<&str>, needs: Vec<(Need, bool)>) -> Record {
    Record {
        time: Timestamp(1000),
        request_id: "r".to_owned(),
        caller: Some(Caller {
            account: "123456789012".to_owned(),
            principal: Principal::Role {
                role: "Dog".to_owned(),
                id: "AROADOG".to_owned(),
                session: "notebook".to_owned(),
                role_arn: "arn:aws:iam::123456789012:role/service-role/Dog".to_owned(),
            },
            access_key: "ASIA".to_owned(),
        }),
        source: "127.0.0.1".to_owned(),
        service: "sagemaker",
        action: action.to_owned(),
        resource: resource.map(str::to_owned),
        allowed: true,
        status: 200,
        error: None,
        microseconds: 1,
        needs,
        free: false,
        reason: None,
    }
}

#[test]
fn one_need_that_is_the_action_is_not_written_twice() {
    let one = record(
        "sagemaker:ListModels",
        Some("*"),
        vec![(Need::new("sagemaker:ListModels", "*"), true)],
    );
    assert_eq!(one.needs(), None);
    let other =
        record("lambda:Invoke", Some("f"), vec![(Need::new("lambda:InvokeFunction", "f"), true)]);
    let json = r#"[{"action":"lambda:InvokeFunction","resource":"f","allowed":true}]"#;
    assert_eq!(other.needs().as_deref(), Some(json));
    let free = Record { free: true, ..record("sts:GetCallerIdentity", None, Vec::new()) };
    assert_eq!(free.needs().as_deref(), Some("[]"));
    let need = Need::new("iam:PassRole", "r").with("iam:PassedToService", vec!["s".to_owned()]);
    let passed = record("sagemaker:CreateModel", Some("m"), vec![(need, true)]);
    assert_eq!(passed.context().as_deref(), Some(r#"{"iam:PassedToService":["s"]}"#));
    let long = Need::new("a:B", "*").with("k", vec!["v".repeat(CONTEXT)]);
    assert_eq!(record("a:B", Some("*"), vec![(long, true)]).context(), None);
}

/// What the view answers of a role.
fn needs_of(c: &Connection, identity: &str) -> Vec<(String, String, bool)> {
    let sql = "SELECT DISTINCT action, resource, allowed FROM access_needs
               WHERE identity = ?1 ORDER BY record, action";
    let mut statement = c.prepare(sql).unwrap();
    let rows = statement.query_map([identity], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    rows.unwrap().map(Result::unwrap).collect()
}

#[tokio::test]
async fn what_a_role_needed_is_found_over_all_its_sessions() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(&folder.path().join("state.db"), &[MIGRATIONS]).unwrap();
    let (log, writer) = access_log(database.clone());
    let pass = (Need::new("iam:PassRole", "r"), false);
    let create = (Need::new("sagemaker:CreateModel", "m"), true);
    let mut denied = record("sagemaker:CreateModel", Some("m"), vec![create, pass]);
    (denied.allowed, denied.reason) =
        (false, Some("no identity-based policy allows it".to_owned()));
    let free = Record { free: true, ..record("sts:GetCallerIdentity", None, Vec::new()) };
    let stranger = Record { caller: None, ..record("s3:GetObject", Some("o"), Vec::new()) };
    let list = vec![(Need::new("sagemaker:ListModels", "*"), true)];
    for record in [record("sagemaker:ListModels", Some("*"), list), denied, free, stranger] {
        log.record(record).await;
    }
    let (stop, stopped) = watch::channel(true);
    writer.run(stopped).await;
    drop(stop);
    let identity = "arn:aws:iam::123456789012:role/service-role/Dog";
    let read = database.read(|c| {
        let plan: Vec<String> = c
            .prepare("EXPLAIN QUERY PLAN SELECT service, max(time) FROM access_records WHERE identity = ?1 GROUP BY service")?
            .query_map([identity], |row| row.get(3))?
            .collect::<Result<_, _>>()?;
        Ok::<_, rusqlite::Error>((needs_of(c, identity), plan))
    });
    let (needs, plan) = read.unwrap().unwrap();
    let row =
        |action: &str, resource: &str, allowed| (action.to_owned(), resource.to_owned(), allowed);
    assert_eq!(
        needs,
        [
            row("sagemaker:ListModels", "*", true),
            row("iam:PassRole", "r", false),
            row("sagemaker:CreateModel", "m", true),
        ]
    );
    assert!(plan[0].contains("COVERING INDEX access_by_identity"), "{plan:?}");
}

#[test]
fn the_newest_records_are_kept() {
    let c = Connection::open_in_memory().unwrap();
    for script in MIGRATIONS.scripts {
        c.execute_batch(script).unwrap();
    }
    let add = "INSERT INTO access_records (time, request_id, source, service, action, allowed, status, microseconds)
               VALUES (?1, 'r', '127.0.0.1', 's3', 's3:GetObject', 1, 200, 1)";
    for time in 0..10 {
        c.execute(add, [time]).unwrap();
    }
    assert_eq!(keep_newest(&c, 4).unwrap(), 6);
    let oldest: i64 =
        c.query_row("SELECT min(time) FROM access_records", [], |row| row.get(0)).unwrap();
    assert_eq!(oldest, 6);
    assert_eq!(keep_newest(&c, 4).unwrap(), 0);
}
