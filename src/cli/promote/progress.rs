//! Shows how far promotion is.

use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget};

use crate::{
    cli::{load::progress_style, report::count},
    proto::vault::v1::PromoteContactsResponse,
};

/// How often a line says how far it is, where there is no terminal to draw on.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Shows how far it is on standard error: a bar on a terminal, a line now and then elsewhere.
pub(super) struct Progress {
    bar: ProgressBar,
    on_terminal: bool,
    last_line: Instant,
}

impl Progress {
    /// Begins to show a call.
    pub(super) fn begin() -> Self {
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
        }
    }

    /// Shows what the service said last.
    pub(super) fn show(&mut self, message: &PromoteContactsResponse) {
        if self.on_terminal {
            let number = |count: i64| u64::try_from(count).unwrap_or(0);
            self.bar.set_length(number(message.done + message.left));
            self.bar.set_position(number(message.done));
            self.bar.set_message(line(message));
        } else if self.last_line.elapsed() >= LINE_INTERVAL {
            self.last_line = Instant::now();
            eprintln!("{}, {} left", line(message), message.left);
        }
    }
}

impl Drop for Progress {
    /// Clears the bar: the result comes after it.
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn line(message: &PromoteContactsResponse) -> String {
    format!(
        "{} loads, {:.0} loads/s",
        count(u64::try_from(message.done).unwrap_or(0)),
        message.rows_per_second
    )
}
