//! Endpoints as they run now: which pools take the traffic of which variant. Written by the
//! reconciler, read by every invocation.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use kennel_hosting::pool::Pool;
use rand::RngExt as _;

use super::capture::Capture;
use super::load::Load;

/// A variant that takes traffic.
#[derive(Debug)]
pub(in crate::sagemaker) struct LiveVariant {
    pub name: String,
    pub weight: f64,
    pub pool: Pool,
    /// What is in flight and has arrived; outlives changes of the weight.
    pub load: Arc<Load>,
}

/// A fleet: the variants of one deployment of an endpoint.
#[derive(Debug)]
pub(in crate::sagemaker) struct LiveEndpoint {
    /// The name as the user wrote it.
    pub name: String,
    /// Its endpoint configuration, a dimension of its metrics.
    pub config: String,
    /// The deployment that serves.
    pub deployment: u64,
    pub variants: Vec<Arc<LiveVariant>>,
    /// Variants that get copies of the traffic.
    pub shadows: Vec<Arc<LiveVariant>>,
    /// Keeps samples of the traffic in S3.
    pub capture: Option<Arc<Capture>>,
    /// Held by every version of the fleet (changed weights make a new one): while somebody else holds it
    /// too, a request may still be on its way to an instance.
    pub users: Arc<()>,
}

impl LiveEndpoint {
    /// Production and shadow variants.
    pub(in crate::sagemaker) fn all(&self) -> impl Iterator<Item = &Arc<LiveVariant>> {
        self.variants.iter().chain(&self.shadows)
    }
}

/// The fleets of an endpoint with the share of the traffic that each gets: 0 to 1, together 1 or, while
/// nobody answers yet, 0.
pub(super) type Fleets = Vec<(Arc<LiveEndpoint>, f64)>;

/// All endpoints that run, by name.
#[derive(Debug, Default)]
pub(in crate::sagemaker) struct Live {
    endpoints: RwLock<HashMap<String, Arc<Fleets>>>,
}

impl Live {
    /// What takes a request to an endpoint: while something is deployed each fleet as often as its share
    /// says. `None` while nothing does.
    pub(in crate::sagemaker) fn get(&self, name: &str) -> Option<Arc<LiveEndpoint>> {
        let fleets = self.fleets(name)?;
        if let [(only, share)] = fleets.as_slice() {
            return (*share > 0.0).then(|| only.clone());
        }
        draw(&fleets, rand::rng().random_range(0.0..1.0))
    }

    fn fleets(&self, name: &str) -> Option<Arc<Fleets>> {
        self.endpoints.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// From now on these fleets take the traffic, by their shares.
    pub(super) fn open(&self, name: &str, fleets: Fleets) {
        let mut endpoints = self.endpoints.write().unwrap_or_else(PoisonError::into_inner);
        endpoints.insert(name.to_owned(), Arc::new(fleets));
    }

    /// From now on nothing is taken.
    pub(in crate::sagemaker) fn close(&self, name: &str) {
        self.endpoints.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Every fleet of every endpoint.
    pub(in crate::sagemaker) fn all(&self) -> Vec<Arc<LiveEndpoint>> {
        let endpoints = self.endpoints.read().unwrap_or_else(PoisonError::into_inner);
        endpoints
            .values()
            .flat_map(|fleets| fleets.iter())
            .map(|(fleet, _)| fleet.clone())
            .collect()
    }

    /// A variant (or shadow variant) in every fleet of the endpoint that runs now.
    pub(in crate::sagemaker) fn variants(
        &self,
        name: &str,
        variant: &str,
    ) -> Vec<Arc<LiveVariant>> {
        let Some(fleets) = self.fleets(name) else { return Vec::new() };
        let all = fleets.iter().flat_map(|(fleet, _)| fleet.all());
        all.filter(|v| v.name == variant).cloned().collect()
    }

    /// Instances of a deployment's variant that are ready.
    pub(in crate::sagemaker) fn ready(&self, name: &str, deployment: u64, variant: &str) -> usize {
        let Some(fleets) = self.fleets(name) else { return 0 };
        let of = fleets.iter().filter(|(fleet, _)| fleet.deployment == deployment);
        let mut all = of.flat_map(|(fleet, _)| fleet.all());
        all.find(|v| v.name == variant).map_or(0, |v| v.pool.status().ready)
    }
}

/// The fleet at `place` (0 to 1) when each is as wide as its share.
fn draw(fleets: &Fleets, mut place: f64) -> Option<Arc<LiveEndpoint>> {
    for (fleet, share) in fleets {
        if place < *share {
            return Some(fleet.clone());
        }
        place -= share;
    }
    // Rounding may leave a crumb at the end.
    fleets.iter().rev().find(|(_, share)| *share > 0.0).map(|(fleet, _)| fleet.clone())
}

#[cfg(test)]
mod tests;
