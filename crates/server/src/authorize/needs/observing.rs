//! CloudWatch, its logs, CloudTrail and Access Analyzer.

use super::{Asked, Need, Needs, identities, tags, text, values};

pub(super) fn logs(asked: &Asked<'_>) -> Option<Needs> {
    let action = asked.action("logs");
    let resource = match asked.operation {
        "CreateLogGroup"
        | "DeleteLogGroup"
        | "DescribeLogGroups"
        | "DescribeLogStreams"
        | "FilterLogEvents"
        | "PutRetentionPolicy"
        | "DeleteRetentionPolicy"
        | "TagLogGroup"
        | "UntagLogGroup"
        | "ListTagsLogGroup" => stream(asked, ""),
        "CreateLogStream" | "DeleteLogStream" | "PutLogEvents" | "GetLogEvents" => {
            stream(asked, asked.text("logStreamName"))
        }
        // Tags are the group's, whose ARN has no `:*` here.
        "TagResource" | "UntagResource" | "ListTagsForResource" => {
            asked.text("resourceArn").trim_end_matches(":*").to_owned()
        }
        _ => return None,
    };
    let tagged = match asked.operation {
        "UntagLogGroup" => "tags",
        "UntagResource" => "tagKeys",
        _ => "tags",
    };
    Some(Need::new(action, resource).and(&tags(asked.input, tagged)).into())
}

/// AWS names a group in its decisions as the streams in it, so that `log-group:NAME:*` covers both:
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/iam-access-control-overview-cwl.html>.
fn stream(asked: &Asked<'_>, stream: &str) -> String {
    let named = asked.text("logGroupName");
    let group = if named.is_empty() { asked.text("logGroupIdentifier") } else { named };
    if group.starts_with("arn:") {
        return format!("{}:log-stream:{stream}", group.trim_end_matches(":*"));
    }
    asked.arn("logs", &format!("log-group:{group}:log-stream:{stream}"))
}

pub(super) fn cloudwatch(asked: &Asked<'_>) -> Option<Needs> {
    let (action, input) = (asked.action("cloudwatch"), asked.input);
    let alarm = |name: &str| asked.arn("cloudwatch", &format!("alarm:{name}"));
    let need = match asked.operation {
        "PutMetricData" => {
            Need::new(action, "*").with("cloudwatch:namespace", values(input, "Namespace"))
        }
        "GetMetricStatistics" | "GetMetricData" | "ListMetrics" | "DescribeAlarmsForMetric" => {
            Need::new(action, "*")
        }
        "PutMetricAlarm" => {
            let need = Need::new(action, alarm(text(input, "AlarmName")));
            need.with("cloudwatch:AlarmActions", values(input, "AlarmActions[]"))
                .and(&tags(input, "Tags"))
        }
        "SetAlarmState" => Need::new(action, alarm(text(input, "AlarmName"))),
        "DescribeAlarms" => Need::new(action, alarm("*")),
        "DescribeAlarmHistory" => {
            let name = text(input, "AlarmName");
            Need::new(action, alarm(if name.is_empty() { "*" } else { name }))
        }
        "TagResource" | "UntagResource" | "ListTagsForResource" => {
            let tagged = match asked.operation {
                "UntagResource" => "TagKeys",
                _ => "Tags",
            };
            Need::new(action, text(input, "ResourceARN")).and(&tags(input, tagged))
        }
        "DeleteAlarms" | "EnableAlarmActions" | "DisableAlarmActions" => {
            let names = values(input, "AlarmNames[]");
            return Some(match names.is_empty() {
                true => Need::new(action, alarm("*")).into(),
                false => Needs::All(
                    names.iter().map(|name| Need::new(action.clone(), alarm(name))).collect(),
                ),
            });
        }
        _ => return None,
    };
    Some(need.into())
}

pub(super) fn cloudtrail(asked: &Asked<'_>) -> Option<Needs> {
    match asked.operation {
        "LookupEvents" => Some(Need::new("cloudtrail:LookupEvents", "*").into()),
        _ => None,
    }
}

pub(super) fn access_analyzer(asked: &Asked<'_>) -> Option<Needs> {
    let need = Need::new(asked.action("access-analyzer"), "*");
    match asked.operation {
        "StartPolicyGeneration" => {
            let roles = values(asked.input, "cloudTrailDetails.accessRole");
            let mut needs = vec![need];
            needs.extend(roles.iter().map(|role| identities::pass_to_analyzer(role)));
            Some(Needs::All(needs))
        }
        "GetGeneratedPolicy"
        | "CancelPolicyGeneration"
        | "ListPolicyGenerations"
        | "ValidatePolicy"
        | "CheckNoNewAccess"
        | "CheckAccessNotGranted" => Some(need.into()),
        _ => None,
    }
}
