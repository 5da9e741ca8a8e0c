//! The next certificate of a machine that has joined: asked for with its key, before or after the last one
//! ended.

use super::{Refusal, holder, reissued};
use crate::{
    Peer,
    ca::{Authority, error::AuthorityError, request::Proved},
};
use freehold_model::{NodeId, NodeSpec, join::MachineCertificate};
use freehold_reconcile::ViewExt as _;

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
        self.certify_again(request, peer.node, &proved).await
    }

    /// The next certificate of `node`, whoever asks, for the key by which it is known: of no use without it.
    ///
    /// # Errors
    /// When the request is for another key, or the identity was revoked.
    pub async fn rejoin(
        &self,
        request: &str,
        node: NodeId,
        csr: &str,
    ) -> Result<MachineCertificate, AuthorityError> {
        self.certify_again(request, node, &Proved::read(csr)?).await
    }

    async fn certify_again(
        &self,
        request: &str,
        node: NodeId,
        proved: &Proved,
    ) -> Result<MachineCertificate, AuthorityError> {
        self.commit(|view| {
            let identity = holder(view, proved.fingerprint)?.filter(|it| it.parent == Some(node.into()));
            let identity = identity.filter(|it| it.spec.revoked.is_none()).ok_or(Refusal::Gone)?;
            view.find::<NodeSpec>(node)?.ok_or(Refusal::Gone)?;
            let (certificate, issued) = self.certify(view, node, proved)?;
            Ok((Some(reissued(identity, issued, request)), certificate))
        })
        .await
    }
}
