//! Chooses the range of instances' addresses, at a start, before anything has one.
//!
//! Invariant: a range that somebody else uses on this machine is never begun with, and one that has instances
//! is never left: then it is said that somebody uses it, and nothing else changes.

use anyhow::{Context as _, Result, bail};
use freehold_deploy::address::{CANDIDATES, Range};
use freehold_model::{Actor, Claim, OrgSpec, Txn};
use freehold_reconcile::{Store, ViewExt as _};
use std::{fs, io, path::Path};

/// What is known before choosing.
struct Known {
    /// The house's range as of now.
    range: Range,
    /// Something has an address in it.
    inhabited: bool,
    /// What `--instances-range` says.
    wanted: Option<Range>,
}

/// Returns the house's range, and chooses another where it must and can. `users` says who else
/// uses one on this machine.
pub(crate) async fn choose(
    store: &dyn Store,
    wanted: Option<Range>,
    users: impl Fn(Range) -> io::Result<Vec<String>>,
) -> Result<Range> {
    let view = store.view().await?;
    let range = Range::of(&*view)?;
    let inhabited = !view.claims(Claim::ADDRESS)?.is_empty();
    let org = view.named::<OrgSpec>(None, "home")?.context("there is no org `home` to keep the range")?.id;
    drop(view);
    let chosen = decide(&Known { range, inhabited, wanted }, |range| {
        users(range).unwrap_or_else(|error| {
            tracing::warn!(%error, "who else uses the range of instances is not known");
            vec![]
        })
    })?;
    if chosen != range {
        let mut txn = Txn::new(Actor::System, "the range of instances' addresses", "range");
        txn.releases.push((Claim::RANGE.into(), range.to_string()));
        txn.claim(Claim::RANGE, chosen, org);
        store.commit(txn).await.context("cannot keep the range of instances")?;
        tracing::warn!(%chosen, instead_of = %range, "instances get addresses in another range");
    }
    Ok(chosen)
}

fn decide(known: &Known, users: impl Fn(Range) -> Vec<String>) -> Result<Range> {
    let range = known.range;
    match known.wanted {
        Some(wanted) if wanted != range && known.inhabited => bail!(
            "instances have addresses in {range}, so they cannot get others in {wanted}: delete what runs first, or start \
             without --instances-range"
        ),
        _ if known.inhabited => return Ok(range),
        Some(wanted) => match users(wanted).as_slice() {
            [] => return Ok(wanted),
            used => bail!(
                "{wanted} is used on this machine already: {}; name another range with --instances-range",
                used.join("; ")
            ),
        },
        None => {}
    }
    let mut refused = vec![];
    for candidate in std::iter::once(range).chain(CANDIDATES.into_iter().filter(|it| *it != range)) {
        match users(candidate).as_slice() {
            [] => return Ok(candidate),
            used => refused.push(format!("{candidate}: {}", used.join("; "))),
        }
    }
    bail!(
        "every range that instances could have is used on this machine: name a free one with --instances-range\n  {}",
        refused.join("\n  ")
    )
}

/// The range that a far node was told of last.
pub(crate) fn told(data: &Path) -> Range {
    let text = fs::read_to_string(data.join("agent/range")).unwrap_or_default();
    text.trim().parse().unwrap_or(freehold_deploy::address::DEFAULT)
}

/// Keeps what a far node was told, for its next start.
pub(crate) fn keep(data: &Path, range: Range) -> Result<()> {
    fs::write(data.join("agent/range"), range.to_string()).context("cannot keep the range of instances")
}

#[cfg(test)]
mod tests {
    use super::*;
    use freehold_deploy::address::DEFAULT;

    fn decided(
        range: &str,
        inhabited: bool,
        wanted: Option<&str>,
        used: &[&str],
    ) -> std::result::Result<String, String> {
        let read = |text: &str| text.parse::<Range>().unwrap();
        let known = Known { range: read(range), inhabited, wanted: wanted.map(read) };
        let users = |range: Range| match used.contains(&range.to_string().as_str()) {
            true => vec!["the interface tun0".to_owned()],
            false => vec![],
        };
        decide(&known, users).map(|range| range.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_first_that_is_free_is_taken_and_what_has_instances_stays() {
        let (first, second) = (DEFAULT.to_string(), CANDIDATES[1].to_string());
        assert_eq!(decided(&first, false, None, &[]).unwrap(), first);
        assert_eq!(decided(&first, false, None, &[&first]).unwrap(), second);
        assert_eq!(decided(&second, false, None, &[]).unwrap(), second, "what was chosen once stays");
        assert_eq!(decided(&first, true, None, &[&first]).unwrap(), first, "it has instances");
        assert_eq!(decided(&first, false, Some("10.99.0.0/16"), &[]).unwrap(), "10.99.0.0/16");
        assert_eq!(decided(&first, true, Some(&first), &[&first]).unwrap(), first);
    }

    #[test]
    fn a_refusal_says_who_uses_it_and_what_to_do() {
        let first = DEFAULT.to_string();
        let said = decided(&first, false, Some(&first), &[&first]).unwrap_err();
        assert!(said.contains("the interface tun0") && said.contains("--instances-range"), "{said}");
        let said = decided(&first, true, Some("10.99.0.0/16"), &[]).unwrap_err();
        assert!(said.contains(&first) && said.contains("10.99.0.0/16"), "{said}");
        let all: Vec<String> = CANDIDATES.iter().map(ToString::to_string).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let said = decided(&first, false, None, &all).unwrap_err();
        assert!(
            said.contains("--instances-range") && said.contains("192.168.208.0/20: the interface"),
            "{said}"
        );
    }
}
