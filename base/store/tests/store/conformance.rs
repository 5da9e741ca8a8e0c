//! The conformance suite on every backend there is.

use crate::support;

use freehold_reconcile::Store;
use std::sync::Arc;

mod sqlite {
    use super::*;

    async fn fresh() -> Arc<dyn Store> {
        Arc::new(support::TempStore::new())
    }

    freehold_store::conformance_tests!(fresh());
}

mod postgres {
    use super::*;

    async fn fresh() -> Arc<dyn Store> {
        Arc::new(crate::postgres::TempPostgres::new().await)
    }

    freehold_store::conformance_tests!(fresh());
}

mod memory {
    use super::*;
    use freehold_reconcile::{MemoryStore, SystemClock};

    async fn fresh() -> Arc<dyn Store> {
        Arc::new(MemoryStore::new(Arc::new(SystemClock)))
    }

    freehold_store::conformance_tests!(fresh());
}
