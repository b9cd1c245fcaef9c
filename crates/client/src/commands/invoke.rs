//! `kennel invoke`: a photo in, labels out.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use crate::client::{Client, InvokeRequest};
use crate::error::ClientError;
use crate::output::{self, line, table, text};
use crate::target::TargetArguments;

/// Largest body that SageMaker takes: 6 MiB in the service model, 25 MB in today's documentation.
const MAX_BODY: u64 = 25_000_000;

/// Arguments of `kennel invoke`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    target: TargetArguments,
    /// Endpoint
    endpoint: String,
    /// Photo, or any file with --content-type
    #[arg(required_unless_present = "url", conflicts_with = "url")]
    photo: Option<PathBuf>,
    /// Address of a photo that the endpoint fetches
    #[arg(long)]
    url: Option<String>,
    /// Type of the file [default: from its content]
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Wished type of the answer [default: labels as JSON]
    #[arg(long, value_name = "TYPE", conflicts_with = "top_k")]
    accept: Option<String>,
    /// Classes to show
    #[arg(long, value_name = "K", default_value_t = 5)]
    top_k: usize,
    /// Variant to ask [default: by weight]
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
    /// Print the answer as it came
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), ClientError> {
    let client = Client::new(arguments.target.resolve()?);
    let (content_type, body) = match (&arguments.url, &arguments.photo) {
        (Some(url), _) => ("application/json".to_owned(), json!({"url": url}).to_string().into()),
        (None, Some(path)) => read(path, arguments.content_type.as_deref())?,
        (None, None) => {
            return Err(ClientError::Usage(
                "there is nothing to ask about\nhint: name a photo or --url".to_owned(),
            ));
        }
    };
    let accept = arguments
        .accept
        .clone()
        .unwrap_or_else(|| format!("application/json;labels=true;top={}", arguments.top_k));
    let answer = client.invoke(&InvokeRequest {
        endpoint: arguments.endpoint.clone(),
        content_type,
        accept: Some(accept),
        variant: arguments.variant.clone(),
        body,
    })?;
    match serde_json::from_slice::<Value>(&answer.body) {
        Ok(json) => {
            let drawn = if arguments.json { None } else { labels(&json, arguments.top_k) };
            match drawn {
                Some(drawn) => line(drawn),
                None => output::json(&json),
            }
        }
        Err(_) => {
            // Not ours to interpret; a reader that has gone ends it quietly.
            if std::io::stdout().write_all(&answer.body).is_err() {
                std::process::exit(0);
            }
        }
    }
    Ok(())
}

pub(super) fn read(
    path: &Path,
    content_type: Option<&str>,
) -> Result<(String, Vec<u8>), ClientError> {
    let meta = std::fs::metadata(path).map_err(ClientError::file("read", path))?;
    if !meta.is_file() || meta.len() > MAX_BODY {
        return Err(ClientError::Usage(format!(
            "`{}` is no file of at most 25 MB\nhint: scale the photo down; the network sees a few hundred pixels anyway",
            path.display()
        )));
    }
    let bytes = std::fs::read(path).map_err(ClientError::file("read", path))?;
    let found = content_type.or_else(|| sniffed(&bytes)).ok_or_else(|| {
        ClientError::Usage(format!(
            "what `{}` is cannot be seen\nhint: say it with --content-type",
            path.display()
        ))
    })?;
    Ok((found.to_owned(), bytes))
}

/// The type of a photo by its first bytes, or of JSON.
fn sniffed(bytes: &[u8]) -> Option<&'static str> {
    let starts = |magic: &[u8]| bytes.starts_with(magic);
    if starts(b"\xff\xd8\xff") {
        Some("image/jpeg")
    } else if starts(b"\x89PNG\r\n\x1a\n") {
        Some("image/png")
    } else if starts(b"GIF8") {
        Some("image/gif")
    } else if starts(b"BM") {
        Some("image/bmp")
    } else if starts(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        Some("image/webp")
    } else if serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok() {
        Some("application/json")
    } else {
        None
    }
}

/// The answer of Kennel's own image as a table; none for any other answer.
fn labels(answer: &Value, top: usize) -> Option<String> {
    let photos = answer.get("predictions")?.as_array()?;
    let mut drawn = Vec::new();
    for photo in photos {
        let mut rows = Vec::new();
        for label in photo.as_array()?.iter().take(top) {
            let probability = label.get("probability")?.as_f64()?.clamp(0.0, 1.0);
            let bar = "█".repeat((probability * 20.0).round() as usize);
            rows.push([text(label, "label"), format!("{:5.1} %", 100.0 * probability), bar]);
        }
        drawn.push(table(["label", "probability", ""], rows));
    }
    Some(drawn.join("\n\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_native_answer_is_drawn() {
        let native = json!({"predictions": [[
            {"label": "Beagle", "class": "039.Beagle", "probability": 0.75},
            {"label": "Boxer", "class": "x", "probability": 0.2},
        ]]});
        let drawn = labels(&native, 1).unwrap();
        assert!(drawn.contains("Beagle") && drawn.contains("75.0 %"), "{drawn}");
        assert!(!drawn.contains("Boxer"));
        for other in [json!([[0.1, 0.2]]), json!({"predictions": [[1.0]]}), json!("x")] {
            assert_eq!(labels(&other, 5), None);
        }
    }

    #[test]
    fn types_are_seen_in_the_content() {
        assert_eq!(sniffed(b"\xff\xd8\xff\xe0"), Some("image/jpeg"));
        assert_eq!(sniffed(b"RIFF1234WEBPVP8 "), Some("image/webp"));
        assert_eq!(sniffed(b"{\"url\": \"u\"}"), Some("application/json"));
        assert_eq!(sniffed(b"hello"), None);
    }
}
