DROP TABLE company.history;
DROP TABLE company.slot;
DROP TABLE company.master;
