//! The clients file: who may call, and what proves that it is they.
//!
//! A line for each client, its words apart by white space: its name, which is the actor in audit and history; its
//! role; and what proves it, one or more of `sha256:` with the hash of a token in hexadecimal digits, and
//! `certificate`, a client certificate with this name. Two tokens on a line are both good, so that one can be
//! exchanged for another without a gap. What follows `#`, at the beginning of a word, is for people.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    path::PathBuf,
    sync::Arc,
};

use tokio::sync::watch;

use super::{
    Error, Role,
    token::{TokenHash, looks_like_token},
};
use crate::domain::Actor;

/// What says in the file that a client certificate proves the client.
const CERTIFICATE: &str = "certificate";

/// Who may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Client {
    pub(super) name: Actor,
    pub(super) role: Role,
}

/// The clients of a file, by what proves them.
#[derive(Debug, Default)]
pub(super) struct Clients {
    by_token: HashMap<u128, (TokenHash, Client)>,
    by_certificate: HashMap<String, Client>,
    by_name: HashMap<String, Line>,
}

/// What a file says of a client, for the next one to be compared with.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    role: Role,
    proofs: BTreeSet<String>,
}

/// How many clients there are since a file was read again, and what that changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Who may call now.
    pub clients: usize,
    /// Who may call since then.
    pub added: usize,
    /// Who may call no more.
    pub removed: usize,
    /// Whose role, or what proves that it is they, is another.
    pub changed: usize,
}

/// What is wrong with a line of the clients file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadLine {
    pub(super) line: usize,
    pub(super) detail: String,
}

impl Clients {
    /// Reads the text of a clients file.
    pub(super) fn parse(text: &str, takes_certificates: bool) -> Result<Self, BadLine> {
        let mut clients = Self::default();
        let mut lines_of_names = HashMap::new();
        for (line, text) in (1..).zip(text.lines()) {
            let bad = |detail| BadLine { line, detail };
            let mut words = text.split_whitespace();
            let mut words = words.by_ref().take_while(|word| !word.starts_with('#'));
            let Some(name) = words.next() else { continue };
            let client = client(name, words.next()).map_err(bad)?;
            if let Some(first) = lines_of_names.insert(name, line) {
                return Err(bad(format!(
                    "{name} is on line {first} already; a client has one line, with all of its tokens"
                )));
            }
            clients
                .enter(&client, words, takes_certificates)
                .map_err(bad)?;
        }
        Ok(clients)
    }

    /// Enters what proves a client.
    fn enter<'a>(
        &mut self,
        client: &Client,
        proofs: impl Iterator<Item = &'a str>,
        takes_certificates: bool,
    ) -> Result<(), String> {
        let mut line = Line {
            role: client.role,
            proofs: BTreeSet::new(),
        };
        for proof in proofs {
            line.proofs.insert(proof.to_ascii_lowercase());
            if proof == CERTIFICATE {
                if !takes_certificates {
                    return Err(
                        "a client's certificate is taken only with --tls-client-ca".to_owned()
                    );
                }
                let name = client.name.as_str().to_owned();
                self.by_certificate.insert(name, client.clone());
            } else {
                let hash = token_hash(proof)?;
                let entry = (hash, client.clone());
                if let Some((_, other)) = self.by_token.insert(hash.index(), entry) {
                    return Err(format!("this token is given to {} already", other.name));
                }
            }
        }
        if line.proofs.is_empty() {
            return Err(
                "nothing proves this client; give sha256: and its token's hash, or certificate"
                    .to_owned(),
            );
        }
        self.by_name.insert(client.name.to_string(), line);
        Ok(())
    }

    /// Whether a client is among them.
    pub(super) fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// What is another since before.
    fn since(&self, before: &Self) -> Reloaded {
        let added = |name: &&String| !before.by_name.contains_key(*name);
        let removed = |name: &&String| !self.by_name.contains_key(*name);
        let changed = |(name, line): &(&String, &Line)| {
            let before = before.by_name.get(*name);
            before.is_some_and(|before| before != *line)
        };
        Reloaded {
            clients: self.by_name.len(),
            added: self.by_name.keys().filter(added).count(),
            removed: before.by_name.keys().filter(removed).count(),
            changed: self.by_name.iter().filter(changed).count(),
        }
    }

    /// The client that has a token.
    pub(super) fn with_token(&self, token: &str) -> Option<&Client> {
        let hash = TokenHash::of(token);
        let (stored, client) = self.by_token.get(&hash.index())?;
        stored.equals(&hash).then_some(client)
    }

    /// The client whose certificate has a name.
    pub(super) fn with_certificate(&self, name: &str) -> Option<&Client> {
        self.by_certificate.get(name)
    }
}

fn client(name: &str, role: Option<&str>) -> Result<Client, String> {
    let name = parse_name(name)?;
    let role = role.ok_or("the role is missing: reader, loader, operator or admin")?;
    let role = role
        .parse()
        .map_err(|error| format!("{error}, not {role:?}"))?;
    Ok(Client { name, role })
}

/// The name of a client: an actor in one word, and none of those that the service gives itself.
pub(crate) fn parse_name(name: &str) -> Result<Actor, String> {
    let actor = Actor::parse(name).map_err(|error| format!("the name {error}"))?;
    let own = [Actor::anonymous(), Actor::system()];
    if own
        .iter()
        .any(|own| own.as_str().eq_ignore_ascii_case(name))
    {
        return Err(format!(
            "{name} is what the service calls itself, or a caller whom it does not know; choose another name"
        ));
    }
    if name.starts_with('#') || name.contains(char::is_whitespace) {
        return Err("a name is one word that does not begin with #".to_owned());
    }
    Ok(actor)
}

