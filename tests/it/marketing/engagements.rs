//! What providers tell of messages, in any order and as often as they like.
