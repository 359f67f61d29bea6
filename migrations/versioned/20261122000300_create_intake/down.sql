DROP TABLE intake.audit_log;
DROP TABLE intake.raw_loads;
