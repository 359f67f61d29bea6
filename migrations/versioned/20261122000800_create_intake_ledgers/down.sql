DROP TABLE intake.request_answers;
DROP TABLE intake.rejected_rows;
DROP TABLE intake.email_claims;
DROP TABLE intake.batch_chunks;
DROP TABLE intake.batch_lanes;
DROP TABLE intake.batches;
