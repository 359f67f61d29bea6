//! The page, from what is known.

use std::time::{Duration, Instant};

use chrono::{SecondsFormat, Utc};

use super::{
    super::{probes::Condition, queues::Depth},
    chart,
    facts::{Batch, Campaign, Facts, Part, Stage},
    html::Html,
    rates::Series,
    table::{Cell, Head, bytes, count, duration, seconds, table},
};
use crate::db::PoolUsage;

const STYLE: &str = include_str!("status.css");
/// From which age on facts are said to be old.
const OLD: Duration = Duration::from_secs(15);

/// All that a page shows.
pub(super) struct View {
    pub(super) refreshes: bool,
    pub(super) is_stopping: bool,
    /// Since when the server runs.
    pub(super) up: Duration,
    pub(super) now: Instant,
    pub(super) database: Condition,
    pub(super) depths: Vec<Depth>,
    pub(super) facts: Facts,
    pub(super) pool: PoolUsage,
    pub(super) rows: Series,
    pub(super) calls: Series,
    pub(super) faults: Series,
}

/// The whole page.
pub(super) fn render(view: &View) -> String {
    let mut html = Html::default();
    begin(&mut html, view);
    headline(&mut html, view);
    rates(&mut html, view);
    database(&mut html, view);
    funnel(&mut html, view);
    batches(&mut html, view);
    campaigns(&mut html, view);
    queues(&mut html, view);
    html.markup("</main>");
    footer(&mut html, view);
    html.markup("</body></html>");
    html.finish()
}

