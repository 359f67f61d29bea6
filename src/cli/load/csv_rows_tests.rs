//! Tests of the CSV reader.

use super::*;

fn source(text: &[u8], maps: &[&str], preset: Option<Preset>) -> Result<CsvSource, Error> {
    let maps: Vec<String> = maps.iter().map(|&map| map.to_owned()).collect();
    CsvSource::new(
        Input::from_bytes(text),
        &Mapping::new(&maps, preset).unwrap(),
    )
}

fn rows_of(mut source: CsvSource) -> Vec<(u64, String)> {
    let mut rows = Vec::new();
    while let Some(row) = source.next_row().unwrap() {
        let text = match row.content {
            Content::Json(json) => String::from_utf8(json.to_vec()).unwrap(),
            Content::Unreadable { detail, original } => {
                format!("{detail} | {}", String::from_utf8_lossy(&original))
            }
            other @ Content::Oversize { .. } => format!("{other:?}"),
        };
        rows.push((row.line.unwrap(), text));
    }
    rows
}

fn rows(text: &[u8]) -> Vec<(u64, String)> {
    rows_of(source(text, &[], None).unwrap())
}

#[test]
fn an_export_with_every_quirk_is_read() {
    let text = b"\xef\xbb\xbf Name ,email,note\r\n\
        \"O\"\"Brien, Pat\",pat@a.example,\r\n\
        J\xc3\xbcrgen,,\"two\r\nlines\"\r\n\
        \r\n\
        last,l@a.example,x";
    assert_eq!(
        rows(text),
        [
            (
                2,
                r#"{"Name":"O\"Brien, Pat","email":"pat@a.example"}"#.to_owned()
            ),
            (3, r#"{"Name":"Jürgen","note":"two\r\nlines"}"#.to_owned()),
            (
                6,
                r#"{"Name":"last","email":"l@a.example","note":"x"}"#.to_owned()
            ),
        ]
    );
}

#[test]
fn values_are_strings_whatever_they_look_like() {
    assert_eq!(rows(b"email,n\nx,007\n")[0].1, r#"{"email":"x","n":"007"}"#);
}

#[test]
fn a_wrong_number_of_columns_is_sent_in_its_place() {
    assert_eq!(
        rows(b"a,b\n1,2\n1\n\"x\n\",2,3\n3,4\n"),
        [
            (2, r#"{"a":"1","b":"2"}"#.to_owned()),
            (3, "line 3: 1 columns, the header has 2 | 1".to_owned()),
            (
                4,
                "line 4: 3 columns, the header has 2 | \"x\n\",2,3".to_owned()
            ),
            (6, r#"{"a":"3","b":"4"}"#.to_owned()),
        ]
    );
}

#[test]
fn a_cell_that_is_not_utf8_is_named() {
    let read = rows(b"a,b\n1,M\xfcller\n\"\xff\",2\n");
    assert!(
        read[0].1.starts_with("line 2: column \"b\" is not UTF-8"),
        "{read:?}"
    );
    assert!(
        read[1].1.starts_with("line 3: column \"a\" is not UTF-8"),
        "{read:?}"
    );
}

#[test]
fn a_quote_that_never_closes_is_one_unreadable_row() {
    let read = rows(b"a,b\n1,\"2\n3,4\n5,6\n");
    assert_eq!(read.len(), 1);
    assert!(read[0].1.contains("never closed"), "{read:?}");
}

#[test]
fn a_huge_record_stands_in_its_place_without_being_held() {
    let mut source = source(b"a,b\n1,2\n\"0123456789\n\",x\n3,4\n", &[], None).unwrap();
    source.records.buffer = RowBuffer::with_limit(8);
    let kinds: Vec<bool> = std::iter::from_fn(|| source.next_row().unwrap())
        .map(|row| matches!(row.content, Content::Oversize { .. }))
        .collect();
    assert_eq!(kinds, [false, true, false]);
}

#[test]
fn headers_without_names_or_twice_lose_nothing() {
    assert_eq!(
        rows(b"a,,a\n1,2,3\n")[0].1,
        r#"{"a":"1","column_2":"2","a_2":"3"}"#
    );
}

#[test]
fn linkedin_notes_are_skipped_and_lines_still_count() {
    let text = b"Notes:\n\"When exporting, you may notice\"\n\nFirst Name,Last Name,URL,Email Address,Company,Position,Connected On\nAda,L,https://l.example/ada,ada@l.example,L,CTO,01 Jan 2024\n";
    let read = rows_of(source(text, &[], Some(Preset::Linkedin)).unwrap());
    assert_eq!(read.len(), 1);
    assert_eq!(read[0].0, 5);
    assert!(
        read[0]
            .1
            .starts_with(r#"{"first_name":"Ada","last_name":"L","linkedin_url""#)
    );
    // A file whose notes were taken out by hand.
    let bare = &text[text.iter().position(|&b| b == b'F').unwrap()..];
    assert_eq!(
        rows_of(source(bare, &[], Some(Preset::Linkedin)).unwrap())[0].0,
        2
    );
}

#[test]
fn a_misspelt_map_is_an_error_and_a_file_without_email_a_warning() {
    let error = source(b"a,b\n", &["Emial=email"], None)
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("Emial") && error.contains("a, b"), "{error}");
    let warning = source(b"a,b\n", &[], None).unwrap().warning().unwrap();
    assert!(warning.contains("--map"), "{warning}");
    assert_eq!(
        source(b"a,b\n", &["a=email"], None).unwrap().warning(),
        None
    );
    assert!(source(b"", &[], None).is_err());
    assert!(source(b"a,\"b\n", &[], None).is_err());
}
