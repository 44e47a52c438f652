//! Servers of a test's own, for tests that stop, kill or fill them. `scripts/services` starts them.

use std::path::PathBuf;
use std::process::Command;

/// A PostgreSQL that ends with this value.
pub struct Postgres {
    folder: PathBuf,
    pub url: String,
}

impl Postgres {
    pub fn start() -> Self {
        let output = services().args(["up", "postgres"]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let value = |name: &str| {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("export ")?.strip_prefix(name)?.strip_prefix('='));
            line.unwrap_or_else(|| {
                let said = String::from_utf8_lossy(&output.stderr);
                panic!("this test needs a PostgreSQL of its own, and `scripts/services up postgres` failed: {said}")
            })
                .to_owned()
        };
        Self { folder: value("TEST_SERVICES").into(), url: value("TEST_POSTGRES") }
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

fn services() -> Command {
    let mut command = Command::new("bash");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/services"));
    command
}
