DROP INDEX marketing.idx_attribution_conversion_type_converted_at_id;
DROP INDEX marketing.idx_attribution_converted_at_id;
DROP INDEX marketing.idx_attribution_campaign_id_converted_at_id;
DROP INDEX marketing.idx_attribution_person_id_converted_at_id;
CREATE INDEX idx_attribution_person_id ON marketing.attribution (person_id, converted_at);
CREATE INDEX idx_attribution_campaign_id ON marketing.attribution (campaign_id, converted_at);

DROP INDEX marketing.idx_outreach_history_status_sent_at_id;
DROP INDEX marketing.idx_outreach_history_channel_sent_at_id;
DROP INDEX marketing.idx_outreach_history_sent_at_id;
DROP INDEX marketing.idx_outreach_history_campaign_id_sent_at_id;
DROP INDEX marketing.idx_outreach_history_person_id_sent_at_id;
CREATE INDEX idx_outreach_history_person_id ON marketing.outreach_history (person_id, sent_at);
CREATE INDEX idx_outreach_history_campaign_id ON marketing.outreach_history (campaign_id, sent_at);

DROP INDEX marketing.idx_campaigns_name_prefix;
DROP INDEX marketing.idx_campaigns_status_created_at_id;
DROP INDEX marketing.idx_campaigns_created_at_id;

DROP INDEX marketing.idx_feedback_reports_report_date_id;
ALTER TABLE marketing.feedback_reports
    DROP CONSTRAINT feedback_reports_campaign_id_report_date_key;
CREATE INDEX idx_feedback_reports_campaign_id ON marketing.feedback_reports (campaign_id, report_date);

ALTER TABLE marketing.attribution
    DROP CONSTRAINT attribution_value_check,
    DROP CONSTRAINT attribution_source_touchpoint_check,
    DROP CONSTRAINT attribution_final_touchpoint_check;
ALTER TABLE marketing.campaigns
    DROP CONSTRAINT campaigns_name_check;

DROP TABLE marketing.engagement_events;
DROP TABLE marketing.campaign_history;
