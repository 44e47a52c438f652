//! A proxy between the backend and its server that counts round trips, and can swallow what comes, hold it up, or cut it
//! off.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What the proxy does with what it is given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Mode {
    /// Hands everything on.
    Pass,
    /// Takes everything and hands on nothing, as a half-open connection does.
    Swallow,
    /// Takes everything and hands it on only in another mode, also where the backend is gone by then.
    Stall,
    /// Hands on what the backend says, and cuts the connection off where the server answers.
    CutAnswers,
}

/// A proxy on a port of its own.
pub(crate) struct Proxy {
    shared: Arc<Shared>,
}

struct Shared {
    mode: AtomicU8,
    trips: AtomicU64,
    streams: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// A proxy to the server of a url, and the url by which one comes to the server through it.
    pub(crate) fn to(url: &str) -> (Self, String) {
        let (before, rest) = url.split_once('@').unwrap();
        let (server, database) = rest.split_once('/').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            mode: AtomicU8::new(Mode::Pass as u8),
            trips: AtomicU64::new(0),
            streams: Mutex::default(),
        });
        let (accepting, server) = (shared.clone(), server.to_owned());
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&server) else { continue };
                for stream in [&client, &server] {
                    stream.set_nodelay(true).unwrap();
                    accepting.streams.lock().unwrap().push(stream.try_clone().unwrap());
                }
                // True while the last to speak was the server.
                let answered = Arc::new(Mutex::new(true));
                let ends = [(&client, &server, true), (&server, &client, false)];
                for (from, to, from_client) in ends.map(|(a, b, c)| (a.try_clone(), b.try_clone(), c)) {
                    let (from, to, shared, answered) =
                        (from.unwrap(), to.unwrap(), accepting.clone(), answered.clone());
                    thread::spawn(move || shared.copy(from, to, from_client, &answered));
                }
            }
        });
        (Self { shared }, format!("{before}@127.0.0.1:{port}/{database}"))
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.shared.mode.store(mode as u8, Ordering::SeqCst);
    }

    /// Cuts all connections off.
    pub(crate) fn cut(&self) {
        self.shared.cut();
    }

    /// How often the backend has said something after the server had answered.
    pub(crate) fn trips(&self) -> u64 {
        self.shared.trips.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn cut(&self) {
        self.streams.lock().unwrap().drain(..).for_each(|stream| _ = stream.shutdown(Shutdown::Both));
    }

    fn copy(&self, mut from: TcpStream, mut to: TcpStream, from_client: bool, answered: &Mutex<bool>) {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(len) = from.read(&mut buffer)
            && len > 0
        {
            while self.mode.load(Ordering::SeqCst) == Mode::Stall as u8 {
                thread::sleep(Duration::from_millis(2));
            }
            let mode = self.mode.load(Ordering::SeqCst);
            if mode == Mode::Swallow as u8 {
                continue;
            }
            if mode == Mode::CutAnswers as u8 && !from_client {
                self.cut();
                return;
            }
            if std::mem::replace(&mut *answered.lock().unwrap(), !from_client) && from_client {
                self.trips.fetch_add(1, Ordering::SeqCst);
            }
            if to.write_all(&buffer[..len]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    }
}
