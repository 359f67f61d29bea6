//! The same rows have the same outcomes, however they are cut into frames.

use std::collections::HashMap;

use leadvault::proto::intake::v1::DuplicatePolicy::{self, AcceptChanged, Mark};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use tokio::{runtime::Handle, task::block_in_place};

use super::{open_with, row_with};
use crate::harness::{App, evidence};

#[tokio::test(flavor = "multi_thread")]
async fn there_and_back_again_is_two_changes_in_one_frame_and_in_three() {
    let app = App::start().await;
    for (frames, name) in [
        (vec![3], "one"),
        (vec![1, 1, 1], "three"),
        (vec![2, 1], "two"),
    ] {
        let rows = ["A", "B", "A"].map(|title| row_with(&format!("{name}@x.example"), title));
        let (mut lane, _) = app.lane(open_with(name, AcceptChanged)).await.unwrap();
        let mut sent = 0;
        for frame in frames {
            lane.rows(None, &rows[sent..sent + frame]).await.unwrap();
            sent += frame;
        }
        assert_eq!(evidence::fates(&app, name, 0).await, "aaa", "{name}");
    }
}

/// What each row's fate must be, row after row.
fn model(policy: DuplicatePolicy, rows: &[(usize, usize)]) -> String {
    let mut accepted = HashMap::new();
    let fate = |(email, content): &(usize, usize)| match accepted.get(email) {
        Some(held) if policy == Mark || held == content => 'd',
        _ => {
            accepted.insert(*email, *content);
            'a'
        }
    };
    rows.iter().map(fate).collect()
}

/// Random rows of a few emails and contents, cut at random, against the rules taken one row at a time.
#[tokio::test(flavor = "multi_thread")]
async fn outcomes_do_not_hang_on_the_cuts() {
    let app = App::start().await;
    let config = Config {
        cases: 60,
        failure_persistence: None,
        ..Config::default()
    };
    let cases = (
        prop_oneof![Just(Mark), Just(AcceptChanged)],
        prop::collection::vec(((0_usize..3, 0_usize..3), any::<bool>()), 1..24),
    );
    let number = std::cell::Cell::new(0);
    block_in_place(|| {
        TestRunner::new(config).run(&cases, |(policy, cut_rows)| {
            number.set(number.get() + 1);
            let batch_id = format!("b{}", number.get());
            let rows: Vec<_> = cut_rows.iter().map(|(row, _)| *row).collect();
            let fates = Handle::current().block_on(async {
                let (mut lane, _) = app.lane(open_with(&batch_id, policy)).await.unwrap();
                let mut frame = Vec::new();
                for ((email, content), cut) in &cut_rows {
                    let email = format!("p{email}@{batch_id}.example");
                    frame.push(row_with(&email, &content.to_string()));
                    if *cut {
                        lane.rows(None, &frame).await.unwrap();
                        frame.clear();
                    }
                }
                lane.rows(None, &frame).await.unwrap();
                evidence::fates(&app, &batch_id, 0).await
            });
            prop_assert_eq!(fates, model(policy, &rows));
            Ok(())
        })
    })
    .unwrap();
    evidence::assert_conserved(&app).await;
}
