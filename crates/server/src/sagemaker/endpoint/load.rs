//! What a variant has to do: requests in flight, requests that have arrived.

/// A variant's load.
#[derive(Debug, Default)]
pub(in crate::sagemaker) struct Load {}
