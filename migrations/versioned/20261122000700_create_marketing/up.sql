CREATE TABLE marketing.campaigns (
    campaign_id    uuid        NOT NULL DEFAULT gen_random_uuid() CONSTRAINT campaigns_pkey PRIMARY KEY,
    name           text        NOT NULL,
    type           text        NOT NULL,
    status         text        NOT NULL DEFAULT 'draft',
    target_count   integer,
    sent_count     integer     NOT NULL DEFAULT 0,
    response_count integer     NOT NULL DEFAULT 0,
    created_at     timestamptz NOT NULL DEFAULT now(),
    started_at     timestamptz,
    ended_at       timestamptz,
    CONSTRAINT campaigns_type_check CHECK (type IN ('cold_outreach', 'nurture', 'follow_up')),
    CONSTRAINT campaigns_status_check CHECK (status IN ('draft', 'active', 'paused', 'completed')),
    CONSTRAINT campaigns_target_count_check CHECK (target_count >= 0),
    CONSTRAINT campaigns_sent_count_check CHECK (sent_count >= 0),
    CONSTRAINT campaigns_response_count_check CHECK (response_count >= 0)
);

COMMENT ON TABLE marketing.campaigns IS 'Marketing campaign definitions';
COMMENT ON COLUMN marketing.campaigns.campaign_id IS 'Primary key';
COMMENT ON COLUMN marketing.campaigns.name IS 'Campaign name';
COMMENT ON COLUMN marketing.campaigns.type IS 'Type (cold_outreach, nurture, follow_up)';
COMMENT ON COLUMN marketing.campaigns.status IS 'Status (draft, active, paused, completed)';
COMMENT ON COLUMN marketing.campaigns.target_count IS 'Target contact count';
COMMENT ON COLUMN marketing.campaigns.sent_count IS 'Messages sent';
COMMENT ON COLUMN marketing.campaigns.response_count IS 'Responses received';
COMMENT ON COLUMN marketing.campaigns.created_at IS 'Creation timestamp';
COMMENT ON COLUMN marketing.campaigns.started_at IS 'Campaign start';
COMMENT ON COLUMN marketing.campaigns.ended_at IS 'Campaign end';

CREATE TABLE marketing.outreach_history (
    id           uuid        NOT NULL DEFAULT gen_random_uuid() CONSTRAINT outreach_history_pkey PRIMARY KEY,
    person_id    uuid        NOT NULL,
    campaign_id  uuid,
    channel      text        NOT NULL,
    message_type text        NOT NULL,
    sent_at      timestamptz NOT NULL DEFAULT now(),
    opened_at    timestamptz,
    replied_at   timestamptz,
    status       text        NOT NULL DEFAULT 'sent',
    CONSTRAINT outreach_history_person_id_fkey FOREIGN KEY (person_id) REFERENCES people.master (id),
    CONSTRAINT outreach_history_campaign_id_fkey
        FOREIGN KEY (campaign_id) REFERENCES marketing.campaigns (campaign_id),
    CONSTRAINT outreach_history_channel_check CHECK (channel IN ('email', 'linkedin', 'phone')),
    CONSTRAINT outreach_history_message_type_check CHECK (message_type IN ('initial', 'follow_up', 'reply')),
    CONSTRAINT outreach_history_status_check CHECK (status IN ('sent', 'opened', 'replied', 'bounced'))
);

CREATE INDEX idx_outreach_history_person_id ON marketing.outreach_history (person_id, sent_at);
CREATE INDEX idx_outreach_history_campaign_id ON marketing.outreach_history (campaign_id, sent_at);

