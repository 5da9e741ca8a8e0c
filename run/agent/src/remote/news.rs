//! What lines for calls tell besides: that something of the node has changed.
//!
//! Each control plane's line is a teller, [`super::answer_calls`] hands on what it says, and
//! [`RemoteControl`](super::RemoteControl) follows it. Numbers of the log mean the same wherever they come
//! from, so what several lines tell of one commit is news once. Invariant: whatever a line tells first is news,
//! for what was told while it was not open is not known.

use super::protocol::Changes;
use std::sync::Arc;
use tokio::sync::watch;

/// What was told; nothing while no line tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    /// Counts tellings after which everything may have changed.
    pub(super) began: u64,
    pub(super) changes: Changes,
}

/// Gathers what lines tell.
pub(super) struct News {
    state: watch::Sender<State>,
}

#[derive(Default)]
struct State {
    tellers: usize,
    began: u64,
    changes: Changes,
}

/// One line, from its first telling on.
pub(super) struct Teller(Arc<News>);

impl News {
    pub(super) fn new() -> Arc<News> {
        Arc::new(News { state: watch::Sender::default() })
    }

    /// Changes with every news, and when the first line begins to tell or the last one ends.
    pub(super) fn follow(&self) -> Follower {
        Follower(self.state.subscribe())
    }

    /// A line begins to tell: this is so now.
    pub(super) fn open(self: &Arc<News>, now: Changes) -> Teller {
        self.state.send_modify(|state| {
            state.tellers += 1;
            state.began += 1;
            state.changes = now;
        });
        Teller(Arc::clone(self))
    }
}

impl Teller {
    /// The line tells more.
    pub(super) fn say(&self, now: Changes) {
        self.0.state.send_if_modified(|state| {
            let known = state.changes;
            state.changes = Changes {
                assignments: known.assignments.max(now.assignments),
                routing: known.routing.max(now.routing),
            };
            state.changes != known
        });
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.0.state.send_modify(|state| state.tellers -= 1);
    }
}

/// Somebody who wants to know.
pub(super) struct Follower(watch::Receiver<State>);

impl Follower {
    /// What is told now.
    pub(super) fn now(&mut self) -> Option<Told> {
        let State { tellers, began, changes } = *self.0.borrow_and_update();
        (tellers > 0).then_some(Told { began, changes })
    }

    /// Resolves when that may be something else.
    pub(super) async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(assignments: u64, routing: u64) -> Changes {
        Changes { assignments, routing }
    }

    #[test]
    fn what_two_lines_tell_of_one_commit_is_news_once() {
        let news = News::new();
        let mut follower = news.follow();
        assert_eq!(follower.now(), None);
        let (one, two) = (news.open(at(5, 5)), news.open(at(5, 5)));
        let told = follower.now().unwrap();
        one.say(at(7, 5));
        assert!(follower.0.has_changed().unwrap());
        assert_eq!(follower.now(), Some(Told { changes: at(7, 5), ..told }));
        two.say(at(7, 5));
        two.say(at(6, 5));
        assert!(!follower.0.has_changed().unwrap(), "known already");
        two.say(at(6, 6));
        assert_eq!(follower.now().unwrap().changes, at(7, 6));
    }

    #[test]
    fn whatever_a_line_tells_first_is_news() {
        let news = News::new();
        let mut follower = news.follow();
        let line = news.open(at(9, 9));
        let before = follower.now().unwrap();
        drop(line);
        assert_eq!(follower.now(), None);
        // The store was restored from a backup: its log is shorter.
        let line = news.open(at(3, 3));
        let after = follower.now().unwrap();
        assert!(after.began > before.began);
        line.say(at(4, 3));
        assert_eq!(follower.now().unwrap().changes, at(4, 3));
    }
}
