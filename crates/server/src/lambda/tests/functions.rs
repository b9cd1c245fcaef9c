use super::*;
use crate::lambda::package::tests::{Entry, zip_of};

#[tokio::test]
async fn a_function_is_made_read_listed_and_deleted() {
    let stand = stand().await;
    let zip = files(&[("index.py", b"1")]);
    let made = stand
        .create("f", json!({"Code": {"ZipFile": STANDARD.encode(&zip)}, "Environment": {"Variables": {"A_B": "c"}}}))
        .await;
    assert_eq!(made["FunctionArn"], json!(format!("{ARN}f")));
    assert_eq!(made["Version"], json!("$LATEST"));
    assert_eq!(made["CodeSize"], json!(zip.len()));
    use sha2::Digest as _;
    assert_eq!(made["CodeSha256"], json!(STANDARD.encode(sha2::Sha256::digest(&zip))));
    assert_eq!(
        (&made["State"], &made["LastUpdateStatus"]),
        (&json!("Active"), &json!("Successful"))
    );
    assert_eq!((&made["Timeout"], &made["MemorySize"]), (&json!(3), &json!(128)));
    assert_eq!(made["LastModified"], json!("2026-11-21T08:00:00.000+0000"));
    assert_eq!(made["Environment"], json!({"Variables": {"A_B": "c"}}));
    assert_eq!(made["LoggingConfig"], json!({"LogFormat": "Text", "LogGroup": "/aws/lambda/f"}));

    let got = stand.good("GetFunction", name("f")).await;
    assert_eq!(got["Configuration"], made);
    assert_eq!(got.get("Tags"), None);
    assert_eq!(stand.good("GetFunctionConfiguration", name(&format!("{ARN}f"))).await, made);
    let latest = stand.good("GetFunctionConfiguration", name("f:$LATEST")).await;
    assert_eq!(latest["FunctionArn"], json!(format!("{ARN}f:$LATEST")));

    let listed = stand.good("ListFunctions", json!({})).await;
    assert_eq!(listed["Functions"][0]["FunctionArn"], json!(format!("{ARN}f")));
    assert_eq!(listed["Functions"][0].get("State"), None, "as on AWS, lists have no state");

    assert_eq!(stand.good("DeleteFunction", name("f")).await, json!({"StatusCode": 204}));
    let gone = format!("Function not found: {ARN}f");
    assert_eq!(stand.missing("GetFunction", name("f")).await, gone);
    assert_eq!(stand.missing("DeleteFunction", name("f")).await, gone);
    assert!(stand.shelf().is_empty(), "code that nothing refers to is deleted");
}

#[tokio::test]
async fn names_in_use_and_names_that_are_none() {
    let stand = stand().await;
    stand.create("f", json!({})).await;
    let text = stand.conflict("CreateFunction", stand.create_input("f")).await;
    assert_eq!(text, "Function already exist: f");
    // Two at once: one of them is told, and both zips are the same code.
    let (a, b) = tokio::join!(
        stand.call("CreateFunction", stand.create_input("g")),
        stand.call("CreateFunction", stand.create_input("g")),
    );
    assert_eq!([a.is_ok(), b.is_ok()].iter().filter(|ok| **ok).count(), 1);
    assert_eq!(stand.shelf().len(), 1);
    for bad in ["../f", "a b", &"x".repeat(65)] {
        let (code, ..) = stand.bad("CreateFunction", stand.create_input(bad)).await;
        assert_eq!(code, "ValidationException", "{bad}");
    }
    let text = stand.invalid("CreateFunction", stand.create_input("f:prod")).await;
    assert!(text.starts_with("This operation is permitted on Lambda functions only."), "{text}");
    let asked = stand.missing("GetFunction", json!({"FunctionName": "no", "Qualifier": "7"})).await;
    assert_eq!(asked, format!("Function not found: {ARN}no:7"));
}

