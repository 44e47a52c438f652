//! What the compiler says to a user who forgot something. The messages are kept beside the programs, in `programs/`;
//! `TRYBUILD=overwrite` writes them anew.

// shows: row 62

#[test]
fn the_compiler_says_what_is_missing() {
    trybuild::TestCases::new().compile_fail("programs/*.rs");
}
