//! A new client: its token in a file of its own, and its line in the clients file, both or neither.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use super::{Error, Role, Token, clients::Clients};
use crate::domain::Actor;

/// A clients file names nobody's secret, and belongs to whoever may let others in.
const CLIENTS_MODE: u32 = 0o640;
/// A token is for one.
const TOKEN_MODE: u32 = 0o600;

/// Enters a client into the clients file, which is made where there is none, and writes its token into a new file that
/// nobody but its owner reads.
///
/// # Errors
/// One of the files cannot be read or written, a line of the clients file is wrong, the name is in it, or the token's
/// file exists. Nothing is written then.
pub(crate) fn enter(
    name: &Actor,
    role: Role,
    token: &Token,
    clients: &Path,
    token_file: &Path,
) -> Result<(), Error> {
    let of_clients = |error: io::Error| error_of("--clients", clients, error);
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    let mut file = options
        .mode(CLIENTS_MODE)
        .open(clients)
        .map_err(of_clients)?;
    // Another that enters a client at the same time waits.
    file.lock().map_err(of_clients)?;
    let mut before = String::new();
    file.read_to_string(&mut before).map_err(of_clients)?;
    let known = Clients::parse(&before, true).map_err(|bad| {
        let detail = format!("line {}: {}", bad.line, bad.detail);
        error_of("--clients", clients, detail)
    })?;
    if known.has(name.as_str()) {
        let detail = format!(
            "{name} is in it already; for another token of the same client make one without files, and put its hash on \
             that line"
        );
        return Err(error_of("--clients", clients, detail));
    }
    write_token(token, token_file).map_err(|error| error_of("--token-file", token_file, error))?;
    let gap = if before.is_empty() || before.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    let line = format!("{gap}{name} {role} {}\n", token.hash());
    append(&mut file, &line, before.len()).map_err(|error| {
        let _ = fs::remove_file(token_file);
        of_clients(error)
    })
}

fn write_token(token: &Token, path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(TOKEN_MODE)
        .open(path)?;
    let written = writeln!(file, "{}", token.reveal()).and_then(|()| file.sync_all());
    written.inspect_err(|_| {
        let _ = fs::remove_file(path);
    })
}

/// A line at the end, or nothing.
fn append(file: &mut File, line: &str, length: usize) -> io::Result<()> {
    let written = file
        .write_all(line.as_bytes())
        .and_then(|()| file.sync_all());
    written.inspect_err(|_| {
        let _ = file.set_len(length as u64);
    })
}

fn error_of(setting: &'static str, path: &Path, detail: impl ToString) -> Error {
    Error::File {
        setting,
        path: path.to_owned(),
        detail: detail.to_string(),
    }
}
