DROP INDEX company.idx_company_people_waiting;
ALTER TABLE company.master DROP COLUMN people_waiting;
