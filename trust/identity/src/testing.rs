//! A house for the tests of this crate: the org `home` with the project `default`, and the org `elsewhere`
//! with the project `foreign`.

use crate::{Asker, Principal};
use freehold_model::{Actor, Org, OrgId, OrgSpec, Project, ProjectId, ProjectSpec, Txn};
use freehold_reconcile::{MemoryStore, SystemClock, View};
use jiff::Timestamp;
use std::sync::Arc;

pub(crate) struct House {
    pub(crate) store: MemoryStore,
    pub(crate) org: OrgId,
    pub(crate) project: ProjectId,
    pub(crate) now: Timestamp,
}

impl House {
    pub(crate) fn new() -> House {
        let (org, project, now) =
            (OrgId(ulid::Ulid(1)), ProjectId(ulid::Ulid(2)), "2026-01-01T00:00:00Z".parse().unwrap());
        let house = House { store: MemoryStore::new(Arc::new(SystemClock)), org, project, now };
        let (far, foreign) = (OrgId(ulid::Ulid(3)), ProjectId(ulid::Ulid(4)));
        house.commit(|txn| {
            txn.put(&Org::new(org, "home", None, OrgSpec::default(), now));
            txn.put(&Org::new(far, "elsewhere", None, OrgSpec::default(), now));
            txn.put(&Project::new(project, "default", Some(org.into()), ProjectSpec::default(), now));
            txn.put(&Project::new(foreign, "foreign", Some(far.into()), ProjectSpec::default(), now));
        });
        house
    }

    pub(crate) fn commit(&self, fill: impl FnOnce(&mut Txn)) {
        let mut txn = Txn::new(Actor::System, "test", "req_test");
        fill(&mut txn);
        self.store.commit_now(txn).unwrap();
    }

    pub(crate) fn view(&self) -> Box<dyn View + Send> {
        Box::new(self.store.view_now())
    }

    pub(crate) fn root(&self) -> Asker {
        Asker { principal: Principal::root(), request: "req_test".into(), now: self.now }
    }
}
