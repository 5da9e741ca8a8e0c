//! Where something is, as far as access goes: in which project, in which org, or the house's own.
//!
//! Doors ask [`Place::of`] about what a request names. Invariant: what is gone is where it was, so that its
//! receipts and events are shown to those who could see it and to nobody else.

use freehold_model::{AnyId, Kind, Name, OrgId, OrgSpec, Project, ProjectId, ProjectSpec};
use freehold_reconcile::{StoreError, View, ViewExt as _};

/// The org that the house belongs to, as the first start makes it.
pub(crate) const HOUSE: &str = OrgSpec::HOUSE;
/// The tree is a handful of levels deep; the bound keeps a defect from becoming a loop.
const DEPTH: usize = 16;

/// Where an action happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// In a project.
    Project {
        /// Its org.
        org: OrgId,
        /// Itself.
        project: ProjectId,
    },
    /// In an org as a whole.
    Org(OrgId),
    /// In what all orgs share: nodes, the key, users. It belongs to the house's org.
    House,
    /// Not said yet: whoever may do it somewhere gets on, and is asked again about each thing that is named.
    Anywhere,
}

impl Place {
    /// Where `id` is, or was while it was there; `None` if there never was such a thing.
    ///
    /// # Errors
    /// When the view fails.
    pub fn of(view: &dyn View, id: AnyId) -> Result<Option<Place>, StoreError> {
        let (mut id, mut project) = (id, None);
        for _ in 0..DEPTH {
            match id.kind {
                Kind::Project => project = Some(ProjectId(id.ulid)),
                Kind::Org => {
                    let org = OrgId(id.ulid);
                    let there = view.get(id)?.is_some();
                    return Ok(there.then_some(match project {
                        Some(project) => Place::Project { org, project },
                        None => Place::Org(org),
                    }));
                }
                _ => {}
            }
            match parent(view, id)? {
                Known::Under(parent) => id = parent,
                Known::Top => return Ok(Some(Place::House)),
                Known::Nothing => return Ok(None),
            }
        }
        Ok(None)
    }

    /// The project of that name. Names of projects are unique in the house.
    ///
    /// # Errors
    /// When the view fails.
    pub fn of_project(view: &dyn View, name: &str) -> Result<Option<Place>, StoreError> {
        let found = view.all::<ProjectSpec>(None)?.into_iter().find(|project| project.name == name);
        Ok(found.as_ref().and_then(Place::project))
    }

    /// The place that a project is.
    pub fn project(project: &Project) -> Option<Place> {
        let org = OrgId::try_from(project.parent?).ok()?;
        Some(Place::Project { org, project: project.id })
    }

    /// Where an image's repository is: `shop/web` is in the project `shop`, and nowhere (`None`) if there is no
    /// such project; `base`, and what was fetched from another registry, is the house's.
    ///
    /// # Errors
    /// When the view fails.
    pub fn of_repository(view: &dyn View, repository: &str) -> Result<Option<Place>, StoreError> {
        match repository.split_once('/') {
            Some((first, _)) if first.parse::<Name>().is_ok() => Place::of_project(view, first),
            _ => Ok(Some(Place::House)),
        }
    }
}

/// The org that the house belongs to.
///
/// # Errors
/// When the view fails.
pub fn house(view: &dyn View) -> Result<Option<OrgId>, StoreError> {
    Ok(view.named::<OrgSpec>(None, HOUSE)?.map(|org| org.id))
}

/// What a resource belongs to.
enum Known {
    Under(AnyId),
    Top,
    Nothing,
}

