//! Plans, releases, rollouts and receipts.
//!
//! A change is planned ([`plan_deploy`], [`plan_rollback`], [`plan_remove`]), applied as one transaction
//! ([`apply()`]; while another is under way, it waits), called off ([`cancel()`]), and carried out by two reconcilers: [`RolloutReconciler`] moves an env from one
//! release to another and keeps it there, [`TeardownReconciler`] removes apps. Nothing here does IO.

pub mod address;
mod apply;
mod cancel;
mod claims;
mod demands;
mod difference;
mod error;
mod lookup;
mod nodes;
mod plan;
mod queue;
pub mod quota;
pub mod retention;
mod rollout;
mod secrets;
mod standing;
mod teardown;
mod templates;
mod together;
mod verdict;
mod volumes;

pub use apply::{Asking, apply};
pub use cancel::{CancelError, cancel};
pub use demands::{
    cancel_demands, instance_demands, manifest_demands, new_volume_demands, plan_demands, volume_demands,
};
pub use difference::{Where, diff_releases, drift};
pub use error::{PlanError, check_fresh, commit_problem, disk_full};
pub use nodes::{DrainReconciler, change_node, drain_progress, remove_node};
pub use plan::{Request, blocked_by, plan_deploy, plan_remove, plan_renewal, plan_rollback};
pub use rollout::RolloutReconciler;
pub use standing::{Standing, Surroundings, ailment, standing};
pub use teardown::TeardownReconciler;
pub use volumes::{
    Asker, ChangeError, cancel_volume_task, change_volume, create_volume, delete_volume, recreate_volume,
};
