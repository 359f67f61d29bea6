//! `GetAttributionReport`: the touches of every conversion of a period, shared out and added up.
//!
//! One snapshot, and no more of it than a report may read: what that is, `reading` says.

use std::collections::{HashMap, HashSet};

use diesel_async::AsyncPgConnection;
use pb::get_attribution_report_response::Unattributed;
use prost_types::Duration;
use uuid::Uuid;

use super::{
    super::{
        attribution::{Model, Share, Tally, WHOLE},
        convert::{id, period},
        repository::conversions_report::{self as repository, Period},
    },
    reading,
};
use crate::{
    proto::marketing::v1 as pb,
    room::Room,
    rpc::{Error, check_items, to_decimal},
};

/// The most campaigns of a report.
const MAX_CAMPAIGNS: usize = 1_000;
const NANOS: i128 = 1_000_000_000;
/// 7 days.
const HALF_LIFE: i128 = 7 * 86_400 * NANOS;

pub(in crate::marketing) async fn attribution_report(
    room: &Room,
    request: pb::GetAttributionReportRequest,
) -> Result<pb::GetAttributionReportResponse, Error> {
    let report = Report::parse(&request)?;
    let mut connection = room.connection().await?;
    connection
        .build_transaction()
        .repeatable_read()
        .read_only()
        .run(async |connection: &mut AsyncPgConnection| report.make(connection).await)
        .await
}

/// One call of `GetAttributionReport`, parsed.
struct Report {
    /// Those that are asked for; none: all that have a share.
    campaign_ids: Vec<Uuid>,
    period: Period,
    model: Model,
}

impl Report {
    fn parse(request: &pb::GetAttributionReportRequest) -> Result<Self, Error> {
        let asked_for = &request.campaign_ids;
        if !asked_for.is_empty() {
            check_items("campaign_ids", asked_for.len())?;
        }
        let ids = asked_for.iter().enumerate().map(|(nth, text)| {
            id(text).map_err(|error| Error::invalid(format!("campaign_ids[{nth}]"), error))
        });
        let (converted_from, converted_before) = period(
            ["converted_from", "converted_before"],
            [request.converted_from, request.converted_before],
        )?;
        Ok(Self {
            campaign_ids: ids.collect::<Result<_, Error>>()?,
            period: Period {
                converted_from,
                converted_before,
                include_opens: request.include_opens,
            },
            model: model(request)?,
        })
    }

    async fn make(
        &self,
        connection: &mut AsyncPgConnection,
    ) -> Result<pb::GetAttributionReportResponse, Error> {
        let asked_for: HashSet<Uuid> = self.campaign_ids.iter().copied().collect();
        if !asked_for.is_empty() {
            let names = names(connection, &self.campaign_ids).await?;
            if let Some(unknown) = self.campaign_ids.iter().find(|id| !names.contains_key(id)) {
                return Err(not_found(*unknown));
            }
        }
        let shown = Some(asked_for).filter(|ids| !ids.is_empty());
        let mut tally = self.tally(connection, shown).await?;
        let mut campaigns = tally.campaigns();
        if campaigns.len() > MAX_CAMPAIGNS {
            // The rest becomes other campaigns: how many conversions those share is not in their sums.
            let largest = campaigns.iter().take(MAX_CAMPAIGNS).map(|(id, _)| *id);
            tally = self.tally(connection, Some(largest.collect())).await?;
            campaigns = tally.campaigns();
        }
        let ids: Vec<Uuid> = campaigns.iter().map(|(id, _)| *id).collect();
        let names = names(connection, &ids).await?;
        Ok(response(&tally, campaigns, names))
    }

    /// Adds up the conversions of the period.
    async fn tally(
        &self,
        connection: &mut AsyncPgConnection,
        shown: Option<HashSet<Uuid>>,
    ) -> Result<Tally, Error> {
        let mut tally = Tally::new(self.model, shown);
        reading::read(connection, &self.period, &mut tally).await?;
        Ok(tally)
    }
}

fn model(request: &pb::GetAttributionReportRequest) -> Result<Model, Error> {
    use pb::AttributionModel as Pb;
    let wrong = |description: String| Error::invalid("model", description);
    let model = Pb::try_from(request.model)
        .map_err(|_| wrong(format!("{} is not a value of its enum", request.model)))?;
    if model != Pb::TimeDecay && request.half_life.is_some() {
        let description = "belongs to ATTRIBUTION_MODEL_TIME_DECAY; leave it out";
        return Err(Error::invalid("half_life", description));
    }
    Ok(match model {
        Pb::Unspecified => return Err(wrong("is required".to_owned())),
        Pb::FirstTouch => Model::FirstTouch,
        Pb::LastTouch => Model::LastTouch,
        Pb::Linear => Model::Linear,
        Pb::PositionBased => Model::PositionBased,
        Pb::TimeDecay => Model::TimeDecay {
            half_life: request.half_life.map_or(Ok(HALF_LIFE), half_life)?,
        },
    })
}

/// A half-life in nanoseconds.
fn half_life(duration: Duration) -> Result<i128, Error> {
    let nanos = i128::from(duration.nanos);
    let half_life = i128::from(duration.seconds) * NANOS + nanos;
    if !(0..NANOS).contains(&nanos) || half_life <= 0 {
        return Err(Error::invalid("half_life", "must be longer than 0"));
    }
    Ok(half_life)
}

async fn names(
    connection: &mut AsyncPgConnection,
    campaign_ids: &[Uuid],
) -> Result<HashMap<Uuid, String>, Error> {
    let names = repository::campaign_names(connection, campaign_ids).await?;
    Ok(names.into_iter().collect())
}

fn not_found(campaign_id: Uuid) -> Error {
    Error::NotFound {
        resource: "campaign",
        key: campaign_id.to_string(),
    }
}

fn response(
    tally: &Tally,
    campaigns: Vec<(Uuid, Share)>,
    mut names: HashMap<Uuid, String>,
) -> pb::GetAttributionReportResponse {
    let campaigns = campaigns
        .into_iter()
        .map(|(id, own)| pb::CampaignAttribution {
            campaign_id: id.to_string(),
            name: names.remove(&id).unwrap_or_default(),
            share: share(own),
        });
    pb::GetAttributionReportResponse {
        campaigns: campaigns.collect(),
        unattributed: Some(Unattributed {
            share: share(tally.unattributed),
            no_touch: share(tally.no_touch),
            without_campaign: share(tally.without_campaign),
            other_campaigns: share(tally.other_campaigns),
        }),
        total: share(tally.total),
    }
}

fn share(share: Share) -> Option<pb::AttributionShare> {
    let (credit, cents) = (share.credit, share.cents);
    Some(pb::AttributionShare {
        conversion_count: share.conversions,
        credit: Some(to_decimal(format!(
            "{}.{:012}",
            credit / WHOLE,
            credit % WHOLE
        ))),
        value: Some(to_decimal(format!("{}.{:02}", cents / 100, cents % 100))),
    })
}
