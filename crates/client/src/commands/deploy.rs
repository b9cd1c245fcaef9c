//! `kennel deploy`: from a model.tar.gz to an endpoint in service, in one command.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::cost::IDLE_TAG;
use super::{as_name, default_bucket, endpoint, image, role_arn};
use crate::client::{Client, Service};
use crate::clock;
use crate::error::ClientError;
use crate::output::{byte_bar, line, note, text};
use crate::s3::Location;
use crate::target::TargetArguments;

/// The SDK's name for an only variant.
const VARIANT: &str = "AllTraffic";
/// SageMaker's limit on names.
const MAX_NAME: usize = 63;

/// Arguments of `kennel deploy`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    target: TargetArguments,
    /// model.tar.gz, or where it is in S3
    model: String,
    /// Name of the endpoint [default: from the file and the time]
    #[arg(long)]
    name: Option<String>,
    /// Instance type
    #[arg(long, default_value = "ml.m5.large", value_name = "TYPE")]
    instance_type: String,
    /// Instances
    #[arg(long, default_value_t = 1, value_name = "N")]
    count: u32,
    /// Serving image; image-classification is Kennel's own
    #[arg(long, default_value = "image-classification")]
    image: String,
    /// Execution role, name or ARN [default: the platform's]
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// Put the model behind an endpoint that exists, without an interruption
    #[arg(long, requires = "name")]
    update: bool,
    /// Stop its instances after so long without a request (30m, 2h); the next request starts them again.
    /// 0 takes that back
    #[arg(long, value_name = "TIME", value_parser = super::cost::seconds)]
    idle_timeout: Option<f64>,
    /// Do not wait until it serves
    #[arg(long)]
    no_wait: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), ClientError> {
    let client = Client::new(arguments.target.resolve()?);
    deploy(&client, arguments)
}

fn deploy(client: &Client, arguments: &Arguments) -> Result<(), ClientError> {
    let stamp = clock::stamp();
    let name = arguments.name.clone().unwrap_or_else(|| generated(&arguments.model, &stamp));
    let image = image(client, &arguments.image)?;
    let role = role_arn(client, arguments.role.as_deref())?;
    let artifact = artifact(client, &arguments.model, &name, &stamp)?;
    // Model and configuration cannot be changed later, so each deployment has its own.
    let part = format!("{}-{stamp}", as_name(&name, MAX_NAME - 1 - stamp.len()));
    let call = |operation: &str, body| client.json(Service::SageMaker, operation, &body);
    call(
        "CreateModel",
        json!({
            "ModelName": part,
            "ExecutionRoleArn": role,
            "PrimaryContainer": {"Image": image, "ModelDataUrl": artifact},
        }),
    )?;
    let configured = call(
        "CreateEndpointConfig",
        json!({
            "EndpointConfigName": part,
            "ProductionVariants": [{
                "VariantName": VARIANT,
                "ModelName": part,
                "InitialInstanceCount": arguments.count,
                "InstanceType": arguments.instance_type,
                "InitialVariantWeight": 1,
            }],
        }),
    );
    let operation = if arguments.update { "UpdateEndpoint" } else { "CreateEndpoint" };
    let mut body = json!({"EndpointName": name, "EndpointConfigName": part});
    let idle = idle_tag(arguments.idle_timeout)?;
    if let (Some(tag), false) = (&idle, arguments.update) {
        body["Tags"] = json!([tag]);
    }
    let created = configured.and_then(|_| call(operation, body));
    if let Err(error) = created {
        // The first error is the one to tell; what was made for nothing goes.
        let _ = call("DeleteEndpointConfig", json!({"EndpointConfigName": part}));
        let _ = call("DeleteModel", json!({"ModelName": part}));
        return Err(error);
    }
    if let (Some(tag), true) = (&idle, arguments.update) {
        // An update takes no tags.
        let arn = text(&endpoint::describe(client, &name)?, "EndpointArn");
        call("AddTags", json!({"ResourceArn": arn, "Tags": [tag]}))?;
    }
    if idle.is_some() && client.target().endpoint.is_none() {
        note("note: nothing at AWS reads this tag: an idle endpoint there goes on and is billed");
    }
    if !arguments.no_wait {
        // An update that failed leaves the old configuration in service.
        endpoint::wait(client, &name, arguments.update.then_some(part.as_str()))?;
    }
    let target = client.target();
    if arguments.json {
        crate::output::json(&json!({
            "endpoint": name, "model": part, "endpoint_config": part, "model_data": artifact,
            "image": image, "region": target.region,
        }));
        return Ok(());
    }
    line(&name);
    let flags = match &target.endpoint {
        None => format!(" --aws --region {}", target.region),
        Some(_) => String::new(),
    };
    note(format!("ask it with `kennel invoke {name} photo.jpg{flags}`"));
    Ok(())
}

/// The tag by which the platform stops an endpoint that nobody asks: whole seconds, 0 for never.
fn idle_tag(timeout: Option<f64>) -> Result<Option<Value>, ClientError> {
    let Some(seconds) = timeout else { return Ok(None) };
    let whole = seconds.ceil();
    if whole > 0.0 && whole < 10.0 {
        return Err(ClientError::Usage(format!(
            "`--idle-timeout` of {whole} s would stop an endpoint between two requests\nhint: it must be 0 or at least 10s"
        )));
    }
    Ok(Some(json!({"Key": IDLE_TAG, "Value": format!("{whole:.0}")})))
}

