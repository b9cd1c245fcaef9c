//! What a training job would cost on AWS, for its last words: its billable seconds at its instance type.

use std::sync::LazyLock;

use kennel_cost::{Catalogue, Training, sentence};

use super::TrainingJob;
use crate::context::Timestamp;

/// The catalogue that is in the binary: the server asks nobody for prices.
static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(Catalogue::built_in);

/// One sentence about a job that ends at `ended`; none where it never started.
pub(super) fn of(job: &TrainingJob, ended: Timestamp) -> Option<String> {
    let billable = super::seconds_between(job.started?, ended);
    let request = job.request().ok()?;
    let resources = &request.resource_config;
    let bill = Training {
        instance_type: resources.instance_type.as_deref()?,
        count: resources.instance_count,
        billable_s: u64::try_from(billable).unwrap_or(0),
        spot: request.enable_managed_spot_training,
        region: &job.region,
    };
    Some(sentence(&CATALOGUE, &bill))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sagemaker::training::Status;

    fn job(instance_type: &str, spot: bool) -> TrainingJob {
        let request = json!({
            "TrainingJobName": "j",
            "AlgorithmSpecification": {"TrainingImage": "kennel/image-classification:1", "TrainingInputMode": "File"},
            "RoleArn": "arn:aws:iam::123456789012:role/r",
            "OutputDataConfig": {"S3OutputPath": "s3://b/out"},
            "ResourceConfig": {"InstanceCount": 2, "InstanceType": instance_type, "VolumeSizeInGB": 1},
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
            "EnableManagedSpotTraining": spot,
        });
        TrainingJob::new(request, "arn".into(), "us-east-1".into(), Timestamp(0), Vec::new())
    }

    #[test]
    fn the_last_message_has_awss_words_and_then_the_price() {
        let mut one = job("ml.m5.xlarge", false);
        one.started = Some(Timestamp(1000));
        one.finish(Status::Completed, "Completed", "Training job completed", Timestamp(96_500));
        assert_eq!(
            one.transitions.last().map(|t| t.message.as_str()),
            Some(
                "Training job completed; 96 billable seconds at ml.m5.xlarge × 2: $0.0123 (us-east-1, prices of 2026-09-24)"
            )
        );
        assert_eq!(one.seconds(), Some(96));
    }

    #[test]
    fn a_job_that_never_started_has_no_bill_and_an_unknown_type_no_price() {
        let mut one = job("ml.m5.xlarge", true);
        assert_eq!(of(&one, Timestamp(5000)), None);
        one.finish(Status::Stopped, "Stopped", "Training job stopped", Timestamp(5000));
        assert_eq!(
            one.transitions.last().map(|t| t.message.as_str()),
            Some("Training job stopped")
        );
        let mut other = job("ml.r5.large", false);
        other.started = Some(Timestamp(0));
        let said = of(&other, Timestamp(1)).unwrap();
        assert_eq!(
            said,
            "1 billable second at ml.r5.large × 2: no price of it is known in us-east-1"
        );
    }
}
