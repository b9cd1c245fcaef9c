//! Functions' resource policies, as the authoriser asks for them.

use kennel_iam::policy::{Document, Kind};
use kennel_iam::{Policy, PolicyType};
use kennel_wire::ServiceError;

use super::Lambda;
use crate::authorize::ResourcePolicies;

impl ResourcePolicies for Lambda {
    fn service(&self) -> &'static str {
        "lambda"
    }

    fn policy(&self, arn: &str) -> Result<Option<Policy>, ServiceError> {
        let load = || -> Result<Option<Policy>, ServiceError> {
            let Some(text) = self.resource_policy(arn) else { return Ok(None) };
            let document = Document::parse(&text, Kind::Resource).map_err(|e| {
                // It was made here, from checked parts; what cannot be read must not be left out.
                tracing::error!("the policy of `{arn}` cannot be read: {e}");
                ServiceError::internal()
            })?;
            Ok(Some(Policy::new("resource policy", PolicyType::Resource, document)))
        };
        Ok(self.inner.policies.get_or(arn, load)?.as_ref().clone())
    }
}