#[tokio::test]
async fn code_is_refused_in_awss_words_and_leaves_nothing() {
    let stand = stand().await;
    let with = |code: Value| merged(stand.create_input("f"), json!({"Code": code}));
    assert_eq!(
        stand.invalid("CreateFunction", with(json!({}))).await,
        "Please provide a source for function code."
    );
    assert_eq!(
        stand
            .invalid("CreateFunction", with(json!({"ZipFile": python("1"), "S3Bucket": "b"})))
            .await,
        "Please do not provide other FunctionCode parameters when providing a ZipFile."
    );
    assert_eq!(
        stand.invalid("CreateFunction", with(json!({"ZipFile": ""}))).await,
        "Uploaded file must be a non-empty zip"
    );
    for bad in [STANDARD.encode("no zip"), "?".to_owned()] {
        let text = stand.invalid("CreateFunction", with(json!({"ZipFile": bad}))).await;
        assert!(text.starts_with(
            "Could not unzip uploaded file. Please check your file, then try to upload again."
        ));
    }
    let large = STANDARD.encode(vec![0u8; 52_428_801]);
    let (code, status, _) = stand.bad("CreateFunction", with(json!({"ZipFile": large}))).await;
    assert_eq!((code.as_str(), status), ("RequestEntityTooLargeException", 413));
    let bomb = STANDARD.encode(files(&[("zeros", &vec![0u8; 262_144_000])]));
    assert_eq!(
        stand.invalid("CreateFunction", with(json!({"ZipFile": bomb}))).await,
        "Unzipped size must be smaller than 262144000 bytes"
    );
    let image = with(json!({"ImageUri": "123456789012.dkr.ecr.us-east-1.amazonaws.com/f:1"}));
    let text =
        stand.invalid("CreateFunction", merged(image, json!({"PackageType": "Image"}))).await;
    assert!(text.starts_with("container images are not run by Kennel\nhint: "), "{text}");
    assert!(stand.shelf().is_empty());
    stand.missing("GetFunction", name("f")).await;
}

#[tokio::test]
async fn code_comes_from_a_bucket() {
    let stand = stand().await;
    let objects = &stand.lambda.inner.objects;
    objects.create_bucket("b", "us-east-1", 1).await.unwrap();
    let zip = files(&[("index.py", b"from a bucket")]);
    let body = kennel_store::objects::body_of(zip.clone());
    objects.put("b", "code.zip", body, Default::default()).await.unwrap();
    let code = json!({"S3Bucket": "b", "S3Key": "code.zip"});
    let made = stand.create("f", json!({"Code": code})).await;
    assert_eq!(made["CodeSize"], json!(zip.len()));
    let aside: Vec<String> = stand.shelf();
    assert_eq!(aside.len(), 1, "{aside:?}");
    for (code, what) in [
        (json!({"S3Bucket": "b", "S3Key": "no"}), "NoSuchKey"),
        (json!({"S3Bucket": "no", "S3Key": "no"}), "NoSuchBucket"),
        (json!({"S3Bucket": "b", "S3Key": "code.zip", "S3ObjectVersion": "v"}), "NoSuchVersion"),
    ] {
        let input = merged(stand.create_input("g"), json!({"Code": code}));
        let text = stand.invalid("CreateFunction", input).await;
        let aws =
            format!("Error occurred while GetObject. S3 Error Code: {what}. S3 Error Message: ");
        assert!(text.starts_with(&aws), "{text}");
    }
    assert_eq!(stand.shelf().len(), 1);
}

#[tokio::test]
async fn the_role_must_trust_lambda() {
    let stand = stand().await;
    let role = format!("arn:aws:iam::{ACCOUNT}:role/nobody");
    let input = merged(stand.create_input("f"), json!({"Role": role}));
    assert_eq!(
        stand.invalid("CreateFunction", input).await,
        "The role defined for the function cannot be assumed by Lambda."
    );
    stand.create("f", json!({})).await;
    let change = json!({"FunctionName": "f", "Role": role});
    stand.invalid("UpdateFunctionConfiguration", change).await;
}

#[tokio::test]
async fn bootstraps_of_another_machine_are_refused() {
    let stand = stand().await;
    let mut elf = b"\x7fELF\x02\x01".to_vec();
    elf.extend([0; 12]);
    elf.extend(if cfg!(target_arch = "aarch64") { [62, 0] } else { [183, 0] });
    let zip = |mode| STANDARD.encode(zip_of(&[Entry::File("bootstrap", mode, &elf)]));
    let with = |code: String| {
        let more = json!({"Runtime": "provided.al2023", "Code": {"ZipFile": code}});
        merged(stand.create_input("f"), more)
    };
    let text = stand.invalid("CreateFunction", with(zip(0o755))).await;
    assert!(text.starts_with("`bootstrap` is compiled for "), "{text}");
    assert!(stand.shelf().is_empty());
    // Neither a missing nor a plain file is: they fail when they are run, as on AWS.
    stand.good("CreateFunction", with(zip(0o644))).await;
    stand.create("g", json!({"Runtime": "provided.al2023"})).await;
    let bootstrap = |function: &str| {
        stand.lambda.inner.shelf.bootstrap(&row(&stand.lambda, function, 0).code.sha256)
    };
    assert_eq!(bootstrap("f"), package::Program::NotExecutable);
    assert_eq!(bootstrap("g"), package::Program::Missing);
    let change = json!({"FunctionName": "f", "ZipFile": zip(0o755)});
    stand.invalid("UpdateFunctionCode", change).await;
}