/// Of what is gone, the first event tells, or what was kept when that was pruned. Where neither does and the log
/// has lost its beginning, it may have been anywhere: then it is nowhere, and shown to nobody but root.
fn parent(view: &dyn View, id: AnyId) -> Result<Known, StoreError> {
    let under = |parent: Option<AnyId>| parent.map_or(Known::Top, Known::Under);
    if let Some(resource) = view.get(id)? {
        return Ok(under(resource.parent));
    }
    let first = view.events(0, 1, Some(id))?.into_iter().next();
    if let Some(parent) = first.as_ref().and_then(|first| first.data.get("parent")) {
        return Ok(under(parent.as_str().and_then(|parent| parent.parse().ok())));
    }
    if let Some(stone) = view.tombstone(id)? {
        return Ok(under(stone.parent));
    }
    let forgotten = Kind::LEAVES.contains(&id.kind) && view.beginning()? > 0;
    Ok(if first.is_none() || forgotten { Known::Nothing } else { Known::Top })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::House;
    use freehold_model::{App, AppId, AppSpec, Env, EnvId, EnvSpec, Prune, ReceiptId, Write};
    use serde_json::json;

    #[test]
    fn what_is_gone_is_where_it_was() {
        let house = House::new();
        let app = App::new(AppId(ulid::Ulid(77)), "web", Some(house.project.into()), AppSpec {}, house.now);
        house.commit(|txn| {
            txn.put(&app);
        });
        let place = Place::Project { org: house.org, project: house.project };
        assert_eq!(Place::of(&*house.view(), app.any_id()).unwrap(), Some(place));
        house.commit(|txn| {
            txn.delete(app.id);
        });
        assert_eq!(Place::of(&*house.view(), app.any_id()).unwrap(), Some(place));
        let never = AnyId { kind: Kind::App, ulid: ulid::Ulid(78) };
        assert_eq!(Place::of(&*house.view(), never).unwrap(), None);
        assert_eq!(Place::of(&*house.view(), house.org.into()).unwrap(), Some(Place::Org(house.org)));
    }

    /// Whatever was pruned of what happened to it, never is anything shown in another place than its own.
    #[test]
    fn what_is_gone_is_where_it_was_when_its_events_are_too() {
        let house = House::new();
        let env =
            Env::new(EnvId(ulid::Ulid(7)), "main", Some(house.project.into()), EnvSpec::default(), house.now);
        let of = |n, name: &str| {
            let id = ReceiptId(ulid::Ulid(n)).into();
            freehold_model::AnyResource {
                id,
                kind: Kind::Receipt,
                name: name.into(),
                parent: Some(env.id.into()),
                ..env.to_any()
            }
        };
        let (ended, kept) = (of(8, "ended"), of(9, "kept"));
        house.commit(|txn| {
            txn.put(&env);
            txn.writes.extend([Write::Put(ended.clone()), Write::Put(kept.clone())]);
        });
        house.commit(|txn| {
            txn.event(ended.id, "receipt.seen", json!({}));
        });
        house.commit(|txn| {
            txn.delete(ended.id).delete(env.id).event(ended.id, "receipt.missed", json!({}));
        });
        let place = Some(Place::Project { org: house.org, project: house.project });
        let of = |id: AnyId| Place::of(&*house.view(), id).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for last in 1..=house.view().version().unwrap() {
            house.commit(|txn| {
                let subject = house.org.into();
                txn.prune = Some(Prune { last, subject, policy: "test".into() });
            });
            assert_eq!((of(env.id.into()), of(kept.id)), (place, place), "up to {last}");
            let ended = of(ended.id);
            assert!(ended == place || ended.is_none(), "up to {last}: {ended:?}");
            seen.insert(ended.is_some());
        }
        assert_eq!(seen.len(), 2, "it was where it was until its end went too");
    }

    #[test]
    fn a_repository_is_where_its_first_word_is_a_project() {
        let house = House::new();
        let place = Place::Project { org: house.org, project: house.project };
        for (repository, expected) in [
            ("default/web", Some(place)),
            ("default/a/b", Some(place)),
            ("default", Some(Place::House)),
            ("other/web", None),
            ("registry.example/default/web", Some(Place::House)),
        ] {
            assert_eq!(Place::of_repository(&*house.view(), repository).unwrap(), expected, "{repository}");
        }
    }
}
