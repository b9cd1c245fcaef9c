use std::time::Duration;

use super::*;

async fn publish(stand: &Stand, layer: &str, body: &str) -> Value {
    let content = json!({"ZipFile": STANDARD.encode(files(&[("python/lib.py", body.as_bytes())]))});
    let input =
        json!({"LayerName": layer, "Content": content, "CompatibleRuntimes": ["python3.12"]});
    stand.good("PublishLayerVersion", input).await
}

#[tokio::test]
async fn layers_are_numbered_listed_and_kept_by_their_users() {
    let stand = stand().await;
    let first = publish(&stand, "l", "1").await;
    let arn = format!("arn:aws:lambda:us-east-1:{ACCOUNT}:layer:l");
    assert_eq!((&first["Version"], &first["LayerArn"]), (&json!(1), &json!(arn)));
    assert_eq!(first["LayerVersionArn"], json!(format!("{arn}:1")));
    publish(&stand, "l", "2").await;
    publish(&stand, "m", "3").await;
    let got = stand.good("GetLayerVersion", json!({"LayerName": "l", "VersionNumber": 1})).await;
    assert_eq!(got["Content"]["CodeSha256"], first["Content"]["CodeSha256"]);
    let by_arn = stand.good("GetLayerVersionByArn", json!({"Arn": format!("{arn}:2")})).await;
    assert_eq!(by_arn["Version"], json!(2));
    let listed = stand.good("ListLayers", json!({})).await;
    let latest: Vec<&Value> = listed["Layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["LatestMatchingVersion"]["Version"])
        .collect();
    assert_eq!(latest, [2, 1]);
    let none = stand.good("ListLayers", json!({"CompatibleRuntime": "nodejs22.x"})).await;
    assert_eq!(none["Layers"], json!([]));
    let versions = stand.good("ListLayerVersions", json!({"LayerName": "l"})).await;
    assert_eq!(versions["LayerVersions"][0]["Version"], json!(2));

    let both = json!([format!("{arn}:1"), format!("arn:aws:lambda:us-east-1:{ACCOUNT}:layer:m:1")]);
    let made = stand.create("f", json!({"Layers": both})).await;
    assert_eq!(made["Layers"][0]["Arn"], both[0]);
    stand.good("DeleteLayerVersion", json!({"LayerName": "l", "VersionNumber": 1})).await;
    stand.good("DeleteLayerVersion", json!({"LayerName": "l", "VersionNumber": 1})).await;
    stand.missing("GetLayerVersion", json!({"LayerName": "l", "VersionNumber": 1})).await;
    let row = row(&stand.lambda, "f", 0);
    let launch = stand.lambda.launch(&row);
    let read =
        |at: usize| std::fs::read_to_string(launch.layers[at].join("python/lib.py")).unwrap();
    assert_eq!((read(0), read(1)), ("1".to_owned(), "3".to_owned()));
    drop(launch);
    // It may be named again by who has it, and is gone with its last user.
    let again = json!({"FunctionName": "f", "Layers": both});
    stand.good("UpdateFunctionConfiguration", again).await;
    let before = stand.shelf().len();
    stand.good("UpdateFunctionConfiguration", json!({"FunctionName": "f", "Layers": []})).await;
    assert_eq!(stand.shelf().len(), before - 1);
    assert_eq!(publish(&stand, "l", "4").await["Version"], json!(3));
    stand.good("DeleteLayerVersion", json!({"LayerName": "l", "VersionNumber": 3})).await;
    assert_eq!(publish(&stand, "l", "5").await["Version"], json!(4), "numbers are not used again");
}

#[tokio::test]
async fn layers_are_refused_in_awss_words() {
    let stand = stand().await;
    publish(&stand, "l", "1").await;
    publish(&stand, "l", "2").await;
    let arn = format!("arn:aws:lambda:us-east-1:{ACCOUNT}:layer:l");
    let with = |layers: Value| merged(stand.create_input("f"), json!({"Layers": layers}));
    assert_eq!(
        stand.invalid("CreateFunction", with(json!(vec![arn.clone(); 6]))).await,
        "Cannot reference more than 5 layers."
    );
    assert_eq!(
        stand.invalid("CreateFunction", with(json!([format!("{arn}:9")]))).await,
        format!("Layer version {arn}:9 does not exist.")
    );
    assert_eq!(
        stand
            .invalid("CreateFunction", with(json!([format!("{arn}:1"), format!("{arn}:2")])))
            .await,
        format!(
            "Two different versions of the same layer are not allowed to be referenced in the same function. {arn}:1 and {arn}:2"
        )
    );
    let unversioned = stand.bad("CreateFunction", with(json!([arn]))).await;
    assert_eq!(unversioned.0, "ValidationException");
    // The function's own code went with the refusals; the layers' stays.
    assert_eq!(stand.shelf().len(), 2);
}

#[tokio::test]
async fn tags_are_of_functions() {
    let stand = stand().await;
    stand.create("f", json!({"Tags": {"a": "1"}, "Publish": true})).await;
    let arn = format!("{ARN}f");
    stand.good("TagResource", json!({"Resource": arn, "Tags": {"a": "2", "b": "3"}})).await;
    let tags = stand.good("ListTags", json!({"Resource": arn})).await;
    assert_eq!(tags, json!({"Tags": {"a": "2", "b": "3"}}));
    assert_eq!(stand.good("GetFunction", name("f")).await["Tags"], tags["Tags"]);
    stand.good("UntagResource", json!({"Resource": arn, "TagKeys": ["a", "none"]})).await;
    assert_eq!(stand.good("ListTags", json!({"Resource": arn})).await["Tags"], json!({"b": "3"}));
    let many: BTreeMap<String, String> =
        (0..50).map(|n| (format!("k{n}"), String::new())).collect();
    assert_eq!(
        stand.invalid("TagResource", json!({"Resource": arn, "Tags": many})).await,
        "Number of tags exceeds resource tag limit."
    );
    let own = json!({"Resource": arn, "Tags": {"aws:x": "1"}});
    stand.invalid("TagResource", own).await;
    let version = format!("{arn}:1");
    let text = stand.invalid("ListTags", json!({"Resource": version})).await;
    assert!(text.starts_with("Tags on function aliases and versions are not supported."), "{text}");
    let no = format!("{ARN}no");
    assert_eq!(
        stand.missing("ListTags", json!({"Resource": no})).await,
        format!("Function not found: {no}")
    );
}

#[tokio::test]
async fn locations_give_the_zip_for_ten_minutes() {
    let stand = stand().await;
    let zip = files(&[("index.py", b"downloaded")]);
    stand.create("f", json!({"Code": {"ZipFile": STANDARD.encode(&zip)}})).await;
    let got = stand.good("GetFunction", name("f")).await;
    let location = got["Code"]["Location"].as_str().unwrap();
    let address = location.strip_prefix("http://127.0.0.1:4566").unwrap();
    assert!(address.starts_with("/_lambda-code/f/"), "{address}");
    let fetch =
        |address: &str, now| stand.lambda.download(address, now).map_err(|e| (e.code, e.status));
    assert_eq!(std::fs::read(fetch(address, NOW).unwrap()).unwrap(), zip);
    let late = NOW.plus(Duration::from_secs(600));
    assert!(fetch(address, late).is_ok());
    let denied = Err(("AccessDenied".to_owned(), 403));
    assert_eq!(fetch(address, late.plus(Duration::from_secs(1))), denied);
    let (path, query) = address.split_once('?').unwrap();
    let longer = query.replace("Expires=1", "Expires=2");
    assert_ne!(longer, query);
    for forged in [
        path.to_owned(),
        format!("{path}?"),
        format!("{path}?{longer}"),
        format!("{}?{query}", path.replace("/f/", "/g/")),
        format!("/_lambda-code/../../state.db?{query}"),
        format!("{path}?{}", query.replace("Signature=", "Signature=zz")),
        "x".repeat(10_000),
        "/_lambda-code/f/ä?Expires=1&Signature=ä".to_owned(),
    ] {
        assert_eq!(fetch(&forged, NOW), denied, "{forged}");
    }
    stand.good("DeleteFunction", name("f")).await;
    assert_eq!(fetch(address, NOW), Err(("NoSuchKey".to_owned(), 404)));
    // A key lives as long as its process.
    stand.create("f", json!({"Code": {"ZipFile": STANDARD.encode(&zip)}})).await;
    let (again, _) = open(stand.folder.path()).await;
    assert!(again.download(address, NOW).is_err());
}
