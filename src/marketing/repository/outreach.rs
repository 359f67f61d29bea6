//! Messages: the gate, and their list.
