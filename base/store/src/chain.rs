//! Walks the event log and recomputes every hash, to find a cut or an edit. A log that was pruned is walked from
//! its anchor, which an event further on must name: the store's own pruning says so in the log, a cut does not.

use crate::ChainError;
use freehold_model::{Anchor, Broken, Link, Seq};
use freehold_reconcile::{StoreError, View};

/// Rows read at a time.
const STRIDE: usize = 1000;

/// Checks the log that `view` sees; answers how long it is. It must be at least `reached` long, which is
/// what something other than the log says.
pub(crate) fn verify(view: &dyn View, reached: Seq) -> Result<Seq, ChainError> {
    let engine = |error: StoreError| ChainError::Engine(error.to_string());
    let anchor = view.anchor().map_err(engine)?;
    let mut last = anchor.as_ref().map_or_else(Link::genesis, Anchor::link);
    let mut unsaid = anchor;
    loop {
        let events = match view.events(last.seq, STRIDE, None) {
            Ok(events) => events,
            Err(_) => return Err(unreadable(view, last)),
        };
        if events.is_empty() {
            break;
        }
        for event in events {
            last = last.follow(&event).map_err(broken)?;
            unsaid = unsaid.filter(|anchor| !anchor.is_said_by(&event));
        }
    }
    // A cut at the end leaves a chain that holds, and resources that are ahead of it.
    if reached > last.seq {
        let problem = format!("is missing, though resources were written up to version {reached}");
        return Err(ChainError::Broken { seq: last.seq + 1, problem });
    }
    unsaid.map_or(Ok(last.seq), |anchor| Err(broken(anchor.unsaid())))
}

fn broken(Broken { seq, problem }: Broken) -> ChainError {
    ChainError::Broken { seq, problem }
}

/// Some row after `last` cannot be decoded: finds which, one row at a time.
fn unreadable(view: &dyn View, mut last: Link) -> ChainError {
    loop {
        match view.events(last.seq, 1, None).map(|mut events| events.pop()) {
            Ok(Some(event)) => match last.follow(&event) {
                Ok(link) => last = link,
                Err(error) => return broken(error),
            },
            Ok(None) => return ChainError::Engine("a row could be read only at the second try".into()),
            Err(error) => {
                return ChainError::Broken {
                    seq: last.seq + 1,
                    problem: format!("cannot be read ({error})"),
                };
            }
        }
    }
}