fn begin(html: &mut Html, view: &View) {
    html.markup(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\">",
    );
    if view.refreshes {
        html.markup(r#"<meta http-equiv="refresh" content="10">"#);
    }
    html.markup("<title>leadvault: ")
        .text(condition(view).1)
        .markup("</title><style>")
        .markup(STYLE)
        .markup("</style></head><body>");
}

/// How it does: the class of its colour, and a word.
fn condition(view: &View) -> (&'static str, &'static str) {
    if view.is_stopping {
        ("warn", "stopping")
    } else {
        match view.database {
            Condition::TakesWrites => ("good", "serving"),
            Condition::ReadOnly => ("bad", "read only"),
            Condition::Silent => ("bad", "no database"),
        }
    }
}

fn headline(html: &mut Html, view: &View) {
    let (class, word) = condition(view);
    html.markup(r#"<header><h1>leadvault <small>"#)
        .text(env!("CARGO_PKG_VERSION"))
        .markup(r#"</small></h1><p class="condition"><span class="badge "#)
        .markup(class)
        .markup(r#"">"#)
        .text(word)
        .markup("</span> up for ")
        .text(duration(view.up))
        .markup("</p></header><main>");
    let notice = match view.database {
        Condition::TakesWrites => return,
        Condition::ReadOnly => {
            "The database takes no writes: is it a standby? Reads are answered, and every write fails until the database takes writes, or the service is led to one that does."
        }
        Condition::Silent => {
            "The database did not answer within a second. What is below was seen before; calls fail with UNAVAILABLE until it is back."
        }
    };
    html.markup(r#"<p class="notice" role="alert">"#)
        .text(notice)
        .markup(" <code>leadvault doctor</code> says more.</p>");
}

fn rates(html: &mut Html, view: &View) {
    open(html, "rates", "Rates");
    html.markup(r#"<div class="tiles">"#);
    let tiles = [
        ("Rows in", "rows/s", &view.rows),
        ("Calls", "calls/s", &view.calls),
        ("Faults", "faults/s", &view.faults),
    ];
    for (name, unit, series) in tiles {
        html.markup(r#"<div class="tile"><h3>"#)
            .text(name)
            .markup(r#"</h3><p class="big">"#)
            .text(rate(series.recent))
            .markup(" <small>")
            .text(unit)
            .markup("</small></p>");
        chart::over_time(html, name, series);
        html.markup("</div>");
    }
    html.markup(r#"</div><p class="note">This server alone: the number is of the last minute, the line of the last 10. Faults are calls that ended with INTERNAL, UNKNOWN, UNAVAILABLE or DATA_LOSS.</p></section>"#);
}

fn rate(a_second: f64) -> String {
    if a_second >= 100.0 {
        count(a_second as i64)
    } else {
        format!("{a_second:.1}")
    }
}

fn database(html: &mut Html, view: &View) {
    open(html, "database", "Database");
    age(html, view, &view.facts.database);
    html.markup("<dl>");
    let mut fact = |name, value: String| {
        html.markup("<div><dt>")
            .text(name)
            .markup("</dt><dd>")
            .text(value)
            .markup("</dd></div>");
    };
    let answers = match view.database {
        Condition::TakesWrites => "yes",
        Condition::ReadOnly => "yes, and takes no writes",
        Condition::Silent => "no",
    };
    fact("Answers", answers.to_owned());
    if let Some(database) = view.facts.database.rows.first() {
        fact("Version", format!("PostgreSQL {}", database.version));
        let size = database.bytes.map_or("not told".to_owned(), bytes);
        fact("Size", size);
        fact("Up for", seconds(database.up_seconds));
    }
    let pool = &view.pool;
    let in_use = pool.open.saturating_sub(pool.idle);
    fact("Connections", format!("{in_use} in use of {}", pool.max));
    fact("Waiting for one", count(i64::from(pool.waiting)));
    html.markup("</dl></section>");
}

fn funnel(html: &mut Html, view: &View) {
    open(html, "funnel", "Funnel");
    let part = &view.facts.funnel;
    age(html, view, part);
    let most = part.rows.iter().map(|stage| stage.count).max();
    let rows = part.rows.iter().cloned().map(|Stage { stage, count }| {
        let name = stage.clone();
        let draw = move |html: &mut Html| {
            let most = most.unwrap_or_default();
            chart::shares(html, &name, most, &[("one", "of the largest", count)]);
        };
        let draw = Cell::Chart(Box::new(draw));
        vec![Cell::Label(stage), Cell::count(count), draw]
    });
    let head = Head {
        caption: "From rows to conversions",
        columns: &["Stage", "Count", "Share of the largest"],
    };
    html.markup(r#"<div class="narrow">"#);
    table(html, &head, rows);
    html.markup("</div></section>");
}

fn batches(html: &mut Html, view: &View) {
    open(html, "batches", "Batches");
    let part = &view.facts.batches;
    age(html, view, part);
    if part.rows.is_empty() && part.seen_at.is_some() {
        html.markup("<p>There is none yet. <code>leadvault load</code> makes one.</p></section>");
        return;
    }
    let head = Head {
        caption: "The last ten, newest first",
        columns: &[
            "Batch",
            "Source",
            "State",
            "Age",
            "Rows",
            "Accepted",
            "Duplicate",
            "Rejected",
            "Shares",
        ],
    };
    table(html, &head, part.rows.iter().cloned().map(batch));
    html.markup(r#"<p class="note">Shares: <span class="key one"></span>accepted <span class="key two"></span>duplicate <span class="key three"></span>rejected. <code>ListRejectedRows</code> says why rows were rejected.</p></section>"#);
}

fn batch(batch: Batch) -> Vec<Cell> {
    let rows = batch.accepted + batch.duplicate + batch.rejected;
    let parts = [
        ("one", "accepted", batch.accepted),
        ("two", "duplicate", batch.duplicate),
        ("three", "rejected", batch.rejected),
    ];
    let draw = move |html: &mut Html| chart::shares(html, "Rows", rows, &parts);
    let state = match batch.state.as_str() {
        "complete" => "good",
        "abandoned" => "warn",
        _ => "plain",
    };
    vec![
        Cell::Label(batch.batch_id),
        Cell::Label(batch.source),
        Cell::State(state, batch.state),
        Cell::Number(seconds(batch.age_seconds)),
        Cell::count(rows),
        Cell::count(batch.accepted),
        Cell::count(batch.duplicate),
        Cell::count(batch.rejected),
        Cell::Chart(Box::new(draw)),
    ]
}

fn campaigns(html: &mut Html, view: &View) {
    open(html, "campaigns", "Campaigns");
    let part = &view.facts.campaigns;
    age(html, view, part);
    if part.rows.is_empty() && part.seen_at.is_some() {
        html.markup("<p>There is none yet.</p></section>");
        return;
    }
    let head = Head {
        caption: "The last ten, newest first",
        columns: &[
            "Campaign",
            "Status",
            "Sent",
            "Opened",
            "Replied",
            "Bounced",
            "Conversions",
            "Value",
        ],
    };
    table(html, &head, part.rows.iter().cloned().map(campaign));
    html.markup("</section>");
}

fn campaign(campaign: Campaign) -> Vec<Cell> {
    let status = match campaign.status.as_str() {
        "active" => "good",
        "paused" => "warn",
        _ => "plain",
    };
    vec![
        Cell::Label(campaign.name),
        Cell::State(status, campaign.status),
        Cell::count(campaign.sent),
        Cell::count(campaign.opened),
        Cell::count(campaign.replied),
        Cell::count(campaign.bounced),
        Cell::count(campaign.conversions),
        Cell::Number(campaign.value),
    ]
}

fn queues(html: &mut Html, view: &View) {
    open(html, "queues", "Queues");
    if view.depths.is_empty() {
        html.markup("<p>They could not be counted.</p></section>");
        return;
    }
    let head = Head {
        caption: "What waits, counted up to 100,000 each",
        columns: &["Queue", "State", "Depth", "Oldest"],
    };
    let rows = view.depths.iter().map(|depth| {
        let class = if depth.state == "dead" && depth.depth > 0 {
            "bad"
        } else {
            "plain"
        };
        vec![
            Cell::Label(depth.queue.replace('_', " ")),
            Cell::State(class, depth.state.clone()),
            Cell::count(depth.depth),
            Cell::Number(depth.oldest_seconds.map_or("-".to_owned(), seconds)),
        ]
    });
    html.markup(r#"<div class="narrow">"#);
    table(html, &head, rows);
    html.markup("</div></section>");
}

fn footer(html: &mut Html, view: &View) {
    html.markup("<footer><p>Made at ")
        .text(Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true))
        .markup(". ");
    html.markup(if view.refreshes {
        r#"It comes anew every 10 seconds: <a href="status">hold still</a>."#
    } else {
        r#"<a href="status?refresh">Come anew every 10 seconds</a>."#
    });
    html.markup(
        r#"</p><p><a href="metrics">Metrics</a> <a href="readyz">Readiness</a> <a href="healthz">Health</a></p></footer>"#,
    );
}

fn open(html: &mut Html, id: &'static str, title: &'static str) {
    html.markup(r#"<section aria-labelledby=""#)
        .markup(id)
        .markup(r#""><h2 id=""#)
        .markup(id)
        .markup(r#"">"#)
        .markup(title)
        .markup("</h2>");
}

/// Since when a part is as it is shown, where that is not now.
fn age<Row>(html: &mut Html, view: &View, part: &Part<Row>) {
    let age = part
        .seen_at
        .map(|at| view.now.saturating_duration_since(at));
    let is_fresh = age.is_some_and(|age| age < OLD) && part.trouble.is_none();
    if is_fresh {
        return;
    }
    html.markup(r#"<p class="note warn">"#);
    match age {
        Some(age) => html.text(format_args!("As it was {} ago", duration(age))),
        None => html.text("Not seen yet"),
    };
    if let Some(trouble) = part.trouble {
        html.text(": ").text(trouble);
    }
    html.markup(".</p>");
}
