use super::*;

fn env_of(known: &'static [(&'static str, &'static str)]) -> impl Fn(&str) -> Option<String> {
    move |name| known.iter().find(|k| k.0 == name).map(|k| k.1.to_owned())
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let server = r#"{"pid":7,"address":"127.0.0.1:4566","url":"http://127.0.0.1:4566/","region":"eu-central-1","account":"123456789012"}"#;
    std::fs::write(folder.path().join(SERVER_FILE), server).unwrap();
    let root =
        r#"{"access_key_id":"AKIAROOT","secret_access_key":"s3cret","account":"123456789012"}"#;
    std::fs::write(folder.path().join(ROOT_CREDENTIALS_FILE), root).unwrap();
    folder
}

const ENV: &[(&str, &str)] = &[
    ("AWS_ENDPOINT_URL", "http://localhost:9"),
    ("AWS_ACCESS_KEY_ID", "ASIA"),
    ("AWS_SECRET_ACCESS_KEY", "x"),
    ("AWS_SESSION_TOKEN", "t"),
    ("AWS_REGION", "us-west-1"),
];

#[test]
fn files_are_read_and_flags_beat_the_environment() {
    let folder = folder();
    let arguments =
        TargetArguments { data_dir: Some(folder.path().to_owned()), ..TargetArguments::default() };
    let target = arguments.resolve_with(&env_of(ENV)).unwrap();
    assert_eq!(target.endpoint.as_deref(), Some("http://127.0.0.1:4566"));
    assert_eq!(target.region, "eu-central-1");
    assert_eq!(target.credentials.access_key_id, "AKIAROOT");
    assert_eq!(target.account.as_deref(), Some("123456789012"));
    assert!(!format!("{target:?}").contains("s3cret"));
}

#[test]
fn the_environment_needs_endpoint_and_keys() {
    let target = TargetArguments::default().resolve_with(&env_of(ENV)).unwrap();
    assert_eq!(target.endpoint.as_deref(), Some("http://localhost:9"));
    assert_eq!(target.region, "us-west-1");
    assert_eq!(target.credentials.session_token.as_deref(), Some("t"));
    let bad = env_of(&[
        ("AWS_ENDPOINT_URL", "localhost"),
        ("AWS_ACCESS_KEY_ID", "a"),
        ("AWS_SECRET_ACCESS_KEY", "b"),
    ]);
    assert!(matches!(TargetArguments::default().resolve_with(&bad), Err(ClientError::Usage(_))));
}

#[test]
fn a_folder_without_a_server_says_how_to_start_one() {
    let empty = tempfile::tempdir().unwrap();
    let arguments =
        TargetArguments { data_dir: Some(empty.path().to_owned()), ..TargetArguments::default() };
    let error = arguments.resolve_with(&env_of(&[])).unwrap_err();
    assert!(error.to_string().contains("hint: start it with `kennel up`"), "{error}");
}

#[test]
fn real_aws_has_no_endpoint() {
    let arguments = TargetArguments { aws: true, ..TargetArguments::default() };
    let target = arguments.resolve_with(&env_of(&ENV[1..])).unwrap();
    assert_eq!(target.endpoint, None);
    assert_eq!(target.region, "us-west-1");
}

#[test]
fn keys_of_the_platform_are_not_shown_to_aws() {
    let arguments = TargetArguments { aws: true, ..TargetArguments::default() };
    let error = arguments.resolve_with(&env_of(ENV)).unwrap_err();
    assert!(error.to_string().contains("AWS_ENDPOINT_URL"), "{error}");
}
