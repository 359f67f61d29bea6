//! Shows how far promotion is.

use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget};

use super::follow::Step;
use crate::cli::{load::progress_style, report::count};

/// How often a line says how far it is, where there is no terminal to draw on.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Shows how far it is on standard error: a bar on a terminal, a line now and then elsewhere.
pub(super) struct Progress {
    bar: ProgressBar,
    on_terminal: bool,
    last_line: Instant,
    rows: &'static str,
}

impl Progress {
    /// Begins to show a call that does `rows`.
    pub(super) fn begin(rows: &'static str) -> Self {
        let on_terminal = std::io::stderr().is_terminal();
        let bar = if on_terminal {
            ProgressBar::new(0).with_style(progress_style(
                "{bar:30} {percent:>3} %  {msg}  {elapsed} elapsed, {eta} left",
            ))
        } else {
            ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden())
        };
        Self {
            bar,
            on_terminal,
            last_line: Instant::now(),
            rows,
        }
    }

    /// Shows what the service said last.
    pub(super) fn show<T>(&mut self, step: &Step<T>) {
        if self.on_terminal {
            let number = |count: i64| u64::try_from(count).unwrap_or(0);
            self.bar.set_length(number(step.done + step.left));
            self.bar.set_position(number(step.done));
            self.bar.set_message(self.line(step));
        } else if self.last_line.elapsed() >= LINE_INTERVAL {
            self.last_line = Instant::now();
            eprintln!("{}, {} left", self.line(step), step.left);
        }
    }

    fn line<T>(&self, step: &Step<T>) -> String {
        format!(
            "{} {rows}, {:.0} {rows}/s",
            count(u64::try_from(step.done).unwrap_or(0)),
            step.rows_per_second,
            rows = self.rows
        )
    }
}

impl Drop for Progress {
    /// Clears the bar: the result comes after it.
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
