//! `leadvault promote --into companies|people`: contacts become slots where that is asked for, and pending
//! slots golden records.

use std::{fmt::Write as _, time::Instant};

use serde::Serialize;

use super::{
    Error,
    follow::follow,
    golden_tally::{Staged, Tally},
    so_far::{Done, SoFar},
};
use crate::{
    cli::{
        client::Service,
        load,
        report::{count, grpcurl, new_table},
        target::Golden,
    },
    proto::{
        company::v1::{PromoteCompaniesRequest, StageCompaniesFromVaultRequest},
        people::v1::{PromotePeopleRequest, StagePeopleFromVaultRequest},
    },
};

/// What staging the vault's contacts did.
#[derive(Debug, Serialize)]
struct FromVault {
    #[serde(flatten)]
    staged: Staged,
    seconds: f64,
}

/// What promotion did. The names of its fields are those of the JSON output and do not change.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    into: Golden,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_vault: Option<FromVault>,
    #[serde(flatten)]
    tally: Tally,
    /// How often the service went away.
    interruptions: u64,
    seconds: f64,
    rows_per_second: f64,
    #[serde(skip)]
    endpoint: String,
}

/// Promotes the pending slots of a batch, or all, after staging the vault's contacts where that is wanted.
pub(crate) async fn promote(
    service: &Service,
    into: Golden,
    batch_id: Option<&str>,
    from_vault: bool,
) -> Result<Report, Error> {
    let mut interruptions = 0;
    let mut staged = None;
    if from_vault {
        let (done, outages) = stage_contacts(service, into).await?;
        staged = Some(done);
        interruptions += outages;
    }
    let started = Instant::now();
    let mut tally = Tally::default();
    let followed = Box::pin(promote_slots(service, into, batch_id, &mut tally)).await;
    interruptions += followed.map_err(|error| Error::Ended {
        error,
        so_far: SoFar::new(Done::Slots(tally)),
    })?;
    let seconds = started.elapsed().as_secs_f64();
    Ok(Report {
        into,
        batch_id: batch_id.map(str::to_owned),
        from_vault: staged,
        tally,
        interruptions,
        seconds: (seconds * 1000.0).round() / 1000.0,
        rows_per_second: (tally.done as f64 / seconds.max(0.001) * 10.0).round() / 10.0,
        endpoint: service.address().to_owned(),
    })
}

/// What staging did, and how often the service went away.
async fn stage_contacts(service: &Service, into: Golden) -> Result<(FromVault, u64), Error> {
    let started = Instant::now();
    let mut staged = Staged::default();
    let followed = Box::pin(follow_contacts(service, into, &mut staged)).await;
    let interruptions = followed.map_err(|error| Error::Ended {
        error,
        so_far: SoFar::new(Done::Contacts(staged)),
    })?;
    let seconds = (started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
    Ok((FromVault { staged, seconds }, interruptions))
}

async fn follow_contacts(
    service: &Service,
    into: Golden,
    staged: &mut Staged,
) -> Result<u64, load::Error> {
    match into {
        Golden::Companies => {
            let call = async || {
                let request = StageCompaniesFromVaultRequest::default();
                let mut client = service.company_client();
                client.stage_companies_from_vault(request).await
            };
            follow(service, staged, call).await
        }
        Golden::People => {
            let call = async || {
                let request = StagePeopleFromVaultRequest::default();
                let mut client = service.people_client();
                client.stage_people_from_vault(request).await
            };
            follow(service, staged, call).await
        }
    }
}

async fn promote_slots(
    service: &Service,
    into: Golden,
    batch_id: Option<&str>,
    tally: &mut Tally,
) -> Result<u64, load::Error> {
    let batch_id = batch_id.unwrap_or_default();
    match into {
        Golden::Companies => {
            let call = async || {
                let request = PromoteCompaniesRequest {
                    batch_id: batch_id.to_owned(),
                    ..Default::default()
                };
                service.company_client().promote_companies(request).await
            };
            follow(service, tally, call).await
        }
        Golden::People => {
            let call = async || {
                let request = PromotePeopleRequest {
                    batch_id: batch_id.to_owned(),
                    ..Default::default()
                };
                service.people_client().promote_people(request).await
            };
            follow(service, tally, call).await
        }
    }
}

impl Report {
    /// The report for people.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        if let Some(staged) = &self.from_vault {
            let _ = writeln!(
                text,
                "contacts that are new or changed -> slots of {}\n{}\n{:.1} s\n",
                self.into,
                staged_table(&staged.staged),
                staged.seconds
            );
        }
        let what = match &self.batch_id {
            Some(batch_id) => format!("pending slots of batch {batch_id}"),
            None => "all pending slots".to_owned(),
        };
        let _ = write!(
            text,
            "{what} -> {}\n{}\n{:.1} s, {} slots/s\n",
            self.into,
            self.table(),
            self.seconds,
            count(self.rows_per_second as u64)
        );
        if self.interruptions > 0 {
            text.push_str(
                "The service went away meanwhile; what it did without saying so is not counted.\n",
            );
        }
        if self.tally.rejected > 0 {
            let _ = write!(
                text,
                "See the rejected slots, each with its reason:\n  {}\n",
                self.list_rejected_slots_command()
            );
        }
        text
    }

    fn table(&self) -> comfy_table::Table {
        let tally = &self.tally;
        let mut table = new_table(["slots", "count", "share"]);
        for (name, number) in [
            ("done", tally.done),
            ("promoted", tally.promoted),
            ("updated", tally.updated),
            ("unchanged", tally.unchanged),
            ("rejected", tally.rejected),
            ("  with an unread field", tally.noted),
        ] {
            let share = number as f64 * 100.0 / tally.done.max(1) as f64;
            table.add_row([name.to_owned(), count(number), format!("{share:.1} %")]);
        }
        table.add_row([
            "people linked".to_owned(),
            count(tally.people_linked),
            String::new(),
        ]);
        table
    }

    /// The command that lists the slots that were rejected, to be pasted into a shell.
    fn list_rejected_slots_command(&self) -> String {
        let mut request = serde_json::json!({ "status": "SLOT_STATUS_REJECTED" });
        if let Some(batch_id) = &self.batch_id {
            request["batch_id"] = batch_id.as_str().into();
        }
        grpcurl(&self.endpoint, &request, self.into.list_slots())
    }
}

