//! Walks the event log and recomputes every hash, to find a cut or an edit.

use crate::ChainError;
use freehold_model::{Event, Seq};
use freehold_reconcile::View;

/// Rows read at a time.
const STRIDE: usize = 1000;

/// Checks the log that `view` sees; answers how long it is. It must be at least `reached` long, which is
/// what something other than the log says.
pub(crate) fn verify(view: &dyn View, reached: Seq) -> Result<Seq, ChainError> {
    let mut last = (0, Event::GENESIS.to_owned());
    loop {
        let events = match view.events(last.0, STRIDE, None) {
            Ok(events) => events,
            Err(_) => return Err(unreadable(view, last)),
        };
        if events.is_empty() {
            break;
        }
        for event in events {
            last = follow(last, event)?;
        }
    }
    // A cut at the end leaves a chain that holds, and resources that are ahead of it.
    if reached > last.0 {
        let problem = format!("is missing, though resources were written up to version {reached}");
        return Err(ChainError::Broken { seq: last.0 + 1, problem });
    }
    Ok(last.0)
}

type Link = (Seq, String);

/// The link after `last`, if `event` is what follows it.
fn follow((seq, hash): Link, event: Event) -> Result<Link, ChainError> {
    let broken = |problem: &str| ChainError::Broken { seq: seq + 1, problem: problem.to_owned() };
    if event.seq != seq + 1 {
        return Err(broken("is missing"));
    }
    if event.chain(&hash) != event.hash {
        return Err(broken("does not carry the hash of its content and of the row before it"));
    }
    Ok((event.seq, event.hash))
}

/// Some row after `last` cannot be decoded: finds which, one row at a time.
fn unreadable(view: &dyn View, mut last: Link) -> ChainError {
    loop {
        match view.events(last.0, 1, None).map(|mut events| events.pop()) {
            Ok(Some(event)) => match follow(last, event) {
                Ok(link) => last = link,
                Err(error) => return error,
            },
            Ok(None) => return ChainError::Engine("a row could be read only at the second try".into()),
            Err(error) => {
                return ChainError::Broken { seq: last.0 + 1, problem: format!("cannot be read ({error})") };
            }
        }
    }
}
