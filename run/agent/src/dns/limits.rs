//! What one instance may ask of the resolver at a time, and which of its questions were forbidden.

use freehold_model::InstanceId;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

/// So many questions of one instance wait for an answer; more are not heard, and asked again by who asked.
const AT_A_TIME: usize = 64;
/// So many forbidden names of one instance are written down.
const WRITTEN: usize = 50;

#[derive(Debug, Default)]
pub(super) struct Limits {
    all: Mutex<BTreeMap<InstanceId, One>>,
}

#[derive(Debug, Default)]
struct One {
    waiting: usize,
    forbidden: BTreeSet<String>,
}

/// A question that waits; dropped when it is answered.
pub(super) struct Place<'a> {
    limits: &'a Limits,
    id: InstanceId,
}

impl Limits {
    /// A place for one more question; `None` when the instance has too many.
    pub(super) fn place(&self, id: InstanceId) -> Option<Place<'_>> {
        self.with(id, |one| {
            let free = one.waiting < AT_A_TIME;
            one.waiting += usize::from(free);
            free.then(|| Place { limits: self, id })
        })
    }

    /// Whether it is worth writing down that `name` was forbidden: once each, and not without end.
    pub(super) fn is_news(&self, id: InstanceId, name: &str) -> bool {
        self.with(id, |one| one.forbidden.len() < WRITTEN && one.forbidden.insert(name.to_owned()))
    }

    fn with<T>(&self, id: InstanceId, act: impl FnOnce(&mut One) -> T) -> T {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        // Instances come and go: those that are long gone are not remembered.
        while all.len() > 4096 {
            all.pop_first();
        }
        act(all.entry(id).or_default())
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.limits.with(self.id, |one| one.waiting = one.waiting.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ulid::Ulid;

    #[test]
    fn one_instance_takes_no_place_of_another() {
        let limits = Limits::default();
        let (a, b) = (InstanceId(Ulid::from_parts(1, 1)), InstanceId(Ulid::from_parts(1, 2)));
        let mut places: Vec<_> = (0..AT_A_TIME).map(|_| limits.place(a).expect("a place")).collect();
        assert!(limits.place(a).is_none() && limits.place(b).is_some());
        places.pop();
        assert!(limits.place(a).is_some());
    }

    #[test]
    fn each_name_is_news_once_and_there_is_an_end_of_news() {
        let limits = Limits::default();
        let id = InstanceId(Ulid::from_parts(1, 1));
        assert!(limits.is_news(id, "a.example") && !limits.is_news(id, "a.example"));
        assert_eq!((0..100).filter(|n| limits.is_news(id, &format!("{n}.example"))).count(), WRITTEN - 1);
    }
}
