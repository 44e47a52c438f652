//! The cases of the metadata suite, by subject.

pub mod changes;
pub mod clearing;
pub mod closing;
pub mod conditions;
pub mod entries;
pub mod eviction;
pub mod expiry;
pub mod garbage;
pub mod leases;
pub mod limits;
pub mod listing;
pub mod names;
pub mod namespaces;
pub mod policies;
pub mod queries;
mod query_model;
pub mod quotas;
pub mod sharing;
pub mod statistics;
pub mod sweeping;

/// The built-in policies that evict.
const POLICIES: [&str; 5] = ["lru", "lfu", "fifo", "ttl", "size"];

/// The list of all cases, as tests.
#[doc(hidden)]
#[macro_export]
macro_rules! __metadata_cases {
    ($subject:ident) => {
        $crate::__metadata_cases!(@tests one $subject entries [
            a_put_entry_comes_back_with_every_field,
            inline_bytes_come_back_up_to_the_inline_limit,
            a_missing_entry_is_none,
            an_overwrite_replaces_the_entry,
            an_overwrite_moves_a_value_between_inline_and_blob,
            versions_only_rise_also_after_remove_and_clear,
            versions_only_rise_after_a_reopen,
            entries_and_the_cache_id_are_there_after_a_reopen,
            a_removed_entry_is_gone,
            removing_what_is_not_there_is_not_applied,
            a_touch_changes_the_expiry_and_counts_as_a_use,
            touching_what_is_not_there_is_not_applied,
            every_extension_of_a_ttl_counts,
            several_lookups_answer_in_the_order_asked,
        ]);
        $crate::__metadata_cases!(@tests one $subject conditions [
            a_put_if_absent_is_made_only_where_nothing_is,
            a_put_if_version_is_made_only_over_that_version,
            a_conditional_remove_hits_only_its_version,
            a_conditional_touch_hits_only_its_version,
            a_batch_makes_all_changes_in_order,
            a_batch_skips_what_does_not_hold_and_makes_the_rest,
            a_batch_that_fails_makes_no_change,
            an_empty_batch_does_nothing,
        ]);
        $crate::__metadata_cases!(@tests one $subject listing [
            a_listing_is_in_byte_order_of_namespace_and_key,
            a_prefix_is_data,
            a_listing_page_by_page_has_each_entry_once,
            a_cursor_stays_good_when_its_entry_is_removed,
            no_page_is_longer_than_the_longest_page,
            a_listing_can_tell_expired_entries_apart,
            a_listed_entry_is_the_one_that_was_put,
            a_damaged_record_is_named_and_keeps_nobody_from_the_others,
        ]);
        $crate::__metadata_cases!(@tests one $subject queries [
            a_glob_selects_by_the_whole_key,
            all_tags_that_are_asked_for_must_be_there,
            custom_fields_are_compared,
            sizes_and_times_have_bounds,
            a_filter_that_nothing_passes_ends,
            a_listing_is_sorted_as_it_is_asked_for,
            sorted_pages_neither_repeat_nor_skip_what_did_not_change,
            listings_agree_with_a_plain_model,
        ]);
        $crate::__metadata_cases!(@tests one $subject names [
            hostile_names_and_keys_are_data,
            hostile_tags_and_fields_are_data,
            the_longest_key_and_namespace_are_kept,
            the_same_key_in_two_namespaces_is_two_entries,
            namespaces_and_keys_that_join_alike_stay_apart,
            names_that_differ_in_case_or_normal_form_stay_apart,
        ]);
        $crate::__metadata_cases!(@tests one $subject namespaces [
            a_namespace_exists_from_its_first_write_until_dropped,
            namespaces_are_listed_in_order,
            a_dropped_namespace_takes_its_entries_and_counters_along,
            namespaces_are_there_after_a_reopen,
        ]);
        $crate::__metadata_cases!(@tests one $subject clearing [
            clear_removes_all_entries_of_one_namespace_and_counts_them,
            clear_keeps_the_counters,
            a_put_after_clear_works,
            an_old_entry_does_not_come_back_after_clear,
            cleared_blobs_become_garbage,
            a_clear_holds_after_a_reopen,
        ]);
        $crate::__metadata_cases!(@tests one $subject statistics [
            totals_follow_puts_overwrites_and_removes,
            totals_add_up_over_namespaces,
            totals_are_there_after_a_reopen,
            counters_add_up_over_batches,
            counters_of_a_namespace_without_entries_are_kept,
            reset_sets_counters_to_zero,
            the_oldest_entry_is_known,
            uses_are_recorded_for_the_version_that_was_read,
            an_overwrite_starts_the_hits_anew,
        ]);
        $crate::__metadata_cases!(@tests one $subject expiry [
            an_expired_entry_stays_until_it_is_purged,
            purge_removes_only_what_has_expired,
            purge_is_bounded_and_says_whether_there_is_more,
            purge_tells_which_entries_had_expired,
            a_touched_entry_is_purged_by_its_new_expiry,
        ]);
        $crate::__metadata_cases!(@tests one $subject garbage [
            a_superseded_blob_is_garbage_after_the_delay_and_not_before,
            a_removed_blob_is_garbage_after_the_delay_and_not_before,
            a_purged_blob_is_garbage,
            an_evicted_blob_is_garbage,
            a_change_that_was_skipped_makes_no_garbage,
            inline_values_make_no_garbage,
            due_garbage_is_bounded,
            forgotten_garbage_does_not_come_back,
            garbage_in_memory_can_be_forgotten_before_it_is_due,
            garbage_is_there_after_a_reopen,
            a_put_that_is_repeated_keeps_its_blob,
            a_put_that_is_repeated_after_its_namespace_was_cleared_or_dropped_keeps_its_blob,
        ]);
        $crate::__metadata_cases!(@tests one $subject sweeping [
            a_blob_is_unnamed_when_neither_an_entry_nor_the_garbage_has_it,
            an_entry_cannot_name_a_blob_that_was_swept_away,
            an_entry_keeps_a_blob_that_a_sweep_asked_for_in_vain,
        ]);
        $crate::__metadata_cases!(@tests one $subject limits [
            the_limit_of_entries_holds_after_every_put,
            the_limit_of_bytes_holds_after_every_put,
            an_overwrite_needs_room_only_for_the_difference,
            one_large_value_may_evict_many,
            one_large_value_may_evict_very_many_and_no_more_than_it_must,
            a_value_over_the_whole_limit_is_refused_and_evicts_nothing,
            what_is_being_put_is_never_the_victim,
            a_batch_that_replaces_in_a_full_cache_loses_nothing,
            evictions_are_reported_with_their_reason,
            a_lower_limit_evicts_before_it_returns,
            limits_span_namespaces,
            without_limits_nothing_is_evicted,
            cleared_entries_take_no_room,
            a_batch_into_a_full_cache_evicts_what_was_there_and_none_of_itself,
        ]);
        $crate::__metadata_cases!(@tests one $subject eviction [
            what_has_expired_is_evicted_first,
            a_lower_priority_is_evicted_first,
            lru_evicts_the_one_unused_for_longest,
            lru_knows_recorded_uses,
            lru_knows_uses_that_are_only_in_the_access_log,
            lfu_evicts_the_one_used_least,
            lfu_ages_so_that_old_popularity_passes,
            fifo_evicts_in_the_order_of_puts,
            ttl_evicts_the_one_that_expires_next,
            size_evicts_the_largest,
            a_changed_order_ranks_anew_and_loses_nothing,
        ]);
        $crate::__metadata_cases!(@tests one $subject policies [
            none_refuses_a_put_past_the_limit_and_changes_nothing,
            under_none_what_has_expired_makes_room,
            a_policy_of_others_decides_who_goes,
            a_policy_that_panics_does_no_harm,
            a_policy_that_is_not_known_is_an_error_until_another_is_named,
        ]);
        $crate::__metadata_cases!(@tests one $subject quotas [
            a_namespaces_limit_takes_only_its_own,
            a_namespaces_limit_that_is_set_later_finds_what_is_there,
            in_a_namespace_what_has_expired_goes_first,
            a_value_over_a_namespaces_limit_is_refused,
            the_limits_of_a_namespace_and_of_the_cache_hold_together,
            a_namespaces_limit_outlives_clear_and_not_drop,
            limits_are_stored_and_what_is_not_given_stays,
        ]);
        $crate::__metadata_cases!(@tests many $subject sharing [
            concurrent_puts_of_different_keys_are_all_there,
            concurrent_puts_of_one_key_leave_exact_totals,
            of_concurrent_conditional_puts_one_wins,
            limits_hold_under_concurrent_puts,
            two_that_are_open_see_each_others_writes,
            two_that_are_open_issue_no_version_twice,
        ]);
        $crate::__metadata_cases!(@tests one $subject leases [
            a_lease_has_one_holder,
            a_holder_that_asks_again_keeps_its_lease_and_its_token,
            a_released_lease_is_free_and_later_tokens_are_higher,
            a_lease_ends_by_itself,
            a_renewed_lease_lasts,
            what_another_holds_is_neither_renewed_nor_released,
            tokens_and_versions_come_from_one_sequence,
            leases_are_apart_from_entries,
            hostile_names_of_leases_are_data,
        ]);
        $crate::__metadata_cases!(@tests many $subject leases [
            of_many_that_ask_at_once_one_gets_the_lease,
        ]);
        $crate::__metadata_cases!(@tests one $subject changes [
            every_kind_of_change_arrives,
            what_is_evicted_or_purged_arrives,
            every_subscriber_gets_every_change,
            a_call_that_is_dropped_loses_nothing,
            very_many_changes_come_in_several_parts,
            hostile_names_arrive_as_they_are,
        ]);
        $crate::__metadata_cases!(@tests many $subject changes [
            no_change_is_lost_and_those_of_one_key_come_in_order,
        ]);
        $crate::__metadata_cases!(@tests one $subject closing [
            a_call_after_close_is_an_error_that_says_so,
            closing_twice_is_allowed,
        ]);
    };
    (@tests $run:ident $subject:ident $group:ident [$($case:ident),* $(,)?]) => {
        $(
            #[test]
            fn $case() {
                $crate::metadata::$run($subject(), $crate::metadata::cases::$group::$case);
            }
        )*
    };
}
