//! Which function an operation is, and whether it writes.

use kennel_store::state::rusqlite::Connection;
use serde_json::{Value, json};

use super::entities::Kind::{Role, User};
use super::error::Outcome;
use super::input::Call;
use super::{attachments, context_keys, entities, last_accessed, policies, roles, simulate, users};

pub(crate) type Run = fn(&Call, &Connection) -> Outcome<Value>;

/// How an operation touches the database.
pub(crate) enum Operation {
    Read(Run),
    /// A read that may take long.
    Apart(Run),
    Write(Run),
}

/// `None`: an operation that is not built.
pub(crate) fn find(name: &str) -> Option<Operation> {
    use Operation::{Apart, Read, Write};
    Some(match name {
        "CreateUser" => Write(users::create),
        "GetUser" => Read(users::get),
        "ListUsers" => Read(users::list),
        "UpdateUser" => Write(users::update),
        "DeleteUser" => Write(users::delete),
        "CreateAccessKey" => Write(users::create_key),
        "ListAccessKeys" => Read(users::list_keys),
        "UpdateAccessKey" => Write(users::update_key),
        "DeleteAccessKey" => Write(users::delete_key),
        "GetAccessKeyLastUsed" => Read(users::key_last_used),

        "CreateRole" => Write(roles::create),
        "GetRole" => Read(roles::get),
        "ListRoles" => Read(roles::list),
        "UpdateRole" => Write(roles::update),
        "UpdateRoleDescription" => Write(roles::update_description),
        "UpdateAssumeRolePolicy" => Write(roles::update_trust),
        "DeleteRole" => Write(roles::delete),

        "CreatePolicy" => Write(policies::create),
        "GetPolicy" => Read(policies::get),
        "ListPolicies" => Read(policies::list),
        "DeletePolicy" => Write(policies::delete),
        "CreatePolicyVersion" => Write(policies::create_version),
        "GetPolicyVersion" => Read(policies::get_version),
        "ListPolicyVersions" => Read(policies::list_versions),
        "DeletePolicyVersion" => Write(policies::delete_version),
        "SetDefaultPolicyVersion" => Write(policies::set_default),
        "ListEntitiesForPolicy" => Read(policies::list_entities),

        "AttachRolePolicy" => Write(|x, c| attachments::attach(x, c, Role)),
        "AttachUserPolicy" => Write(|x, c| attachments::attach(x, c, User)),
        "DetachRolePolicy" => Write(|x, c| attachments::detach(x, c, Role)),
        "DetachUserPolicy" => Write(|x, c| attachments::detach(x, c, User)),
        "ListAttachedRolePolicies" => Read(|x, c| attachments::list_attached(x, c, Role)),
        "ListAttachedUserPolicies" => Read(|x, c| attachments::list_attached(x, c, User)),
        "PutRolePolicy" => Write(|x, c| attachments::put_inline(x, c, Role)),
        "PutUserPolicy" => Write(|x, c| attachments::put_inline(x, c, User)),
        "GetRolePolicy" => Read(|x, c| attachments::get_inline(x, c, Role)),
        "GetUserPolicy" => Read(|x, c| attachments::get_inline(x, c, User)),
        "DeleteRolePolicy" => Write(|x, c| attachments::delete_inline(x, c, Role)),
        "DeleteUserPolicy" => Write(|x, c| attachments::delete_inline(x, c, User)),
        "ListRolePolicies" => Read(|x, c| attachments::list_inline(x, c, Role)),
        "ListUserPolicies" => Read(|x, c| attachments::list_inline(x, c, User)),

        "TagRole" => Write(|x, c| entities::tag(x, c, Role)),
        "TagUser" => Write(|x, c| entities::tag(x, c, User)),
        "UntagRole" => Write(|x, c| entities::untag(x, c, Role)),
        "UntagUser" => Write(|x, c| entities::untag(x, c, User)),
        "ListRoleTags" => Read(|x, c| entities::list_tags(x, c, Role)),
        "ListUserTags" => Read(|x, c| entities::list_tags(x, c, User)),
        "PutRolePermissionsBoundary" => Write(|x, c| entities::put_boundary(x, c, Role)),
        "PutUserPermissionsBoundary" => Write(|x, c| entities::put_boundary(x, c, User)),
        "DeleteRolePermissionsBoundary" => Write(|x, c| entities::delete_boundary(x, c, Role)),
        "DeleteUserPermissionsBoundary" => Write(|x, c| entities::delete_boundary(x, c, User)),

        "SimulatePrincipalPolicy" => Apart(simulate::principal),
        "SimulateCustomPolicy" => Apart(simulate::custom),
        "GetContextKeysForPrincipalPolicy" => Read(context_keys::of_principal),
        "GetContextKeysForCustomPolicy" => Read(context_keys::of_custom),
        // GenerateServiceLastAccessedDetails reads long and writes little: `Service::call` has it.
        "GetServiceLastAccessedDetails" => Read(last_accessed::get),
        "GetServiceLastAccessedDetailsWithEntities" => Read(last_accessed::with_entities),

        // Groups and instance profiles cannot be made here, so nobody has any; tools ask before they
        // delete a user or role.
        "ListGroupsForUser" => Read(|x, c| {
            entities::named(x, c, User)?;
            Ok(json!({"Groups": [], "IsTruncated": false}))
        }),
        "ListInstanceProfilesForRole" => Read(|x, c| {
            entities::named(x, c, Role)?;
            Ok(json!({"InstanceProfiles": [], "IsTruncated": false}))
        }),
        _ => return None,
    })
}
