//! What an invocation may look like: bytes and headers in, photos and the wished answer out. Pure, so
//! that every refusal can be tested without a server.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kennel_base::ErrorCode;
use kennel_infer::classifier::labels;
use kennel_infer::package::Manifest;
use serde::Deserialize;
use serde_json::{Value, json};

use super::worker::Failure;

/// Photos that one request may hold.
const MAX_INSTANCES: usize = 64;

/// Where a photo of a request is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// In the body.
    Bytes(Vec<u8>),
    /// At an address, to be fetched.
    Url(String),
}

/// How the answer is to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A list with one list of logits per photo, as the course's endpoint.
    Logits,
    /// The `top` most probable classes per photo.
    Labels { top: usize },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    instances: Option<Vec<Instance>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Instance {
    #[serde(default)]
    b64: Option<String>,
    #[serde(default)]
    url: Option<String>,
}

/// The photos of a request.
pub(crate) fn photos(content_type: Option<&str>, body: Vec<u8>) -> Result<Vec<Source>, Failure> {
    let essence = content_type
        .map(|t| t.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
        .unwrap_or_default();
    match essence.as_str() {
        "image/jpeg"
        | "image/jpg"
        | "image/png"
        | "image/webp"
        | "image/gif"
        | "image/bmp"
        | "application/x-image" => {
            if body.is_empty() {
                return Err(Failure::new(
                    ErrorCode::InvalidInput,
                    "the body is empty\nhint: send the photo's bytes, as in `curl --data-binary @photo.jpg`",
                ));
            }
            Ok(vec![Source::Bytes(body)])
        }
        "application/json" => json_photos(&body),
        _ => Err(Failure::new(
            ErrorCode::UnsupportedMediaType,
            format!(
                "content type `{}` is not understood\nhint: send image/jpeg, image/png, image/webp, application/x-image, or application/json with {{\"url\": …}} or {{\"instances\": [{{\"b64\": …}}]}}",
                shorten(content_type.unwrap_or("(none)"))
            ),
        )),
    }
}

fn json_photos(body: &[u8]) -> Result<Vec<Source>, Failure> {
    let bad = |message: String| Failure::new(ErrorCode::InvalidInput, message);
    let hint = "hint: send {\"url\": \"https://…\"} or {\"instances\": [{\"b64\": \"…\"}]}";
    let body: Body = serde_json::from_slice(body)
        .map_err(|e| bad(format!("the JSON body cannot be read: {e}\n{hint}")))?;
    match (body.url, body.instances) {
        (Some(url), None) => Ok(vec![Source::Url(url)]),
        (None, Some(instances)) => {
            if instances.is_empty() || instances.len() > MAX_INSTANCES {
                return Err(bad(format!(
                    "`instances` holds {} photos, 1 to {MAX_INSTANCES} are allowed\n{hint}",
                    instances.len()
                )));
            }
            let photo = |(index, instance): (usize, Instance)| match (instance.b64, instance.url) {
                (Some(text), None) => {
                    STANDARD.decode(text.trim()).map(Source::Bytes).map_err(|e| {
                        bad(format!("`instances[{index}].b64` is not base64: {e}\n{hint}"))
                    })
                }
                (None, Some(url)) => Ok(Source::Url(url)),
                _ => Err(bad(format!("`instances[{index}]` needs either `b64` or `url`\n{hint}"))),
            };
            instances.into_iter().enumerate().map(photo).collect()
        }
        _ => Err(bad(format!("the body needs either `url` or `instances`\n{hint}"))),
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

/// The wished answer, from `Accept` or SageMaker's custom attributes: `labels=true` and `top=5` as
/// parameters of either.
pub(crate) fn answer(accept: Option<&str>, attributes: Option<&str>) -> Answer {
    let mut wanted = false;
    let mut top = 5;
    let parts = accept.into_iter().chain(attributes).flat_map(|t| t.split([';', ',']));
    for part in parts {
        match part.trim().split_once('=') {
            Some(("labels", value)) => wanted = value.trim().eq_ignore_ascii_case("true"),
            Some(("top", value)) => top = value.trim().parse().unwrap_or(top),
            _ => {}
        }
    }
    if wanted { Answer::Labels { top: top.max(1) } } else { Answer::Logits }
}

/// The answer's body.
pub(crate) fn render(answer: Answer, manifest: &Manifest, rows: &[Vec<f32>]) -> Value {
    match answer {
        Answer::Logits => json!(rows),
        Answer::Labels { top } => {
            let predictions: Vec<Value> = rows
                .iter()
                .map(|row| {
                    labels(manifest, row, top)
                        .into_iter()
                        .map(|l| {
                            json!({
                                "label": l.class.name,
                                "class": l.class.key,
                                "probability": l.probability,
                            })
                        })
                        .collect()
                })
                .collect();
            json!({ "predictions": predictions })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(result: Result<Vec<Source>, Failure>) -> u16 {
        result.map_or_else(|f| f.code.http_status(), |_| 200)
    }

    #[test]
    fn bodies_are_understood_or_refused_with_their_status() {
        let json = Some("application/json");
        assert_eq!(code(photos(Some("image/jpeg"), vec![1])), 200);
        assert_eq!(code(photos(Some("IMAGE/PNG; q=1"), vec![1])), 200);
        assert_eq!(code(photos(Some("image/jpeg"), vec![])), 400);
        assert_eq!(code(photos(Some("text/plain"), vec![1])), 415);
        assert_eq!(code(photos(None, vec![1])), 415);
        assert_eq!(code(photos(json, b"{".to_vec())), 400);
        assert_eq!(code(photos(json, b"{}".to_vec())), 400);
        assert_eq!(code(photos(json, br#"{"instances":[]}"#.to_vec())), 400);
        assert_eq!(code(photos(json, br#"{"instances":[{"b64":"%%"}]}"#.to_vec())), 400);
        assert_eq!(code(photos(json, br#"{"url":"a","instances":[]}"#.to_vec())), 400);
        assert_eq!(code(photos(json, br#"{"urls":"a"}"#.to_vec())), 400);
        assert_eq!(
            photos(json, br#"{"url":"https://a/b.jpg"}"#.to_vec()),
            Ok(vec![Source::Url("https://a/b.jpg".into())])
        );
        assert_eq!(
            photos(json, br#"{"instances":[{"b64":"AAE="},{"b64":"/w=="}]}"#.to_vec()),
            Ok(vec![Source::Bytes(vec![0, 1]), Source::Bytes(vec![255])])
        );
    }

    #[test]
    fn labels_are_asked_for_by_accept_or_attribute() {
        assert_eq!(answer(None, None), Answer::Logits);
        assert_eq!(answer(Some("application/json"), None), Answer::Logits);
        assert_eq!(answer(Some("application/json;labels=true"), None), Answer::Labels { top: 5 });
        assert_eq!(answer(None, Some("labels=true,top=3")), Answer::Labels { top: 3 });
        assert_eq!(answer(Some("application/json;labels=false"), None), Answer::Logits);
    }
}
