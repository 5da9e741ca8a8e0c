//! What every backend of the [`Store`](freehold_reconcile::Store) port must do, as scenarios.
//!
//! Each scenario is given a fresh, empty store and panics at the first departure. A backend's tests turn
//! all of them into tests of their own:
//!
//! ```ignore
//! freehold_store::conformance_tests!(async { Arc::new(MyStore::new()) as Arc<dyn Store> });
//! ```
//!
//! The semantics are those of `freehold_model::txn`; in particular:
//! - A transaction is judged in this order: fence, idempotency key, expected versions, writes, releases, claims, events,
//!   pruning.
//! - Versions and generations that writes name are those from before the transaction.
//! - Everything that one transaction writes gets one version: the sequence number of its last event.
//! - A write that changes nothing causes no event; a transaction that causes no event answers the head.

pub mod claims;
pub mod concurrency;
pub mod cursors;
pub mod fixture;
pub mod idempotency;
pub mod leases;
pub mod lists;
pub mod log;
pub mod names;
pub mod prune;
pub mod transactions;
pub mod writes;

/// One `#[tokio::test]` for each scenario. `$make` is a future of a fresh `Arc<dyn Store>`; it is
/// evaluated once for each test.
#[macro_export]
macro_rules! conformance_tests {
    ($make:expr) => {
        $crate::conformance_tests! { @each $make;
            writes::creating_stores_what_was_put,
            writes::creating_twice_is_stale,
            writes::replacing_needs_the_stored_version,
            writes::writing_to_nothing_is_missing,
            writes::the_generation_counts_changes_of_the_spec,
            writes::a_spec_needs_the_generation_it_was_read_at,
            writes::a_status_needs_the_version_it_was_read_at,
            writes::idle_writes_leave_no_trace,
            writes::deleting_is_stamped_once,
            writes::deleted_is_gone,
            transactions::one_transaction_writes_one_version,
            transactions::a_resource_read_once_takes_several_writes,
            transactions::expectations_must_hold,
            transactions::a_refused_transaction_changes_nothing,
            transactions::an_empty_transaction_answers_the_head,
            names::a_name_is_taken_once_per_kind_and_parent,
            names::a_name_is_free_again_after_deletion,
            names::a_replacement_cannot_take_a_name,
            claims::a_claim_has_one_owner,
            claims::claims_are_handed_over_in_one_transaction,
            claims::claims_go_with_their_owner,
            claims::a_claim_needs_an_owner_that_exists,
            claims::claims_are_listed_in_order_of_keys,
            claims::a_thousand_claims_of_addresses_at_once_have_one_owner_each,
            idempotency::a_repeat_answers_as_the_first_did,
            idempotency::a_refused_request_may_be_repeated,
            idempotency::old_answers_are_forgotten_and_no_others,
            lists::pages_hold_everything_once_in_order,
            lists::every_filter_narrows,
            lists::limits_are_clamped,
            log::each_write_says_what_it_did,
            log::events_read_back_as_they_were_chained,
            log::events_are_read_by_place_and_subject,
            concurrency::watchers_see_every_event_once_in_order,
            concurrency::a_refusal_leaves_its_neighbours_alone,
            concurrency::a_contended_claim_has_one_winner,
            concurrency::no_update_is_lost,
            concurrency::a_view_sees_one_moment,
            concurrency::a_commit_is_seen_once_it_is_answered,
            cursors::a_cursor_never_goes_back,
            prune::a_pruned_log_begins_behind_its_anchor,
            prune::who_reads_from_before_the_cut_is_told,
            prune::only_what_is_there_goes_and_only_once,
            prune::one_transaction_takes_a_bounded_number,
            prune::a_refused_transaction_prunes_nothing,
            prune::writes_and_pruning_go_together,
            prune::what_is_gone_stays_where_it_was,
            leases::a_lease_is_taken_only_as_it_was_seen,
            leases::leases_are_renewed_and_released_by_their_holder,
            leases::a_stale_fence_refuses_everything,
            leases::a_contended_lease_has_one_holder,
            leases::no_commit_follows_a_lease_that_moved_on,
            leases::a_keeper_replaces_one_that_died,
        }
    };
    (@each $make:expr; $($module:ident::$scenario:ident,)*) => {
        $(
            mod $scenario {
                use super::*;
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn holds() {
                    $crate::conformance::$module::$scenario($make.await).await;
                }
            }
        )*
    };
}
