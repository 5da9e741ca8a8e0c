//! Rotation of the authority without an outage: what is new signs at once, what is old is trusted until
//! nobody depends on it.
//!
//! A new intermediate needs nothing: machines trust roots. A new root is certified by the one before it too
//! (cross-signed, RFC 5280, 3.2), so machines that know only that one follow the chain to it; each renewal
//! brings them the new root. Invariant: a root goes only after every machine that is let in was seen to use a
//! certificate under a newer one, and no usable join token names it; unless somebody forces it.

use super::{Authority, error::AuthorityError, find, issue};
use freehold_model::{
    Actor, AuthoritySpec, CaCertificate, Code, IdentitySpec, JoinTokenSpec, Problem, Txn,
    join::{AuthoritySummary, CaSummary, Rotate, Rotation},
};
use freehold_reconcile::{View, ViewExt as _};
use jiff::Timestamp;
use serde_json::json;

/// More roots than this are not trusted at once: chains would grow.
const MAX_ROOTS: usize = 3;

/// Who depends on which certificate of the authority.
struct Dependent {
    name: String,
    root: u32,
    intermediate: u32,
}

impl Authority {
    /// Replaces root or intermediate, and drops what nobody depends on any more.
    ///
    /// # Errors
    /// When there are too many roots already, or the keys or the store cannot be used.
    pub async fn rotate(
        &self,
        actor: &Actor,
        request: &str,
        wanted: &Rotate,
    ) -> Result<AuthoritySummary, AuthorityError> {
        self.ensure().await?;
        if wanted.what != Rotation::Nothing {
            // Until the commit, so that the root key under which the new ones are sealed is not forgotten.
            let _turn = self.vault.turn().await;
            self.commit(|view| self.decide_rotation(view, actor, request, wanted.what)).await?;
        }
        self.retire(actor, request, wanted.force).await?;
        self.refresh().await?;
        self.summary(&*self.store.view().await?)
    }

    fn decide_rotation(
        &self,
        view: &dyn View,
        actor: &Actor,
        request: &str,
        what: Rotation,
    ) -> Result<(Option<Txn>, ()), AuthorityError> {
        let mut authority = find(view)?.ok_or(AuthorityError::Missing)?;
        let now = self.clock.now();
        let mut txn = Txn::new(actor.clone(), "rotate the certificate authority", request);
        if what == Rotation::Root {
            self.add_root(&mut authority.spec, now)?;
            let root = &authority.spec.roots[0];
            let data = json!({ "number": root.number, "fingerprint": root.fingerprint });
            txn.event(authority.id, "authority.root_rotated", data);
        }
        self.add_intermediate(&mut authority.spec, now)?;
        let newest = &authority.spec.intermediates[0];
        let data = json!({ "number": newest.number, "fingerprint": newest.fingerprint, "root": newest.root });
        txn.put_spec(&authority).event(authority.id, "authority.intermediate_rotated", data);
        Ok((Some(txn), ()))
    }

    fn add_root(&self, spec: &mut AuthoritySpec, now: Timestamp) -> Result<(), AuthorityError> {
        if spec.roots.len() >= MAX_ROOTS {
            let title = format!("{MAX_ROOTS} roots are trusted already.");
            let problem = Problem::new(Code::Conflict, title).hint(
                "`freehold ca status` shows who depends on the old ones; rotate again once they are gone.",
            );
            return Err(problem.into());
        }
        let older = spec.roots.first_mut().ok_or(AuthorityError::Missing)?;
        let (house, number) = (&spec.house, spec.last + 1);
        let made = issue::root(house, number, now)?;
        let cross = issue::cross(house, number, &made, &self.signer(house, older)?)?;
        let kept = self.kept(house, (number, number), &made, Some(cross.pem()), now);
        // It has signed its last.
        forget(older);
        spec.roots.insert(0, kept);
        spec.last = number;
        Ok(())
    }

    fn add_intermediate(&self, spec: &mut AuthoritySpec, now: Timestamp) -> Result<(), AuthorityError> {
        let root = spec.roots.first().ok_or(AuthorityError::Missing)?;
        let (house, number) = (&spec.house, spec.last + 1);
        let made = issue::intermediate(house, number, now, &self.signer(house, root)?)?;
        let kept = self.kept(house, (number, root.number), &made, None, now);
        spec.intermediates.iter_mut().for_each(forget);
        spec.intermediates.insert(0, kept);
        spec.last = number;
        Ok(())
    }

    /// Drops what nobody depends on any more; with `force`, every root but the newest.
    pub(crate) async fn retire(
        &self,
        actor: &Actor,
        request: &str,
        force: bool,
    ) -> Result<(), AuthorityError> {
        self.commit(|view| {
            let mut authority = find(view)?.ok_or(AuthorityError::Missing)?;
            let needs = dependents(view, &authority.spec, self.clock.now())?;
            let gone = drop_unneeded(&mut authority.spec, &needs, force);
            if gone.is_empty() {
                return Ok((None, ()));
            }
            let mut txn = Txn::new(actor.clone(), "drop what nobody depends on", request);
            let data = json!({ "numbers": gone, "forced": force });
            txn.put_spec(&authority).event(authority.id, "authority.retired", data);
            Ok((Some(txn), ()))
        })
        .await
    }

