-- Which companies have more people to link than the statement that made them was to write.
ALTER TABLE company.master ADD COLUMN people_waiting boolean NOT NULL DEFAULT false;

COMMENT ON COLUMN company.master.people_waiting IS
    'Whether people may still wait to be linked to it; the sweep links them';

CREATE INDEX idx_company_people_waiting ON company.master (id) WHERE people_waiting;
