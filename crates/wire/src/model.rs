//! The service models: what operations and shapes there are. They come from botocore, pruned by
//! `recipes/shapes/make.py`, and are parsed at their service's first call, never at start.

mod parse;

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use serde_json::Number;

use crate::error::ServiceError;
use crate::pattern::Pattern;

/// A service: its protocols, operations and shapes.
#[derive(Debug)]
pub struct ServiceModel {
    /// botocore's name: `sagemaker`, `cloudwatch`.
    pub name: String,
    /// The API's version: `2017-07-24`.
    pub version: String,
    /// The protocols: `json`, `query`, `rest-json`, `smithy-rpc-v2-cbor`.
    pub protocols: Vec<String>,
    /// The service in a signature's scope: `monitoring` for CloudWatch.
    pub signing_name: String,
    /// What stands before the operation in `X-Amz-Target`.
    pub target_prefix: Option<String>,
    /// `1.0` or `1.1`.
    pub json_version: Option<String>,
    /// The namespace of the query protocol's answers.
    pub xml_namespace: Option<String>,
    /// The JSON errors carry the query protocol's code in a header as well.
    pub query_compatible: bool,
    names: HashSet<String>,
    operations: HashMap<String, Operation>,
    shapes: Vec<Shape>,
    /// Error shapes by their name and by their query code.
    errors: HashMap<String, usize>,
}

/// An operation of a service.
#[derive(Debug)]
pub struct Operation {
    /// Its name: `CreateTrainingJob`.
    pub name: String,
    /// The HTTP method.
    pub method: String,
    /// The path, with `{labels}` in REST protocols.
    pub uri: String,
    /// The HTTP status of an answer that went well.
    pub status: u16,
    pub(crate) input: Option<usize>,
    pub(crate) output: Option<usize>,
    /// The element around the result in the query protocol.
    pub(crate) wrapper: Option<String>,
}

/// A type of the model.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) min: Option<Number>,
    pub(crate) max: Option<Number>,
    pub(crate) pattern: Option<Pattern>,
    pub(crate) values: Vec<String>,
    pub(crate) sensitive: bool,
    pub(crate) timestamp_format: Option<String>,
    /// Whether elements stand in the parent without an element around them (XML, query).
    pub(crate) flattened: bool,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Structure(Structure),
    List(Reference),
    Map { key: Reference, value: Reference },
    String,
    Integer,
    Long,
    Float,
    Boolean,
    Timestamp,
    Blob,
}

#[derive(Debug)]
pub(crate) struct Structure {
    pub(crate) members: Vec<Member>,
    index: HashMap<String, usize>,
    /// The member that is the whole body in REST protocols.
    pub(crate) payload: Option<String>,
    /// The query protocol's code, where it is not the shape's name.
    pub(crate) error_code: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    /// The name in AWS's messages: `trainingJobName`.
    pub(crate) path_name: String,
    pub(crate) required: bool,
    pub(crate) target: Reference,
}

/// Where a shape is used, with what holds only there.
#[derive(Debug)]
pub(crate) struct Reference {
    pub(crate) shape: usize,
    pub(crate) wire_name: Option<String>,
    /// In REST protocols `header`, `uri`, `querystring` or `statusCode`; else in the body.
    pub(crate) location: Option<String>,
    pub(crate) timestamp_format: Option<String>,
}

impl Structure {
    pub(crate) fn member(&self, name: &str) -> Option<&Member> {
        self.index.get(name).and_then(|&at| self.members.get(at))
    }

    /// The member that has this name on the wire.
    pub(crate) fn wire_member(&self, name: &str) -> Option<&Member> {
        self.members
            .iter()
            .find(|member| member.target.wire_name.as_deref() == Some(name))
            .or_else(|| self.member(name).filter(|member| member.target.wire_name.is_none()))
    }
}

/// A model as it is embedded, and what routing needs to know before it is parsed.
struct Embedded {
    name: &'static str,
    signing_name: &'static str,
    target_prefix: &'static str,
    query_version: &'static str,
    text: &'static str,
    parsed: OnceLock<Option<ServiceModel>>,
}

macro_rules! embedded {
    ($name:literal, $scope:literal, $prefix:literal, $version:literal) => {
        Embedded {
            name: $name,
            signing_name: $scope,
            target_prefix: $prefix,
            query_version: $version,
            text: include_str!(concat!("../models/", $name, ".json")),
            parsed: OnceLock::new(),
        }
    };
}

