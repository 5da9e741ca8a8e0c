//! Plans, releases, rollouts and receipts.
//!
//! A change is planned ([`plan_deploy`], [`plan_rollback`], [`plan_remove`]), applied as one transaction
//! ([`apply()`]), and then carried out by two reconcilers: [`RolloutReconciler`] moves an env from one
//! release to another and keeps it there, [`TeardownReconciler`] removes apps. Nothing here does IO.

pub mod address;
mod apply;
mod claims;
mod error;
mod lookup;
mod plan;
mod rollout;
mod teardown;
mod templates;

pub use apply::apply;
pub use error::{PlanError, check_fresh, commit_problem};
pub use plan::{Request, plan_deploy, plan_remove, plan_rollback};
pub use rollout::RolloutReconciler;
pub use teardown::TeardownReconciler;
