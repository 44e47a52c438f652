//! The cases of the blob suite, by subject.

pub mod blobs;
pub mod listing;
pub mod ranges;
pub mod sharing;

/// The list of all cases, as tests.
#[doc(hidden)]
#[macro_export]
macro_rules! __blob_cases {
    ($subject:ident) => {
        $crate::__blob_cases!(@tests one $subject blobs [
            a_put_blob_comes_back,
            a_blob_of_no_bytes_is_a_blob,
            a_large_blob_comes_back_from_memory,
            a_large_blob_comes_back_from_a_staged_file,
            a_staged_file_leaves_nothing_behind,
            a_missing_blob_is_none_and_not_an_error,
            a_deleted_blob_is_gone,
            an_open_blob_stays_readable_when_it_is_deleted,
            two_caches_do_not_touch_each_other,
            blobs_are_there_after_a_reopen,
            a_deleted_blob_stays_gone_after_a_reopen,
            a_staged_file_that_is_dropped_is_no_blob,
            closing_twice_is_allowed,
        ]);
        $crate::__blob_cases!(@tests one $subject ranges [
            a_range_gives_just_its_bytes,
            a_range_past_the_end_gives_what_there_is,
            a_range_of_a_missing_blob_is_none,
        ]);
        $crate::__blob_cases!(@tests one $subject listing [
            a_listing_has_each_blob_once_whatever_the_page,
            a_listing_has_only_the_blobs_of_its_cache,
            an_empty_cache_lists_nothing,
            blobs_deleted_while_listing_do_not_hide_others,
            a_store_knows_the_caches_that_were_introduced_to_it_and_no_others,
        ]);
        $crate::__blob_cases!(@tests many $subject sharing [
            concurrent_puts_and_gets_do_not_mix_blobs,
            a_put_is_not_visible_before_it_is_complete,
            of_concurrent_deletes_nothing_breaks,
            two_that_are_open_see_each_others_blobs,
        ]);
    };
    (@tests $run:ident $subject:ident $group:ident [$($case:ident),* $(,)?]) => {
        $(
            #[test]
            fn $case() {
                $crate::blob::$run($subject(), $crate::blob::cases::$group::$case);
            }
        )*
    };
}
