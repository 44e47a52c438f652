//! Measures Cacheness beside yardsticks: the bare parts it is made of, in the same run and in turns with it.
//!
//! `cargo run --release -p cacheness-bench -- [WORKLOAD...] [--quick]`; `docs/benchmarks.md` says how to read what
//! comes out. A workload is one file in `workloads/` and a line in [`workloads::ALL`]; a yardstick is one file in
//! `yardsticks/`.

mod items;
mod measure;
mod report;
mod workloads;
mod yardsticks;

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use measure::Scale;
use report::Report;
use workloads::{ALL, Workload};

fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // There is nowhere left to report that standard error is closed.
            let _ = writeln!(std::io::stderr(), "cacheness-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: impl Iterator<Item = String>) -> Result<(), Box<dyn Error>> {
    let (mut scale, mut chosen) = (Scale::Full, Vec::new());
    for argument in arguments {
        match argument.as_str() {
            "--quick" => scale = Scale::Quick,
            "--help" | "-h" => return Ok(std::io::stdout().write_all(usage().as_bytes())?),
            name => match ALL.iter().find(|workload| workload.name == name) {
                Some(workload) => chosen.push(workload),
                None => return Err(format!("there is no workload `{name}`\n\n{}", usage()).into()),
            },
        }
    }
    if chosen.is_empty() {
        chosen.extend(ALL);
    }
    let mut report = Report::new(std::io::stdout().lock());
    for workload in chosen {
        report.title(workload.name, workload.about)?;
        (workload.run)(scale, &mut report)?;
    }
    Ok(())
}

fn usage() -> String {
    let mut text =
        String::from("cacheness-bench [WORKLOAD...] [--quick]\n\nWorkloads, all of them by default:\n");
    for Workload { name, about, .. } in ALL {
        text.push_str(&format!("  {name:<12} {about}\n"));
    }
    text.push_str("\n--quick is a check that everything runs; its figures mean little.\n");
    text
}
