//! HTML that nothing can break which is shown in it.
//!
//! Guarantee: markup is the program's own text, known when it is built; all else is escaped.

use std::fmt::{self, Display, Write as _};

/// A page that is being written.
#[derive(Debug, Default)]
pub(super) struct Html(String);

impl Html {
    /// Adds markup.
    pub(super) fn markup(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Adds text, fit for between tags and for attributes in double quotes.
    pub(super) fn text(&mut self, text: impl Display) -> &mut Self {
        // A string takes whatever is written to it.
        let _ = write!(Escaped(&mut self.0), "{text}");
        self
    }

    /// The page.
    pub(super) fn finish(self) -> String {
        self.0
    }
}

struct Escaped<'a>(&'a mut String);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                // Nothing that can be seen; a browser would make what it likes of it.
                c if c.is_control() => self.0.push(' '),
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(text: &str) -> String {
        let mut html = Html::default();
        html.text(text);
        html.finish()
    }

    #[test]
    fn text_is_shown_and_does_nothing() {
        let shown = escaped("<script>alert('1 & \"2\"')</script>\u{7}");
        let safe = "&lt;script&gt;alert(&#39;1 &amp; &quot;2&quot;&#39;)&lt;/script&gt; ";
        assert_eq!(shown, safe);
    }

    proptest! {
        #[test]
        fn no_text_leaves_its_place(text in any::<String>()) {
            let shown = escaped(&text);
            prop_assert!(!shown.contains(['<', '>', '"', '\'']));
            let back = shown
                .replace("&lt;", "<")
                .replace("&gt;", ">")
                .replace("&quot;", "\"")
                .replace("&#39;", "'")
                .replace("&amp;", "&");
            let readable = text.replace(char::is_control, " ");
            prop_assert_eq!(back, readable);
        }
    }
}
