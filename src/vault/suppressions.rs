//! Suppressions: the ledger of who is not to be contacted.

use std::sync::LazyLock;

use diesel_async::{AsyncConnection as _, AsyncPgConnection};
use prost::Message as _;

use super::{
    repository::suppressions::{self as repository, NewEntries, Standing, SuppressionFilter},
    service::Shared,
};
use crate::{
    config::Limits,
    db::PooledConnection,
    domain::{Actor, Email},
    proto::vault::v1::{
        self as pb, check_contactability_response::Answer, suppress_contacts_response as outcomes,
    },
    rpc::{Answers, Begun, Error, PageRequest, to_timestamp},
};

/// The longest text that shows why, in bytes.
const MAX_EVIDENCE_BYTES: usize = 1_000;
/// The most of an address that is none that goes back to its sender, in bytes.
const MAX_ECHO_BYTES: usize = 320;

pub(super) async fn suppress(
    shared: &Shared,
    request: pb::SuppressContactsRequest,
    actor: Actor,
) -> Result<pb::SuppressContactsResponse, Error> {
    let call = SuppressCall::parse(request, &shared.limits)?;
    let connection = shared.connection().await?;
    shared.uncut(call.run(connection, actor)).await
}

pub(super) async fn unsuppress(
    shared: &Shared,
    request: pb::UnsuppressContactRequest,
    actor: Actor,
) -> Result<pb::UnsuppressContactResponse, Error> {
    let email = Email::parse(&request.email).map_err(|error| Error::invalid("email", error))?;
    let scope = channel("scope", request.scope)?
        .ok_or_else(|| Error::invalid("scope", "say which entries to lift, such as CHANNEL_ALL"))?;
    if request.evidence.trim().is_empty() {
        return Err(Error::invalid(
            "evidence",
            "say what shows that the suppression may be lifted",
        ));
    }
    let evidence = evidence("evidence", &request.evidence)?;
    let mut connection = shared.connection().await?;
    shared
        .uncut(async move {
            connection
                .transaction(async |connection| {
                    let lifted =
                        repository::unsuppress(connection, &email, scope, &evidence, &actor)
                            .await?;
                    if lifted.is_empty() {
                        return Err(Error::NotFound {
                            resource: "suppression",
                            key: format!("of {email} with scope {scope}"),
                        });
                    }
                    let status = repository::contact_status(connection, &email).await?;
                    Ok(pb::UnsuppressContactResponse {
                        lifted: lifted.into_iter().map(suppression).collect(),
                        status: contact_status(status.as_deref()).into(),
                    })
                })
                .await
        })
        .await
}

pub(super) async fn list(
    shared: &Shared,
    mut request: pb::ListSuppressionsRequest,
) -> Result<pb::ListSuppressionsResponse, Error> {
    let paging = PageRequest::of("ListSuppressions", &mut request, |request| {
        (&mut request.page_size, &mut request.page_token)
    })?
    .within(shared.limits.max_page_bytes);
    let email = match request.email.as_str() {
        "" => None,
        text => Some(Email::parse(text).map_err(|error| Error::invalid("email", error))?),
    };
    let filter = SuppressionFilter {
        email,
        scope: channel("scope", request.scope)?,
        reason: reason("reason", request.reason)?,
        with_lifted: request.show_lifted,
    };
    let mut connection = shared.connection().await?;
    let page = repository::list(&mut connection, &filter, &paging).await?;
    let last = page.items.last().filter(|_| page.more);
    Ok(pb::ListSuppressionsResponse {
        next_page_token: match last {
            Some(last) => paging.token(&last.suppression_id)?,
            None => String::new(),
        },
        suppressions: page.items.into_iter().map(suppression).collect(),
    })
}

pub(super) async fn check(
    shared: &Shared,
    request: pb::CheckContactabilityRequest,
) -> Result<pb::CheckContactabilityResponse, Error> {
    within("emails", request.emails.len(), &shared.limits)?;
    let channel = channel("channel", request.channel)?
        .ok_or_else(|| Error::invalid("channel", "name a channel, or CHANNEL_ALL"))?;
    let emails: Vec<_> = request
        .emails
        .iter()
        .map(|sent| Email::parse(sent))
        .collect();
    let valid: Vec<&str> = emails.iter().flatten().map(Email::as_str).collect();
    let standings = if valid.is_empty() {
        Vec::new()
    } else {
        let mut connection = shared.connection().await?;
        repository::check(&mut connection, &valid, channel).await?
    };
    let mut standings = standings.into_iter();
    let answers = request.emails.iter().zip(emails).map(|(sent, email)| {
        Ok(match email {
            Ok(email) => {
                let standing = standings.next();
                let standing = standing.ok_or_else(|| Error::internal("an answer is missing"))?;
                answer(email, standing, channel)
            }
            Err(error) => Answer {
                email: sent[..sent.floor_char_boundary(MAX_ECHO_BYTES)].to_owned(),
                detail: error.to_string(),
                ..Default::default()
            },
        })
    });
    Ok(pb::CheckContactabilityResponse {
        answers: answers.collect::<Result<_, Error>>()?,
    })
}

