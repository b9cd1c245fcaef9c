//! What kind of thing an ARN names, in CloudTrail's words, and which ARNs a name may stand for.
//!
//! Source: <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-template-resource-type-ref.html>,
//! whose types CloudTrail uses.

/// Type, service, what stands before the name in the ARN, and whether region and account stand there.
const TYPES: [(&str, &str, &str, Place); 17] = [
    ("AWS::IAM::Role", "iam", "role/", Place::Account),
    ("AWS::IAM::User", "iam", "user/", Place::Account),
    ("AWS::IAM::ManagedPolicy", "iam", "policy/", Place::Account),
    ("AWS::S3::Bucket", "s3", "", Place::Nowhere),
    ("AWS::S3::Object", "s3", "", Place::Nowhere),
    ("AWS::Lambda::Function", "lambda", "function:", Place::Region),
    ("AWS::Lambda::LayerVersion", "lambda", "layer:", Place::Region),
    ("AWS::Logs::LogGroup", "logs", "log-group:", Place::Region),
    ("AWS::CloudWatch::Alarm", "cloudwatch", "alarm:", Place::Region),
    ("AWS::SageMaker::Endpoint", "sagemaker", "endpoint/", Place::Region),
    ("AWS::SageMaker::EndpointConfig", "sagemaker", "endpoint-config/", Place::Region),
    ("AWS::SageMaker::Model", "sagemaker", "model/", Place::Region),
    ("AWS::SageMaker::TrainingJob", "sagemaker", "training-job/", Place::Region),
    (
        "AWS::SageMaker::HyperParameterTuningJob",
        "sagemaker",
        "hyper-parameter-tuning-job/",
        Place::Region,
    ),
    ("AWS::SageMaker::NotebookInstance", "sagemaker", "notebook-instance/", Place::Region),
    ("AWS::SageMaker::ProcessingJob", "sagemaker", "processing-job/", Place::Region),
    ("AWS::SageMaker::TransformJob", "sagemaker", "transform-job/", Place::Region),
];

/// Which parts an ARN has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// `arn:aws:s3:::name`
    Nowhere,
    /// `arn:aws:iam::account:…`
    Account,
    /// `arn:aws:lambda:region:account:…`
    Region,
}

/// `AWS::IAM::Role` of a role's ARN; `None` for what CloudTrail has no type for.
pub(super) fn type_of(arn: &str) -> Option<&'static str> {
    let mut parts = arn.strip_prefix("arn:aws:")?.splitn(4, ':');
    let (service, name) = (parts.next()?, parts.nth(2)?);
    if service == "s3" {
        return Some(if name.contains('/') { "AWS::S3::Object" } else { "AWS::S3::Bucket" });
    }
    TYPES.iter().find(|t| t.1 == service && name.starts_with(t.2)).map(|t| t.0)
}

/// The `GLOB`s that ARNs of a type match, and whether a `/` must or must not stand in them; `None` for a type
/// that nothing here has.
pub(super) fn globs(resource_type: &str) -> Option<(Vec<String>, Option<bool>)> {
    let (_, service, before, place) = TYPES.iter().find(|t| t.0 == resource_type)?;
    let deeper = match resource_type {
        "AWS::S3::Bucket" => Some(false),
        "AWS::S3::Object" => Some(true),
        _ => None,
    };
    Some((
        vec![match place {
            Place::Nowhere => format!("arn:aws:{service}:::{before}*"),
            Place::Account => format!("arn:aws:{service}::*:{before}*"),
            Place::Region => format!("arn:aws:{service}:*:*:{before}*"),
        }],
        deeper,
    ))
}

/// The ARNs that a name may stand for; an ARN stands for itself.
pub(super) fn candidates(name: &str, region: &str, account: &str) -> Vec<String> {
    if name.starts_with("arn:") || name == "*" {
        return vec![name.to_owned()];
    }
    let mut arns: Vec<String> = TYPES
        .iter()
        .map(|(_, service, before, place)| match place {
            Place::Nowhere => format!("arn:aws:{service}:::{before}{name}"),
            Place::Account => format!("arn:aws:{service}::{account}:{before}{name}"),
            // Endpoint names are lower-cased in decisions.
            Place::Region if *before == "endpoint/" => {
                format!("arn:aws:{service}:{region}:{account}:{before}{}", name.to_lowercase())
            }
            Place::Region => format!("arn:aws:{service}:{region}:{account}:{before}{name}"),
        })
        .collect();
    arns.dedup();
    arns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_have_types_and_names_have_arns() {
        for (arn, expected) in [
            ("arn:aws:s3:::dogs", Some("AWS::S3::Bucket")),
            ("arn:aws:s3:::dogs/a/b.jpg", Some("AWS::S3::Object")),
            ("arn:aws:iam::1:role/service-role/R", Some("AWS::IAM::Role")),
            ("arn:aws:sagemaker:us-east-1:1:endpoint/e", Some("AWS::SageMaker::Endpoint")),
            (
                "arn:aws:sagemaker:us-east-1:1:endpoint-config/e",
                Some("AWS::SageMaker::EndpointConfig"),
            ),
            ("arn:aws:lambda:us-east-1:1:function:f:live", Some("AWS::Lambda::Function")),
            ("arn:aws:sts::1:assumed-role/R/s", None),
            ("*", None),
        ] {
            assert_eq!(type_of(arn), expected, "{arn}");
        }
        let found = candidates("Dogs", "us-east-1", "1");
        for arn in [
            "arn:aws:s3:::Dogs",
            "arn:aws:iam::1:role/Dogs",
            "arn:aws:sagemaker:us-east-1:1:endpoint/dogs",
            "arn:aws:lambda:us-east-1:1:function:Dogs",
        ] {
            assert!(found.iter().any(|a| a == arn), "{arn}");
        }
        assert_eq!(candidates("arn:aws:s3:::x", "r", "1"), ["arn:aws:s3:::x"]);
    }

    #[test]
    fn every_type_is_that_of_the_arns_that_it_looks_for() {
        for (name, ..) in TYPES {
            let (globs, deeper) = globs(name).unwrap();
            let example = globs[0].replace('*', "x") + if deeper == Some(true) { "/k" } else { "" };
            assert_eq!(type_of(&example), Some(name), "{example}");
        }
        assert_eq!(globs("AWS::EC2::Instance"), None);
    }
}
