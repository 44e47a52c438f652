//! Which machine a connection is made to, where several are named or a name stands for several: each of them in turn, with
//! an even share of the time, so that one that says nothing leaves some to the next.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use cacheness_core::{CacheId, Env, Error, ErrorKind};
use tokio_postgres::config::{Host, LoadBalanceHosts};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, Connection, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::connection::within;
use super::failure::Failure;
use super::pool::not_connected;
use super::url::copied;

/// One place that may be connected to: all settings, with this one host.
type Place = Config;

/// A connection, to be driven.
pub(super) type Driven = Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

/// Connects to the first host that lets it.
pub(super) async fn connect(
    config: &Config,
    tls: &MakeRustlsConnect,
    limit: Duration,
    env: &Env,
) -> Result<(Client, Driven), Failure> {
    let begun = Instant::now();
    let (places, mut failure) = places(config).await;
    let count = places.len();
    for (at, place) in places.into_iter().enumerate() {
        let left = limit.saturating_sub(begun.elapsed());
        let share = left / u32::try_from(count - at).unwrap_or(u32::MAX);
        match within(env, share, place.connect(tls.clone())).await {
            Some(Ok(connected)) => return Ok(connected),
            Some(Err(error)) => failure = Some(error.into()),
            None => failure = Some(Failure::Told(not_connected(share))),
        }
    }
    Err(failure.unwrap_or_else(|| Failure::Told(not_connected(limit))))
}

/// The places in their order, and why some are left out.
async fn places(config: &Config) -> (Vec<Place>, Option<Failure>) {
    let (hosts, addresses, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    let (mut places, mut failure) = (Vec::new(), None);
    for at in 0..hosts.len().max(addresses.len()) {
        let port = ports.get(at).or(ports.first()).copied().unwrap_or(5432);
        let add = |places: &mut Vec<Place>, host: Option<&Host>, address: Option<IpAddr>| {
            let mut place = copied(config);
            place.port(port);
            match host {
                Some(Host::Tcp(name)) => _ = place.host(name),
                #[cfg(unix)]
                Some(Host::Unix(path)) => _ = place.host_path(path),
                None => {}
            }
            address.into_iter().for_each(|address| _ = place.hostaddr(address));
            places.push(place);
        };
        match (hosts.get(at), addresses.get(at)) {
            (Some(host @ Host::Tcp(name)), None) => {
                match tokio::net::lookup_host((name.as_str(), port)).await {
                    Ok(found) => found.for_each(|address| add(&mut places, Some(host), Some(address.ip()))),
                    Err(error) => {
                        let message = "the server's name is not known; check `host`, or the `url`";
                        failure = Some(
                            Error::new(ErrorKind::Unavailable, message)
                                .with_source(error)
                                .with_outcome_unknown(false)
                                .into(),
                        );
                    }
                }
            }
            (host, address) => add(&mut places, host, address.copied()),
        }
    }
    if config.get_load_balance_hosts() == LoadBalanceHosts::Random && !places.is_empty() {
        let by = usize::from(CacheId::random().as_bytes()[0]) % places.len();
        places.rotate_left(by);
    }
    (places, failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_host_and_each_address_is_a_place_with_its_port() {
        let config: Config =
            "host=127.0.0.1,/tmp,127.0.0.2 port=1,2,3 user=u password=p dbname=d".parse().unwrap();
        let (places, failure) = places(&config).await;
        assert!(failure.is_none());
        let ports: Vec<&[u16]> = places.iter().map(Config::get_ports).collect();
        assert_eq!(ports, [[1], [2], [3]]);
        assert!(places.iter().all(|place| place.get_hosts().len() == 1 && place.get_user() == Some("u")));
        let addresses: Vec<usize> = places.iter().map(|place| place.get_hostaddrs().len()).collect();
        assert_eq!(addresses, [1, 0, 1]);
    }
}
