-- What marketing keeps beyond the reference: the history of campaigns, the events of providers by their ids, and
-- the indexes that its lists and reports read.

CREATE TABLE marketing.campaign_history (
    history_id     bigserial   CONSTRAINT campaign_history_pkey PRIMARY KEY,
    campaign_id    uuid        NOT NULL,
    changed_fields jsonb       NOT NULL,
    old_values     jsonb       NOT NULL,
    new_values     jsonb       NOT NULL,
    changed_by     text,
    changed_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT campaign_history_campaign_id_fkey
        FOREIGN KEY (campaign_id) REFERENCES marketing.campaigns (campaign_id),
    CONSTRAINT campaign_history_changed_fields_check CHECK (jsonb_typeof(changed_fields) = 'array'),
    CONSTRAINT campaign_history_old_values_check CHECK (jsonb_typeof(old_values) = 'object'),
    CONSTRAINT campaign_history_new_values_check CHECK (jsonb_typeof(new_values) = 'object')
);

CREATE INDEX idx_campaign_history_campaign_id ON marketing.campaign_history (campaign_id, history_id);

COMMENT ON TABLE marketing.campaign_history IS
    'Change tracking for campaigns; their counters are bookkeeping and not in it';
COMMENT ON COLUMN marketing.campaign_history.history_id IS 'Primary key; the order of the changes';
COMMENT ON COLUMN marketing.campaign_history.campaign_id IS 'The campaign that changed';
COMMENT ON COLUMN marketing.campaign_history.changed_fields IS 'Changed fields: an array of column names';
COMMENT ON COLUMN marketing.campaign_history.old_values IS 'Previous values of the changed fields';
COMMENT ON COLUMN marketing.campaign_history.new_values IS 'New values of the changed fields';
COMMENT ON COLUMN marketing.campaign_history.changed_by IS 'User/system identifier';
COMMENT ON COLUMN marketing.campaign_history.changed_at IS 'Change timestamp';

-- The same event counts once: its id is the provider's. Of a message these say more than its row does: when it
-- bounced, and how.
CREATE TABLE marketing.engagement_events (
    event_id    text        CONSTRAINT engagement_events_pkey PRIMARY KEY,
    outreach_id uuid        NOT NULL,
    kind        text        NOT NULL,
    bounce_type text,
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT engagement_events_outreach_id_fkey
        FOREIGN KEY (outreach_id) REFERENCES marketing.outreach_history (id),
    CONSTRAINT engagement_events_event_id_check CHECK (octet_length(event_id) BETWEEN 1 AND 1000),
    CONSTRAINT engagement_events_kind_check CHECK (kind IN ('opened', 'replied', 'bounced')),
    CONSTRAINT engagement_events_bounce_type_check
        CHECK (bounce_type IN ('hard', 'soft') AND kind = 'bounced' OR bounce_type IS NULL AND kind <> 'bounced')
);

CREATE INDEX idx_engagement_events_outreach_id ON marketing.engagement_events (outreach_id, kind, occurred_at);

COMMENT ON TABLE marketing.engagement_events IS 'What providers told of messages, by their ids';
COMMENT ON COLUMN marketing.engagement_events.event_id IS 'Primary key: the provider''s id';
COMMENT ON COLUMN marketing.engagement_events.outreach_id IS 'The message';
COMMENT ON COLUMN marketing.engagement_events.kind IS 'What happened (opened, replied, bounced)';
COMMENT ON COLUMN marketing.engagement_events.bounce_type IS 'How it bounced (hard, soft); NULL of other events';
COMMENT ON COLUMN marketing.engagement_events.occurred_at IS 'When, by the provider''s clock';
COMMENT ON COLUMN marketing.engagement_events.recorded_at IS 'When it was recorded';

ALTER TABLE marketing.campaigns
    ADD CONSTRAINT campaigns_name_check CHECK (octet_length(name) BETWEEN 1 AND 1000);

-- Cents of a value are counted in a bigint. A NaN is above everything.
ALTER TABLE marketing.attribution
    ADD CONSTRAINT attribution_value_check CHECK (value >= 0 AND value < 1e16),
    ADD CONSTRAINT attribution_source_touchpoint_check CHECK (octet_length(source_touchpoint) BETWEEN 1 AND 1000),
    ADD CONSTRAINT attribution_final_touchpoint_check CHECK (octet_length(final_touchpoint) BETWEEN 1 AND 1000);

-- One report a campaign and day; the constraint's index does what the older one did.
DROP INDEX marketing.idx_feedback_reports_campaign_id;
ALTER TABLE marketing.feedback_reports
    ADD CONSTRAINT feedback_reports_campaign_id_report_date_key UNIQUE (campaign_id, report_date);
CREATE INDEX idx_feedback_reports_report_date_id ON marketing.feedback_reports (report_date, id);

-- The orders of lists. Messages of one call share a moment, so that the id which decides between them is in the
-- index: without it each page would sort all that share one.
CREATE INDEX idx_campaigns_created_at_id ON marketing.campaigns (created_at, campaign_id);
CREATE INDEX idx_campaigns_status_created_at_id ON marketing.campaigns (status, created_at, campaign_id);
CREATE INDEX idx_campaigns_name_prefix ON marketing.campaigns (lower(name) text_pattern_ops);

DROP INDEX marketing.idx_outreach_history_person_id;
DROP INDEX marketing.idx_outreach_history_campaign_id;
CREATE INDEX idx_outreach_history_person_id_sent_at_id
    ON marketing.outreach_history (person_id, sent_at, id);
CREATE INDEX idx_outreach_history_campaign_id_sent_at_id
    ON marketing.outreach_history (campaign_id, sent_at, id);
CREATE INDEX idx_outreach_history_sent_at_id ON marketing.outreach_history (sent_at, id);
-- Most messages are email, and nothing was heard of most: those are found along the time.
CREATE INDEX idx_outreach_history_channel_sent_at_id
    ON marketing.outreach_history (channel, sent_at, id) WHERE channel <> 'email';
CREATE INDEX idx_outreach_history_status_sent_at_id
    ON marketing.outreach_history (status, sent_at, id) WHERE status <> 'sent';

DROP INDEX marketing.idx_attribution_person_id;
DROP INDEX marketing.idx_attribution_campaign_id;
CREATE INDEX idx_attribution_person_id_converted_at_id
    ON marketing.attribution (person_id, converted_at, id);
CREATE INDEX idx_attribution_campaign_id_converted_at_id
    ON marketing.attribution (campaign_id, converted_at, id);
CREATE INDEX idx_attribution_converted_at_id ON marketing.attribution (converted_at, id);
CREATE INDEX idx_attribution_conversion_type_converted_at_id
    ON marketing.attribution (conversion_type, converted_at, id);
