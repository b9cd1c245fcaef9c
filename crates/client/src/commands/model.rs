//! `kennel model`.

use clap::{Args, Subcommand};
use serde_json::json;

use crate::client::{Client, Service};
use crate::error::ClientError;
use crate::output::{self, fields, line, maybe, note, table, text, time};
use crate::target::TargetArguments;

/// Arguments of `kennel model`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    target: TargetArguments,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Models, newest first
    Ls {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// One model: image, artifact, role
    Show {
        /// Name
        name: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove models; their artifacts stay
    Rm {
        /// Names
        #[arg(required = true)]
        names: Vec<String>,
    },
}

pub(super) fn run(arguments: Arguments) -> Result<(), ClientError> {
    let client = Client::new(arguments.target.resolve()?);
    match arguments.verb {
        Verb::Ls { json } => {
            let body =
                json!({"SortBy": "CreationTime", "SortOrder": "Descending", "MaxResults": 100});
            let all = client.json_pages(Service::SageMaker, "ListModels", &body, "Models")?;
            if json {
                output::json(&all.into());
                return Ok(());
            }
            let rows = all.iter().map(|m| [text(m, "ModelName"), time(&m["CreationTime"])]);
            line(table(["name", "created"], rows));
        }
        Verb::Show { name, json } => {
            let found =
                client.json(Service::SageMaker, "DescribeModel", &json!({"ModelName": name}))?;
            if json {
                output::json(&found);
                return Ok(());
            }
            let container = match &found["PrimaryContainer"] {
                serde_json::Value::Null => &found["Containers"][0],
                one => one,
            };
            line(fields(&[
                ("name", maybe(&found, "ModelName")),
                ("image", maybe(container, "Image")),
                ("artifact", maybe(container, "ModelDataUrl")),
                ("role", maybe(&found, "ExecutionRoleArn")),
                ("created", Some(time(&found["CreationTime"]))),
                ("arn", maybe(&found, "ModelArn")),
            ]));
        }
        Verb::Rm { names } => {
            for name in names {
                client.json(Service::SageMaker, "DeleteModel", &json!({"ModelName": name}))?;
                note(format!("removed model {name}"));
            }
        }
    }
    Ok(())
}
