//! A check and how it is said.

use serde::Serialize;

use crate::db::error::chain;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Ok,
    /// It works, and may not for long or not well.
    Warning,
    Failed,
    /// It could not be looked at.
    Skipped,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    /// What was looked at.
    pub(super) check: &'static str,
    pub(super) state: State,
    /// What was seen.
    pub(super) detail: String,
    /// What would make it right, where the detail does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mend: Option<String>,
}

impl Check {
    pub(super) fn ok(check: &'static str, detail: impl Into<String>) -> Self {
        Self::of(check, State::Ok, detail.into(), None)
    }

    pub(super) fn warning(
        check: &'static str,
        detail: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self::of(check, State::Warning, detail.into(), Some(mend.into()))
    }

    pub(super) fn failed(
        check: &'static str,
        detail: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self::of(check, State::Failed, detail.into(), Some(mend.into()))
    }

    /// Failed; our errors say what would be right.
    pub(super) fn error(check: &'static str, error: &dyn std::error::Error) -> Self {
        Self::of(check, State::Failed, chain(error), None)
    }

    pub(super) fn skipped(check: &'static str, why: &str) -> Self {
        Self::of(check, State::Skipped, why.to_owned(), None)
    }

    fn of(check: &'static str, state: State, detail: String, mend: Option<String>) -> Self {
        Self {
            check,
            state,
            detail,
            mend,
        }
    }
}

/// A table for people, and what it comes to.
pub(super) fn render(checks: &[Check]) -> String {
    let width = checks.iter().map(|check| check.check.len()).max();
    let width = width.unwrap_or_default();
    let mut text = String::new();
    for Check {
        check,
        state,
        detail,
        mend,
    } in checks
    {
        text += &format!("{:<8} {check:<width$}  {detail}\n", state.name());
        if let Some(mend) = mend {
            text += &format!("{:<8} {:<width$}  to mend it: {mend}\n", "", "");
        }
    }
    let count = |state| checks.iter().filter(|check| check.state == state).count();
    text + &format!(
        "\n{} ok, {} warnings, {} failed, {} skipped\n",
        count(State::Ok),
        count(State::Warning),
        count(State::Failed),
        count(State::Skipped)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_says_what_is_wrong_and_how_to_mend_it() {
        let checks = [
            Check::ok("listen", "fine"),
            Check::failed("clock", "late", "run chronyd"),
        ];
        let expected = "ok       listen  fine
failed   clock   late
                 to mend it: run chronyd

1 ok, 0 warnings, 1 failed, 0 skipped
";
        assert_eq!(render(&checks), expected);
    }
}