fn staged_table(staged: &Staged) -> comfy_table::Table {
    let mut table = new_table(["contacts", "count", "share"]);
    for (name, number) in [
        ("done", staged.done),
        ("staged", staged.staged),
        ("unchanged", staged.unchanged),
        ("skipped", staged.skipped),
    ] {
        let share = number as f64 * 100.0 / staged.done.max(1) as f64;
        table.add_row([name.to_owned(), count(number), format!("{share:.1} %")]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::report::json_line;

    fn report() -> Report {
        Report {
            into: Golden::Companies,
            batch_id: None,
            from_vault: Some(FromVault {
                staged: Staged {
                    done: 4_584,
                    staged: 1_400,
                    unchanged: 3_000,
                    skipped: 184,
                },
                seconds: 1.5,
            }),
            tally: Tally {
                done: 1_400,
                promoted: 1_300,
                updated: 96,
                unchanged: 0,
                rejected: 4,
                noted: 2,
                people_linked: 7,
            },
            interruptions: 0,
            seconds: 0.5,
            rows_per_second: 2800.0,
            endpoint: "http://127.0.0.1:50051/".into(),
        }
    }

    #[test]
    fn people_see_both_steps_and_where_rejected_slots_are() {
        let text = report().text();
        for part in [
            "slots of companies",
            "4,584",
            "all pending slots -> companies",
            "1,300",
            "2,800 slots/s",
            "-d '{\"status\":\"SLOT_STATUS_REJECTED\"}' 127.0.0.1:50051 leadvault.company",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn json_is_one_line_with_stable_names() {
        assert_eq!(
            json_line(&report()),
            "{\"into\":\"companies\",\"from_vault\":{\"done\":4584,\"staged\":1400,\"unchanged\":3000,\
             \"skipped\":184,\"seconds\":1.5},\"done\":1400,\"promoted\":1300,\"updated\":96,\"unchanged\":0,\
             \"rejected\":4,\"noted\":2,\"people_linked\":7,\"interruptions\":0,\"seconds\":0.5,\
             \"rows_per_second\":2800.0}\n"
        );
    }

    #[test]
    fn an_early_end_says_what_was_done() {
        let report = report();
        let said = SoFar::new(Done::Slots(report.tally)).to_string();
        assert!(said.contains("1,300 slots made a golden record"), "{said}");
        let said = SoFar::new(Done::Contacts(Staged::default())).to_string();
        assert_eq!(said, "");
    }
}
