//! Prints what was measured, as tables that can be pasted into `docs/benchmarks.md`.

use std::io::{Result, Write};

use crate::measure::{Times, percentile};

/// Where the results go.
pub(crate) struct Report<'a>(Box<dyn Write + 'a>);

impl<'a> Report<'a> {
    pub(crate) fn new(out: impl Write + 'a) -> Self {
        Self(Box::new(out))
    }

    pub(crate) fn title(&mut self, name: &str, about: &str) -> Result<()> {
        writeln!(self.0, "\n## {name}: {about}")
    }

    /// Begins a table of comparisons.
    pub(crate) fn comparisons(&mut self) -> Result<()> {
        writeln!(
            self.0,
            "\n| what | yardstick | Cacheness µs | yardstick µs | ratio of medians | ratio per batch, p10 to p90 | \
             ratio of means | bound |\n|---|---|---|---|---|---|---|---|"
        )
    }

    /// One line for each yardstick. The first side is Cacheness.
    pub(crate) fn compare(&mut self, what: &str, times: &[Times], bound: Option<f64>) -> Result<()> {
        let Some((ours, yardsticks)) = times.split_first() else { return Ok(()) };
        for (number, yardstick) in yardsticks.iter().enumerate() {
            let ratios = ours.ratios(yardstick);
            let bound =
                bound.filter(|_| number == 0).map_or_else(|| "-".into(), |bound| format!("{bound:.1}"));
            writeln!(
                self.0,
                "| {what} | {} | {:.2} | {:.2} | **{:.2}** | {:.2} ({:.2} to {:.2}) | {:.2} | {bound} |",
                yardstick.name,
                ours.median() / 1e3,
                yardstick.median() / 1e3,
                ours.median() / yardstick.median(),
                percentile(&ratios, 50),
                percentile(&ratios, 10),
                percentile(&ratios, 90),
                ours.mean() / yardstick.mean(),
            )?;
        }
        self.0.flush()
    }

    /// A table of figures: its columns, then its rows.
    pub(crate) fn table(&mut self, columns: &[String], rows: &[Vec<String>]) -> Result<()> {
        writeln!(self.0, "\n| {} |\n|{}", columns.join(" | "), "---|".repeat(columns.len()))?;
        for row in rows {
            writeln!(self.0, "| {} |", row.join(" | "))?;
        }
        self.0.flush()
    }
}