/// An empty prefix or version: not of that protocol.
static MODELS: [Embedded; 10] = [
    embedded!("sts", "sts", "", "2011-06-15"),
    embedded!("iam", "iam", "", "2010-05-08"),
    embedded!("sagemaker", "sagemaker", "SageMaker", ""),
    embedded!("sagemaker-runtime", "sagemaker", "", ""),
    embedded!("logs", "logs", "Logs_20140328", ""),
    embedded!("cloudwatch", "monitoring", "GraniteServiceVersion20100801", "2010-08-01"),
    embedded!("application-autoscaling", "application-autoscaling", "AnyScaleFrontendService", ""),
    embedded!("lambda", "lambda", "", ""),
    embedded!("accessanalyzer", "access-analyzer", "", ""),
    embedded!(
        "cloudtrail",
        "cloudtrail",
        "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101",
        ""
    ),
];

/// Signing names of the services that speak REST-JSON and are routed by their model.
const REST: [&str; 2] = ["lambda", "access-analyzer"];

impl Embedded {
    fn model(&self) -> Option<&ServiceModel> {
        self.parsed
            .get_or_init(|| {
                parse::parse(self.text)
                    .inspect_err(|error| tracing::error!("model of `{}`: {error}", self.name))
                    .ok()
            })
            .as_ref()
    }
}

impl ServiceModel {
    /// The model of a service by botocore's name or, where that is unique, its signing name
    /// (`monitoring`). The first call parses it.
    pub fn by_name(name: &str) -> Option<&'static ServiceModel> {
        MODELS
            .iter()
            .find(|model| model.name == name)
            .or_else(|| MODELS.iter().find(|model| model.signing_name == name))?
            .model()
    }

    /// All models; parses every one.
    pub fn all() -> impl Iterator<Item = &'static ServiceModel> {
        MODELS.iter().filter_map(Embedded::model)
    }

    /// The service whose `X-Amz-Target` starts with `prefix`.
    pub fn by_target_prefix(prefix: &str) -> Option<&'static ServiceModel> {
        MODELS.iter().find(|m| !prefix.is_empty() && m.target_prefix == prefix)?.model()
    }

    /// The query service of a scope: `sts`, `iam`, `monitoring`.
    pub fn query_service(scope: &str) -> Option<&'static ServiceModel> {
        MODELS.iter().find(|m| m.signing_name == scope && !m.query_version.is_empty())?.model()
    }

    /// The REST-JSON service of a scope: `lambda`, `access-analyzer`.
    pub fn rest_service(scope: &str) -> Option<&'static ServiceModel> {
        REST.contains(&scope).then(|| ServiceModel::by_name(scope))?
    }

    /// All operations that Kennel has a model of, in no order.
    pub(crate) fn all_operations(&self) -> impl Iterator<Item = &Operation> {
        self.operations.values()
    }

    /// An operation that Kennel has a model of.
    pub fn operation(&self, name: &str) -> Option<&Operation> {
        self.operations.get(name)
    }

    /// Whether the real service has an operation of this name.
    pub fn knows(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// The names of the operations that Kennel has a model of, sorted.
    pub fn operation_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.operations.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// The operation, or the error that says whether AWS has it and Kennel has not, or neither.
    ///
    /// # Errors
    /// `NotImplementedException` (501), `UnknownOperationException` (400).
    pub fn lookup(&self, name: &str) -> Result<&Operation, ServiceError> {
        match self.operation(name) {
            Some(operation) => Ok(operation),
            None if self.knows(name) => Err(ServiceError::not_implemented(&self.name, name)),
            None => Err(ServiceError::new(
                "UnknownOperationException",
                400,
                format!("Could not find operation {} for version {}", clip(name), self.version),
            )),
        }
    }

    pub(crate) fn shape(&self, at: usize) -> Option<&Shape> {
        self.shapes.get(at)
    }

    pub(crate) fn structure(&self, at: usize) -> Option<&Structure> {
        match &self.shape(at)?.kind {
            Kind::Structure(structure) => Some(structure),
            _ => None,
        }
    }

    /// The shape of a modelled error.
    pub(crate) fn error_structure(&self, code: &str) -> Option<&Structure> {
        self.structure(*self.errors.get(code)?)
    }

    /// The names of a modelled error in JSON and in the query protocol, from either.
    pub(crate) fn error_names(&self, code: &str) -> Option<(&str, &str)> {
        let shape = self.shape(*self.errors.get(code)?)?;
        let Kind::Structure(structure) = &shape.kind else { return None };
        Some((&shape.name, structure.error_code.as_deref().unwrap_or(&shape.name)))
    }
}

/// A stranger's word in a message, cut to a bearable length.
pub(crate) fn clip(text: &str) -> String {
    text.chars().take(128).collect()
}

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) fn tests_parse(text: &str) -> ServiceModel {
    parse::parse(text).unwrap()
}