COMMENT ON TABLE marketing.outreach_history IS 'Contact history and campaign tracking';
COMMENT ON COLUMN marketing.outreach_history.id IS 'Primary key';
COMMENT ON COLUMN marketing.outreach_history.person_id IS 'The person who was written to';
COMMENT ON COLUMN marketing.outreach_history.campaign_id IS 'The campaign, if it belonged to one';
COMMENT ON COLUMN marketing.outreach_history.channel IS 'Channel (email, linkedin, phone)';
COMMENT ON COLUMN marketing.outreach_history.message_type IS 'Type (initial, follow_up, reply)';
COMMENT ON COLUMN marketing.outreach_history.sent_at IS 'Send timestamp';
COMMENT ON COLUMN marketing.outreach_history.opened_at IS 'Open timestamp';
COMMENT ON COLUMN marketing.outreach_history.replied_at IS 'Reply timestamp';
COMMENT ON COLUMN marketing.outreach_history.status IS 'Status (sent, opened, replied, bounced)';

CREATE TABLE marketing.attribution (
    id                uuid        NOT NULL DEFAULT gen_random_uuid() CONSTRAINT attribution_pkey PRIMARY KEY,
    person_id         uuid        NOT NULL,
    campaign_id       uuid,
    conversion_type   text        NOT NULL,
    converted_at      timestamptz NOT NULL DEFAULT now(),
    value             numeric,
    source_touchpoint text,
    final_touchpoint  text,
    CONSTRAINT attribution_person_id_fkey FOREIGN KEY (person_id) REFERENCES people.master (id),
    CONSTRAINT attribution_campaign_id_fkey
        FOREIGN KEY (campaign_id) REFERENCES marketing.campaigns (campaign_id),
    CONSTRAINT attribution_conversion_type_check
        CHECK (conversion_type IN ('meeting', 'demo', 'signup', 'sale'))
);

CREATE INDEX idx_attribution_person_id ON marketing.attribution (person_id, converted_at);
CREATE INDEX idx_attribution_campaign_id ON marketing.attribution (campaign_id, converted_at);

COMMENT ON TABLE marketing.attribution IS 'Conversion tracking and attribution';
COMMENT ON COLUMN marketing.attribution.id IS 'Primary key';
COMMENT ON COLUMN marketing.attribution.person_id IS 'The person who converted';
COMMENT ON COLUMN marketing.attribution.campaign_id IS 'The campaign, if one is credited';
COMMENT ON COLUMN marketing.attribution.conversion_type IS 'Type (meeting, demo, signup, sale)';
COMMENT ON COLUMN marketing.attribution.converted_at IS 'Conversion timestamp';
COMMENT ON COLUMN marketing.attribution.value IS 'Deal value';
COMMENT ON COLUMN marketing.attribution.source_touchpoint IS 'First touch channel';
COMMENT ON COLUMN marketing.attribution.final_touchpoint IS 'Last touch channel';

CREATE TABLE marketing.feedback_reports (
    id          uuid        NOT NULL DEFAULT gen_random_uuid() CONSTRAINT feedback_reports_pkey PRIMARY KEY,
    campaign_id uuid        NOT NULL,
    report_date date        NOT NULL,
    metrics     jsonb       NOT NULL,
    insights    text,
    created_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT feedback_reports_campaign_id_fkey
        FOREIGN KEY (campaign_id) REFERENCES marketing.campaigns (campaign_id)
);

CREATE INDEX idx_feedback_reports_campaign_id ON marketing.feedback_reports (campaign_id, report_date);

COMMENT ON TABLE marketing.feedback_reports IS 'Campaign feedback and insights';
COMMENT ON COLUMN marketing.feedback_reports.id IS 'Primary key';
COMMENT ON COLUMN marketing.feedback_reports.campaign_id IS 'The campaign';
COMMENT ON COLUMN marketing.feedback_reports.report_date IS 'Report date';
COMMENT ON COLUMN marketing.feedback_reports.metrics IS 'Performance metrics';
COMMENT ON COLUMN marketing.feedback_reports.insights IS 'AI-generated insights';
COMMENT ON COLUMN marketing.feedback_reports.created_at IS 'Creation timestamp';

GRANT INSERT, UPDATE, DELETE
    ON marketing.campaigns, marketing.outreach_history, marketing.attribution, marketing.feedback_reports
    TO leadvault_app;
