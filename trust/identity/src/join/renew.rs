//! The next certificate of a machine that has joined: asked for with its key, before or after the last one
//! ended.

use super::{Refusal, holder, reissued};
use crate::{
    Peer,
    ca::{Authority, error::AuthorityError, request::Proved},
};
use freehold_model::{AnyId, join::MachineCertificate};

impl Authority {
    /// The next certificate of `peer`, for the key that it has.
    ///
    /// # Errors
    /// When the request is for another key, or the identity was revoked.
    pub async fn renew(
        &self,
        request: &str,
        peer: &Peer,
        csr: &str,
    ) -> Result<MachineCertificate, AuthorityError> {
        let proved = Proved::read(csr)?;
        if proved.fingerprint != peer.key {
            return Err(Refusal::KeyTaken.into());
        }
        self.certify_again(request, peer.machine, &proved).await
    }

    /// The next certificate of `machine`, whoever asks, for the key by which it is known: of no use without it.
    ///
    /// # Errors
    /// When the request is for another key, or the identity was revoked.
    pub async fn rejoin(
        &self,
        request: &str,
        machine: AnyId,
        csr: &str,
    ) -> Result<MachineCertificate, AuthorityError> {
        self.certify_again(request, machine, &Proved::read(csr)?).await
    }

    async fn certify_again(
        &self,
        request: &str,
        machine: AnyId,
        proved: &Proved,
    ) -> Result<MachineCertificate, AuthorityError> {
        self.commit(|view| {
            let identity = holder(view, proved.fingerprint)?.filter(|it| it.parent == Some(machine));
            let identity = identity.filter(|it| it.spec.revoked.is_none()).ok_or(Refusal::Gone)?;
            view.get(machine)?.ok_or(Refusal::Gone)?;
            let (certificate, issued) = self.certify(view, machine, proved)?;
            Ok((Some(reissued(identity, issued, request)), certificate))
        })
        .await
    }
}
