use super::*;
use crate::lambda::typed;

fn home() -> Home {
    Home { account: "123456789012".to_owned(), region: "us-east-1".to_owned() }
}

fn applied(input: Value) -> Result<Configuration, String> {
    let mut whole = json!({"Runtime": "python3.12", "Handler": "a.b", "Role": "r"});
    for (key, value) in input.as_object().unwrap() {
        whole[key] = value.clone();
    }
    let settings: Settings = typed(whole).unwrap();
    settings.apply(defaults("f"), "f", &home()).map_err(|e| e.message)
}

fn refused(input: Value) -> String {
    applied(input).unwrap_err()
}

#[test]
fn defaults_are_awss() {
    let made = applied(json!({})).unwrap();
    assert_eq!((made.timeout, made.memory, made.ephemeral_mb), (3, 128, 512));
    assert_eq!(made.log_group, "/aws/lambda/f");
    assert_eq!(Some(made.architecture), machine());
}

#[test]
fn limits_are_awss() {
    for (member, least, most) in [("Timeout", 1, 900), ("MemorySize", 128, 10_240)] {
        applied(json!({member: least})).unwrap();
        applied(json!({member: most})).unwrap();
        let low = refused(json!({member: least - 1}));
        assert!(
            low.ends_with(&format!("Member must have value greater than or equal to {least}")),
            "{low}"
        );
        let high = refused(json!({member: most + 1}));
        assert!(
            high.ends_with(&format!("Member must have value less than or equal to {most}")),
            "{high}"
        );
    }
    assert_eq!(
        applied(json!({"EphemeralStorage": {"Size": 10_240}})).unwrap().ephemeral_mb,
        10_240
    );
    assert!(
        refused(json!({"EphemeralStorage": {"Size": 511}})).contains("'ephemeralStorage.size'")
    );
    assert!(refused(json!({"Timeout": -1})).contains("Value '-1' at 'timeout'"));
}

