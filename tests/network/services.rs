//! Servers of a test's own, for tests that stop, kill or fill them. `scripts/services` starts them.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use super::server;

/// A PostgreSQL that ends with this value.
pub struct Postgres {
    folder: PathBuf,
    pub url: String,
}

impl Postgres {
    pub fn start() -> Self {
        let (folder, url) = up("postgres", "TEST_POSTGRES");
        Self { folder, url }
    }

    /// Stops the server as by `kill -9` (`immediate`), or in order (`fast`), and starts it again.
    pub fn restart(&self, mode: &str) {
        self.control(&["restart", "-w", "-m", mode]);
    }

    pub fn stop(&self) {
        self.control(&["stop", "-w", "-m", "immediate"]);
    }

    pub fn start_again(&self) {
        // With the port and the folders that it had; `start` would take those of its configuration.
        self.control(&["restart", "-w"]);
    }

    fn control(&self, arguments: &[&str]) {
        let installed = fs_err::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let programs = installed.map(|version| version.path().join("bin/pg_ctl"));
        let program = programs.filter(|program| program.exists()).max().expect(
            "this test stops and starts a PostgreSQL of its own, by Debian's `/usr/lib/postgresql/*/bin/pg_ctl`; install the \
             package `postgresql`, or leave this test out",
        );
        // The server refuses to run as root, and belongs to the user that the package made.
        let mut command = if rustix::process::geteuid().is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        let log = self.folder.join("postgres/log");
        let command =
            command.args(arguments).arg("-D").arg(self.folder.join("postgres/data")).arg("-l").arg(log);
        // Its output goes to a server that outlives it, so it is not waited for.
        let status = command.current_dir("/").stdout(std::process::Stdio::null()).status().unwrap();
        assert!(status.success(), "{command:?}");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = services().arg("down").arg(&self.folder).status();
    }
}

/// A Redis that writes down each change before it answers, and ends with this value.
pub struct Redis {
    folder: tempfile::TempDir,
    port: u16,
    process: Mutex<Child>,
}

impl Redis {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Nobody else gets the port in the moment between: each that is asked for is another one.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Mutex::new(Self::spawn(&folder, port));
        Self { folder, port, process }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends the server as by `kill -9`, and starts it again.
    pub fn restart(&self) {
        let mut process = self.process.lock().unwrap();
        end(&mut process);
        *process = Self::spawn(&self.folder, self.port);
    }

    fn spawn(folder: &tempfile::TempDir, port: u16) -> Child {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--appendfsync", "always"]);
        command.arg("--dir").arg(folder.path()).arg("--port").arg(port.to_string());
        answering(command, port)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        end(&mut self.process.lock().unwrap());
    }
}

/// A server that speaks S3, with its objects in files. It ends with this value.
pub struct S3s {
    folder: PathBuf,
    pub url: String,
    /// Those that were started after the first one, which `scripts/services` knows.
    process: Mutex<Option<Child>>,
}

impl S3s {
    pub fn start() -> Self {
        let (folder, url) = up("s3s", "TEST_S3S");
        Self { folder, url, process: Mutex::new(None) }
    }

    /// Ends the server as by `kill -9`, and starts it again.
    pub fn restart(&self) {
        let port = self.url.rsplit_once(':').unwrap().1.parse().unwrap();
        let mut process = self.process.lock().unwrap();
        match &mut *process {
            Some(process) => end(process),
            None => {
                let file = self.folder.join("s3s.pid");
                let number = fs_err::read_to_string(&file).unwrap();
                assert!(Command::new("kill").args(["-9", number.trim()]).status().unwrap().success());
                // By then the number is nobody's, or another process's.
                fs_err::remove_file(file).unwrap();
                while TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        }
        let mut command = Command::new("s3s-fs");
        command.args(["--host", "127.0.0.1", "--port"]).arg(format!("{port}"));
        command.arg("--access-key").arg(server("TEST_S3_ACCESS_KEY"));
        command.arg("--secret-key").arg(server("TEST_S3_SECRET_KEY")).arg(self.folder.join("s3s"));
        *process = Some(answering(command, port));
    }
}

impl Drop for S3s {
    fn drop(&mut self) {
        self.process.lock().unwrap().iter_mut().for_each(end);
        let _ = services().arg("down").arg(&self.folder).status();
    }
}

/// Starts a server, and waits until it takes connections.
fn answering(mut command: Command, port: u16) -> Child {
    let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut process = process.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    for _ in 0..400 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return process;
        }
        assert!(process.try_wait().unwrap().is_none(), "{command:?} has ended");
        std::thread::sleep(Duration::from_millis(25));
    }
    end(&mut process);
    panic!("{command:?} takes no connections");
}

fn end(process: &mut Child) {
    let _ = process.kill();
    let _ = process.wait();
}

/// Starts a server by `scripts/services`: its folder, and where it is.
fn up(name: &str, variable: &str) -> (PathBuf, String) {
    let output = services().args(["up", name]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let value = |name: &str| {
        let line =
            text.lines().find_map(|line| line.strip_prefix("export ")?.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_else(|| {
            let said = String::from_utf8_lossy(&output.stderr);
            panic!("this test needs a server of its own, and `scripts/services up` failed: {said}")
        })
        .to_owned()
    };
    (value("TEST_SERVICES").into(), value(variable))
}

fn services() -> Command {
    let mut command = Command::new("bash");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/services"));
    command
}
