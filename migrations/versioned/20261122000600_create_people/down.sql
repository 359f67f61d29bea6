DROP TABLE people.history;
DROP TABLE people.intelligence;
DROP TABLE people.slot;
DROP TABLE people.master;
