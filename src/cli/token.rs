//! `leadvault token`: what clients prove their names with.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Error, say};
use crate::server::doors::{Role, Token, enter, parse_name};

/// Make tokens, which clients of the service show it.
#[derive(Args, Debug)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a token.
    ///
    /// `leadvault token new --name crm-sync --role loader --clients clients --token-file crm-sync.token` enters the
    /// client into the clients file, and writes its token into a new file that only its owner reads. Without both
    /// files the token goes to the standard output, once, and the line of the clients file to the standard error.
    /// The token is kept nowhere else.
    New(NewArgs),
}

#[derive(Args, Debug)]
struct NewArgs {
    /// The client's name: the actor in audit and history.
    #[arg(long)]
    name: String,
    /// What it may do: reader, loader, operator or admin.
    #[arg(long)]
    role: Role,
    /// The clients file that gets the client's line; it is made where there is none.
    #[arg(long, value_name = "FILE", requires = "token_file")]
    clients: Option<PathBuf>,
    /// The file that gets the token; it must not exist.
    #[arg(long, value_name = "FILE", requires = "clients")]
    token_file: Option<PathBuf>,
}

pub(crate) fn run(args: &TokenArgs) -> Result<(), Error> {
    let TokenCommand::New(args) = &args.command;
    let role = args.role;
    let name =
        parse_name(&args.name).map_err(|detail| Error::Usage(format!("--name: {detail}")))?;
    let token = Token::generate().ok_or(Error::NoRandomness)?;
    if let (Some(clients), Some(token_file)) = (&args.clients, &args.token_file) {
        enter(&name, role, &token, clients, token_file)?;
        say(format_args!(
            "{name} ({role}) is in {}, which the service reads again on SIGHUP; its token is in {}",
            clients.display(),
            token_file.display()
        ));
        return Ok(());
    }
    say(token.reveal());
    eprintln!(
        "# Into the clients file (--clients), which the service reads again on SIGHUP:\n{name} {role} {}",
        token.hash()
    );
    Ok(())
}
