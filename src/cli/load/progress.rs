//! Shows how far a load is: a bar on a terminal, a line every few seconds elsewhere. All of it goes to
//! standard error, so that standard output holds the result and nothing else.

use std::{
    io::IsTerminal as _,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

const BAR_INTERVAL: Duration = Duration::from_millis(200);
const LINE_INTERVAL: Duration = Duration::from_secs(5);
/// Lanes lose their connections together; one word about it is enough.
const OUTAGE_INTERVAL: Duration = Duration::from_secs(2);

/// Counts that the reader and the lanes keep up, and what draws them.
#[derive(Debug)]
pub(crate) struct Progress {
    rows_stored: AtomicU64,
    rows_resumed: AtomicU64,
    bytes_read: AtomicU64,
    total_bytes: Option<u64>,
    waiting: AtomicBool,
    last_outage: Mutex<Option<Instant>>,
    bar: ProgressBar,
    on_terminal: bool,
    silent: bool,
    started: Instant,
}

impl Progress {
    /// Begins to show the load of `total_bytes`, if that is known.
    pub(crate) fn new(total_bytes: Option<u64>) -> Arc<Self> {
        Self::with(total_bytes, std::io::stderr().is_terminal(), false)
    }

    /// Shows nothing.
    #[cfg(test)]
    pub(crate) fn hidden() -> Arc<Self> {
        Self::with(None, false, true)
    }

    fn with(total_bytes: Option<u64>, on_terminal: bool, silent: bool) -> Arc<Self> {
        let bar = match total_bytes {
            _ if !on_terminal => ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()),
            Some(total) => ProgressBar::new(total).with_style(style(
                "{bar:30} {percent:>3} %  {msg}  {elapsed} elapsed, {eta} left",
            )),
            None => {
                ProgressBar::new_spinner().with_style(style("{spinner} {msg}  {elapsed} elapsed"))
            }
        };
        Arc::new(Self {
            rows_stored: AtomicU64::new(0),
            rows_resumed: AtomicU64::new(0),
            bytes_read: AtomicU64::new(0),
            total_bytes,
            waiting: AtomicBool::new(false),
            last_outage: Mutex::new(None),
            bar,
            on_terminal,
            silent,
            started: Instant::now(),
        })
    }

    /// Draws until the returned guard is dropped.
    pub(crate) fn draw(self: &Arc<Self>) -> Drawing {
        let progress = Arc::clone(self);
        let interval = if self.on_terminal {
            BAR_INTERVAL
        } else {
            LINE_INTERVAL
        };
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(interval).await;
                progress.refresh();
            }
        });
        Drawing {
            task,
            bar: self.bar.clone(),
        }
    }

    /// Rows that an earlier run had stored.
    pub(crate) fn resumed(&self, rows: u64) {
        self.rows_resumed.fetch_add(rows, Relaxed);
    }

    /// Rows that were stored by now.
    pub(crate) fn stored(&self, rows: u64) {
        self.rows_stored.fetch_add(rows, Relaxed);
        self.waiting.store(false, Relaxed);
    }

    /// How far the file was read.
    pub(crate) fn read(&self, position: u64) {
        self.bytes_read.store(position, Relaxed);
    }

    /// Something that the operator should read.
    pub(crate) fn note(&self, message: &str) {
        if self.silent {
            return;
        }
        // suspend() also prints where there is no bar.
        self.bar.suspend(|| eprintln!("{message}"));
    }

    /// The service is away and is waited for.
    pub(crate) fn outage(&self, message: &str, pause: Duration) {
        self.waiting.store(true, Relaxed);
        let mut last = self
            .last_outage
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| last.elapsed() < OUTAGE_INTERVAL) {
            return;
        }
        *last = Some(Instant::now());
        self.note(&format!(
            "waiting for the service: {message}; next attempt in {:.1} s",
            pause.as_secs_f64()
        ));
    }

    fn refresh(&self) {
        let message = self.message();
        if self.on_terminal {
            self.bar.set_position(self.bytes_read.load(Relaxed));
            self.bar.set_message(message);
            self.bar.tick();
        } else {
            self.note(&message);
        }
    }

    fn message(&self) -> String {
        let stored = self.rows_stored.load(Relaxed);
        let seconds = self.started.elapsed().as_secs_f64().max(0.001);
        let resumed = self.rows_resumed.load(Relaxed);
        let mut message = format!(
            "{} rows, {:.0} rows/s",
            HumanCount(stored + resumed),
            stored as f64 / seconds
        );
        if !self.on_terminal {
            let read = self.bytes_read.load(Relaxed);
            message = match self.total_bytes {
                Some(total) if total > 0 => {
                    let percent = read.min(total) * 100 / total;
                    let left = seconds * (total.saturating_sub(read)) as f64 / read.max(1) as f64;
                    format!(
                        "{message}, {percent} % of {}, about {left:.0} s left",
                        HumanBytes(total)
                    )
                }
                _ => format!("{message}, {} read", HumanBytes(read)),
            };
        }
        if self.waiting.load(Relaxed) {
            message.push_str(", waiting for the service");
        }
        message
    }
}

/// How a bar looks.
pub(crate) fn style(template: &str) -> ProgressStyle {
    // A template that does not parse would be a fault of ours; the default is a fair bar all the same.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Ends the drawing when it is dropped, and clears the bar: the result comes after it.
#[derive(Debug)]
pub(crate) struct Drawing {
    task: tokio::task::JoinHandle<()>,
    bar: ProgressBar,
}

impl Drop for Drawing {
    fn drop(&mut self) {
        self.task.abort();
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_rows_speed_and_what_is_left() {
        let progress = Progress::with(Some(2048), false, true);
        progress.resumed(1000);
        progress.stored(2345);
        progress.read(1024);
        let line = progress.message();
        assert!(line.starts_with("3,345 rows, "), "{line}");
        assert!(line.contains("50 % of 2.00 KiB"), "{line}");
        progress.outage("gone", Duration::from_secs(1));
        assert!(progress.message().ends_with("waiting for the service"));
    }
}
