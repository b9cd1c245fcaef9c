//! From a folder of labelled photos to a trained model: datasets, the feature cache, heads trained
//! with burn, the report, and the job that ties them together.

pub mod cache;
pub mod collective;
pub mod dataset;
pub mod evaluate;
pub mod features;
pub mod head;
pub mod inspect;
pub mod job;
pub mod report;
pub mod samples;
pub mod tune;
