//! The platform: AWS's APIs on one port. One folder per service, the gateway in front of them.
//!
//! A request goes: gateway (parse, authenticate, resolve the operation, authorise) → codec → service
//! (typed by the service's model, free of HTTP) → codec → access record.

pub mod access_analyzer;
pub mod authorize;
pub mod autoscaling;
pub mod cloudtrail;
pub mod cloudwatch;
pub mod config;
pub mod context;
pub mod folder;
pub mod gateway;
pub mod iam;
pub mod identity;
pub mod lambda;
pub mod logs;
pub mod observation;
pub mod platform;
pub mod records;
pub mod s3;
pub mod sagemaker;
pub mod service;
pub mod sts;
