//! Plans, releases, rollouts and receipts.
