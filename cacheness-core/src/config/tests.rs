use super::*;

const SPECS: [OptionSpec; 2] = [
    OptionSpec::new("readers", OptionKind::Int { min: 1, max: 64 }, Some("4"), "Connections that read."),
    OptionSpec::new("path", OptionKind::Path, None, "The file."),
];

#[test]
fn an_unknown_option_is_named_with_the_nearest_one() {
    let error = ConfigOptions::new().with("reader", 3).check("sqlite", &SPECS).unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid configuration: there is no option `reader`; `sqlite` takes `readers`, `path`; \
         did you mean `readers`?"
    );
}

#[test]
fn a_value_of_the_wrong_kind_or_range_says_what_is_allowed() {
    let message = |options: ConfigOptions| options.check("sqlite", &SPECS).unwrap_err().to_string();
    assert!(
        message(ConfigOptions::new().with("readers", 65))
            .contains("a whole number from 1 to 64, but 65 was given")
    );
    assert!(
        message(ConfigOptions::new().with("path", true))
            .contains("takes a path that is not empty, but true was given")
    );
    ConfigOptions::new().with("readers", 64).with("path", "x").check("sqlite", &SPECS).unwrap();
}

#[test]
fn text_is_read_as_what_is_asked_for() {
    let options = ConfigOptions::new().with("n", " 4 ").with("b", "true").with("s", "2 KiB").with("d", "90s");
    assert_eq!(options.int("n"), Some(4));
    assert_eq!(options.bool("b"), Some(true));
    assert_eq!(options.size("s"), Some(2048));
    assert_eq!(options.duration("d"), Some(std::time::Duration::from_secs(90)));
    assert_eq!((options.int("b"), options.bool("n"), options.duration("n")), (None, None, None));
}

#[test]
fn sizes_are_read_as_people_write_them_and_come_back_as_they_were() {
    for (text, bytes) in [
        ("0", 0),
        ("4096", 4096),
        ("1GB", 1_000_000_000),
        ("512 MiB", 512 << 20),
        ("1.5 KiB", 1536),
        ("10 B", 10),
        ("9223372036854775807", i64::MAX as u64),
    ] {
        assert_eq!(units::parse_size(text), Some(bytes), "{text}");
        assert_eq!(units::parse_size(&units::format_size(bytes)), Some(bytes), "{text}");
    }
    for text in ["", "MiB", "-1", "1 parsec", "9223372036854775808", "1e40"] {
        assert_eq!(units::parse_size(text), None, "{text}");
    }
}

#[test]
fn times_need_a_unit_and_come_back_as_they_were() {
    use std::time::Duration;
    for (text, millis) in [("90s", 90_000), ("1h", 3_600_000), ("250ms", 250), ("1h 30m", 5_400_000)] {
        let time = Duration::from_millis(millis);
        assert_eq!(units::parse_duration(text), Some(time), "{text}");
        assert_eq!(units::parse_duration(&units::format_duration(time)), Some(time), "{text}");
    }
    for time in [Duration::ZERO, Duration::MAX, Duration::new(1, 1)] {
        assert_eq!(units::parse_duration(&units::format_duration(time)), Some(time));
    }
    for text in ["", "90", "0", "s", "-1s", "1 parsec", "99999999999999999999s"] {
        assert_eq!(units::parse_duration(text), None, "{text}");
    }
}

#[test]
fn a_secret_is_not_shown_by_debug() {
    let options = ConfigOptions::new().with("password", Secret::new("hunter2"));
    let builder = crate::CacheBuilder::new(crate::Registry::empty()).metadata_with("x", options.clone());
    assert!(!format!("{options:?} {builder:?}").contains("hunter2"));
    assert_eq!(options.secret("password").unwrap().expose(), "hunter2");
}
