//! How `leadvault` is started: with nothing of this process's settings.

use std::{path::Path, process::Stdio};

use tokio::process::Command;

/// The binary, with nothing of this process's settings. It is killed when its handle is dropped.
pub(crate) fn leadvault(args: &[&str]) -> Command {
    let mut command = clean(env!("CARGO_BIN_EXE_leadvault"));
    command.args(args);
    command
}

/// The same with its log in a file, where it can be read while the process runs.
pub(crate) fn leadvault_logging_to(log: &Path, args: &[&str]) -> Command {
    leadvault_after(r#"exec 2> "$0""#, log, args)
}

/// The same with so many open files at the most.
pub(crate) fn leadvault_with_files(most: usize, log: &Path, args: &[&str]) -> Command {
    let script = format!(r#"ulimit -n {most}; exec 2> "$0""#);
    leadvault_after(&script, log, args)
}

/// `leadvault` after what a script does to its process; `$0` is a path.
fn leadvault_after(script: &str, path: &Path, args: &[&str]) -> Command {
    let mut command = clean("sh");
    let binary = env!("CARGO_BIN_EXE_leadvault");
    command.arg("-c").arg(format!(r#"{script}; exec "$@""#));
    command.arg(path).arg(binary).args(args);
    command
}

/// A program with nothing of this process's settings. It is killed when its handle is dropped.
fn clean(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text == "DATABASE_URL"
            || ["LEADVAULT_", "OTEL_", "PG"]
                .iter()
                .any(|ours| text.starts_with(ours))
        {
            command.env_remove(&name);
        }
    }
    // Many run at once, and the default is one port.
    command.env("LEADVAULT_OPS_LISTEN", "127.0.0.1:0");
    // On a busy machine calls wait longer than half a second for a connection.
    command.env("LEADVAULT_POOL_TIMEOUT_SECONDS", "30");
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}
