//! What the autoscaler sees of a variant, and how it sets a variant's count of instances.

use std::sync::Arc;

use kennel_hosting::instance_type;
use kennel_wire::ServiceError;

use super::{Endpoint, MAX_INSTANCES, Status, busy};
use crate::context::Timestamp;
use crate::sagemaker::SageMaker;

/// A variant as its row has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VariantFacts {
    /// The endpoint's name, as it was written.
    pub endpoint: String,
    /// `ml.m5.large`.
    pub instance_type: String,
    /// Of the types that AWS does not scale: ml.t2 and ml.t3.
    pub burstable: bool,
    /// Virtual cores of the type on AWS.
    pub vcpus: u32,
    /// Instances that are wanted; 0 after scaling to zero.
    pub desired: u32,
    /// `EndpointStatus`.
    pub status: &'static str,
    /// Region of the endpoint's ARN.
    pub region: String,
}

/// What a variant has to do now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct VariantLoad {
    /// Instances that requests go to, in all fleets.
    pub ready: u32,
    /// Instances that are being started.
    pub starting: u32,
    /// Instances that the pools are told to have; 0 while the variant sleeps.
    pub desired: u32,
    /// Requests without an answer yet, those that are held included.
    pub in_flight: u64,
    /// Requests that wait for a first instance.
    pub held: u64,
    /// Requests ever, held and refused ones included. Begins anew with a deployment: take differences
    /// with saturation.
    pub arrived: u64,
}

impl SageMaker {
    /// A variant's facts; `None` where the endpoint or the variant does not exist.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub(crate) fn variant(
        &self,
        endpoint: &str,
        variant: &str,
    ) -> Result<Option<VariantFacts>, ServiceError> {
        let Some(row) = self.inner.rows.get::<Endpoint>(endpoint)? else { return Ok(None) };
        let status = row.status.name();
        let region = row.region;
        let Some(deployment) = row.current.or(row.target) else { return Ok(None) };
        let found = deployment.variants.into_iter().find(|v| v.name == variant);
        Ok(found.map(|variant| {
            let kind = instance_type::find(&variant.instance_type);
            VariantFacts {
                endpoint: endpoint.to_owned(),
                burstable: kind.as_ref().is_some_and(|kind| kind.burstable),
                vcpus: kind.map_or(1, |kind| kind.vcpus),
                instance_type: variant.instance_type,
                desired: variant.desired,
                status,
                region,
            }
        }))
    }

    /// A variant's load, from memory; `None` while it takes no traffic.
    pub(crate) fn variant_load(&self, endpoint: &str, variant: &str) -> Option<VariantLoad> {
        let fleets = self.inner.live.variants(endpoint, variant);
        let mut sum = VariantLoad::default();
        for (place, live) in fleets.iter().enumerate() {
            let (ready, starting, desired) = live.pool.counts();
            sum.ready += count(ready);
            sum.starting += count(starting);
            sum.desired += count(desired);
            // Fleets may share their counters.
            if fleets[..place].iter().any(|other| Arc::ptr_eq(&other.load, &live.load)) {
                continue;
            }
            sum.in_flight += live.load.in_flight();
            sum.held += live.load.held();
            sum.arrived += live.load.arrived();
        }
        (!fleets.is_empty()).then_some(sum)
    }

    /// Sets a variant's desired count, 0 included, as UpdateEndpointWeightsAndCapacities does: the
    /// endpoint is Updating until the instances are there.
    ///
    /// # Errors
    /// When the endpoint is being deployed to, is deleted or gone, in words.
    pub(crate) async fn scale_variant(
        &self,
        endpoint: &str,
        variant: &str,
        count: u32,
        now: Timestamp,
    ) -> Result<(), ServiceError> {
        if count > MAX_INSTANCES {
            return Err(ServiceError::validation(format!(
                "variant `{variant}`: {count} instances were asked for; at most {MAX_INSTANCES} are possible"
            )));
        }
        let (name, wanted) = (endpoint.to_owned(), variant.to_owned());
        let changed = self
            .inner
            .rows
            .change::<Endpoint, bool>(endpoint, move |row| {
                // Another change of counts may be under way; a deployment may not.
                let scalable = match row.status {
                    Status::InService => true,
                    Status::Updating => row.target.is_none(),
                    _ => false,
                };
                if !scalable {
                    return Err(busy(&row.arn, row.status));
                }
                let variants = row.current.iter_mut().flat_map(|d| &mut d.variants);
                let Some(found) = variants.into_iter().find(|v| v.name == wanted) else {
                    return Err(ServiceError::validation(format!(
                        "endpoint `{name}` has no variant `{wanted}`"
                    )));
                };
                if found.desired == count {
                    return Ok(false);
                }
                found.desired = count;
                row.status = Status::Updating;
                row.modified = now;
                Ok(true)
            })
            .await?;
        match changed {
            Some((_, true)) => self.inner.endpoints_changed.notify_waiters(),
            Some((_, false)) => {}
            None => {
                return Err(ServiceError::validation(format!(
                    "Could not find endpoint \"{endpoint}\"."
                )));
            }
        }
        Ok(())
    }

    /// Returns when a request has begun to wait for a first instance, also when that was before the call.
    /// For one listener.
    pub(crate) async fn held_changed(&self) {
        self.inner.held_changed.notified().await;
    }

    /// Cores of this machine, which all instances share.
    pub(crate) fn cores(&self) -> u32 {
        self.inner.machine.cores
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