/// `runs/dogs/model.tar.gz` is named after its folder, other files after themselves.
fn generated(model: &str, stamp: &str) -> String {
    let path = PathBuf::from(model.strip_prefix("s3://").unwrap_or(model));
    let name = |p: &std::path::Path| p.file_name().map(|n| n.to_string_lossy().into_owned());
    let file = name(&path).unwrap_or_default();
    let stem = file.split('.').next().unwrap_or_default().to_owned();
    let base = match stem.as_str() {
        "model" => path.parent().and_then(name).unwrap_or(stem),
        _ => stem,
    };
    let base = as_name(&base, MAX_NAME - 1 - stamp.len());
    if base.is_empty() { format!("model-{stamp}") } else { format!("{base}-{stamp}") }
}

/// Where the model is in S3; a file is put there first.
fn artifact(client: &Client, model: &str, name: &str, stamp: &str) -> Result<String, ClientError> {
    if Location::is_one(model) {
        return Ok(Location::parse(model)?.to_string());
    }
    let path = PathBuf::from(model);
    let meta = std::fs::metadata(&path).map_err(ClientError::file("read", &path))?;
    if !meta.is_file() {
        return Err(ClientError::Usage(format!(
            "`{model}` is no file\nhint: deploy takes the model.tar.gz that `kennel train` writes"
        )));
    }
    let at = default_bucket(client)?.with_key(format!("models/{name}/{stamp}/model.tar.gz"));
    let bar = byte_bar("upload", meta.len());
    client.put_file(&at, &path, &|n| bar.inc(n))?;
    bar.finish_and_clear();
    Ok(at.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Reply, Seen, Server, ok};

    #[test]
    fn names_come_from_the_file_or_its_folder() {
        assert_eq!(generated("runs/my dogs/model.tar.gz", "S"), "my-dogs-S");
        assert_eq!(generated("/x/breeds_v2.tar.gz", "S"), "breeds-v2-S");
        assert_eq!(generated("model.tar.gz", "S"), "model-S");
        assert!(generated(&"x".repeat(200), "20261121-000000").len() <= MAX_NAME);
    }

    fn arguments(model: &std::path::Path) -> Arguments {
        Arguments {
            target: TargetArguments::default(),
            model: model.display().to_string(),
            name: Some("dogs".into()),
            instance_type: "ml.m5.large".into(),
            count: 2,
            image: "image-classification".into(),
            role: Some("arn:aws:iam::1:role/r".into()),
            idle_timeout: None,
            update: false,
            no_wait: false,
            json: false,
        }
    }

    fn operations(seen: &[Seen]) -> Vec<String> {
        seen.iter()
            .map(|s| match s.header("x-amz-target") {
                Some(target) => target.trim_start_matches("SageMaker.").to_owned(),
                None => s.line.split(' ').next().unwrap().to_owned(),
            })
            .collect()
    }

    #[test]
    fn a_model_goes_up_and_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("model.tar.gz");
        std::fs::write(&model, b"x").unwrap();
        let server = Server::start(|seen, n| match seen.header("x-amz-target") {
            Some("SageMaker.DescribeEndpoint") if n < 6 => ok(r#"{"EndpointStatus":"Creating"}"#),
            Some("SageMaker.DescribeEndpoint") => ok(r#"{"EndpointStatus":"InService"}"#),
            Some(_) => ok("{}"),
            None => ok(""),
        });
        deploy(&server.client(), &arguments(&model)).unwrap();
        let seen = server.seen();
        assert_eq!(
            operations(&seen),
            [
                "PUT",
                "PUT",
                "CreateModel",
                "CreateEndpointConfig",
                "CreateEndpoint",
                "DescribeEndpoint",
                "DescribeEndpoint"
            ]
        );
        assert!(seen[1].line.starts_with("PUT /sagemaker-us-east-1-123456789012/models/dogs/"));
        let config: Value = serde_json::from_slice(&seen[3].body).unwrap();
        assert_eq!(config["ProductionVariants"][0]["InitialInstanceCount"], 2);
    }

    #[test]
    fn an_idle_timeout_is_a_tag_of_the_endpoint() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("model.tar.gz");
        std::fs::write(&model, b"x").unwrap();
        let tag = |update: bool, timeout: f64| {
            let server = Server::start(|_, _| ok(r#"{"EndpointArn":"arn:e"}"#));
            let arguments = Arguments {
                idle_timeout: Some(timeout),
                update,
                no_wait: true,
                ..arguments(&model)
            };
            deploy(&server.client(), &arguments)?;
            let seen = server.seen();
            let last: Value = serde_json::from_slice(&seen[seen.len() - 1].body).unwrap();
            let operation = operations(&seen).pop().unwrap();
            Ok::<_, ClientError>((operation, last["Tags"].clone()))
        };
        let expected = json!([{"Key": "kennel:idle-timeout", "Value": "1800"}]);
        assert_eq!(tag(false, 1800.0).unwrap(), ("CreateEndpoint".to_owned(), expected.clone()));
        assert_eq!(tag(true, 1800.0).unwrap(), ("AddTags".to_owned(), expected));
        assert!(tag(false, 3.0).unwrap_err().to_string().contains("at least 10s"));
    }

    #[test]
    fn a_refused_endpoint_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("model.tar.gz");
        std::fs::write(&model, b"x").unwrap();
        let server = Server::start(|seen, _| match seen.header("x-amz-target") {
            Some("SageMaker.CreateEndpoint") => {
                Reply(400, vec![], br#"{"__type":"ValidationException","message":"no"}"#.to_vec())
            }
            _ => ok("{}"),
        });
        deploy(&server.client(), &arguments(&model)).unwrap_err();
        let operations = operations(&server.seen());
        assert_eq!(operations[operations.len() - 2..], ["DeleteEndpointConfig", "DeleteModel"]);
    }
}