#[test]
fn environments_are_checked() {
    let with = |variables: Value| json!({"Environment": {"Variables": variables}});
    let made = applied(with(json!({"ENDPOINT_NAME": "e", "a_1": ""}))).unwrap();
    assert_eq!(made.environment.0.len(), 2);
    // Values may be secrets.
    assert_eq!(format!("{:?}", made.environment), r#"{"ENDPOINT_NAME", "a_1"}"#);
    assert_eq!(
        refused(with(json!({"AWS_REGION": "x", "_HANDLER": "y", "OK": "z"}))),
        "Lambda was unable to configure your environment variables because the environment variables you have provided contains reserved keys that are currently not supported for modification. Reserved keys used in this request: AWS_REGION, _HANDLER"
    );
    for bad in ["", "a", "1ab", "a-b", "a b", "A=B"] {
        assert!(refused(with(json!({bad: "x"}))).contains("Map keys must satisfy"), "{bad}");
    }
    assert!(refused(with(json!({"ab": "x\0y"}))).contains("zero byte"));
    // {"ab":"…"} has nine bytes beside the value.
    applied(with(json!({"ab": "x".repeat(4096 - 9)}))).unwrap();
    let text = refused(with(json!({"ab": "x".repeat(4096 - 8)})));
    assert!(text.contains("exceeded the 4KB limit") && !text.contains("xxx"), "{text}");
}

#[test]
fn what_is_not_built_is_said() {
    let one = json!(["s"]);
    let cases = [
        (json!({"Runtime": "java21"}), "runtime `java21` is not run by Kennel"),
        (json!({"Runtime": "provided"}), "runtime `provided` is not run by Kennel"),
        (json!({"VpcConfig": {"SubnetIds": one}}), "VpcConfig is not implemented"),
        (json!({"VpcConfig": {"SecurityGroupIds": one}}), "VpcConfig is not implemented"),
        (json!({"TracingConfig": {"Mode": "Active"}}), "active tracing is not implemented"),
        (json!({"SnapStart": {"ApplyOn": "PublishedVersions"}}), "SnapStart is not implemented"),
        (json!({"FileSystemConfigs": [{}]}), "FileSystemConfigs is not implemented"),
        (json!({"KMSKeyArn": "k"}), "KMSKeyArn is not implemented"),
        (json!({"LoggingConfig": {"LogFormat": "JSON"}}), "LogFormat `JSON`"),
        (json!({"CodeSigningConfigArn": "c"}), "code signing is not implemented"),
        (
            json!({"DeadLetterConfig": {"TargetArn": "arn:aws:sns:us-east-1:123456789012:t"}}),
            "`sns` as a target",
        ),
    ];
    for (input, text) in cases {
        let said = refused(input.clone());
        assert!(said.contains(text) && said.contains("\nhint: "), "{input}: {said}");
    }
    // What says nothing is nothing.
    let empty = json!({
        "VpcConfig": {"SubnetIds": [], "SecurityGroupIds": []},
        "TracingConfig": {"Mode": "PassThrough"},
        "SnapStart": {"ApplyOn": "None"},
        "FileSystemConfigs": [],
        "KMSKeyArn": "",
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": "own"},
        "DeadLetterConfig": {"TargetArn": ""},
    });
    let made = applied(empty).unwrap();
    assert_eq!((made.log_group.as_str(), made.dead_letter), ("own", None));
}

#[test]
fn queues_are_of_this_account() {
    let arn = "arn:aws:sqs:us-east-1:123456789012:failed";
    let made = applied(json!({"DeadLetterConfig": {"TargetArn": arn}})).unwrap();
    assert_eq!(made.dead_letter.as_deref(), Some(arn));
    for bad in [
        "arn:aws:sqs:us-east-1:999999999999:failed",
        "arn:aws:sqs:eu-west-1:123456789012:failed",
        "arn:aws:sqs:us-east-1:123456789012:../failed",
        "arn:aws:sqs:us-east-1:123456789012:",
        "arn:aws:dynamodb:us-east-1:123456789012:table",
        "failed",
    ] {
        let said = refused(json!({"DeadLetterConfig": {"TargetArn": bad}}));
        assert!(said.starts_with(&format!("The provided target ARN {bad} is invalid.")), "{said}");
    }
}

#[test]
fn runtime_and_handler_are_mandatory() {
    let settings: Settings = typed(json!({"Role": "r", "Runtime": "python3.12"})).unwrap();
    let error = settings.apply(defaults("f"), "f", &home()).unwrap_err();
    assert_eq!(
        error.message,
        "Runtime and Handler are mandatory parameters for functions created with deployment packages."
    );
}

#[test]
fn programs_of_another_machine_are_refused_with_both_named() {
    let (own, other) = match machine().unwrap() {
        Architecture::X86 => (Architecture::X86, Architecture::Arm),
        Architecture::Arm => (Architecture::Arm, Architecture::X86),
    };
    let of = |runtime: &str, architecture| Configuration {
        runtime: runtime.to_owned(),
        architecture,
        ..defaults("f")
    };
    let provided = of("provided.al2023", own);
    for fine in [Program::Missing, Program::NotExecutable, Program::Any, Program::For(own)] {
        check_program(&provided, fine).unwrap();
    }
    let text = check_program(&provided, Program::For(other)).unwrap_err().message;
    assert!(text.contains(&format!("compiled for {}", other.name())), "{text}");
    assert!(text.contains(&format!("architecture is {}", own.name())), "{text}");
    assert!(text.contains(&format!("this machine is {}", std::env::consts::ARCH)), "{text}");
    // What the function states must fit too, and so must this machine.
    check_program(&of("provided.al2023", other), Program::For(own)).unwrap_err();
    check_program(&of("provided.al2023", other), Program::For(other)).unwrap_err();
    check_program(&provided, Program::Foreign(3)).unwrap_err();
    check_program(&of("python3.12", own), Program::For(other)).unwrap();
}

#[test]
fn times_and_digests_are_spelled_as_aws_does() {
    assert_eq!(last_modified(Timestamp(1_795_255_200_123)), "2026-11-21T10:00:00.123+0000");
    assert_eq!(code_sha256(&"00ff".repeat(16)), STANDARD.encode([0x00, 0xff].repeat(16)));
}
