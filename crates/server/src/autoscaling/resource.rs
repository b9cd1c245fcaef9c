//! What can be scaled: variants of endpoints, and provisioned concurrency of functions. How Application
//! Auto Scaling names them, and what it must know of them and do with them ([`Resources`]).

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use kennel_wire::ServiceError;
use serde::{Deserialize, Serialize};

use crate::context::Timestamp;
use crate::lambda::Lambda;
use crate::sagemaker::SageMaker;

/// A scalable resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) enum Resource {
    /// `endpoint/ENDPOINT/variant/VARIANT`: how many instances it has.
    Variant { endpoint: String, variant: String },
    /// `function:FUNCTION:QUALIFIER`: how many environments are kept ready.
    Concurrency { function: String, qualifier: String },
}

/// `sagemaker:variant:DesiredInstanceCount`.
const VARIANT: &str = "sagemaker:variant:DesiredInstanceCount";
/// `lambda:function:ProvisionedConcurrency`.
const CONCURRENCY: &str = "lambda:function:ProvisionedConcurrency";

impl Resource {
    /// Reads what a request names.
    ///
    /// # Errors
    /// `ValidationException` for what AWS does not know, and for what is not built here.
    pub(super) fn parse(namespace: &str, id: &str, dimension: &str) -> Result<Self, ServiceError> {
        let words: Vec<&str> = match namespace {
            "sagemaker" => id.split('/').collect(),
            _ => id.split(':').collect(),
        };
        match (namespace, dimension, words.as_slice()) {
            ("sagemaker", VARIANT, ["endpoint", endpoint, "variant", variant])
                if !endpoint.is_empty() && !variant.is_empty() =>
            {
                Ok(Resource::Variant {
                    endpoint: (*endpoint).to_owned(),
                    variant: (*variant).to_owned(),
                })
            }
            ("lambda", CONCURRENCY, ["function", function, qualifier])
                if !function.is_empty() && !qualifier.is_empty() =>
            {
                Ok(Resource::Concurrency {
                    function: (*function).to_owned(),
                    qualifier: (*qualifier).to_owned(),
                })
            }
            ("sagemaker", VARIANT, _) => Err(malformed(id, "endpoint/ENDPOINT/variant/VARIANT")),
            ("lambda", CONCURRENCY, _) => Err(malformed(id, "function:FUNCTION:ALIAS")),
            _ if dimension.starts_with(&format!("{namespace}:"))
                || matches!((namespace, dimension), ("cassandra", _)) =>
            {
                Err(ServiceError::validation(format!(
                    "scaling of `{dimension}` is not implemented by Kennel\nhint: `{VARIANT}` and `{CONCURRENCY}` are"
                )))
            }
            // AWS's words.
            _ => Err(ServiceError::validation(
                "Unsupported service namespace, resource type or scalable dimension",
            )),
        }
    }

    /// `sagemaker`, `lambda`.
    pub(super) fn namespace(&self) -> &'static str {
        match self {
            Resource::Variant { .. } => "sagemaker",
            Resource::Concurrency { .. } => "lambda",
        }
    }

    /// The scalable dimension.
    pub(super) fn dimension(&self) -> &'static str {
        match self {
            Resource::Variant { .. } => VARIANT,
            Resource::Concurrency { .. } => CONCURRENCY,
        }
    }

    /// What activities say of its capacity.
    pub(super) fn noun(&self) -> &'static str {
        match self {
            Resource::Variant { .. } => "desired instance count",
            Resource::Concurrency { .. } => "desired concurrency",
        }
    }

    /// Both cooldowns of a target tracking policy, and a step policy's, where none are given.
    /// <https://docs.aws.amazon.com/autoscaling/application/APIReference/API_TargetTrackingScalingPolicyConfiguration.html>
    pub(super) fn default_cooldown_s(&self) -> i64 {
        match self {
            Resource::Variant { .. } => 300,
            Resource::Concurrency { .. } => 0,
        }
    }

    /// The service-linked role that AWS scales with. It does not exist here; nothing is done by it.
    pub(super) fn role(&self, account: &str) -> String {
        let (service, name) = match self {
            Resource::Variant { .. } => ("sagemaker", "SageMakerEndpoint"),
            Resource::Concurrency { .. } => ("lambda", "LambdaConcurrency"),
        };
        format!(
            "arn:aws:iam::{account}:role/aws-service-role/{service}.application-autoscaling.amazonaws.com/AWSServiceRoleForApplicationAutoScaling_{name}"
        )
    }
}

impl fmt::Display for Resource {
    /// The ResourceId.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Resource::Variant { endpoint, variant } => {
                write!(f, "endpoint/{endpoint}/variant/{variant}")
            }
            Resource::Concurrency { function, qualifier } => {
                write!(f, "function:{function}:{qualifier}")
            }
        }
    }
}

