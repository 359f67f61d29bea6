//! Names are filled from one another.

use serde_json::json;

use super::{bring, person};
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
