//! Whose the conversions are, by every model.
