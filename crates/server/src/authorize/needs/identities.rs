//! IAM and STS.

use super::{Asked, Known, Need, Needs, has_tags, pass, tags, values};
use crate::context::Principal;

pub(super) fn sts(asked: &Asked<'_>) -> Option<Needs> {
    match asked.operation {
        // https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html: "No permissions
        // are required", and a denial does not count.
        "GetCallerIdentity" | "GetSessionToken" => Some(Needs::Nothing),
        "GetAccessKeyInfo" => Some(Need::new("sts:GetAccessKeyInfo", "*").into()),
        "AssumeRole" => {
            let (role, input) = (asked.text("RoleArn"), asked.input);
            let mut keys = vec![
                ("sts:RoleSessionName".into(), values(input, "RoleSessionName")),
                ("sts:ExternalId".into(), values(input, "ExternalId")),
                ("sts:SourceIdentity".into(), values(input, "SourceIdentity")),
                ("sts:TransitiveTagKeys".into(), values(input, "TransitiveTagKeys[]")),
            ];
            keys.extend(tags(input, "Tags"));
            if let Some(known) = asked.lookup.role(role.rsplit('/').next().unwrap_or_default()) {
                keys.extend(resource_tags(&known));
            }
            let mut needs = vec![Need::new("sts:AssumeRole", role).and(&keys)];
            if has_tags(input, "Tags") {
                needs.push(Need::new("sts:TagSession", role).and(&keys));
            }
            if !asked.text("SourceIdentity").is_empty() {
                needs.push(Need::new("sts:SetSourceIdentity", role).and(&keys));
            }
            Some(Needs::All(needs))
        }
        _ => None,
    }
}

