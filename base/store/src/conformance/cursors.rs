//! Cursors of consumers of the event log.

use super::fixture::{Subject, app, stored};

/// Each consumer has its own, from 0; the greatest place that was recorded counts.
pub async fn a_cursor_never_goes_back(store: Subject) {
    let cursor = async |name| store.cursor(name).await.expect("a read");
    let advance = async |name, seq| store.advance(name, seq).await.expect("a write");
    for n in 0..5 {
        stored(&store, app(&format!("a{n}"), None)).await;
    }
    assert_eq!(cursor("edge").await, 0);
    advance("edge", 3).await;
    advance("edge", 2).await;
    assert_eq!(cursor("edge").await, 3);
    advance("edge", 5).await;
    assert_eq!((cursor("edge").await, cursor("mail").await), (5, 0));
    assert_eq!(*store.head().borrow(), 5, "a cursor is no event");
}
