//! Small charts as inline SVG; each says in words what it shows.

use std::fmt::Write as _;

use super::{html::Html, rates::Series, rates::WINDOW};

/// The coordinates of a chart over time.
const WIDTH: f64 = 240.0;
const HEIGHT: f64 = 40.0;

/// How often something happened, over the window.
pub(super) fn over_time(html: &mut Html, of: &str, series: &Series) {
    let most = series
        .points
        .iter()
        .map(|(_, rate)| *rate)
        .fold(0.0, f64::max);
    html.markup(
        r#"<svg class="line" viewBox="0 0 240 42" preserveAspectRatio="none" role="img"><title>"#,
    )
    .text(format_args!(
        "{of} over the last 10 minutes: now {:.1} a second, {most:.1} at the most",
        series.recent
    ))
    .markup(r#"</title><path class="axis" d="M0 41H240"/><path class="area" d=""#)
    .text(area(series, most))
    .markup(r#""/></svg>"#);
}

/// The outline of what is below the line.
fn area(series: &Series, most: f64) -> String {
    let Some((first, _)) = series.points.first() else {
        return String::new();
    };
    let x = |ago: f64| (WIDTH * (1.0 - ago / WINDOW.as_secs_f64())).clamp(0.0, WIDTH);
    let bottom = HEIGHT + 1.0;
    let mut path = format!("M{:.1} {bottom}", x(first.as_secs_f64()));
    for (ago, rate) in &series.points {
        let share = if most > 0.0 { rate / most } else { 0.0 };
        // A string takes whatever is written to it.
        let _ = write!(
            path,
            "L{:.1} {:.1}",
            x(ago.as_secs_f64()),
            bottom - share * HEIGHT
        );
    }
    path + &format!("L{WIDTH} {bottom}Z")
}

/// Parts of a whole, side by side: each with its class and its name.
pub(super) fn shares(html: &mut Html, of: &str, whole: i64, parts: &[(&'static str, &str, i64)]) {
    html.markup(
        r#"<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" role="img"><title>"#,
    )
    .text(of);
    for (nth, (_, name, count)) in parts.iter().enumerate() {
        html.text(if nth == 0 { ": " } else { ", " })
            .text(format_args!("{name} {:.1} %", percent(*count, whole)));
    }
    html.markup(r#"</title><rect class="track" width="100" height="10"/>"#);
    let mut from = 0.0;
    for (class, _, count) in parts {
        let width = percent(*count, whole);
        html.markup(r#"<rect class=""#)
            .markup(class)
            .markup(r#"" x=""#)
            .text(format_args!("{from:.2}"))
            .markup(r#"" width=""#)
            .text(format_args!("{width:.2}"))
            .markup(r#"" height="10"/>"#);
        from += width;
    }
    html.markup("</svg>");
}

fn percent(part: i64, whole: i64) -> f64 {
    if whole > 0 {
        100.0 * part as f64 / whole as f64
    } else {
        0.0
    }
}
