GRANT DELETE ON marketing.feedback_reports TO leadvault_app;
GRANT INSERT, UPDATE, DELETE
    ON marketing.campaigns, marketing.outreach_history, marketing.attribution
    TO leadvault_app;
