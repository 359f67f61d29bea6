use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn raw(value: &Value) -> Box<RawValue> {
    RawValue::from_string(value.to_string()).unwrap()
}

fn headcount(value: Value) -> Result<Option<i32>, Unread> {
    Ok(Headcount::read(&raw(&value))?.map(Headcount::get))
}

fn money(value: Value) -> Result<Option<String>, Unread> {
    Ok(Money::read(&raw(&value))?.map(|money| money.to_string()))
}

#[test]
fn headcounts_with_one_reading_are_read() {
    for (sent, count) in [
        (json!(58), 58),
        (json!(58.0), 58),
        (json!(0), 0),
        (json!("58"), 58),
        (json!("58.0"), 58),
        (json!(" 1,200 "), 1_200),
        (json!("1 200"), 1_200),
        (json!("1'234'567"), 1_234_567),
        (json!("51-200"), 51),
        (json!("51 – 200 employees"), 51),
        (json!("11 to 50"), 11),
        (json!("10,001+"), 10_001),
        (json!("~200"), 200),
        (json!("1.5K"), 1_500),
        (json!("10K-50K"), 10_000),
        (json!("10k+ Employees"), 10_000),
        (json!(i32::MAX), i32::MAX),
    ] {
        assert_eq!(headcount(sent.clone()), Ok(Some(count)), "{sent}");
    }
    for sent in [json!(null), json!(""), json!("  ")] {
        assert_eq!(headcount(sent.clone()), Ok(None), "{sent}");
    }
}

#[test]
fn other_headcounts_are_left_out_with_their_reason() {
    use Unread::*;
    for (sent, reason) in [
        (json!("many"), NotANumber),
        (json!("1.200"), NotANumber),
        (json!("10 or 20"), NotANumber),
        (json!("1,2"), NotANumber),
        (json!("1,200 300"), NotANumber),
        (json!("200-51"), NotANumber),
        (json!("1-5K"), NotANumber),
        (json!("1-2-3"), NotANumber),
        (json!("-5-10"), NotANumber),
        (json!("12.5"), NotANumber),
        (json!(12.5), NotANumber),
        (json!("K"), NotANumber),
        (json!("$50"), NotANumber),
        (json!("-"), NotANumber),
        (json!(-5), Negative),
        (json!("-5"), Negative),
        (json!(2_147_483_648_i64), OutOfRange),
        (json!("3,000,000,000"), OutOfRange),
        (json!("9".repeat(80)), OutOfRange),
        (json!(1e300), OutOfRange),
        (json!(true), WrongType),
        (json!([5]), WrongType),
        (json!({"n": 5}), WrongType),
    ] {
        assert_eq!(headcount(sent.clone()), Err(reason), "{sent}");
    }
}

#[test]
fn money_with_one_reading_is_read_exactly() {
    for (sent, amount) in [
        (json!(4_500_000), "4500000"),
        (json!(0.5), "0.5"),
        (json!("$4.5M"), "4500000"),
        (json!("$ 4.55 million"), "4550000"),
        (json!("€2B"), "2000000000"),
        (json!("US$1.234bn"), "1234000000"),
        (json!("1,200,000 USD"), "1200000"),
        (json!("USD 1,200.50"), "1200.50"),
        (json!("12.34"), "12.34"),
        (json!("0.125"), "0.125"),
        (json!("$1M-$5M"), "1000000"),
        (json!("$1M – $10M"), "1000000"),
        (json!("£10k+"), "10000"),
        (json!("12345678901234567890.12"), "12345678901234567890.12"),
    ] {
        assert_eq!(money(sent.clone()), Ok(Some(amount.to_owned())), "{sent}");
    }
}

#[test]
fn other_money_is_left_out_with_its_reason() {
    use Unread::*;
    for (sent, reason) in [
        (json!("1.200"), NotANumber),
        (json!("1.200.000"), NotANumber),
        (json!("1.234,50"), NotANumber),
        (json!("lots"), NotANumber),
        (json!("$"), NotANumber),
        (json!("$1-5M"), NotANumber),
        (json!("-$5"), Negative),
        (json!(-0.01), Negative),
        (json!("9".repeat(65)), OutOfRange),
        (json!(false), WrongType),
    ] {
        assert_eq!(money(sent.clone()), Err(reason), "{sent}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_left_out(
        sent in "\\PC{0,30}|[-~$€]?[0-9,.' ]{0,12}[kKmMbBtT+]?( ?(-|–|to) ?[$]?[0-9,.]{0,9}[kM]?)?"
    ) {
        let value = json!(sent);
        if let Ok(Some(count)) = headcount(value.clone()) {
            prop_assert!(count >= 0);
        }
        if let Ok(Some(amount)) = money(value) {
            prop_assert!(amount.len() <= 66 && !amount.starts_with('-'));
        }
    }

    #[test]
    fn a_number_reads_as_itself_however_it_is_grouped(count in 0..=i32::MAX) {
        let digits = count.to_string();
        let mut grouped = String::new();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        prop_assert_eq!(headcount(json!(count)), Ok(Some(count)));
        prop_assert_eq!(headcount(json!(digits)), Ok(Some(count)));
        prop_assert_eq!(headcount(json!(grouped)), Ok(Some(count)));
        prop_assert_eq!(money(json!(grouped)), Ok(Some(digits)));
    }
}