/// Whether an address may be contacted. A deleted contact may not at all; what else a status says is about
/// email, which every entry that speaks of other channels leaves alone.
fn answer(email: Email, standing: Standing, channel: &str) -> Answer {
    let status = contact_status(standing.status.as_deref());
    let by_email = matches!(channel, "all" | "email");
    let detail = match status {
        _ if standing.suppression.is_some() => "",
        pb::ContactStatus::Inactive => "the contact is inactive",
        pb::ContactStatus::Unsubscribed if by_email => "the contact is unsubscribed",
        pb::ContactStatus::Bounced if by_email => "mail to the contact bounces",
        _ => "",
    };
    Answer {
        email: email.to_string(),
        contactable: standing.suppression.is_none() && detail.is_empty(),
        suppression: standing.suppression.map(suppression),
        status: status.into(),
        detail: detail.to_owned(),
    }
}

/// One call of `SuppressContacts`, parsed.
struct SuppressCall {
    request: pb::SuppressContactsRequest,
    /// The entries with an address.
    entries: NewEntries,
    /// For each entry of the request what is wrong with its address, if something is.
    invalid: Vec<Option<String>>,
}

impl SuppressCall {
    fn parse(request: pb::SuppressContactsRequest, limits: &Limits) -> Result<Self, Error> {
        within("entries", request.entries.len(), limits)?;
        let (bytes, limit) = (request.encoded_len(), limits.max_frame_bytes);
        if bytes > limit {
            return Err(Error::LimitExceeded {
                what: "bytes of entries",
                limit,
                actual: bytes,
                setting: "max-frame-bytes",
            });
        }
        let mut entries = NewEntries::default();
        let mut invalid = Vec::with_capacity(request.entries.len());
        for (nth, entry) in request.entries.iter().enumerate() {
            let scope = channel(field(nth, Field::Scope), entry.scope)?.unwrap_or("all");
            let reason = reason(field(nth, Field::Reason), entry.reason)?
                .ok_or_else(|| Error::invalid(field(nth, Field::Reason), "say why"))?;
            let evidence = evidence(field(nth, Field::Evidence), &entry.evidence)?;
            invalid.push(match Email::parse(&entry.email) {
                Ok(email) => {
                    entries.push(&email, scope, reason, evidence);
                    None
                }
                Err(error) => Some(error.to_string()),
            });
        }
        Ok(Self {
            request,
            entries,
            invalid,
        })
    }

    /// Enters everything and keeps the answer, in one transaction.
    async fn run(
        self,
        mut connection: PooledConnection<'static>,
        actor: Actor,
    ) -> Result<pb::SuppressContactsResponse, Error> {
        connection
            .transaction(async |connection| self.in_txn(connection, &actor).await)
            .await
    }

    async fn in_txn(
        self,
        connection: &mut AsyncPgConnection,
        actor: &Actor,
    ) -> Result<pb::SuppressContactsResponse, Error> {
        let request_id = &self.request.request_id;
        let answers = Answers::parse(actor, "SuppressContacts", request_id, &self.request)?;
        if let Some(answers) = &answers
            && let Begun::Answered(response) = answers.begin(connection).await?
        {
            return Ok(response);
        }
        let mut entered = repository::suppress(connection, &self.entries, actor)
            .await?
            .into_iter();
        let outcomes = self.invalid.into_iter().map(|invalid| {
            Ok(match invalid {
                Some(detail) => outcomes::Outcome {
                    result: outcomes::outcome::Result::InvalidEmail.into(),
                    detail,
                    ..Default::default()
                },
                None => {
                    let entered = entered.next();
                    let entered =
                        entered.ok_or_else(|| Error::internal("an outcome is missing"))?;
                    let result = if entered.added {
                        outcomes::outcome::Result::Suppressed
                    } else {
                        outcomes::outcome::Result::AlreadySuppressed
                    };
                    outcomes::Outcome {
                        result: result.into(),
                        suppression_id: entered.suppression_id,
                        ..Default::default()
                    }
                }
            })
        });
        let response = pb::SuppressContactsResponse {
            outcomes: outcomes.collect::<Result<_, Error>>()?,
        };
        if let Some(answers) = &answers {
            answers.keep(connection, &response).await?;
        }
        Ok(response)
    }
}

