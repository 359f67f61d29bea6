-- What bit.campaign_performance counts of a campaign, without a look at its messages: nothing was heard of most,
-- and those are counted already. What a message says of itself is all in the index.
CREATE INDEX idx_outreach_history_heard
    ON marketing.outreach_history (campaign_id, status, opened_at, id) WHERE status <> 'sent';
