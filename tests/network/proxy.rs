//! A TCP proxy between a cache and a server, through which a test does to the connection what networks do: delay, stall,
//! lose answers, cut, reset. It also counts how often a client waited for the server.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use socket2::SockRef;

/// What the proxy does with what it is given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// It hands everything on.
    Pass,
    /// It hands everything on after this time, in either direction.
    Delay(Duration),
    /// It takes connections and bytes, and hands nothing on until the mode changes: a server that hangs.
    Stall,
    /// Requests reach the server, answers are thrown away: what was done is done, and nobody learns of it.
    LoseAnswers,
    /// The next answer is thrown away and its connection ended; everything after that passes.
    LoseOne,
    /// It resets every new connection at once: a server that is gone.
    Refuse,
}

/// The proxy. It ends with this value, and so do its connections.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    server: SocketAddr,
    mode: Mutex<Mode>,
    changed: Condvar,
    connections: Mutex<Vec<(TcpStream, TcpStream)>>,
    trips: AtomicU64,
    answered: AtomicU64,
    over: AtomicBool,
    /// How many connections there were so far, and the first of them that is not held.
    taken: AtomicU64,
    held: AtomicU64,
}

impl Proxy {
    /// A proxy on a free port, for the server that a url names: `scheme://user:password@host:port/…`.
    pub fn of(url: &str) -> Self {
        Self::at(Ipv4Addr::LOCALHOST, url)
    }

    /// As [`of`](Self::of), where others than this machine reach it.
    pub fn at(address: Ipv4Addr, url: &str) -> Self {
        let after = url.split_once("://").map_or(url, |(_, rest)| rest);
        let host = after.split('/').next().unwrap();
        let port = host.rsplit_once(':').unwrap().1.parse().unwrap();
        Self::between(address, SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }

    /// A proxy for the server at this address.
    pub fn to(server: SocketAddr) -> Self {
        Self::between(Ipv4Addr::LOCALHOST, server)
    }

    fn between(address: Ipv4Addr, server: SocketAddr) -> Self {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            server,
            mode: Mutex::new(Mode::Pass),
            changed: Condvar::new(),
            connections: Mutex::default(),
            trips: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            over: AtomicBool::new(false),
            taken: AtomicU64::new(0),
            held: AtomicU64::new(0),
        });
        let serving = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                if serving.over.load(Ordering::Acquire) {
                    return;
                }
                if let Ok(client) = client {
                    serving.take(client);
                }
            }
        });
        Self { address, shared }
    }

    /// The url with the server's address replaced by the proxy's.
    pub fn url(&self, of: &str) -> String {
        let server = &self.shared.server;
        let named = [server.to_string(), format!("localhost:{}", server.port())];
        let replaced = named
            .iter()
            .fold(of.to_owned(), |url, server| url.replacen(server, &self.address.to_string(), 1));
        assert_ne!(replaced, of, "the url names another server");
        replaced
    }

    /// Hands nothing on in the connections that there are, until they are released. New ones pass.
    pub fn hold(&self) {
        self.shared.held.store(self.shared.taken.load(Ordering::Acquire), Ordering::Release);
    }

    /// Hands on what was held, in either direction, however late.
    pub fn release(&self) {
        let _mode = self.shared.mode();
        self.shared.held.store(0, Ordering::Release);
        self.shared.changed.notify_all();
    }

    /// What it does at the moment.
    pub fn mode(&self) -> Mode {
        *self.shared.mode()
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn set(&self, mode: Mode) {
        *self.shared.mode() = mode;
        self.shared.changed.notify_all();
    }

    /// Ends all connections as a process that exits does.
    pub fn cut(&self) {
        for (client, server) in self.shared.connections.lock().unwrap().drain(..) {
            let _ = client.shutdown(Shutdown::Both);
            let _ = server.shutdown(Shutdown::Both);
        }
    }

    /// Ends all connections by a reset.
    pub fn reset(&self) {
        for (client, server) in self.shared.connections.lock().unwrap().iter() {
            for stream in [client, server] {
                let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
            }
        }
        self.cut();
    }

    /// Is gone from now on: new connections are refused, and those that are there are reset.
    pub fn gone(&self) {
        self.set(Mode::Refuse);
        self.reset();
    }

    /// How often a client has sent something after it had heard from the server, or for the first time: each time, it
    /// waits for the server once.
    pub fn trips(&self) -> u64 {
        self.shared.trips.load(Ordering::Acquire)
    }

    /// How many bytes came from the server.
    pub fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Acquire)
    }

    /// How many trips a call takes.
    pub fn trips_of<T>(&self, call: impl FnOnce() -> T) -> (u64, T) {
        let before = self.trips();
        let result = call();
        (self.trips() - before, result)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Release);
        self.set(Mode::Refuse);
        self.cut();
        // The listener wakes up and sees that it is over.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn mode(&self) -> MutexGuard<'_, Mode> {
        self.mode.lock().unwrap()
    }

    fn take(self: &Arc<Self>, client: TcpStream) {
        let refused = *self.mode() == Mode::Refuse;
        let server = if refused { None } else { TcpStream::connect(self.server).ok() };
        let Some(server) = server else {
            let _ = SockRef::from(&client).set_linger(Some(Duration::ZERO));
            return;
        };
        for stream in [&client, &server] {
            stream.set_nodelay(true).unwrap();
        }
        let (clients, servers) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        self.connections.lock().unwrap().push((clients.try_clone().unwrap(), servers.try_clone().unwrap()));
        // True while the server has the word.
        let asked = Arc::new(AtomicBool::new(false));
        let (up, down) = (self.clone(), self.clone());
        let number = self.taken.fetch_add(1, Ordering::AcqRel);
        let asked_up = asked.clone();
        thread::spawn(move || {
            up.pump(number, client, servers, |shared, _| {
                if !asked_up.swap(true, Ordering::AcqRel) {
                    shared.trips.fetch_add(1, Ordering::AcqRel);
                }
                Some(true)
            });
        });
        thread::spawn(move || {
            down.pump(number, server, clients, |shared, read| {
                shared.answered.fetch_add(read as u64, Ordering::AcqRel);
                asked.store(false, Ordering::Release);
                let mut mode = shared.mode();
                match *mode {
                    Mode::LoseAnswers => Some(false),
                    Mode::LoseOne => {
                        *mode = Mode::Pass;
                        None
                    }
                    _ => Some(true),
                }
            });
        });
    }

    /// Hands on what comes from one end to the other, where `passes` says so, until either ends or it says nothing.
    fn pump(
        &self,
        number: u64,
        mut from: TcpStream,
        mut to: TcpStream,
        passes: impl Fn(&Self, usize) -> Option<bool>,
    ) {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let read = match from.read(&mut bytes) {
                Ok(0) | Err(_) => break,
                Ok(read) => read,
            };
            let stalls = |mode: &mut Mode| {
                *mode == Mode::Stall
                    || number < self.held.load(Ordering::Acquire) && !self.over.load(Ordering::Acquire)
            };
            let mode = self.changed.wait_while(self.mode(), stalls).unwrap();
            let wait = if let Mode::Delay(wait) = *mode { Some(wait) } else { None };
            drop(mode);
            if let Some(wait) = wait {
                thread::sleep(wait);
            }
            match passes(self, read) {
                Some(true) if to.write_all(&bytes[..read]).is_ok() => {}
                Some(false) => {}
                _ => break,
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}
