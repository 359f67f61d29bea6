//! `leadvault token`: what clients prove their names with.

use clap::{Args, Subcommand};

use super::{Error, say};
use crate::server::doors::{Role, Token, parse_name};

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
    /// The token goes to the standard output, once: it is kept nowhere. The line of the clients file goes to the
    /// standard error: `leadvault token new --name crm-sync --role loader > crm-sync.token 2>> clients`.
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
}

pub(crate) fn run(args: &TokenArgs) -> Result<(), Error> {
    let TokenCommand::New(NewArgs { name, role }) = &args.command;
    let name = parse_name(name).map_err(|detail| Error::Usage(format!("--name: {detail}")))?;
    let token = Token::generate().ok_or(Error::NoRandomness)?;
    say(token.reveal());
    eprintln!(
        "# Into the clients file (--clients), which the service reads again on SIGHUP:\n{name} {role} {}",
        token.hash()
    );
    Ok(())
}