/// Refuses a batch that is empty or larger than one call may be.
fn within(what: &'static str, actual: usize, limits: &Limits) -> Result<(), Error> {
    let limit = limits.max_ingest_rows;
    match actual {
        0 => Err(Error::invalid(what, "give at least one")),
        _ if actual > limit => Err(Error::LimitExceeded {
            what,
            limit,
            actual,
            setting: "max-ingest-rows",
        }),
        _ => Ok(()),
    }
}

/// A field of an entry that may be wrong.
#[derive(Clone, Copy)]
enum Field {
    Scope,
    Reason,
    Evidence,
}

/// The path of an entry's field. Errors hold paths that live as long as the program, so these are made once,
/// when the first one is needed.
fn field(nth: usize, field: Field) -> &'static str {
    const NAMED: usize = 1_000;
    static PATHS: LazyLock<Vec<[String; 3]>> = LazyLock::new(|| {
        let path = |nth, field| format!("entries[{nth}].{field}");
        (0..NAMED)
            .map(|nth| ["scope", "reason", "evidence"].map(|field| path(nth, field)))
            .collect()
    });
    PATHS
        .get(nth)
        .map_or("entries", |paths| paths[field as usize].as_str())
}

/// Text that only people read, without what PostgreSQL cannot store.
fn evidence(field: &'static str, text: &str) -> Result<String, Error> {
    if text.len() > MAX_EVIDENCE_BYTES {
        return Err(Error::invalid(
            field,
            format!(
                "has {} bytes, at most {MAX_EVIDENCE_BYTES} are taken",
                text.len()
            ),
        ));
    }
    // Shorter than the three bytes of U+FFFD, so that the limit still holds.
    Ok(text.replace('\0', "?"))
}

/// A channel by its name in the database; `None` for the unspecified one.
fn channel(field: &'static str, number: i32) -> Result<Option<&'static str>, Error> {
    Ok(match pb::Channel::try_from(number) {
        Ok(pb::Channel::Unspecified) => None,
        Ok(pb::Channel::All) => Some("all"),
        Ok(pb::Channel::Email) => Some("email"),
        Ok(pb::Channel::Linkedin) => Some("linkedin"),
        Ok(pb::Channel::Phone) => Some("phone"),
        Err(_) => return Err(unknown(field, number)),
    })
}

/// A reason by its name in the database; `None` for the unspecified one.
fn reason(field: &'static str, number: i32) -> Result<Option<&'static str>, Error> {
    use pb::SuppressionReason as Reason;
    Ok(match Reason::try_from(number) {
        Ok(Reason::Unspecified) => None,
        Ok(Reason::Unsubscribed) => Some("unsubscribed"),
        Ok(Reason::Bounced) => Some("bounced"),
        Ok(Reason::Complaint) => Some("complaint"),
        Ok(Reason::Manual) => Some("manual"),
        Ok(Reason::Legal) => Some("legal"),
        Err(_) => return Err(unknown(field, number)),
    })
}

fn unknown(field: &'static str, number: i32) -> Error {
    Error::invalid(field, format!("{number} is not a value of its enum"))
}

fn contact_status(name: Option<&str>) -> pb::ContactStatus {
    match name {
        Some("active") => pb::ContactStatus::Active,
        Some("inactive") => pb::ContactStatus::Inactive,
        Some("bounced") => pb::ContactStatus::Bounced,
        Some("unsubscribed") => pb::ContactStatus::Unsubscribed,
        _ => pb::ContactStatus::Unspecified,
    }
}

fn suppression(entry: repository::Suppression) -> pb::Suppression {
    let scope = match entry.scope.as_str() {
        "all" => pb::Channel::All,
        "email" => pb::Channel::Email,
        "linkedin" => pb::Channel::Linkedin,
        "phone" => pb::Channel::Phone,
        _ => pb::Channel::Unspecified,
    };
    let reason = match entry.reason.as_str() {
        "unsubscribed" => pb::SuppressionReason::Unsubscribed,
        "bounced" => pb::SuppressionReason::Bounced,
        "complaint" => pb::SuppressionReason::Complaint,
        "manual" => pb::SuppressionReason::Manual,
        "legal" => pb::SuppressionReason::Legal,
        _ => pb::SuppressionReason::Unspecified,
    };
    pb::Suppression {
        suppression_id: entry.suppression_id,
        email: entry.email,
        scope: scope.into(),
        reason: reason.into(),
        evidence: entry.evidence,
        actor: entry.created_by,
        create_time: Some(to_timestamp(entry.created_at)),
        lift_time: entry.lifted_at.map(to_timestamp),
        lifted_by: entry.lifted_by.unwrap_or_default(),
        lift_evidence: entry.lift_evidence.unwrap_or_default(),
    }
}
