use super::*;

#[test]
fn a_refusal_says_code_reason_field_and_values() {
    let status = Status::from(Error::invalid("source", "must not be blank"));
    assert_eq!(status.code(), Code::InvalidArgument);
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "INVALID_FIELD");
    assert_eq!(
        details.bad_request().unwrap().field_violations[0].field,
        "source"
    );
}

#[test]
fn a_fault_keeps_its_cause_to_the_log() {
    let status = Status::from(Error::internal("password=hunter2"));
    assert_eq!(status.code(), Code::Internal);
    assert!(!format!("{status:?}").contains("hunter2"));
}

#[test]
fn where_a_retry_helps_the_status_says_when() {
    let status = Status::from(Error::ShuttingDown);
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.get_error_details().retry_info().is_some());
}