#[tokio::test]
async fn updates_change_the_revision_and_keep_what_they_do_not_name() {
    let stand = stand().await;
    let made = stand.create("f", json!({"Description": "first"})).await;
    let code = json!({"FunctionName": "f", "ZipFile": python("2")});
    let updated = stand.good("UpdateFunctionCode", code.clone()).await;
    assert_ne!(updated["CodeSha256"], made["CodeSha256"]);
    assert_ne!(updated["RevisionId"], made["RevisionId"]);
    assert_eq!(updated["Description"], json!("first"));
    assert_eq!(stand.shelf().len(), 1, "the old code is gone");

    let stale = merged(code.clone(), json!({"RevisionId": made["RevisionId"]}));
    let (error, status, text) = stand.bad("UpdateFunctionCode", stale).await;
    assert_eq!((error.as_str(), status), ("PreconditionFailedException", 412));
    assert_eq!(
        text,
        "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
    );
    let dry = json!({"FunctionName": "f", "ZipFile": python("3"), "DryRun": true});
    let would = stand.good("UpdateFunctionCode", dry).await;
    assert_ne!(would["CodeSha256"], updated["CodeSha256"]);
    let now = stand.good("GetFunctionConfiguration", name("f")).await;
    assert_eq!(now, updated, "a dry run changes nothing");
    assert_eq!(stand.shelf().len(), 1);

    let change = json!({
        "FunctionName": "f", "Timeout": 15, "MemorySize": 256, "Handler": "other.main",
        "Environment": {"Variables": {"A_B": "c"}}, "RevisionId": now["RevisionId"],
        "DeadLetterConfig": {"TargetArn": format!("arn:aws:sqs:us-east-1:{ACCOUNT}:failed")},
    });
    let changed = stand.good("UpdateFunctionConfiguration", change.clone()).await;
    assert_eq!((&changed["Timeout"], &changed["MemorySize"]), (&json!(15), &json!(256)));
    assert_eq!(changed["Handler"], json!("other.main"));
    assert_eq!(changed["Description"], json!("first"));
    assert_eq!(changed["CodeSha256"], updated["CodeSha256"]);
    let (error, ..) = stand.bad("UpdateFunctionConfiguration", change).await;
    assert_eq!(error, "PreconditionFailedException");
    let bad = json!({"FunctionName": "f", "Timeout": 901});
    let (error, _, text) = stand.bad("UpdateFunctionConfiguration", bad).await;
    assert_eq!(error, "ValidationException");
    assert_eq!(
        text,
        "1 validation error detected: Value '901' at 'timeout' failed to satisfy constraint: Member must have value less than or equal to 900"
    );
    assert_eq!(stand.good("GetFunctionConfiguration", name("f")).await, changed);
    let cleared =
        json!({"FunctionName": "f", "Environment": {}, "DeadLetterConfig": {"TargetArn": ""}});
    let cleared = stand.good("UpdateFunctionConfiguration", cleared).await;
    assert_eq!((cleared.get("Environment"), cleared.get("DeadLetterConfig")), (None, None));
}

#[tokio::test]
async fn lists_come_in_pages_and_with_all_versions() {
    let stand = stand().await;
    for function in ["a", "b", "c"] {
        stand.create(function, json!({"Publish": function == "b"})).await;
    }
    let mut seen = Vec::new();
    let mut input = json!({"MaxItems": 2});
    loop {
        let listed = stand.good("ListFunctions", input.clone()).await;
        for row in listed["Functions"].as_array().unwrap() {
            seen.push(row["FunctionName"].as_str().unwrap().to_owned());
        }
        match listed.get("NextMarker") {
            Some(marker) => input["Marker"] = marker.clone(),
            None => break,
        }
    }
    assert_eq!(seen, ["a", "b", "c"]);
    let all = stand.good("ListFunctions", json!({"FunctionVersion": "ALL"})).await;
    let arns: Vec<&str> = all["Functions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["FunctionArn"].as_str().unwrap().strip_prefix(ARN).unwrap())
        .collect();
    assert_eq!(arns, ["a:$LATEST", "b:$LATEST", "b:1", "c:$LATEST"]);
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let stand = stand().await;
    let made = stand.create("f", json!({"Tags": {"k": "v"}, "Publish": true})).await;
    assert_eq!(made["Version"], json!("1"));
    let (again, _) = open(stand.folder.path()).await;
    let got = again.call(&context_at(NOW), "GetFunction", name("f")).await.unwrap();
    assert_eq!(got["Tags"], json!({"k": "v"}));
    let row = row(&again, "f", 1);
    assert!(again.launch(&row).code.join("index.py").is_file());
}

#[tokio::test]
async fn unknown_operations_are_not_built() {
    let stand = stand().await;
    let error = stand.call("CreateEventSourceMapping", json!({})).await.unwrap_err();
    assert_eq!(error.code, "NotImplementedException");
}