    /// Keeps the authority in order: drops what is not needed, replaces the intermediate in time.
    pub(crate) async fn tidy(&self, spec: &AuthoritySpec) -> Result<(), AuthorityError> {
        if spec.roots.len() > 1 || spec.intermediates.len() > 1 {
            self.retire(&Actor::System, "authority", false).await?;
        }
        let due = |one: &CaCertificate| issue::renew_at(one.created, one.not_after) <= self.clock.now();
        if spec.intermediates.first().is_some_and(due) {
            let _turn = self.vault.turn().await;
            self.commit(|view| {
                let now = find(view)?.ok_or(AuthorityError::Missing)?.spec;
                match now.intermediates.first().is_some_and(due) {
                    true => self.decide_rotation(view, &Actor::System, "authority", Rotation::Intermediate),
                    // Another control plane was faster.
                    false => Ok((None, ())),
                }
            })
            .await?;
        }
        Ok(())
    }

    /// How the authority is, and who depends on what.
    ///
    /// # Errors
    /// When the view fails, or there is no authority yet.
    pub fn summary(&self, view: &dyn View) -> Result<AuthoritySummary, AuthorityError> {
        let Some(authority) = find(view)? else {
            let problem = Problem::new(Code::NotFound, "There is no certificate authority yet.");
            let hint = "The first `freehold node token create`, or a start with --node-listen, makes it.";
            return Err(problem.hint(hint).into());
        };
        let spec = authority.spec;
        let needs = dependents(view, &spec, self.clock.now())?;
        let of = |needed: &dyn Fn(&Dependent) -> bool| -> Vec<String> {
            needs.iter().filter(|it| needed(it)).map(|it| it.name.clone()).collect()
        };
        let roots = spec.roots.iter().map(|one| brief(one, of(&|it| it.root == one.number)));
        let intermediates = spec.intermediates.iter().map(|one| {
            let needed_by = of(&|it| it.intermediate == one.number);
            brief(one, needed_by)
        });
        let (roots, intermediates) = (roots.collect(), intermediates.collect());
        Ok(AuthoritySummary { house: spec.house, roots, intermediates })
    }
}

fn forget(one: &mut CaCertificate) {
    (one.sealed, one.key) = (None, None);
}

/// Takes out of `spec` what nobody needs, the oldest roots first; answers with their numbers.
fn drop_unneeded(spec: &mut AuthoritySpec, needs: &[Dependent], force: bool) -> Vec<u32> {
    let mut gone = vec![];
    while spec.roots.len() > 1 {
        let oldest = spec.roots[spec.roots.len() - 1].number;
        if !force && needs.iter().any(|it| it.root == oldest) {
            break;
        }
        spec.roots.pop();
        gone.push(oldest);
    }
    // Nobody knows the root that certified it.
    if let Some(oldest) = spec.roots.last_mut() {
        oldest.cross = None;
    }
    let (newest, mut at) = (spec.intermediates.first().map(|one| one.number), 0);
    while at < spec.intermediates.len() {
        let one = &spec.intermediates[at];
        let needed = needs.iter().any(|it| it.intermediate == one.number) && !gone.contains(&one.root);
        if Some(one.number) == newest || needed {
            at += 1;
        } else {
            gone.push(one.number);
            spec.intermediates.remove(at);
        }
    }
    gone
}

/// Who depends on the authority: machines that are let in, by the certificate that they were seen to use, and
/// join tokens that can be used.
fn dependents(
    view: &dyn View,
    spec: &AuthoritySpec,
    now: Timestamp,
) -> Result<Vec<Dependent>, AuthorityError> {
    let mut all = vec![];
    for identity in view.all::<IdentitySpec>(None)?.into_iter().filter(|it| it.spec.revoked.is_none()) {
        let Some(parent) = identity.parent else { continue };
        let Some(machine) = view.get(parent)? else { continue };
        let Some(has) = identity.status.used.or(identity.status.issued) else { continue };
        all.push(Dependent { name: machine.name.clone(), root: has.root, intermediate: has.intermediate });
    }
    for token in view.all::<JoinTokenSpec>(None)? {
        let usable = token.status.used.is_none() && token.spec.revoked.is_none() && token.spec.expires > now;
        let root = spec.roots.iter().find(|root| root.fingerprint == token.spec.root);
        if let Some(root) = root.filter(|_| usable) {
            all.push(Dependent {
                name: format!("join token {}", token.id),
                root: root.number,
                intermediate: 0,
            });
        }
    }
    Ok(all)
}

fn brief(one: &CaCertificate, needed_by: Vec<String>) -> CaSummary {
    CaSummary {
        number: one.number,
        root: one.root,
        fingerprint: one.fingerprint,
        certificate: one.certificate.clone(),
        created: one.created,
        not_after: one.not_after,
        signs: one.sealed.is_some(),
        needed_by,
    }
}