/// What is wrong never names the word: it may be a secret in a wrong place.
fn token_hash(word: &str) -> Result<TokenHash, String> {
    word.parse().map_err(|()| {
        if looks_like_token(word) {
            "a token is here in place of its hash, and is no secret any more; make another with `leadvault token new`"
        } else {
            "after the role come sha256: and 64 hexadecimal digits, or certificate"
        }
        .to_owned()
    })
}

/// The clients file, and what was in it when it was last good.
#[derive(Clone, Debug)]
pub struct ClientsFile {
    path: PathBuf,
    takes_certificates: bool,
    current: watch::Sender<Arc<Clients>>,
}

impl ClientsFile {
    /// Reads it for the first time.
    pub(crate) fn open(path: PathBuf, takes_certificates: bool) -> Result<Self, Error> {
        let file = Self {
            path,
            takes_certificates,
            current: watch::Sender::new(Arc::default()),
        };
        file.reload()?;
        Ok(file)
    }

    /// Reads it again. What it says holds from the next call on; a stream that is open goes on. Says what it changed.
    ///
    /// # Errors
    /// The file cannot be read, or a line of it is wrong. What was read before stays.
    pub fn reload(&self) -> Result<Reloaded, Error> {
        let text = fs::read_to_string(&self.path).map_err(|error| self.error(error))?;
        let clients = Clients::parse(&text, self.takes_certificates)
            .map_err(|bad| self.error(format_args!("line {}: {}", bad.line, bad.detail)))?;
        if clients.by_name.is_empty() {
            return Err(self.error(
                "it names no client, and nobody could call; `leadvault token new` makes a line",
            ));
        }
        let clients = Arc::new(clients);
        let before = self.current.send_replace(Arc::clone(&clients));
        Ok(clients.since(&before))
    }

    /// How many clients there are.
    pub(crate) fn count(&self) -> usize {
        self.current().by_name.len()
    }

    /// Who may call now.
    pub(super) fn current(&self) -> Arc<Clients> {
        self.current.borrow().clone()
    }

    fn error(&self, detail: impl ToString) -> Error {
        Error::File {
            setting: "--clients",
            path: self.path.clone(),
            detail: detail.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn bad(text: &str) -> (usize, String) {
        let bad = Clients::parse(text, true).unwrap_err();
        (bad.line, bad.detail)
    }

    #[test]
    fn a_client_is_found_by_each_of_its_proofs() {
        let old = TokenHash::of("lv_old");
        let new = TokenHash::of("lv_new");
        let text = format!(
            "# who may call\n\n crm-sync\tloader {old} {new} # two: being exchanged\r\nops admin certificate#\n"
        );
        let text = text.replace("certificate#", "certificate #");
        let clients = Clients::parse(&text, true).unwrap();
        for token in ["lv_old", "lv_new"] {
            let client = clients.with_token(token).unwrap();
            assert_eq!(
                (client.name.as_str(), client.role),
                ("crm-sync", Role::Loader)
            );
        }
        assert_eq!(clients.with_token("lv_other"), None);
        assert_eq!(clients.with_token(""), None);
        assert_eq!(clients.with_certificate("ops").unwrap().role, Role::Admin);
        assert_eq!(clients.with_certificate("crm-sync"), None);
    }

    #[test]
    fn what_a_new_file_changes_is_counted() {
        let other = HASH.replace("aaaa", "bbbb");
        let read = |text: &str| Clients::parse(text, true).unwrap();
        let before = read(&format!(
            "a admin {HASH}\nb reader certificate\nc loader certificate"
        ));
        let after = format!("d admin certificate\nb loader certificate\na admin {HASH} {other}");
        let expected = Reloaded {
            clients: 3,
            added: 1,
            removed: 1,
            changed: 2,
        };
        assert_eq!(read(&after).since(&before), expected);
        let same = read(&format!(
            "# again\n a  admin {HASH}\nb reader certificate\nc loader certificate"
        ));
        let nothing = Reloaded {
            clients: 3,
            ..Reloaded::default()
        };
        assert_eq!(same.since(&before), nothing);
    }

    #[test]
    fn a_bad_line_is_named_with_what_would_be_right() {
        for (text, line, says) in [
            ("crm".to_owned(), 1, "role is missing"),
            ("\ncrm boss certificate".to_owned(), 2, "operator"),
            ("crm loader # no proof".to_owned(), 1, "sha256:"),
            ("crm loader sha256:12".to_owned(), 1, "64 hexadecimal"),
            ("System admin certificate".to_owned(), 1, "another name"),
            (format!("a admin {HASH}\nb reader {HASH}"), 2, "given to a"),
            (
                format!("a admin {HASH}\n#\na reader certificate"),
                3,
                "on line 1",
            ),
        ] {
            let (at, detail) = bad(&text);
            assert_eq!(at, line, "{text}");
            assert!(detail.contains(says), "{text}: {detail}");
        }
        let without_ca = Clients::parse("ops admin certificate", false).unwrap_err();
        assert!(without_ca.detail.contains("--tls-client-ca"));
    }

    #[test]
    fn a_token_in_place_of_its_hash_is_not_repeated() {
        let (_, detail) = bad("crm loader lv_secret");
        assert!(
            detail.contains("token new") && !detail.contains("lv_secret"),
            "{detail}"
        );
    }
}
