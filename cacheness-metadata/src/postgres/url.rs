//! Urls of servers, and what of them options replace.

use tokio_postgres::Config;

/// What a url says that is not left to the client alone.
#[derive(PartialEq, Eq, Debug, Default)]
pub(super) struct Words {
    pub(super) sslmode: Option<String>,
    pub(super) sslrootcert: Option<String>,
    /// True where it says which kind of server is wanted. That stays in the url.
    pub(super) names_kind: bool,
}

/// Takes `sslmode` and `sslrootcert` out of a url, or of the form `host=… user=…`: the client knows some of their words
/// only.
pub(super) fn taken_out(url: &str) -> (String, Words) {
    let is_url = url.starts_with("postgres://") || url.starts_with("postgresql://");
    let mut words = Words::default();
    let mut keep = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let word = match name.trim() {
            "sslmode" => &mut words.sslmode,
            "sslrootcert" => &mut words.sslrootcert,
            name => {
                words.names_kind |= name == "target_session_attrs";
                return true;
            }
        };
        let value = value.trim();
        *word = Some(if is_url { unescaped(value) } else { value.trim_matches('\'').to_owned() });
        false
    };
    let rest = if is_url {
        match url.split_once('?') {
            None => url.to_owned(),
            Some((before, query)) => {
                let kept: Vec<&str> = query.split('&').filter(|part| keep(part)).collect();
                if kept.is_empty() { before.to_owned() } else { format!("{before}?{}", kept.join("&")) }
            }
        }
    } else {
        words_of(url).into_iter().filter(|part| keep(part)).collect::<Vec<_>>().join(" ")
    };
    (rest, words)
}

/// The words of the form `host=… password='a  b'`: white space in quotes belongs to them.
fn words_of(text: &str) -> Vec<&str> {
    let (mut words, mut begin, mut quoted, mut escaped) = (Vec::new(), None, false, false);
    for (at, c) in text.char_indices() {
        if c.is_whitespace() && !quoted && !escaped {
            words.extend(begin.take().map(|begin| &text[begin..at]));
            continue;
        }
        begin.get_or_insert(at);
        quoted ^= c == '\'' && !escaped;
        escaped = c == '\\' && !escaped;
    }
    words.extend(begin.map(|begin| &text[begin..]));
    words
}

/// The same server settings but for the hosts, which the client can only add to.
pub(super) fn with_host(from: &Config, host: &str) -> Config {
    let mut config = copied(from);
    config.host(host);
    from.get_ports().iter().take(1).for_each(|port| _ = config.port(*port));
    config
}

/// The same server settings but for the ports.
pub(super) fn with_port(from: &Config, port: u16) -> Config {
    let mut config = copied(from);
    for host in from.get_hosts() {
        match host {
            tokio_postgres::config::Host::Tcp(name) => config.host(name),
            #[cfg(unix)]
            tokio_postgres::config::Host::Unix(path) => config.host_path(path),
        };
    }
    from.get_hostaddrs().iter().for_each(|address| _ = config.hostaddr(*address));
    config.port(port);
    config
}

/// Settings without hosts and ports.
pub(super) fn copied(from: &Config) -> Config {
    let mut config = Config::new();
    if let Some(user) = from.get_user() {
        config.user(user);
    }
    if let Some(password) = from.get_password() {
        config.password(password);
    }
    if let Some(database) = from.get_dbname() {
        config.dbname(database);
    }
    if let Some(options) = from.get_options() {
        config.options(options);
    }
    if let Some(name) = from.get_application_name() {
        config.application_name(name);
    }
    if let Some(limit) = from.get_tcp_user_timeout() {
        config.tcp_user_timeout(*limit);
    }
    if let Some(interval) = from.get_keepalives_interval() {
        config.keepalives_interval(interval);
    }
    if let Some(retries) = from.get_keepalives_retries() {
        config.keepalives_retries(retries);
    }
    config
        .ssl_mode(from.get_ssl_mode())
        .ssl_negotiation(from.get_ssl_negotiation())
        .keepalives(from.get_keepalives())
        .keepalives_idle(from.get_keepalives_idle())
        .target_session_attrs(from.get_target_session_attrs())
        .channel_binding(from.get_channel_binding())
        .load_balance_hosts(from.get_load_balance_hosts());
    config
}

/// A text of a url with its `%` escapes undone.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match (first, digits.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_in_quotes_stays_as_it_is() {
        let (rest, words) =
            taken_out(r"host=h  password='a  b \' sslmode=c' sslmode='require' dbname=d\  e=f");
        assert_eq!(rest, r"host=h password='a  b \' sslmode=c' dbname=d\  e=f");
        assert_eq!(words, Words { sslmode: Some("require".to_owned()), ..Words::default() });
        let parsed: Config = "host=h password='a  b'".parse().unwrap();
        let again: Config = taken_out("host=h password='a  b'").0.parse().unwrap();
        assert_eq!(again.get_password(), parsed.get_password());
    }
}
