-- Functions write these, which lock and decide before: who wrote a message directly would be past the gate.
REVOKE INSERT, UPDATE, DELETE
    ON marketing.campaigns, marketing.outreach_history, marketing.attribution
    FROM leadvault_app;
-- A report of a day is computed again, and never taken back.
REVOKE DELETE ON marketing.feedback_reports FROM leadvault_app;
