//! Making, listing and taking back join tokens.

use crate::{
    JoinTokenText,
    ca::{Authority, error::AuthorityError, find, newest_root},
};
use freehold_model::{
    Actor, Code, JoinToken, JoinTokenId, JoinTokenSpec, Millis, Problem, Txn,
    join::{CreateJoinToken, CreatedJoinToken, JoinTokenState, JoinTokenSummary},
    secrets::Hidden,
};
use freehold_reconcile::{Ids as _, SystemIds, View, ViewExt as _};
use jiff::Timestamp;
use serde_json::json;

/// How long a token can be used where nothing is said.
const TTL: Millis = Millis(3_600_000);
/// The longest.
const MAX_TTL: Millis = Millis(30 * 86_400_000);
/// Tokens that are of no use any more are forgotten after so long; the events stay.
const KEPT: Millis = Millis(30 * 86_400_000);

impl Authority {
    /// Makes a join token. The answer is the only place where it is ever in clear.
    ///
    /// # Errors
    /// When its life is too long or too short, or the store fails.
    pub async fn create_token(
        &self,
        actor: &Actor,
        request: &str,
        wanted: &CreateJoinToken,
    ) -> Result<CreatedJoinToken, AuthorityError> {
        let ttl = wanted.ttl.unwrap_or(TTL);
        if ttl > MAX_TTL || ttl.0 == 0 {
            let problem = Problem::new(Code::Invalid, format!("A join token cannot be used for {ttl}."));
            return Err(problem
                .detail("ttl: more than nothing, and at most 30 days")
                .hint("An hour is enough.")
                .into());
        }
        self.ensure().await?;
        let id = JoinTokenId(SystemIds.ulid());
        self.commit(|view| {
            let now = self.clock.now();
            let root = newest_root(&find(view)?.ok_or(AuthorityError::Missing)?.spec)?;
            let text = JoinTokenText::generate(id, root);
            let token = JoinToken::new(
                id,
                id.to_string(),
                None,
                JoinTokenSpec {
                    machine: wanted.machine,
                    hash: text.hash(),
                    root,
                    expires: now + ttl.signed(),
                    only: wanted.name.clone(),
                    actor: actor.clone(),
                    revoked: None,
                },
                now,
            );
            let mut txn =
                Txn::new(actor.clone(), format!("make a join token for a {}", wanted.machine), request);
            txn.put(&token);
            let data =
                json!({ "machine": wanted.machine, "expires": token.spec.expires, "only": wanted.name });
            txn.event(id, "jointoken.made", data);
            for old in
                view.all::<JoinTokenSpec>(None)?.iter().filter(|old| old.spec.expires + KEPT.signed() < now)
            {
                txn.delete(old.id);
            }
            let token = CreatedJoinToken {
                token: Hidden::new(text.reveal().to_string()),
                about: summary(&token, now),
            };
            Ok((Some(txn), token))
        })
        .await
    }

    /// Takes a join token back. One that was used or has expired stays as it is.
    ///
    /// # Errors
    /// When there is no such token, or the store fails.
    pub async fn revoke_token(
        &self,
        actor: &Actor,
        request: &str,
        id: JoinTokenId,
    ) -> Result<JoinTokenSummary, AuthorityError> {
        self.commit(|view| {
            let now = self.clock.now();
            let found = view.find::<JoinTokenSpec>(id)?;
            let mut token = found.ok_or_else(|| {
                Problem::new(Code::NotFound, format!("There is no join token {id}."))
                    .hint("`freehold node token list` shows those there are.")
            })?;
            if summary(&token, now).state != JoinTokenState::Usable {
                return Ok((None, summary(&token, now)));
            }
            token.spec.revoked = Some(now);
            let mut txn = Txn::new(actor.clone(), "revoke a join token", request);
            // Its use in the same moment is a conflict, and decided again.
            txn.expect(id, token.version).put_spec(&token).event(id, "jointoken.revoked", json!({}));
            Ok((Some(txn), summary(&token, now)))
        })
        .await
    }

    /// Every join token that is remembered, the newest first.
    ///
    /// # Errors
    /// When the view fails.
    pub fn tokens(&self, view: &dyn View) -> Result<Vec<JoinTokenSummary>, AuthorityError> {
        let now = self.clock.now();
        let all = view.all::<JoinTokenSpec>(None)?;
        Ok(all.iter().rev().map(|token| summary(token, now)).collect())
    }
}

fn summary(token: &JoinToken, now: Timestamp) -> JoinTokenSummary {
    let JoinToken { id, created, spec, status, .. } = token;
    let state = match status.used {
        Some(_) => JoinTokenState::Used,
        None if spec.revoked.is_some() => JoinTokenState::Revoked,
        None if spec.expires <= now => JoinTokenState::Expired,
        None => JoinTokenState::Usable,
    };
    JoinTokenSummary {
        id: *id,
        machine: spec.machine,
        only: spec.only.clone(),
        state,
        created: *created,
        expires: spec.expires,
        node: status.used.as_ref().map(|used| used.machine),
    }
}
