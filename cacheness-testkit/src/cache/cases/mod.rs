//! The cases, by subject. Each is an async function that panics where a promise is broken.

pub mod batches;
pub mod closing;
pub mod inspection;
pub mod limits;
pub mod namespaces;
pub mod queries;
pub mod statistics;
pub mod streams;
pub mod types;
pub mod validity;
pub mod values;

macro_rules! cases {
    ($($subject:ident { $($case:ident,)* })*) => {
        /// One test for each case. Not for direct use: see [`cache_suite!`](crate::cache_suite).
        #[doc(hidden)]
        #[macro_export]
        macro_rules! __cache_cases {
            ($face:expr) => {
                $($(
                    #[test]
                    fn $case() {
                        $crate::cache::one(super::subject($face), $crate::cache::cases::$subject::$case);
                    }
                )*)*
            };
        }
    };
}

cases! {
    values {
        values_come_back_as_they_were,
        values_of_every_size_come_back,
        a_missing_key_is_none,
        empty_and_null_values_are_no_misses,
        a_put_replaces_what_was_there,
        a_failed_put_leaves_what_was_there,
        a_removed_value_is_gone,
        any_text_is_a_key,
        a_key_has_limits,
        borrowed_and_shared_values_are_stored,
        every_compression_gives_the_value_back,
        options_are_kept_with_the_entry,
        options_out_of_range_are_refused,
        many_tasks_at_once_lose_nothing,
    }
    types {
        another_class_than_was_put_is_a_type_mismatch,
        another_tag_than_was_put_is_a_type_mismatch,
        another_type_version_is_a_miss,
        a_value_that_no_longer_decodes_is_a_miss_or_an_error_as_told,
        a_handler_that_is_not_known_is_an_error,
        a_part_of_a_value_that_has_none_is_unsupported,
    }
    validity {
        a_ttl_runs_out_at_its_time,
        a_ttl_of_zero_has_run_out_already,
        defaults_come_from_the_namespace_then_the_cache,
        touch_starts_a_ttl_again,
        extend_adds_to_a_ttl,
        a_changed_file_makes_a_miss,
        a_missing_file_makes_a_miss_and_its_return_a_hit,
        content_decides_where_it_is_asked_for,
        conditions_combine,
        a_file_is_looked_at_again_after_the_interval,
        a_source_that_is_missing_cannot_be_captured,
        invalid_entries_stay_until_purged,
    }
    inspection {
        a_listing_shows_every_entry_with_its_state,
        a_listing_comes_in_pages,
        a_listing_filters_by_prefix_and_validity,
        contains_and_peek_leave_no_trace,
        an_entry_shows_its_uses,
    }
    queries {
        a_query_selects_by_everything_it_names,
        a_query_sorts_by_what_it_is_told,
        a_page_is_filled_up_from_many_that_do_not_match,
        a_malformed_query_is_refused_and_named,
        what_matches_is_counted,
        what_matches_is_removed,
        a_limited_removal_takes_the_first_ones,
        a_removal_leaves_what_was_replaced_meanwhile,
        a_removal_by_a_query_counts_in_each_namespace,
    }
    namespaces {
        namespaces_do_not_see_each_other,
        any_text_is_a_namespace,
        clear_empties_one_namespace_and_says_how_many,
        a_dropped_namespace_is_gone,
        twenty_namespaces_are_listed_counted_and_cleared,
    }
    statistics {
        every_event_is_counted,
        totals_add_up_over_namespaces,
        a_reset_starts_counting_anew,
        statistics_survive_a_reopening,
        a_clear_keeps_the_counters,
    }
    batches {
        many_values_are_put_got_and_removed_at_once,
        a_batch_with_a_bad_value_stores_nothing,
    }
    streams {
        a_stream_comes_back_by_get_and_by_reader,
        a_compressed_stream_is_read_in_order,
        a_stream_of_no_bytes_is_a_value,
        a_raw_entry_moves_to_another_namespace,
        a_raw_entry_with_other_bytes_is_refused,
    }
    limits {
        a_limit_holds_after_every_put,
        the_least_recently_used_goes_first,
        a_value_over_the_limit_is_refused_and_evicts_nothing,
        a_lower_limit_evicts_at_once,
    }
    closing {
        a_closed_cache_says_so,
        entries_survive_a_reopening,
    }
}
