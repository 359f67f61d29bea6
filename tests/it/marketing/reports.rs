//! What campaigns came to, the funnel, and feedback reports.
