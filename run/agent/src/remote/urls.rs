//! The URLs of a node's control planes: those by which it joined, and those that are announced to it.
//!
//! Kept by [`Link`](super::Link); the pulse tells it what was announced and who is silent. Invariants: a URL by
//! which the node joined is always in the list; one that was announced stays until some control plane that
//! answers no longer names it; while none answers, nothing is forgotten.

use reqwest::Url;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::task::AbortOnDropHandle;

/// No more are taken from one control plane.
const MOST: usize = 32;

/// The list, and what is known of each.
pub struct Urls {
    joined: Vec<Url>,
    state: Mutex<State>,
    list: watch::Sender<Vec<Url>>,
    silent: watch::Sender<BTreeSet<Url>>,
}

struct State {
    /// What was announced before anybody was heard.
    kept: Vec<Url>,
    /// What each announced that answers.
    said: BTreeMap<Url, Vec<Url>>,
    /// Who answered last.
    current: Option<Url>,
}

impl Urls {
    pub(super) fn new(joined: Vec<Url>, announced: Vec<Url>) -> Urls {
        let state = State { kept: announced, said: BTreeMap::new(), current: None };
        let list = watch::Sender::new(state.list(&joined));
        Urls { joined, state: Mutex::new(state), list, silent: watch::Sender::default() }
    }

    /// All of them.
    pub fn all(&self) -> Vec<Url> {
        self.list.borrow().clone()
    }

    /// The list, whenever it changes.
    pub fn follow(&self) -> watch::Receiver<Vec<Url>> {
        self.list.subscribe()
    }

    /// Those that were announced, as texts: what is worth keeping.
    pub fn announced(&self) -> Vec<String> {
        let all = self.all();
        all.iter().filter(|url| !self.joined.contains(url)).map(text).collect()
    }

    /// The control plane at `url` answers, and announces these.
    pub(super) fn heard(&self, url: &Url, announced: &[String]) {
        self.silent.send_if_modified(|silent| silent.remove(url));
        let parse =
            |text: &String| whole(text).inspect_err(|error| tracing::warn!(%url, text, %error, "no URL"));
        let said: Vec<Url> = announced.iter().take(MOST).filter_map(|text| parse(text).ok()).collect();
        let mut state = self.lock();
        // One of an earlier version announces nothing, and one that stands alone nobody else.
        match said.is_empty() {
            true => drop(state.said.remove(url)),
            false => drop(state.said.insert(url.clone(), said)),
        }
        self.tell(&state);
    }

    /// The control plane at `url` does not answer.
    pub(super) fn unheard(&self, url: &Url) {
        self.silent.send_if_modified(|silent| silent.insert(url.clone()));
        let mut state = self.lock();
        if state.said.keys().any(|other| other != url) {
            state.said.remove(url);
            self.tell(&state);
        }
    }

    /// In the order in which they are to be tried: the one that answered last first, those that are silent last.
    pub(super) fn in_turn(&self) -> Vec<Url> {
        let (mut all, current) = (self.all(), self.lock().current.clone());
        let silent = self.silent.borrow();
        all.sort_by_key(|url| (silent.contains(url), Some(url) != current.as_ref()));
        all
    }

    /// The one at `url` has answered.
    pub(super) fn answered(&self, url: &Url) {
        self.lock().current = Some(url.clone());
    }

    /// Resolves when one that answered does so no more, and another may.
    pub(super) async fn falls_silent(&self, url: &Url) {
        let mut silent = self.silent.subscribe();
        if self.list.borrow().len() < 2 || silent.borrow_and_update().contains(url) {
            return std::future::pending().await;
        }
        let _ = silent.wait_for(|silent| silent.contains(url)).await;
    }

