//! Resources as callers see them: without what is sealed, which is for the vault alone.
//!
//! Invariant: every route that answers with resources passes them through here; a test plants a sealed
//! value and looks for it in each.

use freehold_model::{AnyResource, Kind, api::Description};

/// `resource` without what nobody else may see.
pub(crate) fn public(mut resource: AnyResource) -> AnyResource {
    if resource.kind == Kind::Secret
        && let Some(versions) = resource.spec.get_mut("versions").and_then(|it| it.as_array_mut())
    {
        for version in versions.iter_mut().filter_map(|it| it.as_object_mut()) {
            version.remove("sealed");
        }
    }
    // Of the authority and of join tokens, what is sealed or hashed is of use to nobody else either.
    match resource.kind {
        Kind::Authority => {
            for list in ["roots", "intermediates"] {
                let all = resource.spec.get_mut(list).and_then(|it| it.as_array_mut());
                all.into_iter().flatten().filter_map(|it| it.as_object_mut()).for_each(|one| {
                    one.remove("sealed");
                });
            }
        }
        Kind::User => {
            for secret in ["password", "invite", "second_factor", "passkeys", "answered", "linked"] {
                resource.spec.as_object_mut().and_then(|spec| spec.remove(secret));
            }
        }
        Kind::Issuer => {
            let keys = resource.spec.get_mut("keys").and_then(|it| it.as_array_mut());
            keys.into_iter().flatten().filter_map(|it| it.as_object_mut()).for_each(|key| {
                key.remove("sealed");
            });
        }
        Kind::IdentityProvider => {
            resource.spec.as_object_mut().and_then(|spec| spec.remove("secret"));
        }
        Kind::Grant => {
            resource.spec.as_object_mut().and_then(|spec| spec.remove("code"));
            for token in ["access", "refresh"] {
                resource.status.as_object_mut().and_then(|status| status.remove(token));
            }
        }
        Kind::JoinToken | Kind::Token | Kind::Session => {
            for secret in ["hash", "waits"] {
                resource.spec.as_object_mut().and_then(|spec| spec.remove(secret));
            }
        }
        _ => {}
    }
    resource
}

/// All of them.
pub(crate) fn all_public(resources: Vec<AnyResource>) -> Vec<AnyResource> {
    resources.into_iter().map(public).collect()
}

/// A description of which every resource is public.
pub(crate) fn description(description: Description) -> Description {
    Description {
        resource: public(description.resource),
        ancestors: all_public(description.ancestors),
        children: all_public(description.children),
        ..description
    }
}