/// What an operation of IAM is about.
enum About {
    Role,
    User,
    Policy,
    /// No resource, or any.
    Nothing,
    /// The ARN in this member.
    Arn(&'static str),
}

fn about(operation: &str) -> Option<About> {
    Some(match operation {
        "CreateRole"
        | "GetRole"
        | "DeleteRole"
        | "UpdateRole"
        | "UpdateRoleDescription"
        | "UpdateAssumeRolePolicy"
        | "TagRole"
        | "UntagRole"
        | "ListRoleTags"
        | "PutRolePermissionsBoundary"
        | "DeleteRolePermissionsBoundary"
        | "AttachRolePolicy"
        | "DetachRolePolicy"
        | "ListAttachedRolePolicies"
        | "PutRolePolicy"
        | "GetRolePolicy"
        | "ListRolePolicies"
        | "DeleteRolePolicy"
        | "ListInstanceProfilesForRole" => About::Role,
        "CreateUser"
        | "GetUser"
        | "DeleteUser"
        | "UpdateUser"
        | "CreateAccessKey"
        | "ListAccessKeys"
        | "DeleteAccessKey"
        | "UpdateAccessKey"
        | "GetAccessKeyLastUsed"
        | "AttachUserPolicy"
        | "DetachUserPolicy"
        | "ListAttachedUserPolicies"
        | "PutUserPolicy"
        | "GetUserPolicy"
        | "DeleteUserPolicy"
        | "ListUserPolicies"
        | "TagUser"
        | "UntagUser"
        | "ListUserTags"
        | "PutUserPermissionsBoundary"
        | "DeleteUserPermissionsBoundary"
        | "ListGroupsForUser" => About::User,
        "CreatePolicy" => About::Policy,
        "GetPolicy"
        | "DeletePolicy"
        | "ListEntitiesForPolicy"
        | "CreatePolicyVersion"
        | "GetPolicyVersion"
        | "ListPolicyVersions"
        | "DeletePolicyVersion"
        | "SetDefaultPolicyVersion" => About::Arn("PolicyArn"),
        "SimulatePrincipalPolicy" => About::Arn("PolicySourceArn"),
        "GenerateServiceLastAccessedDetails" => About::Arn("Arn"),
        "ListRoles"
        | "ListUsers"
        | "ListPolicies"
        | "SimulateCustomPolicy"
        | "GetServiceLastAccessedDetails"
        | "GetServiceLastAccessedDetailsWithEntities"
        | "GetContextKeysForCustomPolicy"
        | "GetContextKeysForPrincipalPolicy"
        | "GetAccountAuthorizationDetails"
        | "GetAccountSummary"
        | "GenerateCredentialReport"
        | "GetCredentialReport" => About::Nothing,
        _ => return None,
    })
}

pub(super) fn iam(asked: &Asked<'_>) -> Option<Needs> {
    let (operation, input) = (asked.operation, asked.input);
    let path = || Some(asked.text("Path")).filter(|path| !path.is_empty()).unwrap_or("/");
    let arn = |kind: &str, path: &str, name: &str| {
        format!("arn:aws:iam::{}:{kind}{path}{name}", asked.account)
    };
    let known = match about(operation)? {
        About::Role if operation == "CreateRole" => {
            Known { arn: arn("role", path(), asked.text("RoleName")), ..Known::default() }
        }
        About::Role => {
            let name = asked.text("RoleName");
            let unknown = || Known { arn: arn("role", "/", name), ..Known::default() };
            asked.lookup.role(name).unwrap_or_else(unknown)
        }
        About::User if operation == "CreateUser" => {
            Known { arn: arn("user", path(), asked.text("UserName")), ..Known::default() }
        }
        About::User => user(asked),
        About::Policy => {
            Known { arn: arn("policy", path(), asked.text("PolicyName")), ..Known::default() }
        }
        About::Nothing => Known { arn: "*".to_owned(), ..Known::default() },
        About::Arn(member) => Known { arn: asked.text(member).to_owned(), ..Known::default() },
    };
    let mut keys = resource_tags(&known);
    keys.push((
        "iam:PolicyARN".into(),
        match operation {
            "AttachRolePolicy" | "DetachRolePolicy" | "AttachUserPolicy" | "DetachUserPolicy" => {
                values(input, "PolicyArn")
            }
            _ => Vec::new(),
        },
    ));
    // The boundary that the user or role has, or is to have.
    keys.push((
        "iam:PermissionsBoundary".into(),
        match operation {
            "CreateRole"
            | "CreateUser"
            | "PutRolePermissionsBoundary"
            | "PutUserPermissionsBoundary" => values(input, "PermissionsBoundary"),
            _ => known.boundary.iter().cloned().collect(),
        },
    ));
    let tagged = match operation {
        "UntagRole" | "UntagUser" => "TagKeys",
        _ => "Tags",
    };
    keys.extend(tags(input, tagged));
    let mut needs = vec![Need::new(asked.action("iam"), known.arn.clone()).and(&keys)];
    // https://docs.aws.amazon.com/IAM/latest/UserGuide/id_tags.html: tags at creation need their own right.
    let tagging = match operation {
        "CreateRole" => Some("iam:TagRole"),
        "CreateUser" => Some("iam:TagUser"),
        "CreatePolicy" => Some("iam:TagPolicy"),
        _ => None,
    };
    if let Some(action) = tagging.filter(|_| has_tags(input, "Tags")) {
        needs.push(Need::new(action, known.arn.clone()).and(&keys));
    }
    if operation == "UpdateUser"
        && let Some(moved) = moved(asked, &known.arn)
    {
        // Whoever renames needs the right on both names.
        needs.push(Need::new("iam:UpdateUser", moved).and(&keys));
    }
    Some(Needs::All(needs))
}

/// The user that a call is about; callers who name none mean themselves.
fn user(asked: &Asked<'_>) -> Known {
    let name = asked.text("UserName");
    let unknown = |arn: String| Known { arn, ..Known::default() };
    if asked.operation == "GetAccessKeyLastUsed" {
        let owner = asked.lookup.key_owner(asked.text("AccessKeyId"));
        return owner.unwrap_or_else(|| unknown(format!("arn:aws:iam::{}:user/*", asked.account)));
    }
    match (&asked.caller.principal, name) {
        (Principal::User { name, arn, .. }, "") => {
            asked.lookup.user(name).unwrap_or_else(|| unknown(arn.clone()))
        }
        (_, name) => {
            let arn = format!("arn:aws:iam::{}:user/{name}", asked.account);
            asked.lookup.user(name).unwrap_or_else(|| unknown(arn))
        }
    }
}

/// The ARN that UpdateUser makes of one, when it changes.
fn moved(asked: &Asked<'_>, arn: &str) -> Option<String> {
    let (prefix, rest) = arn.split_once(":user/")?;
    let (path, name) = rest.rsplit_once('/').unwrap_or(("", rest));
    let or = |new: &'_ str, old: String| if new.is_empty() { old } else { new.to_owned() };
    let path =
        or(asked.text("NewPath"), if path.is_empty() { "/".into() } else { format!("/{path}/") });
    let name = or(asked.text("NewUserName"), name.to_owned());
    Some(format!("{prefix}:user{path}{name}")).filter(|new| new != arn)
}

fn resource_tags(known: &Known) -> super::Keys {
    let both = |(key, value): &(String, String)| {
        ["aws", "iam"].map(|v| (format!("{v}:ResourceTag/{key}").into(), vec![value.clone()]))
    };
    known.tags.iter().flat_map(both).collect()
}

/// Handing a role to CloudTrail's reader, for Access Analyzer.
pub(super) fn pass_to_analyzer(role: &str) -> Need {
    pass(role, "access-analyzer.amazonaws.com")
}
