use proptest::prelude::*;
use quick_xml::Reader;
use quick_xml::events::Event;
use serde_json::json;

use super::*;

fn call(service: &str, name: &str, form: &str) -> Result<Value, ServiceError> {
    let model = ServiceModel::by_name(service).unwrap();
    decode(model, model.operation(name).unwrap(), &fields(form.as_bytes()))
}

#[test]
fn fields_become_typed_members() {
    let form = "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fr\
                &RoleSessionName=me&DurationSeconds=900&Tags.member.2.Key=b&Tags.member.2.Value=2\
                &Tags.member.10.Key=c&Tags.member.10.Value=&Tags.member.1.Key=a&Tags.member.1.Value=1\
                &TransitiveTagKeys=";
    assert_eq!(
        call("sts", "AssumeRole", form).unwrap(),
        json!({
            "RoleArn": "arn:aws:iam::123456789012:role/r", "RoleSessionName": "me",
            "DurationSeconds": 900, "TransitiveTagKeys": [],
            "Tags": [
                {"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}, {"Key": "c", "Value": ""},
            ],
        })
    );
    let form = "Namespace=n&MetricName=m&Period=60&StartTime=2026-11-21T12%3A00%3A00Z&EndTime=1795262460\
                &Statistics.member.1=Average&Dimensions.member.1.Name=a&Dimensions.member.1.Value=b";
    assert_eq!(
        call("monitoring", "GetMetricStatistics", form).unwrap(),
        json!({
            "Namespace": "n", "MetricName": "m", "Period": 60, "Statistics": ["Average"],
            "StartTime": 1_795_262_400.0, "EndTime": 1_795_262_460.0,
            "Dimensions": [{"Name": "a", "Value": "b"}],
        })
    );
}

#[test]
fn broken_fields_are_refused() {
    let cases = [
        ("GetRole", "RoleName=r%20x", "ValidationError"),
        ("GetRole", "", "ValidationError"),
        ("GetRole", "RoleName=r&Foo=1", "ValidationError"),
        ("GetRole", "RoleName.x=r", "MalformedInput"),
        ("GetRole", "RoleName=r&RoleName=s", "MalformedInput"),
        ("ListRoles", "MaxItems=many", "MalformedInput"),
        ("ListRoles", "MaxItems=0", "ValidationError"),
        ("TagRole", "RoleName=r&Tags=x", "MalformedInput"),
        ("TagRole", "RoleName=r&Tags.1.Key=x", "MalformedInput"),
        ("TagRole", "RoleName=r&Tags.member.0.Key=x", "MalformedInput"),
        ("TagRole", "RoleName=r&Tags.member.01.Key=x", "MalformedInput"),
        ("TagRole", "RoleName=r&Tags.member.1=x", "MalformedInput"),
    ];
    for (name, form, code) in cases {
        let error = call("iam", name, form).unwrap_err();
        assert_eq!((error.code.as_str(), error.status), (code, 400), "{form}: {error}");
    }
    let deep = format!("RoleName{}=x", ".a".repeat(100_000));
    assert_eq!(call("iam", "GetRole", &deep).unwrap_err().code, "MalformedInput");
    let many: String = (1..=10_001).map(|n| format!("A.{n}=x&")).collect();
    assert_eq!(call("iam", "GetRole", &many).unwrap_err().code, "MalformedInput");
}

#[test]
fn the_action_and_version_must_be_the_services() {
    let model = ServiceModel::by_name("iam").unwrap();
    let code =
        |form: &str| operation(model, &fields(form.as_bytes())).map_err(|e| (e.code, e.message));
    assert_eq!(code("Action=GetRole&Version=2010-05-08").unwrap().name, "GetRole");
    assert_eq!(code("Version=2010-05-08").unwrap_err().0, "MissingAction");
    assert_eq!(code("Action=GetGroup&Version=2010-05-08").unwrap_err().0, "NotImplemented");
    for form in ["Action=GetDog&Version=2010-05-08", "Action=GetDog&Version=2011-06-15"] {
        let (code, message) = code(form).unwrap_err();
        assert_eq!(code, "InvalidAction");
        assert!(
            message.starts_with("Could not find operation GetDog for version 201"),
            "{message}"
        );
    }
}

#[test]
fn answers_are_awss_documents() {
    let model = ServiceModel::by_name("iam").unwrap();
    let output = json!({
        "Roles": [{
            "Path": "/", "RoleName": "r", "RoleId": "AROA1", "Arn": "arn:aws:iam::1:role/r",
            "CreateDate": 1_795_262_400.0, "AssumeRolePolicyDocument": "%7B<&>%7D",
            "Description": null, "MaxSessionDuration": 3600,
            "RoleLastUsed": { "LastUsedDate": 1_795_262_400.5, "Region": "us-east-1" },
            "Tags": [{ "Key": "a", "Value": "1" }, { "Key": "b", "Value": "" }], "Odd": 1,
        }],
        "IsTruncated": false,
    });
    insta::assert_snapshot!(encode(model, model.operation("ListRoles").unwrap(), &output, "id-1"));
    let empty = model.operation("DeleteRole").unwrap();
    insta::assert_snapshot!(encode(model, empty, &json!({}), "id-1"));
    let refused = ServiceError::new("NoSuchEntityException", 404, "no role `<x>`");
    let out = error(Some(model), &refused, "id-1");
    assert_eq!(out.status, 404);
    insta::assert_snapshot!(String::from_utf8(out.body).unwrap());
    let denied = error(Some(model), &ServiceError::access_denied("no"), "id-1");
    assert!(String::from_utf8(denied.body).unwrap().contains("<Code>AccessDenied</Code>"));
}

/// A model with what the embedded ones do not use: flattened lists and maps, names on the wire.
fn flat() -> ServiceModel {
    crate::model::tests_parse(
        r#"{
        "service": "flat", "version": "1", "protocols": ["query"], "signingName": "flat",
        "queryCompatible": false, "names": ["Do"],
        "operations": {"Do": {"method": "POST", "uri": "/", "input": "In", "output": "In"}},
        "shapes": {
            "In": {"type": "structure", "members": {
                "List": "Flat", "Named": "Named", "Map": "FlatMap", "Table": "Map",
                "Text": {"shape": "Text", "locationName": "text"},
                "At": {"shape": "At", "timestampFormat": "unixTimestamp"}
            }},
            "Flat": {"type": "list", "flattened": true, "member": "Text"},
            "Named": {"type": "list", "member": {"shape": "Text", "locationName": "item"}},
            "FlatMap": {"type": "map", "flattened": true, "key": "Text", "value": "Text"},
            "Map": {"type": "map", "key": {"shape": "Text", "locationName": "K"}, "value": "Text"},
            "Text": {"type": "string"}, "At": {"type": "timestamp"}
        }}"#,
    )
}

