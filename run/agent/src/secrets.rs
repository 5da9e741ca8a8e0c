//! From what the control plane sealed for this node to what the runtime gives an instance: pure.

use freehold_model::{InstanceId, PinnedSecret};
use freehold_runtime::{Place, Secrets};
use freehold_secrets::{Delivered, KeyFile};

/// Whether `sealed` has every one of `pinned`, and this node can open them.
pub(crate) fn is_complete(
    sealed: &[Delivered],
    pinned: &[PinnedSecret],
    key: &KeyFile,
    id: InstanceId,
) -> bool {
    pinned.iter().all(|secret| find(sealed, secret).is_some_and(|it| it.open(key.keys(), id).is_ok()))
}

/// What the instance is given.
///
/// # Errors
/// Says which secret is missing, cannot be opened or cannot be where it is wanted.
pub(crate) fn opened(
    sealed: &[Delivered],
    pinned: &[PinnedSecret],
    key: &KeyFile,
    id: InstanceId,
) -> Result<Secrets, String> {
    let mut secrets = Secrets::none();
    for secret in pinned {
        let trouble = |why: String| format!("secret {} version {}: {why}", secret.name, secret.version);
        let delivered = find(sealed, secret).ok_or_else(|| trouble("it was not delivered".into()))?;
        let value = delivered.open(key.keys(), id).map_err(|error| trouble(error.to_string()))?;
        let variable = secret.env.clone().map(Place::Variable);
        for place in variable.into_iter().chain(secret.file.clone().map(Place::File)) {
            secrets.add(place, value.clone()).map_err(|why| trouble(why.into()))?;
        }
    }
    Ok(secrets)
}

fn find<'s>(sealed: &'s [Delivered], secret: &PinnedSecret) -> Option<&'s Delivered> {
    sealed.iter().find(|it| it.name == secret.name && it.version == secret.version)
}
