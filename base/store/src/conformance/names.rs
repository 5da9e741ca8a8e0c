//! Names: unique among resources of one kind with one parent, at the top as well.

use super::fixture::{Subject, app, commit, refused, resource, stored, writes};
use crate::assert_shape;
use freehold_model::{CommitError, Kind, Write};

/// The same name under another parent or of another kind is another name.
pub async fn a_name_is_taken_once_per_kind_and_parent(store: Subject) {
    let top = stored(&store, app("web", None)).await;
    let inner = stored(&store, app("web", Some(top.id))).await;
    stored(&store, app("web", Some(inner.id))).await;
    stored(&store, resource(Kind::Env, "web", Some(top.id))).await;
    stored(&store, app("Web", None)).await;
    for (parent, owner) in [(None, top.id), (Some(top.id), inner.id)] {
        let error = refused(&store, writes([Write::Put(app("web", parent))])).await;
        assert_shape!(
            error,
            CommitError::NameTaken { kind: Kind::App, name, owner: found } if name == "web" && *found == owner
        );
    }
}

/// Also within one transaction, in order.
pub async fn a_name_is_free_again_after_deletion(store: Subject) {
    let first = stored(&store, app("web", None)).await;
    let second = app("web", None);
    let early = writes([Write::Put(second.clone()), Write::Delete { id: first.id }]);
    assert_shape!(refused(&store, early).await, CommitError::NameTaken { .. });
    commit(&store, writes([Write::Delete { id: first.id }, Write::Put(second)])).await;
}

/// A replacement may move to a free name and parent only.
pub async fn a_replacement_cannot_take_a_name(store: Subject) {
    let first = stored(&store, app("first", None)).await;
    let mut second = stored(&store, app("second", None)).await;
    second.name = "first".into();
    let error = refused(&store, writes([Write::Put(second.clone())])).await;
    assert_shape!(error, CommitError::NameTaken { owner, .. } if *owner == first.id);
    second.parent = Some(first.id);
    let moved = stored(&store, second).await;
    assert_eq!((moved.name.as_str(), moved.parent), ("first", Some(first.id)));
}