#[test]
fn flattened_and_renamed_parts() {
    let model = flat();
    let operation = model.operation("Do").unwrap();
    let form = "List.2=b&List.1=a&Named.item.1=c&Map.1.key=k&Map.1.value=v\
                &Table.entry.1.K=x&Table.entry.1.value=y&text=t&At=1";
    let input = decode(&model, operation, &fields(form.as_bytes())).unwrap();
    assert_eq!(
        input,
        json!({
            "At": 1.0, "List": ["a", "b"], "Map": {"k": "v"}, "Named": ["c"], "Table": {"x": "y"},
            "Text": "t",
        })
    );
    insta::assert_snapshot!(encode(&model, operation, &input, "id-1"));
}

/// The text of the first element of that name, as a parser reads it.
fn read_element(document: &str, name: &str) -> String {
    let mut reader = Reader::from_str(document);
    let (mut inside, mut out) = (false, String::new());
    loop {
        match reader.read_event().unwrap() {
            Event::Start(start) if start.name().as_ref() == name.as_bytes() => inside = true,
            Event::End(end) if end.name().as_ref() == name.as_bytes() => return out,
            Event::Text(text) if inside => out.push_str(&text.decode().unwrap()),
            Event::GeneralRef(entity) if inside => {
                let entity = format!("&{};", entity.decode().unwrap());
                out.push_str(&quick_xml::escape::unescape(&entity).unwrap());
            }
            Event::Eof => return out,
            _ => {}
        }
    }
}

proptest! {
    #[test]
    fn no_fields_panic(
        fields in proptest::collection::vec(
            ("(Tags|Path|RoleName|member|entry|[0-9]{0,3}|.{0,3})([.](member|[0-9]{0,3}|Key|.{0,3})){0,4}", ".{0,20}"),
            0..12,
        ),
    ) {
        for (service, name) in [("iam", "CreateRole"), ("monitoring", "PutMetricData")] {
            let model = ServiceModel::by_name(service).unwrap();
            let _ = decode(model, model.operation(name).unwrap(), &fields);
            let _ = operation(model, &fields);
        }
    }

    #[test]
    fn text_survives_xml(text in any::<String>()) {
        let model = ServiceModel::by_name("iam").unwrap();
        let output = json!({ "Role": { "Description": text } });
        let document = encode(model, model.operation("GetRole").unwrap(), &output, "id");
        let expected: String = text
            .chars()
            .map(|c| match c {
                '\t' | '\n' | '\r' => c,
                '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
                _ => c,
            })
            .collect();
        prop_assert_eq!(read_element(&document, "Description"), expected);
    }

    #[test]
    fn timestamps_survive_xml(millis in -62_135_596_800_000_i64..253_402_300_799_000) {
        let seconds = millis as f64 / 1000.0;
        let read = time::parse(&time::iso(seconds).unwrap()).unwrap();
        prop_assert!((read.as_f64().unwrap() - seconds).abs() < 0.001);
    }
}
