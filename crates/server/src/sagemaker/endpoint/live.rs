//! Endpoints as they run now: which pools take the traffic of which variant. Written by the
//! reconciler, read by every invocation.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use kennel_hosting::pool::Pool;

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

/// The variants of an endpoint.
#[derive(Debug)]
pub(in crate::sagemaker) struct LiveEndpoint {
    /// The name as the user wrote it.
    pub name: String,
    /// The deployment that serves.
    pub deployment: u64,
    pub variants: Vec<Arc<LiveVariant>>,
    /// Variants that get copies of the traffic.
    pub shadows: Vec<Arc<LiveVariant>>,
    /// Keeps samples of the traffic in S3.
    pub capture: Option<Arc<Capture>>,
}

/// All endpoints that take traffic, by name.
#[derive(Debug, Default)]
pub(in crate::sagemaker) struct Live {
    endpoints: RwLock<HashMap<String, Arc<LiveEndpoint>>>,
}

impl Live {
    /// What takes the traffic of an endpoint.
    pub(in crate::sagemaker) fn get(&self, name: &str) -> Option<Arc<LiveEndpoint>> {
        self.endpoints.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// From now on `endpoint` takes the traffic.
    pub(in crate::sagemaker) fn open(&self, endpoint: Arc<LiveEndpoint>) {
        let mut endpoints = self.endpoints.write().unwrap_or_else(PoisonError::into_inner);
        endpoints.insert(endpoint.name.clone(), endpoint);
    }

    /// From now on nothing is taken.
    pub(in crate::sagemaker) fn close(&self, name: &str) {
        self.endpoints.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Every endpoint.
    pub(in crate::sagemaker) fn all(&self) -> Vec<Arc<LiveEndpoint>> {
        let endpoints = self.endpoints.read().unwrap_or_else(PoisonError::into_inner);
        endpoints.values().cloned().collect()
    }

    /// A variant (or shadow variant) in every fleet of the endpoint that runs now.
    pub(in crate::sagemaker) fn variants(
        &self,
        name: &str,
        variant: &str,
    ) -> Vec<Arc<LiveVariant>> {
        let Some(endpoint) = self.get(name) else { return Vec::new() };
        let all = endpoint.variants.iter().chain(&endpoint.shadows);
        all.filter(|v| v.name == variant).cloned().collect()
    }

    /// Instances of a variant that are ready.
    pub(in crate::sagemaker) fn ready(&self, name: &str, variant: &str) -> usize {
        let Some(endpoint) = self.get(name) else { return 0 };
        let found = endpoint.variants.iter().find(|v| v.name == variant);
        found.map_or(0, |v| v.pool.status().ready)
    }
}
