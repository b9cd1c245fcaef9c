//! Why something has no price.

use crate::catalogue::Usage;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CostError {
    /// The catalogue does not know the instance type.
    #[error(
        "the catalogue has no instance type `{0}`\nhint: `kennel cost catalogue` lists those it has"
    )]
    UnknownType(String),
    /// The type is known, but not for this use in this region.
    #[error(
        "the catalogue has no price of `{name}` for {usage} in `{region}`\nhint: there are prices for {known}; `kennel cost refresh --region {region}` fetches AWS's price list"
    )]
    NoPrice {
        /// The type as it was asked for.
        name: String,
        /// For what.
        usage: Usage,
        /// Where.
        region: String,
        /// Some types that have a price, or where there are any.
        known: String,
    },
    /// No prices of a service in this region.
    #[error(
        "the catalogue has no prices of {service} in `{region}`\nhint: it has those of {known}; `kennel cost refresh --region {region}` fetches AWS's price list"
    )]
    NoRegion {
        /// `Lambda` or `S3`.
        service: &'static str,
        /// Where.
        region: String,
        /// The regions that it has.
        known: String,
    },
    /// A number that nothing can cost.
    #[error("`{value}` is no {what}\nhint: it must be {must}")]
    Number {
        /// What it should be.
        what: &'static str,
        /// What was given.
        value: String,
        /// What is allowed.
        must: &'static str,
    },
    /// A catalogue that cannot be read.
    #[error("the catalogue of prices cannot be read: {0}")]
    Catalogue(String),
    /// A file that is no price list of AWS's.
    #[error("this is no price list of AWS: {0}")]
    Offer(String),
}
