DROP TABLE marketing.feedback_reports;
DROP TABLE marketing.attribution;
DROP TABLE marketing.outreach_history;
DROP TABLE marketing.campaigns;
