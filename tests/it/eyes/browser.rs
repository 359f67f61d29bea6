//! The status page in a real browser: Chromium without a head.

use std::{path::PathBuf, process::Stdio};

use tokio::process::Command;

use super::status::{campaign, one_of_each};
use crate::harness::{App, Workspace, program, until};

/// How a phone and a desk look at it.
const WIDTHS: [(&str, u32, u32); 2] = [("phone", 390, 3600), ("desk", 1280, 2200)];

/// The browser; Debian's package is called so, others' too.
fn chromium() -> Option<PathBuf> {
    program(&["chromium", "chromium-browser", "google-chrome"])
}

/// Runs it with a profile of its own, which asks nobody for anything; what it prints.
async fn browse(browser: &PathBuf, workspace: &Workspace, args: &[&str]) -> String {
    let profile = workspace.path("profile");
    let child = Command::new(browser)
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-extensions",
            "--disable-sync",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            "--no-first-run",
            "--hide-scrollbars",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(args)
        .env("HOME", workspace.path(""))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let patience = std::time::Duration::from_secs(90);
    let output = tokio::time::timeout(patience, child)
        .await
        .unwrap()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

async fn filled() -> App {
    let app = App::start().await;
    for nth in 0..12 {
        let batch_id = format!("crm-export-2026-03-{nth:02}");
        one_of_each(&app, &batch_id, "apollo", &format!("p{nth}@x.example")).await;
    }
    let long = "a-batch-with-a-very-long-name-".repeat(8);
    one_of_each(
        &app,
        &long,
        "a source that somebody <b>named</b> at length",
        "q@x.example",
    )
    .await;
    campaign(&app, "Spring").await;
    campaign(&app, &"Wintersportartikelgroßhandelskampagne ".repeat(3)).await;
    app
}

/// Where pictures go: those who want to look at them name a folder.
fn picture(workspace: &Workspace, name: &str) -> PathBuf {
    match std::env::var_os("STATUS_PAGE_PICTURES") {
        Some(folder) => PathBuf::from(folder).join(name),
        None => workspace.path(name),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_shows_the_numbers_and_asks_nobody_else() {
    let Some(browser) = chromium() else {
        return;
    };
    let (app, workspace) = (filled().await, Workspace::new());
    let address = app.ops_address();
    let log = workspace.path("net.json");
    let net_log = format!("--log-net-log={}", log.display());
    let url = format!("http://{address}/status");
    // While it starts, the machine may be too busy for the database to answer in time.
    let dom = until("a page that is whole", async || {
        let dom = browse(&browser, &workspace, &[&net_log, "--dump-dom", &url]).await;
        dom.contains("leadvault: serving").then_some(dom)
    })
    .await;
    for shown in [
        "<title>leadvault: serving</title>",
        "<bdi>rows received</bdi></th><td role=\"cell\" class=\"number\" data-column=\"Count\">39</td>",
        "<bdi>crm-export-2026-03-11</bdi>",
        "<bdi>a source that somebody &lt;b&gt;named&lt;/b&gt; at length</bdi>",
        "<bdi>Spring</bdi>",
    ] {
        assert!(dom.contains(shown), "{shown} in\n{dom}");
    }
    let log = std::fs::read_to_string(log).unwrap();
    // What the browser asks for itself has another key.
    let of_the_page = "\"network_isolation_key\":\"http://127.0.0.1 http://127.0.0.1\"";
    let asked: Vec<&str> = log
        .lines()
        .filter(|line| line.contains(of_the_page))
        .filter_map(|line| line.split("\"url\":\"").nth(1)?.split('"').next())
        .collect();
    assert!(asked.contains(&url.as_str()), "{asked:?}");
    let own = format!("http://{address}/");
    assert!(
        asked.iter().all(|asked| asked.starts_with(&own)),
        "{asked:?}"
    );
    app.stop().await;
}

/// The page in frames as wide as a phone and a desk, whose script measures it: the page itself takes none.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_leaves_the_width_of_a_phone() {
    let Some(browser) = chromium() else {
        return;
    };
    let (app, workspace) = (filled().await, Workspace::new());
    let (_, page) = app.page("/status").await;
    for (name, width, height) in WIDTHS {
        let quoted = page.replace('&', "&amp;").replace('"', "&quot;");
        let frame = format!(
            "<!doctype html><iframe style=\"border:0\" width=\"{width}\" height=\"{height}\" srcdoc=\"{quoted}\"></iframe>
             <script>onload = () => {{
                 const page = document.querySelector('iframe').contentDocument;
                 const widest = Math.max(...[...page.querySelectorAll('main *')].map(e => e.getBoundingClientRect().right));
                 document.title = page.documentElement.scrollWidth + ' ' + Math.ceil(widest);
             }}</script>"
        );
        let url = format!("file://{}", workspace.file(&format!("{name}.html"), frame));
        let dom = browse(
            &browser,
            &workspace,
            &["--window-size=1400,4000", "--dump-dom", &url],
        )
        .await;
        let title = dom
            .split("<title>")
            .nth(1)
            .unwrap()
            .split('<')
            .next()
            .unwrap();
        let measured: Vec<u32> = title.split(' ').map(|n| n.parse().unwrap()).collect();
        assert!(
            measured.iter().all(|right| *right <= width),
            "{name}: {title} in {width}"
        );
        assert!(measured[0] > 0, "{title}");
    }
    app.stop().await;
}

/// Light and dark are two pictures, and neither is empty.
#[tokio::test(flavor = "multi_thread")]
async fn it_is_dark_where_that_is_preferred() {
    let Some(browser) = chromium() else {
        return;
    };
    let (app, workspace) = (filled().await, Workspace::new());
    let url = format!("http://{}/status", app.ops_address());
    for (name, width, height) in WIDTHS {
        let mut pictures = Vec::new();
        for (scheme, setting) in [("dark", 0), ("light", 1)] {
            let file = picture(&workspace, &format!("{name}-{scheme}.png"));
            let shot = format!("--screenshot={}", file.display());
            let size = format!("--window-size={width},{height}");
            let scheme = format!("--blink-settings=preferredColorScheme={setting}");
            browse(&browser, &workspace, &[&shot, &size, &scheme, &url]).await;
            pictures.push(std::fs::read(file).unwrap());
        }
        assert!(
            pictures.iter().all(|picture| picture.len() > 20_000),
            "{name}"
        );
        assert_ne!(pictures[0], pictures[1], "{name}");
    }
    app.stop().await;
}