fn malformed(id: &str, form: &str) -> ServiceError {
    ServiceError::validation(format!(
        "Unsupported service namespace, resource type or scalable dimension: `{id}` is not of the form {form}"
    ))
}

/// What the autoscaler knows of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    /// What is wanted now.
    pub desired: u32,
    /// What works now.
    pub ready: u32,
    /// Whether its count can be set now; otherwise why not.
    pub busy: Option<String>,
    /// Why it will not get what is wanted.
    pub failed: Option<String>,
    /// Of a variant: the type of its instances.
    pub instance: Option<Instance>,
}

/// What an instance of a variant is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Instance {
    /// `ml.m5.large`.
    pub name: String,
    /// Runs on processor credits.
    pub burstable: bool,
    /// Cores of the type.
    pub vcpus: u32,
}

/// What a variant has to do now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Load {
    /// Instances that work.
    pub ready: u32,
    /// Requests without an answer yet, held ones included.
    pub in_flight: u64,
    /// Requests that wait for a first instance.
    pub held: u64,
    /// Requests ever.
    pub arrived: u64,
}

/// A future of the trait below.
pub(super) type Scaling<'a> = Pin<Box<dyn Future<Output = Result<(), ServiceError>> + Send + 'a>>;

/// The services whose resources are scaled; tests have their own.
pub(super) trait Resources: Send + Sync + fmt::Debug {
    /// What there is; `None` where it does not exist or is being deleted.
    fn facts(&self, of: &Resource) -> Result<Option<Facts>, ServiceError>;
    /// A variant's load, cheap; `None` while it takes no requests, and for other resources.
    fn load(&self, of: &Resource) -> Option<Load>;
    /// Asks for so many. Answers as soon as it is noted.
    fn scale<'a>(&'a self, of: &'a Resource, count: u32, now: Timestamp) -> Scaling<'a>;
    /// Cores of this machine, which all instances share.
    fn cores(&self) -> u32;
    /// Returns when a request has begun to wait for a first instance.
    fn held<'a>(&'a self) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
}

/// The platform's own services.
#[derive(Debug, Clone)]
pub(super) struct Platform {
    /// Variants.
    pub sagemaker: SageMaker,
    /// Provisioned concurrency.
    pub lambda: Lambda,
}

impl Resources for Platform {
    fn facts(&self, of: &Resource) -> Result<Option<Facts>, ServiceError> {
        match of {
            Resource::Variant { endpoint, variant } => {
                let Some(found) = self.sagemaker.variant(endpoint, variant)? else {
                    return Ok(None);
                };
                if found.status == "Deleting" {
                    return Ok(None);
                }
                let load = self.sagemaker.variant_load(endpoint, variant);
                let failed = (found.status == "Failed").then(|| {
                    format!("the endpoint `{endpoint}` has failed; DescribeEndpoint says why")
                });
                Ok(Some(Facts {
                    desired: found.desired,
                    ready: load.map_or(0, |load| load.ready),
                    busy: busy(endpoint, found.status),
                    failed,
                    instance: Some(Instance {
                        name: found.instance_type,
                        burstable: found.burstable,
                        vcpus: found.vcpus,
                    }),
                }))
            }
            Resource::Concurrency { function, qualifier } => {
                let found = self.lambda.provisioned_facts(function, qualifier)?;
                Ok(found.map(|found| Facts {
                    desired: found.requested,
                    ready: found.allocated,
                    busy: None,
                    failed: found.failed,
                    instance: None,
                }))
            }
        }
    }

    fn load(&self, of: &Resource) -> Option<Load> {
        let Resource::Variant { endpoint, variant } = of else { return None };
        let load = self.sagemaker.variant_load(endpoint, variant)?;
        Some(Load {
            ready: load.ready,
            in_flight: load.in_flight,
            held: load.held,
            arrived: load.arrived,
        })
    }

    fn scale<'a>(&'a self, of: &'a Resource, count: u32, now: Timestamp) -> Scaling<'a> {
        Box::pin(async move {
            match of {
                Resource::Variant { endpoint, variant } => {
                    self.sagemaker.scale_variant(endpoint, variant, count, now).await
                }
                Resource::Concurrency { function, qualifier } => {
                    self.lambda.scale_provisioned(function, qualifier, count, now).await
                }
            }
        })
    }

    fn cores(&self) -> u32 {
        self.sagemaker.cores()
    }

    fn held<'a>(&'a self) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(self.sagemaker.held_changed())
    }
}

/// While instances come and go the status is `Updating` as well, and the count may be set again then; the
/// service itself says so where it may not.
fn busy(endpoint: &str, status: &str) -> Option<String> {
    (!matches!(status, "InService" | "Updating"))
        .then(|| format!("the endpoint `{endpoint}` is {status}"))
}
