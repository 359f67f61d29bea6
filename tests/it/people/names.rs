//! Names are filled from one another.

use serde_json::json;

use super::{bring, change, person, update};
use crate::harness::App;

async fn names(app: &App, email: &str) -> [String; 3] {
    let person = person(app, email).await;
    [person.name, person.first_name, person.last_name]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_missing_name_is_filled_from_the_others() {
    let app = App::start().await;
    for (n, row, expected) in [
        (
            0,
            json!({"name": "Jane van Doe"}),
            ["Jane van Doe", "Jane", "Doe"],
        ),
        (
            1,
            json!({"first_name": "Jane", "last_name": " Doe "}),
            ["Jane Doe", "Jane", "Doe"],
        ),
        (2, json!({"first_name": "Jane"}), ["Jane", "Jane", ""]),
        (3, json!({"name": "Cher"}), ["Cher", "", ""]),
        (
            4,
            json!({"name": "Dr. Doe", "first_name": "Jane"}),
            ["Dr. Doe", "Jane", ""],
        ),
        (
            5,
            json!({"name": "", "last_name": "Doe"}),
            ["Doe", "", "Doe"],
        ),
        (6, json!({}), ["", "", ""]),
        (
            7,
            json!({"name": "Ada Lovelace", "first_name": "Ada"}),
            ["Ada Lovelace", "Ada", "Lovelace"],
        ),
        (
            8,
            json!({"name": "Mary Ann van Doe", "last_name": "van Doe"}),
            ["Mary Ann van Doe", "Mary Ann", "van Doe"],
        ),
    ] {
        let email = format!("p{n}@x.example");
        let mut row = row;
        row["email"] = json!(email);
        bring(&app, "apollo", row.clone()).await;
        assert_eq!(names(&app, &email).await, expected, "{row}");
    }
    app.stop().await;
}

/// A half that was sent does not take the place of a whole that is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_first_name_alone_leaves_a_whole_name() {
    let app = App::start().await;
    let email = "a@x.example";
    bring(&app, "apollo", json!({"email": email, "name": "Jane Doe"})).await;
    let row = json!({"email": email, "first_name": "Janet"});
    assert_eq!(bring(&app, "crm", row).await, [0, 1, 0, 0]);
    assert_eq!(names(&app, email).await, ["Jane Doe", "Janet", "Doe"]);
    let row = json!({"email": email, "first_name": "Janet", "last_name": "Roe"});
    bring(&app, "web", row).await;
    assert_eq!(names(&app, email).await, ["Janet Roe", "Janet", "Roe"]);
    app.stop().await;
}

/// Halves that come one after the other make a whole, in either order.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_was_made_of_a_half_is_made_again() {
    let app = App::start().await;
    let first = json!({"first_name": "Ada"});
    let last = json!({"last_name": "Lovelace"});
    let email = |n: usize| format!("p{n}@x.example");
    for (n, halves) in [[&first, &last], [&last, &first]].into_iter().enumerate() {
        for (half, source) in halves.into_iter().zip(["apollo", "crm"]) {
            let mut row = half.clone();
            row["email"] = json!(email(n));
            bring(&app, source, row).await;
        }
        assert_eq!(
            names(&app, &email(n)).await,
            ["Ada Lovelace", "Ada", "Lovelace"]
        );
    }
    // The first name alone changes: so does the name that was made of it.
    for (source, name) in [("apollo", "Ada"), ("crm", "Adele")] {
        let row = json!({"email": email(2), "first_name": name});
        bring(&app, source, row).await;
        assert_eq!(names(&app, &email(2)).await, [name, name, ""]);
    }
    app.stop().await;
}

/// What somebody gave stays: a name that is no half, and one that is pinned.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_was_given_is_not_made_again() {
    let app = App::start().await;
    let (given, pinned) = ("given@x.example", "pinned@x.example");
    bring(&app, "apollo", json!({"email": given, "name": "Cher"})).await;
    bring(
        &app,
        "crm",
        json!({"email": given, "last_name": "Sarkisian"}),
    )
    .await;
    assert_eq!(names(&app, given).await, ["Cher", "", "Sarkisian"]);

    bring(
        &app,
        "apollo",
        json!({"email": pinned, "first_name": "Ada"}),
    )
    .await;
    let ada = person(&app, pinned).await;
    update(&app, change(&ada, &["name"])).await;
    bring(
        &app,
        "crm",
        json!({"email": pinned, "last_name": "Lovelace"}),
    )
    .await;
    assert_eq!(names(&app, pinned).await, ["Ada", "Ada", "Lovelace"]);
    app.stop().await;
}

/// The rest of a stored name fills the half that is missing, unless somebody said that there is none.
#[tokio::test(flavor = "multi_thread")]
async fn the_rest_of_a_stored_name_fills_the_missing_half() {
    let app = App::start().await;
    for (email, pin, expected) in [
        (
            "a@x.example",
            false,
            ["Ada King Lovelace", "Ada King", "Lovelace"],
        ),
        ("b@x.example", true, ["Ada King Lovelace", "Ada King", ""]),
    ] {
        let row = json!({"email": email, "name": "Ada King Lovelace", "first_name": "Adele"});
        bring(&app, "apollo", row).await;
        let mut stored = person(&app, email).await;
        assert_eq!(stored.last_name, "");
        if pin {
            stored.last_name = String::new();
            update(&app, change(&stored, &["last_name"])).await;
        }
        bring(
            &app,
            "crm",
            json!({"email": email, "first_name": "Ada King"}),
        )
        .await;
        assert_eq!(names(&app, email).await, expected);
    }
    app.stop().await;
}