    fn tell(&self, state: &State) {
        let now = state.list(&self.joined);
        self.list.send_if_modified(|list| {
            let differs = *list != now;
            *list = now;
            differs
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn list(&self, joined: &[Url]) -> Vec<Url> {
        let said: BTreeSet<&Url> = match self.said.is_empty() {
            true => self.kept.iter().collect(),
            false => self.said.values().flatten().collect(),
        };
        let more = said.into_iter().filter(|url| !joined.contains(url));
        joined.iter().chain(more).cloned().collect()
    }
}

/// Runs one task for each URL, for as long as it is in the list.
pub(super) fn for_each(
    urls: &Urls,
    start: impl Fn(Url) -> JoinHandle<()> + Send + Sync + 'static,
) -> AbortOnDropHandle<()> {
    let (mut list, start) = (urls.follow(), Arc::new(start));
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut running: BTreeMap<Url, AbortOnDropHandle<()>> = BTreeMap::new();
        loop {
            let now = list.borrow_and_update().clone();
            running.retain(|url, _| now.contains(url));
            for url in now {
                running.entry(url.clone()).or_insert_with(|| AbortOnDropHandle::new(start(url)));
            }
            if list.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }))
}

/// A URL that paths are joined to.
///
/// # Errors
/// When it is none.
pub fn whole(text: &str) -> Result<Url, String> {
    let ended = if text.ends_with('/') { text.to_owned() } else { format!("{text}/") };
    ended.parse().map_err(|error| format!("{text} is no URL of a control plane: {error}"))
}

fn text(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(name: &str) -> Url {
        whole(&format!("https://{name}:7118")).unwrap()
    }

    fn names(all: &[Url]) -> Vec<&str> {
        all.iter().map(|url| url.host_str().unwrap()).collect()
    }

    fn said(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| format!("https://{name}:7118")).collect()
    }

    #[test]
    fn what_is_announced_is_added_and_the_joined_one_stays() {
        let urls = Urls::new(vec![url("home")], vec![url("old")]);
        assert_eq!(names(&urls.all()), ["home", "old"], "as it was kept");
        urls.heard(&url("home"), &said(&["a", "b"]));
        assert_eq!(names(&urls.all()), ["home", "a", "b"]);
        assert_eq!(urls.announced(), said(&["a", "b"]));
        // Two that do not agree: what either names stays, until one of them is silent.
        urls.heard(&url("b"), &said(&["b"]));
        assert_eq!(names(&urls.all()), ["home", "a", "b"]);
        urls.unheard(&url("home"));
        assert_eq!(names(&urls.all()), ["home", "b"]);
        urls.unheard(&url("b"));
        assert_eq!(names(&urls.all()), ["home", "b"], "while none answers, nothing is forgotten");
        urls.heard(&url("home"), &[]);
        assert_eq!(names(&urls.all()), ["home", "b"], "an earlier version names nobody");
    }

    #[test]
    fn the_silent_are_tried_last_and_the_one_that_answered_first() {
        let urls = Urls::new(vec![url("a"), url("b"), url("c")], vec![]);
        assert_eq!(names(&urls.in_turn()), ["a", "b", "c"]);
        urls.answered(&url("b"));
        assert_eq!(names(&urls.in_turn()), ["b", "a", "c"]);
        urls.unheard(&url("b"));
        assert_eq!(names(&urls.in_turn()), ["a", "c", "b"]);
        urls.heard(&url("b"), &[]);
        assert_eq!(names(&urls.in_turn()), ["b", "a", "c"]);
    }

    #[tokio::test]
    async fn a_task_runs_for_each_url_while_it_is_there() {
        let urls = Urls::new(vec![url("home")], vec![]);
        let (running, mut count) = watch::channel(BTreeSet::new());
        struct Runs(watch::Sender<BTreeSet<Url>>, Url);
        impl Drop for Runs {
            fn drop(&mut self) {
                self.0.send_if_modified(|all| all.remove(&self.1));
            }
        }
        let _tasks = for_each(&urls, move |url| {
            let running = running.clone();
            tokio::spawn(async move {
                running.send_if_modified(|all| all.insert(url.clone()));
                let _here = Runs(running, url);
                std::future::pending().await
            })
        });
        count.wait_for(|all| all.len() == 1).await.unwrap();
        urls.heard(&url("home"), &said(&["a", "b"]));
        count.wait_for(|all| all.len() == 3).await.unwrap();
        urls.heard(&url("home"), &said(&["b"]));
        count.wait_for(|all| all.len() == 2 && !all.contains(&url("a"))).await.unwrap();
    }
}
